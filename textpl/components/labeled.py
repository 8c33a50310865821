"""Losses that replace the supervised one in training: called as `labeled_loss(logits, labels, batch)`.

They give the loss of each row (cell, for multi-label), which `textpl.attach` averages exactly over the whole optimizer
step, with the `label_weight` column if there is one; or the mean over the micro-batch as a scalar, where the loss
itself decides which rows count. Evaluation always keeps the plain loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from textpl.components.step import Run, Step
from textpl.tasks import TINY, SingleLabel, Task


@dataclass
class LabeledBatch:
    """What a labelled loss may know of the micro-batch it is asked about.

    Attributes:
        run: the run it belongs to (`run.pool` is None where there is no pool).
        index: number of optimizer steps done before this one.
        rows: rows of the training set, int64 (rows,).
        inputs: the model's inputs, each (rows, tokens).
        weight: of each row, or of each cell for multi-label; None where all count the same.
        total: sum of the weights over the whole optimizer step; without weights the number of rows (cells).
    """

    run: Run
    index: int
    rows: Tensor
    inputs: dict[str, Any]
    weight: Tensor | None
    total: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """This micro-batch's part of the weighted mean over the whole optimizer step.

        Divided by the sum of the weights: masking cells (weight 0) does not shrink the gradient of the others.
        """
        weighted = losses if self.weight is None else self.weight * losses
        return weighted.sum() / self.total.clamp_min(TINY)

    @property
    def task(self) -> Task:
        """The run's task."""
        return self.run.task

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1)."""
        return self.index / max(self.run.total_steps, 1)


LabeledLoss = Callable[[Tensor, Tensor, Any], Tensor]


def as_targets(labels: Tensor, task: Task) -> Tensor:
    """Target distribution (rows, labels) of class ids (rows,), multi-hot or soft labels (rows, labels)."""
    return task.targets(labels) if labels.ndim == 1 else labels.float()


def cross_entropy(logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
    """The plain loss of each row (cell), against hard or soft labels: what weights alone need."""
    return batch.task.cross_entropy(logits, as_targets(labels, batch.task))


@dataclass(frozen=True)
class TrainingSignalAnnealing:
    """Leave out labelled rows that the model already has right with a probability above a rising ceiling.

    UDA (arXiv 1904.12848, training-signal annealing): a row is dropped when p(correct class) > eta_t, with
    eta_t = a_t (1 - 1/K) + 1/K and a_t = 1 - exp(-5 t) ("log"), t ("linear") or exp(5 (t - 1)) ("exp"); the loss is
    the mean over the rows that stay. It is the probability of the *correct* class: dropping by the largest
    probability, as a well-known re-implementation does, silences confident mistakes. Multi-label: per cell, with
    K = 2 and the probability of the given value.

    Args:
        schedule: "linear", "log" (labels are plenty) or "exp" (overfitting is the danger; it starves the
            supervised side for most of a short fine-tune).
        until: share of the run after which every row counts again.
    """

    schedule: Literal["linear", "log", "exp"] = "linear"
    until: float = 1.0

    def __post_init__(self) -> None:
        if self.schedule not in ("linear", "log", "exp"):
            raise ValueError(f"schedule={self.schedule!r}: use 'linear', 'log' or 'exp'.")
        if not 0 < self.until <= 1:
            raise ValueError(f"until={self.until!r}: must lie in (0, 1].")

    def ceiling(self, progress: float, classes: int) -> float:
        """eta_t for the share of training done and the number of classes."""
        t = min(progress / self.until, 1.0)
        alpha = {"linear": t, "log": 1 - math.exp(-5 * t), "exp": math.exp(5 * (t - 1))}[self.schedule]
        return alpha * (1 - 1 / classes) + 1 / classes

    def __call__(self, logits: Tensor, labels: Tensor, step: Step | LabeledBatch) -> Tensor:
        """Mean loss over the rows (cells) that stay."""
        task = step.task
        y = task.targets(labels)
        p = task.probabilities(logits.detach())
        if isinstance(task, SingleLabel):
            correct, classes = (p * y).sum(-1), task.num_labels
        else:
            correct, classes = p * y + (1 - p) * (1 - y), 2
        stays = (correct <= self.ceiling(step.progress, classes)).float()
        if step.progress >= self.until:
            stays = stays.new_ones(stays.shape)
        return (stays * task.cross_entropy(logits, y)).sum() / stays.sum().clamp_min(1)
