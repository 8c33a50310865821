"""The names and numbers in a label column: which are one label, which are names, and which stand for no label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textpl.reading.delimited import NUMBER
from textpl.reading.label_format import LabelFormat, option
from textpl.reading.labels import is_list, is_string, refuse, whole_number
from textpl.reading.names import name_variants, no_class, plain_name

SHOWN = 5
MANY_VARIANTS = 3


def which_labeled(
    column: pa.ChunkedArray, where: str, written: LabelFormat, names: Sequence[str] | None, notes: list[str]
) -> tuple[np.ndarray, LabelFormat]:
    """Which rows have another label than those that stand for none, bool (rows,)."""
    everything = np.ones(len(column), bool)
    texts = as_text(pc.list_flatten(column) if is_list(column.type) else column)
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


def merged(
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
        return mapped(column, lambda row: list(dict.fromkeys(variants.get(name, name) for name in row))), written
    return pa.chunked_array([pa.array([variants.get(v, v) for v in column.to_pylist()], pa.string())]), written


def without_blanks(column: pa.ChunkedArray, where: str, notes: list[str]) -> pa.ChunkedArray:
    """Lists of names without the empty ones, which are no labels."""
    if not is_list(column.type) or not is_string(column.type.value_type):
        return column
    if not (count := pc.sum(pc.equal(pc.utf8_trim_whitespace(pc.list_flatten(column)), "")).as_py()):
        return column
    notes.append(f"{count:,} empty names in the lists of {where} are left out.")
    return mapped(column, lambda row: [name for name in row if name is None or name.strip()])


def numbers_by_name(column: pa.ChunkedArray, names: Sequence[str]) -> pa.ChunkedArray:
    """Numbers as text where each is a name, and the names are other numbers than the ids 0, 1, 2, ..."""
    if [*names] == [str(k) for k in range(len(names))] or any(whole_number(name) is None for name in names):
        return column
    texts = as_text(pc.list_flatten(column) if is_list(column.type) else column)
    if texts is None or holds_text(column.type) or not set(pc.unique(texts).to_pylist()) <= set(names):
        return column
    return texts if not is_list(column.type) else mapped(column, lambda row: [str(int(value)) for value in row])


def number_names(
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


def check_numbers(column: pa.ChunkedArray, rows: np.ndarray, where: str, notes: list[str]) -> None:
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


def as_text(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
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


def holds_text(kind: pa.DataType) -> bool:
    """Whether a column of this type has strings, or lists of them."""
    return is_string(kind.value_type if is_list(kind) else kind)


def mapped(column: pa.ChunkedArray, change: Callable[[list[Any]], list[Any]]) -> pa.ChunkedArray:
    """Change every list of names that is not empty."""
    values = [row and change(row) for row in column.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.list_(pa.string()))])


def shown_rows(rows: np.ndarray) -> str:
    """Name the first rows of some."""
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return f"row {', '.join(map(str, rows[:SHOWN]))}{more}"


def shown_names(names: Iterable[str]) -> str:
    """Name the first of some labels, invisible characters shown."""
    listed = list(names)
    return ", ".join(map(repr, listed[:SHOWN])) + (", ..." if len(listed) > SHOWN else "")
