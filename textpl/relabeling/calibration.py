"""From a confidence to a precision that was seen: how often rows this sure turned out right on held-out gold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, logsumexp
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

# With fewer rows isotonic regression, which assumes no shape, follows single rows.
ISOTONIC_ROWS = 200
# Vote shares are often exactly 0 or 1, whose logit is infinite.
EXTREME = 1e-3
CURVE_POINTS = 513
# A label that got no vote is unlikely, not impossible: one held-out row must not make the loss infinite.
SMALLEST_SHARE = 1e-3
# Variance of an estimate from folds over that of a proportion, on the safe side; see `HeldOut.interval`.
VARIANCE = 2.0
COVERAGES = np.linspace(0.05, 1, 20)


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing, piecewise linear map from confidence to precision.

    Attributes:
        knots: float64 (m,), increasing confidences.
        values: float64 (m,), precision at the knots; constant beyond the outer ones.
        rows: number of held-out rows it was fitted on.
        method: "platt", "isotonic", or "identity" (nothing to fit on).
    """

    knots: np.ndarray
    values: np.ndarray
    rows: int
    method: str

    @property
    def fitted(self) -> bool:
        """Whether `precision` rests on held-out rows; without any it gives the confidence back."""
        return self.rows > 0

    def precision(self, confidence: np.ndarray) -> np.ndarray:
        """Estimated share of right labels among rows of this confidence; any shape, float32."""
        return np.interp(confidence, self.knots, self.values).astype(np.float32)


@dataclass(frozen=True)
class PrecisionCoverage:
    """Precision of the most confident rows against how many they are; arrays (points,), by growing coverage.

    Attributes:
        cut: rows with at least this confidence are kept.
        coverage: share of all rows that this keeps.
        precision: share of right labels among them.
        low: lower end of the 95 % Wilson interval of the precision.
        high: upper end.
    """

    cut: np.ndarray
    coverage: np.ndarray
    precision: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class HeldOut:
    """Labels that were given to labeled rows while their own were hidden: what an expected precision rests on.

    Attributes:
        confidence: float32 (m,), calibrated.
        unit: int (m,), the row, or the group of rows, that a label is of: labels of one are right or wrong together.
    """

    confidence: np.ndarray
    unit: np.ndarray

    def interval(self, expected: float, least: float) -> tuple[float, float]:
        """The 95 % interval of an expected precision.

        Wilson's, at half as many trials as there are rows (groups) with such a label: the folds share most of what they
        learn from, and the labeled rows are a draw themselves, so that the error of the estimate has a larger variance
        than a proportion: 1.1 to 1.3 times as large over nine pairs of corpus and encoder, 3 times in the worst
        (`benchmarks/expected_precision.py`); 95 to 100 % of the intervals hold the truth.

        Args:
            expected: mean confidence of the labels in question.
            least: their least confidence.

        Returns:
            Low and high; 0 and 1 where no held-out label is as sure.
        """
        count = len(np.unique(self.unit[self.confidence >= least])) / VARIANCE
        low, high = wilson_interval(np.array(expected * count), np.array(count))
        return float(low), float(high)


def calibrate(confidence: np.ndarray, correct: np.ndarray) -> Calibration:
    """Fits precision as a non-decreasing function of confidence on rows whose true label is known.

    Fewer than 200 rows: P(right) = sigmoid(a + b z), z the standardised logit of the confidence (Platt 1999), b >= 0
    with an L2 penalty b^2 / 2, so that few rows hardly bend the base rate. More: isotonic regression. Neither ever
    says 0 or 1: both see one invented right and one invented wrong row (a uniform prior of the base rate), at the mean
    confidence, or for isotonic regression the right one at the lowest and the wrong one at the highest confidence.
    40 right rows of 40 therefore mean 41/42, and n right rows at the top of the isotonic curve n/(n + 1) at most.

    The rows must be held out: those that helped to label themselves look better than new ones.

    Args:
        confidence: (n,) in [0, 1].
        correct: bool (n,), whether the label was right, or a share: of texts that were given several labels, how often
            it was this one.

    Raises:
        ValueError: arrays of different shapes; a confidence or `correct` outside [0, 1] or NaN.
    """
    confidence, correct = _checked(confidence, correct)
    n = len(confidence)
    if not n:
        return Calibration(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0, "identity")
    if n < ISOTONIC_ROWS:
        return Calibration(*_platt(confidence, correct), n, "platt")
    x = np.concatenate([confidence, [confidence.min(), confidence.max()]])
    y = np.concatenate([correct, [1, 0]])
    curve = IsotonicRegression(y_min=0, y_max=1).fit(x, y)
    return Calibration(curve.X_thresholds_, curve.y_thresholds_, n, "isotonic")


def _platt(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots and values of the fitted sigmoid, dense enough for linear interpolation."""
    z = _logit(confidence)
    center, spread = z.mean(), z.std()
    standard = (z - center) / spread if spread > 1e-9 else np.zeros_like(z)
    x, y = np.concatenate([standard, [0, 0]])[:, None], np.concatenate([correct, [1, 0]])
    if (hard := np.isin(y, [0, 1])).all():
        model = LogisticRegression(C=1.0).fit(x, y > 0)
    else:  # a row that was right half the time is half a right one and half a wrong one
        ones, soft = np.ones(hard.sum()), y[~hard]
        rows = np.concatenate([x[hard], x[~hard], x[~hard]])
        classes = np.concatenate([y[hard] > 0, soft > -1, soft > 2])
        model = LogisticRegression(C=1.0).fit(rows, classes, np.concatenate([ones, soft, 1 - soft]))
    slope, intercept = model.coef_[0, 0], model.intercept_[0]
    if slope <= 0 or spread <= 1e-9:  # more confident rows were not right more often: only the base rate is known
        slope, intercept = 0.0, logit(y.mean())
    # Beyond the confidences seen, the curve stays flat: narrow ones make it steep, and nothing was seen out there.
    points = np.linspace(z.min(), z.max(), CURVE_POINTS)
    return expit(points), expit(intercept + slope * (points - center) / max(spread, 1e-9))


def fit_temperature(p: np.ndarray, targets: np.ndarray) -> float:
    """Temperature T at which p^(1/T), renormalised, fits held-out labels best (Guo et al. 2017, arXiv 1706.04599).

    Vote shares and diffused labels are flatter than they are right; a student trained on them learns to be unsure.
    Minimises the summed cross-entropy plus log(T)^2 / 2, which keeps T near 1 where few rows speak.

    Args:
        p: (n, labels), rows sum to 1, of held-out rows; rows of 0 (abstained) are left out.
        targets: (n, labels), one-hot or soft.

    Returns:
        T between 0.05 and 20; 1 without rows.
    """
    rows = p.any(axis=1)
    z, y = np.log(np.clip(p[rows], SMALLEST_SHARE, 1)), targets[rows]

    def loss(log_t: float) -> float:
        scaled = z * np.exp(-log_t)
        return float((y * (logsumexp(scaled, axis=1, keepdims=True) - scaled)).sum() + log_t**2 / 2)

    if not len(z):
        return 1.0
    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def temper(p: np.ndarray, temperature: float) -> np.ndarray:
    """p^(1/T) with rows that sum to 1 again; rows of 0 stay 0. Shapes: (n, labels) -> float32 (n, labels)."""
    top = p.max(axis=1, keepdims=True)
    scaled = np.divide(p, top, out=np.zeros_like(p, dtype=np.float32), where=top > 0) ** np.float32(1 / temperature)
    return scaled / np.maximum(scaled.sum(axis=1, keepdims=True), np.float32(1e-12))


def precision_coverage(confidence: np.ndarray, correct: np.ndarray) -> PrecisionCoverage:
    """The table of precision against coverage, in steps of about 5 % of the rows; ties come together.

    Args:
        confidence: (n,) in [0, 1], raw or calibrated.
        correct: bool (n,), or shares.
    """
    confidence, correct = _checked(confidence, correct)
    n, ascending = len(confidence), np.sort(confidence)
    ranks = np.ceil(COVERAGES * n).astype(int)
    cuts = np.unique(ascending[n - ranks[ranks > 0]])[::-1]
    kept = n - np.searchsorted(ascending, cuts)
    right = np.array([correct[confidence >= cut].sum() for cut in cuts], dtype=np.float64)
    return PrecisionCoverage(cuts, kept / max(n, 1), right / kept, *wilson_interval(right, kept))


def wilson_interval(successes: np.ndarray, trials: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Confidence interval (low, high) of a proportion (Wilson 1927); sensible for few trials and for 0 or all right.

    Args:
        successes: any shape.
        trials: same shape; where it is 0 the interval is [0, 1].
        level: nominal coverage.
    """
    z2 = norm.ppf(0.5 + level / 2) ** 2
    successes, trials = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    center = (successes + z2 / 2) / (trials + z2)
    half = np.sqrt(z2 * (successes * (trials - successes) / np.maximum(trials, 1) + z2 / 4)) / (trials + z2)
    return np.maximum(center - half, 0), np.minimum(center + half, 1)


def _logit(confidence: np.ndarray) -> np.ndarray:
    return logit(np.clip(confidence, EXTREME, 1 - EXTREME))


def _checked(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ValueError(f"confidence {confidence.shape} and correct {correct.shape}: expected one number a row each.")
    bad = ~((confidence >= 0) & (confidence <= 1))
    if bad.any():
        raise ValueError(f"row {bad.argmax()}: confidence {confidence[bad][0]} is not in [0, 1].")
    if not ((correct >= 0) & (correct <= 1)).all():
        raise ValueError("correct must be True or False, or a share from 0 to 1: whether the label of a row was right.")
    return confidence, correct
