"""The command `textpl classify`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textpl.terminal import errors_told, interruption_told, log_to_terminal, say


def classify(
    classifier: Annotated[Path, typer.Argument(help="What textpl label --save-classifier wrote.")],
    texts: Annotated[str, typer.Argument(help="Texts to classify: folder, csv, jsonl or parquet file, or Hub id.")],
    out: Annotated[Path, typer.Option(help="File to write: .parquet, .jsonl, .csv or .tsv.")],
    text: Annotated[str, typer.Option(help="Name of the text column.")] = "text",
    split: Annotated[str | None, typer.Option(help="Split of the texts, where there are several.")] = None,
    encoder: Annotated[str | None, typer.Option(help="Where the encoder lies now, if it has moved.")] = None,
) -> None:
    """Label new texts by a classifier that was kept from labels found in a pool."""
    from textpl.classify_files import classify_files

    log_to_terminal()
    again = lambda: "nothing was written; texts that were encoded are cached. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        found = classify_files(classifier, texts, out, text_column=text, split=split, encoder=encoder, say=say)
    say(f"{len(found):,} rows labeled: {out}")
