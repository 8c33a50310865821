"""The relabelling methods under one roof: name -> how it labels a `Problem`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from textpl.embeddings.neighbors import search, unit_rows
from textpl.relabeling.hdl import hdl, hdl_paper
from textpl.relabeling.knn import knn, knn_dv
from textpl.relabeling.linear import linear
from textpl.relabeling.problem import Problem
from textpl.relabeling.propagation import label_propagation
from textpl.relabeling.result import Relabeling
from textpl.relabeling.smoothing import smooth, smooth_vectors


@dataclass(frozen=True)
class Method:
    """A relabelling method.

    Attributes:
        label: `label(problem, k) -> Relabeling`; `k` is ignored by methods without neighbours.
        k: neighbours by default, None for a method without any.
        summary: what it does, in a line.
    """

    label: Callable[[Problem, int], Relabeling]
    k: int | None
    summary: str


def run_method(problem: Problem, name: str, k: int | None = None) -> Relabeling:
    """Label a problem by a method of `METHODS`; its prior plays no part yet, see `soft_labels`.

    Args:
        problem: what to label.
        name: key of `METHODS`.
        k: neighbours; default: the method's, as far as the graph goes.

    Raises:
        ValueError: unknown method; k below 1; a k above the graph's (it is built for the largest k asked for).
    """
    if name not in METHODS:
        raise ValueError(f"method={name!r}: use 'auto' or one of {', '.join(METHODS)}.")
    method = METHODS[name]
    neighbors = min(method.k or 1, max(problem.graph.k, 1)) if k is None else k
    return method.label(problem, neighbors)


def _direct_vote(problem: Problem, k: int) -> Relabeling:
    gold = np.flatnonzero(problem.gold)
    ids, sims = search(problem.vectors, problem.vectors[gold], min(k, len(gold)), progress=False)
    p = knn_dv(ids, sims, problem.targets[gold], multi=problem.multi)
    voters = ((ids >= 0) & (sims > 0)).sum(1)
    hops = np.where(problem.gold, 0, np.where(voters > 0, 1, -1)).astype(np.int32)
    p[hops < 0] = 0
    p[problem.gold] = problem.targets[problem.gold]
    return Relabeling(p, hops, hops, np.where(problem.gold, np.inf, voters).astype(np.float32))


def _graph_method(function: Callable[..., Relabeling]) -> Callable[[Problem, int], Relabeling]:
    def label(problem: Problem, k: int) -> Relabeling:
        return function(problem.graph.first(k), problem.targets, problem.gold, multi=problem.multi)

    return label


def _linear_smoothed(problem: Problem, k: int) -> Relabeling:
    graph = problem.graph.first(k)
    vectors = problem.remember(("smooth vectors", k), lambda: unit_rows(smooth_vectors(problem.vectors, graph)))
    return linear(vectors, problem.targets, problem.gold, multi=problem.multi)


def _linear_propagation(problem: Problem, k: int) -> Relabeling:
    result = _linear_smoothed(problem, k)
    p = smooth(result.p, problem.graph.first(k))
    p[~result.labeled] = 0
    p[problem.gold] = problem.targets[problem.gold]
    return replace(result, p=p)


METHODS = {
    "knn_dv": Method(_direct_vote, 10, "vote of the k nearest labelled rows"),
    "knn": Method(_graph_method(knn), 5, "votes of neighbours, tree search (a teaching baseline)"),
    "hdl_paper": Method(_graph_method(hdl_paper), 5, "hierarchical dynamic labeling as the paper has it"),
    "hdl": Method(_graph_method(hdl), 10, "HDL with votes discounted by their distance from gold"),
    "label_propagation": Method(_graph_method(label_propagation), 15, "diffusion over the whole graph"),
    "linear_smoothed": Method(_linear_smoothed, 15, "logistic regression on embeddings averaged over the graph"),
    "linear_propagation": Method(_linear_propagation, 15, "the same, its predictions averaged over the graph as well"),
    "linear": Method(
        lambda problem, k: linear(problem.vectors, problem.targets, problem.gold, multi=problem.multi),
        None,
        "logistic regression on the embeddings",
    ),
}
