"""What the user types: paths in overrides lead where the user says, and a run on them is no recipe for others."""

from __future__ import annotations

import pytest

from textpl.recipes.parsing import RecipeError, load_recipe, parse_recipe, to_yaml

BASE = "schema: 1\ndata: {source: owner/name}\nsplit: {labels_per_class: 10}\n"


def test_typed_paths_lead_where_the_user_says(tmp_path, monkeypatch):
    recipe, here = tmp_path / "recipe", tmp_path / "here"
    (here / "runs" / "teacher").mkdir(parents=True)
    (recipe / "beside").mkdir(parents=True)
    (recipe / "recipe.yaml").write_text(BASE)
    monkeypatch.chdir(here)
    for typed, place in (
        ("runs/teacher", here / "runs" / "teacher"),
        (str(here / "runs"), here / "runs"),
        ("../recipe", recipe),
        (".", here),
    ):
        loaded = load_recipe(recipe, overrides=[f"model.name={typed}"])
        assert loaded.locate(loaded.recipe.model.name) == place, typed
        assert f"name: {place}" in to_yaml(loaded.recipe), "the run's recipe says what was read"
    many = load_recipe(recipe, overrides=["method={name: distillation, teacher: [runs/teacher, a/b]}"]).recipe
    assert many.method.build([], seed=0).teacher.models == [str(here / "runs/teacher"), "a/b"]
    for key in ("data.source", "label.encoder"):
        stages = ["stages=[label, train]"]
        assert load_recipe(recipe, overrides=[*stages, f"{key}=runs/teacher"]).recipe
    assert load_recipe(recipe, overrides=["model=runs/teacher"]).recipe.model.name == str(here / "runs/teacher")
    # What is not here can be beside the recipe, or on the Hub.
    beside = load_recipe(recipe, overrides=["model.name=beside"])
    assert beside.locate(beside.recipe.model.name) == recipe / "beside"
    assert load_recipe(recipe, overrides=["model.name=owner/runs"]).recipe.model.name == "owner/runs"
    for missing in ("/no/such", "../no", "./no"):
        with pytest.raises(RecipeError, match=f"--set model.name={missing}: there is no file or folder"):
            load_recipe(recipe, overrides=[f"model.name={missing}"])


def test_a_run_on_typed_paths_is_no_recipe_for_others(tmp_path):
    """What a run wrote names a place on this machine; whoever reads it as a recipe is told so."""
    (tmp_path / "m").mkdir()
    (tmp_path / "recipe.yaml").write_text(BASE)
    written = to_yaml(load_recipe(tmp_path, overrides=[f"model.name={tmp_path / 'm'}"]).recipe)
    with pytest.raises(RecipeError, match="model.name: .* is no path inside the recipe's folder.*--set"):
        parse_recipe(written, folder=tmp_path)
