"""What goes into an encoder and what comes out of one, checked: texts are strings, vectors are finite and (n, d)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def checked_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list.

    Raises:
        TypeError: if `texts` is one string, or an element is not a string; the row is named.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one string, not a sequence of them: pass [text].")
    found = list(texts)
    for row, text in enumerate(found):
        if not isinstance(text, str):
            raise TypeError(
                f"Row {row}: the text is {text!r} ({type(text).__name__}), not a string. Drop or convert such rows."
            )
    return found


def checked_vectors(vectors: Any, name: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """An encoder's output as a float32 array of shape (len(rows), d).

    Args:
        vectors: what the encoder returned.
        name: the encoder's name, for errors.
        rows: number of each text among those the caller gave, for errors.

    Raises:
        ValueError: if the shape is not (len(rows), d) with d above 0, or a number is NaN or infinite.
    """
    found = np.asarray(vectors, dtype=np.float32)
    if found.ndim != 2 or len(found) != len(rows) or found.shape[1] == 0:
        raise ValueError(
            f"Encoder {name!r} returned an array of shape {found.shape} for {len(rows)} texts, not ({len(rows)}, d)."
        )
    # A sum over a row is finite only if its numbers are; in float64, so that large ones do not overflow.
    bad = np.flatnonzero(~np.isfinite(found.sum(1, dtype=np.float64)))
    if len(bad):
        raise ValueError(
            f"Encoder {name!r} returned NaN or infinite numbers for {len(bad)} of {len(rows)} texts, first for row "
            f"{rows[bad[0]]}: look at that text, or try the encoder in full precision or another encoder."
        )
    return found
