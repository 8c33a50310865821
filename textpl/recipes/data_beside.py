"""The data beside a recipe that go up with it: which files these are, where they lie, and that a run read just them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textpl.recipes.finding import FILE_NAME, find_recipe, read_text
from textpl.recipes.parsing import LoadedRecipe, RecipeError, load_recipe, parse_recipe
from textpl.recipes.references import DATA_SUFFIXES, OWN_DATA, locate
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import Document

DATA_BYTES = 2**31  # of all data files together
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_DATA_PATH = re.compile(rf"(?:{_NAME}/){{0,3}}(?:{_NAME}\.(?:jsonl|parquet|csv|tsv)|info\.json)")
# What `run` writes above a recipe: a fingerprint, and the place of the data on that machine.
RUN_HEADER = re.compile(r"\A# data (?=[^\n]*\n)([^\n]*?)(?:: ([^\n]*))?\n")


@dataclass(frozen=True)
class ToPush:
    """A recipe that is to go up, and the data that it names beside it.

    Attributes:
        loaded: the recipe.
        models: key -> path of models beside it.
        data: the file or folder, which may be missing; None for data from elsewhere.
        fingerprint: of the data that a run of it read; None for a recipe that is no run's.
    """

    loaded: LoadedRecipe
    models: dict[str, Path]
    data: Path | None
    fingerprint: str | None = None


def is_data(path: str) -> bool:
    """Whether a path in a repository may be data of a recipe: a table or info.json, at most three folders in."""
    return _DATA_PATH.fullmatch(path) is not None


def local_references(recipe: Recipe, folder: Path, *, data: bool = True) -> dict[str, Path]:
    """Key -> path of what a recipe reads beside it, its data among them or not."""
    teachers = recipe.method.settings.get("teacher") or ()
    named: dict[str, Any] = {
        **({"data.source": recipe.data.source} if data else {}),
        "model.name": recipe.model.name,
        "label.encoder": recipe.label.encoder,
        "clean.encoder": recipe.clean.encoder,
        **({"noise.encoder": recipe.noise.encoder} if recipe.noise else {}),
        **{f"method.teacher {name}": name for name in ([teachers] if isinstance(teachers, str) else teachers)},
    }
    named = {key: name for key, name in named.items() if name != "lsa" and not name.startswith("bundled:")}
    found = {key: locate(name, folder) for key, name in named.items()}
    return {key: path for key, path in found.items() if isinstance(path, Path)}


def load_to_push(folder: Path) -> ToPush:
    """Read a recipe that is to go up.

    The recipe in the folder of a run names data beside the recipe that was run. Where these lie stands above it.

    Raises:
        RecipeError: if there is no recipe, or it is not valid.
    """
    if not (folder / FILE_NAME).is_file():
        raise RecipeError(f"The folder {folder} holds no {FILE_NAME}.")
    text = read_text(folder / FILE_NAME)
    header = RUN_HEADER.match(text)
    fingerprint = header[1] if header else None
    named, read = _data_elsewhere(folder, text)
    if not read:
        loaded = load_recipe(folder)
        found = local_references(loaded.recipe, folder)
        return ToPush(loaded, found, found.pop("data.source", None), fingerprint)
    loaded = _without_data(folder, text, named)
    return ToPush(loaded, local_references(loaded.recipe, folder, data=False), Path(read), fingerprint)


def load_to_show(source: str) -> LoadedRecipe:
    """A recipe to look at; that in the folder of a run need not have its data beside it.

    Raises:
        RecipeError: as `load_recipe`.
    """
    path = find_recipe(source)
    text = read_text(path)
    named, read = _data_elsewhere(path.parent, text)
    return _without_data(path.parent, text, named) if read and path.name == FILE_NAME else load_recipe(source)


def _data_elsewhere(folder: Path, text: str) -> tuple[str, str]:
    """What a run's recipe calls its data, and where the run read them, if they lie beside the recipe that was run."""
    header = RUN_HEADER.match(text)
    named, read = (_named_source(text), header[2] or "") if header else ("", "")
    elsewhere = read and not (folder / named).exists() and _is_beside(named, read)
    return (named, read) if elsewhere else ("", "")


def _without_data(folder: Path, text: str, named: str) -> LoadedRecipe:
    """The recipe in the folder of a run, with an empty file in place of the data."""
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / named).parent.mkdir(parents=True, exist_ok=True)
        (Path(place) / named).touch()
        recipe = parse_recipe(text, folder=Path(place))
    return LoadedRecipe(recipe, folder, text, folder.resolve().name)


def data_to_push(wanted: ToPush) -> dict[str, Path]:
    """The data files that go up, by their path in the repository; none if the recipe needs none beside it.

    Raises:
        RecipeError: if they are not there, other ones than the run read, too large, or of a kind that does not go up.
    """
    name, source = wanted.loaded.recipe.data.source, wanted.data
    if source is None:
        return {}
    if wanted.fingerprint is not None and not f"/{source}".endswith(f"/{name}"):
        raise RecipeError(
            f"data.source: the recipe names {name} beside it, but the run read {source}. Push without --with-data "
            f"(others then bring their own), or copy {name} to {wanted.loaded.folder}."
        )
    if not source.exists():
        raise RecipeError(
            f"data.source: the run read {source}, which is not there. Push from the folder where you ran it, or copy "
            f"the data to {wanted.loaded.folder / name}."
        )
    found = {name if path == source else f"{name.rstrip('/')}/{path.name}": path for path in readable(source)}
    for inside, path in found.items():
        if not is_data(inside):
            raise RecipeError(
                f"{inside}: data goes up as jsonl, parquet, csv or tsv, with plain names and in at most 3 folders."
            )
        regular_file(path, DATA_BYTES)
    if sum(path.stat().st_size for path in found.values()) > DATA_BYTES:
        raise RecipeError("The data is too large for a recipe: push it as a dataset and name its id.")
    _check_read(wanted, source)
    return found


def readable(source: Path) -> Iterator[Path]:
    """The files that reading a source opens."""
    if source.is_file():
        yield source
    elif source.is_dir():
        yield from (path for path in sorted(source.iterdir()) if path.suffix in DATA_SUFFIXES)


def regular_file(path: Path, most: int) -> Path:
    """The path of a file that may go up.

    Raises:
        RecipeError: for a link, a folder or more than `most` bytes.
    """
    if path.is_symlink() or not path.is_file():
        raise RecipeError(f"{path} is a link or no file; only files go up. Put a copy there.")
    if path.stat().st_size > most:
        raise RecipeError(f"{path} has {path.stat().st_size:,} bytes; at most {most:,} go up.")
    return path


def _named_source(text: str) -> str:
    data = Document(FILE_NAME).read(text)
    section = data.get("data") if isinstance(data, dict) else None
    source = section.get("source") if isinstance(section, dict) else None
    return source if isinstance(source, str) else ""


def _is_beside(named: str, read: str) -> bool:
    """Whether a recipe names a file or folder beside it; a Hub id looks the same, but was then read by that name."""
    if not named or named == OWN_DATA or named.startswith(("bundled:", "/", "~")) or ".." in named.split("/"):
        return False
    return "/" not in named or named.endswith(DATA_SUFFIXES) or read.endswith(f"/{named}")


def _check_read(wanted: ToPush, source: Path) -> None:
    """RecipeError unless the data are those that the run read: nothing else goes up in their name."""
    if wanted.fingerprint is None:
        return
    from textpl.corpus import read_corpus

    told = wanted.loaded.recipe.data
    keep = wanted.loaded.recipe.kept_columns
    try:
        corpus = read_corpus(source, text_column=told.text, label_column=told.label, keep=keep)
    except (ValueError, FileNotFoundError) as error:
        raise RecipeError(f"data.source: {source} cannot be read: {error}") from error
    if corpus.fingerprint != wanted.fingerprint:
        raise RecipeError(f"data.source: {source} holds other rows than the run read: run the recipe again, then push.")
