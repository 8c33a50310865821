"""`textpl.label`: datasets in, labels with calibrated confidence out."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_model, make_texts
from datasets import ClassLabel, Dataset, Features, Value
from typer.testing import CliRunner

import textpl
from textpl import labeling
from textpl.cli import app
from textpl.embeddings.encoders import ClassifierEncoder
from textpl.labeling import label
from textpl.pseudo_labels import EMPTY, UNREACHED, _threshold_for
from textpl.reading.writing import write_table
from textpl.relabeling.hdl import hdl, hdl_paper
from textpl.relabeling.methods import METHODS
from textpl.relabeling.propagation import class_weight, entropy_weight, label_propagation
from textpl.relabeling.soft_labels import soft_labels
from textpl.reports.figures import precision_figure

CENTERS = np.random.default_rng(7).normal(size=(3, 16))


class Points:
    """An encoder for texts that are written-out seeds: "2 17" is a point near the centre of class 2."""

    name = "points"

    def __init__(self, spread=0.35):
        self.spread, self.calls = spread, 0

    def encode(self, texts, *, progress=True):
        self.calls += 1
        rows = [self._point(*map(int, text.split())) if text.strip() else np.zeros(16) for text in texts]
        return np.asarray(rows, dtype=np.float32)

    def _point(self, group, seed):
        noise = np.random.default_rng([group, seed]).normal(size=16)
        return CENTERS[group] + self.spread * np.linalg.norm(CENTERS[group]) * noise / 4


def texts(per_class, start=0, groups=3):
    return [f"{g} {start + i}" for i in range(per_class) for g in range(groups)]


def gold_of(rows):
    return np.array([int(text.split()[0]) for text in rows])


def labeled_set(per_class=12):
    rows = texts(per_class)
    return Dataset.from_dict({"text": rows, "label": gold_of(rows).tolist()})


def pool(per_class=60):
    return Dataset.from_dict({"text": texts(per_class, start=1000), "source": ["web"] * 3 * per_class})


@pytest.fixture(scope="module")
def found():
    """Overlapping clusters: some labels are sure, some are not."""
    return label(labeled_set(), pool(), encoder=Points(spread=2.5), progress=False)


@pytest.mark.parametrize("method", ["auto", *METHODS])
def test_every_method_labels_clusters(method):
    result = label(labeled_set(), pool(), method=method, encoder=Points(), progress=False)
    right = result.labels == gold_of(pool()["text"])
    assert right[result.selected].mean() > 0.95
    assert result.selected.mean() > 0.9
    assert result.encoder == "points"
    assert result.method in METHODS if method == "auto" else result.method == method


def test_confidence_is_a_probability_and_p_a_distribution(found):
    assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    np.testing.assert_allclose(found.probabilities.sum(1), 1, atol=1e-5)


def test_confidence_is_calibrated():
    result = label(labeled_set(80), pool(), encoder=Points(spread=2), progress=False)
    right = result.labels == gold_of(pool()["text"])
    assert 0.5 < right.mean() < 0.95
    assert abs(result.confidence.mean() - right.mean()) < 0.1
    sure = result.confidence > np.median(result.confidence)
    assert right[sure].mean() > right[~sure].mean()


def test_rethreshold_selects_by_confidence_and_by_expected_precision(found):
    cut = float(found.confidence.mean())
    strict = found.rethreshold(cut)
    np.testing.assert_array_equal(strict.selected, found.confidence >= cut)
    assert (strict.labels[~strict.selected] == -1).all()
    assert set(strict.reasons[~strict.selected]) <= {f"confidence below {cut:.3g}"}
    np.testing.assert_array_equal(strict.rethreshold(0.0).labels, found.labels)
    precise = found.rethreshold(precision=0.99)
    assert not precise.selected.any() or precise.expected_precision >= 0.99


@pytest.mark.parametrize("given", [{}, {"confidence": 0.5, "precision": 0.5}, {"confidence": 1.5}])
def test_rethreshold_needs_one_number(found, given):
    with pytest.raises(ValueError, match="exactly one"):
        found.rethreshold(**given)


def test_to_dataset_keeps_columns_and_says_who_voted(found):
    made = found.to_dataset()
    assert made.column_names == [
        "text", "source", "label", "probabilities", "confidence", "label_source", "evidence",
    ]  # fmt: skip
    assert len(made) == found.selected.sum()
    row = made[0]
    assert row["label_source"] == found.method
    assert row["evidence"][0]["source"] == "labeled"
    assert 0 <= row["evidence"][0]["row"] < len(labeled_set())
    similarities = [e["similarity"] for e in row["evidence"]]
    assert similarities == sorted(similarities, reverse=True)


def test_to_dataset_with_rejected_rows(found):
    strict = found.rethreshold(float(found.confidence.mean()))
    made = strict.to_dataset(only_selected=False)
    assert len(made) == len(pool())
    low = [row for row in made if row["label"] == -1]
    assert low and all(row["reason"].startswith("confidence below") and row["label_source"] == "" for row in low)


def test_a_pool_text_that_is_labelled_gets_that_label():
    unlabeled = Dataset.from_dict({"text": ["1 0", *pool()["text"]]})
    result = label(labeled_set(), unlabeled, encoder=Points(), progress=False)
    assert result.hops[0] == 0 and result.labels[0] == 1 and result.confidence[0] == 1
    assert result.to_dataset()[0]["label_source"] == "labeled"
    assert result.to_dataset()[0]["evidence"][0]["similarity"] == pytest.approx(1)


def test_string_labels_and_class_labels_keep_their_names():
    names = ["north", "south", "west"]
    rows = texts(12)
    as_names = Dataset.from_dict({"text": rows, "label": [names[g] for g in gold_of(rows)]})
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    as_class = Dataset.from_dict({"text": rows, "label": gold_of(rows).tolist()}, features=features)
    for data in (as_names, as_class):
        result = label(data, pool(), method="linear", encoder=Points(), progress=False)
        assert result.label_names == tuple(names)
        assert result.to_dataset().features["label"].names == names
    np.testing.assert_array_equal(
        label(as_names, pool(), method="linear", encoder=Points(), progress=False).labels, result.labels
    )


def test_class_prior_is_kept():
    unlabeled = Dataset.from_dict({"text": texts(60, 1000)})
    shares = [0.5, 0.3, 0.2]
    result = label(
        labeled_set(), unlabeled, method="linear", encoder=Points(spread=3), class_prior=shares, progress=False
    )
    np.testing.assert_allclose(result.probabilities.mean(0), shares, atol=1e-3)


def multi_hot(rows):
    """Label 0 for groups 0 and 1, label 1 for groups 1 and 2."""
    groups = gold_of(rows)
    return np.stack([groups <= 1, groups >= 1], 1).astype(int)


@pytest.mark.parametrize("method", ["auto", *METHODS, partial(hdl_paper, schedule="level", orphans="nearest")])
def test_multi_label(method):
    rows, unlabeled = texts(12), pool()
    data = Dataset.from_dict({"text": rows, "label": multi_hot(rows).tolist()})
    result = label(data, unlabeled, method=method, encoder=Points(), progress=False)
    gold = multi_hot(unlabeled["text"])
    assert result.labels.shape == result.confidence.shape == result.probabilities.shape == (len(unlabeled), 2)
    known = result.selected
    assert (result.labels[known] == gold[known]).mean() > 0.95
    strict = result.rethreshold(0.9)
    assert set(np.unique(strict.labels)) <= {-1, 0, 1}
    made = strict.to_dataset()
    assert made.features["label"].length == 2 and len(made) == strict.selected.sum()


def test_empty_texts_and_islands_are_not_labelled_but_explained():
    unlabeled = Dataset.from_dict({"text": ["", *pool()["text"]]})
    result = label(labeled_set(), unlabeled, method="label_propagation", encoder=Points(), progress=False)
    assert result.labels[0] == -1 and result.reasons[0] == EMPTY and result.confidence[0] == 0

    class TwoIslands(Points):
        def encode(self, texts, *, progress=True):
            near = super().encode(texts)
            far = np.array([len(t) > 6 for t in texts])
            return np.concatenate([near * ~far[:, None], near * far[:, None]], 1).astype(np.float32)

    far = Dataset.from_dict({"text": [f"0 {10_000 + i}" for i in range(40)]})
    result = label(labeled_set(), far, method="hdl", k=5, encoder=TwoIslands(), progress=False)
    assert set(result.reasons) == {UNREACHED} and not result.selected.any()


def test_one_row_in_the_pool_and_one_labelled_row_of_a_class():
    one = Dataset.from_dict({"text": ["2 77"]})
    assert label(labeled_set(), one, encoder=Points(), progress=False).labels.tolist() == [2]
    few = Dataset.from_dict({"text": ["0 1", "1 1", "2 1", "2 2"], "label": [0, 1, 2, 2]})
    result = label(few, pool(), encoder=Points(), progress=False)
    assert (result.labels == gold_of(pool()["text"])).mean() > 0.9
    single = Dataset.from_dict({"text": ["0 1"], "label": [0]})
    with pytest.raises(ValueError, match="every row has the label 0"):
        label(single, pool(), encoder=Points(), progress=False)


def test_a_class_without_labelled_row_is_warned_of_and_never_given(caplog):
    rows = texts(12, groups=2)
    data = Dataset.from_dict({"text": rows, "label": gold_of(rows).tolist()})
    result = label(data, pool(), encoder=Points(), label_names=["a", "b", "c"], progress=False)
    assert "label c" in caplog.text
    assert (result.labels != 2).all()


def test_conflicting_labels_of_one_text_are_told_and_not_sure(caplog):
    data = Dataset.from_dict({"text": [*texts(12), "0 0"], "label": [*gold_of(texts(12)).tolist(), 2]})
    unlabeled = Dataset.from_dict({"text": ["0 0", "1 0"]})
    result = label(data, unlabeled, method="linear", encoder=Points(), progress=False)
    assert "(0, 36, ...)" in caplog.text
    assert result.confidence.tolist() == [0.5, 1.0] and result.probabilities[0].tolist() == [0.5, 0, 0.5]


def test_an_empty_labelled_text_labels_nothing():
    data = Dataset.from_dict({"text": [*texts(12), ""], "label": [*gold_of(texts(12)).tolist(), 2]})
    result = label(data, Dataset.from_dict({"text": ["", "1 99"]}), encoder=Points(), progress=False)
    assert result.labels.tolist() == [-1, 1] and result.reasons[0] == EMPTY
    with pytest.raises(ValueError, match="No labelled text has an embedding"):
        label(Dataset.from_dict({"text": ["", ""], "label": [0, 1]}), pool(), encoder=Points(), progress=False)


def test_the_only_row_of_its_class_is_not_counted_as_wrong():
    single = Dataset.from_dict({"text": ["0 1", "1 1", "2 1"], "label": [0, 1, 2]})
    result = label(single, pool(), encoder=Points(), progress=False)
    assert "cannot be estimated" in str(result) and "expected" not in str(result)
    assert result.expected_precision is None and (result.labels == gold_of(pool()["text"])).mean() > 0.9
    json.dumps(result.to_dict(), allow_nan=False)


def test_prior_helps_flat_votes_instead_of_drowning_them():
    rng = np.random.default_rng(0)
    groups = rng.choice(3, 300, p=[0.8, 0.1, 0.1])
    unlabeled = Dataset.from_dict({"text": [f"{g} {5000 + i}" for i, g in enumerate(groups)]})
    given = {"method": "label_propagation", "encoder": Points(spread=1.2), "progress": False}
    free = label(labeled_set(), unlabeled, **given)
    told = label(labeled_set(), unlabeled, class_prior=[0.8, 0.1, 0.1], **given)
    right = [(r.labels == groups).mean() for r in (free, told)]
    assert right[1] >= right[0] - 0.05 and right[1] > 0.85


def test_a_prior_that_cannot_be_reached_is_told(caplog):
    label(labeled_set(), pool(), method="knn_dv", k=1, class_prior=[0.9, 0.05, 0.05], encoder=Points(), progress=False)
    assert "instead of" in caplog.text


def test_multi_label_rows_whose_labels_are_unsure_are_left_out():
    data = Dataset.from_dict({"text": texts(30), "label": multi_hot(texts(30)).tolist()})
    result = label(data, pool(), method="linear", encoder=Points(spread=2.5), progress=False)
    cut = float(np.median(result.confidence[result.labels == 1]))
    strict = result.rethreshold(cut)
    assert 0 < strict.selected.sum() < len(strict)
    kept = strict.to_dataset().with_format("numpy")["label"][:]
    np.testing.assert_array_equal(kept == 1, result.labels[strict.selected] == 1)
    precise = result.rethreshold(precision=0.9)
    assert not precise.selected.any() or precise.confidence[precise.labels == 1].mean() >= 0.9


def test_expected_precision_reaches_what_was_asked_for_in_spite_of_ties():
    assert _threshold_for(np.array([0.95] * 10 + [0.8] * 90), 0.93) == pytest.approx(0.95)
    assert _threshold_for(np.array([0.95] * 10 + [0.8] * 90), 0.8) == pytest.approx(0.8)
    assert _threshold_for(np.array([0.5]), 0.9) > 1


def test_columns_of_the_same_name_are_kept_under_another():
    unlabeled = pool().add_column("confidence", ["high"] * len(pool())).add_column("label", [9] * len(pool()))
    found = label(labeled_set(), unlabeled, method="linear", encoder=Points(), progress=False)
    made, nothing = found.to_dataset(), found.rethreshold(1.0).to_dataset()
    assert set(made["given_confidence"]) == {"high"} and set(made["given_label"]) == {9}
    assert set(nothing.column_names) == set(made.column_names) and len(nothing) == 0
    named = pool().rename_column("text", "evidence")
    with pytest.raises(ValueError, match="rename it first"):
        label(labeled_set(), named, text_column="evidence", encoder=Points(), progress=False)


@pytest.mark.parametrize("method", ["hdl", "knn_dv", "hdl_paper"])
def test_evidence_is_among_the_neighbours_of_the_method(method):
    result = label(labeled_set(), pool(), method=method, k=2, encoder=Points(), progress=False)
    voted = (result._evidence.rows >= 0).sum(1)
    assert voted.min() >= 1 and np.median(voted) <= (5 if method == "knn_dv" else 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unlabeled": Dataset.from_dict({"text": []})}, "unlabeled has no rows"),
        ({"labeled": Dataset.from_dict({})}, "labeled has no rows"),
        ({"unlabeled": Dataset.from_dict({"body": ["a"]})}, "no column 'text'"),
        ({"unlabeled": Dataset.from_dict({"text": ["a", None]})}, "row 1"),
        ({"labeled": Dataset.from_dict({"text": ["0 1"], "label": [None]})}, "label"),
        ({"labeled": ["not a dataset"]}, "must be a datasets.Dataset"),
        ({"method": "knnn"}, "use 'auto' or one of"),
        ({"k": 0}, "k=0"),
        ({"hubness": "cls"}, "'mutual', 'csls' or None"),
        ({"method": lambda graph, targets, gold, multi: targets}, "expected a textpl.relabeling.result.Relabeling"),
        ({"encoder": 3}, "encoder"),
        ({"class_prior": [0.5, 0.5]}, "3 shares"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"labeled": labeled_set(), "unlabeled": pool(), "encoder": Points(), "progress": False} | change
    with pytest.raises((ValueError, TypeError), match=message):
        label(arguments.pop("labeled"), arguments.pop("unlabeled"), **arguments)


def test_equal_embeddings_and_nan_are_refused():
    class Same(Points):
        def encode(self, texts, *, progress=True):
            return np.ones((len(texts), 4), np.float32)

    class Broken(Points):
        def encode(self, texts, *, progress=True):
            return np.full((len(texts), 4), np.nan, np.float32)

    with pytest.raises(ValueError, match="same embedding"):
        label(labeled_set(), pool(), encoder=Same(), progress=False)
    with pytest.raises(ValueError, match="points"):
        label(labeled_set(), pool(), encoder=Broken(), progress=False)


def test_k_larger_than_the_data_is_cut():
    few = Dataset.from_dict({"text": texts(2), "label": gold_of(texts(2)).tolist()})
    tiny = Dataset.from_dict({"text": ["0 50", "1 50"]})
    for method in METHODS:
        result = label(few, tiny, method=method, k=50, encoder=Points(), progress=False)
        assert set(result.labels) <= {0, 1, 2} and result.selected.all()


def test_auto_reports_what_it_tried(found):
    tried = {entry["method"] for entry in found.report["tried"]}
    assert {"linear", "knn_dv", "hdl", "label_propagation", "linear_propagation"} <= tried
    few = label(labeled_set(3), pool(), encoder=Points(), progress=False)
    assert [entry["method"] for entry in few.report["tried"]] == ["linear_smoothed"]
    assert "each labeled while it" in str(found)
    json.dumps(found.to_dict())


@pytest.mark.parametrize("shift", [0.075, 0.0])
def test_the_report_says_why_a_lower_score_is_used(monkeypatch, shift):
    def scored(*args, **kwargs):
        soft = soft_labels(*args, **kwargs)
        trials = [replace(trial, score=0.725 + shift * (i > 0)) for i, trial in enumerate(soft.trials)]
        return replace(soft, trials=trials, trial=trials[0])

    monkeypatch.setattr(labeling, "soft_labels", scored)
    told = str(label(labeled_set(), pool(), encoder=Points(), progress=False))
    assert ("linear_propagation (k=15) is the default. linear, 7.5 higher, may be so by chance" in told) is bool(shift)
    assert ("standard errors" in told) is bool(shift)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (hdl, "hdl"),
        (partial(hdl, rho=0.5, gamma=1.0, orphans="knn_dv"), "hdl(rho=0.5, gamma=1.0, orphans='knn_dv')"),
        (partial(hdl_paper, second_stage="similarity"), "hdl_paper(second_stage='similarity')"),
        (partial(hdl_paper, orphans="nearest", schedule="level"), "hdl_paper(orphans='nearest', schedule='level')"),
        (partial(hdl, k=3, orphans="grow_k"), "hdl(k=3, orphans='grow_k')"),
        (partial(label_propagation, alpha=0.9), "label_propagation(alpha=0.9)"),
    ],
)
def test_a_function_is_a_method_too(method, name):
    result = label(labeled_set(), pool(), method=method, encoder=Points(), progress=False)
    assert result.method == name and (result.labels == gold_of(pool()["text"])).mean() > 0.95
    assert {row["label_source"] for row in result.to_dataset()} == {name}
    assert [entry["method"] for entry in result.to_dict()["tried"]] == [name]


def test_a_function_gets_the_graph_of_the_method_of_its_name():
    given = {"encoder": Points(spread=2.5), "progress": False}
    for function in (hdl, hdl_paper, label_propagation):
        named = label(labeled_set(), pool(), method=function.__name__, **given)
        np.testing.assert_array_equal(label(labeled_set(), pool(), method=function, **given).labels, named.labels)
    widths = []

    def voted(graph, targets, gold, *, multi, to_gold):
        widths.append((graph.k, to_gold[0].shape[1]))
        assert gold[to_gold[0]].all()
        return hdl(graph, targets, gold, multi=multi)

    label(labeled_set(), pool(), method=voted, k=4, **given)
    label(labeled_set(), pool(), method=voted, **given)
    assert set(widths) == {(4, 4), (10, 10)}


def test_orphans_are_labelled_by_the_policy_that_is_asked_for():
    class TwoIslands(Points):
        def encode(self, texts, *, progress=True):
            near = super().encode(texts)
            far = np.array([len(t) > 6 for t in texts])
            mixed = np.concatenate([near * ~far[:, None], near * far[:, None]], 1)
            return mixed + 0.05 * np.concatenate([near, near], 1)

    rows = [f"{g} {10_000 + i}" for i in range(40) for g in range(3)]
    far = Dataset.from_dict({"text": rows})
    given = {"k": 5, "encoder": TwoIslands(), "progress": False}
    assert not label(labeled_set(), far, method="hdl", **given).selected.any()
    for orphans in ("nearest", "knn_dv"):
        result = label(labeled_set(), far, method=partial(hdl, orphans=orphans), **given)
        assert result.selected.all() and (result.labels == gold_of(rows)).mean() > 0.9


@pytest.mark.parametrize("hubness", ["mutual", "csls"])
def test_hubness_is_corrected_in_the_graph_that_all_use(hubness):
    result = label(labeled_set(), pool(), hubness=hubness, encoder=Points(), progress=False)
    assert hubness in result.report["graph"]["method"].lower() and result.report["graph"]["k"] == 20
    assert (result.labels == gold_of(pool()["text"])).mean() > 0.95
    voted = label(labeled_set(), pool(), method="hdl", hubness=hubness, encoder=Points(spread=2.5), progress=False)
    similarities = np.where(voted._evidence.rows >= 0, voted._evidence.similarities, -1)
    assert (np.diff(similarities, axis=1) <= 0).all()
    tiny = Dataset.from_dict({"text": ["0 50", "1 50"]})
    assert label(
        labeled_set(1), tiny, method="linear", hubness=hubness, encoder=Points(), progress=False
    ).selected.all()


def test_to_dataset_is_what_its_rows_say(found):
    strict = found.rethreshold(float(np.median(found.confidence)))
    made, evidence, known = strict.to_dataset(), found._evidence, len(labeled_set())
    assert made["text"][:] == [t for t, kept in zip(pool()["text"], strict.selected, strict=True) if kept]
    for row, i in zip(made, np.flatnonzero(strict.selected), strict=True):
        assert row["label"] == strict.labels[i] and row["confidence"] == strict.confidence[i]
        assert tuple(row["probabilities"]) == strict.label_names
        np.testing.assert_array_equal(np.float32([*row["probabilities"].values()]), strict.probabilities[i])
        voters = [j for j in evidence.rows[i] if j >= 0]
        for entry, j in zip(row["evidence"], voters, strict=True):
            assert entry["source"] == ("labeled" if j < known else "unlabeled")
            assert entry["row"] == (j if j < known else j - known)


def test_to_dataset_of_a_pool_that_is_a_selection_itself():
    chosen = pool().shuffle(seed=1).select(range(50))
    result = label(labeled_set(), chosen, method="linear", encoder=Points(spread=2.5), progress=False)
    strict = result.rethreshold(float(np.median(result.confidence)))
    made = strict.to_dataset()
    assert 0 < len(made) < 50 and made["label"][:] == strict.labels[strict.selected].tolist()
    assert made["text"][:] == [chosen["text"][i] for i in np.flatnonzero(strict.selected)]


def test_weights_for_training_come_from_the_labels(found):
    """The example in docs/labels_from_embeddings.md: Iscen's weights of rows and classes as a selection."""
    balance = torch.from_numpy(class_weight(found.labels, 3))

    def certainty(p, step):
        return torch.from_numpy(entropy_weight(p.cpu().numpy())).to(p) * balance.to(p)[p.argmax(1)]

    weights = certainty(torch.from_numpy(found.probabilities), None)
    assert weights.shape == (len(found),) and (weights >= 0).all()
    sure = np.argsort(found.confidence)
    assert weights[sure[-20:]].mean() > weights[sure[:20]].mean()


def test_lsa_needs_no_download_and_reads_chinese():
    positive, negative = "质量很好 非常 满意", "质量很差 非常 失望"
    rows = [f"{positive} {i}" for i in range(6)] + [f"{negative} {i}" for i in range(6)]
    data = Dataset.from_dict({"text": rows, "label": ["好"] * 6 + ["差"] * 6})
    unlabeled = Dataset.from_dict(
        {"text": [f"东西{positive}{i}啊" for i in range(5)] + [f"东西{negative}{i}啊" for i in range(5)]}
    )
    result = label(data, unlabeled, encoder="lsa", progress=False)
    assert [result.label_names[i] for i in result.labels] == ["好"] * 5 + ["差"] * 5
    assert result.encoder == "lsa"


def test_a_fine_tuned_classifier_can_be_the_encoder(tokenizer):
    words, scores = make_texts(60, seed=3)
    data = Dataset.from_dict({"text": words, "label": (scores > 0).astype(int).tolist()})
    result = label(
        data, data.remove_columns("label"), encoder=ClassifierEncoder(make_model(), tokenizer), progress=False
    )
    assert "BertForSequenceClassification" in result.encoder
    assert (result.labels == (scores > 0)).mean() > 0.9 and (result.hops == 0).mean() > 0.9


def test_the_command_line_labels_files(tmp_path):
    unlabeled = {"text": [f"{w} about {t}" for t in ("tea", "rain") for w in "abcdefgh"]}
    Dataset.from_dict(unlabeled).to_csv(tmp_path / "pool.csv")
    Dataset.from_dict(
        {"text": [f"{w} {t}" for t in ("tea pot", "rain coat") for w in "pqrst"], "label": ["tea"] * 5 + ["rain"] * 5}
    ).to_json(tmp_path / "known.jsonl")
    for name in ("out.parquet", "out.jsonl", "out.csv"):
        out = tmp_path / name
        arguments = [
            "label",
            str(tmp_path / "known.jsonl"),
            str(tmp_path / "pool.csv"),
            "--encoder",
            "lsa",
            "--method",
            "linear",
        ]
        done = CliRunner().invoke(app, [*arguments, "--out", str(out)])
        assert done.exit_code == 0, done.output
        assert "rows labelled" in done.output and "clusterability at k = 5" in done.output
        assert (tmp_path / f"{name}.precision.png").read_bytes().startswith(b"\x89PNG")
        report = json.loads((tmp_path / f"{name}.report.json").read_text())
        assert report["selected"] == 16 and report["encoder"] == "lsa"
        again = CliRunner().invoke(app, [*arguments, "--out", str(out)])
        assert again.exit_code == 1 and "not overwritten" in again.output
    made = Dataset.from_parquet(str(tmp_path / "out.parquet"))
    assert set(made.features["probabilities"]) == {"rain", "tea"}
    assert set(Dataset.from_csv(str(tmp_path / "out.csv"))["label"]) == {"rain", "tea"}
    bad = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "x.csv"), "--confidence", "95"])
    assert bad.exit_code == 1 and "between 0 and 1" in bad.output
    assert made["label"][:] == pd.read_parquet(tmp_path / "out.parquet").label.tolist() == ["tea"] * 8 + ["rain"] * 8
    flat = pd.read_csv(tmp_path / "out.csv")
    assert {"probabilities_rain", "probabilities_tea"} <= set(flat)
    assert flat.probabilities_rain.tolist() == pytest.approx([p["rain"] for p in made["probabilities"]])


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_files_hold_names_and_no_label_where_there_is_none(found, tmp_path, kind):
    strict = found.rethreshold(float(np.median(found.confidence)))
    strict = replace(strict, label_names=("a", "b", "c"))
    write_table(strict.to_dataset(only_selected=False), tmp_path / f"all.{kind}")
    rows = pd.read_json(tmp_path / "all.jsonl", lines=True) if kind == "jsonl" else pd.read_csv(tmp_path / "all.csv")
    wanted = [None if i < 0 else "abc"[i] for i in strict.labels]
    assert [None if pd.isna(label) else label for label in rows.label] == wanted
    voters = rows.evidence if kind == "jsonl" else rows.evidence.map(json.loads)
    assert [v[0]["row"] for v in voters] == [e[0]["row"] for e in strict.to_dataset(only_selected=False)["evidence"]]
    write_table(found.rethreshold(confidence=1.0).to_dataset(), tmp_path / f"none.{kind}")
    names = [f"probabilities_{name}" for name in found.label_names]
    headings = ["label", *names, "confidence", "label_source", "evidence"]
    assert kind == "jsonl" or [*pd.read_csv(tmp_path / "none.csv").columns][-len(headings) :] == headings


def test_the_picture_shows_the_curve_and_the_threshold(found):
    axes = precision_figure(found).axes[0]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 100 * found.coverage.precision)
    assert len(axes.lines) == 1
    cut = float(np.median(found.confidence))
    marked = precision_figure(found.rethreshold(cut)).axes[0]
    assert f"{cut:.2f}" in marked.get_legend().get_texts()[-1].get_text()


def test_public_name():
    assert textpl.label is label and textpl.PseudoLabels is type(
        label(labeled_set(), pool(2), encoder=Points(), progress=False)
    )


def test_texts_that_are_given_both_labels_are_half_right():
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(40)]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(60)]
    known = Dataset.from_dict({"text": texts * 2, "label": ["a"] * 60 + ["b"] * 60})
    fresh = Dataset.from_dict({"text": [" ".join(rng.choice(words, 6)) for _ in range(60)]})
    result = label(known, fresh, encoder="lsa", progress=False)
    assert result.expected_precision == pytest.approx(0.5, abs=0.05)
