"""Some rows of a corpus judged without the others, and put among these again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from textpl.cleaning.result import Detection
from textpl.embeddings.graph import NeighborGraph

# detect(labels, probabilities, graph, vectors, groups) judges rows from these alone.
Detect = Callable[[np.ndarray, np.ndarray, NeighborGraph | None, np.ndarray | None, np.ndarray | None], Detection]


def detect_among(
    detect: Detect,
    rows: np.ndarray,
    labels: np.ndarray,
    probabilities: np.ndarray,
    graph: NeighborGraph | None,
    vectors: np.ndarray | None,
    groups: np.ndarray | None,
) -> Detection:
    """Judge some rows from these alone.

    Args:
        detect: judges rows.
        rows: int64 (m,), which.
        labels: int64 (rows,), or 0/1 (rows, labels), given.
        probabilities: (rows, labels).
        graph: nearest neighbors or None.
        vectors: (rows, d) or None.
        groups: int64 (rows,), of duplicates, or None.

    Returns:
        Detection of these m rows.
    """
    return detect(
        labels[rows],
        probabilities[rows],
        None if graph is None else graph.only(rows),
        None if vectors is None else vectors[rows],
        None if groups is None else groups[rows],
    )


def placed(values: np.ndarray, rows: np.ndarray, others: Any, size: int) -> np.ndarray:
    """Values of some rows, and others in all other rows.

    Args:
        values: (m, ...) or more, of which the first m count.
        rows: int64 (m,), where they belong.
        others: for the rest, anything that broadcasts to (size, ...).
        size: rows in all.

    Returns:
        (size, ...) of the dtype of `values`.
    """
    out = np.empty((size, *values.shape[1:]), dtype=values.dtype)
    out[:] = others
    out[rows] = values[: len(rows)]
    return out
