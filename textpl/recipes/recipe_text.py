"""Read and write the text of a recipe; errors name file, line, key and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from textpl.recipes.explaining import explain
from textpl.recipes.references import change_references, typed
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import OVERRIDES, Document, Dumper, Keys, found

FILE_NAME = "recipe.yaml"
MAX_BYTES = 64 * 1024
HUB = "hf://"
# What may be changed without changing what the recipe expects of itself.
_SAME_RESULTS = ("seeds", "description", "expected")


def parse_recipe(text: str, *, folder: Path | None, file: str = FILE_NAME, overrides: Sequence[str] = ()) -> Recipe:
    """Validate the text of a recipe, called `file` in errors.

    An override of anything but the seeds leaves out what the recipe expects of itself.

    Args:
        text: YAML.
        folder: to which its paths are relative, and in which what they name must be; None: it need not be anywhere.
        file: what the recipe is called in errors.
        overrides: settings to change; see `load_recipe`.

    Raises:
        RecipeError: with a line for each thing that is wrong, in the order of the file.
    """
    document = read_document(text, file)
    if changes_results(overrides):
        document.data.pop("expected", None)
    for number, override in enumerate(overrides):
        document.override(number, override)
    document.stop_at_problems()
    _find_what_was_typed(document)
    return validate_document(document, folder)


def validate_document(document: Document, folder: Path | None) -> Recipe:
    """Make a recipe of plain data; for the folder see `parse_recipe`.

    Raises:
        RecipeError: with a line for each thing that is wrong, in the order of the file.
    """
    try:
        return Recipe.model_validate(document.data, context={"folder": folder})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            document.add(detail["loc"], explain(detail, document.data))
        document.stop_at_problems()
        raise


def read_document(text: str, file: str = FILE_NAME) -> Document:
    """Read the plain data of a recipe, with the place of every key.

    Raises:
        RecipeError: for what is no YAML mapping.
    """
    document = Document(file)
    document.data = document.read(text)
    if not document.problems and not isinstance(document.data, dict):
        document.add((), f"a recipe is a mapping of keys to values, this is {found(document.data)}")
    document.stop_at_problems()
    return document


def changes_results(overrides: Sequence[str]) -> bool:
    """Tell whether overrides change what a recipe's results are expected to be."""
    changed = {override.partition("=")[0].partition(".")[0].strip() for override in overrides}
    return not changed <= set(_SAME_RESULTS)


def to_yaml(recipe: Recipe) -> str:
    """Write the recipe as YAML, without what is a default; reading it gives an equal recipe."""
    data = recipe.model_dump(by_alias=True, exclude_defaults=True)
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=119)


def _find_what_was_typed(document: Document) -> None:
    """Let paths in overrides lead where the user says, and those of the file nowhere but into its folder."""

    def change(keys: Keys, reference: str) -> str:
        if document.place(keys).number < OVERRIDES:
            return reference
        try:
            return typed(reference)
        except ValueError as error:
            document.add(keys, str(error))
            return reference

    change_references(document.data, change)
    document.stop_at_problems()
