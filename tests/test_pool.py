"""The pool: what it accepts, in which order it is drawn, and that nothing in it depends on more than the seed."""

from __future__ import annotations

import threading

import datasets
import numpy as np
import pytest
from conftest import make_texts
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.components.views import TfidfReplacement, WordNoise
from textpl.inference import pad
from textpl.pool import Pool, PoolOrder


def make_pool(dataset, tokenizer, **settings):
    defaults = {"text_column": "text", "max_length": 16, "view": None, "pad_token_id": 0, "seed": 0}
    return Pool(dataset, tokenizer=tokenizer, **(defaults | settings))


def texts(rows=50):
    return datasets.Dataset.from_dict({"text": make_texts(rows)[0]})


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300),
    rows_per_step=st.integers(1, 40),
    seed=st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_draws_every_row_at_most_once(lengths, rows_per_step, seed):
    order = PoolOrder(np.array(lengths), rows_per_step, seed)
    steps = max(len(lengths) // rows_per_step, 1)
    drawn = [order.draw(step) for step in range(2 * steps)]
    assert all(len(rows) == len(epochs) == rows_per_step for rows, epochs in drawn)
    assert all(0 <= row < len(lengths) for rows, _ in drawn for row in rows)
    pairs = [(row, epoch) for rows, epochs in drawn for row, epoch in zip(rows, epochs, strict=True)]
    assert len(set(pairs)) == len(pairs), "no row twice in an epoch, so every view is another one"


def test_order_is_a_function_of_seed_and_step_alone():
    lengths = np.random.default_rng(0).integers(3, 40, 500)
    straight = [PoolOrder(lengths, 8, 7).draw(step)[0] for step in range(100)]
    backwards = PoolOrder(lengths, 8, 7)
    for step in reversed(range(100)):
        np.testing.assert_array_equal(backwards.draw(step)[0], straight[step])
    assert not np.array_equal(PoolOrder(lengths, 8, 8).draw(0)[0], straight[0])


def test_two_epochs_leave_out_other_rows():
    lengths = np.full(103, 5)
    epochs = [{r for s in range(10 * e, 10 * e + 10) for r in PoolOrder(lengths, 10, 0).draw(s)[0]} for e in range(2)]
    assert all(len(rows) == 100 for rows in epochs)
    assert epochs[0] != epochs[1]


def test_padding_is_below_five_percent():
    lengths = np.random.default_rng(0).lognormal(3.3, 0.5, 20_000).astype(int).clip(3, 128)
    order = PoolOrder(lengths, 8, 0)
    drawn = [lengths[order.draw(step)[0]] for step in range(1000)]
    assert sum(d.max() * len(d) - d.sum() for d in drawn) < 0.05 * sum(d.sum() for d in drawn)


def test_pool_smaller_than_a_step_is_repeated(tokenizer):
    pool = make_pool(texts(3), tokenizer)
    batches = list(pool.batches(0, 3, 8))
    assert [len(b.rows) for b in batches] == [8, 8, 8]
    assert {int(r) for b in batches for r in b.rows} == {0, 1, 2}


def test_blank_texts_are_left_out_and_long_ones_cut(tokenizer, caplog):
    data = datasets.Dataset.from_dict({"text": ["good film", "", "  \n", " ".join(["bad"] * 99), "a"]})
    pool = make_pool(data, tokenizer, max_length=10)
    assert len(pool) == 3
    assert pool.tokens.lengths.tolist() == [4, 10, 3]
    assert pool.tokens.read([1])[0][-1] == tokenizer.sep_token_id
    assert "2 of 5 unlabelled texts are blank" in caplog.text


@pytest.mark.parametrize("source", ["select", "memory", "disk"])
def test_tokens_are_those_of_the_tokenizer_in_any_storage(tokenizer, tmp_path, source):
    data = texts(40)
    if source == "select":
        data = data.shuffle(seed=3).select(range(5, 30))
    if source == "disk":
        data.save_to_disk(tmp_path / "saved")
        data = datasets.load_from_disk(tmp_path / "saved")
    pool = make_pool(data, tokenizer)
    expected = tokenizer(data["text"][:], truncation=True, max_length=16)["input_ids"]
    rows = np.random.default_rng(0).permutation(len(data))
    assert [r.tolist() for r in pool.tokens.read(rows)] == [expected[i] for i in rows]


def test_tokenising_again_reads_the_cache_and_another_tokenizer_does_not(tokenizer, monkeypatch):
    first = make_pool(texts(), tokenizer).tokens
    assert make_pool(texts(), tokenizer, max_length=8).tokens.fingerprint != first.fingerprint
    monkeypatch.setattr(datasets.Dataset, "map", None)
    again = make_pool(texts(), tokenizer).tokens
    assert again.fingerprint == first.fingerprint
    tokenizer(["good"], padding="max_length", max_length=12, truncation=True)  # changes its settings, not its tokens
    assert make_pool(texts(), tokenizer).tokens.fingerprint == first.fingerprint


def test_tokenised_pool_gives_the_same_batches_as_text(tokenizer):
    encoded = texts().map(lambda b: tokenizer(b["text"], padding="max_length", max_length=16), batched=True)
    ready = make_pool(encoded.remove_columns("text"), tokenizer)
    for a, b in zip(make_pool(texts(), tokenizer).batches(0, 9, 6), ready.batches(0, 9, 6), strict=True):
        assert (a.rows == b.rows).all() and (a.views[0]["input_ids"] == b.views[0]["input_ids"]).all()
        assert (a.views[0]["attention_mask"] == b.views[0]["attention_mask"]).all()


@pytest.mark.parametrize("view", [WordNoise(), TfidfReplacement(0.5)])
def test_views_depend_on_seed_row_and_epoch_alone(tokenizer, view):
    pool = make_pool(texts(20), tokenizer, view=view)
    seen = {}
    for world in (1, 2):
        for rank in range(world):
            for batch in pool.batches(0, 10, 4 // world, rank, world):
                for row, ids, mask in zip(batch.rows, *batch.views[-1].values(), strict=True):
                    seen.setdefault((int(row), world), []).append(ids[mask.bool()].tolist())
    for row in range(20):
        assert sorted(seen[row, 1]) == sorted(seen[row, 2])
    assert any(first != second for first, second in (seen[row, 1] for row in range(20))), "each epoch has its own view"
    late = list(pool.batches(7, 10, 4))
    assert (late[-1].views[-1]["input_ids"] == list(pool.batches(0, 10, 4))[-1].views[-1]["input_ids"]).all()


def test_a_mask_belongs_to_the_tokens(tokenizer):
    ids = [[2, 5, 3, 0, 0], [2, 6, 7, 3, 0]]
    bare = make_pool(datasets.Dataset.from_dict({"input_ids": ids}), tokenizer)
    mask = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]
    masked = make_pool(datasets.Dataset.from_dict({"input_ids": ids, "attention_mask": mask}), tokenizer)
    assert bare.tokens.lengths.tolist() == [5, 5] and masked.tokens.lengths.tolist() == [3, 4]


def test_a_tokenised_pool_may_be_read_as_tensors_and_have_empty_rows(tokenizer):
    data = {"input_ids": [[2, 5, 3], [], [2, 3]], "attention_mask": [[1, 1, 1], [], [1, 1]]}
    pool = make_pool(datasets.Dataset.from_dict(data).with_format("torch"), tokenizer)
    assert pool.tokens.lengths.tolist() == [3, 2]
    assert pool.source_row(1) == 2


def test_a_drawing_that_is_not_gone_on_with_leaves_no_thread(tokenizer):
    batches = make_pool(texts(), tokenizer).batches(0, 100, 4)
    next(batches)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("textpl-pool")]
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert len(list(batches)) == 99, "and can be gone on with all the same"


def test_an_error_on_the_other_thread_arrives_at_its_step(tokenizer):
    class Failing(WordNoise):
        def __call__(self, text, rng):
            raise RuntimeError("no view of this")

    with pytest.raises(RuntimeError, match="no view of this"):
        next(make_pool(texts(), tokenizer, view=Failing()).batches(0, 3, 4))


@pytest.mark.parametrize("odd", [[0.1, 0.2, 0.7], [], None])
def test_a_column_of_uneven_lists_names_the_row_of_the_users_dataset(tokenizer, odd):
    column = [[0.5, 0.5], [0.5, 0.5], odd, [0.5, 0.5]]
    pool = make_pool(datasets.Dataset.from_dict({"text": ["", "good", "bad", "fine"], "p": column}), tokenizer)
    with pytest.raises(ValueError, match=r"'p': row 2 has shape .*, row 1 \(2,\); every row needs the same number"):
        pool.column("p")
    words = make_pool(datasets.Dataset.from_dict({"text": ["good"], "p": [["a", "b"]]}), tokenizer)
    with pytest.raises(ValueError, match="'p' must hold numbers"):
        words.column("p")


def test_without_a_view_nothing_is_made_twice(tokenizer):
    batch = next(make_pool(texts(), tokenizer).batches(0, 1, 4))
    assert batch.views[-1] is batch.views[0]


def test_pad_puts_real_tokens_first():
    inputs = pad([[5, 6, 7], [8]], pad_token_id=1)
    assert inputs["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        ({"text": ["good", None, "bad"]}, {}, r"row 1: the text is missing"),
        ({"text": [1, 2]}, {}, r"'text' holds .*int64.*not strings"),
        ({"body": ["good"]}, {}, r"no column 'text'.*text_column='body'"),
        ({"label": ["pos"], "body": ["good"]}, {}, r"no column 'text'.*text_column='body'"),
        ({"number": [1], "label": ["pos"]}, {}, r"None of them holds texts"),
        ({"text": ["", " "]}, {}, r"nothing to learn from"),
        ({"text": []}, {}, r"holds|nothing to learn from"),
        ({"input_ids": [[2, 5, 3]]}, {"view": WordNoise()}, r"already tokenised.*view=None"),
    ],
)
def test_bad_pools_say_what_to_do(tokenizer, data, settings, message):
    with pytest.raises(ValueError, match=message):
        make_pool(datasets.Dataset.from_dict(data), tokenizer, **settings)


def test_other_containers_are_refused(tokenizer):
    with pytest.raises(ValueError, match="must be a datasets.Dataset, not list"):
        make_pool(["good"], tokenizer)
    with pytest.raises(ValueError, match="streaming dataset.*from_generator"):
        make_pool(texts().to_iterable_dataset(), tokenizer)


def test_text_pool_needs_a_tokenizer():
    with pytest.raises(ValueError, match="processing_class"):
        make_pool(texts(), None)
