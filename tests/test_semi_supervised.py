"""The callback in a real Trainer: what it learns, logs, warns of and refuses."""

from __future__ import annotations

import copy
import functools
import gc
import json
import logging
import threading
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
import transformers
from conftest import make_data, make_model, make_pool, make_texts, make_trainer, method_tasks
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import (
    AutoModelForSequenceClassification,
    BertForTokenClassification,
    Trainer,
    TrainerCallback,
    pipeline,
)
from transformers.trainer_utils import HPSearchBackend

import textpl
from textpl import METHODS, SemiSupervised
from textpl.components.align import AlignToPrior
from textpl.components.labeled import TrainingSignalAnnealing
from textpl.components.losses import cross_entropy
from textpl.components.schedules import linear
from textpl.components.selection import FixedThreshold, LabelThresholds
from textpl.components.views import WordNoise


def build(name, task="single", **settings):
    teacher = {"teacher": make_model(task, seed=5)} if name == "distillation" else {}
    return METHODS[name].make(make_pool(task=task), **teacher, **settings)


@pytest.mark.parametrize(("name", "task"), method_tasks())
def test_every_method_trains_and_leaves_a_plain_model(tmp_path, tokenizer, name, task):
    trainer = make_trainer(tmp_path, tokenizer, task=task, max_steps=6)
    before = [p.detach().clone() for p in trainer.model.parameters()]
    textpl.attach(trainer, build(name, task)).train()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    history = [h for h in trainer.state.log_history if "textpl/mask_rate" in h]
    assert history and all(0 <= h["textpl/mask_rate"] <= 1.0001 for h in history)
    assert {"textpl/unlabeled_loss", "textpl/target_entropy", "textpl/weight"} <= set(history[-1])
    trainer.save_model(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert model.config.problem_type == f"{task}_label_classification"
    scores = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)("good film")[0]
    assert len(scores) == 3


def test_a_method_learns_from_the_pool(tmp_path, tokenizer):
    """With a perfect teacher in a column and labels that say nothing, what is learnt comes from the pool."""
    texts = make_texts(400, seed=3)[0]
    gold = [int("good" in text) for text in texts]
    pool = datasets.Dataset.from_dict({"text": texts, "p": [[1.0 - g, float(g)] for g in gold], "gold": gold})
    labeled = make_data(tokenizer, rows=8, labels=2).remove_columns("label").add_column("label", [0, 1] * 4)
    trainer = make_trainer(
        tmp_path,
        tokenizer,
        model=make_model(labels=2),
        data=labeled,
        max_steps=150,
        learning_rate=5e-3,
        lr_scheduler_type="linear",
        logging_steps=50,
    )
    callback = textpl.distillation(pool, column="p", column_kind="probabilities", temperature=1.0, ratio=4, weight=5.0)
    textpl.attach(trainer, callback).train()
    texts = make_texts(200, seed=4)[0]
    model = trainer.model.eval()
    predicted = model(**tokenizer(texts, return_tensors="pt", padding=True).to(model.device)).logits.argmax(-1)
    assert np.mean([p == ("good" in t) for p, t in zip(predicted.tolist(), texts, strict=True)]) > 0.95
    assert trainer.state.log_history[-2]["textpl/precision"] == pytest.approx(1.0)


def test_logged_values_are_those_of_the_step(tmp_path, tokenizer):
    callback = SemiSupervised(make_pool(), select=FixedThreshold(0.6), loss=cross_entropy, weight=0.5, ratio=2)
    trainer = make_trainer(tmp_path, tokenizer, max_steps=1, learning_rate=0.0)
    model = make_model().eval()
    textpl.attach(trainer, callback).train()
    batch = next(callback.step.run.pool.batches(0, 1, 8))
    p = model(**batch.views[0]).logits.detach().softmax(-1)
    accepted = p.max(-1).values >= 0.6
    labels = p.argmax(-1)
    logs = trainer.state.log_history[0]
    assert logs["textpl/mask_rate"] == pytest.approx(accepted.float().mean().item())
    assert logs["textpl/unlabeled_loss"] == pytest.approx(
        (-p.max(-1).values.log()[accepted]).sum().item() / 8, rel=1e-4
    )
    assert logs["textpl/target_entropy"] == pytest.approx(-(p * p.log()).sum(-1).mean().item(), rel=1e-4)
    right = (labels == batch.gold)[accepted].float().mean().item()
    assert logs["textpl/precision"] == pytest.approx(right)
    shares = torch.bincount(labels[accepted], minlength=3) / accepted.sum()
    assert [logs[f"textpl/accepted/LABEL_{i}"] for i in range(3)] == pytest.approx(shares.tolist())
    assert logs["textpl/weight"] == 0.5


def test_values_reach_tensorboard_through_attach(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    trainer = make_trainer(tmp_path / "out", tokenizer, report_to="tensorboard", max_steps=2)
    textpl.attach(trainer, build("fixmatch", threshold=0.4)).train()
    (file,) = (tmp_path / "board").rglob("events*")
    board = EventAccumulator(str(file))
    board.Reload()
    assert any("textpl/mask_rate" in tag for tag in board.Tags()["scalars"])
    assert json.dumps(trainer.state.log_history)  # plain numbers


def test_attach_returns_the_trainer_and_takes_only_our_callbacks(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer)
    assert textpl.attach(trainer, build("fixmatch")) is trainer
    with pytest.raises(TypeError, match="SemiSupervised callbacks, not object"):
        textpl.attach(trainer, object())


def test_a_subclass_of_trainer_will_do(tmp_path, tokenizer):
    class Mine(Trainer):
        pass

    trainer = make_trainer(tmp_path, tokenizer, trainer=Mine, max_steps=2)
    textpl.attach(trainer, build("softmatch")).train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("task", ["single", "multi"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_labeled_loss_is_scaled_over_the_step_and_spares_evaluation(tmp_path, tokenizer, task, accumulation):
    """A labelled loss equal to the plain one must give the plain gradient, and the plain evaluation loss."""

    def plain(logits, labels, step):
        return step.task.cross_entropy(logits, step.task.targets(labels)).mean()

    results = []
    for labeled_loss in (None, plain):
        callback = SemiSupervised(make_pool(task=task), weight=0.3, labeled_loss=labeled_loss)
        data = make_data(tokenizer, rows=16, task=task)
        trainer = make_trainer(
            tmp_path, tokenizer, task=task, data=data, max_steps=2, gradient_accumulation_steps=accumulation
        )
        textpl.attach(trainer, callback).train()
        results.append((trainer.state.log_history[0]["grad_norm"], trainer.evaluate()["eval_loss"]))
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_two_supervised_losses_are_refused(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer)
    trainer.compute_loss_func = lambda outputs, labels, num_items_in_batch=None: outputs.logits.sum()
    with pytest.raises(ValueError, match="only one loss"):
        textpl.attach(trainer, build("uda"))
    with pytest.raises(ValueError, match="only one loss"):
        textpl.attach(make_trainer(tmp_path, tokenizer, label_smoothing_factor=0.1), build("uda"))


def test_evaluation_keeps_the_plain_loss(tmp_path, tokenizer):
    callback = SemiSupervised(make_pool(), labeled_loss=lambda logits, labels, step: 42.0 + 0 * logits.sum())
    trainer = textpl.attach(make_trainer(tmp_path, tokenizer, max_steps=2), callback)
    plain = make_trainer(tmp_path, tokenizer).evaluate()["eval_loss"]
    assert trainer.evaluate()["eval_loss"] == pytest.approx(plain)
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(42.0)
    assert trainer.evaluate()["eval_loss"] < 20


def test_a_trainer_that_swallows_the_count_is_refused(tmp_path, tokenizer):
    class Mine(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
            return super().compute_loss(model, inputs, return_outputs)

    trainer = textpl.attach(make_trainer(tmp_path, tokenizer, trainer=Mine), build("uda"))
    with pytest.raises(ValueError, match="num_items_in_batch"):
        trainer.train()


def test_a_trainer_holds_one_callback_at_a_time(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, max_steps=1)
    callback = build("uda")
    for _ in range(2):  # the same one twice is once
        textpl.attach(trainer, callback)
    assert trainer.callback_handler.callbacks.count(callback) == 1
    with pytest.raises(ValueError, match="one at a time"):
        textpl.attach(trainer, build("fixmatch"))
    plain = make_trainer(tmp_path, tokenizer, callbacks=[build("fixmatch"), build("softmatch")])
    with pytest.raises(ValueError, match="one at a time"):
        plain.train()


def test_being_attached_is_no_property_of_the_callback(tmp_path, tokenizer):
    callback = build("uda")
    textpl.attach(make_trainer(tmp_path, tokenizer), callback)
    with pytest.raises(ValueError, match="labeled_loss replaces"):
        make_trainer(tmp_path, tokenizer, callbacks=[callback]).train()


class Stop(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 1:
            raise KeyboardInterrupt


def interrupted(tmp_path, tokenizer, model, callback):
    trainer = make_trainer(tmp_path, tokenizer, model=model, callbacks=[Stop()])
    with pytest.raises(KeyboardInterrupt):
        textpl.attach(trainer, callback).train()


def test_an_interrupted_training_leaves_no_thread(tmp_path, tokenizer):
    callback = build("adamatch", weight=1.0)
    interrupted(tmp_path, tokenizer, make_model(), callback)
    for thread in threading.enumerate():
        if thread.name.startswith("textpl-pool"):
            thread.join(timeout=20)
            assert not thread.is_alive()
    assert callback.step.index == 1  # still here, and with it all that it holds


def test_an_interrupted_training_leaves_no_hook_once_its_trainer_is_gone(tmp_path, tokenizer):
    model = make_model()
    interrupted(tmp_path, tokenizer, model, build("adamatch"))
    gc.collect()
    assert not model._forward_hooks


def test_a_callback_takes_its_hook_along_to_another_model(tmp_path, tokenizer):
    first, callback = make_model(), build("adamatch")
    interrupted(tmp_path, tokenizer, first, callback)
    assert first._forward_hooks
    textpl.attach(make_trainer(tmp_path, tokenizer, max_steps=1), callback).train()
    assert not first._forward_hooks


def test_a_copy_of_the_model_is_not_watched(tmp_path, tokenizer):
    class Copy(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            copied = copy.deepcopy(kwargs["model"]).train()
            copied(input_ids=torch.full((4, 20), 7)).logits.sum().backward()

    tokens = []
    for callbacks in ([], [Copy()]):
        callback = build("adamatch")
        trainer = make_trainer(tmp_path, tokenizer, max_steps=2, callbacks=callbacks)
        textpl.attach(trainer, callback).train()
        tokens.append(callback.labeled_passes)
    assert tokens[0] == tokens[1]


def test_an_interrupted_training_leaves_nothing_that_disturbs_the_next(tmp_path, tokenizer):
    model = make_model()
    interrupted(tmp_path, tokenizer, model, build("adamatch"))
    textpl.attach(make_trainer(tmp_path, tokenizer, model=model, max_steps=2), build("adamatch")).train()
    assert not model._forward_hooks


def test_a_smaller_batch_is_found_when_memory_runs_out(tmp_path, tokenizer):
    model = make_model()
    forward = model.forward

    @functools.wraps(forward)  # the Trainer reads the signature to know which columns to keep
    def small_only(*args, **kwargs):
        if len(kwargs["input_ids"]) > 2:
            raise RuntimeError("CUDA out of memory.")
        return forward(*args, **kwargs)

    model.forward = small_only
    trainer = make_trainer(tmp_path, tokenizer, model=model, auto_find_batch_size=True, max_steps=2)
    textpl.attach(trainer, build("fixmatch", view=None)).train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("save_strategy", ["steps", "no"])
def test_checkpoints_of_a_hyperparameter_search_are_refused_at_once(tmp_path, tokenizer, monkeypatch, save_strategy):
    monkeypatch.setattr(transformers.integrations, "hp_params", lambda trial: trial.params)  # no optuna here
    trainer = make_trainer(tmp_path, tokenizer, max_steps=1, save_strategy=save_strategy)
    callback = build("fixmatch")
    textpl.attach(trainer, callback)
    trainer.hp_search_backend, trainer.hp_space, trainer.hp_name = HPSearchBackend.OPTUNA, lambda trial: {}, None
    trial = SimpleNamespace(number=0, params={})
    if save_strategy == "no":
        trainer.train(trial=trial)
        assert trainer.state.global_step == 1
        return
    with pytest.raises(ValueError, match="hyperparameter search.*save_strategy='no'"):
        trainer.train(trial=trial)
    assert callback.step is None, "before anything was trained"


def test_rows_longer_than_the_model_are_cut(tmp_path, tokenizer):
    pool = datasets.Dataset.from_dict({"text": ["good " * 100, "bad"] * 10})
    callback = SemiSupervised(pool, max_length=64)
    textpl.attach(make_trainer(tmp_path, tokenizer, max_steps=1), callback).train()
    assert callback.step.run.pool.tokens.lengths.max() == 32  # positions of the model


def test_padding_of_the_labelled_rows_does_not_lengthen_the_pool(tmp_path, tokenizer):
    data = make_data(tokenizer).map(lambda b: tokenizer(b["text"], padding="max_length", max_length=32), batched=True)
    callback = SemiSupervised(datasets.Dataset.from_dict({"text": ["bad"] * 9}))
    textpl.attach(make_trainer(tmp_path, tokenizer, data=data, max_steps=1), callback).train()
    assert callback.step.run.pool.max_length == 11


@pytest.mark.parametrize(
    ("label", "message"), [(7, "row 2 has the label 7, but the model knows 3"), (-100, "row 2 has the label -100")]
)
def test_labels_out_of_range_are_named(tmp_path, tokenizer, label, message):
    data = make_data(tokenizer)
    labels = data["label"][:]
    data = data.remove_columns("label").add_column("label", [*labels[:2], label, *labels[3:]])
    with pytest.raises(ValueError, match=message):
        textpl.attach(make_trainer(tmp_path, tokenizer, data=data), build("fixmatch")).train()


def test_other_labelled_data_is_named(tmp_path, tokenizer):
    stream = make_data(tokenizer).to_iterable_dataset()
    with pytest.raises(ValueError, match="labelled rows are a streaming dataset"):
        textpl.attach(make_trainer(tmp_path, tokenizer, data=stream), build("fixmatch")).train()
    trainer = make_trainer(tmp_path, tokenizer, data=make_data(tokenizer, task="multi"))
    with pytest.raises(ValueError, match="needs one class id per row"):
        textpl.attach(trainer, build("fixmatch")).train()


def test_torch_style_labelled_rows_will_do(tmp_path, tokenizer):
    rows = [{k: row[k] for k in ("input_ids", "attention_mask", "label")} for row in make_data(tokenizer)]
    trainer = make_trainer(tmp_path, tokenizer, data=rows, max_steps=2)
    textpl.attach(trainer, build("adamatch")).train()
    assert trainer.state.global_step == 2


def test_gold_may_be_unknown_for_some_rows_and_must_be_numbers(tmp_path, tokenizer):
    pool = datasets.Dataset.from_dict(
        {"text": ["good film", "bad book"] * 8, "p": [[1.0, 0, 0]] * 16, "gold": [0, -1] * 8}
    )
    trainer = make_trainer(tmp_path, tokenizer, max_steps=2)
    textpl.attach(trainer, textpl.distillation(pool, column="p", column_kind="probabilities")).train()
    assert trainer.state.log_history[0]["textpl/precision"] == 1.0
    named = datasets.Dataset.from_dict({"text": ["good"], "gold": ["positive"]})
    with pytest.raises(ValueError, match="'gold' must hold class ids.*remove_columns"):
        textpl.attach(make_trainer(tmp_path, tokenizer), SemiSupervised(named)).train()


def test_distillation_on_the_labelled_rows_too(tmp_path, tokenizer):
    labeled = make_data(tokenizer, rows=10)
    callback = textpl.distillation(make_pool(rows=20), teacher=make_model(seed=5), labeled=labeled)
    textpl.attach(make_trainer(tmp_path, tokenizer, max_steps=1), callback).train()
    assert len(callback.step.run.pool) == 30
    assert callback.teacher.prepared_tokens == callback.step.run.pool.tokens.lengths.sum()


def test_best_model_and_averaged_weights_are_warned_of(tmp_path, tokenizer, caplog):
    settings = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps"}
    trainer = make_trainer(tmp_path, tokenizer, max_steps=2, eval_steps=1, save_steps=1, **settings)
    textpl.attach(trainer, build("mean_teacher")).train()
    assert "averaged weights replace the best checkpoint's" in caplog.text


def test_labeled_loss_needs_attach(tmp_path, tokenizer):
    callback = SemiSupervised(make_pool(), labeled_loss=TrainingSignalAnnealing())
    with pytest.raises(ValueError, match="labeled_loss.*attach"):
        make_trainer(tmp_path, tokenizer, callbacks=[callback]).train()


def test_problem_type_is_found_and_written_to_the_config(tmp_path, tokenizer):
    for task in ("single", "multi"):
        model = make_model(task)
        model.config.problem_type = None
        trainer = make_trainer(tmp_path, tokenizer, task=task, model=model, max_steps=1)
        textpl.attach(trainer, SemiSupervised(make_pool(task=task))).train()
        assert trainer.model.config.problem_type == f"{task}_label_classification"


def test_labels_in_the_pool_are_ignored_and_gold_is_not_learnt(tmp_path, tokenizer):
    gradients = []
    for extra in ({}, {"label": [2] * 60, "gold": [1] * 60}, {"gold": [0] * 60}):
        pool = datasets.Dataset.from_dict({"text": make_texts(60, seed=1)[0], **extra})
        trainer = make_trainer(tmp_path, tokenizer, max_steps=2)
        textpl.attach(trainer, SemiSupervised(pool)).train()
        gradients.append([h["grad_norm"] for h in trainer.state.log_history if "grad_norm" in h])
    assert gradients[0] == gradients[1] == gradients[2]


def test_warm_up_on_the_labels_does_not_touch_the_pool(tmp_path, tokenizer):
    callback = SemiSupervised(make_pool(), weight=linear(1.0, start=0.5, end=0.75))
    trainer = make_trainer(tmp_path, tokenizer, max_steps=8)
    textpl.attach(trainer, callback).train()
    touched = [h["step"] for h in trainer.state.log_history if "textpl/mask_rate" in h]
    assert touched == [6, 7, 8]  # steps 0..4 weigh 0 (log of step i + 1)
    assert callback.monitor.rows == {"teacher": 12, "student": 12}


def test_labelled_statistics_are_those_of_the_labelled_batches_alone(tmp_path, tokenizer):
    callback, seen = build("adamatch", weight=1.0, ratio=2), []
    settings = {"learning_rate": 0.0, "eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 6}
    trainer = make_trainer(tmp_path, tokenizer, max_steps=3, **settings)
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: seen.append(collate(rows)) or seen[-1]
    textpl.attach(trainer, callback).train()
    model = make_model().eval()
    training = [batch for batch in seen if len(batch["input_ids"]) == 4][:3]  # evaluation has 6 rows to a batch
    p = [
        model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits.softmax(-1).detach()
        for b in training
    ]
    statistics = callback.step.labeled
    decay = statistics.confidence.decay
    weights = torch.tensor([decay**2, decay, 1.0])
    for running, values in (
        (statistics.confidence.value, torch.stack([x.max(-1).values.mean() for x in p])),
        (statistics.marginal.value, torch.stack([x.mean(0) for x in p])),
    ):
        expected = torch.tensordot(weights / weights.sum(), values, dims=1)
        torch.testing.assert_close(running, expected, rtol=1e-4, atol=1e-5)
    accepted = [h["textpl/mask_rate"] for h in trainer.state.log_history if "textpl/mask_rate" in h]
    assert accepted[0] == 0 and max(accepted[1:]) > 0, "one step late: nothing counts before the first labelled batch"


def test_labelled_statistics_weigh_rows_not_micro_batches(tmp_path, tokenizer):
    """Three micro-batches of 4, 4 and 1 rows in one step: the mean over nine rows."""
    callback, data = build("adamatch", weight=1.0), make_data(tokenizer, rows=9)
    settings = {"learning_rate": 0.0, "gradient_accumulation_steps": 3}
    trainer = make_trainer(tmp_path, tokenizer, data=data, max_steps=1, **settings)
    textpl.attach(trainer, callback).train()
    model = trainer.model.eval()
    p = torch.cat([model(input_ids=torch.tensor([row["input_ids"]])).logits.softmax(-1).detach() for row in data])
    statistics = callback.step.labeled
    torch.testing.assert_close(statistics.marginal.value, p.mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(statistics.confidence.value, p.max(-1).values.mean(), rtol=1e-4, atol=1e-5)


def test_student_runs_on_accepted_rows_only(tmp_path, tokenizer):
    callback = SemiSupervised(make_pool(), select=FixedThreshold(0.6), ratio=5)
    trainer = make_trainer(tmp_path, tokenizer, max_steps=1, learning_rate=0.0)
    textpl.attach(trainer, callback).train()
    accepted = trainer.state.log_history[0]["textpl/mask_rate"] * 20
    assert callback.monitor.rows == {"teacher": 20, "student": round(accepted)}
    assert 0 < accepted < 20


def test_warnings_name_what_goes_astray(tmp_path, tokenizer, caplog):
    caplog.set_level(logging.WARNING, logger="textpl")
    for select in (FixedThreshold(1.0), FixedThreshold(0.0)):
        trainer = make_trainer(tmp_path, tokenizer, max_steps=21, learning_rate=0.0)
        textpl.attach(trainer, SemiSupervised(make_pool(), select=select, ratio=2)).train()
    assert caplog.text.count("No unlabelled row was accepted in the last 20 steps") == 1
    assert caplog.text.count("Every unlabelled row was accepted in the last 20 steps") == 1


def test_a_class_that_swallows_the_pool_is_warned_of(tmp_path, tokenizer, caplog):
    pool = datasets.Dataset.from_dict({"text": make_texts(60)[0], "p": [[0.98, 0.01, 0.01]] * 60})
    trainer = make_trainer(tmp_path, tokenizer, max_steps=21)
    textpl.attach(trainer, textpl.distillation(pool, column="p", column_kind="probabilities")).train()
    assert "'LABEL_0' took 100 % of the accepted rows" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0}, "ratio=0"),
        ({"ratio": 1.5}, "ratio=1.5"),
        ({"weight": -1.0}, "weight=-1.0"),
        ({"weight": float("nan")}, "weight=nan"),
        ({"max_length": 1}, "max_length=1"),
    ],
)
def test_settings_out_of_range_are_refused_at_once(settings, message):
    with pytest.raises(ValueError, match=message):
        SemiSupervised(make_pool(), **settings)


def test_a_model_without_a_head_is_refused(tmp_path, tokenizer):
    model = BertForTokenClassification(make_model().config)
    with pytest.raises(ValueError, match="BertForTokenClassification has no sequence-classification head"):
        textpl.attach(make_trainer(tmp_path, tokenizer, model=model), SemiSupervised(make_pool())).train()


def test_a_tokenizer_without_pad_token_is_refused(tmp_path):
    from conftest import make_tokenizer

    tokenizer = make_tokenizer()
    trainer = make_trainer(tmp_path, tokenizer)
    tokenizer.pad_token = None
    trainer.model.config.pad_token_id = None
    with pytest.raises(ValueError, match="no pad token.*pad_token = "):
        textpl.attach(trainer, SemiSupervised(make_pool())).train()


def test_regression_is_refused(tmp_path, tokenizer):
    model = make_model()
    model.config.problem_type = "regression"
    with pytest.raises(ValueError, match="problem_type='regression'"):
        textpl.attach(make_trainer(tmp_path, tokenizer, model=model), SemiSupervised(make_pool())).train()


@pytest.mark.parametrize(
    ("task", "component", "message"),
    [
        ("single", {"select": LabelThresholds()}, "LabelThresholds is for multi-label"),
        ("multi", {"select": LabelThresholds(positive=[0.9, 0.8])}, "2 thresholds for 3 labels"),
        ("multi", {"align": AlignToPrior("uniform")}, "prior='uniform'"),
        ("single", {"align": AlignToPrior([0.5, 0.4])}, "3 probabilities, one per label"),
        ("single", {"align": AlignToPrior([0.5, 0.4, 0.4])}, "sums to 1.3"),
    ],
)
def test_slots_that_do_not_fit_the_task_say_so(tmp_path, tokenizer, task, component, message):
    trainer = make_trainer(tmp_path, tokenizer, task=task)
    with pytest.raises(ValueError, match=message):
        textpl.attach(trainer, SemiSupervised(make_pool(task=task), **component)).train()


def test_evaluation_during_training_does_not_disturb_it(tmp_path, tokenizer):
    norms = []
    for settings in ({}, {"eval_strategy": "steps", "eval_steps": 1}):
        # No dropout: evaluation draws from the random generator, in a plain Trainer too.
        trainer = make_trainer(tmp_path, tokenizer, max_steps=4, **settings)
        textpl.attach(trainer, build("adamatch", view=WordNoise())).train()
        norms.append([h["grad_norm"] for h in trainer.state.log_history if "grad_norm" in h])
    assert norms[0] == norms[1]


def test_bf16_autocast_trains(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, bf16=True, max_steps=3)
    textpl.attach(trainer, build("mean_teacher")).train()
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())


def test_ema_teacher_ends_in_the_model_and_the_student_beside_it(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, max_steps=5)
    callback = build("mean_teacher", decay=0.9)
    textpl.attach(trainer, callback).train()
    student = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").state_dict()
    average = callback.teacher.average
    for p, mean in zip(trainer.model.parameters(), average, strict=True):
        assert torch.equal(p, mean)
    assert any(not torch.equal(student[name], p) for name, p in trainer.model.named_parameters())


@pytest.mark.parametrize("task", ["single", "multi"])
@pytest.mark.parametrize("name", sorted(set(METHODS) - {"hdl", "distillation"}))
def test_a_pool_row_of_nan_is_left_out_and_told(tmp_path, tokenizer, caplog, name, task):
    """Its logits are NaN in every pass; the weights, the targets of others and all running statistics stay finite."""
    if task not in METHODS[name].tasks:
        pytest.skip("not for this task")
    trainer = make_trainer(tmp_path, tokenizer, task=task, max_steps=8, logging_steps=1)
    poison = tokenizer("terrible terrible terrible")["input_ids"]
    texts = [*make_texts(31, seed=7)[0], "terrible terrible terrible"]
    forward = type(trainer.model).forward

    def poisoned(self, input_ids=None, **inputs):
        output = forward(self, input_ids=input_ids, **inputs)
        if input_ids is None:
            return output
        hit = torch.tensor([row[: len(poison)].tolist() == poison for row in input_ids])
        factor = torch.where(hit, torch.tensor(float("nan")), torch.tensor(1.0))
        output.logits = output.logits * factor[:, None]
        return output

    trainer.model.forward = poisoned.__get__(trainer.model)
    callback = METHODS[name].make(datasets.Dataset.from_dict({"text": texts}), view=None, ratio=4, weight=1.0)
    with caplog.at_level(logging.WARNING):
        textpl.attach(trainer, callback).train()
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())
    for part in callback._parts().values():
        if isinstance(part, torch.nn.Module) and name != "cap":  # whose table holds what was said of every row
            assert all(tensor.isfinite().all() for tensor in part.state_dict().values())
    assert "gives NaN or infinite numbers for unlabeled row 31" in caplog.text
    assert sum(callback.monitor.dropped.values()) > 0
    assert trainer.state.log_history[-2].get("textpl/not_finite", 0) > 0
