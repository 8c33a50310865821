"""Against hubs: rows that are among the nearest of very many others (Radovanovic et al. 2010)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.neighbors import neighbor_graph

Hubness = Literal["mutual", "csls"]
# So many times more neighbours are searched than are kept: many are thrown away.
SPARE = 3


def hubless_graph(vectors: np.ndarray, k: int, *, how: Hubness, **settings: Any) -> NeighborGraph:
    """The graph of up to k neighbours per row after a correction for hubs, chosen among three times as many.

    When to use: a few texts are neighbours of everything, and their labels with them. Measured, it does not help the
    methods that are best anyway (docs/labels_from_embeddings.md).

    Args:
        vectors: real numbers of shape (n, d).
        k: neighbours per row; n - 1 if that is less.
        how: "mutual" or "csls".
        settings: of `neighbor_graph`.
    """
    wide = neighbor_graph(vectors, SPARE * k, **settings)
    k = min(k, wide.k)
    return csls(wide, k) if how == "csls" else mutual(wide).first(k)


def mutual(graph: NeighborGraph) -> NeighborGraph:
    """Keep a neighbour only where each of the two has the other in its list.

    Returns:
        A graph of the same shape; what is left of a row moves to the front, -1 and 0 fill the rest.
    """
    n = len(graph)
    sources, columns = np.nonzero(graph.ids >= 0)
    targets = graph.ids[sources, columns].astype(np.int64)
    keep = np.zeros(graph.ids.shape, dtype=bool)
    keep[sources, columns] = np.isin(sources * n + targets, targets * n + sources)
    order = np.argsort(~keep, axis=1, kind="stable")
    kept = np.take_along_axis(keep, order, 1)
    return replace(
        graph,
        ids=np.where(kept, np.take_along_axis(graph.ids, order, 1), np.int32(-1)),
        sims=np.where(kept, np.take_along_axis(graph.sims, order, 1), np.float32(0)),
        method=f"{graph.method}, mutual",
    )


def csls(graph: NeighborGraph, k: int) -> NeighborGraph:
    """The k best of every row's neighbours by 2 cos(i, j) - r_i - r_j, r a row's mean similarity to its neighbours.

    Cross-domain similarity local scaling (Conneau et al. 2018), within the neighbours that the graph holds: take a
    graph with several times k of them.

    Args:
        graph: of K neighbours per row.
        k: neighbours kept, at most K.

    Returns:
        A graph of k neighbours per row in that order; its similarities are cosines still, so they need not fall.

    Raises:
        ValueError: if k is below 1 or above the graph's.
    """
    there = graph.ids >= 0
    density = graph.sims.sum(axis=1, where=there) / np.maximum(there.sum(axis=1), 1)
    # A row's own density moves all of its neighbours alike.
    scaled = np.where(there, 2 * graph.sims - density[graph.ids], -np.inf)
    order = np.argsort(-scaled, axis=1, kind="stable")
    return replace(
        graph,
        ids=np.take_along_axis(graph.ids, order, 1),
        sims=np.take_along_axis(graph.sims, order, 1),
        method=f"{graph.method}, CSLS",
    ).first(k)
