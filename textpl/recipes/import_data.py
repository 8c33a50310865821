"""The data that a new recipe is for: read, and put into its folder in the form that recipes share."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets

from textpl.corpus import TASKS, Corpus, read_corpus
from textpl.reading.find_columns import ColumnError, as_texts, find_columns, replaced
from textpl.reading.label_cells import LabelFormat, read_cells
from textpl.reading.labeled_rows import LabeledRows, read_labeled
from textpl.reading.labels import arrow_column
from textpl.reading.sources import SPLIT_ALIASES, RawSource, open_source
from textpl.reading.tables import READABLE
from textpl.reading.writing import write_table
from textpl.recipes.planned_test import held_out
from textpl.recipes.yaml_text import RecipeError

CLEANING = "cleaning.json"  # in what textpl clean writes
INFO = "info.json"
FOLDER = "data"
_AS_THEY_ARE = (".jsonl", ".parquet")
_SAMPLE = 200  # texts, evenly spaced
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")  # Japanese is written with ideographs as well


@dataclass(frozen=True)
class Said:
    """What the user says of the data; None is found."""

    text: str | None
    label: str | None
    task: str | None
    groups: str | None
    label_format: LabelFormat | None


@dataclass(frozen=True)
class Imported:
    """Data of a new recipe.

    Attributes:
        source: as the recipe calls them.
        title: what they are called, for people.
        said: what is known of them, with the names of the columns that were found.
        corpus: what the recipe will read; None for data on the Hub, which are not read.
        inside: they lie in the recipe's folder already.
        notes: for the user.
    """

    source: str
    title: str
    said: Said
    corpus: Corpus | None = None
    inside: bool = False
    notes: tuple[str, ...] = ()


def import_data(source: str, said: Said, folder: Path, staging: Path) -> Imported:
    """Read the data, and write those that the folder of the recipe needs a copy of into `staging`.

    Raises:
        FileNotFoundError: if there is no such file, and the source is no Hub id.
        ValueError: for data that cannot be read, or columns that are not clear.
    """
    path, bundled = Path(source).expanduser(), source.startswith("bundled:")
    if not bundled and not path.exists():
        if source.count("/") != 1 or source.startswith((".", "/", "~")):
            raise FileNotFoundError(f"{source!r} is no file or folder here, and no Hub id owner/name.")
        return Imported(source, source, said)
    raw = open_source(source)
    if not len(raw.splits["train"]):
        raise ValueError(f"{source} has no rows: name a file with a text and a label in each.")
    cleaned = {} if bundled or not (path / CLEANING).is_file() else _read_record(path / CLEANING)
    said = _with_columns(raw.splits["train"], said, cleaned, source)
    rows = read_labeled(
        raw, source, str(said.text), str(said.label), label_format=said.label_format, option="--label",
        remedy="so there is nothing to learn from",
    )  # fmt: skip
    notes = list(rows.notes)
    # Beside a file there is no place for the test file that is yet to come.
    alone = path.is_file() and "test" not in raw.splits and held_out(len(rows.dataset)) is None
    inside = not bundled and path.resolve().is_relative_to(folder.resolve()) and not _needs_a_copy(raw, rows) | alone
    name, reads = source, source
    if inside:
        name, reads = path.resolve().relative_to(folder.resolve()).as_posix(), str(path)
    elif not bundled:
        name, reads = FOLDER, str(staging / FOLDER)
        _copy(path, staging / FOLDER, raw, rows)
        notes.append(f"copied to {folder / FOLDER}")
        if len(rows.unlabeled):
            notes.append(
                f"{len(rows.dataset):,} rows have a label (train.jsonl), {len(rows.unlabeled):,} have none "
                "(unlabeled.jsonl, the pool)"
            )
    corpus = _read(reads, said)
    notes += _told_cleaned(cleaned, corpus.test is not None) if cleaned else []
    place = Path(source.removeprefix("bundled:")) if bundled else path.resolve()
    return Imported(name, place.stem if path.is_file() else place.name, said, corpus, inside, tuple(notes))


def mostly_chinese(texts: Sequence[str]) -> bool:
    """Tell whether most of a sample of 200 texts hold Chinese characters, and no kana."""
    picked = np.linspace(0, len(texts) - 1, min(_SAMPLE, len(texts))).astype(int)
    sample = [texts[int(i)] for i in picked]
    return 2 * sum(bool(_IDEOGRAPH.search(text)) and not _KANA.search(text) for text in sample) > len(sample)


def _with_columns(train: Dataset, said: Said, cleaned: dict[str, Any], source: str) -> Said:
    """What was said, with the names of the text and the label column."""
    there = train.column_names
    if said.groups is not None and said.groups not in there:
        raise ValueError(f"--groups {said.groups}: the columns of {source} are {there}.")
    text = said.text or (cleaned["text"] if cleaned.get("text") in there else None)
    label = said.label or (cleaned["labels"] if cleaned.get("labels") in there else None)
    try:
        found = find_columns(train if said.groups is None else train.remove_columns(said.groups), text, label)
    except ColumnError as error:
        raise ValueError(f"{error.problem.rstrip('.')}: say --text NAME --label NAME.") from error
    return replace(said, text=found[0], label=found[1])


def _read(reads: str, said: Said) -> Corpus:
    """The corpus as the recipe will read it."""
    written = said.label_format or LabelFormat()
    return read_corpus(
        reads,
        text_column=said.text,
        label_column=said.label,
        problem_type=TASKS[said.task] if said.task else None,
        # What was delimited is in lists now.
        label_format=replace(written, delimiter=None if written.delimiter else written.delimiter),
        keep=() if said.groups is None else (said.groups,),
    )


def _needs_a_copy(raw: RawSource, rows: LabeledRows) -> bool:
    """Whether the files are not in the form that recipes share, or rows of train are without a label."""
    kinds = {table.written.suffix if table.written is not None else ".parquet" for table in raw.tables.values()}
    changed = rows.written is None or not rows.written.equals(arrow_column(rows.dataset, rows.label_column))
    return changed or bool(len(rows.unlabeled)) or not kinds <= set(_AS_THEY_ARE)


def _copy(source: Path, target: Path, raw: RawSource, rows: LabeledRows) -> None:
    """Copy a file, or the splits in a folder, into a new folder.

    What is no jsonl or parquet, or has labels that had to be understood first, becomes jsonl with ids, names or lists;
    rows without a label become `unlabeled.jsonl`.
    """
    target.mkdir()
    if not _needs_a_copy(raw, rows):
        stems = {name for names in SPLIT_ALIASES.values() for name in names}
        files = [source] if source.is_file() else sorted(source.iterdir())
        for file in files:
            if source.is_file() or file.name == INFO or (file.stem in stems and file.suffix in READABLE):
                shutil.copyfile(file, target / (f"train{file.suffix}" if source.is_file() else file.name))
        return
    splits = {"train": rows.dataset, **{name: _alike(raw, name, rows) for name in raw.splits if name != "train"}}
    if len(rows.unlabeled):
        bare = rows.unlabeled.remove_columns([n for n in (rows.label_column,) if n in rows.unlabeled.column_names])
        pool = splits.get("unlabeled")
        shared = [n for n in bare.column_names if pool is None or n in pool.column_names]
        parts = [part.select_columns(shared) for part in (pool, bare) if part is not None]
        splits["unlabeled"] = concatenate_datasets(parts)
    for name, split in splits.items():
        write_table(split, target / f"{name}.jsonl")
    if (source / INFO).is_file():
        shutil.copyfile(source / INFO, target / INFO)


def _alike(raw: RawSource, name: str, rows: LabeledRows) -> Dataset:
    """Another split with labels written as those of train are now."""
    split, column = raw.splits[name], rows.label_column
    if rows.text_column in split.column_names:
        split = as_texts(split, rows.text_column, raw.untyped(name))
    if column not in split.column_names:
        return split
    settled = rows.label_format.settled
    cells = read_cells(arrow_column(split, column), f"{name}, column {column!r}", settled, rows.label_names)
    if len(cells.rows) == len(split):
        return replaced(split, column, cells.named() if rows.coding.form in ("name", "names") else cells.values)
    return split.remove_columns(column) if name == "unlabeled" else split


def _read_record(file: Path) -> dict[str, Any]:
    """What `textpl clean` says of how it cleaned a corpus."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{file} is broken: {error}. Run textpl clean again, with the same --out.") from error


def _told_cleaned(record: dict[str, Any], has_test: bool) -> list[str]:
    """What is to be known of data that `textpl clean` wrote."""
    reviewed = record.get("counts", {}).get("reviewed", 0)
    told = [
        "the labels are those that textpl clean left, with its weights (label_weight); "
        f"{reviewed:,} decisions of people among them"
    ]
    if not has_test:
        told.append(
            "there is no test file: the test rows are held out of the cleaned ones, whose labels a model has changed "
            "and which flatter it; put a test file with labels that you trust beside train"
        )
    return told
