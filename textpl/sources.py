"""Where a corpus comes from: a folder, one file, a bundled name or a Hub id, opened as raw Datasets.

Nothing is decided here about columns or labels; `corpus.py` does that.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
from datasets import Dataset

from textpl.progress import quiet_datasets

BUNDLED = "bundled:"
READABLE = (".parquet", ".jsonl", ".json", ".csv", ".tsv")

# Our split name -> names it goes by elsewhere, the first one found wins.
SPLIT_ALIASES: dict[str, tuple[str, ...]] = {
    "train": ("train",),
    "test": ("test",),
    "dev": ("dev", "validation", "valid", "val"),
    "unlabeled": ("unlabeled", "unlabelled", "unsupervised"),
}
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class RawSource:
    """Splits as they were found (keys are our split names), what an info.json says about them, the Hub's commit."""

    splits: dict[str, Dataset]
    info: dict[str, Any] = field(default_factory=dict)
    commit: str | None = None  # 40 hex digits; None for what is not from the Hub


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
        raise FileNotFoundError(f"{str(source)!r} is neither a file nor a folder here{_neighbours(path)}.")
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
        return RawSource({"train": _read_file(path)})
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist{_neighbours(path)}.")
    stems = sorted({entry.stem for entry in path.iterdir() if entry.suffix in READABLE and entry.name != "info.json"})
    chosen = _match_splits(stems, splits, f"folder {path} (files {_listing(path)}; readable: {', '.join(READABLE)})")
    return RawSource({name: _read_file(_only_file(path, stem)) for name, stem in chosen.items()}, _read_info(path))


def _match_splits(present: Iterable[str], splits: Mapping[str, str] | None, where: str) -> dict[str, str]:
    """Our split name -> name in the source, for the splits to read."""
    present = list(present)
    if splits is not None:
        chosen = {"train": "train", **splits}
    else:
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
    files = [folder / f"{stem}{suffix}" for suffix in READABLE if (folder / f"{stem}{suffix}").exists()]
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ValueError(f"{folder} holds {names}: keep one file for the split {stem!r}.")
    return files[0]


@quiet_datasets(errors=False)
def _read_file(path: Path) -> Dataset:
    """One file as a memory-mapped Dataset (converted to Arrow in the datasets cache at first reading)."""
    if path.suffix not in READABLE:
        raise ValueError(f"{path}: unknown suffix {path.suffix!r}; textpl reads {', '.join(READABLE)}.")
    try:
        if path.stat().st_size == 0:
            return Dataset.from_dict({})
        if path.suffix == ".parquet":
            # The reader of datasets fails on a file without rows.
            has_rows = pq.read_metadata(path).num_rows > 0
            return Dataset.from_parquet(str(path)) if has_rows else Dataset.from_dict({})
        if path.suffix in (".csv", ".tsv"):
            # Without na_filter=False pandas turns the texts and classes "None", "NA", "null" into missing values.
            return Dataset.from_csv(str(path), sep="\t" if path.suffix == ".tsv" else ",", na_filter=False)
        rows = Dataset.from_json(str(path))
        rows.data.validate(full=True)  # Arrow's reader takes any bytes for text
        return rows
    except Exception as error:  # the readers raise pyarrow, pandas and datasets errors, the reason in the cause
        if isinstance(error, StopIteration) or "corresponds to no data" in str(error):
            return Dataset.from_dict({})
        raise ValueError(f"cannot read {path}: {error.__cause__ or error}{_encoding_hint(path)}") from error


def _encoding_hint(path: Path) -> str:
    """How to make UTF-8 of a text file that is not; nothing for others."""
    if path.suffix == ".parquet" or (encoding := _encoding(path)) == "UTF-8":
        return ""
    return (
        f". It is no UTF-8 text, but perhaps {encoding}: convert it with "
        f"`iconv -f {encoding} -t UTF-8 {path.name} > utf8{path.suffix}`, or save it as UTF-8"
    )


def _encoding(path: Path) -> str:
    """In which encoding a text file may be, from the first that fits."""
    with path.open("rb") as stream:
        begin = stream.read(1_000_000)
    if begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    for encoding in ("UTF-8", "GB18030"):
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder(encoding)().decode(begin)  # its last letter may be cut off
            return encoding
    return "WINDOWS-1252"


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


def _neighbours(path: Path) -> str:
    return f" ({path.parent} holds: {_listing(path.parent)})" if path.parent.is_dir() else ""
