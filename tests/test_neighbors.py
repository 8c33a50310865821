"""The kNN graph against brute force, and what becomes of duplicates, zero vectors and bad input."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.embeddings import approximate, exact
from textpl.embeddings.exact import UnitRows, top_columns
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.hubness import csls, mutual
from textpl.embeddings.neighbors import distinct_rows, neighbor_graph, search, unit_rows


def clustered(n, d=32, centers=40, spread=0.5, seed=0):
    """Rows around random directions, not normalised."""
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((centers, d))
    rows = middle[rng.integers(centers, size=n)] + spread * rng.standard_normal((n, d))
    return (rows * rng.uniform(0.1, 10, size=(n, 1))).astype(np.float32)


def brute_force(queries, base, k, exclude):
    """Straight from the definition, in float64; -inf similarity where there is no neighbour."""
    q, b = (x.astype(np.float64) / np.maximum(np.linalg.norm(x.astype(np.float64), axis=1), 1e-300)[:, None]
            for x in (queries, base))  # fmt: skip
    sims = q @ b.T
    sims[:, ~b.any(axis=1)] = -np.inf
    sims[~q.any(axis=1)] = -np.inf
    if exclude:
        np.fill_diagonal(sims, -np.inf)
    sims = np.pad(sims, ((0, 0), (0, max(k - len(base), 0))), constant_values=-np.inf)
    return -np.sort(-sims, axis=1)[:, :k], sims


def assert_exact(ids, sims, queries, base, exclude):
    """The similarities are the largest, and belong to the ids, which are all different."""
    best, every = brute_force(queries, base, ids.shape[1], exclude)
    there = np.isfinite(best)
    assert ids.dtype == np.int32
    assert sims.dtype == np.float32
    np.testing.assert_array_equal(ids >= 0, there)
    np.testing.assert_array_equal(sims[~there], 0)
    np.testing.assert_allclose(sims[there], best[there], atol=2e-6)
    np.testing.assert_allclose(np.take_along_axis(every, ids.astype(int), 1)[there], best[there], atol=2e-6)
    for row in ids:
        assert len(set(row[row >= 0])) == (row >= 0).sum()


@pytest.fixture(params=["bfloat16", "float32"])
def precision(request, monkeypatch):
    """Both kinds of product, whatever this processor is fast in."""
    monkeypatch.setattr(exact, "bf16_pays", lambda device: request.param == "bfloat16")


@pytest.fixture(params=[(512, 32768), (7, 50), (64, 33)], ids=str)
def blocks(request, monkeypatch):
    monkeypatch.setitem(exact.BLOCKS, "cpu", request.param)


@pytest.mark.parametrize(("n", "k"), [(300, 10), (301, 1), (65, 40), (12, 30), (2, 1)])
def test_exact_graph_is_brute_force(n, k, precision, blocks):
    vectors = clustered(n)
    graph = neighbor_graph(vectors, k, method="exact", progress=False)
    assert graph.ids.shape == (n, min(k, n - 1))
    assert graph.recall is None
    assert not (graph.ids == np.arange(n)[:, None]).any()
    assert_exact(graph.ids, graph.sims, vectors, vectors, exclude=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 9), st.integers(1, 12), st.integers(1, 3))
def test_small_integer_vectors(seed, n, d, k, top):
    """Many ties, duplicates and zero vectors."""
    vectors = np.random.default_rng(seed).integers(-top, top + 1, size=(n, d)).astype(np.float32)
    graph = neighbor_graph(vectors, k, method="exact", progress=False)
    assert_exact(graph.ids, graph.sims, vectors, vectors, exclude=True)


@pytest.mark.parametrize(("queries", "base", "k"), [(50, 200, 5), (3, 4, 9), (5, 0, 2), (0, 5, 2), (1, 1, 1)])
def test_search_is_brute_force(queries, base, k, precision, blocks):
    queries, base = clustered(queries, seed=1), clustered(base, seed=2)
    ids, sims = search(queries, base, k, progress=False)
    assert ids.shape == sims.shape == (len(queries), k)
    assert_exact(ids, sims, queries, base, exclude=False)


def test_close_calls_are_searched_again(monkeypatch):
    """A thousand rows within what bfloat16 can tell apart: the candidates alone would lose most neighbours."""
    rng = np.random.default_rng(0)
    vectors = (rng.standard_normal(64) + 1e-3 * rng.standard_normal((1000, 64))).astype(np.float32)
    monkeypatch.setattr(exact, "bf16_pays", lambda device: True)
    graph = neighbor_graph(vectors, 5, method="exact", progress=False)
    best, _ = brute_force(vectors, vectors, 5, exclude=True)
    np.testing.assert_allclose(graph.sims, best, atol=2e-6)


def test_rounding_bound_holds():
    """Differences between bfloat16 and true similarities stay below the bound that decides on a second search."""
    vectors = unit_rows(clustered(400, d=96))
    exact_rows = torch.from_numpy(vectors)
    rounded, moved = exact._rounded(vectors, torch.bfloat16, torch.device("cpu"))
    true, seen = exact_rows @ exact_rows.T, (rounded @ rounded.T).float()
    bound = moved[:, None] + 1.01 * moved.max() + 1.02 * 96 * 2**-24 + seen.abs() * 2**-8
    assert ((true - seen).abs() <= bound).all()


@pytest.mark.parametrize("shape", [(3, 5), (5, 64), (4, 1000), (2, 4097)])
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_top_columns_is_topk(shape, k, dtype):
    scores = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    scores[0, : shape[1] // 2] = -torch.inf
    values, columns = top_columns(scores, k)
    assert torch.equal(values, scores.topk(k).values)
    assert torch.equal(scores.gather(1, columns), values)
    assert all(len(set(row.tolist())) == k for row in columns)


@pytest.mark.parametrize("method", ["exact", "approximate"])
class TestSpecialRows:
    """Both methods treat them alike."""

    def test_zero_vectors_have_and_are_no_neighbours(self, method):
        vectors = clustered(50)
        vectors[[0, 7, 49]] = 0
        graph = neighbor_graph(vectors, 46, method=method, progress=False)
        assert (graph.ids[[0, 7, 49]] == -1).all()
        assert not np.isin(graph.ids, [0, 7, 49]).any()
        assert (graph.ids[1] >= 0).sum() == 46
        assert_exact(graph.ids, graph.sims, vectors, vectors, exclude=True)

    def test_group_of_duplicates_larger_than_k(self, method):
        vectors = clustered(100)
        vectors[20:60] = vectors[20]
        graph = neighbor_graph(vectors, 5, method=method, progress=False)
        assert (graph.ids != np.arange(100)[:, None]).all()
        assert np.isin(graph.ids[20:60], np.arange(20, 60)).all()
        np.testing.assert_allclose(graph.sims[20:60], 1, atol=1e-6)

    def test_all_rows_equal(self, method):
        graph = neighbor_graph(np.ones((40, 8)), 3, method=method, progress=False)
        assert (graph.ids >= 0).all()
        assert (graph.ids != np.arange(40)[:, None]).all()
        np.testing.assert_allclose(graph.sims, 1, atol=1e-6)

    @pytest.mark.parametrize("n", [0, 1])
    def test_no_other_row(self, n, method):
        graph = neighbor_graph(np.ones((n, 8), dtype=np.float32), 3, method=method, progress=False)
        assert graph.ids.shape == graph.sims.shape == (n, 0)

    def test_all_rows_zero(self, method):
        graph = neighbor_graph(np.zeros((5, 8), dtype=np.float32), 3, method=method, progress=False)
        assert (graph.ids == -1).all()
        assert (graph.sims == 0).all()

    def test_length_and_type_do_not_matter(self, method):
        vectors = clustered(200)
        first = neighbor_graph(unit_rows(vectors), 5, method=method, progress=False)
        for other in (vectors, vectors.astype(np.float64) * 1e6):
            graph = neighbor_graph(other, 5, method=method, progress=False)
            np.testing.assert_array_equal(graph.ids, first.ids)
            np.testing.assert_allclose(graph.sims, first.sims, atol=1e-6)


def test_equals_go_by_row_number():
    vectors = np.eye(6, dtype=np.float32)[[0, 1, 1, 1, 2, 1]]
    graph = neighbor_graph(vectors, 3, method="exact", progress=False)
    assert graph.ids[3].tolist() == [1, 2, 5]


def test_memory_mapped_vectors(tmp_path):
    vectors = clustered(150)
    np.save(tmp_path / "v.npy", vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    graph, same = (neighbor_graph(x, 4, progress=False) for x in (vectors, mapped))
    np.testing.assert_array_equal(graph.ids, same.ids)
    unit = unit_rows(vectors)
    np.save(tmp_path / "u.npy", unit)
    mapped = np.load(tmp_path / "u.npy", mmap_mode="r")
    assert unit_rows(mapped) is mapped


def test_unit_rows():
    rows = unit_rows(np.array([[3, 4], [0, 0], [0.6, 0.8]]))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [0.6, 0.8]], atol=1e-7)
    assert unit_rows(rows) is rows


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_rows_are_named(bad):
    vectors = clustered(30)
    vectors[17, 3] = bad
    with pytest.raises(ValueError, match="row 17"):
        neighbor_graph(vectors, 3)
    with pytest.raises(ValueError, match="row 17"):
        unit_rows(vectors)


@pytest.mark.parametrize("bad", [np.ones(5), np.ones((2, 2, 2)), np.array([["a", "b"]])])
def test_no_matrix(bad):
    with pytest.raises(ValueError, match="matrix of real numbers"):
        unit_rows(bad)


def test_bad_arguments():
    with pytest.raises(ValueError, match="k=0"):
        neighbor_graph(np.ones((3, 2)), 0)
    with pytest.raises(ValueError, match="method='fast'"):
        neighbor_graph(np.ones((3, 2)), 1, method="fast")
    with pytest.raises(ValueError, match="2 dimensions"):
        search(np.ones((3, 2)), np.ones((3, 4)), 1)


def approximately(vectors, **settings):
    rows = UnitRows(vectors)
    return approximate.approximate_search(rows, 10, recall_rows=500, seed=0, progress=False, **settings)


def test_approximate_recall(precision):
    """Cells of 40 rows, of which each row sees a twelfth of all: several passes are needed and made."""
    vectors = clustered(5000, centers=100, spread=1.0)
    ids, sims, recall = approximately(vectors, cell_rows=40, searched_rows=400)
    best, every = brute_force(vectors, vectors, 10, exclude=True)
    true = float((sims >= best[:, -1:] - 1e-6).mean())
    assert true >= 0.95
    assert abs(true - recall) < 0.02
    np.testing.assert_allclose(np.take_along_axis(every, ids.astype(int), 1), sims, atol=2e-6)
    assert (np.diff(sims, axis=1) <= 0).all()
    assert (ids != np.arange(5000)[:, None]).all()
    assert all(len(set(row)) == 10 for row in ids.tolist())


def test_approximate_is_repeatable():
    vectors = clustered(1000)
    first, second = (approximately(vectors, cell_rows=40, searched_rows=200)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_cell_larger_than_what_is_searched():
    """Most rows nearly equal: their cell is cut, the search stays bounded, and the other rows lose nothing."""
    vectors = clustered(1500)
    vectors[:1000] = vectors[0] + 1e-4 * np.random.default_rng(0).standard_normal((1000, 32))
    ids, sims, _ = approximately(vectors, cell_rows=20, searched_rows=200)
    assert (sims[:1000] > 0.999).all()
    best, _ = brute_force(vectors, vectors, 10, exclude=True)
    assert (sims[1000:] >= best[1000:, -1:] - 1e-6).mean() > 0.9


def test_poor_recall_is_said(monkeypatch, caplog):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(approximate, "MAX_PASSES", 1)
    monkeypatch.setattr("textpl.embeddings.neighbors.approximate_search", lambda rows, k, **settings: (
        approximate.approximate_search(rows, k, cell_rows=20, searched_rows=40, **settings)))  # fmt: skip
    with caplog.at_level(logging.WARNING):
        graph = neighbor_graph(rng.standard_normal((2000, 64)), 10, method="approximate", progress=False)
    assert graph.recall < 0.9
    assert "nearest neighbours" in caplog.text


def test_auto_changes_at_the_limit(monkeypatch):
    monkeypatch.setattr("textpl.embeddings.neighbors.EXACT_ROWS", 100)
    assert neighbor_graph(clustered(100), 3, progress=False).method == "exact"
    assert neighbor_graph(clustered(101), 3, progress=False).method.startswith("approximate")


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("d", [1, 3, 8])
def test_distinct_rows(dtype, d):
    pool = np.random.default_rng(0).integers(-2, 3, size=(60, d)).astype(dtype)
    vectors = pool[np.random.default_rng(1).integers(60, size=300)]
    first, inverse = distinct_rows(vectors)
    groups = {}
    for row, vector in enumerate(vectors):
        groups.setdefault(vector.tobytes(), row)
    assert first.tolist() == sorted(groups.values())
    assert [int(first[g]) for g in inverse] == [groups[v.tobytes()] for v in vectors]


def test_distinct_rows_of_nothing():
    first, inverse = distinct_rows(np.empty((0, 4), dtype=np.float32))
    assert len(first) == len(inverse) == 0


def test_mutual_keeps_edges_of_both_directions():
    graph = NeighborGraph(
        ids=np.array([[1, 2], [2, 0], [3, 1], [-1, -1]], dtype=np.int32),
        sims=np.array([[0.9, 0.8], [0.7, 0.6], [0.5, 0.4], [0, 0]], dtype=np.float32),
    )
    kept = mutual(graph)
    assert kept.ids.tolist() == [[1, -1], [2, 0], [1, -1], [-1, -1]]
    np.testing.assert_allclose(kept.sims, [[0.9, 0], [0.7, 0.6], [0.4, 0], [0, 0]])


def test_csls_is_its_formula():
    graph = neighbor_graph(clustered(60), 8, progress=False)
    result = csls(graph, 3)
    density = graph.sims.mean(axis=1)
    for i in range(60):
        scaled = {int(j): 2 * s - density[i] - density[j] for j, s in zip(graph.ids[i], graph.sims[i], strict=True)}
        assert result.ids[i].tolist() == sorted(scaled, key=scaled.get, reverse=True)[:3]
    lone = NeighborGraph(np.array([[1, -1], [0, -1]], np.int32), np.array([[0.5, 0], [0.5, 0]], np.float32))
    assert csls(lone, 2).ids.tolist() == [[1, -1], [0, -1]]


def test_csls_lowers_the_largest_hub():
    graph = neighbor_graph(np.random.default_rng(0).standard_normal((800, 64)), 40, progress=False)
    most = [np.bincount(g.ids.ravel()).max() for g in (graph.first(10), csls(graph, 10))]
    assert most[1] < most[0]


def test_recall_counts_only_neighbours_that_exist():
    vectors = np.zeros((60, 8), dtype=np.float32)
    vectors[:5] = np.random.default_rng(0).normal(size=(5, 8))
    graph = neighbor_graph(vectors, 10, method="approximate", progress=False)
    assert graph.recall == 1 and ((graph.ids[:5] >= 0).sum(1) == 4).all()
