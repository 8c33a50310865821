"""What the command line prints, safe to look at, and how it ends with an error."""

from __future__ import annotations

import contextlib
import logging
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence

import typer


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """What went wrong for a reason the user can mend is told in a line; exit code 1."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        typer.echo(f"{typer.style('Error:', fg='red', bold=True)} {plain(str(error))}", err=True)
        raise typer.Exit(1) from error


@contextlib.contextmanager
def interruption_told(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """Ctrl-C ends with a line on what is kept and how to go on; exit code 130, as of any interrupted command."""
    try:
        yield
    except KeyboardInterrupt as error:
        # First the end of the line in which a bar stands.
        typer.echo(f"\n{typer.style('Interrupted:', fg='red', bold=True)} {plain(how_to_go_on())}", err=True)
        raise typer.Exit(130) from error


def say(text: str, *, bold: bool = False) -> None:
    """Print a line."""
    typer.echo(typer.style(plain(text), bold=True) if bold else plain(text))


def plain(text: str) -> str:
    """Text of strangers without what moves a terminal's cursor, colours it or turns the direction of letters."""
    return "".join(c if c.isprintable() or c == "\n" else " " if c.isspace() else "" for c in text)


def say_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; columns are right-aligned, the first too where it has a heading."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(plain(title), style="italic"))
    for heading in headings:
        table.add_column(Text(heading), justify="right" if heading else "left")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console().print(table)


class Plain(logging.Filter):
    """Makes the message of every record plain: labels, texts and names of files get into some."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass, cleaned."""
        record.msg, record.args = plain(record.getMessage()), None
        return True


def log_to_terminal() -> None:
    """Show warnings; hide the bars of transformers for what takes a moment, training has one of its own."""
    from rich.logging import RichHandler
    from transformers.utils import logging as hf_logging

    handler = RichHandler(show_path=False)
    handler.addFilter(Plain())
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    hf_logging.disable_progress_bar()


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
