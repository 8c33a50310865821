"""The strategies by name, and what is known of a choice when it is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from textpl.embeddings.exact import spans
from textpl.embeddings.neighbors import neighbor_graph
from textpl.relabeling.choice import FEW_LABELS
from textpl.relabeling.linear import linear
from textpl.relabeling.methods import run_method
from textpl.relabeling.problem import Problem
from textpl.selecting.cold_start import at_random, central, covering, facility_location, typical
from textpl.selecting.next_round import badge, doubtful_central, most_doubtful

AUTO, RANDOM = "auto", "random"
# `function(vectors, budget, allowed, known, rng) -> rows`
COLD: dict[str, Callable[..., np.ndarray]] = {
    "kmeans": central,
    "facility_location": facility_location,
    "typiclust": typical,
    "probcover": covering,
    RANDOM: at_random,
}
# They need labels of at least two classes.
BY_DOUBT = ("badge", "weighted_kmeans", "margin")
STRATEGIES = (AUTO, *COLD, *BY_DOUBT)
# What "auto" takes without and with labels: docs/select.md tells on which sets that was chosen.
AUTO_COLD, AUTO_NEXT = "kmeans", "weighted_kmeans"
BLOCK = 8_192


@dataclass(frozen=True)
class Known:
    """Texts that are labeled or were chosen before.

    Attributes:
        vectors: float32 (m, d), centered with the pool.
        targets: float32 (labeled, labels); None where no two classes have a label yet.
        labeled: int64 (labeled,), which of the m rows have one.
        multi: several labels per row.
    """

    vectors: np.ndarray
    targets: np.ndarray | None = None
    labeled: np.ndarray | None = None
    multi: bool = False


def resolve(strategy: str, known: Known) -> str:
    """The strategy that is meant.

    Raises:
        ValueError: for one that needs labels where there are none of two classes.
    """
    if strategy == AUTO:
        return AUTO_COLD if known.targets is None else AUTO_NEXT
    if strategy in BY_DOUBT and known.targets is None:
        raise ValueError(
            f"strategy={strategy!r} asks where labels are in doubt, and there are no labels of two classes yet: label "
            f"a first choice by strategy={AUTO_COLD!r}, or pass labeled= with more classes."
        )
    return strategy


def probabilities(vectors: np.ndarray, known: Known, *, progress: bool = True) -> np.ndarray:
    """What the default labeler for a few rows makes of the pool, float32 (n, labels), not calibrated.

    Args:
        vectors: float32 (n, d), the pool, centered with the labeled rows.
        known: labeled rows.
        progress: show the bar of the neighbor search.
    """
    assert known.targets is not None and known.labeled is not None
    rows = np.concatenate([known.vectors[known.labeled], vectors])
    gold = np.zeros(len(rows), dtype=bool)
    gold[: len(known.labeled)] = rows[: len(known.labeled)].any(1)
    targets = np.zeros((len(rows), known.targets.shape[1]), dtype=np.float32)
    targets[: len(known.labeled)] = known.targets
    targets *= gold[:, None]
    method, k = FEW_LABELS[known.multi]
    if k is None:  # no neighbors, no graph
        found = linear(rows, targets, gold, multi=known.multi)
    else:
        graph = neighbor_graph(rows, k, progress=progress)
        found = run_method(Problem(rows, graph, targets, gold, known.multi), method)
    return found.p[len(known.labeled) :]


def chooser(
    strategy: str, vectors: np.ndarray, budget: int, known: Known, p: np.ndarray | None, seed: int
) -> Callable[[np.ndarray], np.ndarray]:
    """`choose(allowed) -> rows` by a strategy, with the same draws at every call.

    Where clusters hold nothing that may be chosen, the rows that are lacking are those that cover most of the rest.
    """

    def choose(allowed: np.ndarray) -> np.ndarray:
        rows = by_strategy(allowed)
        lacking = min(budget, int(allowed.sum())) - len(rows)
        if lacking <= 0:
            return rows
        left = allowed.copy()
        left[rows] = False
        so_far = np.concatenate([known.vectors, vectors[rows]])
        more = facility_location(vectors, lacking, left, so_far, np.random.default_rng(seed))
        return np.concatenate([rows, more])

    def by_strategy(allowed: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(seed)
        if strategy in COLD:
            return COLD[strategy](vectors, budget, allowed, known.vectors, rng)
        assert p is not None
        if strategy == "badge":
            return badge(vectors, p, budget, allowed, rng, multi=known.multi)
        if strategy == "margin":
            return most_doubtful(p, budget, allowed, multi=known.multi)
        return doubtful_central(vectors, p, budget, allowed, known.vectors, rng, multi=known.multi)

    return choose


def stands_for(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How many rows of the pool have each chosen row for their nearest chosen one, int64 (chosen,).

    Args:
        vectors: float32 (n, d), the pool; zero rows are nobody's.
        rows: int64 (chosen,).
    """
    counts = np.zeros(len(rows), dtype=np.int64)
    for start, stop in spans(len(vectors), BLOCK):
        block = vectors[start:stop]
        block = block[block.any(1)]
        counts += np.bincount((block @ vectors[rows].T).argmax(1), minlength=len(rows))
    return counts
