"""Traps that once gave other labels without a word: each gives the right ones now, or asks."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import textpl
from textpl.cli import app
from textpl.corpus import read_corpus
from textpl.label_issues.review_formats import read_review
from textpl.reading.label_arrays import read_labels
from textpl.reading.label_format import LabelFormat
from textpl.reading.probabilities import read_probability_file
from textpl.reading.tables import read_table

WORDS = {0: "cloud storm wet wind", 1: "cup leaf pot steam", 2: "rook pawn mate board"}


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "500"})


def table(path, labels, **more):
    texts = [f"{WORDS[i % 3]} {i}" for i in range(len(labels))]
    pd.DataFrame({"text": texts, "label": labels, **more}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("names", [["1", "2", "3"], ["1", "3", "5"], ["-1", "0", "1"], ["1.0", "2.0", "3.0"]])
def test_names_that_are_numbers_stay_names_in_a_cleaned_folder(tmp_path, names):
    labels = [names[i % 3] for i in range(60)]
    data = table(tmp_path / "data.csv", labels)
    done = run("clean", data, "--encoder", "lsa", "--unlabeled-value", "", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert read_table(tmp_path / "out" / "train.csv").dataset["given_label"][:] == read_table(data).dataset["label"][:]
    corpus = read_corpus(tmp_path / "out")
    wanted = [name.removesuffix(".0") for name in names]
    assert [corpus.label_names[k] for k in corpus.train["label"]] == [wanted[i % 3] for i in range(60)]
    again = run("clean", tmp_path / "out", "--encoder", "lsa", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output


def test_numbers_among_names_that_are_numbers_are_names():
    assert read_labels([1, 2, 3, 1], label_names=["1", "2", "3", "4"])[0].tolist() == [0, 1, 2, 0]
    assert read_labels([0, 1, 2], label_names=["1", "2", "3"])[0].tolist() == [0, 1, 2], "0 is no name: ids"
    assert read_labels(["1;2", "3", "4"], label_names=list("12345"))[0].tolist()[0] == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("form", ["columns", "lists"])
def test_label_knows_the_names_of_multi_hot_rows(tmp_path, form):
    hot = np.eye(3, dtype=int)[np.arange(30) % 3]
    if form == "columns":
        data, column = table(tmp_path / "data.csv", ["x"] * 30, c=hot[:, 0], a=hot[:, 1], b=hot[:, 2]), "c,a,b"
    else:
        (tmp_path / "set").mkdir()
        table(tmp_path / "set" / "train.csv", [str(row.tolist()) for row in hot])
        (tmp_path / "set" / "info.json").write_text(json.dumps({"label_names": ["c", "a", "b"]}))
        data, column = tmp_path / "set", "label"
    pool = table(tmp_path / "pool.csv", ["?"] * 3)
    done = run(
        "label", data, pool, "--label", column, "--encoder", "lsa", "--method", "linear", "--out", tmp_path / "x.csv"
    )
    assert done.exit_code == 0, done.output
    found = pd.read_csv(tmp_path / "x.csv")
    assert found.label.tolist() == ['["c"]', '["a"]', '["b"]'] and "probabilities_c" in found


def test_pairs_of_0_and_1_are_asked_about():
    with pytest.raises(ValueError, match=r"every list is \[0, 1\] or \[1, 0\]"):
        read_labels([[1, 0], [0, 1]] * 5)
    assert read_labels([[1, 0], [0, 1]] * 5, label_names=["a", "b"])[0].tolist() == [[1, 0], [0, 1]] * 5


def test_an_annotation_wins_over_what_was_there_before(tmp_path):
    def task(text, before, *answers):
        results = [[{"from_name": "label", "value": {"choices": a}}] for a in answers]
        return {"data": {"text": text, "label": before}, "annotations": [{"result": r} for r in results]}

    tasks = [
        task("a", "neg", ["pos"]),
        task("b", "neg", ["x", "y"], ["y", "x"]),
        {"data": {"text": "c"}, "annotations": None},
    ]
    (tmp_path / "x.json").write_text(json.dumps(tasks))
    found = read_table(tmp_path / "x.json").dataset
    assert found["label"][:] == [["pos"], ["x", "y"], None] and found["data_label"][:] == ["neg", "neg", None]


@pytest.mark.parametrize("mark", ["\t", ","])
def test_a_quote_that_swallows_rows_is_refused(tmp_path, mark):
    rows = [f"goal team match {i}{mark}{['sport', 'money'][i % 2]}" for i in range(20)]
    rows[5], rows[9] = f'"goal team{mark}sport', f'bank coin"{mark}money'
    (tmp_path / "x.csv").write_text("\n".join([f"text{mark}label", *rows, ""]))
    with pytest.raises(ValueError, match=r"row 5 .* goes over several lines by its quotes"):
        read_table(tmp_path / "x.csv")
    rows[5] = f'"Dear sir{mark}\nthank you"{mark}sport'
    rows[9] = rows[8]
    (tmp_path / "x.csv").write_text("\n".join([f"text{mark}label", *rows, ""]))
    assert read_table(tmp_path / "x.csv").dataset["text"][5] == f"Dear sir{mark}\nthank you"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("스포츠 뉴스 오늘의 경기", "euc-kr"),
        ("şampiyon değil", "cp1254"),
        ("řekl že dům", "cp1250"),
        ("mérkőzés tűz", "cp1250"),
        ("größe", "cp850"),
        ("café", "mac_roman"),
    ],
)
def test_other_encodings_are_refused(tmp_path, text, encoding):
    (tmp_path / "x.csv").write_bytes(f"text,label\n{text},a\n".encode(encoding))
    with pytest.raises(ValueError, match="x.csv, line 2: no UTF-8 text"):
        read_table(tmp_path / "x.csv")


def test_one_broken_byte_does_not_change_the_encoding(tmp_path):
    good = "".join(f"le café était fermé {i},été\n" for i in range(20)).encode()
    (tmp_path / "x.csv").write_bytes(b"text,label\n" + good + b"un caf\xe9,hiver\n")
    with pytest.raises(ValueError, match="x.csv, line 22: broken UTF-8"):
        read_table(tmp_path / "x.csv")


def test_headings_that_are_numbers_are_headings():
    rng = np.random.default_rng(0)
    ids = np.arange(120) % 3
    p = np.full((120, 3), 0.02) + 0.94 * np.eye(3)[ids] + rng.random((120, 3)) * 1e-3
    p /= p.sum(1, keepdims=True)
    given = ids.copy()
    given[:3] = (ids[:3] + 1) % 3
    frame = pd.DataFrame(p, columns=[0, 1, 2])[[2, 0, 1]]
    report = textpl.find_label_issues(labels=given, pred_probs=frame, encoder=None, progress=False)
    assert sorted(np.argsort(-report.p_error)[:3].tolist()) == [0, 1, 2] and report.flagged.sum() <= 3
    hot = pd.DataFrame(np.eye(3, dtype=int)[ids], columns=["war", "sport", "money"])
    array, names = read_labels(hot[["money", "war", "sport"]], label_names=["war", "sport", "money"])
    assert names == ("war", "sport", "money") and array.argmax(1).tolist() == ids.tolist()


def test_files_of_probabilities(tmp_path):
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    pd.DataFrame(p).to_csv(tmp_path / "p.csv", index=False)
    assert read_probability_file(tmp_path / "p.csv", ("0", "1"))[0] == pytest.approx(p)
    pd.DataFrame(p, columns=["1", "0"]).to_csv(tmp_path / "q.csv", index=False)
    values, names = read_probability_file(tmp_path / "q.csv", ("0", "1"))
    assert names == ("0", "1") and values[0].tolist() == pytest.approx([0.1, 0.9])
    np.savez(tmp_path / "p.npz", pred_probs=p, classes=np.array([1, 0]))
    assert read_probability_file(tmp_path / "p.npz", ("0", "1"))[1] == ("1", "0")
    pd.DataFrame({"a": p[:, 0], "b": p[:, 1], "confidence": 0.9, "fold": 0.0}).to_csv(tmp_path / "r.csv", index=False)
    assert read_probability_file(tmp_path / "r.csv", ("a", "b"))[1] == ("a", "b")


@pytest.mark.parametrize("content", [b"0,98;0,02\n" * 30, b"", b"a,b\nx,y\n"])
@pytest.mark.parametrize("suffix", [".csv", ".npy", ".npz"])
def test_broken_probabilities_are_named(tmp_path, content, suffix):
    data, file = table(tmp_path / "data.csv", ["a", "b", "c"] * 10), tmp_path / f"p{suffix}"
    file.write_bytes(content)
    done = run("clean", data, "--encoder", "none", "--pred-probs", file, "--out", tmp_path / "out")
    assert done.exit_code == 1 and str(file) in done.output and "bug" not in done.output, done.output


def test_a_thousand_is_no_eight(tmp_path):
    (tmp_path / "r.csv").write_text('row,label,given,decision\n"8,000",war,war,money\n')
    with pytest.raises(ValueError, match="'8,000' is no row number"):
        read_review(tmp_path / "r.csv")


def test_a_review_of_other_texts_is_refused(tmp_path):
    data = table(tmp_path / "data.csv", ["a", "b", "c"] * 20)
    assert run("clean", data, "--encoder", "lsa", "--out", tmp_path / "out").exit_code == 0
    review = tmp_path / "review.csv"
    for text, code in ((f"{WORDS[1]} 7", 0), ("another text", 1)):
        pd.DataFrame({"row": [7], "label": ["b"], "given": ["b"], "decision": ["a"], "text": [text]}).to_csv(review)
        done = run("clean", data, "--out", tmp_path / "out", "--review", review)
        assert done.exit_code == code, done.output
    assert "record 1: its text is not that of row 7" in done.output


@pytest.mark.parametrize("word", ["-1.0", " -1", "\u22121", "#N/A", "\\N", "(blank)", "no_label", "Unassigned"])
def test_other_words_for_no_label(word):
    with pytest.raises(ValueError, match="have no label"):
        read_labels(["sport", "money", word] * 4)


def test_what_is_said_must_be_met():
    with pytest.raises(ValueError, match=r"No label in labels is 'N/A' .*'n/a': did you mean that"):
        read_labels(["a", "b", "n/a"], label_format=LabelFormat(unlabeled_values=["N/A"]))
    with pytest.raises(ValueError, match="row 2, 3 .*have no label"):
        read_labels(["a", "b", "-1", "n/a"], label_format=LabelFormat(unlabeled_values=["n/a"]))


@pytest.mark.parametrize(
    ("cells", "meaning"),
    [
        (['["news\\/politics"]', '["a"]'], [{"news/politics"}, {"a"}]),
        ([json.dumps(["\U0001f600", "joy"]), '["joy"]'], [{"\U0001f600", "joy"}, {"joy"}]),
        (['{ "choices": ["joy","a"]}', "joy"], [{"joy", "a"}, {"joy"}]),
        (["体育、财经", "财经", "体育；财经"], None),
        (["体育、财经", "财经", "体育"], [{"体育", "财经"}, {"财经"}, {"体育"}]),
    ],
)
def test_labels_in_strings(cells, meaning):
    if meaning is None:
        with pytest.raises(ValueError, match="write all with one delimiter"):
            read_labels(cells)
        return
    array, names = read_labels(cells)
    assert [{names[k] for k in np.flatnonzero(row)} for row in array] == meaning


def test_a_null_among_choices_is_refused():
    with pytest.raises(ValueError, match="None"):
        read_labels(['{"choices": ["a", null]}', "a", "b"])


def test_two_files_in_one_and_spaces_after_commas(tmp_path):
    (tmp_path / "x.csv").write_text("text,label\na,x\nb,y\ntext,label\nc,x\n")
    with pytest.raises(ValueError, match="row 2 .* is the headings once more"):
        read_table(tmp_path / "x.csv")
    (tmp_path / "y.csv").write_text('text, label\n"a, b", "x"\n"c", "y"\n')
    assert read_table(tmp_path / "y.csv").dataset[:] == {"text": ["a, b", "c"], "label": ["x", "y"]}


def test_a_foreign_column_of_given_labels_is_refused(tmp_path):
    data = table(tmp_path / "data.csv", ["a", "b"] * 20, given_label=["z"] * 40)
    done = run("clean", data, "--encoder", "lsa", "--out", tmp_path / "out")
    assert done.exit_code == 1 and "'given_label' is not from an earlier cleaning" in done.output


def test_merged_names_stay_merged_in_a_cleaned_folder(tmp_path):
    data = table(tmp_path / "data.csv", ["Sport" if i == 4 else ["sport", "tea", "chess"][i % 3] for i in range(60)])
    assert run("clean", data, "--encoder", "lsa", "--merge-variants", "--out", tmp_path / "out").exit_code == 0
    again = run("clean", tmp_path / "out", "--encoder", "lsa", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output


def test_words_for_no_label_in_the_pool_of_a_cleaned_folder(tmp_path):
    data = table(tmp_path / "data.csv", ["n/a" if i % 4 == 3 else "abc"[i % 3] for i in range(80)])
    done = run("clean", data, "--unlabeled-value", "n/a", "--encoder", "lsa", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert len(read_corpus(tmp_path / "out").unlabeled) == 20
    assert run("recipes", "new", tmp_path / "mine", "--data", tmp_path / "out").exit_code == 0


def test_labels_again_from_ones_own_output(tmp_path):
    known = table(tmp_path / "known.csv", ["sport", "tea", "chess"] * 10)
    first = run("label", known, known, "--encoder", "lsa", "--method", "linear", "--out", tmp_path / "a.csv")
    second = run(
        "label", known, tmp_path / "a.csv", "--encoder", "lsa", "--method", "linear", "--out", tmp_path / "b.csv"
    )
    assert first.exit_code == second.exit_code == 0, second.output
    headings = list(pd.read_csv(tmp_path / "b.csv"))
    assert len(set(headings)) == len(headings) and "given_probabilities_tea" in headings


def test_keys_and_numbers_of_jsonl_stay(tmp_path):
    rows = [{"m": {"a": 1}}, {"m": {"b": 2}}]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_table(tmp_path / "x.jsonl").dataset[:]["m"] == [{"a": 1}, {"b": 2}]
    (tmp_path / "y.jsonl").write_text('{"label": 1, "label": 2}\n')
    with pytest.raises(ValueError, match="y.jsonl, line 1 .*'label' stands twice"):
        read_table(tmp_path / "y.jsonl")
    with pytest.raises(ValueError, match="is no id"):
        (tmp_path / "z.jsonl").write_text(f'{{"text": "a", "label": 1}}\n{{"text": "b", "label": {10**30}}}\n')
        read_corpus(tmp_path / "z.jsonl")


def test_the_same_split_twice_is_refused(tmp_path):
    for name in ("train", "dev", "validation"):
        table(tmp_path / f"{name}.csv", ["a", "b"])
    with pytest.raises(ValueError, match="dev and validation, which are names of one split"):
        read_corpus(tmp_path)


def test_formats_that_are_none(tmp_path):
    for wrong in ({"delimiter": 5}, {"unlabeled_values": 5}, {"empty": "all"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LabelFormat(**wrong)
