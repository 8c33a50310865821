"""What `textpl clean` and `textpl label` wrote, read for others to use: the rows, and how their labels were made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, List

from textpl.atomic_files import read_json
from textpl.cleaning.apply import SOURCES
from textpl.label_issues.columns import SOURCE, from_text
from textpl.reading.find_columns import replaced
from textpl.reading.label_cells import LabelFormat, read_cells
from textpl.reading.labels import arrow_column, is_string
from textpl.reading.tables import READABLE, read_table
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.secrets import published_json, regular_file

CLEANING, REPORT = "cleaning.json", ".report.json"
DATA_BYTES = 50 * 2**30
_TOLD_BYTES = 2**24
_SPLIT = re.compile(r"\w+(\.\w+)*")


@dataclass(frozen=True)
class LabelledRows:
    """Rows to share, with where their labels come from.

    Attributes:
        dataset: the rows.
        split: their split.
        label_column: name of the column with the labels.
        label_names: name of every label, as far as the rows say.
        cleaned: by `textpl clean`; else `textpl label` found them.
        told: what these say of how the labels were made.
        multi: whether rows may have several labels.
        files: what goes up beside the rows, by path in the repository.
    """

    dataset: Dataset
    split: str
    label_column: str
    label_names: tuple[str, ...]
    cleaned: bool
    told: Mapping[str, Any]
    multi: bool
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def shards(self) -> str:
        """Pattern of the files with the rows, where they are shared."""
        return f"data/{self.split}-*.parquet"

    def sources(self) -> dict[str, int]:
        """Count how many labels (multi-label cleaning: cells) come from where, by word of the column `label_source`."""
        values = arrow_column(self.dataset, SOURCE)
        if not is_string(values.type):
            values = pc.list_flatten(values)
        counts = {str(item["values"]): item["counts"] for item in pc.value_counts(values).to_pylist()}
        order = {name: i for i, name in enumerate(SOURCES)}
        return dict(sorted(counts.items(), key=lambda item: order.get(item[0], len(order))))


def is_cleaned(path: Path) -> bool:
    """Tell whether a folder looks like one that `textpl clean` wrote."""
    return (path / CLEANING).is_file()


def is_labelled(path: Path) -> bool:
    """Tell whether a file looks like one that `textpl label` wrote."""
    return path.is_file() and path.with_name(path.name + REPORT).is_file()


def read_cleaned(folder: Path) -> LabelledRows:
    """Read the corpus that `textpl clean` wrote.

    Raises:
        RecipeError: for a folder that holds no or several cleaned splits, or columns that are not from there.
    """
    tables = sorted(path for path in folder.iterdir() if path.suffix in READABLE and path.suffix != ".json")
    found = [path for path in tables if not re.fullmatch(r"unlabeled|review(-[0-9]+)?", path.stem)]
    if len(found) != 1:
        others = ", ".join(path.name for path in found) or "no table"
        raise RecipeError(f"{folder} holds {others}: exactly one cleaned split can be shared.")
    if not _SPLIT.fullmatch(found[0].stem):
        raise RecipeError(f"{found[0]}: the Hub takes no split of that name: letters, digits, _ and . between them.")
    again = f"Run textpl clean with --out {folder} again."
    told, content = _read_told(folder / CLEANING, again)
    dataset = read_table(regular_file(found[0], DATA_BYTES)).dataset
    named = [name for name in dataset.column_names if f"given_{name}" in dataset.column_names]
    if len(named) != 1 or SOURCE not in dataset.column_names:
        raise RecipeError(f"{found[0]} has not the columns that textpl clean writes; columns: {dataset.column_names}.")
    info = folder / "info.json"
    known = read_json(info, again) if info.is_file() else {}
    if not isinstance(known, dict):
        raise RecipeError(f"{info} is not what textpl writes. {again}")
    names, multi = tuple(map(str, known.get("label_names") or ())), known.get("task") == "multi"
    if multi and is_string(arrow_column(dataset, named[0]).type):
        settings = told.get("settings")
        delimiter = settings.get("delimiter") if isinstance(settings, dict) else None
        written = LabelFormat(delimiter, unlabeled_values=(), empty="none")
        cells = read_cells(arrow_column(dataset, named[0]), f"column {named[0]!r}", written, names)
        dataset = from_text(replaced(dataset, named[0], cells.values), named[0], cells.written, names)
    return LabelledRows(dataset, found[0].stem, named[0], names, True, told, multi, {CLEANING: content})


def read_labelled(file: Path) -> LabelledRows:
    """Read the rows that `textpl label` wrote.

    Raises:
        RecipeError: for csv, which cannot hold probabilities, and columns that are not from there.
    """
    if file.suffix not in (".parquet", ".jsonl"):
        raise RecipeError(f"{file}: share labels as .parquet or .jsonl: textpl label ... --out labels.parquet.")
    report = file.with_name(file.name + REPORT)
    again = f"Run textpl label with --out {file} again."
    told, content = _read_told(report, again)
    dataset = read_table(regular_file(file, DATA_BYTES)).dataset
    if missing := {"label", SOURCE, "confidence"} - set(dataset.column_names):
        raise RecipeError(f"{file} has no column {', '.join(sorted(missing))}, which textpl label writes.")
    feature = dataset.features["label"]
    names = feature.names if isinstance(feature, ClassLabel) else told.get("label_names")
    if not names:
        raise RecipeError(f"{report} is not what textpl writes: label_names is missing. {again}")
    multi, beside = isinstance(feature, List), {"labels.report.json": content}
    return LabelledRows(dataset, "train", "label", tuple(map(str, names)), False, told, multi, beside)


def _read_told(file: Path, remedy: str) -> tuple[dict[str, Any], bytes]:
    """What a file says about labels, and its content as it goes up."""
    try:
        content = published_json(file.name, regular_file(file, _TOLD_BYTES).read_bytes())
    except RecipeError as error:
        raise RecipeError(f"{file} is half-written or broken ({error}) {remedy}") from None
    told = json.loads(content)
    if not isinstance(told, dict):
        raise RecipeError(f"{file} is not what textpl writes. {remedy}")
    return told, content
