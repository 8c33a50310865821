"""Files of labeled rows that a choice takes into account: those that it wrote itself, filled in, and others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset

from textpl.label_issues.review_formats import ROW
from textpl.reading.columns import check_columns
from textpl.reading.find_columns import as_texts, with_texts
from textpl.reading.label_format import LabelFormat, as_said
from textpl.reading.labels import arrow_column, missing_labels
from textpl.reading.sources import open_source
from textpl.selecting.ledger import Ledger, ledger_of, read_ledger


@dataclass(frozen=True)
class GivenRows:
    """The rows of one file.

    Attributes:
        source: as it was named.
        texts: of its rows, and after these of rows that were chosen for it and are no longer in it.
        labels: of each, None where it has none.
        lines: its rows as they are, all columns.
        ledger: of a file that `textpl select` wrote; None of others.
        label_names: where the source says them.
        label_format: how its labels are written, as far as the user or the source say.
        delimiter: between its fields, of csv; spreadsheets of some countries write semicolons.
        notes: for the user.
    """

    source: str
    texts: list[str]
    labels: list[Any]
    lines: list[dict[str, Any]]
    ledger: Ledger | None
    label_names: list[str] | None
    label_format: LabelFormat
    delimiter: str
    notes: tuple[str, ...]


def read_given(
    source: str, text: str, label: str, label_format: LabelFormat | None, pool_texts: list[str], fingerprint: str
) -> GivenRows:
    """Read one source of labeled rows.

    Args:
        source: folder, file or Hub id.
        text: name of the text column.
        label: name of the label column.
        label_format: what the user says of how labels are written.
        pool_texts: of the pool that is chosen from.
        fingerprint: of it.

    Raises:
        ValueError: for columns that are not there; a file that was chosen from another pool, whose ledger is lost, or
            whose row numbers and texts do not belong together.
    """
    raw = open_source(source)
    dataset = raw.splits["train"]
    notes = list(raw.notes)
    check_columns(source, dataset, [("--text", text), ("--label", label)])
    dataset = with_texts(as_texts(dataset, text, raw.untyped("train")), text, notes)
    texts, values = dataset.with_format(None)[text][:], arrow_column(dataset, label)
    labels = [None if none else v for v, none in zip(values.to_pylist(), missing_labels(values).tolist(), strict=True)]
    path, lines = Path(source).expanduser(), dataset.to_list()
    ledger = read_ledger(path) if path.is_file() else None
    if ledger is None and {"row", "round"} <= set(dataset.column_names):
        raise ValueError(
            f"{source} was written by textpl select, and its ledger {ledger_of(path)} is not there: put it back beside "
            "it, or take the columns `row` and `round` out to have the labels alone count."
        )
    if ledger is not None:
        ledger.check_pool("The pool", fingerprint, path)
        rows = _rows(lines, source, text, pool_texts)
        gone = [row for row in ledger.rows if row not in rows]
        texts, labels = texts + [pool_texts[row] for row in gone], labels + [None] * len(gone)
        notes += _told(lines, labels, ledger, source, gone)
    info = raw.info
    names = info.get(f"{label}_names") or info.get("label_names")
    table = raw.tables.get("train")
    delimiter = "," if table is None or table.written is None else table.written.delimiter
    said = as_said(label_format, info)
    return GivenRows(source, texts, labels, lines, ledger, names, said, delimiter, tuple(notes))


def _rows(lines: list[dict[str, Any]], source: str, text: str, pool_texts: list[str]) -> set[int]:
    """The row numbers in a file, whose texts must be those of the pool."""
    rows = set()
    for number, line in enumerate(lines, start=1):
        written = str(line.get("row") if line.get("row") is not None else "").strip()
        if not written:  # a line that somebody added
            continue
        found = ROW.fullmatch(written)
        if found is None or int(found[1]) >= len(pool_texts):
            raise ValueError(
                f"{source}, record {number}: {written!r} is no row of the pool: leave that column as it was."
            )
        row = int(found[1])
        # Spreadsheets change white space, and cut what is long.
        here, there = (" ".join(str(value).split())[:200] for value in (line[text], pool_texts[row]))
        if here != there:
            raise ValueError(
                f"{source}, record {number}: its text is not that of row {row} of the pool, {there[:60]!r}: sorted in "
                "one column only, or edited? Put texts and row numbers back as they were written."
            )
        rows.add(row)
    return rows


def _told(lines: list[dict[str, Any]], labels: list[Any], ledger: Ledger, source: str, gone: list[int]) -> list[str]:
    """What is filled in, round by round."""
    filled = {
        int(float(str(line["row"]).replace(",", ".")))
        for line, label in zip(lines, labels, strict=False)
        if label is not None and str(line.get("row") if line.get("row") is not None else "").strip()
    }
    parts = [f"round {r['round']}: {len(filled & set(r['rows']))} of {len(r['rows'])} labeled" for r in ledger.rounds]
    told = [f"{source}: {'; '.join(parts)}. Rows without a label stay in the file and are not offered again."]
    return told + ([f"{len(gone)} chosen rows are no longer in {source}: not offered again either."] if gone else [])


def together(given: list[GivenRows], text: str, label: str) -> Dataset | None:
    """The rows of several files under one another, as `textpl.select(labeled=...)` takes them."""
    texts = [value for part in given for value in part.texts]
    labels = [value for part in given for value in part.labels]
    kinds = {type(value) for value in labels if value is not None}
    if len(kinds) > 1 and not kinds & {list}:
        labels = [None if value is None else str(value) for value in labels]
    return Dataset.from_dict({text: texts, label: labels}) if texts else None
