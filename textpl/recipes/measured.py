"""Whether results are of a recipe as it stands: the settings that have a say in them, stored beside the numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from textpl.recipes.method_settings import CHOICES, DEFAULT_METHOD
from textpl.recipes.references import REFERENCES, Located, change_references
from textpl.recipes.results import Results
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import RecipeError, written_out

# No settings of the experiment, or in the results themselves, as the data and the seeds are.
_TOLD_APART = {"schema", "textpl", "description", "expected", "seeds", "tune"}
_REFERENCES = {".".join(keys) for keys in REFERENCES}


def measured_settings(recipe: Recipe) -> dict[str, str]:
    """Return what is not at its default, as --set has it: key -> value; of paths the user typed only the last part."""
    data = recipe.model_dump(by_alias=True, exclude_defaults=True)
    change_references(data, lambda _, ref: re.split(r"[/\\]", ref)[-1] if isinstance(ref, Located) else ref)
    return settings_in(data)


def settings_in(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the same of the plain data of a recipe that leaves out defaults."""
    data = {"method": DEFAULT_METHOD} | {key: value for key, value in data.items() if key not in _TOLD_APART}
    for section in ("method", "model"):
        if section in data:
            data[section] = written_out((section,), data[section])
    if isinstance(train := data.get("train"), Mapping) and (loss := train.get("labeled_loss")) is not None:
        data["train"] = {**train, "labeled_loss": written_out(("train", "labeled_loss"), loss)}
    return {key: _word(value) for key, value in _flat(data) if key != "data.source"}


def changed_settings(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    """Return key, value before and value after, of each setting that differs; None stands for the default."""
    keys = dict.fromkeys([*after, *before])
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def check_measured(recipe: Recipe, settings: Mapping[str, str] | None) -> None:
    """Refuse results that were measured with other settings than the recipe's.

    A revision that is pinned after the run is no other setting, and of files the name counts, not where they lie.

    Args:
        recipe: beside the results.
        settings: of `results.json`; None in files of older versions, which pass.

    Raises:
        RecipeError: naming the first setting that differs.
    """
    if settings is None:
        return
    for key, measured, told in changed_settings(settings, measured_settings(recipe)):
        if (key.endswith(".revision") and measured is None) or (key in _REFERENCES and _same_names(measured, told)):
            continue
        with_what = f"the default of {key}" if measured is None else f"{key}: {measured[:200]}"
        says = "leaves it at the default" if told is None else f"says {told[:200]}"
        raise RecipeError(
            f"results.json was measured with {with_what}, the recipe {says}: run it again, or take the results out."
        )


def check_same(recipe: Recipe, results: Results) -> None:
    """Raise RecipeError if the results name another method than the recipe, or were measured with other settings."""
    if results.method.name and results.method.name != recipe.tried:
        raise RecipeError(
            f"results.json is of {results.method.name!r}, the recipe tries {recipe.tried!r}: share the folder that "
            "textpl run wrote, or take the results out."
        )
    check_measured(recipe, results.settings)


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value of nested data."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _word(value: Any) -> str:
    """A value as a recipe has it; of a schedule or view by default its name."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_word, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    names = {make: name for made_by in CHOICES.values() for name, make in made_by.items()}
    return names.get(type(value), str(value))


def _same_names(one: str | None, other: str | None) -> bool:
    """Whether both name the same files; a Hub id is only the same as itself."""
    sides = [re.split(r"[\[\], ]+", side or "") for side in (one, other)]
    return len(sides[0]) == len(sides[1]) and all(
        a == b or (not ("/" in a and "/" in b) and a.split("/")[-1] == b.split("/")[-1])
        for a, b in zip(*sides, strict=True)
    )
