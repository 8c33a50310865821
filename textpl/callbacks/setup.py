"""What must hold before the first step, and what is read off the Trainer's model and data."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainingArguments

from textpl.tasks import MultiLabel, Task, infer_problem_type, make_task

LABEL_KEYS = ("labels", "label", "label_ids")


def check_supported(args: TrainingArguments, model: Any) -> None:
    """Refuse what would train wrongly.

    Raises:
        ValueError: for DeepSpeed, FSDP, `nn.DataParallel`, or a model without a sequence-classification head.
    """
    if args.deepspeed:
        raise ValueError("DeepSpeed owns the gradients, so no second loss can be added: use torchrun with plain DDP.")
    if args.fsdp:
        raise ValueError("FSDP is not supported: its sharded parameters cannot be run outside the wrapper; use DDP.")
    if args.n_gpu > 1:
        raise ValueError(
            "Several GPUs in one process (nn.DataParallel) are not supported: start one process per GPU, "
            "torchrun --nproc_per_node N script.py."
        )
    if getattr(model, "config", None) is None or not _has_classifier(model):
        raise ValueError(
            f"{type(model).__name__} has no sequence-classification head: load the model with "
            "AutoModelForSequenceClassification.from_pretrained(..., num_labels=...)."
        )


def check_scaling(args: TrainingArguments, model: Any, attached: bool, has_labeled_loss: bool) -> None:
    """Refuse a Trainer whose supervised gradient would be too large.

    BERT-like classifiers accept `**kwargs` but ignore `num_items_in_batch`; the Trainer then leaves out the division
    by accumulation steps and processes. The Trainer reads the flag when it is built, so only `attach` can mend it.

    Raises:
        ValueError: with both remedies.
    """
    if attached:
        return
    if has_labeled_loss:
        raise ValueError(
            "labeled_loss replaces the Trainer's loss, which a plain callback cannot do: use "
            "textpl.attach(trainer, callback) instead of Trainer(callbacks=[callback])."
        )
    parts = args.gradient_accumulation_steps * args.world_size
    if parts > 1 and _accepts_loss_kwargs(model):
        raise ValueError(
            f"With {args.gradient_accumulation_steps} accumulation step(s) on {args.world_size} process(es) this "
            f"Trainer makes the supervised gradient {parts} times too large against the unlabelled one. Either use "
            "textpl.attach(trainer, callback) instead of Trainer(callbacks=[callback]), or set "
            "model.accepts_loss_kwargs = False before the Trainer is built."
        )


def find_task(model: Any, loader: Any) -> Task:
    """The task the model is configured for; if it does not say, what the first label shows (kept in the config)."""
    if model.config.problem_type is None:
        model.config.problem_type = infer_problem_type(loader.dataset[0][_label_key(loader.dataset)])
    return make_task(model.config.problem_type, model.config.num_labels)


def describe_labels(model: Any, loader: Any, task: Task) -> tuple[list[str], Tensor]:
    """Label names, and the share of labelled rows with each label (one row per label added), float32 (labels,)."""
    names = [str(model.config.id2label[i]) for i in range(task.num_labels)]
    labels = np.asarray(_column(loader.dataset, _label_key(loader.dataset)))
    if isinstance(task, MultiLabel):
        prior = (labels.sum(0) + 1) / (len(labels) + 2)
    else:
        prior = (np.bincount(labels, minlength=task.num_labels) + 1) / (len(labels) + task.num_labels)
    return names, torch.as_tensor(prior, dtype=torch.float32)


def longest_row(loader: Any, tokenizer: Any, model: Any) -> int:
    """Tokens of the longest labelled row, within what tokenizer and model allow."""
    longest = max(len(ids) for ids in _column(loader.dataset, "input_ids"))
    limits = [getattr(tokenizer, "model_max_length", None), getattr(model.config, "max_position_embeddings", None)]
    return min([longest, *(limit for limit in limits if limit)])


def precision_of(args: TrainingArguments) -> torch.dtype | None:
    """Autocast dtype of the Trainer."""
    return torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None


def process_mean(world: int) -> Callable[[Tensor], Tensor]:
    """Mean of a tensor over all processes."""

    def reduce(tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        torch.distributed.all_reduce(tensor)
        return tensor / world

    return reduce if world > 1 else lambda tensor: tensor


def _column(dataset: Any, name: str) -> Any:
    if hasattr(dataset, "column_names"):
        return dataset.with_format("numpy")[name][:]
    return [dataset[i][name] for i in range(len(dataset))]


def _label_key(dataset: Any) -> str:
    row = dataset[0]
    for key in LABEL_KEYS:
        if key in row:
            return key
    raise ValueError(f"The labelled rows have no labels: none of {LABEL_KEYS} among their keys {sorted(row)}.")


def _has_classifier(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "SequenceClassification" in type(base).__name__ or hasattr(base, "classifier") or hasattr(base, "score")


def _accepts_loss_kwargs(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if hasattr(base, "accepts_loss_kwargs"):
        return bool(base.accepts_loss_kwargs)
    # accelerate replaces `forward` of the instance; the class still has the true signature.
    parameters = inspect.signature(type(base).forward).parameters.values()
    return any(p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters)
