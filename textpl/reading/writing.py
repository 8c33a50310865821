"""Tables written as the ones they come from were: same delimiter, encoding and columns, label names rather than ids."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset

from textpl.atomic_files import replacing
from textpl.reading.delimited import TextFormat, escaped
from textpl.reading.labels import arrow_column
from textpl.reading.tables import DELIMITED

WRITABLE = (".parquet", ".jsonl", ".csv", ".tsv")
ROWS = 10_000  # that are Python objects at a time
PER_LABEL = ("probabilities", "confidence")  # structs that are a column for each label in csv


def write_table(
    dataset: Dataset, path: Path, *, like: TextFormat | None = None, for_spreadsheets: bool = False
) -> None:
    """Write a dataset as a file, whole or not at all.

    Class ids become names, which all programs can read. In csv, `probabilities` and `confidence` become a column for
    each label, other lists and objects JSON text, and None an empty cell.

    Args:
        dataset: the rows.
        path: .parquet, .jsonl, .csv or .tsv.
        like: how csv is to be written; its encoding is used if it can hold all characters, else UTF-8.
        for_spreadsheets: mark cells that Excel would take for formulas with an apostrophe, which reading takes away.

    Raises:
        ValueError: for another suffix.
        OSError: if the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITABLE:
        raise ValueError(f"{path}: write a {', '.join(WRITABLE)} file.")
    dataset = with_names(dataset.with_format(None))
    with replacing(path) as partial:
        if suffix == ".parquet":
            dataset.to_parquet(str(partial))
        elif suffix == ".jsonl":
            with partial.open("w", encoding="utf-8", newline="") as file:
                file.writelines(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in _rows(dataset))
        else:
            like = like if like is not None and like.suffix in DELIMITED else TextFormat(suffix)
            _write_csv(dataset, partial, like, "\t" if suffix == ".tsv" else like.delimiter, for_spreadsheets)


def with_names(dataset: Dataset) -> Dataset:
    """Put names in place of class ids, where they have other names than their numbers; -1 becomes None."""
    for name, feature in dataset.features.items():
        if not isinstance(feature, ClassLabel):
            continue
        ids = pc.if_else(pc.less(arrow_column(dataset, name), 0), None, arrow_column(dataset, name))
        bare = list(feature.names) == [str(k) for k in range(len(feature.names))]
        values = ids if bare else pa.chunked_array([pa.array(feature.names, pa.string())]).take(ids)
        table = dataset.with_format("arrow")[:].replace_schema_metadata(None)
        dataset = Dataset(table.set_column(dataset.column_names.index(name), name, values))
    return dataset


def _write_csv(dataset: Dataset, path: Path, like: TextFormat, delimiter: str, for_spreadsheets: bool) -> None:
    try:
        encoding = "utf-16" if like.encoding.startswith("utf-16") else like.encoding
        _write_rows(dataset, path, encoding, delimiter, for_spreadsheets)
    except UnicodeEncodeError:
        _write_rows(dataset, path, "utf-8-sig", delimiter, for_spreadsheets)


def _write_rows(dataset: Dataset, path: Path, encoding: str, delimiter: str, for_spreadsheets: bool) -> None:
    mark = escaped if for_spreadsheets else str
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow("" if name.startswith("Unnamed: ") else mark(name) for name in _headings(dataset))
        writer.writerows([mark(_cell(value)) for value in _flat(row)] for row in _rows(dataset))


def _headings(dataset: Dataset) -> Iterator[str]:
    for name, feature in dataset.features.items():
        if name in PER_LABEL and isinstance(feature, dict):
            yield from (f"{name}_{label}" for label in feature)
        else:
            yield name


def _flat(row: dict[str, Any]) -> Iterator[Any]:
    for name, value in row.items():
        if name in PER_LABEL and isinstance(value, dict):
            yield from value.values()
        else:
            yield value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return json.dumps(_plain(value), ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)


def _plain(value: Any) -> Any:
    """What JSON can say: not-a-number is null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _rows(dataset: Dataset) -> Iterator[dict[str, Any]]:
    table = dataset.with_format("arrow")[:]
    parsed = [field.name for field in table.schema if isinstance(field.type, pa.BaseExtensionType)]
    for start in range(0, table.num_rows, ROWS):
        for row in table.slice(start, ROWS).to_pylist():
            yield {**row, **{name: row[name] and json.loads(row[name]) for name in parsed}} if parsed else row
