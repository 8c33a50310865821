"""K-means of unit vectors: the clusters whose central texts are labeled first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from textpl.embeddings.exact import spans

# Clusters are found on at most so many rows, or ROWS_PER_CLUSTER each; all rows are then assigned to them.
FIT_ROWS = 20_000
ROWS_PER_CLUSTER = 10
STARTS = 3  # the best of them is taken, by the sum of squared distances
ITERATIONS = 30
BLOCK = 8_192


@dataclass(frozen=True)
class Clusters:
    """Clusters of rows.

    Attributes:
        centers: float32 (clusters, d), means of their rows, not of unit length.
        of: int64 (n,), the cluster of every row.
        distance: float32 (n,), squared distance to the center of its own cluster.
    """

    centers: np.ndarray
    of: np.ndarray
    distance: np.ndarray


def clusters(
    vectors: np.ndarray,
    count: int,
    rng: np.random.Generator,
    *,
    fixed: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Clusters:
    """Find clusters by k-means (Lloyd's algorithm from k-means++ starts, Arthur & Vassilvitskii 2007).

    Args:
        vectors: float32 (n, d).
        count: clusters besides the fixed ones, at least 1.
        rng: draws starts, and rows where there are more than `FIT_ROWS`.
        fixed: float32 (m, d), centers that do not move, such as labeled texts; they come first.
        weights: float (n,), how much each row counts; default 1.

    Returns:
        Clusters; some may have no row where there are fewer distinct rows than clusters.
    """
    size = max(FIT_ROWS, ROWS_PER_CLUSTER * count)
    sample = np.sort(rng.choice(len(vectors), size, replace=False)) if len(vectors) > size else slice(None)
    rows = np.asarray(vectors[sample], dtype=np.float32)
    mass = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)[sample]
    fixed = np.zeros((0, rows.shape[1]), np.float32) if fixed is None else np.asarray(fixed, dtype=np.float32)
    tried = [_lloyd(rows, mass, _starts(rows, mass, count, fixed, rng), len(fixed)) for _ in range(STARTS)]
    centers = min(tried, key=lambda found: found[1])[0]
    return Clusters(centers, *_assign(vectors, centers))


def _starts(rows: np.ndarray, mass: np.ndarray, count: int, fixed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The fixed centers, then rows drawn by k-means++: each by its squared distance from those before it."""
    squares = np.einsum("nd,nd->n", rows, rows)
    far = _assign(rows, fixed)[1] if len(fixed) else np.full(len(rows), np.inf, np.float32)
    drawn: list[int] = []
    for _ in range(count):
        chances = mass if np.isinf(far).any() else mass * far
        total = chances.sum()
        row = int(rng.choice(len(rows), p=chances / total) if total > 0 else rng.integers(len(rows)))
        drawn.append(row)
        far = np.minimum(far, np.maximum(squares + squares[row] - 2 * (rows @ rows[row]), 0))
    return np.concatenate([fixed, rows[drawn]])


def _lloyd(rows: np.ndarray, mass: np.ndarray, centers: np.ndarray, kept: int) -> tuple[np.ndarray, float]:
    """Move all but the first `kept` centers to the means of their rows until no row changes; centers and inertia."""
    before = None
    for _ in range(ITERATIONS):
        of, far = _assign(rows, centers)
        if before is not None and np.array_equal(of, before):
            break
        before = of
        members = csr_array((mass, (of, np.arange(len(rows)))), shape=(len(centers), len(rows)))
        total = np.asarray(members.sum(1)).ravel()
        means = (members @ rows) / np.maximum(total, 1e-12)[:, None]
        moved = (total > 0) & (np.arange(len(centers)) >= kept)
        centers = np.where(moved[:, None], means, centers).astype(np.float32)
    return centers, float((mass * _assign(rows, centers)[1]).sum())


def _assign(rows: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest center of every row, int64 (n,), and the squared distance to it, float32 (n,)."""
    of, far = np.empty(len(rows), np.int64), np.empty(len(rows), np.float32)
    squares = np.einsum("kd,kd->k", centers, centers)
    for start, stop in spans(len(rows), BLOCK):
        block = np.asarray(rows[start:stop], dtype=np.float32)
        distances = squares - 2 * (block @ centers.T)
        nearest = distances.argmin(1)
        of[start:stop] = nearest
        own = distances[np.arange(len(block)), nearest] + np.einsum("nd,nd->n", block, block)
        far[start:stop] = np.maximum(own, 0)
    return of, far
