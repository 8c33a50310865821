"""What `textpl.label` is given, as arrays and texts: labeled rows, or only the names of labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from textpl.label_descriptions import LabelDescriptions
from textpl.reading.find_columns import check_text, declared_names
from textpl.reading.label_arrays import EncodedLabels, encode_labels
from textpl.reading.label_format import LabelFormat
from textpl.reading.labels import MULTI, arrow_column, in_order
from textpl.selecting.chosen_rows import as_left_open

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What is known of the labels.

    Attributes:
        dataset: the labeled rows; without any, an empty one.
        texts: theirs.
        targets: float32 (labeled rows, labels), one-hot or multi-hot.
        label_names: of every label; position is id.
        multi: whether a row may have several labels.
    """

    dataset: Dataset
    texts: list[str]
    targets: np.ndarray
    label_names: tuple[str, ...]
    multi: bool

    @property
    def empty(self) -> tuple[str, ...]:
        """Labels that no labeled row has."""
        return tuple(name for name, n in zip(self.label_names, self.targets.sum(0), strict=True) if n == 0)


def read_known(
    labeled: Dataset | None,
    text_column: str,
    label_column: str,
    *,
    label_names: Sequence[str] | None,
    descriptions: LabelDescriptions | str | None,
    multi_label: bool,
    label_format: LabelFormat | None,
) -> Known:
    """Read the labeled rows or, where there are none, what the labels are called.

    Raises:
        ValueError: for missing columns, texts, labels or names; a name that is there twice; fewer than two labels.
    """
    if labeled is None:
        return _only_names(text_column, label_names, descriptions, multi_label)
    check_rows(labeled, "labeled", label_column)
    where = f"labeled, column {label_column!r}"
    declared = declared_names({"labeled": labeled}, label_column, label_names)
    values, label_format = arrow_column(labeled, label_column), as_left_open(label_format, labeled, label_column)
    declared = declared or _described_beside_one(values, descriptions)
    encoded = encode_labels(values, where, label_names=declared, label_format=label_format)
    if more := _described_beside(encoded, descriptions):
        encoded = encode_labels(values, where, label_names=more, label_format=label_format)
    for note in encoded.cells.notes:
        logger.warning("%s", note)
    coding, labels = encoded.coding, encoded.array
    targets = labels if labels.ndim == 2 else np.eye(len(coding.label_names), dtype=np.float32)[labels]
    texts = read_texts(labeled, "labeled", text_column)
    return Known(labeled, texts, targets.astype(np.float32), coding.label_names, coding.problem_type == MULTI)


def read_texts(dataset: Dataset, name: str, column: str) -> list[str]:
    """Read a text column.

    Raises:
        ValueError: for what is no dataset or has no rows, a missing column, and what is no text; the row is named.
    """
    check_rows(dataset, name, column)
    check_text(dataset, column, f"{name}, column {column!r}")
    return list(dataset.with_format(None)[column][:])


def check_rows(dataset: Dataset, name: str, column: str) -> None:
    """Raise ValueError unless this is a dataset with rows and such a column."""
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"{name} must be a datasets.Dataset, not {type(dataset).__name__}: build one with Dataset.from_dict or "
            "Dataset.from_pandas."
        )
    if len(dataset) == 0:
        remedy = " Pass None and label_names to label by what the labels are called." if name == "labeled" else ""
        doing = "learn from" if name == "labeled" else "label"
        raise ValueError(f"{name} has no rows: there is nothing to {doing}.{remedy}")
    if column not in dataset.column_names:
        raise ValueError(f"{name} has no column {column!r}; its columns are {dataset.column_names}.")


def _described_beside(encoded: EncodedLabels, descriptions: LabelDescriptions | str | None) -> tuple[str, ...] | None:
    """All names, where labels are described that are written as names and that no labeled row happens to have."""
    coding = encoded.coding
    if not isinstance(descriptions, Mapping) or coding.declared or coding.form not in ("name", "names"):
        return None
    described = {str(name) for name in descriptions}
    return in_order(described) if set(coding.label_names) < described else None


def _described_beside_one(
    values: pa.ChunkedArray, descriptions: LabelDescriptions | str | None
) -> tuple[str, ...] | None:
    """All names, where labels are described and every labeled row has the same one of them."""
    if not isinstance(descriptions, Mapping):
        return None
    own, described = pc.unique(values).to_pylist(), {str(name) for name in descriptions}
    one = len(own) == 1 and isinstance(own[0], str) and own[0] in described
    return in_order(described) if one else None


def _only_names(
    text_column: str,
    label_names: Sequence[str] | None,
    descriptions: LabelDescriptions | str | None,
    multi_label: bool,
) -> Known:
    found = label_names if label_names is not None else descriptions if isinstance(descriptions, Mapping) else ()
    names = tuple(map(str, found))
    if len(names) < 2:
        raise ValueError(
            "labeled=None: without labeled rows, label_names or label_descriptions must tell at least two labels; "
            f"there {'is ' + repr(names[0]) if names else 'are none'}."
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"label_names: {', '.join(map(repr, twice))} is there more than once.")
    empty = Dataset.from_dict({text_column: []})
    return Known(empty, [], np.zeros((0, len(names)), dtype=np.float32), names, multi_label)
