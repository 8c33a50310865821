"""Run a recipe: data, splits, labels-only against the method, and what is written at the end."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

from transformers import Trainer

from textpl.comparison import Comparison, compare
from textpl.progress import quiet_datasets
from textpl.recipes.agreement import NOT_COMPARED
from textpl.recipes.agreement import judge as judge_expected
from textpl.recipes.parsing import LoadedRecipe
from textpl.recipes.references import Located
from textpl.recipes.results import Results
from textpl.recipes.running.claim import check_claim, check_data, claim
from textpl.recipes.running.noisy_corpus import with_truth
from textpl.recipes.running.pins import pinned
from textpl.recipes.running.reading import read_data
from textpl.recipes.running.right_labels import compare_with_right_labels, told
from textpl.recipes.running.run_files import collect_results, write_run
from textpl.recipes.running.sides import Sides


def run_recipe(
    loaded: LoadedRecipe,
    *,
    out: Path,
    data: Path | None = None,
    seeds: list[int] | None = None,
    resume: bool = False,
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Train, compare and write `model/`, `results.json`, `recipe.yaml`, `report.html` and `comparison.png` into `out`.

    `train.labeled_loss` is the loss of the labelled rows in every training. With `method: none` it is what is tried:
    labels-only then has the plain loss. After the stage `clean` the labels are what is tried: the noisy against the
    cleaned ones, in equally many steps. Without a pool, and where the right labels are known, a third training per
    seed is on these: a reference, in `results.json` and told at the end.

    Args:
        loaded: the recipe.
        out: folder to write; finished trainings are kept in `out/seeds`.
        data: folder or file to read instead of the recipe's `data.source`.
        seeds: instead of the recipe's.
        resume: go on with the interrupted run in `out`.
        command: what the user typed, for `results.json` and the report.
        say: called with lines for the user.

    Returns:
        Comparison: labels-only against the method.

    Raises:
        RecipeError: if `out` already holds a run, or when resuming one with other settings or data.
    """
    loaded = check_claim(out, loaded, data, resume)
    with quiet_datasets():  # no bar per file read: the one that matters is the pool's tokenisation
        corpus = read_data(loaded, data)
        check_data(out, corpus)
        corpus = with_truth(loaded, corpus)
    loaded = pinned(loaded, corpus.revision if data is None else None)
    recipe = loaded.recipe
    sides, chosen = Sides(loaded, corpus, out, say), seeds or list(recipe.seeds)
    sides.split(chosen[0])  # fails for too few rows, before the folder is taken
    claim(out, recipe.model_copy(update={"seeds": tuple(chosen)}), corpus)
    say(
        f"{loaded.name}: {recipe.tried} on {data or _shown(recipe.data.source)}, {sides.task.num_labels} labels, model "
        f"{sides.trainers.model}, {'bfloat16 autocast' if sides.trainers.bf16 else 'full precision'}"
    )
    judge = functools.partial(
        compare,
        metric=recipe.compare.metric,
        thresholds=recipe.compare.threshold,
        baseline_name=recipe.baseline,
        on_start=say,
    )
    comparison = judge(
        sides.baseline,
        sides.method,
        chosen,
        method_trainer=sides.method_trainer,
        name=recipe.tried,
        match="steps" if sides.method is None else recipe.compare.match,
        folder=out / "seeds",
        on_model=functools.partial(_keep_model, out),
    )
    results = collect_results(comparison, loaded, corpus, sides, command)
    if sides.knows_right_labels:
        reference = compare_with_right_labels(judge, sides.on_right_labels, chosen, out / "seeds")
        results["right_labels"] = told(reference)
        say(f"For reference, on the right labels: {reference}")
    measured = Results.model_validate(results)
    results["model"]["note"] = measured.model_note()
    if loaded.expected_dropped:
        results["expected"] = {"agrees": None, "sentence": NOT_COMPARED}
        say(NOT_COMPARED)
    agreement = judge_expected(recipe, measured)
    if agreement is not None:
        results["expected"] = agreement.to_dict()
        say(str(agreement))
    write_run(out, comparison, results, loaded, corpus, sides)
    shutil.rmtree(out / "work", ignore_errors=True)
    return comparison


def _shown(source: str) -> str:
    """The name of data; of those beside a parent, not where the parent lies."""
    return Path(source).name if isinstance(source, Located) else source


def _keep_model(out: Path, seed: int, trainer: Trainer) -> None:
    """The first one trained."""
    if not (out / "model").exists():
        trainer.model.save_pretrained(out / "work" / "model")
        trainer.processing_class.save_pretrained(out / "work" / "model")
        (out / "work" / "model").rename(out / "model")
