"""The relabelling methods under one roof: by name, or as a function on the graph with settings of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature

import numpy as np

from textpl.embeddings.neighbors import search, unit_rows
from textpl.relabeling.hdl import hdl, hdl_paper
from textpl.relabeling.knn import knn, knn_dv
from textpl.relabeling.linear import linear
from textpl.relabeling.problem import Problem
from textpl.relabeling.propagation import label_propagation
from textpl.relabeling.result import Relabeling
from textpl.relabeling.smoothing import smooth, smooth_vectors

# Called as `function(graph, targets, gold, multi=...)`, such as `functools.partial(hdl, rho=0.6)`. One that has a
# parameter `to_gold` (`hdl`, `hdl_paper`) is given the nearest labelled rows of every row as well.
GraphFunction = Callable[..., Relabeling]
# Neighbours for a function that is none of ours.
FUNCTION_K = 10


@dataclass(frozen=True)
class Method:
    """A relabelling method.

    Attributes:
        label: `label(problem, k) -> Relabeling`; `k` is ignored by methods without neighbours.
        k: neighbours by default, None for a method without any.
        summary: what it does, in a line of plain words that stands for itself.
        names: whether it uses the names of the labels, where the problem has them.
    """

    label: Callable[[Problem, int], Relabeling]
    k: int | None
    summary: str
    names: bool = False


def find_method(method: str | GraphFunction) -> Method:
    """A method by its name, or made of a function, whose k is that of the method of its name, else 10.

    Raises:
        ValueError: unknown name.
    """
    if callable(method):
        known = METHODS.get(function_name(method))
        return Method(_given(method), (known and known.k) or FUNCTION_K, described(method))
    if method not in METHODS:
        raise ValueError(
            f"method={method!r}: use 'auto' or one of {', '.join(METHODS)}, or a function such as "
            "functools.partial(textpl.relabeling.hdl.hdl, rho=0.6)."
        )
    return METHODS[method]


def function_name(method: str | GraphFunction) -> str:
    """The name without the settings."""
    if isinstance(method, partial):
        return function_name(method.func)
    return method if isinstance(method, str) else getattr(method, "__name__", type(method).__name__)


def described(method: str | GraphFunction) -> str:
    """The name with the settings of a `functools.partial`."""
    settings = method.keywords.items() if isinstance(method, partial) else ()
    shown = ", ".join(f"{name}={value!r}" for name, value in settings)
    return function_name(method) + (f"({shown})" if shown else "")


def run_method(problem: Problem, method: str | GraphFunction, k: int | None = None) -> Relabeling:
    """Label a problem; its prior plays no part yet, see `soft_labels`.

    Args:
        problem: what to label.
        method: key of `METHODS`, or a function on the graph.
        k: neighbours; default: the method's, as far as the graph goes.

    Raises:
        ValueError: unknown method; k below 1; a k above the graph's (it is built for the largest k asked for); a
            function that does not return a `Relabeling` of these rows and labels.
    """
    found = find_method(method)
    return found.label(problem, min(found.k or 1, max(problem.graph.k, 1)) if k is None else k)


def _direct_vote(problem: Problem, k: int) -> Relabeling:
    ids, sims = _nearest_gold(problem, k)
    p = knn_dv(ids, sims, problem.targets, multi=problem.multi)
    voters = (ids >= 0).sum(1)  # zero vectors have none; around the mean a nearest row may well have a cosine below 0
    hops = np.where(problem.gold, 0, np.where(voters > 0, 1, -1)).astype(np.int32)
    p[hops < 0] = 0
    p[problem.gold] = problem.targets[problem.gold]
    return Relabeling(p, hops, hops, np.where(problem.gold, np.inf, voters).astype(np.float32))


def _graph_method(function: Callable[..., Relabeling]) -> Callable[[Problem, int], Relabeling]:
    def label(problem: Problem, k: int) -> Relabeling:
        return function(problem.graph.first(k), problem.targets, problem.gold, multi=problem.multi)

    return label


def _given(function: GraphFunction) -> Callable[[Problem, int], Relabeling]:
    """A function from outside: its result is looked at before anything is made of it."""

    def label(problem: Problem, k: int) -> Relabeling:
        more = {"to_gold": _nearest_gold(problem, k)} if "to_gold" in signature(function).parameters else {}
        found = function(problem.graph.first(k), problem.targets, problem.gold, multi=problem.multi, **more)
        shape = np.shape(found.p) if isinstance(found, Relabeling) else type(found).__name__
        if shape != problem.targets.shape:
            raise ValueError(
                f"method={described(function)} gave {shape}: expected a textpl.relabeling.result.Relabeling with p of "
                f"shape {problem.targets.shape}."
            )
        return found

    return label


def _nearest_gold(problem: Problem, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and cosines (n, up to k) of every row's nearest gold rows; -1 and 0 for none."""
    gold = np.flatnonzero(problem.gold)
    ids, sims = search(problem.vectors, problem.vectors[gold], min(k, len(gold)), progress=False)
    return np.where(ids >= 0, gold[ids], -1), sims


def _linear_smoothed(problem: Problem, k: int) -> Relabeling:
    graph = problem.graph.first(k)
    vectors = problem.remember(("smooth vectors", k), lambda: unit_rows(smooth_vectors(problem.vectors, graph)))
    return linear(vectors, problem.targets, problem.gold, multi=problem.multi, toward=problem.toward)


def _linear(problem: Problem, k: int) -> Relabeling:
    return linear(problem.vectors, problem.targets, problem.gold, multi=problem.multi, toward=problem.toward)


def _linear_propagation(problem: Problem, k: int) -> Relabeling:
    result = _linear_smoothed(problem, k)
    p = smooth(result.p, problem.graph.first(k))
    p[~result.labeled] = 0
    p[problem.gold] = problem.targets[problem.gold]
    return replace(result, p=p)


METHODS = {
    "knn_dv": Method(_direct_vote, 10, "the most similar labelled texts vote"),
    "knn": Method(
        _graph_method(knn), 5, "similar texts vote, labelled or reached from labelled ones (a teaching baseline)"
    ),
    "hdl_paper": Method(
        _graph_method(hdl_paper),
        5,
        "labels go from text to text outwards, the nearest first (hierarchical dynamic labeling)",
    ),
    "hdl": Method(
        _graph_method(hdl), 10, "labels go from text to text outwards; the further they came, the less they count"
    ),
    "label_propagation": Method(
        _graph_method(label_propagation), 15, "labels spread over the whole net of similar texts"
    ),
    "linear_smoothed": Method(
        _linear_smoothed,
        15,
        "a linear classifier on embeddings, each averaged with those of similar texts",
        names=True,
    ),
    "linear_propagation": Method(
        _linear_propagation,
        15,
        "a linear classifier on averaged embeddings; its answers are averaged over similar texts too",
        names=True,
    ),
    "linear": Method(_linear, None, "a linear classifier (logistic regression) on the embeddings", names=True),
}
