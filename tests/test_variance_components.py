"""Standard errors of means over seeds and rows: by hand, unbiased, and their intervals' coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t

from textpl.variance_components import group_values, standard_error


def table(rng, seeds, rows, of_seeds, of_rows, noise):
    """Numbers mu + a_s + b_r + e_sr with mean 0 and these standard deviations."""
    parts = (
        of_seeds * rng.normal(size=(seeds, 1)),
        of_rows * rng.normal(size=rows),
        noise * rng.normal(size=(seeds, rows)),
    )
    return list(sum(parts))


def test_by_hand():
    # Seeds' means 2 and 4; rows' means 1, 3, 5; residuals 0.
    error, freedom = standard_error([np.array([0.0, 2, 4]), np.array([2.0, 4, 6])], crossed=True)
    v_seeds, v_rows = 2 / 2, 4 / 3
    assert error == pytest.approx(np.sqrt(v_seeds + v_rows))
    assert freedom == pytest.approx((v_seeds + v_rows) ** 2 / (v_seeds**2 / 1 + v_rows**2 / 2))
    # Seeds that agree add nothing; rows of their own are worth as many.
    alike = [np.array([0.0, 2, 4])] * 2
    assert standard_error(alike, crossed=True) == pytest.approx((np.sqrt(4 / 3), 2))
    assert standard_error(alike, crossed=False) == pytest.approx((np.sqrt(4 / 3 / 2), 4))
    assert standard_error(alike[:1], crossed=True) == pytest.approx((np.sqrt(4 / 3), 2))
    assert standard_error([np.array([1.0])] * 3, crossed=True) == (np.inf, 1)
    assert standard_error([np.zeros(5)] * 3, crossed=True) == (0, np.inf)


@pytest.mark.parametrize("spreads", [(1, 8, 8), (0.5, 8, 2), (2, 1, 4)])
def test_variance_is_that_of_the_mean(spreads):
    rng, trials = np.random.default_rng(0), 2000
    drawn = [table(rng, 5, 60, *spreads) for _ in range(trials)]
    estimated = np.mean([standard_error(values, crossed=True)[0] ** 2 for values in drawn])
    assert estimated == pytest.approx(np.var([np.mean(values) for values in drawn]), rel=0.12)


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("spreads", [(0, 1, 1), (0.3, 1, 1), (3, 1, 1), (0.1, 0.2, 2)])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_coverage(seeds, spreads, crossed):
    """Intervals of 95 % hold the truth in about so many cases, and are not much wider than they need to be."""
    rng, trials, held, width = np.random.default_rng(1), 800, 0, []
    means = []
    for _ in range(trials):
        values = table(rng, seeds, 80, *spreads)
        if not crossed:  # rows of its own for each seed
            values = [
                value + spreads[1] * rng.normal(size=80) for value in table(rng, seeds, 80, spreads[0], 0, spreads[2])
            ]
        error, freedom = standard_error(values, crossed=crossed)
        reach = student_t.ppf(0.975, freedom) * error
        means.append(np.mean(values))
        held += abs(means[-1]) <= reach
        width.append(reach)
    assert 0.91 <= held / trials <= (0.99 if crossed else 1)
    if seeds == 10:
        assert np.mean(width) < 1.3 * 1.96 * np.std(means)


def test_group_values_keep_the_mean():
    values = np.array([1.0, 2, 3, 10])
    grouped = group_values(values, np.array([0, 0, 1, 1]))
    assert grouped.mean() == pytest.approx(4) and grouped == pytest.approx([4 - 5 / 2, 4 + 5 / 2])
    assert group_values(values, np.arange(4)) == pytest.approx(values)
