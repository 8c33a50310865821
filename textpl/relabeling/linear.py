"""Logistic regression on embeddings: the baseline that a graph has to beat, and on sentiment often does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression

from textpl.relabeling.result import Relabeling

# Inverse regularisation strength for unit vectors; scikit-learn's default of 1 underfits a few labels.
STRENGTH = 10.0
BLOCK = 100_000  # rows predicted at once: memory-mapped vectors stay on disk


def linear(
    vectors: np.ndarray, targets: np.ndarray, gold: np.ndarray, *, multi: bool = False, strength: float = STRENGTH
) -> Relabeling:
    """Label every row by a logistic regression fitted on the gold rows.

    Args:
        vectors: float32 (n, d), unit length; rows of zeros cannot be labelled.
        targets: float32 (n, labels): one-hot, soft or multi-hot in gold rows.
        gold: bool (n,).
        multi: one independent regression per label instead of a softmax over them.
        strength: inverse regularisation strength C.

    Returns:
        Relabeling with hops 1 and no evidence, since no neighbour votes.
    """
    known, wanted = np.asarray(vectors[gold]), targets[gold]
    columns = [np.stack([1 - c, c], 1) for c in wanted.T] if multi else [wanted]
    fitted = [_fit(known, column, strength) for column in columns]
    p = np.zeros(targets.shape, dtype=np.float32)
    hops = np.full(len(p), -1, dtype=np.int32)
    for start in range(0, len(p), BLOCK):
        block = np.asarray(vectors[start : start + BLOCK])
        each = [predict(block) for predict in fitted]
        p[start : start + BLOCK] = np.stack([q[:, 1] for q in each], 1) if multi else each[0]
        hops[start : start + BLOCK] = np.where(block.any(1), 1, -1)
    p[hops < 0] = 0
    p[gold], hops[gold] = wanted, 0
    evidence = np.where(gold, np.inf, 0).astype(np.float32)
    return Relabeling(p, hops, hops.copy(), evidence)


def _fit(x: np.ndarray, y: np.ndarray, strength: float) -> Callable[[np.ndarray], np.ndarray]:
    """`predict(x) -> p` of shape (rows, classes), for soft targets `y` (rows, classes); absent classes stay 0."""
    rows, classes = np.nonzero(y > 0)
    present = np.unique(classes)
    model = LogisticRegression(C=strength, max_iter=1000)
    if len(present) > 1:
        model.fit(x[rows], classes, sample_weight=y[rows, classes])

    def predict(block: np.ndarray) -> np.ndarray:
        p = np.zeros((len(block), y.shape[1]))
        p[:, present] = model.predict_proba(block) if len(present) > 1 else 1.0
        return p

    return predict
