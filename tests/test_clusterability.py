"""Clusterability diagnostics against loops written from the definitions."""

import numpy as np
import pytest
from conftest import brute_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.clusterability import clusterability, propagation_threshold


def mixture(seed, n=600, classes=4, spread=1.0, gold=200, k=9):
    """(vectors' graph, one-hot targets of all rows, gold, gold graph) of Gaussian clusters."""
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    vectors = rng.normal(size=(classes, 8))[y] + spread * rng.normal(size=(n, 8))
    mask = np.zeros(n, dtype=bool)
    mask[rng.choice(n, gold, replace=False)] = True
    return brute_graph(vectors, k), np.eye(classes, dtype=np.float32)[y], mask, brute_graph(vectors[mask], k)


def random_graph(rng, n, k):
    """Random neighbour lists, some of them short."""
    ids = np.array([rng.permutation([j for j in range(n) if j != i])[:k] for i in range(n)], dtype=np.int32)
    ids[np.arange(k) >= rng.integers(k + 1, size=(n, 1))] = -1
    return NeighborGraph(ids, (ids >= 0).astype(np.float32))


def jaccard(a, b):
    union = (a | b).sum()
    return 1.0 if union == 0 else (a & b).sum() / union


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_every_number_equals_its_definition(seed, multi):
    rng = np.random.default_rng(seed)
    n, k, labels = 60, 4, 3
    gold = rng.random(n) < 0.6
    rows = np.flatnonzero(gold)
    sets = rng.random((n, labels)) < 0.4 if multi else np.eye(labels, dtype=bool)[rng.integers(labels, size=n)]
    graph, own = random_graph(rng, n, k + 1), random_graph(rng, len(rows), k + 1)
    got = clusterability(graph, sets.astype(np.float32), gold, k=k, gold_graph=own, multi=multi)

    pairs = [(i, j, r) for i in rows for r, j in enumerate(graph.ids[i, :k]) if j >= 0 and gold[j]]
    assert got.edges == len(pairs) >= 30
    assert got.q_source == "edges"
    assert got.q == pytest.approx(np.mean([jaccard(sets[i], sets[j]) for i, j, _ in pairs]))
    same = [(r, (sets[i] == sets[j]).all()) for i, j, r in pairs]
    overall = np.mean([s for _, s in same])
    q_r = [[s for r, s in same if r == rank] for rank in range(k)]
    q_r = [np.mean(s) if len(s) >= 30 else overall for s in q_r]
    assert got.mu_edges == pytest.approx((max(0, 1 - sum(1 - q for q in q_r)), min(q_r)))

    mine = [[rows[j] if j >= 0 else None for j in own.ids[r, :k]] for r in range(len(rows))]
    agree = [all(j is not None and (sets[i] == sets[j]).all() for j in js) for i, js in zip(rows, mine, strict=True)]
    assert got.mu_loo == pytest.approx(np.mean(agree))
    for label in range(labels):
        having = [js for i, js in zip(rows, mine, strict=True) if sets[i, label]]
        all_have = np.mean([all(j is not None and sets[j, label] for j in js) for js in having])
        assert got.label_mu[label] == pytest.approx(all_have)
        given_neighbor = np.mean([sets[i, label] for i, j, _ in pairs if sets[j, label]])
        assert got.label_lift[label] == pytest.approx(given_neighbor / sets[rows, label].mean(), rel=1e-5)

    lists = [{j for j in graph.ids[i, :k] if j >= 0} for i in range(n)]
    assert got.no_gold_neighbor == pytest.approx(
        np.mean([not any(gold[j] for j in lists[i]) for i in range(n) if not gold[i]])
    )
    reaches = set(rows.tolist())
    while True:
        more = {i for i in range(n) if i not in reaches and lists[i] & reaches}
        if not more:
            break
        reaches |= more
    assert got.orphans == pytest.approx(np.mean([i not in reaches for i in range(n) if not gold[i]]))
    assert (got.vote_error is None) == multi


def test_vote_error_by_hand():
    """Row 0 is outvoted, row 1 wins a tie by the nearer neighbour, row 2 loses one, row 3 has no neighbour."""
    ids = np.array([[2, 3, 1], [0, 2, -1], [1, 3, -1], [-1, -1, -1]], dtype=np.int32)
    graph = NeighborGraph(ids, (ids >= 0).astype(np.float32))
    targets = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    got = clusterability(graph, targets, np.ones(4, dtype=bool), k=3, gold_graph=graph)
    assert got.vote_error == pytest.approx(3 / 4)
    assert got.orphans == got.no_gold_neighbor == 0


def test_orphans_are_rows_without_a_directed_path():
    """0 is gold; 1 lists it, 2 lists 1; 3 and 4 list each other only, and being listed by gold does not help them."""
    ids = np.array([[3], [0], [1], [4], [3]], dtype=np.int32)
    graph = NeighborGraph(ids, np.ones((5, 1), dtype=np.float32))
    lone = NeighborGraph(np.full((1, 1), -1, dtype=np.int32), np.zeros((1, 1), dtype=np.float32))
    got = clusterability(graph, np.eye(2, dtype=np.float32)[[0] * 5], np.arange(5) == 0, k=1, gold_graph=lone)
    assert got.orphans == 2 / 4
    assert got.no_gold_neighbor == 3 / 4
    assert got.q is None
    assert got.q_source == "none"
    assert got.mu_edges is None
    assert "cannot be estimated" in got.warning()
    assert "unknown" in got.summary()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_mu_does_not_increase_with_k(seed, multi):
    rng = np.random.default_rng(seed)
    n, k = 40, 6
    graph = random_graph(rng, n, k)
    sets = rng.random((n, 2)) < 0.8 if multi else np.eye(2)[(rng.random(n) < 0.9).astype(int)]
    got = [
        clusterability(graph, sets.astype(np.float32), np.ones(n, dtype=bool), k=i, gold_graph=graph, multi=multi)
        for i in range(1, k + 1)
    ]
    for before, after in zip(got, got[1:], strict=False):
        assert before.mu_loo >= after.mu_loo
        assert (before.label_mu >= after.label_mu)[np.isfinite(after.label_mu)].all()
        assert before.orphans >= after.orphans


def test_estimates_are_right_on_average_and_gold_neighborhoods_less_pure():
    found = []
    for seed in range(20):
        graph, targets, gold, own = mixture(seed)
        y = targets.argmax(axis=1)
        agree = y[graph.ids[:, :3]] == y[:, None]
        got = clusterability(graph, targets, gold, k=3, gold_graph=own)
        inside = got.mu_edges[0] - 0.03 <= agree.all(axis=1).mean() <= got.mu_edges[1] + 0.03
        found.append((got.q - agree.mean(), got.mu_loo - agree.all(axis=1).mean(), inside))
    q_bias, mu_bias, inside = np.mean(found, axis=0)
    assert abs(q_bias) < 0.03
    assert mu_bias < 0
    assert inside >= 0.9


def test_few_edges_fall_back_to_the_gold_graph():
    graph, targets, gold, _ = mixture(0, gold=8)
    rows = np.flatnonzero(gold)
    own = NeighborGraph(np.array([[1], [0], [3], [2], [5], [4], [7], [6]], dtype=np.int32), np.ones((8, 1), np.float32))
    got = clusterability(graph, targets, gold, k=3, gold_graph=own)
    y = targets[rows].argmax(axis=1)
    assert got.edges < 30
    assert got.q_source == "gold neighbors"
    assert got.mu_edges is None
    assert got.q == pytest.approx((y == y[own.ids[:, 0]]).mean())
    assert got.mu_loo is None  # one gold neighbour each says nothing about three
    assert np.isnan(got.label_mu).all()


def test_warning_only_below_the_threshold():
    tight = clusterability(*(m := mixture(1, spread=0.3))[:3], k=5, gold_graph=m[3])
    loose = clusterability(*(m := mixture(1, spread=3.0))[:3], k=5, gold_graph=m[3])
    assert tight.q > tight.q_star > loose.q
    assert tight.warning() is None
    assert "hdl_paper" in loose.warning()
    assert f"{loose.q:.3f}" in loose.warning()
    assert f"{loose.q:.3f} (from edges" in loose.summary()
    assert "q*(k) = 0.835" in tight.summary()


def test_one_hot_sets_say_the_same_as_classes():
    graph, targets, gold, own = mixture(2)
    single = clusterability(graph, targets, gold, k=5, gold_graph=own)
    multi = clusterability(graph, targets, gold, k=5, gold_graph=own, multi=True)
    assert (single.mu_loo, single.q, single.mu_edges) == (multi.mu_loo, multi.q, multi.mu_edges)
    np.testing.assert_array_equal(single.label_lift, multi.label_lift)


def test_propagation_threshold():
    for k, expected in {1: 1.0, 3: 0.889, 5: 0.835, 9: 0.777, 15: 0.7312}.items():
        assert propagation_threshold(k) == pytest.approx(expected, abs=6e-4)
        assert propagation_threshold(k + 1) == propagation_threshold(k)  # a coin breaks the ties of even k
    assert propagation_threshold(3) == pytest.approx(8 / 9, abs=1e-6)
    thresholds = [propagation_threshold(k) for k in range(1, 101, 2)]
    assert (np.diff(thresholds) < 0).all()
    assert thresholds[-1] > 0.5


@pytest.mark.parametrize("k", [3, 5, 9, 15])
def test_threshold_separates_collapse_from_survival(k):
    """Iterating s' = P(Bin(k, q s) > k/2) from s = 1."""
    from math import comb

    def iterate(q):
        s = 1.0
        for _ in range(20_000):
            x = q * s
            s = sum(comb(k, j) * x**j * (1 - x) ** (k - j) for j in range(k // 2 + 1, k + 1))
        return s

    assert iterate(propagation_threshold(k) - 0.003) < 1e-6
    assert iterate(propagation_threshold(k) + 0.003) > 0.5


def test_clusterability_refuses():
    graph, targets, gold, own = mixture(0)
    with pytest.raises(ValueError, match="no gold row"):
        clusterability(graph, targets, np.zeros_like(gold), k=3, gold_graph=own)
    with pytest.raises(ValueError, match="gold_graph has 600 rows for 200"):
        clusterability(graph, targets, gold, k=3, gold_graph=graph)
    with pytest.raises(ValueError, match="larger k"):
        clusterability(graph, targets, gold, k=10, gold_graph=own)
    with pytest.raises(ValueError, match="k=0"):
        propagation_threshold(0)
