"""Confident learning through cleanlab: its flags and scores come back unchanged, and nothing crashes."""

import numpy as np
import pytest

cleanlab = pytest.importorskip("cleanlab")

from textpl.cleaning.confident import FILTERS, detect_confident  # noqa: E402


def single(seed=0, rows=400, classes=4, wrong=0.15):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    p = rng.dirichlet(np.ones(classes), rows) + 2 * np.eye(classes)[truth]
    p /= p.sum(axis=1, keepdims=True)
    bad = rng.random(rows) < wrong
    return np.where(bad, (truth + 1) % classes, truth), truth, p


def multi(seed=0, rows=300, labels=5):
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, labels)) < 0.3).astype(np.int8)
    p = np.clip(0.15 + 0.7 * truth + rng.normal(0, 0.1, truth.shape), 0.01, 0.99)
    flips = rng.random(truth.shape) < 0.08
    return np.where(flips, 1 - truth, truth).astype(np.int8), truth, p


@pytest.mark.parametrize("filter_by", FILTERS)
def test_single_label_is_what_cleanlab_says(filter_by):
    labels, _, p = single()
    found = detect_confident(labels, p, filter_by=filter_by)
    wanted = cleanlab.filter.find_label_issues(labels, p, filter_by=filter_by, n_jobs=1)
    assert found.flagged.any()
    np.testing.assert_array_equal(found.flagged, wanted)
    np.testing.assert_allclose(found.p_error, 1 - p[np.arange(len(p)), labels], atol=1e-6)
    assert (found.suggested[found.flagged] != labels[found.flagged]).all()
    assert (found.suggested[~found.flagged] == labels[~found.flagged]).all()
    assert not found.multi


def test_suggestions_are_right_for_clear_errors():
    labels, truth, p = single()
    found = detect_confident(labels, p)
    assert (found.suggested == truth).mean() > (labels == truth).mean() + 0.1


def test_multi_label_is_what_cleanlab_says_per_class():
    labels, truth, p = multi()
    found = detect_confident(labels, p)
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    wanted = find_multilabel_issues_per_class([np.flatnonzero(r).tolist() for r in labels], p, n_jobs=1)
    np.testing.assert_array_equal(found.flagged, wanted)
    np.testing.assert_allclose(found.p_error, np.where(labels == 1, 1 - p, p), atol=1e-6)
    assert found.suggested.dtype == np.int8
    assert (found.suggested == truth).mean() > (labels == truth).mean()


def test_labels_never_or_always_given_are_skipped():
    labels, _, p = multi()
    alone = detect_confident(labels[:, 2:], p[:, 2:])
    labels[:, 0], labels[:, 1] = 0, 1
    found = detect_confident(labels, p)
    assert found.info["skipped"] == [0, 1]
    assert not found.flagged[:, :2].any()
    np.testing.assert_array_equal(found.flagged[:, 2:], alone.flagged)


def test_one_label_only_and_rare_labels():
    labels, _, p = multi(labels=1)
    assert detect_confident(labels, p).flagged.shape == labels.shape
    labels, _, p = multi()
    labels[:, 3] = 0
    labels[:2, 3] = 1
    assert np.isfinite(detect_confident(labels, p).p_error).all()


def test_single_label_class_never_given_and_all_the_same():
    labels, _, p = single()
    labels[labels == 3] = 0
    assert detect_confident(labels, p).p_error.shape == labels.shape
    assert not detect_confident(np.zeros(len(p), int), p).flagged.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, p: (z[:-1], p), "do not fit"),
        (lambda z, p: (z, np.where(np.arange(len(p))[:, None] == 7, np.nan, p)), "Row 7"),
        (lambda z, p: (z + 4, p), "from 0 to 3"),
        (lambda z, p: (np.full(p.shape, 2), p), "0/1"),
    ],
)
def test_bad_input_is_named(change, message):
    labels, _, p = single()
    with pytest.raises(ValueError, match=message):
        detect_confident(*change(labels, p))


def test_unknown_filter():
    labels, _, p = single()
    with pytest.raises(ValueError, match="filter_by"):
        detect_confident(labels, p, filter_by="magic")


def test_missing_cleanlab_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cleanlab", None)
    labels, _, p = single()
    with pytest.raises(ImportError, match=r"pip install textpl\[cleanlab\]"):
        detect_confident(labels, p)
