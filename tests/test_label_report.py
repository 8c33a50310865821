"""`LabelReport`: what it shows, what `apply` makes of a dataset, and that all of it can be undone."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, NamedSplit, Value

from textpl.cleaning.apply import check_thresholds, row_errors
from textpl.cleaning.result import Detection
from textpl.label_issues.columns import undo
from textpl.label_issues.report import Decision, LabelReport
from textpl.reading.labeled_rows import text_fingerprint
from textpl.reading.probabilities import read_probabilities_column

NAMES = ("anger", "joy", "love")
GIVEN = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], np.int8)
P_ERROR = np.array([[0.9, 0.8, 0.0], [0.1, 0.0, 0.2], [0.0, 0.6, 0.0], [0.3, 0.0, 0.0]], np.float32)
MULTI_FORMS = {
    "multi_hot": ([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], List(Value("float32"), length=3)),
    "loose_multi_hot": ([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], List(Value("int64"))),
    "bool": ([[True, False, False], [False, True, False], [False] * 3, [True, True, False]], List(Value("bool"))),
    "ids": ([[0], [1], [], [1, 0]], List(Value("int32"))),
    "classes": ([[0], [1], [], [1, 0]], List(ClassLabel(names=list(NAMES)))),
    "names": ([["anger"], ["joy"], [], ["joy", "anger"]], List(Value("string"))),
}
SINGLE_FORMS = {
    "id": ([0, 1, 2, 1], Value("int32")),
    "class": ([0, 1, 2, 1], ClassLabel(names=list(NAMES))),
    "name": (["anger", "joy", "love", "joy"], Value("string")),
}


def detection(p=P_ERROR, given=GIVEN, cut=0.5, **more):
    flagged = p >= cut
    p_true = np.where(given == 1, 1 - p, p).astype(np.float32)
    suggested = np.where(flagged, 1 - given, given).astype(np.int8)
    return Detection(p.astype(np.float32), p_true, flagged, suggested, **more)


def multi(form="multi_hot", **more):
    values, feature = MULTI_FORMS[form]
    features = Features({"id": Value("int64"), "emotions": feature, "text": Value("string")})
    texts = ["grr", "yay", "hm", "wow"]
    data = Dataset.from_dict({"id": [7, 8, 9, 10], "emotions": values, "text": texts}, features=features)
    near = np.array([[3, 1, -1], [3, 0, -1], [-1, -1, -1], [0, 1, 2]], np.int32)
    return LabelReport(detection(**more), GIVEN, NAMES, data, "text", "emotions", near)


def single(form="class", **more):
    values, feature = SINGLE_FORMS[form]
    data = Dataset.from_dict({"text": list("abcd"), "y": values}, Features({"text": Value("string"), "y": feature}))
    p_true = np.array([[0.1, 0.7, 0.2], [0.0, 0.8, 0.2], [0.4, 0.3, 0.3], [0.5, 0.45, 0.05]], np.float32)
    given = np.array([0, 1, 2, 1])
    p = 1 - p_true[np.arange(4), given]
    flagged = p >= 0.6
    found = Detection(p, p_true, flagged, np.where(flagged, p_true.argmax(1), given))
    return LabelReport(found, given, NAMES, data, "text", "y", **more)


def test_cells_show_what_speaks_for_and_against_them():
    model, swap = np.full((4, 3), 0.25, np.float32), np.full((4, 3), -1, np.int32)
    swap[0, 0] = 1
    report = multi(evidence={"model": model}, partner=swap)
    cells = report.cells
    assert cells["label"][:] == ["anger", "joy", "joy"] and cells["row"][:] == [0, 0, 2]
    assert cells["given"][:] == [1, 0, 0] and cells["suggested"][:] == [0, 1, 1]
    assert cells["kind"][:] == ["swap", "missing", "missing"] and cells["partner"][:] == ["joy", "", ""]
    assert cells["text"][:] == ["grr", "grr", "hm"] and cells["p_error"][0] == pytest.approx(0.9)
    assert cells["p_model"][0] == 0.25 and np.isnan(cells["p_neighbors"][0])
    near = cells[0]["neighbors"]
    assert [n["row"] for n in near] == [3, 1] and near[0]["labels"] == ["anger", "joy"] and near[0]["text"] == "wow"
    assert cells[2]["neighbors"] == []


def test_cells_of_single_label_rows_are_names():
    cells = single().cells
    assert cells[0] == {
        "row": 0,
        "label": "anger",
        "given": "anger",
        "suggested": "joy",
        "kind": "wrong",
        "p_error": pytest.approx(0.9),
        "p_model": pytest.approx(float("nan"), nan_ok=True),
        "p_neighbors": pytest.approx(float("nan"), nan_ok=True),
        "text": "a",
        "neighbors": [],
    }


def test_without_a_cell_or_a_dataset_the_table_is_empty_or_without_texts():
    clean = LabelReport(detection(np.zeros((4, 3), np.float32)), GIVEN, NAMES)
    assert len(clean.cells) == 0 and "0 cells look wrong" in clean.summary()
    assert LabelReport(detection(), GIVEN, NAMES).cells["text"][:] == ["", "", ""]


@pytest.mark.parametrize("form", MULTI_FORMS)
def test_apply_writes_labels_as_they_were_and_undo_restores_everything(form):
    report = multi(form)
    for settings in ({}, {"relabel": 0.7, "drop": 0.5, "downweight": 0.25}, {"relabel": 0.0}):
        cleaned = report.apply(**settings)
        assert cleaned.column_names[:3] == ["id", "emotions", "text"]
        assert cleaned.features["emotions"] == report.dataset.features["emotions"]
        assert cleaned["given_emotions"][:] == report.dataset["emotions"][:]
        back = undo(cleaned)
        assert back.features == report.dataset.features and back.to_dict() == report.dataset.to_dict()
    assert cleaned["emotions"][:] != report.dataset["emotions"][:]


@pytest.mark.parametrize("form", SINGLE_FORMS)
def test_apply_single_label_relabels_the_flagged_rows(form):
    report = single(form)
    cleaned = report.apply()
    assert cleaned.features["y"] == report.dataset.features["y"]
    changed = [i for i in range(4) if cleaned["y"][i] != report.dataset["y"][i]]
    assert changed == [0, 2] and cleaned["label_source"][:] == ["relabelled", "given", "relabelled", "given"]
    assert cleaned["label_weight"][:] == [1, 1, 1, 1]
    assert undo(cleaned).to_dict() == report.dataset.to_dict() and undo(cleaned).features == report.dataset.features


def test_multi_label_masks_cells_by_default_and_never_rows():
    cleaned = multi().apply()
    assert cleaned["emotions"][:] == multi().dataset["emotions"][:]
    assert cleaned["label_weight"][:] == [[0, 0, 1], [1, 1, 1], [1, 0, 1], [1, 1, 1]]
    assert cleaned["label_source"][2] == ["given", "masked", "given"] and len(cleaned) == 4


def test_thresholds_act_from_strong_to_weak():
    cleaned = multi("names").apply(relabel=0.85, drop=0.7, downweight=0.25)
    assert cleaned["emotions"][:] == [[], ["joy"], [], ["joy", "anger"]]
    weights, names = read_probabilities_column(cleaned, "label_weight")
    assert names == multi("names").label_names, "labels that are names have weights by name"
    np.testing.assert_allclose(weights, [[1, 0, 1], [1, 1, 1], [1, 0.4, 1], [0.7, 1, 1]], atol=1e-6)
    assert cleaned["label_source"][0] == ["relabelled", "masked", "given"]
    assert cleaned["label_source"][2][1] == "downweighted"


def test_lists_of_unchanged_rows_keep_their_order():
    report = multi("names")
    assert report.apply(relabel=0.7)["emotions"][:] == [["joy"], ["joy"], [], ["joy", "anger"]]


def test_single_label_is_only_relabelled_where_another_label_is_more_probable():
    """Row 3: p_error .55, the most probable label is anger; row 2: the given one is not the most probable."""
    report = single()
    assert report.apply(relabel=0.5)["y"][:] == [1, 1, 0, 0]
    drop = report.apply(drop=0.65)
    assert drop["y"][:] == report.dataset["y"][:] and drop["label_weight"][:] == [0, 1, 0, 1]


def test_the_price_in_right_labels_is_estimated_and_shown(caplog):
    plan = multi().plan(relabel=0.55)
    assert plan.counts() == {"relabelled": {"cells": 3, "expected_right": pytest.approx(0.7)}}
    assert plan.right_changed == pytest.approx(0.7 / (12 - P_ERROR.sum()), rel=1e-5)
    assert "3 cells relabelled (about 1 of them are right as given)" in plan.summary()
    with caplog.at_level(logging.INFO, logger="textpl.label_issues.report"):
        multi().apply(relabel=0.55)
    assert plan.summary() in caplog.text
    assert plan.summary().split(":")[0] not in multi().summary() and "masked" in multi().summary()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"relabel": 1.5}, "relabel=1.5"),
        ({"drop": -0.1}, "drop=-0.1"),
        ({"relabel": 0.5, "drop": 0.5}, "drop=0.5 never acts, because relabel=0.5"),
        ({"relabel": 0.5, "downweight": 0.7}, "downweight=0.7 never acts"),
        ({"drop": float("nan")}, "drop=nan"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        check_thresholds(**{"relabel": None, "drop": None, "downweight": None, **settings})


@pytest.mark.parametrize("name", ["test", "validation", "dev", "test[:50%]", "train+test"])
def test_held_out_data_are_refused_unless_told(name):
    report = multi()
    report.dataset._split = NamedSplit(name) if name in ("test", "validation", "dev") else None
    report.split = name
    with pytest.raises(ValueError, match="looks like held-out data.*allow_test=True"):
        report.apply()
    assert "held-out" in report.summary() and len(report.apply(allow_test=True)) == 4


def test_a_split_column_is_looked_at_and_train_is_cleaned():
    report = multi()
    data = report.dataset.add_column("split", ["train", "train", "train", "val"])
    with pytest.raises(ValueError, match="'val' looks like"):
        LabelReport(report.found, GIVEN, NAMES, data, "text", "emotions").apply()
    report.split = "train"
    assert report.apply().split == report.dataset.split


def test_what_would_be_lost_or_mixed_up_is_refused():
    report = multi()
    foreign = report.dataset.add_column("label_weight", [1.0] * 4)
    with pytest.raises(ValueError, match=r"\['label_weight'\].*rename"):
        LabelReport(report.found, GIVEN, NAMES, foreign, "text", "emotions").apply()
    with pytest.raises(ValueError, match="'emotions' holds other labels"):
        LabelReport(detection(), 1 - GIVEN, NAMES, report.dataset, "text", "emotions").apply()
    with pytest.raises(ValueError, match="has 2 rows and there are 4"):
        LabelReport(detection(), GIVEN, NAMES, report.dataset.select([0, 1]))
    with pytest.raises(ValueError, match="no dataset"):
        LabelReport(detection(), GIVEN, NAMES).apply()
    with pytest.raises(ValueError, match="no columns of a cleaning"):
        undo(report.dataset)


def test_labels_given_apart_become_a_column():
    data = Dataset.from_dict({"text": list("abcd")})
    cleaned = LabelReport(detection(), GIVEN, NAMES, data, "text").apply(relabel=0.5)
    assert cleaned["given_label"][:] == GIVEN.tolist() and cleaned["label"][0] == [0, 1, 0]
    assert undo(cleaned)["label"][:] == GIVEN.tolist()


def test_selected_rows_of_a_memory_mapped_dataset_are_cleaned(tmp_path):
    report = multi("names")
    report.dataset.to_parquet(str(tmp_path / "d.parquet"))
    stored = Dataset.from_parquet(str(tmp_path / "d.parquet"), cache_dir=str(tmp_path)).select([3, 2, 1, 0])
    turned = LabelReport(detection(P_ERROR[::-1], GIVEN[::-1]), GIVEN[::-1], NAMES, stored, "text", "emotions")
    assert turned.apply(relabel=0.7)["emotions"][:] == [["joy", "anger"], [], ["joy"], ["joy"]]


def test_rethreshold_changes_the_cut_only():
    report = multi()
    assert report.rethreshold(0.85).flagged.sum() == 1 and report.rethreshold(count=5).flagged.sum() == 5
    assert report.rethreshold(count=2).suggested.tolist()[0] == [0, 1, 0]
    assert report.rethreshold(0.85).apply()["label_weight"][0] == [0, 1, 1]
    assert report.flagged.sum() == 3
    assert single().rethreshold(0.5).suggested.tolist() == [1, 1, 0, 0]
    for wrong in ({}, {"p": 0.5, "count": 3}, {"p": 2.0}, {"count": -1}):
        with pytest.raises(ValueError, match="rethreshold"):
            report.rethreshold(**wrong)


def test_row_errors_lie_between_the_largest_cell_and_independence():
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.0, 0.0]], np.float32)
    np.testing.assert_allclose(row_errors(p), [(0.5 + 0.75) / 2, 0.2], atol=1e-6)
    many = row_errors(np.full((1, 1000), 0.01, np.float32))
    assert 0.4 < many[0] < 0.6  # the product alone would be 1.0
    assert row_errors(np.ones((2, 3), np.float32)).tolist() == [1, 1]
    np.testing.assert_array_equal(single().row_p_error, single().p_error)


@pytest.mark.parametrize("settings", [{}, {"relabel": 0.5}, {"relabel": 0.8, "drop": 0.5}, {"downweight": 0.1}])
@pytest.mark.parametrize("make", [multi, single])
def test_repeated_cleaning_ends_even_if_everything_is_doubted_every_time(make, settings):
    """A detector that always calls every given label wrong could flip labels for ever."""
    report, seen = make(), []
    data, first = report.dataset, report.dataset
    for _ in range(5):
        given = _read(data, report)
        found = _doubt_all(given)
        report = LabelReport(found, given, NAMES, data, "text", report.label_column)
        data = report.apply(**settings)
        seen.append(data.remove_columns("p_error").to_dict())
    assert seen[-1] == seen[-2] == seen[-3]
    assert undo(data).to_dict() == first.to_dict() and undo(data).features == first.features


def test_a_label_changed_before_that_looks_wrong_again_is_masked_for_a_person():
    report = multi()
    once = report.apply(relabel=0.7)
    given = _read(once, report)
    again = LabelReport(_doubt_all(given), given, NAMES, once, "text", "emotions").apply(relabel=0.7)
    assert again["emotions"][0][:2] == once["emotions"][0][:2]
    assert again["label_source"][0][:2] == ["masked", "masked"] and again["label_weight"][0][:2] == [0, 0]
    assert again["label_source"][1][0] == "relabelled"  # its first time


def test_reviewed_cells_of_an_earlier_round_stay():
    report = multi().apply_review([Decision(0, "anger", True), Decision(0, "love", True), Decision(2, "joy", False)])
    once = report.apply()
    assert once["emotions"][0] == [1, 0, 1] and once["label_source"][0] == ["reviewed", "masked", "reviewed"]
    given = _read(once, report)
    again = LabelReport(_doubt_all(given), given, NAMES, once, "text", "emotions")
    assert not again.flagged[0, 0] and again.p_error[0, 2] == 0 and again.flagged[0, 1]
    twice = again.apply(relabel=0.0)
    assert twice["emotions"][0][0] == 1 and twice["label_source"][2][1] == "reviewed"
    assert not set(zip(again.review_queue(99).rows, again.review_queue(99).labels, strict=True)) & {(0, 0), (0, 2)}
    assert undo(twice).to_dict() == multi().dataset.to_dict()


def _read(data, report):
    values = data[report.label_column][:]
    if report.multi:
        return np.array(values).astype(np.int8)
    return np.array(values)


def _doubt_all(given):
    if given.ndim == 2:
        return detection(np.full(given.shape, 0.9, np.float32), given)
    p_true = np.full((len(given), 3), 0.05, np.float32)
    p_true[np.arange(len(given)), (given + 1) % 3] = 0.9
    return Detection(np.full(len(given), 0.95, np.float32), p_true, np.ones(len(given), bool), (given + 1) % 3)


class Problems:
    def summary(self):
        return ["2 texts are empty"]

    def to_dict(self):
        return {"empty": 2}


@pytest.mark.parametrize("make", [multi, single])
def test_saved_reports_come_back(make, tmp_path):
    report = make()
    report.found.info.update(
        log_odds=[np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32)], rate=np.float32(0.5), lone=np.arange(3)
    )
    report = LabelReport(
        report.found, report.given, NAMES, report.dataset, "text", report.label_column, report.neighbors,
        Problems(), "train", {"encoder": "lsa"}, decisions=[Decision(1, "love", make is single)], cut=("count", 2),
    )  # fmt: skip
    report.save(tmp_path / "r")
    back = LabelReport.load(tmp_path / "r", report.dataset)
    for name in ("p_error", "p_true", "flagged", "suggested", "given", "row_p_error"):
        np.testing.assert_array_equal(getattr(back, name), getattr(report, name))
        assert getattr(back, name).dtype == getattr(report, name).dtype
    assert back.to_dict() == report.to_dict()
    assert str(back.cells.to_dict()) == str(report.cells.to_dict())  # as text, since nan is not nan
    assert len(back.found.info["log_odds"]) == 2 and back.found.info["lone"].tolist() == [0, 1, 2]
    assert back.apply().to_dict() == report.apply().to_dict()
    assert sorted(p.name for p in (tmp_path / "r").iterdir()) == ["arrays.npz", "report.json"]
    with pytest.raises(ValueError, match="no dataset"):
        LabelReport.load(tmp_path / "r").apply()


def test_a_report_is_loaded_with_its_own_dataset_only(tmp_path):
    report = multi("names")
    texts = text_fingerprint(report.dataset, "text")
    report = LabelReport(
        report.found, report.given, NAMES, report.dataset, "text", "emotions", about={"texts": texts}
    )  # fmt: skip
    report.save(tmp_path / "r")
    assert LabelReport.load(tmp_path / "r", multi("names").dataset).text(0) == "grr"
    other = report.dataset.map(lambda row: {"text": row["text"].upper()})
    with pytest.raises(ValueError, match="column 'text' holds other texts .*find its issues anew"):
        LabelReport.load(tmp_path / "r", other)
    turned = report.dataset.map(lambda row: {"emotions": ["love"]})
    with pytest.raises(ValueError, match="column 'emotions' holds other labels"):
        LabelReport.load(tmp_path / "r", turned)
    with pytest.raises(ValueError, match="has 3 rows and the report 4"):
        LabelReport.load(tmp_path / "r", report.dataset.select([0, 1, 2]))
    with pytest.raises(ValueError, match=r"no column \['text'\]"):
        LabelReport.load(tmp_path / "r", report.dataset.remove_columns("text"))
    # The same labels in another form are the same.
    stored = Dataset.from_dict(report.dataset.to_dict())
    assert len(LabelReport.load(tmp_path / "r", stored)) == 4


def test_the_summary_and_the_dict_say_what_was_found():
    report = multi()
    report.problems = Problems()
    text = report.summary()
    assert "4 rows x 3 labels: 3 cells look wrong, about 2 of them are; 3 errors are expected in all" in text
    assert "2 labels are missing, 1 should not be there" in text and "joy: 2 flagged, 2 given" in text
    assert "2 texts are empty" in text and str(report) == text
    told = json.loads(json.dumps(report.to_dict()))
    assert told["flagged"] == 3 and told["flagged_rows"] == 2 and told["problems"] == {"empty": 2}
    assert told["labels"][1] == {
        "label": "joy", "given": 2, "flagged": 2, "flagged_missing": 2, "expected_missing": 1.4, "expected_wrong": 0,
    }  # fmt: skip
    assert "3 of 12 cells" in repr(report) and "2 rows look wrong" in single().summary()


def test_noise_rates_by_the_report_and_by_trusted_rows():
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 3)) < 0.3).astype(np.int8)
    given = truth & (rng.random((400, 3)) > 0.25)
    p_true = np.where(truth == 1, 0.9, 0.02).astype(np.float32)
    p_error = np.where(given == 1, 1 - p_true, p_true)
    found = Detection(p_error, p_true, p_error > 0.5, truth)
    report = LabelReport(found, given.astype(np.int8), ["a", "b", "c"])
    trusted = np.arange(200)
    rates = report.noise_rates(trusted, truth[trusted])
    assert ((rates.low[0] < 0.25) & (rates.high[0] > 0.25)).all() and np.allclose(rates.false_positive, 0, atol=0.05)
    assert np.allclose(report.noise_rates().false_negative, 0.25, atol=0.08)
    with pytest.raises(ValueError, match="together"):
        report.noise_rates(trusted)
    with pytest.raises(ValueError, match=r"expected \(200, 3\)"):
        report.noise_rates(trusted, truth[:5])


def test_noise_rates_from_other_sources():
    rng = np.random.default_rng(0)
    right = np.repeat([0, 1], 300)
    given = np.where(rng.random(600) < 0.2, 1 - right, right)
    p = np.where(np.arange(2) == right[:, None], 0.79, 0.21).astype(np.float32)
    neighbors = np.stack([(np.arange(600) + step) % 300 + 300 * right for step in (1, 2)], 1).astype(np.int32)
    found = Detection(1 - p[np.arange(600), given], p, given != right, right, evidence={"model": p})
    report = LabelReport(found, given, ["a", "b"], neighbors=neighbors)
    for source in ("anchors", "clusterability"):
        assert np.allclose(report.noise_rates(source=source).matrix, [[0.8, 0.2], [0.2, 0.8]], atol=0.08), source
    with pytest.raises(ValueError, match="needs neighbours"):
        LabelReport(found, given, ["a", "b"]).noise_rates(source="clusterability")
    with pytest.raises(ValueError, match="'anchors' or"):
        report.noise_rates(source="guess")
