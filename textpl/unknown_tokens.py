"""Texts in a language that a tokenizer was not made for: nothing fails then, but all of them look alike."""

from __future__ import annotations

import copy
import logging
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

SAMPLE = 200  # texts, evenly spaced
TOO_MANY = 0.2  # of the tokens; of texts in its own language next to none
# Pictures and what joins or colors them, private and unassigned characters (emoji newer than this Python): in no
# language. What is left of the symbols, such as currencies, is written in some.
PICTURES = {"So", "Sk", "Cf", "Co", "Cn"}
VARIATIONS = {chr(code) for code in range(0xFE00, 0xFE10)}


def unknown_share(tokenizer: Any, texts: Sequence[str]) -> float:
    """Share of the tokens of some texts, special ones and emoji left out, that stand for something unknown.

    Args:
        tokenizer: of transformers.
        texts: n strings.

    Returns:
        float: 0 for a tokenizer that can write every text, and without texts.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    if unknown is None or not len(texts):
        return 0.0
    # A copy: how it was called last stays in a fast tokenizer, and would change what is hashed of it.
    ids = copy.deepcopy(tokenizer)(
        [without_pictures(text) for text in texts], add_special_tokens=False, truncation=True
    )["input_ids"]
    flat = np.concatenate([np.asarray(row, dtype=np.int64) for row in ids])
    return float((flat == unknown).mean()) if len(flat) else 0.0


def without_pictures(text: str) -> str:
    """Replace emoji and other pictures by spaces: they are the same in every language."""
    return text if text.isascii() else "".join(" " if _is_picture(c) else c for c in text)


def _is_picture(character: str) -> bool:
    return not character.isascii() and (
        unicodedata.category(character) in PICTURES or character in VARIATIONS or character == "\u20e3"
    )


def warn_of_unknown(tokenizer: Any, texts: Sequence[str], who: str) -> None:
    """Log a warning where a sample of the texts has too many unknown tokens for `who` to tell them apart."""
    picked = np.linspace(0, len(texts) - 1, min(SAMPLE, len(texts))).astype(int)
    share = unknown_share(tokenizer, [texts[int(i)] for i in picked])
    if share > TOO_MANY:
        logger.warning(
            "%s does not know %.0f %% of the tokens of these texts: it was made for another language. Name a model of "
            'theirs, or for embeddings encoder="lsa", which needs none.',
            who,
            100 * share,
        )
