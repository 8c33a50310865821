"""Vectors around their mean: encoders of today put all texts into a narrow cone, which says nothing about any of them.

Mu & Viswanath 2018 (arXiv 1702.01417) take the mean away from word vectors; the cone of contextual encoders is
described by Ethayarajh 2019 (arXiv 1909.00512). A logistic regression shrinks its weights but not its intercept: within
a cone the few directions that differ are too short to be learned from a few rows, and the intercept follows the class
counts of the labeled rows instead.
"""

from __future__ import annotations

import numpy as np

from textpl.embeddings.exact import TIE, spans

BLOCK = 8_192


def centered_rows(vectors: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Take the mean away from unit vectors and make them unit vectors again; zero rows stay zero.

    As much of the mean is taken as is no chance: of n rows that point nowhere in common the mean has a squared length
    of about 1/n. With m the mean and s2 = n / (n - 1) (1 - |m|^2) the variance of a row, the part that is taken is
    max(0, 1 - s2 / (n |m|^2)), the positive-part James-Stein factor (Efron & Morris 1973). Of many rows that is all of
    it; of a few texts that have nothing in common, nothing.

    Args:
        vectors: float32 (n, d), rows of length 1 or 0, may be memory-mapped.
        mean: (d,), what is taken away instead: the `common_part` of other rows, to move these as those were moved.

    Returns:
        float32 (n, d), a new array. Equal rows stay equal; a row that is the mean, to rounding, becomes zero.
    """
    mean = common_part(vectors) if mean is None else mean
    moved = np.empty(vectors.shape, dtype=np.float32)
    for start, stop in spans(len(vectors), BLOCK):
        block = np.asarray(vectors[start:stop], dtype=np.float64)
        rest = np.where(block.any(1, keepdims=True), block - mean, 0)
        length = np.linalg.norm(rest, axis=1, keepdims=True)
        moved[start:stop] = np.divide(rest, length, out=np.zeros_like(rest), where=length > TIE)
    return moved


def common_part(vectors: np.ndarray) -> np.ndarray:
    """The mean of the rows that are not zero, as far as it is no chance (see `centered_rows`).

    Args:
        vectors: float32 (n, d), rows of length 1 or 0.

    Returns:
        float64 (d,); zeros for fewer than two rows.
    """
    total, count = np.zeros(vectors.shape[1]), 0
    for start, stop in spans(len(vectors), BLOCK):
        block = np.asarray(vectors[start:stop], dtype=np.float64)
        total += block.sum(0)
        count += int(block.any(1).sum())
    if count < 2:
        return np.zeros_like(total)
    mean = total / count
    squared = float(mean @ mean)
    by_chance = max(1 - squared, 0.0) / (count - 1)
    return mean * max(0.0, 1 - by_chance / squared) if squared > 0 else mean
