"""Noise of a multi-label corpus, label by label: shares of false negatives and false positives, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textpl.cleaning.transition import BLOCKS, LEVEL, REPLICATES, label_triples, wilson
from textpl.embeddings.graph import NeighborGraph


@dataclass(frozen=True)
class RateEstimate:
    """Noise of every label.

    Attributes:
        false_negative: float64 (labels,), P(not given | should be).
        false_positive: float64 (labels,), P(given | should not be).
        low: float64 (2, labels), lower ends of 95 % intervals: of false negatives, of false positives.
        high: float64 (2, labels), upper ends.
        source: what it rests on, in one word.
    """

    false_negative: np.ndarray
    false_positive: np.ndarray
    low: np.ndarray
    high: np.ndarray
    source: str


def rates_from_trusted(labels: np.ndarray, truth: np.ndarray) -> RateEstimate:
    """From rows whose true labels are known: (errors + 1/2) / (cells + 1), Wilson intervals.

    Args:
        labels: 0/1 (trusted, labels), given.
        truth: 0/1 (trusted, labels), true.

    Raises:
        ValueError: shapes that differ, or cells other than 0 and 1.
    """
    given, true = _multi_hot(labels, "labels"), _multi_hot(truth, "truth")
    if given.shape != true.shape:
        raise ValueError(f"labels {given.shape} and truth {true.shape} must be of the same rows and labels.")
    wrong = np.stack([(true & ~given).sum(axis=0), (given & ~true).sum(axis=0)])
    cells = np.stack([true.sum(axis=0), (~true).sum(axis=0)])
    rates = (wrong + 0.5) / (cells + 1)
    return RateEstimate(rates[0], rates[1], *wilson(wrong, cells), "trusted")


def rates_from_posterior(labels: np.ndarray, p_true: np.ndarray, *, seed: int = 0) -> RateEstimate:
    """Expected shares under `Detection.p_true`; the interval is that of the sample, bootstrapped over rows.

    Args:
        labels: 0/1 (rows, labels), given.
        p_true: float (rows, labels), probability that each label is right for the row.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes that differ, or cells other than 0 and 1.
    """
    given, p_true = _multi_hot(labels, "labels"), np.asarray(p_true)
    if given.shape != p_true.shape:
        raise ValueError(f"labels {given.shape} and p_true {p_true.shape} must be of the same rows and labels.")
    rng = np.random.default_rng(seed)
    blocks = np.array_split(rng.permutation(len(given)), min(BLOCKS, len(given)))
    sums = np.zeros((len(blocks), 4, given.shape[1]))
    for block, rows in enumerate(blocks):
        p, z = p_true[rows].astype(np.float64), given[rows]
        sums[block] = (p * ~z).sum(0), ((1 - p) * z).sum(0), p.sum(0), (1 - p).sum(0)

    def rates(weights: np.ndarray) -> np.ndarray:
        total = np.tensordot(weights, sums, axes=1)
        return total[..., :2, :] / np.maximum(total[..., 2:, :], 1e-9)

    drawn = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=REPLICATES)
    return _estimate(rates(np.ones(len(blocks))), rates(drawn), "posterior")


def rates_from_clusterability(labels: np.ndarray, graph: NeighborGraph, *, seed: int = 0) -> RateEstimate:
    """From how many of a row and its two nearest neighbours are given the label.

    If the three agree on the true label, that number is a mixture of two binomials, B(3, 1 - FN) and B(3, FP): four
    frequencies, three unknowns (2 x 2 HOC: Zhu, Song & Liu 2021, arXiv 2102.05291), fitted by EM. Neighbours of sparse
    labels rarely share them, and then the false negatives are far too many: trust it for labels that fill regions of
    their own.

    Args:
        labels: 0/1 (rows, labels), given.
        graph: neighbours, at least 2 per row; rows with fewer are left out.
        seed: of the bootstrap over rows.

    Raises:
        ValueError: no row has two neighbours, lengths that differ, or cells other than 0 and 1.
    """
    given = _multi_hot(labels, "labels")
    ones = label_triples(given, graph).sum(axis=1)
    counts = np.stack([(ones == m).sum(axis=0) for m in range(4)], axis=1).astype(np.float64)
    share = given.mean(axis=0)
    start = np.stack([np.clip(share, 1e-6, 1 - 1e-6), np.full(len(share), 0.8), share / 5])
    fitted = _two_binomials(counts, start, 1000)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(ones), counts / len(ones), size=(REPLICATES, len(counts))).astype(np.float64)
    again = _two_binomials(drawn, np.broadcast_to(fitted[:, None], (3, *drawn.shape[:2])), 100)
    rates = np.stack([1 - fitted[1], fitted[2]])
    return _estimate(rates, np.stack([1 - again[1], again[2]], axis=1), "clusterability")


def _two_binomials(counts: np.ndarray, start: np.ndarray, steps: int) -> np.ndarray:
    """EM of pi B(3, a) + (1 - pi) B(3, b); counts (..., 4) -> (3, ...): pi, a, b. Half a count keeps off 0 and 1."""
    pi, a, b = start
    m = np.arange(4)
    total = counts.sum(axis=-1)
    for _ in range(steps):
        a_, b_ = np.clip(a, 1e-9, 1 - 1e-9)[..., None], np.clip(b, 1e-9, 1 - 1e-9)[..., None]
        one = pi[..., None] * a_**m * (1 - a_) ** (3 - m)
        zero = (1 - pi)[..., None] * b_**m * (1 - b_) ** (3 - m)
        r = counts * one / np.maximum(one + zero, 1e-300)
        n1 = r.sum(axis=-1)
        n0 = total - n1
        pi = (n1 + 0.5) / (total + 1)
        a = ((r @ m) / 3 + 0.5) / (n1 + 1)
        b = (((counts - r) @ m) / 3 + 1e-6) / (n0 + 1)
    return np.stack([pi, a, b])


def _estimate(rates: np.ndarray, drawn: np.ndarray, source: str) -> RateEstimate:
    """Rates (2, labels) with percentile intervals of `drawn` (replicates, 2, labels)."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return RateEstimate(rates[0], rates[1], np.minimum(low, rates), np.maximum(high, rates), source)


def _multi_hot(labels: np.ndarray, name: str) -> np.ndarray:
    """As bool, once it is a 0/1 matrix."""
    cells = np.asarray(labels)
    if cells.ndim != 2 or not len(cells):
        raise ValueError(f"{name} must be 0/1 of shape (rows, labels) with at least one row; got {cells.shape}.")
    odd = np.argwhere((cells != 0) & (cells != 1))
    if len(odd):
        raise ValueError(f"{name}: row {odd[0][0]}, label {odd[0][1]} is {cells[tuple(odd[0])]}; cells are 0 or 1.")
    return cells.astype(bool)
