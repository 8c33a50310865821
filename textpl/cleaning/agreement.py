"""Whether probabilities and given labels have to do with each other, before either is held against the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from textpl.cleaning.apart import Detect, Evidence, placed
from textpl.cleaning.floors import CHANCE
from textpl.cleaning.result import Detection

CONFLICTS, UNTOLD = "conflicts", "untold"  # in `Detection.info`
FEWEST = 10  # rows of a predicted class below which its labels are not looked at
EITHER = 0.5  # of two explanations that nothing tells apart, each is as likely as the other


class Conflict(NamedTuple):
    """A class whose rows, by the probabilities, mostly carry another label.

    Attributes:
        predicted: the most probable class.
        given: the label most of these rows have.
        carry: how many have it.
        rows: how many are predicted.
    """

    predicted: int
    given: int
    carry: int
    rows: int


def agreement(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Say how far the probabilities of given labels are above those of labels dealt out anew, in standard deviations.

    The permutation test of sum_i p[i, z_i] with its exact mean and variance (Hoeffding 1951, theorem 2).

    Args:
        labels: int64 (rows,).
        probabilities: float (rows, labels).

    Returns:
        0 where all rows have the same probabilities, or the same label.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    shares = np.bincount(labels, minlength=p.shape[1]) / max(len(labels), 1)
    centered = p - p.mean(axis=0)
    centered -= (centered @ shares)[:, None]
    variance = float((centered**2).sum(axis=0) @ shares) * len(labels) / max(len(labels) - 1, 1)
    spread = np.sqrt(variance)
    if spread <= 1e-7 * max(np.sqrt(len(labels)) * float(p.max(initial=0)), 1e-300):
        return 0.0
    return float(centered[np.arange(len(labels)), labels].sum() / spread)


def check_order(labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> None:
    """Refuse probabilities that are against the labels: columns in another order than the labels.

    Args:
        labels: int64 (rows,).
        probabilities: float (rows, labels), by the user's model.
        names: of the labels.

    Raises:
        ValueError: with the order of columns that fits the labels best.
    """
    if agreement(labels, probabilities) > -CHANCE:
        return
    size, predicted = probabilities.shape[1], np.asarray(probabilities).argmax(axis=1)
    met = np.bincount(predicted * size + labels, minlength=size * size).reshape(size, size)
    _, best = linear_sum_assignment(-met)
    now, then = np.trace(met) / len(labels), met[np.arange(size), best].sum() / len(labels)
    order = ", ".join(str(names[k]) for k in best[:20]) + (", ..." if size > 20 else "")
    raise ValueError(
        f"pred_probs agree with {100 * now:.0f} % of the labels, fewer than by chance; with columns named [{order}] "
        f"they would with {100 * then:.0f} %. Columns must be in the order of label_names: reorder them, or give a "
        "DataFrame whose headings are the names."
    )


def conflicts(labels: np.ndarray, probabilities: np.ndarray) -> list[Conflict]:
    """Find the classes most of whose rows, by the probabilities, carry one other label.

    Fewer than half of the labels of a class are then the right ones, or the class means another thing to the model than
    to who gave the labels: no estimate of noise can tell the two apart, as it takes more right labels than wrong ones
    for granted. Two standard deviations are granted to chance; probabilities that do not tell the labels at all
    conflict with nothing.

    Args:
        labels: int64 (rows,).
        probabilities: float (rows, labels), by a model that was not trained on these labels.
    """
    size, p = probabilities.shape[1], np.asarray(probabilities)
    predicted = p.argmax(axis=1)
    met = np.bincount(predicted * size + labels, minlength=size * size).reshape(size, size)
    found: list[Conflict] = []
    if len(np.unique(labels)) > 1 and agreement(labels, p) <= CHANCE:
        return found
    for k in np.flatnonzero(met.sum(axis=1) >= FEWEST):
        other = int(met[k].argmax())
        most = 2 * met[k, other] > met[k].sum()
        if other != k and most and met[k, other] - met[k, k] > 2 * np.sqrt(met[k, other] + met[k, k]):
            found.append(Conflict(int(k), other, int(met[k, other]), int(met[k].sum())))
    return found


def detect_beside_conflicts(detect: Detect, evidence: Evidence) -> Detection:
    """Detect wrong labels among the rows without a conflict; those with one are as likely wrong as right.

    Rows of a conflict are flagged, to be looked at, with half of the probability of the other class, so that nothing is
    changed unseen.

    Args:
        detect: judges rows.
        evidence: about all rows, one label each; probabilities by the user's model.
    """
    labels, probabilities = evidence.given, evidence.p
    found = conflicts(labels, probabilities)
    if not found:
        return detect(evidence)
    predicted = np.asarray(probabilities).argmax(axis=1)
    apart = np.zeros(len(labels), dtype=bool)
    for conflict in found:
        apart |= (predicted == conflict.predicted) & (labels == conflict.given)
    kept, rows, every = np.flatnonzero(~apart), np.flatnonzero(apart), np.arange(len(labels))
    rest = detect(evidence.of(kept))
    among = partial(placed, rows=kept, size=len(labels))
    p = np.asarray(probabilities, dtype=np.float32)
    # An overwhelming probability of either would be made up: half for each.
    p_error = np.minimum(EITHER * p[every, predicted], np.float32(0.499))
    p_true = np.zeros(p.shape, dtype=np.float32)
    p_true[every, predicted], p_true[every, labels] = p_error, 1 - p_error
    p_true[kept] = rest.p_true
    # What the conflicting rows tell is told; that the rest alone tells nothing is not the news then.
    info = {name: value for name, value in rest.info.items() if name != UNTOLD}
    info |= {CONFLICTS: [list(one) for one in found]}
    doubted = float(p_error[rows].sum())
    added = {"errors": doubted, "errors_high": float(len(rows)), "shown": doubted}
    return replace(
        rest,
        p_error=among(rest.p_error, others=p_error),
        p_true=p_true,
        flagged=among(rest.flagged, others=True),
        suggested=among(rest.suggested, others=predicted),
        evidence={
            name: among(values, others=p if name == "model" else np.float32(np.nan))
            for name, values in rest.evidence.items()
        },
        info=info | {name: info[name] + more for name, more in added.items() if name in info},
    )
