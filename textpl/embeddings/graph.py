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

    def first(self, k: int) -> NeighborGraph:
        """The graph of the k nearest neighbours.

        Raises:
            ValueError: if k is below 1 or above this graph's.
        """
        if not 1 <= k <= self.k:
            raise ValueError(f"k={k}: this graph holds {self.k} neighbours per row; build it with a larger k.")
        return self if k == self.k else replace(self, ids=self.ids[:, :k], sims=self.sims[:, :k])
