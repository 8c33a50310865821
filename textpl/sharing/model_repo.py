"""Push the model of a run to the Hub: the files that `Trainer.push_to_hub` sends, its recipe, results and a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from textpl.recipes.describing import unpinned
from textpl.recipes.hub.cards import check_same
from textpl.recipes.hub.errors import clear_errors
from textpl.recipes.hub.files import CARD, SIZES, is_model_file
from textpl.recipes.hub.repos import Pushed, Target, client, commit_card, commit_files, need_token, open_target
from textpl.sharing.model_card import model_card
from textpl.sharing.run_folder import read_run


def push_model(folder: Path, target: Target, *, license: str | None = None, dry_run: bool = False) -> Pushed:
    """Share the model of a run.

    Args:
        folder: as `textpl run` wrote it.
        target: where to.
        license: identifier on the Hub for the card.
        dry_run: change nothing, ask nobody.

    Raises:
        RecipeError: for an unfinished run, results of another recipe, files that may not go up, a repository that holds
            something else, or what goes wrong at the Hub.
    """
    run = read_run(folder, get_token())
    check_same(run.recipe, run.results)

    def card(commit: str | None, there: Mapping[str, Any]) -> str:
        wanted = license or there.get("license")
        return model_card(run, repo_id=target.repo_id, revision=commit, license=wanted, there=there)

    text = card(None, {})
    sizes = {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in run.files.items()}
    sizes[CARD] = len(text.encode())
    notes = tuple(f"model/{name} stays here: it is no safetensors, tokenizer or configuration" for name in run.left_out)
    if run.results.doubted:
        notes += (run.results.model_note(),)
    if run.beside:
        names = " and ".join(run.beside)
        notes += (f"others cannot run the recipe: it reads {names}, which do not go up",)
    elif run.own_data:
        notes += (
            f"{run.own_data} does not go up: others run the recipe on data of their own; textpl recipes push "
            "--with-data shares recipe and data",
        )
    loose = unpinned(run.recipe, run.beside)
    notes += tuple(f"{key} is not set: the recipe reads whatever is newest" for key in loose)
    if dry_run:
        return Pushed(target.repo_id, None, sizes, notes, "model", text)
    need_token()
    with clear_errors(target.repo_id, target.revision, pushing="nothing was shared"):
        api = client()
        there = open_target(api, target, run.files)
        stale = [n for n in there.files if n not in run.files and n != CARD and (is_model_file(n) or n in SIZES)]
        commit = commit_files(api, target, run.files, stale, "Model")
        if not there.edited:
            commit_card(api, target, text := card(commit, there.metadata))
    return Pushed(target.repo_id, commit, sizes, notes + there.notes(), "model", None if there.edited else text)
