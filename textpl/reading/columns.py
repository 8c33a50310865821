"""Columns that the user named on the command line: are they in the file, and if not, what to say instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset


def nearest(word: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest name, or nothing."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_columns(source: str, dataset: Dataset, wanted: Sequence[tuple[str, str]]) -> None:
    """Refuse a source that lacks a column, or has two of that name.

    Args:
        source: what it is called, for the error.
        dataset: its rows.
        wanted: the option of the command that names a column, and that column.

    Raises:
        ValueError: with the columns there are and the options that name others.
    """
    there = dataset.column_names
    missing = [(option, name) for option, name in wanted if name not in there]
    if not there:  # a file without rows has no columns
        return
    if missing:
        problem = f"{source} has no column {', '.join(repr(name) for _, name in missing)}, but {there}"
        meant = nearest(missing[0][1], there) if len(missing) == 1 else ""
        remedy = f"Say {' and '.join(f'{option} COLUMN' for option in dict(missing))}"
        raise ValueError(f"{problem}{meant or '.'} {remedy}.")
    for option, name in wanted:
        if (second := f"{name} (2)") in there and dataset.data.column(name) != dataset.data.column(second):
            raise ValueError(
                f"{source} has two columns {name!r} that differ: rename one of the headings ({option} names the one to "
                "read)."
            )
