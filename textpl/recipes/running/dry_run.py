"""What a run would read, write and train, found out without training or writing anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from textpl.models import resolve_model
from textpl.progress import quiet_datasets
from textpl.reading.sources import BUNDLED
from textpl.recipes.allowed_files import is_model_file
from textpl.recipes.fetching import client
from textpl.recipes.hub_errors import clear_errors
from textpl.recipes.method_settings import SETTINGS
from textpl.recipes.parsing import LoadedRecipe, to_yaml
from textpl.recipes.running.noisy_corpus import with_truth
from textpl.recipes.running.reading import draw_split, read_data
from textpl.recipes.running.run import check_placebo
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import RecipeError
from textpl.splits import Split


def dry_run(
    loaded: LoadedRecipe, *, out: Path, data: Path | None = None, seeds: list[int] | None = None, placebo: bool = False
) -> list[str]:
    """Tell what a run would do, a line each.

    Data that are here are read, and the rows of the first seed are drawn; the Hub is asked for the sizes of the rest.

    Args:
        loaded: the recipe.
        out: folder that the run would write.
        data: folder or file to read instead of the recipe's `data.source`.
        seeds: instead of the recipe's.
        placebo: as for `run_recipe`.

    Raises:
        RecipeError: if nobody names data, or for a placebo where there is no pool.
        FileNotFoundError: as a run would, for data that are here.
        ValueError: likewise.
    """
    recipe = loaded.recipe
    check_placebo(recipe, placebo)
    chosen = seeds or list(recipe.seeds)
    split = _split(loaded, data, chosen[0])
    steps = _steps(recipe, split)
    told_steps = "as many steps as follow from the number of rows" if steps is None else f"{steps:,} steps each"
    if recipe.has_pool and recipe.compare.match == "compute":
        told_steps += "; labels-only also as many as cost the same"
    return [
        to_yaml(recipe),
        "Would read:",
        *(f"  {what}: {name}, {place}" for what, name, place in _reads(loaded, data)),
        f"Would use: {'not known: the data are not here' if split is None else _told_rows(recipe, split)}",
        f"Would write: {out}",
        f"Would train: {_trainings(recipe, placebo) * len(chosen)} models, {told_steps}",
        "No code is run: a recipe is data. Nothing was trained or written.",
    ]


def _reads(loaded: LoadedRecipe, data: Path | None) -> Iterator[tuple[str, str, str]]:
    """What it is, its name, and where it is: data, model, encoders and teachers."""
    recipe, loss = loaded.recipe, loaded.recipe.train.labeled_loss
    if data is not None:
        yield "data", str(data), "here"
    elif recipe.data.source.startswith(BUNDLED):
        yield "data", recipe.data.source, "comes with textpl"
    else:
        yield "data", *_place(loaded, recipe.data.source, recipe.data.revision, "dataset")
    yield "model", *_place(loaded, recipe.model.name, recipe.model.revision, "model")
    teachers = recipe.method.settings.get("teacher") or ()
    alone = recipe.embeds and recipe.label.encoder != recipe.model.name  # measured with an encoder of its own
    named = [
        *([("encoder", recipe.label.encoder)] if "label" in recipe.stages or alone else []),
        *([("encoder", recipe.clean.encoder)] if "clean" in recipe.stages or (loss and loss.estimates) else []),
        *([("encoder", recipe.noise.encoder)] if recipe.noise else []),
        *(("teacher", name) for name in ([teachers] if isinstance(teachers, str) else teachers)),
    ]
    for what, name in dict.fromkeys(named):
        yield what, *((name, "made from the texts") if name == "lsa" else _place(loaded, name, None, "model"))


def _place(loaded: LoadedRecipe, name: str, revision: str | None, kind: str) -> tuple[str, str]:
    """Its name, and where it is: how large, if that is the Hub."""
    if isinstance(found := loaded.locate(name), Path):
        return found.name, "here"
    if kind == "model" and resolve_model(name, revision) != name:
        return name, "here, in an installed package"
    if kind == "model" and isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return name, "in the cache"
    try:
        with clear_errors(name, revision):
            info = client().repo_info(name, revision=revision, repo_type=kind, files_metadata=True)
    except RecipeError as error:
        return name, f"not known ({str(error).rstrip('.')})"
    sizes = [
        file.size or 0
        for file in getattr(info, "siblings", None) or ()
        if kind == "dataset" or is_model_file(file.rfilename)
    ]
    return name, f"on the Hub: {sum(sizes):,} bytes in {len(sizes)} files"


def _split(loaded: LoadedRecipe, data: Path | None, seed: int) -> Split | None:
    """The rows of a seed if the data are here; labels are as they are, without noise that the recipe puts in."""
    source = loaded.recipe.data.source
    on_hub = not source.startswith(BUNDLED) and not isinstance(loaded.locate(source), Path)
    if data is None and on_hub and "/" in source:
        return None
    with quiet_datasets():
        corpus = read_data(loaded, data)
        if loaded.recipe.data.truth is not None:
            corpus = with_truth(loaded, corpus)
        return draw_split(loaded.recipe, corpus, seed)


def _told_rows(recipe: Recipe, split: Split) -> str:
    parts = [(split.labeled, "labelled"), (split.dev, "dev"), (split.pool, "unlabelled"), (split.test, "test")]
    shown = [(rows, what) for rows, what in parts if rows is not None and (what != "unlabelled" or recipe.has_pool)]
    return ", ".join(f"{len(rows):,} {what}" for rows, what in shown) + f" rows (seed {split.seed})"


def _steps(recipe: Recipe, split: Split | None) -> int | None:
    """Optimizer steps of a training with the method; None if they depend on data that are not here."""
    train = recipe.train
    if train.max_steps is not None:
        return train.max_steps
    rows = recipe.split.labeled if split is None else len(split.labeled)
    if rows is None:
        return None
    batches = math.ceil(rows / train.per_device_train_batch_size)
    return math.ceil((train.num_train_epochs or 0) * math.ceil(batches / train.gradient_accumulation_steps))


def _trainings(recipe: Recipe, placebo: bool) -> int:
    """How many models are trained per seed: with the method, the placebo, and the forms of labels only."""
    if not recipe.has_pool:  # a third one is on the right labels, where they are known
        return 3 if recipe.noise is not None or recipe.data.truth is not None else 2
    method = recipe.method
    # Labels only can have a view and averaged weights too; methods that train an average of their own have its decay.
    averages = method.value("ema") or "decay" in SETTINGS[method.name]
    forms = 2 if averages or method.value("view") is not None else 1
    return 1 + placebo + forms + (recipe.compare.match == "compute")
