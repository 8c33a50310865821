"""Test texts that a training has seen: found whatever case, cut or tokens, near ones against a brute-force search."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
from conftest import WORDS, make_data, make_pool, make_trainer

import textpl
from textpl.overlap import Overlap, SeenTestTexts, TestTexts, seen_test_texts

SENTENCE = "The committee will vote on the new budget for schools and hospitals next Tuesday at noon"


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (SENTENCE, Overlap(1, 0)),
        (f"  {SENTENCE.upper()}\n", Overlap(1, 0)),
        (SENTENCE.replace("fi", "\ufb01"), Overlap(1, 0)),
        (SENTENCE.replace("Tuesday", "Monday"), Overlap(0, 1)),
        (f"{SENTENCE}!!", Overlap(0, 1)),
        (SENTENCE[:50], Overlap(0, 1)),
        (f"{SENTENCE}. " + "The mayor said that nothing else was on the agenda of the evening. " * 5, Overlap(0, 1)),
        ("A committee of hospitals met in the budget school on a Friday", Overlap(0, 0)),
        ("", Overlap(0, 0)),
    ],
)
def test_what_counts_as_the_same_text(other, found):
    assert TestTexts([SENTENCE, "something else", ""]).overlap(["some words", other]) == found


def test_near_duplicates_are_those_of_a_search_over_all_pairs():
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), size=6)) for _ in range(500)])
    test = [" ".join(rng.choice(words, size=rng.integers(4, 40))) for _ in range(300)]

    def changed(text, share):
        return " ".join(w if rng.random() > share else rng.choice(words) for w in text.split())

    pool = [changed(text, rng.uniform(0, 0.4)) for text in test[:200]]

    def grams(text):
        padded = f"\0\0{text}\0\0"
        return {padded[i : i + 3] for i in range(len(padded) - 2)}

    others = [grams(text) for text in pool]
    best = np.array([max(len(mine & o) / len(mine | o) for o in others) for mine in map(grams, test)])
    found = TestTexts(test).overlap(pool)
    sure, possible = int((best >= 0.75).sum()), int((best >= 0.65).sum())
    assert 50 < sure <= found.exact + found.near <= possible < 200


def test_a_training_tells_what_it_saw(tmp_path, tokenizer):
    """The pool is cut shorter than the test rows: the texts are compared, not what is left of them."""
    trainer = make_trainer(tmp_path, tokenizer)
    test = trainer.eval_dataset["text"][:]
    pool = datasets.Dataset.from_dict({"text": [*make_pool(rows=30, seed=5)["text"][:], *test[:5]]})
    comparison = textpl.compare(
        lambda seed: make_trainer(tmp_path, tokenizer), textpl.fixmatch(pool, max_length=4), seeds=[0], match="steps"
    )
    seen = comparison.seen_test_texts
    assert seen.compared == "texts" and seen.rows == 12 and seen.pool.exact >= 5 and seen.labeled.exact == 0
    assert "test texts are in the pool" in str(comparison)
    assert comparison.to_dict()["seen_test_texts"]["pool"]["exact"] == seen.pool.exact


def test_without_texts_the_tokens_tell(tmp_path, tokenizer):
    rng = np.random.default_rng(1)
    long = [" ".join(rng.choice(WORDS, size=20)) for _ in range(12)]
    test = datasets.Dataset.from_dict({"text": long, "label": [0] * 12})
    test = test.map(lambda batch: tokenizer(batch["text"]), batched=True).remove_columns("text")
    callback = textpl.fixmatch(datasets.Dataset.from_dict({"text": long[:7] + make_pool(20)["text"][:]}), max_length=12)
    trainer = make_trainer(tmp_path, tokenizer, data=make_data(tokenizer), max_steps=1)
    trainer.eval_dataset = test
    textpl.attach(trainer, callback).train()
    seen = seen_test_texts(trainer, callback)
    assert seen.compared == "tokens" and seen.pool == Overlap(0, 7), "cut, so that none is the same word for word"
    assert "7 of 12 test texts are in the pool" in str(seen) and "transductive" in str(seen)
    assert SeenTestTexts.from_dict(seen.to_dict()) == seen


def test_where_there_is_no_pool_only_the_labeled_rows_count(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer)
    trainer.train_dataset = datasets.concatenate_datasets([trainer.train_dataset, trainer.eval_dataset.select([3])])
    seen = seen_test_texts(trainer)
    assert seen.pool is None and seen.labeled.exact >= 1 and "among the labeled rows" in str(seen)
