"""`textpl run --tune`: settings are chosen on rows that are not test rows, for the method and for labels-only alike."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import set_seed

from textpl.arms import check_trainer
from textpl.atomic_files import read_json, write_json
from textpl.callbacks.attach import attach
from textpl.corpus import Corpus
from textpl.evaluation import score
from textpl.group_folds import group_folds
from textpl.outcomes import Outcome, TokenCounter, train_and_test
from textpl.progress import quiet_datasets
from textpl.reading.labels import label_array
from textpl.recipes.measured import measured_settings
from textpl.recipes.parsing import FILE_NAME as RECIPE
from textpl.recipes.parsing import LoadedRecipe, RecipeError
from textpl.recipes.running.claim import check_claim
from textpl.recipes.running.noisy_corpus import with_truth
from textpl.recipes.running.reading import draw_split, read_data
from textpl.recipes.running.sides import Sides
from textpl.recipes.schema import Recipe, TrainSettings
from textpl.recipes.tune_settings import as_overrides, combinations, told_setting
from textpl.splits import Split

FILE = "tuning.json"
FOLDS = 3
SHOWN = 5  # settings in the sentence about them

Load = Callable[[Sequence[str]], LoadedRecipe]


@dataclass(frozen=True)
class Tuning:
    """What was chosen.

    Attributes:
        method: the recipe with the settings chosen for the method.
        train: training arguments chosen for labels-only.
        record: all scores and what was chosen, plain data.
    """

    method: LoadedRecipe
    train: TrainSettings
    record: dict[str, Any]


def choose(
    load: Load,
    *,
    out: Path,
    data: Path | None = None,
    seeds: Sequence[int] | None = None,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Tuning:
    """Try every combination of the recipe's `tune` on every seed, and take the best one of each side.

    A combination is scored on the dev rows if the recipe draws some (`split.dev`), else on the labeled rows, each of
    which is predicted by a training on the other two thirds. Labels are taken as they are given. Labels-only gets the
    same search, over the settings that it has (those of `train`). Test rows play no part.

    Args:
        load: loads the recipe with overrides.
        out: folder of the run; scores are kept beside it until the run begins.
        data: as for `run_recipe`.
        seeds: likewise.
        resume: go on with what an interrupted search or run has scored.
        say: called with lines for the user.

    Raises:
        RecipeError: if the recipe names nothing to choose among, or a value that does not fit.
    """
    loaded = load([])
    if not (wanted := loaded.recipe.tune):
        raise RecipeError(
            f"{loaded.name} does not say what to choose among: write, say, tune: {{method.weight: [0.1, 1.0]}} into it."
        )
    if resume and (out / FILE).exists():  # a run that has begun keeps to its choice
        return _tuning(load, read_json(out / FILE, "Remove the run and begin again."))
    if resume and (out / RECIPE).exists() and not scores_file(out).exists():
        raise RecipeError(
            f"The run in {out} was begun without --tune: leave it out, or choose another folder with --out."
        )
    check_claim(out, loaded, data, resume=False)  # refused before the search, not after it
    sides = {"method": combinations(wanted), "baseline": combinations(wanted, of=("train",))}
    recipes = {side: [load(as_overrides(one)) for one in found] for side, found in sides.items()}
    with quiet_datasets():
        corpus = with_truth(loaded, read_data(loaded, data))
    chosen = list(seeds or loaded.recipe.seeds)
    scores = _Scores(scores_file(out), f"{corpus.fingerprint} {json.dumps(measured_settings(loaded.recipe))}", resume)
    metric = loaded.recipe.compare.metric or ("macro_f1" if "multi" in corpus.problem_type else "accuracy")
    rows = "the dev rows" if loaded.recipe.split.dev else f"the labeled rows, cross-fitted in {FOLDS} folds"
    found: dict[str, list[dict[str, Any]]] = {}
    for side, settings in sides.items():
        if len(settings) == 1:  # nothing to choose
            found[side] = [{"setting": settings[0], "mean": None, "by_seed": []}]
            continue
        found[side] = []
        for setting, recipe in zip(settings, recipes[side], strict=True):
            key, by_seed = json.dumps([side, setting]), []
            for seed in chosen:
                say(f"tuning: {_name(loaded.recipe, side)} with {told_setting(setting)}, seed {seed}")
                by_seed.append(scores.get(f"{key} {seed}", partial(_score, recipe, corpus, seed, side, metric)))
            found[side].append({"setting": setting, "mean": float(np.mean(by_seed)), "by_seed": by_seed})
    record: dict[str, Any] = {"rows": rows, "metric": metric, "seeds": chosen, **found}
    record["chosen"] = {side: _best(tried) for side, tried in found.items()}
    record["told"] = [_told(loaded.recipe, side, record) for side in sides]
    for line in record["told"]:
        say(line)
    return _tuning(load, record)


def trainings(recipe: Recipe, seeds: Sequence[int] | None) -> int:
    """How many trainings a search takes."""
    sizes = (len(combinations(recipe.tune)), len(combinations(recipe.tune, of=("train",))))
    by_seed = sum(size for size in sizes if size > 1) * (1 if recipe.split.dev else FOLDS)
    return by_seed * len(seeds or recipe.seeds)


def scores_file(out: Path) -> Path:
    """Where scores are kept while no run has begun in `out`."""
    folder = Path(os.path.abspath(out))  # "." has no name
    return folder.with_name(f"{folder.name}.{FILE}")


class _Scores:
    """Scores that are computed once, kept in a file.

    Args:
        file: of JSON.
        identity: of recipe and data; scores of another are not used.
        resume: whether those of an earlier start are.
    """

    def __init__(self, file: Path, identity: str, resume: bool) -> None:
        self._file, self._identity = file, identity
        known = read_json(file, "Remove it and run again.") if resume and file.exists() else {}
        self._scores: dict[str, float] = known.get("scores", {}) if known.get("identity") == identity else {}

    def get(self, key: str, compute: Callable[[], float]) -> float:
        if key not in self._scores:
            self._scores[key] = compute()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, {"identity": self._identity, "scores": self._scores})
        return self._scores[key]


def _tuning(load: Load, record: dict[str, Any]) -> Tuning:
    method, baseline = (load(as_overrides(record["chosen"][side])) for side in ("method", "baseline"))
    return Tuning(method, baseline.recipe.train, record)


def _best(tried: list[dict[str, Any]]) -> dict[str, Any]:
    """The setting with the highest mean; of equal ones the first."""
    return max(tried, key=lambda one: one["mean"] or 0.0)["setting"]


def _name(recipe: Recipe, side: str) -> str:
    return recipe.tried if side == "method" else recipe.baseline


def _told(recipe: Recipe, side: str, record: dict[str, Any]) -> str:
    tried, chosen = record[side], record["chosen"][side]
    if len(tried) == 1:
        return f"Tuning: {_name(recipe, side)} has none of these settings, nothing was chosen for it"
    best = sorted(tried, key=lambda one: -one["mean"])[:SHOWN]
    means = ", ".join(f"{told_setting(one['setting'])}: {100 * one['mean']:.1f}" for one in best)
    means += f"; {len(tried) - SHOWN} more are in {FILE}" if len(tried) > SHOWN else ""
    metric = record["metric"].replace("_", " ")
    return (
        f"Tuning: {_name(recipe, side)} is run with {told_setting(chosen)}, by {metric} on {record['rows']} ({means})"
    )


def _score(loaded: LoadedRecipe, corpus: Corpus, seed: int, side: str, metric: str) -> float:
    """The metric of one side on rows that are held out from its labeled ones."""
    outcomes = [_trained(loaded, corpus, split, side) for split in _held_out(loaded.recipe, corpus, seed)]
    predictions, gold = (np.concatenate([getattr(o, name) for o in outcomes]) for name in ("predictions", "gold"))
    return score(predictions, gold, metric)


def _held_out(recipe: Recipe, corpus: Corpus, seed: int) -> Iterator[Split]:
    """Splits of which the test rows are dev rows, or one fold of the labeled ones after the other."""
    split = draw_split(recipe, corpus, seed)
    if split.dev is not None:
        yield dataclasses.replace(split, test=split.dev)
        return
    column = recipe.split.groups
    groups = np.arange(len(split.labeled)) if column is None else np.array(split.labeled[column][:], dtype=str)
    folds = group_folds(groups, label_array(split.labeled).astype(np.int64), FOLDS, seed)
    for fold in range(FOLDS):
        rest, held = (np.flatnonzero(chosen) for chosen in (folds != fold, folds == fold))
        yield dataclasses.replace(split, labeled=split.labeled.select(rest), test=split.labeled.select(held))


def _trained(loaded: LoadedRecipe, corpus: Corpus, split: Split, side: str) -> Outcome:
    with tempfile.TemporaryDirectory() as place:
        sides = Sides(loaded, corpus, Path(place), lambda line: None, split=lambda seed: split)
        set_seed(split.seed)
        own = sides.method_trainer if side == "method" else None
        trainer = (own or sides.baseline)(split.seed)
        check_trainer(trainer, [])
        if side == "method" and sides.method is not None:
            attach(trainer, sides.method(split.seed))
        return train_and_test(trainer, split.seed, loaded.recipe.compare.threshold, TokenCounter(trainer))
