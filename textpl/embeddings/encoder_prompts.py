"""What some encoders were trained to read in front of every text: without it their vectors are worse, and no one says.

A model's own configuration says it for most (sentence-transformers' `default_prompt_name`); this is for those whose
configuration leaves it to the model card.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple


class PromptRule(NamedTuple):
    """A prefix by model.

    Attributes:
        pattern: of the whole id (`owner/name`, any case), or of the name of a local folder.
        prompt: what is put in front of every text.
        source: where the model's authors say so.
    """

    pattern: str
    prompt: str
    source: str


# BGE (v1.5, m3) and GTE are not here: their cards ask for an instruction in front of search queries only, and none for
# texts that are classified. The wording of the instruction is ours, the form that of the cards.
INSTRUCTION = "Instruct: Identify the category of the given text\nQuery: "
RULES = (
    PromptRule(
        r"(intfloat/)?multilingual-e5-large-instruct|(intfloat/)?e5-mistral-7b-instruct",
        INSTRUCTION,
        "https://huggingface.co/intfloat/multilingual-e5-large-instruct (FAQ, question 1)",
    ),
    PromptRule(
        r"(qwen/)?qwen3-embedding-[0-9.]+b",
        INSTRUCTION.replace("Query: ", "Query:"),
        "https://huggingface.co/Qwen/Qwen3-Embedding-0.6B (usage)",
    ),
    PromptRule(
        r"(intfloat/)?(multilingual-)?e5-(small|base|large)(-v2)?",
        "query: ",
        "https://huggingface.co/intfloat/multilingual-e5-small (FAQ, question 1: features for linear probing)",
    ),
)
# What configurations call the prompt for texts that are to be classified (EmbeddingGemma, nomic, mixedbread).
OWN_NAME = "classification"


def prompt_for(name: str, prompts: dict[str, str | None], default: str | None) -> str | None:
    """The prefix that a model needs and its configuration does not apply by itself.

    Args:
        name: id, or folder.
        prompts: the model's own, by name.
        default: name of the one that it applies by itself.

    Returns:
        None where there is nothing to add: the configuration applies one, or none is known to be needed.

    Example:
        >>> prompt_for("intfloat/multilingual-e5-small", {}, None)
        'query: '
        >>> prompt_for("sentence-transformers/all-MiniLM-L6-v2", {}, None) is None
        True
    """
    if default is not None:
        return None
    own: Any = next((text for key, text in prompts.items() if key.lower() == OWN_NAME), None)
    if own:
        return str(own)
    # A folder in the Hub's cache is called by its commit; the id is in the path.
    parts = name.replace("\\", "/").split("/")
    cached = [one for one, below in pairwise(parts[:-1]) if one.startswith("models--") and below == "snapshots"]
    local = Path(name).is_absolute() or Path(name).exists()
    called = cached[0].removeprefix("models--").replace("--", "/") if cached else Path(name).name if local else name
    return next((rule.prompt for rule in RULES if re.fullmatch(rule.pattern, called.lower())), None)
