"""Folds and hold-outs of whole groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from textpl.group_folds import group_folds, group_hold_out, group_ids, labels_in_one_group


def documents(seed, count=60, classes=4, multi=False):
    """Documents of 3 to 20 windows with a label each (a window may have another), classes of unequal shares."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), rng.integers(3, 21, count))
    labels = rng.choice(classes, count, p=[0.5, 0.3, 0.15, 0.05])[groups]
    other = rng.random(len(groups)) < 0.2
    labels[other] = rng.integers(0, classes, other.sum())
    return groups, np.eye(classes, dtype=np.int8)[labels] | (rng.random((len(groups), 4)) < 0.1) if multi else labels


def uneven(fold, labels):
    """Mean distance of the label rates of a fold from those of all rows."""
    hot = labels if labels.ndim == 2 else np.eye(labels.max() + 1)[labels]
    return np.mean([np.abs(hot[fold == part].mean(0) - hot.mean(0)).mean() for part in np.unique(fold)])


@pytest.mark.parametrize("multi", [False, True])
def test_groups_stay_whole_and_labels_are_spread(multi):
    ours, random = [], []
    for seed in range(10):
        groups, labels = documents(seed, multi=multi)
        fold = group_folds(groups, labels, 5, seed)
        assert np.array_equal(fold, group_folds(groups, labels, 5, seed))
        assert all(len(set(fold[groups == group])) == 1 for group in set(groups))
        sizes = np.bincount(fold, minlength=5)
        assert sizes.min() > 0.7 * len(groups) / 5 and sizes.max() < 1.35 * len(groups) / 5
        ours.append(uneven(fold, labels))
        random.append(uneven(np.random.default_rng(seed).permutation(np.arange(60) % 5)[groups], labels))
    assert np.mean(ours) < 0.5 * np.mean(random)


def test_about_as_even_as_scikit_learn():
    ours, theirs = [], []
    for seed in range(10):
        groups, labels = documents(seed)
        ours.append(uneven(group_folds(groups, labels, 5, seed), labels))
        fold = np.empty(len(groups), dtype=int)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for part, (_, held) in enumerate(splitter.split(groups, labels, groups)):
            fold[held] = part
        theirs.append(uneven(fold, labels))
    assert np.mean(ours) < 1.2 * np.mean(theirs)


def test_every_class_is_in_every_fold_where_that_can_be():
    groups, labels = np.repeat(np.arange(40), 5), np.repeat(np.arange(40) // 10, 5)
    fold = group_folds(groups, labels, 5, 0)
    assert np.array_equal(np.bincount(fold * 4 + labels), [10] * 20)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.integers(2, 6), st.integers(1, 4), st.integers(0, 10**6))
def test_no_fold_is_empty(count, folds, classes, seed):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(count), rng.integers(0, count, 30)])
    labels = rng.integers(0, classes, len(groups))
    if folds > count:
        with pytest.raises(ValueError, match="as many groups as folds"):
            group_folds(groups, labels, folds, seed)
        return
    fold = group_folds(groups, labels, folds, seed)
    assert sorted(set(fold)) == list(range(folds)) and len(set(zip(groups, fold, strict=True))) == count


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 150), st.booleans(), st.integers(0, 10**6))
def test_hold_out_is_of_whole_groups_and_of_size(size, multi, seed):
    groups, labels = documents(seed, count=12, multi=multi)
    try:
        held = group_hold_out(groups, labels, size, seed)
    except ValueError as error:
        assert "ask for fewer" in str(error) and size > len(groups) / 2
        return
    assert held.sum() >= size and not set(groups[held]) & set(groups[~held]) and not held.all()
    # Without its smallest group it would be too small, give or take the stratification.
    assert held.sum() < size + 3 * np.bincount(groups).max()


def test_hold_out_keeps_the_shares_of_the_labels():
    groups, labels = np.repeat(np.arange(100), 4), np.repeat(np.arange(100) % 10 == 0, 4).astype(int)
    held = group_hold_out(groups, labels, 80, 1)
    assert held.sum() == 80 and labels[held].sum() == 8


def test_names_of_groups():
    assert group_ids(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert group_ids(np.array(["b", 1, "b"], dtype=object)).tolist() == [1, 0, 1]
    assert group_ids([7, 3]).dtype == np.int64
    for missing in (["a", None], np.array([1.0, np.nan]), ["a", float("nan")]):
        values = np.array(missing, dtype=object) if isinstance(missing, list) else missing
        with pytest.raises(ValueError, match="row 1 has none"):
            group_ids(values, "doc")
    with pytest.raises(ValueError, match="one name or number per row"):
        group_ids([[1], [2]])


def test_refusals():
    with pytest.raises(ValueError, match="All rows are of one group"):
        group_hold_out([0, 0, 0], [0, 1, 0], 1, 0)
    with pytest.raises(ValueError, match="3 groups for 2 rows"):
        group_folds([0, 1, 2], [0, 1], 2, 0)
    assert labels_in_one_group([0, 0, 1, 1], [0, 1, 0, 0]) == [1]
    assert labels_in_one_group([0, 0, 1], [[1, 0, 0], [0, 1, 0], [1, 0, 0]]) == [1]
