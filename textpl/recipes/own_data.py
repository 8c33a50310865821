"""Data of one's own for a new recipe: which columns hold texts and labels, and files in the form that recipes share."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, concatenate_datasets

from textpl.reading.find_columns import as_texts, find_columns, replaced
from textpl.reading.label_cells import LabelFormat, read_cells
from textpl.reading.labeled_rows import LabeledRows, read_labeled
from textpl.reading.labels import arrow_column, is_string
from textpl.reading.sources import SPLIT_ALIASES, RawSource
from textpl.reading.tables import READABLE
from textpl.reading.writing import write_table

INFO = "info.json"
_AS_THEY_ARE = (".jsonl", ".parquet")
# A column of names is taken for labels if so few are different, by rows.
_FEW = 0.2
_SAMPLE = 200  # texts, evenly spaced
_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")  # Japanese is written with ideographs as well


def choose_columns(dataset: Dataset, text: str | None, label: str | None) -> tuple[str, str, list[str]]:
    """Names of the text and the label column, given or found, and what was guessed.

    Of two columns of strings, the one with few different values, each met several times, is taken for the labels.

    Raises:
        ValueError: when a given column is missing, or it is not clear which is meant.
    """
    try:
        return *find_columns(dataset, text, label), []
    except ValueError as error:
        unclear = re.sub(r": pass \w+=\.\.\. \(in a recipe `[\w.]+`\)\.", ": say --text NAME --label NAME.", str(error))
        unclear = re.sub(r"\b(text|label)_column=", r"--\1 ", unclear)
    if label is None and (guess := _guess(dataset, text)):
        told = (
            f"{guess[1]!r} was taken for the labels, as few of its values differ: if not so, --text NAME --label NAME"
        )
        return *guess, [told]
    raise ValueError(unclear)


def mostly_chinese(texts: Sequence[str]) -> bool:
    """Whether most of a sample of 200 texts hold Chinese characters, and no kana."""
    picked = np.linspace(0, len(texts) - 1, min(_SAMPLE, len(texts))).astype(int)
    sample = [texts[int(i)] for i in picked]
    return 2 * sum(bool(_IDEOGRAPH.search(text)) and not _KANA.search(text) for text in sample) > len(sample)


def read_own(raw: RawSource, source: str, text: str, label: str, label_format: LabelFormat | None) -> LabeledRows:
    """Read the labeled rows of data of one's own; see `read_labeled`."""
    return read_labeled(
        raw,
        source,
        text,
        label,
        label_format=label_format,
        option="--label",
        remedy="so there is nothing to learn from",
    )


def needs_a_copy(raw: RawSource, rows: LabeledRows) -> bool:
    """Whether the files are not in the form that recipes share, or rows of train are without a label."""
    kinds = {table.written.suffix if table.written is not None else ".parquet" for table in raw.tables.values()}
    changed = rows.written is None or not rows.written.equals(arrow_column(rows.dataset, rows.label_column))
    return changed or bool(len(rows.unlabeled)) or not kinds <= set(_AS_THEY_ARE)


def copy_data(source: Path, folder: Path, raw: RawSource, rows: LabeledRows, *, as_folder: bool = False) -> Path:
    """Copy a file, or the splits in a folder, into the folder of a recipe.

    Args:
        source: where the data lie.
        folder: of the recipe.
        raw: what was read there.
        rows: its labeled rows.
        as_folder: even one file goes into a folder, which another can be put into.

    Returns:
        What the recipe reads: one file, or the folder `data`. What is no jsonl or parquet, or has labels that had to be
        understood first, becomes jsonl with ids, names or lists; rows without a label become `unlabeled.jsonl`.
    """
    if not needs_a_copy(raw, rows):
        return _copy_files(source, folder, as_folder)
    splits = {"train": rows.dataset, **{name: _alike(raw, name, rows) for name in raw.splits if name != "train"}}
    if len(rows.unlabeled):
        bare = rows.unlabeled.remove_columns([n for n in (rows.label_column,) if n in rows.unlabeled.column_names])
        pool = splits.get("unlabeled")
        shared = [n for n in bare.column_names if pool is None or n in pool.column_names]
        parts = [part.select_columns(shared) for part in (pool, bare) if part is not None]
        splits["unlabeled"] = concatenate_datasets(parts)
    if len(splits) == 1 and source.is_file() and not as_folder:
        write_table(rows.dataset, folder / "train.jsonl")
        return folder / "train.jsonl"
    target = folder / "data"
    target.mkdir()
    for name, split in splits.items():
        write_table(split, target / f"{name}.jsonl")
    if (source / INFO).is_file():
        shutil.copyfile(source / INFO, target / INFO)
    return target


def _copy_files(source: Path, folder: Path, as_folder: bool) -> Path:
    target = folder / "data"
    if source.is_file() and not as_folder:
        return Path(shutil.copyfile(source, folder / f"train{source.suffix}"))
    target.mkdir()
    if source.is_file():
        shutil.copyfile(source, target / f"train{source.suffix}")
        return target
    stems = {name for names in SPLIT_ALIASES.values() for name in names}
    for file in sorted(source.iterdir()):
        if file.name == INFO or (file.stem in stems and file.suffix in READABLE):
            shutil.copyfile(file, target / file.name)
    return target


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


def _guess(dataset: Dataset, text: str | None) -> tuple[str, str] | None:
    """Text and label column; None if there is no column of few names, or another one could hold the labels too."""
    found: list[tuple[str, str]] = []
    for name in dataset.column_names:
        if name == text or not _few_names(dataset, name):
            continue
        try:
            found.append(find_columns(dataset, text, name))
        except ValueError:
            continue
    if len(found) != 1:
        return None
    try:
        find_columns(dataset, found[0][0])
    except ValueError:
        return found[0]
    return None


def _few_names(dataset: Dataset, column: str) -> bool:
    if _strings(dataset, column) is None:
        return False
    counts = pc.value_counts(arrow_column(dataset, column)).field("counts").to_numpy()
    return 2 <= len(counts) <= _FEW * len(dataset) and counts.min() > 1


def _strings(dataset: Dataset, column: str) -> list[str] | None:
    """The values of a column of strings, missing ones as ""; None for other columns."""
    values = arrow_column(dataset, column)
    if not is_string(values.type):
        return None
    return pc.fill_null(values, "").to_pylist()
