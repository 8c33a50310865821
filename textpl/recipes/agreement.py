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
_UNTOLD = "Whether this is as the recipe expects cannot be said"
NOT_COMPARED = "Not compared with what the recipe expects: settings were changed."


@dataclass(frozen=True)
class Agreement:
    """What was expected beside what came out.

    Attributes:
        agrees: whether chance explains the distance on both sides; None if that cannot be said.
        sentence: all of it in words.
        sides: name of a side -> the mean that is `expected`, in points, the mean that was `found`, and by `chance` how
            far the two would lie apart in 19 of 20 repetitions where only the seeds differ (None without a spread).
    """

    agrees: bool | None
    sentence: str
    sides: dict[str, dict[str, float | None]]

    def to_dict(self) -> dict[str, Any]:
        """Return it for results.json."""
        return {"agrees": self.agrees, **self.sides, "sentence": self.sentence}


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
        reason = f"it expects {expected.metric}, and this is {results.metric}"
        return Agreement(None, f"{_UNTOLD}: {reason}.", {})
    pairs = ((recipe.baseline, expected.baseline, results.baseline), (recipe.tried, expected.method, results.method))
    sides, verdicts, lines = {}, [], []
    for name, want, got in pairs:
        chance = _chance(want, len(expected.seeds), got)
        sides[name] = {"expected": want.mean, "found": got.mean, "chance": chance}
        verdicts.append(None if chance is None else abs(got.mean - want.mean) <= chance)
        why = "no spread to judge by" if chance is None else f"chance explains {chance:.1f}"
        lines.append(f"{name} {got.mean:.1f}, expected {want.mean:.1f} ({why})")
    agrees = False if False in verdicts else None if None in verdicts else True
    verdict = {True: "As the recipe expects", False: "Not as the recipe expects", None: _UNTOLD}[agrees]
    more = " Other data, versions or hardware can be why; results.json says which they were here."
    return Agreement(agrees, f"{verdict}: {'; '.join(lines)}.{more if agrees is False else ''}", sides)


def _chance(expected: ExpectedSide, n: int, found: Side) -> float | None:
    from scipy.stats import t

    m = len(found.seeds)
    if n + m < 3:
        return None
    squares = (n - 1) * (expected.std or 0.0) ** 2 + (m - 1) * (found.std or 0.0) ** 2
    pooled = math.sqrt(squares / (n + m - 2))
    return float(t.ppf((1 + LEVEL) / 2, n + m - 2)) * pooled * math.sqrt(1 / n + 1 / m) + ROUNDING
