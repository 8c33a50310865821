"""Cleaned labels as columns of a dataset, and back: what was given stays, so that all of it can be undone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, List, Value, concatenate_datasets

from textpl.cleaning.apply import SOURCES, Earlier, Plan
from textpl.reading.find_columns import replaced
from textpl.reading.label_cells import LabelFormat, read_cells
from textpl.reading.labeled_rows import LabeledRows, text_fingerprint
from textpl.reading.labels import MULTI, SINGLE, arrow_column, infer_coding, is_list, is_string
from textpl.reading.probabilities import in_order, named_array, read_probabilities_column

WEIGHT, SOURCE, ROW_ERROR = ADDED = ("label_weight", "label_source", "p_error")
HELD_OUT = {"test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation", "heldout", "holdout"}


def cleaned_dataset(
    dataset: Dataset, column: str, label_names: tuple[str, ...], given: np.ndarray, plan: Plan, row_p_error: np.ndarray
) -> Dataset:
    """The dataset with the labels and weights of a plan: see `LabelReport.apply` for the columns.

    Args:
        dataset: the rows; its labels, if it has any, must be `given`.
        column: the label column; made if it is not there.
        label_names: name of every label.
        given: int8 (rows, labels) or int64 (rows,).
        plan: what to do.
        row_p_error: float32 (rows,).

    Raises:
        ValueError: if its labels are not `given`, or it has columns of our names that are not from here.
    """
    names, kept = dataset.column_names, f"given_{column}"
    if kept in names and (absent := [name for name in ADDED if name not in names]):
        raise ValueError(f"column {kept!r} is not from an earlier cleaning (no {', '.join(absent)}): rename it first.")
    if kept not in names and (foreign := [name for name in ADDED if name in names]):
        raise ValueError(f"the dataset has columns {foreign} that are not from an earlier cleaning: rename them first.")
    if column in names:
        if not np.array_equal(_read(dataset, column, label_names, given), given):
            raise ValueError(f"column {column!r} holds other labels than those that were examined: examine them again.")
        feature, before = dataset.features[column], arrow_column(dataset, column)
        labels = _written(before, plan.labels, given, label_names)
        base = dataset.remove_columns([name for name in (column, *ADDED) if name in names and kept in names])
        base = base if kept in names else base.rename_column(column, kept)
    else:
        multi = given.ndim == 2
        feature = List(Value("float32"), length=len(label_names)) if multi else ClassLabel(names=list(label_names))
        labels, base = _fresh(plan.labels), dataset.add_column(kept, _fresh(given), feature=feature)
    size = len(label_names)
    weight, source = pa.array(plan.weight.ravel()), pa.array(SOURCES).take(pa.array(plan.source.ravel()))
    kinds = {WEIGHT: Value("float32"), SOURCE: Value("string")}
    by_name = given.ndim == 2 and _by_name(labels.type)
    for name, flat in ((WEIGHT, weight), (SOURCE, source)):
        if name == WEIGHT and by_name:  # labels that are names have no order that weights could share
            base = _with_named(base, plan.weight, label_names)
            continue
        value = pa.FixedSizeListArray.from_arrays(flat, size) if given.ndim == 2 else flat
        base = base.add_column(name, value, feature=List(kinds[name], length=size) if given.ndim == 2 else kinds[name])
    base = base.add_column(ROW_ERROR, pa.array(row_p_error.astype(np.float32)), feature=Value("float32"))
    base = base.add_column(column, labels, feature=feature)
    order = [name for name in names if name not in (kept, *ADDED)] + ([] if column in names else [column])
    return base.select_columns([*order, kept, *ADDED])


def _by_name(kind: pa.DataType) -> bool:
    return is_list(kind) and is_string(kind.value_type)


def _with_named(base: Dataset, weight: np.ndarray, label_names: tuple[str, ...]) -> Dataset:
    table = pa.table({WEIGHT: named_array(weight, label_names)})
    return concatenate_datasets([base, Dataset(table)], axis=1)


def from_text(dataset: Dataset, column: str, label_format: LabelFormat, label_names: Sequence[str]) -> Dataset:
    """Read what an earlier cleaning wrote into a file of text: lists of weights and sources, and the given labels.

    Args:
        dataset: with labels as lists, or one for each row, in `column`.
        column: the label column.
        label_format: how its labels were written.
        label_names: name of every label.
    """
    for name in (WEIGHT, SOURCE):
        if name in dataset.column_names and is_string(arrow_column(dataset, name).type):
            values = arrow_column(dataset, name).to_pylist()
            if all(value and value[0] in "[{" for value in values):
                dataset = replaced(dataset, name, pa.array([json.loads(value) for value in values]))
    given = f"given_{column}"
    if given in dataset.column_names and WEIGHT in dataset.column_names:
        cells = read_cells(arrow_column(dataset, given), f"column {given!r}", label_format, label_names)
        dataset = replaced(dataset, given, cells.values) if len(cells.rows) == len(dataset) else dataset
    return dataset


def as_written(cleaned: Dataset, rows: LabeledRows) -> Dataset:
    """Write the labels of a cleaned corpus as its file has them: the given ones to the letter.

    Args:
        cleaned: from `cleaned_dataset`, of `rows.dataset`.
        rows: what was read.
    """
    column, kept = rows.label_column, f"given_{rows.label_column}"
    before = arrow_column(rows.dataset, column)
    if rows.written is None or rows.written.equals(before):
        return cleaned
    texts, given, now = rows.written.to_pylist(), before.to_pylist(), arrow_column(cleaned, column).to_pylist()
    kept_text = not rows.label_format.merge_variants
    labels = [
        text if kept_text and a == b else _in_text(b, text, rows) for text, a, b in zip(texts, given, now, strict=True)
    ]
    cleaned = replaced(cleaned, column, pa.array(labels, rows.written.type))
    fresh = kept not in rows.dataset.column_names
    return replaced(cleaned, kept, pa.array(texts, rows.written.type) if fresh else arrow_column(rows.dataset, kept))


def _in_text(label: Any, like: Any, rows: LabeledRows) -> Any:
    """Changed labels of a row in the form of the given ones."""
    if not isinstance(label, list):
        return int(label) if isinstance(like, int) else float(label) if isinstance(like, float) else label
    if isinstance(like, list):
        return [type(like[0])(name) for name in label] if like else label
    delimiter = rows.label_format.delimiter or ""
    if delimiter in ("", "["):
        return json.dumps(label, ensure_ascii=False)
    spaced = isinstance(like, str) and f"{delimiter} " in like
    return (delimiter + " " * spaced).join(map(str, label))


def undo(dataset: Dataset, label_column: str | None = None) -> Dataset:
    """The dataset as it was before any cleaning: same columns, in the same order, of the same types.

    A label column that was made by the cleaning stays, with the given labels.

    Args:
        dataset: from `LabelReport.apply`.
        label_column: needed where several columns have a `given_` one beside them.

    Raises:
        ValueError: if it was not cleaned.
    """
    names = dataset.column_names
    found = [name for name in names if f"given_{name}" in names]
    column = label_column or (found[0] if len(found) == 1 else None)
    if column is None or f"given_{column}" not in names or not set(ADDED) <= set(names):
        raise ValueError(f"no columns of a cleaning here (or of which, say label_column=...); columns: {names}.")
    order = [name for name in names if name not in (f"given_{column}", *ADDED)]
    return dataset.remove_columns([column, *ADDED]).rename_column(f"given_{column}", column).select_columns(order)


def earlier_cleaning(dataset: Dataset, column: str, label_names: tuple[str, ...], given: np.ndarray) -> Earlier | None:
    """What earlier cleaning left in the columns of a dataset; None where it was never cleaned."""
    if not {f"given_{column}", column, WEIGHT, SOURCE} <= set(dataset.column_names):
        return None
    source = arrow_column(dataset, SOURCE)
    if given.ndim == 2:
        source = pc.list_flatten(source)
        values, names = read_probabilities_column(dataset, WEIGHT)
        weight = values if names is None else in_order(values, names, label_names, f"column {WEIGHT!r}")
    else:
        weight = arrow_column(dataset, WEIGHT).to_numpy()
    codes = pc.index_in(source, value_set=pa.array(SOURCES)).to_numpy().astype(np.int8).reshape(given.shape)
    untouched = _read(dataset, f"given_{column}", label_names, given)
    return Earlier(codes, weight.astype(np.float32).reshape(given.shape), given != untouched)


def held_out(dataset: Dataset, split: str | None = None) -> str | None:
    """The name that says that some rows are held out, from the split or a column `split`; None where nothing does."""
    names = [str(name) for name in (split, dataset.split) if name is not None]
    if "split" in dataset.column_names and pa.types.is_string(arrow_column(dataset, "split").type):
        names += [str(name) for name in pc.unique(arrow_column(dataset, "split")).to_pylist()]
    return next((name for name in names if HELD_OUT & set(re.split(r"[^a-z]+", name.lower()))), None)


def check_same_rows(
    dataset: Dataset,
    text_column: str | None,
    label_column: str | None,
    label_names: tuple[str, ...],
    given: np.ndarray,
    texts: str | None,
) -> None:
    """Refuse a dataset that is not the one a report was made from.

    Args:
        dataset: to be looked at.
        text_column: its texts, if they were looked at.
        label_column: its labels, if they were not given apart.
        label_names: name of every label.
        given: the labels of the report.
        texts: `text_fingerprint` of the texts of the report; None where it is not known.

    Raises:
        ValueError: for another number of rows, other texts or labels, or columns that are not there.
    """
    remedy = "Load the report with the dataset it was made from, or find its issues anew"
    if len(dataset) != len(given):
        raise ValueError(f"the dataset has {len(dataset)} rows and the report {len(given)}. {remedy}.")
    if missing := [name for name in (text_column, label_column) if name and name not in dataset.column_names]:
        raise ValueError(f"the dataset has no column {missing}, but {dataset.column_names}. {remedy}.")
    if text_column and texts and text_fingerprint(dataset, text_column) != texts:
        raise ValueError(f"column {text_column!r} holds other texts than the report is about. {remedy}.")
    if label_column and not np.array_equal(_read(dataset, label_column, label_names, given), given):
        raise ValueError(f"column {label_column!r} holds other labels than the report is about. {remedy}.")


def _read(dataset: Dataset, column: str, label_names: tuple[str, ...], given: np.ndarray) -> np.ndarray:
    """Labels of a column as an array of the shape of `given`."""
    arrow, where = arrow_column(dataset, column), f"column {column!r}"
    task = MULTI if given.ndim == 2 else SINGLE
    return infer_coding(arrow, where, label_names=label_names, problem_type=task).encode(arrow, where)


def _written(column: pa.ChunkedArray, labels: np.ndarray, given: np.ndarray, label_names: tuple[str, ...]) -> pa.Array:
    """`labels` in the form in which `column` holds `given`; lists of unchanged rows stay as they are."""
    task = MULTI if given.ndim == 2 else SINGLE
    form = infer_coding(column, "labels", label_names=label_names, problem_type=task).form
    if form == "id":
        return pa.array(labels).cast(column.type)
    if form == "name":
        return pa.array(label_names, type=column.type).take(pa.array(labels))
    if form == "multi_hot":
        return _fresh(labels, column.type.value_type).cast(column.type)
    written: tuple[str | int, ...] = label_names if form == "names" else tuple(range(len(label_names)))
    values = column.to_pylist()
    for row in np.flatnonzero((labels != given).any(axis=1)).tolist():
        now = [written[k] for k in np.flatnonzero(labels[row])]
        values[row] = [label for label in values[row] if label in now] + [v for v in now if v not in values[row]]
    return pa.array(values, type=column.type)


def _fresh(labels: np.ndarray, kind: pa.DataType | None = None) -> pa.Array:
    """Ids (rows,), or fixed-size multi-hot lists."""
    if labels.ndim == 1:
        return pa.array(labels.astype(np.int64))
    return pa.FixedSizeListArray.from_arrays(pa.array(labels.ravel()).cast(kind or pa.float32()), labels.shape[1])
