"""Probabilities go to the label they are for, however their columns are ordered; where nothing tells, it is asked."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, Features, Value

import textpl
from textpl.reading.probabilities import in_order, read_probabilities_column, read_probability_file
from textpl.reading.tables import read_table
from textpl.reading.writing import write_table

TWELVE = [str(i) for i in range(12)]


def made(names, rows=360, wrong=3, seed=0):
    """Labels by name, a few of them wrong, and probabilities that know better: columns in the order of `names`."""
    rng = np.random.default_rng(seed)
    ids = np.arange(rows) % len(names)
    p = np.full((rows, len(names)), 0.02 / (len(names) - 1))
    p[np.arange(rows), ids] = 0.98
    given = ids.copy()
    given[:wrong] = (ids[:wrong] + 1) % len(names)
    p += rng.random(p.shape) * 1e-3
    return [names[i] for i in given], p / p.sum(1, keepdims=True)


def issues(labels=None, **settings):
    return textpl.find_label_issues(labels=labels, encoder=None, progress=False, **settings)


def flagged(report, number=3):
    """The rows that are most probably wrong."""
    assert np.flatnonzero(report.flagged).max(initial=0) < number
    return sorted(np.argsort(-report.p_error, kind="stable")[:number].tolist())


def test_numbers_as_strings_have_two_orders():
    labels, p = made(TWELVE)
    with pytest.raises(ValueError, match=r"which column is which\? Pass label_names"):
        issues(labels, pred_probs=p)
    assert flagged(issues(labels, pred_probs=p, label_names=TWELVE)) == [0, 1, 2]
    assert flagged(issues(labels, pred_probs=p[:, np.argsort(TWELVE)], label_names=sorted(TWELVE))) == [0, 1, 2]
    few, q = made(TWELVE[:10])
    assert flagged(issues(few, pred_probs=q)) == [0, 1, 2], "0 to 9 have one order only"
    assert flagged(issues([int(name) for name in labels], pred_probs=p)) == [0, 1, 2]


@pytest.mark.parametrize("names", [TWELVE, ["war", "sport", "money"]])
def test_headings_of_a_table_are_names(names):
    labels, p = made(names)
    for order in (names, sorted(names), names[::-1]):
        table = pd.DataFrame(p, columns=names)[list(order)]
        report = issues(labels, pred_probs=table)
        assert flagged(report) == [0, 1, 2] and set(report.label_names) == set(names)
        assert flagged(issues(labels, pred_probs=table, label_names=names)) == [0, 1, 2]
    with pytest.raises(ValueError, match="no column for the label"):
        issues(labels, pred_probs=pd.DataFrame(p, columns=[f"p{i}" for i in range(len(names))]))
    with pytest.raises(ValueError, match=r"missing: 'x'"):
        issues(labels, pred_probs=pd.DataFrame(p, columns=names), label_names=[*names, "x"])


def test_headings_win_over_the_order_of_a_class_label():
    names = ["war", "sport", "money"]
    labels, p = made(names)
    features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
    rows = {"text": [f"text {i}" for i in range(len(labels))], "label": [names.index(name) for name in labels]}
    data = Dataset.from_dict(rows, features=features)
    table = pd.DataFrame(p, columns=names)[sorted(names)]
    assert flagged(textpl.find_label_issues(data, pred_probs=table, encoder=None, progress=False)) == [0, 1, 2]
    assert flagged(textpl.find_label_issues(data, pred_probs=p, encoder=None, progress=False)) == [0, 1, 2]


def test_several_labels_by_name():
    rng = np.random.default_rng(0)
    names = ["war", "sport", "money"]
    right = rng.random((400, 3)) < 0.4
    given, p = right.copy(), np.where(right, 0.98, 0.02)
    given[:5, 0] = ~given[:5, 0]
    lists = [[names[k] for k in np.flatnonzero(row)] for row in given]
    report = issues(lists, pred_probs=pd.DataFrame(p, columns=names)[["money", "war", "sport"]])
    worst = np.argsort(-report.p_error, axis=None, kind="stable")[:5]
    cells = {(row, report.label_names[k]) for row, k in zip(*np.divmod(worst, 3), strict=True)}
    assert cells == {(i, "war") for i in range(5)}


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("multi", [False, True])
def test_what_label_finds_keeps_its_names_in_every_kind_of_file(tmp_path, suffix, multi):
    words = {"sport": "match goal team", "money": "bank coin price"}
    texts = [f"{text} {i}" for i, text in enumerate(list(words.values()) * 6)]
    labels = [[name] if multi else name for name in list(words) * 6]
    known = Dataset.from_dict({"text": texts, "label": labels})
    pool = Dataset.from_dict({"text": ["goal team", "coin price", "a bank"]})
    found = textpl.label(known, pool, encoder="lsa", method="linear", progress=False)
    rows = found.to_dataset()
    values, names = read_probabilities_column(rows, "probabilities")
    assert names == found.label_names == ("money", "sport")
    np.testing.assert_array_equal(values, found.probabilities)
    write_table(rows, tmp_path / f"x{suffix}")
    again, named = read_probabilities_column(read_table(tmp_path / f"x{suffix}").dataset, "probabilities")
    np.testing.assert_allclose(in_order(again, named, ("sport", "money"), "x"), found.probabilities[:, ::-1], rtol=1e-6)
    if suffix == ".parquet":
        frame = pd.read_parquet(tmp_path / "x.parquet")
        assert set(frame.probabilities[0]) == {"money", "sport"}
        assert multi or frame.label.tolist() == ["sport", "money", "money"]


def test_files_of_probabilities_tell_their_names_or_do_not(tmp_path):
    _, p = made(["b", "a"], rows=4)
    np.save(tmp_path / "p.npy", p)
    np.savez(tmp_path / "p.npz", pred_probs=p, label_names=np.array(["b", "a"]))
    pd.DataFrame(p).to_csv(tmp_path / "bare.csv", index=False)
    pd.DataFrame(p, columns=["b", "a"]).to_csv(tmp_path / "named.csv")
    names = {path: read_probability_file(tmp_path / path, ("a", "b"))[1] for path in ("p.npy", "p.npz", "bare.csv")}
    assert names == {"p.npy": None, "p.npz": ("b", "a"), "bare.csv": None}
    values, named = read_probability_file(tmp_path / "named.csv", ("a", "b"))
    assert named == ("a", "b") and values == pytest.approx(p[:, ::-1])
