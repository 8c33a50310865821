"""Standard errors of means over seeds and rows: by hand, unbiased, and their intervals' coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student_t

from textpl.variance_components import group_values, margin


def table(rng, seeds, rows, of_seeds, of_rows, noise):
    """Numbers mu + a_s + b_r + e_sr with mean 0 and these standard deviations."""
    parts = (
        of_seeds * rng.normal(size=(seeds, 1)),
        of_rows * rng.normal(size=rows),
        noise * rng.normal(size=(seeds, rows)),
    )
    return list(sum(parts))


def t(freedom):
    return student_t.ppf(0.975, freedom)


def test_by_hand():
    # Seeds' means 2 and 4; rows' means 1, 3, 5; residuals 0.
    found = margin([np.array([0.0, 2, 4]), np.array([2.0, 4, 6])], crossed=True, level=0.95)
    v_seeds, v_rows = 2 / 2, 4 / 3
    variance = v_seeds + v_rows
    assert found == pytest.approx(np.sqrt(variance) * (v_seeds * t(1) + v_rows * t(2)) / variance)
    # Seeds that agree add nothing; rows of their own are worth as many.
    alike = [np.array([0.0, 2, 4])] * 2
    assert margin(alike, crossed=True, level=0.95) == pytest.approx(np.sqrt(4 / 3) * t(2))
    assert margin(alike, crossed=False, level=0.95) == pytest.approx(np.sqrt(4 / 3 / 2) * t(4))
    assert margin(alike[:1], crossed=True, level=0.95) == pytest.approx(np.sqrt(4 / 3) * t(2))
    assert margin([np.array([1.0])] * 3, crossed=True, level=0.95) == np.inf
    assert margin([np.zeros(5)] * 3, crossed=True, level=0.95) == 0


@pytest.mark.parametrize("spreads", [(1, 8, 8), (0.5, 8, 2), (2, 1, 4)])
def test_variance_is_that_of_the_mean(spreads):
    # With many seeds and rows the quantiles hardly differ from the normal one.
    rng, trials = np.random.default_rng(0), 800
    drawn = [table(rng, 40, 60, *spreads) for _ in range(trials)]
    estimated = np.mean([(margin(values, crossed=True, level=0.95) / 2.01) ** 2 for values in drawn])
    assert estimated == pytest.approx(np.var([np.mean(values) for values in drawn]), rel=0.12)


@pytest.mark.parametrize("crossed", [True, False])
@pytest.mark.parametrize("spreads", [(0, 1, 1), (0.5, 1, 1), (3, 1, 1), (0.1, 0.2, 2)])
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
        reach = margin(values, crossed=crossed, level=0.95)
        means.append(np.mean(values))
        held += abs(means[-1]) <= reach
        width.append(reach)
    assert 0.935 <= held / trials <= 1
    if seeds == 10:
        assert np.mean(width) < 1.3 * 1.96 * np.std(means)


def test_group_values_keep_the_mean():
    values = np.array([1.0, 2, 3, 10])
    grouped = group_values(values, np.array([0, 0, 1, 1]))
    assert grouped.mean() == pytest.approx(4) and grouped == pytest.approx([4 - 5 / 2, 4 + 5 / 2])
    assert group_values(values, np.arange(4)) == pytest.approx(values)
