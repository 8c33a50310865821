"""Scores of a classifier against the right labels of rows whose labels are partly wrong: pure functions on arrays.

Predictions, given labels and right labels are tables of 0 and 1 (rows, labels), one-hot for single-label; what is not
known for sure is a table of probabilities. A score is a function of three counts per label: P predicted, T right, and
TP both. P is known; T and TP are bounded, or estimated from rows that were reviewed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

Array = NDArray[Any]

# Pseudo-rows about which the report is wrong by as much as one row can move the score: 200 reviewed rows without a
# surprise do not show that there is none (3 in 200 would be missed in 5 % of cases).
SURPRISES = 2.0


@dataclass(frozen=True)
class Metric:
    """One score of a table of predictions.

    Attributes:
        name: such as "accuracy" or "macro_f1".
        kind: "accuracy" (sum TP / rows), "micro" (F1 of the summed counts) or "mean" (weighted mean of the labels' F1).
        weights: float (labels,), of "mean".
    """

    name: str
    kind: Literal["accuracy", "micro", "mean"]
    weights: Array | None = None

    def value(self, both: Array, predicted: Array, right: Array, rows: int) -> float:
        """The score in [0, 1] of counts (labels,); a label that is neither predicted nor right has F1 0."""
        if self.kind == "accuracy":
            return float(both.sum() / rows)
        if self.kind == "micro":
            return float(2 * both.sum() / max(predicted.sum() + right.sum(), 1e-12))
        assert self.weights is not None
        return float(self.weights @ (2 * both / np.maximum(predicted + right, 1e-12)))

    def slopes(self, both: Array, predicted: Array, right: Array, rows: int) -> tuple[Array, Array]:
        """Derivatives of the score by TP and by T of each label, float64 (labels,) both."""
        ones = np.ones(len(both))
        if self.kind == "accuracy":
            return ones / rows, 0 * ones
        if self.kind == "micro":
            total = max(predicted.sum() + right.sum(), 1.0)
            return 2 / total * ones, -2 * both.sum() / total**2 * ones
        assert self.weights is not None
        sums = np.maximum(predicted + right, 1.0)
        return self.weights * 2 / sums, -self.weights * 2 * both / sums**2


def score(metric: Metric, predicted: Array, right: Array) -> float:
    """A metric of predictions against right labels, or against their probabilities: F of the expected counts.

    Args:
        metric: which.
        predicted: 0/1 (rows, labels).
        right: 0/1 or probabilities (rows, labels).
    """
    return metric.value(*_counts(predicted, right), len(predicted))


def extremes(predicted: Array, given: Array, others: Array, most: Array, *, multi: bool) -> tuple[Array, Array]:
    """The right labels at their worst and at their best for the predictions, as probabilities.

    With e_A the wrong labels among those that agree with the prediction and h_D the predictions that are right among
    those that disagree, a score against right labels differs from the one against given labels by what e_A takes and
    h_D gives; accuracy by (h_D - e_A) / rows. The worst has e_A from `most` and h_D = 0, the best the reverse; what
    disagrees and is wrong is then as predicted. F1 of a label only falls with e_A and only rises with h_D, so the same
    two tables bound every score here.

    Args:
        predicted: 0/1 (rows, labels).
        given: 0/1 (rows, labels).
        others: (rows, labels), P(right label | the given one is wrong): rows sum to 1; multi-label: 1 - given.
        most: P(wrong) at most, single-label (rows,), multi-label (rows, labels).
        multi: whether a row is several cells.

    Returns:
        Worst and best, float64 (rows, labels).
    """
    agree = predicted == given if multi else ((predicted * given).sum(1) > 0)[:, None]
    most = most if multi else most[:, None]
    given, others = given.astype(np.float64), others.astype(np.float64)
    worst = given + np.where(agree, most, 0) * (others - given)
    return worst, given + np.where(agree, 0, most) * ((others if multi else predicted) - given)


def estimated(
    metric: Metric, predicted: Array, believed: Array, sample: Array, truth: Array, level: float, *, multi: bool
) -> tuple[float, float, float, float]:
    """Estimate a score from rows drawn at random whose right labels are known, with the report's belief as a helper.

    The regression estimator of survey sampling (Särndal, Swensson & Wretman 1992, chapter 6), known as power-tuned
    prediction-powered inference (Angelopoulos, Duchi & Zrnic 2023, arXiv 2311.01453): with c_i the counts that
    row i adds (TP and T of each label), b_i the same as believed, n rows and m of them reviewed,

        C = sum_i lambda b_i + (n / m) sum_reviewed (c_i - lambda b_i).

    A belief that is wrong, or that shares the model's mistakes, costs precision and not validity. Scores are smooth in
    C: with u_i the slopes times c_i, v_i the residual u_i - lambda b_i,

        se = n sqrt((1 / m - 1 / n) (sum (v_i - mean v)^2 + SURPRISES d^2) / (m - 1 + SURPRISES)),

    d the mean over rows of the most that the right label of a row can move the score. lambda is the regression slope,
    within [0, 1]. The interval is for the score of these n rows, as if all were reviewed.

    Args:
        metric: which.
        predicted: 0/1 (rows, labels).
        believed: probabilities (rows, labels), from before the review.
        sample: int (m,), the reviewed rows, drawn at random.
        truth: 0/1 (m, labels), their right labels.
        level: of the interval.
        multi: whether a row is several cells.

    Returns:
        Estimate, lower and upper end, and the standard deviation of n v_i, all in units of the score.
    """
    rows, reviewed = len(predicted), len(sample)
    believed = believed.astype(np.float64)
    both, labels, right = _drawn_counts(predicted, believed, sample, truth, 1.0)
    by_both, by_right = metric.slopes(both, labels, right, rows)
    effects = predicted * by_both + by_right
    seen, thought = (truth * effects[sample]).sum(1), (believed[sample] * effects[sample]).sum(1)
    spread = thought - thought.mean()
    power = float(np.clip(spread @ seen / max(spread @ spread, 1e-30), 0, 1))
    estimate = float(np.clip(metric.value(*_drawn_counts(predicted, believed, sample, truth, power), rows), 0, 1))
    residual = rows * (seen - power * thought)
    moved = rows * float((np.abs(effects).max(1) if multi else np.ptp(effects, axis=1)).mean())
    squares = float(np.square(residual - residual.mean()).sum()) + SURPRISES * moved**2
    deviation = np.sqrt(squares / (reviewed - 1 + SURPRISES))
    half = student_t.ppf((1 + level) / 2, reviewed - 1) * deviation * np.sqrt(max(1 / reviewed - 1 / rows, 0))
    return estimate, max(estimate - half, 0.0), min(estimate + half, 1.0), float(deviation)


def planned_deviation(metric: Metric, predicted: Array, right: Array, *, multi: bool) -> float:
    """Standard deviation over rows of what a row adds to a score, if the right labels were drawn from `right`.

    Args:
        metric: which.
        predicted: 0/1 (rows, labels).
        right: probabilities (rows, labels).
        multi: whether a row is several cells, drawn independently.
    """
    right = right.astype(np.float64)
    both, labels, sums = _counts(predicted, right)
    by_both, by_right = metric.slopes(both, labels, sums, len(predicted))
    effects = len(predicted) * (predicted * by_both + by_right)
    mean = (right * effects).sum(1)
    inside = right * (1 - right) * effects**2 if multi else right * (effects - mean[:, None]) ** 2
    return float(np.sqrt(mean.var() + inside.sum(1).mean()))


def rows_needed(deviation: float, rows: int, half_width: float, z: float) -> int:
    """How many random rows give an interval of +- `half_width`: m with z deviation sqrt(1 / m - 1 / rows) = it."""
    wanted = (half_width / max(z * deviation, 1e-12)) ** 2
    return int(min(np.ceil(1 / (wanted + 1 / rows)), rows))


def _counts(predicted: Array, right: Array) -> tuple[Array, Array, Array]:
    """TP, P and T, float64 (labels,) each."""
    sums = [(predicted * right).sum(0), predicted.sum(0), right.sum(0)]
    both, labels, right_labels = (np.asarray(s, dtype=np.float64) for s in sums)
    return both, labels, right_labels


def _drawn_counts(
    predicted: Array, believed: Array, sample: Array, truth: Array, power: float
) -> tuple[Array, Array, Array]:
    """TP, P and T by the regression estimator.

    TP may come out above P, by which class happened to be drawn often: cut off there, scores near 1 would be too low.
    """
    both, labels, right = _counts(predicted, power * believed)
    off, scale = truth - power * believed[sample], len(predicted) / len(sample)
    return both + scale * (predicted[sample] * off).sum(0), labels, np.maximum(right + scale * off.sum(0), 0)
