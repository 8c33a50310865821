"""Hold-outs keep the shares of the labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.stratified import stratified_rows


def multi_hot(seed, rows=600, labels=8):
    """Correlated labels at rates from .4 down to .01."""
    rng = np.random.default_rng(seed)
    mood = rng.normal(size=(rows, 1))
    rates = np.geomspace(0.4, 0.01, labels)
    return (rng.normal(size=(rows, labels)) + mood * np.linspace(-1, 1, labels) > -np.log(rates)).astype(np.float32)


def test_classes_keep_their_shares():
    labels = np.repeat([0, 1, 2, 3], [600, 300, 90, 10])
    for seed in range(5):
        rows = stratified_rows(labels, 100, np.random.default_rng(seed))
        assert np.bincount(labels[rows]).tolist() == [60, 30, 9, 1]
        assert len(set(rows.tolist())) == 100 and (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, stratified_rows(labels, 100, np.random.default_rng(9)))


def test_every_class_that_can_be_is_there():
    labels = np.repeat([0, 1, 2, 3], [990, 7, 2, 1])
    rows = stratified_rows(labels, 40, np.random.default_rng(0))
    assert np.bincount(labels[rows], minlength=4).tolist() == [38, 1, 1, 0], "the only row of a class stays in train"
    # Of many classes in few rows, one of each would push the frequent ones out.
    zipf = np.repeat(np.arange(150), np.maximum(1800 // np.arange(1, 151), 4))
    for size in (150, 200, 1000):
        top = (zipf[stratified_rows(zipf, size, np.random.default_rng(0))] == 0).mean()
        assert top == pytest.approx((zipf == 0).mean(), abs=0.03), size
    assert len(stratified_rows(labels, 1000, np.random.default_rng(0))) == 1000


@pytest.mark.parametrize("size", [40, 150, 400])
def test_labels_keep_their_shares(size):
    ours, random = [], []
    for seed in range(8):
        labels, rng = multi_hot(seed), np.random.default_rng(seed)
        rows = stratified_rows(labels, size, rng)
        assert len(set(rows.tolist())) == size
        assert (labels[rows].any(0) | (labels.sum(0) < 2)).all()
        expected = labels.mean(0) * size
        ours.append(np.abs(labels[rows].sum(0) - expected).max())
        random.append(np.abs(labels[rng.permutation(600)[:size]].sum(0) - expected).max())
    assert np.mean(ours) < 1.5 < np.mean(random)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(1, 39), st.booleans(), st.integers(0, 10**6))
def test_any_size_of_any_labels(count, size, multi, seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, 4)) < 0.3).astype(np.float32) if multi else rng.integers(0, 4, count)
    rows = stratified_rows(labels, min(size, count), np.random.default_rng(seed))
    assert len(set(rows.tolist())) == min(size, count) and rows.min() >= 0 and rows.max() < count
    assert np.array_equal(rows, stratified_rows(labels, min(size, count), np.random.default_rng(seed)))
