"""Share recipes: push a folder to the Hugging Face Hub, pull one, and find what hf://owner/name stands for.

A recipe is a model repository with the tag `textpl-recipe`: model repositories are found by tag, take a library name,
and the classifier that a recipe trains can be pushed to the same place. A dataset repository would show its files in
the dataset viewer as if they were rows.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.hf_api import RepoFile

from textpl.recipes.data_beside import is_data, load_to_push
from textpl.recipes.describing import unpinned
from textpl.recipes.finding import CACHE, COMMIT, HUB
from textpl.recipes.hub.card_text import signer
from textpl.recipes.hub.cards import recipe_card, with_metadata
from textpl.recipes.hub.errors import clear_errors
from textpl.recipes.hub.files import (
    CARD,
    MAX_FILES,
    PICTURE,
    RESULTS,
    SIZES,
    files_to_pull,
    files_to_push,
    shared_recipe,
)
from textpl.recipes.hub.repos import (
    Pushed,
    Target,
    client,
    commit_card,
    commit_files,
    need_token,
    open_target,
    parsed,
    parsed_name,
)
from textpl.recipes.parsing import FILE_NAME, RecipeError, load_recipe
from textpl.recipes.references import OWN_DATA
from textpl.recipes.results import parse_results

_passing: ContextVar[Path | None] = ContextVar("passing", default=None)


class Pulled(NamedTuple):
    """A recipe that was downloaded, or would be.

    Attributes:
        folder: where it is.
        files: bytes of each file by its path in the folder.
    """

    folder: Path
    files: dict[str, int]


def push(
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
    target = Target(parsed_name(repo_id), "recipe", private, revision, overwrite_card)
    wanted = load_to_push(folder)
    files = files_to_push(wanted, with_data=with_data, token=get_token())
    recipe, data = shared_recipe(wanted, with_data=with_data), sorted(name for name in files if is_data(name))
    beside = (recipe.data.source,) if data or recipe.data.source.startswith(HUB) else ()
    results = parse_results(_content(files[RESULTS])) if RESULTS in files else None

    def card(commit: str | None, there: Mapping[str, Any]) -> str:
        terms = license or there.get("license")
        return recipe_card(
            recipe, results, repo_id=target.repo_id, revision=commit, license=terms, there=there, beside=beside,
            picture=PICTURE if PICTURE in files else "",
        )  # fmt: skip

    own = _content(files[CARD]).decode("utf-8-sig") if CARD in files else None
    made = own is None or signer(own) is not None
    text = (
        card(None, {}) if own is None or made else with_metadata(own, recipe, results, license=license, beside=beside)
    )
    files[CARD] = text.encode()
    notes = tuple(f"{key} is not set: the recipe will read whatever is newest" for key in unpinned(recipe, beside))
    if recipe.data.source == OWN_DATA != wanted.loaded.recipe.data.source:
        name = Path(wanted.loaded.recipe.data.source).name
        notes += (f"{name} stays here: others name data of their own with --data; --with-data shares it too",)
    if data and not private:
        notes += (f"the texts in {', '.join(data)} go up: make sure that they may be shared, or use --private",)
    sizes = {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in files.items()}
    if dry_run:
        return Pushed(target.repo_id, None, sizes, notes, card=text)
    need_token()
    with clear_errors(target.repo_id, revision, pushing="nothing was shared"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        api = client()
        there = open_target(api, target, files)
        stale = [name for name in there.files if name not in files and (name in SIZES or is_data(name))]
        first = {name: content for name, content in files.items() if not (made and name == CARD)}
        commit = commit_files(api, target, first, stale, "Recipe")
        if made and not there.edited:
            commit_card(api, target, text := card(commit, there.metadata))
    kept = there.notes() if made else ()
    return Pushed(target.repo_id, commit, sizes, (*notes, *kept), card=None if kept else text)


def pull(repo_id: str, *, revision: str | None = None, to: str | Path | None = None, dry_run: bool = False) -> Pulled:
    """Download a recipe into a folder of its own; only what a recipe consists of, after it has been validated.

    Args:
        repo_id: owner/name, or hf://owner/name[@revision].
        revision: branch, tag or commit.
        to: new or empty folder; default: the name of the repository, here.
        dry_run: keep nothing; of a recipe that is not in the cache only recipe.yaml is downloaded, to be validated.

    Raises:
        RecipeError: if there is no such recipe, it is not valid, or the folder is not empty.
    """
    repo_id, named = parsed(repo_id)
    target = Path(to) if to is not None else Path(repo_id.split("/")[1])
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecipeError(f"{target} is there already and not an empty folder: choose another with --to.")
    if dry_run:
        with in_passing():
            return Pulled(target, _sizes(_fetched(repo_id, revision or named)))
    shutil.copytree(_fetched(repo_id, revision or named), target, dirs_exist_ok=True)
    return Pulled(target, _sizes(target))


@contextlib.contextmanager
def in_passing() -> Iterator[None]:
    """Only recipe.yaml of the recipes that are resolved inside is downloaded, into a folder that is removed.

    What else belongs to a recipe that is not in the cache is there as an empty file of the right size.
    """
    with tempfile.TemporaryDirectory() as place:
        before = _passing.set(Path(place))
        try:
            yield
        finally:
            _passing.reset(before)


def is_stand_in(path: Path) -> bool:
    """Whether a file is an empty one of those."""
    place = _passing.get()
    return place is not None and path.resolve().is_relative_to(place.resolve())


def resolve(uri: str) -> Path:
    """The local folder of hf://owner/name[@revision], from the cache if the Hub cannot be reached.

    Raises:
        RecipeError: if there is no such recipe, or it is not valid.
    """
    if not uri.startswith(HUB):
        raise RecipeError(f"{uri!r} does not start with {HUB}.")
    return _fetched(*parsed(uri))


def _content(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _sizes(folder: Path) -> dict[str, int]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _fetched(repo_id: str, revision: str | None) -> Path:
    """The folder in the cache that holds one commit of a recipe: plain files, whole or not there at all."""
    api, passing = client(), _passing.get()
    with clear_errors(repo_id, revision):
        commit = _commit(api, repo_id, revision, keep=passing is None)
    if not COMMIT.fullmatch(commit):
        raise RecipeError(f"The Hub names no commit of {repo_id}, but {commit[:60]!r}.")
    # The last part names the runs of the recipe.
    inside = Path(CACHE) / repo_id.replace("/", "--") / commit / repo_id.split("/")[1]
    folder = Path(constants.HF_HOME) / inside
    if passing is not None and not folder.is_dir():
        folder = passing / inside
    if folder.is_dir():
        return folder
    place = folder.parent
    place.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=place) as staging, clear_errors(repo_id, revision):
            partial = Path(staging) / "recipe"
            _download(api, repo_id, commit, partial, whole=passing is None)
            try:
                partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # else someone was faster with the same commit
                    raise
    finally:
        with contextlib.suppress(OSError):  # they hold something
            place.rmdir()
            place.parent.rmdir()
    return folder


def _commit(api: HfApi, repo_id: str, revision: str | None, *, keep: bool) -> str:
    """The commit that is meant, as it was last time where the Hub cannot be reached; whether that may be noted."""
    if keep or constants.is_offline_mode():
        return api.resolve_revision(repo_id, revision=revision).resolved
    try:
        return api.model_info(repo_id, revision=revision).sha or ""  # the other way leaves a note in the cache
    except HfHubHTTPError:
        raise
    except (HTTPError, ConnectionError):
        return api.resolve_revision(repo_id, revision=revision, local_files_only=True).resolved


def _download(api: HfApi, repo_id: str, commit: str, folder: Path, *, whole: bool) -> None:
    """The files of a recipe; unless `whole`, empty ones of the right sizes in place of all but recipe.yaml."""
    if api.model_info(repo_id, revision=commit).sha != commit:  # a branch of that name, which may move
        raise RecipeError(f"{repo_id} has no commit {commit}, but something else of that name.")
    tree = api.list_repo_tree(repo_id, revision=commit, recursive=True)
    listed = list(itertools.islice(tree, MAX_FILES + 1))
    if len(listed) > MAX_FILES:
        raise RecipeError(f"{repo_id} holds more than {MAX_FILES:,} files, which is no recipe.")
    sizes = {item.path: item.size for item in listed if isinstance(item, RepoFile)}
    if FILE_NAME not in sizes:
        raise RecipeError(f"{repo_id} holds no {FILE_NAME}: it is no textpl recipe.")
    if sizes[FILE_NAME] > SIZES[FILE_NAME]:
        raise RecipeError(
            f"{FILE_NAME} of {repo_id} is larger than {SIZES[FILE_NAME] // 1024} KiB, which is no recipe."
        )

    def fetch(name: str) -> Path:
        path = Path(api.hf_hub_download(repo_id, name, revision=commit, local_dir=folder))
        if path.is_symlink() or path.stat().st_size != sizes[name]:
            raise RecipeError(f"{name} of {repo_id} is not the file that the Hub lists.")
        return path

    try:
        text = fetch(FILE_NAME).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{FILE_NAME} of {repo_id} is not UTF-8 text.") from None
    for name in files_to_pull(text, sizes):
        if whole:
            fetch(name)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("wb") as stream:
                stream.truncate(sizes[name])
    shutil.rmtree(folder / ".cache")  # notes of the downloader
    load_recipe(folder)
