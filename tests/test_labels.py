"""Every form labels may be written in, and what each refusal says."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textpl.reading.labels import all_hidden, infer_coding

SINGLE, MULTI = "single_label_classification", "multi_label_classification"


def column(labels) -> pa.ChunkedArray:
    """Labels as Arrow, in two chunks."""
    array = labels if isinstance(labels, pa.Array) else pa.array(labels)
    return pa.chunked_array([array[:1], array[1:]])


def read(labels, label_names=None, problem_type=None):
    """Coding inferred from the labels, and the labels encoded with it."""
    where = "train, column 'label'"
    coding = infer_coding(column(labels), where, label_names=label_names, problem_type=problem_type)
    return coding, coding.encode(column(labels), where)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ([0, 2, 1], None, ("0", "1", "2")),
        ([0.0, 2.0, 1.0], None, ("0", "1", "2")),
        ([0, 2, 1], ("a", "b", "c"), ("a", "b", "c")),
        (["x", "z", "y"], None, ("x", "y", "z")),
        (["x", "z", "y"], ("x", "y", "z"), ("x", "y", "z")),
        (["x", "z", "y"], ("x", "y", "z", "w"), ("x", "y", "z", "w")),
        (["Sci/Tech", "a, b", "World"], None, None),
    ],
)
def test_single_label_forms(labels, names, expected):
    coding, ids = read(labels, label_names=names)
    assert (coding.problem_type, coding.declared) == (SINGLE, names is not None)
    assert coding.label_names == (expected or tuple(sorted(labels)))
    assert ids.dtype == np.int64
    assert ([coding.label_names[i] for i in ids] if isinstance(labels[0], str) else ids.tolist()) == labels


def test_boolean_labels():
    coding, ids = read([True, False])
    assert coding.label_names == ("0", "1") and ids.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "names", "expected_names", "expected"),
    [
        ([[0], [1, 2], []], None, ("0", "1", "2"), [[1, 0, 0], [0, 1, 1], [0, 0, 0]]),
        ([["b"], ["a", "c"], []], None, ("a", "b", "c"), [[0, 1, 0], [1, 0, 1], [0, 0, 0]]),
        ([["b"], ["a", "c"], []], ("c", "b", "a"), ("c", "b", "a"), [[0, 1, 0], [1, 0, 1], [0, 0, 0]]),
        ([[0, 0, 1], [1, 0, 1], [0, 0, 0]], None, ("0", "1", "2"), [[0, 0, 1], [1, 0, 1], [0, 0, 0]]),
        ([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]], None, ("0", "1"), [[0, 1], [0, 0], [1, 0]]),
        ([[True, False], [False, True]], None, ("0", "1"), [[1, 0], [0, 1]]),
        # Pairs are multi-hot once there are two names.
        ([[0, 1], [1, 0]], ("a", "b"), ("a", "b"), [[0, 1], [1, 0]]),
        ([[0, 1], [1, 0]], ("a", "b", "c"), ("a", "b", "c"), [[1, 1, 0], [1, 1, 0]]),
        ([[0], [1]], None, ("0", "1"), [[1, 0], [0, 1]]),
    ],
)
def test_multi_label_forms(labels, names, expected_names, expected):
    coding, multi_hot = read(labels, label_names=names)
    assert (coding.problem_type, coding.label_names) == (MULTI, expected_names)
    assert multi_hot.dtype == np.float32 and multi_hot.tolist() == expected


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([0, None, 1], {}, r"train, column 'label', row 1 .*label is None\. Leave rows without a label out"),
        ([0.0, float("nan"), 1.0], {}, "row 1 .*label is nan"),
        (["a", "", "b"], {}, "row 1 .*label is ''"),
        ([0, 1, 0.5], {}, "row 2 .*label 0.5 is no whole number.*Soft labels"),
        ([0, 1, 3], {"label_names": "abc"}, r"row 2 .*label 3 is out of range: 3 labels have the ids 0\.\.2"),
        ([0, 1, -1], {"label_names": "ab"}, "row 2 .*label -1 is out of range.*hidden labels"),
        ([1, 2, 3], {}, r"holds the label ids \(1, 2, 3\), which are not 0\.\.2\. Renumber .*label_names"),
        ([0, 4, 4], {}, r"label ids \(0, 4\), which are not 0\.\.1"),
        ([0, 0, 0], {}, r"label names \('0',\) must be 2 or more"),
        ([0, 1, 0], {"label_names": ("a", "a")}, "must be 2 or more and distinct"),
        (["a", "b", "c"], {"label_names": "ab"}, r"row 2 .*label 'c' is none of the 2 label names \('a', 'b'\)"),
        (["a", "b", "c"], {"problem_type": MULTI}, "row 0 .*label 'a' does not fit the task multi_label.*a list"),
        ([0, 1, 0], {"problem_type": MULTI}, "label 0 does not fit the task multi_label"),
        ([[0], [1], [0, 1]], {"problem_type": SINGLE}, r"label \[0\] does not fit the task single.*one label per row"),
        ([[0], [1], None], {}, "row 2 .*label is None"),
        ([[0], [1, None], [1]], {}, "row 1 .*a list of labels holds None"),
        ([[0], [3], [1]], {"label_names": "abc"}, "row 1 .*label 3 is out of range"),
        ([[0, 0.3], [1, 0], [0, 0]], {}, "row 0 .*label 0.3 is no whole number"),
        ([[0, 0, 1]] * 3, {"label_names": "ab"}, "multi-hot list of length 3, but 2 label names"),
        ([[], [], []], {}, "every list of labels is empty"),
        ([{"a": 1}] * 3, {}, "has type struct"),
        ([[0, 1], [1, 0]], {}, r"every list is \[0, 1\] or \[1, 0\]: one 0 or 1 per label, or the ids of labels"),
    ],
)
def test_labels_refused(labels, settings, message):
    with pytest.raises(ValueError, match=message):
        read(labels, **settings)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            [0, 1],
            [0, 2],
            r"test, column 'label', row 1 .*label 2 is out of range.*Train has no such class",
        ),
        (["a", "b"], ["a", "c"], "test, .*row 1 .*label 'c' is none of the 2 label names.*Train has no such class"),
        ([[0], [1]], [[0], [5]], "row 1 .*label 5 is out of range"),
        ([0, 1], ["a", "b"], r"row 0 .*label 'a' is not written as the labels of train \(id\)"),
        ([[0, 0], [1, 0]], [[0, 0], [1]], "row 1 .*multi-hot list of length 1, but there are 2 labels"),
        ([[0, 0], [1, 0]], [[0, 0], [2, 0]], "row 1 .*value 2 in a multi-hot list"),
        ([0, 1], [None, 1], "test, .*row 0 .*label is None"),
    ],
)
def test_test_labels_refused(train, test, message):
    coding, _ = read(train)
    with pytest.raises(ValueError, match=message):
        coding.encode(column(test), "test, column 'label'")


@pytest.mark.parametrize(
    ("labels", "hidden"),
    [
        ([None, None], True),
        ([-1, -1], True),
        (["", " "], True),
        ([-1, 0], False),
        ([[], [1]], False),
        (["a", ""], False),
    ],
)
def test_all_hidden(labels, hidden):
    assert all_hidden(column(labels)) is hidden


def test_large_and_fixed_size_lists():
    for kind in (pa.large_list(pa.int64()), pa.list_(pa.int64(), 2)):
        assert read(pa.array([[0, 2], [1, 2]], kind))[1].tolist() == [[1, 0, 1], [0, 1, 1]]
    assert read(pa.array(["b", "a"], pa.large_string()))[1].tolist() == [1, 0]


@given(st.lists(st.sets(st.integers(0, 3), max_size=4), min_size=1, max_size=20), st.integers(1, 7))
def test_lists_of_names_round_trip(rows, chunk):
    names = ("n0", "n1", "n2", "n3")
    lists = [[names[i] for i in row] for row in rows]
    chunks = [pa.array(lists[i : i + chunk], pa.list_(pa.string())) for i in range(0, len(lists), chunk)]
    coding = infer_coding(pa.chunked_array(chunks), "train", label_names=names, problem_type=None)
    assert [set(np.flatnonzero(row)) for row in coding.encode(pa.chunked_array(chunks), "train")] == rows
