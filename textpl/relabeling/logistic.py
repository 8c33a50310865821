"""Logistic regression whose weights are drawn toward given ones instead of toward zero.

The estimate of the weights under a Gaussian prior with mean W0 (Chelba & Acero 2004, who adapt a model of one domain to
another in this way). With W0 = 0 it is the usual ridge penalty and agrees with scikit-learn's `LogisticRegression`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax

ITERATIONS = 1000


@dataclass(frozen=True)
class Logistic:
    """A fitted regression.

    Attributes:
        weights: float64 (columns, d).
        intercept: float64 (columns,).
        multi: whether every column is a regression of its own; else they compete in a softmax.
    """

    weights: np.ndarray
    intercept: np.ndarray
    multi: bool

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities float64 (rows, columns) of float vectors (rows, d)."""
        z = x @ self.weights.T + self.intercept
        return np.asarray(expit(z) if self.multi else softmax(z, axis=1))


def fit_toward(
    x: np.ndarray, y: np.ndarray, toward: np.ndarray, *, strength: float, intercept_strength: float, multi: bool
) -> Logistic:
    """Minimize cross-entropy + |W - W0|^2 / (2 C) + |b|^2 / (2 Cb), in which W0 is `toward`.

    Two columns that compete are one regression on their difference, as in scikit-learn: a softmax would halve C.

    Args:
        x: (rows, d); no row at all gives W0 itself.
        y: (rows, columns), targets in [0, 1]: shares of each column (competing), or a share for each (multi).
        toward: (columns, d), the weights where nothing is known.
        strength: C. The larger, the more the rows count.
        intercept_strength: Cb; infinite: the intercept is free, and infinite itself where a column has no row.
        multi: whether each column is a regression of its own.

    Returns:
        Logistic.
    """
    if not multi and y.shape[1] == 2:
        found = fit_toward(
            x, y[:, 1:], toward[1:] - toward[:1], strength=strength, intercept_strength=intercept_strength, multi=True
        )
        halves = np.array([[-0.5], [0.5]])
        return Logistic(halves * found.weights, halves[:, 0] * found.intercept, False)
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    loss = penalized_loss(x, y, toward, strength, intercept_strength, multi)
    start = np.zeros(y.shape[1] * (x.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "gtol": 1e-5})
    step = found.x.reshape(y.shape[1], -1)
    return Logistic(toward + step[:, :-1], step[:, -1], multi)


def penalized_loss(
    x: np.ndarray, y: np.ndarray, toward: np.ndarray, strength: float, intercept_strength: float, multi: bool
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """Return the function to be minimized: of the flat (columns, d + 1) of W - W0 and b, the loss and its gradient."""
    offset = x @ toward.T
    sums = y.sum(1, keepdims=True)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        step = flat.reshape(y.shape[1], -1)
        weights, intercept = step[:, :-1], step[:, -1]
        z = offset + x @ weights.T + intercept
        if multi:
            value, error = float((np.logaddexp(0, z) - y * z).sum()), expit(z) - y
        else:
            value, error = -float((y * log_softmax(z, axis=1)).sum()), sums * softmax(z, axis=1) - y
        value += float((weights**2).sum() / (2 * strength) + (intercept**2).sum() / (2 * intercept_strength))
        slope = np.concatenate(
            [error.T @ x + weights / strength, (error.sum(0) + intercept / intercept_strength)[:, None]], axis=1
        )
        return value, slope.ravel()

    return loss
