"""What must hold before the first step, and what is read off the Trainer's model and data."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from textpl.callbacks.label_checks import checked_labels
from textpl.components.labeled_rows import LABEL_KEYS, label_keys
from textpl.components.step import Run
from textpl.reading.labels import arrow_column
from textpl.tasks import MultiLabel, Task, infer_problem_type, make_task


def check_supported(args: TrainingArguments, state: TrainerState, model: Any, dataset: Any) -> None:
    """Refuse what would train wrongly.

    Raises:
        ValueError: for DeepSpeed, FSDP, `nn.DataParallel`, restored callbacks, checkpoints of a hyperparameter
            search, streaming labelled rows, or a model without a sequence-classification head.
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
    if args.restore_callback_states_from_checkpoint:
        raise ValueError(
            "restore_callback_states_from_checkpoint=True would replace the callback by one without its data: leave it "
            "off; textpl restores its own state."
        )
    if state.is_hyper_param_search and args.save_strategy != SaveStrategy.NO:
        raise ValueError(
            "A hyperparameter search keeps the checkpoints of each trial in a folder that callbacks are not told of: "
            "set save_strategy='no' for the search, and train once more with the best settings."
        )
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise ValueError(
            "The labelled rows are a streaming dataset; a few labelled rows fit in memory: give a datasets.Dataset."
        )
    base = _base(model)
    if not any("SequenceClassification" in kind.__name__ for kind in type(base).__mro__):
        raise ValueError(
            f"{type(base).__name__} has no sequence-classification head: load the model with "
            "AutoModelForSequenceClassification.from_pretrained(..., num_labels=...)."
        )


def check_scaling(args: TrainingArguments, model: Any, has_labeled_loss: bool) -> None:
    """Refuse a Trainer whose supervised gradient would be too large; not asked where `attach` has seen to it.

    BERT-like classifiers accept `**kwargs` but ignore `num_items_in_batch`; the Trainer then leaves out the division
    by accumulation steps and processes. The Trainer reads the flag when it is built, so only `attach` can mend it.

    Raises:
        ValueError: with both remedies.
    """
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


def find_task(model: Any, dataset: Any) -> Task:
    """The task the model is configured for; if it does not say, what the first label shows (kept in the config).

    Args:
        model: its config is asked first.
        dataset: labeled rows in plain columns.
    """
    if model.config.problem_type is None:
        model.config.problem_type = infer_problem_type(dataset[0][label_key(dataset)])
    return make_task(model.config.problem_type, model.config.num_labels)


def label_names(model: Any) -> list[str]:
    """Names of a model's labels, in the order of its outputs."""
    return [str(model.config.id2label[i]) for i in range(model.config.num_labels)]


def label_array(dataset: Any, task: Task, *, soft: bool = False) -> np.ndarray:
    """Labels of labeled rows in plain columns: int64 (rows,) or float32 (rows, labels); see `checked_labels`."""
    return checked_labels(arrow_column(dataset, label_key(dataset)), task, soft=soft)


def labeled_prior(labels: np.ndarray, task: Task) -> Tensor:
    """Share of labelled rows with each label, one row per label added; float32 (labels,)."""
    if isinstance(task, MultiLabel):
        prior = (labels.sum(0) + 1) / (len(labels) + 2)
    elif labels.ndim == 2:  # soft labels
        prior = (labels.sum(0) + 1) / (len(labels) + task.num_labels)
    else:
        prior = (np.bincount(labels, minlength=task.num_labels) + 1) / (len(labels) + task.num_labels)
    return torch.as_tensor(prior, dtype=torch.float32)


def unseen_labels(labels: np.ndarray, task: Task) -> Tensor:
    """Labels that no labelled row carries, bool (labels,)."""
    carried = labels.sum(0) if labels.ndim == 2 else np.bincount(labels, minlength=task.num_labels)
    return torch.as_tensor(carried == 0)


def labels_identity(labels: np.ndarray) -> dict[str, str]:
    """By which the labelled rows of a resumed run are known to be those it was started with."""
    return {"labelled set": f"{len(labels)} rows, {hashlib.sha256(labels.tobytes()).hexdigest()[:16]}"}


def make_run(args: TrainingArguments, state: TrainerState, model: Any, dataset: Any, task: Task, **rest: Any) -> Run:
    """The run as the Trainer describes it; `rest` are `pool` and `labeled_prior`."""
    return Run(
        task=task,
        model=model,
        total_steps=state.max_steps,
        label_names=label_names(model),
        reduce=process_mean(args.world_size),
        gather=process_rows(args.world_size),
        precision=precision_of(args),
        world=args.world_size,
        rank=args.process_index,
        labeled=dataset,
        label_column=label_key(dataset),
        **rest,
    )


def longest_row(dataset: Any) -> int:
    """Tokens of the longest labeled row, padding not counted; 0 where the model is given none."""
    if "attention_mask" in dataset.column_names:
        return max(int(np.sum(mask)) for mask in read_column(dataset, "attention_mask"))
    if "input_ids" in dataset.column_names:
        return max(len(ids) for ids in read_column(dataset, "input_ids"))
    return 0


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


def process_rows(world: int) -> Callable[[Tensor], Tensor]:
    """Rows of a tensor from all processes, in the order of the processes; they may have different numbers of rows."""

    def gather(tensor: Tensor) -> Tensor:
        counts = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(world)]
        torch.distributed.all_gather(counts, torch.tensor([len(tensor)], device=tensor.device))
        longest = max(map(int, counts))
        if tensor.dtype == torch.bool:
            return gather(tensor.to(torch.uint8)).bool()
        padded = torch.cat([tensor, tensor.new_zeros(longest - len(tensor), *tensor.shape[1:])])
        parts = [torch.empty_like(padded) for _ in range(world)]
        torch.distributed.all_gather(parts, padded.contiguous())
        return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])

    return gather if world > 1 else lambda tensor: tensor


def read_column(dataset: Any, name: str) -> Any:
    """A column of a `datasets.Dataset`, row by row."""
    return dataset.with_format("numpy")[name][:]


def label_key(dataset: Any) -> str:
    """Under which key the rows keep their label.

    Raises:
        ValueError: if there is none.
    """
    keys = label_keys(dataset.column_names)
    if not keys:
        raise ValueError(f"The rows have no labels: none of {LABEL_KEYS} among their keys {dataset.column_names}.")
    return keys[0]


def pad_token_id(tokenizer: Any, model: Any) -> int:
    """Id that pads shorter rows.

    Raises:
        ValueError: if neither tokenizer nor model has one.
    """
    for source in (tokenizer, model.config):
        if source is not None and getattr(source, "pad_token_id", None) is not None:
            return int(source.pad_token_id)
    raise ValueError(
        "The tokenizer has no pad token, so rows of different length cannot share a batch: set "
        "tokenizer.pad_token = tokenizer.eos_token and model.config.pad_token_id = tokenizer.pad_token_id."
    )


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _accepts_loss_kwargs(model: Any) -> bool:
    base = _base(model)
    if hasattr(base, "accepts_loss_kwargs"):
        return bool(base.accepts_loss_kwargs)
    # accelerate replaces `forward` of the instance; the class still has the true signature.
    parameters = inspect.signature(type(base).forward).parameters.values()
    return any(p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters)
