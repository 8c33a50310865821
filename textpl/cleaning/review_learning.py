"""What reviewed cells say about all others: a regression on the detector's evidence that may also change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

Array = np.ndarray

# Evidence is clipped here: beyond, log-odds are an artefact of how probabilities were clipped.
LIMIT = 12.0
# Strengths of the prior that are averaged over; the last one leaves the order of the cells as it is.
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1e4)
# Priors of what all cells share: level, slope below and above the cut. Their standard deviations are 0.5.
SHARED = (4.0, 4.0, 4.0)
# With fewer answers, or fewer below the cut, nothing is learnt.
FEWEST, BELOW = 10, 3
# With fewer answers the order stays: new ones from 50 or 100 lost up to .028 of average precision and won at most .004.
ORDERING = 150
# What was learnt must be better in this share of the resamples, on answers that it was not learnt from.
CERTAIN = 0.9
FOLDS, RESAMPLES = 10, 400
# A label has an offset of its own if so many answers are of cells with it, and at most so many labels have, those with
# most answers: every one makes the regressions of all folds slower.
OWN, OFFSETS = 5, 50
CHUNK = 1 << 17


@dataclass(frozen=True)
class _Design:
    """Columns of the regression, made for any part of the cells; scales come from the reviewed ones.

    The first three (level, slope below and above the cut) move all cells alike and keep their order, unless a slope
    turned negative; the others change it.
    """

    score: Array
    kind: Array
    features: Sequence[Array]
    cut: float
    scales: tuple[tuple[float, float, int], ...]
    contrast: bool
    label: Array | None
    offsets: Array

    @property
    def others(self) -> int:
        """Columns after those of all cells and of their kinds."""
        return len(self.scales) + len(self.offsets)

    def __call__(self, cells: Array | slice) -> Array:
        s = np.clip(self.score[cells], -LIMIT, LIMIT) - self.cut
        kind = self.kind[cells]
        columns = [np.ones(len(s)), np.minimum(s, 0), np.maximum(s, 0)]
        if self.contrast:
            sign = np.where(kind == 1, 1.0, -1.0)
            columns += [sign, sign * s / 2]
        for (center, scale, value), feature in zip(self.scales, self._per_kind(), strict=True):
            columns.append((np.clip(feature[cells], -LIMIT, LIMIT) - center) / scale * (kind == value))
        if self.label is not None:
            own = self.label[cells]
            columns += [(own == value).astype(np.float64) for value in self.offsets]
        return np.stack(columns, axis=1)

    def _per_kind(self) -> Iterator[Array]:
        for feature in self.features:
            yield feature
            if self.contrast:
                yield feature


def learn(
    score: Array,
    kind: Array,
    features: Sequence[Array],
    reviewed: Array,
    wrong: Array,
    cut: float,
    label: Array | None = None,
) -> tuple[Array, dict[str, Any]]:
    """Re-score all cells by what reviewed ones turned out to be.

    Logistic regression on the present log-odds as offset, so that zero coefficients leave everything as it is. Level
    and slopes (a hinge at the cut, as scores saturate above it) calibrate and keep the order.
    What changes the order, offset and slope by kind of cell (given or not), an offset of each given label (how often
    one is given for others differs more than the model knows) and further evidence, has a Gaussian prior around zero of
    unknown strength: the answer is the average over `STRENGTHS` weighted by their marginal likelihood (Laplace; MacKay
    1992, "Bayesian interpolation"), where "leave the order alone" has half of the prior weight. So a few reviews, or
    reviews that agree with the order, change next to nothing.

    Likelihood is not order: an offset that fits the answers may put many right cells before the wrong ones. So the new
    order is taken only from `ORDERING` answers on, and if it is better on answers that it was not learnt from: average
    precision, every answer counted for the cells it stands for, in `CERTAIN` of the bootstrap resamples. Level and
    slopes alone are taken only if they make such answers likelier, in as many resamples; else everything stays.

    Below the lowest answer (of its kind, where the order changes) no cell becomes more probably wrong than it was: they
    are many, and nobody looked at any of them.

    Cells from above the cut alone say nothing about those below it: unless `BELOW` lie below, nothing is learnt, nor
    from fewer than `FEWEST`.

    Args:
        score: log-odds that the cell is wrong, (cells,).
        kind: 1 where the label is given, 0 where it is not, (cells,).
        features: further log-odds, (cells,) each.
        reviewed: positions of reviewed cells, (n,).
        wrong: whether they are wrong, bool (n,).
        cut: log-odds of the automatic cut.
        label: the given label of each cell, int (cells,), where a row has one.

    Returns:
        New log-odds (cells,), and what to report: "answers", how many of them are "wrong", "below" the cut, whether
        anything was "learnt", and how likely a new order of the cells is, "order_changed" (0: the old one).
    """
    y = wrong.astype(np.float64)
    below = int((score[reviewed] < cut).sum())
    report: dict[str, Any] = {"answers": len(y), "wrong": int(y.sum()), "below": below}
    report |= {"learnt": False, "order_changed": 0.0}
    if len(y) < FEWEST or below < BELOW:
        return score, report
    design = _design(score, kind, features, reviewed, cut, label)
    x, offset = design(reviewed), np.clip(score[reviewed], -LIMIT, LIMIT)
    # Slopes by kind are a finer point than its offset.
    relative = np.array([0.0, 0, 0] + ([1.0, 4.0] if design.contrast else []) + [1.0] * design.others)
    fixed = np.array([*SHARED] + [0.0] * (len(relative) - 3))
    strengths = STRENGTHS if len(relative) > 3 else STRENGTHS[-1:]
    penalties = [fixed + relative * strength for strength in strengths]
    w, kept, changed = _coefficients(x, y, offset, penalties)
    if len(y) < ORDERING or not (
        changed and _better_unseen(x, y, offset, penalties, w, kept, stand_for(score, kind, reviewed))
    ):
        changed = 0.0
    if not changed:
        w = kept
        if not _likelier_unseen(x, y, offset, penalties[-1:]):
            return score, report
    new = _rescored(score, kind, reviewed, design, w, bool(changed))
    return new, {**report, "learnt": True, "order_changed": round(changed, 3)}


def _rescored(score: Array, kind: Array, reviewed: Array, design: _Design, w: Array, changed: bool) -> Array:
    """New log-odds of all cells, where answers end those below as little as can be."""
    new = np.empty(score.size, np.float64)
    for start in range(0, score.size, CHUNK):
        part = slice(start, start + CHUNK)
        new[part] = score[part] + design(part) @ w
    ends = [score[reviewed[kind[reviewed] == value]].min(initial=np.inf) for value in (0, 1)]  # of each kind
    if changed:
        below_end = score < np.where(kind == 1, ends[1], ends[0])
        new[below_end] = np.minimum(new[below_end], score[below_end])
    else:  # one end for both kinds, or cells of either would pass the other's
        _fade(new, score, max(end for end in ends if np.isfinite(end)))
    return new


def _design(
    score: Array, kind: Array, features: Sequence[Array], reviewed: Array, cut: float, label: Array | None
) -> _Design:
    """The columns, scaled by the reviewed cells; an offset for each label that `OWN` of them or more were given."""
    contrast, scales = len(np.unique(kind[reviewed])) == 2, []
    for feature in features:
        for value in (0, 1) if contrast else (int(kind[reviewed[0]]),):
            seen = np.clip(feature[reviewed[kind[reviewed] == value]], -LIMIT, LIMIT)
            scales.append((float(seen.mean()), max(float(seen.std()), 0.5), value))
    values, counts = np.unique(np.empty(0, int) if label is None else label[reviewed], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:OFFSETS]
    own = np.sort(values[most[counts[most] >= OWN]])
    return _Design(score, kind, features, cut, tuple(scales), contrast, label, own)


def _fade(new: Array, old: Array, end: float) -> None:
    """Take back, in `new`, what was learnt for cells below `end`; the order of the cells stays.

    They sink with the cells above just as far as it takes to stay behind these, by ever less.
    """
    above, below = np.flatnonzero(old >= end), old < end
    shift = min(float((new[above] - old[above])[old[above].argmin()]), 0.0)
    new[below] = old[below] + shift * np.exp(-(end - old[below]) / max(2 * abs(shift), 1.0))


def _better_unseen(
    x: Array, y: Array, offset: Array, penalties: Sequence[Array], w: Array, kept: Array, number: Array
) -> bool:
    """Whether the new order is surely better on answers it was not learnt from (but for level and slopes)."""
    now, unseen = offset + x[:, :3] @ kept[:3], offset + x[:, :3] @ w[:3]
    fold = np.random.default_rng(0).permutation(len(y)) % FOLDS
    for k in range(FOLDS):
        inside, held = fold != k, fold == k
        unseen[held] += x[held, 3:] @ _coefficients(x[inside], y[inside], offset[inside], penalties)[0][3:]
    return _share_better(now, unseen, y, number) >= CERTAIN


def _likelier_unseen(x: Array, y: Array, offset: Array, penalties: Sequence[Array]) -> bool:
    """Whether level and slopes surely make answers likelier that they were not learnt from."""
    gain = np.zeros(len(y))
    fold = np.random.default_rng(0).permutation(len(y)) % FOLDS
    for k in range(FOLDS):
        inside, held = fold != k, fold == k
        z = offset[held] + x[held, :3] @ _coefficients(x[inside], y[inside], offset[inside], penalties)[1][:3]
        gain[held] = np.logaddexp(0, offset[held]) - np.logaddexp(0, z) + y[held] * (z - offset[held])
    return float((_resamples(len(y)) @ gain > 0).mean()) >= CERTAIN


def _resamples(number: int) -> Array:
    """How often each of `number` answers is drawn, int64 (RESAMPLES, number)."""
    return np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), RESAMPLES)


def _coefficients(x: Array, y: Array, offset: Array, penalties: Sequence[Array]) -> tuple[Array, Array, float]:
    """Averaged over the penalties, by the last one alone, which leaves the order, and the weight of all others."""
    fits = [_fit(x, y, offset, ridge) for ridge in penalties]
    evidence = np.array([e for _, e in fits])
    weights = np.exp(evidence - evidence.max())
    weights[-1] *= max(len(fits) - 1, 1)
    weights /= weights.sum()
    averaged, kept = np.average([b for b, _ in fits], axis=0, weights=weights), fits[-1][0]
    for w in (averaged, kept):
        w[1:3] = np.maximum(w[1:3], -0.95)
    kept[3:] = 0
    return averaged, kept, float(1 - weights[-1]) if len(fits) > 1 else 0.0


def stand_for(score: Array, kind: Array, reviewed: Array) -> Array:
    """Count the cells of its kind nearer to each reviewed one, by score, than to others: float64 (n,), at least 1."""
    number = np.ones(len(reviewed))
    for value in np.unique(kind[reviewed]):
        lessons = np.flatnonzero(kind[reviewed] == value)
        lessons = lessons[np.argsort(score[reviewed[lessons]], kind="stable")]
        s = score[reviewed[lessons]].astype(np.float64)
        if len(s) > 1:
            # Nothing stands for what is further below the lowest than half of its distance to the next.
            ends = np.concatenate([[s[0] - (s[1] - s[0]) / 2], (s[1:] + s[:-1]) / 2, [np.inf]])
            number[lessons] = np.maximum(np.histogram(score[kind == value], ends)[0], 1)
    return number


def _share_better(old: Array, new: Array, y: Array, number: Array) -> float:
    """Share of bootstrap resamples of the answers in which `new` has the higher average precision."""
    drawn = _resamples(len(y))

    def precision(s: Array) -> Array:
        order = np.argsort(-s, kind="stable")
        weight = drawn[:, order] * number[order]
        hits = weight * y[order]
        return (hits * hits.cumsum(1) / np.maximum(weight.cumsum(1), 1e-9)).sum(1) / np.maximum(hits.sum(1), 1e-9)

    return float((precision(new) > precision(old)).mean())


def _fit(x: Array, y: Array, offset: Array, ridge: Array) -> tuple[Array, float]:
    """Coefficients of the ridge logistic regression, by damped Newton steps, and the log marginal likelihood."""

    def loss(b: Array) -> float:
        z = offset + x @ b
        return float((np.logaddexp(0, z) - y * z).sum() + 0.5 * (ridge * b * b).sum())

    def curvature(b: Array) -> Array:
        p = expit(offset + x @ b)
        return (x * (p * (1 - p))[:, None]).T @ x + np.diag(ridge)

    b = np.zeros(x.shape[1])
    value = loss(b)
    for _ in range(50):
        step = np.linalg.solve(curvature(b), x.T @ (expit(offset + x @ b) - y) + ridge * b)
        size = 1.0
        while size > 1e-6 and loss(b - size * step) > value:
            size /= 2
        b = b - size * step
        before, value = value, loss(b)
        if before - value < 1e-8:
            break
    return b, -value + 0.5 * np.log(ridge).sum() - 0.5 * np.linalg.slogdet(curvature(b))[1]
