"""TF-IDF word replacement: words that say little give way to other words that say little."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field, replace

import numpy as np

from textpl.components.views.words import (
    Tokenizer,
    check_probability,
    checked_words,
    fragments,
    is_protected,
    join_words,
    mend_gaps,
    protected_mask,
    split_words,
)


def replacement_probabilities(scores: np.ndarray, p: float) -> np.ndarray:
    """min(1, p (C - s_i) / mean_j(C - s_j)) with C = max s; 0 everywhere when all scores are equal.

    Args:
        scores: TF-IDF of each word of one text. Shape (words,).
        p: share of the words that is touched on average, before the cut at 1.

    Returns:
        Probability of replacing each word. Shape (words,).
    """
    if scores.size == 0:
        return np.zeros(0)
    room = scores.max() - scores
    mean = room.sum() / room.size
    return np.minimum(p * room / mean, 1.0) if mean > 0 else np.zeros(room.size)


def substitute_probabilities(mass: np.ndarray) -> np.ndarray:
    """(max S - S_w) / sum_v(max S - S_v); uniform when all masses are equal, where this is 0/0.

    Args:
        mass: TF-IDF of each word summed over the corpus. Shape (vocabulary,).

    Returns:
        Probability of each word as a substitute. Shape (vocabulary,).
    """
    room = mass.max() - mass
    total = room.sum()
    return room / total if total > 0 else np.full(mass.size, 1 / mass.size)


@dataclass(frozen=True)
class Vocabulary:
    """What `TfidfReplacement.fit` has learnt; two are equal when their fingerprints are.

    Args:
        fingerprint: digest of the contents.
        idf: ln(N / document frequency) of every word of the corpus.
        unseen_idf: ln(N), for words that the corpus does not hold.
        substitutes: words that may be inserted.
        cumulative: running sum of their probabilities. Shape (substitutes,).
    """

    fingerprint: str
    idf: dict[str, float] = field(repr=False, compare=False)
    unseen_idf: float = field(repr=False, compare=False)
    substitutes: tuple[str, ...] = field(repr=False, compare=False)
    cumulative: np.ndarray = field(repr=False, compare=False)

    def draw(self, uniform: np.ndarray) -> list[str]:
        """Substitutes at the quantiles `uniform`, in [0, 1)."""
        at = np.searchsorted(self.cumulative, uniform * self.cumulative[-1], side="right")
        # Rounding can put the product on the last sum itself, one past the end.
        return [self.substitutes[i] for i in np.minimum(at, len(self.substitutes) - 1).tolist()]


@dataclass(frozen=True)
class TfidfReplacement:
    """TF-IDF word replacement of UDA (https://arxiv.org/abs/1904.12848; TfIdfWordRep in google-research/uda).

    When to use: topic-like classes, where the key words decide (UDA took p=0.7 for DBpedia); less so where
    style or word order matters. It must be fitted on the unlabelled texts.

    With s_i = count/n * idf of word i in a text of n words, word i is replaced with probability
    min(1, `p` (C - s_i) / mean_j(C - s_j)), C = max s; the substitute is w with probability proportional to
    max S - S(w), S(w) = sum over texts of count(w)/n * idf(w). Words are compared in lower case; a substitute
    takes over whether the first letter is a capital. Protected words count in the statistics, but are neither
    replaced nor inserted; `negators=False` with no `protected` words is UDA's formula exactly.

    Args:
        p: share of the words that is touched on average (a little less, for probabilities are cut at 1).
        tokenizer: how to split a text into words, see `words.split_words`; it must be picklable to go to workers.
        protected: words to keep besides the negators, in any case; "面包" protects both characters where they
            stand together.
        negators: whether `NEGATORS` are protected.
        max_texts: `fit` reads at most so many texts, evenly spaced.
        vocabulary: made by `fit`.

    Raises:
        ValueError: for `p` outside [0, 1], blank protected words or `max_texts` below 1.
    """

    p: float = 0.3
    tokenizer: Tokenizer | None = None
    protected: tuple[str, ...] = ()
    negators: bool = True
    max_texts: int = 100_000
    vocabulary: Vocabulary | None = None

    def __post_init__(self) -> None:
        check_probability("p", self.p)
        object.__setattr__(self, "protected", checked_words(self.protected))
        if self.max_texts < 1:
            raise ValueError(f"max_texts={self.max_texts!r} leaves nothing to fit on: use 1 or more.")

    def fit(self, texts: Iterable[str]) -> TfidfReplacement:
        """Return a view with the word statistics of `texts`, which are read once.

        Raises:
            ValueError: if `texts` is one string or holds no word.
        """
        if isinstance(texts, str):
            raise ValueError(f"fit() got the single text {texts[:80]!r}: pass a list of texts.")
        documents, frequency, n_texts = Counter[str](), dict[str, float](), 0
        for text in _evenly_spaced(texts, self.max_texts):
            n_texts += 1
            words = [word.lower() for word in split_words(text, self.tokenizer)[0]]
            counts = Counter(words)
            documents.update(counts.keys())
            for word, count in counts.items():
                frequency[word] = frequency.get(word, 0.0) + count / len(words)
        if not documents:
            raise ValueError(f"none of the {n_texts} texts given to fit() holds a word: pass the unlabelled texts.")
        idf = {word: math.log(n_texts / df) for word, df in documents.items()}
        # The idf of a word is the same in every text, so one pass over the texts is enough for S.
        chance = substitute_probabilities(np.array([frequency[word] * idf[word] for word in idf]))
        banned = fragments(self.protected, self.negators)
        for i, word in enumerate(idf):
            if word in banned or is_protected(word, self.protected, self.negators):
                chance[i] = 0.0
        substitutes = tuple(word for word, c in zip(idf, chance.tolist(), strict=True) if c > 0)
        cumulative = chance[chance > 0].cumsum()
        digest = hashlib.blake2b(repr((n_texts, list(idf.items()), substitutes)).encode(), digest_size=8)
        digest.update(cumulative.tobytes())
        vocabulary = Vocabulary(digest.hexdigest(), idf, math.log(n_texts), substitutes, cumulative)
        return replace(self, vocabulary=vocabulary)

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """Return a copy of `text` with some words replaced.

        Raises:
            RuntimeError: if the view has not been fitted.
        """
        if self.vocabulary is None:
            raise RuntimeError("TfidfReplacement is not fitted: use view = view.fit(unlabelled_texts).")
        words, gaps = split_words(text, self.tokenizer)
        if not words or not self.vocabulary.substitutes:
            return text
        keys = [word.lower() for word in words]
        counts = Counter(keys)
        idf, unseen, n = self.vocabulary.idf, self.vocabulary.unseen_idf, len(keys)
        scores = np.array([counts[key] / n * idf.get(key, unseen) for key in keys])
        hit = np.flatnonzero(rng.random(n) < replacement_probabilities(scores, self.p)).tolist()
        fixed = protected_mask(words, gaps, self.protected, self.negators)
        hit = [i for i in hit if not fixed[i]]
        for i, new in zip(hit, self.vocabulary.draw(rng.random(len(hit))), strict=True):
            words[i] = new[0].upper() + new[1:] if words[i][0].isupper() else new
        mend_gaps(words, gaps, (gap for i in hit for gap in (i, i + 1)))
        return join_words(words, gaps)


def _evenly_spaced(texts: Iterable[str], limit: int) -> Iterator[str]:
    """At most `limit` of the texts; holds more than one at a time only if their number is not known."""
    if isinstance(texts, Sized):
        n = len(texts)
        yield from (t for i, t in enumerate(texts) if n <= limit or i * limit % n < limit)
        return
    held: list[str] = []
    step = 1
    for i, text in enumerate(texts):
        if i % step:
            continue
        if len(held) == limit:  # thin out to every second text, and go on at that distance
            held, step = held[::2], step * 2
            if i % step:
                continue
        held.append(text)
    yield from held
