"""Begin a recipe: a short file with a comment at what to decide, fitted to the data it is for."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

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
TEMPLATES = Path(__file__).parent / "templates"
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
    """Fill in the template."""
    from textpl import __version__

    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["yaml"] = _scalar
    wanted = list(stages or ()) if stages or method else ["label", "train"]
    return (
        environment.get_template("new_recipe.yaml").render(
            schema_file=SCHEMA_FILE,
            folder=folder.name or ".",
            version=".".join(__version__.split(".")[:2]),
            description=description,
            source=data.source,
            said=data.said,
            on_hub=data.corpus is None,
            multi=_is_multi(data),
            chinese=data.corpus is not None and mostly_chinese(data.corpus.train["text"]),
            chinese_model=CHINESE_MODEL,
            chinese_encoder=CHINESE_ENCODER,
            default_model=DEFAULT_MODEL,
            stages=wanted,
            given_stages=bool(stages),
            chosen=bool(stages or method),
            method=method,
            **_sizes(data, "clean" in wanted),
        )
        + "\n"
    )


def _sizes(data: Imported, clean: bool) -> dict[str, Any]:
    """How many rows are labeled, and whether test rows are held out."""
    corpus, groups = data.corpus, data.said.groups
    if corpus is None:
        labeled = 2 * LABELED - 1 if clean else LABELED // 2
        return {"labeled": labeled, "labels_per_class": LABELS_PER_CLASS, "test": None, "untested": False,
                "has_pool": False}  # fmt: skip
    labels, left = label_array(corpus.train), len(corpus.train)
    counts = labels.sum(0) if labels.ndim == 2 else list(Counter(labels.tolist()).values())
    smallest = int(min(count for count in counts if count))
    test = held_out(left) if corpus.test is None else None
    left -= test or 0
    if groups is not None:  # by which a part may be larger than planned
        left -= max(Counter(corpus.train[groups][:]).values())
    has_pool = corpus.unlabeled is not None
    labeled = left if has_pool else min(LABELED, left // 4)
    if clean:  # what is cleaned is labeled; a pool plays no part, though groups have to be left for it
        labeled = left - 1 if groups is None else left // 3
    return {
        "labeled": max(1, labeled),
        "labels_per_class": min(LABELS_PER_CLASS, max(1, smallest // 2)),
        "test": test,
        "untested": corpus.test is None and test is None,
        "has_pool": has_pool,
    }


def _scalar(value: Any) -> str:
    return yaml.dump(value, Dumper=Dumper, allow_unicode=True, width=10**6).removesuffix("\n").removesuffix("\n...")
