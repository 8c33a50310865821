"""Begin a recipe: a short file with a comment at what to decide, fitted to the data it is for."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from textpl.recipes.finding import FILE_NAME
from textpl.recipes.json_schema import FILE_NAME as SCHEMA_FILE
from textpl.recipes.json_schema import schema_text
from textpl.recipes.parsing import RecipeError, parse_recipe
from textpl.recipes.stage_settings import DEFAULT_MODEL
from textpl.recipes.yaml_text import Dumper

EXAMPLE = "bundled:sentiment"
LABELS_PER_CLASS, LABELED, TEST = 10, 1000, 1000


@dataclass(frozen=True)
class _Data:
    """What is known of the data."""

    source: str
    text: str | None
    label: str | None
    multi: bool
    rows: int | None = None  # in train; None if they were not read
    smallest: int | None = None  # rows of the rarest class
    has_test: bool = True


def new_recipe(
    folder: Path,
    *,
    data: str | None = None,
    text: str | None = None,
    label: str | None = None,
    task: str | None = None,
    method: str | None = None,
    stages: Sequence[str] | None = None,
) -> list[str]:
    """Write recipe.yaml and a schema for editors into a folder.

    Data on this machine is read to find its columns and to choose how many rows are labelled; if it lies elsewhere it
    is copied into the folder, as a recipe names only what lies beside it. A data set on the Hub is named, not read.

    Args:
        folder: may exist, without a recipe.
        data: file, folder, bundled name or Hub id; default: the bundled example.
        text: name of the text column; default: found.
        label: name of the label column; default: found.
        task: "single" or "multi" label; default: found, single for what is not read.
        method: one of `textpl.METHODS`; default: the recipe's default.
        stages: such as ["label", "train"]; default: ["train"].

    Returns:
        Lines for the user: what was written, and what was found.

    Raises:
        RecipeError: if there is a recipe already, or method and stages are none.
        ValueError: for data that cannot be read, or columns that are not clear.
        FileNotFoundError: for data that is not there.
    """
    file = folder / FILE_NAME
    if file.exists():
        raise RecipeError(f"{file} is there already: choose another folder, or change that file.")
    found = _look_at(data or EXAMPLE, text, label, task)
    # Valid as an experiment before anything is written.
    parse_recipe(_written(folder, found, EXAMPLE, method, stages), folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    source, notes = _beside(folder, found.source)
    written = _written(folder, found, source, method, stages)
    parse_recipe(written, folder=folder)
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    file.write_text(written, encoding="utf-8")
    columns = f"text from column {found.text!r}, labels from {found.label!r}"
    read = [f"{columns}, {found.rows:,} rows"] if found.rows is not None else [f"{found.source} was not read"]
    return [str(file), *read, *notes]


def _look_at(source: str, text: str | None, label: str | None, task: str | None) -> _Data:
    local = source.startswith("bundled:") or Path(source).expanduser().exists()
    if not local:
        if source.count("/") != 1 or source.startswith((".", "/", "~")):
            raise FileNotFoundError(f"{source!r} is no file or folder here, and no Hub id owner/name.")
        return _Data(source, text, label, task == "multi")
    from textpl.corpus import TASKS, find_columns, read_corpus
    from textpl.labels import MULTI, label_array
    from textpl.sources import open_source

    try:
        text, label = find_columns(open_source(source).splits["train"], text, label)
        corpus = read_corpus(source, text_column=text, label_column=label, problem_type=TASKS[task] if task else None)
    except ValueError as error:
        hint = " Here: --text NAME, --label NAME." if "_column=" in str(error) else ""
        raise ValueError(f"{error}{hint}") from error
    multi = corpus.problem_type == MULTI
    labels = label_array(corpus.train)
    counts = labels.sum(0) if multi else np.bincount(labels, minlength=len(corpus.label_names))
    return _Data(
        source, text, label, multi, len(corpus.train), int(counts[counts > 0].min()), has_test=corpus.test is not None
    )


def _beside(folder: Path, source: str) -> tuple[str, list[str]]:
    """What a recipe in the folder calls the data; files from elsewhere are copied."""
    path = Path(source).expanduser()
    if source.startswith("bundled:") or not path.exists():
        return source, []
    if path.resolve().is_relative_to(folder.resolve()):
        return path.resolve().relative_to(folder.resolve()).as_posix(), []
    from textpl.sources import READABLE

    files = [path] if path.is_file() else [f for f in sorted(path.iterdir()) if f.is_file() and f.suffix in READABLE]
    target = folder / ("data" if path.is_dir() else f"train{path.suffix}")
    if target.exists():
        raise RecipeError(f"{target} is there already, where a copy of {path} would go: choose another folder.")
    for file in files:
        copy = target / file.name if path.is_dir() else target
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, copy)
    size = sum(file.stat().st_size for file in files)
    return target.name, [f"copied {len(files)} file(s), {size / 2**20:.1f} MiB, to {target}"]


def _written(folder: Path, data: _Data, source: str, method: str | None, stages: Sequence[str] | None) -> str:
    from textpl import __version__

    major, minor = __version__.split(".")[:2]
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# Check: textpl recipes validate {folder.name or '.'}    run: textpl run {folder.name or '.'}",
        "schema: 1",
        f'textpl: ">={major}.{minor}"',
        "description: What is classified, and what is tried.",
        "data:",
        f"  source: {_scalar(source)}  # files beside this one, a Hub id, or bundled:NAME",
        *([f"  text: {_scalar(data.text)}"] if data.text else []),
        *([f"  label: {_scalar(data.label)}"] if data.label else []),
        *_split(data, stages or ()),
        f"model: {{name: {DEFAULT_MODEL}, max_length: 128}}  # max_length: tokens of a text",
        *_tried(method, stages),
        "train: {max_steps: 200, learning_rate: 2e-4}",
        "seeds: [0, 1, 2]  # five give an interval that says more",
    ]
    return "\n".join(lines) + "\n"


def _split(data: _Data, stages: Sequence[str]) -> list[str]:
    rows = data.rows if data.rows is not None else 2 * LABELED
    test = [] if data.has_test else [f"  test: {max(1, min(TEST, rows // 5))}  # held out: the data has no test set"]
    left = rows if data.has_test else rows - max(1, min(TEST, rows // 5))
    if "clean" in stages:
        # What is cleaned is labelled; a pool plays no part.
        return ["split:", f"  labeled: {max(1, left - 1)}  # rows that are cleaned and trained on", "  pool: 1", *test]
    if data.multi:
        return [
            "split:",
            f"  labeled: {max(1, min(LABELED, left // 4))}  # the other rows are the pool, without labels",
            *test,
        ]
    per_class = min(LABELS_PER_CLASS, max(1, (data.smallest or 2 * LABELS_PER_CLASS) // 2))
    return ["split:", f"  labels_per_class: {per_class}  # the other rows are the pool, without labels", *test]


def _tried(method: str | None, stages: Sequence[str] | None) -> list[str]:
    lines = [f"stages: [{', '.join(stages)}]"] if stages else []
    lines += [f"method: {_scalar(method)}"] if method else []
    hint = ["# stages: [label, train]  # label the pool from embeddings first", "# method: softmatch  # see the README"]
    return lines or hint


def _scalar(value: Any) -> str:
    return yaml.dump(value, Dumper=Dumper, allow_unicode=True, width=10**6).removesuffix("\n").removesuffix("\n...")
