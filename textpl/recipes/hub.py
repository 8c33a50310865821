"""Share recipes: push a folder to the Hugging Face Hub, pull one, and find what hf://owner/name stands for.

A recipe is a model repository with the tag `textpl-recipe`: model repositories are found by tag, take a library name,
and the classifier that a recipe trains can be pushed to the same place. A dataset repository would show its files in
the dataset viewer as if they were rows.
"""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, ModelInfo, constants, get_token
from huggingface_hub.hf_api import RepoFile

from textpl.recipes.cards import recipe_card, with_metadata
from textpl.recipes.describing import unpinned
from textpl.recipes.hub_errors import LOG_IN, clear_errors
from textpl.recipes.hub_files import CARD, MAX_FILES, RESULTS, SIZES, files_to_pull, files_to_push, is_data
from textpl.recipes.parsing import FILE_NAME, RecipeError, load_recipe
from textpl.recipes.results import parse_results

SCHEME = "hf://"
_REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_REVISION = r"[A-Za-z0-9][\w./-]*"
_URI = re.compile(rf"(?:{SCHEME})?({_REPO})(?:@({_REVISION}))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Pushed:
    """What went up, or would.

    Attributes:
        repo_id: owner/name.
        revision: commit that holds the recipe; None after a dry run.
        files: bytes of each file by its path in the repository.
        notes: what should be better before others rely on it.
    """

    repo_id: str
    revision: str | None
    files: dict[str, int]
    notes: tuple[str, ...]


def push(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,
    with_data: bool = False,
    dry_run: bool = False,
) -> Pushed:
    """Share a recipe's folder (a run's too); only recipe, card, results, picture and, if asked, data go up.

    A card is made unless the folder has a README.md. Files of an earlier push that are no longer there are deleted.

    Args:
        folder: with recipe.yaml.
        repo_id: owner/name of a model repository; it is created if need be.
        private: nobody else may see it; never turns a public repository into a private one.
        revision: branch to push to instead of main.
        license: identifier on the Hub for the card, such as apache-2.0.
        with_data: also the jsonl or parquet files beside the recipe that it names.
        dry_run: change nothing, ask nobody.

    Raises:
        RecipeError: for a recipe that is invalid or cannot be shared, no or a refused token, a repository that holds
            something else, or no network.
    """
    folder = Path(folder)
    repo_id, _ = _parsed(repo_id)
    token = get_token()
    files = files_to_push(folder, with_data=with_data, token=token)
    recipe = load_recipe(folder).recipe
    results = parse_results(bytes(_content(files[RESULTS]))) if RESULTS in files else None

    def card(commit: str | None) -> bytes:
        return recipe_card(recipe, results, repo_id=repo_id, revision=commit, license=license).encode()

    made = CARD not in files
    if made:
        files[CARD] = card(None)
    else:
        files[CARD] = with_metadata(_content(files[CARD]).decode("utf-8-sig"), recipe, license=license).encode()
    notes = tuple(f"{key} is not set: the recipe will read whatever is newest" for key in unpinned(recipe))
    sizes = {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in files.items()}
    if dry_run:
        return Pushed(repo_id, None, sizes, notes)
    if token is None:
        raise RecipeError(f"Pushing needs a token with write access: {LOG_IN}.")
    with clear_errors(repo_id, revision), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        api = _api()
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        present = _prepare(api, repo_id, private, revision)
        first = [name for name in files if not (made and name == CARD)]
        stale = [name for name in present if name not in files and (name in SIZES or is_data(name))]
        commit = api.create_commit(
            repo_id,
            [*(CommitOperationAdd(name, files[name]) for name in first), *map(CommitOperationDelete, stale)],
            commit_message="Recipe",
            revision=revision,
        ).oid
        if made:
            # The card names the commit of the recipe, which a file in that commit cannot.
            add = CommitOperationAdd(CARD, card(commit))
            api.create_commit(repo_id, [add], commit_message="Card", revision=revision)
    return Pushed(repo_id, commit, sizes, notes)


def pull(repo_id: str, *, revision: str | None = None, to: str | Path | None = None) -> Path:
    """Download a recipe into a folder of its own; only what a recipe consists of, after it has been validated.

    Args:
        repo_id: owner/name, or hf://owner/name[@revision].
        revision: branch, tag or commit.
        to: new or empty folder; default: the name of the repository, here.

    Returns:
        The folder.

    Raises:
        RecipeError: if there is no such recipe, it is not valid, or the folder is not empty.
    """
    repo_id, named = _parsed(repo_id)
    target = Path(to) if to is not None else Path(repo_id.split("/")[1])
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecipeError(f"{target} is there already and not an empty folder: choose another with --to.")
    shutil.copytree(_fetched(repo_id, revision or named), target, dirs_exist_ok=True)
    return target


def resolve(uri: str) -> Path:
    """The local folder of hf://owner/name[@revision], from the cache if the Hub cannot be reached.

    Raises:
        RecipeError: if there is no such recipe, or it is not valid.
    """
    if not uri.startswith(SCHEME):
        raise RecipeError(f"{uri!r} does not start with {SCHEME}.")
    return _fetched(*_parsed(uri))


def _parsed(uri: str) -> tuple[str, str | None]:
    found = _URI.fullmatch(uri)
    if found is None or ".." in uri or "--" in found[1]:
        raise RecipeError(f"{uri!r} is no recipe on the Hub: write owner/name, or hf://owner/name[@revision].")
    return found[1], found[2]


def _api() -> HfApi:
    from textpl import __version__

    return HfApi(library_name="textpl", library_version=__version__)


def _content(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def _prepare(api: HfApi, repo_id: str, private: bool, revision: str | None) -> list[str]:
    """Check that the repository may take the recipe, and make the branch; the files that are there."""
    info = api.repo_info(repo_id)
    assert isinstance(info, ModelInfo)
    if private and not info.private:
        raise RecipeError(f"{repo_id} is public already: make it private in its settings, or choose another name.")
    on_main = [sibling.rfilename for sibling in info.siblings or ()]
    if CARD in on_main and FILE_NAME not in on_main:
        raise RecipeError(f"{repo_id} holds something else, whose card would be overwritten: choose another name.")
    if revision is None:
        return on_main
    api.create_branch(repo_id, branch=revision, exist_ok=True)
    return api.list_repo_files(repo_id, revision=revision)


def _fetched(repo_id: str, revision: str | None) -> Path:
    """The folder in the cache that holds one commit of a recipe: plain files, whole or not there at all."""
    api = _api()
    with clear_errors(repo_id, revision):
        commit = api.resolve_revision(repo_id, revision=revision).resolved
    if not _COMMIT.fullmatch(commit):
        raise RecipeError(f"The Hub names no commit of {repo_id}, but {commit[:60]!r}.")
    # The last part names the runs of the recipe.
    place = Path(constants.HF_HOME) / "textpl-recipes" / repo_id.replace("/", "--") / commit
    folder = place / repo_id.split("/")[1]
    if folder.is_dir():
        return folder
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as staging, clear_errors(repo_id, revision):
        partial = Path(staging) / "recipe"
        _download(api, repo_id, commit, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():  # else someone was faster with the same commit
                raise
    return folder


def _download(api: HfApi, repo_id: str, commit: str, folder: Path) -> None:
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
        fetch(name)
    shutil.rmtree(folder / ".cache")  # notes of the downloader
    load_recipe(folder)
