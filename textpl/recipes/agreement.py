"""Whether a run gave what its recipe expects, as far as chance between seeds lets one say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from textpl.recipes.expected import ExpectedSide
from textpl.recipes.results import Results, Side
from textpl.recipes.schema import Recipe

ROUNDING = 0.1  # points; recipes and reports give one decimal
LEVEL = 0.95
NOT_COMPARED = "Not compared with what the recipe expects: settings were changed."


@dataclass(frozen=True)
class JudgedSide:
    """One side of the comparison.

    Attributes:
        name: of the side.
        expected: mean that the recipe gives, in points.
        found: mean of the run.
        chance: how far the two means would lie apart in 19 of 20 repetitions by the choice of seeds alone; None
            where neither side has a spread.
    """

    name: str
    expected: float
    found: float
    chance: float | None

    @property
    def agrees(self) -> bool | None:
        """Whether chance explains the distance; None if that cannot be said."""
        return None if self.chance is None else abs(self.found - self.expected) <= self.chance

    def __str__(self) -> str:
        chance = "no spread to judge by" if self.chance is None else f"chance explains {self.chance:.1f}"
        return f"{self.name} {self.found:.1f}, expected {self.expected:.1f} ({chance})"


@dataclass(frozen=True)
class Agreement:
    """What was expected beside what came out.

    Attributes:
        sides: baseline and method; none if the metrics differ.
        reason: why nothing can be said, if so.
    """

    sides: tuple[JudgedSide, ...]
    reason: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether both sides agree; None if that cannot be said."""
        verdicts = [side.agrees for side in self.sides]
        if False in verdicts:
            return False
        return True if verdicts and None not in verdicts else None

    def __str__(self) -> str:
        told = "; ".join(map(str, self.sides)) + self.reason
        match self.agrees:
            case True:
                return f"As the recipe expects: {told}."
            case False:
                return (
                    f"Not as the recipe expects: {told}. Other data, versions or hardware can be why; "
                    "results.json says which they were here."
                )
        return f"Whether this is as the recipe expects cannot be said: {told}."

    def to_dict(self) -> dict[str, Any]:
        """For results.json."""
        parts = {s.name: {"expected": s.expected, "found": s.found, "chance": s.chance} for s in self.sides}
        return {"agrees": self.agrees, **parts, "sentence": str(self)}


def judge(recipe: Recipe, results: Results) -> Agreement | None:
    """Compare the means of a run with those that its recipe expects; None if it expects none.

    Each side agrees if the means differ by no more than t * s * sqrt(1/n + 1/m) + `ROUNDING`: s is the standard
    deviation between seeds pooled over the n expected and m present ones, t the quantile of Student's distribution with
    n + m - 2 degrees of freedom that 95 % of differences stay below where only the seeds differ (the two-sample
    t-test). With few seeds that is generous: agreement is no proof that the run was the same.
    """
    expected = recipe.expected
    if expected is None:
        return None
    if results.metric != expected.metric:
        return Agreement((), f"it expects {expected.metric}, and this is {results.metric}")
    pairs = (
        (recipe.baseline, expected.baseline, results.baseline),
        (recipe.tried, expected.method, results.method),
    )
    n = len(expected.seeds)
    return Agreement(tuple(JudgedSide(name, want.mean, got.mean, _chance(want, n, got)) for name, want, got in pairs))


def _chance(expected: ExpectedSide, n: int, found: Side) -> float | None:
    from scipy.stats import t

    m = len(found.seeds)
    if n + m < 3:
        return None
    squares = (n - 1) * (expected.std or 0.0) ** 2 + (m - 1) * (found.std or 0.0) ** 2
    pooled = math.sqrt(squares / (n + m - 2))
    return float(t.ppf((1 + LEVEL) / 2, n + m - 2)) * pooled * math.sqrt(1 / n + 1 / m) + ROUNDING
