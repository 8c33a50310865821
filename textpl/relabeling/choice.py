"""Which method, which k: every candidate labels gold rows whose labels are hidden, over one and the same graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textpl.evaluation import decide, prior_thresholds
from textpl.group_folds import group_folds
from textpl.progress import progress_bar
from textpl.relabeling.methods import GraphFunction, described, find_method, run_method
from textpl.relabeling.problem import Problem

FOLDS = 5
# With fewer labelled rows per class the hold-out cannot tell methods apart: a fixed one is taken unseen, which loses
# nothing where neighbours disagree (sentiment) and a little of what could be had where they agree.
ROWS_PER_CLASS = 10
FEW_LABELS = {False: ("linear_smoothed", 15), True: ("linear", None)}  # by multi-label
# Names of labels alone are rougher than labeled rows: averaging their answers too is worth 1 to 5 points on topics and
# loses up to 2 on sentiment.
NO_LABELS = {False: ("linear_propagation", 15), True: ("linear", None)}
# How clearly another candidate has to beat the default; at one standard error, more changes were wrong than right.
STANDARD_ERRORS = 2.0
RESAMPLES = 200
# The first of them is the default, which another one has to beat clearly; single-label and multi-label differ in it
# (`candidates`), since rows with several labels, such as emotions, cluster less.
CANDIDATES: tuple[tuple[str, int | None], ...] = (
    ("linear_propagation", 15),
    ("linear", None),
    ("knn_dv", 5),
    ("knn_dv", 10),
    ("label_propagation", 15),
    ("hdl", 5),
    ("hdl", 10),
    ("hdl", 20),
)


def candidates(gold: np.ndarray, multi: bool) -> list[tuple[str, int | None]]:
    """(method, k) of all that "auto" tries, the default first; one only where labels are few or there are none.

    Args:
        gold: (gold rows, labels), their targets.
        multi: multi-label.
    """
    if not len(gold):
        return [NO_LABELS[multi]]
    if gold.sum() < ROWS_PER_CLASS * gold.shape[1]:
        return [FEW_LABELS[multi]]
    first = [FEW_LABELS[True]] if multi else []
    return list(dict.fromkeys([*first, *CANDIDATES]))


@dataclass(frozen=True)
class Trial:
    """One candidate on the gold rows, each labelled while its own label was hidden.

    Attributes:
        method: its name, or the function itself.
        k: neighbours.
        rows: int64 (held,), which of the gold rows: all but the only ones of their class, which nothing could find.
        p: float32 (held, labels), what it made of them; rows of 0 where it abstained.
        name_weight: how much the names of the labels weighed; 0 where they played no part.
        score: accuracy, for multi-label macro F1 at cuts matched to the label rates; in [0, 1], NaN without rows.
    """

    method: str | GraphFunction
    k: int | None
    rows: np.ndarray
    p: np.ndarray
    score: float
    name_weight: float = 0.0

    @property
    def name(self) -> str:
        """The method's name with its settings."""
        return described(self.method)

    def __str__(self) -> str:
        return self.name + ("" if self.k is None else f" (k={self.k})")


def hold_out(problem: Problem, method: str | GraphFunction, k: int | None, *, seed: int = 0) -> Trial:
    """Label each gold row while its label, and that of about every fifth other one, is hidden; groups as a whole.

    Args:
        problem: what to label.
        method: key of `METHODS`, or a function on the graph.
        k: neighbours.
        seed: seed of the folds.
    """
    gold = np.flatnonzero(problem.gold)
    groups = np.arange(len(gold)) if problem.groups is None else problem.groups[gold]
    # The name of a label can tell a row of it that is its only one.
    alone = problem.names is not None and problem.groups is None
    rows = np.arange(len(gold)) if alone else _answerable(problem.targets[gold], groups, problem.multi)
    targets = problem.targets[gold[rows]]
    folds = _folds(targets, problem.multi, seed) if problem.groups is None else _whole(targets, groups[rows], seed)
    p = np.zeros((len(rows), problem.num_labels), dtype=np.float32)
    for fold in range(folds.max(initial=-1) + 1):
        own = rows[folds == fold]
        hidden = gold[own] if problem.groups is None else gold[np.isin(groups, groups[own])]
        p[folds == fold] = run_method(problem.hide(hidden), method, k).p[gold[own]]
    score = score_of(p, targets, problem.multi) if len(rows) else float("nan")
    return Trial(method, k, rows, p, score, problem.name_weight if find_method(method).names else 0.0)


def choose(
    problem: Problem,
    among: Sequence[tuple[str | GraphFunction, int | None]],
    *,
    seed: int = 0,
    progress: bool = True,
) -> tuple[Trial, list[Trial]]:
    """Try all candidates and take the best one, or the first where none is clearly better.

    Clearly: by more than two standard errors of the difference, from resampled gold rows.

    Args:
        problem: what to label.
        among: (method, k) pairs, the default first.
        seed: seed of folds and resamples.
        progress: show a progress bar.

    Returns:
        The chosen trial, and all of them.
    """
    possible = list(dict.fromkeys((m, None if k is None else min(k, _most_voters(problem, m))) for m, k in among))
    bar = progress_bar(possible, desc="trying methods", shown=progress and len(possible) > 1)
    trials = [hold_out(problem, method, k, seed=seed) for method, k in bar]
    default, best = trials[0], max(trials, key=lambda trial: trial.score)
    held = problem.targets[problem.gold][default.rows]
    error = _standard_error(best, default, held, problem.multi, seed)
    clearly = best.score - default.score > STANDARD_ERRORS * error
    return (best if clearly else default), trials


def _most_voters(problem: Problem, method: str | GraphFunction) -> int:
    """Neighbours that a row can have while a fold of the gold rows is hidden."""
    gold = int(problem.gold.sum())
    return max(gold - -(-gold // FOLDS), 1) if method == "knn_dv" else max(problem.graph.k, 1)


def _folds(targets: np.ndarray, multi: bool, seed: int) -> np.ndarray:
    """Fold of each gold row, spread evenly over the classes. Shapes: (rows, labels) -> int (rows,)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(targets))
    if not multi:
        order = order[np.argsort(targets[order].argmax(1), kind="stable")]
    folds = np.empty(len(targets), dtype=np.int64)
    folds[order] = np.arange(len(targets)) % max(min(FOLDS, len(targets)), 1)
    return folds


def _whole(targets: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """The same with groups (rows,) as a whole."""
    count = len(np.unique(groups))
    return group_folds(groups, targets >= 0.5, min(FOLDS, count), seed) if count > 1 else np.zeros(0, dtype=np.int64)


def _answerable(targets: np.ndarray, groups: np.ndarray, multi: bool) -> np.ndarray:
    """Gold rows that one of another group can tell the label of, int64; multi-label: all, if there are two groups."""
    if multi:
        return np.arange(len(targets)) if len(np.unique(groups)) > 1 else np.zeros(0, dtype=np.int64)
    classes = targets.argmax(1)
    pairs = np.unique(np.stack([classes, groups]), axis=1)
    return np.flatnonzero(np.bincount(pairs[0], minlength=targets.shape[1])[classes] > 1)


def score_of(p: np.ndarray, targets: np.ndarray, multi: bool) -> float:
    """Return the accuracy, with abstentions counted as wrong, or (multi) macro F1, of (rows, labels); in [0, 1]."""
    if not multi:
        return float((p.any(1) * targets[np.arange(len(targets)), p.argmax(1)]).mean())
    decided = decide(p, "multi_label_classification", prior_thresholds(p, targets.mean(0)))
    # Of a text that was given a label in one row and not in another, deciding for it is half a hit.
    hits, size = (decided * targets).sum(0), decided.sum(0) + targets.sum(0)
    return float(np.divide(2 * hits, size, out=np.zeros(len(size)), where=size > 0).mean())


def _standard_error(a: Trial, b: Trial, targets: np.ndarray, multi: bool, seed: int) -> float:
    if a is b:
        return 0.0
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, len(targets), len(targets))
        differences.append(score_of(a.p[rows], targets[rows], multi) - score_of(b.p[rows], targets[rows], multi))
    return float(np.std(differences))
