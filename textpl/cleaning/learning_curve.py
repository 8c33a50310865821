"""How much of what a classifier gets wrong is for want of rows: its disagreement with labels as rows grow in number."""

from __future__ import annotations

import numpy as np

from textpl.cleaning.class_evidence import HEAD_ROWS, fit_logistic
from textpl.cleaning.out_of_sample import stratified_folds

FOLDS = 5  # the small model is trained on one of them, the large one on the others: 4 times the rows
FEWEST = 20  # rows: below, a fifth of them teaches nothing
# Mistakes for want of rows fall with rows^-POWER: by learning theory 1/2 where no model of the kind is right, 1 where
# one is; what is not known is taken halfway.
POWER = 0.75


def lasting_disagreement(
    vectors: np.ndarray, labels: np.ndarray, classes: int, groups: np.ndarray | None, seed: int
) -> float:
    """Share of the disagreement with the labels that would be left with ever more rows.

    A linear head is trained on a fifth of the rows and on four fifths. With D(n) = D + a n^-3/4 the disagreement on
    other rows tends to D = (s D(4 n) - D(n)) / (s - 1), s = 4^3/4, which wrong labels are part of.

    Args:
        vectors: float (rows, d), normalized.
        labels: int64 (rows,), given.
        classes: how many.
        groups: int (rows,), rows of one group never sit on both sides; None for none.
        seed: of the folds.

    Returns:
        D / D(4 n), within [0, 1]; 1 where there are too few rows to tell.
    """
    rows = np.arange(len(labels))
    if len(rows) > HEAD_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), HEAD_ROWS, replace=False))
    x, y = np.asarray(vectors[rows], dtype=np.float32), labels[rows]
    own = rows if groups is None else groups[rows]
    if len(rows) < FEWEST or len(np.unique(own)) < FOLDS:
        return 1.0
    targets = np.eye(classes, dtype=np.float32)[y]
    fold = stratified_folds(targets, own, FOLDS, seed)
    wrong = np.zeros(2)
    for part in range(FOLDS):
        for size, train in enumerate((fold == part, fold != part)):
            weights, bias = fit_logistic(x[train], targets[train])
            wrong[size] += np.mean((x[~train] @ weights + bias).argmax(axis=1) != y[~train]) / FOLDS
    few, many = wrong
    shrinks = 4**POWER
    return float(np.clip((shrinks * many - few) / ((shrinks - 1) * many), 0, 1)) if many > 0 else 1.0
