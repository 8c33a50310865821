"""A labelled loss in the place of the Trainer's: which rows a batch holds, their weights, the mean over a step.

The rows are numbered in a column that exists from the training dataloader to the loss only: the dataset, evaluation
and the model never see it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import IterableDataset
from transformers import Trainer

from textpl.callbacks import setup
from textpl.callbacks.attachable import Attachable
from textpl.callbacks.look_ahead import kept_rows
from textpl.components.label_order import in_model_order
from textpl.components.labeled import LabeledBatch, as_targets, cross_entropy
from textpl.components.labeled_rows import ROW, Numbered, is_transformed, read_rows, same_random_numbers, seen_rows
from textpl.reading.labels import arrow_column, is_string
from textpl.reading.probabilities import read_probabilities_column
from textpl.tasks import MultiLabel, SingleLabel, Task, make_task

WEIGHT = "label_weight"


class LabeledFeed:
    """The `compute_loss_func` of a Trainer with a labelled loss or weighted labels.

    Args:
        trainer: gets it; three of its methods are wrapped to number the rows and to pass the numbers on.
        callback: whose `labeled_loss` it is; without one, the plain loss with weights.
    """

    def __init__(self, trainer: Trainer, callback: Attachable) -> None:
        self.callback = callback
        self._trainer = trainer
        self._weight: Tensor | None = None
        self._kept: Tensor | None = None  # 0 for rows of this optimizer step that the loss leaves out
        self._total = torch.zeros(())  # of the weights in this optimizer step
        self._rows: Tensor | None = None
        self._inputs: dict[str, Any] = {}
        self._dataloader, self._samples = trainer.get_train_dataloader, trainer.get_batch_samples
        self._loss = trainer.compute_loss
        trainer.get_train_dataloader = self._get_train_dataloader
        trainer.get_batch_samples = self._get_batch_samples
        trainer.compute_loss = self._compute_loss
        trainer.compute_loss_func = self

    def __call__(self, outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        """This micro-batch's part of the mean over the optimizer step; in evaluation the plain mean."""
        logits, model = outputs.logits, self._trainer.model
        if self._rows is None:
            task = make_task(model.config.problem_type, model.config.num_labels)
            return task.cross_entropy(logits, as_targets(labels, task)).mean()
        if num_items_in_batch is None:
            raise ValueError(
                "labeled_loss needs num_items_in_batch, which a compute_loss of yours did not pass on: call "
                "super().compute_loss(model, inputs, return_outputs, num_items_in_batch=num_items_in_batch)."
            )
        batch = self._batch(labels, logits, num_items_in_batch)
        loss = self.callback.labeled_loss or cross_entropy
        with torch.autocast(logits.device.type, enabled=False):
            value = loss(logits, labels, batch)
        if value.ndim:
            return batch.mean(value)
        if batch.weight is not None:
            raise ValueError(
                f"{type(loss).__name__} averages by itself and cannot weigh rows by the column {WEIGHT!r}: take the "
                "column out of the training set, or use a loss that gives one number per row (cell)."
            )
        return value * self._items(labels, batch.task) / batch.total

    # ---- what is wrapped, in the order in which it is called ----

    def _get_train_dataloader(self) -> Any:
        trainer = self._trainer
        dataset = trainer.train_dataset
        if not _has_rows(dataset):
            return self._dataloader()  # what cannot be numbered is refused when training starts
        trainer._set_signature_columns_if_needed()
        columns = trainer._signature_columns
        self._weight = None
        if has_weights(dataset):
            first = seen_rows(dataset, trainer.data_collator, tokens=False, count=1)
            task = setup.find_task(trainer.model, first)
            weight = label_weights(dataset, task, setup.label_names(trainer.model))
            self._weight = weight.to(trainer.args.device)
        collate = trainer.data_collator
        trainer.train_dataset, trainer._signature_columns = _numbered(dataset), [*columns, ROW]
        trainer.data_collator = _Numbering(collate)
        try:
            return self._dataloader()
        finally:
            trainer.train_dataset, trainer._signature_columns, trainer.data_collator = dataset, columns, collate

    def _get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        batches, items = self._samples(*args, **kwargs)
        for batch in batches:
            if ROW not in batch:
                raise ValueError(
                    f"The training batches have no {ROW!r}, by which textpl knows their rows: a get_train_dataloader "
                    "of yours must read self.train_dataset and self.data_collator."
                )
        self._kept = kept_rows(self.callback, self._trainer.state.global_step, batches)
        if self._weight is not None or self._kept is not None:
            settings = self._trainer.args
            totals = [self._weights(batch[ROW].to(settings.device)).sum() for batch in batches]
            self._total = torch.stack([*totals, torch.zeros((), device=settings.device)]).sum()
            if settings.world_size > 1:
                total = self._trainer.accelerator.reduce(self._total)
                # Only then is the loss multiplied by the number of processes, over which its gradient is averaged.
                self._total = total if settings.average_tokens_across_devices else total / settings.world_size
        return batches, items

    def _compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self._rows = inputs.pop(ROW, None)
        self._inputs = {name: value for name, value in inputs.items() if name != "labels"}
        try:
            return self._loss(model, inputs, *args, **kwargs)
        finally:
            self._rows, self._inputs = None, {}

    # ---- one micro-batch ----

    def _batch(self, labels: Tensor, logits: Tensor, num_items: Tensor | int) -> LabeledBatch:
        run, rows = self.callback.run, self._rows
        weight, total = None, self._total
        if self._weight is None and self._kept is None:
            # The Trainer counts numbers: soft labels have several for one row.
            total = torch.as_tensor(num_items) * (self._items(labels, run.task) / labels.numel())
        else:
            weight = self._weights(rows).to(torch.promote_types(logits.dtype, torch.float32))  # type: ignore[arg-type]
        if "input_ids" in self._inputs:
            self.callback.labeled_tokens += self._inputs["input_ids"].numel()
        return LabeledBatch(run, self._trainer.state.global_step, rows, self._inputs, weight, total)  # type: ignore[arg-type]

    def _weights(self, rows: Tensor) -> Tensor:
        """Weights of rows (cells), 0 for what the loss leaves out."""
        if self._weight is None or self._kept is None:
            return (self._kept if self._weight is None else self._weight)[rows]  # type: ignore[index]
        return self._weight[rows] * self._kept[rows]

    @staticmethod
    def _items(labels: Tensor, task: Task) -> int:
        return len(labels) if isinstance(task, SingleLabel) else labels.numel()


class _Numbering:
    """A data collator that passes on the numbers of the rows, whatever else it makes of them."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        batch = self._collate(rows)
        if ROW not in batch and all(ROW in row for row in rows):
            if "labels" in batch and len(batch["labels"]) != len(rows):
                raise ValueError(
                    f"The data collator made {len(batch['labels'])} rows of {len(rows)}, so that textpl cannot tell "
                    f"which is which: make as many, or pass on their {ROW!r}."
                )
            batch[ROW] = torch.tensor([int(row[ROW]) for row in rows])
        return batch


def _numbered(dataset: Any) -> Any:
    # A transform on the fly might drop the column.
    if is_transformed(dataset):
        return Numbered(dataset, [WEIGHT])
    dataset = dataset.remove_columns(weight_columns(dataset.column_names))
    return dataset.add_column(ROW, np.arange(len(dataset)))


def weight_columns(columns: Iterable[str]) -> list[str]:
    """The columns of weights among some: `label_weight`, or in csv one for each label, `label_weight_LABEL`."""
    return [name for name in columns if name == WEIGHT or name.startswith(f"{WEIGHT}_")]


@same_random_numbers()
def has_weights(dataset: Any) -> bool:
    """Whether the rows come with weights, in their columns or from a transform."""
    if isinstance(dataset, Dataset) and weight_columns(dataset.column_names):
        return True
    return is_transformed(dataset) and _has_rows(dataset) and len(dataset) > 0 and WEIGHT in read_rows(dataset, [0])[0]


def _has_rows(dataset: Any) -> bool:
    return hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") and not isinstance(dataset, IterableDataset)


def label_weights(dataset: Any, task: Task, label_names: list[str]) -> Tensor:
    """The weights of the rows, float32: (rows,), or (rows, labels) for multi-label.

    Multi-label takes one weight per row too, which then holds for all its cells. Weights with names (a struct, or
    columns `label_weight_LABEL`) are brought into the order of the model's labels; lists are taken to be in it.

    Args:
        dataset: the labeled rows; numbers may be written as text, as in csv.
        task: what they are labels of.
        label_names: of the model.

    Raises:
        ValueError: for another shape, weights that are negative or no numbers (the row and label are named), or
            weights that are all 0.
    """
    weight: np.ndarray = np.zeros(0)
    with contextlib.suppress(TypeError, ValueError):  # ragged, or no numbers: told below
        weight = np.asarray(_weight_values(dataset, label_names), dtype=np.float32)
    multi = isinstance(task, MultiLabel)
    if weight.shape != (len(dataset),) and not (multi and weight.shape == (len(dataset), task.num_labels)):
        wanted = f"one number per row, or {task.num_labels} (one per label)" if multi else "one number per row"
        raise ValueError(f"The column {WEIGHT!r} must hold {wanted}.")
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        row, *label = (int(i) for i in np.argwhere(wrong)[0])
        cell = f"row {row}" + (f", label {label[0]}" if label else "")
        raise ValueError(f"The column {WEIGHT!r} has {weight[row, *label]:g} in {cell}: weights are numbers >= 0.")
    if not weight.any():
        raise ValueError(f"The column {WEIGHT!r} is 0 everywhere: there is nothing left to learn from.")
    if multi and weight.ndim == 1:
        weight = np.repeat(weight[:, None], task.num_labels, axis=1)
    return torch.from_numpy(weight)


def _is_named(weights: pa.ChunkedArray) -> bool:
    """Whether each number stands with the name of its label: in a struct, or in the JSON text of one."""
    if is_string(weights.type):
        return pc.any(pc.starts_with(weights, "{")).as_py() or False
    return pa.types.is_struct(weights.type)


@same_random_numbers()
def _weight_values(dataset: Any, label_names: list[str]) -> Any:
    if is_transformed(dataset) and WEIGHT in read_rows(dataset, [0])[0]:
        return [row[WEIGHT] for row in read_rows(dataset, range(len(dataset)))]
    stored = dataset.with_format(None)
    if WEIGHT not in stored.column_names or _is_named(arrow_column(stored, WEIGHT)):
        values, names = read_probabilities_column(stored, WEIGHT)
        remedy = "write a struct with a field per label"
        return in_model_order(values, names, label_names, f"Column {WEIGHT!r}", remedy)
    return [json.loads(value) if isinstance(value, str) else value for value in stored[WEIGHT][:]]
