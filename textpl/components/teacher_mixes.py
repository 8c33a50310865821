"""Teachers made of two teachers: blended, one where the other is unsure, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from textpl.components.slot import Slot, check_saved, identity_of
from textpl.components.step import Run, Step
from textpl.components.teachers import Target, Teacher
from textpl.tasks import TINY, MultiLabel


class _Pair(Slot):
    """Passes on to both teachers what happens in training."""

    def __init__(self, first: Teacher, second: Teacher) -> None:
        super().__init__()
        check_saved(self, first, second)
        self.first, self.second = first, second

    def inner(self) -> Iterable[Any]:
        """Return both teachers."""
        return self.first, self.second

    @property
    def averages(self) -> bool:  # type: ignore[override]
        """Whether one of them puts averaged weights into the model at the end."""
        return any(getattr(part, "averages", hasattr(part, "finish")) for part in self.inner())

    @property
    def identity(self) -> str:
        """What a checkpoint of this teacher belongs to."""
        return f"{type(self).__name__}({', '.join(map(identity_of, self.inner()))})"

    @property
    def prepared_tokens(self) -> int:  # type: ignore[override]
        """Tokens that either teacher has read outside of the steps."""
        return sum(getattr(part, "prepared_tokens", 0) for part in self.inner())


class Blend(_Pair):
    """Two opinions in one target: p ~ p_1^(1 - share) p_2^share, or their weighted mean.

    Teachers with different errors (the classifier and the neighbours) correct each other. Where one abstains, the other
    one's opinion stands alone. Product: of probabilities, for multi-label of odds; the linear form is CoMatch's.

    Args:
        first: a teacher.
        second: a teacher.
        share: weight of the second, in [0, 1].
        how: "product" or "linear".
        agree: single-label: abstain where the two disagree on the class.

    Raises:
        ValueError: for settings out of range; at the start of training for `agree` with a multi-label model.
    """

    def __init__(
        self,
        first: Teacher,
        second: Teacher,
        *,
        share: float = 0.5,
        how: Literal["product", "linear"] = "product",
        agree: bool = False,
    ) -> None:
        if not 0 <= share <= 1 or how not in ("product", "linear"):
            raise ValueError(
                f"Blend(share={share!r}, how={how!r}): share lies in [0, 1], how is 'product' or 'linear'."
            )
        super().__init__(first, second)
        self.share, self.how, self.agree = share, how, agree

    def prepare(self, run: Run) -> None:
        """Get both ready."""
        if self.agree and isinstance(run.task, MultiLabel):
            raise ValueError("Blend(agree=True) is for single-label models: rows with many labels hardly ever agree.")
        super().prepare(run)

    def __call__(self, step: Step) -> Target:
        """The blended probabilities; abstains where both do, or where they disagree and must not."""
        (a, a_valid), (b, b_valid) = self.first(step), self.second(step)
        both = self._blend(a, b.to(a.dtype), step)
        p = torch.where((a_valid & b_valid)[:, None], both, torch.where(a_valid[:, None], a, b.to(a.dtype)))
        valid = a_valid | b_valid
        if self.agree:
            valid &= ~(a_valid & b_valid) | (a.argmax(1) == b.argmax(1))
        return p, valid

    def _blend(self, a: Tensor, b: Tensor, step: Step) -> Tensor:
        if self.how == "linear":
            return (1 - self.share) * a + self.share * b
        present = _powers(a, 1 - self.share) * _powers(b, self.share)
        if isinstance(step.task, MultiLabel):
            absent = _powers(1 - a, 1 - self.share) * _powers(1 - b, self.share)
            return present / (present + absent)
        return present / present.sum(1, keepdim=True)


class Fallback(_Pair):
    """The second teacher's target where the first is unsure.

    Args:
        first: a teacher, such as `SelfTeacher()`.
        second: a teacher, such as `HDLTeacher()`.
        threshold: the first teacher's confidence from which on its own target stands; per row, for multi-label per
            cell.

    Raises:
        ValueError: for a threshold outside [0, 1].
    """

    def __init__(self, first: Teacher, second: Teacher, *, threshold: float = 0.8) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"Fallback(threshold={threshold!r}): must lie in [0, 1].")
        super().__init__(first, second)
        self.threshold = threshold

    def __call__(self, step: Step) -> Target:
        """The first target where it is sure, else the second where that one does not abstain."""
        (a, a_valid), (b, b_valid) = self.first(step), self.second(step)
        sure = step.task.confidence(a) >= self.threshold
        sure = sure if sure.ndim == 2 else sure[:, None]
        p = torch.where((sure & a_valid[:, None]) | ~b_valid[:, None], a, b.to(a.dtype))
        return p, a_valid | b_valid


class Then(_Pair):
    """The first teacher, then the second: train, relabel, go on (the HDL paper's protocol).

    Args:
        first: a teacher.
        second: takes over; not called before.
        at: share of the run at which it does, in (0, 1).

    Raises:
        ValueError: for an `at` out of range.
    """

    def __init__(self, first: Teacher, second: Teacher, *, at: float = 0.5) -> None:
        if not 0 < at < 1:
            raise ValueError(f"Then(at={at!r}): a share of the run between 0 and 1, both excluded.")
        super().__init__(first, second)
        self.at = at

    def __call__(self, step: Step) -> Target:
        """The target of the teacher whose turn it is."""
        return (self.first if step.progress < self.at else self.second)(step)


def _powers(p: Tensor, exponent: float) -> Tensor:
    return p.clamp_min(TINY) ** exponent
