"""Review: which cells are asked about, what the answers teach, and the way to a person and back."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from datasets import Dataset
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn.metrics import average_precision_score

from textpl.cleaning.result import Detection
from textpl.cleaning.review import EVERY, LESSONS, recut, review_order, settle
from textpl.cleaning.review_learning import OFFSETS, ORDERING, STRENGTHS, _design, _fit, learn
from textpl.label_issues.consensus import agree
from textpl.label_issues.report import Decision, LabelReport
from textpl.label_issues.review_formats import NO_LABEL, read_review

ROWS, LABELS = 1500, 8


def corpus(offset=0.0, swap=0.0, seed=0, log_odds=True):
    """Labels whose errors follow known log-odds; the detector sees them shifted by type, and swaps apart.

    Args:
        offset: how far the detector's log-odds of zeros are above the truth, and those of ones below it.
        swap: weight of the swap evidence in the truth, which the detector does not use.
    """
    rng = np.random.default_rng(seed)
    given = (rng.random((ROWS, LABELS)) < np.linspace(0.05, 0.5, LABELS)).astype(np.int8)
    seen, swaps = rng.normal(-3.5, 2, given.shape), rng.normal(0, 2, given.shape)
    truth = expit(seen + swap * swaps)
    wrong = rng.random(given.shape) < truth
    p = expit(seen + np.where(given == 1, -offset, offset)).astype(np.float32)
    flagged = np.zeros(p.shape, bool)
    flagged.ravel()[np.argsort(-p, axis=None)[: int(p.sum())]] = True
    info = {"log_odds": [logit(p), (logit(p) + swaps).astype(np.float32)]} if log_odds else {}
    p_true = np.where(given == 1, 1 - p, p)
    found = Detection(p, p_true, flagged, np.where(flagged, 1 - given, given).astype(np.int8), info=info)
    return found, given, np.where(wrong, 1 - given, given).astype(np.int8)


def reviewed(found, given, truth, budget, strategy="gain"):
    cells, _ = review_order(found, given, budget, strategy)
    decided = np.full(given.shape, -1, np.int8)
    decided.ravel()[cells] = truth.ravel()[cells]
    return settle(found, given, decided), decided


def precision(detection, given, truth, decided):
    rest = decided < 0
    return average_precision_score((given != truth)[rest], detection.p_error[rest])


@pytest.mark.parametrize("strategy", ["gain", "p_error", "uncertain", "per_label"])
@pytest.mark.parametrize("budget", [1, 37, 500, 10**6])
def test_a_queue_holds_distinct_open_cells_up_to_the_budget(strategy, budget):
    found, given, _ = corpus()
    decided = np.full(given.shape, -1)
    decided[::2] = 0
    cells, lesson = review_order(found, given, budget, strategy, decided=decided)
    assert len(cells) == len(set(cells.tolist())) == len(lesson) == min(budget, (decided < 0).sum())
    assert (decided.ravel()[cells] < 0).all()


def test_strategies_order_as_they_say():
    found, given, _ = corpus()
    p = found.p_error.ravel()
    assert set(review_order(found, given, 50, "p_error")[0]) == set(np.argsort(-p)[:50])
    assert np.abs(p[review_order(found, given, 20, "uncertain")[0]] - 0.5).max() < 0.05
    labels = review_order(found, given, 5 * LABELS, "per_label")[0] % LABELS
    assert np.bincount(labels, minlength=LABELS).tolist() == [5] * LABELS
    with pytest.raises(ValueError, match="strategy='random' is none of gain"):
        review_order(found, given, 5, "random")
    with pytest.raises(ValueError, match="budget=0"):
        review_order(found, given, 0)


def test_any_first_part_of_a_queue_holds_lessons_of_both_kinds():
    found, given, _ = corpus()
    cells, lesson = review_order(found, given, 500)
    for first in (4, 50, 100, 200):
        assert lesson[:first].sum() == first // EVERY
    assert set(np.argsort(-found.p_error.ravel())[:3]) <= set(cells[:20])
    for first in (50, 100, 500):
        lessons = cells[:first][lesson[:first]]
        assert 0.4 < given.ravel()[lessons].mean() < 0.6  # half of them given, half not
        assert 0.1 < found.flagged.ravel()[lessons].mean() < 0.9  # above and below the cut
    assert (np.diff(found.p_error.ravel()[cells[~lesson]]) <= 0).all()


def test_gain_favours_rare_labels():
    found, given, _ = corpus()
    cells, lesson = review_order(found, given, 2000, "gain")
    assert 0 < lesson.sum() <= LESSONS  # all but those that are probable errors anyway
    plain = review_order(found, given, 2000, "p_error")[0]
    rare = lambda chosen: (chosen % LABELS < 2).sum()  # noqa: E731
    assert rare(cells[~lesson]) / (~lesson).sum() > rare(plain) / len(plain)


def test_enough_lessons_are_not_given_again():
    found, given, truth = corpus()
    decided = np.full(given.shape, -1)
    decided.ravel()[: EVERY * (LESSONS - 10)] = 0
    assert review_order(found, given, 100, "gain", decided=decided)[1].sum() <= 10
    decided.ravel()[: EVERY * LESSONS] = 0
    assert review_order(found, given, 100, "gain", decided=decided)[1].sum() == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_wrong_balance_of_missing_and_wrong_labels_is_learnt(seed):
    found, given, truth = corpus(offset=1.5, seed=seed)
    after, decided = reviewed(found, given, truth, 800)
    before = precision(found, given, truth, decided)
    assert precision(after, given, truth, decided) > before + 0.03
    errors = (given != truth).sum()
    assert abs(np.log(after.p_error.sum() / errors)) < abs(np.log(found.p_error.sum() / errors)) + 0.1


@pytest.mark.parametrize("seed", range(3))
def test_the_weight_of_swaps_is_learnt(seed):
    found, given, truth = corpus(swap=1.0, seed=seed)
    after, decided = reviewed(found, given, truth, 400)
    assert precision(after, given, truth, decided) > precision(found, given, truth, decided) + 0.05


@pytest.mark.parametrize("budget", [5, 60, 200, 500])
@pytest.mark.parametrize("seed", range(4))
def test_a_ranking_that_is_right_is_not_spoiled(seed, budget):
    found, given, truth = corpus(seed=seed)
    after, decided = reviewed(found, given, truth, budget)
    assert precision(after, given, truth, decided) > precision(found, given, truth, decided) - 0.01


def test_few_answers_teach_how_many_errors_there_are_and_leave_the_order():
    """The detector expects far too many: 50 answers from the top of a queue of 500 say so."""
    found, given, _ = corpus()
    truth = given.copy()
    rng = np.random.default_rng(0)
    wrong = rng.random(given.shape) < expit(logit(np.clip(found.p_error, 1e-6, 1 - 1e-6)) - 2)
    truth[wrong] = 1 - given[wrong]
    cells, _ = review_order(found, given, 500)
    decided = np.full(given.shape, -1, np.int8)
    decided.ravel()[cells[:50]] = truth.ravel()[cells[:50]]
    after = settle(found, given, decided)
    told = after.info["review"]
    assert told["learnt"] and told["answers"] == 50 < ORDERING and told["order_changed"] == 0
    rest = decided < 0
    assert after.p_error[rest].sum() < 0.8 * found.p_error[rest].sum()
    assert precision(after, given, truth, decided) == pytest.approx(precision(found, given, truth, decided), abs=1e-3)


def test_what_is_corrected_in_passing_teaches_nothing():
    found, given, truth = corpus()
    cells, _ = review_order(found, given, 300)
    decided, asked = np.full(given.shape, -1, np.int8), np.zeros(given.shape, bool)
    decided.ravel()[cells], asked.ravel()[cells] = truth.ravel()[cells], True
    once = settle(found, given, decided, asked)
    passing = np.flatnonzero(((given != truth) & ~asked).ravel())[:200]
    decided.ravel()[passing] = truth.ravel()[passing]
    again = settle(found, given, decided, asked)
    rest = decided < 0
    np.testing.assert_array_equal(again.p_error[rest], once.p_error[rest])


@pytest.mark.parametrize(
    ("answers", "said"),
    [(4, "before 6 more answers"), (40, "takes 110 more answers at least"), (500, "the others")],
)
def test_it_says_how_many_more_answers_are_needed(answers, said):
    found, given, truth = corpus(offset=1.5)
    names = [f"l{k}" for k in range(LABELS)]
    first = LabelReport(found, given, names)
    queue = first.review_queue(500)
    picked = list(zip(queue.rows, queue.labels, queue.lesson, strict=True))[:answers]
    told = first.apply_review([Decision(int(r), names[k], bool(truth[r, k]), bool(x)) for r, k, x in picked]).summary()
    assert said in told and f"{answers} cells were reviewed" in told


def test_the_top_of_the_ranking_teaches_nothing_but_is_settled():
    found, given, truth = corpus(offset=1.5)
    after, decided = reviewed(found, given, truth, 300, "p_error")
    rest = decided < 0
    np.testing.assert_array_equal(after.p_error[rest], found.p_error[rest])
    np.testing.assert_array_equal(after.flagged[rest], found.flagged[rest])
    everything = settle(found, given, decided)  # even if all of them are called lessons
    np.testing.assert_array_equal(everything.p_error[rest], found.p_error[rest])


def test_nothing_is_made_of_the_many_cells_below_the_lessons():
    """Every lesson is wrong, so all log-odds would rise; the tail, which nobody looked at, stays."""
    found, given, _ = corpus()
    cells, _ = review_order(found, given, 200)
    decided = np.full(given.shape, -1, np.int8)
    decided.ravel()[cells] = 1 - given.ravel()[cells]
    after = settle(found, given, decided)
    tail = (found.p_error < np.quantile(found.p_error.ravel()[cells], 0.01)) & (decided < 0)
    head = found.flagged & (decided < 0)
    assert tail.mean() > 0.2 and (after.p_error[tail] <= found.p_error[tail] + 1e-6).all()
    assert after.p_error[head].mean() > found.p_error[head].mean() + 0.1


def test_decided_cells_are_certain():
    found, given, truth = corpus(offset=1.0)
    after, decided = reviewed(found, given, truth, 300)
    known = decided >= 0
    wrong = known & (decided != given)
    assert set(after.p_error[known]) == {0.0, 1.0}
    np.testing.assert_array_equal(after.p_error[known] == 1, wrong[known])
    np.testing.assert_array_equal(after.flagged[known], wrong[known])
    np.testing.assert_array_equal(after.suggested[known], decided[known])
    np.testing.assert_allclose(after.p_true, np.where(given == 1, 1 - after.p_error, after.p_error))
    assert after.p_error.dtype == np.float32 and not np.isnan(after.p_error).any()
    again = recut(after, given, "count", int(wrong.sum()))
    np.testing.assert_array_equal(again.flagged, wrong)


def test_without_log_odds_the_balance_is_learnt_too():
    found, given, truth = corpus(offset=1.5, log_odds=False)
    after, decided = reviewed(found, given, truth, 800)
    assert precision(after, given, truth, decided) > precision(found, given, truth, decided) + 0.03


def test_the_fit_is_the_ridge_regression_it_says():
    """Against a general optimiser, and the evidence against its definition by a numerical Hessian."""
    rng = np.random.default_rng(0)
    x, offset, ridge = rng.normal(size=(60, 3)), rng.normal(size=60), np.array([1.0, 4.0, 0.5])
    y = (rng.random(60) < expit(offset + x[:, 0])).astype(float)

    def loss(b):
        z = offset + x @ b
        return (np.logaddexp(0, z) - y * z).sum() + 0.5 * (ridge * b * b).sum()

    b, evidence = _fit(x, y, offset, ridge)
    np.testing.assert_allclose(b, minimize(loss, np.zeros(3), tol=1e-10).x, atol=1e-4)
    step = 1e-4 * np.eye(3)
    hessian = [
        [(loss(b + i + j) - loss(b + i - j) - loss(b - i + j) + loss(b - i - j)) / 4e-8 for j in step] for i in step
    ]
    expected = -loss(b) + 0.5 * np.log(ridge).sum() - 0.5 * np.linalg.slogdet(np.array(hessian))[1]
    assert evidence == pytest.approx(expected, abs=1e-3)


def test_no_lessons_and_lessons_of_one_kind_keep_the_order():
    score = np.random.default_rng(0).normal(size=400)
    kind = np.tile([0, 1], 200)
    same, told = learn(score, kind, [], np.empty(0, int), np.empty(0, bool), 0.0)
    assert same is score and not told["learnt"]
    zeros = np.flatnonzero(kind == 0)[:100]
    new, told = learn(score, kind, [], zeros, np.zeros(100, bool), 0.0)
    np.testing.assert_array_equal(np.argsort(new), np.argsort(score))
    assert new.mean() < score.mean() and told["order_changed"] == 0
    new, _ = learn(score, kind, [], zeros, np.ones(100, bool), 0.0)
    assert new.mean() > score.mean() and (np.diff(new[np.argsort(score)]) >= -1.5).all()
    assert STRENGTHS[-1] == max(STRENGTHS)


def single(seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 800)
    given = np.where(rng.random(800) < 0.3, (truth + 1) % 3, truth)
    model = rng.dirichlet([0.4] * 3, 800) * 0.6 + 0.4 * np.eye(3)[truth]
    near = rng.dirichlet([0.4] * 3, 800) * 0.4 + 0.6 * np.eye(3)[truth]
    p = (1 - model[np.arange(800), given]).astype(np.float32)
    flagged = model.argmax(1) != given
    evidence = {"model": model.astype(np.float32), "neighbors": near.astype(np.float32)}
    found = Detection(p, model.astype(np.float32), flagged, np.where(flagged, model.argmax(1), given), evidence)
    return found, given, truth


def test_single_label_rows_are_settled_and_learnt_from():
    found, given, truth = single()
    cells, lesson = review_order(found, given, 200)
    decided = np.full(800, -1)
    decided[cells] = truth[cells]
    after = settle(found, given, decided, np.isin(np.arange(800), cells[lesson]))
    rest = decided < 0
    ap = [average_precision_score((given != truth)[rest], d.p_error[rest]) for d in (found, after)]
    assert ap[1] > ap[0] - 0.005
    np.testing.assert_allclose(after.p_true.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(after.p_true[np.arange(800), given], 1 - after.p_error, atol=1e-6)
    np.testing.assert_array_equal(after.suggested[cells], truth[cells])


NAMES = ("anger", "joy", "love & peace")


def agreed(path, multi=True):
    return list(agree(read_review(path), multi=multi).decisions)


def report(multi=True):
    data = Dataset.from_dict({"text": ['say "hi", ok', "yay\nyay", "嗯", "wow"]})
    near = np.array([[1, 2, 3]] * 4, np.int32)
    if not multi:
        p_true = np.array([[0.1, 0.7, 0.2], [0.0, 0.8, 0.2], [0.4, 0.3, 0.3], [0.5, 0.45, 0.05]], np.float32)
        given = np.array([0, 1, 2, 1])
        flagged = p_true.argmax(1) != given
        found = Detection(1 - p_true[range(4), given], p_true, flagged, p_true.argmax(1))
        return LabelReport(found, given, NAMES, data, "text", neighbors=near)
    given = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], np.int8)
    p = np.array([[0.9, 0.8, 0.1], [0.1, 0.7, 0.2], [0.1, 0.6, 0.1], [0.3, 0.1, 0.1]], np.float32)
    flagged = p >= 0.5
    suggested = np.where(flagged, 1 - given, given).astype(np.int8)
    return LabelReport(
        Detection(p, np.where(given == 1, 1 - p, p), flagged, suggested), given, NAMES, data, "text", neighbors=near
    )


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_tables_go_out_and_come_back(suffix, tmp_path):
    queue = report().review_queue(4, "p_error")
    path = tmp_path / f"review.{suffix}"
    getattr(queue, f"to_{suffix}")(path)
    assert read_review(path) == []  # nothing decided yet
    _fill(path, ["no", "yes", "", "No"])
    assert {d.annotator for d in read_review(path)} == {"review"}
    assert agreed(path) == [
        Decision(0, "anger", False, False),
        Decision(0, "joy", True, False),
        Decision(2, "joy", False, False),
    ]
    after = report().apply_review(path)
    assert after.p_error[0, :2].tolist() == [1, 1] and after.p_error[2, 1] == 0 and len(after.decisions) == 3
    _fill(path, ["perhaps", "", "", ""])
    with pytest.raises(ValueError, match="record 1: decision 'perhaps': write yes or no"):
        read_review(path)


def test_every_cell_comes_with_a_question_in_words():
    table = report().review_queue(4, "p_error").to_dataset()
    assert table["question"][0] == "Is 'anger' right for this text? yes or no"
    assert table.column_names[-2:] == ["question", "decision"]
    single = report(multi=False).review_queue(3, "p_error").to_dataset()
    assert single["question"][0] == "Which label is right for this text? 'anger'? 'joy'? Another?"


def test_a_queue_says_what_it_holds():
    assert repr(report().review_queue(4, "p_error")) == (
        "<ReviewQueue: 4 cells of 3 rows, about 3 of them wrong; 0 to learn from>"
    )
    assert repr(report(multi=False).review_queue(3)).startswith("<ReviewQueue: 3 rows, about 2 of them wrong; ")


def test_single_label_decisions_are_names(tmp_path):
    path = tmp_path / "review.csv"
    report(multi=False).review_queue(3, "p_error").to_csv(path)
    _fill(path, ["love & peace", "", "joy"])
    decisions = read_review(path)
    assert [d.label for d in decisions] == ["love & peace", "joy"]
    after = report(multi=False).apply_review(decisions)
    assert after.suggested[decisions[0].row] == 2 and after.plan().labels[decisions[0].row] == 2


def _fill(path, answers):
    if path.suffix == ".csv":
        lines = list(csv.DictReader(path.open(encoding="utf-8-sig", newline="")))
    else:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line, answer in zip(lines, answers, strict=True):
        line["decision"] = answer
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, lines[0])
            writer.writeheader()
            writer.writerows(lines)
    else:
        path.write_text("\n".join(json.dumps(line) for line in lines))


def test_argilla_records_follow_its_rules_and_come_back(tmp_path):
    path = tmp_path / "records.json"
    report().review_queue(4, "p_error").to_argilla(path)
    records = json.loads(path.read_text())
    assert [r["id"] for r in records] == ["row-0", "row-1", "row-2"]  # one per text
    for record in records:
        assert set(record) == {"id", "fields", "metadata", "suggestions", "responses", "vectors"}
        suggestion = record["suggestions"]["label"]
        assert len(suggestion["value"]) == len(suggestion["score"]) > 0  # Argilla refuses empty and unequal lists
        assert all(0 <= s <= 1 for s in suggestion["score"]) and set(suggestion["value"]) <= {*NAMES, NO_LABEL}
    assert records[0]["metadata"]["review"] == ["anger", "joy"] and records[0]["metadata"]["given"] == ["anger"]
    assert records[0]["suggestions"]["label"]["value"] == ["joy"]
    assert records[1]["suggestions"]["label"]["value"] == [NO_LABEL]
    answer = lambda *names: {"label": [{"value": list(n), "user_id": f"u{i}"} for i, n in enumerate(names)]}  # noqa: E731
    records[0]["responses"] = answer(["anger", "love & peace"], ["anger"], ["joy"])
    records[1]["responses"] = answer([NO_LABEL])
    path.write_text(json.dumps(records))
    assert {d.annotator for d in read_review(path)} == {"u0", "u1", "u2"}
    assert agreed(path) == [
        Decision(0, "anger", True, False),  # two of three
        Decision(0, "joy", False, False),
        Decision(0, "love & peace", False, False, "", False),  # changed unasked by one, left as it was by two
        Decision(1, "joy", False, False),
    ]


def test_label_studio_tasks_fit_their_interface_and_come_back(tmp_path):
    path = tmp_path / "tasks.json"
    report().review_queue(4, "p_error").to_label_studio(path)
    tasks = json.loads(path.read_text())
    view = ElementTree.fromstring((tmp_path / "tasks.xml").read_text())
    control = view.find("Choices")
    assert control.get("choice") == "multiple" and [c.get("value") for c in control] == list(NAMES)
    for task in tasks:
        for result in task["predictions"][0]["result"]:
            assert (result["from_name"], result["to_name"]) == (control.get("name"), view.find("Text").get("name"))
            assert set(result["value"]["choices"]) <= set(NAMES)
        assert view.find("Text").get("value").removeprefix("$") in task["data"]
    assert tasks[0]["predictions"][0]["score"] == pytest.approx(0.9)
    done = lambda *names: {"result": [{**RESULT, "value": {"choices": list(names)}}], "was_cancelled": False}  # noqa: E731
    tasks[0]["annotations"] = [done("joy"), {"result": [], "was_cancelled": True}]
    tasks[1]["annotations"] = [{"result": [], "was_cancelled": False}]
    tasks[2]["annotations"] = [done("joy"), {"result": [], "was_cancelled": False}]  # a tie
    path.write_text(json.dumps(tasks))
    assert agreed(path) == [
        Decision(0, "anger", False, False),
        Decision(0, "joy", True, False),
        Decision(1, "joy", False, False),
    ]


RESULT = {"from_name": "label", "to_name": "text", "type": "choices"}


@pytest.mark.parametrize("kind", ["argilla", "label_studio"])
def test_single_label_suggestions_and_answers(kind, tmp_path):
    path = tmp_path / "q.json"
    getattr(report(multi=False).review_queue(4, "p_error"), f"to_{kind}")(path)
    records = json.loads(path.read_text())
    if kind == "argilla":
        assert records[0]["suggestions"]["label"] == {"value": "joy", "score": pytest.approx(0.7), "agent": "textpl"}
        records[0]["responses"] = {"label": [{"value": "joy"}, {"value": "anger"}, {"value": "joy"}]}
        records[1]["responses"] = {"label": [{"value": "joy"}, {"value": "anger"}]}
    else:
        assert 'choice="single"' in (tmp_path / "q.xml").read_text()
        give = lambda name: {"result": [{**RESULT, "value": {"choices": [name]}}]}  # noqa: E731
        records[0]["annotations"] = [give("joy"), give("anger"), give("joy")]
        records[1]["annotations"] = [give("joy"), give("anger")]
    path.write_text(json.dumps(records))
    found = agree(read_review(path), multi=False)
    assert [d[:3] for d in found.decisions] == [(0, "joy", True)]
    assert [d.row for d in found.disputes] == [2] and found.settled[0].told() == "1: joy; 2: anger; 3: joy"


def test_broken_files_and_decisions_are_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('[{"text": "a"}]')
    with pytest.raises(ValueError, match="neither records of Argilla nor tasks"):
        read_review(path)
    path.write_text('[{"data": {"text": "a"}}]')
    with pytest.raises(ValueError, match="without 'review'"):
        read_review(path)
    (tmp_path / "x.csv").write_text("row,label\n1,joy\n")
    with pytest.raises(ValueError, match="x.csv: no column 'decision', but .*keep the columns"):
        read_review(tmp_path / "x.csv")
    for decisions, message in (
        ([Decision(9, "joy")], "row 9: there are rows 0 to 3"),
        ([Decision(0, "hate")], "'hate' is no label"),
        ([Decision(0, "joy", True), Decision(0, "joy", False)], "disagree about row 0"),
    ):
        with pytest.raises(ValueError, match=message):
            report().apply_review(decisions)
    with pytest.raises(ValueError, match="not right, but say which"):
        report(multi=False).apply_review([Decision(0, "joy", False)])


def test_reviews_add_up_and_the_detector_is_asked_only_once():
    found, given, truth = corpus(offset=1.5)
    names = [f"l{k}" for k in range(LABELS)]
    data = Dataset.from_dict({"text": ["t"] * ROWS})
    first = LabelReport(found, given, names, data, "text")
    queue = first.review_queue(200)
    answers = [
        Decision(int(r), names[k], bool(truth[r, k]), bool(lesson))
        for r, k, lesson in zip(queue.rows, queue.labels, queue.lesson, strict=True)
    ]
    at_once = first.apply_review(answers)
    in_two = first.apply_review(answers[::2]).apply_review(answers[1::2])
    np.testing.assert_array_equal(at_once.p_error, in_two.p_error)
    assert "200 cells were reviewed" in at_once.summary() and at_once.detection.info["review"]["learnt"]
    changed = in_two.apply_review([answers[0]._replace(right=not answers[0].right)])
    assert changed.p_error[answers[0].row, queue.labels[0]] != in_two.p_error[answers[0].row, queue.labels[0]]
    assert not set(zip(at_once.review_queue(50).rows, at_once.review_queue(50).labels, strict=True)) & set(
        zip(queue.rows, queue.labels, strict=True)
    )
    assert first.p_error is found.p_error
    cleaned = at_once.apply(relabel=0.99)
    assert "reviewed" in cleaned["label_source"][int(queue.rows[0])]


def test_each_given_label_has_an_offset_of_its_own():
    """Errors are as probable for both labels by the score, and in truth always of one of them."""
    rng = np.random.default_rng(0)
    score, label = rng.normal(size=4000), rng.integers(2, size=4000)
    wrong = rng.random(4000) < expit(score + np.where(label == 1, 1.5, -1.5))
    reviewed = rng.choice(4000, 300, replace=False)
    kind, unseen = np.zeros(4000, np.int8), np.setdiff1d(np.arange(4000), reviewed)
    new, told = learn(score, kind, [], reviewed, wrong[reviewed], 0.0, label)
    assert told["learnt"] and told["order_changed"] > 0.9
    shift = [float((new - score)[unseen[label[unseen] == value]].mean()) for value in (0, 1)]
    assert shift[1] - shift[0] > 1.5
    old = learn(score, kind, [], reviewed, wrong[reviewed], 0.0)[0]
    precision = [average_precision_score(wrong[unseen], found[unseen]) for found in (old, new)]
    assert precision[1] > precision[0] + 0.05


def test_a_label_that_is_a_little_rarer_does_not_fill_the_queue():
    rng = np.random.default_rng(1)
    given = np.repeat([0, 1], [1200, 800])
    p = rng.uniform(0.5, 1, size=2000).astype(np.float32)
    p_true = np.zeros((2000, 2), np.float32)
    p_true[np.arange(2000), given], p_true[np.arange(2000), 1 - given] = 1 - p, p
    found = Detection(p, p_true, p > 0.9, np.where(p > 0.9, 1 - given, given))
    cells, lesson = review_order(found, given, 100)
    rest = cells[~lesson]
    assert set(rest) <= set(np.argsort(-found.p_error, kind="stable")[: len(cells)])


def test_of_many_labels_those_with_most_answers_have_an_offset():
    """Every offset makes all regressions slower: 1,000 labels would take minutes."""
    label = np.concatenate([np.repeat(np.arange(300), 5), np.repeat(300, 40)])
    cells = np.arange(len(label))
    design = _design(np.zeros(len(label)), np.zeros(len(label), np.int8), [], cells, 0.0, label)
    assert len(design.offsets) == OFFSETS and 300 in design.offsets
    assert design(cells[:10]).shape == (10, 3 + OFFSETS)
