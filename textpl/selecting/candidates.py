"""Rows that may be chosen, and choices without repeats: no text twice, none that says what a labeled one says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from textpl.cleaning.duplicates import leaks, near_duplicates, normalized
from textpl.label_issues.groups import joined

# A choice that repeats itself is made anew without what it repeats, at most so often.
ATTEMPTS = 10


@dataclass(frozen=True)
class Candidates:
    """Which rows of a pool may be chosen, and why the others may not.

    Attributes:
        allowed: bool (n,).
        empty: rows without text, or whose text the encoder can make nothing of.
        equal: rows with the text of an earlier row.
        known: rows whose text is, or nearly is, one that is labeled or was chosen before.
    """

    allowed: np.ndarray
    empty: int
    equal: int
    known: int

    def told(self) -> str:
        """Say how many rows are left out, and why; nothing if none is."""
        parts = [
            (self.empty, "without text that the encoder knows"),
            (self.equal, "equal to an earlier one"),
            (self.known, "equal or nearly equal to a labeled one or one that was chosen before"),
        ]
        named = [f"{count:,} {why}" for count, why in parts if count]
        return f"Never chosen: {', '.join(named)}." if named else ""


def candidates(
    texts: Sequence[str], vectors: np.ndarray, known_texts: Sequence[str], known_vectors: np.ndarray
) -> Candidates:
    """Find the rows that may be chosen.

    Args:
        texts: n texts of the pool.
        vectors: float32 (n, d), their embeddings, not centered.
        known_texts: m texts that are labeled, or were chosen before.
        known_vectors: float32 (m, d), theirs by the same encoder.
    """
    found = [normalized(text) for text in texts]
    empty = np.array([not text for text in found], dtype=bool) | ~np.asarray(vectors.any(1))
    first: dict[str, int] = {}
    for row, text in enumerate(found):
        first.setdefault(text, row)
    equal = np.array([first[text] != row for row, text in enumerate(found)], dtype=bool) & ~empty
    known = np.zeros(len(found), dtype=bool)
    if known_texts:
        known[leaks(known_texts, texts, known_vectors, vectors).test_rows] = True
    known &= ~empty
    equal &= ~known
    return Candidates(~(empty | equal | known), int(empty.sum()), int(equal.sum()), int(known.sum()))


def without_repeats(
    choose: Callable[[np.ndarray], np.ndarray],
    texts: Sequence[str],
    vectors: np.ndarray,
    allowed: np.ndarray,
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Choose rows of which no two are nearly the same text, or of one group.

    Args:
        choose: `choose(allowed) -> rows`, the same rows whenever `allowed` is the same.
        texts: n texts of the pool.
        vectors: float32 (n, d), their embeddings, not centered.
        allowed: bool (n,), rows that may be chosen.
        groups: int64 (n,), what belongs together, such as the windows of one document.

    Returns:
        int64, fewer than were asked for where the pool has no more different texts.
    """
    allowed, rows, first = allowed.copy(), np.zeros(0, np.int64), np.zeros(0, bool)
    for _ in range(ATTEMPTS):
        rows = choose(allowed)
        if not len(rows):
            return rows
        alike = near_duplicates([texts[row] for row in rows.tolist()], vectors[rows])
        if groups is not None:
            alike = joined(alike, np.unique(groups[rows], return_inverse=True)[1])
        first = np.zeros(len(rows), dtype=bool)
        first[np.unique(alike, return_index=True)[1]] = True
        if first.all():
            return rows
        kept = rows[first]
        blocked = np.zeros(len(allowed), dtype=bool)
        blocked[leaks([texts[row] for row in kept.tolist()], texts, vectors[kept], vectors).test_rows] = True
        if groups is not None:
            blocked |= np.isin(groups, groups[kept])
        blocked[rows[~first]], blocked[kept] = True, False
        allowed &= ~blocked
    return rows[first]
