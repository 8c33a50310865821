"""Read and write recipes; errors name file, line, key and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from textpl.recipes.explaining import explain
from textpl.recipes.extends import read_document
from textpl.recipes.finding import FILE_NAME, HUB, MAX_BYTES, bundled_recipes, find_recipe, read_text
from textpl.recipes.references import change_references, locate, typed
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import OVERRIDES, Document, Dumper, Keys, RecipeError

__all__ = [
    "FILE_NAME", "HUB", "MAX_BYTES", "LoadedRecipe", "RecipeError",
    "bundled_recipes", "load_recipe", "parse_recipe", "to_yaml",
]  # fmt: skip
# What may be changed without changing what the recipe expects of itself.
_SAME_RESULTS = ("seeds", "description", "expected")


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe, where it came from, and what its user allows."""

    recipe: Recipe  # with overrides
    folder: Path  # to which its paths are relative
    text: str  # the file as it is, without overrides and parents
    name: str  # fit for a folder
    trust_remote_code: bool = False  # code that comes with the model is run
    expected_dropped: bool = False  # what it expects of itself, which is not expected of it with other settings

    def locate(self, reference: str) -> Path | str:
        """Path of `data.source` or `model.name` if it lies beside the recipe, else the name (a Hub id) itself."""
        return locate(reference, self.folder)


def load_recipe(source: str | Path, *, overrides: Sequence[str] = (), trust_remote_code: bool = False) -> LoadedRecipe:
    """Read and validate a recipe.

    Args:
        source: a .yaml file, a folder with recipe.yaml, the name of a bundled recipe, or hf://owner/name[@revision]; a
            path that exists comes first.
        overrides: settings to change, such as "method.threshold=0.9"; values are YAML. Paths in them are those of
            whoever wrote them: relative to the current folder, and anywhere.
        trust_remote_code: let the model that is fine-tuned bring code of its own. No recipe can ask for it.

    Raises:
        RecipeError: for everything that is wrong with source, file, parents or overrides.

    Example:
        >>> load_recipe("quickstart", overrides=["split.labels_per_class=5"]).recipe.split.labels_per_class
        5
    """
    path = find_recipe(source)
    text = read_text(path)
    recipe, dropped = _parse(text, path.parent, path.name, overrides)
    name = path.parent.resolve().name if path.name == FILE_NAME else path.stem
    return LoadedRecipe(recipe, path.parent, text, name, trust_remote_code, dropped)


def parse_recipe(text: str, *, folder: Path, file: str = FILE_NAME, overrides: Sequence[str] = ()) -> Recipe:
    """Validate the text of a recipe, called `file` in errors, with paths relative to `folder`.

    An override of anything but the seeds leaves out what the recipe expects of itself.

    Raises:
        RecipeError: with a line for each thing that is wrong, in the order of the files.
    """
    return _parse(text, folder, file, overrides)[0]


def _parse(text: str, folder: Path, file: str, overrides: Sequence[str]) -> tuple[Recipe, bool]:
    """The recipe, and whether what it expects of itself was left out."""
    document = read_document(text, folder=folder, file=file)
    dropped = _changes_results(overrides) and document.data.pop("expected", None) is not None
    for number, override in enumerate(overrides):
        document.override(number, override)
    document.stop_at_problems()
    _find_what_was_typed(document)
    try:
        recipe = Recipe.model_validate(document.data, context={"folder": folder})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            document.add(detail["loc"], explain(detail, document.data))
    document.stop_at_problems()
    return recipe, dropped


def _changes_results(overrides: Sequence[str]) -> bool:
    changed = {override.partition("=")[0].partition(".")[0].strip() for override in overrides}
    return not changed <= set(_SAME_RESULTS)


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, without parents and what is a default; reading it gives an equal recipe."""
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
