"""A recipe and its results in plain words, for cards and for the terminal."""

from __future__ import annotations

from collections.abc import Collection

from textpl.recipes.references import DATA_SUFFIXES, OWN_DATA
from textpl.recipes.results import Results
from textpl.recipes.schema import DataSettings, ModelSettings, Recipe
from textpl.recipes.stage_settings import CleanSettings, LabelSettings


def describe(recipe: Recipe, beside: Collection[str] = ()) -> list[tuple[str, str]]:
    """What a recipe does, as pairs of a heading and a line of plain text; `beside`, names of what lies beside it."""
    data, split, model = recipe.data, recipe.split, recipe.model
    rows = f"{split.labels_per_class} per class" if split.labels_per_class is not None else f"{split.labeled} in all"
    pool = f", pool of {'all other' if split.pool is None else f'{split.pool:,}'} rows" if recipe.has_pool else ""
    budget = (
        f"{recipe.train.max_steps:,} steps" if recipe.train.max_steps else f"{recipe.train.num_train_epochs:g} epochs"
    )
    return [
        ("Data", _data(data, beside)),
        ("Labelled rows", f"{rows}{pool}"),
        *([("Groups", f"rows of one {split.groups} stay together")] if split.groups else []),
        ("Model", told_model(model)),
        ("Tries", told_tried(recipe)),
        ("Compared with", recipe.baseline),
        ("Training", f"{budget}, batches of {recipe.train.per_device_train_batch_size}"),
        ("Seeds", ", ".join(map(str, recipe.seeds))),
        *([("For textpl", recipe.textpl)] if recipe.textpl else []),
        *([("Expects", told_expected(recipe))] if recipe.expected else []),
    ]


def _data(data: DataSettings, beside: Collection[str]) -> str:
    if data.source == OWN_DATA:
        return "to be named with --data" + (f", labels in column {data.label}" if data.label else "")
    if not data.source.startswith("bundled:") and not is_hub_data(data.source, beside):
        return f"{data.source}, beside the recipe"
    return data.source + (f" ({data.config})" if data.config else "") + _pin(data.revision, data.source)


def told_tried(recipe: Recipe) -> str:
    """What is compared with its absence, and what its stages do, in a line of plain words."""
    if "clean" in recipe.stages:
        how = _unusual(recipe.clean.encoder, CleanSettings().encoder)
        return f"wrong labels are found and changed first{how}, then trained on"
    if "label" in recipe.stages:
        usual = LabelSettings()
        method = "" if recipe.label.method == usual.method else f"method {recipe.label.method}"
        how = _unusual(recipe.label.encoder, usual.encoder, method)
        return f"the pool is labelled from embeddings first{how}, then learnt ({recipe.method.name})"
    return f"{recipe.tried} on the pool" if recipe.has_pool else f"the loss {recipe.tried} on the labelled rows"


def headline(recipe: Recipe, title: str, labels: int | None, multi: bool) -> str:
    """A recipe's description: what its data are called, how many labels (None: not known), and what is tried."""
    title = " ".join("".join(c if c.isprintable() else " " for c in title).split())
    many = f"{labels:,} labels, " if labels is not None else ""
    return f"{title}: {many}{'several' if multi else 'one'} per row; {told_tried(recipe)}."


def _unusual(encoder: str, usual: str, method: str = "") -> str:
    told = [method] * bool(method) + [f"encoder {encoder}"] * (encoder != usual)
    return f" ({', '.join(told)})" if told else ""


def is_hub_data(source: str, beside: Collection[str] = ()) -> bool:
    """Whether data are a dataset on the Hub, owner/name; a file or folder of that form is known by being `beside`."""
    named = source not in beside and not source.startswith("bundled:") and not source.endswith(DATA_SUFFIXES)
    return named and source.count("/") == 1


def told_model(model: ModelSettings) -> str:
    """Name, revision, number of layers and what is frozen."""
    layers = f", {model.layers} of its layers" if model.layers else ""
    return model.name + _pin(model.revision, model.name) + layers + (", word table frozen" if model.freeze else "")


def unpinned(recipe: Recipe, beside: Collection[str] = ()) -> list[str]:
    """Keys of what a recipe reads from the Hub without saying at which commit; not of what lies `beside` it."""
    model = recipe.model.revision is None and recipe.model.name not in beside
    return ["data.revision"] * (is_hub_data(recipe.data.source, beside) and recipe.data.revision is None) + [
        "model.revision"
    ] * model


def told(results: Results) -> str:
    """The comparison in one sentence, from the numbers."""
    low, high = results.difference.interval
    change = f"{results.difference.mean:+.1f} points [{low:.1f}, {high:.1f}]"
    if results.difference.verdict == "cannot be told":
        return f"It cannot be told whether it helped: {change}"
    if low > 0:
        return f"It helped: {change}"
    hurt = high < 0 and results.difference.verdict in ("", "hurt")  # none of an older textpl
    return f"It hurt: {change}" if hurt else f"No evidence that it helped: {change}"


def told_expected(recipe: Recipe) -> str:
    """The results that whoever wrote the recipe found."""
    wanted = recipe.expected
    assert wanted is not None
    sides = ((recipe.baseline, wanted.baseline), (recipe.tried, wanted.method))
    told = ", ".join(f"{name} {side.mean:g}{'' if side.std is None else f' ± {side.std:g}'}" for name, side in sides)
    change = ""
    if wanted.difference is not None:
        low, high = wanted.difference.interval
        change = f"; difference {wanted.difference.mean:+g} points [{low:g}, {high:g}]"
    return f"{wanted.metric.replace('_', ' ')} in %: {told}{change}; seeds {', '.join(map(str, wanted.seeds))}"


def _pin(revision: str | None, source: str) -> str:
    if source.startswith("bundled:"):
        return ", which comes with textpl"
    return f" at {revision}" if revision else ", no revision given"
