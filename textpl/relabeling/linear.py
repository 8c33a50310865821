"""Logistic regression on embeddings: the baseline that a graph has to beat, and on sentiment often does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression

from textpl.relabeling.label_names import INTERCEPT_STRENGTH
from textpl.relabeling.logistic import fit_toward
from textpl.relabeling.result import Relabeling

# Inverse regularization strength for unit vectors, by multi-label: one per row, scikit-learn's default of 1 underfits a
# few labels; several, each with few positives, want more (`benchmarks/class_weights.py`).
STRENGTH = {False: 10.0, True: 2.0}
BLOCK = 100_000  # rows predicted at once: memory-mapped vectors stay on disk


def linear(
    vectors: np.ndarray,
    targets: np.ndarray,
    gold: np.ndarray,
    *,
    multi: bool = False,
    strength: float | None = None,
    toward: np.ndarray | None = None,
) -> Relabeling:
    """Label every row by a logistic regression fitted on the gold rows.

    One label per row: each class weighs the same in all. Of few rows drawn at random a free intercept would follow the
    chance of the draw (AG News, MiniLM, 40 rows: 84.2 instead of 85.0 % right; rows drawn evenly: no change;
    `benchmarks/class_weights.py`).

    Args:
        vectors: float32 (n, d), unit length; rows of zeros cannot be labelled.
        targets: float32 (n, labels): one-hot, soft or multi-hot in gold rows.
        gold: bool (n,).
        multi: one independent regression per label instead of a softmax over them.
        strength: inverse regularization strength C; default: `STRENGTH`.
        toward: (labels, d), weights to which the penalty draws instead of zero, such as those of the label names
            (see `textpl.relabeling.logistic`); the intercept then has a penalty too. With it no gold row is needed.

    Returns:
        Relabeling with hops 1 and no evidence, since no neighbour votes.
    """
    known, wanted = np.asarray(vectors[gold]), targets[gold]
    predict = _fit_all(known, wanted, multi, STRENGTH[multi] if strength is None else strength, toward)
    p = np.zeros(targets.shape, dtype=np.float32)
    hops = np.full(len(p), -1, dtype=np.int32)
    for start in range(0, len(p), BLOCK):
        block = np.asarray(vectors[start : start + BLOCK])
        p[start : start + BLOCK] = predict(block)
        hops[start : start + BLOCK] = np.where(block.any(1), 1, -1)
    p[hops < 0] = 0
    p[gold], hops[gold] = wanted, 0
    evidence = np.where(gold, np.inf, 0).astype(np.float32)
    return Relabeling(p, hops, hops.copy(), evidence)


def _fit_all(
    x: np.ndarray, y: np.ndarray, multi: bool, strength: float, toward: np.ndarray | None
) -> Callable[[np.ndarray], np.ndarray]:
    """`predict(x) -> p` of shape (rows, labels)."""
    if toward is not None:
        return fit_toward(x, y, toward, strength=strength, intercept_strength=INTERCEPT_STRENGTH, multi=multi).predict
    if not multi:
        return _fit(x, y, strength, class_weights(y))
    each = [_fit(x, np.stack([1 - column, column], 1), strength, np.ones(2)) for column in y.T]
    return lambda block: np.stack([predict(block)[:, 1] for predict in each], 1)


def class_weights(y: np.ndarray) -> np.ndarray:
    """Return weights, float64 (classes,), with which the classes of rows `y` (rows, classes) weigh the same in all.

    A class with less than one row of soft targets weighs as if it had one: a trace of it is no reason to find it.
    """
    mass = y.sum(axis=0, dtype=np.float64)
    there = mass > 0
    return np.where(there, mass.sum() / max(there.sum(), 1) / np.maximum(mass, 1), 0.0)


def _fit(x: np.ndarray, y: np.ndarray, strength: float, weights: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """`predict(x) -> p` of shape (rows, classes), for soft targets `y` (rows, classes); absent classes stay 0."""
    rows, classes = np.nonzero(y > 0)
    present = np.unique(classes)
    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-5)
    if len(present) > 1:
        model.fit(x[rows], classes, sample_weight=y[rows, classes] * weights[classes])

    def predict(block: np.ndarray) -> np.ndarray:
        p = np.zeros((len(block), y.shape[1]))
        p[:, present] = model.predict_proba(block) if len(present) > 1 else 1.0
        return p

    return predict
