"""Losses that replace the supervised one in training: called as `labeled_loss(logits, labels, batch)`.

They give the loss of each row (cell, for multi-label), which `textpl.attach` averages exactly over the whole optimizer
step, with the `label_weight` column if there is one; or a scalar, the mean over the micro-batch, which is exact only
where all its rows count. A loss that leaves rows out by what the model makes of them says which by `keeps`, before the
step. Evaluation always keeps the plain loss.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from textpl.components.step import Run
from textpl.tasks import TINY, MultiLabel, Task

logger = logging.getLogger(__name__)


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
    """Leave out labeled rows that the model already has right with a probability above a rising ceiling.

    UDA (arXiv 1904.12848, training-signal annealing): a row is dropped when p(correct class) > eta_t, with
    eta_t = a_t (1 - 1/K) + 1/K and a_t = 1 - exp(-5 t) ("log"), t ("linear") or exp(5 (t - 1)) ("exp"); the loss is
    the mean over the rows that stay, sum(stays * loss) / max(sum(stays), 1) as in the authors' `text/uda.py`. It is the
    probability of the *correct* class: dropping by the largest probability, as a well-known re-implementation does,
    silences confident mistakes.

    Both sums run over the whole optimizer step: all its micro-batches and processes. Which rows stay is therefore read
    before the step, from the model without dropout (the authors read it off the training pass, of one batch). That
    costs a forward pass of the labeled rows while t < `until`.

    Not for multi-label: nearly all cells of a rare label are sure negatives; leaving these out and not its positives
    raises the rate at which the label is predicted.

    Args:
        schedule: "linear", "log" (labels are plenty) or "exp" (overfitting is the danger; it starves the
            supervised side for most of a short fine-tune).
        until: share of the run after which every row counts again.
        multi_label: what a multi-label task gets: an error ("refuse"), or the plain loss ("plain") and a warning.

    Raises:
        ValueError: for settings out of range; at the start of training for a multi-label task, unless "plain".
    """

    schedule: Literal["linear", "log", "exp"] = "linear"
    until: float = 1.0
    multi_label: Literal["refuse", "plain"] = "refuse"

    def __post_init__(self) -> None:
        if self.schedule not in ("linear", "log", "exp"):
            raise ValueError(f"schedule={self.schedule!r}: use 'linear', 'log' or 'exp'.")
        if not 0 < self.until <= 1:
            raise ValueError(f"until={self.until!r}: must lie in (0, 1].")
        if self.multi_label not in ("refuse", "plain"):
            raise ValueError(f"multi_label={self.multi_label!r}: use 'refuse' or 'plain'.")

    def prepare(self, run: Run) -> None:
        """Refuse a multi-label task, or tell that it gets the plain loss."""
        if not isinstance(run.task, MultiLabel):
            return
        why = "training-signal annealing leaves out what the model is sure of, in a multi-label task nearly all rows "
        why += "without a label, so that every label would be predicted too often"
        if self.multi_label == "refuse":
            raise ValueError(f"TrainingSignalAnnealing is for single-label tasks: {why}. For textpl.uda, tsa=None.")
        logger.warning("No training-signal annealing: %s. The labeled rows are trained on the plain loss.", why)

    def ceiling(self, progress: float, classes: int) -> float:
        """eta_t for the share of training done and the number of classes."""
        t = min(progress / self.until, 1.0)
        alpha = {"linear": t, "log": 1 - math.exp(-5 * t), "exp": math.exp(5 * (t - 1))}[self.schedule]
        return alpha * (1 - 1 / classes) + 1 / classes

    def drops(self, progress: float, task: Task) -> bool:
        """Whether any row may be left out at this share of the run."""
        return progress < self.until and not isinstance(task, MultiLabel)

    def keeps(self, logits: Tensor, labels: Tensor, progress: float, task: Task) -> Tensor:
        """1 for each row that stays, else 0; float32 (rows,).

        Args:
            logits: of the model without dropout, (rows, labels).
            labels: class ids (rows,), or soft labels (rows, labels).
            progress: share of the run that is done.
            task: single-label.
        """
        correct = (task.probabilities(logits) * as_targets(labels, task)).sum(-1)
        return (correct <= self.ceiling(progress, task.num_labels)).float()

    def __call__(self, logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
        """The plain loss of each row (cell); those that are left out weigh 0 in the step's mean."""
        return cross_entropy(logits, labels, batch)
