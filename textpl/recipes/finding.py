"""Where a recipe lies: a file, a folder, a bundled name or an address on the Hub; and its text, within limits."""

from __future__ import annotations

import re
from pathlib import Path

from textpl.recipes.field_types import nearest
from textpl.recipes.references import quoted
from textpl.recipes.yaml_text import RecipeError

FILE_NAME = "recipe.yaml"
MAX_BYTES = 64 * 1024
SUFFIXES = (".yaml", ".yml")
HUB = "hf://"
CACHE = "textpl-recipes"  # folder in HF_HOME
COMMIT = re.compile(r"[0-9a-f]{40}")


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with textpl."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "bundled").glob("*.yaml"))}


def address(folder: Path) -> str | None:
    """hf://owner/name@commit of a folder that `resolve` gave; None for any other."""
    match folder.parts[-4:]:
        case (base, repo, commit, name) if base == CACHE and COMMIT.fullmatch(commit) and repo.endswith(f"--{name}"):
            return f"{HUB}{repo.removesuffix(f'--{name}')}/{name}@{commit}"
    return None


def find_recipe(source: str | Path) -> Path:
    """The file of a recipe; one on the Hub is downloaded unless it is in the cache.

    Args:
        source: a .yaml file, a folder with recipe.yaml, the name of a bundled recipe, or hf://owner/name[@revision];
            a path that exists comes first.

    Raises:
        RecipeError: if there is no such recipe.
    """
    if str(source).startswith(HUB):
        from textpl.recipes.hub.push_pull import resolve  # the client of the Hub is loaded by those only who need it

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
    """The text of a recipe.

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
