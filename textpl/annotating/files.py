"""`textpl annotate` on files and Hub data: read, ask, write one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textpl.annotating.annotate import Annotated, annotate
from textpl.atomic_files import check_writable
from textpl.reading.sources import open_source
from textpl.reading.writing import WRITABLE, write_table


def annotate_file(data: str, out: Path, *, split: str = "train", **settings: Any) -> Annotated:
    """Ask about the rows of one source and write them with the answers.

    Args:
        data: folder, file or Hub id.
        out: .parquet, .jsonl, .csv or .tsv file to write.
        split: of a folder or of Hub data.
        settings: of `textpl.annotate`.

    Raises:
        FileExistsError: if `out` exists.
        ValueError: for a kind of file that cannot be written, a split that is not there, and all that
            `textpl.annotate` refuses.
    """
    if out.suffix not in WRITABLE:
        raise ValueError(f"{out}: write a {', '.join(WRITABLE)} file.")
    if out.exists():
        raise FileExistsError(f"{out} exists: name another file, or remove it.")
    check_writable(out.parent)
    splits = open_source(data).splits
    if split not in splits:
        raise ValueError(f"{data} has no split {split!r}, but {list(splits)}.")
    found = annotate(splits[split], **settings)
    write_table(found.dataset, out)
    return found
