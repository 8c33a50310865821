"""Intervals that would be too narrow for what was seen are widened."""

import numpy as np

from textpl.annotations.dawid_skene import Answers, dawid_skene
from textpl.cleaning.annotators import _accuracies
from textpl.cleaning.indistinct import _spread
from textpl.cleaning.result import Detection
from textpl.noisy_scores.estimates import Metric
from textpl.noisy_scores.judge import _from_review, _Judged


def test_people_who_always_agree_are_not_right_for_certain():
    things = np.repeat(np.arange(40), 3)
    answers = Answers(things, np.tile(np.arange(3), 40), things % 2, 40, 3, 2)
    found = _accuracies(answers, *dawid_skene(answers)[1:], seed=0)
    assert (found[:, 0] > 0.97).all() and (found[:, 1] < 0.93).all() and (found[:, 2] <= 1).all()


def test_the_mean_over_labels_that_hardly_a_reviewed_row_carries_is_hardly_known():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 60, 2000)
    given = np.eye(60, dtype=np.int64)[classes]
    judged = _Judged(Metric("macro_f1", "mean", np.full(60, 1 / 60)), slice(None), False)
    rows = rng.choice(2000, 100, replace=False)
    found = _from_review(judged, given, given, given.astype(float), rows, given[rows], 0.95)
    assert found.low < 0.2  # one or two reviewed rows of each label say nothing about most of them
    every = np.arange(2000)
    assert _from_review(judged, given, given, given.astype(float), every, given, 0.95).low > 0.99


def test_rows_that_were_not_judged_may_all_be_wrong():
    kept, labels = np.arange(300), np.zeros(600, np.int64)
    p = np.tile(np.float32([0.9, 0.1]), (600, 1))
    info = {"errors": 50.0, "errors_low": 20.0, "errors_high": 90.0, "shown": 30.0}
    flags = np.zeros(300, bool)
    found = Detection(np.full(300, 1 / 6, np.float32), p[:300], flags, labels[:300], {"model": p[:300]}, None, info)
    told = _spread(found, kept, labels, p).info
    assert told["errors"] == 100 and told["errors_high"] == 390 and told["errors_low"] == 20
    assert told["errors_low"] <= told["errors"] <= told["errors_high"]
