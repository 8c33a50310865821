"""Opinions of other annotators: how they are read, and what they prove to be worth."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from textpl.annotations.annotation import Annotation, as_cells, joined
from textpl.annotations.confusion import estimate_confusion, log_likelihood
from textpl.annotations.matching import LabelMatcher
from textpl.annotations.reading import read_annotations

NAMES = ["World", "Sports", "Sci/Tech"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Sports", 1),
        ('"sports".', 1),
        ("**SPORTS**", 1),
        ("Label: Sports", 1),
        ("The answer is: sci_tech", 2),
        ("类别：Ｓｐｏｒｔｓ。", 1),
        ('{"label": "Sci/Tech"}', 2),
        ('```json\n{"label": "world"}\n```', 0),
        ('["Sports"]', 1),
        ("not sports", None),
        ("Sports or World", None),
        ("It is about sports", None),
        ("business", None),
        ('{"label": "Spo', None),
        ('["Sports", "World"]', None),
    ],
)
def test_a_text_names_a_label_or_none(text, label):
    assert LabelMatcher(NAMES).one(text) == label


def test_names_that_differ_in_signs_only_are_told_apart_by_them():
    matcher = LabelMatcher(["C", "C++", "C#"])
    assert [matcher.one(text) for text in ("c++", "C#", '"C"', "c + +")] == [1, 2, 0, None]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Sports, world", [0, 1]),
        ('{"labels": []}', []),
        ("none", []),
        ("Sports; news", None),
        ("Labels: Sci/Tech", [2]),
    ],
)
def test_a_text_lists_labels(text, labels):
    assert LabelMatcher(NAMES).several(text) == labels


def test_texts_ids_and_votes_of_a_column():
    data = Dataset.from_dict(
        {
            "llm": ["sports", "Label: World", "no idea", None, ""],
            "ids": [0, 1, 2, -1, None],
            "rules": [[0, -1], [1, 1], [-1, 2], [-1, -1], [0, 0]],
            "p": [[0.1, 0.2, 0.7]] * 4 + [None],
            "named": [{"Sports": 0.2, "World": 0.5, "Sci/Tech": 0.3}] * 5,
        }
    )
    found = read_annotations(["llm", "ids", "rules", "p", "named"], data, NAMES, multi=False)
    by_name = {a.name: a for a in found}
    assert list(by_name) == ["llm", "ids", "rules[0]", "rules[1]", "p", "named"]
    assert by_name["llm"].values.tolist() == [1, 0, -1, -1, -1]
    assert by_name["llm"].outside == 1 and "'no idea'" in by_name["llm"].told()
    assert by_name["ids"].values.tolist() == [0, 1, 2, -1, -1]
    assert by_name["rules[1]"].values.tolist() == [-1, 1, 2, -1, 0]
    assert by_name["p"].kind == "probabilities" and by_name["p"].answered.tolist() == [True] * 4 + [False]
    np.testing.assert_allclose(by_name["named"].values[0], [0.5, 0.2, 0.3])


@pytest.mark.parametrize("kind", [float, int, list])
def test_certain_probabilities_are_not_taken_for_votes(kind):
    hot = np.eye(3)[[1, 0, 2, 1]].astype(int)
    answers = hot.tolist() if kind is list else hot.astype(kind)
    (found,) = read_annotations({"a": answers}, None, NAMES, multi=False, rows=4)
    assert found.kind == "probabilities" and found.values.argmax(1).tolist() == [1, 0, 2, 1]


def test_probabilities_without_a_largest_are_no_answer():
    p = np.array([[0.0, 0, 0], [1 / 3] * 3, [0.4, 0.4, 0.2], [0.1, 0.7, 0.2], [0.6, 0.3, 0.1]], np.float32)
    (found,) = read_annotations({"a": p}, None, NAMES, multi=False, rows=5)
    truth = np.eye(3)[[1, 1, 2, 1, 0]]
    got = estimate_confusion([found], np.full((5, 3), 1 / 3), truth, np.ones(5, bool), multi=False)
    assert got.confusions[0].accuracy[0] == 1 and got.confusions[0].gold == 2
    assert not log_likelihood(found, got.confusions[0])[:3].any()
    estimate_confusion([found.take(np.arange(3))], np.full((3, 3), 1 / 3), truth[:3], np.zeros(3, bool), multi=False)


@pytest.mark.parametrize(
    ("answers", "names", "ids"),
    [
        ([np.int64(-1), np.int64(1), np.float32("nan")], NAMES, [-1, 1, -1]),
        (["0", "2", "abstain"], NAMES, [0, 2, -1]),
        ([True, False, None], ["true", "false"], [0, 1, -1]),
        ([True, False, True], ["no", "yes"], [1, 0, 1]),
        ([1, 5, 3], ["1", "2", "3", "4", "5"], [0, 4, 2]),
        ([0, 4, 2], ["1", "2", "3", "4", "5"], [0, 4, 2]),
        ([1, 4, 2], ["1", "2", "3", "4", "5"], [0, 3, 1]),  # as a csv file is read, whose labels are names too
        (["2", "1", None], ["1", "2", "3"], [1, 0, -1]),
        ([0, 1, 1], ["0", "1"], [0, 1, 1]),
    ],
)
def test_numbers_are_ids_or_names(answers, names, ids):
    (found,) = read_annotations({"a": answers}, None, names, multi=False, rows=3)
    assert found.values.tolist() == ids and not found.outside


def test_two_labels_as_zeros_and_ones():
    (found,) = read_annotations({"a": [[0, 1], [1, 0]]}, None, NAMES[:2], multi=True, rows=2)
    assert found.values.tolist() == [[0, 1], [1, 0]]


def test_copies_of_several_sources_are_told_apart():
    rng = np.random.default_rng(0)
    rows, k = 6000, 4
    truth = rng.integers(0, k, rows)
    own, z, m = (np.where(rng.random(rows) < 0.75, truth, (truth + rng.integers(1, k, rows)) % k) for _ in range(3))
    said = np.choose(rng.choice(3, rows, p=[0.5, 0.2, 0.3]), [own, z, m])
    likely = np.where(np.eye(k, dtype=bool), 0.75, 0.25 / 3)
    prior = likely[z] * likely[m]
    prior /= prior.sum(1, keepdims=True)
    every, sources = np.ones(rows, bool), np.stack([z, m], 1)
    found = estimate_confusion(
        [Annotation("a", "classes", said, k)], prior, np.eye(k)[truth], every, multi=False, given=sources
    )
    rates = found.confusions[0].rates
    np.testing.assert_allclose(rates.copies, [0.2, 0.3], atol=0.03)
    np.testing.assert_allclose(np.diag(rates.table), 0.75, atol=0.03)
    # With no row known they are found from the prior, and what follows is near what the simulated rates say.
    found = estimate_confusion([Annotation("a", "classes", said, k)], prior, prior, ~every, multi=False, given=sources)
    chance = 0.5 * likely.T[said] + 0.2 * (said == z)[:, None] + 0.3 * (said == m)[:, None]
    exact = prior * chance
    exact /= exact.sum(1, keepdims=True)
    assert np.abs(found.p - exact).mean() < 0.03


def test_a_copy_of_either_source_proves_nothing():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 3000)
    z, m = (np.where(rng.random(3000) < 0.8, truth, (truth + rng.integers(1, 4, 3000)) % 4) for _ in range(2))
    likely = np.where(np.eye(4, dtype=bool), 0.8, 0.2 / 3)
    prior = likely[z] * likely[m]
    prior /= prior.sum(1, keepdims=True)
    for said in (z, m):
        a, sources = Annotation("a", "classes", said, 4), np.stack([z, m], 1)
        found = estimate_confusion([a], prior, prior, np.zeros(3000, bool), multi=False, given=sources)
        np.testing.assert_allclose(found.p, prior, atol=0.05)


def test_a_rule_may_be_silent_in_a_few_rows():
    data = Dataset.from_dict({"rules": [[0, -1], [1, -1]]})
    first, second = read_annotations("rules", data, NAMES, multi=False)
    assert first.answered.all() and not second.answered.any()
    truth = np.eye(3)[[0, 1]]
    found = estimate_confusion([first, second], truth * 0.4 + 0.2, truth, np.ones(2, bool), multi=False)
    assert found.confusions[1].constant and not log_likelihood(second, found.confusions[1]).any()


@pytest.mark.parametrize("multi", [False, True])
def test_probabilities_of_nobody_say_nothing(multi):
    nobody = Annotation("a", "probabilities", np.full((3, 2), np.nan, np.float32), 2)
    prior = np.array([[0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    found = estimate_confusion([nobody], prior, prior, np.zeros(3, bool), multi=multi)
    np.testing.assert_allclose(found.p, prior)
    assert found.confusions[0].constant and not log_likelihood(nobody, found.confusions[0]).any()


def test_several_labels_per_row():
    data = Dataset.from_dict(
        {
            "names": [["Sports"], [], ["World", "Sci/Tech"], None],
            "texts": ["Sports, World", "none", "weather", ""],
            "hot": [[0, 1, 0], [0, 0, 0], [1, -1, 1], [0, 0, 1]],
        }
    )
    names, texts, hot = read_annotations(["names", "texts", "hot"], data, NAMES, multi=True)
    assert names.values.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1], [-1, -1, -1]]
    assert texts.values.tolist() == [[1, 1, 0], [0, 0, 0], [-1, -1, -1], [-1, -1, -1]] and texts.outside == 1
    assert hot.values.tolist() == [[0, 1, 0], [0, 0, 0], [1, -1, 1], [0, 0, 1]]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({}, "no annotator is named"),
        ("other", "there is no column 'other'"),
        (3, "type int"),
        ({"a": [0, 1]}, "2 values for 3 rows"),
        ({"a": ["x", "y", None]}, "2 are none of the labels"),
        ({"a": [None, None, -1]}, "0 answers in 3 rows"),
        ({"a": [[0.5, 0.2, 1.2]] * 3}, "no probability"),
        ({"a": np.ones((3, 2)) / 2.5}, "lists"),
        ({"a": [{"World": 0.2, "Art": 0.8}] * 3}, "'Art' is none of the labels"),
        ({"a": [["Sports"], ["World"], []]}, "a row has one label"),
        ({"a": np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])}, "length 2 for 3 labels"),
        ({"a": [{"World": "much"}] * 3}, "'much' is no probability"),
        ({"a": [object()] * 3}, "3 are none of the labels"),
    ],
)
def test_what_cannot_be_read_is_named(annotations, message):
    data = Dataset.from_dict({"text": ["a", "b", "c"]})
    if message == "lists":
        annotations = {"a": [["x", 1]] * 3}
    with pytest.raises(ValueError, match=message):
        read_annotations(annotations, data, NAMES, multi=False)


def test_two_datasets_behind_each_other():
    a = [Annotation("a", "classes", np.array([0, 1]), 3, 1, ("x",))]
    assert joined(a, a)[0].values.tolist() == [0, 1, 0, 1] and joined(a, a)[0].outside == 2
    with pytest.raises(ValueError, match="give the same ones"):
        joined(a, [Annotation("b", "classes", np.array([0]), 3)])
    with pytest.raises(ValueError, match="in the first dataset"):
        joined(a, [as_cells(np.ones((1, 3)) / 3, 1, 3, "a")])


def simulated(accuracy, *, rows=2000, classes=4, prior=0.75, gold=40, confused=False, seed=0):
    """Truth, an annotator, a prior that is right in a share of the rows, and which labels are known."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)

    def noisy(share, confused):
        other = (truth + (1 if confused else rng.integers(1, classes, rows))) % classes
        return np.where(rng.random(rows) < share, truth, other)

    said, guess = noisy(accuracy, confused), noisy(prior, False)
    p = np.where(guess[:, None] == np.arange(classes), prior, (1 - prior) / (classes - 1))
    known = np.isin(np.arange(rows), rng.choice(rows, gold, replace=False))
    return truth, said, p, known


@pytest.mark.parametrize("confused", [False, True])
@pytest.mark.parametrize("accuracy", [0.6, 0.75, 0.9])
@pytest.mark.parametrize(("classes", "gold"), [(2, 0), (4, 40), (10, 200)])
def test_both_sources_together_are_no_worse_than_the_better(accuracy, confused, classes, gold):
    truth, said, p, known = simulated(accuracy, classes=classes, gold=gold, confused=confused)
    a = Annotation("a", "classes", said, classes)
    found = estimate_confusion([a], p, np.eye(classes)[truth], known, multi=False)
    hidden = ~known
    right, of_prior, of_annotator = ((x == truth)[hidden].mean() for x in (found.p.argmax(1), p.argmax(1), said))
    assert right >= max(of_prior, of_annotator) - 0.012
    if confused and classes > 2 and accuracy < 0.9:
        assert right > max(of_prior, of_annotator) + 0.05  # errors of a kind are seen through
    value, low, high = found.confusions[0].accuracy
    assert (np.isnan(low) and abs(value - accuracy) < 0.05) if not gold else low - 0.02 < accuracy < high + 0.02


def test_the_combination_is_bayes_rule():
    truth, said, p, known = simulated(0.8)
    a = Annotation("a", "classes", said, 4)
    found = estimate_confusion([a], p, np.eye(4)[truth], known, multi=False)
    rates = found.confusions[0].rates.table
    np.testing.assert_allclose(rates.sum(1), 1)
    row = int(np.flatnonzero(~known)[0])
    expected = [p[row, y] * rates[y, said[row]] for y in range(4)]
    np.testing.assert_allclose(found.p[row], np.array(expected) / sum(expected), rtol=1e-3)
    logs = log_likelihood(a, found.confusions[0])
    np.testing.assert_allclose(logs[row] - logs[row, 0], np.log(rates[:, said[row]] / rates[0, said[row]]))
    np.testing.assert_allclose(found.p[known], np.eye(4)[truth][known])


@pytest.mark.parametrize("gold", [0, 8, 100])
def test_whoever_always_says_the_same_says_nothing(gold):
    truth, _, p, known = simulated(0.8, gold=gold)
    a = Annotation("a", "classes", np.full(len(truth), 2), 4)
    found = estimate_confusion([a], p, np.eye(4)[truth], known, multi=False)
    assert found.confusions[0].constant and "tells nothing" in found.confusions[0].told()
    np.testing.assert_allclose(found.p[~known], p[~known], atol=1e-9)
    assert not log_likelihood(a, found.confusions[0]).any()
    nearly = np.where(np.arange(len(truth)) % 50, 2, truth)
    found = estimate_confusion([Annotation("a", "classes", nearly, 4)], p, np.eye(4)[truth], known, multi=False)
    assert (found.p.argmax(1) == truth)[~known].mean() > (p.argmax(1) == truth)[~known].mean() - 0.01


def test_a_rule_for_one_label_speaks_by_when_it_does():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 3000)
    fires = rng.random(3000) < np.where(truth == 1, 0.5, 0.02)
    a = Annotation("rule", "classes", np.where(fires, 1, -1), 2)
    known = np.arange(3000) < 200
    found = estimate_confusion([a], np.full((3000, 2), 0.5), np.eye(2)[truth], known, multi=False)
    logs = log_likelihood(a, found.confusions[0])
    assert found.confusions[0].silence
    assert logs[fires][0, 1] - logs[fires][0, 0] == pytest.approx(np.log(25), abs=1)
    assert logs[~fires][0, 1] - logs[~fires][0, 0] == pytest.approx(np.log(0.5 / 0.98), abs=0.3)
    # Silence of one who gives both labels is no evidence.
    said = np.where(rng.random(3000) < 0.5, truth, -1)
    both = Annotation("half", "classes", said, 2)
    found = estimate_confusion([both], np.full((3000, 2), 0.5), np.eye(2)[truth], known, multi=False)
    assert not log_likelihood(both, found.confusions[0])[said < 0].any()


def test_probabilities_count_for_what_they_prove():
    truth, said, p, known = simulated(0.8, gold=150)
    rng = np.random.default_rng(1)
    sure = np.where(said[:, None] == np.arange(4), 0.999, 0.001 / 3)  # right in 80 %, sure in all
    sure = sure * rng.uniform(0.99, 1, sure.shape)
    a = as_cells(sure, len(sure), 4, "a")
    found = estimate_confusion([a], p, np.eye(4)[truth], known, multi=False)
    right = (found.p.argmax(1) == truth)[~known].mean()
    assert right >= max((said == truth)[~known].mean(), (p.argmax(1) == truth)[~known].mean()) - 0.01
    assert abs(found.p[~known].max(1).mean() - right) < 0.05  # calibrated, which its numbers are not
    random = as_cells(rng.dirichlet(np.ones(4), len(truth)), len(truth), 4, "r")
    found = estimate_confusion([random], p, np.eye(4)[truth], known, multi=False)
    assert (found.p.argmax(1) == truth)[~known].mean() > (p.argmax(1) == truth)[~known].mean() - 0.01


@pytest.mark.parametrize("kind", ["cells", "probabilities"])
def test_several_labels_per_row_are_weighed_label_by_label(kind):
    rng = np.random.default_rng(0)
    truth = (rng.random((2000, 6)) < 0.2).astype(int)
    truth[:, 5] = rng.random(2000) < 0.5
    p = np.clip(np.where(truth == 1, 0.5, 0.15) + rng.normal(0, 0.2, truth.shape), 0.01, 0.99)
    flip = rng.random(truth.shape) < np.array([0.02, 0.05, 0.1, 0.2, 0.5, 0])
    said = np.where(flip, 1 - truth, truth)
    said[:, 5] = 1  # always there: no evidence
    values = said.astype(np.int8) if kind == "cells" else (said * 0.6 + rng.random(said.shape) * 0.3).astype(np.float32)
    if kind == "probabilities":
        values[:, 5] = 0.5
    known = np.arange(2000) < 300
    a = Annotation("a", kind, values, 6)
    found = estimate_confusion([a], p, truth, known, multi=True)
    right = ((found.p >= 0.5) == truth)[~known].mean(0)
    alone = ((p >= 0.5) == truth)[~known].mean(0)
    assert (right[:3] > alone[:3] + 0.02).all() and (right >= alone - 0.02).all()
    logs = log_likelihood(a, found.confusions[0])
    assert np.abs(logs[:, 5]).max() < 0.1 and logs[said[:, 0] == 1, 0].min() > 1


def test_what_does_not_fit_is_refused():
    a = Annotation("a", "classes", np.array([0, 1, 1]), 2)
    p, truth, gold = np.full((3, 2), 0.5), np.eye(2)[[0, 1, 1]], np.ones(3, bool)
    with pytest.raises(ValueError, match="no annotator"):
        estimate_confusion([], p, truth, gold, multi=False)
    with pytest.raises(ValueError, match="3 rows of 2 labels"):
        estimate_confusion([a], p[:2], truth, gold, multi=False)
    with pytest.raises(ValueError, match="row 0 .*NaN"):
        estimate_confusion([a], p * np.nan, truth, gold, multi=False)
    with pytest.raises(ValueError, match="one class per row"):
        estimate_confusion([a], p, truth, gold, multi=True)


def test_gold_rows_count_by_their_weights():
    """Right in the rows that weigh most: the rates follow the weights, as if rows were repeated."""
    truth, said = np.eye(2)[[0, 0, 1, 1]], np.array([0, 1, 1, 0])
    weights = np.array([5.0, 1, 5, 1])
    repeated = np.repeat(np.arange(4), weights.astype(int))

    def rates(rows, **how):
        prior, gold = np.full((len(rows), 2), 0.5), np.ones(len(rows), bool)
        asked = [Annotation("a", "classes", said[rows], 2)]
        found = estimate_confusion(asked, prior, truth[rows], gold, multi=False, **how)
        return log_likelihood(asked[0], found.confusions[0])[0]

    np.testing.assert_allclose(rates(np.arange(4), gold_weights=weights), rates(repeated), atol=1e-6)
    assert rates(repeated)[0] > rates(np.arange(4))[0] + 0.1
