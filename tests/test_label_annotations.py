"""`textpl.label(annotations=...)`: annotators beside the graph, each for what it proves on labeled rows."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from scipy.optimize import minimize

from textpl.labeling import label
from textpl.relabeling.stacking import LARGEST, SPREAD, fit_exponents, folds_of, stacked

CENTERS = np.random.default_rng(7).normal(size=(3, 16))
NAMES = ("zero", "one", "two")


class Points:
    """An encoder for texts that are written-out seeds, "2 17", near three centers that overlap."""

    name = "points"

    def encode(self, texts, *, progress=True):
        return np.asarray([self._point(*map(int, text.split())) for text in texts], dtype=np.float32)

    def _point(self, group, seed):
        noise = np.random.default_rng([group, seed]).normal(size=16)
        return CENTERS[group] + 2.5 * np.linalg.norm(CENTERS[group]) * noise / 4


def data(per_class, start, accuracy=0.9, seed=0, **columns):
    rng, texts = np.random.default_rng(seed), [f"{g} {start + i}" for i in range(per_class) for g in range(3)]
    true = np.array([int(text[0]) for text in texts])
    said = np.where(rng.random(len(true)) < accuracy, true, (true + rng.integers(1, 3, len(true))) % 3)
    made = {"text": texts, "label": [NAMES[i] for i in true], "llm": [NAMES[i] for i in said]}
    return Dataset.from_dict(made | {name: [value] * len(texts) for name, value in columns.items()})


LABELED, POOL = data(40, 0, seed=1, same="one"), data(100, 1000, seed=2, same="one").remove_columns("label")
TRUE = np.array([int(text[0]) for text in POOL["text"]])
SETTINGS = {"encoder": Points(), "method": "linear_propagation", "progress": False}


def right(found):
    return float((np.array([NAMES.index(n) for n in found.label_names])[found.labels] == TRUE).mean())


@pytest.fixture(scope="module")
def alone():
    return label(LABELED, POOL, **SETTINGS)


@pytest.fixture(scope="module")
def both():
    return label(LABELED, POOL, annotations=["llm", "same"], **SETTINGS)


def test_a_good_annotator_helps_and_is_reported(alone, both):
    said = float((np.array([NAMES.index(name) for name in POOL["llm"]]) == TRUE).mean())
    assert right(both) > max(right(alone), said) - 0.02
    llm, same = both.report["annotations"]["annotators"]
    assert llm["name"] == "llm" and llm["interval"][0] < 0.9 < llm["interval"][1] and llm["gold_rows"] == 120
    assert llm["weight"] > 0.5
    assert same["says_always_the_same"] and same["weight"] == 0 and "tells nothing" in str(both)
    assert both.method == "linear_propagation with annotators"
    assert set(both.to_dataset()["label_source"]) == {both.method}


def test_what_is_expected_is_measured_with_the_annotators(alone, both):
    assert abs(both.expected_precision - right(both)) < 0.12
    low, high = both.expected_precision_interval
    assert low < right(both) < high
    np.testing.assert_allclose(both.probabilities.sum(1), 1, atol=1e-5)


def test_an_annotator_who_guesses_changes_little(alone):
    rng = np.random.default_rng(5)
    guesses = {"guess": rng.integers(0, 3, len(LABELED) + len(POOL)).tolist()}
    found = label(LABELED, POOL, annotations=guesses, **SETTINGS)
    assert right(found) > right(alone) - 0.03


def test_one_that_has_seen_the_pool_only_is_judged_by_the_graph():
    found = label(LABELED.remove_columns("llm"), POOL, annotations="llm", class_prior="uniform", **SETTINGS)
    (llm,) = found.report["annotations"]["annotators"]
    assert llm["gold_rows"] == 0 and llm["interval"] == [None, None] and 0.7 < llm["accuracy"] < 1
    np.testing.assert_allclose(np.bincount(found.labels) / len(POOL), 1 / 3, atol=0.05)


def test_several_labels_per_row():
    def lists(dataset):
        return dataset.map(lambda row: {"llm": [row["llm"]], "label": [row.get("label") or "zero"]})

    settings = SETTINGS | {"method": "linear", "class_prior": [1 / 3] * 3}
    labeled, pool = lists(LABELED), lists(POOL).remove_columns("label")
    found = label(labeled, pool, annotations="llm", **settings)
    plain = label(labeled, pool, **settings)
    truth = np.array([[NAMES[i] == name for name in found.label_names] for i in TRUE])
    assert (found.labels == truth).mean() > (plain.labels == truth).mean()


@pytest.mark.parametrize(
    ("annotations", "told"),
    [
        ("gpt", "gpt"),
        (7, "name of a column"),
        ({"a": ["zero"]}, "300"),
        ({"a": ["purple"] * 300}, "none of the labels"),
    ],
)
def test_annotations_that_cannot_be_used_are_told(annotations, told):
    with pytest.raises(ValueError, match=told):
        label(LABELED, POOL, annotations=annotations, **SETTINGS)


@pytest.mark.parametrize("multi", [False, True])
def test_exponents_minimize_the_penalized_loss(multi):
    rng = np.random.default_rng(0)
    logs, targets = rng.normal(size=(3, 60, 4)), np.eye(4)[rng.integers(0, 4, 60)]
    logs[0] += 2 * targets

    def loss(weights):
        p = np.clip(stacked(logs, weights, multi=multi), 1e-12, 1 - 1e-12)
        value = -(targets * np.log(p)).sum() - (((1 - targets) * np.log1p(-p)).sum() if multi else 0)
        return value + ((weights - 1) ** 2).sum() / (2 * SPREAD**2)

    found = fit_exponents(logs, targets, multi=multi)
    other = minimize(loss, np.ones(3), bounds=[(0, LARGEST)] * 3, method="L-BFGS-B").x
    np.testing.assert_allclose(found, other, atol=1e-2)
    assert found[0] > found[1]
    np.testing.assert_allclose(fit_exponents(logs[:, :0], targets[:0], multi=multi), 1)


def test_units_stay_in_one_fold():
    units = np.repeat(np.arange(20), 3)
    folds = folds_of(units, 0)
    assert all(len(set(folds[units == unit])) == 1 for unit in range(20)) and set(folds) == set(range(5))


@pytest.mark.parametrize(("accuracy", "rest"), [(0.6, 2), (0.9, 40)])
def test_a_label_without_labeled_rows_has_no_even_chance(accuracy, rest):
    """Of three labels one is in no labeled row: annotators do not fill the pool with it."""
    labeled = Dataset.from_dict(
        {"text": [f"0 {i}" for i in range(12)] + [f"1 {i}" for i in range(4)], "label": ["zero"] * 12 + ["one"] * 4}
    )
    counts, rng = (170, 28, rest), np.random.default_rng(3)
    true = np.repeat(np.arange(3), counts)
    texts = [f"{g} {1000 + i}" for g, count in enumerate(counts) for i in range(count)]
    said = np.where(rng.random(len(true)) < accuracy, true, (true + rng.integers(1, 3, len(true))) % 3)
    pool = Dataset.from_dict({"text": texts, "llm": [NAMES[i] for i in said]})
    settings = SETTINGS | {"method": "linear_smoothed", "label_names": list(NAMES)}
    before, after = label(labeled, pool, **settings), label(labeled, pool, annotations="llm", **settings)
    assert list(after.label_names) == list(NAMES)
    assert (after.labels == true).mean() > (before.labels == true).mean() - 0.01
