"""A label column as it was written into one that can be encoded, and the rows that have no label at all.

What is certain is done and told; what could mean two things is refused with the option that says which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textpl.reading.label_format import ENCODED, LabelFormat
from textpl.reading.label_values import (
    as_text,
    check_numbers,
    holds_text,
    mapped,
    merged,
    number_names,
    numbers_by_name,
    shown_rows,
    which_labeled,
    without_blanks,
)
from textpl.reading.labels import in_order, is_list, is_string, label_kind, missing_labels
from textpl.reading.several_labels import as_lists, blank_cells, with_empty, without_choices


@dataclass(frozen=True)
class LabelCells:
    """The labels of the rows that have one.

    Attributes:
        values: ids or names, or lists of either.
        rows: int64 (labeled rows,), their numbers in the column.
        names: of all labels in order, where they are known.
        written: how they were written, as far as that was said or found.
        notes: what was found and assumed, for the user.
    """

    values: pa.ChunkedArray
    rows: np.ndarray
    names: tuple[str, ...] | None
    written: LabelFormat
    notes: tuple[str, ...]

    def named(self) -> pa.ChunkedArray:
        """The labels as names where they are numbers that stand for names."""
        texts = as_text(pc.list_flatten(self.values) if is_list(self.values.type) else self.values)
        if texts is None or is_string(texts.type) and holds_text(self.values.type):
            return self.values
        if not is_list(self.values.type):
            return texts
        return mapped(self.values, lambda row: [str(int(value)) for value in row])


def read_cells(
    column: pa.ChunkedArray,
    where: str,
    written: LabelFormat = LabelFormat(),  # noqa: B008
    names: Sequence[str] | None = None,
) -> LabelCells:
    """Understand a label column.

    A blank, null or NaN cell has no label. Where a row may have several labels an empty list says that none applies; an
    empty string is taken for the same if few are, and asked about if many are. Strings that hold several labels
    (delimited, Python or JSON lists, `{"choices": [...]}`) become lists.

    Args:
        column: as it was read.
        where: what it is called, for errors.
        written: what the user says about it.
        names: of all labels, if they are known: then these words are labels, whatever else they could mean.

    Raises:
        ValueError: for labels of several kinds and whatever may mean two things; rows and option are named.
    """
    notes: list[str] = []
    column = without_choices(column)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    label_kind(column, where)
    rows = np.flatnonzero(~missing_labels(column))
    blank = blank_cells(column)
    column, written = as_lists(column, rows, where, written, names, notes)
    if is_list(column.type):
        rows, written = with_empty(column, rows, blank, where, written, notes)
    column = column.take(pa.array(rows))
    labeled, written = which_labeled(column, where, written, names, notes)
    column, rows = column.filter(pa.array(labeled)), rows[labeled]
    if names is None:
        check_numbers(column, rows, where, notes)
    elif written != ENCODED:
        column = numbers_by_name(column, names)
    column, written = merged(without_blanks(column, where, notes), where, written, names, notes)
    if names is None:
        column, found = number_names(column, where, notes)
        names = in_order(pc.unique(column).to_pylist()) if written.delimiter == "" and is_string(column.type) else found
    return LabelCells(column, rows, None if names is None else tuple(names), written, tuple(notes))


def without_label(cells: LabelCells, size: int) -> list[str]:
    """Tell how many of `size` rows have no label, and which; nothing where all have."""
    if len(cells.rows) == size:
        return []
    numbers = np.setdiff1d(np.arange(size), cells.rows)
    return [f"{len(numbers):,} of {size:,} rows have no label ({shown_rows(numbers)}, counted from 0)"]
