"""The student's side of a step: which rows it sees, in which chunks, and their gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from textpl.callbacks.monitor import Monitor
from textpl.callbacks.passes import Passes
from textpl.components.objectives import Objective, StudentBatch
from textpl.components.step import Step
from textpl.inference import trim


def student_batches(
    objective: Objective, views: tuple[dict[str, Tensor], ...], q: Tensor, w: Tensor, valid: Tensor, chunk: int
) -> Iterator[StudentBatch]:
    """Cut the step's rows into what the objective is given.

    Args:
        objective: says what it needs.
        views: model inputs of all drawn rows.
        q: targets of all drawn rows, (rows, labels).
        w: their weights, (rows,) or (rows, labels).
        valid: rows on which the teacher does not abstain, bool (rows,).
        chunk: rows to a batch.
    """
    kept = valid if getattr(objective, "every_row", False) else (w > 0 if w.ndim == 1 else (w > 0).any(1))
    at = kept.nonzero().squeeze(1)
    # Chunks of similar length: a view changes lengths, and padding costs as much as words.
    at = at[views[-1]["attention_mask"][at].sum(1).argsort(stable=True)]
    size = max(len(at), 1) if getattr(objective, "whole", False) else chunk
    for start in range(0, len(at), size):
        rows = at[start : start + size]
        seen = tuple(trim({name: tensor[rows] for name, tensor in view.items()}) for view in views)
        yield StudentBatch(rows, seen, q[rows], w[rows], w.numel())


def student_gradient(
    objective: Objective,
    step: Step,
    batches: Iterator[StudentBatch],
    weight: float,
    scaler: Any,
    passes: Passes,
    monitor: Monitor,
) -> Tensor:
    """Add the gradient of weight * loss; return the loss, ().

    Args:
        objective: gives the loss of a batch.
        step: the step.
        batches: its rows.
        weight: of the loss.
        scaler: the Trainer's gradient scaler (fp16), or None.
        passes: runs the model.
        monitor: is told of rows whose numbers are not finite.
    """
    total = torch.zeros((), device=step.rows.device)
    for batch in batches:
        loss = _finite_loss(objective, step, batch, passes, monitor)
        if loss is None:
            continue
        scaled = weight * loss
        (scaler.scale(scaled) if scaler is not None else scaled).backward()
        total += loss.detach()
    return total


def _finite_loss(
    objective: Objective, step: Step, batch: StudentBatch, passes: Passes, monitor: Monitor
) -> Tensor | None:
    """The loss of a batch without the rows whose logits are not finite; None if there are no others.

    Masking their loss would not do: NaN times 0 is NaN on the way back. The others go through once more.
    """
    passes.finite = None
    loss = objective(batch, step)
    if passes.finite is None or passes.finite:
        return loss
    finite = torch.ones(len(batch.at), dtype=torch.bool, device=batch.at.device)
    for view in batch.views:
        finite &= step.forward(view).logits.isfinite().all(1)
    if finite.all():  # dropout alone made them so
        finite[:] = False
    monitor.not_finite("student", step.rows[batch.at[~finite]])
    if not finite.any():
        return None
    rest = batch.select(finite)
    passes.finite = None
    loss = objective(rest, step)
    return loss if passes.finite is None or passes.finite else None
