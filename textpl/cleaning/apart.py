"""Some rows of a corpus judged without the others, and put among these again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from textpl.cleaning.result import Detection
from textpl.embeddings.graph import NeighborGraph


@dataclass(frozen=True)
class Evidence:
    """What a detector judges rows by.

    Attributes:
        given: int64 (rows,), or 0/1 int8 (rows, labels), the labels.
        p: float (rows, labels), out-of-sample probabilities.
        graph: nearest neighbors; None without embeddings.
        vectors: (rows, d), unit vectors; None without embeddings.
        groups: int64 (rows,), of duplicates; None where there are none.
    """

    given: np.ndarray
    p: np.ndarray
    graph: NeighborGraph | None = None
    vectors: np.ndarray | None = None
    groups: np.ndarray | None = None

    def of(self, rows: np.ndarray) -> Evidence:
        """Return that of some rows, from these alone.

        Args:
            rows: int64 (m,), which.
        """
        return Evidence(
            self.given[rows],
            self.p[rows],
            None if self.graph is None else self.graph.only(rows),
            None if self.vectors is None else self.vectors[rows],
            None if self.groups is None else self.groups[rows],
        )


Detect = Callable[[Evidence], Detection]


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
