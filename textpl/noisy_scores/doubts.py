"""Which labels may be wrong at most, as far as labels and texts tell."""

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


class Doubts(NamedTuple):
    """What is believed about the labels of a report.

    Attributes:
        given: 0/1 (rows, labels), what people decided in place of the given labels.
        others: (rows, labels), P(right label | the given one is wrong).
        most: P(wrong) at most, single-label (rows,), multi-label (rows, labels); 0 where people decided.
    """

    given: Array
    others: Array
    most: Array


def doubts_of(report: LabelReport, level: float) -> Doubts:
    """Read off a calibrated report how many labels may be wrong at most.

    It is sum(1 - q_given), what a classifier that is calibrated on the given labels doubts, with the sampling error of
    that count, for given and for not given cells apart: wrong labels as well as hard texts, and nothing in labels and
    texts says which. A single-label report that allows for more (`cleaning.error_count`) is believed. The count is
    spread over the rows by the log-odds of p_error plus a constant. Labels that a classifier would predict wrongly, and
    be sure, are not in it. The report's own counts, low and high, are not enough: bounds from them alone held the truth
    in 53 % of cases on NoisyAG-News as annotated with 4,000 rows.

    Args:
        report: calibrated.
        level: of the sampling error.
    """
    found, size = report.found, len(report.label_names)
    given, p_error = table(report.given, size), found.p_error.astype(np.float64)
    most = _doubted(report, given, p_error, norm.ppf((1 + level) / 2))
    known = np.zeros(most.shape, bool) if report.decided is None else report.decided >= 0
    if report.decided is not None:
        given = table(np.where(known, report.decided, report.given), size)
    others = 1 - given if report.multi else np.where(given == 1, 0, found.p_true.astype(np.float64) + 1e-9)
    if not report.multi:
        others = others / others.sum(1, keepdims=True)
    return Doubts(given, others, np.where(known, 0, most))


def _doubted(report: LabelReport, given: Array, p_error: Array, z: float) -> Array:
    """P(wrong) at most, by the given labels alone."""
    evidence, info = report.found.evidence, report.found.info
    doubt = _doubt(np.asarray(evidence.get("model", report.found.p_true)), given, report.multi)
    log_odds, most = logit(np.clip(p_error, 1e-7, 1 - 1e-7)), p_error.copy()
    high = 0.0 if report.multi else float(info.get("errors_high", 0)) / max(len(given), 1)
    for part in (given == 0, given == 1) if report.multi else (np.ones(len(given), bool),):
        count = max(int(part.sum()), 1)
        share = max(float(doubt[part].sum()), float(p_error[part].sum())) / count
        share = max(share + z * np.sqrt(share * max(1 - share, 0) / len(given)), high)
        most[part] = shift_to_count(log_odds[part], min(share, 1) * count)
    return most


def _doubt(model: Array, given: Array, multi: bool) -> Array:
    """1 - probability of what is given, (rows,) or (rows, labels), by the model once it fits the given labels."""
    if multi:
        cells = np.stack([1 - model, model], axis=-1).reshape(-1, 2)
        return _doubt(cells, table(given.ravel(), 2), multi=False).reshape(given.shape)
    q = temper(model, 1.0)
    q = temper(q, fit_temperature(q, given.astype(np.float32)))
    return 1 - (q * given).sum(1, dtype=np.float64)
