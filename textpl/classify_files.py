"""`textpl classify` on files and Hub data: read texts, label them by a saved classifier, write one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, List, Value, concatenate_datasets

from textpl.atomic_files import check_writable
from textpl.embedding_classifier import EmbeddingClassifier
from textpl.reading.columns import check_columns
from textpl.reading.find_columns import as_texts
from textpl.reading.probabilities import named_array, named_feature
from textpl.reading.sources import open_source
from textpl.reading.writing import WRITABLE, write_table

ADDED = ("predicted", "probabilities")


def classify_files(
    folder: Path,
    texts: str,
    out: Path,
    *,
    text_column: str = "text",
    split: str | None = None,
    encoder: Any = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Dataset:
    """Label the rows of a source by the classifier in a folder.

    Columns added: `predicted` (a name, empty where nothing is near; multi-label: a list of names) and `probabilities`.

    Args:
        folder: what `EmbeddingClassifier.save` wrote.
        texts: folder, file or Hub id.
        out: .parquet, .jsonl, .csv or .tsv file to write.
        text_column: of the source.
        split: of the source; may be left out where there is one.
        encoder: instead of the one by the saved name.
        progress: show progress bars.
        say: gets a line about each thing that the user should know.

    Raises:
        FileExistsError: if `out` exists.
        FileNotFoundError: if the folder or the source is not there.
        ValueError: for a kind of file that cannot be written, a source without rows or without that column or split, a
            column that has the name of an added one, and all that `EmbeddingClassifier.load` refuses.
    """
    if out.suffix not in WRITABLE:
        raise ValueError(f"{out}: write a {', '.join(WRITABLE)} file.")
    if out.exists():
        raise FileExistsError(f"{out} exists and is not overwritten: choose another name, or remove it.")
    check_writable(out.parent)
    source = open_source(texts)
    name = split or (next(iter(source.splits)) if len(source.splits) == 1 else "")
    if name not in source.splits:
        raise ValueError(f"{texts} has the splits {', '.join(source.splits)}: name one of them with --split.")
    rows = source.splits[name]
    if not len(rows):
        raise ValueError(f"{texts} has no rows: there is nothing to classify. Give a file with a text in every row.")
    check_columns(texts, rows, [("--text", text_column)])
    if taken := [column for column in ADDED if column in rows.column_names]:
        raise ValueError(f"{texts} has the column {taken[0]!r}, which the result adds: rename it first.")
    for note in source.notes:
        say(note)
    rows = as_texts(rows, text_column, source.untyped(name))
    classifier = EmbeddingClassifier.load(folder, encoder=encoder, progress=progress)
    p = classifier.predict_proba(rows.with_format(None)[text_column][:], progress=progress)
    labeled = concatenate_datasets([rows, _columns(classifier, p)], axis=1)
    table = source.tables.get(name)
    write_table(labeled, out, like=None if table is None else table.written, for_spreadsheets=True)
    return labeled


def _columns(classifier: EmbeddingClassifier, p: np.ndarray) -> Dataset:
    """The added columns, from soft labels float32 (rows, labels)."""
    names, decided = list(classifier.label_names), classifier.decide(p)
    features: dict[str, Any] = {"probabilities": named_feature(names)}
    columns = {"probabilities": named_array(p, names)}
    if classifier.multi:
        given = [[n for n, on in zip(names, row, strict=True) if on] for row in decided]
        features["predicted"], columns["predicted"] = List(Value("string")), pa.array(given, pa.list_(pa.string()))
    else:
        features["predicted"] = ClassLabel(names=names)
        columns["predicted"] = pa.array(decided, pa.int64(), mask=decided < 0)
    schema = Features({name: features[name] for name in ADDED}).arrow_schema
    return Dataset(pa.table([columns[name].cast(schema.field(name).type) for name in ADDED], schema=schema))
