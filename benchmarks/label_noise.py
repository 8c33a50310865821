"""Ways in which labels go wrong, for benchmarks of label cleaning. Kinds carry their rate in per cent: `missing30`."""

from __future__ import annotations

import numpy as np

MULTI = ("missing30", "kept30", "balanced20", "swapped20", "mixed", "symmetric10", "none")
SINGLE = ("human", "symmetric20", "symmetric40", "confused20", "hard20", "none")


def multi_label_noise(truth: np.ndarray, kind: str, vectors: np.ndarray, seed: int) -> np.ndarray:
    """Given labels made from right ones.

    missing: each label is lost with the rate. kept: the same, but every row keeps one. balanced: labels are lost, and
    as many spurious ones added by the frequency of the labels. swapped: a label is replaced by one of the three whose
    rows are most similar, at a rate that differs by label. mixed: 10 % swapped, 20 % lost, 5 % added. symmetric: every
    cell flips with the rate.
    """
    rng = np.random.default_rng(1000 + seed)
    name, rate = _parsed(kind)
    given = truth.copy()
    if name == "symmetric":
        flipped = rng.random(truth.shape) < rate
        given[flipped] = 1 - given[flipped]
    elif name == "missing":
        _lose(given, truth, rate, rng)
    elif name == "kept":
        for row in np.flatnonzero(truth.sum(1) > 1):
            there = np.flatnonzero(truth[row])
            lost = there[rng.random(len(there)) < rate]
            given[row, lost[: len(there) - 1]] = 0
    elif name == "balanced":
        _lose(given, truth, rate, rng)
        _add(given, truth, rate, rng)
    elif name == "swapped":
        _swap(given, truth, rate, vectors, rng)
    elif name == "mixed":
        _swap(given, truth, 0.1, vectors, rng)
        _lose(given, truth, 0.2, rng)
        _add(given, truth, 0.05, rng)
    elif name != "none":
        raise SystemExit(f"noise {kind!r}: use one of {', '.join(MULTI)}")
    return given


def single_label_noise(
    truth: np.ndarray, kind: str, vectors: np.ndarray, seed: int, probabilities: np.ndarray | None = None
) -> np.ndarray:
    """Given labels made from right ones, one per row.

    symmetric: any other class. confused: a class whose rows are similar, at a rate that differs by class. hard: the
    rows that a classifier of the right labels (`probabilities`) finds hardest get its second choice.
    """
    rng = np.random.default_rng(1000 + seed)
    name, rate = _parsed(kind)
    classes = int(truth.max()) + 1
    given = truth.copy()
    if name == "symmetric":
        hit = rng.random(len(truth)) < rate
        given[hit] = (truth[hit] + rng.integers(1, classes, hit.sum())) % classes
    elif name == "confused":
        similar = confusable(vectors, np.eye(classes)[truth])
        hit = np.flatnonzero(rng.random(len(truth)) < (rate * rng.uniform(0.5, 1.5, classes))[truth])
        given[hit] = [rng.choice(classes, p=similar[c]) for c in truth[hit]]
    elif name == "hard":
        rows = np.arange(len(truth))
        others = probabilities.copy()
        others[rows, truth] = -1
        ease = probabilities[rows, truth] - others.max(1) + 0.25 * rng.gumbel(size=len(truth))
        hit = np.argsort(ease)[: int(rate * len(truth))]
        given[hit] = others.argmax(1)[hit]
    elif name != "none":
        raise SystemExit(f"noise {kind!r}: use one of {', '.join(SINGLE)}")
    return given


def confusable(vectors: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(labels, labels), rows sum to 1: the three labels with the most similar centroids, weighted by exp(5 cosine)."""
    count = truth.shape[1]
    centroids = (truth.T @ vectors) / np.maximum(truth.sum(0), 1)[:, None] - vectors.mean(0)
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True) + 1e-9
    cosine = centroids @ centroids.T
    np.fill_diagonal(cosine, -9)
    weights = np.zeros((count, count))
    for label in range(count):
        nearest = np.argsort(-cosine[label])[: min(3, count - 1)]
        weights[label, nearest] = np.exp(5 * cosine[label, nearest])
    return weights / weights.sum(1, keepdims=True)


def _parsed(kind: str) -> tuple[str, float]:
    name = kind.rstrip("0123456789")
    return name, int(kind[len(name) :] or 0) / 100


def _lose(given: np.ndarray, truth: np.ndarray, rate: float, rng: np.random.Generator) -> None:
    given[(truth == 1) & (rng.random(truth.shape) < rate)] = 0


def _add(given: np.ndarray, truth: np.ndarray, rate: float, rng: np.random.Generator) -> None:
    wanted = int(rate * truth.sum())
    share = truth.mean(0) / truth.mean(0).sum()
    while wanted > 0:
        rows, labels = rng.integers(0, len(truth), wanted), rng.choice(truth.shape[1], wanted, p=share)
        free = (truth[rows, labels] == 0) & (given[rows, labels] == 0)
        cells = set(zip(rows[free], labels[free], strict=True))
        for row, label in cells:
            given[row, label] = 1
        wanted -= len(cells)


def _swap(given: np.ndarray, truth: np.ndarray, rate: float, vectors: np.ndarray, rng: np.random.Generator) -> None:
    similar = confusable(vectors, truth)
    rates = rate * rng.uniform(0.5, 1.5, truth.shape[1])
    rows, labels = np.nonzero(truth)
    for hit in np.flatnonzero(rng.random(len(rows)) < rates[labels]):
        row, label = rows[hit], labels[hit]
        other = rng.choice(truth.shape[1], p=similar[label])
        if truth[row, other] == 0:
            given[row, label], given[row, other] = 0, 1
