"""Download recipes from the Hub into a cache of plain files: only what makes up a recipe, once it is validated."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, constants
from huggingface_hub.hf_api import RepoFile

from textpl.recipes.allowed_files import MAX_FILES, SIZES, files_to_pull
from textpl.recipes.hub_errors import clear_errors
from textpl.recipes.recipe_text import FILE_NAME, HUB, parse_recipe
from textpl.recipes.yaml_text import RecipeError

CACHE = "textpl-recipes"  # folder in HF_HOME
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
_REVISION = r"[A-Za-z0-9][\w./-]*"
_URI = re.compile(rf"(?:{HUB})?({_REPO})(?:@({_REVISION}))?", re.ASCII)


class Pulled(NamedTuple):
    """A recipe that was downloaded, or would be.

    Attributes:
        folder: where it is.
        files: bytes of each file by its path in the folder.
    """

    folder: Path
    files: dict[str, int]


def client() -> HfApi:
    """Return the Hub's client, which says for whom it asks."""
    from textpl import __version__

    return HfApi(library_name="textpl", library_version=__version__)


def split_address(uri: str) -> tuple[str, str | None] | None:
    """Return owner/name and revision of owner/name[@revision] or hf://owner/name[@revision]; None if it is neither."""
    found = _URI.fullmatch(uri)
    return None if found is None or ".." in uri or "--" in found[1] else (found[1], found[2])


def address(folder: Path) -> str | None:
    """Return hf://owner/name@commit of a folder that `resolve` gave; None for any other."""
    match folder.parts[-4:]:
        case (base, repo, commit, name) if base == CACHE and _COMMIT.fullmatch(commit) and repo.endswith(f"--{name}"):
            return f"{HUB}{repo.removesuffix(f'--{name}')}/{name}@{commit}"
    return None


def resolve(uri: str) -> Path:
    """Return the local folder of hf://owner/name[@revision], from the cache if the Hub cannot be reached.

    Raises:
        RecipeError: if there is no such recipe, or it is not valid.
    """
    return _fetched(*_parsed(uri))


def pull(repo_id: str, *, revision: str | None = None, to: str | Path | None = None, dry_run: bool = False) -> Pulled:
    """Download a recipe into a folder of its own; only what a recipe consists of, after it has been validated.

    Args:
        repo_id: owner/name, or hf://owner/name[@revision].
        revision: branch, tag or commit.
        to: new or empty folder; default: the name of the repository, here.
        dry_run: keep nothing; only recipe.yaml is downloaded, to be validated, unless the recipe is in the cache.

    Raises:
        RecipeError: if there is no such recipe, it is not valid, or the folder is not empty.
    """
    repo_id, named = _parsed(repo_id)
    target = Path(to) if to is not None else Path(repo_id.split("/")[1])
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RecipeError(f"{target} is there already and not an empty folder: choose another with --to.")
    if dry_run:
        commit, cached = _in_cache(repo_id, revision or named)
        if cached.is_dir():
            return Pulled(target, _sizes(cached))
        with tempfile.TemporaryDirectory() as place, clear_errors(repo_id, revision or named):
            return Pulled(target, _begin(client(), repo_id, commit, Path(place)))
    shutil.copytree(_fetched(repo_id, revision or named), target, dirs_exist_ok=True)
    return Pulled(target, _sizes(target))


def _parsed(uri: str) -> tuple[str, str | None]:
    found = split_address(uri)
    if found is None:
        raise RecipeError(f"{uri!r} is no recipe on the Hub: write owner/name, or hf://owner/name[@revision].")
    return found


def _sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file by its path in the folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def _in_cache(repo_id: str, revision: str | None) -> tuple[str, Path]:
    """Return the commit of a revision, the last one known if the Hub cannot be reached, and its folder in the cache."""
    with clear_errors(repo_id, revision):
        commit = client().resolve_revision(repo_id, revision=revision).resolved
    if not _COMMIT.fullmatch(commit):
        raise RecipeError(f"The Hub names no commit of {repo_id}, but {commit[:60]!r}.")
    # The last part names the runs of the recipe.
    return commit, Path(constants.HF_HOME, CACHE, repo_id.replace("/", "--"), commit, repo_id.split("/")[1])


def _fetched(repo_id: str, revision: str | None) -> Path:
    """Return the folder in the cache that holds one commit of a recipe: plain files, whole or not there at all."""
    commit, folder = _in_cache(repo_id, revision)
    if folder.is_dir():
        return folder
    api, place = client(), folder.parent
    place.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=place) as staging, clear_errors(repo_id, revision):
            partial = Path(staging) / "recipe"
            for name, size in _begin(api, repo_id, commit, partial).items():
                _download(api, repo_id, commit, name, size, partial)
            shutil.rmtree(partial / ".cache")  # notes of the downloader
            parse_recipe((partial / FILE_NAME).read_text(encoding="utf-8-sig"), folder=partial)
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


def _begin(api: HfApi, repo_id: str, commit: str, folder: Path) -> dict[str, int]:
    """Download recipe.yaml alone, and return the bytes of every file of the recipe, once it is validated."""
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
        most = SIZES[FILE_NAME] // 1024
        raise RecipeError(f"{FILE_NAME} of {repo_id} is larger than {most} KiB, which is no recipe.")
    try:
        text = _download(api, repo_id, commit, FILE_NAME, sizes[FILE_NAME], folder).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise RecipeError(f"{FILE_NAME} of {repo_id} is not UTF-8 text.") from None
    return {name: sizes[name] for name in (FILE_NAME, *files_to_pull(text, sizes))}


def _download(api: HfApi, repo_id: str, commit: str, name: str, size: int, folder: Path) -> Path:
    path = Path(api.hf_hub_download(repo_id, name, revision=commit, local_dir=folder))
    if path.is_symlink() or path.stat().st_size != size:
        raise RecipeError(f"{name} of {repo_id} is not the file that the Hub lists.")
    return path
