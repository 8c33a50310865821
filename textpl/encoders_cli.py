"""The command `textpl encoders`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textpl.label_options import Delimiter, Empty, Groups, MergeVariants, UnlabeledValue, label_format
from textpl.terminal import errors_told, interruption_told, log_to_terminal, say


def encoders(
    data: Annotated[str, typer.Argument(help="Labeled texts: folder, csv, jsonl or parquet file, or Hub id.")],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="sentence-transformers id or folder, lsa, or 'NAME + NAME', joined; again for each. "
            "Default: all-MiniLM-L6-v2 and lsa."
        ),
    ] = None,
    pool: Annotated[
        str | None, typer.Option(help="Unlabeled texts of the same kind, whose neighborhoods help.")
    ] = None,
    pool_rows: Annotated[
        int | None, typer.Option(min=1, help="Read so many random rows of the pool. Default: all.")
    ] = None,
    text: Annotated[str, typer.Option(help="Name of the text column.")] = "text",
    label_column: Annotated[
        str, typer.Option("--label", help="Name of the label column, or of several of 0 and 1: a,b,c.")
    ] = "label",
    delimiter: Delimiter = None,
    unlabeled_value: UnlabeledValue = None,
    empty: Empty = None,
    merge_variants: MergeVariants = None,
    groups: Groups = None,
    seed: Annotated[int, typer.Option(help="Seed of the hold-out folds.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the numbers there too (json).")] = None,
) -> None:
    """Compare encoders on labeled rows: which one suits these texts, what it costs, whether it is what limits."""
    from textpl.atomic_files import check_writable, write_json
    from textpl.encoder_comparison import USUAL
    from textpl.encoder_files import compare_encoder_files

    log_to_terminal()
    again = lambda: "texts that were encoded are cached. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        if out is not None:
            check_writable(out.parent)  # before the work, not after it
        found = compare_encoder_files(
            data,
            pool,
            encoder or USUAL,
            text=text,
            labels=label_column,
            label_format=label_format(delimiter, unlabeled_value, empty, merge_variants),
            most=pool_rows,
            groups=groups,
            seed=seed,
            say=say,
        )
        if out is not None:
            write_json(out, found.to_dict())
    say(str(found))
