"""Labels of the training rows as arrays, and what is wrong with one that cannot be learned from."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import ClassLabel, Dataset, List

from textpl.tasks import MultiLabel, SingleLabel, Task

# Soft labels that were stored in half precision need not sum to 1 exactly.
SUM_TOLERANCE = 1e-2


def checked_labels(column: pa.ChunkedArray, task: Task, *, soft: bool) -> np.ndarray:
    """Labels as int64 (rows,) or float32 (rows, labels).

    Args:
        column: class ids, or lists of numbers: 0 or 1 for each label, booleans too.
        task: what they are labels of.
        soft: allow a distribution over the labels in place of a class id.

    Raises:
        ValueError: for a label that is missing, no number, out of range or of another width; row, label and remedy are
            named.
    """
    missing = np.flatnonzero(pc.is_null(column, nan_is_null=True).to_numpy(zero_copy_only=False))
    if len(missing):
        _refuse(column, missing[0], "every labeled row needs a label", "give it one, or move the row to the pool")
    listed = is_list(column.type)
    kind = column.type.value_type if listed else column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        _refuse(
            column,
            0,
            "the model is trained on numbers",
            "write class ids (multi-label: 0 or 1 for each label), or have a column of names encoded by "
            "textpl.attach(trainer, callback)",
        )
    if not listed:
        return _class_ids(column, kind, task)
    if isinstance(task, SingleLabel) and not soft:
        _refuse(
            column,
            0,
            "this model needs one class id per row",
            "write ids, or load the model with problem_type='multi_label_classification'; distributions over the "
            "labels need textpl.NoisyLabels or a labeled_loss",
        )
    return _multi_hot(column, task)


def refuse_other_order(dataset: Any, key: str, label_names: list[str]) -> None:
    """Refuse class ids that stand for the model's labels in another order.

    Raises:
        ValueError: if the column has the model's names, but not in its order.
    """
    feature = dataset.features[key] if isinstance(dataset, Dataset) and key in dataset.features else None
    feature = feature.feature if isinstance(feature, List) else feature
    if isinstance(feature, ClassLabel) and feature.names != label_names and set(feature.names) == set(label_names):
        raise ValueError(
            f"Column {key!r} numbers its labels {feature.names}, the model {label_names}: every id would be learned as "
            f"another label. Bring them in the model's order, dataset.align_labels_with_mapping(model.config.label2id, "
            f"{key!r}), or load the model with id2label in that of the dataset."
        )


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def ready_labels(module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Give a model labels of the type that its loss can compute with: a forward pre-hook, for training and evaluation.

    Whole numbers and booleans: float32 where there is one per label, int64 where they are class ids.
    """
    labels = kwargs.get("labels")
    if isinstance(labels, torch.Tensor) and not labels.is_floating_point():
        kwargs = {**kwargs, "labels": labels.to(torch.float32 if labels.ndim > 1 else torch.int64)}
    return args, kwargs


def make_labels_ready(model: torch.nn.Module) -> None:
    """Install `ready_labels`, once."""
    if ready_labels not in model._forward_pre_hooks.values():
        model.register_forward_pre_hook(ready_labels, with_kwargs=True)


def _class_ids(column: pa.ChunkedArray, kind: pa.DataType, task: Task) -> np.ndarray:
    if isinstance(task, MultiLabel):
        _refuse(
            column,
            0,
            f"this model needs multi-hot rows of {task.num_labels} numbers",
            "write 0 or 1 for each label, or load the model with problem_type='single_label_classification'",
        )
    if pa.types.is_floating(kind):
        _refuse(
            column,
            0,
            "this model needs one class id per row, a whole number",
            "dataset.cast_column('label', datasets.Value('int64'))",
        )
    ids = column.cast(pa.int64()).to_numpy()
    wrong = np.flatnonzero((ids < 0) | (ids >= task.num_labels))
    if len(wrong):
        _refuse_range(column, wrong[0], task)
    return ids


def _multi_hot(column: pa.ChunkedArray, task: Task) -> np.ndarray:
    lengths = pc.list_value_length(column).to_numpy()
    inner = pc.list_flatten(column)
    rows = np.repeat(np.arange(len(column)), lengths)
    missing = np.flatnonzero(pc.is_null(inner, nan_is_null=True).to_numpy(zero_copy_only=False))
    if len(missing):
        _refuse(column, rows[missing[0]], "a number is missing in it", "write 0 or 1 for each label")
    wrong = np.flatnonzero(lengths != task.num_labels)
    if len(wrong):
        _refuse(
            column,
            wrong[0],
            f"the model knows {task.num_labels} labels: one number for each is needed",
            "write multi-hot rows, or have lists of label names or ids encoded by textpl.attach(trainer, callback)",
        )
    labels = inner.cast(pa.float32()).to_numpy().reshape(-1, task.num_labels)
    fits = ((labels >= 0) & (labels <= 1)).all(1)
    if isinstance(task, SingleLabel):
        fits &= np.abs(labels.sum(1) - 1) <= SUM_TOLERANCE
    if not fits.all():
        _refuse_range(column, int(np.flatnonzero(~fits)[0]), task)
    return labels


def _refuse_range(column: pa.ChunkedArray, row: int, task: Task) -> NoReturn:
    problem = f"the model knows {task.num_labels} labels"
    if is_list(column.type):
        sums = " that sum to 1" if isinstance(task, SingleLabel) else ""
        _refuse(column, row, f"{problem}: a number from 0 to 1 for each{sums} is needed", "mend the label")
    _refuse(column, row, problem, "mend the label, or load the model with num_labels to match")


def _refuse(column: pa.ChunkedArray, row: int, problem: str, remedy: str) -> NoReturn:
    value = column[int(row)].as_py()
    raise ValueError(f"Labeled row {row} has the label {value!r}, but {problem}: {remedy}.")
