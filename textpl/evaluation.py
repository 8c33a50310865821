"""How good a classifier is, and whether one training recipe beats another: pure functions on arrays.

Predictions and gold labels are class ids (rows,) for `single_label_classification` and 0/1 (rows, labels)
for `multi_label_classification`; functions that take no `problem_type` read it off the number of axes. All of them
raise a ValueError that names the value and the remedy where arrays do not fit each other or the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from textpl.group_folds import group_ids
from textpl.variance_components import group_values, margin

Array = NDArray[Any]

METRICS: dict[str, tuple[str, ...]] = {
    "single_label_classification": ("accuracy", "macro_f1"),
    "multi_label_classification": ("micro_f1", "macro_f1", "subset_accuracy"),
}

# Softmax in float32 overshoots 1 by a few 1e-7; logits overshoot by far more.
ROUNDING = 1e-5
# Cells of the (rows x labels) table of metrics without a row that are held at once.
BLOCK_CELLS = 1_000_000
ONE_SEED = "one seed: the interval is of the test rows only; the variation between training seeds is not in it"
FEW_SEEDS = "{} seeds say little about the spread between seeds; 5 or more are better"
# With fewer there is no verdict.
LEAST_ROWS, LEAST_SEEDS, LEAST_GROUPS = 100, 3, 20


@dataclass(frozen=True)
class Interval:
    """A difference method - baseline in points (100 x the metric) with its interval.

    Args:
        mean: observed difference, averaged over the seeds.
        low: lower end of the interval.
        high: upper end of the interval.
        level: nominal coverage, such as 0.95.
        seeds: number of seeds (or splits) on either side.
        note: what a reader must know about this interval; empty when there is nothing to say.
        rows: test rows, the fewest of any seed; None if unknown.
        by_seed: difference of each seed, in points; empty if unknown.
        groups: groups (such as documents) that the test rows are of, the fewest of any seed; None: of no groups.
        contested: the baseline is the best of several by these test rows, and not all of them say that the method
            hurt: the best of equals looks better than it is.
    """

    mean: float
    low: float
    high: float
    level: float
    seeds: int
    note: str = ""
    rows: int | None = None
    by_seed: tuple[float, ...] = ()
    groups: int | None = None
    contested: bool = False

    @property
    def verdict(self) -> Literal["helped", "hurt", "no evidence", "cannot be told"]:
        """The answer; none where so few test rows or seeds give no grounds for any."""
        if self.lacking():
            return "cannot be told"
        return "helped" if self.low > 0 else "hurt" if self.high < 0 and not self.contested else "no evidence"

    def lacking(self) -> str:
        """Say what an answer would need; nothing where it has grounds."""
        lacking = []
        if self.rows is not None and self.rows < LEAST_ROWS:
            lacking.append(f"{self.rows} test row{'s' * (self.rows != 1)}, and {LEAST_ROWS} are needed")
        if self.groups is not None and self.groups < LEAST_GROUPS:
            lacking.append(f"test rows of {self.groups} groups, and {LEAST_GROUPS} are needed")
        if self.seeds < LEAST_SEEDS:
            lacking.append(f"{self.seeds} seed{'s' * (self.seeds != 1)}, and {LEAST_SEEDS} are needed")
        return "; ".join(lacking)

    def seeds_told(self) -> str:
        """Say how many seeds gained, what the worst one did, and how frequent collapses may be that no seed met.

        n seeds meet none of what happens in a share q of trainings with probability (1 - q)^n, so that shares up to
        1 - .05^(1/n) go with having met none: 63 % for 3 seeds, 45 % for 5, 26 % for 10.
        """
        if len(self.by_seed) < 2:
            return ""
        count, gained = len(self.by_seed), sum(difference > 0 for difference in self.by_seed)
        unseen = 100 * (1 - 0.05 ** (1 / count))
        return (
            f"{gained} of {count} seeds gained, the worst one {min(self.by_seed):+z.1f}; what no seed met, such as a "
            f"collapse, may still come in up to {unseen:.0f} % of trainings"
        )

    def sentence(self, unit: str = "points") -> str:
        """The answer in words: a gain, a loss, no evidence when the interval holds zero, or that it cannot be told."""
        numbers = f"{self.mean:+z.1f} {unit} [{self.low:z.1f}, {self.high:z.1f}]"
        if lacking := self.lacking():
            return f"cannot be told ({lacking}): {numbers}"
        if self.low > 0:
            return numbers
        return f"{numbers}: it hurt" if self.verdict == "hurt" else f"no evidence that it helped: {numbers}"


def decide(probabilities: ArrayLike, problem_type: str, thresholds: float | ArrayLike = 0.5) -> Array:
    """Turn probabilities (rows, labels) into predictions.

    Args:
        probabilities: softmax or sigmoid outputs, shape (rows, labels).
        problem_type: a key of `METRICS`.
        thresholds: one cut, or one per label (labels,); plays no part in single-label.

    Returns:
        Single-label: class ids int64 (rows,), the first of equal maxima. Multi-label: int8 (rows, labels), p >= cut.

    Example:
        >>> decide([[0.9, 0.2], [0.6, 0.1]], "multi_label_classification", thresholds=[0.7, 0.2]).tolist()
        [[1, 1], [0, 0]]
    """
    p = _probabilities(probabilities)
    if problem_type not in METRICS:
        raise ValueError(f"problem_type={problem_type!r} is none of {', '.join(METRICS)}.")
    if problem_type == "single_label_classification":
        return p.argmax(axis=1)
    cuts = np.asarray(thresholds, dtype=float)
    if cuts.shape not in {(), (p.shape[1],)} or np.isnan(cuts).any():
        raise ValueError(f"thresholds {cuts} must be one number or {p.shape[1]} numbers, one per label, without NaN.")
    return (p >= cuts).astype(np.int8)


def prior_thresholds(probabilities: ArrayLike, prior: ArrayLike) -> Array:
    """Per-label cuts at which the share of rows predicted positive is as close to `prior` as ties allow.

    When to use: multi-label models whose probabilities are shifted (few or one-sided labels) while the label
    frequencies are known. The labels of these rows are not used, so the cuts may come from the evaluated rows.

    Args:
        probabilities: shape (rows, labels).
        prior: wanted share of positives per label, shape (labels,); clamped to [0, 1].

    Returns:
        float64 (labels,), to be used as p >= cut. A label with no positives gets a cut above its maximum.
    """
    p, shares = _probabilities(probabilities), np.asarray(prior, dtype=float)
    if shares.shape != p.shape[1:] or np.isnan(shares).any():
        raise ValueError(f"prior {shares} must hold {p.shape[1]} numbers, one per label, without NaN.")
    wanted = np.clip(shares, 0, 1) * len(p)
    return np.array([_cut(column, target) for column, target in zip(p.T, wanted, strict=True)])


def score(predictions: ArrayLike, gold: ArrayLike, metric: str) -> float:
    """One metric in [0, 1], as scikit-learn computes it with zero_division=0.

    Args:
        predictions: class ids (rows,) or 0/1 (rows, labels).
        gold: same shape as `predictions`.
        metric: a name that `METRICS` lists for the problem type.
    """
    predicted, true = _pair(predictions, gold, metric)
    if metric.endswith("accuracy"):  # of whole rows in multi-label: scikit-learn's subset accuracy
        return float(accuracy_score(true, predicted))
    labels = _columns(true) if true.ndim == 2 else None
    return float(f1_score(true, predicted, labels=labels, average=metric.removesuffix("_f1"), zero_division=0))


def scores(predictions: ArrayLike, gold: ArrayLike) -> dict[str, float]:
    """Every metric that fits the problem type, by name; arguments as in `score`."""
    return {metric: score(predictions, gold, metric) for metric in METRICS[_problem_type(np.asarray(gold))]}


def expected_calibration_error(probabilities: ArrayLike, gold: ArrayLike, problem_type: str, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al. 2017, arXiv:1706.04599, eq. 3).

    Single-label compares the largest probability of a row with "the most probable label is right"; multi-label
    compares p of every (row, label) cell with its gold 0 or 1.

    Args:
        probabilities: shape (rows, labels).
        gold: class ids (rows,) or 0/1 (rows, labels).
        problem_type: a key of `METRICS`.
        bins: number of bins ((i - 1) / bins, i / bins].
    """
    p = _probabilities(probabilities)
    predicted, true = _pair(decide(p, problem_type), gold)
    if bins < 1:
        raise ValueError(f"bins={bins}: at least 1 is needed.")
    single = problem_type == "single_label_classification"
    confidence = (p.max(axis=1) if single else p.ravel()).astype(float)
    outcome = predicted == true if single else true.ravel()
    index = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    gaps = np.bincount(index, weights=confidence - outcome, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def per_label(predictions: ArrayLike, gold: ArrayLike, label_names: Sequence[str]) -> list[dict[str, Any]]:
    """Precision, recall, f1 and support (gold rows) of every label, in the order of `label_names`.

    Args:
        predictions: class ids (rows,) or 0/1 (rows, labels).
        gold: same shape as `predictions`.
        label_names: one name per label id.
    """
    predicted, true = _pair(predictions, gold)
    count = true.shape[1] if true.ndim == 2 else int(max(true.max(), predicted.max())) + 1
    if count > len(label_names) or (true.ndim == 2 and count < len(label_names)):
        raise ValueError(f"{len(label_names)} label names for {count} labels: give one name per label.")
    labels = _columns(true) if true.ndim == 2 else list(range(len(label_names)))
    columns = precision_recall_fscore_support(true, predicted, labels=labels, zero_division=0)
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in zip(label_names, *columns, strict=True)
    ]


def paired_difference(
    baseline: Sequence[ArrayLike],
    method: Sequence[ArrayLike],
    gold: Sequence[ArrayLike],
    metric: str,
    *,
    level: float = 0.95,
    groups: Sequence[ArrayLike] | None = None,
) -> Interval:
    """Interval of the paired difference method - baseline for new seeds and new test rows.

    A row's part in a seed's difference is its pseudo-value n D - (n - 1) D without the row (the jackknife; for accuracy
    that is the row's own difference), shifted to have the mean D. From the table of seeds x rows, or the rows of each
    seed where it has test rows of its own, `textpl.variance_components.margin` estimates how far the mean may be off,
    counting row noise once.
    benchmarks/interval_coverage.py has its coverage: 93 to 99 % where rows, seeds or both vary normally, at 3 to 10
    seeds and 200 to 7,600 rows. No interval of so few seeds covers rare collapses: see `Interval.seeds_told`.

    Args:
        baseline: predictions of the baseline, one array per seed or split: ids (rows,) or 0/1 (rows, labels).
        method: predictions of the method, same seeds in the same order.
        gold: gold labels per seed, rows in the order of the predictions; equal for all seeds with one test set.
        metric: a name that `METRICS` lists for the problem type.
        level: nominal coverage of the interval.
        groups: per seed, the group of each row (rows,), such as its document: whole groups are what is drawn then.
    """
    seeds = _paired_seeds(baseline, method, gold, metric)
    if not 0 < level < 1:
        raise ValueError(f"level={level} must lie between 0 and 1.")
    values = [_paired_values(*sides, metric) for sides in seeds]
    observed = np.array([value.mean() for value in values])
    crossed, members = all(np.array_equal(true, seeds[0][2]) for _, _, true in seeds), None
    if groups is not None:
        numbered = _numbered_groups(groups, values)
        crossed = crossed and all(np.array_equal(ids, numbered[0]) for ids in numbered)
        values = [group_values(value, ids) for value, ids in zip(values, numbered, strict=True)]
        members = min(len(value) for value in values)
    reach = margin(values, crossed=crossed, level=level)
    mean = float(observed.mean())
    # No difference is larger than 100 points.
    low, high = (float(np.clip(100 * end, -100, 100)) for end in (mean - reach, mean + reach))
    note = ONE_SEED if len(seeds) == 1 else FEW_SEEDS.format(len(seeds)) if len(seeds) < 5 else ""
    rows, by_seed = min(len(true) for _, _, true in seeds), tuple(float(100 * value) for value in observed)
    return Interval(100 * mean, low, high, float(level), len(seeds), note, rows, by_seed, members)


def _numbered_groups(groups: Sequence[ArrayLike], values: Sequence[Array]) -> list[Array]:
    """Numbers of the groups of every seed's rows, checked to be as many."""
    numbered = [group_ids(ids) for ids in groups]
    if [len(ids) for ids in numbered] != [len(value) for value in values]:
        raise ValueError("groups: give one array per seed, with the group of each of its test rows.")
    return numbered


def _paired_values(baseline: Array, method: Array, gold: Array, metric: str) -> Array:
    """What each row makes of the difference of one seed (rows,); their mean is that difference."""
    (before, first), (after, second) = (
        _pseudo_values(_summands(side, gold, metric), metric) for side in (baseline, method)
    )
    values = second - first
    return values - values.mean() + (after - before)


def _pseudo_values(summands: Array, metric: str) -> tuple[float, Array]:
    """Metric, and the jackknife's pseudo-value of each row (rows,), from `_summands`."""
    rows, sums = len(summands), summands.sum(axis=0, dtype=float)
    whole = float(_from_sums(sums[None], rows, metric)[0])
    step = max(1, BLOCK_CELLS // summands.shape[1])
    blocks = [
        _from_sums(sums - summands[start : start + step].astype(float), rows - 1, metric)
        for start in range(0, rows, step)
    ]
    return whole, rows * whole - (rows - 1) * np.concatenate(blocks)


def _from_sums(sums: Array, rows: int, metric: str) -> Array:
    """Metric of the sums over `rows` rows of what `_summands` gives: (n, columns) -> (n,)."""
    if metric.endswith("accuracy"):
        return sums[:, 0] / max(rows, 1)
    hits, total = np.split(sums, 2, axis=1)
    if metric == "micro_f1":
        hits, total = hits.sum(axis=1, keepdims=True), total.sum(axis=1, keepdims=True)
    return (2 * hits / np.maximum(total, 1)).mean(axis=1)  # total 0 has no hits either: 0, as zero_division=0


def _summands(predicted: Array, gold: Array, metric: str) -> Array:
    """Per-row numbers whose weighted sums give the metric: hits (rows, 1), or TP and 2TP+FP+FN (rows, 2 x labels)."""
    if metric.endswith("accuracy"):
        return (predicted == gold).reshape(len(gold), -1).all(axis=1, keepdims=True).astype(np.float32)
    if gold.ndim == 1:
        # scikit-learn's macro mean runs over the labels seen in the gold or in these predictions.
        classes = np.union1d(gold, predicted)
        predicted, gold = predicted[:, None] == classes, gold[:, None] == classes
    return np.hstack([predicted & gold, predicted.astype(np.int8) + gold]).astype(np.float32)


def _paired_seeds(
    baseline: Sequence[ArrayLike], method: Sequence[ArrayLike], gold: Sequence[ArrayLike], metric: str
) -> list[tuple[Array, Array, Array]]:
    """Validated (baseline, method, gold) arrays of every seed."""
    if not len(baseline) == len(method) == len(gold) or len(gold) == 0:
        raise ValueError(
            f"{len(baseline)} baseline, {len(method)} method and {len(gold)} gold arrays: the difference is "
            "paired, so give one array per seed on each side, at least one."
        )
    seeds = []
    for s, (before, after, labels) in enumerate(zip(baseline, method, gold, strict=True)):
        try:
            (first, true), (second, _) = _pair(before, labels, metric), _pair(after, labels, metric)
        except ValueError as error:
            raise ValueError(f"seed number {s}: {error}") from error
        seeds.append((first, second, true))
    return seeds


def _pair(predictions: ArrayLike, gold: ArrayLike, metric: str | None = None) -> tuple[Array, Array]:
    """Predictions and gold as int64 (rows,) or int8 (rows, labels), checked to fit each other and the metric."""
    predicted, true = np.asarray(predictions), np.asarray(gold)
    if predicted.shape != true.shape:
        raise ValueError(f"predictions have shape {predicted.shape} and gold labels {true.shape}: they must agree.")
    problem_type = _problem_type(true)
    if metric is not None and metric not in METRICS[problem_type]:
        raise ValueError(f"metric={metric!r} is none of {', '.join(METRICS[problem_type])} for {problem_type}.")
    for name, values in (("predictions", predicted), ("gold labels", true)):
        if true.ndim == 2 and not np.isin(values, (0, 1)).all():
            raise ValueError(f"{name} of shape {true.shape} must be 0 or 1: pass probabilities through decide().")
        if true.ndim == 1 and (not np.issubdtype(values.dtype, np.integer) or values.min() < 0):
            raise ValueError(f"{name} must be class ids 0, 1, ... as integers; got {values.dtype}, {values[:5]}.")
    dtype = np.int8 if true.ndim == 2 else np.int64
    return predicted.astype(dtype), true.astype(dtype)


def _problem_type(gold: Array) -> str:
    """Problem type of gold labels, by their number of axes."""
    if gold.ndim not in (1, 2) or gold.size == 0:
        raise ValueError(f"labels of shape {gold.shape}: expected ids (rows,) or 0/1 (rows, labels), not empty.")
    return "single_label_classification" if gold.ndim == 1 else "multi_label_classification"


def _columns(gold: Array) -> list[int]:
    """Names of the labels of (rows, labels) in scikit-learn, which reads one column as binary: 1 is its positive."""
    return [1] if gold.shape[1] == 1 else list(range(gold.shape[1]))


def _probabilities(probabilities: ArrayLike) -> Array:
    """Probabilities as an array (rows, labels), or a ValueError that names the first row that holds none."""
    p = np.asarray(probabilities)
    if p.ndim != 2 or p.size == 0:
        raise ValueError(f"probabilities have shape {p.shape}: expected (rows, labels), at least one of each.")
    # Written so that NaN, which no comparison accepts, is caught as well.
    bad = np.flatnonzero(~((p >= -ROUNDING) & (p <= 1 + ROUNDING)).all(axis=1))
    if len(bad):
        raise ValueError(
            f"row {bad[0]} of the probabilities holds {p[bad[0]]} ({len(bad)} such rows): NaN comes from a diverged "
            "model; values outside [0, 1] are logits that still need a softmax or sigmoid."
        )
    return p


def _cut(column: Array, wanted: float) -> float:
    """Cut for one label: p >= cut marks about `wanted` of the probabilities (rows,)."""
    rank = round(wanted)
    if rank > 0:
        value = np.sort(column)[len(column) - rank]
        above, reached = (column > value).sum(), (column >= value).sum()
        # All rows tied at `value` come together: take them if that lands nearer than leaving them out.
        if reached - wanted <= wanted - above:
            return float(value)
        if above:
            return float(column[column > value].min())
    # One float32 step above the maximum, so that the cut stays above it when stored in single precision.
    return float(np.nextafter(np.float32(column.max()), np.float32(np.inf)))
