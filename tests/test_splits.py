"""Draws of labelled, dev, pool and test rows: guarantees, determinism, leaks, refusals."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.corpus import Corpus, read_corpus
from textpl.reading.labels import label_array
from textpl.splits import draw_labeled, make_split

SHARED = Path(__file__).parents[2] / "shared" / "data"
shared = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")]


def dataset(prefix: str, labels, name: str = "label") -> Dataset:
    """Rows with the texts prefix-0, prefix-1, ... so that a text tells where it came from."""
    labels = np.asarray(labels)
    feature = Value("int64") if labels.ndim == 1 else List(Value("float32"), length=labels.shape[1])
    columns = {"text": [f"{prefix}-{i}" for i in range(len(labels))], name: labels.tolist()}
    return Dataset.from_dict(columns, features=Features({"text": Value("string"), name: feature}))


def corpus_of(train, test=(0, 1), dev=None, unlabeled: Dataset | None = None) -> Corpus:
    labels = np.asarray(train)
    count = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    return Corpus(
        train=dataset("train", train),
        test=None if test is None else dataset("test", test),
        dev=None if dev is None else dataset("dev", dev),
        unlabeled=unlabeled,
        label_names=tuple("abcdefgh"[:count]),
        problem_type="multi_label_classification" if labels.ndim == 2 else "single_label_classification",
        source="memory",
        revision=None,
        fingerprint="0" * 16,
    )


def texts(rows: Dataset | None) -> set[str]:
    return set() if rows is None else set(rows["text"][:])


SIX = [0, 1, 2] * 20
# Label 2 is rare and always comes with label 0; 3 rows carry no label.
MULTI = [[1, 0, 0]] * 20 + [[0, 1, 0]] * 10 + [[1, 0, 1]] * 4 + [[0, 0, 0]] * 3
MULTI_TEST = [[1, 0, 0]]


# What is drawn


def test_labels_per_class_draws_exactly_so_many():
    split = make_split(corpus_of(SIX), seed=3, labels_per_class=4)
    assert np.bincount(label_array(split.labeled)).tolist() == [4, 4, 4]
    assert split.labeled.column_names == ["text", "label"]
    assert split.pool.column_names == ["text", "gold"]
    assert split.dev is None and split.seed == 3
    assert split.report["labeled_per_class"] == {"a": 4, "b": 4, "c": 4}
    assert split.report["sizes"] == {"labeled": 12, "dev": 0, "pool": 48, "test": 2}


def test_the_parts_are_disjoint_and_complete():
    split = make_split(corpus_of(SIX), seed=0, labeled=10, dev=7)
    parts = [texts(split.labeled), texts(split.dev), texts(split.pool)]
    assert [len(part) for part in parts] == [10, 7, 43]
    assert set.union(*parts) == texts(corpus_of(SIX).train)
    assert texts(split.test) == {"test-0", "test-1"}


def test_labels_stay_with_their_texts():
    corpus = corpus_of(SIX)
    label = dict(zip(corpus.train["text"], corpus.train["label"], strict=True))
    split = make_split(corpus, seed=5, labeled=10, dev=5)
    for rows, column in ((split.labeled, "label"), (split.dev, "label"), (split.pool, "gold")):
        assert all(label[row["text"]] == row[column] for row in rows)


def test_a_seed_gives_one_split_and_seeds_differ():
    corpus = corpus_of(SIX, test=[0, 1] * 10)
    draws = [make_split(corpus, seed=seed, labeled=9, dev=5, pool=20, test=6) for seed in (1, 1, 2)]
    for part in ("labeled", "dev", "pool"):
        first, again, other = (getattr(draw, part)["text"][:] for draw in draws)
        assert first == again != other
    assert draws[0].report == draws[1].report


def test_test_rows_do_not_depend_on_the_seed():
    corpus = corpus_of(SIX, test=[0, 1] * 10)
    drawn = [make_split(corpus, seed=seed, labeled=9, test=6).test["text"][:] for seed in range(3)]
    assert len(drawn[0]) == 6 and drawn[0] == drawn[1] == drawn[2]
    assert set(drawn[0]) < texts(make_split(corpus, seed=0, labeled=9, test=7).test)


def test_holdout_when_there_is_no_test_set():
    corpus = corpus_of(SIX, test=None)
    splits = [make_split(corpus, seed=seed, labels_per_class=2, test=15) for seed in range(3)]
    assert len({frozenset(texts(split.test)) for split in splits}) == 1
    for split in splits:
        assert not texts(split.test) & (texts(split.labeled) | texts(split.pool))
        assert (len(split.test), len(split.pool)) == (15, 39)
    assert splits[0].report["sources"]["test"] == "held out of train"


def test_dev_file_and_unlabeled_file_come_first():
    unlabeled = dataset("more", SIX, "gold")
    corpus = corpus_of(SIX, dev=[0, 1, 2] * 4, unlabeled=unlabeled)
    split = make_split(corpus, seed=0, labeled=6, dev=5, pool=30)
    assert texts(split.dev) < texts(corpus.dev) and texts(split.pool) < texts(unlabeled)
    assert (len(split.dev), len(split.pool)) == (5, 30)
    assert split.report["sources"] == {"dev": "dev", "pool": "unlabeled", "test": "test"}


def test_unlabeled_without_gold():
    corpus = corpus_of(SIX, unlabeled=dataset("more", SIX, "gold").remove_columns("gold"))
    assert make_split(corpus, seed=0, labeled=6).pool.column_names == ["text"]
    both = make_split(corpus, seed=0, labeled=6, include_labeled_in_pool=True)
    assert both.pool.column_names == ["text"] and len(both.pool) == 66


def test_labeled_rows_in_the_pool():
    split = make_split(corpus_of(SIX), seed=0, labeled=6, pool=20, include_labeled_in_pool=True)
    assert texts(split.labeled) < texts(split.pool)
    assert split.pool.column_names == ["text", "gold"] and len(split.pool) == 26
    assert split.report["overlap"]["labeled_in_pool"] == 6


def test_report_is_json():
    for corpus in (corpus_of(SIX), corpus_of(MULTI, MULTI_TEST)):
        report = make_split(corpus, seed=0, labeled=10, dev=5).report
        assert json.loads(json.dumps(report)) == report


# Guarantees of the labelled draw


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_label_has_its_minimum(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rows, count = data.draw(st.integers(5, 60)), data.draw(st.integers(1, 5))
    multi = data.draw(st.booleans()) or count == 1
    if multi:
        labels = (rng.random((rows, count)) < data.draw(st.floats(0.05, 0.9))).astype(np.float32)
        positives = labels.sum(0)
    else:
        labels = rng.integers(0, count, rows)
        positives = np.bincount(labels, minlength=count)
    least = data.draw(st.integers(0, 4))
    names = [f"n{k}" for k in range(count)]
    if positives.min() < least:
        short = names[int(np.argmax(positives < least))]
        with pytest.raises(ValueError, match=f"class '{short}' has"):
            draw_labeled(labels, np.arange(rows), rows, least, names, rng)
        return
    drawn = draw_labeled(labels, np.arange(rows), None, least, names, rng).rows
    total = data.draw(st.integers(len(drawn), rows))
    # The fill of another generator may need more rows than that of the first one, never more than rows.
    try:
        draw = draw_labeled(labels, np.arange(rows), total, least, names, rng)
    except ValueError as error:
        assert "is too few" in str(error)
        return
    assert len(draw.rows) == len(set(draw.rows.tolist())) == total
    chosen = labels[draw.rows]
    assert (chosen.sum(0) if multi else np.bincount(chosen, minlength=count)).min() >= least
    assert set().union(*draw.filled.values()) <= set(draw.rows.tolist())


def test_multi_label_fills_the_rarest_label_first():
    split = make_split(corpus_of(MULTI, MULTI_TEST), seed=0, labeled=12, min_per_class=2)
    sampling = split.report["sampling"]
    # Two rows of the rare label c bring two of a along: a itself needs none.
    assert {name: len(rows) for name, rows in sampling["filled_rows"].items()} == {"c": 2, "b": 2}
    assert all(30 <= row < 34 for row in sampling["filled_rows"]["c"])
    assert sampling["how"] == "4 rows drawn, rarest label first, to give each label 2; 8 uniformly at random"
    labels = label_array(split.labeled)
    assert labels.sum(0).min() >= 2 and len(labels) == 12
    assert sampling["train_prior"]["c"] == pytest.approx(4 / 37)
    assert sampling["labeled_prior"]["c"] == pytest.approx(labels[:, 2].mean())
    shift = np.abs(labels.mean(0) - np.array(MULTI).mean(0)).max()
    assert sampling["largest_prior_shift"] == pytest.approx(shift)


def test_multi_label_labels_per_class_draws_no_random_rest():
    split = make_split(corpus_of(MULTI, MULTI_TEST), seed=0, labels_per_class=3)
    assert len(split.labeled) == 6
    assert label_array(split.labeled).sum(0).tolist() == [3, 3, 3]


def test_min_per_class_zero_is_a_uniform_draw():
    split = make_split(corpus_of(MULTI, MULTI_TEST), seed=0, labeled=5, min_per_class=0)
    assert split.report["sampling"]["filled_rows"] == {} and len(split.labeled) == 5


# Leaks


def test_pool_texts_of_the_test_and_the_labelled_set_are_removed(caplog):
    corpus = corpus_of(SIX)
    train = corpus.train["text"][:]
    split = make_split(corpus, seed=0, labeled=6)
    twin, leak = train.index(split.pool["text"][0]), train.index(split.pool["text"][1])
    train[twin] = f" {split.labeled['text'][0].upper()}"
    changed = corpus.train.remove_columns("text").add_column("text", train)
    test = Dataset.from_dict({"text": [train[leak].upper(), "new"], "label": [0, 1]})
    with caplog.at_level(logging.WARNING):
        again = make_split(replace(corpus, train=changed, test=test), seed=0, labeled=6)
    assert len(again.pool) == len(split.pool) - 2
    assert not {train[twin], train[leak]} & texts(again.pool)
    assert again.report["overlap"]["pool_in_test_removed"] == again.report["overlap"]["pool_in_labeled_removed"] == 1
    assert "pool: removed 1 rows with a text of the test set, 1 of the labelled set" in caplog.text


def test_labelled_and_dev_texts_in_the_test_set_are_counted(caplog):
    corpus = corpus_of(SIX)
    split = make_split(corpus, seed=0, labeled=6, dev=3)
    leaked = [*split.labeled["text"][:2], split.dev["text"][0]]
    test = Dataset.from_dict({"text": leaked, "label": [0, 1, 0]})
    again = make_split(replace(corpus, test=test), seed=0, labeled=6, dev=3, include_labeled_in_pool=True)
    assert (again.report["overlap"]["labeled_in_test"], again.report["overlap"]["dev_in_test"]) == (2, 1)
    assert "labeled_in_test: 2 rows" in caplog.text
    # Labelled rows stay labelled, but those in the test set do not join the pool.
    assert len(again.labeled) == 6 and again.report["overlap"]["labeled_in_pool"] == 4


def test_the_pool_size_is_met_after_removal():
    corpus = corpus_of(SIX)
    leaked = make_split(corpus, seed=0, labeled=6).pool["text"][:3]
    test = Dataset.from_dict({"text": leaked, "label": [0, 1, 0]})
    assert len(make_split(replace(corpus, test=test), seed=0, labeled=6, pool=20).pool) == 20


# Refusals


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, "give labels_per_class or labeled, not neither"),
        ({"labeled": 5, "labels_per_class": 1}, "give labels_per_class or labeled, not both"),
        ({"labels_per_class": 0}, "labels_per_class=0 must be 1 or more"),
        ({"labeled": 5, "dev": -1}, "dev=-1 must be 0 or more"),
        ({"labeled": 5, "pool": 0}, "pool=0 must be 1 or more"),
        ({"labels_per_class": 21}, "class 'a' has 20 rows in train, 21 are wanted of each class"),
        ({"labeled": 62, "min_per_class": 21}, "class 'a' has 20 rows in train, 21 are wanted"),
        ({"labeled": 2}, "labeled=2 is too few: 3 rows were drawn to give each of 3 classes 1"),
        ({"labeled": 61}, "labeled=61, but train has only 60 rows"),
        ({"labeled": 6, "dev": 55}, "dev=55, but there are only 54 rows"),
        ({"labeled": 6, "dev": 50, "pool": 5}, "pool=5, but 4 rows are left for the pool: 4 less 0 in the test set"),
        ({"labeled": 60}, "pool=None, but 0 rows are left for the pool.*Lower labeled"),
        ({"labeled": 6, "test": 3}, "test=3, but there are only 2 rows to draw test rows from"),
    ],
)
def test_sizes_that_cannot_be_met(sizes, message):
    with pytest.raises(ValueError, match=message):
        make_split(corpus_of(SIX), seed=0, **sizes)


def test_no_test_set():
    with pytest.raises(ValueError, match="memory has no test set: add a test file, or pass test=N to hold"):
        make_split(corpus_of(SIX, test=None), seed=0, labeled=6)
    with pytest.raises(ValueError, match="test=61, but there are only 60 rows"):
        make_split(corpus_of(SIX, test=None), seed=0, labeled=6, test=61)


def test_a_class_without_examples_cannot_be_drawn():
    corpus = replace(corpus_of(SIX), label_names=("a", "b", "c", "d"), empty_classes=("d",))
    with pytest.raises(ValueError, match="class 'd' has 0 rows in train, 1 are wanted"):
        make_split(corpus, seed=0, labeled=10)
    assert make_split(corpus, seed=0, labeled=10, min_per_class=0).report["labeled_per_class"]["d"] == 0


# Real data


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        pytest.param("ag_news", {"labels_per_class": 25, "dev": 100, "pool": 5000, "test": 1000}, marks=shared),
        pytest.param("goemotions", {"labeled": 1000, "min_per_class": 5, "dev": 500}, marks=shared),
        pytest.param("sst2", {"labels_per_class": 10}, marks=shared),
        pytest.param("online_shopping_10_cats", {"labeled": 40, "pool": 2000}, marks=shared),
    ],
)
def test_real_data(tmp_path, monkeypatch, name, sizes):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    split = make_split(read_corpus(SHARED / name), seed=7, **sizes)
    counts = split.report["labeled_per_class"].values()
    assert min(counts) >= sizes.get("labels_per_class", sizes.get("min_per_class", 1))
    assert not texts(split.pool) & texts(split.test)
    assert not texts(split.pool) & texts(split.labeled)
    drawn = {"pool": len(split.pool), "test": len(split.test), "dev": len(split.dev or ())}
    assert all(drawn[part] == size for part, size in sizes.items() if part in drawn)
