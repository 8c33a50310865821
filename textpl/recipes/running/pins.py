"""At which commits a run reads the Hub: found once, the same in all its trainings, and written into its recipe.yaml."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from huggingface_hub.errors import RevisionResolutionError

from textpl.models import OFFLINE_PACKAGES, resolve_model
from textpl.recipes.fetching import client
from textpl.recipes.parsing import LoadedRecipe


def pinned(loaded: LoadedRecipe, data_commit: str | None) -> LoadedRecipe:
    """The recipe with the commits of its data and its model where it names no revision.

    Args:
        loaded: the recipe.
        data_commit: of the data that were read; None if they are not the Hub's.
    """
    recipe = loaded.recipe
    found: dict[str, str | None] = {"data": None, "model": None}
    if recipe.data.revision is None:
        found["data"] = data_commit
    if recipe.model.revision is None:
        found["model"] = _model_commit(loaded.locate(recipe.model.name))
    return _with_revisions(loaded, found)


def as_begun(loaded: LoadedRecipe, begun: dict[str, Any]) -> LoadedRecipe:
    """The recipe with the commits at which a run of it was begun, where it names none.

    Args:
        loaded: the recipe.
        begun: the plain data of the recipe.yaml in the folder of that run.
    """
    found = {}
    for section in ("data", "model"):
        there = begun.get(section)
        if getattr(loaded.recipe, section).revision is None and isinstance(there, dict):
            found[section] = there.get("revision")
    return _with_revisions(loaded, found)


def _with_revisions(loaded: LoadedRecipe, found: dict[str, str | None]) -> LoadedRecipe:
    sections = {
        name: getattr(loaded.recipe, name).model_copy(update={"revision": commit})
        for name, commit in found.items()
        if commit is not None
    }
    return dataclasses.replace(loaded, recipe=loaded.recipe.model_copy(update=sections)) if sections else loaded


def _model_commit(name: Path | str) -> str | None:
    """The newest commit of a model on the Hub, from the cache if it cannot be reached; None for a folder.

    Of a model that comes from an installed package, the commit that the package holds.
    """
    if isinstance(name, Path) or Path(name).exists():
        return None
    if resolve_model(name) != name:
        return OFFLINE_PACKAGES[name][-1]
    try:
        return client().resolve_revision(name).resolved
    except (OSError, ValueError, RevisionResolutionError):  # who then loads the model says what is wrong
        return None
