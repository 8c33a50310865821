"""Answers that were paid for, in one SQLite file: each is written before the next is waited for; a kill loses none."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

TABLE = """CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, answer TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, finish TEXT)"""
AT_ONCE = 500  # keys looked up by one query


class Answer(NamedTuple):
    """What an endpoint answered.

    Attributes:
        text: as it came, malformed or not.
        prompt_tokens: as the endpoint counted them; None where it did not.
        completion_tokens: likewise.
        finish: why it stopped: "length" where it was cut off.
    """

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish: str | None = None


def answer_key(endpoint: str, model: str, messages: list[dict[str, str]], settings: dict[str, Any]) -> str:
    """Name the answer to one question: a hash of all that decides it; texts and keys are not stored."""
    told = json.dumps([endpoint, model, messages, settings], ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerCache:
    """Answers by key. Several processes may use one file.

    Args:
        file: made if it is not there.

    Raises:
        ValueError: for a file that is something else.
        OSError: if the folder cannot be made.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            # isolation_level None: every answer is on the disk once `put` returns.
            self._base = sqlite3.connect(file, timeout=60, isolation_level=None, check_same_thread=False)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute(TABLE)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{file} cannot be used as a cache of answers ({error}): name another file.") from error

    def get(self, keys: Iterable[str]) -> dict[str, Answer]:
        """The answers that are there."""
        wanted, found = list(dict.fromkeys(keys)), {}
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            query = f"SELECT * FROM answers WHERE key IN ({','.join('?' * len(some))})"
            found.update({row[0]: Answer(*row[1:]) for row in self._base.execute(query, some)})
        return found

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        self._base.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", (key, *answer))

    def close(self) -> None:
        """Close the file."""
        self._base.close()
