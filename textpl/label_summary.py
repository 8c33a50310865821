"""The report of `textpl.label`: what was tried, what it reached on the labeled rows, what cannot be known."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from textpl.embeddings.neighbors import neighbor_graph
from textpl.label_descriptions import Descriptions
from textpl.relabeling.choice import STANDARD_ERRORS
from textpl.relabeling.clusterability import clusterability
from textpl.relabeling.methods import function_name
from textpl.relabeling.name_weight import LEAST_ROWS, Weighing
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import SoftLabels

logger = logging.getLogger(__name__)

# Neighbors looked at by the diagnostics.
DIAGNOSED_K = 5
# Methods that let voted labels vote in full.
UNDISCOUNTED = ("hdl_paper", "knn")


def label_report(
    problem: Problem,
    soft: SoftLabels,
    label_names: Sequence[str],
    rates: np.ndarray,
    described: Descriptions | None,
) -> dict[str, Any]:
    """Gather what was tried and measured, as plain data, with a summary in words.

    Args:
        problem: what was labeled.
        soft: the labels.
        label_names: of every label.
        rates: (labels,), the share of rows that has each.
        described: what was to be used of the labels' names; None for nothing.
    """
    measure = "macro F1" if problem.multi else "accuracy"
    neighborhoods = _neighborhoods(problem, soft) if problem.gold.any() else None
    report = {
        "tried": [
            {
                "method": t.name,
                "k": t.k,
                measure.replace(" ", "_"): t.score if len(t.rows) else None,
                "used": t is soft.trial,
            }
            for t in soft.trials
        ],
        "clusterability": None if neighborhoods is None else neighborhoods.to_dict(),
        "graph": {"method": problem.graph.method, "k": problem.graph.k, "recall": problem.graph.recall},
        "label_rates": dict(zip(label_names, np.round(rates, 6).tolist(), strict=True)),
        "summary": [*_tried(problem, soft, measure), *_prior(problem, label_names), *_cuts(problem)],
        "neighborhoods": [] if neighborhoods is None else neighborhoods.summary().splitlines(),
    }
    if described is not None:
        report["label_descriptions"] = _names_as_numbers(soft, described, measure)
        report["summary"].append(_names_in_words(problem, soft, described, measure))
    return report


def _neighborhoods(problem: Problem, soft: SoftLabels) -> Any:
    rows = np.flatnonzero(problem.gold)
    found = clusterability(
        problem.graph,
        problem.targets,
        problem.gold,
        k=min(DIAGNOSED_K, problem.graph.k),
        gold_graph=neighbor_graph(problem.vectors[rows], DIAGNOSED_K, progress=False),
        multi=problem.multi,
    )
    warning = found.warning() if function_name(soft.trial.method) in UNDISCOUNTED else None
    if warning:
        logger.warning("%s", warning)
    return found


def _tried(problem: Problem, soft: SoftLabels, measure: str) -> list[str]:
    trial, trials = soft.trial, soft.trials
    if not problem.gold.any():
        return [
            "no labeled row: how right the labels are is not known; the confidence is the method's own, not measured",
        ]
    if not len(trial.rows):
        twice = "twice" if problem.groups is None else "in two groups"
        return [f"no label occurs {twice}: how right the labels are cannot be estimated"]
    apart = "it and every fifth other one" if problem.groups is None else "its group and other groups"
    lines = [f"{measure} on {len(trial.rows)} labeled rows, each labeled while {apart} were hidden:"]
    lines += [f"  {t}: {100 * t.score:.1f}" + ("  <- used" if t is trial else "") for t in trials]
    best = max(trials, key=lambda t: t.score)
    if best.score > trial.score:
        lines.append(
            f"{trial} is the default. {best}, {100 * (best.score - trial.score):.1f} higher, may be so by chance: "
            f"another one is used only if it is more than {STANDARD_ERRORS:g} standard errors better."
        )
    return lines


def _prior(problem: Problem, label_names: Sequence[str]) -> list[str]:
    if problem.prior is None or problem.multi:
        return []
    shares = ", ".join(f"{n} {share:.3g}" for n, share in zip(label_names, problem.prior, strict=True))
    return [f"class shares as given: {shares}"]


def _cuts(problem: Problem) -> list[str]:
    if not problem.multi or problem.gold.any():
        return []
    return [
        "each label is given to the rows that come nearest to it, as many as class_prior says: on that its cut rests"
    ]


def _names_as_numbers(soft: SoftLabels, described: Descriptions, measure: str) -> dict[str, Any]:
    weighing, key = soft.weighing, measure.replace(" ", "_")
    numbers: dict[str, Any] = {
        "texts": len(described.texts),
        "without": list(described.silent),
        "weight": 0.0 if weighing is None else weighing.weight,
        "measured": weighing is not None and weighing.measured,
    }
    if weighing is not None and len(weighing.trial.rows):
        numbers["by_weight"] = [{"weight": t.name_weight, key: t.score} for t in weighing.trials]
    if weighing is not None and weighing.nameless is not None:
        numbers["intercepts_alone"] = weighing.nameless.score
    return numbers


def _names_in_words(problem: Problem, soft: SoftLabels, described: Descriptions, measure: str) -> str:
    """The weight, and what it is worth on the labeled rows."""
    told, weighing = described.told(), soft.weighing
    if not described.texts:
        return told
    if problem.names is None or weighing is None:
        why = (
            "no text of them has a known word" if problem.names is None else f"{soft.trial.name} has no place for them"
        )
        return f"label names not used: {why}"
    if not problem.gold.any():
        return f"{told}: the labels rest on them alone"
    own, without = 100 * weighing.trial.score, 100 * weighing.without.score
    if not weighing.measured:
        return f"{told}: weight {weighing.weight:g}, the default (fewer than {LEAST_ROWS} rows to choose it by)"
    if not weighing.weight:
        return "label names not used: the labeled rows are labeled better without them"
    gain = f"{measure} {own:.1f} instead of {without:.1f} ({own - without:+.1f} points{_by_intercepts(weighing)})"
    return f"{told}: weight {weighing.weight:g}; {gain}"


def _by_intercepts(weighing: Weighing) -> str:
    """What the penalty on intercepts, which comes with names, brings without any name."""
    part = 0.0 if weighing.nameless is None else 100 * (weighing.nameless.score - weighing.without.score)
    return "" if abs(part) < 0.05 else f"; the penalty on intercepts alone {part:+.1f}"
