"""The README.md of a shared recipe, and of the model that a run trained: what it does, its scores and their limits."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from textpl.cleaning.apply import SOURCES
from textpl.recipes.describing import describe, is_hub_data, told, unpinned
from textpl.recipes.measured import check_same
from textpl.recipes.method_settings import NO_METHOD
from textpl.recipes.recipe_text import to_yaml
from textpl.recipes.references import OWN_DATA
from textpl.recipes.results import DataRead, Results
from textpl.recipes.schema import Recipe
from textpl.sharing.card_text import code_fence, merged, render, signed, split_card, with_front_matter

TAG = "textpl-recipe"
LISTED = "textpl_recipe"  # in the metadata: what `recipes search` tells of a recipe without opening it
SHOWN = 100  # labels that are named
ENOUGH_SEEDS = 5  # fewer give an interval that says little
_TEMPLATE = """\
# {{ name | md }}

{{ intro }}

## Results

{% if results %}
{{ own_scores }}{{ results.metric | words | md }} on the test rows over all seeds, in %:

| | mean | std | seeds |
|--|--|--|--|
{% for name, side in sides %}
| {{ name | md }} | {{ side.mean | points }} | {{ side.std | points }} | {{ side.seeds | length }} |
{% endfor %}

{{ difference }}
{% for line in besides %}

{{ line | md }}
{% endfor %}
{% if picture %}

![{{ results.metric | words | md }} of {{ sides[0][0] | md }} and of {{ sides[1][0] | md }}, by seed]({{ picture }})
{% endif %}
{% else %}
None yet: this recipe was shared without a `results.json`. The command above measures it.
{% endif %}

## What it does

{% for key, value in about %}
- {{ key }}: {{ value | md }}
{% endfor %}

{{ fence }}yaml
{{ text }}{{ fence }}

## Provenance

{% for key, value in provenance %}
- {{ key }}: {{ value | md }}
{% else %}
- Nothing was measured, so there is nothing to tell.
{% endfor %}

## Limits

{% for limit in limits %}
- {{ limit | md }}
{% endfor %}
- A recipe is data: it runs no code of its own. Models that it names come from their own repositories.
- Licence: {{ (license or "no licence given; ask whoever shared this before you build on it") | md }}. \
It is of {{ licensed }}.
"""
_RECIPE = """\
{{ description | md if description else "A recipe for textpl." }}

    pip install textpl
    textpl run hf://{{ repo_id }}{{ "@" + revision if revision else "" }}

This trains with and without what the recipe tries, on the same rows and seeds, {{ match }}, and tells
whether it helped.
"""


def recipe_card(
    recipe: Recipe,
    results: Results | None,
    *,
    repo_id: str,
    revision: str | None = None,
    license: str | None = None,
    there: Mapping[str, Any] | None = None,
    beside: Collection[str] = (),
    picture: str = "",
) -> str:
    """Make README.md for a recipe on the Hub.

    Args:
        recipe: what is shared.
        results: of a run of it; without them the card says that there are none.
        repo_id: owner/name.
        revision: commit that holds the recipe; the command is pinned to it.
        license: identifier on the Hub, such as apache-2.0.
        there: metadata of the card that this one replaces.
        beside: names of the data that go up with it, as the recipe calls them.
        picture: name of the file that draws the results, if it goes up.

    Raises:
        RecipeError: if the results are of something else than the recipe.
    """
    if results is not None:
        check_same(recipe, results)
    by_steps = "clean" in recipe.stages or recipe.compare.match == "steps"
    match = "in equally many steps" if by_steps else "at equal compute"
    intro = render(_RECIPE, description=recipe.description, repo_id=repo_id, revision=revision, match=match)
    with_data = "the recipe and the data files here; the model has its own"
    licensed = with_data if beside else "the recipe; the data and the model have their own"
    metadata = merged(there or {}, recipe_metadata(recipe, results, license, beside))
    body = card_body(
        recipe, results, name=repo_id.split("/")[-1], intro=intro, beside=beside, picture=picture,
        license=metadata.get("license"), licensed=licensed,
    )  # fmt: skip
    return with_front_matter(metadata, signed(f"\n{body}", "recipe"))


def card_body(
    recipe: Recipe, results: Results | None, *, beside: Collection[str], limits: Sequence[str] = (), **values: Any
) -> str:
    """Make the text of a card, of a recipe or of the model that it trained.

    Args:
        recipe: what was run, or is to be.
        results: of it.
        beside: names of what lies beside the recipe.
        limits: more of them.
        values: what else the template shows: `name`, `intro`, `license`, `licensed`, `picture`, `own_scores`.
    """
    text = to_yaml(recipe)
    return render(
        _TEMPLATE,
        **{"picture": "", "own_scores": "", **values},
        about=_about(recipe, results, beside),
        text=text,
        fence=code_fence(text),
        results=results,
        sides=[(recipe.baseline, results.baseline), (recipe.tried, results.method)] if results else [],
        difference=_difference(results) if results else "",
        besides=results.told_besides() if results else [],
        provenance=_provenance(recipe, results) if results else [],
        limits=[*_limits(recipe, results, beside), *limits],
    )


def with_metadata(
    card: str, recipe: Recipe, results: Results | None, *, license: str | None = None, beside: Collection[str] = ()
) -> str:
    """Give a README that was written by hand the metadata by which the Hub finds recipes.

    Raises:
        RecipeError: if it starts with metadata that cannot be read.
    """
    given, text = split_card(card)
    made = recipe_metadata(recipe, results, license, beside)
    own = {key: value for key, value in given.items() if key not in ("tags", LISTED)}
    changed = {"license": license} if license is not None else {}
    return with_front_matter({**merged(given, made), **own, **changed}, text if given else f"\n{text}")


def recipe_metadata(
    recipe: Recipe, results: Results | None, license: str | None, beside: Collection[str] = ()
) -> dict[str, Any]:
    """Return what the Hub files a recipe under, and what a search tells of it."""
    method = [] if recipe.method.name == NO_METHOD else [f"textpl-{recipe.method.name}"]
    listed = {"description": recipe.description} if recipe.description else {}
    if results is not None:
        listed |= {"result": f"{results.metric.replace('_', ' ')}: {told(results)}"}
    return {
        **({"license": license} if license else {}),
        "library_name": "textpl",
        "tags": ["textpl", TAG, *method, "text-classification"],
        **({"datasets": [recipe.data.source]} if is_hub_data(recipe.data.source, beside) else {}),
        **({LISTED: listed} if listed else {}),
    }


def data_read(recipe: Recipe, results: Results) -> str:
    """Return the name of the data of the results: of files the last part, as nobody else has the folders."""
    if results.data is None:
        return "unknown"
    source = results.data.source
    on_hub = source == recipe.data.source and is_hub_data(source)
    return source if on_hub or source.startswith("bundled:") else re.split(r"[/\\]", source.rstrip("/\\"))[-1]


def _about(recipe: Recipe, results: Results | None, beside: Collection[str]) -> list[tuple[str, str]]:
    """What the recipe does, and which labels there are where the results were measured on its data."""
    data, *rest = describe(recipe, beside)
    names = results.label_names if results is not None and not _measured_elsewhere(recipe, results) else []
    more = f", ... ({len(names):,} in all)" if len(names) > SHOWN else ""
    return [data, *([("Labels", ", ".join(names[:SHOWN]) + more)] if names else []), *rest]


def _difference(results: Results) -> str:
    """The comparison in one sentence, with what its interval is worth."""
    level = f"{100 * results.difference.level:g} % interval"
    few = len(results.method.seeds) < ENOUGH_SEEDS
    more = f" Fewer than {ENOUGH_SEEDS} seeds: the interval says little." if few else ""
    return f"**{told(results)}** ({level}).{more}"


def _provenance(recipe: Recipe, results: Results) -> list[tuple[str, str]]:
    """Which data were read and what was done to the labels, as pairs of a heading and a line of plain text."""
    found: list[tuple[str, str]] = []
    if results.data is not None:
        at = f" at {results.data.revision}" if results.data.revision else ""
        found.append(("Data read", f"{data_read(recipe, results)}{at}"))
        if rows := _rows(recipe, results.data):
            found.append(("Rows", rows))
    if results.versions:
        found.append(("Made with", ", ".join(f"{name} {value}" for name, value in results.versions.items())))
    if results.recipe_source:
        found.append(("Run from", results.recipe_source))
    if flagged := _counts(results.cleaning, "flagged"):
        found.append(
            ("Stage clean, cells or rows by seed", "; ".join([f"{flagged} flagged as wrong", *_done(results)]))
        )
    if given := _counts(results.labels, "selected"):
        methods = dict.fromkeys(str(one["method"])[:100] for one in results.labels if "method" in one)
        by = f" by {' or '.join(methods)}" if methods else ""
        found.append(("Stage label, by seed", f"{given} pool rows labelled from embeddings{by}"))
    return found


def _rows(recipe: Recipe, data: DataRead) -> str:
    """How many rows were labelled, in the pool and in the test; several numbers where the seeds differ."""
    kinds = [("labeled", "labelled"), *([("pool", "in the pool")] if recipe.has_pool else []), ("test", "to test on")]
    counts = {told: dict.fromkeys(f"{s.sizes[kind]:,}" for s in data.splits if kind in s.sizes) for kind, told in kinds}
    return ", ".join(f"{' or '.join(numbers)} {told}" for told, numbers in counts.items() if numbers)


def _counts(reports: Sequence[Mapping[str, Any]], key: str) -> str:
    """A number of each seed; what is no number is left out."""
    return ", ".join(f"{value:,}" for report in reports if isinstance(value := report.get(key), int))


def _done(results: Results) -> list[str]:
    """How many labels the stage clean changed, and in which way."""
    applied = [a for report in results.cleaning if isinstance(a := report.get("apply"), Mapping)]
    done = {name: [b for a in applied if isinstance(b := a.get(name), Mapping)] for name in SOURCES}
    return [f"{counts} {name}" for name, found in done.items() if (counts := _counts(found, "cells"))]


def _limits(recipe: Recipe, results: Results | None, beside: Collection[str]) -> list[str]:
    """What the results do not say; `beside`, names of what lies beside the recipe and cannot change unnoticed."""
    found = ["Results are of these rows, this model and this budget; on other text, run it there."] if results else []
    if loose := unpinned(recipe, beside):
        since = " after the results were made" if results else ""
        found.append(f"Not pinned: {' and '.join(loose)}. What is read may change{since}.")
    if results is not None and (read := _measured_elsewhere(recipe, results)):
        found.append(f"Measured on {read}, which is not the data that the recipe names ({recipe.data.source}).")
    if recipe.noise is not None:
        found.append("Wrong labels were put in on purpose: real errors are of other kinds.")
    if results is not None and len(results.method.seeds) < ENOUGH_SEEDS:
        found.append(f"Measured on {len(results.method.seeds)} seed(s) only.")
    return found


def _measured_elsewhere(recipe: Recipe, results: Results) -> str:
    """Name of the data that were read where the recipe names others; "" where it names these, or none."""
    if results.data is None or recipe.data.source == OWN_DATA:
        return ""
    read = data_read(recipe, results)
    return "" if read.split("/")[-1] == recipe.data.source.rstrip("/").split("/")[-1] else read
