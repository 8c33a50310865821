"""The command `textpl select`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textpl.label_options import Delimiter, Empty, Groups, MergeVariants, UnlabeledValue, label_format
from textpl.terminal import errors_told, interruption_told, log_to_terminal, say


def select(
    pool: Annotated[str, typer.Argument(help="Texts to choose from: folder, csv, jsonl or parquet file, or Hub id.")],
    budget: Annotated[int, typer.Option(min=1, help="How many to choose.")],
    out: Annotated[Path, typer.Option(help="File to write and fill in: .csv, .tsv, .jsonl or .parquet.")],
    labeled: Annotated[
        list[str] | None,
        typer.Option(help="What is labeled: the file filled in so far, or any other labeled rows. Again for more."),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="auto, kmeans, facility_location, typiclust, probcover or random; with labels also weighted_kmeans, "
            "badge or margin."
        ),
    ] = "auto",
    encoder: Annotated[
        str | None, typer.Option(help="sentence-transformers id or folder, or lsa. Default: all-MiniLM-L6-v2.")
    ] = None,
    argilla: Annotated[Path | None, typer.Option(help="Write records for Argilla there too (.json).")] = None,
    label_studio: Annotated[Path | None, typer.Option(help="Write tasks for Label Studio there too (.json).")] = None,
    text: Annotated[str, typer.Option(help="Name of the text column, in all files.")] = "text",
    label: Annotated[str, typer.Option(help="Name of the label column.")] = "label",
    label_names: Annotated[
        str | None, typer.Option(help="The labels to choose from: a,b,c. Label Studio needs them.")
    ] = None,
    delimiter: Delimiter = None,
    unlabeled_value: UnlabeledValue = None,
    empty: Empty = None,
    merge_variants: MergeVariants = None,
    groups: Groups = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
) -> None:
    """Choose which texts a person should label first, and next."""
    from textpl.selecting.files import select_files

    log_to_terminal()
    again = lambda: "nothing was written; texts that were encoded are cached. Give the same command again."  # noqa: E731
    with errors_told(), interruption_told(again):
        found = select_files(
            pool,
            budget,
            out,
            labeled=labeled or (),
            argilla=argilla,
            label_studio=label_studio,
            text=text,
            label=label,
            label_names=None if label_names is None else [name.strip() for name in label_names.split(",")],
            label_format=label_format(delimiter, unlabeled_value, empty, merge_variants),
            strategy=strategy,
            groups=groups,
            seed=seed,
            say=say,
            **({} if encoder is None else {"encoder": encoder}),
        )
    say(f"Round {found.round}: {found.chosen}")
    if found.rates is not None:
        say(str(found.rates))
    say("\n".join(f"  {what + ':':18s}{file}" for what, file in found.files.items()))
    say(f"Fill the column {label!r}, from the top on, and give this again with --labeled {out} --out {out} for more.")
