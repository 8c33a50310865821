"""Whether results are of a recipe as it stands: the settings that have a say in them, stored beside the numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from textpl.recipes.differences import LEFT_OUT, flat, word
from textpl.recipes.method_settings import DEFAULT_METHOD
from textpl.recipes.parsing import RecipeError
from textpl.recipes.references import REFERENCES, Located, change_references
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import written_out

# The data and the seeds are in the results themselves.
_TOLD_APART = {"schema", "textpl", "description", "expected", "seeds", "tune"}
_REFERENCES = {".".join(keys) for keys in REFERENCES}


def measured_settings(recipe: Recipe) -> dict[str, str]:
    """What is not at its default, as --set has it: key -> value; of paths the user typed only the last part."""
    data = recipe.model_dump(by_alias=True, exclude_defaults=True, exclude=LEFT_OUT)
    change_references(data, lambda _, ref: re.split(r"[/\\]", ref)[-1] if isinstance(ref, Located) else ref)
    return settings_in(data)


def settings_in(data: Mapping[str, Any]) -> dict[str, str]:
    """The same of the plain data of a recipe that leaves out defaults."""
    data = {"method": DEFAULT_METHOD} | {key: value for key, value in data.items() if key not in _TOLD_APART}
    for section in ("method", "model"):
        if section in data:
            data[section] = written_out((section,), data[section])
    if isinstance(train := data.get("train"), Mapping) and (loss := train.get("labeled_loss")) is not None:
        data["train"] = {**train, "labeled_loss": written_out(("train", "labeled_loss"), loss)}
    return {key: word(value) for key, value in flat(data) if key != "data.source"}


def changed_settings(before: Mapping[str, str], after: Mapping[str, str]) -> list[tuple[str, str | None, str | None]]:
    """Key, value before and value after, of each setting that differs; None stands for the default."""
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


def _same_names(one: str | None, other: str | None) -> bool:
    """Whether both name the same files; a Hub id is only the same as itself."""
    sides = [re.split(r"[\[\], ]+", side or "") for side in (one, other)]
    return len(sides[0]) == len(sides[1]) and all(
        a == b or (not ("/" in a and "/" in b) and a.split("/")[-1] == b.split("/")[-1])
        for a, b in zip(*sides, strict=True)
    )
