"""What the command line prints, safe to look at, and how it ends with an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """What went wrong for a reason the user can mend is told in a line; exit code 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"Error: {plain(str(error))}", err=True)
        raise typer.Exit(1) from error


def say(text: str) -> None:
    """Print a line."""
    typer.echo(plain(text))


def plain(text: str) -> str:
    """Text of strangers without what moves a terminal's cursor, colours it or turns the direction of letters."""
    return "".join(c for c in text if c.isprintable() or c == "\n")
