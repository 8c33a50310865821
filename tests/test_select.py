"""`textpl.select`: strategies on arrays, what is never chosen, weights and rates, bad input."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from datasets import Dataset
from scipy.stats import norm
from sklearn.cluster import KMeans

import textpl
from textpl.selecting.candidates import without_repeats
from textpl.selecting.cold_start import central, covering, facility_location, in_order, typical
from textpl.selecting.kmeans import clusters
from textpl.selecting.next_round import badge, doubt, gradients
from textpl.selecting.rates import weighted_rates
from textpl.selecting.strategies import BY_DOUBT, COLD, STRATEGIES, stands_for

WORDS = {
    "chess": ["chess", "rook", "pawn", "queen", "mate", "board", "king", "knight"],
    "rain": ["rain", "cloud", "storm", "wet", "wind", "umbrella", "thunder", "drizzle"],
    "tea": ["tea", "cup", "leaf", "pot", "steam", "kettle", "milk", "brew"],
}
NAMES = list(WORDS)


def topics(rows=90, seed=0):
    """Texts of three topics, one after the other in turn, and their topics."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS[NAMES[i % 3]], 6)) + f" {i}" for i in range(rows)], [
        NAMES[i % 3] for i in range(rows)
    ]


def pool_of(texts):
    return Dataset.from_dict({"text": texts})


def blobs(sizes=(60, 30, 10), seed=0):
    """Unit vectors around as many directions, the largest first, and whose they are."""
    rng = np.random.default_rng(seed)
    means = np.eye(len(sizes), 8)
    x = np.concatenate([means[k] + 0.15 * rng.normal(size=(size, 8)) for k, size in enumerate(sizes)])
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), np.repeat(np.arange(len(sizes)), sizes)


def choose(texts, budget, **settings):
    return textpl.select(pool_of(texts), budget, encoder="lsa", progress=False, **settings)


def test_kmeans_is_as_good_as_scikit_learn():
    x, _ = blobs((200, 150, 100, 50), seed=1)
    ours = clusters(x, 6, np.random.default_rng(0))
    theirs = KMeans(6, n_init=10, random_state=0).fit(x)
    assert ours.distance.sum() <= 1.05 * theirs.inertia_
    squares = ((x[:, None] - ours.centers[None]) ** 2).sum(-1)
    assert np.array_equal(ours.of, squares.argmin(1))
    np.testing.assert_allclose(ours.distance, squares.min(1), atol=1e-5)


def test_fixed_centers_stay_and_weights_count():
    x, of = blobs()
    fixed = x[of == 0].mean(0, keepdims=True)
    found = clusters(x, 2, np.random.default_rng(0), fixed=fixed)
    np.testing.assert_array_equal(found.centers[0], fixed[0])
    assert len(set(found.of[of == 0])) == 1 and found.of[of == 0][0] == 0
    counted = clusters(x, 1, np.random.default_rng(0), weights=(of == 2).astype(float))
    np.testing.assert_allclose(counted.centers[0], x[of == 2].mean(0), atol=1e-5)


@pytest.mark.parametrize("function", [central, facility_location, typical, covering])
def test_every_cluster_is_found(function):
    x, of = blobs()
    allowed = np.ones(len(x), bool)
    rows = function(x, 3, allowed, x[:0], np.random.default_rng(0))
    assert sorted(of[rows]) == [0, 1, 2]
    allowed[rows] = False
    again = function(x, 3, allowed, x[:0], np.random.default_rng(0))
    assert not set(again) & set(rows) and len(set(again)) == 3


@pytest.mark.parametrize("function", [central, facility_location, typical])
def test_what_is_known_is_left_alone(function):
    x, of = blobs()
    rows = function(x, 2, of >= 0, x[of == 0][:1], np.random.default_rng(0))
    assert sorted(of[rows]) == [1, 2]


def test_facility_location_is_the_greedy_choice():
    x, _ = blobs((20, 15, 10), seed=3)
    similar = np.maximum(x @ x.T, 0)
    chosen = []
    for _ in range(5):
        value = [-1 if r in chosen else np.maximum(similar[[*chosen, r]].max(0), 0).sum() for r in range(len(x))]
        chosen.append(int(np.argmax(value)))
    found = facility_location(x, 5, np.ones(len(x), bool), x[:0], np.random.default_rng(0))
    cover = lambda rows: similar[rows].max(0).sum()  # noqa: E731
    assert cover(found) == pytest.approx(cover(chosen), rel=1e-4)


def test_the_order_begins_with_what_covers_most():
    x, of = blobs()
    rows = np.array([99, 70, 0])  # of the smallest cluster first
    assert of[in_order(x, rows, x[:0])].tolist() == [0, 1, 2]


def test_badge_draws_by_distances_of_outer_products():
    x, _ = blobs((12, 8), seed=2)
    p = np.random.default_rng(0).dirichlet(np.ones(3), len(x)).astype(np.float32)
    embedded = (gradients(p, False)[:, :, None] * x[:, None]).reshape(len(x), -1)
    rng, chosen = np.random.default_rng(5), [int((embedded**2).sum(1).argmax())]
    while len(chosen) < 4:
        far = ((embedded[:, None] - embedded[chosen]) ** 2).sum(-1).min(1)
        chosen.append(int(rng.choice(len(x), p=far / far.sum())))
    found = badge(x, p, 4, np.ones(len(x), bool), np.random.default_rng(5), multi=False)
    assert found.tolist() == chosen


def test_doubt():
    assert doubt(np.array([[0.5, 0.5], [0.9, 0.1], [0, 0]]), False) == pytest.approx([1, 0.2, 1])
    several = doubt(np.array([[0.5, 0.0], [0.0, 0.02], [0.0, 0.0]]), True)
    assert several == pytest.approx([1, 1, 0])  # a rare label counts as much


def test_rows_stand_for_their_cells():
    x, of = blobs()
    rows = np.array([0, 60, 90])
    assert stands_for(np.concatenate([x, np.zeros((5, 8), np.float32)]), rows).tolist() == [60, 30, 10]


def test_rates_are_weighted_with_wilson_at_the_effective_size():
    targets, weights = np.eye(2)[[0, 1, 1]], np.array([0.5, 0.25, 0.25])
    found = weighted_rates(targets, weights, ("a", "b"))
    n = 1 / (0.5**2 + 2 * 0.25**2)
    z = norm.ppf(0.975)
    center, half = (0.5 * n + z**2 / 2) / (n + z**2), z * np.sqrt(n * 0.25 + z**2 / 4) / (n + z**2)
    assert found.effective == pytest.approx(n) and found.rates.tolist() == [0.5, 0.5]
    assert found.low[0] == pytest.approx(center - half) and found.high[0] == pytest.approx(center + half)


def test_rates_of_rows_drawn_at_random_hold():
    rng, true = np.random.default_rng(0), np.array([0.7, 0.2, 0.1])
    held = []
    for _ in range(300):
        found = weighted_rates(np.eye(3)[rng.choice(3, 50, p=true)], np.full(50, 0.02), tuple("abc"))
        held.append((found.low <= true) & (true <= found.high))
    assert 0.91 < np.mean(held) < 0.99


def test_rates_by_weights_are_nearer_than_by_counts():
    x, of = blobs((400, 80, 20), seed=1)
    rows = central(x, 12, np.ones(len(x), bool), x[:0], np.random.default_rng(0))
    size = stands_for(x, rows)
    found = weighted_rates(np.eye(3)[of[rows]], size / size.sum(), tuple("abc"))
    true, counted = np.array([0.8, 0.16, 0.04]), np.bincount(of[rows], minlength=3) / len(rows)
    assert np.abs(found.rates - true).sum() < np.abs(counted - true).sum()
    assert ((found.low <= true) & (true <= found.high)).all()


def test_class_rates_leave_out_what_has_no_weight():
    rows = Dataset.from_dict({"label": ["a", "b", "", "b"], "weight": ["0,5", "0.25", "0.25", ""]})
    found = textpl.class_rates(rows)
    assert found.label_names == ("a", "b") and found.rates == pytest.approx([2 / 3, 1 / 3])
    assert (found.rows, found.left_out, found.covered) == (2, 1, 0.75)
    assert "75 % of the pool" in str(found)
    with pytest.raises(ValueError, match="row 0: 'x' is no share"):
        textpl.class_rates(Dataset.from_dict({"label": ["a", "b"], "weight": ["x", "1"]}))
    with pytest.raises(ValueError, match="No labeled row has a weight"):
        textpl.class_rates(Dataset.from_dict({"label": ["a", "b"], "weight": ["", ""]}))
    with pytest.raises(ValueError, match="no column 'weight'"):
        textpl.class_rates(Dataset.from_dict({"label": ["a", "b"]}))


@pytest.mark.parametrize("strategy", COLD)
def test_first_choice(strategy):
    texts, names = topics()
    found = choose(texts, 6, strategy=strategy, seed=1)
    assert found.rows.dtype == np.int64 and len(set(found.rows.tolist())) == 6
    assert found.rows.tolist() == choose(texts, 6, strategy=strategy, seed=1).rows.tolist()
    assert found.weight.sum() == pytest.approx(1)
    if strategy in ("kmeans", "facility_location"):
        assert {names[row] for row in found.rows[:3]} == set(NAMES), "the first three are of three topics"


@pytest.mark.parametrize("strategy", ["auto", *BY_DOUBT])
def test_next_choice(strategy):
    texts, names = topics()
    labeled = Dataset.from_dict({"text": texts[:6] + texts[80:81], "label": [*names[:6], None]})
    found = choose(texts, 5, labeled=labeled, strategy=strategy)
    assert not set(found.rows.tolist()) & {*range(6), 80}
    assert np.isnan(found.weight).all() and found.probabilities.shape == (5, 3) and found.label_names == tuple(NAMES)
    assert "labels are in doubt" in str(found) and "1 of the 7 rows given have no label yet" in str(found)
    assert " % or " in found.why()[0]


def test_several_labels_per_row():
    texts, names = topics()
    labels = [[name] if i % 4 else [name, NAMES[0]] for i, name in enumerate(names[:12])]
    labeled = Dataset.from_dict({"text": texts[:12], "label": labels})
    for strategy in BY_DOUBT:
        found = choose(texts, 4, labeled=labeled, strategy=strategy)
        assert found.multi and len(set(found.rows.tolist())) == 4 and min(found.rows) >= 12


def test_one_class_is_no_ground_for_doubt():
    texts, _ = topics()
    labeled = Dataset.from_dict({"text": texts[:2], "label": ["chess", "chess"]})
    assert choose(texts, 3, labeled=labeled).strategy == "kmeans"
    with pytest.raises(ValueError, match="no labels of two classes yet"):
        choose(texts, 3, labeled=labeled, strategy="badge")


def test_empty_equal_and_labeled_texts_are_never_chosen():
    texts, names = topics(30)
    doubles = ["", "  ", texts[0], texts[1].upper(), "Tea, cup! leaf pot steam kettle"]
    labeled = Dataset.from_dict({"text": [texts[2], "tea cup leaf pot steam kettle"], "label": ["tea", None]})
    found = choose(texts + doubles, 29, labeled=labeled, strategy="random")
    assert not set(found.rows.tolist()) & {2, 30, 31, 32, 33, 34}
    assert "2 without text" in str(found) and "2 equal to an earlier one" in str(found)
    assert "2 equal or nearly equal to a labeled one" in str(found)
    with pytest.raises(ValueError, match="budget=40: of the 35 rows of the pool 29 may be chosen.*at most 29"):
        choose(texts + doubles, 40, labeled=labeled)


def test_near_duplicates_and_groups_are_chosen_once():
    base = "the committee met on monday to speak about the new bridge over the river near the old mill number"
    texts = [f"{base} {i}" for i in range(20)] + topics(20)[0]
    found = choose(texts, 10)
    assert sum(row < 20 for row in found.rows) <= 1 and len(found) == 10
    many = choose(topics(20)[0], 6, groups=[i // 5 for i in range(20)])
    assert len(many) == 4 and len({row // 5 for row in many.rows}) == 4
    assert "4 rows instead of 6" in str(many)


def test_repeats_are_replaced_not_dropped():
    x, _ = blobs((10, 10), seed=4)
    texts = ["one and the same text here"] * 2 + [
        " ".join(np.random.default_rng(i).choice(WORDS["tea"], 5)) for i in range(18)
    ]
    order = np.arange(20)
    rows = without_repeats(lambda allowed: order[allowed][:3], texts, x, np.ones(20, bool))
    assert len(rows) == 3 and 1 not in rows


def test_forms_for_people(tmp_path):
    texts, _ = topics(30)
    texts[0] = "=HYPERLINK chess rook pawn queen mate board"
    found = choose(texts, 30, label_names=NAMES, strategy="random")
    table = found.to_dataset()
    assert table.column_names == ["row", "text", "label", "rank", "why", "strategy", "weight"]
    assert table["row"][:] == found.rows.tolist() and set(table["label"][:]) == {""}
    found.to_csv(tmp_path / "a.csv")
    assert "'=HYPERLINK" in (tmp_path / "a.csv").read_text(encoding="utf-8-sig")
    found.to_argilla(tmp_path / "a.json")
    (record, *_) = json.loads((tmp_path / "a.json").read_text())
    assert record["fields"]["text"] == texts[record["metadata"]["row"]] and record["responses"] == {}
    found.to_label_studio(tmp_path / "b.json")
    (task, *_) = json.loads((tmp_path / "b.json").read_text())
    assert task["data"]["text"] == texts[task["data"]["row"]]
    assert [c.get("value") for c in ET.parse(tmp_path / "b.xml").iter("Choice")] == NAMES
    with pytest.raises(ValueError, match="name them by label_names="):
        choose(texts, 3).to_label_studio(tmp_path / "c.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "best"}, "use one of 'auto'"),
        ({"budget": 0}, "at least one row"),
        ({"text_column": "body"}, "no column 'body'"),
        ({"text_column": "why"}, "rename it first"),
        ({"labeled": Dataset.from_dict({"text": ["a"]})}, "labeled has no column 'label'"),
        ({"groups": "thread"}, "'thread' is not a column"),
    ],
)
def test_bad_input(settings, message):
    texts, _ = topics(12)
    budget = settings.pop("budget", 3)
    with pytest.raises(ValueError, match=message):
        choose(texts, budget, **settings)
    with pytest.raises(ValueError, match=r"must be a datasets.Dataset, not list"):
        textpl.select(texts, 3)


def test_every_strategy_is_named():
    assert set(STRATEGIES) == {"auto", *COLD, *BY_DOUBT}
    assert all(name in textpl.select.__doc__ for name in STRATEGIES)
