"""Models of a run, pushed through the real client to a server on loopback, and read back by transformers."""

from __future__ import annotations

import json
import re
import traceback

import numpy as np
import pytest
import torch
from conftest import make_model, make_texts, make_tokenizer
from hub_helpers import READER, TOKEN, WRONG, front_matter, on_main, refused, textpl
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from textpl.recipes.fetching import address, resolve
from textpl.sharing.card_text import signer, split_card
from textpl.sharing.push import push

pytest_plugins = ["hub_fixtures"]
RECIPE = """\
# data 0123456789abcdef: bundled:sentiment
schema: 1
description: Reviews of *films*
data: {source: "bundled:sentiment"}
split: {labels_per_class: 4, pool: 40, test: 20}
model: {name: ada/tiny, max_length: 16}
method: {name: softmatch}
train: {max_steps: 2, bf16: false}
seeds: [0, 1]
"""
SCORES = {"accuracy": 71.25, "macro_f1": 70.5}
RESULTS = {
    "task": "single",
    "metric": "accuracy",
    "baseline": {"mean": 71.25, "std": 2.5, "seeds": [0, 1]},
    "method": {"name": "softmatch", "mean": 74.0, "std": 1.75, "seeds": [0, 1]},
    "difference": {"mean": 2.75, "interval": [-1.5, 6.25], "level": 0.95},
    "seed_results": [
        {"seed": 0, "baseline": {"scores": SCORES}, "method": {"scores": {"accuracy": 75.5, "macro_f1": 74.0}}},
        {"seed": 1, "baseline": {"scores": SCORES}, "method": {"scores": {"accuracy": 72.5, "macro_f1": 72.0}}},
    ],
    "command": "textpl run /home/ada/secret-project/mine --out /home/ada/runs/x --set method.ratio=2",
    "data": {"source": "bundled:sentiment", "revision": None, "splits": [{"sizes": {"labeled": 8, "pool": 40}}]},
    "versions": {"python": "3.11", "textpl": "0.1.0"},
}


@pytest.fixture
def run(tmp_path):
    """What `textpl run` leaves, with a tiny model and things that must not travel."""
    folder = tmp_path / "runs" / "mine"
    model = make_model(labels=2)
    model.config.id2label = {0: "negative", 1: "positive"}
    model.save_pretrained(folder / "model")
    make_tokenizer().save_pretrained(folder / "model")
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "results.json").write_text(json.dumps(RESULTS))
    (folder / "comparison.png").write_bytes(b"\x89PNG" + bytes(2000))
    (folder / "seeds").mkdir()
    for name in ("model/training_args.bin", "model/optimizer.pt", "report.html", "seeds/0-method.npz", ".env"):
        (folder / name).write_text("x")
    return folder


def logits(model, tokenizer):
    batch = tokenizer(make_texts(5)[0], padding=True, return_tensors="pt")
    with torch.no_grad():
        return model.eval()(**batch).logits.numpy()


def test_a_model_comes_back_with_transformers_alone(endpoint, server, run):
    pushed = push(run, "ada/reviews", license="apache-2.0")
    assert pushed.kind == "model"
    model = AutoModelForSequenceClassification.from_pretrained("ada/reviews", revision=pushed.revision)
    tokenizer = AutoTokenizer.from_pretrained("ada/reviews", revision=pushed.revision)
    local = AutoModelForSequenceClassification.from_pretrained(run / "model"), make_tokenizer()
    assert np.array_equal(logits(model, tokenizer), logits(*local))
    assert model.config.id2label == {0: "negative", 1: "positive"}


def test_only_the_model_and_its_story_go_up(endpoint, server, run):
    pushed = push(run, "ada/reviews")
    files = on_main(server, "models", "ada/reviews")
    story = {".gitattributes", "README.md", "recipe.yaml", "results.json", "comparison.png"}
    assert set(files) == story | {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert any("training_args.bin stays here" in note for note in pushed.notes)
    everything = b"".join(files.values())
    assert b"secret-project" not in everything and b"/home/ada" not in everything and b"# data" not in everything
    # The recipe of the model can be run by its address.
    assert (resolve(f"hf://ada/reviews@{pushed.revision}") / "recipe.yaml").exists()


def test_the_card_tells_of_this_model(endpoint, server, run):
    pushed = push(run, "ada/reviews")
    card = on_main(server, "models", "ada/reviews")["README.md"].decode()
    about = front_matter(card)
    assert about["library_name"] == "transformers" and about["pipeline_tag"] == "text-classification"
    assert about["base_model"] == "ada/tiny" and about["metrics"] == ["accuracy", "f1"]
    assert {"textpl", "textpl-recipe", "textpl-softmatch"} <= set(about["tags"])
    (index,) = about["model-index"]
    (result,) = index["results"]
    assert result["dataset"]["type"] == "bundled:sentiment" and result["dataset"]["split"] == "test"
    # The scores of the model that is here, not the mean.
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [("accuracy", 0.755), ("f1", 0.74)]
    assert "This very model (seed 0)" in card and "| accuracy | 75.5 |" in card
    assert "| labels only | 71.2 | 2.5 | 2 |" in card and "| softmatch | 74.0 | 1.8 | 2 |" in card
    assert "**No evidence that it helped: +2.8 points [-1.5, 6.2]** (95 % interval)" in card
    assert "- Rows: 8 labelled, 40 in the pool\n" in card
    assert "- Labels of the pool: made by softmatch; no person has seen them\n" in card
    assert "no licence given" in card and f"    textpl run hf://ada/reviews@{pushed.revision}\n" in card
    assert card.count("textpl run ") == 1, "one command, which works for others"
    assert card == pushed.card and signer(card) == "model"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"model": {"seed": 1}}, "This very model (seed 1)"),
        ({"model": {"seed": 1}}, "|--|--|\n| accuracy | 72.5 |"),
        ({"seed_results": []}, "its own score was not recorded"),
        ({"recipe_source": "hf://eve/first@" + "a" * 40}, "hf\\://eve/first\\@" + "a" * 40),
        ({"data": {"source": "/home/ada/texts"}}, "--data texts"),
        ({"method": RESULTS["method"] | {"seeds": [5, 6]}}, "--seeds 5,6"),
    ],
)  # fmt: skip
def test_the_card_follows_the_results(run, change, wanted):
    (run / "results.json").write_text(json.dumps(RESULTS | change))
    card = push(run, "ada/reviews", dry_run=True).card
    assert wanted in card and "secret" not in card


def test_the_source_of_the_data_is_one_line(run):
    """More would be markdown of its own in the card."""
    (run / "results.json").write_text(json.dumps(RESULTS | {"data": {"source": "a\n\n<img src=x>\r\n# Free"}}))
    with pytest.raises(ValueError, match=r"data\.source"):
        push(run, "ada/reviews", dry_run=True)


def test_cleaned_labels_are_told(run):
    recipe = RECIPE.replace("method: {name: softmatch}", "stages: [clean, train]").replace("pool: 40, ", "")
    (run / "recipe.yaml").write_text(recipe)
    done = {"flagged": 31, "apply": {"relabelled": {"cells": 12, "expected_right": 1.5}}}
    results = RESULTS | {"method": RESULTS["method"] | {"name": "cleaned labels"}, "cleaning": [done, done]}
    (run / "results.json").write_text(json.dumps(results))
    card = push(run, "ada/reviews", dry_run=True).card
    assert "labels that looked wrong were changed, masked or given less weight (31, 31 by seed)\n" in card


def test_a_recipe_on_local_data_is_for_data_of_ones_own(endpoint, server, run):
    (run / "recipe.yaml").write_text(RECIPE.replace('"bundled:sentiment"', "/home/ada/secret-project/texts.jsonl"))
    source = "/home/ada/secret-project/texts.jsonl"
    (run / "results.json").write_text(json.dumps(RESULTS | {"data": RESULTS["data"] | {"source": source}}))
    pushed = push(run, "ada/reviews")
    card = on_main(server, "models", "ada/reviews")["README.md"].decode()
    about = front_matter(card)
    assert f"    textpl run hf://ada/reviews@{pushed.revision} --data texts.jsonl\n" in card
    assert "texts.jsonl stands for your data" in card and "Not pinned: model.revision." in card
    assert about["model-index"][0]["results"][0]["dataset"]["name"] == "texts.jsonl" and "datasets" not in about
    assert any("texts.jsonl does not go up" in note for note in pushed.notes)
    assert "source: yours" in (resolve(f"hf://ada/reviews@{pushed.revision}") / "recipe.yaml").read_text()
    assert b"secret-project" not in b"".join(on_main(server, "models", "ada/reviews").values())


def test_a_path_of_the_pusher_is_in_no_card(run):
    (run / "recipe.yaml").write_text(RECIPE.replace('"bundled:sentiment"', "train.jsonl"))
    (run / "results.json").write_text(json.dumps(RESULTS | {"data": {"source": "share/train.jsonl"}}))
    card = push(run, "ada/reviews", dry_run=True).card
    assert "share/train.jsonl" not in card and "Data read: train.jsonl" in card


@pytest.mark.parametrize("start", ["/home/ada/secret-project/start", "./secret-project/start"])
def test_a_recipe_on_a_local_model_is_not_offered_to_run(endpoint, server, run, start):
    (run / "recipe.yaml").write_text(RECIPE.replace("ada/tiny", start))
    pushed = push(run, "ada/reviews")
    card = on_main(server, "models", "ada/reviews")["README.md"].decode()
    about = front_matter(card)
    assert "textpl-recipe" not in about["tags"] and "base_model" not in about
    assert "the recipe starts from start, a model that is not here" in card and "    textpl run" not in card
    assert any("others cannot run the recipe" in note for note in pushed.notes)
    assert b"secret-project" not in b"".join(on_main(server, "models", "ada/reviews").values())


# Cards that people edit


def test_a_card_edited_by_hand_stays_unless_told_otherwise(endpoint, server, run):
    push(run, "ada/reviews")
    repo = server.repos["models", "ada/reviews"]
    files = dict(on_main(server, "models", "ada/reviews"))
    edited = files["README.md"].replace(b"## Limits", b"## Beware\n\nIt hates musicals.\n\n## Limits")
    repo.commit(files | {"README.md": edited})
    again = push(run, "ada/reviews")
    assert on_main(server, "models", "ada/reviews")["README.md"] == edited and again.card is None
    assert any("edited by hand and stays" in note for note in again.notes)
    done = textpl("push", run, "ada/reviews", "--overwrite-card")
    assert done.exit_code == 0, done.output
    assert b"musicals" not in on_main(server, "models", "ada/reviews")["README.md"]


def test_metadata_changed_on_the_hub_survive(endpoint, server, run):
    push(run, "ada/reviews")
    files = dict(on_main(server, "models", "ada/reviews"))
    card = files["README.md"].replace(b"---\n", b"---\nlicense: mit\nlanguage: en\n", 1)
    server.repos["models", "ada/reviews"].commit(files | {"README.md": card})
    push(run, "ada/reviews")
    card = on_main(server, "models", "ada/reviews")["README.md"].decode()
    assert front_matter(card)["license"] == "mit" and front_matter(card)["language"] == "en"
    assert "Licence: mit." in card and signer(card) == "model"


def test_what_is_gone_is_deleted_and_what_is_others_stays(endpoint, server, run):
    push(run, "ada/reviews")
    repo = server.repos["models", "ada/reviews"]
    extra = {"merges.txt": b"old", "notes.md": b"mine"}
    repo.commit(dict(on_main(server, "models", "ada/reviews")) | extra)
    push(run, "ada/reviews")
    files = on_main(server, "models", "ada/reviews")
    assert "merges.txt" not in files and files["notes.md"] == b"mine"


def test_another_repository_is_not_overwritten(endpoint, server, run):
    server.add("ada/other", {"README.md": "# Mine", "model.safetensors": "x"})
    server.add("ada/bare", {"config.json": "{}", "model.safetensors": "x"})
    for name in ("ada/other", "ada/bare"):
        with refused("holds something else"):
            push(run, name)
        assert len(server.repos["models", name].commits) == 1
    push(run, "ada/reviews")
    done = textpl("recipes", "push", run, "ada/reviews")
    assert done.exit_code == 1 and "holds a model that textpl pushed" in done.output


def test_trainer_push_to_hub_keeps_working(endpoint, server, run, tmp_path):
    """The Trainer's own way, into the repository that textpl made: model and card are then the Trainer's."""
    push(run, "ada/reviews")
    args = TrainingArguments(
        str(tmp_path / "out"), hub_model_id="ada/reviews", use_cpu=True, report_to="none", hub_token=TOKEN
    )
    Trainer(make_model(labels=2, seed=3), args, processing_class=make_tokenizer()).push_to_hub()
    files = on_main(server, "models", "ada/reviews")
    assert "recipe.yaml" in files and signer(files["README.md"].decode()) is None
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(files)


# What may not go up, and who may


@pytest.mark.parametrize(
    ("name", "match"), [("model/tokenizer_config.json", "tokenizer_config.json, line 1"), ("results.json", "secret")]
)  # fmt: skip
def test_secrets_stay_at_home(endpoint, server, run, name, match):
    (run / name).write_text(json.dumps(RESULTS | {"recipe": TOKEN, "versions": {"a": WRONG}}))
    with refused(match) as caught:
        push(run, "ada/reviews")
    assert TOKEN not in str(caught.value) and WRONG not in str(caught.value) and not server.requests


def test_pickles_links_and_unfinished_runs(run, tmp_path):
    (run / "model" / "model.safetensors").rename(run / "model" / "pytorch_model.bin")
    with refused("with .safetensors beside it; other weights do not go up"):
        push(run, "ada/reviews", dry_run=True)
    (run / "model" / "model.safetensors").symlink_to(run / "model" / "pytorch_model.bin")
    with refused("is a link"):
        push(run, "ada/reviews", dry_run=True)
    (run / "results.json").unlink()
    with refused(r"holds no results.json: the run is not finished"):
        push(run, "ada/reviews", dry_run=True)
    with refused("is neither a folder of textpl run"):
        push(tmp_path, "ada/reviews")
    with refused("share it by its own push_to_hub"):
        push(run / "model", "ada/reviews")
    with refused("There is no"):
        push(tmp_path / "none", "ada/reviews")
    for name in ("reviews", "a/b/c", "ada/re--views", "../x/y"):
        with refused("is no repository on the Hub"):
            push(run, name)
    with refused("--revision try"):
        push(run, "ada/reviews@try")


def test_a_private_model(endpoint, server, run, monkeypatch):
    push(run, "ada/reviews", private=True)
    assert server.repos["models", "ada/reviews"].private
    server.add("ada/open", {})
    with refused("public already"):
        push(run, "ada/open", private=True)
    monkeypatch.setenv("HF_TOKEN", READER)
    with refused("may not write to ada/reviews"):
        push(run, "ada/reviews")


def test_a_token_from_the_stored_login_is_enough_and_in_nothing(endpoint, server, run, tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("HF_TOKEN")
    with refused("needs a token with write access"):
        push(run, "ada/reviews")
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "token").write_text(TOKEN)
    done = textpl("push", run, "ada/reviews")
    assert done.exit_code == 0, done.output
    everything = b"".join(on_main(server, "models", "ada/reviews").values())
    assert TOKEN not in done.output + caplog.text and TOKEN.encode() not in everything
    (tmp_path / "home" / "token").write_text(WRONG)
    done = textpl("push", run, "ada/reviews")
    assert done.exit_code == 1 and "refuses the token" in done.output
    assert WRONG not in done.output + caplog.text + "".join(traceback.format_exception(done.exception))


def test_a_branch(endpoint, server, run):
    push(run, "ada/reviews", revision="try")
    repo = server.repos["models", "ada/reviews"]
    assert "model.safetensors" in repo.commits[repo.branches["try"]]
    assert "model.safetensors" not in on_main(server, "models", "ada/reviews")


def test_more_than_ten_megabytes_by_lfs(endpoint, server, run):
    """Without Xet the client sends and fetches large files by LFS; the hash of what arrives is checked there."""
    weights = torch.arange(3_000_000, dtype=torch.float32)
    save_file({"weights": weights}, run / "model" / "model.safetensors")
    size = (run / "model" / "model.safetensors").stat().st_size
    assert size > 10_000_000
    pushed = push(run, "ada/large")
    assert pushed.files["model.safetensors"] == size
    assert ("POST", "/ada/large.git/info/lfs/objects/batch") in server.requests
    assert any(method == "PUT" and path.startswith("/lfs/") for method, path in server.requests)
    sent = len([path for method, path in server.requests if method == "PUT"])
    push(run, "ada/large")
    assert len([path for method, path in server.requests if method == "PUT"]) == sent  # nothing twice
    from huggingface_hub import hf_hub_download

    fetched = hf_hub_download("ada/large", "model.safetensors", revision=pushed.revision)
    with open(fetched, "rb") as stream:
        assert stream.read() == (run / "model" / "model.safetensors").read_bytes()


def test_an_upload_that_fails_shares_nothing(endpoint, server, run):
    server.full = True
    with refused("nothing was shared"):
        push(run, "ada/reviews")
    assert set(on_main(server, "models", "ada/reviews")) == {".gitattributes"}
    server.full = False
    assert push(run, "ada/reviews").revision


def test_the_command_line(endpoint, server, run):
    dry = textpl("push", run, "ada/reviews", "--dry-run")
    assert dry.exit_code == 0 and "Nothing was sent" in dry.output and not server.requests
    assert "model.safetensors" in dry.output and "This very model (seed 0)" in dry.output
    done = textpl("push", run, "ada/reviews", "--private", "--license", "mit")
    assert done.exit_code == 0, done.output
    assert re.search(r"Shared: ada/reviews at [0-9a-f]{40}", done.output)
    card = on_main(server, "models", "ada/reviews")["README.md"].decode()
    assert split_card(card)[0]["license"] == "mit"


def test_addresses_of_folders(endpoint, server, tmp_path):
    commit = server.add("ada/tickets", {"recipe.yaml": RECIPE})
    assert address(resolve("hf://ada/tickets")) == f"hf://ada/tickets@{commit}"
    assert address(tmp_path) is None
