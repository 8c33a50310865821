"""Label columns: which of the accepted forms one has, and its labels as integers or multi-hot rows.

The form is inferred once, from the train split; every other split must then be written the same way.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray

ProblemType = Literal["single_label_classification", "multi_label_classification"]
SINGLE: Final = "single_label_classification"
MULTI: Final = "multi_label_classification"
Form = Literal["id", "name", "ids", "names", "multi_hot"]

WHOLE = re.compile("-?[0-9]{1,18}")
UNLABELED = "Leave rows without a label out, or make them the pool: the split unlabeled"
ROWS_OF_LISTS = f"{UNLABELED}; [] is a row to which none of the labels applies"


def arrow_column(dataset: Dataset, name: str) -> pa.ChunkedArray:
    """One column as Arrow, without making Python objects of its values."""
    return dataset.select_columns([name]).with_format("arrow")[:].column(name)


def label_array(dataset: Dataset, name: str = "label") -> NDArray:
    """Labels of a corpus split: int64 (rows,) or, multi-label, float32 (rows, labels)."""
    column = arrow_column(dataset, name)
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy()
    return pc.list_flatten(column).to_numpy().reshape(-1, column.type.list_size)


def refuse(where: str, rows: NDArray, problem: str, remedy: str) -> NoReturn:
    """Raise a ValueError that names the place, the first rows (from 0), what is wrong and what to do."""
    shown = ", ".join(str(row) for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    raise ValueError(f"{where}, row {shown}{more} (counted from 0): {problem}. {remedy}.")


@dataclass(frozen=True)
class LabelCoding:
    """How labels are written in a corpus and what they mean.

    Args:
        problem_type: one label per row, or any number.
        form: class id or name per row, list of ids or names per row, or multi-hot list.
        label_names: name of every class; position is id.
        declared: whether the names were given rather than found in train.
    """

    problem_type: ProblemType
    form: Form
    label_names: tuple[str, ...]
    declared: bool

    def encode(self, column: pa.ChunkedArray, where: str) -> NDArray:
        """Labels as int64 (rows,) or multi-hot float32 (rows, labels).

        Raises:
            ValueError: for a label that is missing, out of range, unknown or written in another form.
        """
        refuse_missing(column, where)
        named = "name" if self.form in ("name", "names") else "id"
        if label_kind(column, where) != (named, self.problem_type == MULTI):
            problem = f"label {column[0].as_py()!r} is not written as the labels of train ({self.form})"
            refuse(where, np.arange(1), problem, "Write the labels of every split the same way")
        if self.problem_type == SINGLE:
            return self._ids(column, np.arange(len(column)), where)
        lengths = pc.list_value_length(column).to_numpy()
        rows, values = np.repeat(np.arange(len(column)), lengths), pc.list_flatten(column)
        if self.form == "multi_hot":
            return self._check_multi_hot(lengths, rows, values, where)
        multi_hot = np.zeros((len(column), len(self.label_names)), dtype=np.float32)
        multi_hot[rows, self._ids(values, rows, where)] = 1
        return multi_hot

    def _ids(self, values: pa.ChunkedArray, rows: NDArray, where: str) -> NDArray:
        """Class id of each value; `rows` says in which row it stands. Shapes: (values,) twice -> (values,)."""
        if self.form in ("name", "names"):
            names = pa.array(self.label_names, type=values.type)
            ids = pc.fill_null(pc.index_in(values, value_set=names), -1).to_numpy().astype(np.int64)
        else:
            ids = _integers(values, rows, where)
        bad = np.flatnonzero((ids < 0) | (ids >= len(self.label_names)))
        if len(bad):
            self._refuse_class(values[int(bad[0])].as_py(), rows[bad], where)
        return ids

    def _refuse_class(self, value: object, rows: NDArray, where: str) -> NoReturn:
        if self.form in ("name", "names"):
            known = f"is none of the {len(self.label_names)} label names {_shorten(self.label_names)}"
        else:
            known = f"is out of range: {len(self.label_names)} labels have the ids 0..{len(self.label_names) - 1}"
        if value == -1:
            remedy = "-1 often marks hidden labels: use another split, for example splits={'test': 'validation'}"
        elif self.declared:
            remedy = "Correct the row or label_names"
        else:
            remedy = "Train has no such class: pass label_names with every class, or drop the row"
        refuse(where, np.unique(rows), f"label {value!r} {known}", remedy)

    def _check_multi_hot(self, lengths: NDArray, rows: NDArray, values: pa.ChunkedArray, where: str) -> NDArray:
        wrong = np.flatnonzero(lengths != len(self.label_names))
        if len(wrong):
            problem = f"multi-hot list of length {lengths[wrong[0]]}, but there are {len(self.label_names)} labels"
            refuse(where, wrong, problem, "Write one 0 or 1 per label")
        flat = _integers(values, rows, where)
        odd = np.flatnonzero((flat != 0) & (flat != 1))
        if len(odd):
            refuse(where, np.unique(rows[odd]), f"value {flat[odd[0]]} in a multi-hot list", "Write 0 or 1")
        return flat.astype(np.float32).reshape(len(lengths), -1)


def infer_coding(
    column: pa.ChunkedArray, where: str, *, label_names: Sequence[str] | None, problem_type: str | None
) -> LabelCoding:
    """Find out how the train labels are written.

    Lists that all have the same length L >= 2 and hold only 0 and 1 are multi-hot if there are L label
    names or, names unknown, if some row repeats a value (ids never do) or they hold floats or booleans;
    otherwise they are lists of ids.

    Raises:
        ValueError: for missing labels, a form that contradicts `problem_type`, and ids with gaps where no names are
            given.
    """
    refuse_missing(column, where)
    kind, listed = label_kind(column, where)
    found: ProblemType = MULTI if listed else SINGLE
    if problem_type not in (None, found):
        value = column[0].as_py()
        remedy = "Write a list of labels per row (jsonl or parquet)" if not listed else "Write one label per row"
        refuse(where, np.arange(1), f"label {value!r} does not fit the task {problem_type}", remedy)
    lengths = pc.list_value_length(column).to_numpy() if listed else np.ones(len(column), dtype=np.int64)
    rows, values = np.repeat(np.arange(len(column)), lengths), pc.list_flatten(column) if listed else column
    form: Form = "name" if kind == "name" else "id"
    if listed:
        multi_hot = kind == "id" and _is_multi_hot(lengths, rows, values, where, label_names)
        form = "multi_hot" if multi_hot else ("names" if kind == "name" else "ids")
    names = tuple(label_names) if label_names is not None else _names_found(values, rows, lengths, form, where)
    smallest = 2 if found == SINGLE else 1
    if len(names) < smallest or len(set(names)) < len(names):
        raise ValueError(f"{where}: label names {names} must be {smallest} or more and distinct.")
    return LabelCoding(found, form, names, declared=label_names is not None)


def missing_labels(column: pa.ChunkedArray) -> NDArray:
    """Find the labels that are None, NaN or blank strings. Shapes: (rows,) -> bool (rows,)."""
    if isinstance(column.type, pa.BaseExtensionType):
        return pc.is_null(column).to_numpy()
    missing = pc.is_null(column, nan_is_null=True)
    if is_string(column.type):
        missing = pc.or_(missing, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), True))
    return missing.to_numpy()


def all_hidden(column: pa.ChunkedArray) -> bool:
    """Whether a column holds no label at all: every value missing, or every value -1 (the Hub's custom)."""
    if missing_labels(column).all():
        return True
    return pa.types.is_integer(column.type) and pc.all(pc.equal(column, -1)).as_py()


def refuse_missing(column: pa.ChunkedArray, where: str) -> None:
    """Raise if a row has no label."""
    missing = np.flatnonzero(missing_labels(column))
    if len(missing):
        remedy = ROWS_OF_LISTS if is_list(column.type) else UNLABELED
        refuse(where, missing, f"label is {column[int(missing[0])].as_py()!r}", remedy)
    if is_list(column.type) and (inner := pc.list_flatten(column)).null_count:
        rows = np.repeat(np.arange(len(column)), pc.list_value_length(column).to_numpy())
        refuse(where, np.unique(rows[pc.is_null(inner).to_numpy()]), "a list of labels holds None", "Leave it out")


def refuse_mixed(column: pa.ChunkedArray, where: str) -> None:
    """Raise if labels are of several types; `datasets` keeps such columns as JSON strings.

    All rows are counted that are not written as most are.
    """
    inner = column.type.value_type if is_list(column.type) else column.type
    if not isinstance(inner, pa.BaseExtensionType):
        return
    values = [[json.loads(v) for v in row] if isinstance(row, list) else _loaded(row) for row in column.to_pylist()]
    kinds = [frozenset(map(type, value)) if isinstance(value, list) else type(value) for value in values]
    usual = Counter(kind for kind in kinds if kind is not type(None)).most_common(1)[0][0]
    # A list without entries and a missing label fit any.
    odd = [row for row, kind in enumerate(kinds) if kind not in (usual, frozenset(), type(None))]
    if not odd:  # of one kind, but none that Arrow has
        refuse(where, np.arange(1), f"label {values[kinds.index(usual)]!r} is no id", "Write names, or 0, 1, 2, ...")
    example = values[kinds.index(usual)]
    problem = f"label {values[odd[0]]!r} is written in another way than {example!r} in row {kinds.index(usual)}"
    refuse(where, np.array(odd), problem, "Write all labels the same way")


def _loaded(value: str | None) -> object:
    return None if value is None else json.loads(value)


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort names, those that all are whole numbers by their value."""
    distinct = set(names)
    numbers = all(whole_number(name) is not None for name in distinct)
    return tuple(sorted(distinct, key=lambda name: (int(name) if numbers else 0, name)))


def whole_number(name: str) -> int | None:
    """Read a name that is a whole number; None for others."""
    return int(name) if WHOLE.fullmatch(name) else None


def label_kind(column: pa.ChunkedArray, where: str) -> tuple[Literal["id", "name"], bool]:
    """Tell whether labels are ids or names, and whether each row has a list of them.

    Raises:
        ValueError: for labels of other types, or of several.
    """
    listed = is_list(column.type)
    inner = column.type.value_type if listed else column.type
    if is_string(inner):
        return "name", listed
    if pa.types.is_integer(inner) or pa.types.is_boolean(inner) or pa.types.is_floating(inner):
        return "id", listed
    if listed and pa.types.is_null(inner):  # every list of the split is empty
        refuse(where, np.arange(1), "every list of labels is empty", "Give labels, or an unlabeled file")
    refuse_mixed(column, where)
    value = column[0].as_py()
    refuse(where, np.arange(1), f"label {value!r} has type {column.type}", "Use ids, names, or lists of either")


def _integers(values: pa.ChunkedArray, rows: NDArray, where: str) -> NDArray:
    """Whole numbers as int64. Shapes: (values,) -> (values,)."""
    array = values.to_numpy()
    odd = np.flatnonzero(array != np.round(array)) if array.dtype.kind == "f" else np.empty(0, dtype=np.int64)
    if len(odd):
        problem = f"label {array[odd[0]]} is no whole number"
        refuse(where, np.unique(rows[odd]), problem, "Soft labels and regression are not read: write 0/1 or class ids")
    return array.astype(np.int64)


def _is_multi_hot(
    lengths: NDArray, rows: NDArray, values: pa.ChunkedArray, where: str, label_names: Sequence[str] | None
) -> bool:
    length = int(lengths[0])
    if length < 2 or (lengths != length).any():
        return False
    flat = _integers(values, rows, where)
    if ((flat != 0) & (flat != 1)).any():
        return False
    # Of 0/1 values a list of 3 or more always repeats one; a pair does when both are equal. Ids are integers.
    repeats = length > 2 or not pa.types.is_integer(values.type) or bool((flat[0::2] == flat[1::2]).any())
    if not repeats and label_names is None and len(lengths) > 1:
        problem = "every list is [0, 1] or [1, 0]: one 0 or 1 per label, or the ids of labels?"
        refuse(where, np.arange(1), problem, "Pass label_names (two: a 0 or 1 for each), or write names")
    if label_names is not None and len(label_names) != length and repeats:
        problem = f"multi-hot list of length {length}, but {len(label_names)} label names are given"
        refuse(where, np.arange(1), problem, "Give one name per column of the lists")
    return repeats if label_names is None else len(label_names) == length


def _names_found(values: pa.ChunkedArray, rows: NDArray, lengths: NDArray, form: Form, where: str) -> tuple[str, ...]:
    """Label names where none are given: sorted classes (numbers by value), or the ids as strings."""
    if form in ("name", "names"):
        return in_order(pc.unique(values).to_pylist())
    if form == "multi_hot":
        return tuple(str(i) for i in range(lengths[0]))
    ids = np.unique(_integers(values, rows, where))
    if len(ids) and (ids[0] != 0 or ids[-1] != len(ids) - 1):
        # A gap would become an output that no row ever trains: 1-based ids, or polarity written 0 and 4.
        raise ValueError(
            f"{where}: train holds the label ids {_shorten(ids.tolist())}, which are not 0..{len(ids) - 1}. "
            "Renumber them, write names instead of ids, or pass label_names with one name per id from 0 on."
        )
    return tuple(str(i) for i in ids)


def is_string(kind: pa.DataType) -> bool:
    """Whether a column holds strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether a column holds lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _shorten(names: Sequence[object], limit: int = 12) -> str:
    shown = ", ".join(repr(name) for name in names[:limit])
    return f"({shown}{', ...' if len(names) > limit else ''})"
