"""Losses that replace the supervised one in training: called as `labeled_loss(logits, labels, step) -> scalar`.

The scalar is the mean over the micro-batch; `textpl.attach` scales it for gradient accumulation. Evaluation
always keeps the plain loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from textpl.components.step import Step
from textpl.tasks import SingleLabel


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

    def __call__(self, logits: Tensor, labels: Tensor, step: Step) -> Tensor:
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
