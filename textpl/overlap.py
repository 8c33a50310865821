"""Test rows whose text a training has seen, word for word or nearly: in its pool, or among its labeled rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
from transformers import Trainer

from textpl.cleaning.duplicates import SIMILARITY, bare, likeness, normalized, shingle_hashes
from textpl.components.labeled_rows import is_transformed, seen_rows

# Least hashes kept of a text: of pairs that share half of their n-grams, 1 in 4,000 has fewer than two in common; one
# alone is often that of a beginning or an end that many texts have.
SKETCH = 16
NGRAM = 6  # characters
BEGINNING = 32  # characters that a text must have to count where another one begins with it
MOST = 50  # test rows looked at for one hash: a footer that all share says nothing
BATCH = 2000  # texts at a time


@dataclass(frozen=True)
class Overlap:
    """Test rows that are also elsewhere.

    Attributes:
        exact: word for word, but for case, white space and forms of characters (NFKC).
        near: nearly: 70 % of the character 3-grams are shared (of long texts also 60 % of the 10-grams), or one begins
            with the other, as where one was cut.
    """

    exact: int
    near: int

    def __str__(self) -> str:
        return f"{self.exact:,} word for word, {self.near:,} nearly"


@dataclass(frozen=True)
class SeenTestTexts:
    """Which test texts a training has seen.

    Attributes:
        rows: test rows.
        pool: those that are in the pool; None where there is none.
        labeled: those that are among the labeled rows.
        compared: "texts", or "tokens" where only these were at hand: as far as the model reads.
    """

    rows: int
    pool: Overlap | None
    labeled: Overlap
    compared: Literal["texts", "tokens"]

    def to_dict(self) -> dict[str, Any]:
        """The counts as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SeenTestTexts:
        """What `to_dict` gave."""
        pool = None if data["pool"] is None else Overlap(**data["pool"])
        return cls(data["rows"], pool, Overlap(**data["labeled"]), data["compared"])

    @property
    def count(self) -> int:
        """How many were seen, in the pool or among the labeled rows; a text that is in both counts twice."""
        return sum(part.exact + part.near for part in (self.pool, self.labeled) if part is not None)

    def __str__(self) -> str:
        by = "" if self.compared == "texts" else " (their tokens were compared)"
        if not self.count:
            where = "among the labeled rows" if self.pool is None else "in the pool or among the labeled rows"
            return f"No test text is {where}, word for word or nearly{by}"
        parts = [
            f"{part.exact + part.near:,} of {self.rows:,} test texts are {where} ({part})"
            for where, part in (("in the pool", self.pool), ("among the labeled rows", self.labeled))
            if part is not None and part.exact + part.near
        ]
        told = f"{'; '.join(parts)}{by}"
        if self.pool is not None and 2 * (self.pool.exact + self.pool.near) > self.rows:
            told += ": the result is transductive, it holds for texts that are in the pool and not for new ones"
        return told


def seen_test_texts(trainer: Trainer, callback: Any = None) -> SeenTestTexts:
    """Compare the test rows of a training with what it saw.

    Args:
        trainer: with the test rows as its `eval_dataset`.
        callback: a `SemiSupervised` that has begun its training, or what has no pool.
    """
    pool = getattr(getattr(callback, "run", None), "pool", None)
    test, labeled = trainer.eval_dataset, trainer.train_dataset
    columns = ("text",) if pool is None else pool.text_columns
    by_text = bool(columns) and all(_has(rows, columns) for rows in (test, labeled))
    if by_text:
        parts = [_texts(rows, columns) for rows in (test, labeled)]
    else:
        tokenizer = trainer.processing_class
        stored = [seen_rows(rows, trainer.data_collator).with_format(None) for rows in (test, labeled)]
        parts = [_decoded((row["input_ids"] for row in rows), tokenizer) for rows in stored]
    index = TestTexts(list(parts[0]))
    in_labeled, in_pool = index.overlap(parts[1]), None
    if pool is not None and by_text:
        in_pool = index.overlap(_texts(pool.dataset, columns))
    elif pool is not None:
        in_pool = index.overlap(_decoded((pool.tokens.read([row])[0] for row in range(len(pool))), tokenizer))
    return SeenTestTexts(len(test), in_pool, in_labeled, "texts" if by_text else "tokens")


class TestTexts:
    """Test texts, ready to be looked for in other texts in one pass over these.

    Args:
        texts: n strings.
    """

    __test__ = False  # no test case

    def __init__(self, texts: Sequence[str]) -> None:
        forms = [normalized(text) for text in texts]
        self._bare = [bare(form) for form in forms]
        self._exact, self._begins = _grouped(forms), _grouped([form[:BEGINNING] for form in self._bare])
        rows, hashes = _sketches(self._bare)
        order = np.argsort(hashes, kind="stable")
        self._rows, self._hashes, self._count = rows[order], hashes[order], len(texts)

    def overlap(self, texts: Iterable[str]) -> Overlap:
        """How many of the test texts are among other texts, which are read once, batch after batch.

        Args:
            texts: the others.
        """
        exact, near = np.zeros(self._count, dtype=bool), np.zeros(self._count, dtype=bool)
        stream = iter(texts)
        while batch := [normalized(text) for text in islice(stream, BATCH)]:
            for form in batch:
                exact[self._exact.get(form, [])] = True
            words = [bare(form) for form in batch]
            mine, theirs = self._candidates(words)
            open_ = ~(exact | near)[mine]
            mine, theirs = mine[open_], theirs[open_]
            near[mine[likeness(self._bare, words, mine, theirs) >= SIMILARITY]] = True
            near[self._cut(words)] = True
        return Overlap(int(exact.sum()), int((near & ~exact).sum()))

    def _candidates(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of a test text and one of these with two hashes of their sketches in common: int64 (pairs,) each."""
        rows, hashes = _sketches(words)
        start, stop = (np.searchsorted(self._hashes, hashes, side=side) for side in ("left", "right"))
        count = np.minimum(stop - start, MOST)
        place = np.repeat(start - np.cumsum(count) + count, count) + np.arange(count.sum())
        pairs = np.sort(self._rows[place] * len(words) + np.repeat(rows, count))
        pairs = np.unique(pairs[1:][pairs[1:] == pairs[:-1]])
        return pairs // len(words), pairs % len(words)

    def _cut(self, words: list[str]) -> list[int]:
        """Test rows that begin one of these texts, or begin with one."""
        return [
            row
            for text in words
            if len(text) >= BEGINNING
            for row in self._begins.get(text[:BEGINNING], [])[:MOST]
            if text.startswith(self._bare[row]) or self._bare[row].startswith(text)
        ]


def _sketches(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """The least hashes of the n-grams of every text (bottom-k sketches): rows int64 (m,), hashes uint64 (m,)."""
    if not texts:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    counts = np.fromiter((len(text) + NGRAM - 1 for text in texts), dtype=np.int64, count=len(texts))
    rows, hashes = np.repeat(np.arange(len(texts)), counts), shingle_hashes(texts, NGRAM)
    order = np.lexsort((hashes, rows))
    rows, hashes = rows[order], hashes[order]
    new = counts[rows] >= NGRAM  # a text without characters is like no other
    new[1:] &= (rows[1:] != rows[:-1]) | (hashes[1:] != hashes[:-1])
    rows, hashes = rows[new], hashes[new]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return rows[place < SKETCH], hashes[place < SKETCH]


def _grouped(texts: Sequence[str]) -> dict[str, list[int]]:
    """Rows of every text that is not empty."""
    found: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if text:
            found.setdefault(text, []).append(row)
    return found


def _has(rows: Any, columns: Sequence[str]) -> bool:
    return not is_transformed(rows) and all(
        getattr(rows.features.get(name), "dtype", "") in ("string", "large_string") for name in columns
    )


def _texts(rows: Any, columns: Sequence[str]) -> Iterator[str]:
    for batch in rows.with_format(None).select_columns(list(columns)).iter(BATCH):
        for parts in zip(*(batch[name] for name in columns), strict=True):
            yield "\n".join(part or "" for part in parts)


def _decoded(sequences: Iterable[Any], tokenizer: Any) -> Iterator[str]:
    """What a tokenizer makes of token ids; without one, the ids as words."""
    stream = iter(sequences)
    while batch := [[int(i) for i in ids] for ids in islice(stream, BATCH)]:
        if tokenizer is None:
            yield from (" ".join(map(str, ids)) for ids in batch)
        else:
            yield from tokenizer.batch_decode(batch, skip_special_tokens=True)
