"""The README.md of a shared recipe: what it does, the command, the measured results, and what they do not say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from textpl.cleaning.apply import SOURCES
from textpl.recipes.describing import describe, told, unpinned
from textpl.recipes.method_settings import NO_METHOD
from textpl.recipes.parsing import RecipeError, to_yaml
from textpl.recipes.results import Results
from textpl.recipes.schema import Recipe

TAG = "textpl-recipe"
ENOUGH_SEEDS = 5  # fewer give an interval that says little
# What markdown acts on anywhere, in a bare address, and at the start of a line.
_SPECIAL = re.compile(r"[\\`*_\[\]|~$@]|(?<=www)\.|:(?=//)|^[#+=>-]")
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n(.*?)\n?---[ \t]*(?:\n|\Z)", re.DOTALL)
_TEMPLATE = """\
---
{{ metadata }}---

# {{ name | md }}

{{ description | md if description else "A recipe for textpl." }}

    pip install textpl
    textpl run hf://{{ repo_id }}{{ "@" + revision if revision else "" }}

This trains with and without what the recipe tries, on the same rows and seeds, {{ match }}, and tells
whether it helped.

## What it does

{% for key, value in about %}
- {{ key }}: {{ value | md }}
{% endfor %}

{{ fence }}yaml
{{ text }}{{ fence }}

## Results

{% if results %}
{{ results.metric | words | md }} on the test rows, in %:

| | mean | std | seeds |
|--|--|--|--|
{% for name, side in sides %}
| {{ name | md }} | {{ side.mean | points }} | {{ side.std | points }} | {{ side.seeds | length }} |
{% endfor %}

{{ difference }}
{% else %}
None yet: this recipe was shared without a `results.json`. The command above measures it.
{% endif %}

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
- A recipe is data: it runs no code of its own. Data and models that it names come from their own repositories.
- Licence: {{ (license or "not stated by whoever shared the recipe; ask before you build on it") | md }}. It is of the \
recipe; the data and the model have their own.
"""


def escape(text: str) -> str:
    """Text of a stranger as one line of markdown that shows it and does nothing else."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _SPECIAL.sub(r"\\\g<0>", line.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", line)


def recipe_card(
    recipe: Recipe,
    results: Results | None,
    *,
    repo_id: str,
    revision: str | None = None,
    license: str | None = None,
) -> str:
    """README.md for a recipe on the Hub.

    Args:
        recipe: what is shared.
        results: of a run of it; without them the card says that there are none.
        repo_id: owner/name.
        revision: commit that holds the recipe; the command is pinned to it.
        license: identifier on the Hub, such as apache-2.0.

    Raises:
        RecipeError: if the results are of something else than the recipe.
    """
    if results is not None:
        check_same(recipe, results)
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    environment.filters |= {"md": escape, "points": _points, "words": lambda name: name.replace("_", " ")}
    text = to_yaml(recipe)
    by_steps = "clean" in recipe.stages or recipe.compare.match == "steps"
    return environment.from_string(_TEMPLATE).render(
        metadata=_dumped(_metadata(recipe, license)),
        name=repo_id.split("/")[-1],
        description=recipe.description,
        repo_id=repo_id,
        revision=revision,
        about=describe(recipe),
        match="in equally many steps" if by_steps else "at equal compute",
        text=text,
        fence="`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0)),
        results=results,
        sides=[(recipe.baseline, results.baseline), (recipe.tried, results.method)] if results else [],
        difference=_difference(results) if results else "",
        provenance=_provenance(results) if results else [],
        limits=_limits(recipe, results),
        license=license,
    ).rstrip() + "\n"  # fmt: skip


def with_metadata(card: str, recipe: Recipe, *, license: str | None = None) -> str:
    """A README that was written by hand, with the tags by which the Hub finds recipes.

    Raises:
        RecipeError: if it starts with metadata that cannot be read.
    """
    found = _FRONT_MATTER.match(card)
    try:
        given = yaml.safe_load(found[1]) or {} if found else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise RecipeError("README.md: the metadata between the two --- at its top is no valid YAML mapping.")
    made, tags = _metadata(recipe, license), given.get("tags") or []
    tags = [tags] if isinstance(tags, str) else list(tags)
    merged = made | given | {"tags": list(dict.fromkeys([*tags, *made["tags"]]))}
    if license is not None:
        merged["license"] = license
    return f"---\n{_dumped(merged)}---\n{'' if found else chr(10)}{card[found.end() :] if found else card}"


def check_same(recipe: Recipe, results: Results) -> None:
    """RecipeError if the results name another method than the recipe."""
    if results.method.name and results.method.name != recipe.tried:
        raise RecipeError(
            f"results.json is of {results.method.name!r}, the recipe tries {recipe.tried!r}: share the folder that "
            "textpl run wrote, or take the results out."
        )


def _metadata(recipe: Recipe, license: str | None) -> dict[str, Any]:
    source = recipe.data.source
    method = [] if recipe.method.name == NO_METHOD else [f"textpl-{recipe.method.name}"]
    on_hub = not source.startswith("bundled:") and source.count("/") == 1
    return {
        **({"license": license} if license else {}),
        "library_name": "textpl",
        "tags": ["textpl", TAG, *method, "text-classification"],
        **({"datasets": [source]} if on_hub else {}),
    }


def _dumped(metadata: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=119)


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _difference(results: Results) -> str:
    level = f"{100 * results.difference.level:g} % interval"
    few = len(results.method.seeds) < ENOUGH_SEEDS
    more = f" Fewer than {ENOUGH_SEEDS} seeds: the interval says little." if few else ""
    return f"**{told(results)}** ({level}).{more}"


def _provenance(results: Results) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if results.data is not None:
        at = f" at {results.data.revision}" if results.data.revision else ""
        found.append(("Data read", f"{results.data.source}{at}"))
    if results.versions:
        found.append(("Made with", ", ".join(f"{name} {value}" for name, value in results.versions.items())))
    if flagged := _counts(results.cleaning, "flagged"):
        line = "; ".join([f"{flagged} flagged as wrong", *_actions(results)])
        found.append(("Stage clean, cells or rows by seed", line))
    if given := _counts(results.labels, "selected"):
        found.append(("Stage label, by seed", f"{given} pool rows labelled from embeddings"))
    return found


def _counts(reports: Sequence[Mapping[str, Any]], key: str) -> str:
    """A number of each seed; what is no number is left out."""
    return ", ".join(f"{value:,}" for report in reports if isinstance(value := report.get(key), int))


def _actions(results: Results) -> list[str]:
    """How many labels the stage clean changed, and in which way."""
    applied = [a for report in results.cleaning if isinstance(a := report.get("apply"), Mapping)]
    done = {name: [b for a in applied if isinstance(b := a.get(name), Mapping)] for name in SOURCES}
    return [f"{counts} {name}" for name, found in done.items() if (counts := _counts(found, "cells"))]


def _limits(recipe: Recipe, results: Results | None) -> list[str]:
    found = ["Results are of these rows, this model and this budget; on other text, run it there."]
    if loose := unpinned(recipe):
        found.append(f"Not pinned: {' and '.join(loose)}. What is read may change after the results were made.")
    if results is not None and results.data is not None:
        named = recipe.data.source
        if results.data.source.rstrip("/").split("/")[-1] != named.rstrip("/").split("/")[-1]:
            found.append(f"Measured on {results.data.source}, which is not the data that the recipe names ({named}).")
    if recipe.noise is not None:
        found.append("Wrong labels were put in on purpose: real errors are of other kinds.")
    if results is not None and len(results.method.seeds) < ENOUGH_SEEDS:
        found.append(f"Measured on {len(results.method.seeds)} seed(s) only.")
    return found
