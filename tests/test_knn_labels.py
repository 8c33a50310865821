"""kNN-DV and the tree search against loops written from their definitions."""

import numpy as np
import pytest

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.knn import knn, knn_dv


def random_graph(n: int, k: int, seed: int) -> NeighborGraph:
    """The kNN graph of random points."""
    x = np.random.default_rng(seed).normal(size=(n, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    sims = x @ x.T
    np.fill_diagonal(sims, -2)
    ids = np.argsort(-sims, axis=1)[:, :k].astype(np.int32)
    return NeighborGraph(ids, np.take_along_axis(sims, ids, 1).astype(np.float32))


def one_hot(labels, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[np.asarray(labels)]


def majority(voters, label, count: int) -> int:
    """Most votes; a tie goes to the first tied voter. `voters` nearest first."""
    votes = [sum(label[j] == c for j in voters) for c in range(count)]
    return next(label[j] for j in voters if votes[label[j]] == max(votes))


# kNN-DV


def test_vote_share_and_weighted_share_by_hand():
    targets = one_hot([0, 1, 1], 3)
    ids, sims = np.array([[0, 1, 2]]), np.array([[0.9, 0.5, 0.2]])
    np.testing.assert_allclose(knn_dv(ids, sims, targets), [[1 / 3, 2 / 3, 0]], rtol=1e-6)
    weights = np.array([0.9, 0.5, 0.2]) ** 3
    expected = np.array([weights[0], weights[1:].sum(), 0]) / weights.sum()
    np.testing.assert_allclose(knn_dv(ids, sims, targets, gamma=3)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("labels, winner", [([2, 0, 0, 2], 2), ([0, 2, 2, 0], 0), ([1, 2, 0, 0, 2], 2), ([2, 1], 2)])
def test_a_tie_goes_to_the_nearest_tied_neighbour(labels, winner):
    k = len(labels)
    p = knn_dv(np.arange(k)[None], np.full((1, k), 0.5), one_hot(labels, 3))
    assert p[0].argmax() == winner
    assert p[0].sum() == pytest.approx(1, abs=1e-6)
    assert p[0, winner] - np.sort(p[0])[-2] == pytest.approx(1e-6, rel=0.2)


@pytest.mark.parametrize("gamma", [0.0, 3.0])
def test_winners_are_the_majority(gamma):
    r = np.random.default_rng(0)
    labels = r.integers(4, size=30)
    ids = np.array([r.permutation(30)[:6] for _ in range(200)])
    sims = -np.sort(-r.uniform(0.1, 1, size=ids.shape), axis=1)
    p = knn_dv(ids, sims, one_hot(labels, 4), gamma=gamma)
    for row, near, sim in zip(p, ids, sims, strict=True):
        votes = [sum(s**gamma for j, s in zip(near, sim, strict=True) if labels[j] == c) for c in range(4)]
        np.testing.assert_allclose(row, np.array(votes) / sum(votes), atol=2e-6)
        if gamma == 0:
            assert row.argmax() == majority(near, labels, 4)


def test_who_has_no_vote():
    targets = one_hot([0, 1], 2)
    ids, sims = np.array([[0, 1], [1, -1], [-1, -1], [0, -1]]), np.array([[-0.1, 0.3], [0, 0], [0, 0], [-0.2, 0]])
    np.testing.assert_allclose(knn_dv(ids, sims, targets, gamma=3), [[0, 1], [0, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(knn_dv(ids, sims, targets), [[0.5, 0.5], [0, 1], [0, 0], [1, 0]], atol=2e-6)


def test_multi_label_shares_and_empty_inputs():
    targets = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
    ids = np.array([[0, 1, 2]])
    np.testing.assert_allclose(knn_dv(ids, np.ones((1, 3)), targets, multi=True), [[1 / 3, 2 / 3, 0]], rtol=1e-6)
    assert knn_dv(np.zeros((0, 5), int), np.zeros((0, 5)), targets).shape == (0, 3)
    assert not knn_dv(np.zeros((2, 0), int), np.zeros((2, 0)), targets).any()
    assert not knn_dv(np.full((2, 4), -1), np.zeros((2, 4)), np.zeros((0, 3))).any()


def test_bad_input_is_named():
    targets = one_hot([0, 1], 2)
    with pytest.raises(ValueError, match="row 2, but there are 2"):
        knn_dv(np.array([[2]]), np.ones((1, 1)), targets)
    with pytest.raises(ValueError, match="expected \\(queries, k\\) twice"):
        knn_dv(np.array([[1]]), np.ones((1, 2)), targets)
    with pytest.raises(ValueError, match="gamma=-1"):
        knn_dv(np.array([[1]]), np.ones((1, 1)), targets, gamma=-1)


# Tree search


def tree_search(ids, labels, gold, count):
    """The recursion itself: one visited mark per root; labels and the order they were given in."""
    label = {int(i): int(labels[i]) for i in np.flatnonzero(gold)}
    voted = {}

    def search(row, visited):
        visited.add(row)
        if not any(j in label for j in ids[row]):
            for j in ids[row]:
                if j not in visited and j not in label:
                    search(j, visited)
        voters = [j for j in ids[row] if j in label]
        if voters:
            label[row], voted[row] = majority(voters, label, count), voters

    for root in range(len(ids)):
        if root not in label:
            search(root, set())
    return label, voted


@pytest.mark.parametrize("seed", range(30))
def test_tree_search_equals_the_recursion(seed):
    r = np.random.default_rng(seed)
    n, k = int(r.integers(5, 60)), int(r.integers(1, 5))
    graph, labels, gold = random_graph(n, k, seed), r.integers(3, size=n), np.arange(n) < max(1, n // 10)
    result = knn(graph, one_hot(labels, 3), gold)
    label, voted = tree_search(graph.ids.tolist(), labels, gold, 3)
    assert np.flatnonzero(result.labeled).tolist() == sorted(label)
    by_order = sorted(voted, key=lambda row: result.order[row])
    assert by_order == list(voted)
    for row, voters in voted.items():
        assert result.p[row].argmax() == label[row]
        assert result.evidence[row] == len(voters)
        assert result.hops[row] == 1 + min(result.hops[j] for j in voters)
    lost = ~result.labeled
    assert not result.p[lost].any() and (result.order[lost] == -1).all() and not result.evidence[lost].any()


def test_tree_search_survives_long_chains_and_circles():
    n = 3000
    following = np.arange(1, n + 1)
    chain = NeighborGraph(np.where(following < n, following, -1)[:, None].astype(np.int32), np.ones((n, 1), np.float32))
    result = knn(chain, one_hot(np.full(n, 1), 2), np.arange(n) == n - 1)
    assert result.labeled.all() and result.hops[0] == n - 1 and (result.p[:, 1] == 1).all()
    # Rows 1 to n - 1 in a circle, row 0 gold and listed by nobody.
    circle = NeighborGraph(np.where(following < n, following, 1)[:, None].astype(np.int32), np.ones((n, 1), np.float32))
    result = knn(circle, one_hot(np.zeros(n, int), 2), np.arange(n) == 0)
    assert np.flatnonzero(result.labeled).tolist() == [0]
    assert result.info == {"rounds": 1, "orphans": 1.0}


def test_tree_search_multi_label_passes_shares_on():
    graph = NeighborGraph(np.array([[1, 2], [0, 2], [0, 1], [2, -1]], np.int32), np.ones((4, 2), np.float32))
    targets = np.array([[1, 1], [0, 1], [9, 9], [9, 9]], np.float32)
    result = knn(graph, targets, np.array([True, True, False, False]), multi=True)
    np.testing.assert_allclose(result.p, [[1, 1], [0, 1], [0.5, 1], [0.5, 1]])
    assert result.hops.tolist() == [0, 0, 1, 2]
