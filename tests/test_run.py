"""`textpl run` as a user meets it: files on disk in, model, numbers and picture out, and errors that help."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version

import pytest
from conftest import make_model, make_texts, make_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

from textpl.cli import app

RECIPE = """\
schema: 1
description: tiny
data: {source: data}
split: {labels_per_class: 4}
model: {name: tiny, max_length: 16}
method: {name: softmatch}
train: {max_steps: 3, per_device_train_batch_size: 4, bf16: false}
seeds: [0, 1]
"""


@pytest.fixture
def folder(tmp_path):
    """A recipe with its own tiny model and data."""
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    write_data(tmp_path / "data", lambda score: int(score > 0), {"task": "single", "label_names": ["bad", "good"]})
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def write_data(folder, label, info):
    folder.mkdir()
    for part, rows, seed in (("train", 60, 0), ("test", 20, 1)):
        lines = [json.dumps({"text": t, "label": label(s)}) for t, s in zip(*make_texts(rows, seed), strict=True)]
        (folder / f"{part}.jsonl").write_text("\n".join(lines))
    (folder / "info.json").write_text(json.dumps(info))


def textpl(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def run(folder, *arguments):
    return textpl("run", folder / "recipe.yaml", "--out", folder / "out", *arguments)


def test_a_run_leaves_model_numbers_and_picture(folder):
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "Did the unlabelled text help?" in done.output and "labels only" in done.output
    out = folder / "out"
    files = {"model", "recipe.yaml", "results.json", "report.html", "comparison.png", "seeds"}
    assert {p.name for p in out.iterdir()} == files
    model = AutoModelForSequenceClassification.from_pretrained(out / "model")
    assert model.config.id2label == {0: "bad", 1: "good"}
    assert AutoTokenizer.from_pretrained(out / "model")("good film")["input_ids"]
    assert not list((out / "model").glob("*.bin")), "no pickles"
    results = json.loads((out / "results.json").read_text())
    assert results["method"]["name"] == "softmatch" and results["baseline"]["seeds"] == [0, 1]
    assert results["versions"]["textpl"] == version("textpl")
    assert results["data"]["splits"][0]["sizes"]["labeled"] == 8 and results["label_names"] == ["bad", "good"]
    assert set(results["cost"]["method"]) == {"steps", "seconds", "token_passes"}
    assert (out / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    assert results["command"] == f"textpl run {folder / 'recipe.yaml'} --out {out}"
    page = (out / "report.html").read_text()
    again = f"{folder / 'recipe.yaml'}</pre>"  # without --out, which is taken
    for words in ("Did the unlabelled text help?", again, 'id="map"', "Pseudo-labels while training"):
        assert words in page, words


def test_multi_label(folder):
    shutil.rmtree(folder / "data")
    names = ["a", "b", "c"]
    write_data(
        folder / "data",
        lambda score: [n for n, on in zip(names, (score > 0, score < 0, score % 2 == 0), strict=True) if on],
        {"task": "multi", "label_names": names},
    )
    (folder / "recipe.yaml").write_text(RECIPE.replace("labels_per_class: 4", "labeled: 20, min_per_class: 2"))
    done = run(folder, "--seeds", "0")
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "out" / "results.json").read_text())
    assert results["task"] == "multi" and results["metric"] == "macro_f1"
    assert set(results["seed_results"][0]["method"]["scores"]) == {"micro_f1", "macro_f1", "subset_accuracy"}
    config = AutoModelForSequenceClassification.from_pretrained(folder / "out" / "model").config
    assert config.problem_type == "multi_label_classification"


def test_the_pool_is_labelled_from_embeddings_first(folder):
    stages = "stages: [label, train]\nlabel: {method: linear, encoder: lsa, class_prior: uniform}"
    (folder / "recipe.yaml").write_text(RECIPE.replace("method: {name: softmatch}", stages))
    done = run(folder)
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "out" / "results.json").read_text())
    assert results["method"]["name"] == "distillation"
    labels = results["labels"]
    assert [part["encoder"] for part in labels] == ["lsa", "lsa"] and labels[0]["method"] == "linear"
    assert labels[0]["accuracy"] > 55 and labels[0]["selected"] == results["data"]["splits"][0]["sizes"]["pool"]
    assert "pool rows labelled by linear" in done.output
    assert "Embeddings alone (textpl.label with method linear, class_prior uniform, nothing trained)" in " ".join(
        done.output.split()
    )


def test_embeddings_alone_and_a_placebo_stand_beside_the_method(folder):
    alone = "label: {encoder: lsa}\ncompare: {embeddings: true}\nseeds: [0]"
    (folder / "recipe.yaml").write_text(RECIPE.replace("seeds: [0, 1]", alone))
    assert "encoder: lsa" in run(folder, "--dry-run").output
    done = run(folder, "--placebo")
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "out" / "results.json").read_text())
    assert [arm["kind"] for arm in results["arms"]] == ["labels only"] * 3 + ["placebo", "embeddings"]
    page = (folder / "out" / "report.html").read_text()
    for told in ("Judged against labels only", "Embeddings alone", "with a placebo for a pool"):
        assert told in " ".join(done.output.split()) and told in page, told
    assert "No test text is in the pool" in done.output and "No test text is in the pool" in page
    (folder / "cleaning.yaml").write_text(RECIPE.replace("method: {name: softmatch}", "stages: [clean, train]"))
    refused = textpl("run", folder / "cleaning.yaml", "--out", folder / "other", "--placebo")
    assert refused.exit_code == 1 and "there is no placebo for it" in refused.output


def test_a_placebo_for_labels_from_embeddings(folder):
    stages = "stages: [label, train]\nlabel: {method: linear, encoder: lsa}"
    (folder / "recipe.yaml").write_text(RECIPE.replace("method: {name: softmatch}", stages))
    assert run(folder, "--seeds", "0", "--placebo").exit_code == 0
    results = json.loads((folder / "out" / "results.json").read_text())
    assert [arm["kind"] for arm in results["arms"]] == ["labels only"] * 2 + ["placebo", "embeddings"]
    kept = json.loads((folder / "out" / "seeds" / "0-placebo-labels.json").read_text())
    assert kept["rows"] == 8 and results["labels"][0]["rows"] > 8


def test_a_loss_for_wrong_labels_in_every_training(folder):
    loss = "train: {labeled_loss: {name: elr, lam: 1.0}, "
    (folder / "recipe.yaml").write_text(RECIPE.replace("train: {", loss))
    done = run(folder, "--seeds", "0")
    assert done.exit_code == 0, done.output
    assert json.loads((folder / "out" / "results.json").read_text())["method"]["name"] == "softmatch"


def test_a_loss_for_wrong_labels_against_the_plain_one(folder):
    loss = "train: {labeled_loss: {name: co_teaching, noise_rate: 0.2}, "
    (folder / "recipe.yaml").write_text(RECIPE.replace("train: {", loss).replace("{name: softmatch}", "none"))
    done = run(folder, "--seeds", "0")
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "out" / "results.json").read_text())
    assert results["method"]["name"] == "co_teaching"
    assert results["cost"]["baseline"]["steps"] == 2 * results["cost"]["method"]["steps"], "two networks are two runs"
    assert results["cost"]["method"]["token_passes"] > 0


def test_hdl_after_fixmatch(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace("{name: softmatch}", "{name: hdl, start: 0.3, relabel: linear}"))
    done = run(folder, "--seeds", "0")
    assert done.exit_code == 0, done.output
    assert json.loads((folder / "out" / "results.json").read_text())["method"]["name"] == "hdl"


def test_the_same_command_gives_the_same_numbers(folder):
    assert run(folder).exit_code == 0
    first = json.loads((folder / "out" / "results.json").read_text())["seed_results"]
    shutil.rmtree(folder / "out")
    assert run(folder).exit_code == 0
    second = json.loads((folder / "out" / "results.json").read_text())["seed_results"]
    assert [s["method"]["scores"] for s in first] == [s["method"]["scores"] for s in second]


def test_a_finished_run_is_never_overwritten_and_an_interrupted_one_goes_on(folder):
    assert run(folder, "--seeds", "0").exit_code == 0
    again = run(folder)
    assert again.exit_code == 1 and "is not empty" in again.output and "--resume" in again.output
    (folder / "out" / "results.json").unlink()
    (folder / "out" / "seeds" / "0-baseline.npz").unlink()
    kept = (folder / "out" / "seeds" / "0-method.npz").stat().st_mtime_ns
    assert run(folder, "--seeds", "0", "--resume").exit_code == 0
    assert (folder / "out" / "results.json").exists()
    assert (folder / "out" / "seeds" / "0-method.npz").stat().st_mtime_ns == kept
    other = run(folder, "--resume", "--set", "train.max_steps=4")
    assert other.exit_code == 1 and "train.max_steps was 3 and is 4 now" in other.output


def test_a_finished_run_is_reported_again_from_what_was_kept(folder):
    assert run(folder, "--seeds", "0").exit_code == 0
    page = (folder / "out" / "report.html").read_text()
    for name in ("results.json", "report.html", "comparison.png"):
        (folder / "out" / name).unlink()
    assert run(folder, "--seeds", "0", "--resume").exit_code == 0
    assert (folder / "out" / "report.html").read_text() == page


def test_more_seeds_after_a_look_are_told(folder):
    assert run(folder, "--seeds", "0").exit_code == 0
    (folder / "out" / "seeds" / "looks.json").unlink()  # an older textpl did not note them
    again = run(folder, "--seeds", "0", "--resume")
    assert again.exit_code == 0 and "look 2" not in again.output
    more = run(folder, "--seeds", "0,1", "--resume")
    assert more.exit_code == 0 and "look 2: the result was seen with 1 seed before" in " ".join(more.output.split())
    results = json.loads((folder / "out" / "results.json").read_text())
    assert results["looks"] == [[0]] and results["difference"]["level"] == 1 - 0.05 / 4
    assert "98.75 % interval" in (folder / "out" / "report.html").read_text()


def test_without_out_every_run_has_a_folder_of_its_own(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for _ in range(2):
        done = textpl("run", "recipe.yaml", "--seeds", "0", "--set", "train.max_steps=1")
        assert done.exit_code == 0, done.output
    first, second = sorted(p.name for p in (folder / "runs").iterdir())
    assert second == f"{first}-2"


def test_data_on_the_command_line_replaces_the_recipes(folder):
    write_data(folder / "elsewhere", lambda score: int(score > 1), {"task": "single", "label_names": ["no", "yes"]})
    assert run(folder, "--data", folder / "elsewhere", "--seeds", "0").exit_code == 0
    config = AutoModelForSequenceClassification.from_pretrained(folder / "out" / "model").config
    assert config.id2label == {0: "no", 1: "yes"}


@pytest.mark.parametrize("data", ["data", "elsewhere"])
def test_the_recipe_of_a_run_can_be_looked_at_where_its_data_are_not(folder, data):
    if data != "data":
        (folder / "data").rename(folder / data)
        (folder / "data").mkdir()  # what the recipe names
    assert run(folder, "--data", folder / data, "--seeds", "0").exit_code == 0
    shown, diff = textpl("recipes", "show", folder / "out"), textpl("recipes", "diff", folder, folder / "out")
    assert shown.exit_code == 0 and "accuracy in %: labels only" in shown.output, shown.output
    assert diff.exit_code == 0 and "B measured" in diff.output, diff.output
    assert textpl("recipes", "validate", folder / "out").output == f"{folder / 'out'}: valid\n"
    again = textpl("run", folder / "out", "--out", folder / "again")
    assert again.exit_code == 1 and "data.source" in again.output


def test_a_recipe_may_come_without_data(folder):
    file = folder / "recipe.yaml"
    file.write_text(RECIPE.replace("{source: data}", "{source: yours}"))
    for arguments in ([], ["--dry-run"]):
        done = run(folder, *arguments)
        assert done.exit_code == 1 and "comes without data" in done.stderr and "--data" in done.stderr
    assert not (folder / "out").exists()
    assert "to be named with --data" in textpl("recipes", "show", file).output
    assert run(folder, "--data", folder / "data").exit_code == 0
    file.write_text(RECIPE.replace("{source: data}", "{source: yours, revision: main}"))
    assert "revision would have no effect" in textpl("recipes", "validate", file).stderr


def test_columns_of_data_on_the_command_line_can_be_named(folder):
    (folder / "elsewhere").mkdir()
    for part, count, seed in (("train", 60, 0), ("test", 20, 1)):
        rows = [
            {"body": t, "title": "film", "label": int(n > 0)} for t, n in zip(*make_texts(count, seed), strict=True)
        ]
        (folder / "elsewhere" / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ambiguous = run(folder, "--data", folder / "elsewhere")
    assert ambiguous.exit_code == 1 and "data.text" in ambiguous.output
    done = run(folder, "--data", folder / "elsewhere", "--set", "data.text=body", "--seeds", "0")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "method.n_sgima=0.5"], "n_sigma"),
        (["--set", "train.push_to_hub=true"], "push_to_hub"),
        (["--seeds", "a,b"], "whole numbers separated by commas"),
        (["--set", "split.labels_per_class=500"], "500"),
        (["--set", "model.name=missing"], "missing"),
    ],
)
def test_mistakes_on_the_command_line_are_named(folder, arguments, message):
    done = run(folder, *arguments)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "train"),
        ([{"body": "good", "title": "bad", "label": 0}], "body"),
        ([{"label": 0}], "text"),
        ([{"text": "good", "label": 5}], "5"),
        ([{"text": None, "label": 0}, {"text": "good", "label": 1}], "row 0"),
    ],
)
def test_broken_data_is_named(folder, train, message):
    (folder / "data" / "train.jsonl").write_text("\n".join(map(json.dumps, train)))
    done = run(folder)
    assert done.exit_code == 1 and "Error" in done.output, done.output
    assert message in " ".join(done.output.split())


def test_an_unknown_recipe_lists_the_bundled_ones():
    done = textpl("run", "quickstrat")
    assert done.exit_code == 1 and "quickstart" in done.output


def test_version_and_help():
    assert textpl("--version").output.strip() == version("textpl")
    assert "--set" in textpl("run", "--help").output
