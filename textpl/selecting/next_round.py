"""Which rows to label next, where some labels are known: uncertainty times spread, on embeddings and probabilities."""

from __future__ import annotations

import numpy as np

from textpl.selecting.cold_start import central_rows, in_order
from textpl.selecting.kmeans import clusters


def doubt(p: np.ndarray, multi: bool) -> np.ndarray:
    """How near a row's label is to changing: 1 for a tie, 0 for certainty.

    Single-label: 1 minus the difference of its two highest probabilities (margin sampling, Scheffer et al. 2001).
    Multi-label: the mean of 1 - abs(2 p - 1) over labels, each divided by its sum over rows, so that a rare label
    counts as much as a frequent one.

    Args:
        p: float (n, labels); rows of 0 where nothing is known.
        multi: several labels per row.

    Returns:
        float64 (n,) in [0, 1]; multi-label divided by its maximum.
    """
    p = np.asarray(p, dtype=np.float64)
    if not multi:
        best = np.partition(p, -2, axis=1)[:, -2:]
        return np.where(p.any(1), 1 - (best[:, 1] - best[:, 0]), 1)
    each = 1 - np.abs(2 * p - 1)
    total = each.sum(0)
    found: np.ndarray = np.divide(each, total, out=np.zeros_like(each), where=total > 0).mean(1)
    return found / max(found.max(initial=0), 1e-12)


def gradients(p: np.ndarray, multi: bool) -> np.ndarray:
    """The gradient of the loss by the logits, were the likeliest labels right: p - y(p), float32 (n, labels).

    Its outer product with the embedding is the gradient by the weights of a linear classifier, the "gradient embedding"
    of BADGE (Ash et al. 2020, equation 1), whose length is the doubt about the row. Multi-label, with one logistic
    regression for each label, a label's column is divided by its root mean square, so that rare labels count.

    Args:
        p: float (n, labels).
        multi: several labels per row.
    """
    p = np.asarray(p, dtype=np.float32)
    if not multi:
        return p - np.eye(p.shape[1], dtype=np.float32)[p.argmax(1)]
    g = p - (p >= 0.5)
    size = np.sqrt((g**2).mean(0))
    return np.divide(g, size, out=np.zeros_like(g), where=size > 0)


def badge(
    vectors: np.ndarray, p: np.ndarray, budget: int, allowed: np.ndarray, rng: np.random.Generator, *, multi: bool
) -> np.ndarray:
    """Draw rows by k-means++ on gradient embeddings (Ash et al. 2020): doubtful ones, and far from each other.

    The first row is that of the largest gradient, each further one is drawn by its squared distance from those before.
    The outer products are never made: <a x, b y> = <a, b> <x, y>.

    Args:
        vectors: float32 (n, d).
        p: float (n, labels), probabilities by a classifier that knows the labeled rows.
        budget: rows to choose.
        allowed: bool (n,), rows that may be chosen.
        rng: draws them.
        multi: several labels per row.

    Returns:
        int64 (up to budget,) in the order in which they were drawn.
    """
    rows = np.flatnonzero(allowed)
    x, g = np.asarray(vectors[rows], dtype=np.float32), gradients(p[rows], multi)
    squares = (x**2).sum(1) * (g**2).sum(1)
    if not len(rows) or not squares.any():
        return rng.permutation(rows)[:budget]
    chosen = [int(squares.argmax())]
    far = np.full(len(rows), np.inf)
    while len(chosen) < min(budget, len(rows)):
        last = chosen[-1]
        far = np.minimum(far, np.maximum(squares + squares[last] - 2 * (x @ x[last]) * (g @ g[last]), 0))
        far[chosen] = 0
        total = far.sum()
        if total <= 0:
            left = np.setdiff1d(np.arange(len(rows)), chosen)
            chosen += rng.permutation(left)[: budget - len(chosen)].tolist()
            break
        chosen.append(int(rng.choice(len(rows), p=far / total)))
    return rows[chosen]


def doubtful_central(
    vectors: np.ndarray,
    p: np.ndarray,
    budget: int,
    allowed: np.ndarray,
    known: np.ndarray,
    rng: np.random.Generator,
    *,
    multi: bool,
) -> np.ndarray:
    """Take the row nearest to the center of each k-means cluster in which rows count by the doubt about them.

    Weighted k-means (Zhdanov 2019, arXiv 1901.05954), over all rows and with the labeled ones as centers that do not
    move. Arguments as of `badge` and `textpl.selecting.cold_start.central`.
    """
    weights = doubt(p, multi) * allowed
    if not weights.any():
        weights = allowed.astype(float)
    found = clusters(vectors, budget, rng, fixed=known, weights=weights)
    rows = central_rows(found, len(known), allowed)
    return in_order(vectors, rows, known)


def most_doubtful(p: np.ndarray, budget: int, allowed: np.ndarray, *, multi: bool) -> np.ndarray:
    """Take the rows of the largest doubt, whether they are alike or not; for comparison."""
    rows = np.flatnonzero(allowed)
    return rows[np.argsort(-doubt(p[rows], multi), kind="stable")[:budget]]
