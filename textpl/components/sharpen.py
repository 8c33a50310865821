"""Sharpening: probabilities p -> target q. Called as `sharpen(p, task)`; shapes (rows, labels) -> (rows, labels)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from textpl.tasks import MultiLabel, Task


def argmax(p: Tensor, task: Task) -> Tensor:
    """Hard target: one-hot of the most probable label, or 1[p >= 0.5] per label (Lee 2013, equation 14)."""
    return task.hard(p)


def winner(p: Tensor, task: Task) -> Tensor:
    """Arg-max for single-label; multi-label p as it is, since 0.5 is no cut for rare labels."""
    return p if isinstance(task, MultiLabel) else task.hard(p)


def keep(p: Tensor, task: Task) -> Tensor:
    """No sharpening: the probabilities themselves are the soft target."""
    return p


@dataclass(frozen=True)
class Temperature:
    """Soft target q = softmax(log p / T), for multi-label sigmoid(logit(p) / T).

    T < 1 sharpens (UDA, arXiv 1904.12848), T > 1 softens (distillation, arXiv 1503.02531, equation 1).
    This is the one place where a temperature is applied to a target.

    Raises:
        ValueError: if T is not positive.
    """

    temperature: float

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature!r}: must be > 0 (use sharpen=argmax for hard targets).")

    def __call__(self, p: Tensor, task: Task) -> Tensor:
        """Temper p."""
        return task.temper(p, self.temperature)
