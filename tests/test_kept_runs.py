"""The folder of a run with files that are half-written, broken or gone: named, or made again, never half believed."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from conftest import make_model, make_texts, make_tokenizer
from typer.testing import CliRunner

from textpl.cli import app
from textpl.models import load_finished, saved_problem
from textpl.recipes.parsing import RecipeError, load_recipe
from textpl.recipes.running.run import run_recipe

RECIPE = """\
schema: 1
data: {source: data}
split: {labels_per_class: 8}
model: {name: tiny, max_length: 16}
stages: [label, train]
label: {encoder: lsa, method: knn_dv}
train: {max_steps: 2, per_device_train_batch_size: 4, bf16: false}
seeds: [0, 1]
"""


def write_inputs(folder):
    make_model(labels=2).save_pretrained(folder / "tiny")
    make_tokenizer().save_pretrained(folder / "tiny")
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "data").mkdir()
    for part, rows, seed in (("train", 60, 0), ("unlabeled", 60, 2), ("test", 20, 1)):
        texts = zip(*make_texts(rows, seed), strict=True)
        lines = [json.dumps({"text": f"{t} {i}", "label": int(s > 0)}) for i, (t, s) in enumerate(texts)]
        (folder / "data" / f"{part}.jsonl").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A recipe and a run of it."""
    folder = tmp_path_factory.mktemp("finished")
    write_inputs(folder)
    run_recipe(load_recipe(folder), out=folder / "out")
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def resume(folder):
    return CliRunner().invoke(app, ["run", str(folder), "--out", str(folder / "out"), "--resume"])


def halve(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_a_run_leaves_no_temporary_files(finished):
    names = sorted(path.name for path in (finished / "out").iterdir())
    assert names == ["comparison.png", "model", "recipe.yaml", "report.html", "results.json", "seeds"]
    assert saved_problem(finished / "out" / "model") is None
    assert not [path for path in (finished / "out").rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("name", ["settings.json", "0-labels.json", "1-method.npz", "0-baseline.npz"])
def test_a_half_file_is_named_and_its_remedy_works(folder, name):
    file = folder / "out" / "seeds" / name
    halve(file)
    done = resume(folder)
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {file} is half-written or broken (") and "--resume" in done.output
    file.unlink()
    done = resume(folder)
    if name == "0-labels.json":  # the training that it tells of has to be made again too
        assert done.exit_code == 1 and f"remove {file.with_name('0-method.npz')} too" in done.output
        file.with_name("0-method.npz").unlink()
        done = resume(folder)
    assert done.exit_code == 0, done.output
    assert file.exists()


@pytest.mark.parametrize("content", [b"", b"# data x: y\nschema: [", b"\xff\xfe", b"schema: 1\nschema: 1\n"])
def test_a_broken_recipe_of_a_run_is_named(folder, content):
    (folder / "out" / "recipe.yaml").write_bytes(content)
    done = resume(folder)
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert f"{folder / 'out' / 'recipe.yaml'} is half-written or broken (" in done.output
    assert "choose another folder with --out" in done.output


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda model: shutil.rmtree(model), "model/config.json is missing"),
        (lambda model: (model / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda model: halve(model / "model.safetensors"), "model.safetensors is half-written or broken"),
        (lambda model: halve(model / "config.json"), "config.json is half-written or broken"),
        (lambda model: (model / "tokenizer_config.json").unlink(), "tokenizer_config.json is missing"),
    ],
)
def test_a_lost_model_is_trained_again(folder, harm, told):
    model, seeds = folder / "out" / "model", folder / "out" / "seeds"
    others = {path: path.stat().st_mtime_ns for path in seeds.glob("*.npz") if path.name != "0-method.npz"}
    harm(model)
    done = resume(folder)
    assert done.exit_code == 0, done.output
    assert told in done.output and "seed 0 is trained again" in done.output
    assert saved_problem(model) is None and load_finished(str(model))[0].config.num_labels == 2
    assert {path: path.stat().st_mtime_ns for path in others} == others, "no other training is repeated"
    assert "trained again" not in resume(folder).output


def test_weights_in_several_files_are_all_looked_at(tmp_path):
    make_model().save_pretrained(tmp_path, max_shard_size="5KB")
    make_tokenizer().save_pretrained(tmp_path)
    assert saved_problem(tmp_path) is None
    parts = sorted(tmp_path.glob("*.safetensors"))
    assert len(parts) > 1
    parts[-1].unlink()
    assert saved_problem(tmp_path) == f"{parts[-1]} is missing"


def test_an_output_folder_that_cannot_be_written_is_found_before_anything_is_read(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setattr("textpl.recipes.running.run.read_data", lambda *_: pytest.fail("data were read"))
    with pytest.raises(OSError, match="cannot write to .*out: Not a directory"):
        run_recipe(load_recipe(folder), out=folder / "file" / "out")


def test_a_run_that_does_not_begin_leaves_no_folder(folder):
    with pytest.raises((RecipeError, ValueError), match="class"):
        run_recipe(load_recipe(folder, overrides=["split.labels_per_class=500"]), out=folder / "new")
    assert not (folder / "new").exists()
    os.mkdir(folder / "mine")
    with pytest.raises((RecipeError, ValueError), match="class"):
        run_recipe(load_recipe(folder, overrides=["split.labels_per_class=500"]), out=folder / "mine")
    assert list((folder / "mine").iterdir()) == []


def test_what_a_killed_run_left_half_written_is_in_nobodys_way(folder):
    left = [".recipe.yaml.1-0123abcd.partial", "seeds/.0-method.npz.1-0123abcd.partial"]
    (folder / "new").mkdir()
    (folder / "new" / left[0]).write_text("schema:")
    (folder / "out" / left[1]).write_text("PK")
    assert CliRunner().invoke(app, ["run", str(folder), "--out", str(folder / "new")]).exit_code == 0
    assert resume(folder).exit_code == 0
    assert not [path for path in folder.rglob("*.partial")]


def test_broken_results_beside_a_recipe_are_named(folder):
    halve(folder / "out" / "results.json")
    done = CliRunner().invoke(app, ["recipes", "show", str(folder / "out")])
    assert done.exit_code == 1 and done.output.count("\n") == 1
    assert done.output.startswith(f"Error: {folder / 'out' / 'results.json'}: ") and "Remove it" in done.output


def test_validating_goes_on_after_an_error_of_any_class(folder, monkeypatch):
    def fail(source):
        raise KeyError(source)

    monkeypatch.setattr("textpl.recipes.run_header.load_to_show", fail)
    done = CliRunner().invoke(app, ["recipes", "validate", "one", "two"])
    assert (
        done.exit_code == 1 and "one: not valid\nKeyError: 'one'. " in done.output and "KeyError: 'two'" in done.output
    )
