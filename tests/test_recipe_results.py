"""Expected results: what may be written, when a run agrees with them, and what the commands tell."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from textpl.cli import app
from textpl.recipes.agreement import judge
from textpl.recipes.parsing import RecipeError, load_recipe, parse_recipe, to_yaml
from textpl.recipes.results import Results

BASE = "schema: 1\ndata: {source: owner/name}\nsplit: {labels_per_class: 10}\n"
EXPECTED = """\
expected:
  metric: accuracy
  seeds: [0, 1, 2]
  baseline: {mean: 70.0, std: 2.0}
  method: {mean: 75.0, std: 1.0}
"""
DIFFERENCE = "  difference: {mean: 5, interval: [2, 8]}\n"


def parse(text, *overrides, folder=None):
    return parse_recipe(text, folder=folder, overrides=overrides)


def results(baseline, method, *, seeds=(0, 1, 2), std=1.0, metric="accuracy"):
    side = {"seeds": list(seeds), "std": std if len(seeds) > 1 else None}
    difference = {"mean": method - baseline, "interval": [-1, 9], "level": 0.95}
    data = {"metric": metric, "baseline": side | {"mean": baseline}, "method": side | {"mean": method}}
    return Results.model_validate(data | {"difference": difference})


def test_round_trip(tmp_path):
    recipe = parse(BASE + EXPECTED + DIFFERENCE, folder=tmp_path)
    assert recipe.expected.difference.level == 0.95 and recipe.expected.seeds == (0, 1, 2)
    assert parse(to_yaml(recipe), folder=tmp_path) == recipe
    assert len((BASE + EXPECTED + DIFFERENCE).splitlines()) < 30


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "std: 2.0",
            "sdt: 2.0",
            "line 7: expected.baseline.sdt: unknown key; did you mean 'std'? Valid keys: mean, std",
        ),
        ("metric: acc", "metrik: 1\n  metric: acc", "line 5: expected.metrik: unknown key; did you mean 'metric'?"),
        ("accuracy", "bleu", "line 5: expected.metric: expected 'accuracy', 'macro_f1'"),
        ("mean: 70.0", "mean: 170", "line 7: expected.baseline.mean: expected 100 or less"),
        ("mean: 70.0, ", "", "line 7: expected.baseline.mean: is missing"),
        (", std: 2.0", "", "line 4: expected: baseline: its std over the seeds is missing"),
        ("[0, 1, 2]", "[0]", "line 4: expected: baseline: one seed has no std"),
        ("[0, 1, 2]", "[]", "line 6: expected.seeds:"),
        ("[2, 8]", "[8, 2]", "line 9: expected.difference: interval: [8.0, 2.0] runs downwards"),
        ("[2, 8]", "[2]", "line 9: expected.difference.interval"),
    ],
)
def test_refused(tmp_path, old, new, message):
    text = BASE + EXPECTED + DIFFERENCE
    assert old in text
    with pytest.raises(RecipeError) as caught:
        parse(text.replace(old, new), folder=tmp_path)
    assert message in str(caught.value)


def test_the_metric_is_the_one_that_is_compared(tmp_path):
    with pytest.raises(RecipeError, match=r"expected: is in accuracy, but compare\.metric is macro_f1"):
        parse(BASE + EXPECTED + "compare: {metric: macro_f1}", folder=tmp_path)


def test_what_is_changed_expects_nothing(tmp_path):
    """Results are of the recipe as it stands; other seeds are the same experiment."""
    text = BASE + EXPECTED
    assert parse(text, "train.max_steps=5", folder=tmp_path).expected is None
    assert parse(text, "seeds=[7]", folder=tmp_path).expected is not None
    assert "expected" not in to_yaml(parse(text, "split.labels_per_class=5", folder=tmp_path))


def test_agreement(tmp_path):
    """By hand: pooled variance (2*4 + 2*1)/4 = 2.5; t(0.975, 4) = 2.776 times sqrt(2.5 * 2/3) = 3.584; rounding 0.1."""
    recipe = parse(BASE + EXPECTED, folder=tmp_path)
    found = judge(recipe, results(72.0, 76.0))
    assert found.agrees is True and found.sides["labels only"]["chance"] == pytest.approx(3.584 + 0.1, abs=1e-3)
    assert found.sentence.startswith("As the recipe expects: labels only 72.0, expected 70.0 (chance explains 3.7);")
    far = judge(recipe, results(72.0, 85.0))
    assert far.agrees is False
    assert far.sentence.startswith("Not as the recipe expects:") and "Other data, versions or hardware" in far.sentence
    assert far.to_dict()["agrees"] is False and json.dumps(far.to_dict())
    assert judge(recipe, results(73.684 - 0.01, 75)).agrees and not judge(recipe, results(73.684 + 0.01, 75)).agrees


def test_what_cannot_be_judged(tmp_path):
    one = EXPECTED.replace("[0, 1, 2]", "[0]").replace(", std: 2.0", "").replace(", std: 1.0", "")
    found = judge(parse(BASE + one, folder=tmp_path), results(70, 75, seeds=(0,)))
    assert found.agrees is None and "cannot be said" in found.sentence and "no spread to judge by" in found.sentence
    assert judge(parse(BASE + one, folder=tmp_path), results(70, 75)).agrees is True, "one side has a spread"
    other = judge(parse(BASE + EXPECTED, folder=tmp_path), results(70, 75, metric="macro_f1"))
    assert other.agrees is None and "it expects accuracy, and this is macro_f1" in other.sentence
    assert judge(parse(BASE, folder=tmp_path), results(70, 75)) is None


# ---- the commands ----


def textpl(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def folder(tmp_path):
    """A recipe that expects something, with results beside it."""
    place = tmp_path / "mine"
    place.mkdir()
    (place / "recipe.yaml").write_text(BASE + "textpl: '>=0.1'\nmethod: softmatch\n" + EXPECTED + DIFFERENCE)
    found = results(72.0, 85.0).model_dump(mode="json")
    found["method"]["name"] = "softmatch"
    (place / "results.json").write_text(json.dumps(found))
    return place


def test_show_tells_what_is_expected(folder):
    told = textpl("recipes", "show", folder)
    assert (
        "Expects:" in told
        and "labels only 70 ± 2, softmatch 75 ± 1; difference +5 points [2, 8]; seeds 0, 1, 2" in told
    )
    assert "Not as the recipe expects" in told and "For textpl:" in told


def test_diff_tells_settings_and_results(folder, tmp_path):
    (tmp_path / "other.yaml").write_text(BASE + "method: softmatch\ntrain: {max_steps: 9}\n")
    told = textpl("recipes", "diff", folder, tmp_path / "other.yaml")
    assert "+train:\n+  max_steps: 9\n" in told and "-method" not in told
    assert "A measured: accuracy in %: labels only 72.0" in told and "B measured" not in told
    assert "The recipes are the same." in textpl("recipes", "diff", folder, folder)
    (tmp_path / "stated.yaml").write_text(BASE + EXPECTED)
    assert "B expects: accuracy in %: labels only 70 ± 2" in textpl("recipes", "diff", folder, tmp_path / "stated.yaml")


def test_another_metric_by_set_is_no_contradiction_to_what_is_expected(tmp_path):
    (tmp_path / "recipe.yaml").write_text(BASE + EXPECTED)
    assert load_recipe(tmp_path).recipe.expected is not None
    loaded = load_recipe(tmp_path, overrides=["compare.metric=macro_f1"])
    assert loaded.recipe.expected is None and loaded.expected_dropped
    assert not load_recipe(tmp_path, overrides=["seeds=[7]"]).expected_dropped
