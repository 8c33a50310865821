"""What every view needs: the `View` contract, words and the gaps between them, words that must stay."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol

import numpy as np

Tokenizer = Callable[[str], list[str]]

_ENGLISH = (
    "not no never nor neither none nobody nothing nowhere noone non nope nah without cannot unable hardly barely "
    "scarcely rarely seldom lack lacks lacked lacking fail fails failed failing n't "
    "aint arent cant couldnt darent didnt doesnt dont hadnt hasnt havent isnt mightnt mustnt neednt oughtnt shant "
    "shouldnt wasnt werent wont wouldnt"
)
_CHINESE = "不 没 沒 無 无 非 未 别 別 莫 勿 毫 否 甭 没有 沒有 并非 並非 毫无 毫無 从未 從未 缺乏 缺少 难以 難以 很少"
# Dropping or inserting one of these can turn the label over: "not good" must not become "good".
NEGATORS: tuple[str, ...] = (*_ENGLISH.split(), *_CHINESE.split())

_CJK = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_LETTER = rf"[^\W_{_CJK}]"
# \w leaves out vowel signs and accents written as combining marks; without them Hindi or Thai words fall apart.
_MARKS = "".join(chr(c) for c in range(0x300, 0x3100) if unicodedata.category(chr(c)) in ("Mn", "Mc")) + "\u200c\u200d"
_JOINERS = "-'’‐‑"  # the hyphen comes first, so that it makes no range
# Groups repeat greedily, not possessively: "(...)*+" gives back too little up to Python 3.11.4. Nothing can fail after
# them, so that nothing is tried twice.
_RUN = rf"{_LETTER}++(?:[{_MARKS}]++{_LETTER}*+)*"
# The look-ahead leaves keycap emoji (a digit and two marks) among the separators.
_LATIN = rf"(?![0-9]\ufe0f?\u20e3){_RUN}(?:[{_JOINERS}]{_RUN})*"
_WORD = re.compile(rf"([{_CJK}][{_MARKS}]*+|{_LATIN})")
_GLUED = re.compile(rf".[{_MARKS}]|(?:{_LETTER}|[{_MARKS}])[{_JOINERS}]?{_LETTER}", re.DOTALL)


class View(Protocol):
    """A random copy of a text that keeps its label.

    A view is an immutable, picklable value: `fit` gives back a new one (itself when there is nothing to
    learn), and a call depends on nothing but the text and the state of `rng`.
    """

    def fit(self, texts: Iterable[str]) -> View:
        """Return a view that knows the statistics of `texts`."""
        ...

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """Return a noisy copy of `text`."""
        ...


def row_rng(seed: int, row: int, epoch: int, *part: int) -> np.random.Generator:
    """Random numbers of one row in one epoch, the same in any order of rows and with any number of workers.

    The texts of a pair have numbers of their own: `part` is 0 or 1 there.
    """
    return np.random.default_rng([seed, row, epoch, *part])


def split_words(text: str, tokenizer: Tokenizer | None = None) -> tuple[list[str], list[str]]:
    """Split a text into words and the gaps around them.

    By default Chinese characters are words of their own, and so is any other run of letters and digits with
    inner apostrophes and hyphens; blanks, punctuation and emoji belong to the gaps. Thai and Japanese kana have
    no blanks between words: pass a tokenizer.

    Args:
        text: any text.
        tokenizer: splits a text into pieces that occur in it in order, for example `jieba.lcut`. Text between
            the pieces, and pieces with neither letter nor digit, go to the gaps.

    Returns:
        n words and n + 1 gaps; gap, word, gap, ..., word, gap is the text again.

    Raises:
        ValueError: if a piece is not to be found in the text.
    """
    if tokenizer is None:
        parts = _WORD.split(text)
        return parts[1::2], parts[::2]
    words, gaps, end = [], [], 0
    for piece in tokenizer(text):
        if not _WORD.search(piece):
            continue
        start = text.find(piece, end)
        if start < 0:
            raise ValueError(
                f"the tokenizer returned {piece!r}, which does not follow in {text[end : end + 80]!r} (text "
                f"{text[:80]!r}): its pieces must be parts of the text as it is written, in order."
            )
        gaps.append(text[end:start])
        words.append(piece)
        end = start + len(piece)
    return words, [*gaps, text[end:]]


def join_words(words: list[str], gaps: list[str]) -> str:
    """Rebuild a text from n words and n + 1 gaps."""
    parts = [""] * (2 * len(words) + 1)
    parts[::2], parts[1::2] = gaps, words
    return "".join(parts)


def mend_gaps(words: list[str], gaps: list[str], at: Iterable[int]) -> None:
    """Put a blank into those of the gaps `at` over which two words would grow into one (in place).

    Chinese and English words touch without a blank, so that a change beside such a place can make
    "do" + "not" into "donot".
    """
    for i in at:
        if i > 0 and _GLUED.match(words[i - 1][-1] + gaps[i] + (words[i][0] if i < len(words) else "")):
            gaps[i] = " " + gaps[i]


@lru_cache(maxsize=64)
def _lookup(protected: tuple[str, ...], negators: bool) -> tuple[frozenset[str], re.Pattern[str] | None]:
    """Protected words to compare as a whole, and a pattern of those that are found inside the text."""
    listed = {_plain(word) for word in (NEGATORS if negators else ()) + protected}
    whole = frozenset(word for word in listed if re.fullmatch(_LATIN, word))
    patterns = []
    for phrase in sorted(listed - whole, key=lambda word: (-len(word), word)):
        before = f"(?<!{_LETTER})" if re.match(_LETTER, phrase[0]) else ""
        after = f"(?!{_LETTER})" if re.match(_LETTER, phrase[-1]) else ""
        patterns.append(before + re.escape(phrase) + after)
    return whole, re.compile("|".join(patterns), re.IGNORECASE) if patterns else None


def _straight(text: str) -> str:
    return text.replace("’", "'")


def _plain(word: str) -> str:
    return _straight(word.lower())


@lru_cache(maxsize=1 << 15)
def is_protected(word: str, protected: tuple[str, ...] = (), negators: bool = True) -> bool:
    """Whether a word is, or contains, a word that must stay: "don't", "not-so-good" and "不错" do.

    Args:
        word: one word, in any case, with either apostrophe.
        protected: the user's own words.
        negators: whether `NEGATORS` and every word in n't count too.
    """
    whole, phrases = _lookup(protected, negators)
    word = _plain(word)
    if phrases is not None and phrases.search(word):
        return True
    parts = (word, *re.split(r"[‐‑\s-]", word), *re.split(rf"[{_JOINERS}\s]", word))
    return any(part in whole or (negators and part.endswith("n't")) for part in parts)


def protected_mask(
    words: list[str], gaps: list[str], protected: tuple[str, ...] = (), negators: bool = True
) -> list[bool]:
    """Which words must stay; a protected expression of several words protects all of them where it occurs."""
    mask = [is_protected(word, protected, negators) for word in words]
    phrases = _lookup(protected, negators)[1]
    if phrases is None:
        return mask
    text = _straight(join_words(words, gaps))
    found = phrases.search(text)
    if found is None:
        return mask
    owner = [-1] * len(gaps[0])
    for i, word in enumerate(words):
        owner += [i] * len(word) + [-1] * len(gaps[i + 1])
    while found is not None:
        for i in set(owner[found.start() : found.end()]) - {-1}:
            mask[i] = True
        found = phrases.search(text, found.start() + 1)  # expressions may overlap
    return mask


def fragments(protected: tuple[str, ...], negators: bool) -> frozenset[str]:
    """Words that may not be inserted because a protected expression could grow out of them."""
    listed = (NEGATORS if negators else ()) + protected
    split = {_plain(word): split_words(_plain(word))[0] for word in listed}
    # 没有 holds a protected 没 already, so another 有 beside it turns nothing over.
    return frozenset(w for ws in split.values() if not any(w in split for w in ws) for w in ws)


def check_probability(name: str, value: float) -> None:
    """Raise ValueError unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r} is no probability: use a number from 0 to 1.")


def checked_words(protected: Iterable[str]) -> tuple[str, ...]:
    """Return the user's protected words as a tuple.

    Raises:
        ValueError: for one string instead of several, or a blank word.
    """
    words = () if isinstance(protected, str) else tuple(protected)
    if isinstance(protected, str) or not all(isinstance(word, str) and word.strip() for word in words):
        raise ValueError(f"protected={protected!r} is no tuple of words: write protected=('refund', 'great').")
    return tuple(word.strip() for word in words)
