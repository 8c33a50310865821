"""How neighbours vote: who votes on whom is settled first (`Schedule`), then the votes are counted (`Ballots`).

Who votes on whom never depends on the labels themselves, so the votes can be counted many rows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.result import Relabeling

# Voters' weights are whole multiples of 2^-40: sums of them are exact, so they depend neither on the order of adding
# nor on the order of the rows.
UNIT = 1 << 40
# Totals this close (relatively) are a tie, and this much of the vote decides it: far above float32 rounding, far below
# what one voter of k can add.
TIE = 1e-6
# Numbers gathered at once; bounds memory, not the result.
BLOCK = 1 << 21


@dataclass(frozen=True)
class Schedule:
    """Who is labelled when, filled in place; nothing in it depends on the labels.

    Attributes:
        weight: int64 (n,), weight as a voter in units of 1/UNIT; UNIT for gold, 0 where not labelled.
        hops: int32 (n,), 1 + the fewest hops among the voters; 0 for gold, -1 where not labelled.
        order: int32 (n,), see `Relabeling`.
        wave: int32 (n,), 1 + the highest wave among the voters, so that rows of one wave can be voted on together.
        evidence: int64 (n,), summed weight of the voters.
    """

    weight: np.ndarray
    hops: np.ndarray
    order: np.ndarray
    wave: np.ndarray
    evidence: np.ndarray

    @classmethod
    def start(cls, gold: np.ndarray) -> Schedule:
        """Only the gold rows, bool (n,), are labelled."""
        none = np.where(gold, 0, -1).astype(np.int32)
        weight = np.where(gold, UNIT, 0).astype(np.int64)
        return cls(weight, none, none.copy(), none.copy(), np.zeros_like(weight))

    @property
    def open(self) -> np.ndarray:
        """Rows without a label, int64, ascending."""
        return np.flatnonzero(self.order < 0)

    @property
    def clock(self) -> int:
        """The latest order given."""
        return int(self.order.max(initial=0))

    def seed(self, rows: np.ndarray, voters: np.ndarray, rho: float) -> None:
        """Labels rows straight from gold ones, so many voters (rows,) each."""
        self.weight[rows], self.hops[rows], self.wave[rows] = max(1, round(rho * UNIT)), 1, 1
        self.evidence[rows], self.order[rows] = voters * UNIT, self.clock + 1


class Ballots:
    """The labels as they are passed on, next to the p that is reported.

    Args:
        targets: float (n, labels), read in gold rows.
        gold: bool (n,).
        hard: a row passes on only its winning label (single-label), otherwise its p.
        multi: multi-label.
    """

    def __init__(self, targets: np.ndarray, gold: np.ndarray, *, hard: bool, multi: bool) -> None:
        self.p: np.ndarray = np.zeros(targets.shape, dtype=np.float32)
        self.p[gold] = targets[gold]
        self.multi = multi
        self.winners = self.p.argmax(1) if hard and not multi else None

    def vote(self, rows: np.ndarray, ids: np.ndarray, weights: np.ndarray) -> None:
        """Fills in p of rows by the votes of ids, both weights and ids (rows, k)."""
        self.p[rows] = count(weights, ids, self.p, winners=self.winners, multi=self.multi)
        if self.winners is not None:
            self.winners[rows] = self.p[rows].argmax(1)

    def settle(self, rows: np.ndarray, schedule: Schedule, ids: np.ndarray, strength: np.ndarray) -> None:
        """Votes on rows that the schedule has labelled along the graph (ids, strength), wave by wave."""
        rows = rows[np.argsort(schedule.wave[rows], kind="stable")]
        waves = schedule.wave[rows]
        for wave in np.split(rows, np.flatnonzero(np.diff(waves)) + 1):
            for block in blocks(wave, ids.shape[1] * self.p.shape[1]):
                near = ids[block]
                order = schedule.order[near]
                voted = (order >= 0) & (order < schedule.order[block][:, None])
                self.vote(block, near, schedule.weight[near] * (strength[block] * voted))

    def result(self, schedule: Schedule, info: dict[str, Any]) -> Relabeling:
        """Everything there is to tell."""
        gold = schedule.hops == 0
        evidence = np.where(gold, np.inf, schedule.evidence / UNIT).astype(np.float32)
        return Relabeling(self.p, schedule.hops, schedule.order, evidence, info)


def count(
    weights: np.ndarray, ids: np.ndarray, ballots: np.ndarray, *, winners: np.ndarray | None = None, multi: bool
) -> np.ndarray:
    """Weighted mean of the voters' labels.

    Args:
        weights: float64 (m, k), >= 0; 0 for who does not vote.
        ids: int (m, k), the voters, nearest first.
        ballots: float32 (n, labels), soft votes.
        winners: int (n,), votes for one label each, instead of `ballots`.
        multi: multi-label. Otherwise a tied label wins whose voter is nearest: it gets `TIE` more.

    Returns:
        float32 (m, labels); rows without a voter are 0.
    """
    m, labels = len(ids), ballots.shape[1]
    if winners is None:
        total = np.einsum("mk,mkl->ml", weights, ballots[ids])
    else:
        cells = np.arange(m)[:, None] * labels + winners[ids]
        total = np.bincount(cells.ravel(), weights=weights.ravel(), minlength=m * labels).reshape(m, labels)
    mass = weights.sum(1)[:, None]
    p = np.divide(total, mass, out=np.zeros((m, labels)), where=mass > 0)
    if not multi and labels:
        close = p >= p.max(1, keepdims=True) * (1 - TIE)
        rows = np.flatnonzero((close.sum(1) > 1) & (mass[:, 0] > 0))
        if not len(rows):
            return p.astype(np.float32)
        choice = ballots[ids[rows]].argmax(2) if winners is None else winners[ids[rows]]
        for_tied = np.take_along_axis(close[rows], choice, 1) & (weights[rows] > 0)
        nearest = choice[np.arange(len(rows)), for_tied.argmax(1)]
        p[rows] *= 1 - TIE
        p[rows, np.where(for_tied.any(1), nearest, close[rows].argmax(1))] += TIE
    return p.astype(np.float32)


def edge_strength(ids: np.ndarray, sims: np.ndarray, gamma: float) -> np.ndarray:
    """max(cos, 0)^gamma, or 1 at gamma 0; 0 where there is no neighbour; float32, the shape of ids."""
    if not gamma >= 0:
        raise ValueError(f"gamma={gamma}: must be >= 0 (0 counts every neighbour alike, 3 is usual).")
    strength = np.maximum(sims, 0, dtype=np.float32) ** np.float32(gamma)
    strength[ids < 0] = 0
    return strength


def blocks(rows: np.ndarray, width: int) -> Iterator[np.ndarray]:
    """Rows in pieces of at most BLOCK numbers, width to a row."""
    size = max(1, BLOCK // max(width, 1))
    return (rows[i : i + size] for i in range(0, len(rows), size))


def check_problem(graph: NeighborGraph, targets: np.ndarray, gold: np.ndarray, multi: bool) -> None:
    """Refuses labels that do not belong to the graph.

    Raises:
        ValueError: shapes that do not fit; no gold row; gold targets that are not shares (multi-label: of each label
            in [0, 1]; single-label: summing to 1).
    """
    n = len(graph)
    if np.ndim(targets) != 2 or len(targets) != n or np.shape(gold) != (n,) or gold.dtype != bool:
        raise ValueError(
            f"targets {np.shape(targets)} and gold {np.shape(gold)} ({gold.dtype}) do not fit a graph of {n} rows: "
            "expected (rows, labels) and bool (rows,)."
        )
    if not gold.any():
        raise ValueError("no gold row: neighbours can only pass labels on; give at least one labelled text.")
    given = targets[gold]
    bad = ~((given >= 0) & (given <= 1)).all(1)
    if not multi:
        bad |= ~(abs(given.sum(1) - 1) < 1e-3)
    if bad.any():
        row = int(np.flatnonzero(gold)[bad.argmax()])
        wanted = "each in [0, 1]" if multi else "shares that sum to 1"
        raise ValueError(f"gold row {row} has targets {targets[row]}: expected {wanted}.")
