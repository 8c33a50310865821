"""What is known of a classifier's scores on rows whose labels are partly wrong, and how it is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from scipy.stats import norm

from textpl.noisy_scores.estimates import rows_needed

WIDTHS = (0.05, 0.02)  # what the summary plans for


@dataclass(frozen=True)
class CorrectedScore:
    """One score, in [0, 1].

    Attributes:
        name: of the metric, or of the label whose F1 it is.
        given: against the given labels.
        estimate: against the right labels; without reviewed rows what the report believes, which may be no better.
        low: lower end of the interval for the score against the right labels.
        high: upper end.
        deviation: how much rows differ in what they add to it, for `NoiseCorrectedScores.rows_to_review`.
    """

    name: str
    given: float
    estimate: float
    low: float
    high: float
    deviation: float

    def __str__(self) -> str:
        return f"{self.name}: {percent(self.estimate)} [{percent(self.low)}, {percent(self.high)}]"


@dataclass(frozen=True)
class NoiseCorrectedScores:
    """What `noise_corrected_scores` found.

    Attributes:
        scores: the metrics: accuracy and macro_f1, multi-label micro_f1 and macro_f1.
        labels: F1 of every label; with reviewed rows, [0, 1] where fewer than 30 of them carry it or are predicted to.
        rows: judged rows.
        reviewed: random rows whose right labels are known.
        most_wrong: without them, the largest share of wrong labels (multi-label: cells) that the intervals allow for.
        level: of the intervals.
    """

    scores: tuple[CorrectedScore, ...]
    labels: tuple[CorrectedScore, ...]
    rows: int
    reviewed: int
    most_wrong: float | None
    level: float

    def __getitem__(self, name: str) -> CorrectedScore:
        for one in (*self.scores, *self.labels):
            if one.name == name:
                return one
        raise KeyError(f"{name!r} is none of {', '.join(one.name for one in (*self.scores, *self.labels))}.")

    def rows_to_review(self, half_width: float = 0.02, metric: str | None = None) -> int:
        """How many random rows, those already reviewed among them, give an interval of +- `half_width`.

        Before any review this is a cautious plan, without the help of the report; after it, what the reviewed rows say.

        Args:
            half_width: wanted, in units of the score.
            metric: default: the first of `scores`.
        """
        if half_width <= 0:
            raise ValueError(f"half_width={half_width}: it must be positive, such as 0.02 for two points.")
        one = self.scores[0] if metric is None else self[metric]
        return rows_needed(one.deviation, self.rows, half_width, float(norm.ppf((1 + self.level) / 2)))

    def summary(self) -> str:
        """The answer in words, and what would make it narrower."""
        lines = [f"{one.name.replace('_', ' ')}: {self._told(one)}" for one in self.scores]
        if self.reviewed:
            of = f"these {self.rows:,} rows, from {self.reviewed:,} that were drawn at random and reviewed"
            lines.append(f"{100 * self.level:g} % intervals for {of}")
        else:
            most = percent(self.most_wrong or 0)
            lines.append(
                f"No random rows were reviewed: what a classifier doubts ({most} of the labels) may be wrong labels or "
                "hard texts. Mistakes of annotators that are so regular that a classifier learns them are not seen."
            )
        plans = " or ".join(
            f"{self.rows_to_review(width):,} for +-{100 * width:g} points"
            for width in WIDTHS
            if self.rows_to_review(width) > self.reviewed
        )
        if plans:
            lines.append(f"Rows to review, drawn at random (textpl.random_review): {plans}")
        return "\n".join(lines)

    def _told(self, one: CorrectedScore) -> str:
        found = f"[{percent(one.low)}, {percent(one.high)}]"
        if self.reviewed:
            return (
                f"{percent(one.given)} against the given labels, {percent(one.estimate)} {found} against the right ones"
            )
        right = f"between {percent(one.low)} and {percent(one.high)} against the right ones"
        return f"{percent(one.given)} against the given labels, {right} (the report alone: {percent(one.estimate)})"

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:.1f} %"
