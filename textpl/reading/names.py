"""Names of labels as people write them: variants of one name, several names in one string, words for "no label"."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from textpl.reading.json_rows import choices
from textpl.reading.labels import refuse, whole_number

DELIMITERS = (";", "|", ",", "、", "；", "，")
# Not one class or another in any scheme that we know of, and often written where there is no label.
NO_CLASS = {
    *("-1", "-100", "abstain", "nan", "na n", "<na>", "#n/a", r"\n", "unlabeled", "unlabelled", "not labeled"),
    *("not labelled", "no label", "unassigned", "not assigned", "blank", "missing label"),
}
# Written where there is no label, but names of classes too ("none" of stance, "unknown" of a customer).
PERHAPS = {"none", "null", "na", "n/a", "unknown", "?", "-", "--", "nil", "empty", "missing", "undefined", "tbd"}
LABEL_STUDIO = re.compile(r'\s*\{\s*"choices"')
PRINTED_ARRAY = re.compile(r"['\"]\s['\"]")  # "['joy' 'love']" of numpy would be read as one string


def plain_name(name: str) -> str:
    """Return a name without what only looks different: case, width, spaces and invisible characters."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", name) if unicodedata.category(c) != "Cf")
    return " ".join(visible.casefold().split())


def name_variants(names: Iterable[str]) -> dict[str, str]:
    """Find names that differ only in case, spaces, character width or invisible characters, and the one to keep.

    The most frequent is kept, of equally frequent ones the first in its plain form: pass every row's name, or each
    name once. To merge: `[variants.get(name, name) for name in labels]`.

    Returns:
        variant -> name to keep; empty where there is nothing to merge.
    """
    counts, groups = Counter(names), dict[str, list[str]]()
    for name in counts:
        groups.setdefault(plain_name(name), []).append(name)
    kept: dict[str, str] = {}
    for group in groups.values():
        plain = {name: " ".join(unicodedata.normalize("NFKC", name).split()) for name in group}
        best = max(group, key=lambda name: (counts[name], name == plain[name] and name.isprintable()))  # noqa: B023
        kept.update({name: best for name in group if name != best})
    return kept


def split_labels(values: Sequence[str], delimiter: str | None = None, *, where: str = "labels") -> list[list[str]]:
    """Read lists of labels that were stored as text: "['joy', 'love']", '["joy", "love"]' or "joy; love".

    Args:
        values: one text per row; a blank one has no label.
        delimiter: what stands between labels; None for lists in brackets.
        where: what the values are called, for errors.

    Raises:
        ValueError: for a text that is no list; the row is named.
    """
    if delimiter is not None:
        return [[part.strip() for part in value.split(delimiter) if part.strip()] for value in values]
    lists = []
    for row, value in enumerate(values):
        found = _literal(value) if value.strip() else []
        if not isinstance(found, (list, tuple, set)):
            remedy = 'Name the delimiter between labels; --delimiter "" says that each string is one label'
            refuse(where, np.array([row]), f"{value!r} is no list in brackets", remedy)
        if None in found:
            refuse(where, np.array([row]), "a list of labels holds None", "Leave it out")
        lists.append([str(name) for name in found])
    return lists


def find_delimiter(values: Iterable[str], known: Sequence[str] = ()) -> str | None:
    """Find what stands between the labels of strings that hold several; None where each seems to hold one.

    It is a delimiter if, of the different strings that have it, at least half have a part that is met in another one or
    that is known (a name, or its id).
    """
    distinct = set(values)
    names = {*known, *map(str, range(len(known)))}
    for delimiter in DELIMITERS:
        parts = [{part.strip() for part in value.split(delimiter)} - {""} for value in distinct]
        met = Counter(part for some in parts for part in some)
        joined = [some for some, value in zip(parts, distinct, strict=True) if delimiter in value]
        if joined and 2 * sum(any(met[part] > 1 or part in names for part in some) for some in joined) >= len(joined):
            return delimiter
    return None


def label_studio(value: str) -> Any:
    """Return the names in a cell of Label Studio's csv, `{"choices": ["money", "sport"]}`; others as they are."""
    return choices(_literal(value)) if LABEL_STUDIO.match(value) else value


def plain_word(name: str) -> str:
    """Return a word for "no label" in its plain form: `(No_Label)` is `no label`, and `−1.0` is `-1`."""
    plain = plain_name(name.replace("\u2212", "-").replace("_", " ").strip("()"))
    return plain.removesuffix(".0") if plain.startswith("-") else plain


def no_class(names: Sequence[str], declared: bool) -> tuple[list[str], list[str]]:
    """Find the names that mean "no label": those that surely do, and those that may.

    -1 surely does beside names, and beside the ids 0, 1 and 2 or more; beside 0 and 1 alone it may be a sentiment; and
    with other negative numbers it is one of a scale.

    Args:
        names: the different labels, as text.
        declared: whether somebody has said which names there are, so that these are others.
    """
    plain = {name: plain_word(name) for name in names}
    sure = [name for name, word in plain.items() if word in NO_CLASS and word != "-1"]
    perhaps = [] if declared else [name for name, word in plain.items() if word in PERHAPS]
    if minus := [name for name, word in plain.items() if word == "-1"]:
        numbers = [whole_number(word) for name, word in plain.items() if name not in (*sure, *minus)]
        known = [number for number in numbers if number is not None]
        if declared or not numbers or None in numbers or (min(known) >= 0 and max(known) > 1):
            sure += minus
        elif min(known) >= 0:
            perhaps += minus
    return sure, perhaps


def _literal(value: str) -> Any:
    if PRINTED_ARRAY.search(value):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(value)
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
