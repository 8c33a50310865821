"""Labeled rows that `textpl.select` chose: how to know them, and what follows for those who learn from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from datasets import Dataset

from textpl.reading.label_format import LabelFormat
from textpl.reading.labels import arrow_column, is_list
from textpl.selecting.strategies import RANDOM, STRATEGIES

COLUMN = "strategy"


def chosen_by(rows: Dataset) -> np.ndarray:
    """The strategy that chose each row, str (rows,); "" for rows from elsewhere.

    Args:
        rows: with the columns that `textpl.select` wrote, or without them.
    """
    if COLUMN not in rows.column_names:
        return np.full(len(rows), "")
    values = rows.with_format(None)[COLUMN][:]
    return np.array([value if isinstance(value, str) and value in STRATEGIES else "" for value in values], dtype=str)


def as_left_open(label_format: LabelFormat | None, rows: Dataset, column: str) -> LabelFormat | None:
    """Take empty label cells of chosen rows for what nobody could tell, unless the user says what they mean.

    Elsewhere an empty cell may say that none of several labels applies; `textpl.select` writes all cells empty. Where
    labels are lists, an empty list is somebody's word, and stays one.
    """
    if label_format is not None and label_format.empty is not None:
        return label_format
    listed = column in rows.column_names and is_list(arrow_column(rows, column).type)
    if listed or not chosen_by(rows).astype(bool).any():
        return label_format
    return replace(label_format or LabelFormat(), empty="unlabeled")


def no_sample(rows: Dataset) -> str | None:
    """Say that what is measured on these rows need not hold for a pool; None where none was chosen on purpose."""
    found = chosen_by(rows)
    picked = found[(found != "") & (found != RANDOM)]
    if not len(picked):
        return None
    return (
        f"{len(picked):,} of the {len(rows):,} labeled rows were chosen by textpl select "
        f"({', '.join(np.unique(picked).tolist())}): no sample of the pool, so that what is measured on them may be "
        "off either way; to know, label rows of its strategy random too"
    )
