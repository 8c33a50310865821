"""Confidence to precision: monotone, honest with few rows, near the truth with many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from textpl.relabeling.calibration import calibrate, precision_coverage, wilson_interval

GRID = np.linspace(0, 1, 201)


def draw(seed, n, truth=lambda c: c):
    rng = np.random.default_rng(seed)
    confidence = rng.random(n)
    return confidence, rng.random(n) < truth(confidence)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 7, 40, 199, 200, 400]), st.floats(-3, 3))
def test_precision_never_falls_and_is_never_certain(seed, n, slope):
    confidence, correct = draw(seed, n, lambda c: 1 / (1 + np.exp(-slope * (2 * c - 1))))
    got = calibrate(confidence.round(1), correct)
    precision = got.precision(GRID)
    assert got.fitted
    assert got.rows == n
    assert got.method == ("isotonic" if n >= 200 else "platt")
    assert (np.diff(precision) >= 0).all()
    assert precision.min() > 0
    assert precision.max() < 1
    assert precision.dtype == np.float32


@pytest.mark.parametrize("n", [10, 40, 199])
def test_few_rows_all_right_or_all_wrong(n):
    confidence, _ = draw(0, n)
    right = calibrate(confidence, np.ones(n, dtype=bool))
    np.testing.assert_allclose(right.precision(GRID), (n + 1) / (n + 2), atol=1e-4)
    wrong = calibrate(confidence, np.zeros(n, dtype=bool))
    np.testing.assert_allclose(wrong.precision(GRID), 1 / (n + 2), atol=1e-4)


def test_many_rows_all_right_or_all_wrong():
    confidence, _ = draw(0, 1000)
    right = calibrate(confidence, np.ones(1000, dtype=bool)).precision(GRID)
    assert right.min() > 0.99
    assert right[-1] < 1
    assert calibrate(confidence, np.zeros(1000, dtype=bool)).precision(GRID).max() < 0.01


@pytest.mark.parametrize("n", [30, 500])
def test_constant_confidence_gives_the_smoothed_base_rate(n):
    correct = np.arange(n) < n * 0.6
    got = calibrate(np.full(n, 0.7), correct)
    np.testing.assert_allclose(got.precision(GRID), (n * 0.6 + 1) / (n + 2), atol=1e-4)


def test_nothing_to_fit_on():
    got = calibrate(np.array([]), np.array([], dtype=bool))
    assert not got.fitted
    assert got.method == "identity"
    np.testing.assert_allclose(got.precision(GRID), GRID, atol=1e-7)


@pytest.mark.parametrize(("n", "allowed"), [(100, 0.12), (2000, 0.06)])
def test_comes_near_the_truth_where_confidence_is_too_high(n, allowed):
    """True precision is the cube of the stated confidence; averaged over draws, and far better than the raw number."""
    errors = []
    for seed in range(10):
        confidence, correct = draw(seed, n, lambda c: c**3)
        errors.append(np.abs(calibrate(confidence, correct).precision(GRID) - GRID**3).mean())
    assert np.mean(errors) < allowed
    assert np.mean(errors) < 0.5 * np.abs(GRID - GRID**3).mean()


def test_backward_confidence_tells_only_the_base_rate():
    confidence, correct = draw(0, 150, lambda c: 1 - c)
    precision = calibrate(confidence, correct).precision(GRID)
    np.testing.assert_allclose(precision, (correct.sum() + 1) / 152, atol=1e-6)


def test_keeps_the_shape_of_its_argument():
    got = calibrate(*draw(0, 50))
    assert got.precision(np.full((3, 2), 0.5)).shape == (3, 2)


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([0.5, 0.5], [True], "one number a row"),
        ([0.5, np.nan], [True, True], "row 1: confidence nan"),
        ([0.5, 1.5], [True, True], "row 1: confidence 1.5"),
        ([0.5, 0.4], [2, 0], "share from 0 to 1"),
    ],
)
def test_refuses(confidence, correct, message):
    for function in (calibrate, precision_coverage):
        with pytest.raises(ValueError, match=message):
            function(np.array(confidence), np.array(correct))


def test_precision_coverage_by_definition():
    confidence, correct = draw(3, 137)
    confidence = confidence.round(2)
    table = precision_coverage(confidence, correct)
    assert len(table.cut) <= 20
    assert table.coverage[-1] == 1
    assert (np.diff(table.coverage) > 0).all()
    for cut, coverage, precision, low, high in zip(
        table.cut, table.coverage, table.precision, table.low, table.high, strict=True
    ):
        kept = confidence >= cut
        assert coverage == pytest.approx(kept.mean())
        assert precision == pytest.approx(correct[kept].mean())
        interval = binomtest(int(correct[kept].sum()), int(kept.sum())).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((interval.low, interval.high))


def test_precision_coverage_of_little():
    empty = precision_coverage(np.array([]), np.array([], dtype=bool))
    assert len(empty.cut) == len(empty.precision) == len(empty.low) == 0
    ties = precision_coverage(np.full(40, 0.9), np.arange(40) < 30)
    assert (ties.cut.tolist(), ties.coverage.tolist(), ties.precision.tolist()) == ([0.9], [1.0], [0.75])
    assert precision_coverage(np.array([0.3]), np.array([True])).precision.tolist() == [1.0]


def test_wilson_interval():
    low, high = wilson_interval(np.array([0, 40, 0]), np.array([40, 40, 0]))
    assert low[0] == low[2] == 0
    assert high[2] == 1
    assert high[1] == pytest.approx(1)
    assert high[0] == pytest.approx(0.0876, abs=1e-3)
    assert low[1] == pytest.approx(1 - high[0])


def test_a_text_with_both_labels_is_half_right():
    share = calibrate(np.full(60, 0.9), np.full(60, 0.5))
    twice = calibrate(np.full(120, 0.9), np.tile([True, False], 60))
    assert share.precision(np.array([0.9]))[0] == pytest.approx(0.5, abs=0.02)
    assert share.precision(np.array([0.9]))[0] == pytest.approx(twice.precision(np.array([0.9]))[0], abs=0.02)
    mixed = np.concatenate([np.ones(40), np.full(20, 0.5)])
    confidence = np.concatenate([np.full(40, 0.95), np.full(20, 0.6)])
    high, low = calibrate(confidence, mixed).precision(np.array([0.95, 0.6]))
    assert high > 0.85 and low < 0.75
    curve = precision_coverage(confidence, mixed)
    assert curve.precision[-1] == pytest.approx(50 / 60)
