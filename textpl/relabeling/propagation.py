"""Label propagation: the gold labels diffuse over the whole kNN graph at once (Iscen et al. 2019, arXiv 1904.04717)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.result import Relabeling

# Rows whose neighbour lists are copied at once while hops are counted: bounds the memory, not the result.
FRONTIER_ROWS = 65_536
# Below this the quotient of two float32 masses is rounding error.
SMALLEST_MASS = np.finfo(np.float32).tiny


def label_propagation(
    graph: NeighborGraph,
    targets: np.ndarray,
    gold: np.ndarray,
    *,
    alpha: float = 0.99,
    gamma: float = 3.0,
    iterations: int = 20,
    tolerance: float = 1e-6,
    multi: bool = False,
) -> Relabeling:
    """Labels every row by the share of each label in the gold mass that diffuses to it.

    With A_ij = max(cos_ij, 0)^gamma on the graph's edges, W = A + A^T and Wn = D^-1/2 W D^-1/2, solves
    (I - alpha Wn) F = S by conjugate gradients (Iscen et al. 2019; the seeds S as in their code):

    - single-label: S_jc = y_jc / n_c, so that every class sends out the same mass however many gold rows it has;
      p_ic = F_ic / sum_c F_ic. A class without gold mass gets 0 everywhere.
    - multi-label: S_jl = y_jl next to one column S_j = 1 of all gold rows; p_il = F_il / F_i is the mean of the
      gold targets of label l, weighted by how much of each gold row's mass arrives. On one-hot targets this is the
      single-label result without its correction for class sizes.

    When to use: classes form clusters in the embedding space; the strongest of the family there, and the one that
    stands imbalance best. Labels travel fewer than `iterations` hops.

    Args:
        graph: neighbours of all n rows, labelled or not; edges are used in both directions.
        targets: float32 (n, labels), one-hot, soft or multi-hot; read in gold rows only.
        gold: bool (n,), rows whose targets are given.
        alpha: share of the mass that moves on at each step of the walk, in (0, 1).
        gamma: power of the cosine; higher trusts near neighbours more.
        iterations: most conjugate gradient steps.
        tolerance: stop when every column's residual is this small relative to its seeds.
        multi: whether a row may have several labels.

    Returns:
        A relabeling whose `hops` and `order` are the distance to the nearest gold row in W, and whose `evidence` is
        the diffused mass in units of an average gold row's seed. Rows that no mass has reached (no gold in their
        component, or `iterations` hops away and more) abstain. `info`: "iterations", "residual" (largest relative one),
        "components_without_seed".

    Raises:
        ValueError: no gold row; arrays that do not fit the graph; NaN or negative targets in a gold row, or none at
            all (single-label); alpha outside (0, 1); iterations below 1.
    """
    seeds, scale = _seeds(graph, targets, gold, multi)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha={alpha}: must lie between 0 and 1, both excluded (0.9 to 0.99 is usual).")
    if iterations < 1:
        raise ValueError(f"iterations={iterations}: at least 1 is needed (20 is usual).")
    weights = symmetric_affinity(graph, gamma)
    diffused, steps, residual = conjugate_gradient(restarting(diffusion(weights), alpha), seeds, iterations, tolerance)
    np.maximum(diffused, 0, out=diffused)  # truncated solutions may dip below zero far from the seeds
    mass = diffused[:, -1].copy() if multi else diffused.sum(axis=1)
    p = diffused[:, :-1] if multi else diffused
    distance = hops_from(weights, gold)
    lost = np.flatnonzero(distance < 0)
    reached = (mass > SMALLEST_MASS) & (distance >= 0)
    p = np.divide(p, mass[:, None], out=np.zeros_like(p), where=reached[:, None])
    np.minimum(p, 1, out=p)
    p[gold] = targets[gold]
    hops = np.where(reached | gold, distance, -1).astype(np.int32)
    evidence = np.where(gold, np.inf, np.where(reached, mass * scale, 0)).astype(np.float32)
    info = {
        "iterations": steps,
        "residual": residual,
        "components_without_seed": connected_components(weights[lost][:, lost])[0] if len(lost) else 0,
    }
    return Relabeling(p=p, hops=hops, order=hops, evidence=evidence, info=info)


def _seeds(graph: NeighborGraph, targets: np.ndarray, gold: np.ndarray, multi: bool) -> tuple[np.ndarray, float]:
    """Right-hand sides float32 (n, labels), (n, labels + 1) for multi-label; and 1 / (mass of an average gold row)."""
    if len(targets) != len(graph) or np.ndim(targets) != 2 or gold.shape != (len(graph),) or gold.dtype != bool:
        raise ValueError(
            f"targets {np.shape(targets)} and gold {gold.shape} ({gold.dtype}) do not fit the {len(graph)} rows of the "
            "graph: expected (rows, labels) and bool (rows,)."
        )
    if not gold.any():
        raise ValueError("no gold row: label propagation needs at least one labelled text.")
    given = targets[gold].astype(np.float32)
    wrong = ~(given >= 0).all(axis=1) | ~np.isfinite(given).all(axis=1) | (~given.any(axis=1) if not multi else False)
    if wrong.any():
        row = int(np.flatnonzero(gold)[wrong.argmax()])
        raise ValueError(f"gold row {row} has targets {targets[row]}: expected finite numbers >= 0, not all of them 0.")
    seeds = np.zeros((len(graph), targets.shape[1] + multi), dtype=np.float32)
    if multi:
        seeds[gold] = np.column_stack([given, np.ones(len(given))])
        return seeds, 1.0
    sizes = given.sum(axis=0, dtype=np.float64)
    seeds[gold] = np.divide(given, sizes, out=np.zeros_like(given), where=sizes > 0, casting="same_kind")
    return seeds, len(given) / float((sizes > 0).sum())


def symmetric_affinity(graph: NeighborGraph, gamma: float) -> csr_array:
    """W = A + A^T with A_ij = max(cos_ij, 0)^gamma: float32 (n, n), sparse, zero diagonal, no stored zeros."""
    n = len(graph)
    strength = np.maximum(graph.sims, 0) ** np.float32(gamma)
    keep = (graph.ids >= 0) & (graph.ids != np.arange(n)[:, None]) & (graph.sims > 0) & (strength > 0)
    starts = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    one_way = csr_array((strength[keep], graph.ids[keep], starts), shape=(n, n))
    one_way.sort_indices()  # scipy adds sorted rows several times faster
    return one_way + one_way.T.tocsr()


def diffusion(weights: csr_array) -> Callable[[np.ndarray], np.ndarray]:
    """One step of the walk: multiplication of float32 (n, columns) by Wn = D^-1/2 W D^-1/2, without a second W."""
    degrees = weights.sum(axis=1, dtype=np.float64)
    root = np.sqrt(1 / np.where(degrees > 0, degrees, np.inf)).astype(np.float32)[:, None]

    def step(x: np.ndarray) -> np.ndarray:
        y = weights @ (root * x)
        y *= root
        return y

    return step


def restarting(step: Callable[[np.ndarray], np.ndarray], alpha: float) -> Callable[[np.ndarray], np.ndarray]:
    """Multiplication by I - alpha Wn, whose inverse sums the walk over all its lengths."""

    def apply(x: np.ndarray) -> np.ndarray:
        y = step(x)
        y *= np.float32(-alpha)
        y += x
        return y

    return apply


def conjugate_gradient(
    apply: Callable[[np.ndarray], np.ndarray], b: np.ndarray, iterations: int, tolerance: float
) -> tuple[np.ndarray, int, float]:
    """Solves one symmetric positive definite system for all columns of b at once.

    The columns share the multiplication, each has its own step lengths (as if solved alone).

    Args:
        apply: multiplication by the matrix, (n, columns) -> (n, columns).
        b: float32 (n, columns), right-hand sides; overwritten.
        iterations: most steps.
        tolerance: a column is done when |residual| <= tolerance * |b|.

    Returns:
        The solution float32 (n, columns), the steps made, and the largest |residual| / |b| of the columns.
    """
    x, residual, direction = np.zeros_like(b), b, b.copy()
    squares = start = _dots(residual, residual)
    done = 0
    while done < iterations and (active := squares > tolerance**2 * start).any():
        image = apply(direction)
        step = _ratio(squares, _dots(direction, image), active)
        image *= step
        residual -= image
        np.multiply(direction, step, out=image)
        x += image
        before, squares = squares, _dots(residual, residual)
        direction *= _ratio(squares, before, active)
        direction += residual
        done += 1
    return x, done, float(np.sqrt(np.max(squares / np.where(start > 0, start, 1), initial=0)))


def _dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # float32 sums over a million rows would be the limit of the accuracy.
    return np.einsum("ij,ij->j", a, b, dtype=np.float64)


def _ratio(above: np.ndarray, below: np.ndarray, active: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=active & (below > 0)).astype(np.float32)


def hops_from(adjacency: csr_array, sources: np.ndarray) -> np.ndarray:
    """Fewest edges from any source row to every row, along stored entries i -> j.

    Args:
        adjacency: sparse (n, n).
        sources: bool (n,).

    Returns:
        int32 (n,); 0 for sources, -1 where no path leads.
    """
    hops = np.where(sources, 0, -1).astype(np.int32)
    frontier, distance = np.flatnonzero(sources), 0
    while len(frontier):
        distance += 1
        found = []
        for start in range(0, len(frontier), FRONTIER_ROWS):
            near = adjacency[frontier[start : start + FRONTIER_ROWS]].indices
            found.append(np.unique(near[hops[near] < 0]))
            hops[found[-1]] = distance
        frontier = np.concatenate(found)
    return hops


def entropy_weight(p: np.ndarray) -> np.ndarray:
    """Certainty 1 - H(p) / log(labels) of single-label rows (Iscen et al. 2019, omega).

    Iscen's code then divides by the largest weight of the unlabelled rows and sets gold rows to 1; that is left to
    the caller, who knows which rows go into training.

    Args:
        p: (n, labels); rows sum to 1, or are 0 where nothing is known.

    Returns:
        float32 (n,) in [0, 1]; 0 for rows of zeros.
    """
    if p.shape[1] < 2:  # nothing to be uncertain between
        return np.array(p.any(axis=1), dtype=np.float32)
    entropy = -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1)
    certainty = np.clip(1 - entropy / np.log(p.shape[1]), 0, 1)
    return np.array(np.where(p.any(axis=1), certainty, 0), dtype=np.float32)


def class_weight(labels: np.ndarray, num_labels: int) -> np.ndarray:
    """Loss weight zeta_c = (N / C) / n_c of each class (Iscen et al. 2019), over gold and labelled rows.

    Args:
        labels: integers (n,); -1 (abstained) is left out.
        num_labels: C.

    Returns:
        float32 (num_labels,); 0 for a class without rows.
    """
    counts = np.bincount(labels[labels >= 0], minlength=num_labels)
    return np.divide(counts.sum() / num_labels, counts, out=np.zeros(num_labels), where=counts > 0).astype(np.float32)
