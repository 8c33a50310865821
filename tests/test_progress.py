"""Bars: TQDM_DISABLE is heard, `progress=False` means none, reading a file shows none."""

from __future__ import annotations

import os
import subprocess
import sys

import datasets
import pytest
from transformers.utils import logging as hf_logging

from textpl.corpus import read_corpus
from textpl.embeddings.encoders import get_encoder
from textpl.progress import progress_bar, quiet_datasets, quiet_loading


@pytest.mark.parametrize(("disabled", "shown", "seen"), [(None, True, True), ("1", True, False), (None, False, False)])
def test_the_environment_turns_bars_off(disabled, shown, seen):
    code = f"from textpl.progress import progress_bar; list(progress_bar([1], desc='working', shown={shown}))"
    rest = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    environment = rest if disabled is None else {**rest, "TQDM_DISABLE": disabled}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ("working" in done.stderr) is seen


def test_a_bar_is_moved_by_hand():
    with progress_bar(total=3, shown=False) as bar:
        bar.update(3)
    assert list(progress_bar("ab", shown=False)) == ["a", "b"]


@pytest.mark.parametrize("before", [True, False])
def test_bars_of_libraries_are_afterwards_as_they_were(before):
    state = not datasets.are_progress_bars_disabled(), hf_logging.is_progress_bar_enabled()
    try:
        _switch(before, before)
        with pytest.raises(KeyError), quiet_datasets(), quiet_loading():
            assert datasets.are_progress_bars_disabled() and not hf_logging.is_progress_bar_enabled()
            raise KeyError
        assert datasets.are_progress_bars_disabled() is not before and hf_logging.is_progress_bar_enabled() is before
    finally:
        _switch(*state)


def _switch(of_datasets, of_loading):
    (datasets.enable_progress_bars if of_datasets else datasets.disable_progress_bars)()
    (hf_logging.enable_progress_bar if of_loading else hf_logging.disable_progress_bar)()


def test_reading_a_file_and_loading_an_encoder_show_none(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("text,label\ngood film,yes\ndull book,no\n")
    read_corpus(tmp_path)
    get_encoder("sentence-transformers/all-MiniLM-L6-v2", progress=False)
    told = capsys.readouterr().err
    assert "Generating" not in told and "Loading weights" not in told
