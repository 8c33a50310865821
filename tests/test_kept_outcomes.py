"""What a comparison refuses to pair, and what it says where several forms of labels-only disagree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from textpl.comparison import Arm, Comparison, _check_groups, _measured
from textpl.evaluation import Interval, paired_difference
from textpl.group_folds import group_ids
from textpl.outcomes import Outcome
from textpl.recipes.running.tuning import SHOWN, _told, scores_file


def outcome(seed, share, rows=400, gold_seed=0):
    gold = np.random.default_rng(gold_seed).integers(0, 2, rows)
    right = np.random.default_rng(100 + seed).random(rows) < share
    predictions = np.where(right, gold, 1 - gold)
    p = np.eye(2, dtype=np.float32)[predictions]
    scores = {"accuracy": float(right.mean()), "macro_f1": float(right.mean())}
    return Outcome(seed, p, gold, predictions, scores, None, 0.0, 10, 1.0, 100, 50, [])


def test_outcomes_on_other_test_rows_are_refused_and_not_paired():
    methods = [outcome(seed, 0.8) for seed in range(3)]
    kept = [outcome(seed, 0.8, gold_seed=7) for seed in range(3)]
    with pytest.raises(ValueError, match="other rows than the method"):
        _measured("labels only", "as given", kept, methods, "accuracy", 0.95, None)
    same = _measured("labels only", "as given", methods, methods, "accuracy", 0.95, None)
    assert same.interval.mean == 0


def comparison(*shares):
    methods = [outcome(seed, 0.7) for seed in range(5)]
    arms = []
    for k, share in enumerate(shares):
        side = [outcome(50 * (k + 1) + seed, share) for seed in range(5)]
        found = paired_difference(
            *([o.predictions for o in part] for part in (side, methods)), [o.gold for o in side], "accuracy"
        )
        arms.append(Arm("labels only", f"form {k}", side, found))
    return Comparison("single", "accuracy", "m", methods, tuple(arms))


def test_it_hurt_only_where_every_form_of_labels_only_says_so():
    both, one = comparison(0.85, 0.84), comparison(0.85, 0.7)
    assert both.interval.verdict == "hurt" and "it hurt" in str(both)
    assert one.judged.interval.verdict == "hurt" and one.interval.high < 0
    assert (
        one.interval.verdict == "no evidence"
        and str(one).startswith("no evidence")
        and one.to_dict()["difference"]["verdict"] == "no evidence"
    )
    gained = Interval(2.0, 1.0, 3.0, 0.95, 5, rows=400)
    assert replace(gained, contested=True).verdict == "helped"  # whoever beats the best form beats the others


def test_groups_of_another_number_of_rows_are_refused():
    with pytest.raises(ValueError, match="3 groups for 400 test rows"):
        _check_groups(np.arange(3), outcome(0, 0.8))
    _check_groups(None, outcome(0, 0.8))


@pytest.mark.parametrize(
    "values",
    [["a", "", "b"], ["a", None, "b"], ["a", float("nan"), "b"], np.array(["a", " ", "b"]), [1.0, float("nan")]],
)
def test_rows_without_a_group_are_named(values):
    with pytest.raises(ValueError, match="row 1 has none"):
        group_ids(values)


def test_a_whole_number_is_one_group_whatever_its_type():
    assert group_ids(np.array([1, 1.0, "1", 2.5], dtype=object)).tolist() == [0, 0, 0, 1]


def test_many_settings_are_told_in_a_sentence_that_a_record_can_hold(tmp_path, monkeypatch):
    tried = [
        {"setting": {"method.weight": k / 100, "train.learning_rate": 1e-4, "method.ratio": k}, "mean": k / 100}
        for k in range(50)
    ]
    record = {"method": tried, "chosen": {"method": tried[-1]["setting"]}, "metric": "accuracy", "rows": "the dev rows"}
    recipe = type("Recipe", (), {"tried": "m", "baseline": "b"})()
    told = _told(recipe, "method", record)
    assert len(told) < 1000 and f"{50 - SHOWN} more are in" in told and "49.0" in told and "1.0)" not in told
    monkeypatch.chdir(tmp_path)
    assert scores_file(Path(".")).parent == tmp_path.parent  # "." has no name of its own
