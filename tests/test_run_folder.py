"""What a run leaves fits its recipe: stale results are refused, and --resume says what must be repeated."""

from __future__ import annotations

import json

import pytest
from conftest import make_model, make_texts, make_tokenizer
from typer.testing import CliRunner

from textpl.cli import app
from textpl.recipes.measured import changed_settings, check_same, measured_settings, settings_in
from textpl.recipes.parsing import RecipeError, load_recipe, parse_recipe
from textpl.recipes.results import Results, parse_results

BASE = "schema: 1\ndata: {source: owner/name}\nsplit: {labels_per_class: 10}\n"
TINY = """\
schema: 1
data: {source: data}
split: {labels_per_class: 4}
model: {name: tiny, max_length: 16}
method: none
train: {max_steps: 3, per_device_train_batch_size: 4, bf16: false, labeled_loss: gce}
seeds: [0]
expected:
  metric: accuracy
  seeds: [0, 1]
  baseline: {mean: 70.0, std: 2.0}
  method: {mean: 75.0, std: 1.0}
"""


def textpl(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def write_texts(folder, names=("bad", "good")):
    folder.mkdir(parents=True)
    for part, rows, seed in (("train", 60, 0), ("test", 20, 1)):
        lines = [json.dumps({"text": t, "label": int(s > 0)}) for t, s in zip(*make_texts(rows, seed), strict=True)]
        (folder / f"{part}.jsonl").write_text("\n".join(lines))
    (folder / "info.json").write_text(json.dumps({"task": "single", "label_names": list(names)}))


@pytest.fixture
def folder(tmp_path):
    """A recipe with its own tiny model and data, that expects something."""
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    write_texts(tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text(TINY)
    return tmp_path


def parse(tmp_path, text, *overrides):
    return parse_recipe(text, folder=tmp_path, overrides=overrides)


def results_of(recipe, low=-1.0, mean=2.0, **more):
    side = {"mean": 70.0, "std": 1.0, "seeds": [4, 5]}
    return Results.model_validate(
        {
            "metric": "accuracy",
            "baseline": side | {"name": recipe.baseline},
            "method": side | {"name": recipe.tried},
            "difference": {"mean": mean, "interval": [low, 9.0], "level": 0.95},
            "settings": measured_settings(recipe),
            **more,
        }
    )


# ---- the settings beside the numbers ----


@pytest.mark.parametrize(
    ("measured", "now", "message"),
    [
        ("train: {max_steps: 3}", "train: {max_steps: 300}", "with train.max_steps: 3, the recipe says 300"),
        ("", "train: {max_steps: 300}", "with the default of train.max_steps, the recipe says 300"),
        ("train: {max_steps: 3}", "", "with train.max_steps: 3, the recipe leaves it at the default"),
        ("method: softmatch", "method: {name: softmatch, ratio: 2}", "with the default of method.ratio"),
        ("model: {revision: abc}", "model: {revision: abd}", "with model.revision: abc, the recipe says abd"),
        ("method: {view: {tfidf: {p: 0.5}}}", "", "with method.view.tfidf.p: 0.5"),
        ("noise: {kind: symmetric, rate: 0.2}", "noise: {kind: symmetric, rate: 0.3}", "with noise.rate: 0.2"),
        ("model: ada/tiny", "model: eve/tiny", "with model.name: ada/tiny"),
    ],
)
def test_results_of_other_settings_are_refused(tmp_path, measured, now, message):
    left, right = (parse(tmp_path, f"{BASE}{text}\n") for text in (measured, now))
    check_same(left, results_of(left))
    with pytest.raises(RecipeError) as caught:
        check_same(right, results_of(left))
    assert message in str(caught.value) and "run it again, or take the results out" in str(caught.value)


@pytest.mark.parametrize(
    ("measured", "now"),
    [
        ("seeds: [1]", "description: in words\nseeds: [2]\ntextpl: '>=0.1'"),
        ("train: {labeled_loss: gce}", "train: {labeled_loss: {name: gce}}"),
        ("method: {view: tfidf, ratio: 7}", "method: {ratio: 7}"),
        ("", "model: {revision: abc}"),  # pinned afterwards
    ],
)
def test_what_is_no_other_setting(tmp_path, measured, now):
    left, right = (parse(tmp_path, f"{BASE}{text}\n") for text in (measured, now))
    check_same(right, results_of(left))


def test_results_of_an_older_textpl_stay_as_they_are(tmp_path):
    recipe = parse(tmp_path, BASE)
    check_same(parse(tmp_path, BASE, "train.max_steps=7"), results_of(recipe, settings=None))


def test_of_files_the_name_counts(tmp_path):
    (tmp_path / "far").mkdir()
    make_model(labels=2).save_pretrained(tmp_path / "far" / "tiny")
    (tmp_path / "tiny").mkdir()
    typed = parse(tmp_path, BASE, f"model.name={tmp_path / 'far' / 'tiny'}")
    assert str(tmp_path) not in json.dumps(measured_settings(typed)), "nobody learns where things lie"
    check_same(parse(tmp_path, BASE + "model: {name: tiny}\n"), results_of(typed))


def test_changes_of_plain_data():
    left = settings_in({"schema": 1, "data": {"source": "a/b"}, "method": "uda", "train": {"max_steps": 3}})
    right = settings_in({"data": {"source": "c/d"}, "method": {"name": "uda", "ratio": 2}, "seeds": [7]})
    assert changed_settings(left, right) == [("method.ratio", None, "2"), ("train.max_steps", "3", None)]


# ---- which classifier is kept ----


def test_the_model_that_did_not_help_is_called_so(tmp_path):
    recipe = parse(tmp_path, BASE + "method: softmatch\n")
    kept = "model/ is the classifier trained with softmatch on seed 4"
    assert results_of(recipe, low=0.5).model_note() == kept
    assert results_of(recipe, mean=-2.0).model_note() == f"{kept}; labels only scored higher"
    assert results_of(recipe, mean=2.0).model_note() == f"{kept}; it is not shown that it beats labels only"


# ---- a whole run ----


def test_resuming_with_other_settings_or_data_names_them(folder):
    write_texts(folder / "mine" / "texts")
    begin = ("run", folder, "--out", folder / "out", "--data", folder / "mine" / "texts")
    done = textpl(*begin, "--set", "train.max_steps=2", "--set", "split.labels_per_class=5")
    assert done.exit_code == 0, done.output
    assert "Not compared with what the recipe expects: settings were changed." in done.output
    again = ("--set", "train.max_steps=2", "--set", "split.labels_per_class=5", "--resume")

    results = json.loads((folder / "out" / "results.json").read_text())
    assert results["settings"]["train.max_steps"] == "2"
    check_same(load_recipe(folder / "recipe.yaml", overrides=again[1:4:2]).recipe, Results.model_validate(results))
    note = results["model"]["note"]
    assert note.startswith("model/ is the classifier trained with gce on seed 0; ")
    assert f"Note: {note}." in done.output and note in (folder / "out" / "report.html").read_text()

    other = textpl(*begin, "--resume")
    assert other.exit_code == 1
    assert "split.labels_per_class was 5 and is 4 now; train.max_steps was 2 and is 3 now" in other.output
    assert "Repeat its --set options" in other.output
    own = textpl("run", folder, "--out", folder / "out", *again)
    assert own.exit_code == 0, "the same texts, found elsewhere"
    (folder / "data" / "info.json").write_text('{"task": "single", "label_names": ["no", "yes"]}')
    (folder / "data" / "train.jsonl").write_text((folder / "data" / "test.jsonl").read_text())
    moved = textpl("run", folder, "--out", folder / "out", *again)
    assert moved.exit_code == 1 and "was begun on other data" in moved.output and "repeat its --data" in moved.output
    assert textpl(*begin, *again).exit_code == 0

    assert f"Note: {note}." in textpl("push", folder / "out", "ada/x", "--dry-run").output
    recipe = folder / "out" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("max_steps: 2", "max_steps: 9"))
    pushed = textpl("push", folder / "out", "ada/x", "--dry-run")
    assert pushed.exit_code == 1 and "measured with train.max_steps: 2, the recipe says 9" in pushed.output


def test_a_forgotten_data_option_is_named_before_anything_is_downloaded(folder):
    out = folder / "out"
    out.mkdir()
    (folder / "recipe.yaml").write_text(TINY.replace("source: data", "source: ada/films"))
    written = TINY.replace("source: data", "source: ada/films").partition("expected:")[0]
    (out / "recipe.yaml").write_text(f"# data 123abc: my/texts\n{written}")
    done = textpl("run", folder, "--out", out, "--resume")
    assert done.exit_code == 1
    assert "begun on other data: repeat --data my/texts (now ada/films would be read)" in done.output
    (out / "recipe.yaml").unlink()
    (out / "x").touch()
    nothing = textpl("run", folder, "--out", out, "--resume")
    assert "holds no run to go on with (recipe.yaml is missing): choose another folder" in nothing.output


def test_a_changed_recipe_beside_its_results(tmp_path):
    folder, text = tmp_path / "mine", BASE.replace("owner/name", "bundled:tickets") + "train: {max_steps: 3}\n"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(text)
    results = results_of(load_recipe(folder).recipe).model_dump(mode="json")
    (folder / "results.json").write_text(json.dumps(results))
    assert "70.0" in textpl("recipes", "show", folder).output
    assert parse_results((folder / "results.json").read_bytes()).settings["train.max_steps"] == "3"
    (folder / "recipe.yaml").write_text(text.replace("max_steps: 3", "max_steps: 300"))
    refused = "results.json was measured with train.max_steps: 3, the recipe says 300"
    shown = textpl("recipes", "show", folder)
    assert shown.exit_code == 0 and refused in shown.output and "70.0 ±" not in shown.output
    pushed = textpl("recipes", "push", folder, "ada/x", "--dry-run")
    assert pushed.exit_code == 1 and refused in pushed.output
