"""What tests of the Hub share: tokens, the command line, reading what was pushed."""

from __future__ import annotations

import re

import pytest
import yaml
from typer.testing import CliRunner

from textpl.cli import app
from textpl.recipes.parsing import RecipeError

TOKEN, READER, WRONG = "hf_" + "A" * 34, "hf_" + "R" * 34, "hf_" + "W" * 34


def on_main(server, kind, name):
    """Files of a repository, by path."""
    repo = server.repos[kind, name]
    return repo.commits[repo.branches["main"]]


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def textpl(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def front_matter(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)[1])


def refused(match):
    return pytest.raises(RecipeError, match=match)
