"""`annotations=` of `textpl.label`: what others say about the rows, beside the graph, each for what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.annotations.annotation import Annotation, joined
from textpl.annotations.confusion import Confusion, estimate_confusion, log_likelihood
from textpl.annotations.reading import read_annotations
from textpl.relabeling.calibration import calibrate
from textpl.relabeling.choice import score_of
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import SoftLabels, projected
from textpl.relabeling.stacking import fit_exponents, folds_of, stacked

SMALLEST = 1e-4
# Labels by few rows, or by names alone, are trusted as if they came from so many.
TRUSTED_ROWS = 10


@dataclass(frozen=True)
class Fused:
    """Labels by the graph and by annotators.

    Attributes:
        soft: as from the graph alone, with all evidence in it.
        confusions: how reliable each annotator is.
        weights: float64 (1 + annotators,), the exponent of the graph's labels and of each annotator.
        scores: accuracy or macro F1 on the held-out rows, of the graph alone and of all evidence; NaN without rows.
    """

    soft: SoftLabels
    confusions: tuple[Confusion, ...]
    weights: np.ndarray
    scores: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Every annotator as plain data."""
        return {
            "graph_weight": float(self.weights[0]),
            "annotators": [
                {
                    "name": found.name,
                    "accuracy": _known(found.accuracy[0]),
                    "interval": [_known(end) for end in found.accuracy[1:]],
                    "gold_rows": found.gold,
                    "says_always_the_same": found.constant,
                    "weight": 0.0 if found.constant else float(weight),
                }
                for found, weight in zip(self.confusions, self.weights[1:], strict=True)
            ],
        }

    def told(self, measure: str) -> list[str]:
        """What the annotators are worth, in lines."""
        before, after = (100 * score for score in self.scores)
        if np.isnan(after):
            lines = ["with annotators, whose reliability rests on the other evidence alone:"]
        else:
            lines = [f"with annotators: {measure} {after:.1f} instead of {before:.1f} ({after - before:+.1f} points)"]
        for found, weight in zip(self.confusions, self.weights[1:], strict=True):
            lines.append(f"  {found.told()}" + ("" if found.constant else f"; weight {weight:.2f}"))
        return [*lines, f"  the labels without them: weight {self.weights[0]:.2f}"]


def read_for_both(
    annotations: Any, labeled: Dataset | None, unlabeled: Dataset, label_names: Sequence[str], multi: bool
) -> list[Annotation]:
    """Read what annotators say of the labeled rows and then of the pool's.

    Args:
        annotations: columns by name, of both datasets or of the pool alone; or annotator -> column, or one value for
            each row of the pool, or for each labeled row and then each of the pool.
        labeled: None where there is none.
        unlabeled: the pool.
        label_names: in the order of ids.
        multi: several labels per row.

    Returns:
        Annotators, of `len(labeled) + len(unlabeled)` rows; without an answer where nobody was asked.
    """
    known = 0 if labeled is None else len(labeled)
    every: list[Annotation] = []
    for name, source in _by_name(annotations).items():
        if not isinstance(source, str) and known and np.shape(source)[:1] == (known + len(unlabeled),):
            every += read_annotations({name: source}, None, label_names, multi=multi, rows=known + len(unlabeled))
            continue
        pool = read_annotations({name: source}, unlabeled, label_names, multi=multi)
        asked = labeled is not None and isinstance(source, str) and source in labeled.column_names
        if asked and _answers(labeled, source):
            every += joined(read_annotations({name: source}, labeled, label_names, multi=multi), pool)
        else:
            every += [_silent_before(a, known) for a in pool]
    return every


def fuse(
    soft: SoftLabels,
    problem: Problem,
    nodes: Nodes,
    annotations: Sequence[Annotation],
    prior: np.ndarray | None,
    seed: int,
) -> Fused:
    """Combine labels from the graph with what annotators say.

    Tables of errors and exponents are cross-fitted: what a labeled row is judged by was found without its label.

    Args:
        soft: labels from the graph, not yet made to agree with class shares.
        problem: what was labeled.
        nodes: of all rows.
        annotations: of all rows, labeled ones first.
        prior: shares that the result must have (single-label); None leaves them free.
        seed: of the folds.
    """
    multi, gold = problem.multi, np.flatnonzero(problem.gold)
    held = gold[soft.trial.rows]
    named = np.zeros(problem.num_labels, dtype=bool) if problem.names is None else problem.names.any(1)
    seen = np.asarray((problem.targets[gold] > 0).any(0) | named)
    base = _humble(_spread(soft.p, soft.result.labeled), len(held), seen, multi)
    # Gold rows stand with what was said of them while their label was hidden, so that graph and annotators compare.
    base[gold] = _spread(np.zeros((len(gold), problem.num_labels), np.float32), np.zeros(len(gold), dtype=bool))
    base[held] = _humble(_spread(soft.held_out, np.asarray(soft.held_out.any(1))), len(held), seen, multi)
    units = held if problem.groups is None else problem.groups[held]
    folds, targets = folds_of(units, seed), problem.targets[held]
    crossed = np.zeros((1 + len(annotations), len(held), problem.num_labels))
    crossed[0] = _logs(base[held], multi)
    for fold in range(folds.max(initial=-1) + 1):
        hidden = np.zeros(len(base), dtype=bool)
        hidden[held[folds == fold]] = True
        _, evidence = _evidence(annotations, base, problem, nodes, hidden)
        crossed[1:, folds == fold] = evidence[:, held[folds == fold]]
    weights = fit_exponents(crossed, targets, multi=multi)
    hidden_p = np.empty((len(held), problem.num_labels))
    for fold in range(folds.max(initial=-1) + 1):
        own = folds == fold
        hidden_p[own] = stacked(
            crossed[:, own], fit_exponents(crossed[:, ~own], targets[~own], multi=multi), multi=multi
        )
    confusions, evidence = _evidence(annotations, base, problem, nodes, np.zeros(len(base), dtype=bool))
    # Who has answered no labeled row may repeat another one: together they count as one, as if all said the same.
    unproven = ~(crossed[1:] != 0).any((1, 2)) & np.array([not found.constant for found in confusions])
    weights[1:][unproven] = 1 / max(int(unproven.sum()), 1)
    p = stacked(np.concatenate([_logs(base, multi)[None], evidence]), weights, multi=multi)
    reached = soft.result.labeled | np.asarray(evidence.any((0, 2)))
    made = _as_soft(soft, problem, p.astype(np.float32), hidden_p.astype(np.float32), reached, prior)
    before = score_of(soft.trial.p, targets, multi) if len(held) else float("nan")
    return Fused(made, confusions, weights, (before, made.trial.score))


def _evidence(
    annotations: Sequence[Annotation], base: np.ndarray, problem: Problem, nodes: Nodes, hidden: np.ndarray
) -> tuple[tuple[Confusion, ...], np.ndarray]:
    """Confusions, learned without the labels of `hidden` nodes, and the evidence (annotators, nodes, labels)."""
    gold = (problem.gold & ~hidden)[nodes.of]
    truth = problem.targets[nodes.of]
    found = estimate_confusion(annotations, base[nodes.of], truth, gold, multi=problem.multi).confusions
    counts = np.bincount(nodes.of, minlength=len(base))[:, None]
    evidence = np.zeros((len(annotations), *base.shape))
    for place, (annotation, confusion) in enumerate(zip(annotations, found, strict=True)):
        # One text in several rows is one piece of evidence, not several.
        np.add.at(evidence[place], nodes.of, log_likelihood(annotation, confusion))
        evidence[place] /= counts
    return found, evidence


def _as_soft(
    soft: SoftLabels,
    problem: Problem,
    p: np.ndarray,
    hidden_p: np.ndarray,
    reached: np.ndarray,
    prior: np.ndarray | None,
) -> SoftLabels:
    """The labels that all evidence gives, in the place of the graph's."""
    gold, hops = problem.gold, np.where(soft.result.hops < 0, np.where(reached, 1, -1), soft.result.hops)
    order = np.where(soft.result.order < 0, hops, soft.result.order).astype(np.int32)
    targets = problem.targets[gold][soft.trial.rows]
    votes, held_out = p.copy(), hidden_p
    if problem.multi:
        calibration = calibrate(hidden_p.ravel(), targets.ravel())
        p, held_out = calibration.precision(p), calibration.precision(hidden_p)
    elif prior is not None:
        p[~gold & reached] = projected(p[~gold & reached], prior)
    for values in (p, votes):
        values[~reached], values[gold] = 0, problem.targets[gold]
    score = score_of(hidden_p, targets, problem.multi) if len(targets) else float("nan")
    trial = replace(soft.trial, p=hidden_p, score=score)
    result = replace(soft.result, p=votes, hops=hops.astype(np.int32), order=order)
    return replace(soft, p=p, held_out=held_out, result=result, trial=trial)


def _logs(p: np.ndarray, multi: bool) -> np.ndarray:
    """Log-odds (multi) or logarithms of probabilities that are never quite 0 or 1."""
    p = np.clip(p.astype(np.float64), SMALLEST, 1 - SMALLEST)
    return np.log(p) - np.log1p(-p) if multi else np.log(p)


def _spread(p: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Probabilities with even chances in rows that nothing is known of, float64; rows sum to 1 if labels compete."""
    return np.where(known[:, None], p.astype(np.float64), 1 / p.shape[1])


def _humble(p: np.ndarray, rows: int, seen: np.ndarray, multi: bool) -> np.ndarray:
    """Chances as sure as so many labeled rows allow, and some for labels that no row and no name tells of.

    Of m rows that never showed it, nothing can be called rarer than about 1 in m: p <- (m p + 1 / labels) / (m + 1). A
    label that is not among the labeled rows has no chance by a classifier, which is little evidence against it: it gets
    the chance of a label that m rows did not show, 1 / (m + labels) (the rule of succession), and not an even one, by
    which rows that all have one label would be no evidence for it.
    """
    labels, rows = p.shape[1], max(rows, TRUSTED_ROWS)
    p = (rows * p + 1 / labels) / (rows + 1)
    unseen = 1 / (rows + labels)
    if not multi and seen.any() and not seen.all():
        left = 1 - unseen * (~seen).sum()
        p = p * (left / np.maximum(p[:, seen].sum(axis=1, keepdims=True), SMALLEST))
    return np.where(seen, p, unseen if multi or seen.any() else 1 / labels)


def _by_name(annotations: Any) -> dict[str, Any]:
    if isinstance(annotations, str):
        return {annotations: annotations}
    if isinstance(annotations, Mapping):
        return {str(name): source for name, source in annotations.items()}
    if isinstance(annotations, (list, tuple)) and annotations and all(isinstance(name, str) for name in annotations):
        return {name: name for name in annotations}
    raise ValueError(
        "annotations: give the name of a column, several names, or a dict: annotator -> column or one answer per row."
    )


def _answers(dataset: Dataset, column: str) -> bool:
    return any(value not in (None, "") for value in dataset.with_format(None)[column][:])


def _silent_before(annotation: Annotation, rows: int) -> Annotation:
    """The same annotator, who was not asked about so many rows that come first."""
    values = annotation.values
    blank = np.full((rows, *values.shape[1:]), np.nan if annotation.kind == "probabilities" else -1, dtype=values.dtype)
    return replace(annotation, values=np.concatenate([blank, values]))


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
