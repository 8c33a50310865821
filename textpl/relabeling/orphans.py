"""What becomes of rows from which no directed path of neighbours leads to a gold row.

They are the normal case at small k: rows that list only each other wait for one another for ever.
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.votes import Schedule, edge_strength

# What a labeled row at a cosine of 0 or less counts: around the mean that is half of them, and the nearest labeled row
# is still the nearest one.
FAR = np.float32(2**-20)
Orphans = Literal["abstain", "nearest", "grow_k", "knn_dv"]
ToGold = tuple[np.ndarray, np.ndarray]


class Labeling(Protocol):
    """A run that has come to a halt, as far as the policies need to know it."""

    schedule: Schedule
    gamma: float

    def spread(self, graph: NeighborGraph) -> None:
        """Labels all open rows that the graph connects with labelled ones."""

    def seed(self, rows: np.ndarray, ids: np.ndarray, strength: np.ndarray) -> None:
        """Labels rows straight from gold rows ids (rows, voters) by votes of that strength."""


def check_orphans(orphans: str, to_gold: ToGold | None, gold: np.ndarray) -> None:
    """Refuses a policy that cannot be followed.

    Raises:
        ValueError: unknown policy; "nearest" or "knn_dv" without `to_gold`, or with one that does not fit.
    """
    if orphans not in get_args(Orphans):
        raise ValueError(f"orphans={orphans!r}: expected one of {', '.join(get_args(Orphans))}.")
    if orphans not in ("nearest", "knn_dv"):
        return
    if to_gold is None:
        raise ValueError(
            f"orphans={orphans!r} needs to_gold=(ids, sims), the nearest gold rows of every row; "
            "search for them among the gold rows, or use orphans='abstain'."
        )
    ids, sims = to_gold
    if np.shape(ids) != np.shape(sims) or np.ndim(ids) != 2 or len(ids) != len(gold) or not np.shape(ids)[1]:
        raise ValueError(f"to_gold has shapes {np.shape(ids)} and {np.shape(sims)}: expected ({len(gold)}, k) twice.")
    named = ids[ids >= 0]
    if named.size and not (named.max() < len(gold) and gold[named].all()):
        raise ValueError("to_gold names rows that are not gold: its ids must be row numbers of the whole graph.")


def settle_orphans(labeling: Labeling, orphans: Orphans, graph: NeighborGraph, k: int, to_gold: ToGold | None) -> None:
    """Follows the policy (see `hdl`), starting from a run that used the first k neighbours of the graph."""
    if orphans == "grow_k":
        while len(labeling.schedule.open) and k < graph.k:
            k = min(2 * k, graph.k)
            labeling.spread(graph.first(k))
    elif orphans != "abstain" and to_gold is not None:
        ids, sims = to_gold
        strength = np.where(ids >= 0, np.maximum(edge_strength(ids, sims, labeling.gamma), FAR), np.float32(0))
        if orphans == "nearest":
            _spread_from_centers(labeling, graph if k == graph.k else graph.first(k), ids[:, :1], sims, strength[:, :1])
        else:
            rows = labeling.schedule.open
            rows = rows[(strength[rows] > 0).any(1)]
            labeling.seed(rows, ids[rows], strength[rows])


def _spread_from_centers(
    labeling: Labeling, graph: NeighborGraph, ids: np.ndarray, sims: np.ndarray, strength: np.ndarray
) -> None:
    """Labels one centre in every component of open rows and goes on from there, until none is left.

    Components do not touch each other, so all at once gives what one after the other does. But edges are directed:
    the rows that do not lead to the centre are left, and form components again.
    """
    while len(centers := _centers(labeling.schedule.open, graph, sims[:, 0], strength[:, 0] > 0)):
        labeling.seed(centers, ids[centers], strength[centers])
        labeling.spread(graph)


def _centers(rows: np.ndarray, graph: NeighborGraph, sims: np.ndarray, possible: np.ndarray) -> np.ndarray:
    """The row most similar to a gold row of every component that has one with any similarity."""
    local = np.full(len(graph), -1)
    local[rows] = np.arange(len(rows))
    near = np.where(graph.ids[rows] >= 0, local[graph.ids[rows]], -1)
    ends = np.concatenate([[0], (near >= 0).sum(1).cumsum()])
    edges = csr_array((np.ones(ends[-1], np.bool_), near[near >= 0], ends), shape=(len(rows), len(rows)))
    component = connected_components(edges, connection="weak")[1]
    candidates = np.flatnonzero(possible[rows])
    ranked = candidates[np.lexsort((candidates, -sims[rows[candidates]], component[candidates]))]
    return rows[ranked[np.unique(component[ranked], return_index=True)[1]]]
