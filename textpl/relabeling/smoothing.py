"""Predict, then propagate: any prediction for every row, averaged over the kNN graph.

Gasteiger et al. 2019 (arXiv 1810.05997, equation 3: personalised PageRank of predictions) with the affinity of Iscen
et al. 2019 (arXiv 1904.04717).
"""

from __future__ import annotations

import numpy as np

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.propagation import conjugate_gradient, diffusion, restarting, symmetric_affinity

# Chosen on 20 Newsgroups and SST-2: topics would take more, sentiment less.
ALPHA = 0.8
COLUMNS = 64


def smooth(
    p: np.ndarray, graph: NeighborGraph, *, alpha: float = ALPHA, gamma: float = 3.0, iterations: int = 30
) -> np.ndarray:
    """Average predictions over the graph, near rows more than far ones.

    Solves (I - alpha Wn) F = p and (I - alpha Wn) f = 1 with Wn = D^-1/2 (A + A^T) D^-1/2, A_ij = max(cos_ij, 0)^gamma;
    the result F_ic / f_i is a weighted mean of the predictions of all rows within reach. The larger alpha, the
    farther it reaches: about 1 / (1 - alpha) hops.

    When to use: the predictions come from a model that does not know the graph; its errors are then partly cancelled
    where texts of a class lie together, and little is lost where they do not.

    Args:
        p: (n, labels) in [0, 1]; rows of 0 neither give nor count.
        graph: neighbours of all n rows.
        alpha: in [0, 1).
        gamma: power of the cosine.
        iterations: most steps of conjugate gradients.

    Returns:
        float32 (n, labels); a row of 0 has 0 again only if nothing reaches it.

    Raises:
        ValueError: for an alpha outside [0, 1).
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha={alpha}: must lie in [0, 1); 0.8 to 0.99 is usual.")
    known = p.any(1, keepdims=True)
    columns = np.concatenate([p, known], axis=1).astype(np.float32)
    walk = diffusion(symmetric_affinity(graph, gamma))
    spread, _, _ = conjugate_gradient(restarting(walk, alpha), columns, iterations, tolerance=1e-4)
    np.maximum(spread, 0, out=spread)
    mass = spread[:, -1:]
    mean = np.divide(spread[:, :-1], mass, out=np.zeros_like(spread[:, :-1]), where=mass > 0)
    return np.minimum(mean, 1)


def smooth_vectors(
    vectors: np.ndarray, graph: NeighborGraph, *, alpha: float = ALPHA, gamma: float = 3.0, iterations: int = 8
) -> np.ndarray:
    """Embeddings averaged over the graph (Wu et al. 2019, arXiv 1902.07153; the walk restarts as in `smooth`).

    F <- (1 - alpha) X + alpha Wn F, `iterations` times: what a row has by chance cancels out, what its neighbourhood
    shares stays, and a classifier needs fewer labels.

    Args:
        vectors: float32 (n, d).
        graph: neighbours of all n rows.
        alpha: in [0, 1).
        gamma: power of the cosine.
        iterations: hops.

    Returns:
        float32 (n, d), not of unit length.
    """
    walk = diffusion(symmetric_affinity(graph, gamma))
    smoothed = np.empty(vectors.shape, dtype=np.float32)
    for start in range(0, vectors.shape[1], COLUMNS):  # a million rows: blocks of columns bound the memory
        own = (1 - alpha) * np.ascontiguousarray(vectors[:, start : start + COLUMNS])
        block = own.copy()
        for _ in range(iterations):
            block = own + alpha * walk(block)
        smoothed[:, start : start + COLUMNS] = block
    return smoothed
