"""Labels and probabilities in any form that people have them: arrays, or an error that names the row and the remedy.

One row is enough, and a label may be on no row or on every row, as long as the number of labels or their names are
given: nothing is learnt about such a label, and nothing is flagged for it that the probabilities do not say.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import issparse

from textpl.reading.label_cells import LabelCells, LabelFormat, read_cells, without_label
from textpl.reading.labels import LabelCoding, in_order, infer_coding, is_list, is_string, refuse
from textpl.reading.probabilities import in_order as columns_in_order
from textpl.reading.probabilities import never_given

logger = logging.getLogger(__name__)

WHERE = "labels"
# Rows of a softmax in half precision sum to one within this.
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class EncodedLabels:
    """A label column as an array.

    Attributes:
        array: int64 (labeled rows,), or int8 0/1 (labeled rows, labels).
        coding: what the labels mean, and their names.
        cells: the labels as they were understood, and which rows have one.
    """

    array: np.ndarray
    coding: LabelCoding
    cells: LabelCells


def encode_labels(
    column: pa.ChunkedArray,
    where: str,
    *,
    label_names: Sequence[str] | None = None,
    label_format: LabelFormat | None = None,
    problem_type: str | None = None,
    all_labeled: bool = True,
    like: EncodedLabels | None = None,
) -> EncodedLabels:
    """Understand and encode a label column.

    Args:
        column: ids or names, lists of either as lists or in strings, or multi-hot lists.
        where: what the column is called, for errors.
        label_names: name of every label; None: those that occur.
        label_format: what the user says of how labels are written.
        problem_type: as in a model's config; None: found.
        all_labeled: refuse rows without a label.
        like: labels of another split, of which these are written and meant alike.

    Raises:
        ValueError: for all that `read_cells` and `infer_coding` refuse.
    """
    if like is not None:
        label_names, label_format = like.coding.label_names, like.cells.written.settled
    cells = read_cells(column, where, label_format or LabelFormat(), label_names)
    if all_labeled and (told := without_label(cells, len(column))):
        missing = np.setdiff1d(np.arange(len(column)), cells.rows)
        problem = f"label is {column[int(missing[0])].as_py()!r}"
        remedy = "[] is a row to which none of the labels applies" if is_list(column.type) else "`textpl clean` does"
        refuse(where, missing, problem, f"{told[0]}. Leave rows without a label out, or make them the pool; {remedy}")
    if not len(cells.rows):
        raise ValueError(f"{where}: no row has a label.")
    if len(cells.rows) < len(column):
        where += " of the rows that have a label"
    if label_names is None and not is_list(cells.values.type) and len(pc.unique(cells.values)) == 1:
        problem = f"{where}: every row has the label {cells.values[0].as_py()!r}, so there is nothing to tell it from"
        remedy = "or, in textpl.find_label_issues, pass label_names (all there are) and pred_probs"
        raise ValueError(f"{problem}. Add rows with other labels, {remedy}.")
    if like is None:
        coding = infer_coding(cells.values, where, label_names=cells.names, problem_type=problem_type)
        array = coding.encode(cells.values, where)
    else:
        coding = like.coding
        array = coding.encode(cells.named() if coding.form in ("name", "names") else cells.values, where)
    return EncodedLabels(array.astype(np.int8) if array.ndim == 2 else array, coding, cells)


def read_labels(
    labels: Any,
    num_labels: int | None = None,
    label_names: Sequence[str] | None = None,
    label_format: LabelFormat | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read labels in any accepted form as one array.

    Args:
        labels: multi-label: 0/1 of shape (rows, labels), integer, boolean or float, a scipy sparse matrix, or one list
            of ids or of names per row, which may be one string; single-label: one id or one name per row. Which it is,
            is found as for a corpus.
        num_labels: number of labels; default the names, else what `labels` shows. Needed when the last ids never occur.
        label_names: name of every label; position is id. Default the sorted names, or the ids as text.
        label_format: how labels are written.

    Returns:
        int8 (rows, labels) of 0 and 1, or int64 (rows,); and the names.

    Raises:
        ValueError: for labels that are missing, mixed, out of range, neither 0 nor 1, or the same in every row.
    """
    if label_names is not None and num_labels not in (None, len(label_names)):
        raise ValueError(f"{len(label_names)} label names for {num_labels} labels: give one name per label.")
    if has_names(labels):
        headings = [str(name) for name in labels.columns]
        labels = labels.to_numpy()
        if label_names is not None:
            labels = columns_in_order(labels, headings, label_names, "labels")
        label_names = headings if label_names is None else label_names
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
    column = _column(labels)
    if label_names is None and num_labels is not None and not _holds_names(column):
        label_names = tuple(str(i) for i in range(num_labels))
    encoded = encode_labels(column, WHERE, label_names=label_names, label_format=label_format)
    for note in encoded.cells.notes:
        logger.warning("%s", note)
    names = encoded.coding.label_names
    if num_labels not in (None, len(names)):
        found = f"labels: {len(names)} names occur, but there are {num_labels} labels"
        raise ValueError(f"{found}: pass label_names with every name, in the order of the probabilities.")
    return encoded.array, names


def has_names(pred_probs: Any) -> bool:
    """Whether something is a table of pandas whose headings are names, not the numbers 0, 1, ... that it makes up."""
    headings = list(getattr(pred_probs, "columns", ()))
    return any(type(heading) is not int for heading in headings) or headings != list(range(len(headings)))


def match_probabilities(
    pred_probs: Any, names: Sequence[str], declared: Sequence[str] | None, *, ids: bool
) -> tuple[Any, tuple[str, ...]]:
    """Bring the columns of probabilities into the order of the labels, by their names; refuse to guess.

    Args:
        pred_probs: (rows, labels): an array, or a table of pandas, whose headings are names unless they are numbers.
        names: of the labels that were found, in their order.
        declared: names that somebody has put into an order, which then is that of an array's columns.
        ids: whether labels are ids, which are the positions of columns.

    Returns:
        the probabilities in the order of the names, and these; labels that were never given come last.

    Raises:
        ValueError: for headings that are no labels, and an order that nobody has said and that is not the only one.
    """
    values = pred_probs.to_numpy() if hasattr(pred_probs, "columns") else pred_probs
    if has_names(pred_probs):
        headings = [str(name) for name in pred_probs.columns]
        if declared is not None:
            return columns_in_order(values, headings, declared, "pred_probs"), tuple(declared)
        known = [name for name in names if name in headings]
        if len(known) < len(names):
            lacking = [name for name in names if name not in headings]
            raise ValueError(
                f"pred_probs has no column for the label {lacking[0]!r}, but {headings}: name one for each."
            )
        order = (*names, *never_given(values, headings, names))
        kept = [headings.index(name) for name in order]
        return values[:, kept], order
    if declared is not None or ids:
        return values, tuple(names)
    numbers = in_order(names) == tuple(sorted(names)) and all(name.isdecimal() for name in names)
    if not numbers:
        shown = ", ".join(list(names)[:8]) + (", ..." if len(names) > 8 else "")
        raise ValueError(
            f"pred_probs with labels given by name ({shown}): which column is which? Pass label_names (on the command "
            "line --label-names a,b,c) in the order of its columns, or a DataFrame (a csv or parquet file) with the "
            "names as headings."
        )
    return values, tuple(names)


def check_probabilities(pred_probs: Any, labels: np.ndarray) -> np.ndarray:
    """Check out-of-sample probabilities against the labels.

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
    return labels.astype(np.int8), names


def _holds_names(column: pa.ChunkedArray) -> bool:
    return is_string(column.type.value_type if is_list(column.type) else column.type)


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
