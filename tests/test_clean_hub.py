"""`textpl clean` on a dataset of the Hub: the real client against a server on loopback."""

from __future__ import annotations

import json

import datasets
import pytest
from datasets import load_dataset
from typer.testing import CliRunner

from textpl.cli import app

pytest_plugins = ["hub_fixtures"]

WORDS = {"rain": "rain cloud storm wet wind umbrella", "tea": "tea cup leaf pot steam kettle"}


def lines(rows):
    names = list(WORDS)
    return "text,label\n" + "".join(f"{WORDS[names[i % 2]]} {i},{names[i % 2]}\n" for i in range(rows))


def clean(*arguments):
    return CliRunner().invoke(app, ["clean", *map(str, arguments), "--encoder", "lsa"], env={"COLUMNS": "500"})


@pytest.fixture
def repo(server, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    server.add("ada/moods", {"train.csv": lines(40), "test.csv": lines(6)}, kind="datasets")
    return server


def test_a_corpus_of_the_hub_is_cleaned(endpoint, repo, tmp_path):
    out = tmp_path / "out"
    done = clean("ada/moods", "--out", out)
    assert done.exit_code == 0, done.output
    assert load_dataset("parquet", data_files=str(out / "train.parquet"), split="train").num_rows == 40
    assert json.loads((out / "cleaning.json").read_text())["source"] == "ada/moods"
    held = clean("ada/moods", "--split", "test", "--out", tmp_path / "other")
    assert held.exit_code == 1 and "held-out" in held.output


def test_leaks_into_a_corpus_of_the_hub(endpoint, repo, tmp_path):
    done = clean("ada/moods", "--test", "ada/moods", "--out", tmp_path / "out")
    assert done.exit_code == 0 and "6 test rows are also in train (6 exactly)" in done.output


def test_a_corpus_that_is_not_there(endpoint, repo, tmp_path):
    done = clean("ada/nothing", "--out", tmp_path / "out")
    assert done.exit_code == 1 and "cannot be read from the Hub" in done.output and "Traceback" not in done.output
