"""A shared recipe goes from hand to hand: looked at, run, built upon, shared again, with its data or without."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import make_texts
from hub_helpers import contents, on_main, textpl
from huggingface_hub import constants
from test_hub_run import model, rows

from textpl.recipes.finding import CACHE
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


def test_a_dry_run_needs_nothing_but_the_recipe(shared, server):
    done = textpl("run", shared, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "data: texts, on the Hub, with the recipe" in done.output
    assert server.downloads() and not any("texts/" in path for path in server.downloads())


def test_a_dry_run_without_a_network_finds_what_is_in_the_cache(shared, monkeypatch):
    assert textpl("recipes", "show", shared).exit_code == 0
    assert textpl("recipes", "show", "hf://ada/moods").exit_code == 0
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for address in (shared, "hf://ada/moods"):
        done = textpl("run", address, "--dry-run")
        assert done.exit_code == 0 and "in the cache" in done.output, done.output
    assert "is not in the cache" in textpl("run", "hf://ada/other", "--dry-run").output


def test_a_revision_that_is_not_there_leaves_nothing(shared, tmp_path):
    assert textpl("recipes", "show", f"hf://ada/moods@{'0' * 40}").exit_code == 1
    left = list((tmp_path / "home" / CACHE).rglob("*")) if (tmp_path / "home" / CACHE).exists() else []
    assert not left


def test_built_upon_run_and_shared_again(shared, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    child, out = tmp_path / "child", tmp_path / "out"
    child.mkdir()
    text = f"schema: 1\nextends: {shared}\ndescription: with more steps\ntrain: {{max_steps: 3}}\n"
    (child / "recipe.yaml").write_text(text)
    assert textpl("run", child, "--out", out).exit_code == 0
    assert str(tmp_path) not in (out / "recipe.yaml").read_text().partition("\n")[2], "no path of this machine"
    for command in ("show", "validate"):
        assert textpl("recipes", command, out).exit_code == 0

    # The child itself: its data are where its parent is.
    done = textpl("recipes", "push", child, "bob/child", "--dry-run")
    assert done.exit_code == 0 and str(tmp_path) not in done.output, done.output
    done = textpl("recipes", "push", child, "ada/child")
    assert done.exit_code == 0, done.output
    there = on_main(server, "models", "ada/child")
    assert there["recipe.yaml"].decode() == text and not any(name.startswith("texts") for name in there)
    card = there["README.md"].decode()
    assert f"{shared}/texts" in card and str(tmp_path) not in card
    again = textpl("run", "hf://ada/child", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    one, two = (json.loads((f / "results.json").read_text())["seed_results"] for f in (out, tmp_path / "again"))
    assert one[0]["method"]["scores"] == two[0]["method"]["scores"]

    # Its run: written out, with the data or asking for data.
    assert "texts stays here" in textpl("recipes", "push", out, "ada/alone").output
    done = textpl("recipes", "push", out, "ada/whole", "--with-data")
    assert done.exit_code == 0, done.output
    assert "texts/train.csv" in on_main(server, "models", "ada/whole")


def test_a_parent_that_may_change_is_to_be_pinned(shared, tmp_path):
    child = tmp_path / "child"
    child.mkdir()
    (child / "recipe.yaml").write_text("schema: 1\nextends: hf://ada/moods@main\n")
    done = textpl("recipes", "push", child, "ada/child")
    assert done.exit_code == 1 and f"write extends: {shared}" in done.output


def test_a_pulled_recipe_is_built_upon(shared, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert textpl("recipes", "pull", "ada/moods").exit_code == 0
    (tmp_path / "soft.yaml").write_text("schema: 1\nextends: moods\ntrain: {max_steps: 3}\n")
    done = textpl("run", "soft.yaml", "--out", "runs/soft")
    assert done.exit_code == 0, done.output
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    done = textpl("recipes", "push", tmp_path / "runs" / "soft", "ada/soft", "--with-data")
    assert done.exit_code == 0, done.output
    assert {"moods/texts/train.csv", "moods/texts/test.csv"} <= set(on_main(server, "models", "ada/soft"))
    monkeypatch.chdir(tmp_path)
    assert textpl("recipes", "push", "runs/soft", "ada/alone").exit_code == 0


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
