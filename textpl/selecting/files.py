"""`textpl select` on files and Hub data: read the pool and what is labeled, choose, write the file to fill in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

from textpl.atomic_files import check_writable
from textpl.reading.columns import check_columns
from textpl.reading.delimited import TextFormat
from textpl.reading.find_columns import as_texts, with_texts
from textpl.reading.label_format import LabelFormat
from textpl.reading.labeled_rows import text_fingerprint
from textpl.reading.sources import open_source
from textpl.reading.writing import WRITABLE, write_table
from textpl.selecting.labeled_files import GivenRows, read_given, together
from textpl.selecting.ledger import Ledger
from textpl.selecting.rates import ClassRates, class_rates
from textpl.selecting.select import select
from textpl.selecting.selection import Selection, check_names, write_argilla, write_label_studio

ROUND = "round"


@dataclass(frozen=True)
class Selected:
    """What `select_files` chose and wrote.

    Attributes:
        chosen: the new rows.
        round: their round, from 1.
        rates: of the labels in the pool, by the rows labeled so far; None where these say nothing about it.
        files: what it is -> where it lies.
    """

    chosen: Selection
    round: int
    rates: ClassRates | None
    files: dict[str, Path]


def select_files(
    pool: str,
    budget: int,
    out: Path,
    *,
    labeled: Sequence[str] = (),
    argilla: Path | None = None,
    label_studio: Path | None = None,
    text: str = "text",
    label: str = "label",
    label_names: list[str] | None = None,
    label_format: LabelFormat | None = None,
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Selected:
    """Choose rows of a pool and write them to a file with an empty label column, with a ledger beside it.

    A file that an earlier call wrote, given as `labeled`, is continued: its rows, with all that was written into them,
    come first in `out`, which may be that file.

    Args:
        pool: folder, file or Hub id; its unlabeled split is taken, else its train split.
        budget: rows to choose.
        out: .csv, .tsv, .jsonl or .parquet file to write.
        labeled: folders, files or Hub ids of labeled rows; at most one of them was written by `textpl select`.
        argilla: file to write the new rows to as records of Argilla.
        label_studio: file to write them to as tasks of Label Studio.
        text: name of the text column, everywhere.
        label: name of the label column of `labeled`, and of `out`.
        label_names: name of every label.
        label_format: how labels are written, where that is not to be found out.
        say: gets a line about each thing that the user should know.
        settings: of `textpl.select`.

    Raises:
        FileExistsError: if `out` exists and is not continued.
        ValueError: for files that do not belong to the pool, and all that `textpl.select` refuses.
    """
    if out.suffix.lower() not in WRITABLE:
        raise ValueError(f"{out}: write a {', '.join(WRITABLE)} file.")
    rows = _pool(pool, text, say)
    fingerprint = text_fingerprint(rows, text)
    texts = rows.with_format(None)[text][:]
    given = [read_given(source, text, label, label_format, texts, fingerprint) for source in labeled]
    for part in given:
        for note in part.notes:
            say(note)
    continued = _continued(given)
    _check_out(out, continued)
    check_writable(out.parent)  # before the work, not after it
    names = label_names or next((part.label_names for part in given if part.label_names), None)
    written = given[0].label_format if given else label_format
    known = together(given, text, label)
    chosen = select(
        rows,
        budget,
        labeled=known,
        text_column=text,
        label_column=label,
        label_names=names,
        label_format=written,
        **settings,
    )
    if label_studio is not None:
        check_names(chosen.label_names)
    before = Ledger(pool, fingerprint, len(rows)) if continued is None else continued.ledger
    assert before is not None
    count = sum(value is not None for part in given for value in part.labels)
    ledger = before.with_round(chosen, budget, count)
    number = len(ledger.rounds)
    new = [{**line, ROUND: number} for line in chosen.to_dataset().to_list()]
    _write(continued, new, out)
    ledger.save(out)
    files = {"to label": out}
    if argilla is not None:
        write_argilla(new, argilla, text)
        files["for Argilla"] = argilla
    if label_studio is not None:
        write_label_studio(new, chosen.label_names, label_studio, text, multi=chosen.multi)
        files["for Label Studio"] = label_studio
    return Selected(chosen, number, _rates(continued, label, names, written), files)


def _pool(source: str, text: str, say: Callable[[str], None]) -> Dataset:
    raw = open_source(source)
    for note in raw.notes:
        say(note)
    split = "unlabeled" if "unlabeled" in raw.splits else "train"
    dataset = raw.splits[split]
    if not len(dataset):
        raise ValueError(f"{source} has no rows: there is nothing to choose from. Give texts, one a row.")
    check_columns(source, dataset, [("--text", text)])
    notes: list[str] = []
    dataset = with_texts(as_texts(dataset, text, raw.untyped(split)), text, notes)
    for note in notes:
        say(note)
    return dataset


def _continued(given: list[GivenRows]) -> GivenRows | None:
    """The file whose rounds go on."""
    found = [part for part in given if part.ledger is not None]
    if len(found) > 1:
        raise ValueError(
            f"{' and '.join(part.source for part in found)} both have a ledger of their own: one loop goes on in one "
            "file. Copy the labels of one of them to a file without the columns `row` and `round`."
        )
    return found[0] if found else None


def _check_out(out: Path, continued: GivenRows | None) -> None:
    if not out.exists():
        return
    if continued is None or not out.samefile(Path(continued.source).expanduser()):
        raise FileExistsError(
            f"{out} exists and is not overwritten: choose another name, or give it as --labeled too, to go on with it."
        )


def _write(continued: GivenRows | None, new: list[dict[str, Any]], out: Path) -> None:
    """All rows, earlier ones as they are, under one another; between fields stands what a person's program wrote."""
    before = [] if continued is None else continued.lines
    alike = continued is not None and Path(continued.source).suffix.lower() == out.suffix.lower()
    delimiter = continued.delimiter if continued is not None and alike else ","
    names = list(dict.fromkeys([*(name for line in [*before, *new] for name in line)]))
    numbers = {"row", "rank", ROUND, "weight"}
    columns: dict[str, list[Any]] = {name: [line.get(name) for line in [*before, *new]] for name in names}
    plain = out.suffix.lower() in (".csv", ".tsv")
    for name, values in columns.items():
        kinds = {type(value) for value in values if value is not None}
        if plain or len(kinds) > 1 and name not in numbers:
            columns[name] = ["" if value is None else _cell(value) for value in values]
    features = {name: Value("string") for name in names} if plain else None
    dataset = Dataset.from_dict(columns, features=None if features is None else Features(features))
    like = TextFormat(out.suffix.lower(), encoding="utf-8-sig", delimiter=delimiter)
    write_table(dataset, out, like=like, for_spreadsheets=True)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _rates(
    continued: GivenRows | None, label: str, names: list[str] | None, label_format: LabelFormat | None
) -> ClassRates | None:
    """The rates of the labels, if rows with a weight are labeled."""
    if continued is None:
        return None
    lines = [
        (value, line.get("weight"))
        for line, value in zip(continued.lines, continued.labels, strict=False)
        if value is not None and str(line.get("weight") if line.get("weight") is not None else "").strip()
    ]
    if len({str(value) for value, _ in lines}) < 2:
        return None
    rows = Dataset.from_dict({label: [value for value, _ in lines], "weight": [str(w) for _, w in lines]})
    return class_rates(rows, label_column=label, label_names=names, label_format=label_format)
