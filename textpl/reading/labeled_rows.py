"""Texts and labels of one source, however labels are written: what `textpl clean`, `label` and `recipes new` read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value

from textpl.reading.columns import check_columns
from textpl.reading.find_columns import as_texts, check_text, declared_names, replaced, with_texts
from textpl.reading.label_arrays import EncodedLabels, encode_labels
from textpl.reading.label_cells import without_label
from textpl.reading.label_format import LabelFormat, as_said
from textpl.reading.labels import LabelCoding, arrow_column, is_list, is_string, refuse
from textpl.reading.sources import RawSource
from textpl.reading.tables import Table

MADE_COLUMN = "labels"  # of several multi-hot columns
WRITTEN_BITS = ["0", "1", "0.0", "1.0", "false", "true"]


@dataclass(frozen=True)
class LabeledRows:
    """Rows with labels in one column.

    Attributes:
        dataset: the rows that have a label; labels that were text or several columns are lists now.
        text_column: its text.
        label_column: its labels.
        given: int8 (rows, labels) or int64 (rows,).
        coding: what the labels mean.
        rows: int64 (rows,), number of each row in its source, from 0.
        unlabeled: the rows of the source that have no label, as they were.
        written: the label column of `dataset` as it was read; None if it was several columns.
        label_format: how labels are written, as far as that was said or found.
        table: how the file is written; None for data from elsewhere.
        notes: how the rows were understood, for the user to see.
    """

    dataset: Dataset
    text_column: str
    label_column: str
    given: np.ndarray
    coding: LabelCoding
    rows: np.ndarray
    unlabeled: Dataset
    written: pa.ChunkedArray | None
    label_format: LabelFormat
    table: Table | None
    notes: tuple[str, ...] = ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of every label."""
        return self.coding.label_names

    def fingerprint(self) -> str:
        """Same texts, labels and names, and same rows without a label: same 16 hex digits."""
        texts = [text_fingerprint(rows, self.text_column) for rows in (self.dataset, self.unlabeled)]
        about = repr((self.given.shape, self.label_names, texts)).encode()
        return hashlib.sha256(about + np.ascontiguousarray(self.given).tobytes()).hexdigest()[:16]


def read_labeled(
    raw: RawSource,
    source: str,
    text: str,
    labels: str,
    *,
    label_format: LabelFormat | None = None,
    option: str = "--labels",
    remedy: str = "so there is nothing to clean",
) -> LabeledRows:
    """Read the labeled rows of an opened source.

    Args:
        raw: its train split is read.
        source: what it is called, for errors.
        text: name of the text column.
        labels: name of the label column, or of several of 0 and 1, separated by commas.
        label_format: what the user says of how labels are written.
        option: of the command, that names the label column.
        remedy: what follows if no row has a label.

    Raises:
        ValueError: for columns that are not there, and labels that cannot be read; row and remedy are named.
    """
    dataset = raw.splits["train"]
    if len(dataset) == 0:
        raise ValueError(f"{source} has no rows: name a file with a text and a label in each.")
    columns = [labels] if labels in dataset.column_names else [name.strip() for name in labels.split(",")]
    check_columns(source, dataset, [("--text", text), *((option, name) for name in columns)])
    notes = list(raw.notes)
    whole = dataset = as_texts(dataset, text, raw.untyped("train"))
    names, column, where = (
        raw.info.get(f"{labels}_names") or raw.info.get("label_names"),
        columns[0],
        f"column {columns[0]!r}",
    )
    if len(columns) > 1:
        dataset, column, rows = _one_column(dataset, columns)
        names, where = columns, f"column {column!r}"
        notes.append(f"{len(columns)} columns of 0 and 1 are {len(columns)} labels, now in column {column!r}.")
        dataset, numbers = chosen(dataset, rows), rows
    else:
        numbers = np.arange(len(dataset))
    declared = declared_names({"train": dataset}, column, names)
    values, label_format = arrow_column(dataset, column), as_said(label_format, raw.info)
    encoded = _encoded(values, where, declared, label_format, source, remedy)
    kept, cells = numbers[encoded.cells.rows], encoded.cells
    dataset = chosen(dataset, cells.rows)
    written = arrow_column(dataset, column)
    if cells.values.type != written.type or not cells.values.equals(written):
        dataset = replaced(dataset, column, cells.values, _feature(cells.values.type))
    dataset = with_texts(dataset, text, notes)
    check_text(dataset, text, f"{source}, column {text!r}")
    notes += cells.notes
    if len(kept) < len(whole):
        told = (
            without_label(cells, len(values))[0]
            if len(columns) == 1
            else f"{len(whole) - len(kept):,} rows have no label"
        )
        notes.append(f"{told}: left out; row numbers are from here on those among the other {len(kept):,}.")
    return LabeledRows(
        dataset,
        text,
        column,
        encoded.array,
        encoded.coding,
        kept,
        chosen(whole, np.setdiff1d(np.arange(len(whole)), kept)),
        written if len(columns) == 1 else None,
        cells.written,
        raw.tables.get("train"),
        tuple(notes),
    )


def text_fingerprint(dataset: Dataset, text_column: str) -> str:
    """Same texts in the same order: same 16 hex digits."""
    digest = hashlib.sha256()
    for chunk in arrow_column(dataset, text_column).chunks:
        for text in chunk.to_pylist():
            digest.update(f"{text}\0".encode())
    return digest.hexdigest()[:16]


def chosen(dataset: Dataset, rows: np.ndarray) -> Dataset:
    """Take some rows, in memory, so that later steps have no indices to look up."""
    if len(rows) == len(dataset):
        return dataset
    return Dataset(dataset.with_format("arrow")[:].take(pa.array(rows)))


def _encoded(
    values: pa.ChunkedArray,
    where: str,
    names: Sequence[str] | None,
    label_format: LabelFormat | None,
    source: str,
    remedy: str,
) -> EncodedLabels:
    try:
        return encode_labels(values, where, label_names=names, label_format=label_format, all_labeled=False)
    except ValueError as error:
        if str(error).endswith("no row has a label."):
            raise ValueError(f"{source}: no row has a label in {where}, {remedy}.") from None
        raise


def _feature(kind: pa.DataType) -> object:
    inner = kind.value_type if is_list(kind) else kind
    value = Value("string" if is_string(inner) else str(inner))
    return List(value) if is_list(kind) else value


def _one_column(dataset: Dataset, columns: Sequence[str]) -> tuple[Dataset, str, np.ndarray]:
    """Columns of 0 and 1 as lists in a new column, its name, and the rows that are filled in."""
    cells, rows = _multi_hot(dataset, columns)
    made = MADE_COLUMN
    while made in dataset.column_names:
        made += "_"
    array = pa.FixedSizeListArray.from_arrays(pa.array(cells.ravel()), len(columns))
    return dataset.add_column(made, array, feature=List(Value("int8"), length=len(columns))), made, rows


def _multi_hot(dataset: Dataset, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Columns of 0 and 1, or true and false, also where they are strings, as int8 (rows, columns); the rows with them.

    A row without anything in any of them is not labeled.

    Raises:
        ValueError: for another value; all rows that have one are counted.
    """
    cells = np.full((len(dataset), len(columns)), -1, np.int8)
    blank = np.ones(len(dataset), bool)
    for k, name in enumerate(columns):
        arrow = arrow_column(dataset, name)
        empty = pc.is_null(arrow, nan_is_null=True)
        if is_string(arrow.type):
            written = pc.utf8_lower(pc.utf8_trim_whitespace(arrow))
            empty = pc.or_(empty, pc.fill_null(pc.equal(written, ""), True))
            place = pc.fill_null(pc.index_in(written, value_set=pa.array(WRITTEN_BITS, arrow.type)), -1).to_numpy()
            cells[:, k] = np.where(place < 0, -1, place % 2)
        elif pa.types.is_boolean(arrow.type) or pa.types.is_integer(arrow.type) or pa.types.is_floating(arrow.type):
            values = pc.fill_null(arrow.cast(pa.float64()), -1).to_numpy()
            cells[:, k] = np.where((values == 0) | (values == 1), values, -1)
        blank &= empty.to_numpy(zero_copy_only=False)
    bad = np.asarray(cells < 0) & ~blank[:, None]
    if bad.any():
        names = [name for k, name in enumerate(columns) if bad[:, k].any()]
        rows = np.flatnonzero(bad.any(1))
        value = dataset[int(rows[0])][columns[int(bad[rows[0]].argmax())]]
        where = f"column{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"
        refuse(
            where, rows, f"the value is {value!r}", "Write 0 or 1 (or true and false) in every row, or leave all empty"
        )
    return np.maximum(cells, 0), np.flatnonzero(~blank)
