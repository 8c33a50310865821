"""Label propagation against a dense solve written from the formulas, and projection onto a class prior."""

import numpy as np
import pytest
from conftest import brute_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.priors import project_to_prior, resolve_prior
from textpl.relabeling.propagation import class_weight, entropy_weight, label_propagation

EXACT = {"iterations": 500, "tolerance": 1e-7}


def mixture(seed, sizes=(40, 40, 40), per_class=4, k=6, spread=0.5, dimensions=12):
    """(graph, targets, gold, y) of Gaussian clusters."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    vectors = rng.normal(size=(len(sizes), dimensions))[y] + spread * rng.normal(size=(len(y), dimensions))
    gold = np.zeros(len(y), dtype=bool)
    for label in range(len(sizes)):
        gold[rng.choice(np.flatnonzero(y == label), per_class, replace=False)] = True
    return brute_graph(vectors, k), one_hot(y, gold, len(sizes)), gold, y


def one_hot(y, gold, labels):
    return (np.eye(labels)[y] * gold[:, None]).astype(np.float32)


def dense_inverse(graph, alpha, gamma):
    """(I - alpha D^-1/2 W D^-1/2)^-1 cell by cell from the formulas."""
    n = len(graph)
    a = np.zeros((n, n))
    for i in range(n):
        for j, sim in zip(graph.ids[i], graph.sims[i], strict=True):
            if j >= 0:
                a[i, j] = max(float(sim), 0.0) ** gamma
    w = a + a.T
    d = w.sum(axis=1)
    root = np.diag([0.0 if x == 0 else x**-0.5 for x in d])
    return np.linalg.inv(np.eye(n) - alpha * root @ w @ root)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("alpha", "gamma"), [(0.99, 3.0), (0.8, 1.0), (0.9, 0.0)])
def test_single_label_equals_a_dense_solve(seed, alpha, gamma):
    graph, targets, gold, _ = mixture(seed, sizes=(40, 25, 10), per_class=3)
    targets[np.flatnonzero(gold)[0]] = [0.7, 0.2, 0.1]  # soft gold
    f = dense_inverse(graph, alpha, gamma) @ (targets / targets.sum(axis=0))
    expected = f / f.sum(axis=1, keepdims=True)
    got = label_propagation(graph, targets, gold, alpha=alpha, gamma=gamma, **EXACT)
    assert got.p.dtype == got.evidence.dtype == np.float32
    np.testing.assert_allclose(got.p[~gold], expected[~gold], atol=2e-4)
    np.testing.assert_allclose(got.evidence[~gold], f[~gold].sum(axis=1) * gold.sum() / 3, rtol=2e-3)
    np.testing.assert_array_equal(got.p[gold], targets[gold])
    assert np.isinf(got.evidence[gold]).all()
    assert got.info["residual"] <= 1e-6
    assert got.info["iterations"] < 500


@pytest.mark.parametrize("seed", range(3))
def test_multi_label_equals_a_dense_weighted_mean(seed):
    graph, _, gold, _ = mixture(seed)
    rng = np.random.default_rng(seed)
    targets = ((rng.random((len(gold), 5)) < [0.5, 0.3, 0.1, 0.02, 0]) * gold[:, None]).astype(np.float32)
    reach = dense_inverse(graph, 0.99, 3.0)[:, gold]
    expected = reach @ targets[gold] / reach.sum(axis=1, keepdims=True)
    got = label_propagation(graph, targets, gold, multi=True, **EXACT)
    np.testing.assert_allclose(got.p[~gold], expected[~gold], atol=1e-3)
    np.testing.assert_array_equal(got.p[gold], targets[gold])
    np.testing.assert_allclose(got.evidence[~gold], reach.sum(axis=1)[~gold], rtol=2e-3)
    assert not got.p[:, 4].any()


def test_one_hot_multi_label_is_single_label_where_classes_are_balanced():
    graph, targets, gold, _ = mixture(0)
    single = label_propagation(graph, targets, gold, **EXACT)
    multi = label_propagation(graph, targets, gold, multi=True, **EXACT)
    np.testing.assert_allclose(multi.p, single.p, atol=1e-3)
    np.testing.assert_allclose(multi.p.sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(multi.evidence, single.evidence, rtol=1e-3)


def test_class_sizes_do_not_weigh_in_the_single_label_form():
    """A hundred gold rows of one class and two of the other, exchangeable for the graph: a tie stays a tie."""
    n = 103
    ids = np.array([[i for i in range(n) if i != row] for row in range(n)], dtype=np.int32)
    graph = NeighborGraph(ids, np.full((n, n - 1), 0.5, dtype=np.float32))
    y = np.r_[np.zeros(100, int), 1, 1, 0]
    gold = np.arange(n) < 102
    targets = one_hot(y, gold, 2)
    np.testing.assert_allclose(label_propagation(graph, targets, gold).p[-1], [0.5, 0.5], atol=1e-4)
    np.testing.assert_allclose(
        label_propagation(graph, targets, gold, multi=True).p[-1], [100 / 102, 2 / 102], atol=1e-4
    )


def test_imbalanced_classes_are_all_found():
    graph, targets, gold, y = mixture(1, sizes=(400, 60, 20), per_class=3, k=10, spread=0.3)
    got = label_propagation(graph, targets, gold)
    for label in range(3):
        assert (got.p.argmax(axis=1) == y)[y == label].mean() > 0.9


def chain(n):
    """Rows in a line; every row lists the next one only, so that hops must follow edges both ways."""
    ids = np.r_[np.arange(1, n), -1][:, None].astype(np.int32)
    return NeighborGraph(ids, (ids >= 0).astype(np.float32))


def test_hops_and_reach():
    n = 40
    gold = np.arange(n) == 10
    targets = one_hot(np.zeros(n, int), gold, 2)
    got = label_propagation(chain(n), targets, gold, iterations=5)
    distance = np.abs(np.arange(n) - 10)
    np.testing.assert_array_equal(got.hops, np.where(distance < 5, distance, -1))
    np.testing.assert_array_equal(got.order, got.hops)
    assert got.info["iterations"] == 5
    assert got.info["components_without_seed"] == 0  # out of reach is not out of the component
    abstained = distance >= 5
    assert not got.p[abstained].any()
    assert not got.evidence[abstained].any()
    assert (got.p[~abstained].argmax(axis=1) == 0).all()
    far = label_propagation(chain(n), targets, gold, iterations=100)
    np.testing.assert_array_equal(far.hops, distance)


@pytest.mark.parametrize("multi", [False, True])
def test_components_without_a_seed_abstain(multi):
    """Two triangles and a row without neighbours; gold in the first triangle only."""
    ids = np.array([[1, 2], [0, 2], [0, 1], [4, 5], [3, 5], [3, 4], [-1, -1]], dtype=np.int32)
    graph = NeighborGraph(ids, np.where(ids >= 0, 0.9, 0).astype(np.float32))
    gold = np.arange(7) == 0
    got = label_propagation(graph, one_hot(np.ones(7, int), gold, 3), gold, multi=multi)
    np.testing.assert_array_equal(got.hops, [0, 1, 1, -1, -1, -1, -1])
    np.testing.assert_array_equal(got.p[3:], 0)
    np.testing.assert_array_equal(got.evidence[3:], 0)
    assert got.info["components_without_seed"] == 2
    np.testing.assert_allclose(got.p[1:3], [[0, 1, 0]] * 2)


def test_edges_of_no_similarity_carry_nothing():
    ids = np.array([[1, 2], [0, 2], [0, 1]], dtype=np.int32)
    sims = np.array([[0.5, -0.1], [0.5, 0], [-0.1, 0]], dtype=np.float32)
    gold = np.arange(3) == 0
    for gamma in (0.0, 3.0):
        got = label_propagation(NeighborGraph(ids, sims), one_hot(np.zeros(3, int), gold, 2), gold, gamma=gamma)
        np.testing.assert_array_equal(got.hops, [0, 1, -1])


def test_extremes_of_size():
    lone = NeighborGraph(np.zeros((1, 0), dtype=np.int32), np.zeros((1, 0), dtype=np.float32))
    got = label_propagation(lone, np.array([[0, 1]], dtype=np.float32), np.array([True]))
    np.testing.assert_array_equal(got.p, [[0, 1]])
    graph, targets, gold, y = mixture(2)
    everything = label_propagation(graph, one_hot(y, np.ones_like(gold), 3), np.ones_like(gold))
    np.testing.assert_array_equal(everything.hops, 0)
    junk = np.where(gold[:, None], targets, np.nan)  # rows that are not gold are never read
    np.testing.assert_array_equal(label_propagation(graph, junk, gold).p, label_propagation(graph, targets, gold).p)


def test_propagation_refuses():
    graph, targets, gold, _ = mixture(0)
    first = np.flatnonzero(gold)[0]
    with pytest.raises(ValueError, match="no gold row"):
        label_propagation(graph, targets, np.zeros_like(gold))
    with pytest.raises(ValueError, match="do not fit the 120 rows"):
        label_propagation(graph, targets[:-1], gold[:-1])
    with pytest.raises(ValueError, match=r"int64.*bool"):
        label_propagation(graph, targets, gold.astype(np.int64))
    for bad in (np.nan, -1, np.inf):
        wrong = targets.copy()
        wrong[first, 0] = bad
        with pytest.raises(ValueError, match=f"gold row {first} has targets"):
            label_propagation(graph, wrong, gold)
    empty = targets.copy()
    empty[first] = 0
    with pytest.raises(ValueError, match=f"gold row {first} "):
        label_propagation(graph, empty, gold)
    label_propagation(graph, empty, gold, multi=True)  # no label at all is a multi-label answer
    with pytest.raises(ValueError, match=r"alpha=1"):
        label_propagation(graph, targets, gold, alpha=1.0)
    with pytest.raises(ValueError, match=r"iterations=0"):
        label_propagation(graph, targets, gold, iterations=0)


def test_entropy_and_class_weights():
    p = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(entropy_weight(p), [1, 0, 0.5, 0], atol=1e-6)
    np.testing.assert_array_equal(entropy_weight(np.array([[1.0], [0.0]])), [1, 0])
    weights = class_weight(np.array([0, 0, 0, 1, -1, -1]), 3)
    np.testing.assert_allclose(weights, [4 / 3 / 3, 4 / 3, 0], rtol=1e-6)
    np.testing.assert_array_equal(class_weight(np.array([-1, -1]), 2), 0)


# --- class priors ---


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 200))
def test_projection_meets_both_marginals(seed, labels, n):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(labels) * 0.7, size=n) + 1e-4
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    prior = rng.dirichlet(np.ones(labels) * 3) * 0.9 + 0.1 / labels
    got = project_to_prior(p, prior, iterations=5000)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(got.mean(axis=0, dtype=float), prior, atol=1e-5)
    # The solution is a tilt of the columns: cross ratios of any two rows and labels are kept.
    lift = np.log(got[:, :1] / p[:, :1]) - np.log(got / p)
    np.testing.assert_allclose(lift, np.broadcast_to(lift[:1], lift.shape), atol=1e-2)


def test_projection_leaves_out_what_it_cannot_move():
    p = np.array([[0.8, 0.2, 0], [0.6, 0.4, 0], [0, 0, 0]], dtype=np.float32)
    got = project_to_prior(p, np.array([0.25, 0.25, 0.5]))
    np.testing.assert_array_equal(got[2], 0)
    np.testing.assert_array_equal(got[:, 2], 0)
    np.testing.assert_allclose(got[:2].mean(axis=0), [0.5, 0.5, 0], atol=1e-5)
    # A prior of 0 rules a class out, but not the rows that know nothing else.
    p = np.array([[0.5, 0.5], [0, 1]], dtype=np.float32)
    np.testing.assert_allclose(project_to_prior(p, np.array([1.0, 0.0])), [[1, 0], [0, 1]])
    np.testing.assert_array_equal(project_to_prior(np.zeros((2, 2)), np.array([0.5, 0.5])), 0)
    np.testing.assert_array_equal(project_to_prior(np.zeros((0, 2)), np.array([0.5, 0.5])).shape, (0, 2))


def test_projection_onto_an_unattainable_prior_stays_a_distribution():
    hard = np.repeat(np.eye(2, dtype=np.float32), [90, 10], axis=0)
    np.testing.assert_allclose(project_to_prior(hard, np.array([0.5, 0.5])), hard, atol=1e-6)
    half = np.vstack([hard, [[0.5, 0.5]]])
    got = project_to_prior(half, np.array([0.01, 0.99]), iterations=5000)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(got[-1], [0, 1], atol=1e-3)


def test_projection_keeps_what_already_agrees():
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=50).astype(np.float32)
    np.testing.assert_allclose(project_to_prior(p, p.mean(axis=0)), p, atol=1e-5)


def test_resolve_prior():
    targets = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]], dtype=np.float32)
    np.testing.assert_allclose(resolve_prior("gold", targets), [0.625, 0.375, 0])
    np.testing.assert_allclose(resolve_prior("uniform", targets), [1 / 3] * 3)
    assert resolve_prior("none", targets) is None
    np.testing.assert_allclose(resolve_prior([0.333, 0.333, 0.333], targets), [1 / 3] * 3)
    np.testing.assert_allclose(resolve_prior("gold", np.array([[1, 1], [1, 0.0]]), multi=True), [1, 0.5])
    np.testing.assert_allclose(resolve_prior([0.9, 0.8, 0], targets, multi=True), [0.9, 0.8, 0])


@pytest.mark.parametrize(
    ("prior", "multi", "message"),
    [
        ("flat", False, "'flat'.*uniform"),
        ("uniform", True, "no meaning for multi-label"),
        ([0.5, 0.5], False, "expected 3 shares"),
        ([0.5, 0.7, -0.2], False, "negative"),
        ([0.5, np.nan, 0.5], False, "NaN"),
        ([10, 20, 30], False, "sums to 60"),
        ([10, 20, 30], True, "above 1"),
    ],
)
def test_resolve_prior_refuses(prior, multi, message):
    with pytest.raises(ValueError, match=message):
        resolve_prior(prior, np.eye(3), multi=multi)


def test_gold_prior_needs_gold():
    with pytest.raises(ValueError, match="without a gold row"):
        resolve_prior("gold", np.zeros((0, 3)))
