"""One probability from several kinds of evidence: a logistic regression per label, fitted together, cross-fitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from textpl.cleaning.evidence import SURE

# Ridge of a label's own slopes towards those shared by all labels, and of the weights between labels: of the order of
# the number of rows that a rare label needs before its own slopes count.
OWN_RIDGE, PAIR_RIDGE = 20.0, 20.0
FOLDS = 5
STEPS = 60
# Largest slope of the loss, summed over rows, at which a fit stops: the steps are scaled so that the curvature is about
# 1, and what is left to gain is then about half its square per weight.
TOLERANCE = 0.02
FIT_ROWS = 24_000  # more rows do not change a few dozen weights per label
BLOCK = 8192


@dataclass(frozen=True)
class _Weights:
    shared: np.ndarray  # (features,)
    slopes: np.ndarray  # (labels, features), the label's own: near the shared ones
    bias: np.ndarray  # (labels,), added to the log-odds of the label's share
    pairs: np.ndarray  # (labels, labels), 0 on the diagonal: pairs[j, k] is what label j says of label k
    prior: np.ndarray  # (labels,), log-odds of the share, of the rows that were fitted

    def predict(self, features: Sequence[np.ndarray], others: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
        z = np.tile(self.bias + self.prior, (len(rows), 1)).astype(np.float32)
        for feature, slope in zip(features, self.slopes.T.astype(np.float32), strict=True):
            z += feature[rows] * slope
        if others is not None:
            z += others[rows] @ self.pairs.astype(np.float32)
        return 1 / (1 + np.exp(-z))


class Fusion:
    """Cross-fitted weighing of evidence; every call starts from the weights of the one before it.

    The log-odds of label k are `sum of slopes[k, d] * features[d][:, k] + others @ pairs[:, k] + bias_k` + those of its
    share, a logistic regression whose slopes are shrunk towards those that all labels share, so that a label with two
    rows borrows the slopes of the rest. The weights minimise, over the rows of the other folds,

        sum of cross-entropies + 1/2 (|shared - e_0|^2 + 20 |slopes - shared|^2 + |bias|^2 + 20 |pairs|^2)

    where e_0 is the classifier as it is.

    Args:
        labels: 0/1 (rows, labels), the given ones.
        groups: int (rows,): rows of one group are never on both sides.
        seed: of the folds.
    """

    def __init__(self, labels: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0) -> None:
        self.labels = labels
        self.folds = list(_folds(len(labels), groups, seed))
        self.weights: list[_Weights | None] = [None] * len(self.folds)

    def __call__(self, features: Sequence[np.ndarray], others: np.ndarray | None = None) -> np.ndarray:
        """P(a label is given | evidence), for every cell by weights that were fitted on other rows.

        Args:
            features: each float32 (rows, labels): log-odds, the first one the classifier's, centred on the label's
                share. A later call may have more of them, behind those of the earlier one.
            others: float32 (rows, labels): how much more or less a label is there than the text says. Each label sees
                the columns of the others only.

        Returns:
            float32 (rows, labels) in (0, 1).
        """
        fused = np.empty(self.labels.shape, dtype=np.float32)
        for i, (fitted, held_out) in enumerate(self.folds):
            weights = self.weights[i] = _fit(features, self.labels, others, fitted, self.weights[i])
            for start in range(0, len(held_out), BLOCK):
                block = held_out[start : start + BLOCK]
                fused[block] = weights.predict(features, others, block)
        return np.clip(fused, SURE, 1 - SURE, out=fused)


def _folds(rows: int, groups: np.ndarray | None, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows to fit on, rows to predict), pairs; a large corpus is fitted on a part of it."""
    rng = np.random.default_rng(seed)
    groups = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    fold = (rng.permutation(int(groups.max(initial=0)) + 1) % FOLDS)[groups]
    for part in range(FOLDS):
        fitted, held_out = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        if len(fitted) > FIT_ROWS:
            fitted = np.sort(rng.choice(fitted, FIT_ROWS, replace=False))
        if len(fitted) == 0:  # a single group: its own rows are all there is
            fitted = held_out
        if len(held_out):
            yield fitted, held_out


def _fit(
    features: Sequence[np.ndarray],
    labels: np.ndarray,
    others: np.ndarray | None,
    rows: np.ndarray,
    start: _Weights | None,
) -> _Weights:
    """L-BFGS in coordinates in which the curvature at the start is that of the identity, but for the pairs' block."""
    y = labels[rows].astype(np.float32)
    count, width = y.shape[1], len(features)
    share = np.clip(y.mean(0, dtype=np.float64), 1 / (len(y) + 2), 1 - 1 / (len(y) + 2))
    prior = np.log(share / (1 - share))
    x = np.ones((count, len(y), width + 1), dtype=np.float32)  # the last column is the bias
    for d, feature in enumerate(features):
        x[:, :, d] = feature[rows].T
    link = None if others is None else others[rows]
    anchor = np.eye(width)[0]
    shared, w, pairs = _initial(start, count, width)

    def logits(w: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        z = (x @ w.astype(np.float32)[:, :, None])[:, :, 0].T + prior.astype(np.float32)
        return z if link is None else z + link @ pairs.astype(np.float32)

    # w is (slopes, bias) of every label. Curvature of the loss in w_k, and, with w_k at its best for given shared
    # slopes, in those: the block Cholesky factors of the arrow-shaped matrix of all of them.
    p = 1 / (1 + np.exp(-logits(w, pairs)))
    spread = p * (1 - p)
    curvature = ((x * spread.T[:, :, None]).transpose(0, 2, 1) @ x).astype(np.float64)
    curvature += np.diag([OWN_RIDGE] * width + [1.0])
    inverse = np.linalg.inv(curvature)
    factor = np.linalg.inv(np.linalg.cholesky(curvature)).transpose(0, 2, 1)
    follow = OWN_RIDGE * inverse[:, :, :width]  # how w_k goes with the shared slopes
    left = (1 + OWN_RIDGE * count) * np.eye(width) - OWN_RIDGE * follow[:, :width].sum(0)
    shared_factor = np.linalg.inv(np.linalg.cholesky(left)).T
    apart = ~np.eye(count, dtype=bool)
    scale = 1.0 if link is None else 1 / np.sqrt((link**2).T @ spread + PAIR_RIDGE)

    def unpack(u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        s, v, e = np.split(u, [width, width + count * (width + 1)])
        s = shared_factor @ s
        w = np.einsum("kij,kj->ki", factor, v.reshape(count, width + 1)) + follow @ s
        return s, w, pairs if link is None else scale * e.reshape(count, count) * apart

    def loss(u: np.ndarray) -> tuple[float, np.ndarray]:
        s, w, pairs = unpack(u)
        own = w[:, :width] - s
        z = logits(w, pairs)
        small = np.exp(-np.abs(z))
        off = np.where(z >= 0, 1, small) / (1 + small) - y
        value = (np.maximum(z, 0) - z * y + np.log1p(small)).sum(dtype=np.float64)
        value += 0.5 * (((s - anchor) ** 2).sum() + OWN_RIDGE * (own**2).sum() + (w[:, width] ** 2).sum())
        slope = (np.ascontiguousarray(off.T)[:, None] @ x)[:, 0].astype(np.float64)
        slope += np.concatenate([OWN_RIDGE * own, w[:, width:]], 1)
        shared_slope = s - anchor - OWN_RIDGE * own.sum(0) + np.einsum("kij,ki->j", follow, slope)
        parts = [shared_factor.T @ shared_slope, np.einsum("kij,ki->kj", factor, slope).ravel()]
        if link is not None:
            value += 0.5 * PAIR_RIDGE * (pairs**2).sum()
            parts.append(((link.T @ off + PAIR_RIDGE * pairs) * apart * scale).ravel())
        return float(value), np.concatenate(parts)

    begin = [np.linalg.solve(shared_factor, shared), np.linalg.solve(factor, (w - follow @ shared)[:, :, None]).ravel()]
    if link is not None:
        begin.append((pairs / scale).ravel())
    options = {"maxiter": STEPS, "maxcor": 12, "gtol": TOLERANCE, "ftol": 1e-9}
    shared, w, pairs = unpack(minimize(loss, np.concatenate(begin), jac=True, method="L-BFGS-B", options=options).x)
    return _Weights(shared, w[:, :width], w[:, width], pairs, prior)


def _initial(start: _Weights | None, count: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shared slopes, (slopes, bias) of every label and pairs, to begin with."""
    if start is None:
        shared = np.eye(width)[0]
        return shared, np.tile(np.append(shared, 0.0), (count, 1)), np.zeros((count, count))
    more = width - len(start.shared)
    slopes = np.pad(start.slopes, ((0, 0), (0, more)))
    return np.pad(start.shared, (0, more)), np.concatenate([slopes, start.bias[:, None]], 1), start.pairs
