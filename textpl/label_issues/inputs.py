"""What `find_label_issues` is given, checked: labels as arrays, probabilities in their order, texts as strings."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

from textpl.reading.find_columns import check_text, declared_names
from textpl.reading.label_arrays import encode_labels, has_names, match_probabilities, read_labels
from textpl.reading.label_format import LabelFormat
from textpl.reading.labels import arrow_column


def given_labels(
    dataset: Dataset | None,
    labels: Any,
    column: str,
    names: list[str] | None,
    pred_probs: Any,
    label_format: LabelFormat | None = None,
) -> tuple[np.ndarray, tuple[str, ...], Any]:
    """Read labels that were given apart, or those of a column; their names; and the probabilities in that order.

    Args:
        dataset: the rows.
        labels: instead of the column.
        column: the label column.
        names: name of every label, in the order of the ids.
        pred_probs: (rows, labels), an array or a DataFrame.
        label_format: how labels are written.

    Returns:
        int8 (rows, labels) or int64 (rows,); names; probabilities, None where there are none.

    Raises:
        ValueError: for labels that cannot be read, another number of rows, a column that is not there, and
            probabilities whose columns cannot be told.
    """
    if labels is not None:
        size = _columns(pred_probs) if not names and not has_names(pred_probs) else None
        given, found = read_labels(labels, num_labels=size, label_names=names, label_format=label_format)
        if dataset is not None and len(dataset) != len(given):
            raise ValueError(f"The dataset has {len(dataset)} rows and there are {len(given)} labels: they must agree.")
        declared: Any = names
        ids = given.ndim == 2 and isinstance(labels, np.ndarray) or all(_is_id(name, k) for k, name in enumerate(found))
        ids = ids and not _holds_text(labels)
    else:
        assert dataset is not None
        _check_column(dataset, column, "label_column")
        where = f"column {column!r}"
        declared = declared_names({"dataset": dataset}, column, names)
        values = arrow_column(dataset, column)
        encoded = encode_labels(values, where, label_names=declared, label_format=label_format)
        given, found = encoded.array, encoded.coding.label_names
        ids = encoded.coding.form in ("id", "ids", "multi_hot")
    if pred_probs is None:
        return given, found, None
    p, every = match_probabilities(pred_probs, found, declared, ids=ids)
    if given.ndim == 2 and len(every) > given.shape[1]:
        given = np.pad(given, ((0, 0), (0, len(every) - given.shape[1])))
    return given, every, p


def column_texts(dataset: Dataset, column: str, name: str = "dataset") -> list[str]:
    """Return the texts of a dataset.

    Args:
        dataset: the rows.
        column: the text column.
        name: of the argument, for errors.

    Raises:
        ValueError: for no dataset, no rows, a column that is not there, and texts that are none.
    """
    _check_column(dataset, column, "text_column", name)
    check_text(dataset, column, f"column {column!r}")
    return dataset.with_format(None)[column][:]


def _columns(pred_probs: Any) -> int | None:
    return np.shape(pred_probs)[1] if pred_probs is not None and np.ndim(pred_probs) == 2 else None


def _is_id(name: str, place: int) -> bool:
    return name == str(place)


def _holds_text(labels: Any) -> bool:
    flat = (value for row in labels for value in (row if isinstance(row, (list, tuple, set, np.ndarray)) else [row]))
    return isinstance(next(flat, None), str)


def _check_column(dataset: Dataset, column: str, argument: str, name: str = "dataset") -> None:
    if not isinstance(dataset, Dataset):
        remedy = (
            "choose one split" if isinstance(dataset, DatasetDict) else "use Dataset.from_dict or Dataset.from_pandas"
        )
        raise ValueError(f"{name} must be a datasets.Dataset, not {type(dataset).__name__}: {remedy}.")
    if len(dataset) == 0:
        raise ValueError(f"{name}: the dataset has no rows.")
    if column not in dataset.column_names:
        raise ValueError(f"{argument}={column!r}: the columns of {name} are {dataset.column_names}.")
