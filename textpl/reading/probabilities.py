"""Probabilities that know which label each of their numbers is for, and how they are brought into another order.

A column of probabilities is a struct with one field per label (`{"money": 0.9, "sport": 0.1}`), which parquet, jsonl
and pandas keep by themselves; in csv it is one column per label, `probabilities_money`, `probabilities_sport`. Plain
lists have no names: they are taken only where something else says their order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, List, Value

from textpl.reading.labels import arrow_column, is_list, is_string
from textpl.reading.tables import read_table

SUMS = 0.01  # by which the probabilities of a row may miss 1
IDS = ("id", "idx", "index", "row", "Unnamed: 0")

Features = dict[str, Value]


def named_feature(label_names: Sequence[str]) -> Features:
    """Return the feature of a column of probabilities: a float32 for each label."""
    return {name: Value("float32") for name in label_names}


def named_array(values: np.ndarray, label_names: Sequence[str]) -> pa.StructArray:
    """Return probabilities (rows, labels) as Arrow structs with a field per label."""
    columns = [pa.array(np.ascontiguousarray(values[:, k], dtype=np.float32)) for k in range(len(label_names))]
    return pa.StructArray.from_arrays(columns, list(label_names))


def has_probabilities(dataset: Dataset, column: str) -> bool:
    """Whether there is a column of this name, or one for each label, `column_LABEL`."""
    return column in dataset.column_names or any(name.startswith(f"{column}_") for name in dataset.column_names)


def read_probabilities_column(dataset: Dataset, column: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Read numbers per label and the names of the labels, in the order of the numbers.

    Args:
        dataset: its rows are read as they are stored, whatever its format.
        column: a struct with one number per label, or the JSON text of it; or the beginning of the names of several
            columns of numbers (or strings of digits, as csv has them), `column_LABEL`; or lists of numbers, which have
            no names unless the column `label` beside them is a ClassLabel with as many.

    Returns:
        float32 (rows, labels), NaN where there is none; names, None where nothing tells them.

    Raises:
        ValueError: for a missing column, lists of different lengths and what are no numbers; column and row are named.
    """
    if column not in dataset.column_names:
        names = [name for name in dataset.column_names if name.startswith(f"{column}_")]
        if not names:
            raise ValueError(
                f"There is no column {column!r}, nor one for each label ({column}_LABEL); there are "
                f"{dataset.column_names}."
            )
        values = np.stack([_numbers(arrow_column(dataset, name), name) for name in names], axis=1)
        return values, tuple(name[len(column) + 1 :] for name in names)
    stored = arrow_column(dataset, column)
    if pa.types.is_struct(stored.type):
        names = [stored.type.field(i).name for i in range(stored.type.num_fields)]
        fields = [_numbers(pc.struct_field(stored, [i]), f"{column}.{name}") for i, name in enumerate(names)]
        return np.stack(fields, axis=1), tuple(names)
    if is_string(stored.type):  # what csv has of structs and lists
        parsed = [json.loads(value) for value in stored.to_pylist()]
        if parsed and isinstance(parsed[0], dict):
            names = list(parsed[0])
            return np.asarray([[row[name] for name in names] for row in parsed], dtype=np.float32), tuple(names)
        stored = pa.chunked_array([pa.array(parsed)])
    values = _lists(stored, column)
    feature = dataset.features.get("label")
    feature = feature.feature if isinstance(feature, List) else feature
    named = isinstance(feature, ClassLabel) and len(feature.names) == values.shape[1]
    return values, tuple(feature.names) if named else None


def in_order(values: np.ndarray, names: Sequence[str], wanted: Sequence[str], what: str) -> np.ndarray:
    """Bring columns into the order of `wanted`, by their names.

    Args:
        values: (rows, labels).
        names: of its columns.
        wanted: the same names in the order that is needed.
        what: whose names they are, for the error.

    Raises:
        ValueError: if the names are not the same.
    """
    if set(names) != set(wanted) or len(set(names)) < len(names):
        there, needed = _shown(sorted(set(names) - set(wanted))), _shown(sorted(set(wanted) - set(names)))
        raise ValueError(
            f"{what} is for {len(names)} labels and {len(wanted)} are needed; "
            f"without a counterpart here: {there}; missing: {needed}. The names must be the same, in any order."
        )
    place = {name: k for k, name in enumerate(names)}
    order = [place[name] for name in wanted]
    return values if order == list(range(len(order))) else values[:, order]


def never_given(values: np.ndarray, headings: Sequence[str], names: Sequence[str]) -> list[str]:
    """Find the columns of labels that were never given: with them, and only with them, each row sums to one.

    Args:
        values: (rows, columns).
        headings: of its columns.
        names: of the labels that were given.
    """
    known = [k for k, heading in enumerate(headings) if heading in names]
    rest = []
    for k, heading in enumerate(headings):
        if heading in names or heading in IDS:
            continue
        try:
            column = np.asarray(values[:, k], dtype=np.float64)
        except (TypeError, ValueError):
            continue
        if ((column >= 0) & (column <= 1)).all():
            rest.append(k)
    numbers = np.asarray(values[:, known + rest], dtype=np.float64)
    alone, together = numbers[:, : len(known)].sum(1), numbers.sum(1)
    fits = (np.abs(together - 1) < SUMS).all() and not (np.abs(alone - 1) < SUMS).all()
    return [headings[k] for k in rest] if fits else []


def _numbers(column: pa.ChunkedArray, name: str) -> np.ndarray:
    """One column of numbers as float32, NaN where there is none."""
    if is_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(text, ""), None, text)
    try:
        return pc.fill_null(column.cast(pa.float32()), float("nan")).to_numpy().astype(np.float32)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"Column {name!r} must hold numbers: {error}") from error


def _lists(column: pa.ChunkedArray, name: str) -> np.ndarray:
    if not is_list(column.type):
        raise ValueError(f"Column {name!r} holds {column.type}: one number per label is needed in each row.")
    lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != lengths[0])
    if len(odd):
        raise ValueError(
            f"Column {name!r}, row {odd[0]} (counted from 0): {lengths[odd[0]]} numbers, and {lengths[0]} in row 0; "
            "every row needs as many (NaN where there are none)."
        )
    return _numbers(pc.list_flatten(column), name).reshape(len(column), -1)


def _shown(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more if names else "none"


def read_probability_file(path: Path, label_names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Read probabilities and the names of their columns.

    Args:
        path: .npy; .npz with one array, or one called "pred_probs" and perhaps "label_names"; or a table with the
            labels' names as headings in any order, or as `probabilities_LABEL` (columns of numbers between 0 and 1
            beside those of `label_names` are labels that were never given, the rest is ignored), or with no headings.
        label_names: of the labels given.

    Returns:
        float32 (rows, labels), and names: None where the file does not tell them.

    Raises:
        ValueError: for another kind of file, or one that has no such array.
    """
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False), None
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            others = [name for name in stored.files if name not in ("label_names", "classes")]
            key = others[0] if len(others) == 1 else "pred_probs"
            if key not in stored.files:
                raise ValueError(f"{path} holds the arrays {stored.files}: call one of them pred_probs.")
            named = next((stored[name] for name in ("label_names", "classes") if name in stored.files), None)
            return stored[key], None if named is None else tuple(map(str, named))
    if path.suffix not in (".csv", ".tsv", ".parquet"):
        raise ValueError(f"{path}: probabilities are read from .npy, .npz, .csv and .parquet files.")
    dataset = read_table(path).dataset
    positions = [str(k) for k in range(len(dataset.column_names))]
    numbers = all(_is_number(name.partition(" (")[0]) for name in dataset.column_names)
    if path.suffix != ".parquet" and numbers and sorted(dataset.column_names) != sorted(positions):
        return np.loadtxt(path, delimiter="\t" if path.suffix == ".tsv" else ",", dtype=np.float32, ndmin=2), None
    if has_probabilities(dataset, "probabilities"):
        return read_probabilities_column(dataset, "probabilities")
    columns = {}
    for name in dataset.column_names:
        try:
            columns[name] = _numbers(arrow_column(dataset, name), name)
        except ValueError:
            continue
    if list(columns) == positions:  # as pandas writes them
        return np.stack(list(columns.values()), axis=1), None
    known = [name for name in label_names if name in columns]
    if len(known) == len(label_names):
        known += never_given(np.stack(list(columns.values()), axis=1), list(columns), known)
    else:
        lacking = next(name for name in label_names if name not in columns)
        raise ValueError(f"{path} has no column of numbers for the label {lacking!r}, but {dataset.column_names}.")
    return np.stack([columns[name] for name in known], axis=1), tuple(known)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
