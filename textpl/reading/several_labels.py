"""Label columns in which a row may have several labels: strings and other cells that hold a list, and empty ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textpl.reading.json_rows import choices
from textpl.reading.label_format import LabelFormat, option
from textpl.reading.label_values import shown_rows
from textpl.reading.labels import is_list, is_string
from textpl.reading.names import LABEL_STUDIO, find_delimiter, label_studio, split_labels

BRACKETS = "["  # in place of a delimiter
MANY_EMPTY, AT_LEAST = 0.1, 5  # share of empty cells, and their number, from which on it is asked what they mean
MOST_EMPTY = 0.5  # the same of lists, in which an empty one is an answer that somebody wrote


def without_choices(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists in place of what Label Studio writes for several choices, in JSON-MIN and in csv."""
    kind = column.type
    if pa.types.is_struct(kind) and [kind.field(i).name for i in range(kind.num_fields)] == ["choices"]:
        return pc.struct_field(column, ["choices"])
    if isinstance(kind, pa.BaseExtensionType):
        values = [None if value is None else choices(json.loads(value)) for value in column.to_pylist()]
        if any(isinstance(value, list) for value in values) and _all_names(values):
            return pa.chunked_array([pa.array(_listed(values), pa.list_(pa.string()))])
    elif is_string(kind) and pc.any(pc.match_substring_regex(column, "^" + LABEL_STUDIO.pattern)).as_py():
        values = [None if not value or not value.strip() else label_studio(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(_listed(values), pa.list_(pa.string()))])
    return column


def as_lists(
    column: pa.ChunkedArray,
    rows: np.ndarray,
    where: str,
    written: LabelFormat,
    names: Sequence[str] | None,
    notes: list[str],
) -> tuple[pa.ChunkedArray, LabelFormat]:
    """Lists where strings hold several labels."""
    if not is_string(column.type):
        if not written.delimiter or is_list(column.type):
            return column, written
        if not pa.types.is_integer(column.type):
            raise ValueError(f"--delimiter {written.delimiter!r}: {where} holds {column.type}, not strings.")
        column = column.cast(pa.string())  # rows of one label each, which look like numbers
    if written.delimiter == "" or not len(rows):
        return column, written
    different = [value for value in pc.unique(column).to_pylist() if value and value.strip()]
    delimiter, starts = written.delimiter, {value.strip()[0] for value in different}
    if delimiter is None:
        if names and set(different) <= set(names):
            return column, written
        in_brackets = "[" in starts or starts <= set("({")
        delimiter = BRACKETS if in_brackets else find_delimiter(different, names or ())
        if delimiter is None:
            _tell_of_marks(different, where, notes)
            return column, written
        told = f'are separated by {delimiter!r} (--delimiter "" if each is one)'
        notes.append(f"Labels in {where} {'are lists written as text; they are lists now' if in_brackets else told}.")
    texts = [value or "" for value in column.to_pylist()]
    lists = split_labels(texts, None if delimiter == BRACKETS else delimiter, where=where)
    flat = {value for row in lists for value in row}
    if written.delimiter is None and (second := find_delimiter(flat, names or ())) is not None:
        example = next(value for value in flat if second in value)
        raise ValueError(
            f"Labels in {where} seem to be separated by {delimiter!r}, but {example!r} holds {second!r}: write all "
            f"with one delimiter, or say --delimiter {delimiter!r} if that is one label."
        )
    if written.delimiter not in (None, "", BRACKETS) and not any(written.delimiter in value for value in different):
        notes.append(f"No label in {where} holds the delimiter {written.delimiter!r} (--delimiter): each is one label.")
    written = replace(written, delimiter=delimiter)
    if flat and all(value.isdecimal() for value in flat) and (names or _multi_hot([lists[row] for row in rows], flat)):
        ids = [[int(value) for value in row] for row in lists]
        return pa.chunked_array([pa.array(ids, pa.list_(pa.int64()))]), written
    return pa.chunked_array([pa.array(lists, pa.list_(pa.string()))]), written


def with_empty(
    column: pa.ChunkedArray, rows: np.ndarray, blank: np.ndarray, where: str, written: LabelFormat, notes: list[str]
) -> tuple[np.ndarray, LabelFormat]:
    """The labeled rows, now that it is known that a row may have several labels, or none of them."""
    empty = np.zeros(len(column), bool)
    empty[rows] = pc.equal(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)[rows]
    count, answers = int((blank | empty).sum()), int(empty.sum())
    if not count:
        return rows, written
    cells = (
        f"{count:,} of {len(column):,} cells of {where} are empty ({shown_rows(np.flatnonzero(blank | empty))}, from 0)"
    )
    if written.empty is None:
        if (count - answers > MANY_EMPTY * len(column) and count - answers >= AT_LEAST) or (
            answers > MOST_EMPTY * len(column) and answers >= AT_LEAST
        ):
            raise ValueError(
                f"{cells}: does none of the labels apply there, or has nobody labeled these rows? Say "
                f"{option('empty', 'none')} or {option('empty', 'unlabeled')}."
            )
        if count > answers:  # an empty list is an answer that somebody wrote
            notes.append(
                f"{cells}: taken as rows to which no label applies (--empty unlabeled if nobody labeled them)."
            )
    if written.empty == "unlabeled":
        return rows[~empty[rows]], written
    return np.union1d(rows, np.flatnonzero(blank)), replace(written, empty="none")


def blank_cells(column: pa.ChunkedArray) -> np.ndarray:
    """Which cells are strings without anything in them, which is less than a null says."""
    if not is_string(column.type):
        return np.zeros(len(column), bool)
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), False).to_numpy()


def _all_names(values: Sequence[Any]) -> bool:
    return all(isinstance(name, str) for value in _listed(values) if value is not None for name in value)


def _listed(values: Sequence[Any]) -> list[list[Any] | None]:
    return [value if value is None or isinstance(value, list) else [value] for value in values]


def _tell_of_marks(different: Sequence[str], where: str, notes: list[str]) -> None:
    """Tell of strings that look delimited, though no part is met twice: there is no more to go by."""
    marked = [value for value in different if any(mark in value for mark in (";", "|", "、", "；"))]
    if marked:
        notes.append(f"Each string in {where} is taken as one label, {marked[0]!r} too (--delimiter if it is several).")


def _multi_hot(lists: Sequence[Sequence[str]], flat: set[str]) -> bool:
    return len({len(row) for row in lists}) == 1 and len(lists[0]) > 1 and flat <= {"0", "1"}
