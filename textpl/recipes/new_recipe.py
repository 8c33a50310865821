"""Begin a recipe: a short file with a comment at what to decide, fitted to the data it is for."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from textpl.reading.label_format import LabelFormat
from textpl.reading.labels import MULTI, label_array
from textpl.recipes.describing import headline
from textpl.recipes.import_data import CLEANING, Imported, Said, import_data, mostly_chinese
from textpl.recipes.json_schema import FILE_NAME as SCHEMA_FILE
from textpl.recipes.json_schema import schema_text
from textpl.recipes.planned_test import held_out, told_test
from textpl.recipes.recipe_text import FILE_NAME, parse_recipe
from textpl.recipes.stage_settings import DEFAULT_MODEL
from textpl.recipes.yaml_text import Dumper, RecipeError

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
        folder: new, or with data that the recipe is for.
        data: file, folder, bundled name or Hub id; default: texts that come with textpl.
        text: name of the text column; default: found.
        label: name of the label column; default: found.
        task: "single" or "multi"; default: found.
        method: such as "softmatch"; default: that of the stages.
        stages: such as ["clean", "train"]; default: label and train, or with a method only train.
        groups: column of what must stay on one side of the splits.
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
    if data is not None and "clean" in (stages or ()) and (Path(data) / CLEANING).is_file():
        raise RecipeError(f"{data} is cleaned already ({CLEANING} says how): leave the stage clean out.")
    # Nothing is in the folder unless all is well; on the same disk, so that what was made is renamed, not copied.
    disk = next(parent for parent in folder.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(dir=disk, prefix=".textpl-", ignore_cleanup_errors=True) as place:
        staging = Path(place)
        written = replace(label_format or LabelFormat(), delimiter="") if task == "single" else label_format
        found = import_data(data or EXAMPLE, Said(text, label, task, groups, written), folder, staging)
        notes = list(found.notes)
        if (corpus := found.corpus) is not None:
            ask = written is None or written.empty != "none"
            places = (folder, folder / found.source)
            notes += told_test(corpus, str(found.said.text), str(found.said.label), staging, places, ask)
            if mostly_chinese(corpus.train["text"]):
                notes.append(f"the texts are Chinese: the recipe starts from {CHINESE_MODEL}, which reads them")
        beside = folder if found.inside else staging
        draft = parse_recipe(_written(folder, found, method, stages, ""), folder=beside)
        many = len(corpus.label_names) if corpus is not None else None
        lines = _written(folder, found, method, stages, headline(draft, found.title, many, _is_multi(found)))
        parse_recipe(lines, folder=beside)
        (staging / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
        (staging / FILE_NAME).write_text(lines, encoding="utf-8")
        _move(staging, folder)
    if corpus is None:
        return [str(folder / FILE_NAME), f"{found.source} was not read", *notes]
    columns = f"text from column {found.said.text!r}, labels from {found.said.label!r}, {len(corpus.train):,} rows"
    return [str(folder / FILE_NAME), columns, *notes]


def _move(staging: Path, folder: Path) -> None:
    """Put what was made into the folder, and over nothing; last what makes a recipe of it."""
    made = sorted(staging.iterdir(), key=lambda path: path.name == FILE_NAME)
    if taken := [name for path in made if path.name != SCHEMA_FILE and (name := folder / path.name).exists()]:
        raise RecipeError(f"{taken[0]} is there already and would be overwritten: choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        path.rename(folder / path.name)


def _is_multi(data: Imported) -> bool:
    return data.said.task == "multi" if data.corpus is None else data.corpus.problem_type == MULTI


def _written(folder: Path, data: Imported, method: str | None, stages: Sequence[str] | None, description: str) -> str:
    from textpl import __version__

    major, minor = __version__.split(".")[:2]
    chinese = data.corpus is not None and mostly_chinese(data.corpus.train["text"])
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# Check: textpl recipes validate {folder.name or '.'}    run: textpl run {folder.name or '.'}",
        "schema: 1",
        f'textpl: ">={major}.{minor}"',
        f"description: {_scalar(description)}  # the headline where it is shared",
        "data:",
        f"  source: {_scalar(data.source)}  # files beside this one, a Hub id, or bundled:NAME",
        *([_PIN] if data.corpus is None else []),
        *([f"  text: {_scalar(data.said.text)}"] if data.said.text else []),
        *([f"  label: {_scalar(data.said.label)}"] if data.said.label else []),
        *_label_format(data.said.label_format),
        *_split(data, stages or ()),
        "model:",
        f"  name: {CHINESE_MODEL}  # the texts are Chinese" if chinese else f"  name: {DEFAULT_MODEL}",
        _PIN,
        "  max_length: 128  # tokens of a text",
        *_tried(method, stages, chinese, _is_multi(data)),
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


def _split(data: Imported, stages: Sequence[str]) -> list[str]:
    """How many rows are labeled, and where the test rows come from."""
    corpus, groups = data.corpus, data.said.groups
    left, smallest, more = 2 * LABELED, 2 * LABELS_PER_CLASS, []
    if corpus is not None:
        labels, left = label_array(corpus.train), len(corpus.train)
        counts = labels.sum(0) if labels.ndim == 2 else list(Counter(labels.tolist()).values())
        smallest = int(min(count for count in counts if count))
        test = held_out(left) if corpus.test is None else None
        if test:
            left -= test
            more = [f"  test: {test}  # held out, classes in their shares: the data have no test set"]
        elif corpus.test is None:
            more = ["  # no test rows yet: the recipe runs once there is a test file beside train"]
    if groups is not None:
        more.append(f"  groups: {_scalar(groups)}  # rows of one stay together, in one of these parts")
        if corpus is not None:  # by which a part may be larger than planned
            left -= max(Counter(corpus.train[groups][:]).values())
    if "clean" in stages:
        # What is cleaned is labelled; a pool plays no part, though groups have to be left for it.
        labeled = max(1, left - 1 if groups is None else left // 3)
        return ["split:", f"  labeled: {labeled}  # rows that are cleaned and trained on", "  pool: 1", *more]
    if corpus is not None and corpus.unlabeled is not None:
        return ["split:", f"  labeled: {max(1, left)}  # with their labels; the pool is the unlabeled file", *more]
    if _is_multi(data):
        size = f"labeled: {max(1, min(LABELED, left // 4))}"
    else:
        size = f"labels_per_class: {min(LABELS_PER_CLASS, max(1, smallest // 2))}"
    return ["split:", f"  {size}  # the other rows are the pool, without labels", *more]


def _tried(method: str | None, stages: Sequence[str] | None, chinese: bool, multi: bool) -> list[str]:
    """The stages and the method; by default what helped most surely, and in comments what to try besides."""
    wanted = list(stages or ()) if stages or method else ["label", "train"]
    reads = [
        f"{stage}: {{encoder: {CHINESE_ENCODER}}}  # reads Chinese; lsa needs no download, and is weaker"
        for stage in ("label", "clean")
        if chinese and stage in wanted
    ]
    if method or stages:
        lines = [f"stages: [{', '.join(wanted)}]"] if stages else []
        return lines + reads + ([f"method: {_scalar(method)}"] if method else [])
    surely = "nothing is sure to help with several labels per row" if multi else "what helped most surely, on topics"
    return [
        f"stages: [label, train]  # labels the pool from embeddings, then learns them: {surely}",
        *reads,
        "# method: {ratio: 3}  # rows of the pool per labelled row",
        "# Or, in place of these stages, a model that labels the pool while it trains:",
        "# method: softmatch",
    ]


def _scalar(value: Any) -> str:
    return yaml.dump(value, Dumper=Dumper, allow_unicode=True, width=10**6).removesuffix("\n").removesuffix("\n...")
