"""Smoothing, logistic regression and temperature against references written straight from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import brute_graph
from scipy.optimize import minimize

from textpl.relabeling.calibration import fit_temperature, temper
from textpl.relabeling.linear import linear
from textpl.relabeling.methods import run_method
from textpl.relabeling.problem import Problem
from textpl.relabeling.smoothing import smooth, smooth_vectors


def dense_walk(graph, gamma=3.0):
    """D^-1/2 (A + A^T) D^-1/2, loop by loop."""
    a = np.zeros((len(graph), len(graph)))
    for i, (row, sims) in enumerate(zip(graph.ids, graph.sims, strict=True)):
        for j, s in zip(row, sims, strict=True):
            a[i, j] = max(s, 0) ** gamma
    w = a + a.T
    d = w.sum(1)
    return w / np.sqrt(np.outer(d, d))


@pytest.fixture
def scene():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 6)).astype(np.float32) + 1
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, brute_graph(vectors, 5), rng


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_smooth_is_the_weighted_mean_of_the_dense_solution(scene, alpha):
    _, graph, rng = scene
    p = rng.dirichlet(np.ones(3), size=50).astype(np.float32)
    p[7] = 0  # knows nothing, hears from the others
    inverse = np.linalg.inv(np.eye(50) - alpha * dense_walk(graph))
    mass = inverse @ p.any(1)
    expected = np.divide(inverse @ p, mass[:, None], where=mass[:, None] > 1e-9, out=np.zeros((50, 3)))
    np.testing.assert_allclose(smooth(p, graph, alpha=alpha, iterations=200), expected, atol=1e-3)


def test_smooth_vectors_follows_the_recursion(scene):
    vectors, graph, _ = scene
    walk, expected = dense_walk(graph), vectors.astype(float) * 0.2
    for _ in range(8):
        expected = 0.2 * vectors + 0.8 * walk @ expected
    np.testing.assert_allclose(smooth_vectors(vectors, graph), expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [-0.1, 1.0])
def test_alpha_out_of_range_is_refused(scene, alpha):
    with pytest.raises(ValueError, match="alpha"):
        smooth(np.ones((50, 2), np.float32), scene[1], alpha=alpha)


def test_linear_minimises_the_penalised_loss(scene):
    vectors, graph, rng = scene
    y = rng.integers(2, size=50)
    gold = np.arange(50) < 30
    targets = np.where(gold[:, None], np.eye(2)[y], 0).astype(np.float32)

    def loss(w):  # binary logistic regression, |w|^2 / 2 + C * log loss, the intercept free
        z = vectors[gold] @ w[:-1] + w[-1]
        return w[:-1] @ w[:-1] / 2 + 10 * np.logaddexp(0, np.where(y[gold] == 1, -z, z)).sum()

    w = minimize(loss, np.zeros(7)).x
    expected = 1 / (1 + np.exp(-(vectors[~gold] @ w[:-1] + w[-1])))
    result = linear(vectors, targets, gold)
    np.testing.assert_allclose(result.p[~gold, 1], expected, atol=2e-3)
    np.testing.assert_array_equal(result.p[gold], targets[gold])
    problem = Problem(vectors, graph, targets, gold)
    smoothed = smooth_vectors(vectors, graph)
    smoothed /= np.linalg.norm(smoothed, axis=1, keepdims=True)
    own = linear(smoothed, targets, gold)
    np.testing.assert_allclose(run_method(problem, "linear_smoothed", 5).p, own.p, atol=1e-5)
    both = run_method(problem, "linear_propagation", 5).p
    np.testing.assert_allclose(both[~gold], smooth(own.p, graph)[~gold], atol=1e-4)
    np.testing.assert_array_equal(both[gold], targets[gold])


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(4), size=4000)
    flat = temper(true.astype(np.float32), 2.0)
    labels = np.eye(4)[[rng.choice(4, p=p) for p in true]]
    assert fit_temperature(flat, labels) == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(temper(flat, 0.5), true, atol=1e-3)
    assert fit_temperature(flat[:0], labels[:0]) == 1
    assert not temper(np.zeros((2, 3), np.float32), 0.5).any()
