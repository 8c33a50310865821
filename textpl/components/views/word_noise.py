"""Word noise: a few words are dropped and a few change places with their neighbour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from textpl.components.views.words import (
    Tokenizer,
    check_probability,
    checked_words,
    join_words,
    mend_gaps,
    protected_mask,
    split_words,
)


@dataclass(frozen=True)
class WordNoise:
    """Drop words, then swap neighbours (after the noise model of https://arxiv.org/abs/1711.00043).

    When to use: a cheap view that needs no corpus, for short texts and as a first baseline; it invents no
    words, so it is weaker noise than `TfidfReplacement`.

    A dropped word takes one blank beside it along. A word moves by one place at most. Protected words are
    neither dropped nor moved, and no word moves past one. At least one word stays.

    Args:
        drop: probability that an unprotected word is dropped.
        swap: probability that an unprotected word changes places with its right neighbour.
        tokenizer: how to split a text into words, see `words.split_words`; it must be picklable to go to workers.
        protected: words to keep besides the negators, in any case; "面包" protects both characters where they
            stand together.
        negators: whether `NEGATORS` are protected.

    Raises:
        ValueError: for a probability outside [0, 1] or blank protected words.

    Example:
        >>> import numpy as np
        >>> WordNoise(drop=1.0, swap=0.0)("this is not good", np.random.default_rng(0))
        'not'
    """

    drop: float = 0.1
    swap: float = 0.1
    tokenizer: Tokenizer | None = None
    protected: tuple[str, ...] = ()
    negators: bool = True

    def __post_init__(self) -> None:
        check_probability("drop", self.drop)
        check_probability("swap", self.swap)
        object.__setattr__(self, "protected", checked_words(self.protected))

    def fit(self, texts: Iterable[str]) -> WordNoise:
        """Return self: there is nothing to learn."""
        return self

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """Return a noisy copy of `text`."""
        words, gaps = split_words(text, self.tokenizer)
        if not words:
            return text
        fixed = protected_mask(words, gaps, self.protected, self.negators)
        # Both rows are always drawn, so that changing one probability leaves the other noise as it was.
        drop_draws, swap_draws = rng.random((2, len(words))).tolist()
        kept = [i for i, draw in enumerate(drop_draws) if fixed[i] or draw >= self.drop]
        kept = kept or [max(range(len(words)), key=drop_draws.__getitem__)]
        gaps, changed = _close_gaps(gaps, kept)
        order = list(kept)
        k = 0
        while k < len(order) - 1:
            i, j = order[k], order[k + 1]
            if swap_draws[i] < self.swap and not fixed[i] and not fixed[j]:
                order[k], order[k + 1] = j, i
                changed += [k, k + 1, k + 2]
                k += 1  # both words of the pair have moved
            k += 1
        words = [words[i] for i in order]
        mend_gaps(words, gaps, changed)
        return join_words(words, gaps)


def _close_gaps(gaps: list[str], kept: list[int]) -> tuple[list[str], list[int]]:
    """Gaps around the kept words, and the indices of those from which a word has gone."""
    closed: list[str] = []
    changed: list[int] = []
    last = -1
    for word in [*kept, len(gaps) - 1]:
        gap = gaps[last + 1]
        for right in gaps[last + 2 : word + 1]:
            gap = _close(gap, right)
        if word > last + 1:
            changed.append(len(closed))
        closed.append(gap)
        last = word
    return closed, changed


def _close(left: str, right: str) -> str:
    """Join two gaps less one blank, a space rather than a line break: 'a[ ]b[, ]c' becomes 'a[, ]c'."""
    for is_blank in (" ".__eq__, str.isspace):
        if left and is_blank(left[-1]):
            return left[:-1] + right
        if right and is_blank(right[0]):
            return left + right[1:]
    return left + right
