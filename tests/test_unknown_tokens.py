"""Texts that a model cannot read are told: nothing else would."""

from __future__ import annotations

import logging

import pytest
from conftest import make_tokenizer
from datasets import Dataset
from transformers import AutoTokenizer

import textpl
from textpl.corpus import read_corpus
from textpl.embeddings.encoders import DEFAULT_ENCODER, SentenceEncoder, get_encoder
from textpl.models import resolve_model
from textpl.pool import Pool
from textpl.unknown_tokens import unknown_share, warn_of_unknown, without_pictures

NOT_THEIRS = "it was made for another language"


def test_the_share_is_of_all_tokens_but_special_ones():
    tokenizer = make_tokenizer()  # knows whole words only
    assert unknown_share(tokenizer, ["good film", "zzz", "the zzz book zzz"]) == 3 / 7
    assert unknown_share(tokenizer, []) == unknown_share(tokenizer, ["", ""]) == 0
    tokenizer.unk_token = None
    assert unknown_share(tokenizer, ["zzz"]) == 0, "it writes everything, as byte-level ones do"


@pytest.mark.parametrize("call", [{"truncation": True, "max_length": 3}, {}])
def test_the_tokenizer_stays_as_it_was_called(call):
    tokenizer = make_tokenizer()
    tokenizer("the good film was good", **call)
    before = tokenizer.backend_tokenizer.to_str()
    unknown_share(tokenizer, ["a good film"])
    assert tokenizer.backend_tokenizer.to_str() == before


def test_only_many_unknown_ones_are_told_and_from_all_over_the_texts(caplog):
    tokenizer = make_tokenizer()
    warn_of_unknown(tokenizer, ["the film was very good zzz"] * 1000, "X")
    assert not caplog.records
    warn_of_unknown(tokenizer, ["the film"] * 500 + ["zzz zzz zzz"] * 500, "X")
    assert "X does not know 60 % of the tokens" in caplog.text and 'encoder="lsa"' in caplog.text


@pytest.mark.parametrize(
    "pictures", ["😀😀😀", "👩🏽‍💻 👨‍👩‍👧", "❤️ ☺️ ✨", "🇫🇷🇩🇪", "1️⃣", "→ ★ ♫ ™", "\U0001faea\U0001fae9"]
)
def test_emoji_are_no_other_language(caplog, pictures):
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(DEFAULT_ENCODER))
    texts = [f"good {pictures}", pictures, "nice film"]
    assert unknown_share(tokenizer, texts) == 0
    warn_of_unknown(tokenizer, texts, "X")
    assert not caplog.records
    assert unknown_share(tokenizer, [f"电影 {pictures}"]) > 0.5
    assert without_pictures("5 € ± 2 ^ ` नमस्ते क्षि\u200d") == "5 € ± 2 ^ ` नमस्ते क्षि ", "what is written stays"


def test_english_and_chinese_for_an_english_encoder(caplog, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(DEFAULT_ENCODER))
    english, chinese = (read_corpus(f"bundled:{name}").train for name in ("sentiment", "sentiment_zh"))
    assert unknown_share(tokenizer, english["text"][:]) < 0.01 < 0.5 < unknown_share(tokenizer, chinese["text"][:])
    few = chinese.select(range(40))
    with pytest.raises(ValueError, match=r"made for English, and \d+ % .* Chinese.*multilingual-e5-small.*lsa"):
        textpl.label(few, few, method="knn_dv", cache_dir=tmp_path, progress=False)
    other = get_encoder(DEFAULT_ENCODER)
    other.name = "another/english-encoder"  # of which it is only known that its tokens are unknown
    for _ in range(2):  # also when the vectors are there already
        caplog.clear()
        textpl.label(few, few, method="knn_dv", encoder=other, cache_dir=tmp_path, progress=False)
        assert "The encoder another/english-encoder does not know" in caplog.text and NOT_THEIRS in caplog.text
    caplog.clear()
    textpl.label(few, few, method="knn_dv", encoder="lsa", progress=False)
    textpl.label(english.select(range(40)), english.select(range(60)), method="knn_dv", progress=False)
    assert NOT_THEIRS not in caplog.text


def test_asking_does_not_change_what_is_cached():
    encoder = get_encoder(DEFAULT_ENCODER)
    assert isinstance(encoder, SentenceEncoder)
    before = encoder.fingerprint
    unknown_share(encoder.tokenizer, ["今天天气很好"])
    assert encoder.fingerprint == before


def test_a_pool_that_the_model_cannot_read(caplog):
    settings = {"text_column": "text", "max_length": 16, "view": None, "pad_token_id": 0, "seed": 0}
    with caplog.at_level(logging.WARNING):
        Pool(Dataset.from_dict({"text": ["the film was good"] * 9}), tokenizer=make_tokenizer(), **settings)
        assert not caplog.records
        Pool(Dataset.from_dict({"text": ["qqq www eee"] * 9}), tokenizer=make_tokenizer(), **settings)
    assert f"The model's tokenizer does not know 100 % of the tokens of these texts: {NOT_THEIRS}" in caplog.text
