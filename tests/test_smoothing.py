"""Smoothing, logistic regression and temperature against references written straight from the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import brute_graph
from scipy.optimize import minimize

from textpl.relabeling.calibration import fit_temperature, temper
from textpl.relabeling.linear import STRENGTH, class_weights, linear
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

    weights = np.where(y[gold] == 1, 15 / (y[gold] == 1).sum(), 15 / (y[gold] == 0).sum())  # both weigh as much
    assert set(weights) != {1.0}

    def loss(w):  # binary logistic regression, |w|^2 / 2 + C * log loss, the intercept free
        z = vectors[gold] @ w[:-1] + w[-1]
        return w[:-1] @ w[:-1] / 2 + 10 * (weights * np.logaddexp(0, np.where(y[gold] == 1, -z, z))).sum()

    w = minimize(loss, np.zeros(7)).x
    expected = 1 / (1 + np.exp(-(vectors[~gold] @ w[:-1] + w[-1])))
    result = linear(vectors, targets, gold)
    np.testing.assert_allclose(result.p[~gold, 1], expected, atol=2e-3)
    np.testing.assert_array_equal(result.p[gold], targets[gold])
    problem = Problem(vectors, graph, targets, gold)
    smoothed = smooth_vectors(vectors, graph)
    smoothed /= np.linalg.norm(smoothed, axis=1, keepdims=True)
    own = linear(smoothed, targets, gold)
    np.testing.assert_allclose(run_method(problem, "linear_smoothed", 5).p, own.p, atol=2e-3)
    both = run_method(problem, "linear_propagation", 5).p
    np.testing.assert_allclose(both[~gold], smooth(own.p, graph)[~gold], atol=2e-3)
    np.testing.assert_array_equal(both[gold], targets[gold])


def test_linear_of_several_labels_minimizes_the_penalized_loss_of_each(scene):
    vectors, _, rng = scene
    gold = np.arange(50) < 30
    y = (rng.random((50, 2)) < [0.5, 0.2]).astype(np.float32)

    def loss(w, column):  # every row weighs the same: rates are the labels' own
        z = vectors[gold] @ w[:-1] + w[-1]
        return w[:-1] @ w[:-1] / 2 + STRENGTH[True] * np.logaddexp(0, np.where(y[gold, column] == 1, -z, z)).sum()

    found = linear(vectors, np.where(gold[:, None], y, 0), gold, multi=True).p
    for column in range(2):
        w = minimize(loss, np.zeros(7), args=(column,)).x
        expected = 1 / (1 + np.exp(-(vectors[~gold] @ w[:-1] + w[-1])))
        np.testing.assert_allclose(found[~gold, column], expected, atol=2e-3)


def test_an_uneven_draw_does_not_move_the_border():
    """Two kinds of texts, as frequent as each other; of one three are labeled, of the other twelve."""
    rng = np.random.default_rng(0)
    own, accuracies = np.arange(400) % 2, []
    for _ in range(20):
        axis = np.eye(50)[0] * np.where(own, 1, -1)[:, None]
        vectors = 0.5 * axis + rng.normal(size=(400, 50)) / np.sqrt(50)
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        gold = np.zeros(400, dtype=bool)
        gold[np.flatnonzero(own == 0)[:3]] = gold[np.flatnonzero(own == 1)[:12]] = True
        p = linear(vectors, np.where(gold[:, None], np.eye(2)[own], 0).astype(np.float32), gold).p[~gold]
        accuracies.append(((p[:, 1] > 0.5) == own[~gold]).mean())
    assert np.mean(accuracies) > 0.75


def test_class_weights_of_soft_targets_are_of_their_mass():
    weights = class_weights(np.array([[0.5, 0.5, 0], [1, 0, 0], [0.5, 0.5, 0]]))
    np.testing.assert_allclose(weights, [0.75, 1.5, 0])
    assert not class_weights(np.zeros((0, 3))).any()
    trace = class_weights(np.array([[1, 0, 0]] * 6 + [[0, 0.99, 0.01]]))
    assert trace[2] == pytest.approx(7 / 3)


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.ones(4), size=4000)
    flat = temper(true.astype(np.float32), 2.0)
    labels = np.eye(4)[[rng.choice(4, p=p) for p in true]]
    assert fit_temperature(flat, labels) == pytest.approx(0.5, abs=0.05)
    np.testing.assert_allclose(temper(flat, 0.5), true, atol=1e-3)
    assert fit_temperature(flat[:0], labels[:0]) == 1
    assert not temper(np.zeros((2, 3), np.float32), 0.5).any()
