"""A recipe and its results in plain words, for cards and for the terminal."""

from __future__ import annotations

from textpl.recipes.results import Results
from textpl.recipes.schema import Recipe


def describe(recipe: Recipe) -> list[tuple[str, str]]:
    """What a recipe does, as pairs of a heading and a line of plain text."""
    data, split, model = recipe.data, recipe.split, recipe.model
    rows = f"{split.labels_per_class} per class" if split.labels_per_class is not None else f"{split.labeled} in all"
    pool = f", pool of {'all other' if split.pool is None else f'{split.pool:,}'} rows" if recipe.has_pool else ""
    budget = (
        f"{recipe.train.max_steps:,} steps" if recipe.train.max_steps else f"{recipe.train.num_train_epochs:g} epochs"
    )
    return [
        ("Data", data.source + (f" ({data.config})" if data.config else "") + _pin(data.revision, data.source)),
        ("Labelled rows", f"{rows}{pool}"),
        ("Model", model.name + _pin(model.revision, model.name)),
        ("Tries", f"{recipe.tried}, stages {' then '.join(recipe.stages)}"),
        ("Compared with", recipe.baseline),
        ("Training", f"{budget}, batches of {recipe.train.per_device_train_batch_size}"),
        ("Seeds", ", ".join(map(str, recipe.seeds))),
    ]


def unpinned(recipe: Recipe) -> list[str]:
    """Keys of what a recipe reads from the Hub without saying at which commit."""
    data = recipe.data.revision is None and not recipe.data.source.startswith("bundled:")
    return ["data.revision"] * data + ["model.revision"] * (recipe.model.revision is None)


def told(results: Results) -> str:
    """The comparison in one sentence, from the numbers."""
    low, high = results.difference.interval
    change = f"{results.difference.mean:+.1f} points [{low:.1f}, {high:.1f}]"
    if low > 0:
        return f"It helped: {change}"
    return f"It hurt: {change}" if high < 0 else f"No evidence that it helped: {change}"


def _pin(revision: str | None, source: str) -> str:
    if source.startswith("bundled:"):
        return ", which comes with textpl"
    return f" at {revision}" if revision else ", no revision given"
