"""Which rows of an optimizer step a labeled loss leaves out, known before the step.

A mean over the rows that stay needs their number over all micro-batches and processes, before the first of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from textpl.callbacks.attachable import Attachable
from textpl.components.labeled_rows import ROW


@torch.no_grad()
def kept_rows(callback: Attachable, index: int, batches: Sequence[dict[str, Any]]) -> Tensor | None:
    """Ask the loss which rows of this process' micro-batches stay, by a forward pass without dropout.

    Args:
        callback: its `labeled_loss` may have `drops(progress, task)` and `keeps(logits, labels, progress, task)`.
        index: number of optimizer steps done.
        batches: the micro-batches of the step, with the numbers of their rows.

    Returns:
        float32 (labeled rows,), 0 for rows of the step that are left out, 1 for all others; None if none can be.
    """
    loss: Any = callback.labeled_loss
    run = callback.run
    progress = index / max(run.total_steps, 1)
    if not hasattr(loss, "drops") or not loss.drops(progress, run.task):
        return None
    model = run.model
    device = next(model.parameters()).device
    kept = torch.ones(len(run.labeled), device=device)
    training = model.training
    model.eval()
    try:
        for batch in batches:
            inputs = {name: value.to(device) for name, value in batch.items() if name not in (ROW, "labels")}
            logits = model(**inputs).logits
            kept[batch[ROW].to(device)] = loss.keeps(logits, batch["labels"].to(device), progress, run.task)
            callback.looked_ahead_tokens += inputs["input_ids"].numel() if "input_ids" in inputs else 0
    finally:
        model.train(training)
    return kept
