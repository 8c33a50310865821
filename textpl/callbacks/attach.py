"""Put a semi-supervised callback into a Trainer so that everything about it is exact."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers import Trainer

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.tasks import make_task

logger = logging.getLogger(__name__)


def attach(trainer: Trainer, *callbacks: SemiSupervised) -> Trainer:
    """Put `callbacks` into `trainer` and return it.

    Beyond `trainer.add_callback` this makes the supervised gradient a mean over the whole optimizer step (the Trainer
    would otherwise leave it accumulation steps x processes too large for BERT-like models), installs a callback's
    `labeled_loss` (in training only), and places the callback before the reporters so that TensorBoard and the
    like see its values. A `compute_loss_func` of your own must divide by `num_items_in_batch` itself.

    Args:
        trainer: a `transformers.Trainer` or a subclass of it, not yet trained.
        callbacks: one `SemiSupervised`; a Trainer holds one at a time.

    Raises:
        TypeError: if something else is given.
        ValueError: for a second callback, two losses in the place of the supervised one, DeepSpeed or FSDP.
    """
    for callback in callbacks:
        _check(trainer, callback)
        if callback.labeled_loss is not None and not callback.attached_to(trainer.args):
            if trainer.compute_loss_func is not None or trainer.label_smoother is not None:
                raise ValueError(
                    "The Trainer already has a compute_loss_func or label smoothing: only one loss can replace the "
                    "supervised one."
                )
            trainer.compute_loss_func = _loss_function(callback, trainer)
        elif trainer.compute_loss_func is not None and trainer.args.gradient_accumulation_steps > 1:
            logger.warning(
                "compute_loss_func must divide by num_items_in_batch, or the supervised gradient is too large."
            )
        callback.mark_attached(trainer.args)
        handler = trainer.callback_handler
        handler.callbacks = [callback, *(other for other in handler.callbacks if other is not callback)]
    trainer.model_accepts_loss_kwargs = False
    return trainer


def _check(trainer: Trainer, callback: Any) -> None:
    if not isinstance(callback, SemiSupervised):
        raise TypeError(
            f"attach takes SemiSupervised callbacks, not {type(callback).__name__}; other callbacks go into "
            "Trainer(callbacks=[...])."
        )
    if any(isinstance(other, SemiSupervised) and other is not callback for other in trainer.callback_handler.callbacks):
        raise ValueError("The Trainer already has a SemiSupervised callback; it holds one at a time.")
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise ValueError("DeepSpeed and FSDP are not supported, since they own the gradients: use torchrun with DDP.")


def _loss_function(callback: SemiSupervised, trainer: Trainer) -> Callable[..., Tensor]:
    def compute(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        logits = outputs.logits
        if not trainer.model.training:  # evaluation keeps the plain loss
            task = make_task(trainer.model.config.problem_type, trainer.model.config.num_labels)
            return task.cross_entropy(logits, task.targets(labels)).mean()
        if num_items_in_batch is None:
            raise ValueError(
                "labeled_loss needs num_items_in_batch, which a compute_loss of yours did not pass on: call "
                "super().compute_loss(model, inputs, return_outputs, num_items_in_batch=num_items_in_batch)."
            )
        mean = callback.labeled_loss(logits, labels, callback.step)  # type: ignore[misc, arg-type]
        # The Trainer expects this micro-batch's part of the mean over the whole step.
        return mean * labels.numel() / num_items_in_batch

    return compute
