"""Which method "auto" takes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import brute_graph

from textpl.relabeling import choice
from textpl.relabeling.choice import Trial, candidates, choose
from textpl.relabeling.problem import Problem

ROWS = 40
GOLD = np.arange(ROWS) % 2


def trial(name, right):
    """A trial that labels the first `right` rows rightly."""
    given = np.where(np.arange(ROWS) < right, GOLD, 1 - GOLD)
    p = np.eye(2, dtype=np.float32)[given]
    return Trial(name, None, np.arange(ROWS), p, right / ROWS)


@pytest.mark.parametrize(("other", "taken"), [(31, "default"), (33, "default"), (29, "default"), (40, "other")])
def test_only_a_clearly_better_method_replaces_the_default(monkeypatch, other, taken):
    trials = {"default": trial("default", 30), "other": trial("other", other)}
    monkeypatch.setattr(choice, "hold_out", lambda problem, method, k, seed: trials[method])
    vectors = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
    problem = Problem(vectors, brute_graph(vectors, 3), np.eye(2)[GOLD], np.ones(ROWS, dtype=bool))
    chosen, tried = choose(problem, [("default", None), ("other", None)], progress=False)
    assert chosen.method == taken and [t.method for t in tried] == ["default", "other"]


def test_few_labels_leave_no_choice():
    targets = np.eye(4)[np.arange(40) % 4]
    assert candidates(targets[:39], multi=False) == [("linear_smoothed", 15)]
    assert candidates(targets[:39], multi=True) == [("linear", None)]
    assert candidates(targets, multi=False)[0] == ("linear_propagation", 15) and len(candidates(targets, False)) > 5
    assert candidates(targets, multi=True)[0] == ("linear", None)


def test_the_score_of_several_labels_is_macro_f1_and_half_given_labels_are_half_hits():
    from sklearn.metrics import f1_score

    from textpl.evaluation import decide, prior_thresholds
    from textpl.relabeling.choice import score_of

    rng = np.random.default_rng(0)
    p, gold = rng.random((40, 5)).astype(np.float32), (rng.random((40, 5)) < 0.3).astype(np.float32)
    decided = decide(p, "multi_label_classification", prior_thresholds(p, gold.mean(0)))
    assert score_of(p, gold, True) == pytest.approx(f1_score(gold, decided, average="macro", zero_division=0))
    # Sixty texts given once with and once without the label: neither answer is right more than half of the time.
    half = np.full((60, 1), 0.5, np.float32)
    assert score_of(rng.random((60, 1)).astype(np.float32), half, True) == pytest.approx(0.5, abs=0.02)
