"""Wrong labels of single-label corpora: found, counted, corrected; and hardly any where there are none."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from textpl.cleaning.agreement import agreement, conflicts
from textpl.cleaning.class_evidence import VOTES, neighbor_votes
from textpl.cleaning.class_noise import (
    anchor_errors,
    anchor_transition,
    confident_transition,
    noise_posterior,
    scale_noise,
    shift_to_count,
    sure_rate,
)
from textpl.cleaning.learning_curve import lasting_disagreement
from textpl.cleaning.out_of_sample import out_of_sample
from textpl.cleaning.single_label import detect
from textpl.embeddings.encoders import get_encoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.label_issues.find import find_label_issues

SHARED = Path(__file__).parents[2] / "shared" / "data"


def corpus(rows=2000, classes=4, seed=0, spread=0.55, width=16):
    """Unit vectors around one centre per class (some overlap), and their classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    centers = rng.normal(size=(classes, width))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    x = centers[truth] + spread * rng.normal(size=(rows, width)) / np.sqrt(width) * 2
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32), truth


def flipped(truth, rate, classes, seed=1):
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < rate
    return np.where(wrong, (truth + rng.integers(1, classes, len(truth))) % classes, truth)


def probabilities(x, labels, classes):
    """Out-of-sample; classes that are never given have probability 0."""
    p = np.zeros((len(x), classes), dtype=np.float32)
    present = np.unique(labels)
    p[:, present] = cross_val_predict(LogisticRegression(C=10), x, labels, cv=3, method="predict_proba")
    return p


def found(x, labels, p, *, vectors=True, graph=True, **options):
    neighbors = neighbor_graph(x, 50, progress=False) if graph else None
    return detect(labels, p, neighbors, x if vectors else None, progress=False, **options)


@pytest.fixture(scope="module")
def noisy():
    x, truth = corpus()
    labels = flipped(truth, 0.2, 4)
    return x, truth, labels, probabilities(x, labels, 4)


def test_finds_counts_and_corrects(noisy):
    x, truth, labels, p = noisy
    result = found(x, labels, p)
    wrong = truth != labels
    assert average_precision_score(wrong, result.p_error) > average_precision_score(
        wrong, 1 - p[np.arange(len(p)), labels]
    )
    assert 0.7 < result.info["errors"] / wrong.sum() < 1.6
    assert result.flagged.sum() == round(result.info["shown"])
    assert result.info["errors_low"] < wrong.sum() < result.info["errors_high"]
    assert (result.suggested == truth).mean() > (labels == truth).mean() + 0.1
    assert np.mean((result.p_error - wrong) ** 2) < 0.5 * wrong.mean() * (1 - wrong.mean())


def test_shapes_types_and_consistency(noisy):
    x, _, labels, p = noisy
    result = found(x, labels, p)
    assert result.p_error.dtype == result.p_true.dtype == np.float32
    assert (result.suggested.dtype, result.flagged.dtype) == (np.int64, bool)
    np.testing.assert_allclose(result.p_true.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(result.p_true[np.arange(len(p)), labels], 1 - result.p_error, atol=1e-5)
    np.testing.assert_allclose(result.p_error.sum(), result.info["errors"], rtol=1e-3)
    assert (result.suggested != labels)[result.flagged].all()
    assert (result.suggested == labels)[~result.flagged].all()
    assert result.evidence["model"].shape == result.evidence["neighbors"].shape == p.shape
    assert not result.multi
    assert result.partner is None


@pytest.mark.parametrize("missing", [{"vectors": False}, {"graph": False}, {"vectors": False, "graph": False}])
def test_works_with_less(noisy, missing):
    x, truth, labels, p = noisy
    result = found(x, labels, p, **missing)
    assert average_precision_score(truth != labels, result.p_error) > 0.7
    assert (result.suggested == truth).mean() > (labels == truth).mean() + 0.05
    assert 0.6 < result.info["errors"] / (truth != labels).sum() < 1.6


def test_clean_corpus_is_left_alone():
    x, truth = corpus()
    result = found(x, truth, probabilities(x, truth, 4))
    assert result.flagged.mean() <= 0.02


def ranked(rows, rate, seed=0, classes=4):
    """Predictions whose mistakes vanish towards the surest row (.6 x^1.5), and labels wrong at a rate besides."""
    rng = np.random.default_rng(seed)
    x, predicted = rng.random(rows), rng.integers(0, classes, rows)
    differs = rng.random(rows) < rate + (1 - rate) * 0.6 * x**1.5
    sure = 0.95 - 0.6 * x
    fused = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    fused[np.arange(rows), predicted] = sure
    return np.where(differs, (predicted + 1) % classes, predicted), fused


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.6])
def test_mistakes_of_the_model_are_not_counted_as_noise(rate):
    """The surest quarter of these rows differs by .05 (1 - rate) more than the rate."""
    labels, fused = ranked(20_000, rate)
    assert sure_rate(labels, fused) == pytest.approx(rate, abs=0.03)
    few = [sure_rate(*ranked(500, rate, seed)) for seed in range(8)]
    assert rate - 0.08 < np.mean(few) < rate + 0.02  # careful
    assert max(few) < rate + 0.1


def test_anchors_are_scaled_to_the_sure_rate():
    labels, fused = ranked(2000, 0.2)
    transition, _ = anchor_transition(labels, fused)
    assert anchor_errors(fused, transition) / 2000 == pytest.approx(sure_rate(labels, fused))
    np.testing.assert_allclose(transition.sum(axis=1), 1)


def test_few_rows_per_class_are_not_overcounted():
    """20 classes of about 40 rows, a quarter of them predicted wrongly: 16 % flagged of the clean ones if all
    disagreement of the surest 30 rows counts."""
    x, truth = corpus(800, 20, spread=0.7)
    p = probabilities(x, truth, 20)
    assert 0.6 < (p.argmax(axis=1) == truth).mean() < 0.85
    assert found(x, truth, p).flagged.mean() <= 0.05
    labels = flipped(truth, 0.2, 20)
    noisy = found(x, labels, probabilities(x, labels, 20))
    assert 0.7 < noisy.info["errors"] / (truth != labels).sum() < 1.6


def topics(rows=4000, classes=4, per_class=25, seed=0):
    """Every class is many small topics, some of them near another class: hard for a line, told by the nearest rows."""
    x, of_topic = corpus(per_class * classes, classes, seed, spread=0.8, width=32)
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, len(x), rows)
    vectors = x[topic] + 0.6 * rng.normal(size=(rows, 32)) / np.sqrt(32)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), of_topic[topic]


def test_hard_rows_labelled_by_chance_are_counted():
    """Labels of hard rows drawn anew: sure rows say nothing, the lost locality does."""
    x, truth = topics()
    p = np.sort(probabilities(x, truth, 4), axis=1)
    hard = np.argsort(p[:, -1] - p[:, -2])[:1000]
    labels = truth.copy()
    labels[hard] = np.random.default_rng(0).integers(0, 4, len(hard))
    clean, noisy = (found(x, z, probabilities(x, z, 4)) for z in (truth, labels))
    assert clean.info["hard_share"] < 0.05
    assert noisy.info["hard_share"] > 0.3
    assert noisy.info["class_errors"] < 0.3 * (labels != truth).sum()
    assert noisy.flagged.sum() > 3 * clean.flagged.sum()


def test_same_seed_same_result_and_rows_in_any_order(noisy):
    x, _, labels, p = noisy
    first, again = (found(x, labels, p, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.p_error, again.p_error)
    order = np.random.default_rng(0).permutation(len(p))
    shuffled = found(x[order], labels[order], p[order], seed=3)
    assert np.corrcoef(shuffled.p_error, first.p_error[order])[0, 1] > 0.98  # other folds


def test_rare_class_class_never_given_two_classes_many_classes():
    x, truth = corpus(600, 4)
    truth[truth == 3] = 0
    truth[:2] = 2  # 2 rows are right however few
    truth[2:][truth[2:] == 2] = 1
    result = found(x, truth, np.clip(np.eye(4)[truth] * 0.6 + 0.1, 0, 1))
    assert np.isfinite(result.p_true).all()
    assert not (result.suggested == 3).any()
    x, truth = corpus(600, 2)
    labels = flipped(truth, 0.2, 2)
    assert average_precision_score(truth != labels, found(x, labels, probabilities(x, labels, 2)).p_error) > 0.7
    x, truth = corpus(3000, 200, width=64, spread=0.4)
    labels = flipped(truth, 0.2, 200)
    p = neighbor_votes(neighbor_graph(x, 10, progress=False), np.eye(200)[labels], 10, 1.0)
    many = found(x, labels, p)
    assert average_precision_score(truth != labels, many.p_error) > 0.8
    assert 0.6 < many.info["errors"] / (truth != labels).sum() < 1.7


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_few_rows_and_one_label(rows):
    labels = np.arange(rows) % 2
    x = np.eye(8, dtype=np.float32)[:rows]
    result = found(x, labels, np.full((rows, 2), 0.5))
    assert np.isfinite(result.p_error).all()
    alone = found(x, np.zeros(rows, int), np.ones((rows, 1)))
    assert not alone.flagged.any()
    assert alone.info["errors"] == 0


def test_every_row_one_label_is_no_error():
    x, _ = corpus(300)
    result = found(x, np.full(300, 2), np.eye(4)[np.full(300, 2)] * 0.96 + 0.01)
    assert result.flagged.mean() <= 0.02


def test_groups_share_a_fold(noisy):
    x, _, labels, p = noisy
    result = found(x, labels, p, groups=np.arange(len(p)) // 4)
    assert np.isfinite(result.p_true).all()
    one_group = found(x[:200], labels[:200], p[:200], groups=np.zeros(200, int))
    assert np.isfinite(one_group.p_true).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, p: (z[:-1], p), "1999 labels"),
        (lambda z, p: (np.where(np.arange(len(z)) == 5, 9, z), p), "Row 5 has label 9"),
        (lambda z, p: (z, np.where(np.arange(len(p))[:, None] == 7, np.nan, p)), "Row 7 holds"),
        (lambda z, p: (z.astype(float), p), "class ids"),
    ],
)
def test_bad_input_is_named(noisy, change, message):
    x, _, labels, p = noisy
    with pytest.raises(ValueError, match=message):
        found(x, *change(labels, p))


def test_graph_of_other_rows(noisy):
    x, _, labels, p = noisy
    with pytest.raises(ValueError, match="same texts"):
        detect(labels, p, neighbor_graph(x[:50], 5, progress=False), x)


def test_votes_against_loops():
    x, truth = corpus(120)
    graph = neighbor_graph(x, 20, progress=False)
    targets = np.eye(4)[truth]
    for k, steepness in (*VOTES, (5, 0.0)):
        k = min(k, 20)
        spread = np.mean(graph.sims[:, 0] - graph.sims[:, k - 1]) + 1e-6
        wanted = np.empty((120, 4))
        for row in range(120):
            w = [np.exp(steepness * (graph.sims[row, j] - graph.sims[row, 0]) / spread) for j in range(k)]
            votes = sum(w[j] * targets[graph.ids[row, j]] for j in range(k))
            wanted[row] = (votes + targets.mean(axis=0)) / (sum(w) + 1)
        np.testing.assert_allclose(neighbor_votes(graph, targets, k, steepness), wanted, rtol=1e-4)


def test_posterior_by_hand():
    p, t = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.8, 0.2], [0.1, 0.9]])
    labels = np.array([0, 0])
    odds = np.array([0.5 * 0.1 / (0.5 * 0.8), 0.1 * 0.1 / (0.9 * 0.8)])
    plain = (odds / (1 + odds)).sum()
    np.testing.assert_allclose(noise_posterior(p, t, labels, plain)[:, 1], odds / (1 + odds), rtol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_properties_of_the_noise_model(seed, rate):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 6))
    p = rng.dirichlet(np.ones(classes), 50)
    labels = rng.integers(0, classes, 50)
    t = confident_transition(labels, p)
    np.testing.assert_allclose(t.sum(axis=1), 1)
    scaled = scale_noise(t, p, rate)
    assert (scaled >= -1e-12).all()
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    posterior = noise_posterior(p, scaled, labels, rate * 50)
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose((1 - posterior[np.arange(50), labels]).sum(), rate * 50, rtol=1e-2)
    assert shift_to_count(np.zeros(4), 1.0).tolist() == pytest.approx([0.25] * 4)


def users_own(share, rows=3000, sure=0.96, seed=0):
    """A model that is right in 96 % of the rows, and labels of which the share of two classes is given as the first."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, rows)
    labels = np.where(np.isin(truth, (1, 2)) & (rng.random(rows) < share), 0, truth)
    top = np.where(rng.random(rows) < sure, truth, (truth + rng.integers(1, 4, rows)) % 4)
    p = np.full((rows, 4), (1 - sure) / 3)
    p[np.arange(rows), top] = sure
    return truth, labels, p


@pytest.mark.parametrize("share", [0.7, 0.9, 1.0])
def test_a_class_whose_labels_are_mostly_missing_is_said_not_to_be_known(share):
    truth, labels, p = users_own(share)
    report = find_label_issues(labels=labels, pred_probs=p, label_names=list("abcd"), progress=False)
    wrong = truth != labels
    assert (report.flagged & wrong).sum() > 0.9 * wrong.sum() and report.flagged.sum() < 1.1 * wrong.sum()
    text = report.summary()
    assert "IT CANNOT BE KNOWN whether label 'b'" in text and "whether label 'c'" in text and "label 'd'" not in text
    low, high = report.found.info["errors_low"], report.found.info["errors_high"]
    assert low < wrong.sum() < high and low < 0.1 * wrong.sum()
    conflict = report.flagged & (labels == 0) & np.isin(p.argmax(1), (1, 2))
    assert (report.p_error[conflict] < 0.5).all() and (report.p_error[conflict] > 0.4).all()
    np.testing.assert_allclose(report.p_true.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(report.expected_errors, report.found.info["errors"], rtol=1e-3)


def test_a_third_of_the_labels_of_a_class_missing_is_no_conflict():
    truth, labels, p = users_own(0.3)
    assert not conflicts(labels, p)
    report = find_label_issues(labels=labels, pred_probs=p, label_names=list("abcd"), progress=False)
    assert (report.flagged & (truth != labels)).sum() > 0.9 * (truth != labels).sum()


@pytest.mark.parametrize("kind", ["uniform", "constant", "random"])
def test_probabilities_that_say_nothing_flag_nothing(kind):
    rng = np.random.default_rng(0)
    labels, classes = rng.integers(0, 50, 3000), 50
    p = {
        "uniform": np.full((3000, classes), 1 / classes),
        "constant": np.tile(rng.dirichlet(np.ones(classes)), (3000, 1)),
        "random": rng.dirichlet(np.ones(classes), 3000),
    }[kind]
    report = find_label_issues(
        labels=labels, pred_probs=p, label_names=[f"c{k}" for k in range(classes)], progress=False
    )
    assert not report.flagged.any() and "NOTHING IS KNOWN" in report.summary()
    assert report.found.info["errors_high"] == 3000


def test_columns_in_another_order_are_refused_with_the_order_that_fits():
    truth, labels, p = users_own(0.0)
    assert agreement(labels, p) > 50
    with pytest.raises(ValueError, match=r"named \[b, c, d, a\]"):
        find_label_issues(labels=labels, pred_probs=p[:, [1, 2, 3, 0]], label_names=list("abcd"), progress=False)


def test_agreement_by_permutations():
    rng = np.random.default_rng(0)
    p, labels = rng.dirichlet(np.ones(3), 200), rng.choice(3, 200, p=[0.6, 0.3, 0.1])
    drawn = [p[np.arange(200), rng.permutation(labels)].sum() for _ in range(4000)]
    wanted = (p[np.arange(200), labels].sum() - np.mean(drawn)) / np.std(drawn)
    assert agreement(labels, p) == pytest.approx(wanted, abs=0.08)


def test_flat_probabilities_are_told_from_their_order():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 2000)
    labels = flipped(truth, 0.1, 4)
    flat = np.full((2000, 4), 0.25 - 0.0001)
    flat[np.arange(2000), truth] += 0.0004
    result = detect(labels, flat, None, None, progress=False)
    assert average_precision_score(truth != labels, result.p_error) > 0.9
    assert 0.6 < result.info["errors"] / (truth != labels).sum() < 1.6


def test_want_of_rows_is_not_counted_as_wrong_labels():
    """20 classes of 40 rows: the disagreement still falls, and would all but vanish; noise would not."""
    x, truth = corpus(800, 20, spread=0.7)
    labels = flipped(truth, 0.3, 20)
    clean, noisy = (lasting_disagreement(x, z, 20, None, 0) for z in (truth, labels))
    assert clean + 0.05 < noisy


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
def test_errors_of_annotators_are_within_what_is_told():
    """NoisyAG-News, a fifth wrong, embedded by their words alone: 17 of 299 were once expected in 1,500 rows."""
    data = datasets.Dataset.from_parquet(str(SHARED / "noisy_agnews" / "train.parquet")).shuffle(seed=0)
    for rows in (800, 1500):
        part = data.select(range(rows))
        x = unit_rows(get_encoder("lsa").encode(part["text"], progress=False))
        for column, most_flagged in (("label", 1.0), ("label_true", 0.03)):
            z = np.array(part[column])
            result = found(x, z, out_of_sample(x, z, progress=False))
            wrong = int((z != np.array(part["label_true"])).sum())
            assert result.info["errors_low"] <= max(wrong, 0.02 * rows) and wrong <= result.info["errors_high"]
            assert result.flagged.mean() <= most_flagged
            if wrong:
                assert 0.35 < result.p_error.sum() / wrong < 1.6  # .6 to 1.0 with embeddings
