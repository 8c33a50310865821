"""Names and descriptions of labels as a signal: the regression that they draw, their vectors, their weight, the API."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

from textpl.cli import app
from textpl.label_descriptions import read_descriptions
from textpl.labeling import label
from textpl.relabeling.label_names import is_code, name_vectors, spelled_out
from textpl.relabeling.logistic import fit_toward, penalized_loss
from textpl.relabeling.priors import shifted_to_rates
from textpl.reports.label_page import label_page

RNG = np.random.default_rng(3)
CENTERS = np.random.default_rng(7).normal(size=(3, 16))
NAMES = ["zero", "one", "two"]


class Points:
    """An encoder for texts that are written-out seeds, "2 17", and for the names of the three centers."""

    name = "points"

    def encode(self, texts, *, progress=True):
        rows = [self._point(text) for text in texts]
        return np.asarray(rows, dtype=np.float32)

    def _point(self, text):
        if text in NAMES:
            return CENTERS[NAMES.index(text)]
        if not text[0].isdigit():
            return np.zeros(16)
        group, seed = map(int, text.split())
        noise = np.random.default_rng([group, seed]).normal(size=16)
        return CENTERS[group] + 1.5 * np.linalg.norm(CENTERS[group]) * noise / 4


def rows(per_class, start=0):
    return [f"{g} {start + i}" for i in range(per_class) for g in range(3)]


def given(per_class, start=0):
    texts = rows(per_class, start)
    return Dataset.from_dict({"text": texts, "label": [NAMES[int(text[0])] for text in texts]})


def right(found, pool):
    return np.mean([found.label_names[i] for i in found.labels] == np.array(given(len(pool) // 3, 500)["label"]))


POOL = Dataset.from_dict({"text": rows(40, 500)})


@pytest.mark.parametrize("classes", [2, 4])
def test_toward_zero_it_is_the_logistic_regression_of_scikit_learn(classes):
    x, y = RNG.normal(size=(40, 6)), RNG.integers(0, classes, 40)
    ours = fit_toward(
        x, np.eye(classes)[y], np.zeros((classes, 6)), strength=3.0, intercept_strength=np.inf, multi=False
    )
    theirs = LogisticRegression(C=3.0, tol=1e-8, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(ours.predict(x), theirs.predict_proba(x), atol=2e-4)
    several = fit_toward(
        x, np.eye(classes)[y], np.zeros((classes, 6)), strength=3.0, intercept_strength=np.inf, multi=True
    )
    each = [LogisticRegression(C=3.0, tol=1e-8).fit(x, y == c).predict_proba(x)[:, 1] for c in range(classes)]
    np.testing.assert_allclose(several.predict(x), np.stack(each, 1), atol=2e-4)


@pytest.mark.parametrize("multi", [False, True])
def test_the_gradient_is_that_of_the_loss(multi):
    x, y, toward = RNG.normal(size=(20, 4)), RNG.dirichlet(np.ones(3), 20), RNG.normal(size=(3, 4))
    loss = penalized_loss(x, y, toward, 2.0, 0.5, multi)
    assert check_grad(lambda v: loss(v)[0], lambda v: loss(v)[1], RNG.normal(size=15)) < 1e-4


def test_without_rows_it_is_the_names_and_rows_draw_it_away():
    toward = RNG.normal(size=(3, 4))
    none = fit_toward(np.zeros((0, 4)), np.zeros((0, 3)), toward, strength=1, intercept_strength=1, multi=False)
    np.testing.assert_allclose(none.weights, toward)
    x, y = RNG.normal(size=(300, 4)), np.eye(3)[RNG.integers(0, 3, 300)]
    strict = fit_toward(x, y, toward, strength=1e-6, intercept_strength=1, multi=False)
    free = fit_toward(x, y, toward, strength=1e6, intercept_strength=1, multi=False)
    np.testing.assert_allclose(strict.weights, toward, atol=1e-3)
    assert np.abs(free.weights - free.weights.mean(0)).max() < 1  # the labels are chance: nothing stays of the names


def test_name_vectors_are_around_the_mean_of_the_texts_and_their_own():
    vectors = RNG.normal(size=(4, 8)) + 3
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    found = name_vectors(vectors, np.array([0, 0, 1, 3]), 4, np.full(8, 0.3))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 1])
    pair = name_vectors(vectors[:2], np.array([0, 1]), 2, np.full(8, 0.3))
    np.testing.assert_allclose(pair[0], -pair[1])
    assert not name_vectors(vectors[[0, 0]], np.array([0, 1]), 2, np.zeros(8)).any()


def test_codes_say_nothing_and_words_do():
    codes = ["0", "class_3", "LABEL_2", "A1", "B", "类别2", "-1", "3.5", "id 17", "class A", "9f86d081884c7d65"]
    assert all(map(is_code, codes)), [name for name in codes if not is_code(name)]
    words = ["sports", "喜", "5 stars", "Sci/Tech", "财经", "4G phones", "A-level exams", "facade"]
    assert not any(map(is_code, words)), [name for name in words if is_code(name)]
    assert spelled_out("computer_graphics") == "computer graphics" and spelled_out("_") == "_"


@pytest.mark.parametrize(
    ("descriptions", "told"),
    [
        ({"zero": "a", "five": "b"}, "there is no label 'five'; nothing describes 'one', 'two'"),
        ({"zero": "a b", "one": "", "two": "c d"}, r"\['one'\]"),
        ({"zero": "a b", "one": "a b", "two": "c d"}, "cannot tell them apart"),
        ("name", '"names" to use the names'),
        (["a", "b", "c"], "is a list"),
    ],
)
def test_descriptions_that_do_not_fit_the_labels_are_refused(descriptions, told):
    with pytest.raises(ValueError, match=told):
        read_descriptions(descriptions, NAMES)


def test_shifted_scores_have_the_given_rates_and_keep_their_order():
    p, rates = RNG.random((500, 3)), np.array([0.02, 0.3, 0.9])
    moved = shifted_to_rates(p, rates)
    np.testing.assert_allclose(moved.mean(0), rates, atol=1e-4)
    np.testing.assert_array_equal(moved[:, 0].argsort(), p[:, 0].argsort())


def test_names_alone_label_and_nothing_is_claimed_to_be_measured():
    found = label(None, POOL, label_names=NAMES, encoder=Points(), progress=False)
    assert right(found, POOL) > 0.9 and found.method == "linear_propagation"
    assert found.expected_precision is None and found.expected_precision_interval is None
    assert any("not known" in line for line in found.report["summary"])
    assert found.to_dict()["clusterability"] is None and "not known" not in label_page(found)[:50]
    assert len(found.to_dataset()) == len(POOL)
    skewed = label(None, POOL, label_names=NAMES, class_prior=[0.8, 0.1, 0.1], encoder=Points(), progress=False)
    assert (skewed.labels == 0).mean() > 0.5


def test_names_help_few_labeled_rows_and_a_label_without_any_row_can_be_found():
    few = given(1).select([0, 1])  # none of label two
    descriptions = {name: name for name in NAMES}
    found = label(few, POOL, label_descriptions=descriptions, encoder=Points(), progress=False)
    alone = label(few, POOL, encoder=Points(), progress=False)
    assert right(found, POOL) > max(0.9, right(alone, POOL))
    assert found.report["label_descriptions"]["weight"] == 10 and not found.report["label_descriptions"]["measured"]


def test_names_that_mislead_are_left_out_and_the_report_says_so():
    wrong = {"zero": "one", "one": "two", "two": "zero"}
    found = label(given(20), POOL, label_descriptions=wrong, encoder=Points(), method="linear", progress=False)
    plain = label(given(20), POOL, encoder=Points(), method="linear", progress=False)
    assert found.report["label_descriptions"]["weight"] == 0
    np.testing.assert_array_equal(found.labels, plain.labels)
    assert "better without" in str(found)


def test_codes_are_not_used_beside_labeled_rows_and_refused_without():
    coded = given(6).map(lambda row: {"label": f"class_{NAMES.index(row['label'])}"})
    found = label(coded, POOL, label_descriptions="names", encoder=Points(), progress=False)
    assert "only codes" in str(found) and found.report["label_descriptions"]["weight"] == 0
    with pytest.raises(ValueError, match="only codes"):
        label(None, POOL, label_names=["class_0", "class_1"], encoder=Points(), progress=False)
    with pytest.raises(ValueError, match="leave it out"):
        label(None, POOL, label_names=NAMES, groups="author", encoder=Points(), progress=False)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "at least two labels"),
        ({"label_names": ["zero", "zero"]}, "more than once"),
        ({"label_names": NAMES, "multi_label": True}, "Give class_prior"),
        ({"label_names": NAMES, "method": "knn_dv"}, "does not use label names"),
        ({"label_names": ["blue", "red"]}, "knows no word"),
        ({"label_names": NAMES, "class_prior": "gold"}, "without a gold row"),
    ],
)
def test_what_cannot_be_done_without_labeled_rows_is_told(settings, told):
    with pytest.raises(ValueError, match=told):
        label(None, POOL, encoder=Points(), progress=False, **settings)


def test_no_precision_is_promised_without_labeled_rows(tmp_path):
    found = label(None, POOL, label_names=NAMES, encoder=Points(), progress=False)
    assert found.rethreshold(0.5).expected_precision is None
    with pytest.raises(ValueError, match="no precision can be expected"):
        found.rethreshold(precision=0.9)
    pool, out = tmp_path / "pool.csv", tmp_path / "out.csv"
    pool.write_text("text\nsports news\nmarket news\n")
    command = ["label", "--unlabeled", str(pool), "--label-names", "sports,market", "--precision", "0.9"]
    result = CliRunner().invoke(app, [*command, "--encoder", "lsa", "--out", str(out)])
    assert result.exit_code == 1 and "no precision can be expected" in result.output.replace("\n", " ")
    assert not out.exists()


def test_what_penalized_intercepts_bring_is_not_credited_to_names():
    class Noisier(Points):
        def _point(self, text):
            point = super()._point(text)
            return point if text in NAMES else point + 0.7 * (point - CENTERS[int(text[0])])

    texts = [f"{g} {i}" for g, count in enumerate((14, 4, 2)) for i in range(count)]
    uneven = Dataset.from_dict({"text": texts, "label": [NAMES[int(text[0])] for text in texts]})
    found = label(uneven, POOL, label_descriptions="names", encoder=Noisier(), progress=False)
    alone = found.report["label_descriptions"]["intercepts_alone"]
    without = {cell["weight"]: cell["accuracy"] for cell in found.report["label_descriptions"]["by_weight"]}[0]
    assert alone != without and f"the penalty on intercepts alone {100 * (alone - without):+.1f}" in str(found)


def test_labeled_rows_of_one_label_stand_beside_descriptions_of_all():
    one = Dataset.from_dict({"text": ["1 1", "1 2"], "label": ["one", "one"]})
    found = label(one, POOL, label_descriptions={n: n for n in NAMES}, encoder=Points(), progress=False)
    assert set(found.label_names) == set(NAMES) and right(found, POOL) > 0.9


def test_several_labels_without_labeled_rows_rest_on_the_given_rates():
    settings = {"label_names": NAMES, "multi_label": True, "class_prior": [1 / 3] * 3}
    found = label(None, POOL, encoder=Points(), progress=False, **settings)
    assert found.labels.shape == (120, 3) and found.labels.sum() == 120
    truth = np.eye(3)[[int(text[0]) for text in POOL["text"]]]
    assert (found.labels == truth).mean() > 0.9
    assert "class_prior" in str(found)


def test_the_command_labels_without_a_labeled_file(tmp_path):
    pool, out = tmp_path / "pool.csv", tmp_path / "out.csv"
    pool.write_text("text\n" + "\n".join(["sports news", "market news", "sports game", "market price"] * 3))
    names = tmp_path / "names.txt"
    names.write_text("sports\nmarket\n")
    command = ["label", "--unlabeled", str(pool), "--label-names", str(names), "--encoder", "lsa", "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "not measured" in done.output and "sports" in out.read_text()
    meanings = tmp_path / "meanings.yaml"
    meanings.write_text("sports: sports game\nmarkets: [market price, market news]\n")
    command[3:5] = ["--label-descriptions", str(meanings)]
    assert (
        CliRunner().invoke(app, [*command[:3], *command[3:5], *command[5:-1], str(tmp_path / "b.csv")]).exit_code == 0
    )
