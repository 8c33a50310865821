"""A shared recipe goes from hand to hand: looked at, run, built upon, shared again, with its data or without."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import make_texts
from hub_helpers import contents, on_main, textpl
from test_hub_run import model, rows

from textpl.recipes.fetching import CACHE
from textpl.recipes.parsing import load_recipe
from textpl.recipes.running.pins import pinned

pytest_plugins = ["hub_fixtures"]

RECIPE = """\
schema: 1
data: {source: texts}
split: {labels_per_class: 4}
model: {name: ada/tiny, max_length: 16}
train: {max_steps: 2, per_device_train_batch_size: 4, bf16: false}
seeds: [0]
"""


@pytest.fixture
def shared(endpoint, server, tmp_path):
    """hf://ada/moods with its data, at its commit."""
    server.add("ada/tiny", model(tmp_path / "tiny", 1))
    files = {"recipe.yaml": RECIPE, "texts/train.csv": rows(60, 0), "texts/test.csv": rows(20, 1)}
    return f"hf://ada/moods@{server.add('ada/moods', files)}"


def recipe_in(folder):
    return yaml.safe_load((folder / "recipe.yaml").read_text())


def test_a_revision_that_is_not_there_leaves_nothing(shared, tmp_path):
    assert textpl("recipes", "show", f"hf://ada/moods@{'0' * 40}").exit_code == 1
    left = list((tmp_path / "home" / CACHE).rglob("*")) if (tmp_path / "home" / CACHE).exists() else []
    assert not left


def test_pulled_changed_run_and_shared_again(shared, server, tmp_path, monkeypatch):
    """The way to build upon what somebody shared: pull, edit, push."""
    monkeypatch.chdir(tmp_path)
    assert textpl("recipes", "pull", "ada/moods").exit_code == 0
    recipe = tmp_path / "moods" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("max_steps: 2", "max_steps: 3"))
    done = textpl("run", "moods", "--out", "runs/mine")
    assert done.exit_code == 0, done.output
    assert str(tmp_path) not in (tmp_path / "runs" / "mine" / "recipe.yaml").read_text().partition("\n")[2]
    for command in ("show", "validate"):
        assert textpl("recipes", command, "runs/mine").exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert "texts stays here" in textpl("recipes", "push", tmp_path / "runs" / "mine", "ada/alone").output
    done = textpl("recipes", "push", tmp_path / "runs" / "mine", "ada/whole", "--with-data")
    assert done.exit_code == 0, done.output
    assert {"texts/train.csv", "texts/test.csv"} <= set(on_main(server, "models", "ada/whole"))
    again = textpl("run", "hf://ada/whole", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    one, two = (json.loads((f / "results.json").read_text()) for f in (tmp_path / "runs" / "mine", tmp_path / "again"))
    assert one["seed_results"][0]["method"]["scores"] == two["seed_results"][0]["method"]["scores"]


def test_what_is_shared_says_which_seeds_were_run(shared, server, tmp_path):
    out = tmp_path / "out"
    assert textpl("run", shared, "--seeds", "4", "--out", out).exit_code == 0
    assert recipe_in(out)["seeds"] == [4]
    assert textpl("run", shared, "--seeds", "4,5", "--out", out, "--resume").exit_code == 0
    assert recipe_in(out)["seeds"] == [4, 5]
    assert textpl("recipes", "push", out, "ada/again").exit_code == 0
    assert "Seeds: 4, 5" in on_main(server, "models", "ada/again")["README.md"].decode()


def test_a_model_from_an_installed_package_is_pinned_to_its_commit():
    loaded = load_recipe("quickstart")
    revision = pinned(loaded, None).recipe.model.revision
    assert revision is not None and len(revision) == 40
    assert pinned(pinned(loaded, None), None).recipe.model.revision == revision


def test_own_texts_stay_here_unless_asked(endpoint, server, tmp_path):
    (tmp_path / "mine").mkdir()
    server.add("ada/tiny", model(tmp_path / "tiny", 1))
    for name, content in {"train.csv": rows(60, 0), "test.csv": rows(20, 1)}.items():
        (tmp_path / "mine" / name).write_text(content)
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("texts", "mine"))
    out = tmp_path / "out"
    assert textpl("run", tmp_path, "--out", out).exit_code == 0
    for folder in (tmp_path, out):
        done = textpl("recipes", "push", folder, "ada/mine")
        assert done.exit_code == 0 and "mine stays here" in done.output, done.output
        files = on_main(server, "models", "ada/mine")
        assert b"source: yours" in files["recipe.yaml"] and not any("csv" in name for name in files)
        first = make_texts(60, 0)[0][0].encode()
        assert not any(first in content for content in files.values())
    assert contents(out)
