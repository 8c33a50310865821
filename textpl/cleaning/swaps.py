"""Labels that stand in each other's place: one given wrongly, another missing for it, in the same row."""

from __future__ import annotations

import numpy as np

from textpl.cleaning.evidence import SURE, odds_of

BLOCK = 8192
FEWEST = 30  # cells of a label that can say something
# What the count of a row's labels is off by for other reasons than swaps and chance.
OFF = 0.03


def confusions(q: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which labels are given in the place of which: float32 (labels, labels), rows (the right ones) sum to 1.

    The lift of the right label's probability among the rows that carry the other one.
    """
    q_mean = np.maximum(q.mean(0, dtype=np.float64), 1e-12)
    given = labels.sum(0, dtype=np.float64)
    among = np.zeros((labels.shape[1], labels.shape[1]))  # [wrong, right]
    for start in range(0, len(q), BLOCK):
        among += labels[start : start + BLOCK].T.astype(np.float32) @ q[start : start + BLOCK]
    lift = np.where(given[:, None] > 0, among / np.maximum(given, 1)[:, None] / q_mean, 1).T
    np.fill_diagonal(lift, 0)
    return (lift / np.maximum(lift.sum(1, keepdims=True), 1e-12)).astype(np.float32)


def swap_chances(q: np.ndarray, labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How much speaks for each cell having changed places with another cell of its row, at a swap rate of 1.

    For a row with label j given and k not, the hypothesis that it should be the other way round has the weight
    places[k, j] * q_k / (1 - q_k) * (1 - q_j) / q_j; a cell's is the sum over its partners.

    Args:
        q: float32 (rows, labels), P(label is given | text, neighbours), without the row's other labels.
        labels: 0/1 (rows, labels).
        places: what `confusions` gives.

    Returns:
        float32 (rows, labels).
    """
    chances = np.empty(labels.shape, dtype=np.float32)
    for start in range(0, len(labels), BLOCK):
        block = slice(start, start + BLOCK)
        given = labels[block] == 1
        absent, unlikely = _sides(q[block], given)
        chances[block] = np.where(given, unlikely * (absent @ places), absent * (unlikely @ places.T))
    return chances


def partners(q: np.ndarray, labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The cell of the same row with which each cell most probably changed places.

    Args:
        q: as for `swap_chances`.
        labels: 0/1 (rows, labels).
        places: what `confusions` gives.

    Returns:
        int32 (rows, labels): a label, -1 where the row has no label or all.
    """
    partner = np.full(labels.shape, -1, dtype=np.int32)
    for start in range(0, len(labels), BLOCK):
        block = slice(start, start + BLOCK)
        given = labels[block] == 1
        absent, unlikely = _sides(q[block], given)
        best = np.where(given.any(1), unlikely.argmax(1), -1)  # a row carries few labels: the least likely of them
        found = np.broadcast_to(best[:, None], given.shape).copy()
        rows, wrong = np.nonzero(given)
        found[rows, wrong] = (absent[rows] * places.T[wrong]).argmax(1)
        found[given.all(1)] = -1
        partner[block] = found
    return partner


def replaced_share(q: np.ndarray, labels: np.ndarray, missing: float) -> float:
    """Share of the lost labels in whose place another one is given, by what else their rows carry.

    A row that merely lost a label carries as many others as its text says; where another label took the place, it
    carries one more. A cell that is likely (q > 1/2) and not given lost its label with chance f = missing q / (1 - q).
    The share is the slope, common to all labels, in the regression of (number of other labels - expected number) on f;
    each label has its own level, its own slope of q, and its own excess where it is rightly not given: labels may
    exclude each other. Only rows that carry another label are looked at, and expectations are those of such rows, so
    that rows from which the last label is never taken look no different; where rows carry hardly two labels, that
    leaves nothing to see. What is within two standard errors is taken for none: x - 4 s^2 / x of slope x, error s.

    Args:
        q: float32 (rows, labels), P(label is given | text, neighbours), without the row's other labels.
        labels: 0/1 (rows, labels).
        missing: odds at which labels get lost, replaced ones included.

    Returns:
        Within [0, 1].
    """
    number, expected = labels.sum(1, dtype=np.int64), q.sum(1, dtype=np.float64)
    none = np.log1p(-np.minimum(q, 1 - SURE)).sum(1, dtype=np.float64)
    lost: list[np.ndarray] = []
    more: list[np.ndarray] = []
    for k in range(labels.shape[1]):
        rows = np.flatnonzero((q[:, k] > 0.5) & (number > labels[:, k]))
        if len(rows) < FEWEST:
            continue
        likely, given = np.minimum(q[rows, k].astype(np.float64), 1 - SURE), labels[rows, k]
        others = np.maximum(expected[rows] - likely, SURE)
        with_others = others / -np.expm1(np.minimum(none[rows] - np.log1p(-likely), -SURE))
        chance = np.where(given, 0, np.minimum(missing * likely / (1 - likely), 1))
        own = np.stack([np.ones(len(rows)), likely, (1 - given) - chance], axis=1)
        both = np.stack([number[rows] - given - with_others, chance * (1 + others - with_others)], axis=1)
        both -= own @ np.linalg.lstsq(own, both, rcond=None)[0]
        more.append(both[:, 0])
        lost.append(both[:, 1])
    if not lost:
        return 0.0
    x, y = np.concatenate(lost), np.concatenate(more)
    if x @ x < 1e-9 or (slope := float(x @ y / (x @ x))) <= 0:
        return 0.0
    error = np.var(y - slope * x) / (x @ x) + OFF**2
    return float(np.clip(slope - 4 * error / slope, 0, 1))


def _sides(q: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Odds for each label that is not given, and odds against each one that is; 0 elsewhere."""
    odds = odds_of(q)
    return np.where(given, np.float32(0), odds), np.where(given, 1 / odds, np.float32(0))
