"""The command line: parse, call one function, print."""

from __future__ import annotations

from typing import Annotated

import typer

from textpl.annotate_cli import annotate
from textpl.classify_cli import classify
from textpl.clean_cli import clean
from textpl.encoders_cli import encoders
from textpl.hub_cli import push_made
from textpl.label_cli import label
from textpl.recipes_cli import recipes_app
from textpl.run_cli import run
from textpl.score_cli import score
from textpl.select_cli import select
from textpl.terminal import TellingGroup

app = typer.Typer(
    help="Better text classifiers from text nobody has labeled.",
    cls=TellingGroup,
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(recipes_app, name="recipes")
app.command("push")(push_made)
app.command()(run)
app.command()(label)
app.command()(classify)
app.command()(clean)
app.command()(score)
app.command()(select)
app.command()(annotate)
app.command()(encoders)


def _version(wanted: bool) -> None:
    if wanted:
        from textpl import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    """Better text classifiers from text nobody has labeled."""
