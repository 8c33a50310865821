"""Read labelled and unlabelled text into `datasets.Dataset`s of one form, and refuse what is broken.

When to use: once per run, before `splits.make_split`. All later code relies on what is checked here.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, List, Value, concatenate_datasets
from numpy.typing import NDArray

from textpl.progress import quiet_datasets
from textpl.reading.columns import nearest
from textpl.reading.find_columns import as_texts, check_text, declared_names, find_columns, replaced
from textpl.reading.label_arrays import EncodedLabels, encode_labels
from textpl.reading.label_cells import read_cells
from textpl.reading.label_format import LabelFormat, as_said
from textpl.reading.labeled_rows import chosen
from textpl.reading.labels import (
    MULTI,
    SINGLE,
    LabelCoding,
    ProblemType,
    all_hidden,
    arrow_column,
    label_array,
)
from textpl.reading.probabilities import in_order, read_probabilities_column
from textpl.reading.sources import RawSource, open_source

logger = logging.getLogger(__name__)

WEIGHT = "label_weight"  # of a row, or of each of its labels, as `textpl clean` writes them: kept by itself
RESERVED = ("text", "label", "gold")
TASKS: dict[str, ProblemType] = {"single": SINGLE, "multi": MULTI}


@dataclass(frozen=True)
class Corpus:
    """Validated splits: column `text` and column `label` (`gold` in `unlabeled`), then the kept ones.

    A label is an int or, multi-label, a list of 0.0 and 1.0 with one entry per label name.

    Args:
        train: labelled rows.
        test: rows for the final numbers.
        dev: rows to tune on.
        unlabeled: pool text; has `gold` only where the source had labels.
        label_names: name of every class; position is id.
        problem_type: as in a model's config.
        source: what was read.
        revision: commit of a Hub dataset that was read; as it was asked for where that cannot be told.
        fingerprint: 16 hex digits over texts, labels and label names; the same on every machine.
        empty_classes: names of the classes without an example in train.
        notes: how files and labels were understood, for the user.
    """

    train: Dataset
    test: Dataset | None
    dev: Dataset | None
    unlabeled: Dataset | None
    label_names: tuple[str, ...]
    problem_type: ProblemType
    source: str
    revision: str | None
    fingerprint: str
    empty_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_corpus(
    source: str | Path,
    *,
    config: str | None = None,
    revision: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    problem_type: ProblemType | None = None,
    label_names: Sequence[str] | None = None,
    label_format: LabelFormat | None = None,
    keep: Sequence[str] = (),
    splits: Mapping[str, str] | None = None,
) -> Corpus:
    """Read and validate a corpus.

    Args:
        source: a folder with train.parquet|jsonl|json|csv|tsv (likewise test, dev or validation, unlabeled)
            and an optional info.json ("label_names", or "COLUMN_names" for one of several label columns; "task":
            "single"|"multi"); one such file, which is train; "bundled:NAME"; otherwise the id of a Hub dataset.
        config: configuration of a Hub dataset.
        revision: commit, tag or branch of a Hub dataset.
        text_column: column with the text; found when there is only one candidate.
        label_column: column with the labels; found when there is only one candidate.
        problem_type: found from the labels; when given, the labels must agree.
        label_names: name of every class in the order of the ids; default info.json, the column's
            ClassLabel, else the sorted names (or the ids) in train.
        label_format: how labels are written, where that is not to be found out.
        keep: further columns to keep, in the splits that have them.
        splits: our split name -> name in the source. Exactly these are read ("train" need not be named).

    Raises:
        FileNotFoundError: for a missing source or split.
        ValueError: for columns that cannot be told apart, missing or non-string text, missing, unknown or
            malformed labels, and splits without rows; each message names column, row and remedy.
    """
    raw = open_source(source, config=config, revision=revision, splits=splits)
    for name, split in raw.splits.items():
        if len(split) == 0:
            raise ValueError(f"{name} of {source} has no rows: fill it, or leave it out (train cannot be).")
    text, label = find_columns(raw.splits["train"], text_column, label_column)
    _check_keep(keep, raw.splits, (text, label))
    keep = [*keep, WEIGHT] if WEIGHT in raw.splits["train"].column_names and WEIGHT not in keep else keep
    asked = problem_type or TASKS.get(raw.info.get("task", ""))
    names = declared_names(raw.splits, label, label_names or _names_told(raw.info, label))
    encoded = encode_labels(
        arrow_column(raw.splits["train"], label),
        f"train, column {label!r}",
        label_names=names,
        label_format=as_said(label_format, raw.info),
        problem_type=asked,
        all_labeled=False,
    )
    built, notes = _build_all(raw, text, label, encoded, keep)
    for note in notes:
        logger.warning("%s", note)
    coding = encoded.coding
    return Corpus(
        train=built["train"],
        test=built.get("test"),
        dev=built.get("dev"),
        unlabeled=built.get("unlabeled"),
        label_names=coding.label_names,
        problem_type=coding.problem_type,
        source=str(source),
        revision=raw.commit or revision,
        fingerprint=_fingerprint(built, coding),
        empty_classes=_empty_classes(built["train"], coding),
        notes=notes,
    )


def find_overlap(a: Dataset, b: Dataset) -> list[int]:
    """Rows of `a` whose text also occurs in `b`, after case folding and collapsing white space."""
    if len(a) == 0 or len(b) == 0:
        return []
    seen = {text for batch in _normalised_batches(b) for text in batch}
    texts = (text for batch in _normalised_batches(a) for text in batch)
    return [row for row, text in enumerate(texts) if text in seen]


def _normalised_batches(dataset: Dataset, rows: int = 10_000) -> Iterator[list[str]]:
    for batch in dataset.select_columns(["text"]).with_format("arrow").iter(rows):
        yield [" ".join(text.split()).casefold() for text in batch.column("text").to_pylist()]


def _check_keep(keep: Sequence[str], splits: Mapping[str, Dataset], used: Collection[str]) -> None:
    for name in keep:
        if name in RESERVED or name in used:
            raise ValueError(f"keep={name!r}: this name is taken by the text or label column, which are kept anyway.")
        if not any(name in split.column_names for split in splits.values()):
            there = splits["train"].column_names
            raise ValueError(f"keep={name!r} is a column of no split; train has {there}{nearest(name, there) or '.'}")


def _build_all(
    raw: RawSource, text: str, label: str, encoded: EncodedLabels, keep: Sequence[str]
) -> tuple[dict[str, Dataset], tuple[str, ...]]:
    """All splits in the corpus form, and notes; rows of train without a label join the unlabeled ones."""
    notes = [*raw.notes, *encoded.cells.notes]
    texts = {
        name: _with_text(
            as_texts(split, text, raw.untyped(name)) if text in split.column_names else split, name, text, keep
        )
        for name, split in raw.splits.items()
    }
    rows, train = encoded.cells.rows, texts["train"]
    built = {
        "train": _weighted(_labeled(chosen(train, rows), "label", encoded.array, keep), encoded.coding.label_names)
    }
    for name, split in raw.splits.items():
        if name != "train":
            built[name] = _other(split, texts[name], name, label, encoded, keep, notes)
    if len(rows) < len(train):
        rest = chosen(train, np.setdiff1d(np.arange(len(train)), rows))
        notes.append(f"{len(rest):,} of {len(train):,} rows of train have no label: they join the unlabeled texts.")
        pool = built.get("unlabeled")
        if pool is not None and "gold" in pool.column_names:
            pool = pool.remove_columns("gold")
        shared = rest.column_names if pool is None else [n for n in rest.column_names if n in pool.column_names]
        parts = [part.select_columns(shared) for part in (pool, rest) if part is not None]
        built["unlabeled"] = concatenate_datasets(parts)
    return built, tuple(notes)


def _with_text(split: Dataset, name: str, text: str, keep: Sequence[str]) -> Dataset:
    """The column `text` and the kept ones."""
    if text not in split.column_names:
        raise _lacking(name, split, "text", text)
    built = split.select_columns([text, *(column for column in keep if column in split.column_names)])
    built = built if text == "text" else built.rename_column(text, "text")
    check_text(built, "text", f"{name}, column {text!r}")
    if built.features["text"] != Value("string"):
        with quiet_datasets():
            built = built.cast_column("text", Value("string"))
    return built


def _other(
    split: Dataset, built: Dataset, name: str, label: str, train: EncodedLabels, keep: Sequence[str], notes: list[str]
) -> Dataset:
    """Another split with labels as those of train; `gold` of the unlabeled one, if all its rows have them."""
    if label not in split.column_names:
        if name == "unlabeled":
            return built
        raise _lacking(name, split, "label", label)
    column, where = arrow_column(split, label), f"{name}, column {label!r}"
    settled, names = train.cells.written.settled, train.coding.label_names
    if name == "unlabeled" and (all_hidden(column) or not len(read_cells(column, where, settled, names).rows)):
        return built
    found = encode_labels(column, where, like=train, all_labeled=name != "unlabeled")
    if len(found.cells.rows) < len(split):
        notes.append(f"{len(found.cells.rows):,} of {len(split):,} unlabeled texts have a label: none is looked at.")
        return built
    return _labeled(built, "gold" if name == "unlabeled" else "label", found.array, keep)


def _weighted(train: Dataset, label_names: Sequence[str]) -> Dataset:
    """With weights as numbers in the order of the labels, however a file has them."""
    if WEIGHT not in train.column_names or pa.types.is_floating(arrow_column(train, WEIGHT).type):
        return train
    values, names = read_probabilities_column(train, WEIGHT)
    values = values if names is None else in_order(values, names, label_names, f"column {WEIGHT!r}")
    return replaced(train, WEIGHT, pa.array(values.tolist(), pa.list_(pa.float32())))


def _labeled(built: Dataset, target: str, labels: NDArray, keep: Sequence[str]) -> Dataset:
    """With labels as a new column in memory; texts stay where they are."""
    kept = [column for column in keep if column in built.column_names]
    if labels.ndim == 2:
        labels = labels.astype(np.float32)
    return _add_labels(built, target, labels).select_columns(["text", target, *kept])


def _lacking(name: str, split: Dataset, role: str, column: str) -> ValueError:
    there = split.column_names
    return ValueError(f"{name} has no {role} column {column!r}; its columns are {there}{nearest(column, there) or '.'}")


def _add_labels(dataset: Dataset, name: str, labels: NDArray) -> Dataset:
    if labels.ndim == 1:
        return dataset.add_column(name, labels, feature=Value("int64"))
    length = labels.shape[1]
    multi_hot = pa.FixedSizeListArray.from_arrays(pa.array(labels.reshape(-1)), length)
    return dataset.add_column(name, multi_hot, feature=List(Value("float32"), length=length))


def _names_told(info: Mapping[str, Any], label: str) -> Sequence[str] | None:
    """Label names in info.json: those of this very column where there are several."""
    return info.get(f"{label}_names") or info.get("label_names")


def _empty_classes(train: Dataset, coding: LabelCoding) -> tuple[str, ...]:
    labels = label_array(train)
    counts = np.bincount(labels, minlength=len(coding.label_names)) if labels.ndim == 1 else labels.sum(0)
    empty = tuple(name for name, count in zip(coding.label_names, counts, strict=True) if count == 0)
    if empty:
        logger.warning("train has no example of %d of %d classes: %s", len(empty), len(counts), ", ".join(empty))
    return empty


def _fingerprint(splits: Mapping[str, Dataset], coding: LabelCoding) -> str:
    """Hash of what was read. Independent of paths, dates and how the Arrow data happen to be chunked."""
    digest = hashlib.blake2b(repr((coding.problem_type, coding.label_names)).encode(), digest_size=8)
    for name, split in sorted(splits.items()):
        lengths, characters = hashlib.blake2b(), hashlib.blake2b()
        for chunk in arrow_column(split, "text").chunks:
            size = pc.binary_length(chunk).to_numpy(zero_copy_only=False)
            lengths.update(size.astype(np.int32).tobytes())
            if size.any():
                _, offsets, data = chunk.buffers()
                start = np.frombuffer(offsets, dtype=np.int32)[chunk.offset]
                characters.update(memoryview(data)[start : start + size.sum()])
        digest.update(f"{name} {len(split)} ".encode() + lengths.digest() + characters.digest())
        if WEIGHT in split.column_names:
            digest.update(repr(split[WEIGHT][:]).encode())
        target = next((column for column in ("label", "gold") if column in split.column_names), None)
        if target:
            digest.update(label_array(split, target).tobytes())
    return digest.hexdigest()
