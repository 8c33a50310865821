"""What a classifier and the neighbours say about the label of a row, fused into one probability.

Everything is fitted to the labels as they were given, wrong ones included: the result is P(given label = z | text),
which `single_label.detect` takes apart into the true label and the noise.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from torch import Tensor

from textpl.embeddings.graph import NeighborGraph
from textpl.progress import progress_bar

SMALLEST = 1e-6  # probabilities are cut off here before their logarithm is taken
FLAT = 1e-5  # standard deviation of log-probabilities below which they are rounding errors
FUSED_ROWS = 20_000  # a handful of weights is fitted on at most so many rows
HEAD_ROWS = 50_000  # and a linear head on so many
STRENGTH = 1.0  # inverse L2 strength C: on wrong labels less is better than the usual 10
FOLDS = 5
BLOCK = 1 << 22  # numbers of a neighbourhood matrix held at once
# Neighbours and steepness: a wide vote in which near rows count more, and a narrow one that is nearly flat. A row at
# the mean distance of the k-th neighbour counts exp(-steepness) times the nearest.
VOTES = ((50, 3.0), (15, 1.0))


def log_probabilities(p: np.ndarray) -> np.ndarray:
    """Logarithm of probabilities, cut off at 1e-6; any shape, float32."""
    return np.log(np.maximum(p, SMALLEST), dtype=np.float32)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis, shape kept."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def neighbor_votes(graph: NeighborGraph, targets: np.ndarray, k: int, steepness: float) -> np.ndarray:
    """Class shares among the k nearest rows, the row itself not among them.

    A neighbour weighs exp(steepness (s - s_1) / (mean s_1 - mean s_k)), s its similarity, s_1 that of the nearest: the
    scale of similarities, which every encoder has its own, cancels. One more vote goes to the class shares of all rows.

    Args:
        graph: neighbours of all rows; of fewer than k all are asked.
        targets: float (rows, labels), one-hot or soft.
        k: neighbours that vote.
        steepness: 0 for equal votes.

    Returns:
        float32 (rows, labels), rows sum to 1.
    """
    graph = graph.first(min(k, graph.k))
    prior = targets.mean(axis=0, dtype=np.float64)
    last = np.where(graph.ids >= 0, graph.sims, np.inf).min(axis=1)  # a row may have fewer neighbors than columns
    spread = float(np.where(np.isfinite(last), graph.sims[:, 0] - last, 0).mean()) + 1e-6
    targets = np.asarray(targets, dtype=np.float32)
    out = np.empty(targets.shape, dtype=np.float32)
    rows = max(1, BLOCK // graph.k)
    for start in range(0, len(graph), rows):
        ids, sims = graph.ids[start : start + rows], graph.sims[start : start + rows]
        weights = np.exp(steepness * np.minimum(sims - sims[:, :1], 0) / spread) * (ids >= 0)
        ends = np.arange(len(ids) + 1) * graph.k
        matrix = csr_array((weights.ravel(), np.maximum(ids, 0).ravel(), ends), shape=(len(ids), len(targets)))
        out[start : start + rows] = (matrix @ targets + prior) / (weights.sum(axis=1, keepdims=True) + 1)
    return out


def evidence(probabilities: np.ndarray, graph: NeighborGraph | None, targets: np.ndarray) -> np.ndarray:
    """Log-probabilities of the classifier and of the votes: float32 (sources, rows, labels), 1 or 3 sources."""
    votes = [] if graph is None else [neighbor_votes(graph, targets, k, steepness) for k, steepness in VOTES]
    return np.stack([log_probabilities(p) for p in (probabilities, *votes)])


def fit_fusion(sources: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of a log-linear pool, softmax(sum_s a_s log p_s + b), by maximum likelihood of the given labels.

    Args:
        sources: float32 (sources, rows, labels), log-probabilities that did not see the row's own label.
        labels: int64 (rows,), given.
        seed: draws the rows that are used where there are more than 20,000.

    Returns:
        a float32 (sources,), b float32 (labels,); a weak L2 penalty keeps the bias of rare labels small.
    """
    rows = _sample(len(labels), seed)
    # Probabilities that hardly differ within a row need weights of thousands: they are fitted on their own scale.
    some = sources[:, rows]
    scale = np.minimum(np.sqrt(((some - some.mean(axis=2, keepdims=True)) ** 2).mean(axis=(1, 2), keepdims=True)), 1)
    scale = np.where(scale > FLAT, scale, 1).astype(np.float32)
    x, y = torch.as_tensor(some / scale), torch.as_tensor(labels[rows])
    a = torch.full((len(sources),), 1 / len(sources), requires_grad=True)
    b = torch.zeros(sources.shape[2], requires_grad=True)

    def loss() -> Tensor:
        scores = torch.einsum("s,snk->nk", a, x) + b
        return torch.nn.functional.cross_entropy(scores, y, reduction="sum") + ((b**2).sum() + (a**2).sum()) / 2

    _minimize([a, b], loss, len(rows), 60)
    # A source that speaks against what it votes for only makes up for another one that shouts.
    return a.detach().numpy().clip(min=0) / scale[:, 0, 0], b.detach().numpy()


def sharpen(scores: np.ndarray, labels: np.ndarray, transition: np.ndarray, seed: int) -> np.ndarray:
    """softmax(c * scores), c such that the given labels are most likely after class noise T.

    A given label z has probability sum_y p(y | x) T[y, z] (forward correction, Patrini et al. 2017, arXiv 1609.03944):
    the pool becomes as sure of the true label as the given ones allow. Only the scale is fitted; weights fitted to
    given labels here would learn the errors again that the scores are free of.

    Args:
        scores: float32 (rows, labels).
        labels: int64 (rows,), given.
        transition: float (labels, labels).
        seed: draws the rows that are used where there are more than 20,000.
    """
    rows = _sample(len(labels), seed)
    some, likely = scores[rows], np.ascontiguousarray(transition.T[labels[rows]], dtype=np.float32)

    def loss(log_scale: float) -> float:
        p = (softmax(np.exp(log_scale) * some) * likely).sum(axis=1, dtype=np.float64)
        return -np.log(np.maximum(p, SMALLEST)).mean()

    best = minimize_scalar(loss, bounds=(-1.5, 2.5), method="bounded", options={"xatol": 0.02})
    return softmax(np.exp(best.x) * scores).astype(np.float32)


def _sample(rows: int, seed: int) -> np.ndarray:
    if rows <= FUSED_ROWS:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, FUSED_ROWS, replace=False))


def pool(sources: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """sum_s a_s log p_s: float32 (rows, labels)."""
    return np.tensordot(weights, sources, axes=1)


def held_out_head(
    vectors: np.ndarray, targets: np.ndarray, *, groups: np.ndarray | None, seed: int, progress: bool
) -> np.ndarray:
    """Probabilities of a logistic regression on soft targets, each row predicted by a fold that did not see it.

    Args:
        vectors: float (rows, d).
        targets: float32 (rows, labels), rows sum to 1.
        groups: int (rows,), rows of one group (near-duplicates) share a fold; None: every row by itself.
        seed: of the folds.
        progress: show a progress bar.

    Returns:
        float32 (rows, labels).
    """
    rng = np.random.default_rng(seed)
    groups = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
    fold = (rng.permutation(groups.max() + 1) % FOLDS)[groups]
    out = np.empty(targets.shape, dtype=np.float32)
    for held in progress_bar(np.unique(fold), desc="refitting on cleaner labels", shown=progress):
        train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
        if len(train) > HEAD_ROWS:
            train = np.sort(rng.choice(train, HEAD_ROWS, replace=False))
        if not len(train):  # one group holds all rows
            out[test] = targets.mean(axis=0)
            continue
        weights, bias = fit_logistic(np.asarray(vectors[train], dtype=np.float32), targets[train])
        out[test] = softmax(np.asarray(vectors[test], dtype=np.float32) @ weights + bias)
    return out


def fit_logistic(x: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (d, labels) and bias (labels,) of a softmax regression on soft targets, C = 1."""
    features, wanted = torch.as_tensor(x), torch.as_tensor(targets)
    weights = torch.zeros(x.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.log(wanted.mean(0).clamp_min(SMALLEST)).requires_grad_(True)

    def loss() -> Tensor:
        logits = torch.addmm(bias, features, weights)
        return -(wanted * logits.log_softmax(1)).sum() + (weights**2).sum() / (2 * STRENGTH)

    _minimize([weights, bias], loss, len(x), 60)
    return weights.detach().numpy(), bias.detach().numpy()


def _minimize(parameters: list[Tensor], loss_of: object, rows: int, iterations: int) -> None:
    """L-BFGS on the loss per row, in place."""
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=iterations, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=1e-5
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of() / rows  # type: ignore[operator]
        loss.backward()
        return loss

    optimizer.step(closure)
