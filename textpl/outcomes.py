"""One training of a comparison: the model on the test rows, what it cost, and how that is kept on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import Trainer

from textpl.atomic_files import replacing
from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.callbacks.semi_supervised import TRAINING_PASSES, SemiSupervised
from textpl.callbacks.setup import label_array
from textpl.components.labeled_rows import seen_rows
from textpl.evaluation import decide, expected_calibration_error, prior_thresholds, scores
from textpl.head_inputs import head_components, head_inputs
from textpl.tasks import Task, make_task


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
        features: float16 (mapped rows, at most 50), what the classification layer sees of the test rows
            `mapped_rows(len(gold))`, as principal components; None where that layer was not found.
        seen_test_texts: which test texts the training saw, a `SeenTestTexts` as plain data; None if not looked for.
        free: what the method gives its model that labels-only could have too, in words; None if not looked for.
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
    features: np.ndarray | None = None
    seen_test_texts: dict[str, Any] | None = None
    free: str | None = None


class TokenCounter:
    """Counts the tokens that the model is trained on, as a callback does for its run.

    Args:
        trainer: not yet trained.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.token_passes = 0
        trainer.model.register_forward_hook(self._count, with_kwargs=True)

    def _count(self, module: torch.nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if module.training:
            self.token_passes += TRAINING_PASSES * kwargs["input_ids"].numel()

    @property
    def labeled_passes(self) -> int:
        """All of them: there is no pool."""
        return self.token_passes


def train_and_test(
    trainer: Trainer,
    seed: int,
    thresholds: float | Literal["prior"],
    counter: SemiSupervised | NoisyLabels | TokenCounter,
) -> Outcome:
    """Train, then predict the test rows once.

    Args:
        trainer: with the test rows as its `eval_dataset`.
        seed: noted in the outcome.
        thresholds: as for `compare`.
        counter: knows afterwards how many tokens were passed.
    """
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    with head_inputs(trainer) as seen:
        predicted = trainer.predict(trainer.eval_dataset)
    config = trainer.model.config
    task = make_task(config.problem_type, config.num_labels)
    return make_outcome(
        seed,
        task.probabilities(torch.from_numpy(np.asarray(predicted.predictions))).numpy(),
        np.asarray(predicted.label_ids),
        task,
        thresholds,
        lambda: label_array(seen_rows(trainer.train_dataset, trainer.data_collator, tokens=False), task),
        steps=trainer.state.global_step,
        seconds=seconds,
        token_passes=int(counter.token_passes),
        labeled_passes=int(counter.labeled_passes),
        history=list(trainer.state.log_history),
        features=head_components(seen, len(predicted.label_ids)),
    )


def make_outcome(
    seed: int,
    probabilities: np.ndarray,
    gold: np.ndarray,
    task: Task,
    thresholds: float | Literal["prior"],
    labeled: Callable[[], np.ndarray],
    **training: Any,
) -> Outcome:
    """Decide and score the test rows.

    Args:
        seed: of split, model and training.
        probabilities: float32 (rows, labels).
        gold: ids (rows,) or multi-hot (rows, labels), of any dtype.
        task: what the labels are.
        thresholds: as for `compare`.
        labeled: gives the labels of the labeled rows, multi-hot (labeled rows, labels); called for multi-label only.
        training: what it cost, the other attributes of `Outcome`.
    """
    gold, cut = gold.astype(np.int64), None
    if task.problem_type == "multi_label_classification":
        cut = prior_thresholds(probabilities, labeled().mean(0)) if thresholds == "prior" else thresholds
    predictions = decide(probabilities, task.problem_type, 0.5 if cut is None else cut)
    return Outcome(
        seed=seed,
        probabilities=probabilities,
        gold=gold,
        predictions=predictions,
        scores=scores(predictions, gold),
        thresholds=None if cut is None else np.broadcast_to(cut, task.num_labels).tolist(),
        calibration_error=expected_calibration_error(probabilities, gold, task.problem_type),
        **training,
    )


_ARRAYS = ("probabilities", "gold", "predictions", "features")


def save_outcome(folder: Path | None, outcome: Outcome, side: str) -> None:
    """Write to `folder`, so that it is either there or not."""
    if folder is None:
        return
    file = folder / f"{outcome.seed}-{side}.npz"
    arrays = {name: getattr(outcome, name) for name in _ARRAYS if getattr(outcome, name) is not None}
    rest = {k: v for k, v in vars(outcome).items() if k not in _ARRAYS}
    with replacing(file) as partial, partial.open("wb") as stream:
        np.savez(stream, rest=json.dumps(rest), **arrays)


def load_outcome(folder: Path | None, seed: int, side: str) -> Outcome | None:
    """What `save_outcome` wrote; None if there is no folder or no such file."""
    file = None if folder is None else folder / f"{seed}-{side}.npz"
    if file is None or not file.exists():
        return None
    with np.load(file) as stored:
        return Outcome(**json.loads(str(stored["rest"])), **{n: stored[n] for n in _ARRAYS if n in stored})
