"""Texts that share passages, such as overlapping windows of one document: each half tells the label of the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textpl.cleaning.duplicates import bare, normalized, shingle_hashes

# Characters of a passage, longer than what is shared by chance: of alphabets, and of scripts with a sign for a word.
ALPHABETIC, IDEOGRAPHIC = 32, 12
CHUNK = 2_000_000  # characters at a time
FIRST_IDEOGRAPH = "\u2e80"
SAMPLE = 4  # one of so many passages is looked at, the same ones in every text
COMMON = 0.02  # of the texts: a passage in more of them is a form letter, not a neighbor in a document
FEWEST_COMMON = 20
SHARED = 0.25  # of a text's passages
HEAVY = 0.1  # of the texts: from here on people are told


def shared_share(texts: Sequence[str]) -> np.ndarray:
    """Share of every text that also stands in another one that is not its duplicate.

    Passages of 32 characters (12 where most are Chinese, Japanese or Korean) are compared by hash, a fixed quarter of
    all (Broder 1997, sampling modulo). Passages that more than 2 % of the texts (and more than 20) have do not count.

    Args:
        texts: n strings.

    Returns:
        float64 (n,), 0 for texts that are shorter.
    """
    words = [bare(normalized(text)) for text in texts]
    places = {form: place for place, form in enumerate(dict.fromkeys(words))}
    forms, first = list(places), np.fromiter((places[form] for form in words), np.int64, len(words))
    size = _passage(words)
    lengths = np.array([max(len(form) - size + 1, 0) for form in forms])
    long = np.flatnonzero(lengths)
    share = np.zeros(len(forms))
    if not len(long):
        return share[first]
    blocks = np.cumsum(lengths[long]) // CHUNK
    found = [_sampled(forms, long[blocks == block], lengths, size) for block in np.unique(blocks)]
    pairs = np.unique(np.concatenate(found, axis=1), axis=1)
    _, number, count = np.unique(pairs[0], return_inverse=True, return_counts=True)
    own = pairs[1].astype(np.int64)
    shared = (count[number] > 1) & (count[number] <= max(FEWEST_COMMON, COMMON * len(forms)))
    total = np.bincount(own, minlength=len(forms))
    share = np.bincount(own, weights=shared, minlength=len(forms)) / np.maximum(total, 1)
    return share[first]


def _sampled(forms: list[str], rows: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """Hashes of a fixed sample of the passages of some texts, and their rows: uint64 (2, m)."""
    # The hashes of a text that is joined to others by zeros: those across its ends are left out.
    hashes = shingle_hashes([forms[row] for row in rows], size)
    every = lengths[rows] + 2 * (size - 1)
    own = np.repeat(rows, every)
    place = np.arange(len(own)) - np.repeat(np.cumsum(every) - every, every)
    inside = (place >= size - 1) & (place < size - 1 + lengths[own]) & (hashes % np.uint64(SAMPLE) == 0)
    return np.stack([hashes[inside], own[inside].astype(np.uint64)])


def _passage(texts: list[str]) -> int:
    characters = "".join(texts[:1000])
    signs = sum(character >= FIRST_IDEOGRAPH for character in characters)
    return IDEOGRAPHIC if 2 * signs > len(characters) else ALPHABETIC


def passages_warning(texts: Sequence[str], groups: bool, name: str = "texts") -> str | None:
    """Tell of texts that overlap heavily where nobody has said which belong together; None where there is nothing.

    Args:
        texts: n strings.
        groups: whether groups were given.
        name: what the texts are.
    """
    if groups or len(texts) < 2:
        return None
    heavy = shared_share(texts) >= SHARED
    if heavy.mean() < HEAVY:
        return None
    return (
        f"{int(heavy.sum()):,} of {len(texts):,} {name} share a quarter or more of their characters with another one "
        "(windows of one document, a thread with its quotes?): what is measured on one half of such a pair is too good "
        "for new documents. Name the column that tells which belong together: groups=COLUMN."
    )
