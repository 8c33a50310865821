"""Can labels be passed on between neighbours here? Measured on the gold rows, before anything is labelled.

(k, delta_k) clusterability: mu_k = 1 - delta_k is the probability that a row and its k nearest neighbours all have one
label (Zhu, Dong & Liu 2022, arXiv 2110.06283). Soft targets count as their largest label, multi-hot ones
as sets; two sets agree by their Jaccard index, which for single labels is equality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.stats import binom

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.propagation import hops_from

# Fewer pairs of gold neighbours say little: the agreement of 30 has a standard error of 9 points or more.
MIN_EDGES = 30


@dataclass(frozen=True)
class Clusterability:
    """What the gold rows say about their neighbourhoods; numbers that they cannot tell are None (or NaN in arrays).

    Attributes:
        k: neighbours looked at.
        gold: number of gold rows.
        multi: whether rows may have several labels.
        mu_loo: share of gold rows whose k nearest *gold* rows all have exactly their label(s): mu_k of neighbourhoods
            as sparse as the gold set, too low for the whole graph, except where the encoder was fitted on these labels.
        mu_edges: Frechet bounds (low, high) of mu_k in the full graph, from the agreement q_r of gold rows with their
            r-th neighbour where that is gold too: max(0, 1 - sum_r (1 - q_r)) <= mu_k <= min_r q_r. Sampling noise of
            the q_r is not in them.
        edges: number of such pairs.
        q: agreement of a row with one of its k neighbours, from these pairs; where there are fewer than 30, from the
            gold rows' nearest gold rows instead (`q_source`), which errs as `mu_loo` does.
        q_source: "edges", "gold neighbors" or "none".
        q_star: `propagation_threshold(k)`.
        vote_error: share of gold rows that most of their k nearest gold rows would label wrongly (single-label).
        label_mu: float32 (labels,), P(all k nearest gold rows have l | the row has l).
        label_lift: float32 (labels,), P(a row has l | its neighbour has l) / P(l), from the pairs that gave `q`.
        no_gold_neighbor: share of the other rows with no gold row among their k neighbours.
        orphans: share of the other rows from which no path row -> neighbour -> neighbour's neighbour -> ... leads to
            gold: no order of voting can label them.
    """

    k: int
    gold: int
    multi: bool
    mu_loo: float | None
    mu_edges: tuple[float, float] | None
    edges: int
    q: float | None
    q_source: str
    q_star: float
    vote_error: float | None
    label_mu: np.ndarray
    label_lift: np.ndarray
    no_gold_neighbor: float
    orphans: float

    def warning(self) -> str | None:
        """Why undiscounted votes among voted labels must not be trusted here; None where nothing speaks against it."""
        if self.q is None:
            return f"no two of the {self.gold} gold rows are neighbours: agreement q({self.k}) cannot be estimated."
        if self.q >= self.q_star:
            return None
        rough = " (a rough guide for multi-label)" if self.multi else ""
        return (
            f"neighbours agree on q({self.k}) = {self.q:.3f} of their labels, below q*({self.k}) = {self.q_star:.3f}"
            f"{rough}: labels voted on by voted labels lose accuracy at every step. Use a method that discounts them "
            "(hdl, label_propagation) or votes of gold rows only (knn_dv), not hdl_paper."
        )

    def to_dict(self) -> dict[str, object]:
        """The numbers as plain data; unknown ones are None."""
        values = {name: v.tolist() if isinstance(v, np.ndarray) else v for name, v in vars(self).items()}
        unknown = {n: [None if x != x else x for x in v] for n, v in values.items() if isinstance(v, list)}
        return values | unknown

    def summary(self) -> str:
        """The numbers in words, one line each."""
        bounds = "unknown" if self.mu_edges is None else f"{self.mu_edges[0]:.3f} to {self.mu_edges[1]:.3f}"
        lift = self.label_lift[np.isfinite(self.label_lift)]
        lines = [
            f"clusterability at k = {self.k}, {self.gold} gold rows",
            f"mu_k, all neighbours agree: {_number(self.mu_loo)} among gold rows; {bounds} in the full graph",
            f"q(k), a neighbour agrees: {_number(self.q)} (from {self.q_source}; {self.edges} gold-gold edges); "
            f"undiscounted propagation needs q*(k) = {self.q_star:.3f}",
        ]
        if not self.multi:
            lines.append(f"vote of gold rows wrong: {_number(self.vote_error)}")
        if len(lift):
            lines.append(f"lift of a label by a neighbour that has it: {lift.min():.1f} to {lift.max():.1f}")
        lines.append(f"rows without a gold neighbour: {self.no_gold_neighbor:.1%}; without a path: {self.orphans:.1%}")
        return "\n".join(lines)


def propagation_threshold(k: int) -> float:
    """q*(k): the neighbour agreement below which undiscounted votes among voted labels collapse.

    Let a neighbour have the row's label with probability q, let a share s of the voters' labels be right and the
    wrong ones agree (the worst case). Then one round of majority votes gives s' = g(q s), g(x) = P(Bin(k, x) > k/2).
    A fixed point s > 0 exists iff q >= min_x x / g(x) = q*(k): .889 (k=3), .835 (5), .777 (9), .731 (15). Necessary,
    not sufficient: real errors are correlated. Ties of even k are broken by a fair coin, which makes q*(2m) equal
    q*(2m - 1).

    Raises:
        ValueError: if k is below 1.
    """
    if k < 1:
        raise ValueError(f"k={k}: at least one neighbour is needed.")
    k -= k % 2 == 0
    if k == 1:
        return 1.0
    found = minimize_scalar(lambda x: x / binom.sf(k // 2, k, x), bounds=(0.3, 1), method="bounded")
    return float(found.fun)


def clusterability(
    graph: NeighborGraph,
    targets: np.ndarray,
    gold: np.ndarray,
    *,
    k: int,
    gold_graph: NeighborGraph,
    multi: bool = False,
) -> Clusterability:
    """Measures how far labels agree between neighbours, and how much of the graph gold labels can reach.

    Args:
        graph: neighbours of all n rows, at least k of them.
        targets: (n, labels), one-hot, soft or multi-hot; read in gold rows only.
        gold: bool (n,), rows whose targets are given.
        k: neighbours per row.
        gold_graph: neighbours of the gold rows among themselves; its row r is the r-th gold row. Where it holds fewer
            than k per row there is no `mu_loo`.
        multi: whether a row may have several labels.

    Raises:
        ValueError: no gold row; a `gold_graph` of another number of rows; k below 1 or above the graph's.
    """
    rows = np.flatnonzero(gold)
    if not len(rows):
        raise ValueError("no gold row: clusterability is measured on labelled texts.")
    if len(gold_graph) != len(rows):
        raise ValueError(f"gold_graph has {len(gold_graph)} rows for {len(rows)} gold rows: build it from these alone.")
    graph = graph.first(k)
    sets = _label_sets(targets[rows], multi)
    position = np.full(len(graph) + 1, -1, dtype=np.int32)  # its last element is where the id -1 leads
    position[rows] = np.arange(len(rows))
    pairs = _agreement(position[graph.ids[rows]], sets)
    loo = _agreement(gold_graph.ids[:, :k], sets)
    enough = pairs.count.sum() >= MIN_EDGES
    source = pairs if enough else loo
    known = source.count.sum() > 0
    mu = float(loo.all_equal.mean()) if gold_graph.k >= k else None
    error = None if multi or mu is None else float(1 - loo.vote_right.mean())
    has = sets.sum(axis=0)
    unlabeled, reach = ~gold, hops_from(_voters_to_rows(graph), gold)
    return Clusterability(
        k=k,
        gold=len(rows),
        multi=multi,
        mu_loo=mu,
        mu_edges=_frechet(pairs) if enough else None,
        edges=int(pairs.count.sum()),
        q=float(source.jaccard.sum() / source.count.sum()) if known else None,
        q_source="none" if not known else "edges" if enough else "gold neighbors",
        q_star=propagation_threshold(k),
        vote_error=error,
        label_mu=_quotient(loo.all_have.sum(axis=0), has) if mu is not None else np.full(len(has), np.nan, np.float32),
        label_lift=_quotient(_quotient(source.both, source.neighbor_has), has / len(rows)),
        no_gold_neighbor=_share(~((graph.ids >= 0) & gold[graph.ids]).any(axis=1), unlabeled),
        orphans=_share(reach < 0, unlabeled),
    )


@dataclass(frozen=True)
class _Agreement:
    """Agreement of m rows with their k neighbours, added up over rows, ranks, or both."""

    count: np.ndarray  # (k,) pairs
    equal: np.ndarray  # (k,) pairs with the same labels
    jaccard: np.ndarray  # (k,)
    both: np.ndarray  # (labels,) pairs in which both have the label
    neighbor_has: np.ndarray  # (labels,) pairs in which the neighbour has it
    all_equal: np.ndarray  # (m,) all neighbours have exactly this row's labels
    all_have: np.ndarray  # (m, labels) this row and all its neighbours have the label
    vote_right: np.ndarray  # (m,) most neighbours have this row's label; ties go to the nearer ones


def _agreement(ids: np.ndarray, sets: np.ndarray) -> _Agreement:
    """Compares rows with neighbours `ids` (m, k) into the same `sets` bool (m, labels); -1, no neighbour, disagrees."""
    (m, k), labels = ids.shape, sets.shape[1]
    count, equal, jaccard = np.zeros((3, k))
    both, neighbor_has = np.zeros((2, labels))
    all_equal, all_have, votes = np.ones(m, dtype=bool), sets.copy(), np.zeros((m, labels))
    for rank in range(k):  # one rank at a time: (m, k, labels) would not fit for a large gold set
        present = ids[:, rank] >= 0
        theirs = sets[ids[:, rank]] & present[:, None]
        shared, union = sets & theirs, (sets | theirs).sum(axis=1)
        same = (sets == theirs).all(axis=1) & present
        overlap = np.where(union > 0, shared.sum(axis=1) / np.maximum(union, 1), 1.0)
        count[rank], equal[rank], jaccard[rank] = present.sum(), same.sum(), overlap[present].sum()
        both += shared.sum(axis=0)
        neighbor_has += theirs.sum(axis=0)
        all_equal &= same
        all_have &= theirs
        votes += theirs * (1 - 1e-6 * rank)
    right = sets[np.arange(m), votes.argmax(axis=1)] & votes.any(axis=1)
    return _Agreement(count, equal, jaccard, both, neighbor_has, all_equal, all_have, right)


def _label_sets(given: np.ndarray, multi: bool) -> np.ndarray:
    """Which labels each gold row has, bool (gold rows, labels)."""
    return given >= 0.5 if multi else given.argmax(axis=1)[:, None] == np.arange(given.shape[1])


def _frechet(pairs: _Agreement) -> tuple[float, float]:
    """Bounds of mu_k from the agreement at each rank; ranks with few pairs take that of all ranks."""
    pooled = pairs.equal.sum() / pairs.count.sum()
    by_rank = np.where(pairs.count >= MIN_EDGES, pairs.equal / np.maximum(pairs.count, 1), pooled)
    return float(max(0, 1 - (1 - by_rank).sum())), float(by_rank.min())


def _voters_to_rows(graph: NeighborGraph) -> csr_array:
    """Adjacency from every row to the rows that have it among their neighbours."""
    there = graph.ids >= 0
    starts = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    ones = np.ones(starts[-1], dtype=np.int8)
    return csr_array((ones, graph.ids[there], starts), shape=(len(graph), len(graph))).T.tocsr()


def _quotient(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0).astype(np.float32)


def _share(rows: np.ndarray, among: np.ndarray) -> float:
    return float(rows[among].mean()) if among.any() else 0.0


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
