"""Files that are whole or not there: written under another name, flushed to the disk, renamed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PROBE_BYTES = 1 << 16
TEMPORARY = re.compile(r"\.(probe\.\d+-\w{8}|.+\.\d+-\w{8}\.partial)", re.DOTALL)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to, which takes its place when the block ends without an error.

    A kill at any moment leaves the old file or the new one. After an error the temporary file is removed.

    Raises:
        OSError: as the writing does, a full disk included.
    """
    with replacing_all([path]) as (partial,):
        yield partial


@contextlib.contextmanager
def replacing_all(paths: Sequence[str | Path]) -> Iterator[list[Path]]:
    """Give temporary paths for files that belong together; all are on the disk before the first is renamed.

    Raises:
        OSError: as the writing does, a full disk included.
    """
    wanted = [Path(path) for path in paths]
    partials = [p.with_name(f".{p.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial") for p in wanted]
    try:
        yield partials
        for partial in partials:
            _flush(partial)
        for partial, path in zip(partials, wanted, strict=True):
            os.replace(partial, path)
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
    for folder in {path.parent for path in wanted}:
        _flush(folder)  # the new names themselves


def replace_folder(new: Path, path: Path) -> None:
    """Put a folder of files, which is flushed to the disk before, in the place of `path`; an older one is removed."""
    for file in new.iterdir():
        _flush(file)
    _flush(new)
    if path.exists():
        shutil.rmtree(path)  # a folder that is not empty cannot be replaced
    os.replace(new, path)
    _flush(path.parent)


def is_temporary(path: Path) -> bool:
    """Say whether a file is one that only a killed process can have left."""
    return TEMPORARY.fullmatch(path.name) is not None


def remove_temporary(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder and below it; for who alone writes there."""
    for path in folder.rglob(".*"):
        if is_temporary(path) and path.is_file():
            path.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> None:
    """Create a folder and write a probe file into it, so that one that takes no files is found before the work.

    Raises:
        OSError: naming the folder and the reason.
    """
    folder = Path(folder)
    probe = folder / f".probe.{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with probe.open("wb") as file:
                file.write(b"\0" * PROBE_BYTES)
                file.flush()
                os.fsync(file.fileno())  # a full disk, or a quota, may be told only now
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"cannot write to {folder}: {reason}. Make room there or choose another folder.") from error


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text as it is, whole or not at all."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON for people to read too, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: str | Path, remedy: str) -> Any:
    """Read a JSON file that textpl wrote.

    Args:
        path: of the file.
        remedy: what to do about a broken one, for the error.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: naming the file and the remedy, if it is half-written or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is half-written or broken ({error}). {remedy}") from error


def _flush(path: Path) -> None:
    """Have the disk hold what was written; a folder where the system cannot do that is left alone."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)
