"""Encoders worth trying, by language and task, with what is known of them and from whom."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from textpl.models import OFFLINE_PACKAGES

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
JOIN = " + "  # between the names of encoders that are joined
Script = Literal["latin", "chinese", "other"]

# Accuracy of a logistic regression on 8 to 32 labels per class, from the public results of MTEB (2026-08).
SOURCE = "https://github.com/embeddings-benchmark/results"
SAMPLE = 200  # texts looked at for their script
# Of the letters: so many of another script are enough to need an encoder that reads both.
MIXED = 0.2


@dataclass(frozen=True)
class Candidate:
    """An encoder that can be had from the Hub.

    Attributes:
        name: its id there.
        millions: of parameters.
        license: as its card states it.
        reads: scripts that it was made for.
        sentiment: public accuracy, (data set, %); None where there is none.
        topic: the same of topics or intents.
        emotion: the same of emotions, the nearest there is to several labels per row.
        note: what a reader should know.
        measured: whether docs/encoders.md has numbers of our own.
    """

    name: str
    millions: int
    license: str
    reads: tuple[Script, ...]
    sentiment: tuple[str, float] | None = None
    topic: tuple[str, float] | None = None
    emotion: tuple[str, float] | None = None
    note: str = ""
    measured: bool = False

    def sentence(self) -> str:
        """Tell what it is, with the public numbers."""
        known = [f"{n} {value:g}" for n, value in (x for x in (self.sentiment, self.topic, self.emotion) if x)]
        told = [f"{self.millions}M parameters", self.license, *([self.note] if self.note else [])]
        by_others = f"; public: {', '.join(known)}" if known else ""
        by_us = "measured: docs/encoders.md" if self.measured else "not measured by us"
        return f"{self.name} ({', '.join(told)}{by_others}; {by_us})"


CANDIDATES = (
    Candidate(
        "intfloat/multilingual-e5-small", 118, "MIT", ("latin", "chinese", "other"),
        note="about 100 languages, 96M of it a word table", measured=True,
    ),
    Candidate(
        "sentence-transformers/all-MiniLM-L6-v2", 23, "Apache-2.0", ("latin",),
        ("IMDB", 61.8), ("Banking77", 80.0), ("Emotion", 40.8), "English", True,
    ),
    Candidate(
        "MongoDB/mdbr-leaf-mt", 23, "Apache-2.0", ("latin",),
        ("IMDB", 88.6), ("Banking77", 85.2), None, "English, as fast as MiniLM",
    ),
    Candidate(
        "BAAI/bge-small-en-v1.5", 33, "MIT", ("latin",),
        ("IMDB", 90.6), ("Banking77", 85.7), ("Emotion", 47.8), "English, trained on Amazon reviews with their titles",
    ),
    Candidate(
        "intfloat/e5-small-v2", 33, "MIT", ("latin",),
        ("IMDB", 86.0), ("Banking77", 81.6), ("Emotion", 47.1), "English",
    ),
    Candidate(
        "Alibaba-NLP/gte-modernbert-base", 149, "Apache-2.0", ("latin",),
        ("IMDB", 87.1), ("Banking77", 86.2), ("Emotion", 50.4), "English, reads 8,192 tokens",
    ),
    Candidate(
        "thenlper/gte-small-zh", 30, "MIT", ("chinese",),
        ("OnlineShopping", 89.1), ("TNews", 49.6), None, "Chinese",
    ),
    Candidate(
        "DMetaSoul/Dmeta-embedding-zh-small", 74, "Apache-2.0", ("chinese",),
        ("OnlineShopping", 93.1), ("TNews", 51.8), None, "Chinese",
    ),
    Candidate(
        "thenlper/gte-base-zh", 102, "MIT", ("chinese",),
        ("OnlineShopping", 93.4), ("TNews", 53.6), None, "Chinese",
    ),
)  # fmt: skip


def scripts(texts: Sequence[str]) -> dict[Script, float]:
    """Share of the letters that are Latin, Chinese characters, or others, mean over a sample of texts.

    The mean is over texts, so that neither one long text in another script decides for all, nor a half of short ones is
    lost among the letters of long ones.

    Args:
        texts: n strings; 200 of them are looked at, evenly spaced, those without letters left out. All 0 where no text
            has any.

    Example:
        >>> scripts(["good", "很好很好"])
        {'latin': 0.5, 'chinese': 0.5, 'other': 0.0}
    """
    totals: dict[Script, float] = {"latin": 0.0, "chinese": 0.0, "other": 0.0}
    read = 0
    for i in np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int):
        letters = [_script(character) for character in texts[int(i)] if character.isalpha()]
        read += bool(letters)
        for script in totals:
            totals[script] += letters.count(script) / max(len(letters), 1)
    return {script: total / max(read, 1) for script, total in totals.items()}


def reading(texts: Sequence[str]) -> tuple[Candidate, ...]:
    """The candidates that were made for the script of some texts, those measured by us first.

    Texts of several scripts need one that reads each which a fifth of the letters are of.
    """
    shares = scripts(texts)
    needed = [script for script, share in shares.items() if share >= MIXED]
    return tuple(found for found in CANDIDATES if all(script in found.reads for script in needed))


def loadable() -> list[str]:
    """Ids that need no download here: "lsa", installed packages, and candidates in the Hub's cache of this machine."""
    from huggingface_hub import try_to_load_from_cache

    packages = [name for name, (package, *_) in OFFLINE_PACKAGES.items() if importlib.util.find_spec(package)]
    cached = [found.name for found in CANDIDATES if isinstance(try_to_load_from_cache(found.name, "modules.json"), str)]
    return ["lsa", *dict.fromkeys([*packages, *cached])]


def told_loadable(name: str) -> str:
    """A sentence for who could not load `name`: what else can be had without a download; empty where nothing can."""
    others = [other for other in loadable() if other not in ("lsa", name)]
    return f" What else is on this machine: {', '.join(others)}." if others else ""


def _script(letter: str) -> Script:
    if letter.isascii():
        return "latin"
    name = unicodedata.name(letter, "")
    return "latin" if name.startswith("LATIN") else "chinese" if name.startswith("CJK UNIFIED") else "other"
