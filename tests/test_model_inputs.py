"""Everything a model takes reaches it from the pool: segments, positions, boxes, both texts of a pair."""

from __future__ import annotations

import inspect

import datasets
import numpy as np
import pytest
import torch
from conftest import make_texts, make_tokenizer, make_trainer
from tokenizers import processors
from transformers import BertConfig, BertForSequenceClassification

import textpl
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.neighbor_teacher import HDLTeacher
from textpl.components.sharpen import keep
from textpl.components.teachers import FrozenTeacher
from textpl.components.views import TfidfReplacement, WordNoise, row_rng
from textpl.inference import pad, token_inputs
from textpl.pool import Pool

PAIR = ("premise", "hypothesis")


@pytest.fixture(scope="session")
def pair_tokenizer():
    """As BERT's: the second text is segment 1."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return with_segments(tokenizer)


def with_segments(tokenizer):
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def segment_bert(seed=0, labels=3):
    """A model for which it matters which text a token is from."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=labels,
        problem_type="single_label_classification",
    )
    return BertForSequenceClassification(config)


def pairs(rows=20, seed=1):
    return datasets.Dataset.from_dict(
        {"premise": make_texts(rows, seed)[0], "hypothesis": make_texts(rows, seed + 50)[0]}
    )


def labeled_pairs(tokenizer, rows=12):
    data = pairs(rows, seed=5).add_column("label", [0, 1, 2] * (rows // 3))
    return data.map(lambda b: tokenizer(b["premise"], b["hypothesis"], truncation=True), batched=True)


def one_by_one(model, tokenizer, *texts, max_length=32):
    model.eval()
    with torch.no_grad():
        rows = [
            model(**tokenizer(*row, truncation=True, max_length=max_length, return_tensors="pt")).logits
            for row in zip(*texts, strict=True)
        ]
    return torch.cat(rows)


def make_pool(dataset, tokenizer, model=None, **settings):
    defaults = {"text_column": "text", "max_length": 32, "view": None, "pad_token_id": 0, "seed": 0}
    return Pool(dataset, tokenizer=tokenizer, model=model or segment_bert(), **(defaults | settings))


@pytest.mark.parametrize("form", ["text", "tokenized"])
def test_teacher_and_student_read_pairs_as_the_tokenizer_makes_them(tmp_path, pair_tokenizer, form):
    pool = pairs()
    expected = one_by_one(segment_bert(), pair_tokenizer, pool["premise"], pool["hypothesis"]).softmax(-1)
    without = {
        name: pair_tokenizer(pool["premise"][:], pool["hypothesis"][:], padding=True, return_tensors="pt")[name]
        for name in ("input_ids", "attention_mask")
    }
    assert not torch.allclose(segment_bert().eval()(**without).logits.softmax(-1), expected, atol=0.02), "must matter"
    if form == "tokenized":
        pool = pool.map(
            lambda b: pair_tokenizer(b["premise"], b["hypothesis"], padding="max_length", max_length=30),
            batched=True,
            remove_columns=list(PAIR),
        )
    seen = []
    callback = SemiSupervised(
        pool,
        sharpen=keep,
        ratio=5,
        text_column=PAIR if form == "text" else "text",
        loss=lambda logits, q, task: (seen.append((logits.detach(), q)), task.cross_entropy(logits, q))[1],
    )
    trainer = make_trainer(
        tmp_path,
        pair_tokenizer,
        model=segment_bert(),
        data=labeled_pairs(pair_tokenizer),
        max_steps=1,
        learning_rate=0.0,
    )
    textpl.attach(trainer, callback).train()
    rows = callback.step.rows
    assert set(callback.step.views[0]) == {"input_ids", "attention_mask", "token_type_ids"}
    torch.testing.assert_close(callback.teacher(callback.step)[0], expected[rows], rtol=1e-4, atol=1e-5)
    for logits, q in seen:
        torch.testing.assert_close(logits.softmax(-1), q, rtol=1e-4, atol=1e-5)


def test_segments_that_are_all_0_are_left_out():
    tokenizer = with_segments(make_tokenizer())
    texts = datasets.Dataset.from_dict({"text": make_texts(9)[0]})
    encoded = texts.map(lambda b: tokenizer(b["text"]), batched=True).remove_columns("text")
    assert "token_type_ids" in encoded.column_names
    for data in (texts, encoded):
        pool = make_pool(data, tokenizer)
        assert list(next(pool.batches(0, 1, 4)).views[0]) == ["input_ids", "attention_mask"]
        assert pool.tokens.fingerprint == make_pool(data, tokenizer, model=torch.nn.Linear(1, 1)).tokens.fingerprint


def test_a_view_changes_both_texts_each_in_its_own_way(pair_tokenizer):
    same = make_texts(12)[0]
    data = datasets.Dataset.from_dict({"premise": same, "hypothesis": same})
    view = WordNoise(drop=0.3, swap=0.3)
    pool = make_pool(data, pair_tokenizer, text_column=PAIR, view=view)
    batch = next(pool.batches(0, 1, 12))
    expected = [
        pair_tokenizer(*[view(same[row], row_rng(0, row, 0, part)) for part in (0, 1)]) for row in batch.rows.tolist()
    ]
    for row, (ids, types, mask) in enumerate(
        zip(
            batch.views[-1]["input_ids"],
            batch.views[-1]["token_type_ids"],
            batch.views[-1]["attention_mask"],
            strict=True,
        )
    ):
        assert ids[mask.bool()].tolist() == expected[row]["input_ids"]
        assert types[mask.bool()].tolist() == expected[row]["token_type_ids"]
    assert any(view(t, row_rng(0, i, 0, 0)) != view(t, row_rng(0, i, 0, 1)) for i, t in enumerate(same))
    fitted = make_pool(data, pair_tokenizer, text_column=PAIR, view=TfidfReplacement(0.5))
    next(fitted.batches(0, 1, 4))


def test_a_pair_is_blank_where_both_texts_are(pair_tokenizer, caplog):
    data = datasets.Dataset.from_dict({"premise": ["good", " ", "", "bad"], "hypothesis": ["", "film", " \n", "meal"]})
    pool = make_pool(data, pair_tokenizer, text_column=PAIR)
    assert len(pool) == 3 and [pool.source_row(row) for row in range(3)] == [0, 1, 3]
    assert "1 of 4 unlabelled texts are blank" in caplog.text
    data = datasets.Dataset.from_dict({"premise": ["good", "bad"], "hypothesis": ["film", None]})
    with pytest.raises(ValueError, match="'hypothesis', row 1: the text is missing"):
        make_pool(data, pair_tokenizer, text_column=PAIR)


@pytest.mark.parametrize("columns", [("a", "b", "c"), (), ("a", 1)])
def test_other_numbers_of_texts_are_refused(columns):
    with pytest.raises(ValueError, match="of two whose texts are read as a pair"):
        textpl.fixmatch(pairs(), text_column=columns)


def test_a_missing_second_column_is_named(pair_tokenizer):
    with pytest.raises(ValueError, match="no column 'hypotheses'"):
        make_pool(pairs(), pair_tokenizer, text_column=("premise", "hypotheses"))


@pytest.mark.parametrize("name", ["fixmatch", "uda", "softmatch", "mean_teacher", "hdl", "distillation"])
def test_methods_train_on_pairs(tmp_path, pair_tokenizer, name):
    extra = {"teacher": segment_bert(seed=4)} if name == "distillation" else {}
    callback = textpl.METHODS[name].make(pairs(), text_column=PAIR, **extra)
    trainer = make_trainer(
        tmp_path, pair_tokenizer, model=segment_bert(), data=labeled_pairs(pair_tokenizer), max_steps=4
    )
    textpl.attach(trainer, callback).train()
    assert all(bool(p.isfinite().all()) for p in trainer.model.parameters())


def test_a_frozen_teacher_reads_pairs(tmp_path, pair_tokenizer):
    pool, teacher = pairs(), segment_bert(seed=4)
    expected = one_by_one(teacher, pair_tokenizer, pool["premise"], pool["hypothesis"]).softmax(-1)
    callback = SemiSupervised(pool, teacher=FrozenTeacher(teacher), sharpen=keep, ratio=5, text_column=list(PAIR))
    trainer = make_trainer(
        tmp_path, pair_tokenizer, model=segment_bert(), data=labeled_pairs(pair_tokenizer), max_steps=1
    )
    textpl.attach(trainer, callback).train()
    p = callback.teacher(callback.step)[0]
    torch.testing.assert_close(p, expected[callback.step.rows], rtol=0, atol=2e-3)
    joined = textpl.distillation(pool, teacher=teacher, labeled=pairs(4, seed=8), text_column=PAIR)
    assert len(joined.unlabeled) == 24 and joined.unlabeled.column_names == list(PAIR)


class Lengths:
    """An encoder that tells texts apart by their length."""

    name = "lengths"

    def encode(self, texts, *, progress=True):
        assert all("\n" in text for text in texts)
        return np.array([[len(text), 1.0, text.count("good")] for text in texts], dtype=np.float32)


@pytest.mark.parametrize("encoder", ["model", Lengths()])
def test_neighbors_of_pairs(tmp_path, pair_tokenizer, encoder):
    labeled = labeled_pairs(pair_tokenizer)
    teacher = HDLTeacher(labeled, encoder=encoder, method="knn", text_column=PAIR)
    trainer = make_trainer(tmp_path, pair_tokenizer, model=segment_bert(), data=labeled, max_steps=2)
    textpl.attach(trainer, SemiSupervised(pairs(), teacher=teacher, sharpen=keep, text_column=PAIR)).train()
    assert bool(teacher.known.any())


class Placed(BertForSequenceClassification):
    """Takes a box of four numbers for each token, as LayoutLM does."""

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None, bbox=None, **rest):
        self.seen = bbox
        return super().forward(
            input_ids, attention_mask, token_type_ids=token_type_ids, position_ids=position_ids, **rest
        )


def test_positions_and_boxes_of_a_tokenized_pool_reach_the_model():
    config = segment_bert().config
    torch.manual_seed(0)
    model = Placed(config)
    assert {"token_type_ids", "position_ids", "bbox"} <= set(token_inputs(model))
    ids = [[2, 5, 6, 3], [2, 7, 3, 0], [2, 8, 9, 3]]
    data = {
        "input_ids": ids,
        "attention_mask": [[1] * 4, [1, 1, 1, 0], [1] * 4],
        "position_ids": [[0, 1, 2, 3], [5, 6, 7, 0], [3, 2, 1, 0]],
        "bbox": [[[row, token, 1, 2] for token in range(4)] for row in range(3)],
        "unrelated": [[1, 2]] * 3,
    }
    pool = make_pool(datasets.Dataset.from_dict(data), None, model)
    batch = next(pool.batches(0, 1, 3))
    assert list(batch.views[0]) == ["input_ids", "attention_mask", "position_ids", "bbox"]
    for i, row in enumerate(batch.rows.tolist()):
        real = sum(data["attention_mask"][row])
        assert batch.views[0]["position_ids"][i, :real].tolist() == data["position_ids"][row][:real]
        assert batch.views[0]["bbox"][i, :real].tolist() == data["bbox"][row][:real]
        assert batch.views[0]["bbox"][i, real:].sum() == 0
    model(**batch.views[0])
    assert model.seen.shape == (3, 4, 4)
    cut = make_pool(datasets.Dataset.from_dict(data), None, model, max_length=3)
    assert cut.tokens.read_inputs([0])["position_ids"][0].tolist() == [0, 1, 3]


def test_inputs_of_another_length_than_the_tokens_are_named():
    data = {"input_ids": [[2, 3], [], [2, 5, 3]], "position_ids": [[0, 1], [], [0, 1]]}
    with pytest.raises(ValueError, match=r"'position_ids', row 2: 2 values for 3 tokens.*remove_columns"):
        make_pool(datasets.Dataset.from_dict(data), None)


def test_what_another_model_does_not_take_is_kept_from_it(tmp_path, pair_tokenizer):
    class Plain(BertForSequenceClassification):
        def forward(self, input_ids=None, attention_mask=None, labels=None):
            return super().forward(input_ids, attention_mask, labels=labels)

    teacher = Plain(segment_bert().config)
    pool = make_pool(pairs(), pair_tokenizer, text_column=PAIR)
    assert pool.token_ids(None, teacher).inputs == () and pool.token_ids(None, segment_bert()) is pool.tokens
    plain = make_pool(pairs(), pair_tokenizer, teacher, text_column=PAIR)
    assert plain.tokens.inputs == () and plain.token_ids(None, segment_bert()).inputs == ("token_type_ids",)
    assert plain.tokens.fingerprint != pool.tokens.fingerprint
    assert "labels" in inspect.signature(Plain.forward).parameters and "labels" not in token_inputs(teacher)


def test_padding_of_segments_is_what_the_tokenizer_says():
    tokenizer = with_segments(make_tokenizer())
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:2 $A:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer._pad_token_type_id = 3
    pool = make_pool(datasets.Dataset.from_dict({"text": ["good", "the film was dull"]}), tokenizer)
    batch = next(pool.batches(0, 1, 2)).views[0]
    assert sorted(batch["token_type_ids"].tolist()) == [[2, 1, 1, 1, 1, 1], [2, 1, 1, 3, 3, 3]]
    inputs = pad({"input_ids": [[1, 2], [3]], "bbox": [[[1, 2], [3, 4]], [[5, 6]]]}, 9, {"bbox": 7})
    assert inputs["bbox"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 7]]]
    assert inputs["input_ids"].tolist() == [[1, 2], [3, 9]]
