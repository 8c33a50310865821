"""The folder of a run: whether it is free, or holds the very run that is to go on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from textpl.atomic_files import is_temporary, write_text
from textpl.corpus import Corpus
from textpl.recipes.measured import changed_settings, settings_in
from textpl.recipes.parsing import FILE_NAME, LoadedRecipe, to_yaml
from textpl.recipes.recipe_text import read_document
from textpl.recipes.references import Located
from textpl.recipes.run_header import Read, split_header, with_header
from textpl.recipes.running.pins import as_begun
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import RecipeError

_SHOWN = 5  # settings that differ
_REMEDY = "or choose another folder with --out."


def check_claim(out: Path, loaded: LoadedRecipe, data: Path | None, resume: bool) -> LoadedRecipe:
    """Refuse a folder that is taken, or a run that was begun with other settings, before any data are read.

    Returns:
        LoadedRecipe: the recipe, at the commits of the Hub at which the run in `out` was begun.

    Raises:
        RecipeError: naming what differs and how to go on.
    """
    if not out.exists() or all(map(is_temporary, out.iterdir())):  # a run that was killed as it began
        return loaded
    if not resume:
        raise RecipeError(
            f"The folder {out} is not empty: choose another with --out, or go on with the run in it with --resume."
        )
    text = _stored(out)
    stored = _plain(out, text)
    loaded = as_begun(loaded, stored)
    begun, now = settings_in(stored), settings_in(_plain(out, to_yaml(loaded.recipe)))
    if changed := changed_settings(begun, now):
        default = "the default"
        told = [f"{key} was {before or default} and is {after or default} now" for key, before, after in changed]
        more = f"; and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
        raise RecipeError(
            f"The run in {out} was begun with other settings: {'; '.join(told[:_SHOWN])}{more}. "
            f"Repeat its --set options, {_REMEDY}"
        )
    read, named = split_header(text)[0], loaded.locate(loaded.recipe.data.source)
    # What is not beside the recipe has one name only.
    if data is None and read and isinstance(named, str) and read.source != named:
        raise RecipeError(
            f"The run in {out} was begun on other data: repeat --data {read.source} (now {named} would be read), "
            f"{_REMEDY}"
        )
    return loaded


def check_data(out: Path, corpus: Corpus) -> None:
    """Refuse to go on with other data than the run in `out`, if there is one, was begun on.

    Raises:
        RecipeError: naming the data.
    """
    if (out / FILE_NAME).exists():
        read, _ = split_header(_stored(out))
        if read is None or read.fingerprint != corpus.fingerprint:
            was = f" ({read.source})" if read else ""
            raise RecipeError(
                f"The run in {out} was begun on other data{was} than {corpus.source} holds now: repeat its --data, "
                f"{_REMEDY}"
            )


def claim(out: Path, recipe: Recipe, corpus: Corpus) -> None:
    """Write `recipe.yaml`, by which a later --resume knows the run; where files that were read lie stands above it."""
    out.mkdir(parents=True, exist_ok=True)
    source = os.path.abspath(corpus.source) if Path(corpus.source).exists() else corpus.source
    if isinstance(recipe.data.source, Located):
        recipe = recipe.model_copy(
            update={"data": recipe.data.model_copy(update={"source": Path(recipe.data.source).name})}
        )
    write_text(out / FILE_NAME, with_header(to_yaml(recipe), Read(corpus.fingerprint, source)))


def _stored(out: Path) -> str:
    file = out / FILE_NAME
    if not file.is_file():
        raise RecipeError(f"The folder {out} holds no run to go on with ({FILE_NAME} is missing): {_REMEDY[3:]}")
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _broken(out, error) from error


def _plain(out: Path, text: str) -> dict[str, Any]:
    try:
        return read_document(text).data
    except RecipeError as error:
        raise _broken(out, error) from error


def _broken(out: Path, why: object) -> RecipeError:
    told = " ".join(str(why).split())
    return RecipeError(
        f"{out / FILE_NAME} is half-written or broken ({told}): without it nobody knows what was begun. Remove {out}, "
        f"{_REMEDY}"
    )
