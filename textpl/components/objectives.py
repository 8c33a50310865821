"""Objectives: what the student learns from the pool rows of a step.

Called as `objective(batch, step) -> scalar`, once for each chunk of at most a labeled batch's rows, or once for all
rows of the step where `whole` is set. It runs the model itself, `step.forward(..., grad=True)`, and divides by
`batch.count`, which counts what was drawn and not what was kept: the weight then means the same however many rows
pass. An objective with state, or with modules of its own, is a `Slot`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from textpl.components.step import Step
from textpl.tasks import Task

Loss = Callable[[Tensor, Tensor, Task], Tensor]


@dataclass
class StudentBatch:
    """Pool rows that the student learns from.

    Attributes:
        at: which of the step's rows they are, positions in `step.rows`, int64 (rows,).
        views: model inputs of shape (rows, tokens): of the texts themselves, then of what each view makes of them. The
            last one is what the student sees where it sees one.
        q: targets, (rows, labels).
        w: weights, (rows,) or (rows, labels).
        count: all rows (single-label) or cells that the step drew.
    """

    at: Tensor
    views: tuple[dict[str, Tensor], ...]
    q: Tensor
    w: Tensor
    count: int

    def select(self, keep: Tensor) -> StudentBatch:
        """Return the rows where `keep`, bool (rows,), is true."""
        views = tuple({name: tensor[keep] for name, tensor in view.items()} for view in self.views)
        return StudentBatch(self.at[keep], views, self.q[keep], self.w[keep], self.count)


class Objective(Protocol):
    """The loss of one step's pool rows, as a scalar.

    Attributes, where it has them, say what it needs beyond the rows that count, seen through one view, a chunk at a
    time: `views`, how many, or None for any number (it must do without too, on the texts alone); `whole`, all rows at
    once; `every_row`, rows of weight 0 too (those on which the teacher abstains are left out all the same).
    """

    def __call__(self, batch: StudentBatch, step: Step) -> Tensor:
        """Return the loss, divided by `batch.count`."""
        ...


@dataclass(frozen=True)
class PerRow:
    """The weighted sum of a loss of each row (cell), of the last view in training mode: the usual objective.

    Args:
        loss: student logits and target to loss per row or cell, see `textpl.components.losses`.
    """

    loss: Loss

    def __call__(self, batch: StudentBatch, step: Step) -> Tensor:
        """sum(w * loss) / count."""
        logits = step.forward(batch.views[-1], grad=True, train=True).logits
        return weighted_sum(self.loss(logits, batch.q, step.task), batch.w) / batch.count


def weighted_sum(losses: Tensor, w: Tensor) -> Tensor:
    """Sum losses by weights of the same shape.

    Raises:
        ValueError: for other shapes, which would be paired wrongly.
    """
    if losses.shape != w.shape:
        raise ValueError(
            f"The loss gives numbers of shape {tuple(losses.shape)}, the selection weights of shape {tuple(w.shape)}: "
            "both are one number per row, or both one per row and label."
        )
    return torch.sum(w * losses)
