"""Equal embeddings are one node: a hidden row must not be found through its own copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textpl.embeddings.centering import centered_rows, common_part
from textpl.embeddings.neighbors import distinct_rows


@dataclass(frozen=True)
class Nodes:
    """Distinct embeddings, and which rows have them; labelled rows come first.

    Attributes:
        vectors: float32 (nodes, d), centered (`textpl.embeddings.centering`): length 1, or zero where the text is empty
            or the embedding is the mean of all.
        first: int64 (nodes,), the first row of each.
        of: int64 (rows,), the node of each row.
        targets: float32 (nodes, labels), mean of the labelled rows' targets; 0 where there is none.
        gold: bool (nodes,), some labelled row is there. Never at a zero vector, which says nothing.
        mean: float64 (d,), what was taken away from the rows to center them.
        conflicts: int64, labelled rows that share a node with one of another label.
    """

    vectors: np.ndarray
    first: np.ndarray
    of: np.ndarray
    targets: np.ndarray
    gold: np.ndarray
    mean: np.ndarray
    conflicts: np.ndarray

    @classmethod
    def build(cls, vectors: np.ndarray, targets: np.ndarray) -> Nodes:
        """Find equal rows, and center what is left.

        Args:
            vectors: float32 (rows, d), labelled rows first; length 1, or zero.
            targets: float32 (labelled rows, labels).
        """
        first, of = distinct_rows(vectors)
        own = of[: len(targets)]
        sums = np.zeros((len(first), targets.shape[1]), dtype=np.float32)
        counts = np.zeros(len(first), dtype=np.float32)
        np.add.at(sums, own, targets)
        np.add.at(counts, own, 1)
        nodes = vectors if len(first) == len(vectors) else vectors[first]
        gold = (counts > 0) & np.asarray(nodes.any(1))
        means = np.where(gold[:, None], sums / np.maximum(counts, 1)[:, None], 0).astype(np.float32)
        conflicts = np.flatnonzero(gold[own] & (np.abs(means[own] - targets) > 1e-6).any(1))
        mean = common_part(nodes)
        return cls(centered_rows(nodes, mean), first, of, means, gold, mean, conflicts)
