"""The command `textpl score`: parse, call one function, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from textpl.label_options import split_names
from textpl.terminal import errors_told, log_to_terminal, say


def score(
    folder: Annotated[Path, typer.Argument(help="What textpl clean wrote about the test rows.")],
    predictions: Annotated[
        Path, typer.Argument(help="Probabilities of the model to be judged: .npy, .npz, .csv or .parquet.")
    ],
    label_names: Annotated[
        str | None,
        typer.Option(help="The labels in the order of the columns of PREDICTIONS, if these have no headings: a,b,c."),
    ] = None,
    threshold: Annotated[float, typer.Option(help="Cut where rows may have several labels.")] = 0.5,
    sample: Annotated[Path | None, typer.Option(help="Write random rows to review there (csv).")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="How many. Default: enough for +-5 points.")] = None,
    review: Annotated[
        Path | None,
        typer.Option(help="The sample with decisions, all from the top on: csv, or from an annotation tool."),
    ] = None,
) -> None:
    """Score predictions against the right labels of test rows whose labels are partly wrong."""
    from textpl.noisy_scores.files import score_files

    log_to_terminal()
    with errors_told():
        found = score_files(
            folder,
            predictions,
            label_names=split_names(label_names),
            threshold=threshold,
            review=review,
            sample=sample,
            count=rows,
        )
    say(found.scores.summary())
    if found.sample is not None:
        say(f"  {found.rows:,} rows to review: {found.sample}")
        say("Fill the column `decision`, rows from the top on, and run this again with --review FILE.")
