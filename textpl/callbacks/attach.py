"""Put semi-supervised callbacks into a Trainer so that everything about them is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from transformers import Trainer

from textpl.callbacks.semi_supervised import SemiSupervised


def attach(trainer: Trainer, *callbacks: SemiSupervised) -> Trainer:
    """Put `callbacks` into `trainer` and return it.

    Beyond `trainer.add_callback` this makes the supervised gradient a mean over the whole optimizer step (the Trainer
    would otherwise leave it accumulation steps x processes too large for BERT-like models), installs a callback's
    `labeled_loss` (in training only), and places the callbacks before the reporters so that TensorBoard and the
    like see their values.

    Args:
        trainer: a `transformers.Trainer` or a subclass of it, not yet trained.
        callbacks: one or more `SemiSupervised`.

    Raises:
        TypeError: if something else is given.
        ValueError: if two losses would replace the supervised one.
    """
    for callback in callbacks:
        if not isinstance(callback, SemiSupervised):
            raise TypeError(
                f"attach takes SemiSupervised callbacks, not {type(callback).__name__}; other callbacks go into "
                "Trainer(callbacks=[...])."
            )
        if callback.labeled_loss is not None:
            if trainer.compute_loss_func is not None:
                raise ValueError(
                    "The Trainer already has a compute_loss_func (or another callback's labeled_loss): only one loss "
                    "can replace the supervised one."
                )
            trainer.compute_loss_func = _loss_function(callback, trainer)
        callback.attached = True
    trainer.model_accepts_loss_kwargs = False
    trainer.callback_handler.callbacks[:0] = callbacks
    return trainer


def _loss_function(callback: SemiSupervised, trainer: Trainer) -> Callable[..., Tensor]:
    def compute(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        if num_items_in_batch is None:  # evaluation
            if trainer.model.config.problem_type == "multi_label_classification":
                return F.binary_cross_entropy_with_logits(outputs.logits, labels.float())
            return F.cross_entropy(outputs.logits, labels)
        mean = callback.labeled_loss(outputs.logits, labels, callback.step)  # type: ignore[misc, arg-type]
        # The Trainer expects this micro-batch's part of the mean over the whole step.
        return mean * labels.numel() / num_items_in_batch

    return compute
