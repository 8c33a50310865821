"""Find, read and write recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import yaml
from pydantic import ValidationError

from textpl.recipes.document import Document, RecipeError
from textpl.recipes.field_types import nearest
from textpl.recipes.messages import explain, found
from textpl.recipes.references import locate
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import Dumper

FILE_NAME = "recipe.yaml"
MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe and where it came from.

    Attributes:
        recipe: with overrides.
        folder: to which its paths are relative.
        text: the file as it is, without overrides.
        name: short name, fit for a folder.
    """

    recipe: Recipe
    folder: Path
    text: str
    name: str

    def locate(self, reference: str) -> Path | str:
        """Path of `data.source` or `model.name` if it lies beside the recipe, else the name (a Hub id) itself."""
        return locate(reference, self.folder)


def load_recipe(source: str | Path, *, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and validate a recipe.

    Args:
        source: a .yaml file, a folder with recipe.yaml, or the name of a bundled recipe; a path that exists comes
            first.
        overrides: settings to change, such as "method.threshold=0.9"; values are YAML.

    Raises:
        RecipeError: for everything that is wrong with source, file or overrides.
    """
    path = _find(source)
    text = _read_file(path)
    recipe = parse_recipe(text, folder=path.parent, file=path.name, overrides=overrides)
    return LoadedRecipe(recipe, path.parent, text, path.resolve().parent.name if path.name == FILE_NAME else path.stem)


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with textpl."""
    folder = Path(str(resources.files("textpl.recipes").joinpath("bundled")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def parse_recipe(text: str, *, folder: Path, file: str = FILE_NAME, overrides: Sequence[str] = ()) -> Recipe:
    """Validate the text of a recipe, called `file` in errors, with paths relative to `folder`.

    Raises:
        RecipeError: with a line for each thing that is wrong, in the order of the file.
    """
    document = Document(file)
    document.data = document.read(text)
    if not document.problems and not isinstance(document.data, dict):
        document.add((), f"a recipe is a mapping of keys to values, this is {found(document.data)}")
    document.stop_at_problems()
    for override in overrides:
        document.override(override)
    document.stop_at_problems()
    try:
        recipe = Recipe.model_validate(document.data, context={"folder": folder})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            document.add(detail["loc"], explain(detail, document.data))
    document.stop_at_problems()
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, without what is a default; reading it gives an equal recipe."""
    data = recipe.model_dump(by_alias=True, exclude_defaults=True)
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=119)


def _find(source: str | Path) -> Path:
    path, bundled = Path(source).expanduser(), bundled_recipes()
    if str(source).startswith("hf://"):
        raise RecipeError(f"{source}: recipes on the Hub (hf://) cannot be read yet; download it and name the file.")
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    if path.is_file():
        if path.suffix not in (".yaml", ".yml"):
            raise RecipeError(f"{path} is no recipe: its name must end in .yaml.")
        return path
    if str(source) in bundled:
        return bundled[str(source)]
    if path.is_dir():
        raise RecipeError(f"The folder {path} holds no {FILE_NAME}.")
    names = f"{nearest(str(source), bundled)} (bundled recipes: {', '.join(bundled) or 'none'})"
    raise RecipeError(f"No recipe {str(source)!r}: it is no file, no folder and no bundled name{names}.")


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path} is larger than {MAX_BYTES // 1024} KiB, which is no recipe.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None
