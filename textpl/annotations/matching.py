"""Free text as an answer: which label it names, without guessing."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from textpl.reading.names import plain_name

# Written before the answer by models that were asked for a label only.
LEAD = re.compile(
    r"^(?:the\s+)?(?:final\s+)?(?:correct\s+|best\s+)?"
    r"(?:labels?|answers?|class|category|categories|topics?|sentiment|标签|类别|分类|答案|答)"
    r"\s*(?:is|are|为|是)?\s*[:：=]\s*",
    re.IGNORECASE,
)
AROUND = " \t\r\n\"'`*_.,;:!?()[]{}<>“”‘’«»「」『』《》【】。，；：！？、"
NOTHING = {"", "none", "null", "nan", "n/a", "na", "abstain", "-1", "unknown", "no answer"}
NO_LABELS = {"none", "no label", "no labels", "none of them", "none of these", "[]", "无", "没有"}
BETWEEN = re.compile(r"[;|,、；，\n]")
KEYS = ("label", "labels", "answer", "answers", "class", "category", "标签", "类别")


class LabelMatcher:
    """Finds the label that a text names.

    What only looks different is ignored, in this order: case and width, then quotes and punctuation around the name,
    then all signs but letters and digits ("Sci/Tech" is "sci_tech"), as long as this leaves the labels distinct. A name
    inside a sentence is no answer: "not sports" would be one.

    Args:
        names: of the labels; position is id.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._keys = []
        for fold in (str.strip, plain_name, _stripped, _letters):
            folded = [fold(name) for name in self.names]
            if all(folded) and len(set(folded)) == len(folded):
                self._keys.append((fold, {key: k for k, key in enumerate(folded)}))

    def one(self, text: str) -> int | None:
        """The id of the label that a text is; None where it is none, or several."""
        for candidate in _unwrapped(text):
            found = self._exact(candidate)
            if found is not None:
                return found
        return None

    def several(self, text: str) -> list[int] | None:
        """The ids of the labels that a text lists, sorted, [] for "none"; None where one of them is no label."""
        for candidate in _unwrapped(text, several=True):
            if isinstance(candidate, str):
                if (whole := self._exact(candidate)) is not None:
                    return [whole]
                if plain_name(candidate).strip(AROUND) in NO_LABELS or candidate.strip() == "[]":
                    return []
                parts: list[str] = [part for part in BETWEEN.split(candidate.strip("[]")) if part.strip(AROUND)]
            else:
                parts = candidate
            found = [self._exact(part) for part in parts]
            if None not in found and (parts or not isinstance(candidate, str)):
                return sorted({k for k in found if k is not None})
        return None

    def _exact(self, text: str) -> int | None:
        for fold, known in self._keys:
            if (found := known.get(fold(text))) is not None:
                return found
        return None


def is_nothing(text: str, names: Sequence[str]) -> bool:
    """Whether a text says that there is no answer, and is no name of a label."""
    plain = plain_name(text).strip(AROUND)
    return (text.strip() == "" or plain in NOTHING) and plain not in {plain_name(name) for name in names}


def _unwrapped(text: str, several: bool = False) -> list:
    """The text as it is, without what leads to the answer, and what JSON holds: candidates, likeliest first."""
    text = re.sub(r"^```[a-z]*", "", text.strip()).removesuffix("```").strip()
    candidates: list = [text]
    if several and (parsed := _parsed(text)) is not None:
        candidates.insert(0, parsed)
    elif not several and isinstance(parsed := _parsed(text), list) and len(parsed) == 1:
        candidates.append(parsed[0])
    without = LEAD.sub("", text.strip(AROUND.replace("[", "").replace("]", "")))
    if without != text:
        candidates.append(without)
    return candidates


def _parsed(text: str) -> list[str] | None:
    """Strings of a JSON list, or under the one key of a JSON object that holds the answer."""
    if text[:1] not in "{[":
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        here = [value[key] for key in KEYS if key in value]
        if len(here) != 1:
            return None
        value = here[0]
    values = value if isinstance(value, list) else [value]
    return [str(item) for item in values] if all(isinstance(item, (str, int)) for item in values) else None


def _stripped(text: str) -> str:
    return plain_name(text).strip(AROUND)


def _letters(text: str) -> str:
    return "".join(c for c in plain_name(text) if c.isalnum())
