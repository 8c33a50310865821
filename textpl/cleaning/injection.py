"""Wrong labels put into a clean corpus on purpose, so that what finds or withstands them can be measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from numpy.random import Generator, default_rng

NoiseKind = Literal["missing", "spurious", "swap", "symmetric"]
CONFUSABLE = 3  # classes into which a class is swapped
SHARPNESS = 5.0  # of the softmax over their similarities


def inject_noise(
    labels: np.ndarray, kind: NoiseKind, rate: float, *, vectors: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """The labels with errors of one kind.

    - "missing" (multi-label): every given label is taken away with probability `rate`.
    - "spurious" (multi-label): `rate` times as many labels as there are come to random rows, frequent ones more often.
    - "swap": a given label becomes a similar one (`confusable`), with a probability that is drawn for every label from
      `rate` times U(0.5, 1.5). Where the row has that one already, nothing happens.
    - "symmetric": multi-label, every cell is turned over with probability `rate`; single-label, any other class.

    Args:
        labels: 0/1 (rows, labels), or class ids (rows,) from 0 on.
        kind: see above.
        rate: within [0, 1).
        vectors: (rows, d), unit length; for "swap" only.
        seed: the same seed gives the same errors.

    Returns:
        A copy of the same shape and dtype.

    Raises:
        ValueError: an unknown kind or one that single-label data cannot have, a rate out of range, swaps without
            vectors of all rows, or more spurious labels than there is room for.
    """
    labels = np.asarray(labels)
    task, kinds = ("multi", get_args(NoiseKind)) if labels.ndim == 2 else ("single", ("swap", "symmetric"))
    if kind not in kinds:
        raise ValueError(f"noise of kind {kind!r}: {task}-label has {', '.join(kinds)}.")
    if not 0 <= rate < 1:
        raise ValueError(f"rate={rate}: a share of at least 0 and below 1, such as 0.3.")
    rng = default_rng(seed)
    if kind == "swap":
        if vectors is None or len(vectors) != len(labels):
            found = "none" if vectors is None else f"those of {len(vectors)} rows"
            raise ValueError(f"swap needs vectors of the {len(labels)} rows, which say what is similar; found {found}.")
        return _swapped(labels, rate, vectors, rng)
    change: dict[str, Callable[[np.ndarray, float, Generator], np.ndarray]] = {
        "missing": _with_missing,
        "spurious": _with_spurious,
        "symmetric": _turned_over,
    }
    return change[kind](labels, rate, rng)


def confusable(labels: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """What each label is mistaken for: softmax of 5 cos(centroid, centroid) over the three most similar other labels.

    Centroids are taken from the mean of all rows. A label without rows is mistaken for nothing, and nothing for it.

    Args:
        labels: 0/1 (rows, labels).
        vectors: (rows, d).

    Returns:
        float64 (labels, labels); rows sum to 1, or to 0 where there is nothing to be mistaken for.
    """
    counts, vectors = labels.sum(axis=0, dtype=np.float64), vectors.astype(np.float64)
    centroids = labels.T.astype(np.float64) @ vectors / np.maximum(counts, 1)[:, None] - vectors.mean(axis=0)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True) + 1e-9
    similarity = centroids @ centroids.T
    np.fill_diagonal(similarity, -np.inf)
    similarity[:, counts == 0] = -np.inf
    similarity[counts == 0] = -np.inf
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :CONFUSABLE]
    near = np.take_along_axis(similarity, order, axis=1)
    weights = np.zeros_like(similarity)
    np.put_along_axis(weights, order, np.where(np.isfinite(near), np.exp(SHARPNESS * near), 0), axis=1)
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def _with_missing(labels: np.ndarray, rate: float, rng: Generator) -> np.ndarray:
    return np.where((labels == 1) & (rng.random(labels.shape) < rate), 0, labels).astype(labels.dtype)


def _with_spurious(labels: np.ndarray, rate: float, rng: Generator) -> np.ndarray:
    noisy, counts = labels.copy(), labels.sum(axis=0, dtype=np.float64)
    wanted = int(rate * counts.sum())
    room = int((labels == 0)[:, counts > 0].sum())
    if wanted > room:
        raise ValueError(f"rate={rate} asks for {wanted} more labels, but only {room} are free: choose a lower rate.")
    while wanted > 0:
        rows = rng.integers(0, len(labels), wanted)
        columns = rng.choice(labels.shape[1], wanted, p=counts / counts.sum())
        free = noisy[rows, columns] == 0
        cells = np.unique(rows[free] * labels.shape[1] + columns[free])
        noisy.ravel()[cells] = 1
        wanted -= len(cells)
    return noisy


def _swapped(labels: np.ndarray, rate: float, vectors: np.ndarray, rng: Generator) -> np.ndarray:
    given = labels if labels.ndim == 2 else np.eye(labels.max(initial=0) + 1, dtype=np.int8)[labels]
    weights = confusable(given, vectors)
    rates = rate * rng.uniform(0.5, 1.5, given.shape[1]) * (weights.sum(axis=1) > 0)
    rows, old = np.nonzero(given)
    hit = rng.random(len(rows)) < rates[old]
    rows, old = rows[hit], old[hit]
    # One uniform number finds its place in the cumulated weights of the old label.
    new = (rng.random(len(rows))[:, None] > weights.cumsum(axis=1)[old]).sum(axis=1).clip(max=given.shape[1] - 1)
    if labels.ndim == 1:
        noisy = labels.copy()
        noisy[rows] = new
        return noisy
    noisy, free = labels.copy(), labels[rows, new] == 0
    noisy[rows[free], old[free]] = 0
    noisy[rows[free], new[free]] = 1
    return noisy


def _turned_over(labels: np.ndarray, rate: float, rng: Generator) -> np.ndarray:
    hit = rng.random(labels.shape) < rate
    if labels.ndim == 2:
        return np.where(hit, 1 - labels, labels).astype(labels.dtype)
    classes = int(labels.max(initial=0)) + 1
    if classes < 2:
        raise ValueError("symmetric noise needs two classes or more.")
    other = (labels + rng.integers(1, classes, len(labels))) % classes
    return np.where(hit, other, labels).astype(labels.dtype)
