"""Recipes of strangers who mean harm: each file of `hostile_recipes` is refused with the line that is wrong.

The first line of a file says what the error must hold. What cannot lie in a repository is made here.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from textpl.cli import app
from textpl.recipes.parsing import MAX_BYTES, RecipeError, load_recipe

FOLDER = Path(__file__).parent / "hostile_recipes"
FILES = sorted(FOLDER.glob("*.yaml"))
BASE = "schema: 1\ndata: {source: owner/name}\nsplit: {labeled: 9}\n"


def textpl(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy, with the current folder in it: nothing may be found from there that is not in the recipe's folder."""
    shutil.copytree(FOLDER, tmp_path / "theirs")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "theirs"


@pytest.mark.parametrize("name", [path.name for path in FILES])
def test_hostile_files_are_refused(folder, name):
    before = sorted(folder.parent.rglob("*"))
    head = (folder / name).read_bytes().split(b"\n")[0].decode("utf-8", "replace")
    refused = head.removeprefix("# refused: ") if head.startswith("# refused: ") else "is not UTF-8 text"
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / name)
    message = str(caught.value)
    assert refused in message
    assert len(message) < 2_000 and message.isprintable() | ("\n" in message)
    assert re.match(r".*\.yaml(, line \d+:| is not)", message), "the file is named"
    assert sorted(folder.parent.rglob("*")) == before, "nothing is written"


def test_there_are_enough_of_them():
    assert len(FILES) >= 25


def test_the_command_line_tells_them_without_a_traceback(folder):
    done = textpl("recipes", "validate", *sorted(folder.glob("*.yaml")))
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert done.output.count(": not valid\n") == len(FILES) and ": valid" not in done.output.replace(": not valid", "")
    assert "Traceback" not in done.output
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", done.output), "nothing moves the cursor"


@pytest.mark.parametrize("name", ["python_tag", "trust_in_model", "absolute_path", "extends_circle"])
def test_none_of_them_runs(folder, name):
    done = textpl("run", folder / f"{name}.yaml", "--out", folder / "out")
    assert done.exit_code == 1 and "Error" in done.output and not (folder / "out").exists()
    assert isinstance(done.exception, SystemExit)


def test_very_much_that_is_wrong_is_told_briefly(tmp_path):
    keys = "".join(f"a{i}:\n" for i in range(2000))
    (tmp_path / "recipe.yaml").write_text(f"{BASE}{keys}")
    with pytest.raises(RecipeError) as caught:
        load_recipe(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 51 and lines[-1] == "... and 1,950 more"
    assert lines[0].startswith("recipe.yaml, line 4: a0: unknown key")
    (tmp_path / "recipe.yaml").write_text(f"{BASE}model: {'x' * 30_000}\n")
    with pytest.raises(RecipeError, match=r"line 4: model.*: 'x{900,1000}\.\.\.$"):
        load_recipe(tmp_path)


def test_what_lies_behind_links_is_not_read(tmp_path):
    outside, folder = tmp_path / "outside", tmp_path / "theirs"
    outside.mkdir(), folder.mkdir()
    (outside / "base.yaml").write_text("schema: 1\nseeds: [7]\n")
    (outside / "train.jsonl").write_text("{}")
    (folder / "link.yaml").symlink_to(outside / "base.yaml")
    (folder / "data").symlink_to(outside)
    for name in ("data", "link.yaml"):
        (folder / "recipe.yaml").write_text(BASE + f"model: {name}")
        with pytest.raises(RecipeError, match="line 4: model.name: .* leads out of the recipe's folder"):
            load_recipe(folder)


def test_sizes_are_limited(tmp_path):
    (tmp_path / "recipe.yaml").write_text("schema: 1\n#" + "x" * MAX_BYTES)
    with pytest.raises(RecipeError, match=r"recipe\.yaml is larger than 64 KiB"):
        load_recipe(tmp_path)


def test_the_current_folder_is_not_the_recipes(tmp_path, monkeypatch):
    """What a recipe names is looked for beside it, wherever the user stands."""
    (tmp_path / "here" / "runs" / "model").mkdir(parents=True)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "recipe.yaml").write_text(BASE + "model: runs/model/x")
    (tmp_path / "here" / "runs" / "model" / "x").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(RecipeError, match="no file or folder 'runs/model/x' beside the recipe"):
        load_recipe(tmp_path / "theirs")
    with pytest.raises(RecipeError, match="no file or folder 'runs/model/x' beside the recipe"):
        load_recipe(tmp_path / "theirs", overrides=["model.max_length=32"])  # sets beside it, not it
