"""Scores against right labels where those of the test rows are wrong in part: worked by hand, and by simulation."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

import textpl
from textpl.cleaning.result import Detection
from textpl.embeddings.encoders import get_encoder
from textpl.embeddings.neighbors import unit_rows
from textpl.label_issues.decisions import Decision
from textpl.label_issues.report import LabelReport
from textpl.noisy_scores.doubts import doubts_of
from textpl.noisy_scores.estimates import Metric, estimated, extremes, planned_deviation, rows_needed, score

SHARED = Path(__file__).parents[2] / "shared" / "data"
ACCURACY, MICRO = Metric("accuracy", "accuracy"), Metric("micro_f1", "micro")


def macro(size):
    return Metric("macro_f1", "mean", np.full(size, 1 / size))


def tables(rng, rows=60, size=4, count=2, *, multi=False):
    """Random tables of labels, 0/1 (rows, size)."""
    if multi:
        return [rng.integers(2, size=(rows, size)) for _ in range(count)]
    return [np.eye(size, dtype=int)[rng.integers(size, size=rows)] for _ in range(count)]


def noisy_corpus(seed=0, rows=1200, size=3, wrong=0.2, *, multi=False):
    """(right, given, p of a model that repeats some of the wrong labels, report)."""
    rng = np.random.default_rng(seed)
    right = rng.integers(2, size=(rows, size)) if multi else rng.integers(size, size=rows)
    other = 1 - right if multi else (right + rng.integers(1, size, size=rows)) % size
    noise, repeated, mistaken = (rng.random(right.shape) < share for share in (wrong, 0.5, 0.1))
    given = np.where(noise, other, right)
    said = np.where((noise & repeated) | mistaken, other, right)
    p = 0.8 * said + 0.1 if multi else 0.7 * np.eye(size)[said] + 0.3 / size
    p_true = np.where(given == 1, 0.9, 0.1) if multi else 0.85 * np.eye(size)[given] + 0.05
    p_error = np.abs(given - p_true) if multi else 1 - p_true[np.arange(rows), given]
    found = Detection(
        p_error.astype(np.float32), p_true.astype(np.float32), p_error > 0.5, given, {"model": p.astype(np.float32)}
    )
    names = [f"label {k}" for k in range(size)]
    return right, given.astype(np.int8 if multi else np.int64), p, LabelReport(found, given, names)


# --- counts and scores ---


@pytest.mark.parametrize("multi", [False, True])
def test_scores_are_those_of_scikit_learn(multi):
    predicted, right = tables(np.random.default_rng(0), multi=multi)
    found = [score(metric, predicted, right) for metric in (MICRO, macro(4))]
    assert np.allclose(found, [f1_score(right, predicted, average=a, zero_division=0) for a in ("micro", "macro")])
    if not multi:
        assert score(ACCURACY, predicted, right) == accuracy_score(right, predicted)


@pytest.mark.parametrize(
    "metric", [ACCURACY, MICRO, macro(4), Metric("one", "mean", np.eye(4)[2])], ids=lambda m: m.name
)
def test_slopes_are_derivatives(metric):
    counts = [np.array(c, float) for c in ([5, 8, 2, 9], [10, 9, 7, 12], [8, 14, 5, 11])]
    both, predicted, right = counts
    slopes = metric.slopes(*counts, 40)
    for slope, moved in zip(slopes, (0, 2), strict=True):
        for k in range(4):
            values = []
            for step in (-1e-5, 1e-5):
                here = [c.copy() for c in (both, predicted, right)]
                here[moved][k] += step
                values.append(metric.value(*here, 40))
            assert slope[k] == pytest.approx((values[1] - values[0]) / 2e-5, abs=1e-8)


# --- bounds without review ---


@pytest.mark.parametrize("multi", [False, True])
def test_no_right_labels_leave_the_extremes(multi):
    rng = np.random.default_rng(1)
    for _ in range(50):
        predicted, given, right = tables(rng, count=3, multi=multi)
        wrong = (given != right).astype(float)
        most = wrong if multi else wrong.max(1)
        worst, best = extremes(predicted, given, 1 - given if multi else right, most, multi=multi)
        for metric in (MICRO, macro(4), Metric("one", "mean", np.eye(4)[1])):
            low, true, high = (score(metric, predicted, t) for t in (worst, right, best))
            assert low <= true + 1e-12 and true <= high + 1e-12
        if not multi:
            agree = (predicted * given).sum(1) > 0
            raw = agree.mean()
            assert score(ACCURACY, predicted, worst) == pytest.approx(raw - (most * agree).mean())
            assert score(ACCURACY, predicted, best) == pytest.approx(raw + (most * ~agree).mean())


@pytest.mark.parametrize("multi", [False, True])
def test_without_review_the_truth_lies_between(multi):
    right, given, p, report = noisy_corpus(multi=multi)
    found = textpl.noise_corrected_scores(p, report)
    predicted = (p >= 0.5) if multi else p.argmax(1)
    for one in found.scores:
        true = textpl.evaluation.score(predicted.astype(int), right, one.name)
        assert one.given == pytest.approx(textpl.evaluation.score(predicted.astype(int), given, one.name))
        assert 0 <= one.low < true < one.high <= 1 and one.low <= one.estimate <= one.high
    assert found.reviewed == 0 and 0.1 < found.most_wrong < 0.5
    assert "No random rows were reviewed" in str(found) and "between" in str(found)


def test_a_report_that_allows_for_more_errors_is_believed():
    _, given, p, plain = noisy_corpus(rows=500)
    found, doubted = plain.found, doubts_of(plain, 0.95).most.sum()
    arrays = (found.p_error, found.p_true, found.flagged, found.suggested, found.evidence, None)
    # Of 500 rows 100 could not be judged; the count is of all of them.
    for high, wanted in ((10.0, doubted), (400.0, 400)):
        info = {"errors_low": 5.0, "errors_high": high, "unjudged": 100}
        report = LabelReport(Detection(*arrays, info), given, plain.label_names)
        assert doubts_of(report, 0.95).most.sum() == pytest.approx(wanted, rel=1e-6)


def test_what_people_decided_is_known():
    right, _, p, report = noisy_corpus(rows=400)
    queue = textpl.random_review(report, 400)
    names = report.label_names
    decided = report.apply_review([Decision(int(r), names[right[r]]) for r in queue.rows])
    found = textpl.noise_corrected_scores(p, decided)["accuracy"]
    assert found.low == pytest.approx(found.high) and found.low == pytest.approx((p.argmax(1) == right).mean())
    assert found.given != found.low


# --- reviewed rows ---


def test_an_estimate_without_belief_is_the_mean_of_the_sample():
    rng = np.random.default_rng(0)
    predicted, right = tables(rng, rows=500)
    sample = rng.choice(500, 100, replace=False)
    estimate, low, high, deviation = estimated(
        ACCURACY, predicted, np.zeros((500, 4)), sample, right[sample], 0.95, multi=False
    )
    hits = (predicted * right).sum(1)[sample]
    moved = (predicted.max(1) - predicted.min(1)).mean()  # a row moves accuracy by one row
    assert estimate == pytest.approx(hits.mean())
    assert deviation == pytest.approx(np.sqrt((((hits - hits.mean()) ** 2).sum() + 2 * moved**2) / 101))
    assert high - estimate == pytest.approx(1.984217 * deviation * np.sqrt(1 / 100 - 1 / 500), rel=1e-5)
    assert estimate - low == pytest.approx(high - estimate)


@pytest.mark.parametrize("multi", [False, True])
def test_all_rows_reviewed_leave_nothing_open(multi):
    right, _, p, report = noisy_corpus(rows=200, multi=multi)
    every = np.arange(200)
    found = textpl.noise_corrected_scores(p, report, trusted_rows=every, trusted_labels=right)
    predicted = ((p >= 0.5) if multi else p.argmax(1)).astype(int)
    for one in found.scores:
        assert one.low == pytest.approx(one.high) == pytest.approx(textpl.evaluation.score(predicted, right, one.name))
    by_label = f1_score(right, predicted, average=None)
    assert [one.estimate for one in found.labels] == pytest.approx(by_label)


def test_a_right_belief_narrows_and_a_wrong_one_does_not_widen():
    rng = np.random.default_rng(3)
    predicted, right = tables(rng, rows=2000)
    sample = rng.choice(2000, 200, replace=False)
    wrong = np.roll(right, 1, axis=1)
    widths = []
    for believed in (right, np.zeros((2000, 4)), wrong):
        _, low, high, _ = estimated(ACCURACY, predicted, believed, sample, right[sample], 0.95, multi=False)
        widths.append(high - low)
    assert widths[0] < 0.5 * widths[1] and widths[2] <= 1.001 * widths[1]


@pytest.mark.parametrize("multi", [False, True])
def test_intervals_hold_the_truth_whatever_the_noise(multi):
    """Model and report share mistakes; 95 % nominal."""
    right, _, p, report = noisy_corpus(rows=1500, multi=multi)
    predicted = ((p >= 0.5) if multi else p.argmax(1)).astype(int)
    hot = [a if multi else np.eye(3)[a] for a in (predicted, right)]
    rng, held = np.random.default_rng(0), {}
    for metric in (MICRO, macro(3)) if multi else (ACCURACY, macro(3)):
        true, hits = score(metric, *hot), []
        for _ in range(400):
            sample = rng.choice(1500, 100, replace=False)
            _, low, high, _ = estimated(metric, hot[0], report.p_true, sample, hot[1][sample], 0.95, multi=multi)
            hits.append(low <= true <= high)
        held[metric.name] = np.mean(hits)
    assert all(0.92 <= share <= 0.99 for share in held.values()), held


@pytest.mark.parametrize("shares", [(0.25, 0.25, 0.25, 0.25), (0.7, 0.2, 0.08, 0.02)])
def test_scores_near_one_are_held_too(shares):
    """Which class is drawn how often must not matter."""
    rng, hits = np.random.default_rng(0), defaultdict(list)
    for _ in range(150):
        right = rng.choice(4, 2000, p=shares)
        given, said = (np.where(rng.random(2000) < e, rng.integers(4, size=2000), right) for e in (0.07, 0.02))
        predicted, truth, labels = (np.eye(4)[a] for a in (said, right, given))
        sample = rng.choice(2000, 100, replace=False)
        for metric in (ACCURACY, macro(4)):
            found = estimated(metric, predicted, 0.9 * labels + 0.025, sample, truth[sample], 0.95, multi=False)
            hits[metric.name].append(found[1] <= score(metric, predicted, truth) <= found[2])
    assert all(np.mean(held) >= 0.9 for held in hits.values()), {name: np.mean(held) for name, held in hits.items()}


def test_a_review_without_surprise_does_not_show_that_there_is_none():
    predicted = np.eye(2)[np.zeros(5000, int)]
    sample = np.arange(200)
    estimate, low, _, _ = estimated(ACCURACY, predicted, predicted, sample, predicted[sample], 0.95, multi=False)
    assert estimate == 1 and 0.975 < low < 0.99  # 3 / 200 = .015: the rule of three


def test_rows_to_review_keep_their_promise():
    deviation, rows, z = 0.4, 3000, NormalDist().inv_cdf(0.975)
    count = rows_needed(deviation, rows, 0.02, z)
    assert z * deviation * np.sqrt(1 / count - 1 / rows) <= 0.02 < z * deviation * np.sqrt(1 / (count - 1) - 1 / rows)
    assert rows_needed(deviation, 100, 1e-9, z) == 100
    right = np.full((1000, 2), 0.5)
    predicted = np.eye(2)[np.zeros(1000, int)]
    assert planned_deviation(ACCURACY, predicted, right, multi=False) == pytest.approx(0.5)


def test_the_plan_is_enough():
    right, _, p, report = noisy_corpus(rows=4000)
    plan = textpl.noise_corrected_scores(p, report).rows_to_review(0.03)
    rows = textpl.random_review(report, plan).rows
    found = textpl.noise_corrected_scores(p, report, trusted_rows=rows, trusted_labels=right[rows])
    assert found["accuracy"].high - found["accuracy"].low <= 0.062
    assert found.rows_to_review(0.03) <= plan * 1.05
    assert "drawn at random and reviewed" in str(found)


# --- the way round: draw, review, read ---


@pytest.mark.parametrize("multi", [False, True])
def test_random_rows_are_reviewed_in_a_file(tmp_path, multi):
    right, given, p, report = noisy_corpus(rows=300, multi=multi)
    queue = textpl.random_review(report, 40)
    assert len(np.unique(queue.rows)) == 40 and len(queue) == (120 if multi else 40)
    assert (np.unique(queue.rows) == np.sort(textpl.random_review(report, 60).rows.reshape(60, -1)[:40, 0])).all()
    queue.to_csv(tmp_path / "sample.csv")
    lines = list(csv.DictReader((tmp_path / "sample.csv").open(encoding="utf-8-sig")))
    for line in lines:
        row = int(line["row"])
        label = report.label_names.index(line["label"])
        line["decision"] = ("no", "yes")[right[row, label]] if multi else report.label_names[right[row]]
    with (tmp_path / "done.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    reviewed = report.apply_review(tmp_path / "done.csv")
    told = textpl.noise_corrected_scores(p, reviewed, trusted_rows=queue.rows)
    ids = np.unique(queue.rows)
    same = textpl.noise_corrected_scores(p, report, trusted_rows=ids, trusted_labels=right[ids])
    assert told.reviewed == 40 and told.to_dict() == same.to_dict()
    with pytest.raises(ValueError, match="has no decision.*decide all"):
        textpl.noise_corrected_scores(p, reviewed, trusted_rows=np.arange(100))


@pytest.mark.parametrize("multi", [False, True])
def test_rows_of_a_review_queue_are_no_fair_sample(multi):
    rng = np.random.default_rng(0)
    right, given, p, report = noisy_corpus(multi=multi)
    p_error = rng.random(given.shape).astype(np.float32)
    found = Detection(p_error, report.found.p_true, report.flagged, report.suggested, report.found.evidence)
    report = LabelReport(found, given, report.label_names)
    rows = np.unique(report.review_queue(200, "p_error").rows)
    with pytest.raises(ValueError, match="not drawn at random.*textpl.random_review"):
        textpl.noise_corrected_scores(p, report, trusted_rows=rows, trusted_labels=right[rows])
    for seed in range(20):
        rows = np.unique(textpl.random_review(report, 100, seed).rows)
        assert textpl.noise_corrected_scores(p, report, trusted_rows=rows, trusted_labels=right[rows]).reviewed == 100


def test_a_rare_label_has_no_interval_from_few_rows():
    rng = np.random.default_rng(0)
    right = (rng.random((1000, 2)) < (0.5, 0.02)).astype(np.int8)
    p = np.where(right, 0.9, 0.1)
    found = Detection(
        np.full(right.shape, 0.01, np.float32), np.where(right, 0.99, 0.01).astype(np.float32), right > 1, right
    )
    report = LabelReport(found, right, ["often", "rare"])
    rows = textpl.random_review(report, 100).rows.reshape(100, -1)[:, 0]
    told = textpl.noise_corrected_scores(p, report, trusted_rows=rows, trusted_labels=right[rows])
    assert (told["rare"].low, told["rare"].high) == (0, 1)
    assert told["often"].high - told["often"].low < 0.1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"p": np.full((5, 3), 1 / 3)}, r"shape \(5, 3\).*60 rows x 3"),
        ({"p": np.full((60, 3), 3.0)}, "logits"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"trusted_labels": [0]}, "Give trusted_rows with"),
        ({"trusted_rows": [0, 70]}, "from 0 to 59"),
        ({"trusted_rows": np.arange(40)}, "without labels: give trusted_labels"),
        ({"trusted_rows": [0, 0], "trusted_labels": [1, 1]}, "names a row twice"),
        ({"trusted_rows": np.arange(10), "trusted_labels": np.zeros(10, int)}, "at least 30 are needed"),
        ({"trusted_rows": np.arange(40), "trusted_labels": np.zeros(39, int)}, r"expected \(40,\)"),
        ({"trusted_rows": np.arange(40), "trusted_labels": np.full(40, 3)}, "ids from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_named(given, message):
    _, _, p, report = noisy_corpus(rows=60)
    with pytest.raises(ValueError, match=message):
        textpl.noise_corrected_scores(given.pop("p", p), report, **given)


def test_scores_that_are_no_probabilities_need_a_review():
    right, given, p, report = noisy_corpus(rows=200)
    found = report.found
    bare = Detection(found.p_error, found.p_true, found.flagged, found.suggested, info={"calibrated": False})
    unsure = LabelReport(bare, given, report.label_names)
    with pytest.raises(ValueError, match="no probabilities.*trusted_rows"):
        textpl.noise_corrected_scores(p, unsure)
    rows = np.arange(50)
    assert textpl.noise_corrected_scores(p, unsure, trusted_rows=rows, trusted_labels=right[rows]).reviewed == 50
    with pytest.raises(ValueError, match="count=0"):
        textpl.random_review(report, 0)
    with pytest.raises(KeyError, match="accuracy"):
        textpl.noise_corrected_scores(p, report)["auc"]
    with pytest.raises(ValueError, match="must be positive"):
        textpl.noise_corrected_scores(p, report).rows_to_review(0)


# --- annotators' errors ---


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
def test_a_model_that_repeats_the_errors_of_annotators_is_not_praised():
    """NoisyAG-News: against its given labels the model trained on such labels is the better one; it is the worse."""
    frame = pd.read_parquet(SHARED / "noisy_agnews" / "train.parquet").drop_duplicates("text").iloc[:4500]
    vectors = unit_rows(get_encoder("lsa").encode(frame["text"].tolist(), progress=False))
    given, right = frame["label"].to_numpy(), frame["label_true"].to_numpy()
    report = textpl.find_label_issues(labels=given[:1500], embeddings=vectors[:1500], progress=False)
    sample = textpl.random_review(report, 400).rows
    found = []
    for labels in (given, right):
        p = LogisticRegression(C=10, max_iter=300).fit(vectors[1500:], labels[1500:]).predict_proba(vectors[:1500])
        true = float((p.argmax(1) == right[:1500]).mean())
        bounds = textpl.noise_corrected_scores(p, report)["accuracy"]
        told = textpl.noise_corrected_scores(p, report, trusted_rows=sample, trusted_labels=right[sample])["accuracy"]
        assert bounds.low < true < bounds.high and told.low < true < told.high < told.low + 0.08
        found.append((bounds.given, told.estimate))
    assert found[0][0] > found[1][0] and found[0][1] < found[1][1]
