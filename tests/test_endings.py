"""How commands end: errors of any class in one line, SIGTERM and Ctrl-C with what is kept and how to go on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pytest
import torch
import typer
from safetensors import SafetensorError
from typer.testing import CliRunner

from textpl.terminal import (
    DEBUG,
    MOST,
    WHERE,
    TellingGroup,
    Terminated,
    errors_told,
    interruption_told,
    say,
    told_error,
)

if __name__ != "__main__":
    from conftest import make_model, make_texts, make_tokenizer

RECIPE = """\
schema: 1
data: {source: data}
split: {labels_per_class: 4}
model: {name: tiny, max_length: 16}
method: none
train: {max_steps: 20000, per_device_train_batch_size: 4, bf16: false, labeled_loss: gce}
seeds: [0]
"""
ERRORS = {
    "value": ValueError("data.csv, row 3: no label"),
    "recipe": ValueError("line 1: x\nline 2: y"),
    "silent": ValueError(),
    "unicode": UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    "key": KeyError("label_names"),
    "arrow": pa.ArrowNotImplementedError("Unsupported cast from struct<a: int64> to string"),
    "safetensors": SafetensorError("Error while deserializing header:\n  incomplete"),
    "assertion": AssertionError(),
    "long": RuntimeError("x " * 10_000),
    "memory": MemoryError(),
    "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    "escape": TypeError("a\x1b]0;x\x07b"),
}


def application():
    """Commands that end in every way, below a main command with --debug and in a group below it."""
    app, below = typer.Typer(cls=TellingGroup), typer.Typer()
    app.add_typer(below, name="below")

    @app.callback()
    def main(debug: Annotated[bool, typer.Option("--debug")] = False) -> None:
        """Nothing."""

    @app.command()
    @below.command()
    def fail(how: str) -> None:
        if how == "pipe":
            raise BrokenPipeError(errno.EPIPE, "x")
        if how == "exit":
            raise typer.Exit(7)
        if how == "usage":
            raise typer.BadParameter("wrong")
        raise ERRORS[how]

    @app.command()
    def wait(folder: Path) -> None:
        with interruption_told(lambda: f"kept in {folder}. Go on with --resume."):
            temporary = folder / "x.partial"
            try:
                temporary.write_text("half")
                say("ready")
                sys.stdout.flush()
                time.sleep(60)
            finally:
                temporary.unlink()

    return app


def invoke(*arguments, **settings):
    return CliRunner().invoke(application(), list(arguments), **settings)


@pytest.mark.parametrize("place", [(), ("below",)])
@pytest.mark.parametrize("how", sorted(ERRORS))
def test_an_error_of_any_class_is_one_line(how, place):
    done = invoke(*place, "fail", how)
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    assert done.output.startswith("Error: ") and done.output.count("\n") == (2 if how == "recipe" else 1)
    assert "Traceback" not in done.output and "\x1b" not in done.output and len(done.output) < MOST + 200
    asked = how not in ("value", "recipe", "unicode", "memory", "gpu")
    assert (WHERE in done.output) == asked, "textpl's own errors, and full memory, say what to do"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("value", "data.csv, row 3: no label"),
        ("key", "KeyError: 'label_names'. This may be a bug"),
        ("silent", "ValueError, without a message. This may"),
        ("assertion", "AssertionError, without a message. This may"),
        ("arrow", "ArrowNotImplementedError: Unsupported cast from struct<a: int64> to string. This may"),
        ("safetensors", "SafetensorError: Error while deserializing header: incomplete. This may"),
        ("memory", "There is not enough memory."),
        ("gpu", "There is not enough memory. CUDA out of memory. Tried to allocate 2 GiB."),
    ],
)
def test_what_is_told(how, told):
    assert told_error(ERRORS[how]).startswith(told)


def test_debugging_shows_where(monkeypatch):
    for arguments, variable in ((["--debug", "below", "fail", "key"], "0"), (["fail", "key"], "1")):
        monkeypatch.setenv(DEBUG, variable)
        shown = invoke(*arguments).output
        assert "Traceback" in shown and "in fail" in shown and shown.splitlines()[-1].startswith("Error: KeyError")
    monkeypatch.setenv(DEBUG, "")
    assert "Traceback" not in invoke("fail", "key").output, "the option of an earlier call is forgotten"


def test_what_typer_ends_itself_is_left_to_it():
    assert invoke("fail", "exit").exit_code == 7
    assert invoke("fail", "usage").exit_code == 2
    assert invoke("fail", "pipe").output == ""


def test_an_error_outside_a_command_line_is_told_too(capsys):
    with pytest.raises(typer.Exit), errors_told():
        raise ERRORS["key"]
    assert "KeyError" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code", "what"), [(signal.SIGTERM, 143, "Terminated"), (signal.SIGINT, 130, "Int")])
def test_a_signal_ends_with_a_line_and_no_temporary_file(tmp_path, number, code, what):
    process = subprocess.Popen(
        [sys.executable, __file__, "wait", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert told.strip().startswith(what) and told.strip().endswith(f"kept in {tmp_path}. Go on with --resume.")
    assert told.strip().count("\n") == 0 and out == "" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_during_a_destructor_is_not_lost(number, code, capsys):
    class Slow:
        def __del__(self):
            signal.raise_signal(number)
            time.sleep(1)

    usual, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    try:
        with pytest.raises(typer.Exit) as ended, interruption_told(lambda: "Go on."):
            Slow()
            time.sleep(60)
        assert ended.value.exit_code == code
        assert capsys.readouterr().err.strip().endswith("Go on.")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and sys.unraisablehook is hook
    finally:
        signal.signal(signal.SIGINT, usual)


def test_nothing_is_raised_again_once_the_block_has_ended():
    class Slow:
        def __del__(self):
            raise KeyboardInterrupt

    usual, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    try:
        with interruption_told(lambda: "Go on."):
            Slow()
        time.sleep(0.2)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and sys.unraisablehook is hook
    finally:
        signal.signal(signal.SIGINT, usual)


def test_the_handler_goes_when_the_block_ends():
    before = signal.getsignal(signal.SIGTERM)
    with interruption_told(lambda: ""):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_forked_worker_is_ended_as_ever():
    with interruption_told(lambda: ""):
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(10)
            except Terminated:
                os._exit(9)
            os._exit(8)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM


def test_a_run_that_is_terminated_says_how_to_go_on(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "data").mkdir()
    for part, rows, seed in (("train", 60, 0), ("test", 20, 1)):
        lines = [
            f'{{"text": "{t} {i}", "label": {int(s > 0)}}}'
            for i, (t, s) in enumerate(zip(*make_texts(rows, seed), strict=True))
        ]
        (tmp_path / "data" / f"{part}.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", "from textpl.cli import app; app()", "run", str(tmp_path), "--out", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    shown = ""
    while "seed 0: " not in shown and process.poll() is None:
        shown += process.stdout.readline()
    time.sleep(1)
    process.terminate()
    shown += process.communicate(timeout=120)[0]
    assert process.returncode == 143, shown
    last = shown.strip().splitlines()[-1]
    assert last == f"Terminated: finished trainings are kept in {out}. Go on with the same command and --resume."
    assert sorted(path.name for path in out.iterdir()) == ["recipe.yaml", "seeds"]
    assert not [path for path in out.rglob("*") if "partial" in path.name]


if __name__ == "__main__":
    application()()
