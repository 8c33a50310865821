"""Data of one's own for a new recipe: which columns hold texts and labels, and files in the form that recipes share."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value

from textpl.cleaning.inputs import find_delimiter, split_labels
from textpl.corpus import find_columns
from textpl.labels import arrow_column, missing_labels
from textpl.progress import quiet_datasets
from textpl.sources import READABLE, SPLIT_ALIASES, open_source

INFO = "info.json"
_AS_THEY_ARE = (".jsonl", ".parquet")
# A column of names is taken for labels if so few are different, by rows.
_FEW = 0.2
_BRACKETS = "["  # in place of a delimiter: lists written as text
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


def label_delimiter(dataset: Dataset, label: str, names: Sequence[str]) -> str | None:
    """What stands between labels that are written as one string; None where each string is one label."""
    values = _strings(dataset, label)
    if values is None or (names and set(values) <= set(names)):
        return None
    if any(value.lstrip().startswith("[") for value in values):
        return _BRACKETS
    return find_delimiter(values, names)


def mostly_chinese(texts: Sequence[str]) -> bool:
    """Whether most of a sample of 200 texts hold Chinese characters, and no kana."""
    picked = np.linspace(0, len(texts) - 1, min(_SAMPLE, len(texts))).astype(int)
    sample = [texts[int(i)] for i in picked]
    return 2 * sum(bool(_IDEOGRAPH.search(text)) and not _KANA.search(text) for text in sample) > len(sample)


def rows_without_label(dataset: Dataset, label: str) -> list[int]:
    """Rows whose one label is blank, where others have one; none for lists of labels, of which each may be empty."""
    column = arrow_column(dataset, label)
    if pa.types.is_nested(column.type):
        return []
    missing = missing_labels(column)
    return [] if missing.all() else np.flatnonzero(missing).tolist()


def copy_half_labelled(rows: Dataset, folder: Path, label: str, blank: Sequence[int]) -> Path:
    """Write labelled rows as `data/train.jsonl`, and those without a label as `data/unlabeled.jsonl`.

    Args:
        rows: of one file.
        folder: of the recipe.
        label: name of the label column; the rows without a label lose it.
        blank: what `rows_without_label` found.

    Returns:
        What the recipe reads, the folder `data`.
    """
    target = folder / "data"
    target.mkdir()
    with quiet_datasets():
        rows.select(np.setdiff1d(np.arange(len(rows)), blank)).to_json(target / "train.jsonl", force_ascii=False)
        rows.select(blank).remove_columns(label).to_json(target / "unlabeled.jsonl", force_ascii=False)
    return target


def copy_data(source: Path, folder: Path, label: str, delimiter: str | None) -> Path:
    """Copy a file, or the splits in a folder, into the folder of a recipe.

    Args:
        source: where the data lie.
        folder: of the recipe.
        label: name of the label column.
        delimiter: between labels of one string; these become lists.

    Returns:
        What the recipe reads: `train.jsonl`, or the folder `data`. Files that are no jsonl or parquet become jsonl.
    """
    if source.is_file():
        return _copy(source, folder / "train", label, delimiter)
    target = folder / "data"
    target.mkdir()
    stems = {name for names in SPLIT_ALIASES.values() for name in names}
    for file in sorted(source.iterdir()):
        if file.name == INFO:
            shutil.copyfile(file, target / INFO)
        elif file.stem in stems and file.suffix in READABLE:
            _copy(file, target / file.stem, label, delimiter)
    return target


def _copy(file: Path, stem: Path, label: str, delimiter: str | None) -> Path:
    if file.suffix in _AS_THEY_ARE and delimiter is None:
        target = stem.with_name(stem.name + file.suffix)
        shutil.copyfile(file, target)
        return target
    target = stem.with_name(f"{stem.name}.jsonl")
    rows = open_source(file).splits["train"]
    if delimiter is not None and label in rows.column_names:
        rows = _with_lists(rows, label, delimiter)
    with quiet_datasets():
        rows.to_json(target, force_ascii=False)
    return target


def _with_lists(rows: Dataset, label: str, delimiter: str) -> Dataset:
    """Labels as lists in place of strings; of several columns the order stays."""
    values = _strings(rows, label)
    if values is None:
        return rows
    lists = split_labels(values, None if delimiter == _BRACKETS else delimiter)
    made = rows.remove_columns(label).add_column(
        label, pa.array(lists, pa.list_(pa.string())), feature=List(Value("string"))
    )
    return made.select_columns(rows.column_names)


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
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return None
    return pc.fill_null(values, "").to_pylist()
