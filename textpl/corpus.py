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
from datasets import ClassLabel, Dataset, List, Value
from numpy.typing import NDArray

from textpl.labels import (
    MULTI,
    SINGLE,
    LabelCoding,
    ProblemType,
    all_hidden,
    arrow_column,
    infer_coding,
    label_array,
    refuse,
)
from textpl.progress import quiet_datasets
from textpl.source_columns import nearest
from textpl.sources import open_source

logger = logging.getLogger(__name__)

RESERVED = ("text", "label", "gold")
TASKS: dict[str, ProblemType] = {"single": SINGLE, "multi": MULTI}
IDS = ("id", "ids", "idx", "index", "uid", "guid", "uuid", "unnamed: 0", "__index_level_0__")


class ColumnError(ValueError):
    """A text or label column that is not there, or cannot be told from others; the message is for Python callers.

    Attributes:
        role: "text" or "label".
        problem: what is wrong, without the name of an argument and without a remedy.
    """

    def __init__(self, role: str, problem: str, message: str) -> None:
        super().__init__(message)
        self.role, self.problem = role, problem


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


def read_corpus(
    source: str | Path,
    *,
    config: str | None = None,
    revision: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    problem_type: ProblemType | None = None,
    label_names: Sequence[str] | None = None,
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
    asked = problem_type or TASKS.get(raw.info.get("task", ""))
    names = declared_names(raw.splits, label, label_names or _names_told(raw.info, label))
    train_labels = arrow_column(raw.splits["train"], label)
    coding = infer_coding(train_labels, f"train, column {label!r}", label_names=names, problem_type=asked)
    built = {name: _build(split, name, text, label, coding, keep) for name, split in raw.splits.items()}
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
    )


def find_columns(dataset: Dataset, text: str | None = None, label: str | None = None) -> tuple[str, str]:
    """Names of the text and the label column, given or found.

    Raises:
        ColumnError: when a given column is missing, or there is no candidate, or more than one.
        ValueError: when one column is given as both.
    """
    columns = dataset.column_names
    for name, role in ((text, "text"), (label, "label")):
        if name is not None and name not in columns:
            missing = f"{name!r} is no column of train; its columns are {columns}{nearest(name, columns) or '.'}"
            raise ColumnError(role, missing, f"{role}_column={missing}")
    if text is None:
        # A string column named label holds class names.
        taken = {label, "label", "labels"}
        strings = [c for c in columns if c not in taken and not _is_id(c) and _is_text(dataset.features[c])]
        text = _only_candidate("text", ["text"] if "text" in columns else strings, columns)
    if label is None:
        named = [c for c in ("label", "labels") if c in columns and c != text]
        others = [c for c in columns if c != text and not _is_id(c) and _is_label(dataset.features[c])]
        label = _only_candidate("label", named or others, columns)
    if text == label:
        raise ValueError(f"column {text!r} cannot be both text and label.")
    return text, label


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


def _is_id(column: str) -> bool:
    return column.lower() in IDS or column.lower().endswith(("_id", "_idx"))


def _is_text(feature: object) -> bool:
    return isinstance(feature, Value) and feature.dtype in ("string", "large_string")


def _is_label(feature: object) -> bool:
    return isinstance(feature, (ClassLabel, List)) or (isinstance(feature, Value) and "int" in feature.dtype)


def _only_candidate(role: str, candidates: list[str], columns: list[str]) -> str:
    if len(candidates) == 1:
        return candidates[0]
    which = f"columns {candidates} could all be" if candidates else f"none of the columns {columns} looks like"
    problem = f"{which} the {role} column"
    raise ColumnError(role, f"{problem}.", f"{problem}: pass {role}_column=... (in a recipe `data.{role}`).")


def _check_keep(keep: Sequence[str], splits: Mapping[str, Dataset], used: Collection[str]) -> None:
    for name in keep:
        if name in RESERVED or name in used:
            raise ValueError(f"keep={name!r}: this name is taken by the text or label column, which are kept anyway.")
        if not any(name in split.column_names for split in splits.values()):
            there = splits["train"].column_names
            raise ValueError(f"keep={name!r} is a column of no split; train has {there}{nearest(name, there) or '.'}")


def declared_names(splits: Mapping[str, Dataset], label: str, given: Sequence[str] | None) -> tuple[str, ...] | None:
    """Label names as given, else those of the ClassLabel columns; None where there are neither.

    Raises:
        ValueError: if two of them order the same names differently.
    """
    declared = tuple(str(name) for name in given) if given else None
    for name, split in splits.items():
        feature = split.features.get(label)
        feature = feature.feature if isinstance(feature, List) else feature
        if not isinstance(feature, ClassLabel):
            continue
        own = tuple(feature.names)
        declared = declared or own
        # New names for the same ids are fine; the same names in another order would swap classes silently.
        if own != declared and set(own) == set(declared):
            raise ValueError(
                f"{name}, column {label!r}: its ClassLabel orders the names {own}, elsewhere they are {declared}. "
                "Use one order."
            )
    return declared


def _build(split: Dataset, name: str, text: str, label: str, coding: LabelCoding, keep: Sequence[str]) -> Dataset:
    """One split in the corpus form; texts stay memory-mapped, labels are a new column in memory."""
    kept = [column for column in keep if column in split.column_names]
    if text not in split.column_names:
        raise _lacking(name, split, "text", text)
    target = "gold" if name == "unlabeled" else "label"
    built = split.select_columns([text, *kept])
    built = built if text == "text" else built.rename_column(text, "text")
    check_text(built, "text", f"{name}, column {text!r}")
    if built.features["text"] != Value("string"):
        with quiet_datasets():
            built = built.cast_column("text", Value("string"))
    if label not in split.column_names:
        if name == "unlabeled":
            return built
        raise _lacking(name, split, "label", label)
    column = arrow_column(split, label)
    if name == "unlabeled" and all_hidden(column):
        return built
    labels = coding.encode(column, f"{name}, column {label!r}")
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


def check_text(dataset: Dataset, column: str, where: str) -> None:
    """Warn of empty texts.

    Raises:
        ValueError: if a text is None or no string; the row is named.
    """
    remedy = "Every text must be a string: correct or drop the row"
    if not _is_text(dataset.features[column]):
        row = next((i for i, value in enumerate(dataset[column]) if not isinstance(value, str)), 0)
        value = dataset[row][column]
        refuse(where, np.array([row]), f"text {value!r} is of type {type(value).__name__}", remedy)
    texts = arrow_column(dataset, column)
    if texts.null_count:
        refuse(where, np.flatnonzero(pc.is_null(texts).to_numpy()), "text is None", remedy)
    # Chunk by chunk: the trimmed copy of a whole corpus would double its memory.
    empty = sum(pc.sum(pc.equal(pc.utf8_trim_whitespace(chunk), "")).as_py() or 0 for chunk in texts.chunks)
    if empty:
        logger.warning("%s: %d of %d texts are empty", where, empty, len(dataset))


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
        target = next((column for column in ("label", "gold") if column in split.column_names), None)
        if target:
            digest.update(label_array(split, target).tobytes())
    return digest.hexdigest()
