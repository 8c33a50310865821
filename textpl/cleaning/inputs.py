"""Labels and probabilities as people have them, in: arrays, or an error that names the row and the remedy.

One row is enough, and a label may be on no row or on every row, as long as the number of labels or their names are
given: nothing is learnt about such a label, and nothing is flagged for it that the probabilities do not say.
"""

from __future__ import annotations

import ast
import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import issparse

from textpl.cleaning.duplicates import normalized
from textpl.labels import infer_coding, refuse

logger = logging.getLogger(__name__)

WHERE = "labels"
DELIMITERS = (";", "|", ",")
# Rows of a softmax in half precision sum to one within this.
SUM_TOLERANCE = 1e-3


def read_labels(
    labels: Any, num_labels: int | None = None, label_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels in any accepted form as one array.

    Args:
        labels: multi-label: 0/1 of shape (rows, labels), integer, boolean or float, a scipy sparse matrix, or one list
            of ids or of names per row; single-label: one id or one name per row. Which it is, is found as for a
            corpus (`textpl.labels.infer_coding`).
        num_labels: number of labels; default the names, else what `labels` shows. Needed when the last ids never occur.
        label_names: name of every label; position is id. Default the sorted names, or the ids as text.

    Returns:
        int8 (rows, labels) of 0 and 1, or int64 (rows,); and the names. Names that differ only in case, spaces or
        width are warned of: `name_variants` has the merge.

    Raises:
        ValueError: for labels that are missing, mixed, delimited strings (`split_labels` makes lists of them), out of
            range, neither 0 nor 1, or the same in every row.
    """
    if label_names is not None and num_labels not in (None, len(label_names)):
        raise ValueError(f"{len(label_names)} label names for {num_labels} labels: give one name per label.")
    if issparse(labels):
        labels = labels.toarray()
    if not isinstance(labels, (list, tuple)):
        labels = np.asarray(labels) if hasattr(labels, "__array__") else list(labels)
    if len(labels) == 0:
        raise ValueError("labels: there are no rows.")
    if isinstance(labels, np.ndarray) and labels.ndim == 2 and labels.dtype != object:
        return _multi_hot(labels, num_labels, label_names)
    if isinstance(labels, np.ndarray) and labels.ndim > 1:
        raise ValueError(f"labels of shape {labels.shape}: give (rows,) ids or names, or (rows, labels) of 0 and 1.")
    if label_names is None and num_labels is not None and not _holds_names(labels):
        label_names = tuple(str(i) for i in range(num_labels))
    array, names = encode_column(_column(labels), WHERE, label_names)
    if num_labels not in (None, len(names)):
        found = f"labels: {len(names)} names occur, but there are {num_labels} labels"
        raise ValueError(f"{found}: pass label_names with every name, in the order of the probabilities.")
    _warn_of_variants(names)
    return array, names


def encode_column(
    column: pa.ChunkedArray, where: str, label_names: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A label column as an array, and the names of its labels.

    Args:
        column: ids, names, lists of either, or multi-hot lists.
        where: what the column is called, for errors.
        label_names: name of every label; None: those that occur.

    Returns:
        int8 (rows, labels) of 0 and 1, or int64 (rows,).

    Raises:
        ValueError: for all that `textpl.labels.infer_coding` refuses, strings that hold several labels, and a column
            with one and the same label in every row.
    """
    if label_names is None and not hasattr(column.type, "value_type"):
        _refuse_several_in_one(column, where)
        different = pc.unique(column)
        if len(different) == 1 and different[0].as_py() not in ("", None):
            problem = f"{where}: every row has the label {different[0].as_py()!r}, so there is nothing to tell it from"
            raise ValueError(
                f"{problem}. Add rows with other labels, or pass label_names (all there are) and pred_probs."
            )
    coding = infer_coding(column, where, label_names=label_names, problem_type=None)
    array = coding.encode(column, where)
    return (array.astype(np.int8) if array.ndim == 2 else array), coding.label_names


def check_probabilities(pred_probs: Any, labels: np.ndarray) -> np.ndarray:
    """Out-of-sample probabilities that fit the labels.

    Args:
        pred_probs: shape (rows, labels). Single-label: each row sums to one.
        labels: int64 (rows,), or 0/1 (rows, labels), as `read_labels` gives them.

    Returns:
        float32 (rows, labels) within [0, 1].

    Raises:
        ValueError: for another shape, NaN, values outside [0, 1] and, single-label, rows that do not sum to one within
            0.001; the first rows are named.
    """
    p = np.asarray(pred_probs.toarray() if issparse(pred_probs) else pred_probs, dtype=np.float32)
    where, rows = "pred_probs", len(labels)
    if p.ndim != 2 or len(p) != rows or p.shape[1] == 0:
        remedy = "one row per text in the same order, one column per label"
        raise ValueError(f"pred_probs have shape {p.shape}, but there are {rows} rows of labels: give {remedy}.")
    if labels.ndim == 2 and p.shape[1] != labels.shape[1]:
        raise ValueError(f"pred_probs have {p.shape[1]} columns and the labels {labels.shape[1]}: they must agree.")
    # Sums show NaN in one pass, without a mask of the size of the probabilities.
    sums = p.sum(axis=1)
    if len(bad := np.flatnonzero(np.isnan(sums))):
        refuse(where, bad, "NaN", "The model diverged, or folds were left out: predict these rows again")
    if len(bad := np.flatnonzero((p.min(axis=1) < -1e-6) | (p.max(axis=1) > 1 + 1e-6))):
        value = p[bad[0]][np.abs(p[bad[0]] - 0.5).argmax()]
        refuse(where, bad, f"{value:.4g} is outside [0, 1]", "Logits need a softmax (multi-label: a sigmoid) first")
    if labels.ndim == 1:
        if labels.max() >= p.shape[1]:
            row = np.flatnonzero(labels >= p.shape[1])
            problem = f"label {labels[row[0]]}, but pred_probs have {p.shape[1]} columns"
            refuse(WHERE, row, problem, "Give one column per label, those without a row too")
        if len(bad := np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)):
            problem = f"the probabilities sum to {sums[bad[0]]:.4g}"
            refuse(
                where, bad, problem, "With one label per row they must sum to one: use a softmax, or multi-hot labels"
            )
    return np.clip(p, 0, 1)


def name_variants(names: Iterable[str]) -> dict[str, str]:
    """Names that differ only in case, spaces or character width, and the one to keep of each.

    The most frequent is kept, of equally frequent ones the first in its plain form: pass every row's name, or each
    name once. To merge: `[variants.get(name, name) for name in labels]`.

    Returns:
        variant -> name to keep; empty where there is nothing to merge.
    """
    counts, groups = Counter(names), dict[str, list[str]]()
    for name in counts:
        groups.setdefault(normalized(name), []).append(name)
    kept: dict[str, str] = {}
    for group in groups.values():
        plain = {name: " ".join(unicodedata.normalize("NFKC", name).split()) for name in group}
        best = max(group, key=lambda name: (counts[name], name == plain[name]))  # noqa: B023
        kept.update({name: best for name in group if name != best})
    return kept


def split_labels(values: Sequence[str], delimiter: str | None = None) -> list[list[str]]:
    """Lists of labels that were stored as text: "['joy', 'love']", '["joy", "love"]' or "joy; love".

    Args:
        values: one text per row; a blank one has no label.
        delimiter: what stands between labels; None for lists in brackets.

    Raises:
        ValueError: for a text that is no list; the row is named.
    """
    if delimiter is not None:
        return [[part.strip() for part in value.split(delimiter) if part.strip()] for value in values]
    lists = []
    for row, value in enumerate(values):
        try:
            found = ast.literal_eval(value) if value.strip() else []
        except (ValueError, SyntaxError):
            found = None
        # "['joy' 'love']", an array printed by numpy, would be read as one string.
        if not isinstance(found, (list, tuple, set)) or re.search(r"['\"]\s+['\"]", value):
            refuse(WHERE, np.array([row]), f"{value!r} is no list in brackets", "Name the delimiter between labels")
        lists.append([str(name) for name in found])
    return lists


def find_delimiter(values: Sequence[str], known: Sequence[str] = ()) -> str | None:
    """What stands between the labels of strings that hold several; None where each seems to hold one.

    It is a delimiter if, of the different strings that have it, at least half have a part that is met in another one or
    that is known (a name, or its id).
    """
    distinct = set(values)
    names = {*known, *map(str, range(len(known)))}
    for delimiter in DELIMITERS:
        parts = [{part.strip() for part in value.split(delimiter)} - {""} for value in distinct]
        met = Counter(part for some in parts for part in some)
        joined = [some for some, value in zip(parts, distinct, strict=True) if delimiter in value]
        if joined and 2 * sum(any(met[part] > 1 or part in names for part in some) for some in joined) >= len(joined):
            return delimiter
    return None


def _refuse_several_in_one(column: pa.ChunkedArray, where: str) -> None:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return
    values = pc.unique(column.drop_null()).to_pylist()
    bracket = next((value for value in values if value.strip()[:1] == "["), None)
    delimiter = None if bracket else find_delimiter(values)
    if bracket is None and delimiter is None:
        return
    example = bracket or next(value for value in values if delimiter in value)
    call = f"textpl.cleaning.inputs.split_labels(labels{'' if bracket else f', {delimiter!r}'})"
    remedy = f"Make lists of them: {call}; `textpl clean` does so by itself. If it is one label, pass label_names"
    rows = np.flatnonzero(pc.fill_null(pc.equal(column, example), False).to_numpy())
    refuse(where, rows, f"label {example!r} looks like several labels in one string", remedy)


def _multi_hot(
    labels: np.ndarray, num_labels: int | None, label_names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    width = labels.shape[1]
    names = tuple(label_names) if label_names is not None else tuple(str(i) for i in range(width))
    if width == 0:
        raise ValueError("labels have no columns: give one column of 0 and 1 per label.")
    if len(names) != width or num_labels not in (None, width):
        raise ValueError(
            f"labels have {width} columns for {num_labels or len(names)} in label_names or pred_probs: they must agree."
        )
    if len(set(names)) < width:
        raise ValueError(f"label_names {names} must be distinct.")
    odd = ~((labels == 0) | (labels == 1))
    if odd.any():
        rows, columns = np.nonzero(odd)
        problem = f"label {names[columns[0]]!r} is {labels[rows[0], columns[0]]}"
        refuse(WHERE, np.unique(rows), problem, "Write 0 or 1: probabilities belong into pred_probs")
    _warn_of_variants(names)
    return labels.astype(np.int8), names


def _holds_names(labels: Any) -> bool:
    flat = (value for row in labels for value in (row if isinstance(row, (list, tuple, set, np.ndarray)) else [row]))
    return isinstance(next(flat, None), str)


def _column(labels: Any) -> pa.ChunkedArray:
    """One Arrow column of ids, names or lists of either."""
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    values = [sorted(row) if isinstance(row, (set, frozenset)) else row for row in values]
    try:
        return pa.chunked_array([pa.array(values)])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = [type(value) for value in values]
        row = next((i for i, kind in enumerate(kinds) if kind is not kinds[0]), 0)
        problem = f"{values[row]!r} is written in another way than {values[0]!r} in row 0"
        raise ValueError(f"{WHERE}, row {row} (counted from 0): {problem}. Write all labels the same way.") from error


def _warn_of_variants(names: Sequence[str]) -> None:
    variants = name_variants(names)
    if variants:
        shown = ", ".join(f"{name!r} into {kept!r}" for name, kept in list(variants.items())[:5])
        logger.warning("labels: %d names look like variants of others; consider merging %s", len(variants), shown)
