"""Scores of a classifier on rows whose labels are partly wrong: against the given labels and the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from textpl.label_issues.review_formats import ReviewQueue
from textpl.noisy_scores.doubts import doubts_of
from textpl.noisy_scores.estimates import Metric, estimated, extremes, planned_deviation, score
from textpl.noisy_scores.inputs import predictions, table, trusted
from textpl.noisy_scores.results import CorrectedScore, NoiseCorrectedScores

if TYPE_CHECKING:
    from textpl.label_issues.report import LabelReport

Array = NDArray[Any]

# The F1 of a label has an interval if so many reviewed rows are predicted to have it or have it; with fewer, nominal
# 95 % covered 70 to 90 % (benchmarks/noisy_scores.py).
CARRIED = 30
CARRIED_OF_ALL = 10  # by each label of a mean over labels, whose errors average out


def noise_corrected_scores(
    probabilities: ArrayLike,
    report: LabelReport,
    *,
    thresholds: float | ArrayLike = 0.5,
    trusted_rows: Sequence[int] | None = None,
    trusted_labels: ArrayLike | None = None,
    level: float = 0.95,
) -> NoiseCorrectedScores:
    """How good a classifier is, judged on rows whose labels are partly wrong.

    The score against the given labels is wrong in both directions: a right prediction of a wrongly labeled row counts
    as a mistake, and a model trained on labels that are wrong in the same way is praised for repeating them.

    With random rows that a person reviewed (`random_review`) the scores are estimated, with a valid interval whatever
    the noise is like: see `estimates.estimated`. Without them labels and texts alone cannot tell a mistake of the
    classifier from one of the annotator (NoisyAG-News as annotated and with right labels look alike: a classifier
    disagrees with 15 % and 14 % of the labels, of which 19 % and none are wrong). Then the interval runs from the
    worst to the best the labels allow: see `estimates.extremes`.

    Args:
        probabilities: (rows, labels), by the model to be judged, of the rows of the report in their order. It must not
            have been trained on them: `report` is about test rows, or the probabilities are out of fold.
        report: of `find_label_issues` on these rows.
        thresholds: multi-label cuts, one or one per label.
        trusted_rows: rows drawn at random whose right labels are known. Rows of a review queue are no fair sample.
        trusted_labels: their right labels, in the form of `report.given`; default: as decided by `apply_review`.
        level: of the intervals.

    Returns:
        NoiseCorrectedScores; `print` tells it in words.

    Raises:
        ValueError: arrays that do not fit, fewer than 30 trusted rows, rows named twice, not fully decided or
            far more suspicious than chance draws them, and, without trusted rows, a report that is not calibrated.

    Example:
        >>> import numpy as np, textpl
        >>> rng = np.random.default_rng(0)
        >>> right = rng.integers(2, size=1000)
        >>> labels = np.where(rng.random(1000) < 0.2, 1 - right, right)  # a fifth is wrong
        >>> p = np.eye(2)[np.where(rng.random(1000) < 0.1, 1 - right, right)] * 0.8 + 0.1  # 90 % of these are right
        >>> report = textpl.find_label_issues(labels=labels, pred_probs=p, encoder=None)
        >>> rows = textpl.random_review(report, 400).rows
        >>> found = textpl.noise_corrected_scores(p, report, trusted_rows=rows, trusted_labels=right[rows])["accuracy"]
        >>> bool(found.given < 0.8 < found.low < 0.9 < found.high)
        True
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1.")
    given, multi = table(report.given, len(report.label_names)), report.multi
    predicted = predictions(probabilities, report, thresholds)
    judged = _judged(predicted, given, report.label_names, multi=multi)
    if trusted_rows is not None:
        rows, truth = trusted(report, trusted_rows, trusted_labels)
        believed = np.asarray(report.found.p_true, dtype=np.float64)
        found = [_from_review(one, predicted, given, believed, rows, truth, level) for one in judged]
        return _told(found, len(given), len(rows), None, level)
    if trusted_labels is not None:
        raise ValueError("Give trusted_rows with trusted_labels: the rows they belong to, drawn at random.")
    if not report.calibrated:
        raise ValueError(
            "The scores of this report are no probabilities: find the issues with method='auto', or review random rows "
            "and give trusted_rows."
        )
    doubts = doubts_of(report, level)
    worst, best = extremes(predicted, *doubts, multi=multi)
    found = [_from_bounds(one, predicted, given, report.p_true, worst, best) for one in judged]
    return _told(found, len(given), 0, float(doubts.most.mean()), level)


def random_review(report: LabelReport, count: int, seed: int = 0) -> ReviewQueue:
    """Rows drawn at random for a person to review, every label of them: for `noise_corrected_scores`.

    Nothing about the rows decides which are drawn, so that they stand for all. A longer list of the same seed begins
    with the rows of a shorter one, and serves any number of classifiers.

    Args:
        report: of `find_label_issues`.
        count: number of rows.
        seed: of the draw.

    Returns:
        ReviewQueue: write it with `to_csv`, have every cell decided, and read it with `report.apply_review`; its
        `rows` are the `trusted_rows`.

    Raises:
        ValueError: for a count that is not between 1 and the number of rows.
    """
    if not 1 <= count <= len(report):
        raise ValueError(f"count={count}: the report has {len(report)} rows; choose between 1 and that.")
    rows = np.random.default_rng(seed).permutation(len(report))[:count].astype(np.int64)
    labels = report.given[rows].astype(np.int64)
    if report.multi:
        size = len(report.label_names)
        rows, labels = np.repeat(rows, size), np.tile(np.arange(size), count)
    return ReviewQueue(report, rows, labels, np.ones(len(rows), bool))


class _Judged(NamedTuple):
    """A metric and the columns it is made of: all labels, or one, whose cells are then judged as of several labels."""

    metric: Metric
    columns: slice
    multi: bool


def _judged(predicted: Array, given: Array, names: Sequence[str], *, multi: bool) -> list[_Judged]:
    """The scores of the task, then the F1 of every label; macro F1 of single-label runs over labels that occur."""
    present = np.ones(len(names)) if multi else ((predicted + given).sum(0) > 0).astype(float)
    first = Metric("micro_f1", "micro") if multi else Metric("accuracy", "accuracy")
    every = [first, Metric("macro_f1", "mean", present / present.sum())]
    one = np.ones(1)
    labels = [_Judged(Metric(name, "mean", one), slice(k, k + 1), True) for k, name in enumerate(names)]
    return [*(_Judged(metric, slice(None), multi) for metric in every), *labels]


def _from_review(
    judged: _Judged, predicted: Array, given: Array, believed: Array, rows: Array, truth: Array, level: float
) -> CorrectedScore:
    metric, columns, multi = judged
    predicted, given, believed, truth = (part[:, columns] for part in (predicted, given, believed, truth))
    estimate, low, high, deviation = estimated(metric, predicted, believed, rows, truth, level, multi=multi)
    one = columns != slice(None)
    carried = (predicted[rows] | truth).sum(0)
    if len(rows) < len(given):
        if one and carried.sum() < CARRIED:
            low, high = 0.0, 1.0
        elif metric.kind == "mean" and not one:
            # What the labels that hardly a reviewed row carries weigh may be anything.
            unknown = float(np.asarray(metric.weights) @ (carried < CARRIED_OF_ALL))
            low, high = max(low - unknown * estimate, 0.0), min(high + unknown * (1 - estimate), 1.0)
    return CorrectedScore(metric.name, score(metric, predicted, given), estimate, low, high, deviation)


def _from_bounds(
    judged: _Judged, predicted: Array, given: Array, believed: Array, worst: Array, best: Array
) -> CorrectedScore:
    metric, columns, multi = judged
    predicted, given, *rest = (part[:, columns] for part in (predicted, given, believed, worst, best))
    raw, estimate, low, high = (score(metric, predicted, right) for right in (given, *rest))
    low, high = max(min(low, estimate), 0.0), min(max(high, estimate), 1.0)
    deviation = max(planned_deviation(metric, predicted, right, multi=multi) for right in (given, *rest[1:]))
    return CorrectedScore(metric.name, raw, estimate, low, high, deviation)


def _told(
    found: list[CorrectedScore], rows: int, reviewed: int, most_wrong: float | None, level: float
) -> NoiseCorrectedScores:
    return NoiseCorrectedScores(tuple(found[:2]), tuple(found[2:]), rows, reviewed, most_wrong, level)
