"""What a comparison of encoders says: scores with errors, paired differences, and what follows in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from textpl.embeddings.encoder_candidates import SOURCE, Candidate, Script
from textpl.evaluation import LEAST_GROUPS, decide, paired_difference, prior_thresholds, score
from textpl.relabeling.clusterability import MIN_EDGES, Clusterability
from textpl.unknown_tokens import TOO_MANY

RESAMPLES = 200
# Rows (or groups) below which no difference is told, however large.
LEAST = LEAST_GROUPS
# Agreement of neighbors beyond chance, (q - chance) / (1 - chance), below which labels do not follow the vectors.
LOW_AGREEMENT = 0.2
MOST_CANDIDATES = 4


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
        decided: class ids (rows,), the number of labels where it abstained, or int8 (rows, labels).
        clusters: how far neighbors agree; None where there are too few rows.
        dimension: length of a vector.
        token_limit: tokens of a text that are read; None where all are.
        cut_share: share of the texts that are longer; None where all is read.
        unknown_share: share of tokens that the encoder does not know; None where it has no tokens.
        seconds_per_thousand: seconds for 1,000 texts on this machine; None where all came from the cache, or some may
            have (of joined encoders).
        encoded: texts that were encoded just now.
        behind: points that it is behind the best one; None of the best itself.
        interval: of `behind`, in points; with more than two encoders, so wide that all hold together.
    """

    encoder: str
    score: float
    error: float
    linear: float
    rows: int
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


@dataclass(frozen=True)
class EncoderComparison:
    """What `textpl.compare_encoders` found.

    Attributes:
        scores: of the encoders, the best first.
        failed: those that could not be loaded or do not read these texts, with the reason.
        method: the method whose score counts.
        multi: rows may have several labels.
        truth: float32 (rows, labels), labels of the rows that were held out.
        scripts: share of the letters by script.
        candidates: encoders made for texts of this script.
        loadable: what can be had on this machine without a download.
    """

    scores: tuple[EncoderScore, ...]
    failed: dict[str, str]
    method: str
    multi: bool
    truth: np.ndarray
    scripts: dict[Script, float]
    candidates: tuple[Candidate, ...]
    loadable: tuple[str, ...]

    @property
    def best(self) -> str:
        """Name of the encoder with the highest score."""
        return self.scores[0].encoder

    @property
    def chance(self) -> float:
        """How far two random rows agree in their labels: by being equal, several labels by their Jaccard index."""
        return chance_agreement(self.truth, self.multi)

    def findings(self) -> list[str]:
        """What it means, a line each: whether one is clearly better, whether the encoder is what limits."""
        told = [*self._unreadable(), self._ranking()]
        limits = self._limits()
        told += [limits] if limits else []
        tried = {found.encoder for found in self.scores}
        others = [found for found in self.candidates if found.name not in {*tried, *self.failed}][:MOST_CANDIDATES]
        if others:
            told.append(f"Worth trying for these texts (public results: {SOURCE}):")
            told += [f"  {found.sentence()}" for found in others]
        told += [f"Left out: {name}. {reason.split('. ')[0]}." for name, reason in self.failed.items()]
        if self.failed:
            told.append(f"What needs no download here: {', '.join(self.loadable)}.")
        return told

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "best": self.best,
            "metric": self._metric,
            "method": self.method,
            "rows": self.scores[0].rows,
            "chance_agreement": self.chance,
            "scripts": dict(self.scripts),
            "encoders": [found.to_dict() for found in self.scores],
            "failed": dict(self.failed),
            "findings": self.findings(),
        }

    def __str__(self) -> str:
        headings = (
            "encoder",
            self._metric,
            "behind the best",
            "linear",
            "neighbors agree",
            "s / 1,000",
            "length",
            "cut",
        )
        rows = [headings, *(self._row(found) for found in self.scores)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(headings))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        about = (
            f"{self.scores[0].rows:,} labeled rows, each judged while it and about every fifth other were hidden "
            f"({self.method}); two random rows agree on {100 * self.chance:.0f} %"
        )
        return "\n".join([about, *table, *self.findings()])

    @property
    def _metric(self) -> str:
        return "macro F1" if self.multi else "accuracy"

    def _row(self, found: EncoderScore) -> tuple[str, ...]:
        behind = "" if found.behind is None or found.interval is None else f"{found.behind:.1f} {_ends(found.interval)}"
        q = None if found.clusters is None else found.clusters.q
        return (
            found.encoder,
            f"{100 * found.score:.1f} +- {100 * found.error:.1f}",
            behind,
            f"{100 * found.linear:.1f}",
            "unknown" if q is None else f"{100 * q:.0f} %",
            _seconds(found),
            str(found.dimension),
            "" if found.cut_share is None else f"{100 * found.cut_share:.0f} %",
        )

    def _unreadable(self) -> list[str]:
        """Encoders that were made for other languages."""
        bad = [found for found in self.scores if (found.unknown_share or 0) > TOO_MANY]
        return [
            f"{found.encoder} does not know {100 * (found.unknown_share or 0):.0f} % of the tokens of these texts: it "
            "was made for another language."
            for found in bad
        ]

    def _ranking(self) -> str:
        best, others = self.scores[0], self.scores[1:]
        if not others:
            return "One encoder only: whether another is better cannot be told from this."
        if best.rows < LEAST:
            return f"Which one is better cannot be told from {best.rows} labeled rows: label {LEAST} or more."
        # At least 0 where the better one won everywhere; an interval that holds 0 tells nothing.
        clear = [found for found in others if found.interval is not None and found.interval[0] > 0]
        if len(clear) == len(others):
            nearest = min(others, key=lambda found: found.behind or 0.0)
            told = f"{nearest.behind:.1f} points {_ends(nearest.interval)} over {nearest.encoder}"
            return f"{best.encoder} is clearly the best here: {told}. With another one, the encoder is what limits."
        open_ = [found for found in others if found not in clear]
        widest = max((found.interval[1] for found in open_ if found.interval), default=0.0)
        told = f" It is clearly better than {', '.join(found.encoder for found in clear)}." if clear else ""
        return (
            f"{best.encoder} has the highest score, but {best.rows} labeled rows cannot tell it from "
            f"{', '.join(found.encoder for found in open_)}: these may be level with it, or up to {widest:.0f} points "
            f"behind.{told}"
        )

    def _limits(self) -> str | None:
        """Whether the best encoder's neighbors hardly share labels, as far as that can be told."""
        best = self.scores[0]
        found, chance = best.clusters, self.chance
        if found is None or found.q is None or best.rows < LEAST:
            return "Whether the encoder is what limits cannot be told from so few labeled rows."
        pairs = found.edges if found.q_source == "edges" else found.gold * found.k
        agreement = (found.q - chance) / max(1 - chance, 1e-9)
        # Pairs share rows, so that this error is a little too small.
        error = np.sqrt(found.q * (1 - found.q) / max(pairs, 1)) / max(1 - chance, 1e-9)
        told = f"With {best.encoder}, neighbors agree on {100 * found.q:.0f} % of their labels"
        told += f" ({100 * chance:.0f} % by chance)"
        if agreement < LOW_AGREEMENT and (pairs >= MIN_EDGES):
            sure = "" if agreement + 2 * error < LOW_AGREEMENT else ", as far as these rows can tell"
            return (
                f"{told}: the labels hardly follow these vectors{sure}. The encoder is what limits, unless people "
                "would disagree on these labels as much: try another one, or fine-tune."
            )
        return f"{told}."


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
    if not multi and groups is None:  # two rows of each outcome added: 10 of 10 are no proof of 100 %
        n = len(gold) + 4
        smoothed = (value * len(gold) + 2) / n
        return Judged(value, float(np.sqrt(smoothed * (1 - smoothed) / n)), decided)
    return Judged(value, _resampled_error(decided, gold, metric, groups, seed), decided)


def compared(
    scores: Sequence[EncoderScore], truth: np.ndarray, multi: bool, groups: np.ndarray | None
) -> tuple[EncoderScore, ...]:
    """The best first, each other with its paired difference; intervals by Bonferroni, so that all hold together."""
    best, *others = sorted(scores, key=lambda found: -found.score)
    gold = truth.astype(np.int8) if multi else truth.argmax(1)
    told = [best]
    for other in others:
        found = paired_difference(
            [other.decided],
            [best.decided],
            [gold],
            "macro_f1" if multi else "accuracy",
            level=1 - 0.05 / len(others),
            groups=None if groups is None else [groups],
        )
        told.append(replace(other, behind=found.mean, interval=(found.low, found.high)))
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


def _seconds(found: EncoderScore) -> str:
    if found.seconds_per_thousand is None:
        return "" if found.encoded else "cached"
    return f"{found.seconds_per_thousand:.1f}"


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.1f}, {interval[1]:.1f}]"
