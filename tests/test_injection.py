"""Noise that is put in: how much, of what kind, reproducible, and refused where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from textpl.cleaning.injection import confusable, inject_noise

KINDS = ("missing", "spurious", "swap", "symmetric")


def multi_labels(rows=4000, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((rows, 5)) < [0.5, 0.3, 0.2, 0.1, 0.02]).astype(np.int8)


def vectors_of(labels, seed=0):
    """Rows near the mean of their labels' directions; neighbouring labels have similar ones."""
    rng = np.random.default_rng(seed)
    angle = np.arange(labels.shape[1]) * 0.7
    x = labels @ np.stack([np.cos(angle), np.sin(angle)], axis=1) + rng.normal(0, 0.1, (len(labels), 2))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_missing_takes_labels_away_and_adds_none():
    clean = multi_labels()
    noisy = inject_noise(clean, "missing", 0.3, seed=1)
    assert noisy.dtype == clean.dtype and not ((clean == 0) & (noisy == 1)).any()
    lost = 1 - noisy[clean == 1].mean()
    assert lost == pytest.approx(0.3, abs=0.02)


def test_spurious_adds_an_exact_number_by_frequency():
    clean = multi_labels()
    noisy = inject_noise(clean, "spurious", 0.2, seed=1)
    added = (clean == 0) & (noisy == 1)
    assert not ((clean == 1) & (noisy == 0)).any()
    assert added.sum() == int(0.2 * clean.sum())
    assert added.sum(0)[1] > 2 * added.sum(0)[3] > added.sum(0)[4]


@pytest.mark.parametrize("task", ["multi", "single"])
def test_swaps_go_to_similar_labels(task):
    clean = np.eye(5, dtype=np.int8)[np.random.default_rng(0).integers(0, 5, 6000)]
    vectors, weights = vectors_of(clean), confusable(clean, vectors_of(clean))
    labels = clean if task == "multi" else clean.argmax(1)
    noisy = inject_noise(labels, "swap", 0.2, vectors=vectors, seed=2)
    onehot = noisy if task == "multi" else np.eye(5, dtype=np.int8)[noisy]
    assert (onehot.sum(1) == 1).all()
    moved = (onehot != clean).any(1)
    counts = np.zeros((5, 5))
    np.add.at(counts, (clean[moved].argmax(1), onehot[moved].argmax(1)), 1)
    assert moved.mean() == pytest.approx(0.2, abs=0.08)
    np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), weights, atol=0.08)
    rates = counts.sum(1) / clean.sum(0)
    assert rates.min() > 0.08 and rates.max() < 0.32 and rates.max() > rates.min() + 0.02


def test_a_swap_onto_a_label_the_row_has_changes_nothing():
    clean = np.ones((50, 3), np.int8)
    vectors = vectors_of(clean)
    np.testing.assert_array_equal(inject_noise(clean, "swap", 0.9, vectors=vectors), clean)


def test_symmetric():
    clean = multi_labels()
    flipped = inject_noise(clean, "symmetric", 0.1) != clean
    assert flipped.mean() == pytest.approx(0.1, abs=0.01)
    ids = np.random.default_rng(0).integers(0, 4, 8000)
    noisy = inject_noise(ids, "symmetric", 0.4)
    assert (noisy != ids).mean() == pytest.approx(0.4, abs=0.02)
    shift = np.bincount((noisy - ids) % 4, minlength=4)[1:] / (noisy != ids).sum()
    np.testing.assert_allclose(shift, 1 / 3, atol=0.03)


def test_confusable_against_a_loop():
    clean = multi_labels(300)
    clean[:, 4] = 0
    vectors = vectors_of(np.maximum(clean, [0, 0, 0, 0, 1]))
    found = confusable(clean, vectors)
    centroids = np.array([vectors[clean[:, k] == 1].mean(0) if clean[:, k].any() else 0 * vectors[0] for k in range(5)])
    centroids = centroids - vectors.mean(0)
    for a in range(4):
        cosine = {
            b: centroids[a] @ centroids[b] / np.linalg.norm(centroids[a]) / np.linalg.norm(centroids[b])
            for b in range(4)
            if b != a
        }
        weights = {b: np.exp(5 * c) for b, c in cosine.items()}
        for b in range(5):
            assert found[a, b] == pytest.approx(weights.get(b, 0) / sum(weights.values()))
    assert not found[4].any(), "nobody has label 4"


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_the_input_stays(kind):
    clean = multi_labels(500)
    kept, vectors = clean.copy(), vectors_of(np.maximum(clean, [1, 0, 0, 0, 0]))
    a, b, c = (inject_noise(clean, kind, 0.3, vectors=vectors, seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()
    np.testing.assert_array_equal(clean, kept)
    np.testing.assert_array_equal(inject_noise(clean, kind, 0.0, vectors=vectors), clean)


@pytest.mark.parametrize(
    ("labels", "kind", "rate", "message"),
    [
        (np.zeros((3, 2), int), "typo", 0.1, "multi-label has missing, spurious, swap, symmetric"),
        (np.zeros(3, int), "missing", 0.1, "single-label has swap, symmetric"),
        (np.zeros((3, 2), int), "missing", 1.0, "rate=1.0"),
        (np.zeros((3, 2), int), "swap", 0.1, "vectors of the 3 rows"),
        (np.ones((3, 2), int), "spurious", 0.5, "asks for 3 more labels, but only 0"),
        (np.zeros(3, int), "symmetric", 0.5, "two classes"),
    ],
)
def test_what_cannot_be_is_refused(labels, kind, rate, message):
    with pytest.raises(ValueError, match=message):
        inject_noise(labels, kind, rate)
