"""What a path or id in a recipe may be: a Hub id, a bundled name, or something inside the recipe's folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

# In place of a source: data that everybody brings along, since they are nowhere to be had under a name.
OWN_DATA = "yours"
DATA_SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
# Where a recipe may name files: a text each (teacher: or a list of these).
REFERENCES = (
    ("data", "source"),
    ("model",),
    ("model", "name"),
    ("label", "encoder"),
    ("clean", "encoder"),
    ("noise", "encoder"),
    ("method", "teacher"),
)
_HUB_NAME = r"[A-Za-z0-9][\w.-]*"
_MODEL_ID = re.compile(rf"{_HUB_NAME}(/{_HUB_NAME})?")
_DATA_ID = re.compile(rf"{_HUB_NAME}/{_HUB_NAME}|bundled:[\w-]+")
_DRIVE = re.compile("[A-Za-z]:")


def quoted(text: str) -> str:
    """Text in quotes, with single backslashes as it was typed; only what cannot be shown is escaped."""
    mark = '"' if "'" in text else "'"
    return f"{mark}{text}{mark}" if text.isprintable() else repr(text)


class Located(str):
    """The absolute path of something that need not lie in the recipe's folder: of what the user typed, no other."""

    __slots__ = ()


def locate(reference: str, folder: Path | None) -> Path | str:
    """Return the local file or folder that a recipe names, if it is there; else the name itself, which is a Hub id.

    Args:
        reference: the name in the recipe.
        folder: of the recipe; None: nothing is looked for.

    Raises:
        ValueError: for a URL, an absolute path, or a path that leaves the folder, also through a symbolic link.
    """
    if isinstance(reference, Located):
        return Path(reference)
    if "://" in reference:
        raise ValueError(f"{quoted(reference)} is a URL: a recipe names a Hub id, or files beside it")
    if reference.startswith(("/", "~")) or "\\" in reference or _DRIVE.match(reference):
        raise ValueError(
            f"{quoted(reference)} is no path inside the recipe's folder: write it relative to that, with '/' (what "
            "lies elsewhere is for the command line: --set)"
        )
    outside = f"{quoted(reference)} leads out of the recipe's folder: put the files beside the recipe"
    if ".." in reference.split("/"):
        raise ValueError(outside)
    if folder is None:
        return reference
    root, path = folder.resolve(), folder / reference
    try:
        reached = [path.resolve(), *(entry.resolve() for entry in (path.rglob("*") if path.is_dir() else ()))]
        exists = path.exists()
        hidden = not exists and _MODEL_ID.fullmatch(reference) is not None and Path(reference).exists()
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a loop of links
        raise ValueError(f"{quoted(reference)} cannot be opened: {error}") from None
    if not all(end.is_relative_to(root) for end in reached):
        raise ValueError(outside)
    if hidden:
        raise ValueError(
            f"{quoted(reference)} is a Hub id here, but where you stand something has that name and would be read "
            "instead: start from another folder, or if that is what you mean, say so on the command "
            "line (--data, --set)"
        )
    return path if exists else reference


def local_references(recipe: BaseModel, folder: Path) -> dict[str, Path]:
    """Return key -> path of what a recipe reads beside it."""
    found: dict[str, Path] = {}

    def note(keys: tuple[str | int, ...], reference: str) -> str:
        path = locate(reference, folder)
        if reference != "lsa" and isinstance(path, Path):
            found[".".join(map(str, keys))] = path
        return reference

    change_references(recipe.model_dump(by_alias=True), note)
    return found


def is_elsewhere(reference: str, *, data: bool) -> bool:
    """Tell whether a reference (to data or to a model; `lsa` looks like one) can be had without a file beside it."""
    is_id = (_DATA_ID if data else _MODEL_ID).fullmatch(reference) and not reference.endswith(DATA_SUFFIXES)
    return bool(is_id) or (data and reference == OWN_DATA)


def not_beside(reference: str, *, data: bool) -> str:
    """Say that what a recipe names is not there."""
    hint = ", 'bundled:NAME', or 'yours' for what comes with --data" if data else ""
    return f"no file or folder {quoted(reference)} beside the recipe; it may also be a Hub id 'owner/name'{hint}"


def check_reference(reference: str, folder: Path | None, *, data: bool) -> str:
    """Return the reference, if it is there or can be a Hub id (of a dataset or of a model); else ValueError."""
    if locate(reference, folder) == reference and folder is not None and not is_elsewhere(reference, data=data):
        raise ValueError(not_beside(reference, data=data))
    return reference


def check_hub_settings(reference: str, folder: Path | None, **settings: str | None) -> None:
    """ValueError for settings of the Hub beside a reference that does not lead there."""
    given = [name for name, value in settings.items() if value is not None]
    if given and (
        reference == OWN_DATA or reference.startswith("bundled:") or isinstance(locate(reference, folder), Path)
    ):
        raise ValueError(f"{' and '.join(given)} would have no effect: {quoted(reference)} does not come from the Hub")


def typed(reference: str) -> str:
    """What the user typed: a path from the current folder, if something is there; else as a recipe would say it.

    Raises:
        ValueError: if it can only be a path, and nothing is there.
    """
    if reference.startswith("bundled:") or reference == "lsa" or "://" in reference:
        return reference
    path = Path(reference).expanduser()
    try:
        if path.exists():
            return Located(os.path.abspath(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{quoted(reference)} cannot be opened: {error}") from None
    if path.is_absolute() or ".." in path.parts or reference.startswith((".", "~")):
        raise ValueError(f"there is no file or folder {quoted(reference)}")
    return reference


def change_references(data: Any, change: Callable[[tuple[str | int, ...], str], str]) -> None:
    """Replace every reference in plain data, which may be of any shape, by `change(keys, reference)`."""
    for keys in REFERENCES:
        place, last = data, keys[-1]
        for key in keys[:-1]:
            place = place.get(key) if isinstance(place, dict) else None
        value = place.get(last) if isinstance(place, dict) else None
        if isinstance(value, str):
            place[last] = change(keys, value)
        elif isinstance(value, list):
            place[last] = [change((*keys, i), item) if isinstance(item, str) else item for i, item in enumerate(value)]
