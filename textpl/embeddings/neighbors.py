"""Nearest neighbours by cosine similarity: the kNN graph of all rows, and searches from one set in another."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from typing import Literal

import numpy as np

from textpl.embeddings.approximate import approximate_search
from textpl.embeddings.exact import UnitRows, exact_search, spans
from textpl.embeddings.graph import NeighborGraph

logger = logging.getLogger(__name__)

EXACT_ROWS = 150_000  # from here on the approximate search of a processor costs less
POOR_RECALL = 0.9
BLOCK = 65_536  # neighbors whose vectors are read at once


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; zero rows stay zero.

    Args:
        vectors: real numbers of shape (n, d).

    Returns:
        float32 (n, d): `vectors` itself, memory-mapped if it was, where the rows have length 1 already; else a copy.

    Raises:
        ValueError: if `vectors` is no matrix of real numbers, or a row holds NaN or infinity.
    """
    rows = UnitRows(vectors)
    if rows.is_unit and vectors.dtype == np.float32:
        return vectors
    return rows.take(slice(None))


def distinct_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Groups of rows that are equal bit for bit.

    Args:
        vectors: shape (n, d).

    Returns:
        `first`, int64 (m,): the first row of every group, ascending; `inverse`, int64 (n,): the group of every row,
        so that `vectors[first[inverse]]` equals `vectors`.
    """
    vectors = np.asarray(vectors)
    digests: list[bytes] = []
    for start, stop in spans(len(vectors), 8192):
        rows = np.ascontiguousarray(vectors[start:stop])
        digests.extend(hashlib.blake2b(row, digest_size=16).digest() for row in rows)
    # All digests have one length, so that numpy, for which trailing zero bytes are padding, mixes none of them up.
    _, first, inverse = np.unique(np.array(digests, dtype="S16"), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return first[order].astype(np.int64), rank[inverse]


def search(
    queries: np.ndarray,
    base: np.ndarray,
    k: int,
    *,
    progress: bool = True,
    description: str = "searching neighbours",
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `base` most similar to every row of `queries`, exactly.

    Args:
        queries: real numbers of shape (q, d); need not be normalised.
        base: real numbers of shape (n, d).
        k: how many.
        progress: show a progress bar.
        description: text of the bar.

    Returns:
        int32 ids and float32 cosine similarities of shape (q, k), most similar first, of equals the first row; -1
        and 0 where there are fewer than k (zero vectors neither have neighbours nor are any).

    Raises:
        ValueError: if an array is no matrix of finite real numbers, the widths differ, or k is below 1.
    """
    left, right = UnitRows(queries), UnitRows(base)
    if left.vectors.shape[1] != right.vectors.shape[1]:
        raise ValueError(
            f"Queries have {left.vectors.shape[1]} dimensions, the rows to be found {right.vectors.shape[1]}: "
            "encode both with the same encoder."
        )
    _check(k)
    rows = np.arange(len(left))
    return exact_search(left, rows, right, k, exclude=False, progress=progress, description=description)


def neighbor_graph(
    vectors: np.ndarray,
    k: int,
    *,
    method: Literal["auto", "exact", "approximate"] = "auto",
    recall_rows: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> NeighborGraph:
    """The k most similar other rows of every row.

    A row is kept from finding itself by its number, so its duplicates are neighbours like any other.

    Args:
        vectors: real numbers of shape (n, d); need not be normalised, may be memory-mapped.
        k: neighbours per row; the graph has n - 1 columns if that is less.
        method: "exact", "approximate", or "auto": exact up to 150,000 rows.
        recall_rows: rows on which the recall of an approximate search is measured.
        seed: of the approximate search.
        progress: show progress bars.

    Raises:
        ValueError: if `vectors` is no matrix of finite real numbers, k is below 1 or the method unknown.
    """
    if method not in ("auto", "exact", "approximate"):
        raise ValueError(f"method={method!r}: choose 'auto', 'exact' or 'approximate'.")
    _check(k)
    rows = UnitRows(vectors)
    k = min(k, max(len(rows) - 1, 0))
    if method == "auto":
        method = "exact" if len(rows) <= EXACT_ROWS else "approximate"
    logger.info("kNN graph of %d rows, k=%d: %s search", len(rows), k, method)
    if method == "exact":
        every = np.arange(len(rows))
        ids, sims = exact_search(rows, every, rows, k, exclude=True, progress=progress, description="neighbours")
        return NeighborGraph(ids, sims)
    ids, sims, recall = approximate_search(rows, k, recall_rows=recall_rows, seed=seed, progress=progress)
    if recall < POOR_RECALL:
        logger.warning(
            "The approximate search found %.0f %% of the %d nearest neighbours; method='exact' finds all.",
            100 * recall, k,
        )  # fmt: skip
    return NeighborGraph(ids, sims, "approximate: k-means cells", recall)


def measured_by(graph: NeighborGraph, vectors: np.ndarray) -> NeighborGraph:
    """The same neighbors of every row by their cosines in another space, most similar first.

    Args:
        graph: neighbors of n rows.
        vectors: float32 (n, d), unit length, may be memory-mapped.
    """
    ids, sims = np.empty_like(graph.ids), np.empty_like(graph.sims)
    for start, stop in spans(len(graph), max(1, BLOCK // max(graph.k, 1))):
        near = graph.ids[start:stop]
        own, others = np.asarray(vectors[start:stop]), np.asarray(vectors[np.maximum(near, 0)])
        cosine = np.where(near >= 0, np.einsum("nd,nkd->nk", own, others), -np.inf)
        order = np.argsort(-cosine, axis=1, kind="stable")
        ids[start:stop] = np.take_along_axis(near, order, 1)
        sims[start:stop] = np.take_along_axis(np.where(near >= 0, cosine, 0), order, 1)
    return replace(graph, ids=ids, sims=sims)


def _check(k: int) -> None:
    if k < 1:
        raise ValueError(f"k={k}: ask for at least one neighbour.")
