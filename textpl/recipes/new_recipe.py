"""Begin a recipe: a short file with a comment at what to decide, fitted to the data it is for."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from textpl.recipes.describing import headline
from textpl.recipes.finding import FILE_NAME
from textpl.recipes.json_schema import FILE_NAME as SCHEMA_FILE
from textpl.recipes.json_schema import schema_text
from textpl.recipes.parsing import RecipeError, parse_recipe
from textpl.recipes.schema import Recipe
from textpl.recipes.stage_settings import DEFAULT_MODEL
from textpl.recipes.yaml_text import Dumper

if TYPE_CHECKING:
    from datasets import Dataset

    from textpl.corpus import Corpus
    from textpl.reading.label_format import LabelFormat
    from textpl.reading.labeled_rows import LabeledRows
    from textpl.reading.sources import RawSource

CLEANING = "cleaning.json"  # in what textpl clean writes
EXAMPLE = "bundled:sentiment"
CHINESE_MODEL = "google-bert/bert-base-chinese"
CHINESE_ENCODER = "intfloat/multilingual-e5-small"  # docs/encoders.md
_PIN = "  # revision: COMMIT  # of the Hub; a run writes the one it read into its own recipe.yaml"
LABELS_PER_CLASS, LABELED = 10, 1000


@dataclass(frozen=True)
class _Said:
    """What the user says of the data; None is found."""

    text: str | None
    label: str | None
    task: str | None
    groups: str | None
    label_format: LabelFormat | None


@dataclass(frozen=True)
class _Data:
    """What is known of the data."""

    source: str  # as the recipe calls them
    text: str | None
    label: str | None
    multi: bool
    title: str  # what the data are called, for people
    labels: int | None = None
    rows: int | None = None  # in train; None if they were not read
    smallest: int | None = None  # rows of the rarest class
    has_test: bool = True
    test: int | None = None  # rows to hold out of train
    has_pool: bool = False  # a split without labels
    groups: str | None = None  # column of what stays together
    largest_group: int = 0  # its rows, by which a part may be larger than planned
    chinese: bool = False
    label_format: LabelFormat | None = None  # what was said that the copy still needs
    inside: bool = False  # they lie in the recipe's folder already
    notes: tuple[str, ...] = ()  # for the user


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
        said = _Said(text, label, task, groups, _one_label(label_format) if task == "single" else label_format)
        found = _look_at(data or EXAMPLE, said, folder, staging)
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


def _look_at(source: str, said: _Said, folder: Path, staging: Path) -> _Data:
    """Read the data; those that the folder of the recipe needs a copy of are then in `staging`."""
    path, bundled = Path(source).expanduser(), source.startswith("bundled:")
    if not bundled and not path.exists():
        if source.count("/") != 1 or source.startswith((".", "/", "~")):
            raise FileNotFoundError(f"{source!r} is no file or folder here, and no Hub id owner/name.")
        return _Data(source, said.text, said.label, said.task == "multi", source, groups=said.groups)
    from textpl.reading.sources import open_source
    from textpl.recipes.own_data import read_own
    from textpl.recipes.planned_test import held_out

    raw = open_source(source)
    if not len(raw.splits["train"]):
        raise ValueError(f"{source} has no rows: name a file with a text and a label in each.")
    cleaned = {} if bundled or not (path / CLEANING).is_file() else _read_record(path / CLEANING)
    text, label, notes = _columns(raw.splits["train"], said, cleaned, source)
    rows = read_own(raw, source, text, label, said.label_format)
    notes += rows.notes
    if len(rows.unlabeled):
        notes.append(
            f"{len(rows.dataset):,} rows have a label (train.jsonl), {len(rows.unlabeled):,} have none "
            "(unlabeled.jsonl, the pool)"
        )
    test = None if "test" in raw.splits else held_out(len(rows.dataset))
    untested = "test" not in raw.splits and test is None  # a test file is to be put beside train
    name, reads = source, source
    if not bundled:
        name, reads, told = _placed(path, raw, rows, untested, folder, staging)
        notes += told
    known = _counted(reads, replace(said, text=text, label=label))
    corpus = known.pop("corpus")
    notes += _told_cleaned(cleaned, corpus.test is not None) if cleaned else []
    notes += _told_test(corpus, test, (text, label), said.label_format, staging, (folder, folder / name))
    title = path.resolve().stem if path.is_file() else path.resolve().name
    return _Data(
        name,
        text,
        label,
        title=source.removeprefix("bundled:") if bundled else title,
        test=test,
        groups=said.groups,
        inside=not bundled and Path(reads).resolve().is_relative_to(folder.resolve()),
        label_format=said.label_format,
        notes=tuple(notes),
        **known,
    )


def _one_label(said: LabelFormat | None) -> LabelFormat:
    """The same, with one label in each string."""
    from textpl.reading.label_format import LabelFormat

    return replace(said or LabelFormat(), delimiter="")


def _columns(train: Dataset, said: _Said, cleaned: dict[str, Any], source: str) -> tuple[str, str, list[str]]:
    """Names of the text and the label column, and what was guessed."""
    from textpl.recipes.own_data import choose_columns

    there = train.column_names
    if said.groups is not None and said.groups not in there:
        raise ValueError(f"--groups {said.groups}: the columns of {source} are {there}.")
    text = said.text or (cleaned["text"] if cleaned.get("text") in there else None)
    label = said.label or (cleaned["labels"] if cleaned.get("labels") in there else None)
    return choose_columns(train if said.groups is None else train.remove_columns(said.groups), text, label)


def _placed(
    path: Path, raw: RawSource, rows: LabeledRows, untested: bool, folder: Path, staging: Path
) -> tuple[str, str, list[str]]:
    """What the recipe calls the data, where they are read until it is written, and what was copied."""
    from textpl.recipes.own_data import copy_data, needs_a_copy

    beside = path.resolve().is_relative_to(folder.resolve()) and not (untested and path.is_file())
    if beside and not needs_a_copy(raw, rows):
        return path.resolve().relative_to(folder.resolve()).as_posix(), str(path), []
    copy = copy_data(path, staging, raw, rows, as_folder=untested)
    size = sum(file.stat().st_size for file in (copy.iterdir() if copy.is_dir() else [copy]))
    return copy.name, str(copy), [f"copied to {folder / copy.name}, {size / 2**20:.1f} MiB"]


def _counted(reads: str, said: _Said) -> dict[str, Any]:
    """The corpus, and what the plan of its splits rests on."""
    from textpl.corpus import TASKS, read_corpus
    from textpl.reading.label_format import LabelFormat
    from textpl.reading.labels import MULTI, label_array
    from textpl.recipes.own_data import mostly_chinese

    written = said.label_format or LabelFormat()
    corpus = read_corpus(
        reads,
        text_column=said.text,
        label_column=said.label,
        problem_type=TASKS[said.task] if said.task else None,
        # What was delimited is in lists now.
        label_format=replace(written, delimiter=None if written.delimiter else written.delimiter),
        keep=() if said.groups is None else (said.groups,),
    )
    multi, labels = corpus.problem_type == MULTI, label_array(corpus.train)
    counts = labels.sum(0) if multi else np.bincount(labels, minlength=len(corpus.label_names))
    grouped = {} if said.groups is None else Counter(corpus.train[said.groups][:])
    return {
        "corpus": corpus,
        "multi": multi,
        "labels": len(corpus.label_names),
        "rows": len(corpus.train),
        "smallest": int(counts[counts > 0].min()),
        "has_test": corpus.test is not None,
        "has_pool": corpus.unlabeled is not None,
        "largest_group": max(grouped.values(), default=0),
        "chinese": mostly_chinese(corpus.train["text"]),
    }


def _read_record(file: Path) -> dict[str, Any]:
    """What `textpl clean` says of how it cleaned a corpus."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{file} is broken: {error}. Run textpl clean again, with the same --out.") from error


def _told_cleaned(record: dict[str, Any], has_test: bool) -> list[str]:
    """What is to be known of data that `textpl clean` wrote."""
    reviewed = record.get("counts", {}).get("reviewed", 0)
    told = [
        "the labels are those that textpl clean left, with its weights (label_weight); "
        f"{reviewed:,} decisions of people among them"
    ]
    if not has_test:
        told.append(
            "there is no test file: the test rows are held out of the cleaned ones, whose labels a model has changed "
            "and which flatter it; put a test file with labels that you trust beside train"
        )
    return told


def _told_test(
    corpus: Corpus,
    test: int | None,
    columns: tuple[str, str],
    said: LabelFormat | None,
    staging: Path,
    places: tuple[Path, Path],
) -> list[str]:
    """What is to be known of the test rows; where there are none, texts to be labeled are written into `staging`.

    Args:
        corpus: the data.
        test: rows that are to be held out.
        columns: of text and label.
        said: how labels are written.
        staging: where files are made.
        places: folder of the recipe, and of its data.
    """
    from textpl.recipes.planned_test import told_held_out, told_test_file, told_to_label, write_to_label

    if corpus.test is not None:
        return told_test_file(len(corpus.test))
    if test is not None:
        return told_held_out(test)
    # Cells that are yet to be filled in must not be taken for "no label applies".
    pool = None if said is not None and said.empty == "none" else corpus.unlabeled
    name = write_to_label(pool, *columns, corpus.problem_type.startswith("multi"), staging)
    return told_to_label(len(corpus.train), name, columns[1], corpus.label_names, *places)


def _told_language(recipe: Recipe, data: _Data) -> list[str]:
    if not data.chinese:
        return []
    stage = next(
        (f", and the stage {name} reads {CHINESE_ENCODER}" for name in ("label", "clean") if name in recipe.stages), ""
    )
    return [f"the texts are Chinese: the recipe starts from {CHINESE_MODEL}{stage}, as the usual model reads English"]


def _written(folder: Path, data: _Data, method: str | None, stages: Sequence[str] | None, description: str) -> str:
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


def _split(data: _Data, stages: Sequence[str]) -> list[str]:
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


def _tried(method: str | None, stages: Sequence[str] | None, data: _Data) -> list[str]:
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
