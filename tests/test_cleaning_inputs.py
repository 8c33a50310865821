"""Labels and probabilities in every form that people have, and the errors for broken ones."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_matrix

from textpl.reading.label_arrays import check_probabilities, read_labels
from textpl.reading.label_format import LabelFormat
from textpl.reading.names import name_variants, split_labels

MULTI_HOT = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])
NAMES = ("anger", "joy", "love")


@pytest.mark.parametrize(
    "labels",
    [
        MULTI_HOT,
        MULTI_HOT.astype(bool),
        MULTI_HOT.astype(np.float32),
        csr_matrix(MULTI_HOT),
        [[0, 2], [], [1]],
        [(2, 0), (), (1,)],
        [{0, 2}, set(), {1}],
        [["love", "anger"], [], ["joy"]],
        MULTI_HOT.tolist(),
        [np.array([0, 2]), np.array([], int), np.array([1])],
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_every_form_of_several_labels_gives_the_same_array(labels):
    array, names = read_labels(labels, label_names=NAMES)
    assert array.dtype == np.int8 and names == NAMES
    np.testing.assert_array_equal(array, MULTI_HOT)


@pytest.mark.parametrize(
    "labels", [[2, 0, 1], np.array([2, 0, 1]), ["love", "anger", "joy"], np.array([2.0, 0.0, 1.0])]
)
def test_every_form_of_one_label_gives_the_same_array(labels):
    array, names = read_labels(labels, label_names=NAMES)
    assert array.dtype == np.int64 and names == NAMES
    np.testing.assert_array_equal(array, [2, 0, 1])


@settings(max_examples=30, deadline=None)
@given(arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.integers(0, 1)))
def test_lists_of_ids_say_the_same_as_the_matrix(matrix):
    if not matrix.any():
        return
    ids = [np.flatnonzero(row).tolist() for row in matrix]
    names = tuple(f"n{i}" for i in range(matrix.shape[1]))
    if all(len(row) == len(names) for row in ids):
        return  # lists of equal length that hold 0 and 1 only are multi-hot, as in a corpus
    array, _ = read_labels(ids, label_names=names, label_format=LabelFormat(empty="none"))
    np.testing.assert_array_equal(array, matrix)


def test_names_and_the_number_of_labels_are_found():
    assert read_labels([["b"], ["a", "b"]])[1] == ("a", "b")
    assert read_labels([0, 1, 1])[1] == ("0", "1")
    assert read_labels(MULTI_HOT)[1] == ("0", "1", "2")


def test_one_row_and_labels_that_never_or_always_occur():
    assert read_labels([1], num_labels=4)[0].tolist() == [1]
    array, names = read_labels([[2]], num_labels=4)
    assert array.tolist() == [[0, 0, 1, 0]] and len(names) == 4
    assert read_labels(np.ones((3, 2)))[0].all()


def test_broken_labels_name_the_row_and_the_remedy():
    with pytest.raises(ValueError, match=r"row 1 .*label 'joy' is 0.3.*pred_probs"):
        read_labels(np.array([[0, 1], [0, 0.3]]), label_names=("anger", "joy"))
    with pytest.raises(ValueError, match=r"row 0 .*nan"):
        read_labels(np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match=r"row 2 .*'love' is none of"):
        read_labels(["joy", "anger", "love"], label_names=("joy", "anger"))
    with pytest.raises(ValueError, match=r"row 1 .*None"):
        read_labels(["joy", None])
    with pytest.raises(ValueError, match=r"row 1 .*another way.*same way"):
        read_labels(["joy", 1])
    for several in (["['joy', 'love']", "['joy']"], ["joy; love", "joy"], ['{"choices": ["joy", "love"]}', "joy"]):
        assert read_labels(several)[0].tolist() == [[1, 1], [1, 0]]
    with pytest.raises(ValueError, match=r"row 1 .*'joy' is no list in brackets"):
        read_labels(["['joy', 'love']", "joy"])
    assert read_labels(["joy; love", "joy", "love"], label_names=["joy", "joy; love", "love"])[0].tolist() == [1, 0, 2]
    assert len(read_labels(["Arts, Crafts", "News", "Food, Drink"])[1]) == 3
    for same in ([1, 1], ["joy", "joy"], ["joy"]):
        with pytest.raises(ValueError, match="every row has the label .*nothing to tell it from"):
            read_labels(same)
    assert read_labels([1, 1], num_labels=2)[0].tolist() == [1, 1]
    with pytest.raises(ValueError, match="labels have no columns"):
        read_labels(np.zeros((3, 0)))
    with pytest.raises(ValueError, match="no rows"):
        read_labels([])
    with pytest.raises(ValueError, match="3 columns for 2"):
        read_labels(MULTI_HOT, num_labels=2)
    with pytest.raises(ValueError, match="2 label names for 3"):
        read_labels([0, 1], num_labels=3, label_names=("a", "b"))
    with pytest.raises(ValueError, match="2 names occur, but there are 3 labels: pass label_names"):
        read_labels(["a", "b"], num_labels=3)


def test_probabilities_are_clipped_float32():
    p = check_probabilities(np.array([[1 + 1e-7, -1e-8], [0.4, 0.6]]), np.array([0, 1]))
    assert p.dtype == np.float32 and p.min() >= 0 and p.max() <= 1


@pytest.mark.parametrize(
    ("p", "labels", "message"),
    [
        (np.full((2, 2), 0.5), np.array([0, 1, 1]), r"shape \(2, 2\), but there are 3 rows"),
        (np.full(3, 0.5), np.array([0, 1, 1]), "one column per label"),
        (np.full((3, 2), 0.5), MULTI_HOT, "2 columns and the labels 3"),
        (np.array([[0.5, 0.5], [np.nan, 1]]), np.array([0, 1]), "row 1 .*NaN"),
        (np.array([[0.5, 0.5], [2.5, -1.5]]), np.array([0, 1]), "row 1 .*2.5 is outside.*softmax"),
        (np.array([[0.5, 0.5], [0.7, 0.7]]), np.array([0, 1]), "row 1 .*sum to 1.4.*multi-hot"),
        (np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([0, 2]), "row 1 .*label 2, but pred_probs have 2"),
    ],
)
def test_broken_probabilities_name_the_row_and_the_remedy(p, labels, message):
    with pytest.raises(ValueError, match=message):
        check_probabilities(p, labels)


def test_multi_label_rows_need_not_sum_to_one():
    assert check_probabilities(np.full((3, 3), 0.9), MULTI_HOT).shape == (3, 3)


def test_variants_of_a_name_are_found_and_the_frequent_one_is_kept(caplog):
    assert name_variants(["Joy", "joy", "joy ", "love"]) == {"joy": "Joy", "joy ": "Joy"}
    assert name_variants(["Joy", "joy", "joy", "love"]) == {"Joy": "joy"}
    assert name_variants(["喜悦\uff21", "喜悦A"]) == {"喜悦\uff21": "喜悦A"}
    assert name_variants([" a b", "a  b", "a b"]) == {" a b": "a b", "a  b": "a b"}
    assert name_variants(["joy", "enjoy"]) == {}
    with caplog.at_level(logging.WARNING, logger="textpl.reading.label_arrays"):
        read_labels(["joy", "Joy ", "love"])
    assert "merges 'Joy ' into 'joy'" in caplog.text


def test_lists_stored_as_text_are_read():
    assert split_labels(["['joy', 'love']", '["a, b"]', "", "[1]"]) == [["joy", "love"], ["a, b"], [], ["1"]]
    assert split_labels(["joy; love", "", "joy"], ";") == [["joy", "love"], [], ["joy"]]
    with pytest.raises(ValueError, match="row 1 .*no list in brackets.*delimiter"):
        split_labels(["[]", "joy, love"])


def test_an_array_printed_into_a_file_is_no_list():
    with pytest.raises(ValueError, match="row 1 .*is no list in brackets"):
        split_labels(["['joy', 'love']", "['joy' 'love']"])
    assert split_labels(['["don\'t", "joy"]']) == [["don't", "joy"]]
