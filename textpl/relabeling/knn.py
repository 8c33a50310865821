"""Votes of neighbours: kNN-DV among the labelled rows, and the kNN tree search that HDL grew out of."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.result import Relabeling
from textpl.relabeling.votes import UNIT, Ballots, Schedule, blocks, check_problem, count, edge_strength


def knn_dv(
    ids: np.ndarray, sims: np.ndarray, targets: np.ndarray, *, gamma: float = 0.0, multi: bool = False
) -> np.ndarray:
    """The vote of the nearest labelled rows (kNN-DV).

    p_c = sum_j a_j y_jc / sum_j a_j with a_j = max(cos_j, 0)^gamma; gamma 0 is the plain vote share. A tie goes to the
    label of the nearest neighbour that is for a tied label: its share is raised by 1e-6 (of the whole vote), which
    turns no other result round. With multi, p_l is the share of the vote that carries label l.

    When to use: few labels or an encoder that clusters badly. It never propagates its own errors, labels everything,
    and its share is the best calibrated confidence of the family.

    Args:
        ids: int (q, k), nearest labelled rows of each query, nearest first, as rows of `targets`; -1 for none.
        sims: float (q, k), cosine similarities.
        targets: float (rows, labels) of the labelled rows: one-hot, soft or multi-hot.
        gamma: power of the cosine; above 0 a neighbour at a cosine of 0 or less has no vote.
        multi: multi-label.

    Returns:
        float32 (q, labels); 0 where nobody votes.

    Raises:
        ValueError: shapes that do not fit, ids beyond the targets, negative gamma.
    """
    if np.ndim(ids) != 2 or np.shape(ids) != np.shape(sims) or np.ndim(targets) != 2:
        raise ValueError(
            f"ids {np.shape(ids)}, sims {np.shape(sims)}, targets {np.shape(targets)}: "
            "expected (queries, k) twice and (labelled rows, labels)."
        )
    if ids.size and not ids.max() < len(targets):
        raise ValueError(f"ids name row {ids.max()}, but there are {len(targets)} labelled rows; use -1 for none.")
    p = np.zeros((len(ids), targets.shape[1]), dtype=np.float32)
    if not len(targets):
        return p
    targets = np.asarray(targets, dtype=np.float32)
    for rows in blocks(np.arange(len(ids)), ids.shape[1] * targets.shape[1]):
        weights = edge_strength(ids[rows], sims[rows], gamma).astype(np.float64)
        p[rows] = count(weights, ids[rows], targets, multi=multi)
    return p


def knn(graph: NeighborGraph, targets: np.ndarray, gold: np.ndarray, *, multi: bool = False) -> Relabeling:
    """Neighbours that need not be labelled, as a tree search: a teaching baseline, the step from kNN-DV to HDL.

    The labelled ones among a row's k neighbours vote. If there is none, the neighbours must be labelled first, nearest
    first, hence theirs, and so on; rows are tried in their given order. Neighbourhoods are nearly symmetric, so the
    search would run in circles: every search visits a row once (a reading of "Exploring Beyond Logits",
    arXiv 2404.17173, whose procedure is not public). It also lets one far label colour a whole branch: use `hdl`.

    Args:
        graph: neighbours of all n rows, labelled or not.
        targets: float32 (n, labels): one-hot, soft or multi-hot; read in gold rows only.
        gold: bool (n,), rows whose targets are given.
        multi: multi-label: rows pass on the share of each label; single-label: their winning label.

    Returns:
        Vote shares as p, hops, number of voters as evidence. Rows from which no gold row can be reached abstain.
        `info`: "rounds" (searches made), "orphans" (share of the other rows that abstain).

    Raises:
        ValueError: no gold row, or arrays that do not fit (see `check_problem`).
    """
    check_problem(graph, targets, gold, multi)
    s = Schedule.start(gold)
    dead = np.zeros(len(graph), dtype=bool)
    rows, rounds, ticks = s.open, 0, itertools.count(1)
    for root in rows:
        if s.order[root] < 0 and not dead[root]:
            visited = _search(root, graph.ids, s, dead, ticks)
            rounds += 1
            # Without a label for the root, nothing that it leads to will ever have one.
            dead[visited] = s.order[root] < 0
    ballots = Ballots(targets, gold, hard=True, multi=multi)
    ballots.settle(rows[s.order[rows] >= 0], s, graph.ids, edge_strength(graph.ids, graph.sims, 0.0))
    return ballots.result(s, {"rounds": rounds, "orphans": len(s.open) / max(len(rows), 1)})


def _search(root: int, ids: np.ndarray, s: Schedule, dead: np.ndarray, ticks: Iterator[int]) -> list[int]:
    """Labels what a depth-first search from root can, in the order in which it returns; the rows it visited."""

    def enter(row: int) -> tuple[int, Iterator[int]]:
        near = [] if _labeled_neighbors(ids[row], s).size else ids[row].tolist()
        return row, iter(near)

    visited = {root}
    path = [enter(root)]  # rows on the way down, each with the neighbours it has still to look at
    while path:
        row, ahead = path[-1]
        child = next((j for j in ahead if j >= 0 and j not in visited and s.order[j] < 0 and not dead[j]), None)
        if child is not None:
            visited.add(child)
            path.append(enter(child))
            continue
        path.pop()
        voters = _labeled_neighbors(ids[row], s)
        if voters.size:
            s.hops[row], s.wave[row] = s.hops[voters].min() + 1, s.wave[voters].max() + 1
            s.weight[row], s.evidence[row], s.order[row] = UNIT, UNIT * voters.size, next(ticks)
    return list(visited)


def _labeled_neighbors(ids: np.ndarray, s: Schedule) -> np.ndarray:
    return ids[(ids >= 0) & (s.order[ids] >= 0)]
