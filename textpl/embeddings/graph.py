"""The kNN graph that everyone uses: built once, cut down to any smaller k."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class NeighborGraph:
    """The k most similar other rows of every row.

    Attributes:
        ids: int32 (n, k), most similar first; -1 where a row has fewer neighbours (zero vectors have none).
        sims: float32 (n, k), cosine similarity; 0 where `ids` is -1.
        method: how it was built, in words.
        recall: share of the true neighbours found, measured on some exact rows; None where the search was exact.
    """

    ids: np.ndarray
    sims: np.ndarray
    method: str = "exact"
    recall: float | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def k(self) -> int:
        """Neighbours per row."""
        return self.ids.shape[1]

    def only(self, rows: np.ndarray) -> NeighborGraph:
        """The graph of some rows, with those of their neighbours that are among them.

        Args:
            rows: int64 (m,), different row numbers.

        Returns:
            A graph of m rows and as many columns; neighbours move up for those left out, -1 and 0 fill the rest.
        """
        number = np.full(len(self) + 1, -1, dtype=np.int32)
        number[rows] = np.arange(len(rows))
        ids = number[self.ids[rows]]  # -1 finds the last number, which is -1
        order = np.argsort(ids < 0, axis=1, kind="stable")
        ids = np.take_along_axis(ids, order, 1)
        sims = np.take_along_axis(self.sims[rows], order, 1)
        return replace(self, ids=ids, sims=np.where(ids >= 0, sims, np.float32(0)))

    def across(self, groups: np.ndarray) -> NeighborGraph:
        """The graph without neighbors of a row's own group; the others move up, -1 and 0 fill the rest.

        Args:
            groups: int (n,).
        """
        other = (self.ids >= 0) & (groups[self.ids] != groups[:, None])
        order = np.argsort(~other, axis=1, kind="stable")
        other, ids, sims = (np.take_along_axis(part, order, 1) for part in (other, self.ids, self.sims))
        return replace(self, ids=np.where(other, ids, np.int32(-1)), sims=np.where(other, sims, np.float32(0)))

    def first(self, k: int) -> NeighborGraph:
        """The graph of the k nearest neighbours.

        Raises:
            ValueError: if k is below 1 or above this graph's.
        """
        if not 1 <= k <= self.k:
            raise ValueError(f"k={k}: this graph holds {self.k} neighbours per row; build it with a larger k.")
        return self if k == self.k else replace(self, ids=self.ids[:, :k], sims=self.sims[:, :k])
