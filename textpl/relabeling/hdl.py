"""HDL (hierarchical dynamic labeling): labels spread over the kNN graph, the best supported rows first.

Source of the idea: "Exploring Beyond Logits", arXiv 2404.17173. Its equations are not public; what is documented and
what is a reading is said where it matters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import numpy as np

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.hdl_queue import Links, SecondStage, by_level, by_queue, count_levels, doubling_levels
from textpl.relabeling.orphans import Orphans, ToGold, check_orphans, settle_orphans
from textpl.relabeling.result import Relabeling
from textpl.relabeling.votes import Ballots, Schedule, blocks, check_problem, edge_strength

Order = Literal["level", "sequential"]


def hdl(
    graph: NeighborGraph,
    targets: np.ndarray,
    gold: np.ndarray,
    *,
    rho: float = 0.8,
    gamma: float = 3.0,
    schedule: Order = "level",
    orphans: Orphans = "abstain",
    k: int | None = None,
    to_gold: ToGold | None = None,
    multi: bool = False,
) -> Relabeling:
    """HDL with discounted confidence: a label is worth less the farther it has come from gold.

    Every labelled row j has a weight w_j (gold: 1). Among the k neighbours N_i of an open row i, V_i are labelled:

    - E_i = sum_{j in V_i} w_j decides who is next,
    - p_i = sum_{j in V_i} a_ij p_j / sum a_ij with a_ij = w_j max(cos_ij, 0)^gamma, soft and per label,
    - w_i = rho * sum_{j in V_i} a_ij w_j / sum a_ij.

    A neighbour with a_ij = 0 is no neighbour. `hdl_paper` lets a pseudo-label count as much as gold and collapses
    when a neighbour has the same class too rarely; with the discount accuracy holds as k grows.

    `schedule="level"` labels at once all open rows whose evidence lies in the highest occupied interval
    [2^m, 2^(m+1)). A factor, since w falls geometrically with the distance from gold: an absolute band would tell
    nothing apart far away. Two, since finer levels give the exact order's result, which snowballs more at k >= 10,
    and coarser ones lose at k = 5. On Gaussian mixtures (6,000 rows, 10 classes, mu_3 .21 to .95, 4 and 25 labels
    per class, k 5/10/20) it is 1.5 points below the exact order in the mean at k = 5, 3.5 and 5 above at 10 and 20,
    takes a tenth of the time, and does not depend on the order of the rows; on AG News (LSA vectors) the two are
    equal within the spread over draws. `schedule="sequential"` labels one row at a time: highest E, then most open
    rows that list it, then lowest row number.

    When to use: labels spread along chains of neighbours and the encoder clusters the classes fairly well.

    Args:
        graph: neighbours of all n rows, labelled or not.
        targets: float32 (n, labels): one-hot, soft or multi-hot; read in gold rows only.
        gold: bool (n,), rows whose targets are given.
        rho: discount per step away from gold, in (0, 1]; 1 is none.
        gamma: power of the cosine; 0 counts all neighbours alike.
        schedule: "level" or "sequential".
        orphans: what becomes of rows from which no path of neighbours leads to gold. "abstain": no label. "nearest":
            in every component of such rows the one most similar to a gold row takes that row's label, and HDL goes on
            from there. "grow_k": they get twice as many neighbours, again and again, up to all that the graph holds.
            "knn_dv": their nearest gold rows vote.
        k: neighbours used; default: all that the graph holds.
        to_gold: for "nearest" and "knn_dv": ids (row numbers in the graph, -1 for none) and cosines of every row's
            nearest gold rows, nearest first, both (n, any).
        multi: multi-label.

    Returns:
        p as above, never thresholded; hops: 1 + the fewest hops among the voters; evidence: E when labelled (of rows
        labelled straight from gold: how many voted). Neither hops, order nor evidence is a confidence; p is. `info`:
        "rounds" (levels, or rows labelled one by one), "orphans" (their share of the other rows, before the policy).

    Raises:
        ValueError: no gold row; arrays that do not fit; k beyond the graph; rho, gamma, schedule or orphans out of
            range; `to_gold` missing.
    """
    if not 0 < rho <= 1:
        raise ValueError(f"rho={rho}: must be above 0 and at most 1 (0.8 is usual).")
    _check_choice("schedule", schedule, Order)
    order = (
        partial(by_level, rho=rho, levels=doubling_levels(graph.k))
        if schedule == "level"
        else partial(by_queue, rho=rho, second_stage="gain")
    )
    labeling = _Labeling(graph, targets, gold, order=order, rho=rho, gamma=gamma, hard=False, multi=multi)
    return _label(labeling, graph, k, orphans, to_gold)


def hdl_paper(
    graph: NeighborGraph,
    targets: np.ndarray,
    gold: np.ndarray,
    *,
    second_stage: SecondStage = "gain",
    schedule: Order = "sequential",
    orphans: Orphans = "abstain",
    k: int | None = None,
    to_gold: ToGold | None = None,
    multi: bool = False,
) -> Relabeling:
    """HDL as documented: the row with the most labelled neighbours is next, and they vote on it, one vote each.

    Repeats: L_i = number of labelled rows among the k neighbours of i; among the open rows with the highest L the
    second stage chooses one; it gets the label of most of its labelled neighbours (a tie goes to the nearest tied
    one) and counts as labelled from then on. Nothing is discounted, so errors feed on themselves: below a neighbour
    agreement of about .89 (k = 3), .84 (5), .78 (9) it can fall to chance. `hdl` does not.

    That there is a second stage, which tries each candidate's label out, is documented; its score is not. "gain" and
    "similarity" are equally good, the other readings a little worse (docs/labels_from_embeddings.md):

    - "gain": most open rows that list the candidate as a neighbour, that is, most evidence released,
    - "next_level": whether a row would come to have L + 1 labelled neighbours,
    - "similarity": highest mean cosine to its labelled neighbours,
    - "none": no second stage.

    What is still tied goes by row number.

    Args:
        graph: neighbours of all n rows, labelled or not.
        targets: float32 (n, labels): one-hot, soft or multi-hot; read in gold rows only.
        gold: bool (n,), rows whose targets are given.
        second_stage: see above; the level schedule has none.
        schedule: "sequential", or "level": all rows with the highest L at once, which does not depend on the order of
            the rows and is usually more accurate, as errors within a level do not feed it.
        orphans: as in `hdl`.
        k: as in `hdl`; odd numbers tie less.
        to_gold: as in `hdl`.
        multi: multi-label: p is the mean of the voters' p, label by label, and is passed on so.

    Returns:
        Vote shares as p (single-label: the winner alone is passed on); hops: 1 + the fewest hops among the voters;
        evidence: number of voters; `info` as in `hdl`.

    Raises:
        ValueError: as `hdl`; unknown second stage.
    """
    _check_choice("second_stage", second_stage, SecondStage)
    _check_choice("schedule", schedule, Order)
    order = (
        partial(by_level, rho=1.0, levels=count_levels(graph.k))
        if schedule == "level"
        else partial(by_queue, rho=1.0, second_stage=second_stage)
    )
    labeling = _Labeling(graph, targets, gold, order=order, rho=1.0, gamma=0.0, hard=True, multi=multi)
    return _label(labeling, graph, k, orphans, to_gold)


def _check_choice(name: str, value: str, choices: object) -> None:
    if value not in get_args(choices):
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(get_args(choices))}.")


class _Labeling:
    """One run: who is labelled, with what, and how it goes on."""

    def __init__(
        self,
        graph: NeighborGraph,
        targets: np.ndarray,
        gold: np.ndarray,
        *,
        order: Callable[[Schedule, Links], int],
        rho: float,
        gamma: float,
        hard: bool,
        multi: bool,
    ) -> None:
        check_problem(graph, targets, gold, multi)
        self.gold = gold
        self.schedule = Schedule.start(gold)
        self.ballots = Ballots(targets, gold, hard=hard, multi=multi)
        self.order, self.rho, self.gamma = order, rho, gamma
        self.rounds = 0

    def spread(self, graph: NeighborGraph) -> None:
        """Labels all open rows that the graph connects with labelled ones."""
        rows = self.schedule.open
        strength = edge_strength(graph.ids, graph.sims, self.gamma)
        self.rounds += self.order(self.schedule, Links(graph, strength, rows))
        labeled = rows[self.schedule.order[rows] >= 0]
        self.ballots.settle(labeled, self.schedule, graph.ids, strength)

    def seed(self, rows: np.ndarray, ids: np.ndarray, strength: np.ndarray) -> None:
        """Labels rows straight from gold rows ids (rows, voters) by votes of that strength."""
        self.schedule.seed(rows, (strength > 0).sum(1), self.rho)
        for block in blocks(np.arange(len(rows)), ids.shape[1] * self.ballots.p.shape[1]):
            self.ballots.vote(rows[block], ids[block], strength[block].astype(np.float64))


def _label(
    labeling: _Labeling, graph: NeighborGraph, k: int | None, orphans: Orphans, to_gold: ToGold | None
) -> Relabeling:
    check_orphans(orphans, to_gold, labeling.gold)
    near = graph if k is None else graph.first(k)
    labeling.spread(near)
    share = len(labeling.schedule.open) / max(int((~labeling.gold).sum()), 1)
    settle_orphans(labeling, orphans, graph, near.k, to_gold)
    return labeling.ballots.result(labeling.schedule, {"rounds": labeling.rounds, "orphans": share})
