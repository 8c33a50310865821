"""Losses of the student on unlabelled rows.

Called as `loss(logits, q, task)`: student logits and target, both (rows, labels), give the loss per row
(single-label) or per cell (multi-label): the shape of the selection weight. q carries no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from textpl.components.labeled import LabeledBatch, as_targets
from textpl.tasks import SingleLabel, Task, full_precision


def cross_entropy(logits: Tensor, q: Tensor, task: Task) -> Tensor:
    """H(q, p) with soft or hard q; binary cross-entropy per label when the task is multi-label."""
    return task.cross_entropy(logits, q)


def kl_divergence(logits: Tensor, q: Tensor, task: Task) -> Tensor:
    """KL(q || p) = H(q, p) - H(q): the gradient of `cross_entropy`, with a floor of 0."""
    return task.cross_entropy(logits, q) - task.entropy(q)


def mean_squared_error(logits: Tensor, q: Tensor, task: Task) -> Tensor:
    """Squared difference of probabilities; single-label: mean over the classes (Laine & Aila, arXiv 1610.02242)."""
    squared = (task.probabilities(logits) - q) ** 2
    return squared.mean(-1) if isinstance(task, SingleLabel) else squared


@dataclass(frozen=True)
class AsymmetricLoss:
    """Binary cross-entropy in which easy negatives count little (Ridnik et al. 2021, arXiv 2009.14119).

    Positives: -log p. Negatives: -p_m^focus log(1 - p_m) with p_m = max(p - margin, 0). The factor p_m^focus carries no
    gradient, as in the authors' code. For multi-label; it ranks well and overestimates probabilities.

    Args:
        focus: exponent; 0 and `margin=0` make it the cross-entropy.
        margin: probability below which a negative costs nothing.

    Raises:
        ValueError: for values out of range.
    """

    focus: float = 4.0
    margin: float = 0.05

    def __post_init__(self) -> None:
        if not (0 <= self.focus < float("inf") and 0 <= self.margin < 1):
            raise ValueError(f"focus={self.focus!r}, margin={self.margin!r}: a number from 0 on, and one in [0, 1).")

    def __call__(self, logits: Tensor, q: Tensor, task: Task) -> Tensor:
        """Loss of each cell."""
        logits, q = full_precision(logits), q.to(full_precision(logits).dtype)
        easy = (logits.sigmoid() - self.margin).clamp_min(0)
        # Without a margin 1 - p would round to 0 for sure positives.
        log_negative = torch.log1p(-easy) if self.margin else F.logsigmoid(-logits)
        return -(q * F.logsigmoid(logits) + (1 - q) * easy.detach() ** self.focus * log_negative)

    def labeled(self, logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
        """Compute the same of labeled rows, as a `labeled_loss`."""
        return self(logits, as_targets(labels, batch.task), batch.task)


@dataclass(frozen=True)
class DistillationLoss:
    """T^2 KL(q || softmax(z / T)), for multi-label T^2 times the Bernoulli KL of sigmoid(z / T).

    q must be the teacher's distribution at the same temperature (`Temperature(T)`). T^2 keeps the size of the
    gradient, which is (softmax(z / T) - q) / T, independent of T (Hinton et al. 2015, arXiv 1503.02531, section 2).
    """

    temperature: float = 2.0

    def __call__(self, logits: Tensor, q: Tensor, task: Task) -> Tensor:
        """Loss per row or cell."""
        return self.temperature**2 * kl_divergence(full_precision(logits) / self.temperature, q, task)
