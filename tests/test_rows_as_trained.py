"""Labeled rows are read the way the Trainer reads them, and their labels given to the model as it needs them."""

from __future__ import annotations

import copy
import functools

import datasets
import numpy as np
import pytest
import torch
from conftest import make_data, make_model, make_pool, make_texts, make_trainer
from transformers import DataCollatorWithPadding

import textpl
from textpl import NoisyLabels, SemiSupervised
from textpl.components.labeled_rows import seen_rows
from textpl.components.neighbor_teacher import HDLTeacher
from textpl.components.noise_losses_early import EarlyLearning
from textpl.components.sharpen import keep

NAMES = ["dull", "fine", "good"]
FORMS = ["transform", "collator", "list", "labels in the collator"]


def norms(trainer):
    return [h["grad_norm"] for h in trainer.state.log_history if "grad_norm" in h]


def in_form(form, data, tokenizer, key="label"):
    """The same rows in another form, and what the Trainer needs for it."""
    kept = [name for name in (key, "label_weight") if name in data.column_names]
    if form == "plain":
        return data, {}
    if form == "list":
        return [{k: row[k] for k in ("input_ids", "attention_mask", *kept)} for row in data], {}
    raw = data.select_columns(["text", *kept])
    if form == "transform":
        names = raw.add_column("name", [f"name {row}" for row in raw[key]])
        encoded = names.with_transform(
            lambda b: {**tokenizer(b["text"], truncation=True), "labels": [b[key][i] for i in range(len(b["text"]))]}
        )
        return encoded, {"remove_unused_columns": False}
    collate = DataCollatorWithPadding(tokenizer)

    def tokenizing(rows):
        rows = [{**tokenizer(row["text"], truncation=True), "label": row[key]} for row in rows]
        return collate(rows)

    if form == "labels in the collator":
        raw = raw.rename_column(key, "verdict")

        def tokenizing(rows):
            return collate([{**tokenizer(row["text"], truncation=True), "label": row["verdict"]} for row in rows])

    return raw, {"remove_unused_columns": False, "data_collator": tokenizing}


def train(folder, tokenizer, form, callback, task="single", plain=False, data=None, **settings):
    data = make_data(tokenizer, task=task) if data is None else data
    data, extra = in_form(form, data, tokenizer)
    collator = extra.pop("data_collator", None)
    trainer = make_trainer(folder, tokenizer, task=task, data=data, max_steps=3, **extra, **settings)
    if collator is not None:
        trainer.data_collator = collator
    if plain:
        trainer.add_callback(callback)
    else:
        textpl.attach(trainer, callback)
    trainer.train()
    return trainer


@pytest.fixture(scope="module")
def references(tmp_path_factory, tokenizer):
    """(task, what is trained) -> norms after training on plain rows, trained once."""
    made = {
        "softmatch": lambda task: (textpl.softmatch(make_pool(task=task)), None),
        "unweighted": lambda task: (NoisyLabels(EarlyLearning()), None),
        "weighted": lambda task: (NoisyLabels(EarlyLearning()), weighted_rows(tokenizer, task)),
    }

    @functools.cache
    def reference(task, what):
        callback, data = made[what](task)
        return norms(train(tmp_path_factory.mktemp("reference"), tokenizer, "plain", callback, task, data=data))

    return reference


def weighted_rows(tokenizer, task):
    return make_data(tokenizer, task=task).add_column("label_weight", np.linspace(0, 2, 24).astype(np.float32))


@pytest.mark.parametrize("task", ["single", "multi"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plain", [False, True])
def test_every_form_of_rows_trains_alike(tmp_path, tokenizer, references, form, task, plain):
    trainer = train(tmp_path, tokenizer, form, textpl.softmatch(make_pool(task=task)), task, plain)
    assert norms(trainer) == pytest.approx(references(task, "softmatch"), rel=1e-4)


@pytest.mark.parametrize("task", ["single", "multi"])
@pytest.mark.parametrize("form", FORMS)
def test_weights_and_losses_with_a_memory_of_rows(tmp_path, tokenizer, references, form, task):
    """The transform drops the weights: they are consumed by textpl all the same."""
    data = weighted_rows(tokenizer, task)
    trainer = train(tmp_path, tokenizer, form, NoisyLabels(EarlyLearning()), task, data=data)
    assert norms(trainer) == pytest.approx(references(task, "weighted"), rel=1e-4)
    assert norms(trainer) != pytest.approx(references(task, "unweighted"), rel=1e-3)


class Words:
    name = "words"

    def encode(self, texts, *, progress=True):
        return np.array([[text.count("good"), text.count("bad"), 1.0 + len(text)] for text in texts], np.float32)


@pytest.mark.parametrize("form", ["transform", "collator", "list"])
@pytest.mark.parametrize("encoder", ["model", Words()])
def test_neighbors_read_the_trainers_own_rows(tmp_path, tokenizer, form, encoder):
    if form == "list" and encoder != "model":
        pytest.skip("no texts in these rows")
    kept = {"remove_unused_columns": False}
    found = []
    for kind in ("plain", form):
        teacher = HDLTeacher(encoder=encoder, method="linear")
        if kind == "plain" and encoder != "model":
            teacher.labeled = make_data(tokenizer)
        train(tmp_path, tokenizer, kind, SemiSupervised(make_pool(), teacher=teacher, sharpen=keep, weight=0.01))
        found.append(teacher.p.float())
    assert kept and torch.allclose(found[0], found[1], atol=2e-2)


def test_neighbors_read_rows_given_with_a_transform(tmp_path, tokenizer):
    """Names are stored, ids and tokens are made on the way."""
    data, found = make_data(tokenizer), []
    raw = datasets.Dataset.from_dict({"text": data["text"][:], "label": [NAMES[i] for i in data["label"]]})
    raw.set_transform(lambda b: {**tokenizer(b["text"]), "labels": [NAMES.index(name) for name in b["label"]]})
    for labeled in (
        data,
        raw,
        raw.rename_column("label", "verdict").with_transform(
            lambda b: {**tokenizer(b["text"]), "labels": [NAMES.index(name) for name in b["verdict"]]}
        ),
    ):
        teacher = HDLTeacher(labeled, method="linear", refresh=None)
        train(tmp_path, tokenizer, "plain", SemiSupervised(make_pool(), teacher=teacher, sharpen=keep))
        found.append(teacher.p.float())
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[2])


def test_seen_rows_of_plain_columns_are_the_dataset_itself(tokenizer):
    data = make_data(tokenizer)
    assert seen_rows(data, DataCollatorWithPadding(tokenizer)) is data
    assert seen_rows(data.with_format("torch"), None).column_names == data.column_names


def test_padding_of_a_collator_is_not_counted(tmp_path, tokenizer):
    callback = SemiSupervised(datasets.Dataset.from_dict({"text": ["bad"] * 9}))
    train(tmp_path, tokenizer, "collator", callback)
    assert callback.run.pool.max_length == 11
    assert max(len(ids) for ids in callback.run.labeled["input_ids"]) == 11


@pytest.mark.parametrize("form", ["transform", "collator", "list"])
def test_wrong_labels_are_named_in_every_form(tmp_path, tokenizer, form):
    data = make_data(tokenizer)
    data = data.remove_columns("label").add_column("label", [0] * 7 + [5] + [0] * 16)
    with pytest.raises(ValueError, match="Labeled row 7 has the label 5, but the model knows 3 labels"):
        train(tmp_path, tokenizer, form, textpl.fixmatch(make_pool()), data=data)


def test_rows_without_labels_say_so(tmp_path, tokenizer):
    data = make_data(tokenizer).remove_columns("label")
    with pytest.raises(ValueError, match=r"no labels: none of \('labels', 'label', 'label_ids'\)"):
        train(tmp_path, tokenizer, "plain", textpl.fixmatch(make_pool()), data=data)
    with pytest.raises(ValueError, match=r"no labels"):
        train(
            tmp_path, tokenizer, "plain", textpl.fixmatch(make_pool()), data=data.rename_column("text", "given_label")
        )


@pytest.mark.parametrize("form", ["plain", "list"])
def test_of_two_label_columns_the_one_that_is_trained_on_counts(tmp_path, tokenizer, form):
    """DataCollatorWithPadding takes `label`, though the rows have `labels` too."""
    data = make_data(tokenizer)
    data = data.add_column("labels", [2 - i for i in data["label"]])
    rows = data if form == "plain" else [{k: v for k, v in row.items() if k != "text"} for row in data]
    callback = textpl.fixmatch(make_pool())
    trainer = make_trainer(tmp_path, tokenizer, data=rows, max_steps=1)
    textpl.attach(trainer, callback).train()
    counts = np.bincount(data["label"][:], minlength=3)
    np.testing.assert_allclose(callback.run.labeled_prior, (counts + 1) / (len(data) + 3), rtol=1e-6)
    assert len(set(counts.tolist())) > 1


def test_compare_reads_transformed_rows(tmp_path, tokenizer):
    def make(seed):
        data, settings = in_form("transform", make_data(tokenizer, task="multi"), tokenizer)
        test = in_form("transform", make_data(tokenizer, rows=12, task="multi", seed=9), tokenizer)[0]
        trainer = make_trainer(tmp_path / str(seed), tokenizer, task="multi", data=data, max_steps=2, **settings)
        trainer.eval_dataset = test
        return trainer

    result = textpl.compare(make, lambda seed: textpl.fixmatch(make_pool(task="multi")), seeds=[0])
    assert result.task == "multi"


# ---- labels that are whole numbers or booleans ----


def cast(data, kind):
    return data.cast_column("label", datasets.List(datasets.Value(kind)))


@pytest.mark.parametrize(
    ("kind", "form", "plain"),
    [
        (kind, form, (i + j) % 2 == 0)  # each kind and each form, with and without attach
        for i, kind in enumerate(["int8", "bool", "int64", "float64"])
        for j, form in enumerate(["plain", "transform", "list"])
    ],
)
def test_multi_hot_of_any_type_trains_and_evaluates_as_floats_do(tmp_path, tokenizer, kind, form, plain):
    results = []
    for data in (make_data(tokenizer, task="multi"), cast(make_data(tokenizer, task="multi"), kind)):
        data = data.cast_column("label", datasets.List(data.features["label"].feature, length=3))
        callback = textpl.fixmatch(make_pool(task="multi"))
        settings = {"eval_strategy": "steps", "eval_steps": 2}
        data, extra = in_form(form, data, tokenizer)
        trainer = make_trainer(tmp_path, tokenizer, task="multi", data=data, max_steps=3, **extra, **settings)
        trainer.eval_dataset = data
        trainer.add_callback(callback) if plain else textpl.attach(trainer, callback)
        if not plain:
            trainer.evaluate()
        trainer.train()
        results.append((norms(trainer), trainer.evaluate()["eval_loss"], trainer.predict(data).label_ids.sum()))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-4)
    assert results[1][1:] == pytest.approx(results[0][1:], rel=1e-4)


@pytest.mark.parametrize("kind", ["int8", "bool"])
def test_weighted_multi_hot_of_any_type(tmp_path, tokenizer, kind):
    data = cast(make_data(tokenizer, task="multi"), kind).add_column("label_weight", [1.0, 0.5] * 12)
    reference = make_data(tokenizer, task="multi").add_column("label_weight", [1.0, 0.5] * 12)
    trainers = [train(tmp_path, tokenizer, "plain", NoisyLabels(), "multi", data=rows) for rows in (data, reference)]
    assert norms(trainers[0]) == pytest.approx(norms(trainers[1]), rel=1e-5)


def test_class_ids_of_any_type(tmp_path, tokenizer):
    data = make_data(tokenizer)
    reference = norms(train(tmp_path, tokenizer, "plain", textpl.fixmatch(make_pool())))
    for kind in ("int8", "int32", "uint8"):
        small = data.cast_column("label", datasets.Value(kind)).with_format("numpy")
        assert norms(train(tmp_path, tokenizer, "plain", textpl.fixmatch(make_pool()), data=small)) == reference


def put(data, row, value, others=None):
    labels = data["label"][:] if others is None else [others] * len(data)
    return data.remove_columns("label").add_column("label", [*labels[:row], value, *labels[row + 1 :]])


HOT = [1.0, 0.0, 0.0]


@pytest.mark.parametrize("attached", [True, False])
@pytest.mark.parametrize(
    ("task", "others", "value", "message"),
    [
        ("single", 0, None, "row 7 has the label None.*pool"),
        ("single", 0.0, float("nan"), "row 7 has the label nan"),
        ("single", 0.0, 1.0, r"row 0 has the label 0\.0, .*whole number.*Value\('int64'\)"),
        ("single", 0, 3, "row 7 has the label 3, but the model knows 3 labels: .*num_labels"),
        ("single", [0.2, 0.3, 0.5], [1.0, 0.0, 0.0], "row 0 has the label .*one class id per row.*NoisyLabels"),
        ("multi", HOT, None, "row 7 has the label None"),
        ("multi", HOT, [1.0, None, 0.0], "row 7 has the label .*None.*is missing"),
        ("multi", HOT, [1.0, float("nan"), 0.0], "row 7 has the label .*nan"),
        ("multi", HOT, [1.0, 0.0], r"row 7 has the label \[1.0, 0.0\], but the model knows 3 labels: one number"),
        ("multi", HOT, [1.0, 0.0, 2.0], r"row 7 has the label \[1.0, 0.0, 2.0\].*from 0 to 1"),
        ("multi", [1, 0, 0, 1], [1, 0, 0, 0], r"row 0 has the label \[1, 0, 0, 1\], .*3 labels"),
        ("multi", 1, 0, "row 0 has the label 1, .*multi-hot rows of 3"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(tmp_path, tokenizer, attached, task, others, value, message):
    data = put(make_data(tokenizer, task=task), 7, value, others)
    callback = textpl.fixmatch(make_pool(task=task))
    with pytest.raises(ValueError, match=f"Labeled {message}"):
        train(tmp_path, tokenizer, "plain", callback, task, not attached, data=data)
    if attached and "NoisyLabels" not in message:
        with pytest.raises(ValueError, match=f"Labeled {message}"):
            train(tmp_path, tokenizer, "plain", NoisyLabels(), task, data=data)


def test_names_need_attach(tmp_path, tokenizer):
    data = put(make_data(tokenizer), 7, "fine", "good")
    with pytest.raises(ValueError, match=r"row 0 has the label 'good', .*encoded by textpl\.attach"):
        train(tmp_path, tokenizer, "plain", textpl.fixmatch(make_pool()), plain=True, data=data)


# ---- labels by name ----


def named_model(task="single", names=NAMES, problem_type=None):
    model = make_model(task, labels=len(names))
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.config.problem_type = problem_type or model.config.problem_type
    return model


def named_rows(tokenizer, task, rows=24, names=NAMES):
    """Rows with names, the same with numbers, and what a cleaning leaves beside them."""
    numbers = make_data(tokenizer, rows=rows, task=task)
    values = numbers["label"][:]
    labels = [names[v] if task == "single" else [n for n, x in zip(names, v, strict=True) if x] for v in values]
    data = numbers.remove_columns("label").add_column("label", labels)
    data = data.add_column("given_label", labels[::-1]).add_column("label_source", ["given"] * rows)
    weight = [1.0, 0.5] * (rows // 2)
    return data.add_column("p_error", [0.1] * rows).add_column("label_weight", weight), numbers.add_column(
        "label_weight", weight
    )


@pytest.mark.parametrize(
    ("task", "kind", "known"),  # the problem type is set, or found: both with each kind and each task
    [
        (task, kind, (i + j) % 2 == 0)
        for i, task in enumerate(["single", "multi"])
        for j, kind in enumerate(["memory", "parquet", "csv", "json"])
    ],
)
def test_names_of_files_train_as_numbers_do(tmp_path, tokenizer, task, kind, known):
    named, numbers = named_rows(tokenizer, task)
    if kind != "memory":
        plain = named.select_columns(["text", "label", "given_label", "label_source", "p_error", "label_weight"])
        if kind == "csv" and task == "multi":
            lists = [str(value) for value in plain["label"]]
            plain = plain.remove_columns("label").add_column("label", lists)
        file = str(tmp_path / f"rows.{kind}")
        {"parquet": plain.to_parquet, "csv": plain.to_csv, "json": plain.to_json}[kind](file)
        named = datasets.load_dataset(kind, data_files=file, split="train", cache_dir=str(tmp_path / "hf"))
        named = named.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)
    results = []
    for data in (numbers, named):
        model = named_model(task)
        if not known and data is named:
            model.config.problem_type = None
        trainer = make_trainer(tmp_path, tokenizer, model=model, task=task, data=data, max_steps=3)
        trainer.eval_dataset = {"a": data, "b": data.select(range(5))}
        textpl.attach(trainer, NoisyLabels()).train()
        assert model.config.problem_type == f"{task}_label_classification"
        evaluated = trainer.evaluate()
        results.append((norms(trainer), evaluated["eval_a_loss"], evaluated["eval_b_loss"]))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-5)
    assert results[1][1:] == pytest.approx(results[0][1:], rel=1e-5)
    assert named["label"][0] != trainer.train_dataset["label"][0], "the user's dataset is left as it is"


def test_a_method_takes_names_too(tmp_path, tokenizer):
    named, numbers = named_rows(tokenizer, "single")
    runs = [
        train(
            tmp_path,
            tokenizer,
            "plain",
            textpl.fixmatch(make_pool()),
            data=data.remove_columns("label_weight"),
            model=m,
        )
        for data, m in ((numbers, named_model()), (named, named_model()))
    ]
    assert norms(runs[0]) == norms(runs[1])


@pytest.mark.parametrize("values", ["ids", "class labels"])
def test_lists_of_ids_become_multi_hot(tmp_path, tokenizer, values):
    numbers = make_data(tokenizer, task="multi")
    ids = [[i for i, x in enumerate(row) if x] for row in numbers["label"]]
    ids[3] = [0, 2]
    hot = np.zeros((24, 3), np.float32)
    for row, found in enumerate(ids):
        hot[row, found] = 1
    data = numbers.remove_columns("label").add_column("label", ids)
    if values == "class labels":
        data = data.cast_column("label", datasets.List(datasets.ClassLabel(names=NAMES)))
    trainer = make_trainer(tmp_path, tokenizer, model=named_model("multi"), task="multi", data=data, max_steps=1)
    trainer.eval_dataset = data.select([3, 4])
    textpl.attach(trainer, NoisyLabels()).train()
    assert trainer.train_dataset["label"][:] == hot.tolist()
    assert trainer.eval_dataset["label"][:] == hot[[3, 4]].tolist()
    wrong = data.remove_columns("label").add_column("label", [*ids[:5], [0, 7], *ids[6:]])
    with pytest.raises(ValueError, match=r"row 5: the model does not know the label 7"):
        train(tmp_path, tokenizer, "plain", NoisyLabels(), "multi", data=wrong)


def test_evaluation_rows_are_read_as_the_training_rows(tmp_path, tokenizer):
    """Alone, two ids of two labels would look like a multi-hot row."""
    ids = [[0], [1], [0, 1], []] * 6
    data = make_data(tokenizer, labels=2).remove_columns("label").add_column("label", ids)
    trainer = make_trainer(tmp_path, tokenizer, model=named_model("multi", names=["a", "b"]), data=data)
    trainer.eval_dataset = data.select([2])
    textpl.attach(trainer, NoisyLabels())
    assert trainer.eval_dataset["label"][:] == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("task", "names", "value", "others", "message"),
    [
        (
            "single",
            NAMES,
            "nice",
            "good",
            r"train_dataset, column 'label', row 7: .*does not know the label 'nice'; .*dull",
        ),
        ("single", NAMES, None, "good", r"column 'label', row 7: the label is None"),
        ("multi", NAMES, ["good", "nice"], ["good"], r"row 7: .*'nice'"),
        ("multi", NAMES, None, ["good"], r"row 7: the label is None"),
        ("multi", NAMES, ["good", None], ["good"], r"row 7: the label is None"),
        ("single", None, "fine", "good", r"row 0: .*'good', as it only has the default names.*id2label=.*problem_type"),
        ("multi", None, ["fine"], ["good"], r"row 0: .*'good', as it only has the default names.*label2id"),
        ("single", NAMES, ["good"], ["good"], r"list of labels \['good'\].*problem_type='multi_label"),
    ],
)
def test_names_that_cannot_be_encoded_are_refused(tmp_path, tokenizer, task, names, value, others, message):
    data = put(make_data(tokenizer, task=task), 7, value, others)
    model = make_model(task) if names is None else named_model(task)
    trainer = make_trainer(tmp_path, tokenizer, model=model, task=task, data=data)
    with pytest.raises(ValueError, match=message):
        textpl.attach(trainer, NoisyLabels())


@pytest.mark.parametrize("values", [["0", "1", "2"], ["LABEL_0", "LABEL_1", "LABEL_2"]])
def test_numbers_as_names_match_default_ones(tmp_path, tokenizer, values):
    numbers = make_data(tokenizer)
    data = numbers.remove_columns("label").add_column("label", [values[i] for i in numbers["label"]])
    trainer = textpl.attach(make_trainer(tmp_path, tokenizer, data=data), NoisyLabels())
    assert trainer.train_dataset["label"][:] == numbers["label"][:]


def test_ids_in_another_order_than_the_models_are_refused(tmp_path, tokenizer):
    order = ["good", "dull", "fine"]
    data = make_data(tokenizer).cast_column("label", datasets.ClassLabel(names=order))
    for plain in (False, True):
        with pytest.raises(
            ValueError, match=r"\['good', 'dull', 'fine'\], the model \['dull'.*align_labels_with_mapping"
        ):
            train(
                tmp_path, tokenizer, "plain", textpl.fixmatch(make_pool()), plain=plain, data=data, model=named_model()
            )
    model = named_model()
    mended = data.align_labels_with_mapping(model.config.label2id, "label")
    train(tmp_path, tokenizer, "plain", textpl.fixmatch(make_pool()), data=mended, model=model)


def test_numbers_that_may_be_names_are_asked_about(tmp_path, tokenizer):
    stars = ["1", "2", "3"]
    data = make_data(tokenizer)
    data = data.remove_columns("label").add_column("label", [1, 2] * 12)
    trainer = make_trainer(tmp_path, tokenizer, model=named_model(names=stars), data=data)
    with pytest.raises(ValueError, match=r"numbers \[1, 2\].*names or ids\?.*Value\('string'\)"):
        textpl.attach(trainer, NoisyLabels())
    trainer.train_dataset = data.cast_column("label", datasets.Value("string"))
    trainer.eval_dataset = None
    textpl.attach(trainer, NoisyLabels())
    assert trainer.train_dataset["label"][:] == [0, 1] * 12


@pytest.mark.parametrize("form", ["struct", "columns", "text", "list"])
def test_weights_of_labels_by_name(tmp_path, tokenizer, form, caplog):
    """The model has the labels in another order than the weights."""
    named, _ = named_rows(tokenizer, "multi")
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 2, (24, 3)).astype(np.float32)
    order = [2, 0, 1]
    data = named.remove_columns("label_weight")
    if form == "struct":
        data = data.add_column("label_weight", [{NAMES[k]: float(row[k]) for k in order} for row in values])
    elif form == "columns":
        for k in order:
            data = data.add_column(f"label_weight_{NAMES[k]}", values[:, k])
    else:
        data = data.add_column("label_weight", [str(r.tolist()) if form == "text" else r.tolist() for r in values])
    reference = make_data(tokenizer, task="multi").add_column("label_weight", values.tolist())
    runs = [
        train(tmp_path, tokenizer, "plain", NoisyLabels(), "multi", data=rows, model=named_model("multi"))
        for rows in (reference, data)
    ]
    assert norms(runs[1]) == pytest.approx(norms(runs[0]), rel=1e-5)
    assert ("do not say which weight is for which label" in caplog.text) == (form in ("text", "list"))


def test_compare_takes_names_and_whole_numbers_on_both_sides(tmp_path, tokenizer):
    def make(seed):
        data = named_rows(tokenizer, "multi")[0].remove_columns("label_weight")
        trainer = make_trainer(tmp_path / str(seed), tokenizer, model=named_model("multi"), data=data, max_steps=2)
        trainer.eval_dataset = cast(make_data(tokenizer, rows=12, task="multi", seed=9), "int8")
        return trainer

    result = textpl.compare(make, lambda seed: textpl.fixmatch(make_pool(task="multi")), seeds=[0])
    assert result.task == "multi"


def test_the_hook_is_put_in_once_and_leaves_the_model_whole(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, max_steps=1)
    textpl.attach(trainer, NoisyLabels())
    textpl.attach(trainer, textpl.fixmatch(make_pool())).train()
    assert len(trainer.model._forward_pre_hooks) == 1
    copied = copy.deepcopy(trainer.model)
    inputs = tokenizer(make_texts(2)[0], return_tensors="pt", padding=True)
    assert torch.isfinite(copied(**inputs, labels=torch.tensor([True, False])).loss)
