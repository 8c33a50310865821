"""What is half-written, broken or lost in a folder is not shared: the file is named, and what to do."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import make_texts
from hub_helpers import refused, textpl
from test_hub_models import run  # noqa: F401 (a fixture)

from textpl.sharing.push import push

TARGET = "ada/reviews"


def halve(file):
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def write_rows(file):
    rows = zip(*make_texts(60), strict=True)
    file.write_text(
        "".join(json.dumps({"text": f"{t} {i}", "label": f"label {s}"}) + "\n" for i, (t, s) in enumerate(rows))
    )
    return file


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer_config.json"])
def test_a_half_model_is_not_pushed(run, name):  # noqa: F811
    halve(run / "model" / name)
    with refused(rf"{name} is half-written or broken: the run is not complete.*--resume"):
        push(run, TARGET, dry_run=True)
    done = textpl("recipes", "push", run, TARGET, "--dry-run")
    assert done.exit_code == 1 and done.output.startswith(f"Error: {run / 'model' / name} is half-written")


def test_a_lost_model_is_not_pushed(run):  # noqa: F811
    assert textpl("recipes", "push", run, TARGET, "--dry-run").exit_code == 0
    (run / "model" / "tokenizer_config.json").unlink()
    with refused("tokenizer_config.json is missing: the run is not complete"):
        push(run, TARGET, dry_run=True)
    shutil.rmtree(run / "model")
    with refused("holds no model: the run is not finished"):
        push(run, TARGET, dry_run=True)
    done = textpl("recipes", "push", run, TARGET, "--dry-run")
    assert done.exit_code == 1 and "config.json is missing: the run is not complete" in done.output
    (run / "results.json").unlink()
    assert "results.json is missing: the run is not finished" in textpl("recipes", "push", run, TARGET).output
    shutil.rmtree(run / "seeds")  # a recipe like any other
    assert textpl("recipes", "push", run, TARGET, "--dry-run").exit_code == 0


@pytest.mark.parametrize("name", ["results.json", "recipe.yaml"])
def test_half_files_of_a_run_are_named(run, name):  # noqa: F811
    halve(run / name)
    with refused(rf"{run / name}: .*It is half-written"):
        push(run, TARGET, dry_run=True)
    (run / name).write_bytes(b"\xff\xfe\x00")
    with refused(f"{run / name}: "):
        push(run, TARGET, dry_run=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of textpl clean and a file of textpl label."""
    folder = tmp_path_factory.mktemp("made")
    rows = write_rows(folder / "rows.jsonl")
    for command in (
        ("clean", rows, "--encoder", "lsa", "--out", folder / "cleaned"),
        ("label", rows, rows, "--encoder", "lsa", "--out", folder / "labels.jsonl", "--all"),
    ):
        done = textpl(*command)
        assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize(
    ("source", "name", "content"),
    [
        ("cleaned", "cleaned/cleaning.json", "half"),
        ("cleaned", "cleaned/cleaning.json", "[]"),
        ("cleaned", "cleaned/info.json", "half"),
        ("cleaned", "cleaned/info.json", "[]"),
        ("labels.jsonl", "labels.jsonl.report.json", "half"),
        ("labels.jsonl", "labels.jsonl.report.json", "[]"),
        ("labels.jsonl", "labels.jsonl.report.json", '{"a": 1}'),
    ],
)
def test_half_files_of_labels_are_named(made, tmp_path, source, name, content):
    folder = shutil.copytree(made, tmp_path / "copy")
    push(folder / source, TARGET, dry_run=True)
    file = folder / name
    if content == "half":
        halve(file)
    else:
        file.write_text(content)
    told = f"{file} is (half-written or broken|not what textpl writes).*Run textpl .* again"
    with pytest.raises(ValueError, match=told):
        push(folder / source, TARGET, dry_run=True)
