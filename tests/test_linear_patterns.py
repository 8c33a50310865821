"""No text can make a regular expression of the package slow: all of them take time in proportion to its length."""

from __future__ import annotations

import ast
import importlib
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import textpl
from textpl.cleaning.texts import LINK, text_problem
from textpl.reports.svg import short

LENGTH = 50_000
SECONDS = 0.5  # of processor time for one text, so that a busy machine changes nothing: linear patterns take 3 ms
UNITS = ("a", "0", "é", "中", "a:", "a://", " ", "\n", "'", '"', "[", "<a ", "-", "a.", "/", "Ã©", "{", "; ", ": ")
SEARCHES = {f"re.{name}" for name in ("sub", "subn", "search", "split", "findall", "finditer")}
PIECE = re.compile(r"[\w#:<>/!=\"'-][\w #:<>/!=\"'-]*")


class Slow(Exception):
    """A pattern took too long."""


def patterns() -> Iterator[tuple[str, str, re.Pattern]]:
    """Name, module and object of every pattern in the package, compiled beforehand or where it is used."""
    for found in pkgutil.walk_packages(textpl.__path__, "textpl."):
        for name, value in vars(importlib.import_module(found.name)).items():
            if isinstance(value, re.Pattern):
                yield name, found.name, value
    for file in Path(textpl.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in SEARCHES
                and isinstance(node.args[0], ast.Constant)
            ):
                yield f"line {node.lineno}", file.name, re.compile(node.args[0].value)


def only_whole(name: str, sources: str) -> bool:
    """Whether a pattern is never searched for in a text, only matched with its beginning."""
    used = set(re.findall(rf"\b{name}\b(?:[^.\n]*\))?\.(\w+)\(", sources))
    return bool(used) and used <= {"match", "fullmatch"}


def hostile(pattern: str | bytes) -> Iterator[str]:
    """Long texts, some of what the pattern itself looks for."""
    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    pieces = sorted(set(PIECE.findall(re.sub(r"\\[A-Za-z]", "\0", text).replace("\\", ""))))[:5]
    for unit in (*UNITS, *pieces):
        repeated = unit * (LENGTH // len(unit))
        yield repeated + "\0"
        if pieces:
            yield pieces[0] + repeated


def check(name: str, pattern: re.Pattern, sources: str) -> None:
    """Apply the pattern to all hostile texts."""
    empty = "" if isinstance(pattern.pattern, str) else b""
    whole = only_whole(name, sources)
    for text in hostile(pattern.pattern):
        given = text if empty == "" else text.encode()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        if whole:
            pattern.match(given)
            pattern.fullmatch(given)
        else:
            pattern.sub(empty, given)


def main() -> None:
    """Print the slow patterns as JSON."""

    def stop(*_: object) -> None:
        raise Slow

    signal.signal(signal.SIGVTALRM, stop)
    sources = "\n".join(file.read_text(encoding="utf-8") for file in Path(textpl.__path__[0]).rglob("*.py"))
    slow, seen = [], set()
    for name, module, pattern in patterns():
        if (pattern.pattern, name) in seen:
            continue
        seen.add((pattern.pattern, name))
        try:
            check(name, pattern, sources)
        except Slow:
            slow.append(f"{module}.{name}")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    sys.stdout.write(json.dumps({"slow": slow, "patterns": len(seen)}) + "\n")


@pytest.mark.skipif(not hasattr(signal, "SIGVTALRM"), reason="needs a timer of processor time")
def test_every_pattern_is_linear():
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["patterns"] > 20
    assert not found["slow"], "these take time with the square of a text's length: see LINK in textpl/cleaning/texts.py"


@pytest.mark.parametrize("text", ["ab" * LENGTH, "a:" * LENGTH, "a://b " * 30_000 + ("x" * 40 + " ") * 3_000])
def test_a_long_word_is_examined_at_once(text):
    begun = time.process_time()
    assert text_problem(text) is None
    assert time.process_time() - begun < SECONDS


def test_links_are_found_from_the_beginning_of_their_word():
    key = "QWxhZGRpbjpvcGVuIHNlc2FtZQ0123456789QWxhZGRpbjpvcGVu"
    assert text_problem(f"https://example.org/{key}") is None, "part of a link"
    assert text_problem(f"({key})") == "encoded data"
    assert LINK.findall("see a-b://c/d, e:// f://g") == ["b://c/d,", "f://g"]


def test_a_long_name_is_shortened_at_once():
    begun = time.process_time()
    assert short("é" * LENGTH) == "é" * 21 + "…"
    assert time.process_time() - begun < SECONDS


if __name__ == "__main__":
    main()
