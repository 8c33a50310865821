"""What has to be downloaded from the Hub to read a recipe, a dataset or a model, and what is in the cache already."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
from huggingface_hub.hf_api import RepoSibling

from textpl.recipes.finding import HUB, address
from textpl.recipes.hub.errors import clear_errors
from textpl.recipes.hub.files import is_model_file
from textpl.recipes.hub.repos import client
from textpl.recipes.parsing import RecipeError

# Read by `datasets` without code; text and archives too.
_DATA_FILE = re.compile(r".*\.(parquet|arrow|csv|tsv|jsonl?|txt|xml)(\.(gz|bz2|xz|zst|zip))?|.*\.(zip|tar|tar\.gz|tgz)")


@dataclass(frozen=True)
class Download:
    """One thing that a run reads.

    Attributes:
        what: recipe, data, model, encoder or teacher.
        name: of it.
        place: where it is, in words; for what is on the Hub what must be known beside the size.
        bytes: to download; 0 for what is here, None if unknown.
        size: bytes of the weights of a model; None if unknown.
    """

    what: str
    name: str
    place: str
    bytes: int | None = 0
    size: int | None = None

    @property
    def here(self) -> bool:
        """Whether nothing is to be downloaded."""
        return self.bytes == 0

    def told(self) -> str:
        """Where it is and how much of it is to be downloaded."""
        return self.place if not self.bytes else f"{self.place}: {self.bytes:,} bytes to download"


def of_recipe(folder: Path) -> list[Download]:
    """The recipe's own files, if it comes from the Hub."""
    if (came_from := address(folder)) is None:
        return []
    name = came_from.removeprefix(HUB)
    if folder.is_relative_to(constants.HF_HOME):
        return [Download("recipe", name, "in the cache")]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [Download("recipe", name, f"{len(files)} files on the Hub", sum(path.stat().st_size for path in files))]


def of_dataset(repo_id: str, revision: str | None) -> Download:
    """The data files of a dataset; a run may need fewer of them."""
    try:
        with clear_errors(repo_id, revision):
            info = client().dataset_info(repo_id, revision=revision, files_metadata=True)
    except RecipeError as error:
        return _unreached("data", repo_id, error)
    return _listed("data", repo_id, info.sha, info.siblings, "dataset", lambda name: bool(_DATA_FILE.fullmatch(name)))


def of_model(what: str, repo_id: str, revision: str | None) -> Download:
    """The safetensors, configuration and tokenizer of a model."""
    folder = cached_folder(repo_id, revision)
    try:
        with clear_errors(repo_id, revision):
            info = client().model_info(repo_id, revision=revision, files_metadata=True)
    except RecipeError as error:
        if folder is None:
            return _unreached(what, repo_id, error)
        weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        return Download(what, repo_id, "in the cache", size=weights or None)
    found = _listed(what, repo_id, info.sha, info.siblings, "model", is_model_file)
    weights = sum(
        s.size or 0 for s in info.siblings or () if s.rfilename.endswith(".safetensors") and is_model_file(s.rfilename)
    )
    if not weights:
        return Download(what, repo_id, "on the Hub without safetensors, which are needed", None)
    return Download(what, repo_id, found.place, found.bytes, weights)


def cached_folder(repo_id: str, revision: str | None) -> Path | None:
    """The folder in the Hub's cache that holds a model; None if it is not there."""
    try:
        folder = Path(snapshot_download(repo_id, revision=revision, local_files_only=True))
    except (OSError, ValueError):
        return None
    return folder if (folder / "config.json").exists() else None


def _listed(
    what: str,
    repo_id: str,
    commit: str | None,
    siblings: Iterable[RepoSibling] | None,
    repo_type: str,
    needed: Callable[[str], bool],
) -> Download:
    files = [file for file in siblings or () if needed(file.rfilename)]
    missing = [
        file
        for file in files
        if not isinstance(try_to_load_from_cache(repo_id, file.rfilename, revision=commit, repo_type=repo_type), str)
    ]
    if files and not missing:
        return Download(what, repo_id, "in the cache")
    if any(file.size is None for file in missing) or not files:
        return Download(what, repo_id, "on the Hub, of unknown size", None)
    upper = "at most " if what == "data" else ""
    return Download(what, repo_id, f"{upper}{len(missing)} files on the Hub", sum(file.size or 0 for file in missing))


def _unreached(what: str, repo_id: str, error: RecipeError) -> Download:
    return Download(what, repo_id, f"not known ({str(error).rstrip('.')})", None)
