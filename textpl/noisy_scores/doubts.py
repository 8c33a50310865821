"""Which labels may be wrong at most, and how many surely are, as far as labels and texts tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import norm

from textpl.cleaning.class_noise import shift_to_count
from textpl.noisy_scores.inputs import table
from textpl.relabeling.calibration import fit_temperature, temper

if TYPE_CHECKING:
    from textpl.label_issues.report import LabelReport

Array = NDArray[Any]

# Of the wrong labels that the surest rows show, so many count as certain: on clean corpora, where none is wrong, 1 to
# 2 % of the rows are still thought to be.
CERTAIN = 0.5


class Doubts(NamedTuple):
    """What is believed about the labels of a report.

    Attributes:
        given: 0/1 (rows, labels), what people decided in place of the given labels.
        others: (rows, labels), P(right label | the given one is wrong).
        most: P(wrong) at most, single-label (rows,), multi-label (rows, labels); 0 where people decided.
        least: P(wrong) at least, same shape.
    """

    given: Array
    others: Array
    most: Array
    least: Array


def doubts_of(report: LabelReport, level: float) -> Doubts:
    """Read off a calibrated report how many labels may be wrong.

    A classifier that is calibrated on given labels doubts sum(1 - q_given) of them. They are wrong labels as well as
    hard texts, and nothing in labels and texts says which. Class noise (wrong labels where the classifier is surest:
    `cleaning.class_noise`) adds rows x (1 - sum_z T[y, z]^2) to the doubt, which is replaced by the number of wrong
    labels that it is. With the sampling error of that count, this is how many are wrong at most. The log-odds of the
    report's p_error plus a constant spread them over the rows.

    On NoisyAG-News, 500 to 4,000 rows, the count came to 1.1 to 1.4 of the wrong labels of annotators, to 1.7 to 2.1 of
    injected ones. Labels that a classifier would predict wrongly, and be sure, are not in it.

    Args:
        report: calibrated.
        level: of the sampling error.
    """
    found, size = report.found, len(report.label_names)
    given, p_error = table(report.given, size), found.p_error.astype(np.float64)
    model = np.asarray(found.evidence.get("model", found.p_true))
    least_wrong = 0.0
    if report.multi:
        cells = np.stack([1 - model, model], axis=-1).reshape(-1, 2)
        doubt, parts = _doubt(cells, table(given.ravel(), 2)).reshape(given.shape), [given == 0, given == 1]
        others: Array = 1 - given
    else:
        doubt, parts = _doubt(model, given), [np.ones(len(given), bool)]
        doubt, least_wrong = _without_class_noise(doubt, given, found.info)
        rest = np.where(given == 1, 0, found.p_true.astype(np.float64) + 1e-9)
        others = rest / rest.sum(1, keepdims=True)
    log_odds = logit(np.clip(p_error, 1e-7, 1 - 1e-7))
    most, z = p_error.copy(), norm.ppf((1 + level) / 2)
    for part in parts:
        count = max(int(part.sum()), 1)
        share = max(float(doubt[part].sum()), float(p_error[part].sum())) / count
        share += z * np.sqrt(share * (1 - share) / len(given))
        most[part] = shift_to_count(log_odds[part], min(share, 1) * count)
    least = shift_to_count(log_odds, least_wrong) if least_wrong else np.zeros_like(most)
    if report.decided is None:
        return Doubts(given, others, most, np.minimum(least, most))
    known = report.decided >= 0
    given = table(np.where(known, report.decided, report.given), size)
    most, least = np.where(known, 0, most), np.where(known, 0, np.minimum(least, most))
    return Doubts(given, 1 - given if report.multi else others, most, least)


def _doubt(model: Array, given: Array) -> Array:
    """1 - probability of the given label (rows,), by the classifier once it is calibrated on the given labels."""
    q = temper(model, 1.0)
    q = temper(q, fit_temperature(q, given.astype(np.float32)))
    return 1 - (q * given).sum(1, dtype=np.float64)


def _without_class_noise(doubt: Array, given: Array, info: dict[str, Any]) -> tuple[Array, float]:
    """The doubt scaled to a count in which class noise is counted as wrong labels; how many are surely wrong."""
    errors = float(info.get("class_errors", 0))
    if not errors or "transition" not in info:
        return doubt, 0.0
    added = float(given.sum(0) @ (1 - np.square(info["transition"]).sum(1)))
    return doubt * (errors + max(doubt.sum() - added, 0)) / max(doubt.sum(), 1e-12), CERTAIN * errors
