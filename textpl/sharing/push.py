"""`textpl push`: what a folder or file is decides whether it becomes a model or a dataset on the Hub."""

from __future__ import annotations

from pathlib import Path

from textpl.recipes.hub.repos import Pushed, Target, parsed_name
from textpl.recipes.parsing import FILE_NAME, RecipeError
from textpl.sharing.dataset_repo import push_dataset
from textpl.sharing.labelled_rows import is_cleaned, is_labelled, read_cleaned, read_labelled
from textpl.sharing.model_repo import push_model
from textpl.sharing.run_folder import is_run


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
        RecipeError: for a source that is none of these or holds a secret, no or a refused token, a repository that
            holds something else, or no network.
    """
    path, name = Path(source), parsed_name(repo_id)
    if not path.exists():
        raise RecipeError(f"There is no {path}.")
    if is_run(path):
        target = Target(name, "model", private, revision, overwrite_card)
        return push_model(path, target, license=license, dry_run=dry_run)
    target = Target(name, "dataset", private, revision, overwrite_card)
    if is_cleaned(path):
        return push_dataset(read_cleaned(path), target, license=license, dry_run=dry_run)
    if is_labelled(path):
        return push_dataset(read_labelled(path), target, license=license, dry_run=dry_run)
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
