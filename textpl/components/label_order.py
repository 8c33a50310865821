"""Numbers per label from elsewhere, brought into the order of a model's labels by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textpl.reading.probabilities import in_order

REMEDY = (
    "load the model with id2label={0: 'first name', ...} and label2id, the other way round, in "
    "AutoModelForSequenceClassification.from_pretrained"
)


def has_default_names(label_names: Sequence[str]) -> bool:
    """Whether names say nothing but a place: LABEL_0, LABEL_1, ..., as transformers makes them up, or 0, 1, ...."""
    return _numbers(label_names) == [str(i) for i in range(len(label_names))]


def in_model_order(
    values: np.ndarray, names: Sequence[str] | None, label_names: Sequence[str], what: str, remedy: str
) -> np.ndarray:
    """Bring numbers into the order of a model's labels.

    Args:
        values: (rows, labels).
        names: of its columns; None where nothing tells them.
        label_names: of the model, in the order of its outputs. Names that are numbers, "0", "1", fit LABEL_0, LABEL_1.
        what: whose numbers they are, for errors.
        remedy: how to say which number is for which label, for errors.

    Raises:
        ValueError: if only one side has names, or the names are not the same.
    """
    default = has_default_names(label_names)
    if names is None:
        if default:
            return values
        raise ValueError(
            f"{what} does not say which of its {values.shape[1]} numbers is for which label, and the model's labels "
            f"are {list(label_names)}: {remedy}."
        )
    if default:
        if set(_numbers(names)) != set(_numbers(label_names)):
            raise ValueError(
                f"{what} is for the labels {list(names)}, but the model only has the default names "
                f"{list(label_names)}, which do not say what its outputs are: {REMEDY}."
            )
        names, label_names = _numbers(names), _numbers(label_names)
    return in_order(values, names, label_names, what)


def _numbers(names: Sequence[str]) -> list[str]:
    return [name.removeprefix("LABEL_") for name in names]
