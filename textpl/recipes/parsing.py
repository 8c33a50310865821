"""Find, read and validate recipes: a file, a folder, a bundled name or an address on the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from textpl.recipes.field_types import nearest
from textpl.recipes.recipe_text import (
    FILE_NAME,
    HUB,
    MAX_BYTES,
    changes_results,
    parse_recipe,
    read_document,
    to_yaml,
)
from textpl.recipes.references import locate, quoted
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import RecipeError

__all__ = [
    "FILE_NAME", "HUB", "MAX_BYTES", "LoadedRecipe", "RecipeError",
    "bundled_recipes", "load_recipe", "parse_recipe", "read_text", "to_yaml",
]  # fmt: skip
SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe, where it came from, and what its user allows."""

    recipe: Recipe  # with overrides
    folder: Path  # to which its paths are relative
    text: str  # the file as it is, without overrides
    name: str  # fit for a folder
    trust_remote_code: bool = False  # code that comes with the model is run
    expected_dropped: bool = False  # what it expects of itself, which is not expected of it with other settings

    def locate(self, reference: str) -> Path | str:
        """Return the path of what lies beside the recipe, else the name (a Hub id) itself."""
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
        RecipeError: for everything that is wrong with source, file or overrides.

    Example:
        >>> load_recipe("quickstart", overrides=["split.labels_per_class=5"]).recipe.split.labels_per_class
        5
    """
    path = find_recipe(source)
    text = read_text(path)
    recipe = parse_recipe(text, folder=path.parent, file=path.name, overrides=overrides)
    dropped = changes_results(overrides) and read_document(text).data.get("expected") is not None
    name = path.parent.resolve().name if path.name == FILE_NAME else path.stem
    return LoadedRecipe(recipe, path.parent, text, name, trust_remote_code, dropped)


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with textpl."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "bundled").glob("*.yaml"))}


def find_recipe(source: str | Path) -> Path:
    """Return the file of a recipe; one on the Hub is downloaded unless it is in the cache.

    Args:
        source: as for `load_recipe`.

    Raises:
        RecipeError: if there is no such recipe.
    """
    if str(source).startswith(HUB):
        from textpl.recipes.fetching import resolve  # the client of the Hub is loaded by those only who need it

        return resolve(str(source)) / FILE_NAME
    path, bundled = Path(source).expanduser(), bundled_recipes()
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise RecipeError(f"{path} is no recipe: its name must end in .yaml.")
        return path
    if str(source) in bundled:
        return bundled[str(source)]
    if path.is_dir():
        raise RecipeError(f"The folder {path} holds no {FILE_NAME}.")
    names = f"{nearest(str(source), bundled)} (bundled recipes: {', '.join(bundled) or 'none'})"
    raise RecipeError(f"No recipe {quoted(str(source))}: it is no file, no folder and no bundled name{names}.")


def read_text(path: Path) -> str:
    """Read the text of a recipe.

    Raises:
        RecipeError: if the file cannot be read, is larger than `MAX_BYTES`, or is not UTF-8.
    """
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
