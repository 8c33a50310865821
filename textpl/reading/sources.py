"""Where rows come from: a folder, one file, a bundled name or a Hub id, opened as raw Datasets.

Nothing is decided here about columns or labels; `find_columns.py` and `label_cells.py` do that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset

from textpl.reading.tables import DELIMITED, READABLE, Table, read_table

BUNDLED = "bundled:"
# Our split name -> names it goes by elsewhere, the first one found wins.
SPLIT_ALIASES: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "dev": ("dev", "validation", "valid", "val"),
    "unlabeled": ("unlabeled", "unlabelled", "unsupervised"),
}
NO_SPLITS = ("info.json", "cleaning.json", "report.json", "inputs.json")  # textpl writes them beside its tables
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class RawSource:
    """Splits as they were found (keys are our split names), what an info.json says about them, the Hub's commit."""

    splits: dict[str, Dataset]
    info: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None  # 40 hex digits; None for what is not from the Hub
    tables: dict[str, Table] = field(default_factory=dict)  # how each file is written; none from the Hub

    @property
    def notes(self) -> list[str]:
        """What the user should know of how the files were read."""
        return [note for table in self.tables.values() for note in table.notes]

    def untyped(self, split: str) -> bool:
        """Whether the columns of a split were text only, so that numbers in them may be texts."""
        table = self.tables.get(split)
        return table is not None and table.written is not None and table.written.suffix in DELIMITED


def open_source(
    source: str | Path,
    *,
    config: str | None = None,
    revision: str | None = None,
    splits: Mapping[str, str] | None = None,
) -> RawSource:
    """Open a folder, a file, "bundled:NAME" or a Hub dataset id.

    Args:
        source: what to open; a path that exists wins over a Hub id of the same spelling.
        config: configuration of a Hub dataset.
        revision: commit, tag or branch of a Hub dataset.
        splits: our split name -> source split (the file's stem in a folder). Exactly these are read;
            "train" need not be named. None reads every split found under its usual name.

    Raises:
        FileNotFoundError: for a missing source or split, with what was looked for and what is there.
        ValueError: for a file that cannot be read or has no rows, or settings that do not apply.
    """
    unknown = set(splits or ()) - set(SPLIT_ALIASES)
    if unknown:
        raise ValueError(f"splits names {sorted(unknown)}; the splits of a corpus are {list(SPLIT_ALIASES)}.")
    path = _bundled_folder(str(source)) if str(source).startswith(BUNDLED) else Path(source).expanduser()
    if path.exists() or isinstance(source, Path):
        if config is not None or revision is not None:
            raise ValueError(
                f"config={config!r}, revision={revision!r} apply to Hub datasets only, and {str(source)!r} "
                "is on this machine: leave both out."
            )
        return _open_path(path, splits)
    if path.suffix in READABLE or not HUB_ID.fullmatch(str(source)):
        raise FileNotFoundError(f"{str(source)!r} is neither a file nor a folder here{_neighbors(path)}.")
    return _open_hub(str(source), config, revision, splits)


def _bundled_folder(source: str) -> Path:
    data = Path(str(resources.files("textpl").joinpath("data")))
    names = sorted(entry.name for entry in data.iterdir() if (entry / "info.json").exists()) if data.is_dir() else []
    name = source.removeprefix(BUNDLED)
    if name not in names:
        raise FileNotFoundError(f"no bundled dataset {name!r}: textpl comes with {names}.")
    return data / name


def _open_path(path: Path, splits: Mapping[str, str] | None) -> RawSource:
    if path.is_file():
        if splits is not None:
            raise ValueError(f"{path} is one file, thus one train split: splits={dict(splits)!r} needs a folder.")
        return _of_tables({"train": read_table(path)}, {})
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist{_neighbors(path)}.")
    stems = sorted({e.stem for e in path.iterdir() if e.suffix.lower() in READABLE and e.name not in NO_SPLITS})
    chosen = _match_splits(stems, splits, f"folder {path} (files {_listing(path)}; readable: {', '.join(READABLE)})")
    tables = {name: read_table(_only_file(path, stem)) for name, stem in chosen.items()}
    return _of_tables(tables, _read_info(path))


def _of_tables(tables: dict[str, Table], info: dict[str, Any]) -> RawSource:
    return RawSource({name: table.dataset for name, table in tables.items()}, info, tables=tables)


def _match_splits(present: Iterable[str], splits: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Our split name -> name in the source, for the splits to read."""
    present = list(present)
    if splits is not None:
        chosen = {"train": "train", **splits}
    else:
        for names in SPLIT_ALIASES.values():
            if len(twice := [name for name in names if name in present]) > 1:
                raise ValueError(f"{where} has {' and '.join(twice)}, which are names of one split: keep one.")
        found = ((ours, next((a for a in names if a in present), None)) for ours, names in SPLIT_ALIASES.items())
        chosen = {ours: theirs for ours, theirs in found if theirs is not None}
    missing = [theirs for theirs in chosen.values() if theirs not in present]
    if "train" not in chosen:
        missing.append("train")
    if missing:
        raise FileNotFoundError(
            f"no {' / '.join(missing)} in {where}; splits there: {present}. Name them, for example "
            "splits={'train': 'NAME'}."
        )
    return chosen


def _only_file(folder: Path, stem: str) -> Path:
    files = sorted(e for e in folder.iterdir() if e.stem == stem and e.suffix.lower() in READABLE)
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{folder} holds {names}: keep one file for the split {stem!r}.")
    return files[0]


def _read_info(folder: Path) -> dict[str, Any]:
    path = folder / "info.json"
    if not path.exists():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no valid JSON: {error}") from error
    if not isinstance(info, dict) or info.get("task") not in (None, "single", "multi"):
        raise ValueError(f'{path}: must be an object whose "task", if any, is "single" or "multi".')
    if not isinstance(info.get("label_names", []), list):
        raise ValueError(f'{path}: "label_names" must be a list.')
    return info


def _open_hub(source: str, config: str | None, revision: str | None, splits: Mapping[str, str] | None) -> RawSource:
    try:
        loaded = datasets.load_dataset(source, config, revision=revision)
    except (FileNotFoundError, ConnectionError) as error:
        message = f"{source!r} is no file or folder here, and cannot be read from the Hub: {error}"
        raise FileNotFoundError(message) from error
    found: Mapping[str, Dataset] = {"train": loaded} if isinstance(loaded, Dataset) else loaded
    chosen = _match_splits(found, splits, f"Hub dataset {source!r}")
    return RawSource({ours: found[theirs] for ours, theirs in chosen.items()}, commit=_commit(found))


def _commit(found: Mapping[str, Dataset]) -> str | None:
    """The commit that was read: the cache of datasets has a folder for each."""
    folders = (Path(file["filename"]).parent.name for rows in found.values() for file in rows.cache_files)
    return next(filter(_COMMIT.fullmatch, folders), None)


def _listing(folder: Path, limit: int = 20) -> str:
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{', '.join(names[:limit])}{more}" if names else "none"


def _neighbors(path: Path) -> str:
    return f" ({path.parent} holds: {_listing(path.parent)})" if path.parent.is_dir() else ""
