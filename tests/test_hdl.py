"""HDL against exhaustive loops written from its formulas; termination, orphans, and the collapse that hdl avoids."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.embeddings.graph import NeighborGraph
from textpl.relabeling.hdl import hdl, hdl_paper
from textpl.relabeling.knn import knn_dv

POLICIES = ["abstain", "nearest", "grow_k", "knn_dv"]


def graph_of(x: np.ndarray, k: int) -> NeighborGraph:
    """Exact cosine neighbours; columns beyond the other rows are filled with -1."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    sims = x @ x.T
    np.fill_diagonal(sims, -2)
    ids = np.argsort(-sims, axis=1, kind="stable")[:, : min(k, len(x) - 1)].astype(np.int32)
    sims = np.take_along_axis(sims, ids, 1).astype(np.float32)
    missing = ((0, 0), (0, k - ids.shape[1]))
    return NeighborGraph(np.pad(ids, missing, constant_values=-1), np.pad(sims, missing))


def nearest_gold(x: np.ndarray, gold: np.ndarray, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    rows = np.flatnonzero(gold)
    sims = x @ x[rows].T
    best = np.argsort(-sims, axis=1)[:, :k]
    return rows[best].astype(np.int32), np.take_along_axis(sims, best, 1).astype(np.float32)


def one_hot(labels, count: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[np.asarray(labels)]


def case(seed: int, classes: int = 3):
    """A small random problem: points, graph, labels, gold."""
    r = np.random.default_rng(seed)
    n, k = int(r.integers(4, 50)), int(r.integers(1, 7))
    x = r.normal(size=(n, 3))
    gold = np.zeros(n, bool)
    gold[r.choice(n, max(1, n // 8), replace=False)] = True
    return x, graph_of(x, k), r.integers(classes, size=n), gold


def mixture(n: int, classes: int, spread: float, seed: int, per_class: int):
    """Gaussian clusters in 64 dimensions, with so many gold rows of each class."""
    r = np.random.default_rng(seed)
    centers = r.normal(size=(classes, 64))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    labels = r.integers(classes, size=n)
    x = centers[labels] + spread / 8 * r.normal(size=(n, 64))
    gold = np.zeros(n, bool)
    for c in range(classes):
        gold[r.choice(np.flatnonzero(labels == c), per_class, replace=False)] = True
    return x, labels, gold


# The formulas, slowly


def exhaustive(graph, labels, gold, classes, *, second_stage="gain", level=False):
    """hdl.md 4.1: looks at every open row in every step. Returns label and voters, in the order of labelling."""
    near = [[j for j in row if j >= 0] for row in graph.ids.tolist()]
    sims = graph.sims.tolist()
    label = {int(i): int(labels[i]) for i in np.flatnonzero(gold)}
    rounds = []

    def count(row):
        return sum(j in label for j in near[row])

    def stage_two(row):
        still_open = [j for j in range(len(near)) if j not in label and j != row]
        if second_stage == "gain":
            return sum(row in near[j] for j in still_open)
        if second_stage == "next_level":
            return max((count(j) + (row in near[j]) for j in still_open), default=0)
        if second_stage == "similarity":
            values = [s for j, s in zip(near[row], sims[row], strict=False) if j in label]
            return sum(values) / len(values)
        return 0

    while len(label) < len(near):
        counts = {i: count(i) for i in range(len(near)) if i not in label}
        most = max(counts.values())
        if most == 0:
            break
        chosen = [i for i in counts if counts[i] == most]
        if not level:
            chosen = [min(chosen, key=lambda i: (-stage_two(i), i))]
        given = {}
        for i in chosen:
            voters = [j for j in near[i] if j in label]
            votes = [sum(label[j] == c for j in voters) for c in range(classes)]
            given[i] = (next(label[j] for j in voters if votes[label[j]] == max(votes)), voters)
        label |= {i: winner for i, (winner, _) in given.items()}
        rounds.append({i: voters for i, (_, voters) in given.items()})
    return label, rounds


def discounted(graph, targets, gold, *, rho, gamma, level):
    """hdl.md 4.5, one row (highest E, then gain, then number) or one doubling of E at a time.

    Weights are multiples of 2^-40, as documented: what is a tie depends on it.
    """
    near = [
        [(j, s**gamma) for j, s in zip(row, sims, strict=True) if j >= 0 and (s > 0 or gamma == 0)]
        for row, sims in zip(graph.ids.tolist(), graph.sims.tolist(), strict=True)
    ]
    weight = {int(i): 1.0 for i in np.flatnonzero(gold)}
    p = {i: targets[i].astype(float) for i in weight}
    rounds, evidence = [], {}
    while True:
        e = {i: sum(weight.get(j, 0) for j, _ in near[i]) for i in range(len(near)) if i not in weight}
        e = {i: value for i, value in e.items() if value > 0}
        if not e:
            return p, weight, evidence, rounds
        most = max(e.values())
        if level:
            chosen = [i for i in e if math.frexp(e[i])[1] == math.frexp(most)[1]]
        else:
            gain = {i: sum(j not in weight and i in [m for m, _ in near[j]] for j in range(len(near))) for i in e}
            chosen = [min((i for i in e if e[i] == most), key=lambda i: (-gain[i], i))]
        given = {}
        for i in chosen:
            votes = [(j, weight[j] * s) for j, s in near[i] if j in weight]
            total = sum(a for _, a in votes)
            mean = sum(a * weight[j] for j, a in votes) / total
            given[i] = (sum(a * p[j] for j, a in votes) / total, round(rho * mean * 2**40) / 2**40)
            evidence[i] = e[i]
        for i, (share, worth) in given.items():
            p[i], weight[i] = share, worth
        rounds.append(sorted(given))


@pytest.mark.parametrize("second_stage", ["gain", "next_level", "similarity", "none"])
@pytest.mark.parametrize("seed", range(25))
def test_paper_sequential_equals_the_exhaustive_look_ahead(seed, second_stage):
    _, graph, labels, gold = case(seed)
    result = hdl_paper(graph, one_hot(labels, 3), gold, second_stage=second_stage)
    label, rounds = exhaustive(graph, labels, gold, 3, second_stage=second_stage)
    check_paper(result, label, rounds, 3)


@pytest.mark.parametrize("seed", range(25))
def test_paper_levels_equal_labelling_all_of_the_first_stage(seed):
    _, graph, labels, gold = case(seed)
    result = hdl_paper(graph, one_hot(labels, 3), gold, schedule="level")
    label, rounds = exhaustive(graph, labels, gold, 3, level=True)
    check_paper(result, label, rounds, 3)


def check_paper(result, label, rounds, classes):
    assert np.flatnonzero(result.labeled).tolist() == sorted(label)
    assert result.info["rounds"] == len(rounds)
    for time, voters in enumerate(rounds, start=1):
        for row, who in voters.items():
            assert result.order[row] == time
            assert result.p[row].argmax() == label[row]
            shares = [sum(label[j] == c for j in who) / len(who) for c in range(classes)]
            np.testing.assert_allclose(result.p[row], shares, atol=2e-6)
            assert result.evidence[row] == len(who)
            assert result.hops[row] == 1 + min(result.hops[j] for j in who)


@pytest.mark.parametrize("level", [False, True])
@pytest.mark.parametrize("rho, gamma", [(0.8, 3.0), (0.5, 0.0), (1.0, 1.0)])
@pytest.mark.parametrize("seed", range(12))
def test_hdl_equals_its_formulas(seed, rho, gamma, level):
    _, graph, labels, gold = case(seed)
    targets = one_hot(labels, 3)
    result = hdl(graph, targets, gold, rho=rho, gamma=gamma, schedule="level" if level else "sequential")
    p, _, evidence, rounds = discounted(graph, targets, gold, rho=rho, gamma=gamma, level=level)
    assert np.flatnonzero(result.labeled).tolist() == sorted(p)
    for time, rows in enumerate(rounds, start=1):
        assert np.flatnonzero(result.order == time).tolist() == rows
    for row in p:
        np.testing.assert_allclose(result.p[row], p[row], atol=1e-5)
        assert result.evidence[row] == (np.inf if gold[row] else pytest.approx(evidence[row], rel=1e-5))


@pytest.mark.parametrize("seed", range(10))
def test_without_discount_hdl_is_the_documented_rule(seed):
    # Multi-label passes shares on in both, so all is equal; single-label passes the winner on only in the paper's.
    _, graph, labels, gold = case(seed)
    targets = one_hot(labels, 3)
    for multi in (False, True):
        ours = hdl(graph, targets, gold, rho=1, gamma=0, schedule="sequential", multi=multi)
        paper = hdl_paper(graph, targets, gold, multi=multi)
        for name in ("order", "hops", "evidence"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(paper, name))
    np.testing.assert_array_equal(ours.p, paper.p)


# What always holds


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([hdl, hdl_paper]),
    st.sampled_from(["level", "sequential"]),
    st.sampled_from(POLICIES),
    st.booleans(),
)
def test_every_run_ends_with_valid_labels(seed, method, schedule, orphans, multi):
    x, graph, labels, gold = case(seed)
    targets = one_hot(labels, 4)  # label 3 has no gold row
    to_gold = nearest_gold(x, gold)
    k = max(1, graph.k // 2)
    result = method(graph, targets, gold, schedule=schedule, orphans=orphans, k=k, to_gold=to_gold, multi=multi)
    np.testing.assert_array_equal(result.p[gold], targets[gold])
    assert (result.hops[gold] == 0).all() and (result.order[gold] == 0).all() and np.isinf(result.evidence[gold]).all()
    new = result.labeled & ~gold
    np.testing.assert_allclose(result.p[new].sum(1), 1, atol=1e-5)
    assert not result.p[new][:, 3].any()
    assert (result.hops[new] > 0).all() and (result.order[new] > 0).all() and (result.evidence[new] > 0).all()
    lost = ~result.labeled
    assert not result.p[lost].any() and (result.order[lost] == -1).all() and not result.evidence[lost].any()
    if orphans == "abstain":
        assert result.info["orphans"] == pytest.approx(lost.sum() / max((~gold).sum(), 1))
    if method is hdl_paper and orphans in ("nearest", "knn_dv"):
        assert result.labeled.all()


@pytest.mark.parametrize("method", [hdl, hdl_paper])
@pytest.mark.parametrize("orphans", ["abstain", "nearest"])
def test_levels_do_not_depend_on_the_order_of_rows(method, orphans):
    x, labels, gold = mixture(400, 4, 2.5, 0, 3)
    graph, targets = graph_of(x, 5), one_hot(labels, 4)
    to_gold = nearest_gold(x, gold)
    result = method(graph, targets, gold, schedule="level", orphans=orphans, to_gold=to_gold)
    new = np.random.default_rng(1).permutation(400)  # new row of every old one
    old = np.argsort(new)
    moved = NeighborGraph(new[graph.ids[old]].astype(np.int32), graph.sims[old])
    shuffled = method(
        moved,
        targets[old],
        gold[old],
        schedule="level",
        orphans=orphans,
        to_gold=(new[to_gold[0][old]], to_gold[1][old]),
    )
    for name in ("order", "hops", "evidence"):
        np.testing.assert_array_equal(getattr(shuffled, name), getattr(result, name)[old])
    np.testing.assert_allclose(shuffled.p, result.p[old], atol=1e-6)


@pytest.mark.parametrize("schedule", ["level", "sequential"])
def test_one_hot_multi_label_is_multi_class(schedule):
    x, labels, gold = mixture(300, 3, 2.0, 0, 4)
    graph, targets = graph_of(x, 5), one_hot(labels, 3)
    single, multi = (hdl(graph, targets, gold, schedule=schedule, multi=multi) for multi in (False, True))
    np.testing.assert_allclose(single.p, multi.p, atol=1e-5)
    single, multi = (hdl_paper(graph, targets, gold, schedule=schedule, multi=multi) for multi in (False, True))
    np.testing.assert_array_equal(single.order, multi.order)
    once = single.hops <= 1  # farther away one passes winners on, the other shares
    once &= np.array([gold[near[single.order[near] >= 0]].all() for near in graph.ids])
    np.testing.assert_allclose(single.p[once], multi.p[once], atol=2e-6)


def test_multi_label_formula_by_hand():
    graph = NeighborGraph(
        np.array([[-1, -1], [-1, -1], [0, 1], [2, 0]], np.int32),
        np.array([[0, 0], [0, 0], [0.8, 0.5], [0.9, 0.4]], np.float32),
    )
    targets = np.array([[1, 1, 0], [0, 1, 0], [9, 9, 9], [9, 9, 9]], np.float32)
    result = hdl(graph, targets, np.array([True, True, False, False]), multi=True, gamma=1, rho=0.5)
    np.testing.assert_allclose(result.p[2], [0.8 / 1.3, 1, 0], rtol=1e-6)
    assert result.order.tolist() == [0, 0, 1, 2] and result.evidence[3] == 1.5
    a, b = 0.5 * 0.9, 0.4  # row 2 is worth half
    np.testing.assert_allclose(result.p[3], [(a * 0.8 / 1.3 + b) / (a + b), 1, 0], rtol=1e-6)


def test_soft_gold_targets_are_kept_and_passed_on():
    graph = NeighborGraph(np.array([[1], [0]], np.int32), np.full((2, 1), 0.5, np.float32))
    targets = np.array([[0.7, 0.3], [np.nan, np.nan]], np.float32)
    gold = np.array([True, False])
    np.testing.assert_allclose(hdl(graph, targets, gold).p, [[0.7, 0.3], [0.7, 0.3]])
    np.testing.assert_allclose(hdl_paper(graph, targets, gold).p, [[0.7, 0.3], [1, 0]])


# Orphans


def islands():
    """Row 0 gold and 1 lists it; 2-3 and 4-5 list each other; 6 lists 5; 7 has no neighbour at all."""
    ids = np.array([[1, 2], [0, 2], [3, 1], [2, 4], [5, 1], [4, 1], [5, 4], [-1, -1]], np.int32)
    sims = np.where(ids >= 0, np.array([[0.9, 0.5]]), 0).astype(np.float32)
    gold = np.arange(8) == 0
    to_gold = np.where(np.arange(8) < 7, 0, -1)[:, None], np.array([1, 0.9, 0.1, 0.2, 0.4, 0.3, 0.6, 0])[:, None]
    return NeighborGraph(ids, sims), one_hot(np.zeros(8, int), 2), gold, to_gold


@pytest.mark.parametrize("method", [hdl, hdl_paper])
@pytest.mark.parametrize("schedule", ["level", "sequential"])
def test_orphan_policies(method, schedule):
    graph, targets, gold, to_gold = islands()

    def hops(orphans):
        result = method(graph, targets, gold, orphans=orphans, schedule=schedule, k=1, to_gold=to_gold)
        assert result.info["orphans"] == pytest.approx(6 / 7)
        assert (result.p[result.labeled].argmax(1) == 0).all()
        return result.hops.tolist()

    assert hops("abstain") == [0, 1, -1, -1, -1, -1, -1, -1]
    # 3 is the centre of 2-3. 6 is that of 4-5-6, but neither 4 nor 5 leads to it: 4 is theirs.
    assert hops("nearest") == [0, 1, 2, 1, 1, 2, 1, -1]
    assert hops("knn_dv") == [0, 1, 1, 1, 1, 1, 1, -1]
    assert hops("grow_k") == [0, 1, 2, 3, 2, 2, 3, -1]


@pytest.mark.parametrize("method", [hdl, hdl_paper])
@pytest.mark.parametrize("schedule", ["level", "sequential"])
@pytest.mark.parametrize("multi", [False, True])
def test_without_orphans_the_policy_changes_nothing(method, schedule, multi):
    x, labels, _ = mixture(60, 3, 1.5, 0, 1)
    graph, targets = graph_of(x, 6), one_hot(labels, 3)
    for gold in (np.arange(60) % 3 == 0, np.ones(60, bool)):
        runs = [
            method(graph, targets, gold, schedule=schedule, orphans=o, k=5, to_gold=nearest_gold(x, gold), multi=multi)
            for o in POLICIES
        ]
        assert runs[0].labeled.all() and runs[0].info["orphans"] == 0
        for run in runs[1:]:
            np.testing.assert_array_equal(run.p, runs[0].p)
            np.testing.assert_array_equal(run.order, runs[0].order)


def test_votes_counted_in_pieces_are_the_same(monkeypatch):
    x, labels, gold = mixture(200, 3, 2.0, 0, 3)
    graph, targets, to_gold = graph_of(x, 3), one_hot(labels, 3), nearest_gold(x, gold)

    def everything():
        direct = knn_dv(*to_gold, targets)
        runs = [m(graph, targets, gold, orphans="knn_dv", to_gold=to_gold, schedule="level") for m in (hdl, hdl_paper)]
        return [direct, *(run.p for run in runs), *(run.order for run in runs)]

    whole = everything()
    monkeypatch.setattr("textpl.relabeling.votes.BLOCK", 20)
    for one, other in zip(whole, everything(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_mutual_cliques_end():
    n, size = 60, 6
    ids = np.array([[j for j in range(i - i % size, i - i % size + size) if j != i] for i in range(n)], np.int32)
    graph = NeighborGraph(ids, np.full(ids.shape, 0.9, np.float32))
    gold = np.arange(n) % (2 * size) == 0
    for method in (hdl, hdl_paper):
        for schedule in ("level", "sequential"):
            result = method(graph, one_hot(np.ones(n, int), 2), gold, schedule=schedule)
            np.testing.assert_array_equal(result.labeled, np.arange(n) // size % 2 == 0)
            assert result.info["rounds"] <= (~gold).sum()


def test_negative_neighbors_vote_only_without_gamma_but_the_nearest_labeled_row_is_the_nearest():
    graph = NeighborGraph(np.array([[1], [0]], np.int32), np.full((2, 1), -0.3, np.float32))
    targets, gold = one_hot([1, 0], 2), np.array([True, False])
    to_gold = np.zeros((2, 1), int), np.full((2, 1), -0.3)
    assert hdl(graph, targets, gold).hops.tolist() == [0, -1]
    # Around the mean of all texts half of all cosines are negative, so that the nearest labeled row may be at one.
    assert hdl(graph, targets, gold, orphans="nearest", to_gold=to_gold).hops.tolist() == [0, 1]
    assert hdl(graph, targets, gold, orphans="knn_dv", to_gold=to_gold).hops.tolist() == [0, 1]
    assert hdl(graph, targets, gold, gamma=0).hops.tolist() == [0, 1]


# Sizes and refusals


@pytest.mark.parametrize("method", [hdl, hdl_paper])
@pytest.mark.parametrize("schedule", ["level", "sequential"])
def test_extremes(method, schedule):
    x = np.random.default_rng(0).normal(size=(4, 3)) + 3
    result = method(graph_of(x, 10), one_hot([0, 1, 1, 0], 2), np.arange(4) < 3, schedule=schedule)
    assert result.labeled.all() and result.evidence[3] == 3
    alone = NeighborGraph(np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32))
    result = method(alone, one_hot([1], 2), np.array([True]), schedule=schedule)
    assert result.p.tolist() == [[0, 1]] and result.info == {"rounds": 0, "orphans": 0.0}
    same = NeighborGraph(np.array([[1, 2], [0, 2], [0, 1]], np.int32), np.ones((3, 2), np.float32))
    assert method(same, one_hot([1, 0, 0], 2), np.arange(3) == 0, schedule=schedule).p.argmax(1).tolist() == [1, 1, 1]


def test_weights_never_vanish_far_away():
    n = 400
    chain = NeighborGraph(np.arange(-1, n - 1, dtype=np.int32)[:, None], np.full((n, 1), 0.5, np.float32))
    for schedule in ("level", "sequential"):
        result = hdl(chain, one_hot(np.ones(n, int), 2), np.arange(n) == 0, rho=0.5, schedule=schedule)
        assert result.labeled.all() and result.hops[-1] == n - 1 and (result.p[:, 1] == 1).all()


@pytest.mark.parametrize("method", [hdl, hdl_paper])
def test_bad_input_is_named(method):
    graph, targets, gold, to_gold = islands()
    with pytest.raises(ValueError, match="no gold row"):
        method(graph, targets, np.zeros(8, bool))
    with pytest.raises(ValueError, match="do not fit a graph of 8 rows"):
        method(graph, targets[:5], gold)
    with pytest.raises(ValueError, match="gold row 0 has targets"):
        method(graph, targets * 2, gold)
    with pytest.raises(ValueError, match="needs to_gold"):
        method(graph, targets, gold, orphans="nearest")
    with pytest.raises(ValueError, match="not gold"):
        method(graph, targets, gold, orphans="knn_dv", to_gold=(to_gold[0] + 1, to_gold[1]))
    with pytest.raises(ValueError, match="orphans='guess'"):
        method(graph, targets, gold, orphans="guess")
    with pytest.raises(ValueError, match="schedule='random'"):
        method(graph, targets, gold, schedule="random")
    with pytest.raises(ValueError, match="k=3"):
        method(graph, targets, gold, k=3)
    with pytest.raises(ValueError, match="rho=0"):
        hdl(graph, targets, gold, rho=0)
    with pytest.raises(ValueError, match="second_stage='best'"):
        hdl_paper(graph, targets, gold, second_stage="best")


# Why hdl is the default


def test_the_literal_algorithm_collapses_where_hdl_does_not():
    x, labels, gold = mixture(1500, 10, 2.2, 0, 15)
    graph, targets = graph_of(x, 20), one_hot(labels, 10)
    to_gold = nearest_gold(x, gold, 10)
    agreement = (labels[graph.ids[:, :5]] == labels[:, None]).mean()
    assert 0.7 < agreement < 0.835  # below the propagation threshold of k = 5

    def accuracy(p):
        return (p.argmax(1) == labels)[~gold].mean()

    paper = accuracy(hdl_paper(graph, targets, gold, orphans="nearest", to_gold=to_gold).p)
    ours = {
        schedule: accuracy(hdl(graph, targets, gold, schedule=schedule, orphans="nearest", to_gold=to_gold).p)
        for schedule in ("level", "sequential")
    }
    direct = accuracy(knn_dv(*to_gold, targets))
    assert paper < 0.5
    assert min(ours.values()) > 0.7
    assert min(ours.values()) > paper + 0.25
    assert direct > 0.7
