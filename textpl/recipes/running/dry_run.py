"""What a run would read, download, write and take, found out without training, keeping or writing anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from textpl.models import resolve_model
from textpl.progress import quiet_datasets
from textpl.reading.sources import BUNDLED
from textpl.recipes.hub.downloads import Download, of_dataset, of_model, of_recipe
from textpl.recipes.hub.push_pull import is_stand_in
from textpl.recipes.parsing import LoadedRecipe, RecipeError
from textpl.recipes.references import OWN_DATA
from textpl.recipes.running.noisy_corpus import with_truth
from textpl.recipes.running.reading import draw_split, read_data
from textpl.recipes.running.run import check_placebo
from textpl.recipes.running.step_time import seconds_per_batch
from textpl.recipes.schema import Recipe
from textpl.splits import Split

# Training passes of one pool row by methods that learn from every row; a pass of the teacher is a third of one.
WHOLE_POOL = {"vat": 2 + 1 / 3, "comatch": 2 + 2 / 3, "mixtext": 3 + 2 / 3}


@dataclass(frozen=True)
class DryRun:
    """What `textpl run` would do.

    Attributes:
        reads: every file or repository that is read, and what of it must be downloaded.
        folder: that is written.
        model_bytes: of the classifier in it; None if unknown.
        trainings: how many.
        steps: optimizer steps of each training with the method; None if that depends on data that are not here.
        seconds: of all trainings, if all texts are as long as `max_length`, from the cheapest course (no pool row is
            accepted) to the dearest; None if unknown.
        unknown: why there is no time.
        remark: on the steps.
        rows: of the first seed, in words; empty if the data are not here.
    """

    reads: tuple[Download, ...]
    folder: Path
    model_bytes: int | None
    trainings: int
    steps: int | None
    seconds: tuple[float, float] | None
    unknown: str
    remark: str = ""
    rows: str = ""

    def lines(self, max_length: int) -> list[str]:
        """All of it in words."""
        known = [one.bytes for one in self.reads if one.bytes is not None]
        missing = "" if len(known) == len(self.reads) else ", and what is not known"
        size = "of unknown size" if self.model_bytes is None else f"about {told_bytes(self.model_bytes)}"
        steps = "" if self.steps is None else f", {self.steps:,} steps each{self.remark}"
        if self.seconds is None:
            time = f"not known: {self.unknown}"
        else:
            low, high = map(told_time, self.seconds)
            time = f"about {low}" if low == high else f"about {low} to {high}, as many pool rows are accepted"
            time += f"; if all texts have {max_length} tokens, less if they are shorter"
        return [
            "Would read:",
            *(f"  {one.what}: {one.name}, {one.told()}" for one in self.reads),
            f"Would use: {self.rows or 'not known, nor whether there are enough rows: the data are not here'}",
            f"Would download: {told_bytes(sum(known))}{missing}",
            f"Would write: {self.folder}, model/ {size}; results, report and pictures are small",
            f"Would train: {self.trainings} models{steps}",
            f"Time on this machine, as busy as it is: {time}. Not counted: reading, embedding and testing.",
            "No code is run: a recipe is data. Nothing was trained, downloaded to stay, or written.",
        ]


def dry_run(
    loaded: LoadedRecipe,
    *,
    out: Path,
    data: Path | None = None,
    seeds: list[int] | None = None,
    placebo: bool = False,
) -> DryRun:
    """Find out what a run would do; a model that is here is timed for a few batches of random tokens.

    Data that are here are read, and the rows of the first seed are drawn.

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
    reads = (*of_recipe(loaded.folder), _data(loaded, data), *_models(loaded))
    model = next(one for one in reads if one.what == "model")
    chosen = seeds or recipe.seeds
    split = _split(loaded, data, chosen[0])
    steps = _steps(recipe, split)
    by_seed = 1 + placebo + sum(_forms(recipe)) if recipe.has_pool else 3 if _has_reference(recipe) else 2
    trainings = by_seed * len(chosen)
    seconds, unknown = None, ""
    if steps is None:
        unknown = "the steps follow from the number of rows, which is not known before the data are read"
    elif not model.here:
        unknown = "the model has to be here to be timed"
    else:
        batch = seconds_per_batch(loaded)
        low, high = (batch * steps * len(chosen) * units for units in _units(recipe, placebo))
        seconds = (low, high)
    remark = (
        "; labels-only also as many as cost the same" if recipe.has_pool and recipe.compare.match == "compute" else ""
    )
    rows = "" if split is None else _told_rows(recipe, split)
    return DryRun(reads, out, model.size, trainings, steps, seconds, unknown, remark, rows)


def told_bytes(size: int) -> str:
    """A size in the unit that fits."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def told_time(seconds: float) -> str:
    """A time in the unit that fits."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _data(loaded: LoadedRecipe, data: Path | None) -> Download:
    wanted = loaded.recipe.data
    if data is not None:
        return Download("data", str(data), "here")
    if wanted.source == OWN_DATA:
        raise RecipeError(f"{loaded.name} comes without data: name a folder or file with --data.")
    if wanted.source.startswith(BUNDLED):
        return Download("data", wanted.source, "comes with textpl")
    if isinstance(found := loaded.locate(wanted.source), Path):
        return Download("data", found.name, "on the Hub, with the recipe" if is_stand_in(found) else "here")
    return of_dataset(wanted.source, wanted.revision)


def _models(loaded: LoadedRecipe) -> Iterator[Download]:
    """The classifier, and the encoders and teachers that the stages and the method need."""
    recipe = loaded.recipe
    loss = recipe.train.labeled_loss
    teachers = recipe.method.settings.get("teacher") or ()
    alone = recipe.embeds and recipe.label.encoder != recipe.model.name  # measured with an encoder of its own
    named = [
        ("model", recipe.model.name, recipe.model.revision),
        *([("encoder", recipe.label.encoder, None)] if "label" in recipe.stages or alone else []),
        *([("encoder", recipe.clean.encoder, None)] if "clean" in recipe.stages or (loss and loss.estimates) else []),
        *([("encoder", recipe.noise.encoder, None)] if recipe.noise else []),
        *(("teacher", name, None) for name in ([teachers] if isinstance(teachers, str) else teachers)),
    ]
    for what, name, revision in dict.fromkeys(named):
        if name == "lsa":
            yield Download(what, name, "made from the texts")
        elif isinstance(found := loaded.locate(name), Path):
            yield Download(what, found.name, "here", size=weight_bytes(found))
        elif (folder := resolve_model(name, revision)) != name:
            yield Download(what, name, "here, in an installed package", size=weight_bytes(Path(folder)))
        else:
            yield of_model(what, name, revision)


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _split(loaded: LoadedRecipe, data: Path | None, seed: int) -> Split | None:
    """The rows of a seed if the data are here; labels are as they are, without noise that the recipe puts in."""
    source = loaded.recipe.data.source
    if data is None and not source.startswith(BUNDLED):
        found = loaded.locate(source)
        if not isinstance(found, Path) or is_stand_in(found):
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
    """Optimizer steps of a training with the method."""
    train = recipe.train
    if train.max_steps is not None:
        return train.max_steps
    rows = recipe.split.labeled if split is None else len(split.labeled)
    if rows is None:
        return None
    batches = math.ceil(rows / train.per_device_train_batch_size)
    return math.ceil((train.num_train_epochs or 0) * math.ceil(batches / train.gradient_accumulation_steps))


def _has_reference(recipe: Recipe) -> bool:
    """Whether there is a third training per seed, on the right labels."""
    return not recipe.has_pool and (recipe.noise is not None or recipe.data.truth is not None)


def _units(recipe: Recipe, placebo: bool) -> tuple[float, float]:
    """Least and most passes of one step of all trainings of a seed, in trainings on one batch of labelled rows.

    A forward pass without gradient is a third of a training pass.
    """
    accumulated = recipe.train.gradient_accumulation_steps
    if not recipe.has_pool:
        alike = (3.0 if _has_reference(recipe) else 2.0) * accumulated
        return alike, alike
    ratio, method = recipe.method.value("ratio") or 1, recipe.method
    if method.name == "distillation":
        teachers = 1 if isinstance(given := method.settings.get("teacher"), str) else len(given or ())
        low = high = 1 + ratio * (1 + teachers / 3)
    elif method.name in WHOLE_POOL:
        low = high = 1 + ratio * WHOLE_POOL[method.name]
    else:
        low, high = 1 + ratio / 3, 1 + ratio * (1 + 1 / 3)
    as_long, short = _forms(recipe)
    as_long += 1 + placebo  # the trainings with a pool
    return accumulated * (as_long * low + short), accumulated * (as_long * high + short)


def _forms(recipe: Recipe) -> tuple[int, int]:
    """How many labels-only trainings of a seed cost as much as the method's, and how many take as many steps only."""
    method = recipe.method
    free = method.value("view") is not None or method.value("ema") or method.name in ("mean_teacher", "cap")
    return (2 if free else 1, 1) if recipe.compare.match == "compute" else (0, 2 if free else 1)
