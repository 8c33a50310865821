"""Annotators as evidence about given labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics import average_precision_score
from typer.testing import CliRunner

import textpl
from textpl.cleaning import opinions
from textpl.cli import app
from textpl.label_issues.decisions import Decision

NAMES = ["a", "b", "c"]


def corpus(rows=1500, noise=0.2, seed=0):
    """Right labels, given ones, out-of-sample probabilities that are right in about 80 %, and their calibration."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, rows)
    given = np.where(rng.random(rows) < noise, (truth + rng.integers(1, 3, rows)) % 3, truth)
    scores = rng.normal(size=(rows, 3)) + 1.6 * np.eye(3)[truth]
    p = np.exp(scores * 1.6)
    return truth, given, p / p.sum(1, keepdims=True), rng


def examine(given, p, **settings):
    names = [NAMES[k] for k in given]
    return textpl.find_label_issues(labels=names, pred_probs=p, label_names=NAMES, progress=False, **settings)


def said(truth, accuracy, rng):
    return np.where(rng.random(len(truth)) < accuracy, truth, (truth + rng.integers(1, 3, len(truth))) % 3)


def test_a_good_annotator_helps_and_others_do_no_harm():
    truth, given, p, rng = corpus()
    alone = examine(given, p)

    def quality(report):
        return average_precision_score(given != truth, report.p_error), (report.suggested == truth).mean()

    before = quality(alone)
    good = quality(examine(given, p, annotations={"llm": said(truth, 0.85, rng)}))
    assert good[0] > before[0] + 0.05 and good[1] > before[1] + 0.02
    poor = {"chance": rng.integers(0, 3, len(truth)), "always": np.ones(len(truth), int), "given": given}
    poor["classifier"] = p.argmax(1)  # its errors are those of the other evidence, so that it is no second witness
    for name, answers in poor.items():
        report = examine(given, p, annotations={name: answers})
        after = quality(report)
        assert after[0] > before[0] - 0.01 and after[1] > before[1] - 0.005, name
        assert report.expected_errors == pytest.approx(alone.expected_errors, rel=0.1), name
        assert name not in ("given", "classifier") or f"only repeat the {name}" in str(report)
    constant = examine(given, p, annotations={"always": poor["always"]})
    np.testing.assert_array_equal(constant.p_error, alone.p_error)
    assert "tells nothing" in str(constant)


def test_reviews_say_how_far_an_annotator_is_to_be_trusted(tmp_path):
    truth, given, p, rng = corpus()
    report = examine(
        given, p, annotations={"llm": said(truth, 0.85, rng), "other": list(map(NAMES.__getitem__, given))}
    )
    rows = report.review_queue(80).rows
    reviewed = report.apply_review([Decision(int(row), NAMES[truth[row]]) for row in rows])
    told = reviewed.detection.info["annotators"][0]
    assert told["decided"] == 80 and told["accuracy"][1] < 0.85 < told["accuracy"][2]
    assert (reviewed.suggested[rows] == truth[rows]).all()
    assert "how far the annotators can be trusted" in str(reviewed)
    reviewed.save(tmp_path / "report")
    again = textpl.LabelReport.load(tmp_path / "report")
    np.testing.assert_allclose(again.p_error, reviewed.p_error)
    np.testing.assert_allclose(again.without_review().p_error, report.p_error)
    assert str(again) == str(reviewed)


def test_reviewed_cells_count_for_more_the_more_cells_they_stand_for(monkeypatch):
    truth, given, p, rng = corpus()
    found = examine(given, p, annotations={"llm": said(truth, 0.8, rng)})
    order, weighed = np.argsort(-found.p_error, kind="stable"), []
    rows = [*order[:20], *order[100::200]]  # the top, one by one, and a few from all over
    estimate = opinions.estimate_confusion

    def spy(*args, gold_weights, **how):
        weighed.append(gold_weights)
        return estimate(*args, gold_weights=gold_weights, **how)

    monkeypatch.setattr(opinions, "estimate_confusion", spy)
    found.apply_review([Decision(int(row), NAMES[truth[row]]) for row in rows])
    top, rest = (weighed[-1][part] for part in (order[1:19], order[100::200]))
    assert weighed[-1][rows].sum() == pytest.approx(len(rows))
    # Each of the rest stands for about 200 cells, each at the top for one: by the fourth root 3.8 times as much.
    assert 3 < rest[1:-1].mean() / top.mean() < 4.5


def test_cells_of_several_labels():
    rng = np.random.default_rng(0)
    truth = (rng.random((1500, 4)) < 0.3).astype(int)
    p = 1 / (1 + np.exp(-(3 * truth - 1.8 + rng.normal(0, 1.2, truth.shape))))
    given = np.where(rng.random(truth.shape) < 0.08, 1 - truth, truth)
    answers = np.where(rng.random(truth.shape) < 0.1, 1 - truth, truth)
    alone = textpl.find_label_issues(labels=given, pred_probs=p, progress=False)
    both = textpl.find_label_issues(labels=given, pred_probs=p, progress=False, annotations={"llm": answers.tolist()})
    copy = textpl.find_label_issues(labels=given, pred_probs=p, progress=False, annotations={"llm": given.tolist()})
    wrong = (given != truth).ravel()
    ap = [average_precision_score(wrong, report.p_error.ravel()) for report in (alone, both, copy)]
    right = [(report.suggested == truth).mean() for report in (alone, both, copy)]
    assert ap[1] > ap[0] + 0.1 and right[1] > right[0] + 0.01
    assert ap[2] > ap[0] - 0.01 and right[2] > right[0] - 0.005
    cells = np.argwhere(both.flagged)[:40]
    decisions = [Decision(int(row), both.label_names[k], bool(truth[row, k])) for row, k in cells]
    reviewed = both.apply_review(decisions)
    assert (reviewed.suggested[tuple(cells.T)] == truth[tuple(cells.T)]).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"annotations": {"x": [0, 1]}}, "2 values for 40 rows"),
        ({"annotations": "llm"}, "column 'llm' of no dataset"),
        ({"annotations": {"x": [0] * 40}, "method": "confident"}, "method='auto'"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    _, given, p, _ = corpus(40)
    with pytest.raises(ValueError, match=message):
        examine(given, p, **settings)


def test_the_command_takes_columns_and_knows_other_answers(tmp_path):
    truth, given, p, rng = corpus(200)
    words = {0: "red apple fruit", 1: "blue car road", 2: "green tree wood"}
    rows = {
        "text": [f"{words[k]} number {i}" for i, k in enumerate(truth)],
        "label": [NAMES[k] for k in given],
        "llm": [f"Label: {NAMES[k].upper()}." for k in said(truth, 0.9, rng)],
    }
    data, out = tmp_path / "data.csv", tmp_path / "cleaned"
    Dataset.from_dict(rows).to_csv(str(data))
    command = ["clean", str(data), "--out", str(out), "--encoder", "lsa", "--annotations", "llm"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0, found.output
    assert "llm: right in about" in found.output
    assert json.loads((out / "cleaning.json").read_text())["settings"]["annotations"][0] == "llm"
    assert "Using the report" in CliRunner().invoke(app, command).output
    rows["llm"] = rows["llm"][::-1]
    Dataset.from_dict(rows).to_csv(str(data))
    other = CliRunner().invoke(app, command)
    assert other.exit_code == 1 and "another annotations" in " ".join(other.output.split())
