"""Out-of-sample probabilities: folds, the linear head against scikit-learn, calibration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from textpl.cleaning.out_of_sample import STRENGTH, calibrated, out_of_sample, stratified_folds


def unit(rows, dim, seed=0):
    x = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 80), st.integers(1, 6), st.integers(2, 5), st.integers(2, 30))
def test_folds_keep_groups_together_and_spread_labels(seed, rows, labels, folds, number):
    rng = np.random.default_rng(seed)
    targets = (rng.random((rows, labels)) < rng.uniform(0.02, 0.5, labels)).astype(np.float32)
    groups = rng.integers(0, number, rows)
    groups[:2] = [10**6, 10**6 + 1]  # at least two, numbered with gaps
    fold = stratified_folds(targets, groups, folds, seed)
    assert fold.shape == (rows,) and fold.min() >= 0 and fold.max() < folds
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    sizes = np.bincount([fold[groups == group][0] for group in np.unique(groups)], minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    alone = stratified_folds(targets, None, folds, seed)
    if targets.any():
        # The rarest label's rows come first in the deal, so they are in as many folds as can be.
        counts = np.where(targets.any(0), targets.sum(0), np.inf)
        rows_of = np.flatnonzero(targets[:, counts.argmin()])
        in_folds = np.bincount(alone[rows_of], minlength=folds)
        assert in_folds.max() - in_folds.min() <= 1
    np.testing.assert_array_equal(alone, stratified_folds(targets, None, folds, seed))


def test_labels_with_two_rows_are_in_two_folds():
    targets = np.zeros((40, 12))
    for k in range(12):
        targets[[k, 20 + k], k] = 1
    fold = stratified_folds(targets, None, 5, 0)
    assert all(fold[k] != fold[20 + k] for k in range(12))


@pytest.mark.parametrize(("groups", "folds"), [([0, 0, 0], 5), ([0, 1, 2], 1)])
def test_too_few_groups_or_folds(groups, folds):
    with pytest.raises(ValueError, match="at least two"):
        stratified_folds(np.eye(3), np.array(groups), folds, 0)


def test_multi_label_head_is_scikit_learns():
    x = unit(300, 6)
    y = (np.random.default_rng(1).random((300, 2)) < 1 / (1 + np.exp(-6 * x[:, :2]))).astype(np.int8)
    fold = stratified_folds(y.astype(np.float32), None, 3, 0)
    z = np.empty(y.shape)
    for part in range(3):
        inside = fold != part
        for k in range(2):
            z[~inside, k] = (
                LogisticRegression(C=STRENGTH[True]).fit(x[inside], y[inside, k]).decision_function(x[~inside])
            )
    np.testing.assert_allclose(out_of_sample(x, y, folds=3, progress=False), calibrated(z, y), atol=5e-3)


def test_single_label_head_is_scikit_learns():
    x = unit(300, 6)
    labels = (x[:, :3] + 0.3 * np.random.default_rng(1).standard_normal((300, 3))).argmax(1)
    fold = stratified_folds(np.eye(3)[labels], None, 3, 0)
    z = np.empty((300, 3))
    for part in range(3):
        inside = fold != part
        z[~inside] = LogisticRegression(C=STRENGTH[False]).fit(x[inside], labels[inside]).decision_function(x[~inside])
    p = out_of_sample(x, labels, folds=3, progress=False)
    np.testing.assert_allclose(p, calibrated(z, labels), atol=5e-3)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


def test_calibration_mends_logits_that_are_too_large():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((6000, 3)) - 1
    y = (rng.random(z.shape) < 1 / (1 + np.exp(-z))).astype(np.int8)
    p = calibrated(3 * z + 1, y)
    for low in (0.1, 0.3, 0.5):
        inside = (p >= low) & (p < low + 0.15)
        assert y[inside].mean() == pytest.approx(p[inside].mean(), abs=0.03)
    labels = (z - np.log(-np.log(rng.random(z.shape)))).argmax(1)  # Gumbel noise: softmax of z
    p = calibrated(1.8 * z, labels)
    right = p.argmax(1) == labels
    assert p.max(1).mean() == pytest.approx(right.mean(), abs=0.02)


def test_duplicates_do_not_leak():
    """Labels without a rule: who has seen a copy of the row knows its label."""
    x = np.repeat(unit(150, 300), 2, axis=0)
    y = np.repeat(np.random.default_rng(2).integers(0, 2, (150, 2)), 2, axis=0).astype(np.int8)
    grouped = out_of_sample(x, y, groups=np.arange(300) // 2, progress=False)
    leaky = out_of_sample(x, y, progress=False)
    score = lambda p: average_precision_score(y.ravel(), p.ravel())  # noqa: E731
    assert score(grouped) < 0.6 < score(leaky) - 0.1


def test_absent_always_given_and_rare_labels():
    x = unit(200, 5)
    y = np.zeros((200, 4), np.int8)
    y[:, 1] = 1
    y[[3, 150], 2] = 1
    y[x[:, 0] > 0, 3] = 1
    p = out_of_sample(x, y, progress=False)
    assert p.dtype == np.float32 and np.isfinite(p).all()
    assert (p[:, 0] == 0).all() and (p[:, 1] > 0.9).all() and p[:, 2].max() < 0.5
    assert ((p[:, 3] > 0.5) == (y[:, 3] == 1)).mean() > 0.9
    labels = np.where(x[:, 0] > 0, 2, 0)
    p = out_of_sample(x, labels, num_labels=5, progress=False)
    assert p.shape == (200, 5) and (p[:, [1, 3, 4]] == 0).all()
    assert (p.argmax(1) == labels).mean() > 0.9


def test_two_rows_and_inputs_stay_as_they_are():
    x, y = unit(2, 3), np.array([[1, 0], [0, 1]], np.int8)
    before = x.copy()
    p = out_of_sample(x, y, progress=False)
    assert p.shape == (2, 2) and np.isfinite(p).all()
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(p, out_of_sample(x, y, progress=False))
