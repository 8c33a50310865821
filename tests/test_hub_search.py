"""Finding recipes on a Hub on loopback, and the dry runs that ask it for sizes."""

from __future__ import annotations

import json
import logging
import socket

import pytest
from conftest import make_model, make_texts, make_tokenizer
from datasets import Dataset
from hub_helpers import contents, refused, textpl
from huggingface_hub import constants

from textpl.recipes.hub.push_pull import in_passing, pull, push, resolve
from textpl.recipes.hub.search import search
from textpl.recipes.parsing import load_recipe, parse_recipe
from textpl.recipes.running.dry_run import dry_run, told_bytes, told_time

pytest_plugins = ["hub_fixtures"]
RECIPE = """\
schema: 1
description: Sentiment of film reviews
data: {source: ada/films}
split: {labels_per_class: 4, pool: 40, test: 20}
model: {name: ada/tiny, max_length: 16}
method: {name: softmatch, ratio: 3}
train: {max_steps: 10, per_device_train_batch_size: 4, bf16: false}
seeds: [0, 1]
"""
CARD = """\
---
tags: [textpl, textpl-recipe]
datasets: [ada/films]
textpl_recipe: {{description: {description}, result: "accuracy: It helped"}}
---
# x
"""


def add(server, name, description, likes=0, downloads=0, **settings):
    server.add(name, {"README.md": CARD.format(description=json.dumps(description)), "recipe.yaml": RECIPE}, **settings)
    repo = server.repos["models", name]
    repo.likes, repo.downloads = likes, downloads


@pytest.fixture
def shelf(server):
    add(server, "ada/tickets", "Support tickets", likes=3, downloads=5)
    add(server, "bob/films", "Sentiment of films", likes=9, downloads=1)
    add(server, "ada/secret", "Not for all", private=True)
    add(server, "bob/secret", "Not for ada", private=True)
    server.add("eve/model", {"README.md": "---\ntags: [textpl]\n---\nNo recipe"})


# Search


def test_recipes_are_found_by_their_tag(endpoint, shelf):
    assert {one.repo_id for one in search()} == {"ada/tickets", "bob/films", "ada/secret"}
    (one,) = search("FILMS sentiment")
    assert (one.repo_id, one.likes, one.downloads, one.private) == ("bob/films", 9, 1, False)
    assert (
        one.description == "Sentiment of films" and one.result == "accuracy: It helped" and one.changed == "2026-01-01"
    )
    assert {one.repo_id for one in search("ada/films")} == {"ada/tickets", "bob/films", "ada/secret"}  # by their data
    assert {one.repo_id for one in search(author="ada")} == {"ada/tickets", "ada/secret"}
    assert [one.repo_id for one in search(sort="likes", limit=2)] == ["bob/films", "ada/tickets"]
    assert [one.repo_id for one in search(sort="downloads", limit=1)] == ["ada/tickets"]
    assert search("nothing like it") == []
    assert {one.repo_id for one in search("secret")} == {"ada/secret"}
    with refused("--sort stars: by trending_score, downloads"):
        search(sort="stars")
    with refused("at least 1"):
        search(limit=0)


def test_what_is_pushed_can_be_searched(endpoint, server, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "recipe.yaml").write_text(RECIPE)
    push(tmp_path / "mine", "ada/films")
    (one,) = search("film reviews")
    assert one.repo_id == "ada/films" and one.description == "Sentiment of film reviews" and one.result == ""


def test_the_command_tells_a_few_lines_and_nothing_that_strangers_hide(endpoint, server, shelf):
    add(server, "eve/evil", "\x1b[2J\u202eevil " + "x" * 5000)
    server.add("eve/odd", {"README.md": "---\ntags: [textpl-recipe]\ntextpl_recipe: [1, {a: 2}]\n---\n"})
    done = textpl("recipes", "search")
    assert done.exit_code == 0, done.output
    assert "bob/films  (9 likes, 1 downloads, changed 2026-01-01)" in done.output and ", private)" in done.output
    assert "\x1b" not in done.output and "\u202e" not in done.output and max(map(len, done.output.splitlines())) < 250
    assert "textpl recipes show hf://" in done.output
    assert "No recipe on the Hub fits" in textpl("recipes", "search", "no", "such").output


def test_search_without_a_network(endpoint, shelf, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = textpl("recipes", "search")
    assert done.exit_code == 1 and "The Hub cannot be reached (HF_HUB_OFFLINE is set)" in done.output


def test_search_without_a_connection_is_told_in_plain_words(endpoint, monkeypatch, caplog):
    waits = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody}")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", waits.append)
    monkeypatch.setattr(logging.getLogger("huggingface_hub"), "propagate", True)
    done = textpl("recipes", "search")
    assert done.exit_code == 1 and "The Hub cannot be reached (there is no connection to it)." in done.output
    assert sum(waits) == 23  # what the line says
    assert [record.getMessage() for record in caplog.records] == [
        "The Hub does not answer; trying for about half a minute."
    ]
    logging.getLogger("huggingface_hub.utils._http").warning("Retrying")
    assert caplog.records[-1].getMessage() == "Retrying", "elsewhere the client may speak"


def test_what_a_token_cannot_see_is_not_mended_by_logging_in(endpoint, shelf):
    for repo in ("bob/secret", "bob/nothing"):
        with refused(f"There is no {repo} on the Hub that this token can see: check the name, or use a token"):
            resolve(f"hf://{repo}")


# Dry runs


@pytest.fixture
def on_hub(server, tmp_path):
    """Recipe, data and model on the Hub; the sizes of data and model."""
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    model = contents(tmp_path / "tiny")
    server.add("ada/tiny", model | {"pytorch_model.bin": b"x" * 99_999, "README.md": "# tiny"})
    texts, scores = make_texts(60)
    Dataset.from_dict({"text": texts, "label": (scores > 0).astype(int)}).to_parquet(tmp_path / "train.parquet")
    data = (tmp_path / "train.parquet").read_bytes()
    server.add("ada/films", {"train.parquet": data, "README.md": "# films", "script.py": "x" * 777}, kind="datasets")
    commit = server.add("ada/recipe", {"recipe.yaml": RECIPE, "README.md": "# r", "results.json": "{}"})
    return {"data": len(data), "model": sum(map(len, model.values())), "commit": commit}


def files_under(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_tells_sizes_and_leaves_nothing(endpoint, server, on_hub, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    before = files_under(tmp_path)
    done = textpl("run", "hf://ada/recipe", "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"data: ada/films, at most 1 files on the Hub: {on_hub['data']:,} bytes to download" in done.output
    assert f"model: ada/tiny, 4 files on the Hub: {on_hub['model']:,} bytes to download" in done.output
    assert f"recipe: ada/recipe@{on_hub['commit']}, 3 files on the Hub" in done.output
    assert "runs/recipe" in done.output and "8 models, 10 steps each" in done.output
    assert "not known: the model has to be here to be timed" in done.output and "No code is run" in done.output
    assert server.downloads() == ["recipe.yaml"]
    assert files_under(tmp_path) == before and not list(work.iterdir())


def test_what_is_in_the_cache_costs_nothing_and_is_timed(endpoint, server, on_hub, tmp_path):
    from datasets import load_dataset
    from huggingface_hub import snapshot_download

    snapshot_download("ada/tiny", ignore_patterns=["*.bin"])
    load_dataset("ada/films")
    loaded = load_recipe(resolve("hf://ada/recipe"))
    found = dry_run(loaded, out=tmp_path / "out", seeds=[0, 1, 2])
    assert [one.bytes for one in found.reads] == [0, 0, 0] and found.trainings == 12 and found.steps == 10
    low, high = found.seconds
    assert 0 < low < high
    # From one third of a pass over each pool row to four thirds, three pool rows per labelled one: softmatch, labels
    # only as long, and so with its view and averages; labels only as given costs the same either way.
    assert high / low == pytest.approx((3 * 5 + 1) / (3 * 2 + 1))
    assert found.model_bytes == (tmp_path / "tiny" / "model.safetensors").stat().st_size
    assert not (tmp_path / "out").exists()


def parsed(folder, text):
    from textpl.recipes.parsing import LoadedRecipe

    return LoadedRecipe(parse_recipe(text, folder=folder), folder, text, "mine")


def test_local_and_bundled_things_are_called_so(endpoint, server, on_hub, tmp_path):
    text = RECIPE.replace("ada/tiny", "tiny").replace("source: ada/films", 'source: "bundled:sentiment"')
    text = text.replace("max_steps: 10", "num_train_epochs: 3")
    found = dry_run(parsed(tmp_path, text), out=tmp_path / "out")
    assert [one.told() for one in found.reads] == ["comes with textpl", "here"]
    assert found.steps == 6  # 2 labels x 4 rows in batches of 4, three times
    assert found.rows == "8 labelled, 40 unlabelled, 20 test rows (seed 0)"
    labels = RECIPE.replace("max_steps: 10", "num_train_epochs: 3").replace("ada/tiny", "tiny")
    found = dry_run(parsed(tmp_path, labels), out=tmp_path / "out")
    assert found.steps is None and "not known before the data are read" in found.unknown
    cleaning = text.replace("method: {name: softmatch, ratio: 3}", "stages: [clean, train]\nclean: {encoder: ada/enc}")
    cleaning = cleaning.replace("pool: 40, ", "")
    found = dry_run(parsed(tmp_path, cleaning), out=tmp_path / "out")
    assert [one.what for one in found.reads] == ["data", "model", "encoder"]
    assert "There is no ada/enc on the Hub" in found.reads[2].told() and found.reads[2].bytes is None
    assert found.seconds[0] == found.seconds[1] and "what is not known" in "\n".join(found.lines(16))


def test_parents_on_the_hub_are_asked_for_once(endpoint, server):
    """Each is validated more than once, and each time its parents with it: that must not multiply."""
    for i in range(5):
        above = f"extends: hf://eve/r{i + 1}@main\n" if i < 4 else ""
        server.add(f"eve/r{i}", {"recipe.yaml": RECIPE + above})
    with in_passing():
        load_recipe("hf://eve/r0")
    assert server.downloads() == ["recipe.yaml"] * 5


def test_dry_runs_count_as_the_trainer_does(endpoint, on_hub, tmp_path, monkeypatch):
    monkeypatch.setattr("textpl.recipes.running.dry_run.seconds_per_batch", lambda loaded: 1.0)
    text = RECIPE.replace("ada/tiny", "tiny").replace("source: ada/films", 'source: "bundled:sentiment"')
    accumulated = text.replace("max_steps: 10", "num_train_epochs: 2, gradient_accumulation_steps: 3")
    accumulated = accumulated.replace("labels_per_class: 4", "labels_per_class: 8")
    # 2 labels x 8 rows in batches of 4 are 4 batches: two steps an epoch, the second of one batch.
    assert dry_run(parsed(tmp_path, accumulated), out=tmp_path / "out").steps == 4
    noisy = text.replace("method: {name: softmatch, ratio: 3}", "method: none\nnoise: {kind: symmetric, rate: 0.2}")
    noisy = noisy.replace("pool: 40, ", "").replace("train: {", "train: {labeled_loss: gce, ")
    found = dry_run(parsed(tmp_path, noisy), out=tmp_path / "out")
    assert found.trainings == 6 and found.seconds == (60, 60), "noisy, with the loss, and on the right labels"


@pytest.mark.parametrize("info", ["\0\0", "[]", '{"label_names": 3}', "[" * 50_000], ids=["zeros", "list", "3", "deep"])
def test_a_dry_run_ends_with_a_broken_info_as_a_run_would(endpoint, on_hub, tmp_path, info):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "train.jsonl").write_text('{"text": "good", "label": 0}\n{"text": "bad", "label": 1}\n')
    (tmp_path / "texts" / "info.json").write_text(info)
    text = RECIPE.replace("ada/films", "texts").replace("max_steps: 10", "num_train_epochs: 3")
    with pytest.raises(ValueError, match=r"info\.json|label_names"):
        dry_run(parsed(tmp_path, text), out=tmp_path / "out")


def test_a_dry_run_offline_says_what_it_cannot_know(endpoint, server, on_hub, tmp_path, monkeypatch):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    done = textpl("run", tmp_path, "--dry-run", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.output.count("the Hub cannot be reached (HF_HUB_OFFLINE is set)") == 2


def test_a_dry_pull_keeps_nothing(endpoint, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join('{"text": "a", "label": 0}\n' for _ in range(300))
    server.add("ada/r", {"recipe.yaml": RECIPE.replace("ada/films", "texts"), "texts/train.jsonl": rows, "x.bin": "x"})
    done = textpl("recipes", "pull", "ada/r", "--dry-run")
    assert done.exit_code == 0, done.output
    assert f"{len(rows):>12,}  texts/train.jsonl" in done.output and "x.bin" not in done.output
    assert server.downloads() == ["recipe.yaml"] and not files_under(tmp_path)
    assert set(pull("ada/r").files) == {"recipe.yaml", "texts/train.jsonl"}
    with in_passing():  # what is in the cache is taken from there
        assert (resolve("hf://ada/r") / "texts" / "train.jsonl").read_text() == rows


def test_units():
    assert [told_bytes(n) for n in (5, 1500, 91_000_000, 2_500_000_000)] == ["5 B", "1.5 kB", "91 MB", "2.5 GB"]
    assert [told_time(s) for s in (0.2, 90, 600, 7200)] == ["1 s", "90 s", "10 min", "2.0 h"]


def test_a_recipe_that_extends_goes_up_written_out(endpoint, server, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "base.yaml").write_text(RECIPE)
    (tmp_path / "mine" / "recipe.yaml").write_text(
        "schema: 1\nextends: base.yaml\ndescription: Mine\ntrain: {max_steps: 7}\n"
    )
    push(tmp_path / "mine", "ada/mine")
    there = resolve("hf://ada/mine")
    assert "extends" not in (there / "recipe.yaml").read_text()
    recipe = load_recipe(there).recipe
    assert recipe.train.max_steps == 7 and recipe.model.name == "ada/tiny" and recipe.description == "Mine"
