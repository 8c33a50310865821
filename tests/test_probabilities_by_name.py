"""Stored probabilities reach the right outputs of a model, whatever the order of the columns they came in."""

from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from conftest import make_data, make_model, make_texts, make_trainer

import textpl
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.sharpen import keep
from textpl.components.teachers import ColumnTeacher
from textpl.reading.probabilities import named_array

MODEL = {0: "sport", 1: "money"}  # the file below has them in alphabetical order


def named_model(names=MODEL, task="single"):
    model = make_model(task, labels=len(names))
    model.config.id2label, model.config.label2id = dict(names), {name: i for i, name in names.items()}
    return model


def stored(rows=20, form="struct", names=("money", "sport"), blank=(), seed=0):
    """A pool whose rows with "good" are about sport, and the probability of sport in each row that is kept."""
    texts = make_texts(rows, seed=seed)[0]
    for row in blank:
        texts[row] = " "
    sport = np.array([0.9 if "good" in text else 0.2 for text in texts], dtype=np.float32)
    values = np.stack([sport if name == "sport" else 1 - sport for name in names], 1)
    pool = datasets.Dataset.from_dict({"text": texts})
    if form == "struct":
        pool = pool.add_column("p", named_array(values, names))
    elif form == "columns":
        for name, column in zip(names, values.T, strict=True):
            pool = pool.add_column(f"p_{name}", column)
    elif form == "csv":
        for name, column in zip(names, values.T, strict=True):
            pool = pool.add_column(f"p_{name}", [f"{value:.6f}" for value in column])
    elif form == "classlabel":
        pool = pool.add_column("p", values.tolist()).add_column("label", [0] * rows)
        pool = pool.cast_column("label", datasets.ClassLabel(names=list(names)))
    else:
        pool = pool.add_column("p", values.tolist())
    return pool, np.delete(sport, list(blank))


def targets(folder, tokenizer, pool, model=None, **settings):
    """What the model is taught in one step, and the rows it was taught on."""
    callback = SemiSupervised(pool, teacher=ColumnTeacher("p", **settings), sharpen=keep, ratio=3)
    model = named_model() if model is None else model
    data = make_data(tokenizer, labels=model.config.num_labels, task=model.config.problem_type.split("_")[0])
    trainer = make_trainer(folder, tokenizer, model=model, data=data, max_steps=1)
    textpl.attach(trainer, callback).train()
    return callback.teacher(callback.step)[0].numpy(), callback.step.rows.numpy()


@pytest.mark.parametrize("task", ["single", "multi"])
@pytest.mark.parametrize("form", ["struct", "columns", "csv", "classlabel"])
@pytest.mark.parametrize("blank", [(), (0, 7)])
def test_named_numbers_go_to_the_output_of_their_name(tmp_path, tokenizer, form, task, blank):
    pool, sport = stored(form=form, blank=blank)
    p, rows = targets(tmp_path, tokenizer, pool, named_model(task=task))
    np.testing.assert_allclose(p[:, 0], sport[rows], atol=1e-6)
    np.testing.assert_allclose(p[:, 1], 1 - sport[rows], atol=1e-6)


def test_plain_lists_need_names_where_the_model_has_some(tmp_path, tokenizer):
    pool, sport = stored(form="list")
    with pytest.raises(
        ValueError, match=r"'p' does not say which of its 2 numbers.*\['sport', 'money'\].*label_names="
    ):
        targets(tmp_path, tokenizer, pool)
    p, rows = targets(tmp_path, tokenizer, pool, label_names=["money", "sport"])
    np.testing.assert_allclose(p[:, 0], sport[rows], atol=1e-6)
    p, rows = targets(tmp_path, tokenizer, pool, make_model(labels=2))
    np.testing.assert_allclose(p[:, 1], sport[rows], atol=1e-6)


@pytest.mark.parametrize("form", ["struct", "columns", "classlabel"])
def test_names_cannot_be_matched_with_default_ones(tmp_path, tokenizer, form):
    with pytest.raises(ValueError, match=r"labels \['money', 'sport'\].*default names.*id2label.*label2id"):
        targets(tmp_path, tokenizer, stored(form=form)[0], make_model(labels=2))
    with pytest.raises(ValueError, match=r"default names.*id2label"):
        targets(tmp_path, tokenizer, stored(form="list")[0], make_model(labels=2), label_names=["money", "sport"])


def test_numbers_as_names_match_default_ones(tmp_path, tokenizer):
    pool, sport = stored(names=("1", "sport"))
    pool = pool.add_column("p_1", [1 - s for s in sport]).add_column("p_0", list(sport)).remove_columns("p")
    p, rows = targets(tmp_path, tokenizer, pool, make_model(labels=2))
    np.testing.assert_allclose(p[:, 0], sport[rows], atol=1e-6)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("money", "sports"), r"without a counterpart here: 'sports'; missing: 'sport'"),
        (("money", "sport", "art"), r"'art'"),
        (("money",), r"missing: 'sport'"),
    ],
)
def test_other_names_are_shown(tmp_path, tokenizer, names, message):
    with pytest.raises(ValueError, match=message):
        targets(tmp_path, tokenizer, stored(names=names)[0])


def test_label_names_must_agree_with_what_the_column_says(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="leave label_names out"):
        targets(tmp_path, tokenizer, stored()[0], label_names=["sport", "money"])
    with pytest.raises(ValueError, match=r"shape \(20, 2\); 3 numbers per row"):
        targets(tmp_path, tokenizer, stored(form="list")[0], label_names=["sport", "money", "art"])


@pytest.mark.parametrize("forms", [("struct", "struct"), ("columns", "struct"), ("list", "struct"), ("list", "list")])
def test_labeled_rows_join_the_pool_by_name(tmp_path, tokenizer, forms):
    """Two files whose columns are in another order."""
    said = ["money", "sport"] if "list" in forms else None
    pool, sport = stored(form=forms[0])
    names = ("money", "sport") if forms[1] == "list" else ("sport", "money")
    labeled, more = stored(form=forms[1], names=names, seed=9)
    callback = textpl.distillation(
        pool, column="p", column_kind="probabilities", labeled=labeled, label_names=said, temperature=1, ratio=10
    )
    trainer = make_trainer(tmp_path, tokenizer, model=named_model(), data=make_data(tokenizer, labels=2), max_steps=1)
    textpl.attach(trainer, callback).train()
    p, rows = callback.teacher(callback.step)[0].numpy(), callback.step.rows.numpy()
    assert rows.max() >= 20, "both are drawn from"
    np.testing.assert_allclose(p[:, 0], np.concatenate([sport, more])[rows], atol=1e-6)


def test_what_cannot_be_joined_is_refused():
    pool, labeled = stored(form="list")[0], stored()[0]
    with pytest.raises(ValueError, match="only one of unlabeled and labeled: say them with label_names"):
        textpl.distillation(pool, column="p", labeled=labeled)
    wide = stored(form="list", names=("a", "b", "sport"))[0]
    with pytest.raises(ValueError, match="2 numbers per row in unlabeled and 3 in labeled"):
        textpl.distillation(pool, column="p", labeled=wide)


def test_a_model_learns_what_the_struct_says(tmp_path, tokenizer):
    pool, sport = stored(rows=200)
    callback = textpl.distillation(pool, column="p", column_kind="probabilities", temperature=1, ratio=4, weight=5.0)
    labeled = make_data(tokenizer, rows=8, labels=2).remove_columns("label").add_column("label", [0, 1] * 4)
    trainer = make_trainer(tmp_path, tokenizer, model=named_model(), data=labeled, max_steps=60)
    textpl.attach(trainer, callback).train()
    with torch.no_grad():
        inputs = tokenizer(pool["text"][:], return_tensors="pt", padding=True)
        p = trainer.model.eval()(**inputs).logits.softmax(-1)[:, 0]
    assert np.corrcoef(p.numpy(), sport)[0, 1] > 0.8
