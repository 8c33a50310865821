"""In which order HDL labels rows: most evidence first, one row at a time or a whole level at once."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.sparse import csr_array

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.votes import UNIT, Schedule, blocks

SecondStage = Literal["gain", "next_level", "similarity", "none"]


class Links:
    """Edges of a graph: forwards, and backwards for the rows that are still open.

    Args:
        graph: neighbours of every row.
        strength: float32 (n, k), vote weight of the edge; 0 where there is none.
        sources: rows whose edges count backwards, ascending.
    """

    def __init__(self, graph: NeighborGraph, strength: np.ndarray, sources: np.ndarray) -> None:
        self.graph, self.strength = graph, strength
        ids = graph.ids
        ends, near = [np.zeros(1, np.int64)], [np.zeros(0, np.int32)]
        for rows in blocks(sources, graph.k):
            edges = strength[rows] > 0
            ends.append(edges.sum(1))
            near.append(ids[rows][edges])
        flat = np.concatenate(near)
        forwards = csr_array(
            (np.ones(len(flat), np.bool_), flat, np.concatenate(ends).cumsum()), shape=(len(sources), len(graph))
        )
        backwards = forwards.tocsc()
        self.start = backwards.indptr.astype(np.int64)
        self.listing = sources.astype(np.int32)[backwards.indices]

    def into(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Backward edges of rows: who lists one of them, and which row it lists."""
        starts, counts = self.start[rows], self.start[rows + 1] - self.start[rows]
        ends = counts.cumsum()
        edges = np.arange(counts.sum()) + np.repeat(starts - (ends - counts), counts)
        return self.listing[edges], np.repeat(rows, counts)


def count_levels(k: int) -> np.ndarray:
    """Where the levels 1, 2, ..., k voters begin; int64 (k,), in units of 1/UNIT."""
    return np.arange(1, k + 1, dtype=np.int64) * UNIT


def doubling_levels(k: int) -> np.ndarray:
    """Levels that begin at 1/UNIT and at twice as much each, up to k voters and beyond; int64, ascending."""
    return 1 << np.arange(UNIT.bit_length() + k.bit_length(), dtype=np.int64)


def by_level(s: Schedule, links: Links, rho: float, levels: np.ndarray) -> int:
    """Labels all rows of the highest level that has any, until no open row has a labelled neighbour.

    Rows labelled at once do not vote on each other, so the result does not depend on the order of rows. A round costs
    as much as its rows have edges, however many rows there are in all.

    Args:
        s: filled in.
        links: the graph, backwards for all open rows.
        rho: a label weighs rho times the (vote-weighted) mean weight of its voters.
        levels: int64, evidence at which each level begins, ascending.

    Returns:
        Number of rounds.
    """
    evidence = np.zeros(len(s.order), dtype=np.int64)
    height = np.zeros(len(s.order), dtype=np.int16)
    shelves: list[list[np.ndarray]] = [[] for _ in range(len(levels) + 1)]
    batch = np.flatnonzero(s.order >= 0)
    rounds, top, clock = 0, 0, s.clock
    while True:
        rows, listed = links.into(batch)
        still_open = s.order[rows] < 0
        rows, listed = rows[still_open], listed[still_open]
        np.add.at(evidence, rows, s.weight[listed])
        reached = np.searchsorted(levels, evidence[rows], side="right").astype(np.int16)
        risen = reached > height[rows]
        rows, first = np.unique(rows[risen], return_index=True)
        reached = reached[risen][first]
        height[rows] = reached
        for level in np.unique(reached).tolist():
            shelves[level].append(rows[reached == level])
            top = max(top, level)
        batch = rows[:0]
        while top and not len(batch):
            if shelves[top]:
                batch = np.concatenate(shelves[top])
                shelves[top] = []
                # The others have risen or been labelled since they were put here.
                batch = batch[(height[batch] == top) & (s.order[batch] < 0)]
            else:
                top -= 1
        if not len(batch):
            return rounds
        rounds += 1
        for block in blocks(batch, links.graph.k):
            _weigh(s, links, block, rho)
        s.evidence[batch], s.order[batch] = evidence[batch], clock + rounds


def _weigh(s: Schedule, links: Links, rows: np.ndarray, rho: float) -> None:
    """Weight, hops and wave of rows that are about to be labelled."""
    near = links.graph.ids[rows]
    strength = links.strength[rows] * (s.order[near] >= 0)
    weight = s.weight[near].astype(np.float64)
    votes = strength * weight
    mean = (votes * weight).sum(1) / votes.sum(1)
    s.weight[rows] = np.maximum(np.round(rho * mean), 1)
    s.hops[rows] = np.where(strength > 0, s.hops[near], np.iinfo(np.int32).max).min(1) + 1
    s.wave[rows] = np.where(strength > 0, s.wave[near], -1).max(1) + 1


def by_queue(s: Schedule, links: Links, rho: float, second_stage: SecondStage) -> int:
    """Labels one row at a time: most evidence, then the best second stage, then the lowest row number.

    A heap with lazy deletion. Evidence only grows, and each growth is pushed, so the newest entry of a row comes up
    before its older ones; a second stage that has fallen since is pushed back. Equal to looking through all rows at
    every step, in O(edges log edges).

    Args:
        s: filled in.
        links: the graph, backwards for all open rows.
        rho: as in `by_level`.
        second_stage: as in `hdl_paper`.

    Returns:
        Number of rows labelled.
    """
    return _Queue(s, links, rho, second_stage).run(s)


class _Queue:
    def __init__(self, s: Schedule, links: Links, rho: float, second_stage: SecondStage) -> None:
        self.links, self.rho = links, rho
        # Lists: single numbers are read from them several times faster than from arrays.
        self.weight, self.hops, self.wave = s.weight.tolist(), s.hops.tolist(), s.wave.tolist()
        self.start = links.start.tolist()
        self.gain = np.diff(links.start).tolist()
        scores: dict[SecondStage, Callable[[int], float]] = {
            "gain": self.gain.__getitem__,
            "next_level": self._next_level,
            "similarity": self._similarity,
            "none": lambda row: 0,
        }
        self.score, self.second_stage = scores[second_stage], second_stage
        self.heap: list[tuple[int, float, int]] = []
        rows, listed = links.into(np.flatnonzero(s.order >= 0))
        evidence = np.zeros(len(s.order), dtype=np.int64)
        np.add.at(evidence, rows, s.weight[listed])
        self.evidence = evidence.tolist()
        for row in np.unique(rows).tolist():
            self._push(row)

    def run(self, s: Schedule) -> int:
        """Labels all that can be reached."""
        clock = s.clock
        done: list[int] = []
        while self.heap:
            evidence, score, row = heapq.heappop(self.heap)
            if self.weight[row] or -evidence != self.evidence[row]:
                continue
            if -score != self.score(row):
                self._push(row)
                continue
            done.append(row)
            self._label(row)
        s.order[done] = clock + np.arange(1, len(done) + 1)
        s.evidence[done] = [self.evidence[row] for row in done]
        for array, values in ((s.weight, self.weight), (s.hops, self.hops), (s.wave, self.wave)):
            array[:] = values
        return len(done)

    def _push(self, row: int) -> None:
        heapq.heappush(self.heap, (-self.evidence[row], -self.score(row), row))

    def _neighbors(self, row: int) -> list[tuple[int, float]]:
        edges = zip(self.links.graph.ids[row].tolist(), self.links.strength[row].tolist(), strict=True)
        return [(j, strength) for j, strength in edges if strength > 0]

    def _listing(self, row: int) -> list[int]:
        """Open rows that list this row."""
        rows = self.links.listing[self.start[row] : self.start[row + 1]].tolist()
        return [j for j in rows if not self.weight[j]]

    def _label(self, row: int) -> None:
        near = self._neighbors(row)
        votes = [(strength * self.weight[j], j) for j, strength in near if self.weight[j]]
        mean = sum(vote * self.weight[j] for vote, j in votes) / sum(vote for vote, _ in votes)
        weight = self.weight[row] = max(1, round(self.rho * mean))
        self.hops[row] = 1 + min(self.hops[j] for _, j in votes)
        self.wave[row] = 1 + max(self.wave[j] for _, j in votes)
        for j, _ in near:
            self.gain[j] -= 1
        touched = self._listing(row)
        for j in touched:
            self.evidence[j] += weight
        for j in touched:
            self._push(j)
        if self.second_stage == "next_level":
            # Whom one of these lists may now release it into the next level.
            for j in touched:
                for i, _ in self._neighbors(j):
                    if not self.weight[i] and self.evidence[i] == self.evidence[j]:
                        heapq.heappush(self.heap, (-self.evidence[i], -1, i))

    def _next_level(self, row: int) -> float:
        return int(any(self.evidence[j] == self.evidence[row] for j in self._listing(row) if j != row))

    def _similarity(self, row: int) -> float:
        near = zip(self.links.graph.ids[row].tolist(), self.links.graph.sims[row].tolist(), strict=True)
        voters = [sim for j, sim in near if j >= 0 and self.weight[j]]
        return sum(voters) / len(voters)
