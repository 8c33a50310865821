"""Find recipes on the Hub by their tag."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Literal, get_args

from huggingface_hub import ModelInfo
from huggingface_hub.hf_api import ExpandModelProperty_T

from textpl.recipes.fetching import client
from textpl.recipes.hub_errors import clear_errors
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.run_card import LISTED, TAG

Sort = Literal["trending_score", "downloads", "likes", "last_modified", "created_at"]
LOOKED_AT = 2_000  # recipes in which words are looked for
_FIELDS: tuple[ExpandModelProperty_T, ...] = ("cardData", "downloads", "lastModified", "likes", "private", "tags")
_LONGEST = 200  # characters of what a stranger says of a recipe


@dataclass(frozen=True)
class Listed:
    """A recipe on the Hub, as its card's metadata tell.

    Attributes:
        repo_id: owner/name.
        description: one line; empty if there is none.
        result: metric and comparison in one line; empty if there is none.
        likes: by people.
        downloads: in the last month.
        changed: day of the last change, as 2026-01-31; empty if it is not known.
        private: only its owner sees it.
    """

    repo_id: str
    description: str
    result: str
    likes: int
    downloads: int
    changed: str
    private: bool


def search(
    words: str = "", *, author: str | None = None, sort: Sort = "trending_score", limit: int = 20
) -> list[Listed]:
    """Recipes on the Hub that hold all the words in name, description, data, model or tags.

    Args:
        words: separated by spaces; upper and lower case are the same.
        author: user or organisation.
        sort: by what; the largest or newest first.
        limit: at most so many, of the first 2,000 that the Hub names.

    Raises:
        RecipeError: for another order, or no network.
    """
    if sort not in get_args(Sort):
        raise RecipeError(f"--sort {sort}: by {', '.join(get_args(Sort))}.")
    if limit < 1:
        raise RecipeError(f"--limit {limit}: at least 1.")
    wanted = words.casefold().split()
    with clear_errors("", None):
        infos = client().list_models(filter=TAG, author=author, sort=sort, expand=[*_FIELDS])
        fitting = (info for info in itertools.islice(infos, LOOKED_AT) if _fits(info, wanted))
        return [_listed(info) for info in itertools.islice(fitting, limit)]


def _fits(info: ModelInfo, words: list[str]) -> bool:
    card = _card(info)
    parts = [info.id, *(info.tags or ()), card.get(LISTED), card.get("datasets"), card.get("base_model")]
    text = " ".join(map(str, parts)).casefold()
    return all(word in text for word in words)


def _listed(info: ModelInfo) -> Listed:
    about = _card(info).get(LISTED)
    told = about if isinstance(about, dict) else {}
    changed = info.last_modified.date().isoformat() if info.last_modified else ""
    description, result = (shorten(str(told.get(key) or ""), _LONGEST) for key in ("description", "result"))
    return Listed(info.id, description, result, info.likes or 0, info.downloads or 0, changed, bool(info.private))


def _card(info: ModelInfo) -> Mapping[str, Any]:
    return {} if info.card_data is None else info.card_data.to_dict()
