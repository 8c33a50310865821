"""What differs between two recipes, setting by setting, with parents and defaults filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from textpl.recipes.method_settings import CHOICES, SETTINGS
from textpl.recipes.schema import Recipe

# Not a setting of the experiment, or told apart.
LEFT_OUT = {"schema_version", "textpl", "description", "expected"}
ABSENT = "-"


@dataclass(frozen=True)
class Difference:
    """One setting that two recipes have different values for.

    Attributes:
        key: as it is written in --set.
        left: value in the first recipe; "-" where it has no such setting.
        right: in the second.
    """

    key: str
    left: str
    right: str


def differences(left: Recipe, right: Recipe) -> list[Difference]:
    """The settings in which two recipes differ, in the order of a recipe; a default says that it is one."""
    sides = [_settings(recipe) for recipe in (left, right)]
    keys = sorted(dict.fromkeys([*sides[0], *sides[1]]), key=lambda key: _order().index(key.split(".")[0]))
    changed = [key for key in keys if sides[0].get(key, ABSENT) != sides[1].get(key, ABSENT)]
    stated = [set(_stated(recipe)) for recipe in (left, right)]
    told = ((key, *(_told(side, key, given) for side, given in zip(sides, stated, strict=True))) for key in changed)
    return [Difference(*parts) for parts in told]


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Dotted key -> value, with the defaults of recipe and method."""
    found = dict(flat(recipe.model_dump(by_alias=True, exclude=LEFT_OUT)))
    method = found.pop("method", None)
    if method is not None:  # the short form
        found["method.name"] = method
    if recipe.has_pool:
        for key, value in SETTINGS[recipe.method.name].items():
            inside = f"method.{key}"
            if not any(name == inside or name.startswith(f"{inside}.") for name in found):
                found[inside] = value
    return found


def _stated(recipe: Recipe) -> Iterator[str]:
    """The keys that are not at their defaults."""
    stated = recipe.model_dump(by_alias=True, exclude=LEFT_OUT, exclude_defaults=True)
    yield from ("method.name" if key == "method" else key for key, _ in flat(stated))


def flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key -> value of nested data."""
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _told(settings: Mapping[str, Any], key: str, stated: set[str]) -> str:
    if key not in settings:
        return ABSENT
    text = word(settings[key])
    return text if key in stated else f"{text} (default)"


def word(value: Any) -> str:
    """A value as a recipe has it; of a schedule or view by default its name."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(word, value)) + "]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    names = {make: name for made_by in CHOICES.values() for name, make in made_by.items()}
    return names.get(type(value), str(value))


def _order() -> list[str]:
    return [field.alias or name for name, field in Recipe.model_fields.items()]
