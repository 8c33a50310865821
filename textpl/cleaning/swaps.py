"""Labels that stand in each other's place: one given wrongly, another missing for it, in the same row."""

from __future__ import annotations

import numpy as np

from textpl.cleaning.evidence import odds_of

BLOCK = 8192


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


def _sides(q: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Odds for each label that is not given, and odds against each one that is; 0 elsewhere."""
    odds = odds_of(q)
    return np.where(given, np.float32(0), odds), np.where(given, 1 / odds, np.float32(0))
