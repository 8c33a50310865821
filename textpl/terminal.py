"""What the command line prints, safe to look at, and how it ends with an error."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import typer
from typer.core import TyperGroup

DEBUG = "TEXTPL_DEBUG"  # environment variable
EXPECTED = (ValueError, OSError, ImportError)  # what textpl raises itself, with the remedy
AGAIN_AFTER = 0.05  # seconds
MOST = 500  # characters of the message of another error
WHERE = "This may be a bug in textpl or a broken file: run again as `textpl --debug ...` to see where."

_debug: ContextVar[bool] = ContextVar("debug", default=False)


class Terminated(KeyboardInterrupt):
    """SIGTERM: a scheduler or `kill` wants the command to end; like Ctrl-C, it may clean up."""


class TellingGroup(TyperGroup):
    """A group of commands in which no error ends in a traceback, whatever raises it."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Invoke the command that was named, inside `errors_told`; its option --debug, if it has one, is obeyed."""
        before = _debug.set(_debug.get() or bool(ctx.params.get("debug")))
        try:
            with errors_told():
                return super().invoke(ctx)
        finally:
            _debug.reset(before)


@contextlib.contextmanager
def errors_told() -> Iterator[None]:
    """Tell what went wrong in a line, whatever the class of the error; exit code 1.

    With `textpl --debug`, or TEXTPL_DEBUG=1 in the environment, the traceback comes before it.
    """
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException, BrokenPipeError):  # typer itself knows what to do with these
        raise
    except Exception as error:
        if debugging():
            typer.echo(plain("".join(traceback.format_exception(error)).rstrip()), err=True)
        typer.echo(f"{typer.style('Error:', fg='red', bold=True)} {told_error(error)}", err=True)
        raise typer.Exit(1) from error


def told_error(error: Exception) -> str:
    """Tell an error for people: its message, and for a class that textpl does not raise itself what to do about it.

    Args:
        error: of any class.

    Returns:
        str: one line, but for errors that were written in several, such as a recipe's.
    """
    name, message = type(error).__name__, plain(str(error)).strip()
    if isinstance(error, MemoryError) or name == "OutOfMemoryError":  # that of torch
        return " ".join(f"There is not enough memory. {message}".split())
    if isinstance(error, EXPECTED):
        return message or f"{name}, without a message. {WHERE}"
    short = " ".join(message.split())
    short = short if len(short) <= MOST else short[:MOST] + "\u2026"
    return f"{name}{': ' if short else ''}{short or ', without a message'}. {WHERE}"


def debugging() -> bool:
    """Say whether tracebacks are wanted."""
    return _debug.get() or os.environ.get(DEBUG, "0") not in ("", "0")


@contextlib.contextmanager
def interruption_told(how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """End on Ctrl-C and SIGTERM with a line on what is kept and how to go on; exit code 130 or 143.

    What is inside is left by an exception, so that it removes its temporary files; a second SIGTERM kills.
    """
    try:
        with _sigterm_raised(), _raised_again():
            yield
    except KeyboardInterrupt as error:
        _close_bars()
        what, code = ("Terminated:", 143) if isinstance(error, Terminated) else ("Interrupted:", 130)
        typer.echo(f"\n{typer.style(what, fg='red', bold=True)} {plain(how_to_go_on())}", err=True)
        raise typer.Exit(code) from error


def _close_bars() -> None:
    """Close the progress bars that stand open: they would draw themselves once more after the last line."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)  # not imported for that
    for bar in list(getattr(tqdm, "_instances", ())):
        bar.close()


@contextlib.contextmanager
def _sigterm_raised() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM, in the main thread of this process only; elsewhere nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != owner:  # a worker that was forked: whoever started it ends it
            os.kill(os.getpid(), signal.SIGTERM)
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)  # None: not from Python


@contextlib.contextmanager
def _raised_again() -> Iterator[None]:
    """Raise an interruption again that came while Python ran a `__del__`, where it prints and drops any exception."""
    before = sys.unraisablehook
    waiting: list[tuple[threading.Timer, Any]] = []

    def hook(dropped: Any) -> None:
        usual = signal.getsignal(signal.SIGINT)
        if not issubclass(dropped.exc_type, KeyboardInterrupt) or usual is None:
            before(dropped)
            return
        if waiting:  # one is on its way
            return

        def again(number: int, frame: object) -> None:
            signal.signal(signal.SIGINT, usual)
            waiting.clear()
            raise dropped.exc_type

        signal.signal(signal.SIGINT, again)
        # Raised in here, it would be dropped too.
        timer = threading.Timer(AGAIN_AFTER, _interrupt)
        waiting.append((timer, usual))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        if waiting:  # the block ended by itself in the meantime
            timer, usual = waiting.pop()
            timer.cancel()
            signal.signal(signal.SIGINT, usual)


def _interrupt() -> None:
    """Send SIGINT to this process, so that what waits in its main thread ends, too."""
    if os.name == "nt":  # where os.kill ends a process at once
        signal.raise_signal(signal.SIGINT)
    else:
        os.kill(os.getpid(), signal.SIGINT)


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
