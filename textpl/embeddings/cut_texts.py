"""Texts that are longer than an encoder reads: nothing fails then, but what follows is not in their vectors."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

SAMPLE = 2_000  # of the texts that may be too long, evenly spaced: all of them would take as long as reading them
MOST = 100_000  # characters of a text that are tokenized; what follows is taken to be like them
AT_ONCE = 256


@dataclass(frozen=True)
class CutTexts:
    """How much of some texts an encoder does not read.

    Attributes:
        rows: texts that are cut; estimated where `estimated`.
        texts: how many there are.
        limit: tokens that the encoder reads.
        share: of the tokens of the cut texts that is not read.
        estimated: whether it was found on a sample of the long texts.
    """

    rows: int
    texts: int
    limit: int
    share: float
    estimated: bool = False

    def sentence(self) -> str:
        """Tell it in words, with the remedy; empty where nothing is cut."""
        if not self.rows:
            return ""
        about = "About " if self.estimated else ""
        lost = f"{100 * self.share:.0f}" if 0.01 <= self.share <= 0.99 else _at_an_end(self.share)
        return (
            f"{about}{self.rows:,} of {self.texts:,} texts are longer than the encoder's {self.limit:,} tokens; what "
            f"follows is not read ({lost} % of their tokens): put first what tells the label, split them, name an "
            'encoder that reads more, or encoder="lsa", which reads all.'
        )

    def to_dict(self) -> dict[str, int | float | bool]:
        """Give the numbers as plain data, for reports."""
        return dict(vars(self))


def _at_an_end(share: float) -> str:
    return "less than 1" if share < 0.5 else "more than 99"


def cut_texts(encoder: Any, texts: Sequence[str]) -> CutTexts | None:
    """Count the texts that an encoder cuts, and what is lost of them.

    Only texts that may be too long are tokenized, and of very many a sample.

    Args:
        encoder: one that has a `tokenizer`, of transformers, and a `token_limit`, special tokens among them.
        texts: n strings.

    Returns:
        None for an encoder without a tokenizer or a limit.
    """
    tokenizer, limit = getattr(encoder, "tokenizer", None), getattr(encoder, "token_limit", None)
    if tokenizer is None or limit is None:
        return None
    # No token is less than a byte.
    long = [text for text in texts if 4 * len(text) > limit and _bytes(text) > limit - _special(tokenizer)]
    picked = [long[int(i)] for i in np.linspace(0, len(long) - 1, min(SAMPLE, len(long))).round()]
    tokens = _token_counts(tokenizer, picked)
    cut = tokens > limit
    lost = float((tokens[cut] - limit).sum() / tokens[cut].sum()) if cut.any() else 0.0
    rows = round(float(cut.mean()) * len(long)) if len(picked) else 0
    return CutTexts(rows, len(texts), int(limit), lost, len(picked) < len(long))


def warn_of_cut(cut: CutTexts | None) -> None:
    """Log a warning where texts are cut."""
    if cut is not None and cut.rows:
        logger.warning("%s", cut.sentence())


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _special(tokenizer: Any) -> int:
    count = getattr(tokenizer, "num_special_tokens_to_add", None)
    return count() if count is not None else 0


def _token_counts(tokenizer: Any, texts: list[str]) -> np.ndarray:
    """Tokens of every text, special ones too: float64 (n,)."""
    # A copy: how it was called last stays in a fast tokenizer, and would change what is hashed of it.
    tokenizer = copy.deepcopy(tokenizer)
    counts: list[int] = []
    for start in range(0, len(texts), AT_ONCE):
        chunk = [text[:MOST] for text in texts[start : start + AT_ONCE]]
        counts.extend(len(ids) for ids in tokenizer(chunk, truncation=False, verbose=False)["input_ids"])
    scale = np.fromiter((max(len(text) / MOST, 1) for text in texts), dtype=np.float64, count=len(texts))
    return np.array(counts, dtype=np.float64) * scale
