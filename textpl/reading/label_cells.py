"""A label column as it was written into one that can be encoded, and the rows that have no label at all.

What is certain is done and told; what could mean two things is refused with the option that says which.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textpl.reading.delimited import NUMBER
from textpl.reading.json_rows import choices
from textpl.reading.labels import in_order, is_list, is_string, label_kind, missing_labels, refuse, whole_number
from textpl.reading.names import (
    LABEL_STUDIO,
    find_delimiter,
    label_studio,
    name_variants,
    no_class,
    plain_name,
    split_labels,
)

SHOWN = 5
BRACKETS = "["  # in place of a delimiter
MANY_EMPTY, AT_LEAST = 0.1, 5  # share of empty cells, and their number, from which on it is asked what they mean
MOST_EMPTY = 0.5  # the same of lists, in which an empty one is an answer that somebody wrote
MANY_VARIANTS = 3


@dataclass(frozen=True)
class LabelFormat:
    """How labels are written; None leaves it to be found, and to be asked where it cannot be.

    Attributes:
        delimiter: between the labels of one string; "" if each string is one label, "[" for lists in brackets.
        unlabeled_values: what stands where there is no label, beside blank cells; () for nothing else.
        empty: what an empty cell means where a row may have several labels: that "none" of them applies, or that the
            row is "unlabeled".
        merge_variants: whether names that differ only in case, spaces, width or invisible characters are one.
    """

    delimiter: str | None = None
    unlabeled_values: Sequence[str] | None = None
    empty: Literal["none", "unlabeled"] | None = None
    merge_variants: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.delimiter, (str, type(None))):
            raise ValueError(f"delimiter={self.delimiter!r}: a string such as ';', or '' for none.")
        if not isinstance(self.unlabeled_values, (str, list, tuple, set, type(None))):
            raise ValueError(f"unlabeled_values={self.unlabeled_values!r}: a list such as ['-1'], or [] for none.")
        if self.empty not in (None, "none", "unlabeled"):
            raise ValueError(f"empty={self.empty!r}: 'none' (no label applies) or 'unlabeled' (nobody has labeled it).")
        if isinstance(self.unlabeled_values, str):
            object.__setattr__(self, "unlabeled_values", (self.unlabeled_values,))

    @property
    def settled(self) -> LabelFormat:
        """The same with nothing left to be found: for other rows that are written alike."""
        return replace(self, delimiter=self.delimiter or "", empty=self.empty or "none")

    def described(self) -> dict[str, Any]:
        """What is said, as plain data."""
        return {name: value for name, value in vars(self).items() if value is not None}


ENCODED = LabelFormat(delimiter="", unlabeled_values=(), empty="none", merge_variants=False)  # nothing is to be found


def as_said(said: LabelFormat | None, info: Mapping[str, Any]) -> LabelFormat:
    """Fill in what the user does not say of how labels are written from an info.json beside the data.

    Raises:
        ValueError: if what stands there is no such description.
    """
    try:
        known = LabelFormat(**info.get("label_format", {}))
    except TypeError as error:
        raise ValueError(
            f"info.json: label_format: {error}; known are {[f.name for f in fields(LabelFormat)]}."
        ) from error
    given = {name: value for name, value in vars(said or LabelFormat()).items() if value is not None}
    return replace(known, **given)


@dataclass(frozen=True)
class LabelCells:
    """The labels of the rows that have one.

    Attributes:
        values: ids or names, or lists of either.
        rows: int64 (labeled rows,), their numbers in the column.
        names: of all labels in order, where they are known.
        written: how they were written, as far as that was said or found.
        notes: what was found and assumed, for the user.
    """

    values: pa.ChunkedArray
    rows: np.ndarray
    names: tuple[str, ...] | None
    written: LabelFormat
    notes: tuple[str, ...]

    def named(self) -> pa.ChunkedArray:
        """The labels as names where they are numbers that stand for names."""
        texts = _as_text(pc.list_flatten(self.values) if is_list(self.values.type) else self.values)
        if texts is None or is_string(texts.type) and _holds_text(self.values.type):
            return self.values
        if not is_list(self.values.type):
            return texts
        return _mapped(self.values, lambda row: [str(int(value)) for value in row])


def _holds_text(kind: pa.DataType) -> bool:
    return is_string(kind.value_type if is_list(kind) else kind)


def read_cells(
    column: pa.ChunkedArray,
    where: str,
    written: LabelFormat = LabelFormat(),
    names: Sequence[str] | None = None,  # noqa: B008
) -> LabelCells:
    """Understand a label column.

    A blank, null or NaN cell has no label. Where a row may have several labels an empty list says that none applies; an
    empty string is taken for the same if few are, and asked about if many are. Strings that hold several labels
    (delimited, Python or JSON lists, `{"choices": [...]}`) become lists.

    Args:
        column: as it was read.
        where: what it is called, for errors.
        written: what the user says about it.
        names: of all labels, if they are known: then these words are labels, whatever else they could mean.

    Raises:
        ValueError: for labels of several kinds and whatever may mean two things; rows and option are named.
    """
    notes: list[str] = []
    column = _without_choices(column)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    label_kind(column, where)
    rows = np.flatnonzero(~missing_labels(column))
    blank = _blank(column)
    column, written = _lists(column, rows, where, written, names, notes)
    if is_list(column.type):
        rows, written = _with_empty(column, rows, blank, where, written, notes)
    column = column.take(pa.array(rows))
    labeled, written = _with_class(column, where, written, names, notes)
    column, rows = column.filter(pa.array(labeled)), rows[labeled]
    if names is None:
        _check_numbers(column, rows, where, notes)
    elif written != ENCODED:
        column = _numbers_by_name(column, names)
    column, written = _merged(_without_blanks(column, where, notes), where, written, names, notes)
    if names is None:
        column, found = _number_names(column, where, notes)
        names = in_order(pc.unique(column).to_pylist()) if written.delimiter == "" and is_string(column.type) else found
    return LabelCells(column, rows, None if names is None else tuple(names), written, tuple(notes))


def option(name: str, value: str) -> str:
    """Say how to state a `LabelFormat` setting, on the command line and in Python."""
    shown = [value] if name == "unlabeled_values" else value
    flag = {"unlabeled_values": f"--unlabeled-value {value or repr('')}", "empty": f"--empty {value}"}[name]
    said = f"{name}={shown if value else []!r}"
    return f"{flag} (in Python label_format=textpl.LabelFormat({said}), in a recipe data.{name})"


def without_label(cells: LabelCells, size: int) -> list[str]:
    """Tell how many of `size` rows have no label, and which; nothing where all have."""
    if len(cells.rows) == size:
        return []
    numbers = np.setdiff1d(np.arange(size), cells.rows)
    return [f"{len(numbers):,} of {size:,} rows have no label ({shown_rows(numbers)}, counted from 0)"]


def shown_rows(rows: np.ndarray) -> str:
    """Name the first rows of some."""
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return f"row {', '.join(map(str, rows[:SHOWN]))}{more}"


def shown_names(names: Iterable[str]) -> str:
    """Name the first of some labels, invisible characters shown."""
    listed = list(names)
    return ", ".join(map(repr, listed[:SHOWN])) + (", ..." if len(listed) > SHOWN else "")


def _without_choices(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Lists in place of what Label Studio writes for several choices, in JSON-MIN and in csv."""
    kind = column.type
    if pa.types.is_struct(kind) and [kind.field(i).name for i in range(kind.num_fields)] == ["choices"]:
        return pc.struct_field(column, ["choices"])
    if isinstance(kind, pa.BaseExtensionType):
        values = [None if value is None else choices(json.loads(value)) for value in column.to_pylist()]
        if any(isinstance(value, list) for value in values) and _all_names(values):
            return pa.chunked_array([pa.array(_listed(values), pa.list_(pa.string()))])
    elif is_string(kind) and pc.any(pc.match_substring_regex(column, "^" + LABEL_STUDIO.pattern)).as_py():
        values = [None if not value or not value.strip() else label_studio(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(_listed(values), pa.list_(pa.string()))])
    return column


def _all_names(values: Sequence[Any]) -> bool:
    return all(isinstance(name, str) for value in _listed(values) if value is not None for name in value)


def _listed(values: Sequence[Any]) -> list[list[Any] | None]:
    return [value if value is None or isinstance(value, list) else [value] for value in values]


def _blank(column: pa.ChunkedArray) -> np.ndarray:
    """Which cells are strings without anything in them, which is less than a null says."""
    if not is_string(column.type):
        return np.zeros(len(column), bool)
    return pc.fill_null(pc.equal(pc.utf8_trim_whitespace(column), ""), False).to_numpy()


def _lists(
    column: pa.ChunkedArray,
    rows: np.ndarray,
    where: str,
    written: LabelFormat,
    names: Sequence[str] | None,
    notes: list[str],
) -> tuple[pa.ChunkedArray, LabelFormat]:
    """Lists where strings hold several labels."""
    if not is_string(column.type):
        if not written.delimiter or is_list(column.type):
            return column, written
        if not pa.types.is_integer(column.type):
            raise ValueError(f"--delimiter {written.delimiter!r}: {where} holds {column.type}, not strings.")
        column = column.cast(pa.string())  # rows of one label each, which look like numbers
    if written.delimiter == "" or not len(rows):
        return column, written
    different = [value for value in pc.unique(column).to_pylist() if value and value.strip()]
    delimiter, starts = written.delimiter, {value.strip()[0] for value in different}
    if delimiter is None:
        if names and set(different) <= set(names):
            return column, written
        in_brackets = "[" in starts or starts <= set("({")
        delimiter = BRACKETS if in_brackets else find_delimiter(different, names or ())
        if delimiter is None:
            _tell_of_marks(different, where, notes)
            return column, written
        told = f'are separated by {delimiter!r} (--delimiter "" if each is one)'
        notes.append(f"Labels in {where} {'are lists written as text; they are lists now' if in_brackets else told}.")
    texts = [value or "" for value in column.to_pylist()]
    lists = split_labels(texts, None if delimiter == BRACKETS else delimiter, where=where)
    flat = {value for row in lists for value in row}
    if written.delimiter is None and (second := find_delimiter(flat, names or ())) is not None:
        example = next(value for value in flat if second in value)
        raise ValueError(
            f"Labels in {where} seem to be separated by {delimiter!r}, but {example!r} holds {second!r}: write all "
            f"with one delimiter, or say --delimiter {delimiter!r} if that is one label."
        )
    if written.delimiter not in (None, "", BRACKETS) and not any(written.delimiter in value for value in different):
        notes.append(f"No label in {where} holds the delimiter {written.delimiter!r} (--delimiter): each is one label.")
    written = replace(written, delimiter=delimiter)
    if flat and all(value.isdecimal() for value in flat) and (names or _multi_hot([lists[row] for row in rows], flat)):
        ids = [[int(value) for value in row] for row in lists]
        return pa.chunked_array([pa.array(ids, pa.list_(pa.int64()))]), written
    return pa.chunked_array([pa.array(lists, pa.list_(pa.string()))]), written


def _tell_of_marks(different: Sequence[str], where: str, notes: list[str]) -> None:
    """Tell of strings that look delimited, though no part is met twice: there is no more to go by."""
    marked = [value for value in different if any(mark in value for mark in (";", "|", "、", "；"))]
    if marked:
        notes.append(f"Each string in {where} is taken as one label, {marked[0]!r} too (--delimiter if it is several).")


def _multi_hot(lists: Sequence[Sequence[str]], flat: set[str]) -> bool:
    return len({len(row) for row in lists}) == 1 and len(lists[0]) > 1 and flat <= {"0", "1"}


def _with_empty(
    column: pa.ChunkedArray, rows: np.ndarray, blank: np.ndarray, where: str, written: LabelFormat, notes: list[str]
) -> tuple[np.ndarray, LabelFormat]:
    """The labeled rows, now that it is known that a row may have several labels, or none of them."""
    empty = np.zeros(len(column), bool)
    empty[rows] = pc.equal(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)[rows]
    count, answers = int((blank | empty).sum()), int(empty.sum())
    if not count:
        return rows, written
    cells = (
        f"{count:,} of {len(column):,} cells of {where} are empty ({shown_rows(np.flatnonzero(blank | empty))}, from 0)"
    )
    if written.empty is None:
        if (count - answers > MANY_EMPTY * len(column) and count - answers >= AT_LEAST) or (
            answers > MOST_EMPTY * len(column) and answers >= AT_LEAST
        ):
            raise ValueError(
                f"{cells}: does none of the labels apply there, or has nobody labeled these rows? Say "
                f"{option('empty', 'none')} or {option('empty', 'unlabeled')}."
            )
        if count > answers:  # an empty list is an answer that somebody wrote
            notes.append(
                f"{cells}: taken as rows to which no label applies (--empty unlabeled if nobody labeled them)."
            )
    if written.empty == "unlabeled":
        return rows[~empty[rows]], written
    return np.union1d(rows, np.flatnonzero(blank)), replace(written, empty="none")


def _with_class(
    column: pa.ChunkedArray, where: str, written: LabelFormat, names: Sequence[str] | None, notes: list[str]
) -> tuple[np.ndarray, LabelFormat]:
    """Which rows have another label than those that stand for none, bool (rows,)."""
    everything = np.ones(len(column), bool)
    texts = _as_text(pc.list_flatten(column) if is_list(column.type) else column)
    if texts is None:
        return everything, written
    different = [name for name in pc.unique(texts).to_pylist() if name is not None]
    said = None if written.unlabeled_values is None else set(map(str, written.unlabeled_values))
    wanted = [n for n in different if said and (n in said or (n.endswith(".0") and n[:-2] in said))]
    sure, perhaps = list(wanted), list[str]()
    if said is None or said:  # an empty list says that all are classes
        others = [name for name in different if name not in (*wanted, *(names or ()))]
        ids = names is not None and not any(name in names for name in different)
        found = no_class([*others, *(() if names is None or ids else names)], names is not None)
        sure += [name for name in found[0] if name in others]
        perhaps = [name for name in found[1] if name in others]
    for value in sorted((said or set()) - {n.removesuffix(".0") for n in wanted} - set(wanted)):
        if near := next((name for name in different if plain_name(name) == plain_name(value)), None):
            raise ValueError(f"No label in {where} is {value!r} (--unlabeled-value), but {near!r}: did you mean that?")
    if perhaps:
        count = pc.sum(pc.is_in(texts, value_set=pa.array(perhaps))).as_py()
        raise ValueError(
            f"{count:,} labels in {where} are {shown_names(perhaps)}: a class of their own, or no label? Say "
            f"{option('unlabeled_values', perhaps[0])}, or {option('unlabeled_values', '')} if it is a class."
        )
    written = replace(written, unlabeled_values=tuple(dict.fromkeys([*sorted(said or ()), *sure])))
    if not sure:
        return everything, written
    hit = pc.fill_null(pc.is_in(texts, value_set=pa.array(sure)), False).to_numpy(zero_copy_only=False)
    if is_list(column.type):
        lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False).astype(np.int64)
        hits = np.bincount(np.repeat(np.arange(len(column)), lengths), hit, minlength=len(column))
        hit = (hits == lengths) & (lengths > 0)
    if hit.any():
        notes.append(
            f"{int(hit.sum()):,} rows have the label {shown_names(sure)}: taken as rows without a label "
            f"(--unlabeled-value '' if it is a class)."
        )
    return ~hit, written


def _as_text(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Labels as text; None for fractions and truth values, none of which stands for "no label"."""
    if is_string(values.type):
        return values
    if pa.types.is_integer(values.type):
        return values.cast(pa.string())
    if pa.types.is_floating(values.type) and pc.all(pc.equal(values, pc.round(values))).as_py():
        try:
            return values.cast(pa.int64()).cast(pa.string())
        except pa.ArrowInvalid:
            return None
    return None


def _without_blanks(column: pa.ChunkedArray, where: str, notes: list[str]) -> pa.ChunkedArray:
    """Lists of names without the empty ones, which are no labels."""
    if not is_list(column.type) or not is_string(column.type.value_type):
        return column
    if not (count := pc.sum(pc.equal(pc.utf8_trim_whitespace(pc.list_flatten(column)), "")).as_py()):
        return column
    notes.append(f"{count:,} empty names in the lists of {where} are left out.")
    return _mapped(column, lambda row: [name for name in row if name is None or name.strip()])


def _numbers_by_name(column: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray:
    """Numbers as text where each is a name, and the names are other numbers than the ids 0, 1, 2, ..."""
    if [*names] == [str(k) for k in range(len(names))] or any(whole_number(name) is None for name in names):
        return column
    texts = _as_text(pc.list_flatten(column) if is_list(column.type) else column)
    if texts is None or _holds_text(column.type) or not set(pc.unique(texts).to_pylist()) <= set(names):
        return column
    return texts if not is_list(column.type) else _mapped(column, lambda row: [str(int(value)) for value in row])


def _merged(
    column: pa.ChunkedArray, where: str, written: LabelFormat, known: Sequence[str] | None, notes: list[str]
) -> tuple[pa.ChunkedArray, LabelFormat]:
    """With one name for the variants of it, if wanted; else a note, or a question where there are many."""
    names = pc.list_flatten(column) if is_list(column.type) else column
    if not is_string(names.type):
        return column, written
    variants = name_variants(name for name in names.to_pylist() if name is not None)
    if known is not None and written.merge_variants:  # into the names that there are
        plain = {plain_name(name): name for name in known}
        different = pc.unique(names.drop_null()).to_pylist()
        variants = {name: kept for name in different if (kept := plain.get(plain_name(name), name)) != name}
    if not variants:
        return column, written
    shown = ", ".join(f"{name!r} into {kept!r}" for name, kept in list(variants.items())[:SHOWN])
    if not written.merge_variants:
        told = f"{len(variants)} of {len(pc.unique(names))} labels in {where} differ from others only in case, spaces, "
        told += "width or invisible characters"
        if written.merge_variants is None and len(variants) > MANY_VARIANTS:
            raise ValueError(
                f"{told}: --merge-variants merges them ({shown}), --keep-variants says that they are different labels "
                "(in Python label_format=textpl.LabelFormat(merge_variants=...))."
            )
        notes.append(f"{told}: --merge-variants merges {shown}.")
        return column, written
    notes.append(f"Merged {len(variants)} labels: {shown}.")
    if is_list(column.type):
        return _mapped(column, lambda row: list(dict.fromkeys(variants.get(name, name) for name in row))), written
    return pa.chunked_array([pa.array([variants.get(v, v) for v in column.to_pylist()], pa.string())]), written


def _number_names(
    column: pa.ChunkedArray, where: str, notes: list[str]
) -> tuple[pa.ChunkedArray, tuple[str, ...] | None]:
    """With numbers that cannot be ids (1 to 5, or 0 and 4) as names, and these names in order; else None.

    Ids are 0, 1, 2, ...: with a gap, a label that nobody ever gives would be made up. Fractions are left for
    `textpl.reading.labels` to refuse.
    """
    listed = is_list(column.type)
    values = pc.list_flatten(column) if listed else column
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)) or values.null_count:
        return column, None
    found = np.unique(values.to_numpy())
    # Lists of nothing but 0 and 1 may be multi-hot.
    if not len(found) or (found != np.round(found)).any() or (listed and found[-1] < 2):
        return column, None
    try:
        texts = values.cast(pa.int64()).cast(pa.string())
    except pa.ArrowInvalid:
        raise ValueError(f"{where} holds {found[-1]!r}, no id of a label: write names, or 0, 1, 2, ...") from None
    ids = sorted(map(int, pc.unique(texts).to_pylist()))
    if ids == list(range(len(ids))):
        return column, None
    names = tuple(map(str, ids))
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    notes.append(f"Labels in {where} are the numbers {shown}: taken as names, not as ids from 0 on.")
    if not listed:
        return texts, names
    return pa.chunked_array(
        [pa.array([[str(int(v)) for v in row] for row in column.to_pylist()], pa.list_(pa.string()))]
    ), names


def _check_numbers(column: pa.ChunkedArray, rows: np.ndarray, where: str, notes: list[str]) -> None:
    """Tell of numbers that are written in several ways, and refuse shares of 1, which are no names."""
    names = pc.list_flatten(column) if is_list(column.type) else column
    if not is_string(names.type) or not len(names):
        return
    different = [name for name in pc.unique(names).to_pylist() if name is not None]
    if not all(NUMBER.match(name) for name in different):
        return
    fractions = [name for name in different if float(name) % 1]
    if fractions and all(0 <= float(name) <= 1 for name in different) and not is_list(column.type):
        odd = rows[pc.is_in(column, value_set=pa.array(fractions)).to_numpy(zero_copy_only=False)]
        problem = f"label {fractions[0]} is no whole number"
        refuse(where, odd, problem, "Soft labels and regression are not read: write 0/1 or class ids")
    groups: dict[float, list[str]] = {}
    for name in sorted(different):
        groups.setdefault(float(name), []).append(name)
    if twins := [group for group in groups.values() if len(group) > 1]:
        shown = "; ".join(" and ".join(map(repr, group)) for group in twins[:SHOWN])
        notes.append(f"Labels in {where} are kept apart though they are one number: {shown}.")


def _mapped(column: pa.ChunkedArray, change: Any) -> pa.ChunkedArray:
    values = [row and change(row) for row in column.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.list_(pa.string()))])
