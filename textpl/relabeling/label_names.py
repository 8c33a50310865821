"""Where the names or descriptions of labels point among the texts, and which of them say nothing."""

from __future__ import annotations

import re

import numpy as np

from textpl.embeddings.centering import centered_rows

# Inverse strength of the penalty on the intercepts, used with names only; it is worth about five labeled rows that are
# spread evenly. With 4 to 40 rows drawn at random a free intercept follows the chance of the draw (AG News, 16 rows: 78
# instead of 84 %), and a label without any row would have one of minus infinity, whatever its name says. On a pool in
# which one class has 55 % it loses nothing either (20 and 40 rows: 2 points and half a point better than a free one).
INTERCEPT_STRENGTH = 1.0
CODES = re.compile(
    r"[\W\d_]*"  # digits and signs only: 0, 3.5, -1
    r"|[a-z]"  # one letter of an alphabet; one Chinese character is a word
    r"|(class|label|cls|lbl|category|cat|type|tag|topic|group|cluster|code|id|类|类别|标签|类型)?[\s_.:#-]*\d+"
    r"|[a-z]{1,3}[\s_.:#-]?\d+[a-z]?"  # A1, LB-12, X3a
    r"|(class|label|category|cluster|group|type)[\s_.:#-]*[a-z]"  # class A
    r"|(?=[0-9a-f-]*\d)[0-9a-f-]{8,}",  # hexadecimal ids
    re.IGNORECASE,
)


def is_code(name: str) -> bool:
    """Say whether a name is only a code, such as "0", "LABEL_2", "class A", "B12" or an id, and so says nothing.

    Example:
        >>> [is_code(name) for name in ("LABEL_2", "sports", "A", "喜", "5 stars")]
        [True, False, True, False, False]
    """
    return CODES.fullmatch(name.strip()) is not None


def spelled_out(name: str) -> str:
    """Return a name as a person would write it: `computer_graphics` and `computer-graphics` are `computer graphics`."""
    return " ".join(re.sub(r"[_-]+", " ", name).split()) or name


def name_vectors(vectors: np.ndarray, owners: np.ndarray, labels: int, mean: np.ndarray) -> np.ndarray:
    """Average what describes each label, around the texts' mean and then around the labels' own.

    What all descriptions have in common, being short, or about emotions, tells no label from another and is taken away;
    so is what all texts have in common. Of two labels the vectors are then opposite ones.

    Args:
        vectors: float32 (descriptions, d), of length 1 or 0, as the encoder gives them.
        owners: int (descriptions,), the label that each describes.
        labels: number of labels.
        mean: (d,), the `common_part` of the texts.

    Returns:
        float64 (labels, d) of length 1; zero for a label without a description that the encoder knows a word of, and
        where all descriptions are one.
    """
    own = centered_rows(vectors, mean).astype(np.float64)
    sums = np.zeros((labels, vectors.shape[1]))
    np.add.at(sums, owners, own)
    units = _unit(sums)
    there = units.any(axis=1)
    if there.sum() > 1:
        units[there] -= units[there].mean(axis=0)
    return _unit(units)


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-6)
