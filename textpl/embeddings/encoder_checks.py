"""What goes into an encoder and what comes out of one, checked.

Texts are strings, in a language that the encoder was made for; vectors are finite and (n, d).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from textpl.embeddings.encoder_candidates import DEFAULT_ENCODER, JOIN, MIXED, loadable, reading, scripts

NAMED = 3  # encoders in the message


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


def check_language(name: str, texts: Sequence[str]) -> None:
    """Refuse texts of other than Latin letters for the usual encoder, alone or joined: it was made for English.

    Nothing else would tell: its vocabulary has single letters of many scripts, so that few tokens are unknown, and all
    such texts look alike. Of other encoders it is not known here what they read; `textpl.unknown_tokens` warns.

    Args:
        name: of the encoder.
        texts: n strings; a sample is looked at.

    Raises:
        ValueError: if a fifth of the letters or more (mean over the texts) are of another script; it names encoders
            that read them.
    """
    if DEFAULT_ENCODER not in name.split(JOIN) or not len(texts):
        return
    shares = scripts(texts)
    if sum(shares.values()) == 0 or 1 - shares["latin"] < MIXED:
        return
    what = "Chinese" if shares["chinese"] >= shares["other"] else "not Latin"
    others, here = [found.name for found in reading(texts)][:NAMED], loadable()
    ready = others[0] in here
    raise ValueError(
        f"The usual encoder, {DEFAULT_ENCODER}, was made for English, and {100 * (1 - shares['latin']):.0f} % of the "
        f"letters of these texts are {what}: their vectors would say next to nothing. Name one that reads them, as "
        f"encoder={others[0]!r} ({'on this machine already' if ready else 'a download'}), {', '.join(others[1:])}"
        f'{", " if others[1:] else ""}or "lsa", which needs no download and is weaker; in a recipe label.encoder or '
        "clean.encoder, and a model.name that reads them too. `textpl encoders` compares encoders on your labeled rows."
    )


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
