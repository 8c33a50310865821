"""Noise models: the true matrix and the true rates come back from every source whose assumption holds."""

import numpy as np
import pytest

from textpl.cleaning.noise_rates import rates_from_clusterability, rates_from_posterior, rates_from_trusted
from textpl.cleaning.transition import (
    transition_from_anchors,
    transition_from_clusterability,
    transition_from_posterior,
    transition_from_trusted,
    wilson,
)
from textpl.embeddings.graph import NeighborGraph

T = np.array([[0.8, 0.15, 0.05], [0.0, 0.9, 0.1], [0.2, 0.1, 0.7]])


def corpus(rows=6000, seed=0):
    """True labels, given ones drawn by T, and a graph whose neighbours share the true label."""
    rng = np.random.default_rng(seed)
    truth = np.sort(rng.choice(3, rows, p=[0.5, 0.3, 0.2]))
    given = (rng.random(rows)[:, None] > T.cumsum(axis=1)[truth]).sum(axis=1)
    edges = np.searchsorted(truth, [0, 1, 2, 3])
    ids = np.concatenate([a + rng.integers(0, b - a, (b - a, 4)) for a, b in zip(edges[:-1], edges[1:], strict=True)])
    ids = np.where(ids == np.arange(rows)[:, None], ids[:, ::-1], ids).astype(np.int32)
    return truth, given, NeighborGraph(ids, np.ones(ids.shape, np.float32))


def check(estimate, tolerance):
    assert np.abs(estimate.matrix - T).mean() < tolerance
    np.testing.assert_allclose(estimate.matrix.sum(axis=1), 1)
    assert (estimate.low <= estimate.matrix + 1e-9).all() and (estimate.matrix <= estimate.high + 1e-9).all()


def test_trusted_rows():
    truth, given, _ = corpus()
    some = np.random.default_rng(1).choice(len(truth), 900, replace=False)
    estimate = transition_from_trusted(given[some], truth[some], 3)
    check(estimate, 0.025)
    assert ((estimate.low <= T) & (estimate.high >= T)).sum() >= 8  # nine intervals at 95 %
    few = transition_from_trusted(given[some[:40]], truth[some[:40]], 3)
    assert (few.high - few.low).mean() > (estimate.high - estimate.low).mean()


def test_trusted_class_that_never_occurs_is_left_alone():
    estimate = transition_from_trusted(np.array([0, 1, 1]), np.array([0, 0, 1]), 3)
    np.testing.assert_array_equal(estimate.matrix[2], [0, 0, 1])
    np.testing.assert_array_equal([estimate.low[2], estimate.high[2]], [[0] * 3, [1] * 3])


def test_anchors():
    truth, given, _ = corpus()
    p = np.random.default_rng(2).dirichlet([0.2] * 3, len(truth)) * 0.3 + 0.7 * T[truth]
    check(transition_from_anchors(given, p), 0.03)


def test_clusterability():
    truth, given, graph = corpus()
    estimate = transition_from_clusterability(given, graph, 3)
    check(estimate, 0.02)
    clean = transition_from_clusterability(truth, graph, 3)
    assert np.abs(clean.matrix - np.eye(3)).max() < 0.01


def test_clusterability_says_too_much_where_neighbours_differ():
    truth, _, graph = corpus()
    ids = graph.ids.copy()
    ids[::5] = np.random.default_rng(0).integers(0, len(ids), ids[::5].shape)
    mixed = transition_from_clusterability(truth, NeighborGraph(ids, graph.sims), 3)
    assert np.diag(mixed.matrix).mean() < 0.97


def test_clusterability_leaves_out_rows_without_neighbours():
    _, given, graph = corpus()
    ids = graph.ids.copy()
    ids[:100] = -1
    check(transition_from_clusterability(given, NeighborGraph(ids, graph.sims), 3), 0.02)
    with pytest.raises(ValueError, match="two neighbours"):
        transition_from_clusterability(given, NeighborGraph(np.full_like(ids, -1), graph.sims), 3)
    with pytest.raises(ValueError, match="same texts"):
        transition_from_clusterability(given[:-1], graph, 3)


def test_posterior_counts_expected_errors():
    truth, given, _ = corpus()
    estimate = transition_from_posterior(given, np.eye(3)[truth])
    check(estimate, 0.01)
    # By hand: two rows given 0, half and wholly class 1; one row given 1 of class 1; one pseudo-row 2/3 : 1/3.
    p = np.array([[0.5, 0.5], [0, 1], [0, 1]])
    small = transition_from_posterior(np.array([0, 0, 1]), p)
    np.testing.assert_allclose(small.matrix[1], [(1.5 + 2 / 3) / 3.5, (1 + 1 / 3) / 3.5])


def test_many_classes_and_one_that_is_never_given():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 199, 500)
    ids = rng.integers(0, 500, (500, 3)).astype(np.int32)
    found = [
        transition_from_clusterability(labels, NeighborGraph(ids, ids.astype(np.float32)), 200),
        transition_from_anchors(labels, rng.dirichlet(np.ones(200), 500)),
        transition_from_posterior(labels, np.eye(200)[labels]),
        transition_from_trusted(labels[:50], labels[:50], 200),
    ]
    for estimate in found:
        assert np.isfinite(estimate.matrix).all()
        np.testing.assert_allclose(estimate.matrix.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("labels", [np.array([0, 5]), np.array([[0], [1]]), np.array([0.5, 1])])
def test_bad_ids_are_named(labels):
    with pytest.raises(ValueError, match="labels"):
        transition_from_trusted(labels, np.array([0, 1]), 3)


def test_wilson():
    low, high = wilson(np.array([0, 5, 0]), np.array([10, 10, 0]))
    np.testing.assert_allclose(low, [0, 0.2366, 0], atol=1e-4)
    np.testing.assert_allclose(high, [0.2775, 0.7634, 1], atol=1e-4)


FN, FP = np.array([0.3, 0.1]), np.array([0.02, 0.1])


def multi(rows=8000, seed=0):
    truth, _, graph = corpus(rows, seed)
    true = np.stack([truth == 0, truth == 2], axis=1)
    flip = np.random.default_rng(3).random(true.shape) < np.where(true, FN, FP)
    return true, true ^ flip, graph


def test_rates_from_every_source():
    true, given, graph = multi()
    for estimate in (
        rates_from_trusted(given[::10], true[::10]),
        rates_from_posterior(given, true.astype(float)),
        rates_from_clusterability(given, graph),
    ):
        np.testing.assert_allclose(estimate.false_negative, FN, atol=0.04)
        np.testing.assert_allclose(estimate.false_positive, FP, atol=0.025)
        rates = np.stack([estimate.false_negative, estimate.false_positive])
        assert (estimate.low <= rates + 1e-9).all() and (rates <= estimate.high + 1e-9).all()


def test_rates_of_labels_never_or_always_given():
    _, given, graph = multi(500)
    given = np.concatenate([given, np.zeros((500, 1), bool), np.ones((500, 1), bool)], axis=1)
    for estimate in (
        rates_from_trusted(given, given),
        rates_from_posterior(given, given.astype(float)),
        rates_from_clusterability(given, graph),
    ):
        numbers = np.stack([estimate.false_negative, estimate.false_positive])
        assert ((numbers >= 0) & (numbers <= 1)).all()


def test_rates_reject_other_cells():
    with pytest.raises(ValueError, match="row 1, label 0 is 2"):
        rates_from_trusted(np.array([[0], [2]]), np.array([[0], [1]]))
    with pytest.raises(ValueError, match="same rows and labels"):
        rates_from_posterior(np.array([[0], [1]]), np.ones((2, 2)))
