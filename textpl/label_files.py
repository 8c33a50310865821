"""`textpl label` on files and Hub data: read both sides, label, write one file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, List

from textpl.labeling import label
from textpl.pseudo_labels import PseudoLabels
from textpl.source_columns import check_columns
from textpl.sources import open_source

WRITABLE = (".parquet", ".jsonl", ".csv")


def label_files(
    labeled: str,
    unlabeled: str | None,
    out: Path,
    *,
    confidence: float | None = None,
    precision: float | None = None,
    keep_all: bool = False,
    command: str = "",
    **settings: Any,
) -> PseudoLabels:
    """Label one source from another and write the result, with a report beside it (`out` + ".report.json").

    Args:
        labeled: folder, file or Hub id; its train split is taken.
        unlabeled: the same, its unlabeled split is taken, else its train split; None for that of `labeled`.
        out: .parquet, .jsonl or .csv file to write.
        confidence: keep rows of at least this confidence.
        precision: instead, keep as many rows as have this expected precision.
        keep_all: write the rows without a label too, with the reason.
        command: what the user typed, for the report.
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
    out.parent.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    known = open_source(labeled)
    pool = known.splits.get("unlabeled") if unlabeled is None else _pool(open_source(unlabeled).splits)
    if pool is None:
        raise ValueError(f"{labeled} has no unlabeled split: name the unlabelled texts as a second source.")
    text = ("--text", settings.get("text_column", "text"))
    check_columns(labeled, known.splits["train"], [text, ("--label", settings.get("label_column", "label"))])
    check_columns(unlabeled or f"the unlabeled split of {labeled}", pool, [text])
    settings.setdefault("label_names", known.info.get("label_names"))
    found = label(known.splits["train"], pool, **settings)
    if confidence is not None or precision is not None:
        found = found.rethreshold(confidence, precision=precision)
    # The labels last: where they are, the report is.
    report = out.with_name(out.name + ".report.json")
    about = {"command": command, "labeled": labeled, "unlabeled": unlabeled or labeled, **found.to_dict()}
    report.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _write(found.to_dataset(only_selected=not keep_all), out)
    return found


def _pool(splits: dict[str, Dataset]) -> Dataset:
    return splits["unlabeled"] if "unlabeled" in splits else splits["train"]


def _write(dataset: Dataset, out: Path) -> None:
    partial = out.with_name(out.name + ".partial")
    if out.suffix == ".parquet":
        dataset.to_parquet(str(partial))
    elif out.suffix == ".jsonl":
        _named(dataset).to_json(str(partial), force_ascii=False)
    else:
        _flat(_named(dataset)).to_csv(str(partial))
    os.replace(partial, out)


def _named(dataset: Dataset) -> Dataset:
    """Class ids as names: unlike parquet, these files cannot say what an id means."""
    feature = dataset.features["label"]
    if not isinstance(feature, ClassLabel):
        return dataset
    ids = np.asarray(dataset["label"][:], dtype=np.int64)
    return _rewritten(dataset, {"label": pa.array(feature.names).take(pa.array(ids, mask=ids < 0))})


def _flat(dataset: Dataset) -> Dataset:
    """Lists as JSON text: csv knows no other."""
    nested = [name for name, feature in dataset.features.items() if isinstance(feature, List)]
    return _rewritten(dataset, {n: pa.array([json.dumps(v) for v in dataset[n]], pa.string()) for n in nested})


def _rewritten(dataset: Dataset, columns: dict[str, pa.Array]) -> Dataset:
    """With other values in some columns; the rest is not touched, a million rows would take minutes."""
    table = dataset.with_format("arrow")[:].replace_schema_metadata(None)
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return Dataset(table)
