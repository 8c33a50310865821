"""`textpl label` on files and Hub data: read both sides, label, write one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, List, Value

from textpl.atomic_files import check_writable, write_json
from textpl.labeling import label
from textpl.pseudo_labels import PseudoLabels
from textpl.reading.columns import check_columns
from textpl.reading.find_columns import as_texts, replaced
from textpl.reading.label_cells import ENCODED, LabelFormat
from textpl.reading.labeled_rows import LabeledRows, read_labeled
from textpl.reading.labels import MULTI, arrow_column
from textpl.reading.sources import RawSource, open_source
from textpl.reading.writing import WRITABLE, write_table


def label_files(
    labeled: str,
    unlabeled: str | None,
    out: Path,
    *,
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
            other source is named, are what is labeled.
        unlabeled: the same, its unlabeled split is taken, else its train split; None for that of `labeled`.
        out: .parquet, .jsonl, .csv or .tsv file to write; csv is written as the unlabeled one is.
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
    check_writable(out.parent)  # before the work, not after it
    raw = open_source(labeled)
    text = settings.get("text_column", "text")
    known = read_labeled(
        raw,
        labeled,
        text,
        settings.pop("label_column", "label"),
        label_format=label_format,
        option="--label",
        remedy="so there is nothing to learn from",
    )
    pool, written = _pool(unlabeled, raw, known, labeled, text, say)
    for note in known.notes:
        say(note)
    names = list(known.label_names)
    settings |= {"label_column": known.label_column, "label_names": names, "label_format": ENCODED}
    found = label(_as_ids(known), pool, **settings)
    if confidence is not None or precision is not None:
        found = found.rethreshold(confidence, precision=precision)
    about = {"command": command, "labeled": labeled, "unlabeled": unlabeled or labeled, **found.to_dict()}
    write_json(out.with_name(out.name + ".report.json"), about | {"notes": [*known.notes]})
    before(found)
    dataset = found.to_dataset(only_selected=not keep_all)
    write_table(_with_label_names(dataset, found), out, like=written, for_spreadsheets=True)
    return found


def _pool(
    unlabeled: str | None, raw: RawSource, known: LabeledRows, labeled: str, text: str, say: Callable[[str], None]
) -> tuple[Dataset, Any]:
    """The rows to label, and how their file is written."""
    if unlabeled is None and "unlabeled" not in raw.splits:
        if not len(known.unlabeled):
            raise ValueError(f"{labeled} has no unlabeled split: name the unlabeled texts as a second source.")
        say(f"The {len(known.unlabeled):,} rows of {labeled} without a label are labeled from the others.")
        return known.unlabeled, None if known.table is None else known.table.written
    source = raw if unlabeled is None else open_source(unlabeled)
    split = "unlabeled" if "unlabeled" in source.splits else "train"
    name = unlabeled or f"the unlabeled split of {labeled}"
    if not len(source.splits[split]):
        raise ValueError(f"{name} has no rows: there is nothing to label.")
    check_columns(name, source.splits[split], [("--text", text)])
    if unlabeled is not None:
        for note in source.notes:
            say(note)
    table = source.tables.get(split)
    return as_texts(source.splits[split], text, source.untyped(split)), None if table is None else table.written


def _as_ids(known: LabeledRows) -> Dataset:
    """The labeled rows with labels that say which names they have: class ids, or multi-hot lists."""
    if known.coding.problem_type == MULTI or isinstance(known.dataset.features[known.label_column], ClassLabel):
        return known.dataset
    feature = ClassLabel(names=list(known.label_names))
    return replaced(known.dataset, known.label_column, pa.array(known.given), feature)


def _with_label_names(dataset: Dataset, found: PseudoLabels) -> Dataset:
    """Lists of names in place of multi-hot ones, which no file says the meaning of."""
    if not found.multi:
        return dataset
    rows = [
        [n for n, on in zip(found.label_names, row, strict=True) if on]
        for row in arrow_column(dataset, "label").to_pylist()
    ]
    return replaced(dataset, "label", pa.array(rows, pa.list_(pa.string())), List(Value("string")))
