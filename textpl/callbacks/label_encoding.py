"""Labels by name in a Trainer's rows, as the numbers that its model is trained on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import ClassLabel, Dataset, LargeList, List, Value
from transformers import DataCollatorWithPadding, DefaultDataCollator, Trainer, default_data_collator

from textpl.callbacks.label_checks import is_list, refuse_other_order
from textpl.callbacks.labeled_feed import WEIGHT
from textpl.callbacks.setup import label_names
from textpl.components.label_order import REMEDY, has_default_names
from textpl.components.labeled_rows import LABEL_KEYS, is_transformed, label_keys, read_rows, same_random_numbers
from textpl.reading.label_cells import LabelFormat, read_cells
from textpl.reading.labels import arrow_column
from textpl.tasks import infer_problem_type

logger = logging.getLogger(__name__)

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
# Columns that a cleaned corpus has beside its labels.
ADDED = ("given_label", "label_source", "p_error", WEIGHT)
# How labels are written that are no class ids and no multi-hot rows yet.
Form = Literal["name", "names", "ids"]


def encode_labels(trainer: Trainer) -> None:
    """Give the rows of a Trainer that have names, or lists of names or ids, the labels that its model is trained on.

    Class ids for a single-label model, multi-hot float32 rows for a multi-label one, by the model's `label2id`. Rows
    with numbers already, and those made by a transform, are left as they are. Where the model's `problem_type` is None,
    it becomes what the labels are.

    Args:
        trainer: its `train_dataset` and `eval_dataset` are replaced; the datasets themselves are left as they are.

    Raises:
        ValueError: for a label that the model does not know (the row is named), names where the model has only default
            ones, lists for a single-label model, and class ids in another order than the model's.
    """
    form: Form | None = None
    if trainer.train_dataset is not None:
        rows = _for_collator(trainer, trainer.train_dataset, kept=(WEIGHT,))
        trainer.train_dataset, form = _encoded(trainer, rows, None, "train_dataset")
    rows = trainer.eval_dataset
    if isinstance(rows, dict):
        trainer.eval_dataset = {
            name: _encoded(trainer, _for_collator(trainer, part), form, f"eval_dataset[{name!r}]")[0]
            for name, part in rows.items()
        }
    elif rows is not None:
        trainer.eval_dataset, _ = _encoded(trainer, _for_collator(trainer, rows), form, "eval_dataset")
    for name in ("get_eval_dataloader", "get_test_dataloader"):
        setattr(trainer, name, _reading(trainer, getattr(trainer, name), form))


def _reading(trainer: Trainer, get_dataloader: Callable[..., Any], form: Form | None) -> Callable[..., Any]:
    """Encode rows given to `evaluate` or `predict` as the Trainer's own."""

    @functools.wraps(get_dataloader)
    def encoded(dataset: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(dataset, Dataset) and label_keys(dataset.column_names):
            dataset, _ = _encoded(trainer, _for_collator(trainer, dataset), form, "the dataset")
        return get_dataloader(dataset, *args, **kwargs)

    return encoded


def _encoded(trainer: Trainer, dataset: Any, like: Form | None, what: str) -> tuple[Any, Form | None]:
    """The rows with labels as numbers, and how they were written; `like` says how those of the training rows were."""
    form, model = None, trainer.model
    names = label_names(model)
    if is_transformed(dataset):
        return dataset, None
    keys = label_keys(dataset.column_names)
    worded = [key for key in keys if _holds_text(dataset.features[key])]
    if 0 < len(worded) < len(keys):  # the names of what is there as numbers too
        dataset, keys = dataset.remove_columns(worded), [key for key in keys if key not in worded]
    for key in keys:
        where = f"{what}, column {key!r}"
        refuse_other_order(dataset, key, names)
        if key in worded and _collator_makes_numbers(trainer, dataset):
            continue
        column = _understood(arrow_column(dataset, key), names, model.config.problem_type == SINGLE, where)
        form = _form(column, model.config, like, where)
        if form is None:
            _refuse_numbers_for_names(dataset, key, names, where)
            continue
        if form == "name" and model.config.problem_type == SINGLE:
            labels, feature = pa.array(_ids(column, np.arange(len(column)), names, where)), ClassLabel(names=names)
        else:
            labels, feature = _multi_hot(column, form, names, where), List(Value("float32"), length=len(names))
            _warn_of_weights(dataset, form, names)
        dataset = dataset.remove_columns(key).add_column(key, labels, feature=feature)
    return dataset, form


def _for_collator(trainer: Trainer, dataset: Any, kept: tuple[str, ...] = ()) -> Any:
    """The rows without what a collator of transformers cannot make tensors of, where the Trainer keeps all columns.

    These are columns of text, and what `textpl clean` adds; a collator of the user's own may read them. Names that
    begin with one of `kept` stay.
    """
    collator = trainer.data_collator
    plain = collator is default_data_collator or isinstance(collator, DefaultDataCollator)  # leaves out single texts
    stock = plain or isinstance(collator, DataCollatorWithPadding)
    if trainer.args.remove_unused_columns or not stock or is_transformed(dataset):
        return dataset
    left_out = [
        name
        for name, kind in dataset.features.items()
        if (name.startswith(ADDED) or (_holds_text(kind) and not (plain and _is_text(kind))))
        and not (name in LABEL_KEYS or name.startswith(kept))
    ]
    return dataset.remove_columns(left_out) if left_out else dataset


def _collator_makes_numbers(trainer: Trainer, dataset: Dataset) -> bool:
    """Whether the data collator reads the names itself; then the rows must keep them."""
    try:
        with same_random_numbers():
            rows = read_rows(trainer._remove_unused_columns(dataset), [0])
            labels = trainer.data_collator([dict(row) for row in rows]).get("labels")
    except Exception:  # a collator may fail in any way on names that it does not know what to do with
        return False
    return isinstance(labels, torch.Tensor)


def _understood(column: pa.ChunkedArray, names: list[str], single: bool, where: str) -> pa.ChunkedArray:
    """Lists in place of lists that are written as text, as csv has them: in brackets, or with a delimiter."""
    if not _is_string(column.type):
        return column
    written = {value.strip() for value in pc.unique(column).to_pylist() if value is not None} - set(names)
    if not written or (single and not any(value.startswith("[") for value in written)):
        return column
    if blank := pc.sum(pc.equal(pc.utf8_trim_whitespace(column), "")).as_py():
        logger.warning("%s: %d rows are empty texts, taken as rows to which none of the labels applies.", where, blank)
    # What is no label of the model is refused with its row, not taken for a word that stands for no label.
    written_as = LabelFormat(unlabeled_values=(), empty="none", merge_variants=False)
    cells = read_cells(column, where, written_as, names)
    return cells.values if len(cells.rows) == len(column) else column


def _form(column: pa.ChunkedArray, config: Any, like: Form | None, where: str) -> Form | None:
    """How labels are written, None for numbers that need no encoding; settles the model's problem type by names."""
    listed = is_list(column.type)
    kind = column.type.value_type if listed else column.type
    by_name = _is_string(kind)
    if by_name and config.problem_type is None:
        config.problem_type = MULTI if listed else SINGLE
    multi = config.problem_type == MULTI or (config.problem_type is None and listed)
    if listed and by_name and not multi:
        raise ValueError(
            f"{where}: row 0 has the list of labels {column[0].as_py()}, but the model is a single-label one: load it "
            "with problem_type='multi_label_classification', or write one label per row."
        )
    if by_name:
        return "names" if listed else "name"
    if not multi or not listed or not (pa.types.is_integer(kind) or pa.types.is_null(kind)):
        return None
    if like != "ids" and not _are_ids(column, config.num_labels):
        return None
    config.problem_type = config.problem_type or infer_problem_type([0])
    return "ids"


def _are_ids(column: pa.ChunkedArray, labels: int) -> bool:
    """Whether lists of whole numbers are ids rather than multi-hot rows, or what is neither and told of later."""
    lengths, values = pc.list_value_length(column), pc.list_flatten(column).to_numpy()
    if column.null_count or pc.list_flatten(column).null_count:
        return False
    lengths = lengths.to_numpy()
    if (lengths == labels).all() and np.isin(values, (0, 1)).all():
        return False
    rows = np.repeat(np.arange(len(column)), lengths)
    return len(np.unique(np.stack([rows, values.astype(np.int64)]), axis=1).T) == len(values)


def _multi_hot(column: pa.ChunkedArray, form: Form, names: list[str], where: str) -> pa.FixedSizeListArray:
    if form == "name":
        rows, values = np.arange(len(column)), column
    else:
        _refuse_missing(column, np.arange(len(column)), where)
        rows = np.repeat(np.arange(len(column)), pc.list_value_length(column).to_numpy())
        values = pc.list_flatten(column)
    labels = np.zeros((len(column), len(names)), np.float32)
    labels[rows, _ids(values, rows, names, where)] = 1
    return pa.FixedSizeListArray.from_arrays(pa.array(labels.ravel()), len(names))


def _ids(values: pa.ChunkedArray, rows: np.ndarray, names: list[str], where: str) -> np.ndarray:
    """Class id of each value; `rows` says in which row it stands. Shapes: (values,) twice -> (values,)."""
    _refuse_missing(values, rows, where)
    if _is_string(values.type):
        wanted = names
        if has_default_names(names) and pc.all(pc.utf8_is_decimal(values)).as_py():
            wanted = [str(i) for i in range(len(names))]
        ids = pc.fill_null(pc.index_in(values, value_set=pa.array(wanted, type=values.type)), -1).to_numpy()
    else:
        ids = values.cast(pa.int64()).to_numpy()
    wrong = np.flatnonzero((ids < 0) | (ids >= len(names)))
    if len(wrong):
        _refuse(values[int(wrong[0])].as_py(), rows[wrong[0]], names, where)
    return ids.astype(np.int64)


def _refuse_missing(values: pa.ChunkedArray, rows: np.ndarray, where: str) -> None:
    missing = np.flatnonzero(pc.is_null(values).to_numpy(zero_copy_only=False))
    if len(missing):
        raise ValueError(
            f"{where}, row {rows[missing[0]]}: the label is None. Give every row its label ([] where none of several "
            "applies), or move the row to the pool."
        )


def _refuse(value: Any, row: int, names: list[str], where: str) -> NoReturn:
    problem = f"{where}, row {row}: the model does not know the label {value!r}"
    if has_default_names(names) and isinstance(value, str):
        raise ValueError(
            f"{problem}, as it only has the default names {names}: {REMEDY}, with problem_type=... where a row may "
            "have several labels."
        )
    raise ValueError(f"{problem}; it knows {names}: mend the row, or load the model with all labels in id2label.")


def _refuse_numbers_for_names(dataset: Any, key: str, names: list[str], where: str) -> None:
    """Refuse whole numbers that may be ids or names: stars from 1 to 5, which a csv file has made numbers of."""
    own_names = isinstance(dataset.features[key], ClassLabel) or names == [str(i) for i in range(len(names))]
    column = arrow_column(dataset, key)
    if own_names or not pa.types.is_integer(column.type) or not all(name.isdecimal() for name in names):
        return
    values = set(pc.unique(column).to_pylist())
    if values and 0 not in values and values <= set(map(int, names)):
        raise ValueError(
            f"{where} holds the numbers {sorted(values)}, and the model's labels are {names}: names or ids? If names, "
            f"dataset.cast_column({key!r}, datasets.Value('string')); if ids, datasets.ClassLabel(names=...) instead."
        )


def _warn_of_weights(dataset: Any, form: Form, names: list[str]) -> None:
    """Say in which order lists of weights are read: labels have names there, their weights do not."""
    if form == "ids" or WEIGHT not in dataset.column_names:
        return
    kind = arrow_column(dataset, WEIGHT).type
    if is_list(kind) or _is_string(kind):
        logger.warning(
            "The lists of %r do not say which weight is for which label: they are taken in the order of the model's "
            "labels, %s. A struct with a field per label says it.",
            WEIGHT,
            names,
        )


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_text(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _holds_text(feature: Any) -> bool:
    """Whether these are texts, or lists of texts."""
    return _is_text(feature.feature if isinstance(feature, (List, LargeList)) else feature)
