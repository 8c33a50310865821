"""Labelled texts and probabilities from files and Hub data, however the labels are written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value

from textpl.cleaning.inputs import encode_column, find_delimiter, name_variants, split_labels
from textpl.corpus import declared_names
from textpl.label_issues.columns import fingerprint
from textpl.label_issues.tidying import (
    chosen,
    numbers_as_names,
    one_column,
    replaced,
    suspicious,
    with_texts,
    without_blanks,
)
from textpl.labels import arrow_column, missing_labels, refuse_mixed
from textpl.source_columns import check_columns
from textpl.sources import open_source


@dataclass(frozen=True)
class Labelled:
    """Rows with labels in one column.

    Attributes:
        dataset: the rows that have a label; labels that were text or several columns are lists now.
        text_column: its text.
        label_column: its labels.
        given: int8 (rows, labels) or int64 (rows,).
        label_names: name of every label.
        split: what the rows are called.
        rows: int64 (rows,), number of each row in its source, from 0.
        unlabelled: the rows of the source that have no label, as they were.
        notes: how the labels were understood, for the user to see.
    """

    dataset: Dataset
    text_column: str
    label_column: str
    given: np.ndarray
    label_names: tuple[str, ...]
    split: str
    rows: np.ndarray
    unlabelled: Dataset
    notes: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """Same texts, labels and names, and same rows without a label: same 16 hex digits."""
        texts = [fingerprint(rows, self.text_column) for rows in (self.dataset, self.unlabelled)]
        about = repr((self.given.shape, self.label_names, texts)).encode()
        return hashlib.sha256(about + np.ascontiguousarray(self.given).tobytes()).hexdigest()[:16]


def read_labelled(
    source: str,
    text: str,
    labels: str,
    *,
    delimiter: str | None = None,
    merge_variants: bool = False,
    split: str | None = None,
) -> Labelled:
    """Read one split and its labels: see `clean_files` for the arguments.

    Raises:
        FileNotFoundError: for a missing source or split.
        ValueError: for columns that are not there, and labels that cannot be read; row and remedy are named.
    """
    raw = open_source(source, splits=None if split is None else {"train": split})
    whole = dataset = raw.splits["train"]
    if len(dataset) == 0:
        raise ValueError(f"{source} has no rows.")
    columns = [labels] if labels in dataset.column_names else [name.strip() for name in labels.split(",")]
    check_columns(source, dataset, [("--text", text), *(("--labels", name) for name in columns)])
    notes = _headings(dataset, (text, *columns))
    names, column, rows = raw.info.get("label_names"), columns[0], np.arange(len(dataset))
    if len(columns) > 1:
        dataset, column = one_column(dataset, columns)
        names = columns
        notes.append(f"{len(columns)} columns of 0 and 1 are {len(columns)} labels, now in column {column!r}.")
    else:
        dataset, rows, names = _readable(dataset, column, delimiter, merge_variants, names, notes)
    if not len(rows):
        raise ValueError(f"{source}: no row has a label in column {column!r}, so there is nothing to clean.")
    dataset = with_texts(dataset, text, notes)
    values, where = arrow_column(dataset, column), f"column {column!r}"
    if len(rows) < len(whole):
        where += " of the rows that have a label"
    declared = declared_names({"train": dataset}, column, names)
    given, label_names = encode_column(values, where, declared)
    file = Path(source).expanduser()
    called = split or (file.stem if file.is_file() else "train")
    unlabelled = chosen(whole, np.setdiff1d(np.arange(len(whole)), rows))
    notes += [*_left_out(rows, len(whole)), *suspicious(label_names, given)]
    return Labelled(dataset, text, column, given, label_names, called, rows, unlabelled, tuple(notes))


def read_probabilities(path: Path, label_names: Sequence[str], rows: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Probabilities from a file, in the order of the labels, and the names of all labels that it knows.

    Args:
        path: .npy; .npz with one array or one called "pred_probs"; .csv or .parquet, with the labels' names as
            headings in any order (other columns of numbers between 0 and 1 are labels that were never given, the rest
            is ignored) or without such headings in the order of the labels.
        label_names: of the labels given.
        rows: how many there must be; tells whether a .csv has headings.

    Raises:
        ValueError: for another kind of file, or one that has no such array.
    """
    names = tuple(label_names)
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False), names
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            key = stored.files[0] if len(stored.files) == 1 else "pred_probs"
            if key not in stored.files:
                raise ValueError(f"{path} holds the arrays {stored.files}: call one of them pred_probs.")
            return stored[key], names
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path}: probabilities are read from .npy, .npz, .csv and .parquet files.")
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    if path.suffix == ".csv" and len(table) == rows - 1:
        table = pd.read_csv(path, header=None)
    table.columns = [str(name) for name in table.columns]
    numbers = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])]
    if set(names) <= set(numbers):
        shares = [name for name in numbers if name not in names and table[name].between(0, 1).all()]
        names = (*names, *shares)
        numbers = list(names)
    return table[numbers].to_numpy(np.float32), names


def _headings(dataset: Dataset, columns: Sequence[str]) -> list[str]:
    """A note on each column whose heading stands twice: pandas calls the second one NAME.1."""
    twice = [name for name in columns if f"{name}.1" in dataset.column_names]
    return [
        f"There is a column {name!r} and a column '{name}.1' (a heading twice?): the first is read." for name in twice
    ]


def _readable(
    dataset: Dataset, column: str, delimiter: str | None, merge: bool, names: Sequence[str] | None, notes: list[str]
) -> tuple[Dataset, np.ndarray, Sequence[str] | None]:
    """The rows that have a label, their numbers, and the names of all labels if they are known.

    A blank string is no label where every string is one, and an empty list where strings hold several.
    """
    refuse_mixed(arrow_column(dataset, column), f"column {column!r}")
    rows = np.flatnonzero(~pc.is_null(arrow_column(dataset, column), nan_is_null=True).to_numpy())
    dataset, one_each = _split_strings(chosen(dataset, rows), column, delimiter, names, notes)
    labelled = np.flatnonzero(~missing_labels(arrow_column(dataset, column)))
    dataset, rows = chosen(dataset, labelled), rows[labelled]
    if not len(rows):
        return dataset, rows, names
    dataset = _merged(without_blanks(dataset, column, notes), column, merge, notes)
    if one_each and not names:
        names = sorted(pc.unique(arrow_column(dataset, column)).to_pylist())
    if not declared_names({"train": dataset}, column, names):
        dataset, names = numbers_as_names(dataset, column, notes)
    return dataset, rows, names


def _left_out(rows: np.ndarray, size: int) -> list[str]:
    """A note on the rows without a label, if there are any."""
    if len(rows) == size:
        return []
    numbers = np.setdiff1d(np.arange(size), rows)
    shown = ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5:,} more" if len(numbers) > 5 else "")
    problem = f"{len(numbers):,} of {size:,} rows have no label (row {shown}, counted from 0)"
    return [f"{problem}: left out; row numbers are from here on those among the other {len(rows):,}."]


def _split_strings(
    dataset: Dataset, column: str, delimiter: str | None, names: Sequence[str] | None, notes: list[str]
) -> tuple[Dataset, bool]:
    """With lists where strings held several labels; and whether each string was said to be one label."""
    arrow = arrow_column(dataset, column)
    if not (pa.types.is_string(arrow.type) or pa.types.is_large_string(arrow.type)):
        if delimiter:
            raise ValueError(f"--delimiter {delimiter!r}: column {column!r} holds {arrow.type}, not strings.")
        return dataset, False
    if delimiter == "":
        return dataset, True
    values = arrow.to_pylist()
    starts = {value.strip()[0] for value in values if value.strip()}
    in_brackets = "[" in starts or (bool(starts) and starts <= set("({"))
    if delimiter is None and not in_brackets:
        if names and set(values) <= set(names):
            return dataset, False
        delimiter = find_delimiter(values, names or ())
        if delimiter is None:
            return dataset, False
        notes.append(f'Labels in column {column!r} are separated by {delimiter!r} (--delimiter "" if each is one).')
    elif delimiter is None:
        notes.append(f"Labels in column {column!r} are lists written as text; they are lists now.")
    lists = split_labels(values, delimiter)
    if all(value.isdecimal() for row in lists for value in row) and (names or _multi_hot(lists)):
        ids = [[int(value) for value in row] for row in lists]
        return replaced(dataset, column, pa.array(ids, pa.list_(pa.int64())), List(Value("int64"))), False
    return replaced(dataset, column, pa.array(lists, pa.list_(pa.string())), List(Value("string"))), False


def _multi_hot(lists: Sequence[Sequence[str]]) -> bool:
    return (
        len({len(row) for row in lists}) == 1 and len(lists[0]) > 1 and {v for row in lists for v in row} <= {"0", "1"}
    )


def _merged(dataset: Dataset, column: str, merge: bool, notes: list[str]) -> Dataset:
    """With one name for those that differ in case, spaces or width only, if wanted; else a note."""
    arrow = arrow_column(dataset, column)
    listed = hasattr(arrow.type, "value_type")
    names = pc.list_flatten(arrow) if listed else arrow
    if not (pa.types.is_string(names.type) or pa.types.is_large_string(names.type)):
        return dataset
    variants = name_variants(name for name in names.to_pylist() if name is not None)
    if not variants:
        return dataset
    shown = ", ".join(f"{name!r} into {kept!r}" for name, kept in list(variants.items())[:5])
    if not merge:
        problem = f"{len(variants)} labels differ from others only in case, spaces or width"
        notes.append(f"{problem}: --merge-variants merges {shown}.")
        return dataset
    notes.append(f"Merged {len(variants)} labels: {shown}.")
    values: list[Any] = arrow.to_pylist()
    if listed:
        values = [row and list(dict.fromkeys(variants.get(name, name) for name in row)) for row in values]
        return replaced(dataset, column, pa.array(values, pa.list_(pa.string())), List(Value("string")))
    return replaced(dataset, column, pa.array([variants.get(v, v) for v in values], pa.string()), Value("string"))
