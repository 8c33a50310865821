"""What the command line says of a run that cannot start or is stopped, and of recipes, before anything heavy loads."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import make_model, make_texts, make_tokenizer
from typer.testing import CliRunner

import textpl.methods
import textpl.relabeling.methods
from textpl.callbacks import labeled_feed
from textpl.cli import app
from textpl.recipes import field_types, method_settings

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "datasets", "sklearn", "pandas", "pyarrow"}
# As a shell would: where a test runs in the background, interrupts are ignored by what it starts.
COMMAND = """\
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from textpl.cli import app
app()
"""
RECIPE = """\
schema: 1
data: {source: data}
split: {labels_per_class: 4}
model: {name: tiny, max_length: 16}
method: fixmatch
train: {max_steps: 2, per_device_train_batch_size: 4, bf16: false, logging_steps: 1}
seeds: [0]
"""


def textpl_command(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, " ".join(done.output.split())


def write_rows(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    else:
        file.write_text("\n".join(map(json.dumps, rows)))


def rows(count, seed, text="text", label="label"):
    texts = zip(*make_texts(count, seed), strict=True)
    return [{text: f"{t} {i}", label: ("bad", "good")[int(s > 0)]} for i, (t, s) in enumerate(texts)]


@pytest.fixture
def folder(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    write_rows(tmp_path / "data" / "train.jsonl", rows(60, 0))
    write_rows(tmp_path / "data" / "test.jsonl", rows(20, 1))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


# A glance at a recipe


def loaded_by(*arguments):
    code = f"import sys\nfrom textpl.cli import app\napp({list(map(str, arguments))!r}, standalone_mode=False)\n"
    code += f"print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "not valid" not in done.stdout
    return done.stdout.splitlines()[-1]


def test_listing_recipes_loads_nothing_heavy(tmp_path):
    """Each is read and validated, with a method, stages, an encoder and a teacher."""
    assert loaded_by("recipes", "list", ROOT / "recipes") == "[]"
    labelled = RECIPE.replace("source: data", "source: a/b").replace("method: fixmatch", "stages: [label, train]")
    (tmp_path / "labelled.yaml").write_text(labelled.replace("tiny", "a/tiny") + "label: {method: hdl, encoder: lsa}\n")
    (tmp_path / "hdl.yaml").write_text(
        labelled.replace("tiny", "a-tiny").replace("stages: [label, train]", "method: {name: hdl, relabel: knn}")
    )
    assert loaded_by("recipes", "list", tmp_path) == "[]"


@pytest.mark.parametrize("command", ["validate", "show"])
@pytest.mark.parametrize("recipe", ["ag_news_hdl", "goemotions_noisy"])
def test_a_glance_at_a_recipe_loads_nothing_heavy(command, recipe):
    assert loaded_by("recipes", command, ROOT / "recipes" / recipe) == "[]"


def test_the_table_of_methods_is_that_of_their_functions():
    made = {name: method.defaults for name, method in textpl.methods.METHODS.items()}
    for name, defaults in made.items():
        wanted = {key: value for key, value in defaults.items() if key not in method_settings.RESERVED}
        assert list(method_settings.SETTINGS[name].items()) == list(wanted.items()), name
    assert list(method_settings.SETTINGS) == list(made)
    assert list(field_types.RELABELING) == ["auto", *textpl.relabeling.methods.METHODS]


# Paths of Windows


def test_paths_of_windows_are_told_as_they_were_typed(tmp_path):
    code, told = textpl_command("recipes", "validate", r"C:\Users\me\recipe.yaml")
    assert code == 1 and r"No recipe 'C:\Users\me\recipe.yaml': it is no file" in told
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("source: data", r"source: D:\texts\it's.csv"))
    code, told = textpl_command("recipes", "validate", tmp_path)
    assert code == 1 and r"""data.source: "D:\texts\it's.csv" is no path inside the recipe's folder""" in told
    code, told = textpl_command("run", "quickstart", "--set", r"split.dev=a\b")
    assert code == 1 and r"expected a whole number, found the text 'a\b'" in told


# Ctrl-C


def test_an_interrupted_run_says_how_to_go_on(folder):
    out = folder / "out"
    wanted = ["run", folder, "--out", out, "--set", "train.max_steps=100000"]
    begun = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, wanted)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not (out / "work").exists() and begun.poll() is None:  # written when the first training begins
            time.sleep(0.1)
        begun.send_signal(signal.SIGINT)
        _, told = begun.communicate(timeout=60)
    finally:
        begun.kill()
    assert begun.returncode == 130, told
    assert "Traceback" not in told
    last = f"Interrupted: finished trainings are kept in {out}. Go on with the same command and --resume."
    assert told.splitlines()[-1] == last


def test_a_run_that_wrote_nothing_yet_says_so(folder, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("textpl.recipes.running.run.read_data", interrupt)
    code, told = textpl_command("run", folder, "--out", folder / "out")
    assert (code, told) == (130, "Interrupted: nothing was trained or written yet.")


# Columns


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_a_column_that_is_not_there_is_told_as_in_recipes(folder, dry):
    write_rows(folder / "comments.csv", rows(60, 0, "comments", "topic"))
    begin = ("run", folder, "--data", folder / "comments.csv", "--out", folder / "out", *dry)
    code, told = textpl_command(*begin, "--set", "data.text=comment", "--set", "data.label=topic")
    assert code == 1
    assert "data.text: 'comment' is no column of train; its columns are ['comments', 'topic']" in told
    assert "did you mean 'comments'? Name it with --set data.text=NAME." in told and "text_column" not in told
    code, told = textpl_command(*begin, "--set", "data.text=comments", "--set", "data.label=xyz")
    assert code == 1 and "data.label: 'xyz' is no column" in told and "mean" not in told
    assert "['comments', 'topic']. Name it with --set data.label=NAME." in told
    code, told = textpl_command(*begin)
    assert code == 1 and "data.text: columns ['comments', 'topic'] could all be the text column." in told
    assert told.endswith("Name it with --set data.text=NAME.") and "text_column" not in told


def test_a_column_named_with_an_option_is_guessed_too(folder):
    write_rows(folder / "comments.csv", rows(60, 0, "comments", "topic"))
    code, told = textpl_command("clean", folder / "comments.csv", "--out", folder / "out", "--text", "comment")
    assert code == 1 and "did you mean" not in told, "two columns are missing"
    code, told = textpl_command(
        "clean", folder / "comments.csv", "--out", folder / "out", "--text", "comment", "--labels", "topic"
    )
    assert code == 1 and "['comments', 'topic']; did you mean 'comments'? Say --text COLUMN." in told


# Rows without a label


def test_half_labelled_files_are_read_as_they_are_and_as_folders(folder):
    labelled, blank = rows(60, 0)[:40], [row | {"label": ""} for row in rows(60, 0)[40:]]
    write_rows(folder / "half.csv", labelled + blank)
    code, told = textpl_command("run", folder, "--data", folder / "half.csv", "--out", folder / "out")
    assert code == 1 and "half.csv has no test set: add a test file, or pass test=N" in told
    code, told = textpl_command(
        "run", folder, "--data", folder / "half.csv", "--set", "split.test=20", "--dry-run", "--out", folder / "out"
    )
    assert code == 0 and "8 labelled, 20 unlabelled, 20 test rows" in told, told
    for name, part in {"train": labelled, "test": rows(20, 1), "unlabeled": blank}.items():
        write_rows(folder / "split" / f"{name}.csv", part)
    code, told = textpl_command("run", folder, "--data", folder / "split", "--dry-run", "--out", folder / "out")
    assert code == 0 and "8 labelled" in told and "20 unlabelled" in told, told


def test_weights_of_a_cleaned_folder_are_trained_with(folder, monkeypatch):
    write_rows(folder / "raw.csv", rows(60, 3))
    settings = ("--encoder", "lsa", "--drop", "0.05", "--out", folder / "clean")
    code, told = textpl_command("clean", folder / "raw.csv", *settings)
    assert code == 0, told
    seen = []
    real = labeled_feed.label_weights

    def recorded(dataset, *rest):
        seen.append(real(dataset, *rest))
        return seen[-1]

    monkeypatch.setattr(labeled_feed, "label_weights", recorded)
    options = ("--set", "split.test=20", "--set", "split.labels_per_class=10", "--out", folder / "out")
    code, told = textpl_command("run", folder, "--data", folder / "clean", *options)
    assert code == 0, told
    assert seen and all(len(weights) == 20 for weights in seen)
