"""Push the model of a run to the Hub: the files that `Trainer.push_to_hub` sends, its recipe, results and a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textpl.recipes.allowed_files import SIZES, is_model_file
from textpl.recipes.describing import unpinned
from textpl.recipes.measured import check_same
from textpl.sharing.run_card import model_card
from textpl.sharing.run_folder import read_run
from textpl.sharing.upload import Content, Pushed, Target, upload


def push_model(folder: Path, target: Target) -> Pushed:
    """Share the model of a run.

    Args:
        folder: as `textpl run` wrote it.
        target: where to.

    Raises:
        RecipeError: for an unfinished run, results of another recipe, files that may not go up, a repository that holds
            something else, or what goes wrong at the Hub.
    """
    run = read_run(folder)
    check_same(run.recipe, run.results)

    def card(commit: str | None, terms: str | None, there: Mapping[str, Any]) -> str:
        return model_card(run, repo_id=target.repo_id, revision=commit, license=terms, there=there)

    notes = [f"model/{name} stays here: it is no safetensors, tokenizer or configuration" for name in run.left_out]
    if run.results.doubted:
        notes.append(run.results.model_note())
    if run.beside:
        notes.append(f"others cannot run the recipe: it reads {' and '.join(run.beside)}, which do not go up")
    elif run.own_data:
        notes.append(
            f"{run.own_data} does not go up: others run the recipe on data of their own; textpl recipes push "
            "--with-data shares recipe and data"
        )
    loose = unpinned(run.recipe, run.beside)
    notes += [f"{key} is not set: the recipe reads whatever is newest" for key in loose]
    owns = lambda name: is_model_file(name) or name in SIZES  # noqa: E731
    return upload(target, Content(run.files, card, owns, tuple(notes)))
