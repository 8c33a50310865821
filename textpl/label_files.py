"""`textpl label` on files and Hub data: read both sides, label, write one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from datasets import ClassLabel, Dataset, List, Value

from textpl.atomic_files import check_writable, write_json
from textpl.label_descriptions import LabelDescriptions
from textpl.labeling import label
from textpl.pseudo_labels import PseudoLabels
from textpl.reading.columns import check_columns
from textpl.reading.find_columns import as_texts, replaced
from textpl.reading.label_format import ENCODED, LabelFormat
from textpl.reading.labeled_rows import LabeledRows, read_labeled
from textpl.reading.labels import MULTI, arrow_column, whole_number
from textpl.reading.sources import RawSource, open_source
from textpl.reading.writing import WRITABLE, write_table
from textpl.selecting.chosen_rows import as_left_open


def label_files(
    labeled: str | None,
    unlabeled: str | None,
    out: Path,
    *,
    label_names: Sequence[str] | None = None,
    label_descriptions: LabelDescriptions | None = None,
    confidence: float | None = None,
    precision: float | None = None,
    keep_all: bool = False,
    label_format: LabelFormat | None = None,
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
    before: Callable[[PseudoLabels], None] = lambda found: None,
    **settings: Any,
) -> PseudoLabels:
    """Label one source from another and write the result, with a report beside it (`out` + ".report.json").

    Args:
        labeled: folder, file or Hub id; its train split is taken. Its rows without a label are left out or, where no
            other source is named, are what is labeled. None where there are none: by the labels' names alone.
        unlabeled: the same, its unlabeled split is taken, else its train split; None for that of `labeled`.
        out: .parquet, .jsonl, .csv or .tsv file to write; csv is written as the unlabeled one is.
        label_names: what the labels are called. They are used as a signal and, in their order, as the names of labels
            that are written as ids.
        label_descriptions: what they mean, instead of the names as a signal.
        confidence: keep rows of at least this confidence.
        precision: instead, keep as many rows as have this expected precision.
        keep_all: write the rows without a label too, with the reason.
        label_format: how labels are written, where that is not to be found out.
        command: what the user typed, for the report.
        say: gets a line about each thing that the user should know.
        before: gets what was found when all is written but the labels: where they are, everything is.
        settings: of `textpl.label`.

    Raises:
        FileExistsError: if `out` exists.
        ValueError: for a kind of file that cannot be written, and all that `textpl.label` refuses.
    """
    if out.suffix not in WRITABLE:
        raise ValueError(f"{out}: write a {', '.join(WRITABLE)} file.")
    if out.exists():
        raise FileExistsError(f"{out} exists and is not overwritten: choose another name, or remove it.")
    for name, value in (("confidence", confidence), ("precision", precision)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name}={value}: a share between 0 and 1, such as 0.95.")
    if precision is not None and labeled is None:
        raise ValueError(
            f"precision={precision}: without labeled texts no precision can be expected. Take confidence, which is "
            "then the method's own, or name labeled texts."
        )
    check_writable(out.parent)  # before the work, not after it
    text = settings.get("text_column", "text")
    column = settings.pop("label_column", "label")
    signal = label_descriptions if label_descriptions is not None else "names" if label_names is not None else None
    settings |= {"label_descriptions": signal}
    if labeled is None:
        if unlabeled is None:
            raise ValueError("Name the texts to label (--unlabeled), and labeled texts or --label-names.")
        pool, written = _pool(unlabeled, text, say)
        notes: tuple[str, ...] = ()
        found = label(None, pool, label_names=label_names, **settings)
    else:
        raw = open_source(labeled)
        known = read_labeled(
            raw,
            labeled,
            text,
            column,
            label_format=as_left_open(label_format, raw.splits["train"], column),
            option="--label",
            remedy="so there is nothing to learn from",
        )
        pool, written = _pool(unlabeled, text, say) if unlabeled else _own_pool(raw, known, labeled, text, say)
        for note in known.notes:
            say(note)
        rows, names = _as_ids(known, label_names if label_descriptions is None else list(label_descriptions))
        notes = (*known.notes,)
        settings |= {"label_column": known.label_column, "label_names": names, "label_format": ENCODED}
        found = label(rows, pool, **settings)
    if confidence is not None or precision is not None:
        found = found.rethreshold(confidence, precision=precision)
    about = {"command": command, "labeled": labeled, "unlabeled": unlabeled or labeled, **found.to_dict()}
    write_json(out.with_name(out.name + ".report.json"), about | {"notes": list(notes)})
    before(found)
    dataset = found.to_dataset(only_selected=not keep_all)
    write_table(_with_label_names(dataset, found), out, like=written, for_spreadsheets=True)
    return found


def read_names(text: str) -> list[str]:
    """Read names of labels: those of a file, one in each line, or names with commas between them.

    Raises:
        ValueError: for an empty name.
    """
    file = Path(text)
    names = file.read_text(encoding="utf-8-sig").splitlines() if file.is_file() else text.split(",")
    names = [name.strip() for name in names if name.strip() or not file.is_file()]
    if not all(names):
        raise ValueError(f"--label-names {text}: an empty name. Write a,b,c, or name a file with a name in each line.")
    return names


def read_descriptions_file(file: Path) -> dict[str, Any]:
    """Read what labels mean from a .yaml or .json file: a text, or a list of texts, for the name of each label.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: for what is no such file.
    """
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:  # JSON is YAML too
        where = " ".join(str(error).split())
        raise ValueError(f"{file} can be read neither as YAML nor as JSON: {where}") from error
    if not isinstance(given, dict):
        raise ValueError(f'{file}: write a text or a list of texts for each label, such as "sports: news about games".')
    return {str(name): told for name, told in given.items()}


def _pool(unlabeled: str, text: str, say: Callable[[str], None]) -> tuple[Dataset, Any]:
    """The rows to label of a source of their own, and how their file is written."""
    source = open_source(unlabeled)
    found = _unlabeled_rows(source, unlabeled, text)
    for note in source.notes:
        say(note)
    return found


def _own_pool(
    raw: RawSource, known: LabeledRows, labeled: str, text: str, say: Callable[[str], None]
) -> tuple[Dataset, Any]:
    """The same of the labeled source: its unlabeled split, else its rows without a label."""
    if "unlabeled" in raw.splits:
        return _unlabeled_rows(raw, f"the unlabeled split of {labeled}", text)
    if not len(known.unlabeled):
        raise ValueError(f"{labeled} has no unlabeled split: name the unlabeled texts as a second source.")
    say(f"The {len(known.unlabeled):,} rows of {labeled} without a label are labeled from the others.")
    return known.unlabeled, None if known.table is None else known.table.written


def _unlabeled_rows(source: RawSource, name: str, text: str) -> tuple[Dataset, Any]:
    split = "unlabeled" if "unlabeled" in source.splits else "train"
    if not len(source.splits[split]):
        raise ValueError(f"{name} has no rows: there is nothing to label.")
    check_columns(name, source.splits[split], [("--text", text)])
    table = source.tables.get(split)
    return as_texts(source.splits[split], text, source.untyped(split)), None if table is None else table.written


def _as_ids(known: LabeledRows, given: Sequence[str] | None) -> tuple[Dataset, list[str]]:
    """The labeled rows with class ids or multi-hot lists, and the names of the labels.

    Names that are given name ids in their order; where labels are names, there may be more of them than rows have.
    """
    own = list(known.label_names)
    if given is None or set(given) == set(own):
        names = own
    else:
        names, ids = list(given), all(whole_number(name) is not None for name in own)
        more = set(own) < set(given) and known.coding.problem_type != MULTI
        if not more and not (ids and len(given) == len(own)):
            raise ValueError(
                f"The labels of the labeled rows are {', '.join(own)}; those that are named or described are "
                f"{', '.join(given)}: use the same names."
            )
    classes = isinstance(known.dataset.features[known.label_column], ClassLabel)
    if known.coding.problem_type == MULTI or (classes and names == own):
        return known.dataset, names
    places = np.array([names.index(name) if name in names else place for place, name in enumerate(own)])
    column = pa.array(places[np.asarray(known.given)])
    return replaced(known.dataset, known.label_column, column, ClassLabel(names=names)), names


def _with_label_names(dataset: Dataset, found: PseudoLabels) -> Dataset:
    """Lists of names in place of multi-hot ones, which no file says the meaning of."""
    if not found.multi:
        return dataset
    rows = [
        [n for n, on in zip(found.label_names, row, strict=True) if on]
        for row in arrow_column(dataset, "label").to_pylist()
    ]
    return replaced(dataset, "label", pa.array(rows, pa.list_(pa.string())), List(Value("string")))
