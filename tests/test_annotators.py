"""Several people: agreement, reliability, one answer per cell or none."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from textpl.annotations import dawid_skene as model
from textpl.annotations.dawid_skene import Answers, dawid_skene
from textpl.cleaning.annotators import combine, krippendorff_alpha
from textpl.label_issues.consensus import agree
from textpl.label_issues.decisions import Decision, changed_answers
from textpl.label_issues.review_formats import read_review, read_reviews


def answers_of(triples, people=None, classes=None):
    thing, person, answer = (np.array(column, np.int64) for column in zip(*triples, strict=True))
    return Answers(
        thing, person, answer, int(thing.max()) + 1, people or int(person.max()) + 1, classes or int(answer.max()) + 1
    )


def simulated(accuracy, things, classes, each, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, things)
    triples = []
    for i, right in enumerate(truth):
        for p in rng.choice(len(accuracy), each, replace=False):
            triples.append(
                (i, p, right if rng.random() < accuracy[p] else (right + rng.integers(1, classes)) % classes)
            )
    return answers_of(triples, len(accuracy), classes), truth


def naive_dawid_skene(triples, things, people, classes, rounds):
    """The equations of the paper in loops, maximum likelihood."""
    t = [[0.0] * classes for _ in range(things)]
    for i, _, answer in triples:
        t[i][answer] += 1
    t = [[value / sum(row) for value in row] for row in t]
    for _ in range(rounds):
        share = [sum(row[k] for row in t) / things for k in range(classes)]
        errors = {}
        for p in range(people):
            for k in range(classes):
                counts = [sum(t[i][k] for i, q, a in triples if q == p and a == given) for given in range(classes)]
                errors[p, k] = [count / max(sum(counts), 1e-300) for count in counts]
        new = []
        for i in range(things):
            row = list(share)
            for j, p, answer in triples:
                if j == i:
                    row = [row[k] * errors[p, k][answer] for k in range(classes)]
            new.append([value / sum(row) for value in row])
        t = new
    return np.array(t), errors


@pytest.mark.parametrize("classes", [2, 3])
def test_dawid_skene_is_that_of_the_paper(classes, monkeypatch):
    given, _ = simulated([0.9, 0.8, 0.7, 0.6], 30, classes, 3)
    triples = list(zip(given.thing.tolist(), given.person.tolist(), given.answer.tolist(), strict=True))
    monkeypatch.setattr(model, "ROUNDS", 12)
    monkeypatch.setattr(model, "TOLERANCE", 0)
    probable, confusion, _ = dawid_skene(given, weight=0)
    expected, errors = naive_dawid_skene(triples, 30, 4, classes, 12)
    np.testing.assert_allclose(probable, expected, atol=1e-9)
    # Errors of the last round belong to the probabilities before it.
    for (person, right), row in errors.items():
        np.testing.assert_allclose(confusion[person, right], row, atol=1e-9)


def test_names_of_people_things_and_answers_do_not_matter():
    given, _ = simulated([0.95, 0.8, 0.6], 80, 3, 2)
    rng = np.random.default_rng(1)
    things, people, kinds, order = (rng.permutation(n) for n in (80, 3, 3, len(given.thing)))
    other = Answers(things[given.thing][order], people[given.person][order], kinds[given.answer][order], 80, 3, 3)
    (p, c, s), (q, d, t) = dawid_skene(given), dawid_skene(other)
    np.testing.assert_allclose(q[things][:, kinds], p, atol=1e-8)
    np.testing.assert_allclose(d[people][:, kinds][:, :, kinds], c, atol=1e-8)
    np.testing.assert_allclose(t[kinds], s, atol=1e-8)
    mine, theirs = combine(given), combine(other)
    expected = np.where(mine.answer < 0, -1, kinds[mine.answer])
    np.testing.assert_array_equal(theirs.answer[things], expected)
    assert theirs.alpha == pytest.approx(mine.alpha)


def test_one_person_is_believed_and_perfect_people_agree():
    alone = answers_of([(i, 0, i % 3) for i in range(50)])
    found = combine(alone)
    assert found.answer.tolist() == [i % 3 for i in range(50)] and found.method == "majority"
    assert np.isnan(found.alpha) and np.isnan(found.agreement).all() and np.isnan(found.accuracy).all()
    perfect, truth = simulated([1, 1, 1], 60, 4, 3)
    found = combine(perfect)
    np.testing.assert_array_equal(found.answer, truth)
    assert found.alpha == 1 and found.method == "dawid_skene" and not found.settled.any()
    assert found.agreement.tolist() == [1, 1, 1] and (found.accuracy[:, 0] > 0.95).all()


def test_krippendorff_alpha_is_that_of_the_paper():
    """The example of Krippendorff 2011, section C: four observers, twelve units, missing answers; nominal .743."""
    a = [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None]
    b = [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3]
    c = [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None]
    d = [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None]
    triples = [(i, p, v - 1) for p, row in enumerate((a, b, c, d)) for i, v in enumerate(row) if v]
    assert krippendorff_alpha(answers_of(triples)) == pytest.approx(0.743, abs=5e-4)


def test_chance_is_zero_and_opposites_are_below():
    rng = np.random.default_rng(0)
    chance = answers_of([(i, p, rng.integers(2)) for i in range(4000) for p in range(2)])
    assert abs(krippendorff_alpha(chance)) < 0.05
    opposite = answers_of([(i, p, (i + p) % 2) for i in range(40) for p in range(2)])
    assert krippendorff_alpha(opposite) < -0.9
    assert np.isnan(krippendorff_alpha(answers_of([(i, p, 0) for i in range(9) for p in range(2)])))


def test_a_tie_is_no_answer_and_few_answers_go_by_majority():
    votes = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1), (2, 0, 0), (2, 1, 1), (2, 2, 1), (3, 2, 0)]
    found = combine(answers_of(votes))
    assert found.answer.tolist() == [-1, 1, 1, 0] and found.method == "majority"
    assert found.settled.tolist() == [False, False, True, False]
    assert np.isnan(found.accuracy).all() and found.agreement.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    two, _ = simulated([0.9, 0.9], 500, 2, 2)
    found = combine(two)  # two people never tell which of them is right
    assert found.method == "majority" and not found.settled.any() and (found.answer < 0).any()


@pytest.mark.parametrize("classes", [2, 4])
def test_careless_people_do_not_outvote_a_careful_one(classes):
    given, truth = simulated([0.95, 0.7, 0.65], 400, classes, 3, seed=2)
    found, votes = combine(given), given.votes()
    torn = votes.max(1) < 3
    majority = np.where(votes.max(1) > 1.5, votes.argmax(1), -1)
    wrong = lambda answer: ((answer >= 0) & (answer != truth))[torn].mean()  # noqa: E731
    assert found.method == "dawid_skene" and wrong(found.answer) < wrong(majority) / 2
    assert found.accuracy[0, 0] == found.accuracy[:, 0].max()
    low, high = found.accuracy[:, 1], found.accuracy[:, 2]
    assert ((low - 0.03 < [0.95, 0.7, 0.65]) & (high + 0.03 > [0.95, 0.7, 0.65])).all()
    assert (found.answer[votes.max(1) == 3] >= 0).all()


def votes(*lines):
    return [Decision(row, label, right, True, who) for row, label, right, who in lines]


def test_who_contradicts_themself_decides_nothing():
    found = agree(votes((1, "joy", True, "a"), (1, "joy", False, "a"), (1, "joy", True, "b")), multi=True)
    assert found.decisions == () and found.disputes[0].told() == "a: yes; a: no; b: yes"
    assert agree([], multi=True).lines("cells") == []


def test_words_and_numbers_of_a_consensus():
    found = agree(
        votes((1, "x", True, "a"), (1, "y", True, "b"), (2, "x", True, "a"), (2, "x", True, "b"), (3, "x", True, "a")),
        multi=False,
    )
    assert [d[:2] for d in found.decisions] == [(2, "x"), (3, "x")] and [d.row for d in found.disputes] == [1]
    told = "\n".join(found.lines("rows"))
    assert "2 people" in told and "a: 3 answers, 2 of them shared; the one taken in 50% of these" in told
    assert "takes 3 people with 30 answers each" in told and "1 rows are in dispute and not decided" in told
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["disputes"][0]["answers"] == [["a", "x"], ["b", "y"]] and plain["method"] == "majority"
    alone = agree(votes((1, "x", True, "a"), (2, "y", True, "b")), multi=False)
    assert alone.method is None and alone.lines("rows") == [] and len(alone.decisions) == 2


def write(path, lines):
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)


def test_files_say_who_answered(tmp_path):
    line = {"row": 1, "label": "x", "partner": "", "decision": "yes"}
    write(tmp_path / "anna" / "review.csv", [line])
    write(tmp_path / "ben" / "review.csv", [line | {"decision": "no"}])
    write(tmp_path / "both.csv", [line | {"annotator": "anna"}, line | {"annotator": "", "decision": "no"}])
    assert [d.annotator for d in read_review(tmp_path / "anna" / "review.csv")] == ["review"]
    with pytest.raises(ValueError, match="nothing in .* says who answered"):  # one person's, or those of two?
        read_reviews([tmp_path / "anna" / "review.csv", tmp_path / "ben" / "review.csv"])
    write(tmp_path / "anna-2.csv", [line])
    write(tmp_path / "ben.csv", [line | {"decision": "no"}])
    two = read_reviews([tmp_path / "anna-2.csv", tmp_path / "ben.csv"])
    assert [d.annotator for d in two] == ["anna", "ben"]
    assert len({d.annotator for d in two}) == 2 and len(agree(two, multi=True).disputes) == 1
    assert [d.annotator for d in read_reviews([tmp_path / "both.csv"])] == ["anna", "both"]
    with pytest.raises(ValueError, match="named twice"):
        read_reviews([tmp_path / "both.csv", tmp_path / "both.csv"])
    earlier, later = two[:1], [two[0]._replace(right=False)]
    assert "1 earlier answers of" in changed_answers(earlier, later, multi=True)[0]
    assert changed_answers(earlier, two, multi=True) == []
