"""Cleaned corpora as `load_dataset` reads them train as their numbers do, with the collators that people have."""

from __future__ import annotations

import csv
import json
import random

import datasets
import numpy as np
import pytest
import torch
from conftest import make_data, make_model, make_texts, make_trainer
from transformers import default_data_collator

import textpl
from textpl import NoisyLabels

NAMES = ["bad", "mid", "good"]


def named_model(task="single"):
    model = make_model(task)
    model.config.id2label, model.config.label2id = dict(enumerate(NAMES)), {n: i for i, n in enumerate(NAMES)}
    return model


def norms(trainer):
    return [logs["grad_norm"] for logs in trainer.state.log_history if "grad_norm" in logs]


def train(folder, tokenizer, data, task="single", *, collator=None, evaluated=None, model=None, **settings):
    trainer = make_trainer(
        folder, tokenizer, task=task, model=model or named_model(task), data=data, max_steps=2, **settings
    )
    trainer.eval_dataset = data if evaluated is None else evaluated
    trainer.data_collator = collator or trainer.data_collator
    textpl.attach(trainer, NoisyLabels()).train()
    return trainer


def records(task, weights):
    """Rows as `textpl clean` writes them, and their labels as ids or multi-hot rows."""
    texts, scores = make_texts(24)
    ids = np.clip(np.sign(scores) + 1, 0, 2)
    if task == "single":
        label, gold = [NAMES[i] for i in ids], ids.tolist()
    else:
        several = [sorted({int(i), (int(i) + row) % 3}) for row, i in enumerate(ids)]
        label = [[NAMES[i] for i in found] for found in several]
        gold = [[float(i in found) for i in range(3)] for found in several]
    weight = [[1.0, 0.5, 0.0] if weights == "cells" else 1.0 / (1 + row % 3) for row in range(24)]
    multi = task == "multi"
    added = {
        "given_label": ["mid"] if multi else "mid",
        "label_source": ["given"] * 3 if multi else "given",
        "p_error": 0.1,
    }
    rows = [{"text": t, "label": x, "label_weight": w, **added} for t, x, w in zip(texts, label, weight, strict=True)]
    return rows, gold


def from_file(rows, folder, form):
    folder.mkdir()
    kind, file = form.split("-")[0], folder / "data"
    if kind == "parquet":
        datasets.Dataset.from_list(rows).to_parquet(file)
    elif kind == "json":
        file.write_text("\n".join(map(json.dumps, rows)))
    else:
        join = {"delimiter": ";".join, "python": repr, "json": json.dumps}[form.split("-")[1]]
        with file.open("w", newline="") as opened:
            writer = csv.DictWriter(opened, rows[0])
            writer.writeheader()
            for row in rows:
                cells = {
                    name: (join if name in ("label", "given_label") else json.dumps)(value)
                    for name, value in row.items()
                    if isinstance(value, list)
                }
                writer.writerow(row | cells)
    return datasets.load_dataset(kind, data_files=str(file), split="train", cache_dir=str(folder / "cache"))


def tokenized(dataset, tokenizer):
    return dataset.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)


@pytest.mark.parametrize(("task", "weights"), [("single", "rows"), ("multi", "rows"), ("multi", "cells")])
@pytest.mark.parametrize("form", ["parquet", "json", "csv-delimiter", "csv-python", "csv-json"])
@pytest.mark.parametrize("columns_kept", [False, True])
def test_cleaned_files_train_and_evaluate_as_their_numbers_do(tmp_path, tokenizer, task, weights, form, columns_kept):
    rows, gold = records(task, weights)
    data = tokenized(from_file(rows, tmp_path / "file", form), tokenizer)
    numbers = datasets.Dataset.from_dict({name: [row[name] for row in rows] for name in ("text", "label_weight")})
    numbers = tokenized(numbers.add_column("label", gold), tokenizer)
    expected = train(tmp_path / "numbers", tokenizer, numbers, task)
    found = train(tmp_path / "names", tokenizer, data, task, remove_unused_columns=not columns_kept)
    assert norms(found) == pytest.approx(norms(expected), rel=1e-5)
    loss = expected.evaluate()["eval_loss"]
    assert found.evaluate()["eval_loss"] == pytest.approx(loss, rel=1e-5)
    assert found.evaluate(data)["eval_loss"] == pytest.approx(loss, rel=1e-5), "rows that are given later too"
    assert found.predict(data).metrics["test_loss"] == pytest.approx(loss, rel=1e-5)


def test_a_delimiter_is_not_looked_for_in_names_of_the_model(tmp_path, tokenizer):
    model = make_model()
    names = ["sales; other", "sales", "other"]
    model.config.id2label, model.config.label2id = dict(enumerate(names)), {n: i for i, n in enumerate(names)}
    model.config.problem_type = None
    data = make_data(tokenizer)
    data = data.remove_columns("label").add_column("label", [names[i] for i in data["label"]])
    train(tmp_path, tokenizer, data, model=model)
    assert model.config.problem_type == "single_label_classification"


def test_empty_texts_of_several_labels_are_told(tmp_path, tokenizer, caplog):
    labels = ["bad; mid", "good", "", *["mid; good"] * 21]
    data = make_data(tokenizer).remove_columns("label").add_column("label", labels)
    trainer = train(tmp_path, tokenizer, data, "multi")
    assert trainer.train_dataset["label"][:4] == [[1, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert "column 'label': 1 rows are empty texts, taken as rows to which none of the labels applies" in caplog.text


@pytest.mark.parametrize("tokenizes", [False, True])
def test_a_collator_that_reads_names_gets_them(tmp_path, tokenizer, tokenizes):
    data = make_data(tokenizer)
    named = data.remove_columns("label").add_column("label", [NAMES[i] for i in data["label"]])

    def collate(rows):
        if tokenizes:
            batch = tokenizer([row["text"] for row in rows], padding=True, truncation=True, return_tensors="pt")
        else:
            batch = tokenizer.pad([{"input_ids": row["input_ids"]} for row in rows], return_tensors="pt")
        return {**batch, "labels": torch.tensor([NAMES.index(row["label"]) for row in rows])}

    if tokenizes:
        named = named.select_columns(["text", "label"])
    found = train(tmp_path / "a", tokenizer, named, collator=collate, remove_unused_columns=not tokenizes)
    assert norms(found) == pytest.approx(norms(train(tmp_path / "b", tokenizer, data)), rel=1e-5)


def test_names_beside_numbers_are_left_out(tmp_path, tokenizer):
    """A model with default names is enough then."""
    data = make_data(tokenizer)
    both = data.rename_column("label", "labels").add_column("label", [NAMES[i] for i in data["label"]])
    found = train(tmp_path / "a", tokenizer, both, model=make_model())
    assert norms(found) == pytest.approx(norms(train(tmp_path / "b", tokenizer, data)), rel=1e-5)


def test_of_two_labels_the_collators_choice_counts(tmp_path, tokenizer):
    data = make_data(tokenizer)
    both = data.add_column("labels", [0] * len(data))
    callbacks = []
    for rows in (data, both):
        callbacks.append(NoisyLabels())
        trainer = make_trainer(tmp_path, tokenizer, data=rows, max_steps=1)
        textpl.attach(trainer, callbacks[-1]).train()
    torch.testing.assert_close(callbacks[0].run.labeled_prior, callbacks[1].run.labeled_prior)


def test_a_collator_without_padding_needs_no_texts_out(tmp_path, tokenizer):
    """It leaves out single texts by itself, and cannot take lists of them."""
    rows, gold = records("multi", "rows")
    data = datasets.Dataset.from_list(rows).map(
        lambda b: tokenizer(b["text"], padding="max_length", max_length=16, truncation=True), batched=True
    )
    trainer = train(tmp_path, tokenizer, data, "multi", collator=default_data_collator, remove_unused_columns=False)
    assert "text" in trainer.train_dataset.column_names and "given_label" not in trainer.train_dataset.column_names
    assert trainer.train_dataset["label"][:] == gold and trainer.evaluate()["eval_loss"] > 0


def test_rows_without_labels_say_so_whatever_columns_they_have(tmp_path, tokenizer):
    rows, _ = records("single", "rows")
    data = tokenized(datasets.Dataset.from_list(rows).remove_columns("label"), tokenizer)
    with pytest.raises(ValueError, match="The rows have no labels: none of"):
        train(tmp_path, tokenizer, data)


def test_reading_rows_draws_no_random_numbers(tmp_path, tokenizer):
    def draw(batch):
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))  # noqa: NPY002
        return {name: batch[name] for name in ("input_ids", "attention_mask", "label")}

    firsts = []
    for read_before in (False, True):
        drawn = []
        data = make_data(tokenizer).with_transform(draw)
        trainer = make_trainer(tmp_path, tokenizer, data=data, max_steps=1, remove_unused_columns=False)
        if read_before:
            textpl.attach(trainer, NoisyLabels())
        trainer.train()
        firsts.append(drawn[-1])
    assert firsts[0] == firsts[1]
