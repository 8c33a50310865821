"""The data files of a recipe that go up with it: which they are, and that the run read just them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from textpl.recipes.allowed_files import DATA_BYTES, is_data
from textpl.recipes.references import DATA_SUFFIXES
from textpl.recipes.run_header import Read
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.secrets import regular_file


def data_files(recipe: Recipe, source: Path, folder: Path, read: Read | None) -> dict[str, Path]:
    """Find the data files that go up, by their path in the repository.

    Args:
        recipe: that names them.
        source: the file or folder.
        folder: of the recipe.
        read: what a run of it read; None for a recipe that is no run's.

    Raises:
        RecipeError: if they are not there, other ones than the run read, too large, or of a kind that does not go up.
    """
    name = recipe.data.source
    if read is not None and not f"/{source}".endswith(f"/{name}"):
        raise RecipeError(
            f"data.source: the recipe names {name} beside it, but the run read {source}. Push without --with-data "
            f"(others then bring their own), or copy {name} to {folder}."
        )
    if not source.exists():
        raise RecipeError(
            f"data.source: the run read {source}, which is not there. Push from the folder where you ran it, or copy "
            f"the data to {folder / name}."
        )
    found = {name if path == source else f"{name.rstrip('/')}/{path.name}": path for path in _readable(source)}
    for inside, path in found.items():
        if not is_data(inside):
            raise RecipeError(
                f"{inside}: data goes up as jsonl, parquet, csv or tsv, with plain names and in at most 3 folders."
            )
        regular_file(path, DATA_BYTES)
    if sum(path.stat().st_size for path in found.values()) > DATA_BYTES:
        raise RecipeError("The data is too large for a recipe: push it as a dataset and name its id.")
    if read is not None:
        _check_read(recipe, source, read)
    return found


def _readable(source: Path) -> Iterator[Path]:
    """Yield the files that reading a source opens."""
    if source.is_file():
        yield source
    else:
        yield from (path for path in sorted(source.iterdir()) if path.suffix in DATA_SUFFIXES)


def _check_read(recipe: Recipe, source: Path, read: Read) -> None:
    """Raise RecipeError unless the data are those that the run read: nothing else goes up in their name."""
    from textpl.corpus import read_corpus

    wanted = recipe.data
    try:
        corpus = read_corpus(source, text_column=wanted.text, label_column=wanted.label, keep=recipe.kept_columns)
    except (ValueError, FileNotFoundError) as error:
        raise RecipeError(f"data.source: {source} cannot be read: {error}") from error
    if corpus.fingerprint != read.fingerprint:
        raise RecipeError(f"data.source: {source} holds other rows than the run read: run the recipe again, then push.")
