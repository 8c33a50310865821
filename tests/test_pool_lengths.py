"""How long the rows of a pool are: what is cut is little, and told."""

from __future__ import annotations

import logging

import datasets
import numpy as np
import pytest
from conftest import make_data, make_trainer

import textpl
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.views import WordNoise
from textpl.pool import Pool


def of_lengths(lengths, column="text"):
    """Texts of so many tokens, special ones counted."""
    return datasets.Dataset.from_dict({column: [" ".join(["good"] * (n - 2)) for n in lengths]})


def trained_pool(folder, tokenizer, data, **settings):
    callback = SemiSupervised(data, **settings)
    textpl.attach(make_trainer(folder, tokenizer, max_steps=1), callback).train()
    return callback.run.pool


def tokenized(data, tokenizer):
    return data.map(lambda batch: tokenizer(batch["text"]), batched=True).remove_columns("text")


@pytest.mark.parametrize("form", ["text", "tokenized"])
def test_short_labeled_rows_do_not_cut_the_pool(tmp_path, tokenizer, caplog, form):
    """Labeled rows of at most 11 tokens, pool rows of 28: all of them are read."""
    data = of_lengths([20] * 50 + [28] * 50)
    pool = trained_pool(tmp_path, tokenizer, data if form == "text" else tokenized(data, tokenizer))
    assert pool.max_length == 28 and pool.tokens.lengths.max() == 28
    assert (pool.cut_rows, pool.cut_tokens) == (0, 0) and "were cut" not in caplog.text


@pytest.mark.parametrize("form", ["text", "tokenized"])
def test_a_few_long_rows_do_not_lengthen_it(tmp_path, tokenizer, caplog, form):
    caplog.set_level(logging.INFO, logger="textpl")
    data = of_lengths([30] + [12] * 299)
    pool = trained_pool(tmp_path, tokenizer, data if form == "text" else tokenized(data, tokenizer))
    assert pool.max_length == 12 and pool.tokens.lengths.tolist() == [12] * 300
    assert pool.tokens.full_lengths.tolist() == [30] + [12] * 299
    assert (pool.cut_rows, pool.cut_tokens) == (1, 18)
    record = next(r for r in caplog.records if "were cut" in r.message)
    assert record.levelno == logging.INFO
    assert record.message == "1 of 300 unlabeled texts are longer than 12 tokens and were cut (60 % of their tokens)."
    long, other = pool.tokens.read([0, 1])
    assert long[-1] == tokenizer.sep_token_id and long.tolist() == other.tolist()


def test_the_longest_labeled_row_is_always_allowed(tmp_path, tokenizer):
    pool = trained_pool(tmp_path, tokenizer, of_lengths([4] * 199 + [11]))
    assert pool.max_length == 11 and pool.cut_rows == 0


def test_what_model_and_tokenizer_take_is_the_limit_and_is_told(tmp_path, tokenizer, caplog):
    pool = trained_pool(tmp_path, tokenizer, of_lengths([64] * 5 + [10] * 15))
    assert pool.max_length == 32 and (pool.cut_rows, pool.cut_tokens) == (5, 160)
    told = "5 of 20 unlabeled texts are longer than 32 tokens and were cut (50 % of their tokens)."
    assert caplog.text.count(told) == 1


def test_a_given_length_is_obeyed_and_told(tmp_path, tokenizer, caplog):
    pool = trained_pool(tmp_path, tokenizer, of_lengths([20] * 10), max_length=8)
    assert pool.max_length == 8 and pool.tokens.lengths.tolist() == [8] * 10 and pool.cut_tokens == 120
    assert "10 of 10 unlabeled texts are longer than 8 tokens and were cut (60 % of their tokens)." in caplog.text


def test_rows_are_cut_as_the_tokenizer_cuts_them(tokenizer):
    """Whichever way: at once, or only those that turn out to be too long."""
    data = datasets.Dataset.from_dict({"text": ["the film was very good so it was"] + ["dull book"] * 200})
    settings = {"tokenizer": tokenizer, "text_column": "text", "view": None, "pad_token_id": 0, "seed": 0}
    at_once = Pool(data, max_length=5, **settings)
    later = Pool(data, max_length=32, usual_length=5, **settings)
    assert later.max_length == 5
    expected = tokenizer(data["text"][:], truncation=True, max_length=5)["input_ids"]
    rows = np.random.default_rng(0).permutation(201)
    for pool in (at_once, later):
        assert [ids.tolist() for ids in pool.tokens.read(rows)] == [expected[row] for row in rows]
    again = Pool(data, max_length=32, usual_length=5, **settings)
    assert again.tokens.fingerprint == later.tokens.fingerprint != at_once.tokens.fingerprint


def test_a_view_is_as_long_as_the_pool(tmp_path, tokenizer):
    data = of_lengths([28] * 50)
    callback = SemiSupervised(data, view=WordNoise(drop=0.0, swap=0.0))
    textpl.attach(make_trainer(tmp_path, tokenizer, data=make_data(tokenizer), max_steps=1), callback).train()
    assert next(callback.run.pool.batches(0, 1, 4)).views[-1]["input_ids"].shape == (4, 28)
