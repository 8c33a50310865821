"""How much the names of the labels weigh: measured on the labeled rows, the default where they cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from textpl.progress import progress_bar
from textpl.relabeling.calibration import fit_temperature, temper
from textpl.relabeling.choice import Trial, hold_out, score_of
from textpl.relabeling.methods import GraphFunction
from textpl.relabeling.problem import Problem

# Lengths of the weights that the classifier is drawn to, with vectors of length 1. The default was chosen on 20
# Newsgroups, dev rows of AG News and of SST-2: from 5 to 20 there is little between them, 2 leaves half of the gain.
DEFAULT_WEIGHT = 10.0
WEIGHTS = (DEFAULT_WEIGHT, 0.0, 2.0, 5.0, 20.0)
# With fewer held-out rows the default is taken: their losses do not tell how uncertain they are.
LEAST_ROWS = 12
# How clearly another weight has to beat the default, in standard errors of the paired difference in loss.
STANDARD_ERRORS = 1.0
FOLDS = 5
SMALLEST = 1e-3


@dataclass(frozen=True)
class Weighing:
    """A weight and what it rests on.

    Attributes:
        weight: of the names, for all rows; 0: they are left out.
        trial: the labeled rows, each labeled without its own label and at a weight chosen without its fold, so that
            what is expected of new rows is not made better by the choice.
        trials: the labeled rows at every weight, the default first.
        measured: whether there were enough rows to choose.
        nameless: the labeled rows with the penalty on intercepts that comes with names, and no name: what it brings is
            not to the credit of the names. None where nothing was chosen.
    """

    weight: float
    trial: Trial
    trials: Sequence[Trial]
    measured: bool
    nameless: Trial | None = None

    @property
    def without(self) -> Trial:
        """The labeled rows without the names."""
        return next(trial for trial in self.trials if not trial.name_weight)


def weigh_names(
    problem: Problem, method: str | GraphFunction, k: int | None, *, seed: int = 0, progress: bool = True
) -> Weighing:
    """Choose the weight of the names by the log loss of held-out labels.

    The loss tells weights apart with far fewer rows than accuracy does. Another weight than the default, 0 among them,
    is taken only if it is better by more than a standard error.

    Args:
        problem: with `names`.
        method: one that uses them.
        k: its neighbors.
        seed: seed of the folds.
        progress: show a progress bar.
    """
    bar = progress_bar(WEIGHTS, desc="weighing label names", shown=progress and bool(problem.gold.any()))
    trials = [hold_out(replace(problem, name_weight=weight), method, k, seed=seed) for weight in bar]
    default = trials[0]
    targets = problem.targets[problem.gold][default.rows]
    if len(targets) < LEAST_ROWS:
        return Weighing(default.name_weight, default, trials, False)
    losses = np.stack([row_losses(trial.p, targets, problem.multi) for trial in trials])
    p = np.empty_like(default.p)
    parts = _parts(problem, default, seed)
    for part in np.unique(parts):
        p[parts == part] = trials[_best(losses[:, parts != part])].p[parts == part]
    chosen = trials[_best(losses)]
    trial = replace(chosen, p=p, score=score_of(p, targets, problem.multi))
    assert problem.names is not None
    nameless = hold_out(replace(problem, names=np.zeros_like(problem.names), name_weight=1.0), method, k, seed=seed)
    return Weighing(chosen.name_weight, trial, trials, True, nameless)


def row_losses(p: np.ndarray, targets: np.ndarray, multi: bool) -> np.ndarray:
    """Return the cross-entropy of each row, after a temperature where labels compete; float64 (rows,)."""
    if not multi:
        p = temper(p, fit_temperature(p, targets))
    p = np.clip(p.astype(np.float64), SMALLEST, 1 - SMALLEST)
    loss = -(targets * np.log(p)).sum(axis=1)
    return loss - ((1 - targets) * np.log1p(-p)).sum(axis=1) if multi else loss


def _best(losses: np.ndarray) -> int:
    """The place of the best of (candidates, rows), or 0 where it is not clearly better than the first."""
    best = int(losses.mean(axis=1).argmin())
    gain = losses[0] - losses[best]
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return best if gain.mean() > STANDARD_ERRORS * error else 0


def _parts(problem: Problem, trial: Trial, seed: int) -> np.ndarray:
    """A part of the held-out rows for each, int (rows,); rows of a group are in one."""
    rows = np.flatnonzero(problem.gold)[trial.rows]
    _, units = np.unique(rows if problem.groups is None else problem.groups[rows], return_inverse=True)
    return np.random.default_rng(seed).permutation(units.max(initial=0) + 1)[units] % FOLDS
