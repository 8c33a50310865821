"""Label columns of messy files made readable: rows without a label apart, odd numbers as names, blanks out of lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value

from textpl.labels import arrow_column, refuse
from textpl.progress import quiet_datasets

MADE_COLUMN = "labels"  # of several multi-hot columns
WRITTEN_MISSING = ("nan", "none", "null", "na", "n/a")  # words that some program wrote where there was nothing
WRITTEN_BITS = ["0", "1", "0.0", "1.0", "false", "true"]
SHOWN = 5


def replaced(dataset: Dataset, column: str, values: pa.Array, feature: Any) -> Dataset:
    """The dataset with other values in one column; the other columns stay where they are."""
    order = dataset.column_names
    return dataset.remove_columns([column]).add_column(column, values, feature=feature).select_columns(order)


@quiet_datasets()
def chosen(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Some rows, in memory, so that later steps have no indices to look up."""
    return dataset if len(rows) == len(dataset) else dataset.select(rows).flatten_indices(keep_in_memory=True)


def with_texts(dataset: Dataset, column: str, notes: list[str]) -> Dataset:
    """With empty texts instead of missing ones, which are then among the texts that say nothing."""
    arrow = arrow_column(dataset, column)
    if not arrow.null_count or not _is_string(arrow.type):
        return dataset
    notes.append(f"{arrow.null_count:,} texts in column {column!r} are missing; they are empty now.")
    return replaced(dataset, column, pc.fill_null(arrow, ""), dataset.features[column])


def without_blanks(dataset: Dataset, column: str, notes: list[str]) -> Dataset:
    """Lists of names without the empty ones, which are no labels."""
    arrow = arrow_column(dataset, column)
    if not hasattr(arrow.type, "value_type") or not _is_string(arrow.type.value_type):
        return dataset
    blank = pc.equal(pc.utf8_trim_whitespace(pc.list_flatten(arrow)), "")
    if not (count := pc.sum(blank).as_py()):
        return dataset
    notes.append(f"{count:,} empty names in the lists of column {column!r} are left out.")
    values = [row and [name for name in row if name is None or name.strip()] for row in arrow.to_pylist()]
    return replaced(dataset, column, pa.array(values, pa.list_(pa.string())), List(Value("string")))


def numbers_as_names(dataset: Dataset, column: str, notes: list[str]) -> tuple[Dataset, list[str] | None]:
    """With numbers that cannot be ids (1 to 5, or 0 and 4) as names, and these names in order; else None.

    Ids are 0, 1, 2, ...: with a gap, a label that nobody ever gives would be made up. Fractions are left for
    `textpl.labels` to refuse.
    """
    arrow = arrow_column(dataset, column)
    listed = hasattr(arrow.type, "value_type")
    values = pc.list_flatten(arrow) if listed else arrow
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)) or values.null_count:
        return dataset, None
    found = np.unique(values.to_numpy())
    # Lists of nothing but 0 and 1 may be multi-hot.
    if not len(found) or (found != np.round(found)).any() or (listed and found[-1] < 2):
        return dataset, None
    ids = found.astype(np.int64)
    if np.array_equal(ids, np.arange(len(ids))):
        return dataset, None
    names = [str(i) for i in ids.tolist()]
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    notes.append(f"Labels in column {column!r} are the numbers {shown}: taken as names, not as ids from 0 on.")
    if not listed:
        return replaced(dataset, column, values.cast(pa.int64()).cast(pa.string()), Value("string")), names
    lists = [[str(int(value)) for value in row] for row in arrow.to_pylist()]
    return replaced(dataset, column, pa.array(lists, pa.list_(pa.string())), List(Value("string"))), names


def one_column(dataset: Dataset, columns: Sequence[str]) -> tuple[Dataset, str]:
    """Columns of 0 and 1 as lists in a new column, and its name."""
    cells = _multi_hot(dataset, columns)
    made = MADE_COLUMN
    while made in dataset.column_names:
        made += "_"
    array = pa.FixedSizeListArray.from_arrays(pa.array(cells.ravel()), len(columns))
    return dataset.add_column(made, array, feature=List(Value("int8"), length=len(columns))), made


def suspicious(names: Sequence[str], given: np.ndarray) -> list[str]:
    """A note on every name that may have been written where there was no label.

    Args:
        names: of the labels.
        given: int8 (rows, labels) or int64 (rows,).
    """
    counts = given.sum(0) if given.ndim == 2 else np.bincount(given, minlength=len(names))
    remedy = "They count as labelled: leave the cell empty where it means that there is no label"
    return [
        f"Rows with the label {name!r}: {int(count):,}. {remedy}."
        for name, count in zip(names, counts, strict=True)
        if name.strip().lower() in WRITTEN_MISSING and count
    ]


def _multi_hot(dataset: Dataset, columns: Sequence[str]) -> np.ndarray:
    """Columns of 0 and 1, or true and false, also where they are strings, as int8 (rows, columns).

    Raises:
        ValueError: for another value; all rows that have one are counted.
    """
    cells = np.full((len(dataset), len(columns)), -1, np.int8)
    for k, name in enumerate(columns):
        arrow = arrow_column(dataset, name)
        if _is_string(arrow.type):
            written = pc.utf8_lower(pc.utf8_trim_whitespace(arrow))
            place = pc.fill_null(pc.index_in(written, value_set=pa.array(WRITTEN_BITS, arrow.type)), -1).to_numpy()
            cells[:, k] = np.where(place < 0, -1, place % 2)
        elif pa.types.is_boolean(arrow.type) or pa.types.is_integer(arrow.type) or pa.types.is_floating(arrow.type):
            values = pc.fill_null(arrow.cast(pa.float64()), -1).to_numpy()
            cells[:, k] = np.where((values == 0) | (values == 1), values, -1)
    bad = np.asarray(cells < 0)
    if bad.any():
        names = [name for k, name in enumerate(columns) if bad[:, k].any()]
        rows = np.flatnonzero(bad.any(1))
        value = dataset[int(rows[0])][columns[int(bad[rows[0]].argmax())]]
        where = f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"
        refuse(where, rows, f"the value is {value!r}", "Write 0 or 1 (or true and false) in every row")
    return cells


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
