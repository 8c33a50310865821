"""`textpl push`: what a folder or file is decides whether it becomes a model or a dataset on the Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

from textpl.recipes.allowed_files import SIZES, is_model_file
from textpl.recipes.describing import unpinned
from textpl.recipes.measured import check_same
from textpl.recipes.recipe_text import FILE_NAME
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.dataset_card import dataset_card
from textpl.sharing.labelled_rows import LabelledRows, is_cleaned, is_labelled, read_cleaned, read_labelled
from textpl.sharing.run_card import model_card
from textpl.sharing.run_folder import is_run, read_run
from textpl.sharing.secrets import refuse_secret_texts
from textpl.sharing.upload import Content, Kind, Pushed, Target, upload


def push(
    source: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,
    overwrite_card: bool = False,
    dry_run: bool = False,
) -> Pushed:
    """Share what textpl made, with a card that tells what it is and how good.

    A folder of `textpl run` becomes a model repository (model, tokenizer, recipe, results); one of `textpl clean`, or
    a file of `textpl label`, a dataset repository. A card on the Hub that was edited by hand stays.

    Args:
        source: the folder, or the file of labels.
        repo_id: owner/name; the repository is created if need be.
        private: nobody else may see it; never turns a public repository into a private one.
        revision: branch to push to instead of main.
        license: identifier on the Hub for the card, such as apache-2.0.
        overwrite_card: replace a card on the Hub that was edited by hand.
        dry_run: change nothing, ask nobody.

    Raises:
        RecipeError: for a source that is none of these, is not finished or holds a secret, results of another recipe,
            no or a refused token, a repository that holds something else, or no network.
    """
    path = Path(source)
    kind: Kind = "model" if is_run(path) else "dataset"
    target = Target(repo_id, kind, private, revision, license, overwrite_card, dry_run)
    if not path.exists():
        raise RecipeError(f"There is no {path}.")
    if kind == "model":
        return _push_model(path, target)
    if is_cleaned(path):
        return _push_rows(read_cleaned(path), target)
    if is_labelled(path):
        return _push_rows(read_labelled(path), target)
    raise RecipeError(
        f"{path} is neither a folder of textpl run or textpl clean, nor a file of textpl label{_hint(path)}."
    )


def _hint(path: Path) -> str:
    if (path / FILE_NAME).is_file():
        return ", but a recipe: share it with textpl recipes push"
    if (path / "config.json").is_file():
        return ", but a model: share it by its own push_to_hub, or with hf upload"
    if path.is_file():
        return f" (beside which {path.name}.report.json would lie)"
    return ""


def _push_model(folder: Path, target: Target) -> Pushed:
    """Push the files that `Trainer.push_to_hub` sends, the recipe, the results and a card."""
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


def _push_rows(rows: LabelledRows, target: Target) -> Pushed:
    """Push the rows as parquet, with what says how their labels were made, and a card."""
    refuse_secret_texts(rows.dataset, get_token())

    def card(commit: str | None, terms: str | None, there: Mapping[str, Any]) -> str:
        return dataset_card(rows, repo_id=target.repo_id, revision=commit, license=terms, there=there)

    warning = f"the {len(rows.dataset):,} texts themselves go up: make sure that they may be shared, or use --private"
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "rows.parquet"
        rows.dataset.to_parquet(file)
        owns = lambda name: fnmatch(name, rows.shards)  # noqa: E731
        notes = () if target.private else (warning,)
        return upload(
            target, Content({rows.shards.replace("*", "00000-of-00001"): file, **rows.files}, card, owns, notes)
        )
