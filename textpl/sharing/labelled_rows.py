"""What `textpl clean` and `textpl label` wrote, read for others to use: the rows, and how their labels were made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, List
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from textpl.atomic_files import read_json
from textpl.cleaning.apply import SOURCES
from textpl.label_issues.columns import SOURCE, from_text
from textpl.reading.find_columns import replaced
from textpl.reading.label_cells import LabelFormat, read_cells
from textpl.reading.labels import arrow_column, is_string
from textpl.reading.tables import READABLE, read_table
from textpl.recipes.results import Number, Word
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.secrets import published_json, regular_file

CLEANING, REPORT = "cleaning.json", ".report.json"
DATA_BYTES = 50 * 2**30
_TOLD_BYTES = 2**24
_SPLIT = re.compile(r"\w+(\.\w+)*")


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


T = TypeVar("T", bound=_Told)


class Cleaning(_Told):
    """What `cleaning.json` says of how a corpus was cleaned; nothing in it is needed."""

    source: Word = ""
    method: Word = ""
    probabilities: Word | None = None
    encoder: Word | None = None
    command: Annotated[str, Field(max_length=2000)] = ""
    settings: dict[Word, Any] = {}
    counts: dict[Word, Any] = {}
    expected_right_flagged: Number | None = None
    expected_right_changed: Number | None = None
    versions: dict[Word, Any] = {}


class Curve(_Told):
    """Precision of the most confident labelled rows, labels hidden, with its interval; by falling cut."""

    cut: list[Number] = []
    low: list[Number] = []
    high: list[Number] = []

    def interval(self, threshold: float) -> tuple[float, float] | None:
        """Of the rows of at least this confidence; None where it is not known."""
        kept = [place for place in zip(self.cut, self.low, self.high, strict=False) if place[0] >= threshold]
        return kept[-1][1:] if kept else None


class Labelling(_Told):
    """What the report of `textpl label` says."""

    method: Word
    encoder: Word
    rows: int
    selected: int
    threshold: Number = 0.0
    labeled: str = ""
    unlabeled: str = ""
    expected_precision: Number | None = None
    precision_coverage: Curve = Curve()
    command: Annotated[str, Field(max_length=2000)] = ""
    versions: dict[Word, Any] = {}


@dataclass(frozen=True)
class LabelledRows:
    """Rows to share, with where their labels come from.

    Attributes:
        dataset: the rows.
        split: their split.
        label_column: name of the column with the labels.
        label_names: name of every label, as far as the rows say.
        told: how the labels were made.
        sources: how many labels (multi-label cleaning: cells) come from where, by word of the column `label_source`.
        multi: whether rows may have several labels.
        files: what goes up beside the rows, by path in the repository.
    """

    dataset: Dataset
    split: str
    label_column: str
    label_names: tuple[str, ...]
    told: Cleaning | Labelling
    sources: Mapping[str, int]
    multi: bool
    files: Mapping[str, bytes] = field(default_factory=dict)


def is_cleaned(path: Path) -> bool:
    """Whether a folder looks like one that `textpl clean` wrote."""
    return (path / CLEANING).is_file()


def is_labelled(path: Path) -> bool:
    """Whether a file looks like one that `textpl label` wrote."""
    return path.is_file() and path.with_name(path.name + REPORT).is_file()


def read_cleaned(folder: Path) -> LabelledRows:
    """The corpus that `textpl clean` wrote.

    Raises:
        RecipeError: for a folder that holds no or several cleaned splits, or columns that are not from there.
    """
    found = sorted(p for p in folder.iterdir() if p.suffix in READABLE and p.suffix != ".json" and not _is_beside(p))
    if len(found) != 1:
        others = ", ".join(path.name for path in found) or "no table"
        raise RecipeError(f"{folder} holds {others}: exactly one cleaned split can be shared.")
    if not _SPLIT.fullmatch(found[0].stem):
        raise RecipeError(f"{found[0]}: the Hub takes no split of that name: letters, digits, _ and . between them.")
    again = f"Run textpl clean with --out {folder} again."
    told, content = _read_told(Cleaning, folder / CLEANING, again)
    dataset = _rows(found[0])
    named = [name for name in dataset.column_names if f"given_{name}" in dataset.column_names]
    if len(named) != 1 or SOURCE not in dataset.column_names:
        raise RecipeError(f"{found[0]} has not the columns that textpl clean writes; columns: {dataset.column_names}.")
    info = folder / "info.json"
    known = read_json(info, again) if info.is_file() else {}
    if not isinstance(known, dict):
        raise RecipeError(f"{info} is not what textpl writes. {again}")
    names, multi = tuple(map(str, known.get("label_names") or ())), known.get("task") == "multi"
    if multi and is_string(arrow_column(dataset, named[0]).type):
        delimiter = told.settings.get("delimiter")
        cells = read_cells(
            arrow_column(dataset, named[0]),
            f"column {named[0]!r}",
            LabelFormat(delimiter, unlabeled_values=(), empty="none"),
            names,
        )
        dataset = replaced(dataset, named[0], cells.values)
        dataset = from_text(dataset, named[0], cells.written, names)
    return LabelledRows(dataset, found[0].stem, named[0], names, told, _sources(dataset), multi, {CLEANING: content})


def _is_beside(path: Path) -> bool:
    """Whether a table of a cleaned folder is not the corpus."""
    return path.stem == "unlabeled" or re.fullmatch(r"review(-[0-9]+)?", path.stem) is not None


def read_labelled(file: Path) -> LabelledRows:
    """The rows that `textpl label` wrote.

    Raises:
        RecipeError: for csv, which cannot hold probabilities, and columns that are not from there.
    """
    if file.suffix not in (".parquet", ".jsonl"):
        raise RecipeError(f"{file}: share labels as .parquet or .jsonl: textpl label ... --out labels.parquet.")
    report = file.with_name(file.name + REPORT)
    again = f"Run textpl label with --out {file} again."
    told, content = _read_told(Labelling, report, again)
    dataset = _rows(file)
    if missing := {"label", SOURCE, "confidence"} - set(dataset.column_names):
        raise RecipeError(f"{file} has no column {', '.join(sorted(missing))}, which textpl label writes.")
    feature = dataset.features["label"]
    names = (
        tuple(feature.names) if isinstance(feature, ClassLabel) else tuple(json.loads(content).get("label_names", ()))
    )
    if not names:
        raise RecipeError(f"{report} is not what textpl writes: label_names is missing. {again}")
    multi = isinstance(feature, List)
    return LabelledRows(
        dataset, "train", "label", names, told, _sources(dataset), multi, {"labels.report.json": content}
    )


def _rows(path: Path) -> Dataset:
    return read_table(regular_file(path, DATA_BYTES)).dataset


def _sources(dataset: Dataset) -> dict[str, int]:
    values = arrow_column(dataset, SOURCE)
    if not is_string(values.type):
        values = pc.list_flatten(values)
    counts = {str(item["values"]): item["counts"] for item in pc.value_counts(values).to_pylist()}
    order = {name: i for i, name in enumerate(SOURCES)}
    return dict(sorted(counts.items(), key=lambda item: order.get(item[0], len(order))))


def _read_told(kind: type[T], file: Path, remedy: str) -> tuple[T, bytes]:
    """What a file says about labels, and its content as it goes up."""
    content = regular_file(file, _TOLD_BYTES).read_bytes()
    try:
        shared = published_json(file.name, content)
        return kind.model_validate_json(shared), shared
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RecipeError(f"{file} is not what textpl writes: {where}: {first['msg']}. {remedy}") from None
    except RecipeError as error:
        raise RecipeError(f"{file} is half-written or broken ({error}) {remedy}") from None
