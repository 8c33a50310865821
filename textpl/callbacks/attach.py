"""Put textpl's callbacks into a Trainer so that everything about them is exact."""

from __future__ import annotations

import logging
from typing import Any

from transformers import Trainer

from textpl.callbacks.attachable import Attachable
from textpl.callbacks.label_checks import make_labels_ready
from textpl.callbacks.label_encoding import encode_labels
from textpl.callbacks.labeled_feed import WEIGHT, LabeledFeed, has_weights
from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.callbacks.semi_supervised import SemiSupervised

logger = logging.getLogger(__name__)


def attach(trainer: Trainer, *callbacks: Attachable) -> Trainer:
    """Put `callbacks` into `trainer` and return it.

    Beyond `trainer.add_callback` this makes the supervised gradient a mean over the whole optimizer step (the Trainer
    would otherwise leave it accumulation steps x processes too large for BERT-like models), installs a callback's
    loss for labelled rows (in training only), consumes a `label_weight` column of the training set, and places the
    callback before the reporters so that TensorBoard and the like see its values. A `compute_loss_func` of your own
    must divide by `num_items_in_batch` itself.

    Labels may be names (multi-label: lists of names or ids): those of the Trainer's training and evaluation set are
    encoded by the model's `label2id`. Whole numbers and booleans are given to the model as its loss needs them, in
    evaluation too.

    Args:
        trainer: a `transformers.Trainer` or a subclass of it, not yet trained.
        callbacks: a `SemiSupervised`, a `NoisyLabels`, or one of each.

    Raises:
        TypeError: if something else is given.
        ValueError: for a second callback of a kind, two losses in the place of the supervised one, DeepSpeed or FSDP,
            and names that the model does not know (the row is named).
    """
    prepare_labels(trainer)
    for callback in callbacks:
        _check(trainer, callback)
        _install_loss(trainer, callback)
        callback.mark_attached(trainer.args)
        handler = trainer.callback_handler
        handler.callbacks = [callback, *(other for other in handler.callbacks if other is not callback)]
    trainer.model_accepts_loss_kwargs = False
    return trainer


def prepare_labels(trainer: Trainer) -> None:
    """Have the labels of a Trainer's rows in the form that its model is trained on; see `attach`."""
    encode_labels(trainer)
    make_labels_ready(trainer.model)


def _check(trainer: Trainer, callback: Any) -> None:
    if not isinstance(callback, (SemiSupervised, NoisyLabels)):
        raise TypeError(
            f"attach takes SemiSupervised callbacks, not {type(callback).__name__}, or NoisyLabels; other callbacks "
            "go into Trainer(callbacks=[...])."
        )
    kind = SemiSupervised if isinstance(callback, SemiSupervised) else NoisyLabels
    if any(isinstance(other, kind) and other is not callback for other in trainer.callback_handler.callbacks):
        raise ValueError(f"The Trainer already has a {kind.__name__} callback; it holds one at a time.")
    if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
        raise ValueError("DeepSpeed and FSDP are not supported, since they own the gradients: use torchrun with DDP.")


def _install_loss(trainer: Trainer, callback: Attachable) -> None:
    """Let `callback` compute the supervised loss, if it has a loss for labelled rows or they have weights."""
    feed, weighted = trainer.compute_loss_func, has_weights(trainer.train_dataset)
    if isinstance(feed, LabeledFeed):
        if callback.labeled_loss is not None and feed.callback is not callback:
            if feed.callback.labeled_loss is not None:
                raise ValueError(
                    "Both callbacks bring a loss for the labelled rows: only one loss can replace the supervised one "
                    "(textpl.uda has one unless tsa=None, textpl.cap unless asymmetric=False)."
                )
            feed.callback = callback
    elif callback.labeled_loss is not None or weighted:
        if feed is not None or trainer.label_smoother is not None:
            reason = f" The column {WEIGHT!r} of the training set needs that place." if weighted else ""
            raise ValueError(
                "The Trainer already has a compute_loss_func or label smoothing: only one loss can replace the "
                f"supervised one.{reason}"
            )
        LabeledFeed(trainer, callback)
    elif feed is not None and trainer.args.gradient_accumulation_steps > 1:
        logger.warning("compute_loss_func must divide by num_items_in_batch, or the supervised gradient is too large.")
