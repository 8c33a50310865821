"""What the cards of recipes and models, and `textpl recipes show`, tell somebody who was not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_helpers import textpl

from textpl.recipes.describing import describe, is_hub_data, unpinned
from textpl.recipes.parsing import parse_recipe
from textpl.recipes.results import parse_results
from textpl.sharing.push_recipe import push_recipe as push
from textpl.sharing.run_card import model_card, recipe_card
from textpl.sharing.run_folder import RunFolder

RECIPE = """\
schema: 1
data: {source: "bundled:sentiment"}
split: {labels_per_class: 4, pool: 40, test: 20}
model: {name: ada/tiny, max_length: 16}
seeds: [0, 1]
"""
RESULTS = {
    "task": "single",
    "metric": "macro_f1",
    "baseline": {"name": "labels only", "mean": 71.25, "std": 2.5, "seeds": [0, 1]},
    "method": {"name": "softmatch", "mean": 74.0, "std": 1.75, "seeds": [0, 1]},
    "difference": {"mean": 2.75, "interval": [-1.5, 6.25], "level": 0.95},
    "data": {"source": "bundled:sentiment"},
    "label_names": ["bad", "good"],
}
SOFTMATCH = RECIPE + "method: softmatch\n"


def parsed(text, folder=Path()):
    return parse_recipe(text, folder=folder)


def results(**change):
    return parse_results(json.dumps(RESULTS | change))


def card_of(found=None, recipe=SOFTMATCH, folder=Path(), **settings):
    return recipe_card(parsed(recipe, folder), found, repo_id="ada/x", **settings)


# What is tried


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ("method: softmatch", "softmatch on the pool"),
        ("stages: [label, train]", "the pool is labelled from embeddings first, then learnt (distillation)"),
        (
            "stages: [label, train]\nlabel: {method: hdl, encoder: lsa}",
            "the pool is labelled from embeddings first (method hdl, encoder lsa), then learnt (distillation)",
        ),
        ("stages: [clean, train]", "wrong labels are found and changed first, then trained on"),
        (
            "stages: [clean, train]\nclean: {encoder: lsa}",
            "wrong labels are found and changed first (encoder lsa), then trained on",
        ),
        ("method: none\ntrain: {labeled_loss: gce}", "the loss gce on the labelled rows"),
    ],
)
def test_what_is_tried_is_told_in_words(more, wanted):
    assert dict(describe(parsed(RECIPE + more)))["Tries"] == wanted
    assert f"- Tries: {wanted}\n" in card_of(recipe=RECIPE + more)


# Data beside the recipe


@pytest.fixture
def own(tmp_path):
    """A recipe on a file beside it, with results and a picture."""
    rows = [json.dumps({"text": f"text {i}", "label": i % 2}) for i in range(80)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    (tmp_path / "recipe.yaml").write_text(SOFTMATCH.replace("bundled:sentiment", "train.jsonl"))
    (tmp_path / "results.json").write_text(json.dumps(RESULTS | {"data": {"source": "train.jsonl"}}))
    (tmp_path / "comparison.png").write_bytes(b"\x89PNG" + bytes(100))
    return tmp_path


def test_data_beside_the_recipe_are_told_as_such(own):
    done = textpl("recipes", "show", own)
    assert done.exit_code == 0, done.output
    assert "train.jsonl, beside the recipe" in done.output and "train.jsonl, no revision" not in done.output
    recipe = parsed(SOFTMATCH.replace("bundled:sentiment", "train.jsonl"), own)
    assert unpinned(recipe) == ["model.revision"], "a file has no revision to pin"


@pytest.mark.parametrize(
    ("source", "beside", "hub"),
    [
        ("owner/name", (), True),
        ("texts/all", ("texts/all",), False),
        ("texts/train.csv", (), False),
        ("texts", (), False),
        ("yours", (), False),
        ("bundled:sentiment", (), False),
    ],
)
def test_which_data_are_on_the_hub(source, beside, hub):
    assert is_hub_data(source, beside) is hub


def test_the_licence_is_of_what_is_there(own):
    alone = "It is of the recipe; the data and the model have their own.\n"
    assert alone in card_of(license="mit")
    together = push(own, "ada/x", license="mit", with_data=True, dry_run=True).card
    assert "Licence: mit. It is of the recipe and the data files here; the model has its own.\n" in together


# Results


def test_the_picture_is_shown_where_it_goes_up(own):
    shown = "![macro f1 of labels only and of softmatch, by seed](comparison.png)\n"
    assert (
        f"(95 % interval). Fewer than 5 seeds: the interval says little.\n\n{shown}\n## What it does"
        in push(own, "ada/x", with_data=True, dry_run=True).card
    )
    (own / "results.json").unlink()
    assert "comparison.png" not in push(own, "ada/x", with_data=True, dry_run=True).card, "a picture of what?"
    (own / "comparison.png").unlink()
    (own / "results.json").write_text(json.dumps(RESULTS | {"data": {"source": "train.jsonl"}}))
    assert "![" not in push(own, "ada/x", with_data=True, dry_run=True).card


def test_labels_are_named(own):
    assert "- Labels: bad, good\n" in card_of(results())
    assert "Labels:" not in card_of(results(label_names=[])) and "Labels:" not in card_of()
    assert "Labels:" not in card_of(results(data={"source": "ada/others"})), "these are those of other data"
    many = card_of(results(label_names=[f"n{i}" for i in range(101)]))
    assert "n98, n99, ... (101 in all)\n" in many and "n100" not in many


def test_names_of_labels_do_nothing_in_a_card():
    card = card_of(results(label_names=["[a](http://evil.example)", "b\n\n# c", "<img src=x>", "d" * 500]))
    (line,) = [line for line in card.splitlines() if line.startswith("- Labels: ")]
    assert line.startswith(r"- Labels: \[a\](http\://evil.example), b # c, &lt;img src=x>, ddd")
    assert "d" * 200 in line and "d" * 201 not in line


@pytest.mark.parametrize(
    ("mean", "interval", "wanted"),
    [
        (
            2.75,
            [-1.5, 6.25],
            "**This model was trained with softmatch, and it is not shown that it beats labels only: ",
        ),
        (-2.0, [-4.0, 1.0], "**This model was trained with softmatch, and labels only scored higher: "),
        (2.75, [1.5, 4.0], ""),
    ],
)
def test_a_model_that_is_not_shown_to_be_better_says_so_first(mean, interval, wanted):
    found = results(difference={"mean": mean, "interval": interval, "level": 0.95})
    run = RunFolder(parsed(SOFTMATCH), found, "", (), {}, (), ("bad", "good"))
    card = model_card(run, repo_id="ada/x")
    assert ("This model was trained" in card) == bool(wanted)
    first = card.split("## Results")[0]
    assert wanted in first and "\n\n\n" not in first.split("---\n", 2)[2], "one blank line between paragraphs"
