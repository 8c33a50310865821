"""Losses of the student on unlabelled rows.

Called as `loss(logits, q, task)`: student logits and target, both (rows, labels), give the loss per row
(single-label) or per cell (multi-label): the shape of the selection weight. q carries no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

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
class DistillationLoss:
    """T^2 KL(q || softmax(z / T)), for multi-label T^2 times the Bernoulli KL of sigmoid(z / T).

    q must be the teacher's distribution at the same temperature (`Temperature(T)`). T^2 keeps the size of the
    gradient, which is (softmax(z / T) - q) / T, independent of T (Hinton et al. 2015, arXiv 1503.02531, section 2).
    """

    temperature: float = 2.0

    def __call__(self, logits: Tensor, q: Tensor, task: Task) -> Tensor:
        """Loss per row or cell."""
        return self.temperature**2 * kl_divergence(full_precision(logits) / self.temperature, q, task)
