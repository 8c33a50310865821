"""What all cards on the Hub are made of: harmless markdown, metadata on top, and a line that says who wrote it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from textpl.recipes.yaml_text import RecipeError

TEMPLATES = Path(__file__).parent / "templates"
# What markdown acts on anywhere, in a bare address, and at the start of a line.
_SPECIAL = re.compile(r"[\\`*_\[\]|~$@]|(?<=www)\.|:(?=//)|^[#+=>-]")
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)\n?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_SIGNATURE = re.compile(r"(?<!\n)\n*+<!-- (recipe|model|dataset) card by textpl ([0-9a-f]{16}) -->\s*\Z")


def escape(text: str) -> str:
    """Text of a stranger as one line of markdown that shows it and does nothing else."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = _SPECIAL.sub(r"\\\g<0>", line.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", line)


def render(template: str, **values: Any) -> str:
    """Fill in a jinja2 template of the folder `templates`.

    Filters: `md` for text of strangers, `points` for numbers that may be missing, `words` for names of metrics.
    """
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"md": escape, "points": _points, "words": lambda name: name.replace("_", " ")}
    return environment.get_template(template).render(**values).rstrip() + "\n"


def code_fence(text: str) -> str:
    """Backticks that end no earlier than the text."""
    return "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))


def with_front_matter(metadata: Mapping[str, Any], body: str) -> str:
    """A card of metadata and text."""
    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=119)}---\n{body}"


def split_card(card: str) -> tuple[dict[str, Any], str]:
    """Metadata and text of a card.

    Raises:
        RecipeError: if it starts with metadata that cannot be read.
    """
    found = _FRONT_MATTER.match(card)
    if found is None:
        return {}, card
    try:
        metadata = yaml.safe_load(found[1]) or {}
    except (yaml.YAMLError, ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise RecipeError("README.md: the metadata between the two --- at its top is no valid YAML mapping.")
    return metadata, card[found.end() :]


def merged(there: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of a card with what is made for it; tags of both, of all else what is made."""
    tags = there.get("tags") or []
    tags = [tags] if isinstance(tags, str) else list(tags)
    every = dict.fromkeys([*tags, *made.get("tags", [])])
    return {**there, **made, **({"tags": list(every)} if every else {})}


def signed(body: str, kind: str) -> str:
    """The text with a line that nobody sees, by which `signer` knows it again."""
    return f"{body.rstrip()}\n\n<!-- {kind} card by textpl {_digest(body)} -->\n"


def signer(card: str) -> str | None:
    """Kind of a card (recipe, model, dataset) whose text is as textpl wrote it; None if somebody wrote or edited it.

    Metadata do not count: the Hub's web page and `datasets` change them.
    """
    try:
        body = split_card(card)[1]
    except RecipeError:
        return None
    found = _SIGNATURE.search(body)
    return found[1] if found and _digest(body[: found.start()]) == found[2] else None


def _digest(body: str) -> str:
    return hashlib.sha256(body.replace("\r\n", "\n").strip().encode()).hexdigest()[:16]


def _points(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
