"""The first line of a run's recipe.yaml: which data were read, and where; what it names need not lie beside it."""

from __future__ import annotations

import re
from typing import NamedTuple

from textpl.recipes.parsing import FILE_NAME, LoadedRecipe, find_recipe, load_recipe, read_text
from textpl.recipes.recipe_text import read_document, validate_document
from textpl.recipes.references import DATA_SUFFIXES, OWN_DATA, change_references, is_elsewhere
from textpl.recipes.schema import Recipe

_HEADER = re.compile(r"\A# data (\S+): ([^\n]*)\n")
_ABSOLUTE = re.compile(r"[/\\~]|[A-Za-z]:[/\\]")


class Read(NamedTuple):
    """What a run read: fingerprint of the data, and the path or the name that they were read from."""

    fingerprint: str
    source: str


def with_header(text: str, read: Read) -> str:
    """Put the line above the text of a recipe."""
    return f"# data {read.fingerprint}: {' '.join(read.source.splitlines())}\n{text}"


def split_header(text: str) -> tuple[Read | None, str]:
    """Return what the line says, None where there is none, and the text below it."""
    text = text.replace("\r\n", "\n")
    found = _HEADER.match(text)
    return (Read(*found.groups()), text[found.end() :]) if found else (None, text)


def parse_run(text: str) -> tuple[Recipe, dict[str, str]]:
    """Validate the recipe of a run; nothing that it names need be where it says.

    Returns:
        The recipe, with names in place of paths that the user typed and of all models on this machine; and of these
        models: key -> name.

    Raises:
        RecipeError: as `parse_recipe`.
    """
    document, models = read_document(text), {}

    def named(keys: tuple[str | int, ...], reference: str) -> str:
        name = last_part(reference)
        if keys[0] == "data":
            return name if _ABSOLUTE.match(reference) else reference
        if is_elsewhere(reference, data=False):
            return reference
        models[".".join(map(str, keys))] = name
        return name

    change_references(document.data, named)
    return validate_document(document, None), models


def reads_own_data(recipe: Recipe, read: Read) -> bool:
    """Tell whether the data of a run's recipe are files, and not the Hub's or textpl's; those have the same name."""
    named = recipe.data.source
    if named == OWN_DATA or named.startswith("bundled:") or named == read.source:
        return False
    return "/" not in named or named.endswith(DATA_SUFFIXES) or read.source.endswith(f"/{named}")


def load_to_show(source: str) -> LoadedRecipe:
    """Load a recipe to look at; that of a run need not have its data beside it.

    Raises:
        RecipeError: as `load_recipe`.
    """
    path = find_recipe(source)
    text = read_text(path)
    if path.name != FILE_NAME or split_header(text)[0] is None:
        return load_recipe(source)
    return LoadedRecipe(parse_run(text)[0], path.parent, text, path.parent.resolve().name)


def last_part(path: str) -> str:
    """Return the name of a file or folder, of which nobody learns where it lies."""
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path
