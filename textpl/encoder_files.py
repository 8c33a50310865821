"""`textpl encoders` on files and Hub data: read both sides, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, List, Value

from textpl.encoder_comparison import USUAL, compare_encoders
from textpl.encoder_findings import EncoderComparison
from textpl.reading.columns import check_columns
from textpl.reading.find_columns import as_texts, replaced
from textpl.reading.label_format import ENCODED, LabelFormat
from textpl.reading.labeled_rows import LabeledRows, read_labeled
from textpl.reading.labels import MULTI
from textpl.reading.sources import open_source


def compare_encoder_files(
    data: str,
    pool: str | None = None,
    encoders: Sequence[str] = USUAL,
    *,
    text: str = "text",
    labels: str = "label",
    label_format: LabelFormat | None = None,
    most: int | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> EncoderComparison:
    """Compare encoders on the labeled rows of a source.

    Args:
        data: folder, file or Hub id; its train split is taken, rows without a label are left out.
        pool: the same, for unlabeled rows: its unlabeled split, else its train split. None for no pool.
        encoders: ids, folders, or "lsa".
        text: name of the text column in both.
        labels: name of the label column, or of several of 0 and 1: a,b,c.
        label_format: how labels are written, where that is not to be found out.
        most: take so many random rows of the pool; None for all.
        seed: of these rows and of the folds.
        say: gets a line about each thing that the user should know.
        settings: of `textpl.compare_encoders`.

    Raises:
        ValueError: for all that `textpl.compare_encoders` refuses.
        OSError: if no encoder could be loaded.
    """
    known = read_labeled(
        open_source(data),
        data,
        text,
        labels,
        label_format=label_format,
        option="--label",
        remedy="so there is nothing to compare encoders on",
    )
    for note in known.notes:
        say(note)
    texts = None if pool is None else _pool(pool, text, most, seed)
    return compare_encoders(
        _as_ids(known),
        texts,
        encoders,
        text_column=text,
        label_column=known.label_column,
        label_names=list(known.label_names),
        label_format=ENCODED,
        seed=seed,
        **settings,
    )


def _pool(name: str, text: str, most: int | None, seed: int) -> Dataset:
    source = open_source(name)
    split = "unlabeled" if "unlabeled" in source.splits else "train"
    if not len(source.splits[split]):
        raise ValueError(f"{name} has no rows: leave --pool out, or name another one.")
    check_columns(name, source.splits[split], [("--text", text)])
    rows = as_texts(source.splits[split], text, source.untyped(split))
    if most is None or most >= len(rows):
        return rows
    return rows.select(np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False)))


def _as_ids(known: LabeledRows) -> Dataset:
    """The labeled rows with class ids, or 0 and 1 for every label."""
    multi = known.coding.problem_type == MULTI
    feature = List(Value("float32")) if multi else ClassLabel(names=list(known.label_names))
    return replaced(known.dataset, known.label_column, pa.array(known.given.tolist()), feature)
