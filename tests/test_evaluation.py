"""The numbers of textpl.evaluation: worked by hand, against scikit-learn, and by simulation."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from textpl import evaluation as ev
from textpl.evaluation import Interval, paired_difference

SINGLE, MULTI = "single_label_classification", "multi_label_classification"
CASES = [(kind, metric) for kind, metrics in ev.METRICS.items() for metric in metrics]


def labels(rng, kind, rows, count):
    return rng.integers(count, size=rows) if kind == SINGLE else rng.integers(2, size=(rows, count))


def experiment(seed, kind, seeds=3, rows=40, count=4, crossed=True):
    """(baseline, method, gold): random labels, one array per seed."""
    rng = np.random.default_rng(seed)
    first = labels(rng, kind, rows, count)
    gold = [first if crossed else labels(rng, kind, rows, count) for _ in range(seeds)]
    sides = [[labels(rng, kind, rows, count) for _ in range(seeds)] for _ in range(2)]
    return sides[0], sides[1], gold


# --- decide, prior_thresholds ---


def test_decide():
    p = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    assert ev.decide(p, SINGLE).tolist() == [1, 0]
    assert ev.decide(p, MULTI).tolist() == [[0, 1, 0], [0, 0, 0]]
    assert ev.decide(p, MULTI, [0.4, 0.2, 0.35]).tolist() == [[0, 1, 0], [1, 1, 1]]
    assert ev.decide(p, MULTI).dtype == np.int8


@pytest.mark.parametrize(
    ("p", "kind", "thresholds", "message"),
    [
        ([[0.5, 0.5], [np.nan, 0.1]], SINGLE, 0.5, "row 1 of the probabilities.*diverged"),
        ([[0.5, 0.5], [3.0, -1.0]], MULTI, 0.5, "row 1 .*logits"),
        ([0.5, 0.5], SINGLE, 0.5, r"shape \(2,\)"),
        ([[0.5, 0.5]], "regression", 0.5, "'regression' is none of single_label"),
        ([[0.5, 0.5]], MULTI, [0.5], "2 numbers, one per label"),
        ([[0.5, 0.5]], MULTI, np.nan, "without NaN"),
    ],
)
def test_decide_refuses(p, kind, thresholds, message):
    with pytest.raises(ValueError, match=message):
        ev.decide(p, kind, thresholds)


@pytest.mark.parametrize(
    ("column", "prior", "positives"),
    [
        ([0.1, 0.2, 0.3, 0.4], 0.5, 2),
        ([0.1, 0.2, 0.3, 0.4], 0.0, 0),
        ([0.1, 0.2, 0.3, 0.4], 0.1, 0),  # rank 0 is nobody, not index -1, which would be everybody
        ([0.1, 0.2, 0.3, 0.4], 1.0, 4),
        ([0.1, 0.2, 0.3, 0.4], 1.7, 4),
        ([0.1, 0.2, 0.3, 0.4], -0.3, 0),
        ([0.5, 0.5, 0.5, 0.5], 0.25, 0),  # all or none: none is nearer
        ([0.5, 0.5, 0.5, 0.5], 0.75, 4),
        ([0.9, 0.5, 0.5, 0.5], 0.5, 1),  # 1 or 4 wanted 2
        ([0.9, 0.5, 0.5, 0.1], 0.5, 3),  # 1 or 3 wanted 2: as near, take the tied rows
        ([1.0, 1.0, 1.0, 0.0], 0.0, 0),
        ([0.0, 0.0, 0.0, 0.0], 1.0, 4),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prior_thresholds_by_hand(column, prior, positives, dtype):
    p = np.array(column, dtype)[:, None]
    cuts = ev.prior_thresholds(p, [prior])
    assert ev.decide(p, MULTI, cuts).sum() == positives
    assert positives > 0 or np.float32(cuts[0]) > p.max()


@given(
    st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 1.0]), min_size=1, max_size=12),
    st.floats(0, 1, allow_subnormal=False),
)
def test_prior_thresholds_come_as_near_as_any_cut(column, prior):
    p = np.array(column)[:, None]
    wanted = prior * len(p)
    got = ev.decide(p, MULTI, ev.prior_thresholds(p, [prior])).sum()
    possible = [(p >= cut).sum() for cut in [*column, 2.0]]
    assert abs(got - wanted) <= min(abs(count - wanted) for count in possible) + 1e-9


def test_prior_thresholds_refuses():
    with pytest.raises(ValueError, match="2 numbers, one per label"):
        ev.prior_thresholds([[0.5, 0.5]], [0.5])
    with pytest.raises(ValueError, match="row 0"):
        ev.prior_thresholds([[np.nan]], [0.5])


# --- metrics ---


def test_single_label_scores_by_hand():
    # Class 0: TP 2, FN 1 -> 4/5; class 1: TP 1, FP 1 -> 2/3; class 2 is right -> 1.
    assert ev.scores([0, 0, 1, 1, 2], [0, 0, 0, 1, 2]) == pytest.approx({"accuracy": 4 / 5, "macro_f1": 37 / 45})


def test_multi_label_scores_by_hand():
    # Label 0: TP 1, FP 1; label 1: TP 1, FN 1; label 2: nothing anywhere, which counts 0.
    got = ev.scores([[1, 0, 0], [1, 1, 0]], [[1, 1, 0], [0, 1, 0]])
    assert got == pytest.approx({"micro_f1": 2 / 3, "macro_f1": 4 / 9, "subset_accuracy": 0})


def test_one_column_is_one_label():
    # scikit-learn on its own would average over "0" and "1" of a single column.
    predictions, gold = [[1], [1], [0], [0]], [[1], [0], [0], [0]]
    expected = {"micro_f1": 2 / 3, "macro_f1": 2 / 3, "subset_accuracy": 3 / 4}
    assert ev.scores(predictions, gold) == pytest.approx(expected)
    assert ev.per_label(predictions, gold, ["a"]) == [
        {"label": "a", "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    ]
    interval = paired_difference([gold], [predictions], [gold], "macro_f1")
    assert interval.mean == pytest.approx(-100 / 3)


def test_per_label():
    rows = ev.per_label([0, 1, 1], [0, 0, 1], ["a", "b", "c"])
    assert [row["label"] for row in rows] == ["a", "b", "c"]
    assert [(row["precision"], row["recall"], row["support"]) for row in rows] == [(1, 0.5, 2), (0.5, 1, 1), (0, 0, 0)]
    assert [row["f1"] for row in rows] == pytest.approx([2 / 3, 2 / 3, 0])
    with pytest.raises(ValueError, match="1 label names for 2 labels"):
        ev.per_label([0, 1], [0, 0], ["a"])
    with pytest.raises(ValueError, match="3 label names for 2 labels"):
        ev.per_label([[0, 1]], [[0, 0]], ["a", "b", "c"])


@pytest.mark.parametrize(
    ("predictions", "gold", "metric", "message"),
    [
        ([0, 1], [0, 1, 1], "accuracy", r"shape \(2,\) and gold labels \(3,\)"),
        ([], [], "accuracy", "not empty"),
        ([0, 1], [0, 1], "micro_f1", "none of accuracy, macro_f1 for single"),
        ([[0, 1]], [[0, 1]], "accuracy", "none of micro_f1, macro_f1, subset_accuracy for multi"),
        ([[0, 0.3]], [[0, 1]], "micro_f1", r"predictions .* decide\(\)"),
        ([0, 1], [0, -100], "accuracy", "gold labels must be class ids"),
        ([0.2, 0.8], [0, 1], "accuracy", "predictions must be class ids"),
    ],
)
def test_score_refuses(predictions, gold, metric, message):
    with pytest.raises(ValueError, match=message):
        ev.score(predictions, gold, metric)


def test_calibration_by_hand():
    # Bin (0.8, 1]: confidences .9, .9, .9, .9, three right -> |3.6 - 3|; bin (0.4, 0.6]: .6 right -> |.6 - 1|.
    p = [[0.9, 0.1]] * 4 + [[0.4, 0.6]]
    assert ev.expected_calibration_error(p, [0, 0, 0, 1, 1], SINGLE, bins=5) == pytest.approx((0.6 + 0.4) / 5)
    # Cells: .9 -> 1, .9 -> 0 share a bin: |1.8 - 1|; .1 -> 0 and .2 -> 0 share (0, .2]: .3.
    cells, gold = [[0.9, 0.1], [0.9, 0.2]], [[1, 0], [0, 0]]
    assert ev.expected_calibration_error(cells, gold, MULTI, bins=5) == pytest.approx((0.8 + 0.3) / 4)
    assert ev.expected_calibration_error(np.eye(3), [0, 1, 2], SINGLE) == 0


@pytest.mark.parametrize(("kind", "metric"), CASES)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 12), count=st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_pseudo_values_leave_one_row_out(kind, metric, seed, rows, count):
    rng = np.random.default_rng(seed)
    predictions, gold = labels(rng, kind, rows, count), labels(rng, kind, rows, count)
    whole, values = ev._pseudo_values(ev._summands(predictions, gold, metric), metric)
    names = np.union1d(gold, predictions) if kind == SINGLE else ev._columns(gold)

    def scored(rows):
        if metric.endswith("accuracy"):
            return accuracy_score(gold[rows], predictions[rows])
        average = metric.removesuffix("_f1")
        return f1_score(gold[rows], predictions[rows], labels=names, average=average, zero_division=0)

    every = np.arange(rows)
    assert whole == pytest.approx(scored(every))
    assert values == pytest.approx([rows * whole - (rows - 1) * scored(every != row) for row in every], abs=1e-5)


# --- paired_difference ---


@pytest.mark.parametrize(("kind", "metric"), CASES)
@pytest.mark.parametrize("crossed", [True, False])
def test_mean_is_the_mean_difference_of_scores(kind, metric, crossed):
    baseline, method, gold = experiment(0, kind, crossed=crossed)
    interval = paired_difference(baseline, method, gold, metric)
    differences = [
        ev.score(m, g, metric) - ev.score(b, g, metric) for b, m, g in zip(baseline, method, gold, strict=True)
    ]
    assert interval.mean == pytest.approx(100 * np.mean(differences))
    assert interval.low < interval.mean < interval.high
    assert all(type(value) is float for value in (interval.mean, interval.low, interval.high, interval.level))


def test_one_seed_is_about_its_test_rows():
    # The method repairs 20 of 100 rows: the difference has standard error sqrt(.2 * .8 / 99) = 4.02 points.
    gold = np.zeros(100, int)
    baseline = np.array([1] * 20 + [0] * 80)
    interval = paired_difference([baseline], [gold], [gold], "accuracy")
    assert (interval.mean, interval.seeds) == (pytest.approx(20), 1)
    reach = 1.9842 * 100 * np.sqrt(0.16 / 99)  # t at 99 degrees of freedom
    assert [interval.low, interval.high] == pytest.approx([20 - reach, 20 + reach], abs=0.01)
    assert "one seed" in interval.note


def test_few_seeds_by_hand():
    # Differences 0 and 100 with no row noise: standard error 50, t at 1 degree of freedom and level .6 is tan(.3 pi).
    wrong, right = np.ones(30, int), np.zeros(30, int)
    interval = paired_difference([wrong, wrong], [wrong, right], [right, right], "accuracy", level=0.6)
    assert interval.mean == 50
    assert interval.low == 0 or interval.low == pytest.approx(50 - 50 * np.tan(0.3 * np.pi))
    assert interval.high == 100  # cut: a difference cannot be 118.8 points
    assert "2 seeds" in interval.note


def test_shared_rows_widen_the_interval():
    # Five seeds with the same predictions: on one shared test set they are worth one seed, on five sets five.
    rng = np.random.default_rng(0)
    gold = rng.integers(2, size=(5, 200))
    wrong = rng.random(200) < 0.3
    baseline = [np.where(wrong, 1 - g, g) for g in gold]
    nested = paired_difference(baseline, list(gold), list(gold), "accuracy")
    crossed = paired_difference([baseline[0]] * 5, [gold[0]] * 5, [gold[0]] * 5, "accuracy")
    alone = paired_difference(baseline[:1], [gold[0]], [gold[0]], "accuracy")
    assert crossed.mean == pytest.approx(nested.mean)
    assert (crossed.low, crossed.high) == pytest.approx((alone.low, alone.high))
    assert (crossed.high - crossed.low) / (nested.high - nested.low) == pytest.approx(np.sqrt(5), rel=0.3)
    assert crossed.note == nested.note == ""


def test_blocks_do_not_change_the_interval(monkeypatch):
    data = experiment(2, SINGLE)
    whole = paired_difference(*data, "macro_f1")
    monkeypatch.setattr(ev, "BLOCK_CELLS", 7 * 8)
    assert paired_difference(*data, "macro_f1") == whole


def test_rows_of_one_group_count_as_one():
    # 40 documents of 10 windows, all right or all wrong together: as if there were 40 rows.
    rng = np.random.default_rng(0)
    gold = np.zeros(40, int)
    baseline, method = [[(rng.random(40) < share).astype(int)] * 4 for share in (0.3, 0.2)]
    alone = paired_difference(baseline, method, [gold] * 4, "accuracy")
    windows = lambda sides: [np.repeat(side, 10) for side in sides]  # noqa: E731
    many = windows(baseline), windows(method), windows([gold] * 4)
    grouped = paired_difference(*many, "accuracy", groups=[np.repeat(np.arange(40), 10)] * 4)
    assert (grouped.low, grouped.mean, grouped.high) == pytest.approx((alone.low, alone.mean, alone.high))
    assert (grouped.groups, grouped.rows, alone.groups) == (40, 400, None)
    assert grouped.verdict == "no evidence"
    loose = paired_difference(*many, "accuracy")
    assert loose.high - loose.low < 0.4 * (grouped.high - grouped.low)
    few = paired_difference(*many, "accuracy", groups=[np.repeat(np.arange(8), 50)] * 4)
    assert few.lacking() == "test rows of 8 groups, and 20 are needed"
    with pytest.raises(ValueError, match="one array per seed"):
        paired_difference(*many, "accuracy", groups=[np.arange(400)])


experiments = st.tuples(
    st.integers(0, 2**32 - 1), st.sampled_from(CASES), st.integers(1, 4), st.integers(2, 15), st.booleans()
)


@given(experiments)
@settings(max_examples=60, deadline=None)
def test_identical_sides_differ_by_nothing(case):
    seed, (kind, metric), seeds, rows, crossed = case
    baseline, _, gold = experiment(seed, kind, seeds, rows, crossed=crossed)
    interval = paired_difference(baseline, baseline, gold, metric)
    assert (interval.mean, interval.low, interval.high) == (0, 0, 0)


@given(experiments)
@settings(max_examples=60, deadline=None)
def test_swapping_the_sides_negates_the_interval(case):
    seed, (kind, metric), seeds, rows, crossed = case
    baseline, method, gold = experiment(seed, kind, seeds, rows, crossed=crossed)
    there = paired_difference(baseline, method, gold, metric)
    back = paired_difference(method, baseline, gold, metric)
    assert -100 <= there.low <= there.high <= 100
    assert (back.mean, back.low, back.high) == pytest.approx((-there.mean, -there.high, -there.low), abs=1e-9)


def test_memory_stays_bounded():
    rng = np.random.default_rng(0)
    gold, baseline, method = (rng.integers(2, size=(10_000, 28), dtype=np.int8) for _ in range(3))
    tracemalloc.start()
    paired_difference([baseline] * 2, [method] * 2, [gold] * 2, "macro_f1")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": [[0, 1]]}, "2 baseline, 1 method and 2 gold"),
        ({"baseline": [], "method": [], "gold": []}, "0 baseline"),
        ({"method": [[0, 1], [0, 1, 1]]}, r"seed number 1: .*shape \(3,\)"),
        ({"metric": "subset_accuracy"}, "none of accuracy, macro_f1"),
        ({"level": 95}, "level=95"),
    ],
)
def test_differences_refuse(change, message):
    given_arrays = {"baseline": [[0, 1]] * 2, "method": [[0, 1]] * 2, "gold": [[0, 1]] * 2, "metric": "accuracy"}
    with pytest.raises(ValueError, match=message):
        paired_difference(**given_arrays | change)


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ((2.31, 0.92, 3.64), "+2.3 points [0.9, 3.6]"),
        ((-2.31, -3.64, -0.92), "-2.3 points [-3.6, -0.9]: it hurt"),
        ((0.42, -1.13, 1.94), "no evidence that it helped: +0.4 points [-1.1, 1.9]"),
        ((0.0, 0.0, 0.0), "no evidence that it helped: +0.0 points [0.0, 0.0]"),
        ((-0.01, -0.02, 0.5), "no evidence that it helped: +0.0 points [0.0, 0.5]"),
    ],
)
def test_sentence(numbers, sentence):
    assert Interval(*numbers, level=0.95, seeds=5).sentence() == sentence
    assert Interval(*numbers, level=0.95, seeds=5).sentence("%") == sentence.replace("points", "%")


@pytest.mark.parametrize(
    ("rows", "seeds", "lacking"),
    [
        (8, 3, "8 test rows, and 100 are needed"),
        (200, 1, "1 seed, and 3 are needed"),
        (12, 2, "12 test rows, and 100 are needed; 2 seeds, and 3 are needed"),
        (100, 3, ""),
        (None, 5, ""),
    ],
)
def test_no_verdict_without_grounds(rows, seeds, lacking):
    interval = Interval(-25.0, -43.8, -6.2, 0.95, seeds, rows=rows)
    assert interval.lacking() == lacking and interval.verdict == ("cannot be told" if lacking else "hurt")
    numbers = "-25.0 points [-43.8, -6.2]"
    assert interval.sentence() == (f"cannot be told ({lacking}): {numbers}" if lacking else f"{numbers}: it hurt")


def test_the_seeds_are_told_one_by_one():
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 2, 400)
    side = lambda share: np.where(rng.random(400) < share, gold, 1 - gold)  # noqa: E731
    baseline, method = [side(0.8) for _ in range(4)], [side(0.9), side(0.9), side(0.5), side(0.9)]
    found = paired_difference(baseline, method, [gold] * 4, "accuracy")
    assert found.rows == 400 and np.mean(found.by_seed) == pytest.approx(found.mean)
    assert found.seeds_told().startswith(
        f"3 of 4 seeds gained, the worst one {found.by_seed[2]:+.1f}; what no seed met"
    )
    many = paired_difference(baseline * 3, method * 3, [gold] * 12, "accuracy")
    assert many.seeds_told().startswith("9 of 12 seeds gained")
    for seeds, share in ((3, 63), (5, 45), (10, 26)):
        told = Interval(1.0, 0.5, 1.5, 0.95, seeds, by_seed=(1.0,) * seeds).seeds_told()
        assert told.endswith(
            f"the worst one +1.0; what no seed met, such as a collapse, may still come in up to {share} % of trainings"
        )
