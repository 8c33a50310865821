"""What a path or id in a recipe may be: a Hub id, a bundled name, or something inside the recipe's folder."""

from __future__ import annotations

import re
from pathlib import Path

DATA_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
_HUB_NAME = r"[A-Za-z0-9][\w.-]*"
_MODEL_ID = re.compile(rf"{_HUB_NAME}(/{_HUB_NAME})?")
_DATA_ID = re.compile(rf"{_HUB_NAME}/{_HUB_NAME}|bundled:[\w-]+")


def locate(reference: str, folder: Path) -> Path | str:
    """The local file or folder that a recipe names, if it is there; else the name itself, which is a Hub id.

    Raises:
        ValueError: for a URL, an absolute path, or a path that leaves the folder, also through a symbolic link.
    """
    if "://" in reference:
        raise ValueError(f"{reference!r} is a URL: a recipe names a Hub id, or files beside it")
    if reference.startswith(("/", "~")) or "\\" in reference or re.match("[A-Za-z]:", reference):
        raise ValueError(f"{reference!r} is no path inside the recipe's folder: write it relative to that, with '/'")
    root, path = folder.resolve(), folder / reference
    try:
        reached = [path.resolve(), *(entry.resolve() for entry in (path.iterdir() if path.is_dir() else ()))]
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a loop of links
        raise ValueError(f"{reference!r} cannot be opened: {error}") from None
    if ".." in reference.split("/") or not all(end.is_relative_to(root) for end in reached):
        raise ValueError(f"{reference!r} leads out of the recipe's folder: put the files beside the recipe")
    return path if exists else reference


def check_reference(reference: str, folder: Path, *, data: bool) -> str:
    """The reference, if it is there or can be a Hub id (of a dataset or of a model); else ValueError."""
    is_id = (_DATA_ID if data else _MODEL_ID).fullmatch(reference) and not reference.endswith(DATA_SUFFIXES)
    if locate(reference, folder) == reference and not is_id:
        hint = " or 'bundled:NAME'" if data else ""
        raise ValueError(
            f"no file or folder {reference!r} beside the recipe; it may also be a Hub id 'owner/name'{hint}"
        )
    return reference


def check_hub_settings(reference: str, folder: Path, **settings: str | None) -> None:
    """ValueError for settings of the Hub beside a reference that does not lead there."""
    given = [name for name, value in settings.items() if value is not None]
    if given and (reference.startswith("bundled:") or isinstance(locate(reference, folder), Path)):
        raise ValueError(f"{' and '.join(given)} would have no effect: {reference!r} does not come from the Hub")
