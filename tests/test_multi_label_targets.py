"""Multi-label targets: rare labels are not taught away, and what would do it is told."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from conftest import make_data, make_model, make_pool, make_texts, make_trainer
from scipy.stats import norm

import textpl
from textpl import METHODS, SemiSupervised
from textpl.callbacks.monitor import Monitor
from textpl.callbacks.setup import unseen_labels
from textpl.components.align import AlignToPrior
from textpl.components.selection import FixedThreshold, LabelThresholds
from textpl.components.teachers import ColumnTeacher
from textpl.tasks import MultiLabel, SingleLabel

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "multi_label_targets.py"
RATES = [0.05, 0.3, 0.5]


@pytest.fixture(scope="module")
def benchmark_script():
    spec = importlib.util.spec_from_file_location("multi_label_targets", BENCHMARK)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("strength", [1.0, 2.0, 3.0])
def test_targets_are_right_on_average_at_every_rate(benchmark_script, rate, strength):
    p = benchmark_script.calibrated(rate, strength, rows=50_000)
    assert benchmark_script.judge("soft", p, rate) == pytest.approx({"taught_away": 0, "bias": 1, "held": 1}, abs=1e-5)
    for rule in ("half", "gauss", "sharp"):
        assert benchmark_script.judge(rule, p, rate)["bias"] < 0.995


def test_a_cut_at_one_half_taught_rare_labels_away(benchmark_script):
    """The fault as the simulation measures it, and as the normal distribution gives it."""
    rate, s = 0.05, 2.0
    found = benchmark_script.judge("half", benchmark_script.calibrated(rate, s), rate)
    logit = np.log(rate / (1 - rate))

    def positives(low, high):  # share of rows that are positive and whose p lies between
        z = [(np.log(x / (1 - x)) - logit - s**2 / 2) / s for x in (low, high)]
        return rate * (norm.cdf(z[1]) - norm.cdf(z[0]))

    away, kept = positives(1e-12, 0.05), positives(0.95, 1 - 1e-12)
    assert found["taught_away"] == pytest.approx(away / (away + kept), abs=0.02)
    assert found["bias"] == pytest.approx(kept / (away + kept), abs=0.02)
    weak = benchmark_script.judge("half", benchmark_script.calibrated(rate, 1.0), rate)
    assert weak["taught_away"] > 0.97


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"distillation", "cap", "marginmatch", "comatch"}))
def test_no_method_cuts_or_sharpens_cells_or_leaves_them_out(tmp_path, tokenizer, monkeypatch, name):
    steps = []
    monkeypatch.setattr(Monitor, "record", lambda self, p, valid, q, w, *rest: steps.append((p, valid, q, w)))
    trainer = make_trainer(tmp_path, tokenizer, task="multi", max_steps=6)
    textpl.attach(trainer, METHODS[name].make(make_pool(task="multi"), weight=1.0)).train()
    assert len(steps) == 6
    for index, (p, valid, q, w) in enumerate(steps):
        assert q.equal(p)
        started = index > 0 or name != "adamatch"  # which waits for the first labeled batch
        assert w.equal(valid[:, None].float().expand_as(p) * started)


def column_run(folder, tokenizer, p, *, steps=21, prior=RATES, **slots):
    """Training on a pool whose every row has the probabilities `p`, the labeled rows having shares of about `prior`."""
    texts = make_texts(200, seed=3)[0]
    pool = datasets.Dataset.from_dict({"text": texts, "p": [p] * len(texts)})
    data = make_data(tokenizer, rows=100, task="multi").remove_columns("label")
    hot = [[float(i < 100 * rate) for rate in prior] for i in range(100)]
    data = data.add_column("label", hot)
    names = ["rare", "some", "half"]
    model = make_model("multi")
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    teacher = ColumnTeacher("p", label_names=names)
    callback = SemiSupervised(pool, teacher=teacher, **slots)
    settings = {"max_steps": steps, "per_device_train_batch_size": 20}
    trainer = make_trainer(folder, tokenizer, task="multi", model=model, data=data, **settings)
    textpl.attach(trainer, callback).train()
    return trainer.state.log_history, callback


def hard_cut(p, step):
    return step.task.hard(p)


def test_a_cut_of_one_s_own_is_told_once_with_the_labels(tmp_path, tokenizer, caplog):
    caplog.set_level(logging.WARNING, logger="textpl")
    history, _ = column_run(tmp_path, tokenizer, [0.05, 0.3, 0.6], steps=42, sharpen=hard_cut)
    told = [r.getMessage() for r in caplog.records if "teach the label away" in r.getMessage()]
    assert len(told) == 1 and "0 % of the positives of label 'rare', 'some'" in told[0] and "sharpen=argmax" in told[0]
    assert history[0]["textpl/accepted/half"] == 1 and history[0]["textpl/accepted/rare"] == 0
    assert history[0]["textpl/rare_labels"] == 1  # in one step of 20 rows only that of 'some' is above 5 expected


def test_accepted_positives_far_below_the_labeled_rate_are_told(tmp_path, tokenizer, caplog):
    caplog.set_level(logging.WARNING, logger="textpl")
    history, _ = column_run(tmp_path / "a", tokenizer, [0.009, 0.25, 0.5])
    assert "Accepted positives of label 'rare' are below a fifth" in caplog.text
    assert "align=AlignToPrior('labeled')" in caplog.text and caplog.text.count("may be unlearnt") == 1
    assert [history[0][f"textpl/accepted/{n}"] for n in ("rare", "some", "half")] == pytest.approx([0.009, 0.25, 0.5])
    caplog.clear()
    column_run(tmp_path / "b", tokenizer, [0.009, 0.25, 0.5], align=AlignToPrior("labeled"))
    column_run(tmp_path / "c", tokenizer, [0.03, 0.25, 0.5])
    assert "Accepted positives" not in caplog.text and "teach the label away" not in caplog.text
    column_run(tmp_path / "d", tokenizer, [0.04, 0.3, 0.6], select=LabelThresholds(0.9, 0.35))
    assert "Accepted positives" not in caplog.text  # as many as there are, of the cells that were accepted


def test_a_threshold_of_one_s_own_says_that_it_leaves_nothing_out(tmp_path, tokenizer, caplog):
    history, _ = column_run(tmp_path, tokenizer, [0.05, 0.3, 0.5], steps=2, select=FixedThreshold(0.95))
    assert "FixedThreshold leaves out nothing in a multi-label task" in caplog.text
    assert history[0]["textpl/mask_rate"] == 1 and "no longer filters" not in caplog.text


def test_a_label_without_labeled_rows_is_not_lifted_by_alignment(tmp_path, tokenizer):
    seen = []

    def spy(p, step):
        seen.append(p)
        return p

    align = AlignToPrior("labeled")
    column_run(tmp_path, tokenizer, [0.001, 0.3, 0.1], steps=1, prior=[0.0, 0.3, 0.5], align=align, sharpen=spy)
    expected = [0.001, 31 / 102, 51 / 102]  # (0 + 1) / 102 for the first otherwise
    np.testing.assert_allclose(seen[0][0].numpy(), expected, rtol=1e-3)
    assert unseen_labels(np.array([[0, 1, 0], [0, 1, 1]]), MultiLabel(3)).tolist() == [True, False, False]
    assert unseen_labels(np.array([0, 0, 2]), SingleLabel(4)).tolist() == [False, True, False, True]
