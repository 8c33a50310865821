"""What encoders are worth on the same labeled rows: scores with errors, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from textpl.evaluation import decide, paired_difference, prior_thresholds, score
from textpl.relabeling.clusterability import Clusterability

RESAMPLES = 200


class Judged(NamedTuple):
    """What an encoder's answers are worth.

    Attributes:
        score: accuracy or macro F1, in [0, 1].
        error: its standard error over rows, or groups.
        decided: class ids (rows,), the number of labels where it abstained, or int8 (rows, labels).
    """

    score: float
    error: float
    decided: np.ndarray


@dataclass(frozen=True)
class EncoderScore:
    """One encoder.

    Attributes:
        encoder: its name.
        score: accuracy, for several labels per row macro F1; in [0, 1], cross-fitted.
        error: standard error of the score over rows (or groups).
        linear: the same of logistic regression on the vectors as they are.
        rows: labeled rows that were held out.
        units: groups that these are of, else their number.
        decided: class ids (rows,), the number of labels where it abstained, or int8 (rows, labels).
        clusters: how far neighbors agree; None where there are too few rows.
        dimension: length of a vector.
        token_limit: tokens of a text that are read; None where all are.
        cut_share: share of the texts that are longer; None where all is read.
        unknown_share: share of tokens that the encoder does not know; None where it has no tokens.
        seconds_per_thousand: seconds for 1,000 texts on this machine; None where nearly all came from the cache, or
            some may have (of joined encoders).
        encoded: texts that were encoded just now.
        behind: points that it is behind the best one; None of the best itself.
        interval: of `behind`, in points; with more than two encoders, so wide that those of all pairs hold together.
    """

    encoder: str
    score: float
    error: float
    linear: float
    rows: int
    units: int
    decided: np.ndarray
    clusters: Clusterability | None
    dimension: int
    token_limit: int | None
    cut_share: float | None
    unknown_share: float | None
    seconds_per_thousand: float | None
    encoded: int
    behind: float | None = None
    interval: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain data."""
        left = {"decided", "clusters"}
        values = {name: value for name, value in vars(self).items() if name not in left}
        interval = None if self.interval is None else list(self.interval)
        return values | {
            "interval": interval,
            "clusterability": None if self.clusters is None else self.clusters.to_dict(),
        }


def judged(
    p: np.ndarray, truth: np.ndarray, rates: np.ndarray, multi: bool, groups: np.ndarray | None, seed: int
) -> Judged:
    """Score cross-fitted probabilities.

    Args:
        p: float32 (rows, labels), 0 where the encoder abstained, which counts as wrong.
        truth: float32 (rows, labels).
        rates: (labels,), at which several labels are cut.
        multi: rows may have several labels.
        groups: int (rows,), what is drawn as a whole for the error.
        seed: of the resamples.
    """
    if multi:
        decided, gold = decide(p, "multi_label_classification", prior_thresholds(p, rates)), truth.astype(np.int8)
    else:
        decided, gold = np.where(p.any(1), p.argmax(1), truth.shape[1]), truth.argmax(1)
    metric = "macro_f1" if multi else "accuracy"
    value = score(decided, gold, metric)
    units = len(gold) if groups is None else len(np.unique(groups))
    plain = not multi and groups is None
    error = 0.0 if plain else _resampled_error(decided, gold, metric, groups, seed)
    if plain or value in (0, 1):  # two units of each outcome added: 10 of 10 are no proof of 100 %
        smoothed = (value * units + 2) / (units + 4)
        error = float(np.sqrt(smoothed * (1 - smoothed) / (units + 4)))
    return Judged(value, error, decided)


def compared(
    scores: Sequence[EncoderScore], truth: np.ndarray, multi: bool, groups: np.ndarray | None
) -> tuple[EncoderScore, ...]:
    """The best first, each other with its paired difference.

    Which one is the best is read off the same rows, so that the intervals have to hold for all pairs (Bonferroni).
    """
    pairs = len(scores) * (len(scores) - 1) / 2
    best, *others = sorted(scores, key=lambda found: -found.score)
    gold = truth.astype(np.int8) if multi else truth.argmax(1)
    told = [best]
    for other in others:
        found = paired_difference(
            [other.decided],
            [best.decided],
            [gold],
            "macro_f1" if multi else "accuracy",
            level=1 - 0.05 / pairs,
            groups=None if groups is None else [groups],
        )
        low, high = found.low, found.high
        if high - low < 1e-9:
            # No row differs: a difference in a share s of all rows stays unseen with probability (1 - s)^n.
            reach = 100 * (1 - (0.05 / pairs) ** (1 / other.units))
            low, high = max(low - reach, -100.0), min(high + reach, 100.0)
        told.append(replace(other, behind=found.mean, interval=(low, high)))
    return tuple(told)


def chance_agreement(truth: np.ndarray, multi: bool) -> float:
    """Agreement of two different random rows: P(equal label), or the mean Jaccard index of two label sets.

    Args:
        truth: (rows, labels), one-hot or multi-hot.
        multi: rows may have several labels.
    """
    rows = len(truth)
    if rows < 2:
        return 1.0
    if not multi:
        counts = truth.sum(0)
        return float((counts * (counts - 1)).sum() / (rows * (rows - 1)))
    sets = (truth >= 0.5).astype(np.float32)[:2_000]  # enough for two digits
    shared, size = sets @ sets.T, sets.sum(1)
    union = size[:, None] + size[None] - shared
    jaccard = np.divide(shared, union, out=np.ones_like(shared), where=union > 0)
    n = len(sets)
    return float((jaccard.sum() - np.trace(jaccard)) / (n * (n - 1)))


def _resampled_error(decided: np.ndarray, gold: np.ndarray, metric: str, groups: np.ndarray | None, seed: int) -> float:
    """Bootstrap over rows, or whole groups."""
    rng, ids = np.random.default_rng(seed), np.arange(len(gold)) if groups is None else groups
    members = [np.flatnonzero(ids == one) for one in np.unique(ids)] if groups is not None else None
    found = []
    for _ in range(RESAMPLES):
        if members is None:
            rows = rng.integers(0, len(gold), len(gold))
        else:
            rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        found.append(score(decided[rows], gold[rows], metric))
    return float(np.std(found))
