"""`textpl run --tune`: settings are chosen on dev or cross-fitted labeled rows, for both sides, never on test rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_run import RECIPE, folder, run, textpl  # noqa: F401 - a fixture

from textpl.recipes.parsing import load_recipe
from textpl.recipes.running import tuning
from textpl.recipes.running.reading import read_data

TUNED = RECIPE.replace(
    "seeds: [0, 1]", "seeds: [0]\ntune: {method.weight: [0.0, 1.0], train.learning_rate: [1.0e-2, 1.0e-9]}"
)


@pytest.mark.parametrize(("split", "rows"), [("", "cross-fitted in 3 folds"), (", dev: 20", "the dev rows")])
def test_both_sides_are_tuned_and_the_chosen_setting_is_run(folder, split, rows):  # noqa: F811
    text = TUNED.replace("labels_per_class: 4", f"labels_per_class: 8{split}").replace("max_steps: 3", "max_steps: 12")
    (folder / "recipe.yaml").write_text(text)
    many = 6 if split else 18
    assert f"{many} trainings by which --tune chooses" in run(folder, "--tune", "--dry-run").output
    done = run(folder, "--tune")
    assert done.exit_code == 0, done.output
    results = json.loads((folder / "out" / "results.json").read_text())
    found = results["tuning"]
    assert len(found["method"]) == 4 and len(found["baseline"]) == 2 and rows in found["rows"]
    assert found["chosen"]["baseline"] == {"train.learning_rate": 1e-2}, "the other one learns nothing"
    best = max(found["method"], key=lambda one: one["mean"])
    assert found["chosen"]["method"] == best["setting"]
    ran = {key: float(results["settings"][key]) for key in best["setting"]}
    assert ran == best["setting"]
    told = "Tuning: labels only is run with train.learning_rate 0.01"
    assert told in " ".join(done.output.split()) and told in (folder / "out" / "report.html").read_text()
    assert not (folder / "out.tuning.json").exists()
    # More seeds go on with what was chosen.
    more = run(folder, "--tune", "--seeds", "0,1", "--resume")
    assert more.exit_code == 0 and "tuning:" not in more.output, more.output
    assert json.loads((folder / "out" / "results.json").read_text())["tuning"] == found


def test_no_test_row_is_seen_while_choosing(folder):  # noqa: F811
    (folder / "recipe.yaml").write_text(TUNED)
    loaded = load_recipe(folder / "recipe.yaml")
    corpus = read_data(loaded, None)
    splits = list(tuning._held_out(loaded.recipe, corpus, 0))
    drawn = tuning.draw_split(loaded.recipe, corpus, 0)
    held = [text for split in splits for text in split.test["text"]]
    assert sorted(held) == sorted(drawn.labeled["text"]) and len(splits) == 3
    for split in splits:
        assert len(split.labeled) + len(split.test) == len(drawn.labeled)
        assert set(np.unique(split.labeled["label"])) == {0, 1}


def test_a_search_goes_on_where_it_was_interrupted(folder, monkeypatch):  # noqa: F811
    (folder / "recipe.yaml").write_text(TUNED)
    trained, train = [], tuning._trained

    def stopping(*arguments):
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(tuning, "_trained", stopping)
    stopped = run(folder, "--tune")
    assert stopped.exit_code != 0 and "scores are kept" in " ".join(stopped.output.split())
    assert len(json.loads((folder / "out.tuning.json").read_text())["scores"]) == 1
    trained.clear()
    monkeypatch.setattr(tuning, "_trained", lambda *arguments: trained.append(arguments) or train(*arguments))
    done = run(folder, "--tune", "--resume")
    assert done.exit_code == 0 and len(trained) == 5 * 3, done.output


def test_what_cannot_be_tuned_is_named(folder):  # noqa: F811
    nothing = run(folder, "--tune")
    assert nothing.exit_code == 1 and "does not say what to choose among" in nothing.output
    for tune, problem in (
        ("{seeds: [1, 2]}", "seeds cannot be tuned"),
        ("{method.teacher: [a, b]}", "method.teacher cannot be tuned"),
        ("{method.weight: 3}", "a list of two or more"),
        ("{method.weight: [0.1, ../x]}", "not '../x'"),
        ("{method.weight: [1, 2, 3, 4, 5, 6, 7, 8], method.ratio: [1, 2, 3, 4, 5, 6, 7]}", "56 combinations"),
    ):
        (folder / "recipe.yaml").write_text(RECIPE + f"tune: {tune}\n")
        found = textpl("recipes", "validate", folder / "recipe.yaml")
        assert found.exit_code == 1 and problem in " ".join(found.output.split()), found.output
    (folder / "recipe.yaml").write_text(RECIPE + "tune: {method.wieght: [0.1, 1.0]}\n")
    found = run(folder, "--tune")
    assert found.exit_code == 1 and "wieght" in found.output and not (folder / "out").exists()
