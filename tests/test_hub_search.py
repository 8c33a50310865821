"""Finding recipes on a Hub on loopback, and the dry runs that ask it for sizes."""

from __future__ import annotations

import json
import socket

import pytest
from conftest import make_model, make_texts, make_tokenizer
from datasets import Dataset
from hub_helpers import contents, refused, textpl
from huggingface_hub import constants

from textpl.recipes.fetching import pull, resolve
from textpl.recipes.parsing import load_recipe, parse_recipe
from textpl.recipes.running.dry_run import dry_run
from textpl.sharing.push_recipe import push_recipe as push
from textpl.sharing.search import search

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


def test_search_without_a_connection_is_told_in_plain_words(endpoint, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = taken.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{nobody}")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    done = textpl("recipes", "search")
    assert done.exit_code == 1 and "The Hub cannot be reached (there is no connection to it)." in done.output


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


def test_a_dry_run_tells_sizes_and_writes_nothing(endpoint, server, on_hub, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    done = textpl("run", "hf://ada/recipe", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "name: softmatch\n" in done.output, "the recipe as it is understood"
    assert f"model: ada/tiny, on the Hub: {on_hub['model']:,} bytes in 4 files" in done.output
    assert "data: ada/films, on the Hub: " in done.output
    assert "runs/recipe" in done.output and "8 models, 10 steps each" in done.output
    assert "No code is run" in done.output and not list(work.iterdir())
    assert set(server.downloads()) == {"recipe.yaml", "README.md", "results.json"}


def test_a_model_in_the_cache_is_there(endpoint, server, on_hub, tmp_path):
    from huggingface_hub import snapshot_download

    snapshot_download("ada/tiny", ignore_patterns=["*.bin"])
    told = dry_run(load_recipe(resolve("hf://ada/recipe")), out=tmp_path / "out", seeds=[0, 1, 2])
    assert "  model: ada/tiny, in the cache" in told and any("12 models, 10 steps each" in line for line in told)


def parsed(folder, text):
    from textpl.recipes.parsing import LoadedRecipe

    return LoadedRecipe(parse_recipe(text, folder=folder), folder, text, "mine")


def told_of(folder, text):
    return "\n".join(dry_run(parsed(folder, text), out=folder / "out"))


def test_local_and_bundled_things_are_called_so(endpoint, server, on_hub, tmp_path):
    text = RECIPE.replace("ada/tiny", "tiny").replace("source: ada/films", 'source: "bundled:sentiment"')
    text = text.replace("max_steps: 10", "num_train_epochs: 3")
    told = told_of(tmp_path, text)
    assert "data: bundled:sentiment, comes with textpl" in told and "model: tiny, here" in told
    assert "8 models, 6 steps each" in told  # 2 labels x 4 rows in batches of 4, three times
    assert "Would use: 8 labelled, 40 unlabelled, 20 test rows (seed 0)" in told
    labels = RECIPE.replace("max_steps: 10", "num_train_epochs: 3").replace("ada/tiny", "tiny")
    assert "as many steps as follow from the number of rows" in told_of(tmp_path, labels)
    cleaning = text.replace("method: {name: softmatch, ratio: 3}", "stages: [clean, train]\nclean: {encoder: ada/enc}")
    assert "encoder: ada/enc, not known (There is no ada/enc on the Hub" in told_of(
        tmp_path, cleaning.replace("pool: 40, ", "")
    )


def test_dry_runs_count_as_the_trainer_does(endpoint, on_hub, tmp_path):
    text = RECIPE.replace("ada/tiny", "tiny").replace("source: ada/films", 'source: "bundled:sentiment"')
    accumulated = text.replace("max_steps: 10", "num_train_epochs: 2, gradient_accumulation_steps: 3")
    accumulated = accumulated.replace("labels_per_class: 4", "labels_per_class: 8")
    # 2 labels x 8 rows in batches of 4 are 4 batches: two steps an epoch, the second of one batch.
    assert "4 steps each" in told_of(tmp_path, accumulated)
    noisy = text.replace("method: {name: softmatch, ratio: 3}", "method: none\nnoise: {kind: symmetric, rate: 0.2}")
    noisy = noisy.replace("pool: 40, ", "").replace("train: {", "train: {labeled_loss: gce, ")
    assert "6 models" in told_of(tmp_path, noisy), "noisy, with the loss, and on the right labels"


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
    # Only which commit the branch points to is remembered, for a time without a connection.
    assert server.downloads() == ["recipe.yaml"] and {path.parent.name for path in files_under(tmp_path)} <= {"refs"}
    assert set(pull("ada/r").files) == {"recipe.yaml", "texts/train.jsonl"}
