"""Recipes about wrong labels: "clean, then fine-tune", noise that is put in, and the reference on right labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import make_model, make_texts, make_tokenizer
from transformers import set_seed
from typer.testing import CliRunner

from textpl import GeneralizedCrossEntropy, NoisyLabels
from textpl.cli import app
from textpl.components.labeled import cross_entropy
from textpl.corpus import read_corpus
from textpl.reading.labels import label_array
from textpl.recipes.loss_settings import LossSettings
from textpl.recipes.parsing import load_recipe
from textpl.recipes.running.noise_stage import estimate_noise
from textpl.recipes.running.noisy_corpus import TRUTH, judged_by_truth, with_truth
from textpl.recipes.running.sides import Sides
from textpl.recipes.running.trainers import Trainers
from textpl.splits import make_split
from textpl.tasks import make_task

RECIPE = """\
schema: 1
data: {source: data, label: label}
split: {labeled: 150, pool: 1}
model: {name: tiny, max_length: 16}
stages: [clean, train]
clean: {encoder: lsa}
train: {max_steps: 6, per_device_train_batch_size: 8, bf16: false, learning_rate: 0.02}
seeds: [0]
"""
NAMES = ["a", "b", "c"]


def write_corpus(folder, task, wrong):
    """Texts with `label`, wrong in the train rows for which `wrong` says so, and the right `actual`."""
    (folder / "data").mkdir()
    for part, rows, seed in (("train", 200, 0), ("test", 40, 1)):
        texts, scores = make_texts(rows, seed)
        if task == "single":
            right = (scores > 0).astype(int)
            given = np.where(wrong(part, rows), 1 - right, right).tolist()
            right = right.tolist()
        else:
            hot = np.stack([scores > 0, scores < 0, scores % 2 == 0], axis=1)
            right = [[n for n, on in zip(NAMES, row, strict=True) if on] for row in hot]
            given = right
        lines = [json.dumps({"text": t, "label": z, "actual": y}) for t, z, y in zip(texts, given, right, strict=True)]
        (folder / "data" / f"{part}.jsonl").write_text("\n".join(lines))
    info = {"task": task, "label_names": NAMES if task == "multi" else ["bad", "good"]}
    (folder / "data" / "info.json").write_text(json.dumps(info))


def some_wrong(part, rows):
    return (np.random.default_rng(0).random(rows) < 0.2) & (part == "train")


@pytest.fixture
def single(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    write_corpus(tmp_path, "single", some_wrong)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("label: label}", "label: label, truth: actual}"))
    return tmp_path


@pytest.fixture
def multi(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    write_corpus(tmp_path, "multi", some_wrong)
    (tmp_path / "recipe.yaml").write_text(RECIPE + "noise: {kind: missing, rate: 0.3}\n")
    return tmp_path


def run(folder, *arguments):
    command = ["run", str(folder / "recipe.yaml"), "--out", str(folder / "out"), *arguments]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return done.output, json.loads((folder / "out" / "results.json").read_text())


def prepared(folder, *overrides):
    loaded = load_recipe(folder / "recipe.yaml", overrides=overrides)
    wanted = loaded.recipe.data
    keep = () if wanted.truth is None else (wanted.truth,)
    corpus = read_corpus(folder / "data", label_column=wanted.label, keep=keep)
    return loaded, with_truth(loaded, corpus)


def test_clean_then_train_and_go_on_after_an_interruption(single):
    output, results = run(single)
    assert "Did the cleaning help?" in output and "noisy labels" in output and "unlabelled" not in output
    assert "For reference, on the right labels" in output
    assert results["method"]["name"] == "cleaned labels"
    (cleaning,) = results["cleaning"]
    assert cleaning["rows"] == 150 and cleaning["encoder"] == "lsa" and cleaning["flagged"] > 5
    known = cleaning["against_truth"]
    assert known["flagged"] == cleaning["flagged"] and 20 < known["errors"] < 45
    assert known["cleaned"]["accuracy"] > known["given"]["accuracy"] == pytest.approx(100 - known["errors"] / 1.5)
    assert results["cost"]["baseline"]["steps"] == results["cost"]["method"]["steps"] == 6
    assert {"baseline", "method", "right_labels"} == set(trained_differently(results))

    (single / "out" / "results.json").unlink()
    (single / "out" / "seeds" / "right_labels" / "0-method.npz").unlink()
    kept = (single / "out" / "seeds" / "0-method.npz").stat().st_mtime_ns
    _, again = run(single, "--resume")
    assert (single / "out" / "seeds" / "0-method.npz").stat().st_mtime_ns == kept
    assert trained_differently(again) == trained_differently(results)


def trained_differently(results):
    """Calibration error of every side of the first seed, which no two different trainings share."""
    pair, right = results["seed_results"][0], results.get("right_labels")
    found = {side: pair[side]["calibration_error"] for side in ("baseline", "method")}
    found |= {"right_labels": right["seed_results"][0]["calibration_error"]} if right else {}
    assert len(set(found.values())) == len(found)
    return found


def test_masked_cells_of_a_multi_label_corpus(multi):
    output, results = run(multi, "--set", "compare.threshold=0.5")
    (cleaning,) = results["cleaning"]
    assert cleaning["task"] == "multi" and "cells masked" in output
    assert set(cleaning["against_truth"]["cleaned"]) == {"micro_f1", "macro_f1", "subset_accuracy"}
    assert results["right_labels"]["name"] == "right labels"
    trained_differently(results)


def test_weights_alone_reach_the_loss_and_without_truth_there_is_no_reference(single):
    output, results = run(single, "--set", "clean.drop=0.5", "--set", "data.truth=null")
    assert "relabelled" not in results["cleaning"][0]["apply"]
    assert set(trained_differently(results)) == {"baseline", "method"}
    assert "right_labels" not in results and "against_truth" not in results["cleaning"][0]
    assert "For reference" not in output


def test_a_loss_under_known_noise_has_the_reference_too(single):
    loss = ("--set", "stages=[train]", "--set", "method=none")
    output, results = run(single, *loss, "--set", "train.labeled_loss=forward_correction")
    assert "Did the loss help?" in output and results["method"]["name"] == "forward_correction"
    assert "cleaning" not in results and results["right_labels"]["seeds"] == [0]
    trained_differently(results)


def test_with_cleaning_a_loss_is_on_both_sides(single):
    loaded, corpus = prepared(single)
    trainers = Trainers(loaded, make_task(corpus.problem_type, 2), corpus.label_names, single / "work")
    rows = corpus.train.select(range(20))
    plain = trainers.make(rows, corpus.test, 0, None, {})
    assert not any(isinstance(c, NoisyLabels) for c in plain.callback_handler.callbacks)
    weighted = rows.select(range(10)).add_column("label_weight", [0.5] * 10)
    for loss, wanted in ((LossSettings(name="gce"), GeneralizedCrossEntropy()), (None, cross_entropy)):
        trainer = trainers.make(rows, corpus.test, 0, loss, {}, cleaned=weighted)
        (callback,) = (c for c in trainer.callback_handler.callbacks if isinstance(c, NoisyLabels))
        assert callback.labeled_loss == wanted
        assert trainer.train_dataset["label_weight"][:] == [0.5] * 10 and len(trainer.eval_dataset) == 40


def test_both_sides_start_with_the_same_weights(single):
    loaded, corpus = prepared(single)
    sides = Sides(loaded, corpus, single / "out", lambda line: None)
    models = []
    for make in (sides.baseline, sides.method_trainer):
        set_seed(0)
        models.append(make(0).model.state_dict())
    assert all(torch.equal(tensor, models[1][name]) for name, tensor in models[0].items())


# ---- what is known of the labels ----


def test_truth_of_the_data_judges_and_is_not_trained_on(single):
    _, corpus = prepared(single)
    given, right = label_array(corpus.train), label_array(corpus.train, TRUTH)
    assert corpus.train.column_names == ["text", "label", TRUTH]
    np.testing.assert_array_equal(given != right, some_wrong("train", 200))
    wrong = corpus.test.remove_columns("label").add_column("label", 1 - label_array(corpus.test, TRUTH))
    corpus.__dict__["test"] = wrong.select_columns(corpus.test.column_names)
    split = judged_by_truth(make_split(corpus, seed=0, labeled=150))
    np.testing.assert_array_equal(label_array(split.test), label_array(corpus.test, TRUTH))
    assert TRUTH not in split.test.column_names and split.pool.column_names == ["text", "gold"]
    assert TRUTH in split.labeled.column_names


@pytest.mark.parametrize("kind", ["missing", "spurious", "swap", "symmetric"])
def test_noise_is_put_into_train_alone(multi, kind):
    loaded, corpus = prepared(multi, f"noise={{kind: {kind}, rate: 0.2, encoder: lsa}}")
    clean = read_corpus(multi / "data", label_column="label")
    np.testing.assert_array_equal(label_array(corpus.train, TRUTH), label_array(clean.train))
    np.testing.assert_array_equal(label_array(corpus.test), label_array(clean.test))
    assert corpus.train.features["label"] == clean.train.features["label"]
    changed = (label_array(corpus.train) != label_array(clean.train)).sum()
    assert changed > 10
    again = with_truth(loaded, clean)
    np.testing.assert_array_equal(label_array(corpus.train), label_array(again.train))


def test_noise_that_the_labels_cannot_have(single):
    with pytest.raises(ValueError, match="single-label has swap, symmetric"):
        prepared(single, "data.truth=null", "noise={kind: missing, rate: 0.2}")


def test_estimated_noise_has_the_form_of_the_loss(single):
    loaded, corpus = prepared(single)
    split = make_split(corpus, seed=0, labeled=190)
    transition = estimate_noise(loaded, corpus, split)["transition"]
    np.testing.assert_allclose(transition.sum(1), 1)
    assert 0.02 < 1 - np.diag(transition).mean() < 0.4


def test_estimated_rates_of_a_multi_label_corpus(multi):
    loaded, corpus = prepared(multi)
    rates = estimate_noise(loaded, corpus, make_split(corpus, seed=0, labeled=190))
    assert rates["false_negative"].shape == rates["false_positive"].shape == (3,)
    assert (rates["false_negative"] + rates["false_positive"] <= 0.9 + 1e-9).all()
    assert rates["false_negative"].mean() > rates["false_positive"].mean()
