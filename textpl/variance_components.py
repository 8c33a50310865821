"""How far a mean over seeds and test rows may be off, from numbers in a table of seeds x rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t


def margin(values: Sequence[NDArray], *, crossed: bool, level: float) -> float:
    """Estimate how far the mean of the seeds' means may be from that of all seeds and rows there could be.

    Crossed, all seeds with the same rows, the value of seed s and row r is mu + a_s + b_r + e_sr with random seeds and
    rows, and the mean of S seeds and R rows has the variance

        sigma_a^2 / S + sigma_b^2 / R + sigma_e^2 / (S R).

    With V_a the variance between seeds over S, V_b that between the rows' means over R and V_e that of the residuals
    over S R (all unbiased), this is V = V_a + V_b - V_e (ANOVA; Searle, Casella and McCulloch 1992, "Variance
    components", chapter 4): V_a + V_b alone, or resampling seeds and rows at once, counts the noise of the rows twice.
    Nested, each seed with rows of its own, V_b = V_e is the mean over the seeds of the variance of a seed's mean, over
    S. In both, V_a - V_e, which the variance between seeds adds, is taken as 0 where it is less.

    The margin is sqrt(V) (w t_{S-1} + (1 - w) t_{R-1}) with w = V_a / V, at most 1: the quantiles of Student's t of
    both, weighted by what they are of (Cochran 1964, "Approximate significance levels of the Behrens-Fisher test").
    Satterthwaite's degrees of freedom cover too little at 3 seeds where both parts count.

    Args:
        values: float (rows,) for each seed.
        crossed: the rows are the same for all seeds, in the same order.
        level: share of cases in which the margin is to suffice, such as .95.

    Returns:
        Half the width of the interval; infinite where there are fewer than two rows.
    """
    seeds, rows = len(values), min(len(value) for value in values)
    if rows < 2:
        return math.inf
    means = np.array([value.mean() for value in values])
    if crossed:
        table = np.stack(values)
        by_row = table.mean(axis=0)
        v_rows, freedom = by_row.var(ddof=1) / rows, rows - 1
        residuals = table - means[:, None] - by_row + means.mean()
        v_noise = (residuals**2).sum() / max((seeds - 1) * (rows - 1), 1) / (seeds * rows)
    else:
        v_rows = v_noise = float(np.sum([value.var(ddof=1) / len(value) for value in values])) / seeds**2
        freedom = sum(len(value) - 1 for value in values)
    # One seed leaves nothing between seeds: all that is known is in its rows.
    v_seeds = means.var(ddof=1) / seeds if seeds > 1 else 0.0
    variance = max(v_seeds - v_noise, 0.0) + v_rows
    if variance == 0:
        return 0.0
    share = min(v_seeds / variance, 1.0)
    of_seeds, of_rows = student_t.ppf((1 + level) / 2, [max(seeds - 1, 1), freedom])
    return float(math.sqrt(variance) * (share * of_seeds + (1 - share) * of_rows))


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
