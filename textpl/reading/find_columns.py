"""Which columns of a table hold texts and labels, and whether the texts are texts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, Features, List, Value

from textpl.reading.columns import nearest
from textpl.reading.labels import arrow_column, refuse

logger = logging.getLogger(__name__)

IDS = ("id", "ids", "idx", "index", "uid", "guid", "uuid", "unnamed: 0", "__index_level_0__")


class ColumnError(ValueError):
    """A text or label column that is not there, or cannot be told from others; the message is for Python callers.

    Attributes:
        role: "text" or "label".
        problem: what is wrong, without the name of an argument and without a remedy.
    """

    def __init__(self, role: str, problem: str, message: str) -> None:
        super().__init__(message)
        self.role, self.problem = role, problem


def find_columns(dataset: Dataset, text: str | None = None, label: str | None = None) -> tuple[str, str]:
    """Names of the text and the label column, given or found.

    Raises:
        ColumnError: when a given column is missing, or there is no candidate, or more than one.
        ValueError: when one column is given as both.
    """
    columns = dataset.column_names
    for name, role in ((text, "text"), (label, "label")):
        if name is not None and name not in columns:
            missing = f"{name!r} is no column of train; its columns are {columns}{nearest(name, columns) or '.'}"
            raise ColumnError(role, missing, f"{role}_column={missing}")
    if text is None:
        # A string column named label holds class names.
        taken = {label, "label", "labels"}
        strings = [c for c in columns if c not in taken and not _is_id(c) and _is_text(dataset.features[c])]
        text = _only_candidate("text", ["text"] if "text" in columns else strings, columns)
    if label is None:
        named = [c for c in ("label", "labels") if c in columns and c != text]
        others = [c for c in columns if c != text and not _is_id(c) and _is_label(dataset.features[c])]
        label = _only_candidate("label", named or others, columns)
    for name, role in ((text, "text"), (label, "label")):
        if (second := f"{name} (2)") in columns and dataset.data.column(name) != dataset.data.column(second):
            twice = f"there are two columns {name!r} that differ: rename one of the headings"
            raise ColumnError(role, f"{twice}.", f"{twice}, or pass {role}_column=... (in a recipe `data.{role}`).")
    if text == label:
        raise ValueError(f"column {text!r} cannot be both text and label.")
    return text, label


def _is_id(column: str) -> bool:
    return column.lower() in IDS or column.lower().endswith(("_id", "_idx"))


def _is_text(feature: object) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def _is_label(feature: object) -> bool:
    return isinstance(feature, (ClassLabel, List)) or (isinstance(feature, Value) and "int" in feature.dtype)


def _only_candidate(role: str, candidates: list[str], columns: list[str]) -> str:
    if len(candidates) == 1:
        return candidates[0]
    which = f"columns {candidates} could all be" if candidates else f"none of the columns {columns} looks like"
    problem = f"{which} the {role} column"
    raise ColumnError(role, f"{problem}.", f"{problem}: pass {role}_column=... (in a recipe `data.{role}`).")


def declared_names(splits: Mapping[str, Dataset], label: str, given: Sequence[str] | None) -> tuple[str, ...] | None:
    """Label names as given, else those of the ClassLabel columns; None where there are neither.

    Raises:
        ValueError: if two of them order the same names differently.
    """
    declared = tuple(str(name) for name in given) if given else None
    for name, split in splits.items():
        feature = split.features.get(label)
        feature = feature.feature if isinstance(feature, List) else feature
        if not isinstance(feature, ClassLabel):
            continue
        own = tuple(feature.names)
        declared = declared or own
        # New names for the same ids are fine; the same names in another order would swap classes silently.
        if own != declared and set(own) == set(declared):
            raise ValueError(
                f"{name}, column {label!r}: its ClassLabel orders the names {own}, elsewhere they are {declared}. "
                "Use one order."
            )
    return declared


def check_text(dataset: Dataset, column: str, where: str) -> None:
    """Warn of empty texts.

    Raises:
        ValueError: if a text is None or no string; the row is named.
    """
    remedy = "Every text must be a string: correct or drop the row"
    if not _is_text(dataset.features[column]):
        row = next((i for i, value in enumerate(dataset[column]) if not isinstance(value, str)), 0)
        value = dataset[row][column]
        refuse(where, np.array([row]), f"text {value!r} is of type {type(value).__name__}", remedy)
    texts = arrow_column(dataset, column)
    if texts.null_count:
        refuse(where, np.flatnonzero(pc.is_null(texts).to_numpy()), "text is None", remedy)
    # Chunk by chunk: the trimmed copy of a whole corpus would double its memory.
    empty = sum(pc.sum(pc.equal(pc.utf8_trim_whitespace(chunk), "")).as_py() or 0 for chunk in texts.chunks)
    if empty:
        logger.warning("%s: %d of %d texts are empty", where, empty, len(dataset))


def replaced(
    dataset: Dataset, column: str, values: pa.ChunkedArray | pa.Array, feature: object | None = None
) -> Dataset:
    """Put other values into one column; the other columns stay where and what they are."""
    place = dataset.column_names.index(column)
    table = dataset.with_format("arrow")[:]
    kinds = dict(dataset.features)
    if feature is None:
        kinds.pop(column)
        field = pa.field(column, values.type)
        bare = table.replace_schema_metadata(None).set_column(place, field, values)
        made = Dataset(bare)
        kinds = {name: kinds.get(name, made.features[name]) for name in made.column_names}
        return made if made.features == kinds else Dataset(pa.table(bare.columns, schema=Features(kinds).arrow_schema))
    kinds[column] = feature
    schema = Features(kinds).arrow_schema
    return Dataset(table.replace_schema_metadata(None).set_column(place, schema.field(column), values).cast(schema))


def as_texts(dataset: Dataset, column: str, untyped: bool) -> Dataset:
    """Make texts of a csv column that holds nothing but numbers, each as it is written there."""
    values = arrow_column(dataset, column)
    if not untyped or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return dataset
    texts = ["" if value is None else repr(value) for value in values.to_pylist()]
    return replaced(dataset, column, pa.chunked_array([pa.array(texts, pa.string())]), Value("string"))


def with_texts(dataset: Dataset, column: str, notes: list[str]) -> Dataset:
    """Put empty texts where they are missing, which are then among the texts that say nothing."""
    values = arrow_column(dataset, column)
    if not values.null_count or not _is_text(dataset.features[column]):
        return dataset
    notes.append(f"{values.null_count:,} texts in column {column!r} are missing; they are empty now.")
    return replaced(dataset, column, pc.fill_null(values, ""), dataset.features[column])
