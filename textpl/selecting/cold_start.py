"""Which rows to label first, where no label is known: strategies on embeddings."""

from __future__ import annotations

import numpy as np

from textpl.embeddings.exact import spans
from textpl.embeddings.neighbors import search
from textpl.selecting.kmeans import Clusters, clusters

# Greedy strategies compare every candidate with every row: of larger pools so many rows, drawn at random, are both.
GREEDY_ROWS = 8_000
NEIGHBORS = 20  # whose distances tell how typical a text is (TypiClust)
LEAST_CLUSTER = 5  # smaller clusters are passed over while larger ones are left (TypiClust)
MOST_CLUSTERS = 500  # TypiClust's limit
PURITY = 0.95  # of the balls around texts, by which their radius is found (ProbCover)
RADII = np.arange(0.05, 1.4, 0.05)
BLOCK = 2_048


def at_random(
    vectors: np.ndarray, budget: int, allowed: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows at random: the only choice that later estimates may take for a fair sample."""
    return rng.permutation(np.flatnonzero(allowed))[:budget]


def central(
    vectors: np.ndarray, budget: int, allowed: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Take the row nearest to the center of each of `budget` k-means clusters.

    Labeled rows are centers that do not move, so that clusters form where there are none.

    Args:
        vectors: float32 (n, d), unit length or zero.
        budget: rows to choose.
        allowed: bool (n,), rows that may be chosen; the others count as texts of the pool.
        known: float32 (m, d), vectors of texts that are labeled already.
        rng: of the k-means starts.

    Returns:
        int64 (up to budget,), such that the first rows, too, cover the pool (`in_order`).
    """
    found = clusters(vectors, budget, rng, fixed=known)
    rows = central_rows(found, len(known), allowed)
    return in_order(vectors, rows, known)


def central_rows(found: Clusters, first: int, allowed: np.ndarray) -> np.ndarray:
    """The allowed row nearest to the center of each cluster from number `first` on, the largest cluster first."""
    order = np.lexsort((found.distance, found.of))
    order = order[allowed[order] & (found.of[order] >= first)]
    nearest = order[np.unique(found.of[order], return_index=True)[1]]
    sizes = np.bincount(found.of, minlength=len(found.centers))
    return nearest[np.argsort(-sizes[found.of[nearest]], kind="stable")]


def in_order(vectors: np.ndarray, rows: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Put chosen rows into an order of which every beginning covers the pool as well as a greedy choice can.

    Facility location among the chosen: next comes the row that adds most to the sum, over all texts, of the cosine with
    the most similar one that came before (or is labeled).

    Args:
        vectors: float32 (n, d), the pool.
        rows: int64 (m,), what was chosen.
        known: float32 (k, d), labeled texts.
    """
    base = vectors[:: max(1, len(vectors) // GREEDY_ROWS)]
    return rows[_greedy(vectors[rows] @ base.T, _similarity_to(base, known), len(rows))]


def _greedy(similar: np.ndarray, covered: np.ndarray, budget: int) -> list[int]:
    """Candidates in the order of what each adds to the sum, over all, of the similarity with the best one so far.

    Lazily (Minoux 1978): gains only shrink, so that old ones bound new ones.

    Args:
        similar: float32 (candidates, m).
        covered: float32 (m,), the similarity to begin with.
        budget: how many.
    """
    chosen: list[int] = []
    bound = np.full(len(similar), np.inf)
    while len(chosen) < min(budget, len(similar)):
        best = int(bound.argmax())
        gain = float(np.maximum(similar[best] - covered, 0).sum())
        bound[best] = gain
        if gain < bound.max() - 1e-6:  # another may add more
            continue
        chosen.append(best)
        bound[best] = -np.inf
        covered = np.maximum(covered, similar[best])
    return chosen


def facility_location(
    vectors: np.ndarray, budget: int, allowed: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Take greedily the row that adds most to the sum over rows of the cosine with the nearest chosen one.

    The maximum is approached to within 1 - 1/e (Nemhauser et al. 1978); in text selection: Wei, Iyer & Bilmes 2015.
    Arguments and result as of `central`.
    """
    base, candidates = _compared(allowed, rng)
    similar = np.maximum(vectors[candidates] @ vectors[base].T, 0)
    covered = np.maximum(_similarity_to(vectors[base], known), 0)
    return candidates[_greedy(similar, covered, budget)]


def typical(
    vectors: np.ndarray, budget: int, allowed: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Take the densest row of each cluster, the largest cluster first (TypiClust, Hacohen et al. 2022).

    There are as many clusters as rows, labeled ones counted; those with a labeled text are passed over. How typical a
    row is: the inverse of its mean distance to its 20 nearest neighbors in the cluster. Arguments and result as of
    `central`.
    """
    together = np.concatenate([known, vectors]) if len(known) else vectors
    found = clusters(together, min(budget + len(known), MOST_CLUSTERS), rng)
    of = found.of[len(known) :]
    labeled = np.bincount(found.of[: len(known)], minlength=len(found.centers))
    sizes = np.bincount(of, minlength=len(found.centers)).astype(float)
    chosen: list[int] = []
    taken = ~allowed
    while len(chosen) < budget and not taken.all():
        free = np.bincount(of[~taken], minlength=len(sizes))
        order = np.lexsort((-sizes, labeled, sizes < LEAST_CLUSTER, free == 0))
        cluster = int(order[0])
        members = np.flatnonzero(of == cluster)
        free_members = members[~taken[members]]
        k = min(NEIGHBORS, len(members) - 1)
        dense = np.zeros(len(free_members))
        if k > 0:
            _, cosine = search(vectors[free_members], vectors[members], k + 1, progress=False)
            dense = -np.sqrt(np.maximum(2 - 2 * cosine[:, 1:], 0)).mean(1)
        row = int(free_members[dense.argmax()])
        chosen.append(row)
        taken[row] = True
        labeled[cluster] += 1
    return np.array(chosen, dtype=np.int64)


def covering(
    vectors: np.ndarray, budget: int, allowed: np.ndarray, known: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Take the rows whose balls cover most of the pool (ProbCover, Yehuda et al. 2022).

    The radius is the largest at which 95 % of the balls lie within one of `budget` k-means clusters. Where the balls
    cover everything before the budget is used up, the rest is taken as `central` takes it. Arguments and result as of
    `central`.
    """
    base, candidates = _compared(allowed, rng)
    distance = np.sqrt(np.maximum(2 - 2 * vectors[candidates] @ vectors[base].T, 0))
    of = clusters(vectors, budget, rng).of
    other = of[candidates][:, None] != of[base]
    nearest_other = np.where(other, distance, np.inf).min(1)
    pure = [radius for radius in RADII if (nearest_other > radius).mean() >= PURITY]
    radius = pure[-1] if pure else RADII[0]
    within = distance <= radius
    uncovered = np.sqrt(np.maximum(2 - 2 * _similarity_to(vectors[base], known), 0)) > radius
    degree = within[:, uncovered].sum(1)  # rows that each candidate would newly cover
    chosen: list[int] = []
    while len(chosen) < min(budget, len(candidates)):
        best = int(degree.argmax())
        if degree[best] <= 1:
            break
        chosen.append(best)
        newly = np.flatnonzero(within[best] & uncovered)
        uncovered[newly] = False
        degree -= within[:, newly].sum(1)
        degree[best] = -1
    rows = candidates[chosen]
    if len(rows) < budget:
        still = allowed.copy()
        still[rows] = False
        rows = np.concatenate(
            [rows, central(vectors, budget - len(rows), still, np.concatenate([known, vectors[rows]]), rng)]
        )
    return rows


def _compared(allowed: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows to be covered and candidates to cover them, of large pools a sample."""
    candidates = np.flatnonzero(allowed)
    if len(candidates) > GREEDY_ROWS:
        candidates = np.sort(rng.choice(candidates, GREEDY_ROWS, replace=False))
    base = np.arange(len(allowed))
    return (np.sort(rng.choice(base, GREEDY_ROWS, replace=False)) if len(base) > GREEDY_ROWS else base), candidates


def _similarity_to(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The cosine of every row with the nearest labeled text, float32 (n,); -1 where there is none."""
    nearest = np.full(len(vectors), -1, np.float32)
    if len(known):
        for start, stop in spans(len(vectors), BLOCK):
            nearest[start:stop] = (vectors[start:stop] @ known.T).max(1)
    return nearest
