"""Merge the plain data of a recipe over that of its parent."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from textpl.recipes.field_types import EXCLUSIVE
from textpl.recipes.method_settings import ARGUMENTS, CHOICES, DEFAULT_METHOD, NO_METHOD
from textpl.recipes.stage_settings import DEFAULT_MODEL
from textpl.recipes.yaml_text import Document, Keys, Place, written_out

# Section -> the key that says what it is of, and what goes with that (None: everything).
OF: dict[Keys, tuple[str, tuple[str, ...] | None]] = {
    ("data",): ("source", None),
    ("model",): ("name", ("revision", "layers", "freeze")),
    ("method",): ("name", None),
    ("train", "labeled_loss"): ("name", None),
}


def merged(child: Document, parent: Document) -> tuple[dict[str, Any], dict[Keys, Place]]:
    """Data and places: the child's, and under them the parent's.

    Mappings are merged, all else is replaced. null takes the parent's setting back, so that the default holds, unless
    it is a value of its own there (method.view: null). Where the child names another method, data set, model or loss,
    settings of the parent's are left out; of a pair that excludes each other, so is the one the child does not name.
    """
    of_child: set[Keys] = set()  # what is taken from each, with all below it
    of_parent: set[Keys] = set()
    of_method = [_method(parent.data, {}), _method(child.data, parent.data)]

    def merge(keys: Keys, mine: Any, theirs: Any) -> dict[str, Any]:
        theirs = {k: v for k, v in theirs.items() if k not in _left_out(keys, mine, theirs, of_method)}
        result: dict[str, Any] = {}
        for key in dict.fromkeys([*theirs, *mine]):
            at = (*keys, key)
            if key not in mine:
                result[key] = theirs[key]
                of_parent.add(at)
                continue
            value, inherited = mine[key], theirs.get(key)
            if value is None and inherited is not None and not _may_be_null(at):
                continue
            of_child.add(at)
            value, inherited = (written_out(at, v) if v is not None else None for v in (value, inherited))
            both = isinstance(value, dict) and isinstance(inherited, dict)
            result[key] = merge(at, value, inherited) if both else mine[key]
        return result

    data = merge((), child.data, parent.data)
    return data, {(): child.place(())} | _places(child, of_child) | _places(parent, of_parent)


def _left_out(keys: Keys, mine: dict[str, Any], theirs: dict[str, Any], of_method: list[str]) -> set[str]:
    """Keys of the parent's section that the child's does not inherit."""
    if not keys and "method" not in mine and of_method[0] != of_method[1]:
        return {"method"}  # other stages have another one
    if keys[:1] == ("method",) and len(keys) == 2 and keys[1] in CHOICES:
        return set(theirs) - set(mine)  # one schedule, one view
    pair = EXCLUSIVE.get(str(keys[0]), ()) if len(keys) == 1 else ()
    gone = set(pair) - set(mine) if any(mine.get(name) is not None for name in pair) else set()
    if keys in OF:
        name, with_it = OF[keys]
        if keys == ("method",):
            changed = of_method[0] != of_method[1]
        else:
            default = DEFAULT_MODEL if keys == ("model",) else None
            changed = name in mine and (mine[name] or default) != (theirs.get(name) or default)
        if changed:
            gone |= set(theirs) if with_it is None else set(with_it)
    return gone


def _method(data: dict[str, Any], above: dict[str, Any]) -> str:
    """The method that is meant, in words of the parent where the child has none."""
    for given in (written_out(("method",), data.get("method")), written_out(("method",), above.get("method"))):
        if isinstance(given, dict) and given.get("name") is not None:
            return str(given["name"])
    stages = data.get("stages", above.get("stages"))
    if isinstance(stages, list) and "label" in stages:
        return "distillation"
    return NO_METHOD if isinstance(stages, list) and "clean" in stages else DEFAULT_METHOD


def _may_be_null(keys: Keys) -> bool:
    """Whether null is a value of a setting of a method."""
    if len(keys) != 2 or keys[0] != "method" or keys[1] not in ARGUMENTS:
        return False
    try:
        TypeAdapter(ARGUMENTS[str(keys[1])]).validate_python(None)
    except ValidationError:
        return False
    return True


def _places(document: Document, taken: set[Keys]) -> dict[Keys, Place]:
    """The places of some keys and of all below them; in one pass, as a stranger may write very many."""
    below = {
        at: place
        for at, place in document.places.items()
        if any(at[:length] in taken for length in range(1, len(at) + 1))
    }
    return {keys: document.place(keys) for keys in taken} | below
