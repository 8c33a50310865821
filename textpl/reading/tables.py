"""One file into a table, whoever wrote it: the only place where textpl opens a csv, jsonl, json or parquet file.

Files are read anew each time, so that no older state of a file is ever taken for it, and nothing is kept on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from datasets.features.features import generate_from_arrow_type

from textpl.reading.delimited import TextFormat, distinct, read_delimited
from textpl.reading.encodings import find_encoding
from textpl.reading.json_rows import read_json

READABLE = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
DELIMITED = (".csv", ".tsv")


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        dataset: in memory. Of csv its columns hold strings, or numbers that read as they are written.
        written: how the file is written; None for parquet.
        notes: what was found out of it, for the user.
    """

    dataset: Dataset
    written: TextFormat | None = None
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> Table:
    """Read one file.

    Raises:
        ValueError: for a suffix or content that is not read; file, row or line, and remedy are named.
        OSError: if it cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix not in READABLE:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}; textpl reads {', '.join(READABLE)}.")
    if suffix == ".parquet":
        return _parquet(path)
    text, written = read_text(path)
    if suffix in DELIMITED:
        columns, written = read_delimited(text, written, str(path))
    else:
        columns = read_json(text.replace("\r\n", "\n"), str(path))
    told = written.told()
    notes = (f"{path.name} is {' and '.join(told)}.",) if told else ()
    dataset, left_out = _dataset(pa.table(columns))
    return Table(dataset, written, (*notes, *left_out))


def read_text(path: Path) -> tuple[str, TextFormat]:
    """Read a text file in whatever encoding it is; and how it is written, the delimiter as its suffix says.

    Raises:
        ValueError: for what is no text, and an encoding that cannot be told.
        OSError: if it cannot be opened.
    """
    data, suffix = path.read_bytes(), path.suffix.lower()
    written = TextFormat(suffix, find_encoding(data, str(path)), delimiter="\t" if suffix == ".tsv" else ",")
    return data.decode(written.encoding).removeprefix("\ufeff"), written


def _parquet(path: Path) -> Table:
    try:
        if path.stat().st_size == 0:
            return Table(Dataset.from_dict({}))
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise ValueError(f"{path} cannot be read as parquet: {error}. Write it again.") from error
    dataset, notes = _dataset(table)
    return Table(dataset, None, notes)


def _dataset(table: pa.Table) -> tuple[Dataset, tuple[str, ...]]:
    """A table as `datasets` can hold it; a column of a type that it does not know is left out, and told."""
    names = distinct(table.column_names)
    left_out = []
    columns, fields = [], []
    for name, column in zip(names, table.columns, strict=True):
        column = _plain(column)
        try:
            generate_from_arrow_type(column.type)
        except (ValueError, TypeError, NotImplementedError):
            left_out.append(name)
            continue
        columns.append(column)
        fields.append(pa.field(name, column.type))
    if not table.num_rows or not columns:
        return Dataset.from_dict({}), ()
    metadata = table.schema.metadata if names == table.column_names and not left_out else None
    kept = {key: value for key, value in (metadata or {}).items() if key == b"huggingface"}
    schema = pa.schema(fields, metadata=kept or None)
    try:
        dataset = Dataset(pa.table(columns, schema=schema))
    except (ValueError, TypeError, KeyError):  # features that somebody wrote there and that do not fit
        dataset = Dataset(pa.table(columns, schema=schema.remove_metadata()))
    notes = (f"Left out, of a type that is not read: column {', '.join(map(repr, left_out))}.",) if left_out else ()
    return dataset, notes


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without dictionaries, views and large strings, which `datasets` does not know or treats apart."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if hasattr(kind, "value_type") and str(kind.value_type) in ("string_view", "large_string"):
        return column.cast(pa.list_(pa.string()))
    if str(kind) in ("string_view", "large_string"):
        return column.cast(pa.string()) if column.nbytes < 2**31 else column.cast(pa.large_string())
    return column.cast(pa.string()) if pa.types.is_decimal(kind) else column
