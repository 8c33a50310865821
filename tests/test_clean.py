"""`find_label_issues`: what people bring, good and bad, and a report that fits it."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from scipy.sparse import csr_matrix

import textpl
from textpl.label_issues.find import find_label_issues
from textpl.reading.names import split_labels

NAMES = ["joy", "anger", "fear"]
WORDS = [["glad", "happy", "smile"], ["angry", "rage", "furious"], ["afraid", "scared", "terror"]]
FILL = ["the", "day", "was", "long", "and", "then", "we", "went", "home", "again"]


def make(rows=120, seed=0, rate=0.4):
    """Texts whose words tell the labels: texts, multi-hot."""
    rng = np.random.default_rng(seed)
    y = (rng.random((rows, 3)) < rate).astype(np.int8)
    texts = []
    for i, row in enumerate(y):
        words = [*rng.choice(FILL, 5), *(rng.choice(WORDS[k]) for k in np.flatnonzero(row)), f"n{i}"]
        rng.shuffle(words)
        texts.append(" ".join(words))
    return texts, y


def probabilities(y, seed=0):
    noise = np.random.default_rng(seed).uniform(0, 0.15, y.shape)
    return np.abs(y - noise).astype(np.float32)


def lists(y, names=None):
    return [[names[k] if names else int(k) for k in np.flatnonzero(row)] for row in y]


def run(*args, **kw):
    return find_label_issues(*args, **({"encoder": "lsa", "progress": False} | kw))


# ----------------------------------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    "form",
    [
        lambda y: y,
        lambda y: y.astype(float),
        lambda y: y.astype(bool),
        csr_matrix,
        lists,
        lambda y: lists(y, NAMES),
        lambda y: [set(row) for row in lists(y)],
    ],
)
def test_every_form_of_labels_gives_the_same_report(form):
    _, y = make()
    p = probabilities(y)
    wanted = run(labels=y, pred_probs=p, encoder=None)
    found = run(labels=form(y), pred_probs=p, encoder=None, label_names=NAMES if form(y) is not y else None)
    np.testing.assert_array_equal(found.p_error, wanted.p_error)
    assert found.p_error.shape == found.flagged.shape == found.suggested.shape == y.shape


@pytest.mark.parametrize("kind", ["names", "ids", "multi-hot", "class labels"])
def test_dataset_columns(kind):
    texts, y = make()
    column = {"names": lists(y, NAMES), "ids": lists(y), "multi-hot": y.tolist(), "class labels": lists(y)}[kind]
    data = Dataset.from_dict({"text": texts, "tags": column})
    if kind == "class labels":
        data = data.cast(Features({"text": Value("string"), "tags": List(ClassLabel(names=NAMES))}))
    report = run(data, label_column="tags")
    given = y if kind != "names" else y[:, np.argsort(NAMES)]
    np.testing.assert_array_equal(report.given, given)
    assert report.p_error.shape == (120, 3) and np.isfinite(report.p_error).all()
    if kind == "class labels":
        assert report.label_names == tuple(NAMES)
    cells = report.cells
    assert cells.num_rows == report.flagged.sum() and "text" in cells.column_names


def test_single_label_and_its_noise():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 3, 150)
    texts = [f"{rng.choice(WORDS[k])} {' '.join(rng.choice(FILL, 4))} n{i}" for i, k in enumerate(ids)]
    wrong = ids.copy()
    wrong[:12] = (wrong[:12] + 1) % 3
    data = Dataset.from_dict({"text": texts, "label": [NAMES[k] for k in wrong]})
    report = run(data)
    assert report.p_error.shape == (150,) and not report.multi
    assert report.p_error[:12].mean() > report.p_error[12:].mean()
    with pytest.raises(ValueError, match="multi-label"):
        run(data, noise="missing")
    by_array = run(labels=wrong, pred_probs=np.eye(3)[ids] * 0.85 + 0.05, encoder=None)
    assert by_array.flagged[:12].mean() > 0.8 and by_array.flagged[12:].mean() < 0.1


def test_missing_and_wrong_labels_are_found():
    texts, y = make(400)
    z = y.copy()
    rows, cols = np.nonzero(y)
    hit = np.random.default_rng(1).random(len(rows)) < 0.15
    z[rows[hit], cols[hit]] = 0
    report = run(Dataset.from_dict({"text": texts, "label": z.tolist()}), noise="missing")
    assert not report.flagged[z == 1].any()
    assert (y != z)[report.flagged].mean() > 0.5
    assert set(report.cells["kind"]) == {"missing"}


def test_no_noise_flags_next_to_nothing():
    texts, y = make(400)
    data = Dataset.from_dict({"text": texts, "label": y.tolist()})
    assert run(data).flagged.mean() < 0.02
    assert run(labels=y, pred_probs=probabilities(y), encoder=None).flagged.mean() < 0.01
    assert run(labels=y, pred_probs=y.astype(float), encoder=None).flagged.mean() < 0.01


def test_texts_that_tell_nothing_flag_next_to_nothing():
    """Hard is not wrong: labels that no text explains are not all errors."""
    rng = np.random.default_rng(0)
    data = Dataset.from_dict(
        {"text": [" ".join(rng.choice(FILL, 6)) + f" n{i}" for i in range(300)], "label": make(300, 3)[1].tolist()}
    )
    assert run(data).flagged.mean() < 0.1


def test_embeddings_instead_of_an_encoder():
    texts, y = make()
    vectors = np.concatenate([y + 0.1, np.random.default_rng(0).random((120, 4))], 1)
    report = run(labels=y, embeddings=vectors)
    assert report.neighbors is not None and report.about["encoder"] == "given embeddings"
    with_texts = run(Dataset.from_dict({"text": texts, "label": y.tolist()}), embeddings=vectors)
    assert with_texts.p_error.shape == y.shape
    with pytest.raises(ValueError, match="119"):
        run(labels=y, embeddings=vectors[:119])


def test_leaks_from_a_test_split():
    texts, y = make()
    data = Dataset.from_dict({"text": texts, "label": y.tolist()})
    test = Dataset.from_dict({"text": [texts[5], "nothing like it"], "label": [[1, 0, 0], [0, 1, 0]]})
    report = run(data, test=test)
    assert "1 test rows are also in train (1 exactly)" in report.summary()
    assert "No leaks found" in run(data, test=test.select([1])).summary() and "leak" not in run(data).summary()
    with pytest.raises(ValueError, match="leaks are looked for by text"):
        run(labels=y, pred_probs=probabilities(y), encoder=None, test=test)


# ----------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p[:-1], "119"),
        (lambda p: p[:, :2], "columns"),
        (lambda p: p[:, 0], "shape"),
        (lambda p: p * 3, "outside"),
        (lambda p: -p, "outside"),
        (lambda p: np.where(np.arange(120)[:, None] == 7, np.nan, p), "7"),
    ],
)
def test_probabilities_that_do_not_fit(spoil, message):
    _, y = make()
    with pytest.raises(ValueError, match=message):
        run(labels=y, pred_probs=spoil(probabilities(y)), encoder=None)


def test_single_label_probabilities_sum_to_one():
    with pytest.raises(ValueError, match="sum"):
        run(labels=[0, 1, 0], pred_probs=[[0.5, 0.1], [0.5, 0.5], [1, 0]], encoder=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give a dataset"),
        ({"labels": []}, "no rows"),
        ({"labels": [[0, 1], [1, 1]]}, "pred_probs"),
        ({"labels": [[0, 2.5], [1, 0]], "pred_probs": [[0.1, 0.2], [0.3, 0.4]]}, "."),
        ({"labels": np.array([[0, 2], [1, 0]]), "pred_probs": [[0.1, 0.2], [0.3, 0.4]]}, "0 or 1"),
        ({"labels": [0, 1], "pred_probs": [[0.1, 0.9], [0.3, 0.7]], "method": "magic"}, "magic"),
        ({"labels": [0, 1], "pred_probs": [[0.1, 0.9], [0.3, 0.7]], "noise": "loud"}, "loud"),
        ({"dataset": {"text": ["a"]}}, "Dataset.from_dict"),
        ({"dataset": Dataset.from_dict({"text": [], "label": []})}, "no rows"),
        ({"dataset": Dataset.from_dict({"body": ["a", "b"], "label": [0, 1]})}, "text_column"),
        ({"dataset": Dataset.from_dict({"text": ["a", "b"], "y": [0, 1]})}, "label_column"),
        ({"dataset": Dataset.from_dict({"text": ["a", None], "label": [0, 1]})}, "row 1"),
        ({"dataset": Dataset.from_dict({"text": ["a", "b"], "label": [0, None]})}, "row 1"),
        ({"dataset": Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}), "labels": [0, 1, 1]}, "3 labels"),
        ({"dataset": Dataset.from_dict({"text": ["a"], "label": [0]})}, "every row has the label 0"),
        ({"dataset": Dataset.from_dict({"text": ["a"], "label": [[0, 1]]})}, "1 distinct texts"),
        ({"labels": np.zeros((3, 0)), "pred_probs": np.zeros((3, 0))}, "no columns"),
        ({"labels": [[], []], "pred_probs": [[0.1, 0.2], [0.3, 0.4]]}, "every list of labels is empty"),
        (
            {
                "dataset": Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 1]}),
                "test": Dataset.from_dict({"t": ["a"]}),
            },
            "columns of test are",
        ),
        (
            {
                "dataset": Dataset.from_dict({"text": ["a", "b", "c"], "label": [0, 1, 1]}),
                "test": Dataset.from_dict({"text": []}),
            },
            "test: the dataset has no rows",
        ),
        ({"dataset": Dataset.from_dict({"text": ["a a"] * 6, "label": [[0], [1], [0], [1], [0], [1]]})}, "distinct"),
        ({"dataset": Dataset.from_dict({"text": ["a", "b"], "label": ["['joy']", "joy"]})}, "is no list in brackets"),
    ],
)
def test_errors_say_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(**{"encoder": None} | arguments if "labels" in arguments and "dataset" not in arguments else arguments)


def test_one_row_with_probabilities():
    report = run(labels=np.array([[1, 0, 1]]), pred_probs=[[0.9, 0.1, 0.2]], encoder=None)
    assert report.p_error.shape == (1, 3) and np.isfinite(report.p_error).all()
    data = Dataset.from_dict({"text": ["one row"], "label": [[1, 0, 1]]})
    assert run(data, pred_probs=[[0.9, 0.1, 0.2]]).p_error.shape == (1, 3)


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_few_rows(rows):
    """Also of two labels that are always given together with nothing else."""
    texts, y = make(rows, seed=3, rate=0.5)
    y[0], y[1] = [1, 0, 1], [0, 1, 0]
    report = run(Dataset.from_dict({"text": texts, "label": y.tolist()}))
    assert report.p_error.shape == (rows, 3) and np.isfinite(report.p_error).all()


def test_labels_that_are_all_the_same_or_all_different():
    texts, _ = make(4)
    for labels in (["joy"] * 4, [1] * 4, [0] * 4):
        with pytest.raises(ValueError, match=r"every row has the label .*pred_probs"):
            run(Dataset.from_dict({"text": texts, "label": labels}))
    with pytest.raises(ValueError, match="Every label is given once.*pred_probs"):
        run(Dataset.from_dict({"text": texts[:2], "label": ["joy", "fear"]}))
    known = run(labels=["joy"] * 4, label_names=["joy", "fear"], pred_probs=[[0.9, 0.1]] * 4, encoder=None)
    assert not known.flagged.any() and "'fear'" in known.summary()


def test_labels_in_one_string_are_read_as_lists():
    texts, y = make(30)
    joined = ["; ".join(row) or "none" for row in lists(y, NAMES)]
    plain = textpl.LabelFormat(unlabeled_values=())
    for arguments in ({"dataset": Dataset.from_dict({"text": texts, "label": joined})}, {"labels": joined}):
        with pytest.raises(ValueError, match=r"labels in .* are 'none': a class of their own, or no label\?"):
            run(**arguments, embeddings=np.ones((30, 2)) + np.eye(30)[:, :2])
        given = run(**arguments, label_format=plain, embeddings=np.ones((30, 2)) + np.eye(30)[:, :2]).given
        assert given[:, [2, 0, 1]].tolist() == y.tolist() and given[:, 3].tolist() == (y.sum(1) == 0).tolist()
    split = split_labels(joined, ";")
    assert run(Dataset.from_dict({"text": texts, "label": split}), label_format=plain).p_error.shape == (30, 4)


def test_arrays_get_the_findings_that_need_no_text():
    _, y = make(200)
    y = np.concatenate([y, np.zeros((200, 1), np.int8)], 1)
    vectors = np.concatenate([y[:, :3] + 0.1, np.random.default_rng(0).random((200, 4))], 1)
    vectors[7], y[7] = vectors[3], 1 - y[3]
    report = run(labels=y, embeddings=vectors)
    summary = report.summary()
    assert "2 rows have the same embedding as another row" in summary and "have different labels" in summary
    assert report.problems.outliers is not None and report.problems.labels.counts.tolist() == y.sum(0).tolist()
    bare = run(labels=y[:, :3], pred_probs=probabilities(y[:, :3]), encoder=None)
    assert bare.problems.outliers is None and bare.problems.labels.imbalance > 1


def test_few_rows_per_label_are_told():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 2, 60)
    texts = [f"{rng.choice(WORDS[k])} n{i}" for i, k in enumerate(ids)]
    report = run(Dataset.from_dict({"text": texts, "label": ids.tolist()}))
    assert "fewer than 200 rows per label" in report.summary()
    p = np.tile(np.eye(2)[ids] * 0.8 + 0.1, (10, 1))
    assert "fewer than" not in run(labels=np.tile(ids, 10), pred_probs=p, encoder=None).summary()


def test_confident_learning_says_that_its_count_is_not_calibrated():
    pytest.importorskip("cleanlab")
    _, y = make()
    y[:10] = 1 - y[:10]
    report = run(labels=y, pred_probs=probabilities(make()[1]), encoder=None, method="confident")
    assert not report.calibrated and report.flagged.any() and report.to_dict()["calibrated"] is False
    assert "cleanlab's count, not calibrated" in report.summary() and "cells masked. How many" in report.summary()
    assert "expected" not in report.summary().lower()
    assert run(labels=y, pred_probs=probabilities(make()[1]), encoder=None).calibrated


def test_one_label():
    texts, y = make()
    report = run(Dataset.from_dict({"text": texts}), labels=y[:, :1])
    assert report.p_error.shape == (120, 1) and report.flagged.mean() < 0.1
    assert (report.detection.partner == -1).all()


def test_labels_never_and_always_given_and_two_positives():
    texts, y = make()
    y = np.concatenate([y, np.zeros((120, 1)), np.ones((120, 1)), np.zeros((120, 1))], 1).astype(np.int8)
    y[[4, 90], 5] = 1
    report = run(Dataset.from_dict({"text": texts, "label": y.tolist()}))
    assert np.isfinite(report.p_error).all() and not report.flagged[:, 3:5].any()
    bare = run(labels=y, pred_probs=np.clip(probabilities(y), 0, 1), encoder=None)
    assert not bare.flagged[:, 3:5].any()


@pytest.mark.parametrize("value", [0, 1])
def test_every_cell_the_same(value):
    y = np.full((50, 3), value, np.int8)
    report = run(labels=y, pred_probs=np.random.default_rng(0).random((50, 3)), encoder=None)
    assert np.isfinite(report.p_error).all() and not report.flagged.any()
    texts, _ = make(50)
    assert not run(Dataset.from_dict({"text": texts, "label": y.tolist()})).flagged.any()


def test_stray_spaces_are_told(caplog):
    texts, y = make()
    named = lists(y, NAMES)
    named[3] = ["joy ", *named[3][1:]]
    report = run(labels=named, pred_probs=None, embeddings=np.random.default_rng(0).random((120, 5)))
    assert len(report.label_names) == 4 and "joy " in caplog.text
    caplog.clear()
    summary = run(Dataset.from_dict({"text": texts, "label": named})).summary()
    assert "joy" in summary + caplog.text


def test_the_dataset_stays_as_it_is():
    texts, y = make()
    data = Dataset.from_dict({"text": texts, "label": y.tolist()})
    before = data[:]
    run(data)
    assert data[:] == before


def test_probabilities_can_be_taken_as_they_are():
    rng = np.random.default_rng(0)
    p = rng.random((400, 6)).astype(np.float32) ** 3
    labels = (rng.random(p.shape) < p).astype(np.int8)
    bare = find_label_issues(labels=labels, pred_probs=p, encoder=None, context=False)
    assert bare.detection.info["context"] == "none" and bare.p_error.shape == labels.shape
