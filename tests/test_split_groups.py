"""Splits of whole groups: documents cut into windows, several texts of one author."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset
from test_splits import corpus_of, dataset

from textpl.reading.labels import label_array
from textpl.splits import draw_labeled, make_split


def windows(documents=24, size=10, classes=2, test=None, **parts):
    """Documents of one label each, cut into windows; a corpus with the column `doc`."""
    corpus = corpus_of(np.repeat(np.arange(documents) % classes, size), test=test, **parts)
    return replace(corpus, train=with_documents(corpus.train, np.repeat(np.arange(documents), size)))


def with_documents(rows: Dataset, documents) -> Dataset:
    return rows.add_column("doc", [f"d{document}" for document in documents])


def documents_of(split):
    parts = {"labeled": split.labeled, "dev": split.dev, "pool": split.pool, "test": split.test}
    return {name: set(rows["doc"][:]) for name, rows in parts.items() if rows is not None}


def test_no_document_is_on_two_sides():
    corpus = windows()
    for seed in range(5):
        split = make_split(corpus, seed=seed, labels_per_class=10, test=60, dev=20, groups="doc")
        sides = documents_of(split)
        assert sum(map(len, sides.values())) == len(set().union(*sides.values())), sides
        assert (len(split.labeled), len(split.test), len(split.dev)) == (20, 60, 20)
        assert np.bincount(label_array(split.test)).tolist() == [30, 30]
        assert np.bincount(label_array(split.labeled)).tolist() == [10, 10]
        assert len(split.pool) >= 50 and len(sides["labeled"]) >= 4
        report = split.report["groups"]
        assert report["column"] == "doc" and report["counts"]["test"] == 6 and report["unknown_in"] == []
        assert json.loads(json.dumps(split.report)) == split.report
    alike = [make_split(corpus, seed=seed, labeled=20, test=60, groups="doc") for seed in (1, 1, 2)]
    assert alike[0].labeled["text"][:] == alike[1].labeled["text"][:] != alike[2].labeled["text"][:]
    assert len({frozenset(documents_of(split)["test"]) for split in alike}) == 1, "test rows do not depend on the seed"
    loose = make_split(corpus, seed=0, labels_per_class=10, test=60)
    assert documents_of(loose)["test"] & documents_of(loose)["pool"], "what groups are for"


def test_documents_of_a_test_file_leave_train(caplog):
    corpus = windows()
    test = with_documents(dataset("test", [0, 1, 0]), [0, 1, 77])
    split = make_split(replace(corpus, test=test), seed=0, labeled=20, groups="doc")
    assert not documents_of(split)["pool"] & {"d0", "d1"}
    assert "20 rows of train are left out: test rows are of the same doc" in caplog.text
    # A test file without the column is told: nobody can know.
    split = make_split(replace(corpus, test=dataset("test", [0, 1])), seed=0, labeled=20, groups="doc")
    assert split.report["groups"]["unknown_in"] == ["test"]
    assert "test has no column 'doc': whether it shares groups with train cannot be told" in caplog.text


def test_a_pool_file_gives_up_the_documents_that_are_used(caplog):
    pool = with_documents(dataset("more", [0, 1] * 10, "gold"), [0, 1, 2, 99] * 5)
    split = make_split(windows(unlabeled=pool), seed=0, labeled=100, test=60, dev=20, groups="doc")
    sides = documents_of(split)
    assert not sides["pool"] & (sides["test"] | sides["labeled"] | sides["dev"]) and "d99" in sides["pool"]
    assert "of unlabeled are left out: drawn rows are of the same doc" in caplog.text


def test_a_dev_file_is_kept_apart_too():
    corpus = windows()
    split = make_split(
        replace(corpus, dev=with_documents(dataset("dev", [0, 1]), [0, 1])),
        seed=0, labeled=20, test=60, dev=1, groups="doc",
    )  # fmt: skip
    sides = documents_of(split)
    assert not sides["dev"] & (sides["test"] | sides["labeled"] | sides["pool"])


def test_labelled_rows_leave_half_of_the_documents():
    labels, groups = np.repeat([0, 1] * 12, 10), np.repeat(np.arange(24), 10)
    names, rng = ["a", "b"], np.random.default_rng(0)
    draw = draw_labeled(labels, np.arange(240), None, 20, names, rng, groups=groups)
    assert len(draw.rows) == 40 and len(set(groups[draw.rows])) <= 12
    # More than half where so many rows are needed, and never all.
    draw = draw_labeled(labels, np.arange(240), 220, 1, names, rng, groups=groups)
    assert len(draw.rows) == 220 and len(set(groups[draw.rows])) <= 23
    with pytest.raises(ValueError, match="231 rows in whole groups would take every one of the 24.*no group in common"):
        draw_labeled(labels, np.arange(240), 231, 1, names, rng, groups=groups)
    with pytest.raises(ValueError, match="3 labelled rows of class '.' are only to be had from every group"):
        draw_labeled(np.array([0, 1, 1, 0, 1]), np.arange(5), None, 3, names, rng, groups=np.array([0, 0, 0, 1, 1]))


def test_what_cannot_be_is_refused(caplog):
    corpus = windows()
    one = replace(corpus, train=corpus.train.remove_columns("doc").add_column("doc", ["d"] * 240))
    with pytest.raises(ValueError, match="all rows of train are of one group"):
        make_split(one, seed=0, labeled=20, test=60, groups="doc")
    with pytest.raises(ValueError, match="'docs' is no column of train.*did you mean 'doc'"):
        make_split(corpus, seed=0, labeled=20, test=60, groups="docs")
    holes = replace(corpus, train=corpus.train.remove_columns("doc").add_column("doc", ["d", None] * 120))
    with pytest.raises(ValueError, match="train, column 'doc': groups: row 1 has none"):
        make_split(holes, seed=0, labeled=20, test=60, groups="doc")
    with caplog.at_level(logging.WARNING):
        labels = np.repeat([0, 1, 0, 1, 2, 0, 1], 10)
        lone = corpus_of(labels, test=None)
        lone = replace(lone, train=with_documents(lone.train, np.repeat(np.arange(7), 10)))
        report = make_split(lone, seed=0, labeled=10, min_per_class=0, test=10, groups="doc").report
    assert report["groups"]["labels_in_one_group"] == ["c"]
    assert "all rows of c are of one group: never both learned and tested" in caplog.text
