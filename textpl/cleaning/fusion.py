"""One probability from several kinds of evidence: a logistic regression per label, fitted together, cross-fitted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

# Ridge of a label's own slopes towards those shared by all labels, and of the weights between labels: of the order of
# the number of rows that a rare label needs before its own slopes count.
OWN_RIDGE, PAIR_RIDGE = 20.0, 20.0
FOLDS = 5
STEPS = 60
FIT_ROWS = 24_000  # more rows do not change a few dozen weights per label
FLOOR = 1e-5
BLOCK = 8192


@dataclass(frozen=True)
class _Weights:
    shared: np.ndarray  # (features,)
    own: np.ndarray  # (labels, features), added to the shared slopes
    pairs: np.ndarray  # (labels, labels), 0 on the diagonal: pairs[j, k] is what label j says of label k
    bias: np.ndarray  # (labels,), added to the log-odds of the label's share
    prior: np.ndarray | float = 0.0

    def predict(self, features: np.ndarray, others: np.ndarray | None) -> np.ndarray:
        z = np.einsum("nkd,kd->nk", features, self.shared + self.own) + self.bias + self.prior
        if others is not None:
            z += others @ self.pairs
        return 1 / (1 + np.exp(-z))


class Fusion:
    """Cross-fitted weighing of evidence; every call starts from the weights of the one before it.

    The log-odds of label k are `features[:, k] @ (shared + own_k) + others @ pairs[:, k] + bias_k`, a logistic
    regression whose slopes are shrunk towards those that all labels share, so that a label with two rows borrows the
    slopes of the rest.

    Args:
        labels: 0/1 (rows, labels), the given ones.
        groups: int (rows,): rows of one group are never on both sides.
        seed: of the folds.
    """

    def __init__(self, labels: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0) -> None:
        self.labels = labels
        self.folds = list(_folds(len(labels), groups, seed))
        self.weights: list[_Weights | None] = [None] * len(self.folds)

    def __call__(self, features: np.ndarray, others: np.ndarray | None = None) -> np.ndarray:
        """P(a label is given | evidence), for every cell by weights that were fitted on other rows.

        Args:
            features: float32 (rows, labels, features): log-odds, the first one the classifier's, centred on the
                label's share. A later call may have more of them, behind those of the earlier one.
            others: float32 (rows, labels): how much more or less a label is there than the text says. Each label sees
                the columns of the others only.

        Returns:
            float32 (rows, labels) in (0, 1).
        """
        fused = np.empty(self.labels.shape, dtype=np.float32)
        for i, (fitted, held_out) in enumerate(self.folds):
            link = None if others is None else others[fitted]
            weights = self.weights[i] = _fit(features[fitted], self.labels[fitted], link, self.weights[i])
            for start in range(0, len(held_out), BLOCK):
                block = held_out[start : start + BLOCK]
                fused[block] = weights.predict(features[block], None if others is None else others[block])
        return np.clip(fused, FLOOR, 1 - FLOOR)


def _folds(rows: int, groups: np.ndarray | None, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows to fit on, rows to predict), pairs; a large corpus is fitted on a part of it."""
    rng = np.random.default_rng(seed)
    if groups is None:
        groups = np.arange(rows)
    fold = (rng.permutation(int(groups.max(initial=0)) + 1) % FOLDS)[groups]
    for part in range(FOLDS):
        fitted, held_out = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
        if len(fitted) > FIT_ROWS:
            fitted = np.sort(rng.choice(fitted, FIT_ROWS, replace=False))
        if len(fitted) == 0:  # a single group: its own rows are all there is
            fitted = held_out
        if len(held_out):
            yield fitted, held_out


def _fit(features: np.ndarray, labels: np.ndarray, others: np.ndarray | None, start: _Weights | None) -> _Weights:
    rows, count, width = features.shape
    x, y = torch.from_numpy(features), torch.from_numpy(labels.astype(np.float32))
    prior = torch.logit(y.mean(0).clamp(1 / (rows + 2), 1 - 1 / (rows + 2)))
    anchor = torch.zeros(width)
    anchor[0] = 1.0  # without other evidence: the classifier as it is
    first = start or _Weights(anchor.numpy(), np.zeros((count, width)), np.zeros((count, count)), np.zeros(count))
    more = width - len(first.shared)
    shared = torch.tensor(np.pad(first.shared, (0, more)), dtype=torch.float32)
    own = torch.tensor(np.pad(first.own, ((0, 0), (0, more))), dtype=torch.float32)
    pairs, bias = torch.tensor(first.pairs, dtype=torch.float32), torch.tensor(first.bias, dtype=torch.float32)
    parameters = [shared, own, bias]
    if others is not None:
        # Columns of equal spread: what is nearly always 0 would otherwise take many more steps.
        e = torch.from_numpy(others)
        spread = e.std(0).clamp_min(1e-3)[:, None]
        e, pairs, apart = e / spread.T, pairs * spread, 1 - torch.eye(count)
        parameters.append(pairs)
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=STEPS, history_size=12, line_search_fn="strong_wolfe", tolerance_grad=1e-5
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        z = torch.einsum("nkd,kd->nk", x, shared + own) + bias + prior
        ridge = (shared - anchor).square().sum() + OWN_RIDGE * own.square().sum() + bias.square().sum()
        if others is not None:
            z = z + e @ (pairs * apart)
            ridge = ridge + PAIR_RIDGE * (pairs / spread).square().sum()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
        loss = (loss + 0.5 * ridge) / rows
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    with torch.no_grad():
        pairs = pairs if others is None else pairs * apart / spread
        return _Weights(shared.numpy(), own.numpy(), pairs.numpy(), bias.numpy(), prior.numpy())
