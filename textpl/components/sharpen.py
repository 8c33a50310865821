"""Sharpening: probabilities p -> target q. Called as `sharpen(p, step)`; shapes (rows, labels) -> (rows, labels).

Multi-label targets stay soft. A label that 5 % of the rows carry is hardly ever given p >= .5, however well p is
calibrated: a cut there teaches that nobody has it. Cuts where a label's rate is met (CAP, Xie et al. 2023) keep the
mean, but at a rate of 5 % every second positive they make is wrong, and more where the evidence is weak; the
probability itself is right on average in every selection that looks at p alone. `benchmarks/multi_label_targets.py`
measures all three.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from textpl.components.step import Step
from textpl.tasks import MultiLabel


def argmax(p: Tensor, step: Step) -> Tensor:
    """Hard target, one-hot of the most probable label (Lee 2013, equation 14); multi-label p as it is, see module."""
    return p if isinstance(step.task, MultiLabel) else step.task.hard(p)


def keep(p: Tensor, step: Step) -> Tensor:
    """No sharpening: the probabilities themselves are the soft target."""
    return p


@dataclass(frozen=True)
class Temperature:
    """Soft target q = softmax(log p / T), for multi-label sigmoid(logit(p) / T).

    T < 1 sharpens (UDA, arXiv 1904.12848), T > 1 softens (distillation, arXiv 1503.02531, equation 1).
    This is the one place where a temperature is applied to a target.

    Args:
        temperature: T.
        cells: whether multi-label probabilities are tempered too. Right where the student's are as well
            (`DistillationLoss`); otherwise T < 1 pushes every label that is rare towards 0, T > 1 towards one half.

    Raises:
        ValueError: if T is not positive.
    """

    temperature: float
    cells: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature!r}: must be > 0 (use sharpen=argmax for hard targets).")

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """Temper p."""
        if isinstance(step.task, MultiLabel) and not self.cells:
            return p
        return step.task.temper(p, self.temperature)
