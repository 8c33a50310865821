"""Did the unlabelled text help? Labels-only against a method on the same splits, seeds and compute."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from transformers import EarlyStoppingCallback, Trainer, set_seed

from textpl.atomic_files import read_json, write_json
from textpl.callbacks.attach import attach, prepare_labels
from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.callbacks.setup import find_task, label_key
from textpl.components.labeled_rows import seen_rows
from textpl.evaluation import Interval, bootstrap_difference
from textpl.outcomes import Outcome, TokenCounter, load_outcome, save_outcome, train_and_test
from textpl.overlap import SeenTestTexts, seen_test_texts

logger = logging.getLogger(__name__)

Callback = SemiSupervised | NoisyLabels


@dataclass(frozen=True)
class Comparison:
    """Labels-only against a method, seed by seed.

    Attributes:
        task: "single" or "multi".
        metric: the metric compared.
        name: name of the method.
        baseline: labels-only outcomes, one per seed.
        method: the method's outcomes, same seeds.
        interval: bootstrap interval of method - baseline, in points.
        baseline_name: name of the side without the method.
    """

    task: str
    metric: str
    name: str
    baseline: list[Outcome]
    method: list[Outcome]
    interval: Interval
    baseline_name: str = "labels only"

    @property
    def seen_test_texts(self) -> SeenTestTexts | None:
        """Test texts that the method's training saw, of the seed that saw most; None if kept by an older textpl."""
        known = [SeenTestTexts.from_dict(o.seen_test_texts) for o in self.method if o.seen_test_texts is not None]
        return max(known, key=lambda seen: seen.count) if known else None

    def __str__(self) -> str:
        seen = self.seen_test_texts
        told = "" if seen is None or not seen.count else str(seen)
        notes = "; ".join(note for note in (self.interval.seeds_told(), self.interval.note, told) if note)
        return f"{self.interval.sentence()} ({notes})" if notes else self.interval.sentence()

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data, in the form of `results.json`."""
        seen = self.seen_test_texts
        return {
            "task": self.task,
            "metric": self.metric,
            "unit": "points",
            "baseline": {"name": self.baseline_name, **self._summary(self.baseline)},
            "method": {"name": self.name, **self._summary(self.method)},
            "difference": {
                "mean": self.interval.mean,
                "interval": [self.interval.low, self.interval.high],
                "level": self.interval.level,
                "verdict": self.interval.verdict,
                "sentence": str(self),
            },
            "seen_test_texts": None if seen is None else {**seen.to_dict(), "sentence": str(seen)},
            "cost": {"baseline": self._cost(self.baseline), "method": self._cost(self.method)},
            "seed_results": [
                {"seed": b.seed, "baseline": self._one(b), "method": self._one(m)}
                for b, m in zip(self.baseline, self.method, strict=True)
            ],
        }

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
    thresholds: float | Literal["prior"] = "prior",
    level: float = 0.95,
    folder: str | Path | None = None,
    on_model: Callable[[int, Trainer], None] | None = None,
    on_start: Callable[[str], None] | None = None,
) -> Comparison:
    """Train labels-only and with `method`, once per seed, and compare on the test rows.

    No checkpoint is chosen on the test rows: what is trained last is what is tested. Labels-only gets the same
    labelled rows, model, seed and settings, and by default the same compute: as many more steps as the method's
    passes over the pool cost, in forward passes per token.

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
        match: "compute", or "steps" for equally many optimizer steps.
        thresholds: multi-label cut, a probability or "prior": per label, so that as many test rows get the label as
            labelled rows have it. The same rule for both sides; no test label is used, but all test texts at once are
            (it is transductive). The cuts are in `seed_results`.
        level: of the interval.
        folder: finished trainings are kept there and not repeated after an interruption.
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
    _claim(keep, {"name": name, "match": match, "thresholds": thresholds})
    names = (baseline_name, name)
    pair = _Pair(
        make_trainer, method_trainer or make_trainer, method, names, match, thresholds, keep, on_model, on_start
    )
    methods: list[Outcome] = []
    baseline: list[Outcome] = []
    for seed in seeds:
        methods.append(pair.with_method(seed))
        baseline.append(pair.without(seed, methods[-1]))
    multi = baseline[0].gold.ndim == 2
    metric = metric or ("macro_f1" if multi else "accuracy")
    interval = bootstrap_difference(
        [o.predictions for o in baseline],
        [o.predictions for o in methods],
        [o.gold for o in baseline],
        metric,
        level=level,
    )
    return Comparison("multi" if multi else "single", metric, name, baseline, methods, interval, baseline_name)


@dataclass
class _Pair:
    """The two trainings of a seed, with the settings of `compare`; what `folder` holds is not repeated."""

    make_trainer: Callable[[int], Trainer]
    method_trainer: Callable[[int], Trainer]
    method: Callback | Callable[[int], Callback] | None
    names: tuple[str, str]
    match: Literal["compute", "steps"]
    thresholds: float | Literal["prior"]
    folder: Path | None
    on_model: Callable[[int, Trainer], None] | None
    on_start: Callable[[str], None] | None
    seen: list[weakref.ref] = field(default_factory=list)

    def with_method(self, seed: int) -> Outcome:
        if (done := load_outcome(self.folder, seed, "method")) is not None:
            return done
        trainer = self._fresh(self.method_trainer, seed)
        callback = self.method(seed) if callable(self.method) else self.method
        if callback is not None:
            attach(trainer, callback)
        self._announce(seed, self.names[1])
        outcome = train_and_test(trainer, seed, self.thresholds, callback or TokenCounter(trainer))
        seen = seen_test_texts(trainer, callback)
        if seen.count:
            logger.warning("%s. Take them out for an honest number.", seen)
        outcome = replace(outcome, seen_test_texts=seen.to_dict())
        if self.on_model is not None:
            self.on_model(seed, trainer)
        save_outcome(self.folder, outcome, "method")
        return outcome

    def without(self, seed: int, method: Outcome) -> Outcome:
        if (done := load_outcome(self.folder, seed, "baseline")) is not None:
            return done
        trainer = self._fresh(self.make_trainer, seed)
        counter = TokenCounter(trainer)
        if self.match == "compute":
            trainer.args.max_steps = _matched_steps(method)
        self._announce(seed, self.names[0])
        outcome = train_and_test(trainer, seed, self.thresholds, counter)
        save_outcome(self.folder, outcome, "baseline")
        return outcome

    def _fresh(self, make_trainer: Callable[[int], Trainer], seed: int) -> Trainer:
        set_seed(seed)
        trainer = make_trainer(seed)
        _check(trainer, self.seen)
        return trainer

    def _announce(self, seed: int, side: str) -> None:
        if self.on_start is not None:
            self.on_start(f"seed {seed}: {side}")


def _check(trainer: Trainer, seen: list[weakref.ref]) -> None:
    """Refuse what would make the comparison dishonest or fail after hours; have the labels as the model needs them."""
    if trainer.eval_dataset is None:
        raise ValueError("make_trainer must give its Trainer the test rows: Trainer(eval_dataset=test, ...).")
    if trainer.args.load_best_model_at_end or any(
        isinstance(callback, EarlyStoppingCallback) for callback in trainer.callback_handler.callbacks
    ):
        raise ValueError(
            "The Trainer chooses a checkpoint on its eval_dataset, which are the test rows here: train for a fixed "
            "number of steps, without load_best_model_at_end and early stopping."
        )
    if any(trainer.model is model() for model in seen) or trainer.state.global_step > 0:
        raise ValueError(
            "make_trainer returned a model that was trained before: it must load a fresh one at every call."
        )
    seen.append(weakref.ref(trainer.model))
    prepare_labels(trainer)
    test, labeled = (
        seen_rows(rows, trainer.data_collator, tokens=False, count=1)
        for rows in (trainer.eval_dataset, trainer.train_dataset)
    )
    label_key(test)
    find_task(trainer.model, labeled)


def _matched_steps(method: Outcome) -> int:
    """Labels-only steps that cost as much as the method's run."""
    return max(1, round(method.steps * method.token_passes / method.labeled_passes))


def _claim(folder: Path | None, settings: dict[str, Any]) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "settings.json"
    if file.exists() and (known := read_json(file, "Remove it and run again.")) != settings:
        raise ValueError(f"The folder {folder} holds the trainings of another comparison ({known}).")
    write_json(file, settings)
