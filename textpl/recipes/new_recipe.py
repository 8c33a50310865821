"""Begin a recipe: a short file with a comment at what to decide, fitted to the data it is for."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from textpl.recipes.describing import headline
from textpl.recipes.finding import FILE_NAME
from textpl.recipes.json_schema import FILE_NAME as SCHEMA_FILE
from textpl.recipes.json_schema import schema_text
from textpl.recipes.new_data import CLEANING, DataFound, Said, look_at, one_label
from textpl.recipes.parsing import RecipeError, parse_recipe
from textpl.recipes.schema import Recipe
from textpl.recipes.stage_settings import DEFAULT_MODEL
from textpl.recipes.yaml_text import Dumper

if TYPE_CHECKING:
    from textpl.reading.label_format import LabelFormat

EXAMPLE = "bundled:sentiment"
CHINESE_MODEL = "google-bert/bert-base-chinese"
CHINESE_ENCODER = "intfloat/multilingual-e5-small"  # docs/encoders.md
_PIN = "  # revision: COMMIT  # of the Hub; a run writes the one it read into its own recipe.yaml"
LABELS_PER_CLASS, LABELED = 10, 1000


def new_recipe(
    folder: Path,
    *,
    data: str | None = None,
    text: str | None = None,
    label: str | None = None,
    task: str | None = None,
    method: str | None = None,
    stages: Sequence[str] | None = None,
    groups: str | None = None,
    label_format: LabelFormat | None = None,
) -> list[str]:
    """Write recipe.yaml and a schema for editors into a folder.

    Data on this machine is read to find its columns and to choose how many rows are labelled; if it lies elsewhere it
    is copied into the folder, as a recipe names only what lies beside it; tables that are no parquet become jsonl,
    strings that hold several labels become lists, and of one file the rows without a label become the pool. A data set
    on the Hub is named, not read.

    Args:
        folder: may exist, without a recipe.
        data: file, folder, bundled name or Hub id; default: the bundled example.
        text: name of the text column; default: found.
        label: name of the label column; default: found.
        task: "single" or "multi" label; default: found, single for what is not read.
        method: one of `textpl.METHODS`; default: the recipe's default.
        stages: such as ["clean", "train"]; default: ["label", "train"], with a method ["train"].
        groups: name of the column of what belongs together (document, author, thread): its rows are of one part.
        label_format: how labels are written, where that is not to be found out.

    Returns:
        Lines for the user: what was written, and what was found.

    Raises:
        RecipeError: if there is a recipe already, or method and stages are none.
        ValueError: for data that cannot be read, or columns that are not clear.
        FileNotFoundError: for data that is not there.
    """
    if (folder / FILE_NAME).exists():
        raise RecipeError(f"{folder / FILE_NAME} is there already: choose another folder, or change that file.")
    # Nothing is in the folder unless all is well; on the same disk, so that what was made is renamed, not copied.
    disk = next(parent for parent in folder.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(dir=disk, prefix=".textpl-", ignore_cleanup_errors=True) as place:
        staging = Path(place)
        if data is not None and "clean" in (stages or ()) and (Path(data) / CLEANING).is_file():
            raise RecipeError(f"{data} is cleaned already ({CLEANING} says how): leave the stage clean out.")
        said = Said(text, label, task, groups, one_label(label_format) if task == "single" else label_format)
        found = look_at(data or EXAMPLE, said, folder, staging)
        place_of_data = folder if found.inside else staging
        draft = parse_recipe(_written(folder, found, method, stages, ""), folder=place_of_data)
        written = _written(folder, found, method, stages, headline(draft, found.title, found.labels, found.multi))
        parse_recipe(written, folder=place_of_data)
        (staging / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
        (staging / FILE_NAME).write_text(written, encoding="utf-8")
        made = sorted(staging.iterdir())
        if taken := [name for path in made if path.name != SCHEMA_FILE and (name := folder / path.name).exists()]:
            raise RecipeError(f"{taken[0]} is there already and would be overwritten: choose another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(made, key=lambda path: path.name == FILE_NAME):  # last what makes a recipe of it
            path.rename(folder / path.name)
    columns = f"text from column {found.text!r}, labels from {found.label!r}"
    read = [f"{columns}, {found.rows:,} rows"] if found.rows is not None else [f"{found.source} was not read"]
    return [str(folder / FILE_NAME), *read, *found.notes, *_told_language(draft, found)]


def _told_language(recipe: Recipe, data: DataFound) -> list[str]:
    if not data.chinese:
        return []
    stage = next(
        (f", and the stage {name} reads {CHINESE_ENCODER}" for name in ("label", "clean") if name in recipe.stages), ""
    )
    return [f"the texts are Chinese: the recipe starts from {CHINESE_MODEL}{stage}, as the usual model reads English"]


def _written(folder: Path, data: DataFound, method: str | None, stages: Sequence[str] | None, description: str) -> str:
    from textpl import __version__

    major, minor = __version__.split(".")[:2]
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# Check: textpl recipes validate {folder.name or '.'}    run: textpl run {folder.name or '.'}",
        "schema: 1",
        f'textpl: ">={major}.{minor}"',
        f"description: {_scalar(description)}  # the headline where it is shared",
        "data:",
        f"  source: {_scalar(data.source)}  # files beside this one, a Hub id, or bundled:NAME",
        *([_PIN] if data.rows is None else []),
        *([f"  text: {_scalar(data.text)}"] if data.text else []),
        *([f"  label: {_scalar(data.label)}"] if data.label else []),
        *_label_format(data.label_format),
        *_split(data, stages or ()),
        "model:",
        f"  name: {CHINESE_MODEL}  # the texts are Chinese" if data.chinese else f"  name: {DEFAULT_MODEL}",
        _PIN,
        "  max_length: 128  # tokens of a text",
        *_tried(method, stages, data),
        "train: {max_steps: 200, learning_rate: 2e-4}",
        "seeds: [0, 1, 2]  # five give an interval that says more",
    ]
    return "\n".join(lines) + "\n"


def _label_format(said: LabelFormat | None) -> list[str]:
    """What the files do not say by themselves: that a word which may mean "no label" is a class, what [] means."""
    lines = []
    if said is not None and said.delimiter == "":
        lines.append("  delimiter: ''  # each string is one label")
    if said is not None and said.unlabeled_values == ():
        lines.append("  unlabeled_values: []  # all labels are classes")
    if said is not None and said.empty == "none":
        lines.append("  empty: none  # without a label: none applies")
    return lines


def _split(data: DataFound, stages: Sequence[str]) -> list[str]:
    left = (data.rows if data.rows is not None else 2 * LABELED) - (data.test or 0) - data.largest_group
    more = [f"  test: {data.test}  # held out, classes in their shares: the data have no test set"] if data.test else []
    if not data.has_test and data.test is None:
        more = ["  # no test rows yet: the recipe runs once there is a test file beside train"]
    if data.groups is not None:
        more.append(f"  groups: {_scalar(data.groups)}  # rows of one stay together, in one of these parts")
    if "clean" in stages:
        # What is cleaned is labelled; a pool plays no part, though groups have to be left for it.
        labeled = left - 1 if data.groups is None else left // 3
        return ["split:", f"  labeled: {max(1, labeled)}  # rows that are cleaned and trained on", "  pool: 1", *more]
    if data.has_pool:
        return ["split:", f"  labeled: {max(1, left)}  # with their labels; the pool is the unlabeled file", *more]
    if data.multi:
        return [
            "split:",
            f"  labeled: {max(1, min(LABELED, left // 4))}  # the other rows are the pool, without labels",
            *more,
        ]
    per_class = min(LABELS_PER_CLASS, max(1, (data.smallest or 2 * LABELS_PER_CLASS) // 2))
    return ["split:", f"  labels_per_class: {per_class}  # the other rows are the pool, without labels", *more]


def _tried(method: str | None, stages: Sequence[str] | None, data: DataFound) -> list[str]:
    def reads(stage: str) -> list[str]:
        chinese = f"{stage}: {{encoder: {CHINESE_ENCODER}}}  # reads Chinese; lsa needs no download, and is weaker"
        return [chinese] if data.chinese else []

    if method or stages:
        lines = [f"stages: [{', '.join(stages)}]"] if stages else []
        lines += [line for stage in ("label", "clean") if stage in (stages or ()) for line in reads(stage)]
        return lines + ([f"method: {_scalar(method)}"] if method else [])
    surely = (
        "nothing is sure to help with several labels per row" if data.multi else "what helped most surely, on topics"
    )
    return [
        f"stages: [label, train]  # labels the pool from embeddings, then learns them: {surely}",
        *reads("label"),
        "# method: {ratio: 3}  # rows of the pool per labelled row",
        "# Or, in place of these stages, a model that labels the pool while it trains:",
        "# method: softmatch",
    ]


def _scalar(value: Any) -> str:
    return yaml.dump(value, Dumper=Dumper, allow_unicode=True, width=10**6).removesuffix("\n").removesuffix("\n...")
