"""Noise of a single-label corpus: T[y, z] = P(given label z | true label y), with intervals, from four sources.

| source | needs | assumes |
|--|--|--|
| `transition_from_trusted` | rows whose true label is known | they were drawn like the rest |
| `transition_from_anchors` | out-of-sample probabilities | sure rows are labelled wrongly as often as others |
| `transition_from_clusterability` | neighbours | a row and its two nearest share one true label |
| `transition_from_posterior` | a `Detection` | its probabilities are calibrated |

Where labels of hard texts are wrong more often than others, anchors say too little; where classes mix, clusterability
says too much. The intervals are those of the sample: an assumption that fails is not in them (only trusted rows need
none). `noise_rates` holds the same for multi-label corpora.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from textpl.cleaning.class_noise import anchor_transition
from textpl.embeddings.graph import NeighborGraph

LEVEL = 0.95
REPLICATES = 100
BLOCKS = 200  # of rows, resampled as a whole: 200 vary as much as single rows do
PSEUDO_ROWS = 1.0  # Dirichlet prior of a row of T, spread as the given labels are


@dataclass(frozen=True)
class TransitionEstimate:
    """Class noise.

    Attributes:
        matrix: float64 (labels, labels), T[y, z] = P(given z | true y); rows sum to 1.
        low: float64 (labels, labels), lower ends of 95 % intervals, cell by cell.
        high: float64 (labels, labels), upper ends.
        source: what it rests on, in one word.
    """

    matrix: np.ndarray
    low: np.ndarray
    high: np.ndarray
    source: str


def transition_from_trusted(labels: np.ndarray, truth: np.ndarray, num_labels: int) -> TransitionEstimate:
    """Row-normalised confusion of rows whose true label is known, with Dirichlet smoothing and Wilson intervals.

    Args:
        labels: int (trusted,), given.
        truth: int (trusted,), true.
        num_labels: number of classes; one that the truth never has keeps the identity's row and the interval [0, 1].

    Raises:
        ValueError: no row, different lengths, or an id out of range.
    """
    labels, truth = _ids(labels, num_labels, "labels"), _ids(truth, num_labels, "truth")
    if len(labels) != len(truth) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(truth)} true ones: give both for the same rows, at least one.")
    counts = _confusion(truth, labels, num_labels)
    totals = counts.sum(axis=1, keepdims=True)
    low, high = wilson(counts, totals)
    return TransitionEstimate(_normalized(counts, counts.sum(axis=0)), low, high, "trusted")


def transition_from_anchors(labels: np.ndarray, probabilities: np.ndarray, *, seed: int = 0) -> TransitionEstimate:
    """What the rows about which the model is surest are labelled (`class_noise.anchor_transition`).

    Args:
        labels: int (rows,), given.
        probabilities: float (rows, labels), out-of-sample P(given label | text).
        seed: of the bootstrap over the sure rows.

    Raises:
        ValueError: shapes that do not fit, or an id out of range.
    """
    probabilities = np.asarray(probabilities)
    labels = _ids(labels, probabilities.shape[-1], "labels")
    if probabilities.ndim != 2 or len(probabilities) != len(labels) or not len(labels):
        raise ValueError(f"probabilities {probabilities.shape} for {len(labels)} labels: give (rows, labels).")
    matrix, sure = anchor_transition(labels, probabilities)
    sizes = np.bincount(probabilities.argmax(axis=1)[sure], minlength=len(matrix))
    rng = np.random.default_rng(seed)
    # Rows of one predicted class drawn with replacement: their counts are multinomial.
    drawn = np.stack([
        rng.multinomial(max(size, 1), row, size=REPLICATES) / max(size, 1)
        for size, row in zip(sizes, matrix, strict=True)
    ], axis=1)  # fmt: skip
    return TransitionEstimate(matrix, *_interval(drawn, matrix), "anchors")


def transition_from_clusterability(
    labels: np.ndarray, graph: NeighborGraph, num_labels: int, *, seed: int = 0
) -> TransitionEstimate:
    """From the consensus of every row with its two nearest neighbours.

    If the three share one true label, their given ones are three independent draws from one row of T, which the
    frequencies of label triples determine (HOC: Zhu, Song & Liu 2021, arXiv 2102.05291). HOC matches consensus
    vectors of order 1 to 3; here the same model is fitted by maximum likelihood (EM), which uses all of them at
    once. Started near the identity, since classes have no names otherwise: more right labels than wrong ones are
    assumed.

    Args:
        labels: int (rows,), given.
        graph: neighbours, at least 2 per row; rows with fewer are left out.
        num_labels: number of classes.
        seed: of the bootstrap over rows.

    Raises:
        ValueError: no row has two neighbours, lengths that differ, or an id out of range.
    """
    labels = _ids(labels, num_labels, "labels")
    triples = label_triples(labels, graph)
    distinct, counts = np.unique(np.sort(triples, axis=1), axis=0, return_counts=True)
    given = np.bincount(labels, minlength=num_labels) / len(labels)
    start = 0.8 * np.eye(num_labels) + 0.2 * given
    prior, matrix = _latent_classes(distinct, counts / counts.sum(), given, start, len(triples), 500)
    rng = np.random.default_rng(seed)
    drawn = [
        _latent_classes(distinct, w / w.sum(), prior, matrix, len(triples), 30)[1]
        for w in rng.multinomial(counts.sum(), counts / counts.sum(), size=REPLICATES // 2)
    ]
    return TransitionEstimate(matrix, *_interval(np.stack(drawn), matrix), "clusterability")


def transition_from_posterior(labels: np.ndarray, p_true: np.ndarray, *, seed: int = 0) -> TransitionEstimate:
    """Expected counts of (true, given), the true label taken from `Detection.p_true`.

    The interval is that of the sample; an error of the posterior itself is not in it.

    Args:
        labels: int (rows,), given.
        p_true: float (rows, labels).
        seed: of the bootstrap.

    Raises:
        ValueError: shapes that do not fit, or an id out of range.
    """
    p_true = np.asarray(p_true)
    labels = _ids(labels, p_true.shape[-1], "labels")
    if p_true.ndim != 2 or len(p_true) != len(labels) or not len(labels):
        raise ValueError(f"p_true {p_true.shape} for {len(labels)} labels: give (rows, labels).")
    classes, rng = p_true.shape[1], np.random.default_rng(seed)
    counts = np.zeros((min(BLOCKS, len(labels)), classes, classes))
    for block, rows in enumerate(np.array_split(rng.permutation(len(labels)), len(counts))):
        counts[block] = (_indicator(labels[rows], classes) @ p_true[rows]).T
    given = np.bincount(labels, minlength=classes)
    matrix = _normalized(counts.sum(axis=0), given)
    drawn = [
        _normalized(np.tensordot(w, counts, axes=1), given)
        for w in rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=REPLICATES)
    ]
    return TransitionEstimate(matrix, *_interval(np.stack(drawn), matrix), "posterior")


def label_triples(labels: np.ndarray, graph: NeighborGraph) -> np.ndarray:
    """Given labels of every row and its two nearest neighbours: (rows with two neighbours, 3, ...).

    Raises:
        ValueError: a graph of other rows, or none with two neighbours.
    """
    if len(graph) != len(labels):
        raise ValueError(f"graph has {len(graph)} rows for {len(labels)} labels: build it from the same texts.")
    full = np.flatnonzero((graph.ids[:, :2] >= 0).all(axis=1)) if graph.k >= 2 else np.empty(0, np.int64)
    if not len(full):
        raise ValueError("no row has two neighbours: build the graph with k of 2 or more.")
    return labels[np.concatenate([full[:, None], graph.ids[full, :2]], axis=1)]


def wilson(counts: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % Wilson score intervals of counts / totals; [0, 1] where the total is 0. Shapes broadcast."""
    z = 1.959964
    n = np.maximum(totals, 1e-9)
    p = counts / n
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    none = np.broadcast_to(totals == 0, p.shape)
    return np.where(none, 0, np.clip(center - half, 0, 1)), np.where(none, 1, np.clip(center + half, 0, 1))


def _latent_classes(
    triples: np.ndarray, weights: np.ndarray, prior: np.ndarray, matrix: np.ndarray, rows: int, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """EM of P(a, b, c) = sum_y prior_y T[y, a] T[y, b] T[y, c]; `weights` (triples,) sum to 1."""
    smooth = np.diag(np.full(len(prior), PSEUDO_ROWS / rows))  # keeps classes that nobody is given
    views = sum(_indicator(triples[:, view], len(prior)) for view in range(3)) / 3
    for _ in range(steps):
        r = prior * matrix.T[triples[:, 0]] * matrix.T[triples[:, 1]] * matrix.T[triples[:, 2]]
        r *= (weights / np.maximum(r.sum(axis=1), 1e-300))[:, None]
        counts = smooth + (views @ r).T
        prior, previous = counts.sum(axis=1) / counts.sum(), matrix
        matrix = counts / counts.sum(axis=1, keepdims=True)
        if np.abs(matrix - previous).max() < 1e-6:
            break
    return prior, matrix


def _indicator(labels: np.ndarray, classes: int) -> csr_array:
    """One-hot columns: (labels, rows), sparse."""
    return csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(classes, len(labels)))


def _normalized(counts: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Rows of counts as probabilities, with one pseudo-row spread as the given labels; empty rows become identity."""
    smoothed = counts + PSEUDO_ROWS * given / given.sum()
    matrix = smoothed / smoothed.sum(axis=1, keepdims=True)
    empty = counts.sum(axis=1) < 1e-6
    matrix[empty] = np.eye(len(counts))[empty]
    return matrix


def _interval(drawn: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval over the first axis, widened to hold the estimate."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.minimum(low, matrix), np.maximum(high, matrix)


def _confusion(truth: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(truth * classes + labels, minlength=classes**2).reshape(classes, classes).astype(np.float64)


def _ids(labels: np.ndarray, classes: int, name: str) -> np.ndarray:
    """As int64, once it is a vector of class ids."""
    ids = np.asarray(labels)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(f"{name} must be class ids of shape (rows,); got shape {ids.shape}, type {ids.dtype}.")
    outside = np.flatnonzero((ids < 0) | (ids >= classes))
    if len(outside):
        raise ValueError(f"{name}: row {outside[0]} has id {ids[outside[0]]}; ids go from 0 to {classes - 1}.")
    return ids.astype(np.int64)
