"""The data of a recipe: the corpus it names, and the rows that a seed draws from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset

from textpl.corpus import Corpus, read_corpus
from textpl.reading.find_columns import ColumnError
from textpl.reading.label_format import LabelFormat
from textpl.recipes.parsing import LoadedRecipe, RecipeError
from textpl.recipes.references import OWN_DATA
from textpl.recipes.schema import Recipe
from textpl.splits import Split, make_split


def read_data(loaded: LoadedRecipe, data: Path | None) -> Corpus:
    """Read what the recipe names, or the folder or file that the user names instead.

    Raises:
        RecipeError: if nobody names any, or for columns that are not there or not to be told apart.
        FileNotFoundError: as `read_corpus` does.
        ValueError: likewise.
    """
    wanted = loaded.recipe.data
    if data is None and wanted.source == OWN_DATA:
        raise RecipeError(f"{loaded.name} comes without data: name a folder or file with --data.")
    try:
        return read_corpus(
            loaded.locate(wanted.source) if data is None else data,
            config=wanted.config if data is None else None,
            revision=wanted.revision if data is None else None,
            text_column=wanted.text,
            label_column=wanted.label,
            label_format=LabelFormat(wanted.delimiter, wanted.unlabeled_values, wanted.empty),
            keep=loaded.recipe.kept_columns,
        )
    except ColumnError as error:
        key = f"data.{error.role}"
        raise RecipeError(f"{key}: {error.problem} Name it with --set {key}=NAME.") from error


def draw_split(recipe: Recipe, corpus: Corpus, seed: int) -> Split:
    """The rows of a seed.

    Raises:
        ValueError: for sizes that the corpus cannot meet.
    """
    wanted = recipe.split
    return make_split(
        corpus,
        seed=seed,
        labels_per_class=wanted.labels_per_class,
        labeled=wanted.labeled,
        min_per_class=wanted.min_per_class,
        dev=wanted.dev,
        pool=wanted.pool,
        test=wanted.test,
        groups=wanted.groups,
    )


def groups_of(recipe: Recipe, rows: Dataset) -> list[Any] | None:
    """Group of each row by `split.groups`; None where the recipe or the rows have none."""
    column = recipe.split.groups
    return rows[column][:] if column is not None and column in rows.column_names else None
