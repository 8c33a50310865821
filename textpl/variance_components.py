"""How far a mean over seeds and test rows may be off, from numbers in a table of seeds x rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def standard_error(values: Sequence[NDArray], *, crossed: bool) -> tuple[float, float]:
    """Estimate the standard error of the mean of the seeds' means, and its degrees of freedom.

    Crossed, all seeds with the same rows, the value of seed s and row r is mu + a_s + b_r + e_sr with random seeds and
    rows, and the mean of S seeds and R rows has the variance

        sigma_a^2 / S + sigma_b^2 / R + sigma_e^2 / (S R).

    With V_a the variance between seeds over S, V_b that between the rows' means over R and V_e that of the residuals
    over S R (all unbiased), this is V_a + V_b - V_e (ANOVA; Searle, Casella and McCulloch 1992, "Variance components",
    chapter 4): V_a + V_b alone, or resampling seeds and rows at once, counts the noise of the rows twice. Nested, each
    seed with rows of its own, V_b = V_e is the mean over the seeds of the variance of a seed's mean, over S. In both,
    V_a - V_e, which the variance between seeds adds, is taken as 0 where it is less. Degrees of freedom are
    Satterthwaite's (1946): V^2 / sum of V_i^2 / df_i, so that 3 seeds count as 2 where seeds dominate and hardly at all
    where rows do.

    Args:
        values: float (rows,) for each seed.
        crossed: the rows are the same for all seeds, in the same order.

    Returns:
        Standard error and degrees of freedom, 1 or more; infinite and 1 where there are fewer than two rows.
    """
    seeds, rows = len(values), min(len(value) for value in values)
    if rows < 2:
        return math.inf, 1.0
    means = np.array([value.mean() for value in values])
    if crossed:
        table = np.stack(values)
        by_row = table.mean(axis=0)
        v_rows = by_row.var(ddof=1) / rows
        residuals = table - means[:, None] - by_row + means.mean()
        # One seed leaves nothing between seeds: all that is known is in its rows.
        of_noise = max((seeds - 1) * (rows - 1), 1)
        v_noise = (residuals**2).sum() / of_noise / (seeds * rows)
        spread = v_rows**2 / (rows - 1) + v_noise**2 / of_noise
    else:
        v_rows = v_noise = float(np.sum([value.var(ddof=1) / len(value) for value in values])) / seeds**2
        spread = v_rows**2 / sum(len(value) - 1 for value in values)
    v_seeds = means.var(ddof=1) / seeds if seeds > 1 else 0.0
    variance = max(v_seeds - v_noise, 0.0) + v_rows
    spread += v_seeds**2 / max(seeds - 1, 1)
    return math.sqrt(variance), max(variance**2 / spread, 1.0) if spread > 0 else math.inf


def group_values(values: NDArray, groups: NDArray) -> NDArray:
    """Turn values of rows into values of whole groups with the same mean, for rows that are not independent.

    Args:
        values: float (rows,).
        groups: int (rows,), 0, 1, ... without gaps.

    Returns:
        float (groups,): the mean, plus what the rows of a group deviate from it in all, times groups / rows.
    """
    mean = values.mean()
    totals = np.bincount(groups, weights=values - mean)
    return mean + totals * (len(totals) / len(values))
