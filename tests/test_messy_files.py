"""Files as people have them: every one is read, or one line says what is wrong with all its bad rows."""

from __future__ import annotations

import csv
import html
import json

import numpy as np
import pytest
from datasets import Dataset, load_dataset
from typer.testing import CliRunner

from textpl.cli import app
from textpl.label_issues.files import clean_files
from textpl.label_issues.find import find_label_issues
from textpl.reading.label_format import LabelFormat
from textpl.reading.labeled_rows import read_labeled
from textpl.reading.sources import open_source
from textpl.reading.tables import read_table
from textpl.sharing.dataset_card import dataset_card
from textpl.sharing.labelled_rows import read_cleaned

WORDS = {"sports": "match goal team league", "tech": "chip code server cloud", "world": "war vote treaty border"}
NAMES = list(WORDS)


def rows(number=60, **changed):
    """[text, label] lists; `changed` has other labels by row ("r7")."""
    rng = np.random.default_rng(0)
    made = [
        [" ".join(rng.choice(WORDS[NAMES[i % 3]].split(), 4)) + f" {'abcdefghij'[i % 10]}{i}", NAMES[i % 3]]
        for i in range(number)
    ]
    for row, label in changed.items():
        made[int(row[1:])][1] = label
    return made


def write_csv(path, lines, *, heading=("text", "label"), delimiter=",", encoding="utf-8"):
    with open(path, "w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([heading, *lines])
    return path


def write_jsonl(path, lines):
    made = [{"text": text, "label": label} for text, label in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in made), encoding="utf-8")
    return path


def clean(*arguments):
    return CliRunner().invoke(app, ["clean", *map(str, arguments)], env={"COLUMNS": "500"})


def read(path, labels="label", **settings):
    return read_labeled(open_source(path), str(path), "text", labels, label_format=LabelFormat(**settings))


# ------------------------------------------------------------------------------------------ rows without a label


def test_rows_without_a_label_are_left_out_and_kept(tmp_path):
    data = write_csv(tmp_path / "data.csv", rows(r7="", r9="  ", r12="sports"))
    out = tmp_path / "out"
    done = clean(data, "--encoder", "lsa", "--out", out)
    assert done.exit_code == 0, done.output
    assert "2 of 60 rows have no label (row 7, 9, counted from 0)" in done.output
    assert "Rows without a label, left out of all this: 2" in done.output and "unlabeled.csv" in done.output
    cleaned, apart = (
        load_dataset("csv", data_files=str(out / "train.csv"), split="train"),
        read_table(out / "unlabeled.csv").dataset,
    )
    kept = [row for i, row in enumerate(rows()) if i not in (7, 9)]
    assert cleaned["text"][:] == [text for text, _ in kept] and set(cleaned["given_label"]) == set(NAMES)
    assert apart["text"][:] == [rows()[7][0], rows()[9][0]] and apart["label"][:] == ["", "  "]
    assert json.loads((out / "report.json").read_text())["about"]["unlabelled_rows"] == 2
    assert json.loads((out / "cleaning.json").read_text())["counts"]["without_label"] == 2
    page, told = (out / "report.html").read_text(), json.loads((out / "cleaning.json").read_text())
    assert "58 rows with a label (2 without one are left out)" in page
    assert told["notes"] and all(note in html.unescape(page) for note in told["notes"])
    assert "without\\_label 2" in dataset_card(read_cleaned(out), repo_id="ada/x")
    assert clean(data, "--out", out).exit_code == 0  # the report is used again
    write_csv(data, [*rows(r7="", r9="  "), ["a text without a label", ""]])
    again = clean(data, "--out", out)
    assert again.exit_code == 1 and "is about other texts or labels" in again.output


@pytest.mark.parametrize("write", [write_csv, write_jsonl])
def test_a_missing_label_in_any_form_is_no_label(tmp_path, write):
    missing = "" if write is write_csv else None
    path = tmp_path / ("data.csv" if write is write_csv else "data.jsonl")
    for made in (rows(r7=missing), [[t, missing if i == 7 else NAMES.index(n)] for i, (t, n) in enumerate(rows())]):
        found = read(write(path, made))
        assert found.given.shape == (59,) and 7 not in found.rows and len(found.unlabeled) == 1
        assert found.given.tolist() == [i % 3 for i in range(60) if i != 7]
    with pytest.raises(ValueError, match="no row has a label in column 'label'"):
        read(write(path, [[text, missing] for text, _ in rows()]))


def test_of_lists_an_empty_one_is_an_answer_and_a_missing_one_is_none(tmp_path):
    made = [[text, [label]] for text, label in rows(6)]
    made[1][1], made[2][1], made[3][1] = [], None, ["sports", ""]
    found = read(write_jsonl(tmp_path / "data.jsonl", made))
    assert found.rows.tolist() == [0, 1, 3, 4, 5] and found.label_names == tuple(NAMES)
    assert found.given[1].sum() == 0 and found.given[2].tolist() == [1, 0, 0]
    assert any("1 empty names" in note for note in found.notes)
    several = read(write_csv(tmp_path / "data.csv", [["a", "x;y"], ["b", ""], ["c", "y"], ["d", "x"]]))
    assert several.given.tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]] and not len(several.unlabeled)


def test_probabilities_are_those_of_all_rows_of_the_file(tmp_path):
    made = rows(r0="", r12="tech")
    right = np.array([NAMES.index(label) for _, label in rows()])
    p = np.full((60, 3), 0.02)
    p[np.arange(60), right] = 0.96
    np.save(tmp_path / "p.npy", p)
    data = write_csv(tmp_path / "data.csv", made)
    settings = {"pred_probs": tmp_path / "p.npy", "encoder": "none", "progress": False}
    with pytest.raises(ValueError, match="which column is which"):
        clean_files(str(data), tmp_path / "out", **settings)
    found = clean_files(str(data), tmp_path / "out", label_names=NAMES, **settings)
    assert len(found.report) == 59 and np.argmax(found.report.p_error) == 11
    np.save(tmp_path / "p.npy", p[:40])
    done = clean(
        data, "--pred-probs", tmp_path / "p.npy", "--label-names", "sports,tech,world", "--encoder", "none", "--out",
        tmp_path / "other",
    )  # fmt: skip
    assert done.exit_code == 1 and "40" in done.output and "59" in done.output


# ------------------------------------------------------------------------------------------------ odd labels


def test_a_messy_column_is_cleaned(tmp_path):
    made = rows(r6=" sports", r9="SPORTS", r7="tehc", r10="NaN")
    made[20][0], made[21][0] = "", "  "
    done = clean(write_csv(tmp_path / "data.csv", made), "--encoder", "lsa", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "--merge-variants merges ' sports' into 'sports', 'SPORTS' into 'sports'" in done.output
    assert "1 rows have the label 'NaN': taken as rows without a label" in done.output
    assert "2 texts say nothing" in done.output
    merged = clean(tmp_path / "data.csv", "--encoder", "lsa", "--merge-variants", "--out", tmp_path / "merged")
    assert merged.exit_code == 0 and "Merged 2 labels" in merged.output
    made = read_table(tmp_path / "merged" / "train.csv").dataset
    assert set(made["label"]) <= {*NAMES, "tehc"} and {" sports", "SPORTS"} < set(made["given_label"])


@pytest.mark.parametrize("kind", ["integers", "whole floats", "lists"])
def test_numbers_that_are_no_ids_are_names(tmp_path, kind):
    stars = [2 + i % 3 if i % 3 < 2 else 10 for i in range(60)]
    labels = {"integers": stars, "whole floats": [float(s) for s in stars], "lists": [[s] for s in stars]}[kind]
    made = [[text, label] for (text, _), label in zip(rows(), labels, strict=True)]
    data = write_jsonl(tmp_path / "data.jsonl", made)
    found = read(data)
    assert found.label_names == ("2", "3", "10") and "taken as names" in found.notes[0]
    given = found.given if found.given.ndim == 1 else found.given.argmax(1)
    assert given.tolist() == [i % 3 for i in range(60)]
    done = clean(data, "--encoder", "lsa", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "out" / "info.json").read_text())["label_names"] == ["2", "3", "10"]


def test_ids_stay_ids(tmp_path):
    made = [[text, NAMES.index(label)] for text, label in rows()]
    found = read(write_csv(tmp_path / "data.csv", made))
    assert found.dataset.features["label"].dtype == "int64" and found.label_names == ("0", "1", "2") and not found.notes


def test_multi_hot_columns_read_as_strings(tmp_path):
    made = [["a", 1, "TRUE"], ["b", 0, "false"], ["c", " 1", "false"]]
    found = read(write_csv(tmp_path / "data.csv", made, heading=("text", "x", "y")), "x,y")
    assert found.given.tolist() == [[1, 1], [0, 0], [1, 0]]
    made += [["d", "", "TRUE"], ["e", 1, "maybe"]]
    with pytest.raises(ValueError, match=r"columns 'x', 'y', row 3, 4 \(counted from 0\): the value is ''\. Write 0"):
        read(write_csv(tmp_path / "data.csv", made, heading=("text", "x", "y")), "x,y")


def test_labels_of_several_types_are_all_counted(tmp_path):
    data = write_jsonl(tmp_path / "data.jsonl", rows(12, r0=3, r5=4, r6=None))
    for look in (read, lambda path: find_label_issues(Dataset.from_json(str(path)), encoder="lsa", progress=False)):
        with pytest.raises(ValueError, match=r"row 0, 5 \(counted from 0\): label 3 is written in another way than 't"):
            look(data)


def test_fractions_are_refused_with_all_rows(tmp_path):
    made = [[text, 0.5 if i in (7, 50) else i % 2] for i, (text, _) in enumerate(rows())]
    with pytest.raises(ValueError, match=r"row 7, 50 .*label 0.5 is no whole number"):
        read(write_csv(tmp_path / "data.csv", made))
    made[2][1] = None
    with pytest.raises(ValueError, match=r"column 'label' of the rows that have a label, row 6, 49 "):
        read(write_jsonl(tmp_path / "data.jsonl", made))


# -------------------------------------------------------------------------------------------- texts and files


def test_missing_texts_are_empty_ones(tmp_path):
    made = rows()
    made[3][0] = made[4][0] = None
    found = read(write_jsonl(tmp_path / "data.jsonl", made))
    assert found.dataset["text"][3:5] == ["", ""] and found.notes == (
        "2 texts in column 'text' are missing; they are empty now.",
    )


def test_quotes_marks_and_columns_do_not_matter(tmp_path):
    made = rows()
    made[3][0] = 'he said "no",\nthen "yes"\tand left'
    plain = read(write_csv(tmp_path / "a.csv", made))
    others = [
        write_csv(tmp_path / "b.csv", made, encoding="utf-8-sig"),
        write_csv(tmp_path / "c.tsv", made, delimiter="\t"),
        write_csv(
            tmp_path / "d.csv", [[i, *row, "x"] for i, row in enumerate(made)], heading=["id", "text", "label", "y"]
        ),
    ]
    assert plain.dataset["text"][3] == made[3][0]
    assert {read(path).fingerprint() for path in others} == {plain.fingerprint()}


def test_a_heading_twice_is_told(tmp_path):
    made = [[text, label, "x"] for text, label in rows()]
    data = write_csv(tmp_path / "data.csv", made, heading=("text", "label", "label"))
    with pytest.raises(ValueError, match=r"data.csv has two columns 'label' that differ: rename one"):
        read(data)
    same = write_csv(tmp_path / "same.csv", [[*row, row[1]] for row in rows()], heading=("text", "label", "label"))
    assert read(same).label_names == tuple(NAMES)


@pytest.mark.parametrize(("mark", "told"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_separator_is_read_and_told(tmp_path, mark, told):
    found = read(write_csv(tmp_path / "data.csv", rows(), delimiter=mark))
    assert found.dataset["text"][:] == [text for text, _ in rows()] and found.label_names == tuple(NAMES)
    assert found.notes == (f"data.csv is separated by {told}.",)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "has no column 'text', 'label', but ['sentence', 'topic']. Say --text COLUMN and {} COLUMN."),
        (["--text", "sentence"], "has no column 'label', but ['sentence', 'topic']. Say {} COLUMN."),
        (["topic"], "has no column 'text', but ['sentence', 'topic']. Say --text COLUMN."),
    ],
)
@pytest.mark.parametrize("command", ["clean", "label"])
def test_columns_of_other_names_are_told(tmp_path, command, arguments, problem):
    option = "--labels" if command == "clean" else "--label"
    data = write_csv(tmp_path / "data.csv", rows(), heading=("sentence", "topic"))
    files = [data, "--out", tmp_path / "out"] if command == "clean" else [data, data, "--out", tmp_path / "x.parquet"]
    arguments = [option, "topic"] if arguments == ["topic"] else arguments
    done = CliRunner().invoke(app, [command, *map(str, files), *arguments], env={"COLUMNS": "500"})
    assert done.exit_code == 1 and problem.format(option) in done.output, done.output


def test_the_pool_is_named_when_it_lacks_the_text_column(tmp_path):
    known, pool = (
        write_csv(tmp_path / "a.csv", rows()),
        write_csv(tmp_path / "b.csv", rows(), heading=("body", "label")),
    )
    done = CliRunner().invoke(app, ["label", str(known), str(pool), "--encoder", "lsa"], env={"COLUMNS": "500"})
    assert done.exit_code == 1 and "b.csv has no column 'text', but ['body', 'label']" in done.output


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        ("这本书很好看", "gbk", "GB18030"),
        ("Très bon café", "cp1252", "CP1252"),
        ("a good day", "utf-16", "UTF-16"),
        ("a good day", "utf-16-le", "UTF-16-LE"),
        ("a good day", "utf-8-sig", None),
    ],
)
def test_a_file_that_is_no_utf_8_is_read_and_told(tmp_path, suffix, text, encoding, named):
    file = tmp_path / f"old.{suffix}"
    made = [(f"{text} {i}", "ab"[i % 2]) for i in range(8)]
    if suffix == "jsonl":
        content = "".join(json.dumps({"text": t, "label": n}, ensure_ascii=False) + "\n" for t, n in made)
    else:
        mark = "\t" if suffix == "tsv" else ","
        content = "".join(f"{t}{mark}{n}\n" for t, n in [("text", "label"), *made])
    file.write_bytes(content.encode(encoding))
    found = read(file)
    assert found.dataset["text"][:] == [t for t, _ in made] and found.label_names == ("a", "b")
    assert found.notes == (() if named is None else (f"old.{suffix} is read as {named}.",))


@pytest.mark.parametrize(("text", "encoding"), [("Привет, как дела", "cp1251"), ("日本語のテキスト", "shift_jis")])
def test_an_encoding_that_cannot_be_told_says_how_to_convert_it(tmp_path, text, encoding):
    file = tmp_path / "old.csv"
    file.write_bytes(f'text,label\n"{text}",a\n'.encode(encoding))
    done = clean(file, "--out", tmp_path / "out")
    assert done.exit_code == 1 and "old.csv, line 2" in done.output and "`iconv -f ENCODING -t UTF-8" in done.output
