"""Several encoders as one: vectors side by side, each kind around its own mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.encoder_candidates import JOIN
from textpl.embeddings.neighbors import unit_rows


class JoinedEncoder:
    """Unit vectors of several encoders, centered on the texts of a call, side by side with equal weight.

    A dot product of two such vectors is the mean of the encoders' centered cosines. Without the centering, what an
    encoder puts into all of its vectors would count against the others.

    When to use: several labels per row, with "lsa" as one of them: words that give a label away, such as "thanks", and
    what a text means complete each other (docs/encoders.md). With one label per row it lost up to 5 points.

    Like those of "lsa", vectors of two calls do not compare: encode labeled and pool rows in one call. What each
    encoder itself makes of the texts is cached where it can be.

    Args:
        encoders: two or more; see `textpl.embeddings.encoders.get_encoder`, which makes one of a list of names too.
        cache_dir: folder of their vectors; default: that of the call, else beside the datasets cache.

    Raises:
        ValueError: for fewer than two.
    """

    def __init__(self, encoders: Sequence[Any], *, cache_dir: str | Path | None = None) -> None:
        if len(encoders) < 2:
            raise ValueError(f"{len(encoders)} encoder to join: name two or more, or one by itself.")
        self.encoders, self.cache_dir = list(encoders), cache_dir
        self.name = JOIN.join(encoder.name for encoder in encoders)

    def cached_in(self, folder: str | Path | None) -> JoinedEncoder:
        """The same with its vectors in that folder, unless it was given one."""
        return self if self.cache_dir or not folder else JoinedEncoder(self.encoders, cache_dir=folder)

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Vectors of length 1 (less where an encoder has none for a text), float32 (n, sum of dimensions).

        Raises:
            TypeError: if a text is not a string; the row is named.
        """
        if not len(texts):
            return np.zeros((0, 0), np.float32)
        parts = [encode_cached(one, texts, cache_dir=self.cache_dir, progress=progress) for one in self.encoders]
        joined = np.hstack([centered_rows(unit_rows(np.asarray(part))) for part in parts])
        return (joined / np.sqrt(len(parts))).astype(np.float32)
