"""Several sources of evidence about labels as one: each counts for what it proves on rows whose label is known.

    P(y | row)  ~  prod_s P_s(y | row)^w_s                                                                      (1)

a product of experts with exponents, whose logarithm is a linear stack (Wolpert 1992). Were the sources independent
given the label, all w would be 1. They are not: texts that a graph mistakes are those that an annotator mistakes too,
and two annotators may be one model. The exponents are fitted on known rows, drawn toward 1 where these are few.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

# Standard deviation of an exponent around 1 before any row is seen, and the largest exponent.
SPREAD, LARGEST = 0.5, 2.0
FOLDS = 5


def fit_exponents(logs: np.ndarray, targets: np.ndarray, *, multi: bool) -> np.ndarray:
    """Fit the exponents of (1) on rows whose label is known.

    Minimizes the summed cross-entropy plus (w - 1)^2 / (2 SPREAD^2) each, with w between 0 and LARGEST.

    Args:
        logs: (sources, rows, labels), log P_s(y | row) or, multi, the log-odds of each label; found without the row's
            own label.
        targets: (rows, labels) in [0, 1].
        multi: several labels per row.

    Returns:
        float64 (sources,); ones without rows.
    """

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        z = np.tensordot(weights, logs, 1)
        if multi:
            value, error = float((np.logaddexp(0, z) - targets * z).sum()), expit(z) - targets
        else:
            sums = targets.sum(1, keepdims=True)
            value, error = -float((targets * log_softmax(z, axis=1)).sum()), sums * softmax(z, axis=1) - targets
        slope = (logs * error).sum((1, 2)) + (weights - 1) / SPREAD**2
        return value + float(((weights - 1) ** 2).sum() / (2 * SPREAD**2)), slope

    start = np.ones(len(logs))
    bounds = [(0.0, LARGEST)] * len(logs)
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)


def stacked(logs: np.ndarray, weights: np.ndarray, *, multi: bool) -> np.ndarray:
    """Probabilities by (1), float64 (rows, labels), of `logs` (sources, rows, labels) and `weights` (sources,)."""
    z = np.tensordot(weights, logs, 1)
    return np.asarray(expit(z) if multi else softmax(z, axis=1))


def folds_of(units: np.ndarray, seed: int) -> np.ndarray:
    """A fold for each row, int (rows,), at random; rows of one unit, such as a group, are in one fold."""
    _, numbers = np.unique(units, return_inverse=True)
    count = int(numbers.max(initial=-1)) + 1
    return np.random.default_rng(seed).permutation(count)[numbers] % max(min(FOLDS, count), 1)
