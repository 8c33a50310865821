"""Recipes shared through the real Hub client, against a server on loopback."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import traceback

import datasets
import huggingface_hub
import pytest
from conftest import make_model, make_texts, make_tokenizer
from datasets import Dataset
from hub_helpers import READER, TOKEN, WRONG, contents, front_matter, refused, textpl
from huggingface_hub import constants

from textpl.corpus import read_corpus
from textpl.recipes import allowed_files, fetching
from textpl.recipes.allowed_files import is_data
from textpl.recipes.fetching import pull, resolve
from textpl.recipes.parsing import RecipeError, parse_recipe
from textpl.recipes.results import parse_results
from textpl.sharing.card_text import escape, split_card
from textpl.sharing.push_recipe import push_recipe as push
from textpl.sharing.run_card import recipe_card
from textpl.sharing.secrets import command_without_paths

pytest_plugins = ["hub_fixtures"]
RECIPE = """\
schema: 1
description: Tickets, *tiny* <b>and</b> quick
data: {source: "bundled:sentiment"}
split: {labels_per_class: 4, pool: 40, test: 20}
model: {name: ada/tiny, max_length: 16}
method: {name: softmatch}
train: {max_steps: 2, per_device_train_batch_size: 4, bf16: false}
seeds: [0, 1]
"""
RESULTS = {
    "metric": "accuracy",
    "baseline": {"mean": 71.25, "std": 2.5, "seeds": [0, 1]},
    "method": {"name": "softmatch", "mean": 74.0, "std": 1.75, "seeds": [0, 1]},
    "difference": {"mean": 2.75, "interval": [-1.5, 6.25], "level": 0.95, "sentence": "MADE UP"},
    "data": {"source": "/home/ada/secret-project/reviews", "revision": None},
    "versions": {"python": "3.11", "textpl": "0.1.0", "bf16": False},
}


@pytest.fixture
def folder(tmp_path):
    """A recipe with results and a picture, and much beside it that must not travel."""
    place = tmp_path / "mine"
    (place / "model").mkdir(parents=True)
    (place / "recipe.yaml").write_text(RECIPE)
    (place / "results.json").write_text(json.dumps(RESULTS))
    (place / "comparison.png").write_bytes(b"\x89PNG" + bytes(20_000))
    for name in ("model/model.safetensors", "train.jsonl", ".env", "notes.txt", "run.py"):
        (place / name).write_text("x")
    return place


def with_data(folder):
    """Texts beside the recipe, which names them."""
    (folder / "texts").mkdir()
    texts, scores = make_texts(40)
    rows = [{"text": t, "label": int(s > 0)} for t, s in zip(texts, scores, strict=True)]
    (folder / "texts" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    Dataset.from_list(rows[:10]).to_parquet(folder / "texts" / "test.parquet")
    (folder / "texts" / "info.json").write_text('{"task": "single", "label_names": ["bad", "good"]}')
    (folder / "texts" / "notes.txt").write_text("x")
    (folder / "recipe.yaml").write_text(RECIPE.replace("bundled:sentiment", "texts"))


# Push and pull


def test_what_was_pushed_comes_back(endpoint, server, folder, tmp_path):
    pushed = push(folder, "ada/tickets", license="apache-2.0")
    assert set(pushed.files) == {"recipe.yaml", "README.md", "results.json", "comparison.png"}
    there = pull("ada/tickets", to=tmp_path / "theirs").folder
    found = contents(there)
    assert set(found) == set(pushed.files)
    for name in ("recipe.yaml", "comparison.png"):
        assert found[name] == (folder / name).read_bytes()
    assert not any(path.is_symlink() for path in there.rglob("*"))
    about = front_matter(found["README.md"].decode())
    assert about["tags"][:2] == ["textpl", "textpl-recipe"] and about["library_name"] == "textpl"
    assert about["license"] == "apache-2.0"
    listed = huggingface_hub.HfApi().list_models(filter="textpl-recipe")
    assert [model.id for model in listed] == ["ada/tickets"]


def test_the_card_names_the_commit_that_holds_the_recipe(endpoint, server, folder, tmp_path):
    commit = push(folder, "ada/tickets").revision
    card = (pull("ada/tickets", to=tmp_path / "a").folder / "README.md").read_text()
    assert f"textpl run hf://ada/tickets@{commit}\n" in card
    assert (resolve(f"hf://ada/tickets@{commit}") / "recipe.yaml").read_text() == RECIPE


def test_no_path_of_this_machine_goes_up(endpoint, server, folder, tmp_path):
    (folder / "recipe.yaml").write_text(f"# data abc: {tmp_path}/reviews\n{RECIPE}")
    push(folder, "ada/tickets")
    found = contents(pull("ada/tickets", to=tmp_path / "theirs").folder)
    assert found["recipe.yaml"].decode() == RECIPE
    assert json.loads(found["results.json"])["data"]["source"] == "reviews"
    assert b"secret-project" not in b"".join(found.values())


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("textpl run /home/ada/k=5/r --out=/home/ada/x", "textpl run r --out=x"),
        ("textpl run r --set data.source=/home/ada/k=5/texts", "textpl run r --set data.source=texts"),
        ("run r --set 'data={source: /home/ada/x, text: t}'", "run r --set 'data={source: x, text: t}'"),
        ("run r --set 'method.teacher=[ada/a, ~/b]'", "run r --set 'method.teacher=[ada/a, b]'"),
        ("run hf://ada/r@main --set train.max_steps=9", "run hf://ada/r@main --set train.max_steps=9"),
        ("clean x.csv --delimiter /", "clean x.csv --delimiter /"),
    ],
)
def test_no_path_goes_up_in_a_command(typed, told):
    assert command_without_paths(typed) == told


def test_data_beside_the_recipe_goes_up_only_when_asked(endpoint, server, folder, tmp_path):
    with_data(folder)
    alone = push(folder, "ada/alone")
    assert not any(is_data(name) for name in alone.files)
    assert "texts stays here: others name data of their own with --data; --with-data shares it too" in alone.notes
    assert "source: yours" in (resolve("hf://ada/alone") / "recipe.yaml").read_text()
    assert "to be named with --data" in (resolve("hf://ada/alone") / "README.md").read_text()
    pushed = push(folder, "ada/tickets", with_data=True)
    assert {"texts/train.jsonl", "texts/test.parquet", "texts/info.json"} <= set(pushed.files)
    there = pull("ada/tickets", to=tmp_path / "theirs").folder
    for name in ("train.jsonl", "test.parquet", "info.json"):
        assert (there / "texts" / name).read_bytes() == (folder / "texts" / name).read_bytes()
    assert not (there / "train.jsonl").exists() and not (there / "texts" / "notes.txt").exists()
    assert textpl("recipes", "validate", there).exit_code == 0


def test_pushing_again_replaces_what_is_gone(endpoint, server, folder):
    with_data(folder)
    push(folder, "ada/tickets", with_data=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "results.json").unlink()
    push(folder, "ada/tickets")
    repo = server.repos["models", "ada/tickets"]
    assert set(repo.commits[repo.branches["main"]]) == {".gitattributes", "recipe.yaml", "README.md", "comparison.png"}


def test_a_card_written_by_hand_stays(endpoint, server, folder, tmp_path):
    (folder / "README.md").write_text("---\ntags: [mine]\nlanguage: en\n---\n# My own words\n")
    push(folder, "ada/tickets")
    card = (pull("ada/tickets", to=tmp_path / "theirs").folder / "README.md").read_text()
    assert front_matter(card)["tags"][:3] == ["mine", "textpl", "textpl-recipe"]
    assert front_matter(card)["language"] == "en" and card.endswith("---\n# My own words\n")
    (folder / "README.md").write_text("# No metadata\n")
    push(folder, "ada/tickets")
    card = (resolve("hf://ada/tickets") / "README.md").read_text()
    assert "textpl-recipe" in front_matter(card)["tags"] and card.endswith("# No metadata\n")


def test_a_branch_and_a_pinned_revision(endpoint, server, folder):
    first = push(folder, "ada/tickets").revision
    (folder / "recipe.yaml").write_text(RECIPE.replace("max_steps: 2", "max_steps: 3"))
    push(folder, "ada/tickets", revision="try")
    assert "max_steps: 2" in (resolve("hf://ada/tickets") / "recipe.yaml").read_text()
    assert "max_steps: 3" in (resolve("hf://ada/tickets@try") / "recipe.yaml").read_text()
    push(folder, "ada/tickets")
    assert "max_steps: 3" in (resolve("hf://ada/tickets") / "recipe.yaml").read_text()
    assert "max_steps: 2" in (resolve(f"hf://ada/tickets@{first}") / "recipe.yaml").read_text()
    with refused("no revision 'nope'"):
        resolve("hf://ada/tickets@nope")


def test_a_dry_run_asks_nobody(endpoint, server, folder):
    done = push(folder, "ada/tickets", dry_run=True)
    assert done.revision is None and set(done.files) == {"recipe.yaml", "README.md", "results.json", "comparison.png"}
    assert done.notes == ("model.revision is not set: the recipe will read whatever is newest",)
    assert not server.requests


def test_only_what_a_recipe_consists_of_is_downloaded(endpoint, server, folder, tmp_path):
    extra = {"model.safetensors": "x", "train.jsonl": "{}", "evil.pkl": "x", "modeling.py": "x", "sub/recipe.yaml": "x"}
    server.add("ada/tickets", {"recipe.yaml": RECIPE, "results.json": json.dumps(RESULTS)} | extra)
    assert set(contents(pull("ada/tickets", to=tmp_path / "theirs").folder)) == {"recipe.yaml", "results.json"}
    assert sorted(server.downloads()) == ["recipe.yaml", "results.json"]


# Who may


def test_a_run_says_which_commit_it_ran(endpoint, server, tmp_path):
    """Results of a recipe that later changes would otherwise be those of nobody knows what."""
    from textpl.recipes.parsing import load_recipe
    from textpl.recipes.running.run_files import where_from

    server.add("ada/tickets", {"recipe.yaml": RECIPE})
    commit = resolve("hf://ada/tickets").parts[-2]
    assert where_from(load_recipe("hf://ada/tickets")) == {
        "recipe": "tickets",
        "recipe_source": f"hf://ada/tickets@{commit}",
    }
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    assert where_from(load_recipe(tmp_path))["recipe_source"] is None


def test_a_private_recipe_is_for_its_owner(endpoint, server, folder, monkeypatch):
    push(folder, "ada/tickets", private=True)
    assert server.repos["models", "ada/tickets"].private
    assert (resolve("hf://ada/tickets") / "recipe.yaml").exists()
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_HOME", "elsewhere")
    with refused("There is no ada/tickets on the Hub, or it is private: to see it, log in"):
        resolve("hf://ada/tickets")
    with refused("write access: log in"):
        push(folder, "ada/tickets")


def test_what_is_public_does_not_pass_for_private(endpoint, server, folder):
    push(folder, "ada/tickets")
    with refused("public already"):
        push(folder, "ada/tickets", private=True)


def test_who_may_only_read_cannot_push(endpoint, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", READER)
    with refused("may not write to ada/tickets"):
        push(folder, "ada/tickets")


def test_a_wrong_token_is_told_and_never_shown(endpoint, server, folder, monkeypatch):
    server.add("ada/tickets", {"recipe.yaml": RECIPE})
    monkeypatch.setenv("HF_TOKEN", WRONG)
    for arguments in (
        ("recipes", "push", folder, "ada/tickets"),
        ("recipes", "pull", "ada/tickets", "--to", "x"),
        ("recipes", "show", "hf://ada/tickets"),
        ("recipes", "validate", "hf://ada/tickets"),
        ("run", "hf://ada/tickets"),
    ):
        done = textpl(*arguments)
        assert done.exit_code == 1 and "refuses the token" in done.output
        assert WRONG not in done.output + "".join(traceback.format_exception(done.exception))


def test_an_upload_that_fails(endpoint, server, folder):
    server.full = True
    with refused("Error while uploading 'comparison.png' to the Hub; nothing was shared"):
        push(folder, "ada/tickets")
    repo = server.repos["models", "ada/tickets"]
    assert set(repo.commits[repo.branches["main"]]) == {".gitattributes"}


def test_another_repository_is_not_overwritten(endpoint, server, folder):
    server.add("ada/model", {"README.md": "# My classifier", "model.safetensors": "x"})
    with refused("holds something else"):
        push(folder, "ada/model")
    assert len(server.repos["models", "ada/model"].commits) == 1


# What must not go up


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN, WRONG, "ghp_" + "a" * 36, "AKIA" + "A" * 16, "-----BEGIN RSA PRIVATE KEY-----", "glpat-" + "a" * 20,
        "hf_oauth_" + "a" * 30, "api_org_" + "a" * 34, "AIza" + "a" * 35,
    ],
)  # fmt: skip
def test_secrets_stay_at_home(endpoint, server, folder, secret):
    (folder / "recipe.yaml").write_text(RECIPE + f"# {secret}\n")
    with pytest.raises(RecipeError, match="recipe.yaml, line 9: holds what looks like a secret") as caught:
        push(folder, "ada/tickets")
    assert secret not in str(caught.value) and not server.requests


def test_secrets_in_data_stay_at_home(endpoint, server, folder):
    with_data(folder)
    with (folder / "texts" / "train.jsonl").open("a") as stream:
        stream.write(json.dumps({"text": f"my token is {WRONG}", "label": 0}))
    with refused("texts/train.jsonl, line 40: holds"):
        push(folder, "ada/tickets", with_data=True)


def test_links_and_models_stay_at_home(folder, tmp_path):
    (tmp_path / "passwd").write_text("root")
    (folder / "README.md").symlink_to(tmp_path / "passwd")
    with refused("is a link"):
        push(folder, "ada/tickets", dry_run=True)
    (folder / "README.md").unlink()
    (folder / "recipe.yaml").write_text(RECIPE.replace("ada/tiny", "model"))
    with refused(r"model.name: model lies beside the recipe.*push_to_hub"):
        push(folder, "ada/tickets", dry_run=True)
    (folder / "recipe.yaml").unlink()
    with refused("holds no recipe.yaml"):
        push(folder, "ada/tickets", dry_run=True)


@pytest.mark.parametrize("name", ["./models/enc", "models/big/enc", "/home/ada/enc", "..\\\\enc"])
@pytest.mark.parametrize("key", ["model.name", "method.teacher"])
def test_a_model_that_a_run_read_here_stays_at_home(folder, key, name):
    """Nothing need lie beside the recipe of a run, so that what it names tells whether others have it."""
    old, new = (
        ("ada/tiny", f'"{name}"')
        if key == "model.name"
        else ("{name: softmatch}", f'{{name: distillation, teacher: "{name}"}}')
    )
    (folder / "recipe.yaml").write_text(f"# data abc: bundled:sentiment\n{RECIPE.replace(old, new)}")
    with refused(rf"{key}: enc lies beside the recipe.*push_to_hub"):
        push(folder, "ada/tickets", dry_run=True)


def test_data_of_other_kinds_stays_at_home(folder):
    with_data(folder)
    (folder / "texts" / "dev.csv").write_text("text,label\na,0\n")
    assert "texts/dev.csv" in push(folder, "ada/tickets", with_data=True, dry_run=True).files
    (folder / "texts" / "valid.json").write_text("[]")
    with refused("texts/valid.json: data goes up as jsonl, parquet, csv or tsv"):
        push(folder, "ada/tickets", with_data=True, dry_run=True)


# What was run, on data that lie beside the recipe


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A recipe on one's own csv in `mine`, and in `runs/mine` what a run of it would leave."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    texts, scores = make_texts(40)
    rows = [{"text": text, "label": int(score > 0)} for text, score in zip(texts, scores, strict=True)]
    recipe = RECIPE.replace("bundled:sentiment", "train.csv")
    for place in ("mine", "runs/mine"):
        (tmp_path / place).mkdir(parents=True)
    Dataset.from_list(rows).to_csv(tmp_path / "mine" / "train.csv")
    (tmp_path / "mine" / "recipe.yaml").write_text(recipe)
    fingerprint = read_corpus("mine/train.csv").fingerprint
    (tmp_path / "runs" / "mine" / "recipe.yaml").write_text(f"# data {fingerprint}: mine/train.csv\n{recipe}")
    sizes = {"labeled": 8, "pool": 40, "test": 20}
    data = {"source": "mine/train.csv", "revision": None, "splits": [{"sizes": sizes}, {"sizes": sizes}]}
    (tmp_path / "runs" / "mine" / "results.json").write_text(json.dumps(RESULTS | {"data": data}))
    return tmp_path


def test_a_run_on_own_data_is_shared_with_them(endpoint, server, own):
    done = textpl("recipes", "push", "runs/mine", "ada/alone")
    assert done.exit_code == 0 and "train.csv stays here" in done.output and "--with-data" in done.output
    alone = pull("ada/alone", to=own / "alone").folder
    assert "source: yours" in (alone / "recipe.yaml").read_text() and not (alone / "train.csv").exists()
    done = textpl("recipes", "push", "runs/mine", "ada/tickets", "--with-data")
    assert done.exit_code == 0, done.output
    assert "the texts in train.csv go up" in done.output and "data.revision is not set" not in done.output
    pulled = pull("ada/tickets", to=own / "theirs").folder
    assert (pulled / "train.csv").read_bytes() == (own / "mine" / "train.csv").read_bytes()
    assert textpl("recipes", "validate", "theirs").exit_code == 0
    card = (pulled / "README.md").read_text()
    assert "Data read: train.csv\n" in card and "mine/" not in card and "Data: train.csv, beside the recipe" in card
    assert "Rows: 8 labelled, 40 in the pool, 20 to test on\n" in card
    assert "Not pinned: model.revision." in card and "which is not the data" not in card
    assert "datasets" not in front_matter(card)


def test_only_what_the_run_read_goes_up(own, monkeypatch):
    (own / "mine" / "train.csv").write_text("text,label\nfine,0\nelse,1\n")
    with refused("mine/train.csv holds other rows than the run read"):
        push("runs/mine", "ada/tickets", with_data=True, dry_run=True)
    (own / "mine" / "train.csv").unlink()
    with refused("Push from the folder where you ran it, or copy the data to runs/mine/train.csv"):
        push("runs/mine", "ada/tickets", with_data=True, dry_run=True)
    run = own / "runs" / "mine" / "recipe.yaml"
    run.write_text(run.read_text().replace(": mine/train.csv\n", ": /etc/passwd\n"))
    with refused("names train.csv beside it, but the run read /etc/passwd. Push without --with-data"):
        push("runs/mine", "ada/tickets", with_data=True, dry_run=True)
    assert not any(is_data(name) for name in push("runs/mine", "ada/tickets", dry_run=True).files)


def test_a_path_that_was_typed_is_not_shared_with_the_data(endpoint, own):
    run, typed = own / "runs" / "mine" / "recipe.yaml", own / "mine" / "train.csv"
    text = run.read_text().replace('"train.csv"', f'"{typed}"')
    run.write_text(text.replace(": mine/train.csv\n", f": {typed}\n"))
    assert textpl("recipes", "validate", "runs/mine").exit_code == 0
    push("runs/mine", "ada/tickets", with_data=True)
    there = pull("ada/tickets", to=own / "theirs").folder
    assert "source: train.csv\n" in (there / "recipe.yaml").read_text()
    assert not any(str(own).encode() in content for content in contents(there).values())


def test_a_folder_of_own_data_with_a_slash_is_no_hub_id(own, tmp_path):
    texts = own / "mine" / "texts" / "all"
    texts.mkdir(parents=True)
    (own / "mine" / "train.csv").rename(texts / "train.csv")
    for file in (own / "mine" / "recipe.yaml", own / "runs" / "mine" / "recipe.yaml"):
        file.write_text(file.read_text().replace("train.csv", "texts/all"))
    done = push("runs/mine", "ada/tickets", with_data=True, dry_run=True)
    assert "texts/all/train.csv" in done.files and "datasets" not in front_matter(done.card)


# Without a network


def test_offline_from_the_cache(endpoint, server, folder, monkeypatch):
    commit = push(folder, "ada/tickets").revision
    online = resolve("hf://ada/tickets")
    pinned = resolve(f"hf://ada/tickets@{commit}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(server.requests)
    assert resolve("hf://ada/tickets") == online and resolve(f"hf://ada/tickets@{commit}") == pinned
    dry = pull("ada/tickets", dry_run=True, to=folder / "theirs")
    assert pull("ada/tickets", dry_run=True, revision=commit, to=folder / "theirs").files.keys() == dry.files.keys()
    assert dry.files == {name: len(content) for name, content in contents(online).items()}
    assert not dry.folder.exists() and len(server.requests) == asked
    with refused(r"ada/other is not in the cache, and the Hub cannot be reached \(HF_HUB_OFFLINE is set\)"):
        resolve("hf://ada/other")
    with refused("ada/tickets@try is not in the cache"):
        resolve("hf://ada/tickets@try")
    with refused("cannot be reached"):
        push(folder, "ada/tickets")


def test_no_connection(endpoint, server, folder, monkeypatch):
    push(folder, "ada/tickets")
    known = resolve("hf://ada/tickets")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert resolve("hf://ada/tickets") == known
    with refused("no connection"):
        resolve("hf://ada/other")


# Strangers


BOMB = "schema: 1\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"README.md": "# hi"}, "holds no recipe.yaml"),
        ({"recipe.yaml": "a" * 70_000}, "larger than 64 KiB, which is no recipe"),
        ({"recipe.yaml": BOMB}, "anchors and aliases"),
        ({"recipe.yaml": "schema: 1\ndata: !!python/object/apply:os.system ['touch pwned']\n"}, "tags"),
        ({"recipe.yaml": "[" * 30_000}, "nested more than"),
        ({"recipe.yaml": b"\xff\xfe\x00"}, "not UTF-8"),
        ({"recipe.yaml": "../../../etc/passwd"}, "a recipe is a mapping"),  # a link in git is its target as text
        ({"recipe.yaml": RECIPE.replace("bundled:sentiment", "../../etc")}, "leads out"),
        ({"recipe.yaml": RECIPE.replace("bundled:sentiment", "/etc")}, "no path inside"),
        ({"recipe.yaml": RECIPE.replace("bundled:sentiment", "https://evil.example/x")}, "is a URL"),
        ({"recipe.yaml": RECIPE.replace("ada/tiny", "~/.ssh")}, "no path inside"),
        ({"recipe.yaml": RECIPE + "trust_remote_code: true\n"}, "trust_remote_code: cannot be set"),
        ({"recipe.yaml": RECIPE.replace("bf16: false", "bf16: false, output_dir: /etc")}, "cannot be set"),
        ({"recipe.yaml": RECIPE, "README.md": "x" * (2**20 + 1)}, "README.md has 1,048,577 bytes"),
        ({"recipe.yaml": RECIPE.replace("bundled:sentiment", "texts"), "texts/run.py": "x"}, "no file or folder"),
    ],
)  # fmt: skip
def test_hostile_repositories_leave_nothing(endpoint, server, tmp_path, monkeypatch, files, match):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    server.add("eve/evil", files)
    with refused(match):
        pull("eve/evil", to="theirs")
    assert not list(work.iterdir())
    assert not [path for path in (tmp_path / "home" / "textpl-recipes").rglob("*") if path.is_file()]
    done = textpl("recipes", "validate", "hf://eve/evil")
    assert done.exit_code == 1 and "not valid" in done.output


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("bundled:sentiment", "texts", "line 3: data.source: no file or folder 'texts'"),
        ("bundled:sentiment", "./other.csv", "line 3: data.source: no file or folder './other.csv'"),
        ("ada/tiny", "./models/enc", "line 5: model.name: no file or folder './models/enc'"),
        (
            "{name: softmatch}",
            "{name: distillation, teacher: a/b/enc}",
            "line 6: method.teacher: no file or folder 'a/b/enc'",
        ),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_a_recipe_names_and_is_not_there_is_told_before_more_is_downloaded(
    endpoint, server, tmp_path, old, new, match, dry_run
):
    recipe = RECIPE.replace(old, new)
    there = {"README.md": "# hi", "models/enc/model.safetensors": "x", "train.csv": "text,label\na,0\n"}
    server.add("eve/lacks", {"recipe.yaml": recipe, **there})
    with refused(match):
        pull("eve/lacks", to=tmp_path / "theirs", dry_run=dry_run)
    asked = " ".join(map(str, server.requests))
    assert "recipe.yaml" in asked and "README.md" not in asked and "train.csv" not in asked


def test_names_that_lead_out_are_never_asked_for(endpoint, server, tmp_path):
    recipe = RECIPE.replace("bundled:sentiment", "texts")
    rows = '{"text": "a", "label": 0}\n'
    names = (
        "../evil.jsonl",
        "texts/../../evil.jsonl",
        "/abs.jsonl",
        "texts/..\\evil.jsonl",
        "C:/x.jsonl",
        "texts/.x.jsonl",
    )
    server.add("eve/evil", {"recipe.yaml": recipe, "texts/train.jsonl": rows} | dict.fromkeys(names, rows))
    assert set(contents(pull("eve/evil", to=tmp_path / "x").folder)) == {"recipe.yaml", "texts/train.jsonl"}
    assert sorted(server.downloads()) == ["recipe.yaml", "texts/train.jsonl"]
    assert not any(map(is_data, names))


def test_too_many_and_too_large_files(endpoint, server, monkeypatch):
    recipe = RECIPE.replace("bundled:sentiment", "texts")
    server.add("eve/evil", {"recipe.yaml": recipe, "texts/train.jsonl": "x" * 1000})
    monkeypatch.setattr(allowed_files, "DATA_BYTES", 999)
    with refused("download it yourself"):
        resolve("hf://eve/evil")
    monkeypatch.setattr(fetching, "MAX_FILES", 1)
    with refused("more than 1 files"):
        resolve("hf://eve/evil")


def test_a_branch_that_looks_like_a_commit_is_none(endpoint, server, tmp_path):
    """What is asked for as a commit would stay in the cache for ever, and a branch moves."""
    server.add("eve/evil", {"recipe.yaml": RECIPE})
    server.repos["models", "eve/evil"].commit({"recipe.yaml": RECIPE.encode()}, "a" * 40)
    with refused("has no commit a{40}"):
        resolve(f"hf://eve/evil@{'a' * 40}")
    assert not [path for path in (tmp_path / "home" / "textpl-recipes").rglob("*") if path.is_file()]


@pytest.mark.parametrize("uri", ["hf://x", "hf://a/b/c", "hf://../b", "hf://a/b@../x", "hf://a/b@-x", "hf://a b/c"])
def test_addresses_that_are_none(uri):
    with refused("is no recipe on the Hub"):
        resolve(uri)


def test_a_name_that_is_taken(endpoint, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server.add("ada/tickets", {"recipe.yaml": RECIPE})
    assert pull("ada/tickets").folder.name == "tickets"
    with refused("not an empty folder"):
        pull("hf://ada/tickets")


# Cards


def card_of(results=None, recipe=RECIPE, **settings):
    return recipe_card(parse_recipe(recipe, folder=fetching.Path()), results, repo_id="ada/x", **settings)


def test_a_card_tells_the_numbers_of_the_run_and_no_others():
    card = card_of(parse_results(json.dumps(RESULTS)))
    assert "| labels only | 71.2 | 2.5 | 2 |" in card and "| softmatch | 74.0 | 1.8 | 2 |" in card
    assert "**No evidence that it helped: +2.8 points [-1.5, 6.2]** (95 % interval). Fewer than 5 seeds" in card
    assert "MADE UP" not in card and "textpl 0.1.0" in card


def test_a_card_without_results_invents_none():
    card = card_of()
    assert "None yet: this recipe was shared without a `results.json`" in card and "Nothing was measured" in card
    assert "mean" not in card and "points" not in card and "after the results were made" not in card
    assert "Not pinned: model.revision. What is read may change.\n" in card


def test_a_card_tells_when_other_data_was_measured():
    assert "which is not the data that the recipe names (bundled:sentiment)" in card_of(
        parse_results(json.dumps(RESULTS))
    )
    same = RESULTS | {"data": {"source": "bundled:sentiment"}}
    assert "which is not the data" not in card_of(parse_results(json.dumps(same)))


def test_text_of_strangers_does_nothing_in_a_card():
    nasty = "[click](http://evil.example) <script>x</script> `a` | b ![i](x) www.evil.example"
    card = card_of(recipe=RECIPE.replace("Tickets, *tiny* <b>and</b> quick", json.dumps(nasty + " ```")))
    line = next(line for line in split_card(card)[1].splitlines() if "click" in line)
    assert line.startswith(r"\[click\](http\://evil.example) &lt;script>x")
    assert r"\`a\`" in line and r"www\.evil" in line and "````yaml" in card
    assert escape("# a\n1. b") == r"\# a 1. b" and escape("1. a") == r"1\. a" and escape("---") == r"\---"


def test_results_of_something_else_are_refused(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace("softmatch", "fixmatch"))
    with refused("results.json is of 'softmatch', the recipe tries 'fixmatch'"):
        push(folder, "ada/tickets", dry_run=True)


@pytest.mark.parametrize(
    "text", ["[]", "{", "[" * 100_000, '{"metric": 1}', json.dumps(RESULTS).replace("71.25", "NaN")]
)
def test_results_that_are_none(text):
    with refused("results.json"):
        parse_results(text)


# The command line


def test_commands(endpoint, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dry = textpl("recipes", "push", folder, "ada/tickets", "--dry-run")
    assert dry.exit_code == 0 and "Nothing was sent" in dry.output and "model.revision is not set" in dry.output
    done = textpl("recipes", "push", folder, "ada/tickets")
    assert done.exit_code == 0, done.output
    command = re.search(r"textpl run (hf://ada/tickets@[0-9a-f]{40})", done.output)[1]
    shown = textpl("recipes", "show", command)
    assert shown.exit_code == 0, shown.output
    assert "labels only 71.2 ± 2.5, softmatch 74.0 ± 1.8" in shown.output and "method: softmatch" in shown.output
    pulled = textpl("recipes", "pull", "ada/tickets")
    assert pulled.exit_code == 0 and "textpl run tickets" in pulled.output
    assert textpl("recipes", "validate", "tickets", "quickstart").output.count(": valid") == 2
    listed = textpl("recipes", "list", tmp_path)
    assert "tickets" in listed.output and "Tickets, *tiny*" in listed.output
    assert "quickstart" in textpl("recipes", "list").output
    (tmp_path / "tickets" / "recipe.yaml").write_text("schema: 2")
    assert "not valid: " in textpl("recipes", "list", tmp_path).output
    wrong = textpl("recipes", "validate", "quickstart", "tickets")
    assert wrong.exit_code == 1 and "recipe.yaml, line 1: schema" in wrong.output


def test_show_cannot_move_the_cursor(endpoint, server):
    server.add("eve/evil", {"recipe.yaml": RECIPE.replace("Tickets", "\u202egnp.exe")})
    assert "\u202e" not in textpl("recipes", "show", "hf://eve/evil").output


def test_a_pulled_recipe_runs_and_again_without_a_network(endpoint, server, tmp_path, monkeypatch):
    """Model and recipe come from the Hub, then both from the cache."""
    monkeypatch.chdir(tmp_path)
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    server.add("ada/tiny", contents(tmp_path / "tiny"))
    pinned = server.add("ada/tickets", {"recipe.yaml": RECIPE}, private=True)
    done = textpl("run", "hf://ada/tickets", "--seeds", "0")
    assert done.exit_code == 0, done.output
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = textpl("run", f"hf://ada/tickets@{pinned}", "--seeds", "0")
    assert again.exit_code == 0, again.output
    scores = [json.loads((tmp_path / "runs" / n / "results.json").read_text()) for n in ("tickets", "tickets-2")]
    assert scores[0]["method"] == scores[1]["method"] and scores[0]["recipe"] == "tickets"
    written = b"".join(path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert TOKEN not in done.output + again.output and TOKEN.encode() not in written
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    shared = textpl("recipes", "push", "runs/tickets", "ada/tickets")
    assert shared.exit_code == 0, shared.output
    assert "| softmatch | " in (resolve("hf://ada/tickets") / "README.md").read_text()


def test_the_environment_points_the_client(server, tmp_path):
    """In a process of its own, with the variables that users set and the client's most talkative log."""
    server.add("ada/tickets", {"recipe.yaml": RECIPE}, private=True)
    code = "import textpl.cli; textpl.cli.app()"
    with server.serve() as url:
        environment = os.environ | {
            "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1,localhost", "HF_HUB_VERBOSITY": "debug", "HF_DEBUG": "1",
        }  # fmt: skip
        command = [sys.executable, "-c", code, "recipes", "pull", "ada/tickets"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "tickets" / "recipe.yaml").read_text() == RECIPE
    assert TOKEN not in done.stdout + done.stderr
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
