"""The data that a new recipe is for: its columns, a copy where one is needed, and what its splits are planned by."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from textpl.recipes.parsing import RecipeError

if TYPE_CHECKING:
    from datasets import Dataset

    from textpl.corpus import Corpus
    from textpl.reading.label_format import LabelFormat
    from textpl.reading.labeled_rows import LabeledRows
    from textpl.reading.sources import RawSource

CLEANING = "cleaning.json"  # in what textpl clean writes


@dataclass(frozen=True)
class Said:
    """What the user says of the data; None is found."""

    text: str | None
    label: str | None
    task: str | None
    groups: str | None
    label_format: LabelFormat | None


@dataclass(frozen=True)
class DataFound:
    """What is known of the data."""

    source: str  # as the recipe calls them
    text: str | None
    label: str | None
    multi: bool
    title: str  # what the data are called, for people
    labels: int | None = None
    rows: int | None = None  # in train; None if they were not read
    smallest: int | None = None  # rows of the rarest class
    has_test: bool = True
    test: int | None = None  # rows to hold out of train
    has_pool: bool = False  # a split without labels
    groups: str | None = None  # column of what stays together
    largest_group: int = 0  # its rows, by which a part may be larger than planned
    chinese: bool = False
    label_format: LabelFormat | None = None  # what was said that the copy still needs
    inside: bool = False  # they lie in the recipe's folder already
    notes: tuple[str, ...] = ()  # for the user


def look_at(source: str, said: Said, folder: Path, staging: Path) -> DataFound:
    """Read the data; those that the folder of the recipe needs a copy of are then in `staging`."""
    path, bundled = Path(source).expanduser(), source.startswith("bundled:")
    if not bundled and not path.exists():
        if source.count("/") != 1 or source.startswith((".", "/", "~")):
            raise FileNotFoundError(f"{source!r} is no file or folder here, and no Hub id owner/name.")
        return DataFound(source, said.text, said.label, said.task == "multi", source, groups=said.groups)
    from textpl.reading.sources import open_source
    from textpl.recipes.own_data import read_own
    from textpl.recipes.planned_test import held_out

    raw = open_source(source)
    if not len(raw.splits["train"]):
        raise ValueError(f"{source} has no rows: name a file with a text and a label in each.")
    cleaned = {} if bundled or not (path / CLEANING).is_file() else _read_record(path / CLEANING)
    text, label, notes = _columns(raw.splits["train"], said, cleaned, source)
    rows = read_own(raw, source, text, label, said.label_format)
    notes += rows.notes
    if len(rows.unlabeled):
        notes.append(
            f"{len(rows.dataset):,} rows have a label (train.jsonl), {len(rows.unlabeled):,} have none "
            "(unlabeled.jsonl, the pool)"
        )
    test = None if "test" in raw.splits else held_out(len(rows.dataset))
    untested = "test" not in raw.splits and test is None  # a test file is to be put beside train
    name, reads = source, source
    if not bundled:
        name, reads, told = _placed(path, raw, rows, untested, folder, staging)
        notes += told
    known = _counted(reads, replace(said, text=text, label=label))
    corpus = known.pop("corpus")
    notes += _told_cleaned(cleaned, corpus.test is not None) if cleaned else []
    notes += _told_test(corpus, test, (text, label), said.label_format, staging, (folder, folder / name))
    title = path.resolve().stem if path.is_file() else path.resolve().name
    return DataFound(
        name,
        text,
        label,
        title=source.removeprefix("bundled:") if bundled else title,
        test=test,
        groups=said.groups,
        inside=not bundled and Path(reads).resolve().is_relative_to(folder.resolve()),
        label_format=said.label_format,
        notes=tuple(notes),
        **known,
    )


def one_label(said: LabelFormat | None) -> LabelFormat:
    """The same, with one label in each string."""
    from textpl.reading.label_format import LabelFormat

    return replace(said or LabelFormat(), delimiter="")


def _columns(train: Dataset, said: Said, cleaned: dict[str, Any], source: str) -> tuple[str, str, list[str]]:
    """Names of the text and the label column, and what was guessed."""
    from textpl.recipes.own_data import choose_columns

    there = train.column_names
    if said.groups is not None and said.groups not in there:
        raise ValueError(f"--groups {said.groups}: the columns of {source} are {there}.")
    text = said.text or (cleaned["text"] if cleaned.get("text") in there else None)
    label = said.label or (cleaned["labels"] if cleaned.get("labels") in there else None)
    return choose_columns(train if said.groups is None else train.remove_columns(said.groups), text, label)


def _placed(
    path: Path, raw: RawSource, rows: LabeledRows, untested: bool, folder: Path, staging: Path
) -> tuple[str, str, list[str]]:
    """What the recipe calls the data, where they are read until it is written, and what was copied."""
    from textpl.recipes.own_data import copy_data, needs_a_copy

    beside = path.resolve().is_relative_to(folder.resolve()) and not (untested and path.is_file())
    if beside and not needs_a_copy(raw, rows):
        return path.resolve().relative_to(folder.resolve()).as_posix(), str(path), []
    copy = copy_data(path, staging, raw, rows, as_folder=untested)
    size = sum(file.stat().st_size for file in (copy.iterdir() if copy.is_dir() else [copy]))
    return copy.name, str(copy), [f"copied to {folder / copy.name}, {size / 2**20:.1f} MiB"]


def _counted(reads: str, said: Said) -> dict[str, Any]:
    """The corpus, and what the plan of its splits rests on."""
    from textpl.corpus import TASKS, read_corpus
    from textpl.reading.label_format import LabelFormat
    from textpl.reading.labels import MULTI, label_array
    from textpl.recipes.own_data import mostly_chinese

    written = said.label_format or LabelFormat()
    corpus = read_corpus(
        reads,
        text_column=said.text,
        label_column=said.label,
        problem_type=TASKS[said.task] if said.task else None,
        # What was delimited is in lists now.
        label_format=replace(written, delimiter=None if written.delimiter else written.delimiter),
        keep=() if said.groups is None else (said.groups,),
    )
    multi, labels = corpus.problem_type == MULTI, label_array(corpus.train)
    counts = labels.sum(0) if multi else np.bincount(labels, minlength=len(corpus.label_names))
    grouped = {} if said.groups is None else Counter(corpus.train[said.groups][:])
    return {
        "corpus": corpus,
        "multi": multi,
        "labels": len(corpus.label_names),
        "rows": len(corpus.train),
        "smallest": int(counts[counts > 0].min()),
        "has_test": corpus.test is not None,
        "has_pool": corpus.unlabeled is not None,
        "largest_group": max(grouped.values(), default=0),
        "chinese": mostly_chinese(corpus.train["text"]),
    }


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


def _told_test(
    corpus: Corpus,
    test: int | None,
    columns: tuple[str, str],
    said: LabelFormat | None,
    staging: Path,
    places: tuple[Path, Path],
) -> list[str]:
    """What is to be known of the test rows; where there are none, texts to be labeled are written into `staging`.

    Args:
        corpus: the data.
        test: rows that are to be held out.
        columns: of text and label.
        said: how labels are written.
        staging: where files are made.
        places: folder of the recipe, and of its data.
    """
    from textpl.recipes.planned_test import told_held_out, told_test_file, told_to_label, write_to_label

    if corpus.test is not None:
        return told_test_file(len(corpus.test))
    if test is not None:
        return told_held_out(test)
    # Cells that are yet to be filled in must not be taken for "no label applies".
    pool = None if said is not None and said.empty == "none" else corpus.unlabeled
    name = write_to_label(pool, *columns, corpus.problem_type.startswith("multi"), staging)
    return told_to_label(len(corpus.train), name, columns[1], corpus.label_names, *places)
