"""Labels-only against a method: same rows, same seeds, same compute, nothing repeated after an interruption."""

from __future__ import annotations

import json

import datasets
import numpy as np
import pytest
import torch
from conftest import make_data, make_model, make_pool, make_trainer
from transformers import TrainerCallback, set_seed

import textpl
from textpl.arms import matched_steps


def trainers(tmp_path, tokenizer, task="single", **settings):
    return lambda seed: make_trainer(tmp_path / "out", tokenizer, task=task, seed=seed, **settings)


def form(comparison, name):
    (found,) = [arm for arm in comparison.of_kind("labels only") if arm.name == name]
    return found


@pytest.mark.parametrize("task", ["single", "multi"])
def test_compare_reports_both_sides(tmp_path, tokenizer, task):
    method = textpl.softmatch(make_pool(task=task))
    comparison = textpl.compare(trainers(tmp_path, tokenizer, task), method, seeds=range(2), name="softmatch")
    results = json.loads(json.dumps(comparison.to_dict()))
    told = {"task", "metric", "unit", "baseline", "method", "difference", "cost", "seed_results"}
    assert set(results) == told | {"seen_test_texts", "arms", "arms_told", "looks"}
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
    given = form(comparison, "as given")
    np.testing.assert_array_equal(given.outcomes[0].predictions, logits.argmax(1))
    assert given.outcomes[0].steps == comparison.method[0].steps == 4


def test_labels_only_gets_the_same_compute(tmp_path, tokenizer):
    method = textpl.pseudo_label(make_pool(), threshold=0.0, ratio=2, weight=1.0)
    comparison = textpl.compare(trainers(tmp_path, tokenizer, max_steps=10), method, seeds=[0])
    ours, plain = comparison.method[0], form(comparison, "same compute").outcomes[0]
    assert ours.steps == 10 == form(comparison, "as given").outcomes[0].steps
    assert plain.token_passes == plain.labeled_passes
    assert plain.token_passes == pytest.approx(ours.token_passes, rel=0.15)
    assert plain.steps == matched_steps(ours)


def test_the_method_is_judged_against_the_best_form_of_labels_only(tmp_path, tokenizer):
    method = textpl.mean_teacher(make_pool(), ratio=2)
    comparison = textpl.compare(trainers(tmp_path, tokenizer, max_steps=6), method, seeds=range(2))
    forms = comparison.of_kind("labels only")
    equipped = "same compute, with the method's view and averaged weights"
    assert [arm.name for arm in forms] == ["same compute", "as given", equipped]
    assert comparison.interval.mean == min(arm.interval.mean for arm in forms)
    assert comparison.baseline is comparison.judged.outcomes
    long = [form(comparison, name).outcomes[0] for name in ("same compute", equipped)]
    assert long[0].steps == long[1].steps > 6
    assert not np.array_equal(long[0].probabilities, long[1].probabilities)
    results = comparison.to_dict()
    assert [arm["judged"] for arm in results["arms"]].count(True) == 1
    assert results["baseline"]["form"] == comparison.judged.name
    assert "best form on the test rows" in results["arms_told"][0] and "same compute" in results["arms_told"][0]


def test_averaged_weights_of_labels_only_are_those_of_a_plain_training(tmp_path, tokenizer):
    """The average that labels-only gets, by hand from the weights after every step."""
    weights = []

    class Keep(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            weights.append([p.detach().clone() for p in kwargs["model"].parameters()])

    make = trainers(tmp_path, tokenizer)
    method = textpl.mean_teacher(make_pool(), view=None, decay=0.5)
    comparison = textpl.compare(make, method, seeds=[0], match="steps")
    set_seed(0)
    plain = make(0)
    average = [p.detach().clone() for p in plain.model.parameters()]
    plain.add_callback(Keep)
    plain.train()
    for number, step in enumerate(weights, start=1):
        m = min(1 - 1 / (number + 1), 0.5)
        average = [m * a + (1 - m) * w for a, w in zip(average, step, strict=True)]
    with torch.no_grad():
        for parameter, mean in zip(plain.model.parameters(), average, strict=True):
            parameter.copy_(mean)
    expected = torch.tensor(plain.predict(plain.eval_dataset).predictions).softmax(1)
    ours = form(comparison, "as given, with averaged weights").outcomes[0].probabilities
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_rows_without_texts_have_no_view(tmp_path, tokenizer, caplog):
    data = make_data(tokenizer).remove_columns("text")
    comparison = textpl.compare(
        trainers(tmp_path, tokenizer, data=data), textpl.fixmatch(make_pool()), seeds=[0], match="steps"
    )
    assert [arm.name for arm in comparison.arms] == ["as given"] and comparison.told_arms() == []
    assert "keep the column when you tokenize" in caplog.text


@pytest.mark.parametrize("task", ["single", "multi"])
def test_embeddings_alone_and_a_placebo_stand_beside_the_method(tmp_path, tokenizer, task):
    labeled = make_data(tokenizer, task=task).select_columns(["text"])
    settings = {"seeds": [0], "match": "steps", "folder": tmp_path / "kept", "encoder": "lsa"}
    comparison = textpl.compare(
        trainers(tmp_path, tokenizer, task),
        textpl.pseudo_label(make_pool(task=task), view=None),
        placebo=textpl.pseudo_label(labeled, view=None),
        name="pseudo_label",
        **settings,
    )
    assert [arm.kind for arm in comparison.arms] == ["labels only", "placebo", "embeddings"]
    (alone,) = comparison.of_kind("embeddings")
    test = make_trainer(tmp_path, tokenizer, task=task).eval_dataset
    found = textpl.label(
        make_data(tokenizer, task=task).select_columns(["text", "label"]),
        datasets.Dataset.from_dict({"text": test["text"][:] + make_pool(task=task)["text"][:]}),
        encoder="lsa",
        label_names=["LABEL_0", "LABEL_1", "LABEL_2"],
        progress=False,
    )
    np.testing.assert_allclose(alone.outcomes[0].probabilities, found.probabilities[:12], atol=1e-6)
    assert alone.outcomes[0].steps == 0 and len(comparison.to_dict()["arms"]) == 3
    told = "\n".join(comparison.told_arms())
    assert "nothing trained" in told and "pseudo_label with a placebo for a pool" in told
    with pytest.raises(ValueError, match="another comparison"):
        textpl.compare(
            trainers(tmp_path, tokenizer, task), None, method_trainer=trainers(tmp_path, tokenizer, task),
            name="pseudo_label", label_settings={"method": "linear"}, **settings,
        )  # fmt: skip
    with pytest.raises(ValueError, match="another comparison"):
        textpl.compare(
            trainers(tmp_path, tokenizer, task), None, method_trainer=trainers(tmp_path, tokenizer, task),
            name="pseudo_label", **settings | {"encoder": "other"},
        )  # fmt: skip


def test_the_labeler_needs_texts(tmp_path, tokenizer):
    data = make_data(tokenizer).remove_columns("text")
    with pytest.raises(ValueError, match="keep it when you tokenize"):
        textpl.compare(trainers(tmp_path, tokenizer, data=data), textpl.fixmatch(make_pool()), seeds=[0], encoder="lsa")


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
    assert built == [0, 0, 0], "the method, labels only, labels only with the view"
    (tmp_path / "kept" / "0-baseline.npz").unlink()
    second = textpl.compare(make, textpl.fixmatch(make_pool()), seeds=[0], **settings)
    assert built == [0, 0, 0, 0]
    assert first.interval == second.interval
    assert first.method[0].history == second.method[0].history


def test_looks_widen_the_interval(tmp_path, tokenizer):
    """Going on with the same seeds is no new look; more seeds, or fewer, are."""
    make, method = trainers(tmp_path, tokenizer, max_steps=1), textpl.pseudo_label(make_pool(), view=None)
    settings = {"folder": tmp_path / "kept", "match": "steps"}
    levels = []
    for seeds in ([0, 1], [1, 0], [0, 1, 2], [0, 1], [2]):
        comparison = textpl.compare(make, method, seeds=seeds, **settings)
        levels.append(comparison.interval.level)
        assert comparison.to_dict()["looks"] == [list(look.seeds) for look in comparison.looks]
    assert levels == [0.95, 0.95, 1 - 0.05 / 4, 0.95, 1 - 0.05 / 9]
    assert comparison.looks == (
        ((0, 1), "accuracy"),
        ((0, 1, 2), "accuracy"),
    ) and "look 3: the result was seen with 2 seeds, then 3" in str(comparison)
    other = textpl.compare(make, method, seeds=[2], metric="macro_f1", **settings)
    assert other.interval.level == 1 - 0.05 / 16 and "then 1 seed by accuracy before" in str(other)
    fresh = textpl.compare(make, method, seeds=[0], match="steps")
    assert fresh.looks == () and fresh.interval.level == 0.95 and "look" not in str(fresh)


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
