"""Run a recipe: data, splits, labels-only against the method, and what is written at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from transformers import Trainer

from textpl.atomic_files import check_writable, remove_temporary, replace_folder, write_json
from textpl.comparison import Comparison, compare
from textpl.corpus import Corpus
from textpl.models import saved_problem
from textpl.progress import quiet_datasets
from textpl.recipes.agreement import NOT_COMPARED
from textpl.recipes.agreement import judge as judge_expected
from textpl.recipes.parsing import LoadedRecipe, RecipeError
from textpl.recipes.references import Located
from textpl.recipes.results import Results
from textpl.recipes.running.claim import check_claim, check_data, claim
from textpl.recipes.running.kept import MODEL, SEEDS, check_kept, train_lost_model_again
from textpl.recipes.running.noisy_corpus import with_truth
from textpl.recipes.running.pins import pinned
from textpl.recipes.running.reading import read_data
from textpl.recipes.running.right_labels import compare_with_right_labels, told
from textpl.recipes.running.run_files import collect_results, write_run
from textpl.recipes.running.sides import Sides
from textpl.recipes.running.tuning import FILE as tuning_file
from textpl.recipes.running.tuning import Tuning, scores_file
from textpl.recipes.schema import Recipe


def run_recipe(
    loaded: LoadedRecipe,
    *,
    out: Path,
    data: Path | None = None,
    seeds: list[int] | None = None,
    resume: bool = False,
    placebo: bool = False,
    tuning: Tuning | None = None,
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
        placebo: also train the method with the labeled texts for a pool.
        tuning: what `textpl.recipes.running.tuning.choose` chose; `loaded` is its `method`.
        command: what the user typed, for `results.json` and the report.
        say: called with lines for the user.

    Returns:
        Comparison: labels-only against the method.

    Raises:
        RecipeError: for a placebo where there is no pool, if `out` already holds a run, or when resuming one with
            other settings or data, or broken files.
        OSError: if `out` cannot be written to.
    """
    check_placebo(loaded.recipe, placebo)
    loaded = check_claim(out, loaded, data, resume)
    check_kept(out)
    with _tidied(out):
        check_writable(out)
        remove_temporary(out)
        return _run(loaded, out, data, seeds, placebo, tuning, command, say)


def check_placebo(recipe: Recipe, placebo: bool) -> None:
    """Refuse a placebo where there is no pool.

    Raises:
        RecipeError: if one is wanted of a recipe that uses none.
    """
    if placebo and not recipe.has_pool:
        raise RecipeError(f"{recipe.tried} uses no pool, so that there is no placebo for it: leave --placebo out.")


def _run(
    loaded: LoadedRecipe,
    out: Path,
    data: Path | None,
    seeds: list[int] | None,
    placebo: bool,
    tuning: Tuning | None,
    command: str,
    say: Callable[[str], None],
) -> Comparison:
    with quiet_datasets():  # no bar per file read: the one that matters is the pool's tokenisation
        corpus = read_data(loaded, data)
        check_data(out, corpus)
        corpus = with_truth(loaded, corpus)
    loaded = pinned(loaded, corpus.revision if data is None else None)
    recipe = loaded.recipe
    sides, chosen = Sides(loaded, corpus, out, say), seeds or list(recipe.seeds)
    sides.split(chosen[0])  # fails for too few rows, before the folder is taken
    _take(out, recipe.model_copy(update={"seeds": tuple(chosen)}), corpus, tuning)
    baseline = sides if tuning is None else Sides(_with_train(loaded, tuning), corpus, out, say)
    train_lost_model_again(out, chosen[0], say)
    say(
        f"{loaded.name}: {recipe.tried} on {data or _shown(recipe.data.source)}, {sides.task.num_labels} labels, model "
        f"{sides.trainers.model}, {'bfloat16 autocast' if sides.trainers.bf16 else 'full precision'}"
    )
    judge = functools.partial(
        compare,
        metric=recipe.compare.metric,
        thresholds=recipe.compare.threshold,
        baseline_name=recipe.baseline,
        test_groups=sides.test_groups(chosen[0]),
        on_start=say,
    )
    comparison = judge(
        baseline.baseline,
        sides.method,
        chosen,
        method_trainer=sides.method_trainer if tuning is None else sides.method_trainer or sides.baseline,
        name=recipe.tried,
        match="steps" if sides.method is None else recipe.compare.match,
        encoder=sides.encoder,
        label_settings=sides.label_settings,
        placebo=sides.placebo if placebo else None,
        folder=out / SEEDS,
        on_model=functools.partial(_keep_model, out),
    )
    results = collect_results(comparison, loaded, corpus, sides, command)
    if tuning is not None:
        results["tuning"] = tuning.record
    if sides.knows_right_labels:
        reference = compare_with_right_labels(judge, sides.on_right_labels, chosen, out / SEEDS)
        results["right_labels"] = told(reference)
        say(f"For reference, on the right labels: {reference}")
    _hold_against_expected(results, loaded, say)
    write_run(out, comparison, results, loaded, corpus, sides)
    return comparison


def _take(out: Path, recipe: Recipe, corpus: Corpus, tuning: Tuning | None) -> None:
    """Take the folder for this run, with what was chosen for it.

    Raises:
        RecipeError: if the run in it was begun with a choice, and there is none now.
    """
    if tuning is None and (out / tuning_file).exists():
        raise RecipeError(f"The run in {out} was begun with --tune: say it again, or choose another folder with --out.")
    claim(out, recipe, corpus)
    if tuning is not None:
        write_json(out / tuning_file, tuning.record)
        scores_file(out).unlink(missing_ok=True)


def _hold_against_expected(results: dict[str, Any], loaded: LoadedRecipe, say: Callable[[str], None]) -> None:
    """Add to the results which classifier is kept, and whether they agree with those that the recipe expects."""
    measured = Results.model_validate(results)
    results["model"]["note"] = measured.model_note()
    if loaded.expected_dropped:
        results["expected"] = {"agrees": None, "sentence": NOT_COMPARED}
        say(NOT_COMPARED)
    agreement = judge_expected(loaded.recipe, measured)
    if agreement is not None:
        results["expected"] = agreement.to_dict()
        say(agreement.sentence)


@contextlib.contextmanager
def _tidied(out: Path) -> Iterator[None]:
    """Leave no folder of a Trainer behind however the run ends, and none for a run that did not begin."""
    fresh = not out.exists()
    try:
        yield
    finally:
        shutil.rmtree(out / "work", ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds something
            if fresh:
                out.rmdir()


def _with_train(loaded: LoadedRecipe, tuning: Tuning) -> LoadedRecipe:
    """The recipe with the training arguments that were chosen for labels-only."""
    return dataclasses.replace(loaded, recipe=loaded.recipe.model_copy(update={"train": tuning.train}))


def _shown(source: str) -> str:
    """The name of data; of those beside a parent, not where the parent lies."""
    return Path(source).name if isinstance(source, Located) else source


def _keep_model(out: Path, seed: int, trainer: Trainer) -> None:
    """Keep the classifier that is trained first, whole or not at all."""
    if saved_problem(out / MODEL) is not None:
        trainer.model.save_pretrained(out / "work" / MODEL)
        trainer.processing_class.save_pretrained(out / "work" / MODEL)
        replace_folder(out / "work" / MODEL, out / MODEL)
