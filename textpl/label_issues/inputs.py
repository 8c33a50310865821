"""What `find_label_issues` is given, checked: labels as arrays, texts as strings."""

from __future__ import annotations

from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict

from textpl.cleaning.inputs import encode_column, read_labels
from textpl.corpus import check_text, declared_names
from textpl.labels import arrow_column, refuse_mixed


def given_labels(
    dataset: Dataset | None, labels: Any, column: str, names: list[str] | None, pred_probs: Any
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels that were given apart, or those of a column, as an array; and their names.

    Args:
        dataset: the rows.
        labels: instead of the column.
        column: the label column.
        names: name of every label, in the order of the ids.
        pred_probs: (rows, labels), which say how many labels there are; their values are not looked at.

    Returns:
        int8 (rows, labels) or int64 (rows,).

    Raises:
        ValueError: for labels that cannot be read, another number of rows, a column that is not there, and
            probabilities whose columns cannot be told.
    """
    shape: tuple[int, ...] = () if pred_probs is None else np.shape(pred_probs)
    count = shape[1] if len(shape) == 2 and not names else None
    if labels is not None:
        given, names_found = read_labels(labels, num_labels=count, label_names=names)
        _check_order(names_found, pred_probs, names)
        if dataset is not None and len(dataset) != len(given):
            raise ValueError(f"The dataset has {len(dataset)} rows and there are {len(given)} labels: they must agree.")
        return given, names_found
    assert dataset is not None
    _check_column(dataset, column, "label_column")
    where = f"column {column!r}"
    declared = declared_names({"dataset": dataset}, column, names)
    values = arrow_column(dataset, column)
    refuse_mixed(values, where)
    given, found = encode_column(values, where, declared)
    _check_order(found, pred_probs, declared)
    return given, found


def _check_order(names: tuple[str, ...], pred_probs: Any, declared: Any) -> None:
    """Refuse to guess which column of the probabilities is which name."""
    if pred_probs is not None and not declared and not all(name.isdigit() for name in names):
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise ValueError(
            f"pred_probs with labels given by name ({shown}): pass label_names in the order of its columns."
        )


def column_texts(dataset: Dataset, column: str, name: str = "dataset") -> list[str]:
    """The texts of a dataset.

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
