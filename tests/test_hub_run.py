"""A run whose recipe, data and model all come from the Hub: real clients against a server on loopback."""

from __future__ import annotations

import json

import pytest
import yaml
from conftest import make_model, make_texts, make_tokenizer
from hub_helpers import contents, on_main, textpl

pytest_plugins = ["hub_fixtures"]

RECIPE = """\
schema: 1
data: {source: ada/moods}
split: {labels_per_class: 4}
model: {name: ada/tiny, max_length: 16}
train: {max_steps: 2, per_device_train_batch_size: 4, bf16: false}
"""


def rows(count, seed):
    return "text,label\n" + "".join(f"{t},{int(s > 0)}\n" for t, s in zip(*make_texts(count, seed), strict=True))


def model(folder, seed):
    make_model(labels=2, seed=seed).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return contents(folder)


@pytest.fixture
def hub(endpoint, server, tmp_path):
    """The server, and the first commits of the data and of the model."""
    data = {"train.csv": rows(60, 0), "test.csv": rows(20, 1)}
    server.at = {
        "data": server.add("ada/moods", data, kind="datasets"),
        "model": server.add("ada/tiny", model(tmp_path / "one", 1)),
    }
    server.add("ada/recipe", {"recipe.yaml": RECIPE})
    return server


def revisions(folder):
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    return {section: recipe[section].get("revision") for section in ("data", "model")}


def test_a_run_from_the_hub_is_pinned_and_shared_so(hub, tmp_path):
    out = tmp_path / "out"
    done = textpl("run", "hf://ada/recipe", "--seeds", "0", "--out", out)
    assert done.exit_code == 0, done.output
    assert revisions(out) == hub.at
    results = json.loads((out / "results.json").read_text())
    assert results["data"]["revision"] == hub.at["data"]

    # Both repositories move on; the run that goes on with one more seed does not.
    hub.repos["datasets", "ada/moods"].commit({"train.csv": rows(60, 5).encode(), "test.csv": rows(20, 6).encode()})
    hub.repos["models", "ada/tiny"].commit(model(tmp_path / "two", 2))
    more = textpl("run", "hf://ada/recipe", "--seeds", "0,1", "--out", out, "--resume")
    assert more.exit_code == 0, more.output
    assert revisions(out) == hub.at
    assert json.loads((out / "results.json").read_text())["seed_results"][0] == results["seed_results"][0]
    other = textpl("run", "hf://ada/recipe", "--out", out, "--resume", "--set", f"model.revision={'0' * 40}")
    assert other.exit_code == 1 and f"model.revision was {hub.at['model']}" in other.output

    pushed = textpl("recipes", "push", out, "ada/shared")
    assert pushed.exit_code == 0, pushed.output
    assert "is not set" not in pushed.output
    card = on_main(hub, "models", "ada/shared")["README.md"].decode()
    assert "Not pinned" not in card and hub.at["data"] in card and hub.at["model"] in card
    again = textpl("run", "hf://ada/shared", "--seeds", "0", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    one, two = (json.loads((tmp_path / f / "results.json").read_text())["seed_results"][0] for f in ("out", "again"))
    assert one["method"]["scores"] == two["method"]["scores"]


def test_what_is_pinned_stays_so(hub, tmp_path):
    first = hub.at["model"]
    hub.repos["models", "ada/tiny"].commit(model(tmp_path / "two", 2))
    named = ("--set", f"model.revision={first}", "--set", "data.revision=main")
    done = textpl("run", "hf://ada/recipe", "--seeds", "0", "--out", tmp_path / "out", *named)
    assert done.exit_code == 0, done.output
    assert revisions(tmp_path / "out") == {"data": "main", "model": first}
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["data"]["revision"] == hub.at["data"], "what main was"


@pytest.mark.parametrize("stage", ["stages=[label, train]", "stages=[clean, train]"])
def test_an_encoder_that_is_the_model_is_of_the_same_commit(hub, tmp_path, stage):
    first = hub.at["model"]
    hub.repos["models", "ada/tiny"].commit(model(tmp_path / "two", 2))
    (name, _), wanted = stage.removeprefix("stages=[").split(", "), [f"model.revision={first}", stage]
    wanted += [f"{name}.encoder=ada/tiny", *(["split={labeled: 40}"] if name == "clean" else [])]
    hub.requests.clear()
    settings = [word for setting in wanted for word in ("--set", setting)]
    done = textpl("run", "hf://ada/recipe", "--seeds", "0", "--out", tmp_path / "out", *settings)
    assert done.exit_code == 0, done.output
    asked = {path for _, path in hub.requests if path.startswith("/ada/tiny/resolve/")}
    assert asked and all(path.startswith(f"/ada/tiny/resolve/{first}/") for path in asked), asked


def test_own_data_have_no_commit(hub, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "train.csv").write_text(rows(60, 3))
    (mine / "test.csv").write_text(rows(20, 4))
    done = textpl("run", "hf://ada/recipe", "--seeds", "0", "--data", mine, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert revisions(tmp_path / "out") == {"data": None, "model": hub.at["model"]}
