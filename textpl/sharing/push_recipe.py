"""Push a recipe's folder to the Hub: recipe, card, results, picture and, if asked, data.

A recipe is a model repository with the tag `textpl-recipe`: model repositories are found by tag, take a library name,
and the classifier that a recipe trains can be pushed to the same place. A dataset repository would show its files in
the dataset viewer as if they were rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from textpl.recipes.allowed_files import CARD, PICTURE, RESULTS, SIZES, is_data
from textpl.recipes.describing import unpinned
from textpl.recipes.parsing import FILE_NAME, load_recipe, read_text
from textpl.recipes.recipe_text import to_yaml
from textpl.recipes.references import OWN_DATA, local_references
from textpl.recipes.results import parse_results
from textpl.recipes.run_header import Read, parse_run, reads_own_data, split_header
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.card_text import signer
from textpl.sharing.local_data import data_files
from textpl.sharing.run_card import recipe_card, with_metadata
from textpl.sharing.run_folder import check_finished
from textpl.sharing.secrets import published_json, regular_file
from textpl.sharing.upload import Content, Pushed, Target, upload


class ToPush(NamedTuple):
    """A recipe in a folder, and what it reads that lies on this machine.

    Attributes:
        recipe: as it is.
        text: of it, without what `textpl run` wrote above it.
        data: the file or folder, which may be missing; None for data from elsewhere.
        models: key -> name.
        read: what a run of it read; None for a recipe that is no run's.
    """

    recipe: Recipe
    text: str
    data: Path | None
    models: Mapping[str, str]
    read: Read | None


def push_recipe(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,
    with_data: bool = False,
    overwrite_card: bool = False,
    dry_run: bool = False,
) -> Pushed:
    """Share a recipe's folder (a run's too); only recipe, card, results, picture and, if asked, data go up.

    A card is made unless the folder has a README.md that somebody wrote; one on the Hub that was edited by hand stays.
    Files of an earlier push that are no longer there are deleted.

    Args:
        folder: with recipe.yaml.
        repo_id: owner/name of a model repository; it is created if need be.
        private: nobody else may see it; never turns a public repository into a private one.
        revision: branch to push to instead of main.
        license: identifier on the Hub for the card, such as apache-2.0.
        with_data: also the data beside the recipe that it names; for a run's folder, beside the recipe that was run.
        overwrite_card: replace a card on the Hub that was edited by hand.
        dry_run: change nothing, ask nobody.

    Raises:
        RecipeError: for a recipe that is invalid or cannot be shared, no or a refused token, a repository that holds
            something else, or no network.
    """
    folder = Path(folder)
    target = Target(repo_id, "recipe", private, revision, license, overwrite_card, dry_run)
    check_finished(folder)
    wanted = read_to_push(folder)
    if wanted.models:
        key, name = next(iter(wanted.models.items()))
        raise RecipeError(
            f"{key}: {name} lies beside the recipe, and models do not go up with it. Push the model (its Trainer "
            "has push_to_hub) and name it by its id."
        )
    recipe, files = wanted.recipe, _small_files(folder, wanted.text)
    stays = wanted.data is not None and not with_data
    if stays:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": OWN_DATA})})
    if wanted.data is not None and (stays or wanted.read is not None):  # a run may name a path of this machine
        files[FILE_NAME] = to_yaml(recipe).encode()
    data = {} if wanted.data is None or stays else data_files(recipe, wanted.data, folder, wanted.read)
    results = parse_results(files[RESULTS]) if RESULTS in files else None
    beside = (recipe.data.source,) if data else ()
    own = files.pop(CARD, b"").decode("utf-8-sig")
    by_hand = bool(own) and signer(own) is None

    def card(commit: str | None, terms: str | None, there: Mapping[str, Any]) -> str:
        if by_hand:
            return with_metadata(own, recipe, results, license=license, beside=beside)
        return recipe_card(
            recipe, results, repo_id=repo_id, revision=commit, license=terms, there=there, beside=beside,
            picture=PICTURE if PICTURE in files else "",
        )  # fmt: skip

    notes = [f"{key} is not set: the recipe will read whatever is newest" for key in unpinned(recipe, beside)]
    if stays:
        name = Path(wanted.recipe.data.source).name
        notes.append(f"{name} stays here: others name data of their own with --data; --with-data shares it too")
    if data and not private:
        names = ", ".join(sorted(data))
        notes.append(f"the texts in {names} go up: make sure that they may be shared, or use --private")
    owns = lambda name: name in SIZES or is_data(name)  # noqa: E731
    return upload(target, Content({**files, **data}, card, owns, tuple(notes), by_hand))


def read_to_push(folder: Path) -> ToPush:
    """Read a recipe that is to go up.

    The recipe in the folder of a run names data beside the recipe that was run. Where these lie stands above it.

    Raises:
        RecipeError: if there is no recipe, or it is not valid.
    """
    file = folder / FILE_NAME
    if not (file.exists() or file.is_symlink()):
        raise RecipeError(f"The folder {folder} holds no {FILE_NAME}.")
    whole = read_text(regular_file(file, SIZES[FILE_NAME]))
    read, text = split_header(whole)
    if read is None:
        recipe = load_recipe(folder).recipe
        found = local_references(recipe, folder)
        data = found.pop("data.source", None)
        return ToPush(recipe, text, data, {key: path.name for key, path in found.items()}, None)
    recipe, models = parse_run(whole)
    beside = folder / recipe.data.source
    data = (beside if beside.exists() else Path(read.source)) if reads_own_data(recipe, read) else None
    return ToPush(recipe, text, data, models, read)


def _small_files(folder: Path, text: str) -> dict[str, bytes]:
    """The recipe and what lies beside it, as they are published."""
    files = {FILE_NAME: text.encode()}
    for name in (CARD, RESULTS, PICTURE):
        path = folder / name
        if path.exists() or path.is_symlink():
            content = regular_file(path, SIZES[name]).read_bytes()
            files[name] = published_json(name, content) if name == RESULTS else content
    return files
