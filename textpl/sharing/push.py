"""`textpl push`: what a folder or file is decides whether it becomes a model or a dataset on the Hub."""

from __future__ import annotations

from pathlib import Path

from textpl.recipes.recipe_text import FILE_NAME
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.labelled_rows import is_cleaned, is_labelled, read_cleaned, read_labelled
from textpl.sharing.push_model import push_model
from textpl.sharing.push_rows import push_rows
from textpl.sharing.run_folder import is_run
from textpl.sharing.upload import Kind, Pushed, Target


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
    path = Path(source)
    kind: Kind = "model" if is_run(path) else "dataset"
    target = Target(repo_id, kind, private, revision, license, overwrite_card, dry_run)
    if not path.exists():
        raise RecipeError(f"There is no {path}.")
    if kind == "model":
        return push_model(path, target)
    if is_cleaned(path):
        return push_rows(read_cleaned(path), target)
    if is_labelled(path):
        return push_rows(read_labelled(path), target)
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
