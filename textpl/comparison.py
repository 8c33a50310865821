"""Did the unlabelled text help? Labels-only against a method on the same splits, seeds and compute."""

from __future__ import annotations

import json
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import EarlyStoppingCallback, Trainer, set_seed

from textpl.callbacks.attach import attach
from textpl.callbacks.semi_supervised import TRAINING_PASSES, SemiSupervised
from textpl.callbacks.setup import find_task, label_array, label_key
from textpl.evaluation import (
    Interval,
    bootstrap_difference,
    decide,
    expected_calibration_error,
    prior_thresholds,
    scores,
)
from textpl.tasks import make_task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """One trained model on the test rows.

    Attributes:
        seed: seed of split, model and training.
        probabilities: float32 (rows, labels).
        gold: ids (rows,) or multi-hot (rows, labels).
        predictions: ids (rows,) or 0/1 (rows, labels).
        scores: every metric of the task, in [0, 1].
        thresholds: multi-label: the cut of each label.
        calibration_error: expected calibration error.
        steps: optimizer steps.
        seconds: wall time of training.
        token_passes: forward passes per token, a training pass counted three times.
        labeled_passes: the part of them spent on labelled rows.
        history: the Trainer's log.
    """

    seed: int
    probabilities: np.ndarray
    gold: np.ndarray
    predictions: np.ndarray
    scores: dict[str, float]
    thresholds: list[float] | None
    calibration_error: float
    steps: int
    seconds: float
    token_passes: int
    labeled_passes: int
    history: list[dict[str, Any]]


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
    """

    task: str
    metric: str
    name: str
    baseline: list[Outcome]
    method: list[Outcome]
    interval: Interval

    def __str__(self) -> str:
        note = f" ({self.interval.note})" if self.interval.note else ""
        return f"{self.interval.sentence()}{note}"

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data, in the form of `results.json`."""
        return {
            "task": self.task,
            "metric": self.metric,
            "unit": "points",
            "baseline": self._summary(self.baseline),
            "method": {"name": self.name, **self._summary(self.method)},
            "difference": {
                "mean": self.interval.mean,
                "interval": [self.interval.low, self.interval.high],
                "level": self.interval.level,
                "sentence": str(self),
            },
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
    method: SemiSupervised | Callable[[int], SemiSupervised],
    seeds: Iterable[int] = range(3),
    *,
    name: str = "method",
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
        method: a `SemiSupervised`, or `method(seed)` that builds one (needed when the pool depends on the seed).
        seeds: one pair of trainings each; 5 or more give an interval worth having.
        name: the method's name, for tables.
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
        ValueError: for no or repeated seeds, a Trainer without test rows or one that chooses a checkpoint on them, a
            model that was trained before, or a folder with the trainings of another comparison.
    """
    if match not in ("compute", "steps"):
        raise ValueError(f"match={match!r}: use 'compute' or 'steps'.")
    seeds = list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds}: one or more different seeds are needed.")
    keep = None if folder is None else Path(folder)
    _claim(keep, {"name": name, "match": match, "thresholds": thresholds})
    pair = _Pair(make_trainer, method, name, match, thresholds, keep, on_model, on_start)
    methods: list[Outcome] = []
    baseline: list[Outcome] = []
    for seed in seeds:
        methods.append(pair.with_pool(seed))
        baseline.append(pair.labels_only(seed, methods[-1]))
    multi = baseline[0].gold.ndim == 2
    metric = metric or ("macro_f1" if multi else "accuracy")
    interval = bootstrap_difference(
        [o.predictions for o in baseline],
        [o.predictions for o in methods],
        [o.gold for o in baseline],
        metric,
        level=level,
    )
    return Comparison("multi" if multi else "single", metric, name, baseline, methods, interval)


@dataclass
class _Pair:
    """The two trainings of a seed, with the settings of `compare`; what `folder` holds is not repeated."""

    make_trainer: Callable[[int], Trainer]
    method: SemiSupervised | Callable[[int], SemiSupervised]
    name: str
    match: Literal["compute", "steps"]
    thresholds: float | Literal["prior"]
    folder: Path | None
    on_model: Callable[[int, Trainer], None] | None
    on_start: Callable[[str], None] | None
    seen: list[weakref.ref] = field(default_factory=list)

    def with_pool(self, seed: int) -> Outcome:
        if (done := _load(self.folder, seed, "method")) is not None:
            return done
        trainer = self._fresh(seed)
        callback = self.method if isinstance(self.method, SemiSupervised) else self.method(seed)
        attach(trainer, callback)
        self._announce(seed, self.name)
        outcome = _train(trainer, seed, self.thresholds, callback)
        _warn_of_test_rows(trainer, callback)
        if self.on_model is not None:
            self.on_model(seed, trainer)
        _save(self.folder, outcome, "method")
        return outcome

    def labels_only(self, seed: int, method: Outcome) -> Outcome:
        if (done := _load(self.folder, seed, "baseline")) is not None:
            return done
        trainer = self._fresh(seed)
        counter = _TokenCounter(trainer)
        if self.match == "compute":
            trainer.args.max_steps = _matched_steps(method)
        self._announce(seed, "labels only")
        outcome = _train(trainer, seed, self.thresholds, counter)
        _save(self.folder, outcome, "baseline")
        return outcome

    def _fresh(self, seed: int) -> Trainer:
        set_seed(seed)
        trainer = self.make_trainer(seed)
        _check(trainer, self.seen)
        return trainer

    def _announce(self, seed: int, side: str) -> None:
        if self.on_start is not None:
            self.on_start(f"seed {seed}: {side}")


def _check(trainer: Trainer, seen: list[weakref.ref]) -> None:
    """Refuse what would make the comparison dishonest or fail after hours."""
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
    label_key(trainer.eval_dataset)
    find_task(trainer.model, trainer.train_dataset)


def _warn_of_test_rows(trainer: Trainer, callback: SemiSupervised) -> None:
    shared = callback.pool_rows_in(trainer.eval_dataset)
    if shared:
        logger.warning(
            "%d unlabelled rows have the tokens of a test row: the method has seen test texts (without labels). Take "
            "them out of the pool for an honest number.",
            shared,
        )


class _TokenCounter:
    """Counts the tokens that the model is trained on, as a callback does for its run."""

    def __init__(self, trainer: Trainer) -> None:
        self.token_passes = 0
        trainer.model.register_forward_hook(self._count, with_kwargs=True)

    def _count(self, module: torch.nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if module.training:
            self.token_passes += TRAINING_PASSES * kwargs["input_ids"].numel()

    @property
    def labeled_passes(self) -> int:
        return self.token_passes


def _train(
    trainer: Trainer, seed: int, thresholds: float | Literal["prior"], counter: SemiSupervised | _TokenCounter
) -> Outcome:
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    predicted = trainer.predict(trainer.eval_dataset)
    config = trainer.model.config
    task = make_task(config.problem_type, config.num_labels)
    probabilities = task.probabilities(torch.from_numpy(np.asarray(predicted.predictions))).numpy()
    gold = np.asarray(predicted.label_ids).astype(np.int64)
    cut: Any = None
    if task.problem_type == "multi_label_classification":
        labels = label_array(trainer.train_dataset, task)
        cut = prior_thresholds(probabilities, labels.mean(0)) if thresholds == "prior" else thresholds
    predictions = decide(probabilities, task.problem_type, 0.5 if cut is None else cut)
    return Outcome(
        seed=seed,
        probabilities=probabilities,
        gold=gold,
        predictions=predictions,
        scores=scores(predictions, gold),
        thresholds=None if cut is None else np.broadcast_to(cut, task.num_labels).tolist(),
        calibration_error=expected_calibration_error(probabilities, gold, task.problem_type),
        steps=trainer.state.global_step,
        seconds=seconds,
        token_passes=int(counter.token_passes),
        labeled_passes=int(counter.labeled_passes),
        history=list(trainer.state.log_history),
    )


def _matched_steps(method: Outcome) -> int:
    """Labels-only steps that cost as much as the method's run."""
    return max(1, round(method.steps * method.token_passes / method.labeled_passes))


def _claim(folder: Path | None, settings: dict[str, Any]) -> None:
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "settings.json"
    if file.exists() and json.loads(file.read_text()) != settings:
        raise ValueError(f"The folder {folder} holds the trainings of another comparison ({file.read_text()}).")
    file.write_text(json.dumps(settings))


_ARRAYS = ("probabilities", "gold", "predictions")


def _save(folder: Path | None, outcome: Outcome, side: str) -> None:
    if folder is None:
        return
    file = folder / f"{outcome.seed}-{side}.npz"
    rest = {k: v for k, v in vars(outcome).items() if k not in _ARRAYS}
    partial = file.with_suffix(".partial.npz")
    np.savez(partial, rest=json.dumps(rest), **{name: getattr(outcome, name) for name in _ARRAYS})
    os.replace(partial, file)


def _load(folder: Path | None, seed: int, side: str) -> Outcome | None:
    file = None if folder is None else folder / f"{seed}-{side}.npz"
    if file is None or not file.exists():
        return None
    with np.load(file) as stored:
        return Outcome(**json.loads(str(stored["rest"])), **{name: stored[name] for name in _ARRAYS})
