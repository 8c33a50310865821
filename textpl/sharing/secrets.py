"""Nothing secret goes up: tokens and keys are looked for, and paths of this machine are taken out."""

from __future__ import annotations

import json
import mmap
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from datasets import Dataset

from textpl.reading.labels import arrow_column, is_string
from textpl.recipes.run_header import last_part
from textpl.recipes.yaml_text import RecipeError

_TOKENS = (
    r"hf_[A-Za-z0-9]{20,}", r"hf_oauth_[A-Za-z0-9_.-]{20,}", r"api_org_[A-Za-z0-9]{30,}", r"AIza[A-Za-z0-9_-]{35}",
    r"glpat-[A-Za-z0-9_-]{20,}", r"gh[opsru]_[A-Za-z0-9]{30,}", r"github_pat_[A-Za-z0-9_]{30,}",
    r"\bsk-[A-Za-z0-9_-]{32,}", r"AKIA[0-9A-Z]{16}", r"xox[abprs]-[A-Za-z0-9-]{10,}",
    r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----",
)  # fmt: skip
_OWN_PATH = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|\.\.[/\\]")
_INNER_PATH = re.compile(r"""(?<=[\s\[{,'"])(?:~|\.\.|[A-Za-z]:)?[/\\][^,\]}'"]*""")


def refuse_secrets(name: str, content: bytes | Path, token: str | None) -> None:
    """Raise RecipeError if a file holds the token, or what looks like any."""
    line = _line_of(re.compile(_pattern(token).encode()), content)
    if line is not None:
        raise RecipeError(f"{name}, line {line}: holds what looks like a secret (a token or key). Take it out.")


def refuse_secret_texts(dataset: Dataset, token: str | None) -> None:
    """Raise RecipeError if a text column holds the token, or what looks like any."""
    for name in dataset.column_names:
        values = arrow_column(dataset, name)
        if not is_string(values.type):
            continue
        row = pc.index(pc.match_substring_regex(values, _pattern(token)), True).as_py()
        if row >= 0:
            raise RecipeError(
                f"column {name!r}, row {row}: holds what looks like a secret (a token or key). Take it out."
            )


def regular_file(path: Path, most: int) -> Path:
    """Return the path of a file that may go up.

    Raises:
        RecipeError: for a link, a folder or more than `most` bytes.
    """
    if path.is_symlink() or not path.is_file():
        raise RecipeError(f"{path} is a link or no file; only files go up. Put a copy there.")
    if path.stat().st_size > most:
        raise RecipeError(f"{path} has {path.stat().st_size:,} bytes; at most {most:,} go up.")
    return path


def published_json(name: str, content: bytes) -> bytes:
    """Return JSON as it goes up: without the paths of this machine.

    Raises:
        RecipeError: if it is none.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{name} is no valid JSON: {error}.") from None
    return (json.dumps(_without_paths(data), indent=1, ensure_ascii=False) + "\n").encode()


def command_without_paths(command: Any) -> Any:
    """Return a command line of which nobody learns where things lie on a machine."""
    try:
        words = shlex.split(command)
    except (ValueError, TypeError, AttributeError):
        return _without_paths(command)
    return shlex.join(map(_word_without_paths, words))


def _without_paths(value: Any) -> Any:
    """Return the same with the last part of paths that say where things lie on a machine; in commands, too."""
    if isinstance(value, dict):
        return {k: command_without_paths(v) if k == "command" else _without_paths(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return last_part(value) if isinstance(value, str) and _OWN_PATH.match(value) else value


def _word_without_paths(word: str) -> str:
    """A path, KEY=PATH, or KEY=VALUE with paths inside, as in data={source: /home/ada/x}; a path may hold a = too."""
    option, sign, value = ("", "", word) if _OWN_PATH.match(word) else word.partition("=")
    if not sign:
        option, value = "", word
    last = _without_paths(value)
    inside = _INNER_PATH.sub(lambda found: last_part(found[0].rstrip()), value)
    return f"{option}{sign}{last if last != value else inside}"


def _pattern(token: str | None) -> str:
    """A regular expression for tokens and keys, and for this one."""
    return "|".join([*_TOKENS, *([re.escape(token)] if token else [])])


def _line_of(pattern: re.Pattern[bytes], content: bytes | Path) -> int | None:
    if isinstance(content, bytes):
        hit = pattern.search(content)
        return None if hit is None else content.count(b"\n", 0, hit.start()) + 1
    if not content.stat().st_size:
        return None
    with content.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        hit = pattern.search(view)
        return None if hit is None else view[: hit.start()].count(b"\n") + 1
