"""Labels-only against a method: same rows, same seeds, same compute, nothing repeated after an interruption."""

from __future__ import annotations

import json

import datasets
import numpy as np
import pytest
import torch
from conftest import make_data, make_model, make_pool, make_trainer
from transformers import set_seed

import textpl
from textpl.comparison import _matched_steps


def trainers(tmp_path, tokenizer, task="single", **settings):
    return lambda seed: make_trainer(tmp_path / "out", tokenizer, task=task, seed=seed, **settings)


@pytest.mark.parametrize("task", ["single", "multi"])
def test_compare_reports_both_sides(tmp_path, tokenizer, task):
    method = textpl.softmatch(make_pool(task=task))
    comparison = textpl.compare(trainers(tmp_path, tokenizer, task), method, seeds=range(2), name="softmatch")
    results = json.loads(json.dumps(comparison.to_dict()))
    told = {"task", "metric", "unit", "baseline", "method", "difference", "seen_test_texts", "cost", "seed_results"}
    assert set(results) == told
    assert results["task"] == task and results["unit"] == "points"
    assert results["metric"] == {"single": "accuracy", "multi": "macro_f1"}[task]
    assert results["baseline"]["seeds"] == results["method"]["seeds"] == [0, 1]
    low, high = results["difference"]["interval"]
    difference = results["method"]["mean"] - results["baseline"]["mean"]
    assert low <= results["difference"]["mean"] <= high
    assert results["difference"]["mean"] == pytest.approx(difference)
    for outcome in comparison.baseline + comparison.method:
        assert outcome.gold.shape[0] == 12 and np.isfinite(outcome.probabilities).all()
    assert "2 seeds" in str(comparison)


def test_labels_only_side_is_a_plain_training(tmp_path, tokenizer):
    comparison = textpl.compare(
        trainers(tmp_path, tokenizer), textpl.fixmatch(make_pool()), seeds=[3], match="steps", metric="macro_f1"
    )
    set_seed(3)
    plain = trainers(tmp_path, tokenizer)(3)
    plain.train()
    logits = plain.predict(plain.eval_dataset).predictions
    np.testing.assert_array_equal(comparison.baseline[0].predictions, logits.argmax(1))
    assert comparison.baseline[0].steps == comparison.method[0].steps == 4


def test_labels_only_gets_the_same_compute(tmp_path, tokenizer):
    method = textpl.pseudo_label(make_pool(), threshold=0.0, ratio=2, weight=1.0)
    comparison = textpl.compare(trainers(tmp_path, tokenizer, max_steps=10), method, seeds=[0])
    ours, plain = comparison.method[0], comparison.baseline[0]
    assert ours.steps == 10
    assert plain.token_passes == plain.labeled_passes
    assert plain.token_passes == pytest.approx(ours.token_passes, rel=0.15)
    assert plain.steps == _matched_steps(ours)


def test_what_the_head_sees_is_kept_for_a_map(tmp_path, tokenizer):
    kept, seen = tmp_path / "kept", []

    def look(seed, trainer):
        trainer.model.classifier.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
        trainer.predict(trainer.eval_dataset)

    settings = {"seeds": [0], "match": "steps", "folder": kept}
    first = textpl.compare(trainers(tmp_path, tokenizer), textpl.fixmatch(make_pool()), on_model=look, **settings)
    features, inputs = first.method[0].features, torch.cat(seen).detach().numpy()
    assert features.shape[0] == len(inputs) and first.baseline[0].features is not None
    gaps = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (features.astype(float), inputs)]
    np.testing.assert_allclose(*gaps, atol=0.02)
    again = textpl.compare(trainers(tmp_path, tokenizer), textpl.fixmatch(make_pool()), **settings)
    np.testing.assert_array_equal(again.method[0].features, features)


def test_the_method_may_be_other_rows(tmp_path, tokenizer):
    other = make_data(tokenizer, seed=3)
    comparison = textpl.compare(
        trainers(tmp_path, tokenizer),
        None,
        seeds=[0],
        method_trainer=trainers(tmp_path, tokenizer, data=other),
        match="steps",
        name="other rows",
        baseline_name="these rows",
    )
    ours, plain = comparison.method[0], comparison.baseline[0]
    assert not np.array_equal(ours.probabilities, plain.probabilities) and ours.token_passes > 0
    assert comparison.to_dict()["baseline"]["name"] == "these rows"
    set_seed(0)
    alone = trainers(tmp_path, tokenizer, data=other)(0)
    alone.train()
    np.testing.assert_array_equal(alone.predict(alone.eval_dataset).predictions.argmax(1), ours.predictions)
    with pytest.raises(ValueError, match="both sides would be the same"):
        textpl.compare(trainers(tmp_path, tokenizer), None, seeds=[0])


def test_finished_trainings_are_not_repeated(tmp_path, tokenizer):
    built = []

    def make(seed):
        built.append(seed)
        return trainers(tmp_path, tokenizer)(seed)

    settings = {"folder": tmp_path / "kept", "match": "steps"}
    first = textpl.compare(make, textpl.fixmatch(make_pool()), seeds=[0], **settings)
    assert built == [0, 0]
    (tmp_path / "kept" / "0-baseline.npz").unlink()
    second = textpl.compare(make, textpl.fixmatch(make_pool()), seeds=[0], **settings)
    assert built == [0, 0, 0]
    assert first.interval == second.interval
    assert first.method[0].history == second.method[0].history


def test_a_method_may_depend_on_the_seed(tmp_path, tokenizer):
    seen = []
    textpl.compare(
        trainers(tmp_path, tokenizer, max_steps=1),
        lambda seed: seen.append(seed) or textpl.fixmatch(make_pool(seed=seed)),
        seeds=[4, 5],
    )
    assert seen == [4, 5]


def test_multi_label_cuts_are_the_same_rule_for_both_sides(tmp_path, tokenizer):
    method = textpl.fixmatch(make_pool(task="multi"))
    comparison = textpl.compare(trainers(tmp_path, tokenizer, "multi"), method, seeds=[0], thresholds=0.5)
    for outcome in comparison.baseline + comparison.method:
        np.testing.assert_array_equal(outcome.predictions, outcome.probabilities >= 0.5)


def test_what_would_be_dishonest_is_refused(tmp_path, tokenizer):
    method = textpl.fixmatch(make_pool())
    choosing = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps", "save_steps": 1}
    with pytest.raises(ValueError, match="chooses a checkpoint on its eval_dataset"):
        textpl.compare(trainers(tmp_path, tokenizer, eval_steps=1, **choosing), method, seeds=[0])
    with pytest.raises(ValueError, match="different seeds"):
        textpl.compare(trainers(tmp_path, tokenizer), method, seeds=[0, 0])
    one = make_model()
    with pytest.raises(ValueError, match="trained before"):
        textpl.compare(trainers(tmp_path, tokenizer, model=one), method, seeds=[0])


def test_a_folder_belongs_to_one_comparison(tmp_path, tokenizer):
    settings = {"seeds": [0], "folder": tmp_path / "kept"}
    textpl.compare(trainers(tmp_path, tokenizer), textpl.fixmatch(make_pool()), name="fixmatch", **settings)
    with pytest.raises(ValueError, match="another comparison.*fixmatch"):
        textpl.compare(trainers(tmp_path, tokenizer), textpl.uda(make_pool()), name="uda", **settings)


def test_test_rows_in_the_pool_are_counted(tmp_path, tokenizer, caplog):
    test = make_trainer(tmp_path, tokenizer).eval_dataset
    pool = datasets.Dataset.from_dict({"text": [*make_pool(rows=30)["text"][:], *test["text"][:3]]})
    textpl.compare(trainers(tmp_path, tokenizer), textpl.fixmatch(pool, max_length=16), seeds=[0])
    assert "test texts are in the pool" in caplog.text


def test_bad_arguments_say_so(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="one or more different seeds"):
        textpl.compare(trainers(tmp_path, tokenizer), textpl.fixmatch(make_pool()), seeds=[])
    with pytest.raises(ValueError, match="match='epochs'"):
        textpl.compare(trainers(tmp_path, tokenizer), textpl.fixmatch(make_pool()), seeds=[0], match="epochs")

    def without_test(seed):
        trainer = trainers(tmp_path, tokenizer)(seed)
        trainer.eval_dataset = None
        return trainer

    with pytest.raises(ValueError, match="test rows"):
        textpl.compare(without_test, textpl.fixmatch(make_pool()), seeds=[0])
