"""From a problem to soft labels that mean what they say: method, then calibration on held-out gold rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from textpl.relabeling.calibration import calibrate, fit_temperature, temper
from textpl.relabeling.choice import CANDIDATES, Trial, candidates, choose
from textpl.relabeling.methods import GraphFunction, find_method, run_method
from textpl.relabeling.name_weight import DEFAULT_WEIGHT, Weighing, weigh_names
from textpl.relabeling.priors import project_to_prior, shifted_to_rates
from textpl.relabeling.problem import Problem
from textpl.relabeling.result import Relabeling

logger = logging.getLogger(__name__)

# By so much the class shares may miss the prior before somebody is told.
REACHED = 0.02
# Neighbours in a graph that every candidate of "auto" can use.
GRAPH_K = max(k for _, k in CANDIDATES if k is not None)


@dataclass(frozen=True)
class SoftLabels:
    """A labelled problem.

    Attributes:
        p: float32 (n, labels), calibrated: single-label by a temperature (and the class prior, if the problem has one),
            multi-label cell by cell. 0 where a row could not be labelled.
        held_out: float32 (held, labels), the same of the gold rows `trial.rows` without their own labels.
        result: what the method gave, uncalibrated.
        trial: the method that was taken, on the gold rows.
        trials: all that were tried.
        weighing: how the weight of the label names was found; None where they play no part.
    """

    p: np.ndarray
    held_out: np.ndarray
    result: Relabeling
    trial: Trial
    trials: Sequence[Trial]
    weighing: Weighing | None = None


def soft_labels(
    problem: Problem,
    method: str | GraphFunction = "auto",
    k: int | None = None,
    *,
    seed: int = 0,
    progress: bool = True,
) -> SoftLabels:
    """Label a problem and calibrate the result on its own gold rows, each labelled while its own label was hidden.

    Args:
        problem: what to label.
        method: "auto", a key of `METHODS`, or a function on the graph (see `textpl.relabeling.methods`).
        k: neighbours, at most as many as the graph has; default: the method's.
        seed: seed of the folds.
        progress: show a progress bar.

    Without any gold row there is nothing to calibrate on: single-label p are the method's own, multi-label ones are
    shifted to the rates in `problem.prior`.

    Raises:
        ValueError: for an unknown method.
    """
    if k is not None:
        k = min(k, problem.graph.k)
    if problem.names is not None:
        problem = replace(problem, name_weight=DEFAULT_WEIGHT)
    trial, trials = _trials(problem, method, k, seed, progress)
    weighing = None
    if problem.names is not None and find_method(trial.method).names:
        weighing = weigh_names(problem, trial.method, trial.k, seed=seed, progress=progress)
        problem = replace(problem, name_weight=weighing.weight)
        trials = [weighing.trial if t is trial else t for t in trials]
        trial = weighing.trial
    result = run_method(problem, trial.method, trial.k)
    gold, hidden = problem.targets[problem.gold], trial.p
    if problem.multi:
        calibration = calibrate(hidden.ravel(), gold[trial.rows].ravel())
        p, held_out = calibration.precision(result.p), calibration.precision(hidden)
        if not calibration.fitted and problem.prior is not None:
            p[result.labeled] = shifted_to_rates(p[result.labeled], problem.prior)
    else:
        temperature = fit_temperature(hidden, gold[trial.rows])
        p, held_out = temper(result.p, temperature), temper(hidden, temperature)
        if problem.prior is not None:  # not before: flat probabilities would all fall to the largest class
            p[~problem.gold] = projected(p[~problem.gold], problem.prior)
    p[~result.labeled] = 0
    p[problem.gold] = gold
    return SoftLabels(p, held_out, result, trial, trials, weighing)


def _trials(
    problem: Problem, method: str | GraphFunction, k: int | None, seed: int, progress: bool
) -> tuple[Trial, list[Trial]]:
    among: list[tuple[str | GraphFunction, int | None]]
    if method == "auto":
        offered = candidates(problem.targets[problem.gold], problem.multi)
        among = list(dict.fromkeys((m, None if own is None else k or own) for m, own in offered))
    else:
        own = find_method(method).k
        among = [(method, None if own is None else k or min(own, problem.graph.k))]
    return choose(problem, among, seed=seed, progress=progress)


def projected(p: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return `project_to_prior(p, prior)`, and warn where the prior cannot be reached."""
    changed = project_to_prior(p, prior)
    known = changed.any(axis=1)
    reached = changed[known].mean(0) if known.any() else prior
    if np.abs(reached - prior).max() > REACHED:
        logger.warning(
            "class_prior: the labels have the shares %s instead of %s, since too many rows give a class no probability "
            "at all: use a method with softer votes, such as linear_propagation, or check the shares.",
            np.round(reached, 3).tolist(),
            np.round(prior, 3).tolist(),
        )
    return changed
