"""What the command line prints, safe to look at, and how it ends with an error."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Sequence

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


def typed_command(context: typer.Context, leave_out: Sequence[str] = ()) -> str:
    """The command as it may be typed again: what differs from the defaults, without the options `leave_out`."""
    words = ["textpl", context.info_name or ""]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if value in (None, parameter.default, []) or name in leave_out:
            continue
        values = value if isinstance(value, (list, tuple)) else [value]
        if parameter.param_type_name == "argument":
            words += map(str, values)
        else:
            words += [w for v in values for w in ([parameter.opts[0]] if v is True else [parameter.opts[0], str(v)])]
    return shlex.join(words)
