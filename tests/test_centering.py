"""Vectors around their mean: what is taken, what stays, and what it does to labels in a narrow cone."""

import numpy as np
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import textpl
from textpl.embeddings.centering import centered_rows, common_part
from textpl.embeddings.neighbors import measured_by, neighbor_graph, unit_rows


def cone(rows, width, height, seed=0):
    """Unit vectors that share a direction of `height` and differ by normal noise."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(rows, width)) / np.sqrt(width)
    points[:, 0] += height
    return unit_rows(points.astype(np.float32))


def test_a_cone_is_opened():
    vectors = cone(2000, 32, 3.0)
    assert np.linalg.norm(vectors.mean(0)) > 0.9
    centered = centered_rows(vectors)
    assert np.linalg.norm(centered.mean(0)) < 0.05
    np.testing.assert_allclose(np.linalg.norm(centered, axis=1), 1, atol=1e-6)
    # Against the plain formula: of many rows all of the mean is taken.
    plain = vectors - vectors.mean(0)
    np.testing.assert_allclose(centered, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-3)


def test_of_a_few_texts_without_anything_in_common_nothing_is_taken():
    vectors = np.eye(5, dtype=np.float32)
    np.testing.assert_allclose(centered_rows(vectors), vectors, atol=1e-12)
    assert not common_part(vectors[:1]).any() and not common_part(np.zeros((3, 4), np.float32)).any()


def test_the_part_taken_is_right_on_average():
    """|common part|^2 estimates the squared length of the true mean: without shrinkage it is 1/n too large."""
    rng = np.random.default_rng(0)
    for true in (0.0, 0.3):
        means = []
        for _ in range(300):
            points = rng.normal(size=(20, 200))
            points = np.sqrt(1 - true**2) * points / np.linalg.norm(points, axis=1, keepdims=True)
            points[:, 0] += true
            means.append(common_part(points.astype(np.float32)) @ points.mean(0))
        assert np.mean(means) == pytest.approx(true**2, abs=0.015)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.floats(0, 5))
def test_rows_stay_rows(seed, rows, height):
    vectors = cone(rows, 6, height, seed)
    vectors[0] = 0
    vectors = np.concatenate([vectors, vectors])
    centered = centered_rows(vectors)
    assert not centered[0].any() and centered.dtype == np.float32
    np.testing.assert_array_equal(centered[:rows], centered[rows:])  # equal rows stay equal
    lengths = np.linalg.norm(centered, axis=1)
    assert ((np.abs(lengths - 1) < 1e-5) | (lengths == 0)).all()
    order = np.random.default_rng(seed).permutation(len(vectors))
    np.testing.assert_allclose(centered_rows(vectors[order]), centered[order], atol=1e-4)


def test_equal_rows_are_not_made_of_rounding():
    assert not centered_rows(np.repeat(cone(1, 8, 2.0), 50, axis=0)).any()


class Cone:
    """Three kinds of texts in a narrow cone, as encoders of today have them."""

    name = "cone"

    def encode(self, texts, *, progress=True):
        rng = np.random.default_rng(1)
        axes, common = rng.normal(size=(3, 64)), rng.normal(size=64) * 6
        rows = [common + 0.5 * axes[int(t[0])] + 0.5 * np.random.default_rng(int(t[2:])).normal(size=64) for t in texts]
        return unit_rows(np.array(rows, dtype=np.float32))


def test_rows_drawn_at_random_are_labeled_by_their_texts_and_not_by_the_counts_of_the_classes():
    """In a cone the unpenalized intercept follows the counts: all rows get the labels that are frequent."""
    counts = [14, 4, 2]
    numbers = [(kind, 100 * kind + i) for kind in range(3) for i in range(counts[kind])]
    labeled = Dataset.from_dict({"text": [f"{k} {n}" for k, n in numbers], "label": [k for k, _ in numbers]})
    pool = [(kind, 10_000 + 300 * kind + i) for kind in range(3) for i in range(100)]
    texts = [f"{k} {n}" for k, n in pool]
    gold = np.array([k for k, _ in pool])
    raw = Cone().encode(labeled["text"][:] + texts)
    before = LogisticRegression(C=10).fit(raw[:20], labeled["label"][:]).predict(raw[20:])
    assert (before == gold).mean() < 0.6
    for method in ("linear", "linear_smoothed"):
        found = textpl.label(labeled, Dataset.from_dict({"text": texts}), encoder=Cone(), method=method, progress=False)
        assert (found.labels == gold).mean() > 0.9, method


def test_neighbors_around_the_mean_are_measured_in_the_cone():
    vectors = cone(200, 16, 2.0)
    graph = measured_by(neighbor_graph(centered_rows(vectors), 7, progress=False), vectors)
    cosines = np.einsum("nd,nkd->nk", vectors, vectors[graph.ids])
    np.testing.assert_allclose(graph.sims, cosines, atol=1e-6)
    assert (np.diff(graph.sims) <= 0).all() and graph.sims.min() > 0.5
