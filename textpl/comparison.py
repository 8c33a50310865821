"""Did the unlabelled text help? Labels-only against a method on the same splits, seeds and compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from transformers import Trainer

from textpl.arms import AS_GIVEN, EMBEDDINGS, PLACEBO, SAME_COMPUTE, Arms, Callback, MakeSettings
from textpl.atomic_files import read_json, write_json
from textpl.embedding_arm import AT_DEFAULTS, told_settings
from textpl.evaluation import Interval, paired_difference
from textpl.group_folds import group_ids
from textpl.looks import Look, earlier_looks, level_of_look, record_look
from textpl.outcomes import Outcome
from textpl.overlap import SeenTestTexts

Kind = Literal["labels only", "embeddings", "placebo"]


@dataclass(frozen=True)
class Arm:
    """What the method is measured against.

    Attributes:
        kind: "labels only", "embeddings" (the labeler alone, nothing is trained) or "placebo" (a pool with nothing in
            it that the labeled rows do not say).
        name: tells it from others of its kind.
        outcomes: one per seed.
        interval: of method - this, in points.
    """

    kind: Kind
    name: str
    outcomes: list[Outcome]
    interval: Interval

    def told(self) -> str:
        """The difference to it, in words."""
        low, mean, high = self.interval.low, self.interval.mean, self.interval.high
        return f"{mean:+z.1f} [{low:z.1f}, {high:z.1f}]"


@dataclass(frozen=True)
class Comparison:
    """Labels-only against a method, seed by seed.

    Attributes:
        task: "single" or "multi".
        metric: the metric compared.
        name: name of the method.
        method: the method's outcomes, one per seed.
        arms: what it is measured against, same seeds: labels-only in each of its forms, then what else was asked for.
        baseline_name: name of the side without the method.
        looks: each result of this comparison that had been seen before, its seeds and metric; they widen the intervals.
        labeler: how the labeler alone was set, in words.
    """

    task: str
    metric: str
    name: str
    method: list[Outcome]
    arms: tuple[Arm, ...]
    baseline_name: str = "labels only"
    looks: tuple[Look, ...] = ()
    labeler: str = AT_DEFAULTS

    @property
    def judged(self) -> Arm:
        """The form of labels-only that scored best on the test rows: whoever beats it beats the others too."""
        return min(self.of_kind("labels only"), key=lambda arm: arm.interval.mean)

    @property
    def baseline(self) -> list[Outcome]:
        """The outcomes of the labels-only form that is judged."""
        return self.judged.outcomes

    @property
    def interval(self) -> Interval:
        """Interval of method - that form, in points; it hurt only where every form of labels-only says so."""
        contested = any(arm.interval.high >= 0 for arm in self.of_kind("labels only"))
        return replace(self.judged.interval, contested=contested)

    def of_kind(self, kind: Kind) -> list[Arm]:
        """The arms of a kind."""
        return [arm for arm in self.arms if arm.kind == kind]

    @property
    def seen_test_texts(self) -> SeenTestTexts | None:
        """Test texts that the method's training saw, of the seed that saw most; None if kept by an older textpl."""
        known = [SeenTestTexts.from_dict(o.seen_test_texts) for o in self.method if o.seen_test_texts is not None]
        return max(known, key=lambda seen: seen.count) if known else None

    def __str__(self) -> str:
        seen = self.seen_test_texts
        told = "" if seen is None or not seen.count else str(seen)
        parts = (self.interval.seeds_told(), self.interval.note, self.told_looks(), told)
        notes = "; ".join(note for note in parts if note)
        return f"{self.interval.sentence()} ({notes})" if notes else self.interval.sentence()

    def told_looks(self) -> str:
        """That the result had been seen before, and what that does to the interval; nothing at the first look."""
        if not self.looks:
            return ""
        seen = ", then ".join(look.told(self.metric) for look in self.looks)
        return (
            f"look {len(self.looks) + 1}: the result was seen with {seen} before, and whoever adds seeds or metrics "
            f"until there is a verdict finds one too often, so the interval is at {100 * self.interval.level:.4g} %"
        )

    def told_arms(self) -> list[str]:
        """What the method was measured against besides, a sentence each."""
        judged, found = self.judged, []
        if others := [arm for arm in self.of_kind("labels only") if arm is not judged]:
            rest = "; ".join(f"{arm.told()} against {arm.name}" for arm in others)
            found.append(
                f"Judged against {self.baseline_name} {judged.name}, its best form on the test rows (a choice in "
                f"its favor); the difference is {rest}"
            )
        for arm in self.of_kind("embeddings"):
            found.append(
                f"Embeddings alone ({self.labeler}, nothing trained): "
                f"{self._summary(arm.outcomes)['mean']:.1f}; the difference to that is {arm.told()}"
            )
        for arm in self.of_kind("placebo"):
            found.append(
                f"{self.name} with a placebo for a pool: {self._summary(arm.outcomes)['mean']:.1f}; the pool itself "
                f"brings {arm.told()}"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data, in the form of `results.json`."""
        seen = self.seen_test_texts
        return {
            "task": self.task,
            "metric": self.metric,
            "unit": "points",
            "baseline": {"name": self.baseline_name, "form": self.judged.name, **self._summary(self.baseline)},
            "method": {"name": self.name, **self._summary(self.method)},
            "difference": {**self._difference(self.interval), "verdict": self.interval.verdict, "sentence": str(self)},
            "looks": [list(look.seeds) for look in self.looks],
            "arms": [self._arm(arm) for arm in self.arms],
            "arms_told": self.told_arms(),
            "seen_test_texts": None if seen is None else {**seen.to_dict(), "sentence": str(seen)},
            "cost": {"baseline": self._cost(self.baseline), "method": self._cost(self.method)},
            "seed_results": [
                {"seed": b.seed, "baseline": self._one(b), "method": self._one(m)}
                for b, m in zip(self.baseline, self.method, strict=True)
            ],
        }

    def _arm(self, arm: Arm) -> dict[str, Any]:
        return {
            "kind": arm.kind,
            "name": arm.name,
            "judged": arm is self.judged,
            **self._summary(arm.outcomes),
            "by_seed": [100 * o.scores[self.metric] for o in arm.outcomes],
            "difference": self._difference(arm.interval),
            "cost": self._cost(arm.outcomes),
        }

    @staticmethod
    def _difference(interval: Interval) -> dict[str, Any]:
        return {"mean": interval.mean, "interval": [interval.low, interval.high], "level": interval.level}

    def _summary(self, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        values = [100 * o.scores[self.metric] for o in outcomes]
        return {
            "mean": float(np.mean(values)),
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "seeds": [o.seed for o in outcomes],
        }

    @staticmethod
    def _cost(outcomes: Sequence[Outcome]) -> dict[str, float]:
        return {
            "steps": float(np.mean([o.steps for o in outcomes])),
            "seconds": float(np.mean([o.seconds for o in outcomes])),
            "token_passes": float(np.mean([o.token_passes for o in outcomes])),
        }

    @staticmethod
    def _one(outcome: Outcome) -> dict[str, Any]:
        return {
            "scores": {k: 100 * v for k, v in outcome.scores.items()},
            "calibration_error": 100 * outcome.calibration_error,
            "steps": outcome.steps,
            "seconds": outcome.seconds,
            **({} if outcome.thresholds is None else {"thresholds": outcome.thresholds}),
        }


def compare(
    make_trainer: Callable[[int], Trainer],
    method: Callback | Callable[[int], Callback] | None,
    seeds: Iterable[int] = range(3),
    *,
    method_trainer: Callable[[int], Trainer] | None = None,
    name: str = "method",
    baseline_name: str = "labels only",
    metric: str | None = None,
    match: Literal["compute", "steps"] = "compute",
    encoder: Any = None,
    label_settings: MakeSettings | None = None,
    placebo: Callback | Callable[[int], Callback] | None = None,
    thresholds: float | Literal["prior"] = "prior",
    level: float = 0.95,
    test_groups: ArrayLike | None = None,
    folder: str | Path | None = None,
    on_model: Callable[[int, Trainer], None] | None = None,
    on_start: Callable[[str], None] | None = None,
) -> Comparison:
    """Train labels-only and with `method`, once per seed, and compare on the test rows.

    No checkpoint is chosen on the test rows: what is trained last is what is tested. Labels-only gets the same
    labelled rows, model, seed and settings. More steps often make it worse, and what a method has besides its pool may
    help it, so it is trained in several forms: as given; with the same compute (as many more steps as the method's
    passes over the pool cost, in forward passes per token); and, where the method has a view or averaged weights, with
    these. The method is judged against the form that scores best on the test rows. These rows choose in favor of
    labels-only only: where a method beats its best form, it beats each of them, and no choice among them has made the
    gain. A few labeled rows could not choose as safely, and choosing the weaker form by mistake would make one.

    Args:
        make_trainer: `make_trainer(seed)` builds a fresh stock Trainer with its labelled `train_dataset` and the test
            rows as `eval_dataset`; it is called after `transformers.set_seed(seed)`.
        method: a `SemiSupervised`, or `method(seed)` that builds one (needed when the pool depends on the seed); None
            if the method is all in the Trainers that `method_trainer` builds.
        seeds: one pair of trainings each; 5 or more give an interval worth having.
        method_trainer: builds the method's Trainers in place of `make_trainer`, such as on other labels of the rows.
        name: the method's name, for tables.
        baseline_name: that of the other side.
        metric: default: accuracy, for multi-label macro F1.
        match: "compute", or "steps" for equally many optimizer steps only.
        encoder: also measure `textpl.label` with this encoder on the test rows, beside those of the pool: nothing is
            trained, and a method that is no better is not worth its training. Needs the texts in all rows.
        label_settings: other settings of `textpl.label` for that, such as `{"method": "hdl"}`, or a function of the
            seed that gives them: a method that learns labels made with some is measured against the same.
        placebo: also train the method with a pool that has nothing to tell, such as the labeled texts:
            `textpl.softmatch(labeled)`. What it gains over labels-only does not come from unlabeled text.
        thresholds: multi-label cut, a probability or "prior": per label, so that as many test rows get the label as
            labelled rows have it. The same rule for both sides; no test label is used, but all test texts at once are
            (it is transductive). The cuts are in `seed_results`.
        level: of the interval, at the first look.
        test_groups: group of each test row (rows,), such as the document it is a window of. Rows of one group are not
            independent, so the interval is that of as many groups.
        folder: finished trainings are kept there and not repeated after an interruption. Which results were seen is
            kept too: whoever comes back with more seeds, or another metric, gets wider intervals,
            `textpl.looks.level_of_look`.
        on_model: called as `on_model(seed, trainer)` with the method's trained Trainer.
        on_start: called with a line of text before each training.

    Returns:
        Comparison: `print(comparison)` gives the answer in a sentence.

    Raises:
        ValueError: for no or repeated seeds, nothing to compare, a Trainer without test rows or one that chooses a
            checkpoint on them, a model that was trained before, or a folder with the trainings of another comparison.
    """
    if match not in ("compute", "steps"):
        raise ValueError(f"match={match!r}: use 'compute' or 'steps'.")
    if method is None and method_trainer is None:
        raise ValueError("method=None: without method_trainer both sides would be the same.")
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds}: one or more different seeds are needed.")
    keep = None if folder is None else Path(folder)
    groups = None if test_groups is None else group_ids(test_groups, "test_groups")
    arms = Arms(
        make_trainer, method_trainer or make_trainer, method, placebo, encoder, label_settings or {},
        (baseline_name, name), match, thresholds, keep, on_model, on_start,
    )  # fmt: skip
    labeler = AT_DEFAULTS if encoder is None else told_settings(arms.settings_of_label(seeds[0]))
    told = {} if encoder is None else {"encoder": getattr(encoder, "name", str(encoder)), "labeler": labeler}
    _claim(keep, {"name": name, "match": match, "thresholds": thresholds, **told})
    methods: list[Outcome] = []
    found: dict[tuple[Kind, str], list[Outcome]] = {}
    for seed in seeds:
        by_embeddings = None if encoder is None else arms.from_embeddings(seed)  # what it lacks shows before trainings
        _check_groups(groups, by_embeddings)
        methods.append(arms.with_method(seed))
        _check_groups(groups, methods[-1])
        for form, outcome in arms.labels_only(seed, methods[-1]).items():
            found.setdefault(("labels only", form), []).append(outcome)
        if placebo is not None:
            found.setdefault(("placebo", PLACEBO), []).append(arms.as_placebo(seed))
        if by_embeddings is not None:
            found.setdefault(("embeddings", EMBEDDINGS), []).append(by_embeddings)
    same, given = (found.get(("labels only", form)) for form in (SAME_COMPUTE, AS_GIVEN))
    if same is not None and given is not None and all(a is b for a, b in zip(same, given, strict=True)):
        del found["labels only", AS_GIVEN]  # the pool cost nothing
    multi = methods[0].gold.ndim == 2
    metric = metric or ("macro_f1" if multi else "accuracy")
    looks = earlier_looks(keep, seeds, metric)
    level = level_of_look(level, len(looks) + 1)
    measured = [_measured(kind, form, side, methods, metric, level, groups) for (kind, form), side in found.items()]
    record_look(keep, seeds, metric)
    task = "multi" if multi else "single"
    return Comparison(task, metric, name, methods, tuple(measured), baseline_name, looks, labeler)


def _check_groups(groups: np.ndarray | None, outcome: Outcome | None) -> None:
    if groups is not None and outcome is not None and len(groups) != len(outcome.gold):
        raise ValueError(
            f"test_groups: {len(groups)} groups for {len(outcome.gold)} test rows, one for each is needed."
        )


def _measured(
    kind: Kind,
    name: str,
    outcomes: list[Outcome],
    methods: list[Outcome],
    metric: str,
    level: float,
    test_groups: ArrayLike | None,
) -> Arm:
    """An arm with the interval of method - arm.

    Raises:
        ValueError: for outcomes on other test rows than the method's.
    """
    for one, other in zip(outcomes, methods, strict=True):
        if not np.array_equal(one.gold, other.gold):
            raise ValueError(
                f"Seed {one.seed}: {name} was tested on other rows than the method (kept by an older textpl, or "
                "make_trainer has changed since): remove the trainings of this seed, or compare in a new folder."
            )
    sides = ([o.predictions for o in outcomes], [o.predictions for o in methods], [o.gold for o in methods])
    groups = None if test_groups is None else [test_groups] * len(outcomes)
    return Arm(kind, name, outcomes, paired_difference(*sides, metric, level=level, groups=groups))


def _claim(folder: Path | None, settings: dict[str, Any]) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "settings.json"
    known = read_json(file, "Remove it and run again.") if file.exists() else {}
    if "encoder" in known:
        known.setdefault("labeler", AT_DEFAULTS)  # an older textpl had no others
    if any(known.get(key, value) != value for key, value in settings.items()):
        raise ValueError(
            f"The folder {folder} holds the trainings of another comparison ({known}): give another folder, or the "
            "same settings."
        )
    write_json(file, known | settings)
