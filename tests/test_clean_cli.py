"""`textpl clean`: labels in every form in, a cleaned corpus, a report and a queue out; nothing is overwritten."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from datasets import Dataset
from typer.testing import CliRunner

import textpl.label_issues.files
from textpl.cli import app
from textpl.label_issues.columns import undo
from textpl.label_issues.files import clean_files
from textpl.reading.label_format import LabelFormat
from textpl.reading.labeled_rows import read_labeled
from textpl.reading.names import find_delimiter
from textpl.reading.probabilities import read_probability_file
from textpl.reading.sources import open_source
from textpl.reading.tables import read_table

TOPICS = {
    "rain": ["rain", "cloud", "storm", "wet", "wind", "umbrella"],
    "tea": ["tea", "cup", "leaf", "pot", "steam", "kettle"],
    "chess": ["chess", "rook", "pawn", "queen", "mate", "board"],
}


def corpus(rows=90, seed=0):
    """Texts of the words of one or two topics, and the topics; row 0 lacks its "rain", row 1 has a "chess" too many."""
    rng = np.random.default_rng(seed)
    names, texts, topics = list(TOPICS), [], []
    for i in range(rows):
        mine = [names[i % 3]] + ([names[(i + 1) % 3]] if i % 5 == 0 else [])
        words = [word for name in mine for word in rng.choice(TOPICS[name], 6)]
        texts.append(" ".join(words))
        topics.append(mine)
    texts[0] = "rain cloud storm wet tea cup leaf pot"
    topics[0], topics[1] = ["tea"], ["tea", "chess"]
    return texts, topics


TEXTS, LABELS = corpus()


def read(path, labels, **settings):
    return read_labeled(open_source(path), str(path), "text", labels, label_format=LabelFormat(**settings))


def cleaned_rows(out, name="train"):
    """The cleaned corpus, whatever kind of file it is."""
    return read_table(next(path for path in out.glob(f"{name}.*"))).dataset


def write(path, labels, texts=TEXTS, **more):
    """A csv, jsonl or parquet file with the columns text and label."""
    columns = {"text": texts, **(labels if isinstance(labels, dict) else {"label": labels}), **more}
    data = Dataset.from_dict(columns)
    {".csv": data.to_csv, ".jsonl": data.to_json, ".parquet": data.to_parquet}[path.suffix](str(path))
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["clean", *map(str, arguments)], env={"COLUMNS": "500"})


FORMS = {
    "names": ("data.jsonl", LABELS, ["--labels", "label"]),
    "delimited": ("data.csv", ["; ".join(row) for row in LABELS], ["--labels", "label"]),
    "brackets": ("data.csv", [str(row) for row in LABELS], ["--labels", "label"]),
    "json": ("data.parquet", [json.dumps(row) for row in LABELS], ["--labels", "label"]),
    "odd": ("data.csv", ["/".join(row) for row in LABELS], ["--labels", "label", "--delimiter", "/"]),
    "columns": (
        "data.csv",
        {name: [int(name in row) for row in LABELS] for name in sorted(TOPICS)},
        ["--labels", ", ".join(sorted(TOPICS))],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_are_read_in_every_form(tmp_path, form):
    name, labels, arguments = FORMS[form]
    delimiter = arguments[3] if len(arguments) > 2 else None
    found = read(write(tmp_path / name, labels), arguments[1], delimiter=delimiter)
    assert found.label_names == ("chess", "rain", "tea")
    assert found.given.tolist() == [[int(topic in row) for topic in sorted(TOPICS)] for row in LABELS]
    assert bool(found.notes) == (form in ("delimited", "brackets", "json", "columns"))


@pytest.mark.parametrize("form", ["delimited", "columns"])
def test_several_labels_per_row_give_a_cleaned_corpus(tmp_path, form):
    name, labels, arguments = FORMS[form]
    data, out = write(tmp_path / name, labels, note=[f"n{i}" for i in range(len(TEXTS))]), tmp_path / "out"
    done = run(data, *arguments, "--encoder", "lsa", "--out", out, "--relabel", 0.5)
    assert done.exit_code == 0, done.output
    assert "errors are expected" in done.output and "share of all right labels" in done.output
    assert str(out / "report.html") in done.output and "cells relabelled" in done.output
    cleaned = cleaned_rows(out)
    column = "labels" if form == "columns" else "label"
    found = read(out, column)
    assert found.label_names == ("chess", "rain", "tea")
    assert found.given[0].tolist() == [0, 1, 1] and found.given[1].tolist() == [0, 0, 1]
    given = read(out, f"given_{column}").given
    assert given[0].tolist() == [0, 0, 1] and given[1].tolist() == [1, 0, 1] and (given != found.given).sum() <= 6
    assert json.loads(cleaned["label_source"][0])[1] == "relabelled" and cleaned["note"][3] == "n3"
    if form == "delimited":
        assert cleaned["given_label"][:] == labels and cleaned.column_names[:3] == ["text", "label", "note"]
        assert undo(cleaned)[:] == read_table(data).dataset[:]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "is not given and probably missing" in page and TEXTS[0] in page
    with open(out / "review.csv", encoding="utf-8-sig", newline="") as file:
        first = {(int(line["row"]), line["label"]) for line, _ in zip(csv.DictReader(file), range(6), strict=False)}
    assert first >= {(0, "rain"), (1, "chess")}


@pytest.mark.parametrize("form", ["names", "ids"])
def test_one_label_per_row(tmp_path, form):
    labels = [row[-1] if i % 5 else row[0] for i, row in enumerate(LABELS)]
    labels = labels if form == "names" else [sorted(TOPICS).index(name) for name in labels]
    data, out = write(tmp_path / "data.csv", labels), tmp_path / "out"
    done = run(data, "--encoder", "lsa", "--out", out)
    assert done.exit_code == 0, done.output
    assert "90 rows: " in done.output
    cleaned = cleaned_rows(out)
    wrong = [i for i in range(90) if cleaned["label"][i] != labels[i]]
    assert 1 in wrong and cleaned["label"][1] == ("tea" if form == "names" else 2)
    assert cleaned["given_label"][:] == labels
    assert "Which label stands for which" in (out / "report.html").read_text(encoding="utf-8")


def test_decisions_are_applied_without_computing_anything_anew(tmp_path, monkeypatch):
    data, out = write(tmp_path / "data.jsonl", LABELS), tmp_path / "out"
    assert run(data, "--encoder", "lsa", "--out", out, "--budget", 20).exit_code == 0
    queue = out / "review.csv"
    with open(queue, encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 20
    for line in lines:
        right = line["label"] in LABELS[int(line["row"])]
        line["decision"] = "yes" if right or (line["row"], line["label"]) == ("0", "rain") else "no"
    # A person finds that row 2 is about tea: only a person can.
    lines.append({**lines[0], "row": "2", "label": "tea", "decision": "yes", "text": TEXTS[2]})
    with open(queue, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=lines[0])
        writer.writeheader()
        writer.writerows(lines)
    filled = queue.read_bytes()
    monkeypatch.setattr(textpl.label_issues.files, "find_label_issues", lambda *a, **k: pytest.fail("computed anew"))
    done = run(data, "--out", out, "--review", queue)
    assert done.exit_code == 0, done.output
    assert "nothing is computed anew" in done.output and "21 cells as reviewed" in done.output
    cleaned = cleaned_rows(out)
    assert set(cleaned["label"][2]) == {"chess", "tea"} and "reviewed" in cleaned["label_source"][2]
    assert set(cleaned["label"][0]) == {"rain", "tea"}
    assert queue.read_bytes() == filled and (out / "review-2.csv").exists()
    # The decisions are part of the report now; other thresholds need no new computation either.
    again = run(data, "--out", out, "--relabel", 0.9)
    assert again.exit_code == 0 and "21 cells as reviewed" in again.output
    other = run(data, "--out", out, "--encoder", "another", "--review", queue)
    assert other.exit_code == 1 and "was made with another encoder" in other.output


def test_a_report_on_other_data_is_not_used(tmp_path):
    data, out = write(tmp_path / "data.jsonl", LABELS), tmp_path / "out"
    clean_files(str(data), out, encoder="lsa", progress=False)
    before = (out / "report.json").read_bytes()
    write(data, [LABELS[1], *LABELS[1:]])
    done = run(data, "--out", out)
    assert done.exit_code == 1 and "other texts or labels" in done.output
    assert (out / "report.json").read_bytes() == before


def test_what_was_done_is_recorded(tmp_path):
    data, out = write(tmp_path / "data.csv", ["; ".join(row) for row in LABELS]), tmp_path / "out"
    done = run(data, "--encoder", "lsa", "--out", out, "--relabel", 0.5)
    assert done.exit_code == 0 and str(out / "cleaning.json") in done.output
    told = json.loads((out / "cleaning.json").read_text(encoding="utf-8"))
    assert (told["source"], told["text"], told["labels"]) == (str(data), "text", "label")
    assert told["settings"] == {"encoder": "lsa", "relabel": 0.5} and told["method"] == "auto"
    cleaned = cleaned_rows(out)
    changed = sum(source == "relabelled" for row in cleaned["label_source"] for source in json.loads(row))
    counts = told["counts"]
    assert counts["rows"] == 90 and counts["labels"] == 3 and counts["relabelled"] == changed > 0
    assert counts["masked"] == counts["downweighted"] == counts["reviewed"] == 0
    assert told["task"] == "multi" and told["label_names"] == ["chess", "rain", "tea"]
    assert 0 <= told["expected_right_changed"] < 0.1 and told["versions"]["textpl"]
    assert len(told["noise"]["false_negative"]) == 3 and told["noise"]["source"] == "posterior"
    # Another action on the same report: what was said when it was made is still known.
    assert run(data, "--out", out).exit_code == 0
    told = json.loads((out / "cleaning.json").read_text(encoding="utf-8"))
    assert told["settings"] == {"encoder": "lsa"} and told["counts"]["relabelled"] == 0 < told["counts"]["masked"]


def test_without_calibrated_scores_no_price_is_told(tmp_path):
    pytest.importorskip("cleanlab")
    data, out = write(tmp_path / "data.jsonl", LABELS), tmp_path / "out"
    done = run(data, "--encoder", "lsa", "--method", "confident", "--out", out)
    assert done.exit_code == 0, done.output
    assert "cleanlab's count, not calibrated" in done.output and "of all right labels" not in done.output
    told = json.loads((out / "cleaning.json").read_text(encoding="utf-8"))
    assert told["expected_right_changed"] is None is told["expected_errors"] and told["method"] == "confident"


def test_an_interrupted_run_starts_again(tmp_path):
    data, out = write(tmp_path / "data.jsonl", LABELS), tmp_path / "out"
    clean_files(str(data), out, encoder="lsa", progress=False)
    written = (out / "review.csv", out / "cleaning.json", out / "inputs.json", out / "train.jsonl", out / "info.json")
    for file in written:
        file.unlink()
    assert clean_files(str(data), out, encoder="lsa", progress=False).files["cells to review"].exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    data = write(folder / "data.jsonl", LABELS)
    done = run(data, "--out", folder, "--encoder", "lsa")
    assert done.exit_code == 1 and "is not empty (data.jsonl)" in done.output


def test_test_splits_are_refused(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", LABELS)
    data = write(folder / "test.jsonl", LABELS)
    for arguments in ([data], [folder, "--split", "test"]):
        done = run(*arguments, "--encoder", "lsa", "--out", tmp_path / "out")
        assert done.exit_code == 1 and "--allow-test" in done.output and not (tmp_path / "out").exists()
    done = run(folder, "--split", "test", "--allow-test", "--encoder", "lsa", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "test.jsonl").exists()


def test_leaks_are_looked_for(tmp_path):
    data, test = write(tmp_path / "data.jsonl", LABELS), write(tmp_path / "held.jsonl", LABELS[:3], TEXTS[:3])
    done = run(data, "--encoder", "lsa", "--out", tmp_path / "out", "--test", test)
    assert done.exit_code == 0, done.output
    assert "3 test rows are also in train (3 exactly)" in done.output
    other = write(tmp_path / "other.jsonl", LABELS[:1], ["a quite different matter altogether"])
    done = run(data, "--encoder", "lsa", "--out", tmp_path / "out2", "--test", other)
    assert done.exit_code == 0 and "No leaks found" in done.output
    assert "test row 2" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def own_probabilities(folder, suffix):
    """A file of good probabilities, and what is in it, labels in alphabetical order."""
    right = np.array(
        [[any(word in TOPICS[name] for word in text.split()) for name in sorted(TOPICS)] for text in TEXTS]
    )
    p, file = (0.02 + 0.95 * right).astype(np.float32), folder / f"p.{suffix}"
    if suffix == "npy":
        np.save(file, p)
    elif suffix == "npz":
        np.savez(file, pred_probs=p, ids=np.arange(90))
    elif suffix == "bare.csv":
        np.savetxt(file, p, delimiter=",")
    else:
        columns = {"tea": p[:, 2], "id": [f"r{i}" for i in range(90)], "chess": p[:, 0], "rain": p[:, 1]}
        table = Dataset.from_dict(columns)
        (table.to_csv if suffix == "csv" else table.to_parquet)(str(file))
    return file, p


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "bare.csv", "parquet"])
def test_probabilities_are_read_in_every_form(tmp_path, suffix):
    file, p = own_probabilities(tmp_path, suffix)
    found, names = read_probability_file(file, ("chess", "rain", "tea"))
    assert names == (("chess", "rain", "tea") if suffix in ("csv", "parquet") else None)
    assert found == pytest.approx(p)


def test_probabilities_of_the_users_own(tmp_path):
    data, out = write(tmp_path / "data.jsonl", LABELS), tmp_path / "out"
    file, _ = own_probabilities(tmp_path, "csv")
    done = run(data, "--pred-probs", file, "--encoder", "none", "--out", out, "--noise", "auto")
    assert done.exit_code == 0, done.output
    assert json.loads((out / "report.json").read_text())["about"]["probabilities"] == "given"
    with open(out / "review.csv", encoding="utf-8-sig", newline="") as lines:
        first = {(line["row"], line["label"]) for line, _ in zip(csv.DictReader(lines), range(6), strict=False)}
    assert first >= {("0", "rain"), ("1", "chess")}
    file.write_text(file.read_text().replace("0.97", "0.96"))
    again = run(data, "--pred-probs", file, "--out", out)
    assert again.exit_code == 1 and "another pred_probs" in again.output


def test_probabilities_name_labels_that_were_never_given(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("id,golf,tea,rain\n7,0.1,0.2,0.7\n8,0.3,0.3,0.4\n")
    p, names = read_probability_file(file, ("rain", "tea"))
    assert names == ("rain", "tea", "golf") and p[0].tolist() == pytest.approx([0.7, 0.2, 0.1])
    with pytest.raises(ValueError, match=r"read from \.npy"):
        read_probability_file(tmp_path / "p.txt", ("rain",))
    np.savez(tmp_path / "p.npz", a=p, b=p)
    with pytest.raises(ValueError, match="call one of them pred_probs"):
        read_probability_file(tmp_path / "p.npz", ("rain", "tea"))


def test_variants_of_names_are_shown_and_merged_on_demand(tmp_path):
    labels = [[f" {name.title()}" if i == 7 else name for name in row] for i, row in enumerate(LABELS)]
    for name, column in (("a.jsonl", labels), ("a.csv", [";".join(row) for row in labels])):
        data = write(tmp_path / name, column)
        apart = read(data, "label")
        assert len(apart.label_names) == 4 and "--merge-variants merges" in apart.notes[-1]
        merged = read(data, "label", merge_variants=True)
        assert merged.label_names == ("chess", "rain", "tea") and "Merged 1 labels" in merged.notes[-1]
    single = write(tmp_path / "b.csv", ["Tea", "tea", "tea ", "rain", "tea"], TEXTS[:5])
    assert read(single, "label", merge_variants=True).given.tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["a;b", "b", "c;a"], ";"),
        (["a|b", "b|c", "c"], "|"),
        (["a, b", "b, c", "a"], ","),
        (["a", "b", "c"], None),
        (["Arts, Crafts", "News", "Food, Drink"], None),
        (["and/or", "", "x"], None),
    ],
)
def test_delimiters_are_found(values, found):
    assert find_delimiter(values) == found


def test_strings_with_delimiters_can_be_one_label(tmp_path):
    data = write(tmp_path / "data.csv", ["a, b", "a", "b", "a, b"], TEXTS[:4])
    assert read(data, "label").given.tolist() == [[1, 1], [1, 0], [0, 1], [1, 1]]
    one = read(data, "label", delimiter="")
    assert one.label_names == ("a", "a, b", "b") and one.given.tolist() == [1, 0, 2, 1]


def test_numbers_written_as_lists_are_ids_or_multi_hot(tmp_path):
    hot = write(tmp_path / "hot.csv", ["[1, 0, 0]", "[0, 1, 1]"], TEXTS[:2])
    assert read(hot, "label").given.tolist() == [[1, 0, 0], [0, 1, 1]]
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.csv", ["2;0", "", "1"], TEXTS[:3])
    (folder / "info.json").write_text(json.dumps({"label_names": ["x", "y", "z"]}))
    found = read(folder, "label")
    assert found.label_names == ("x", "y", "z") and found.given.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_true_and_false_are_multi_hot_columns_too(tmp_path):
    data = write(tmp_path / "data.csv", {"a": [True, False], "b": [1.0, 1.0], "labels": ["x", "y"]}, TEXTS[:2])
    found = read(data, "a,b")
    assert found.given.tolist() == [[1, 1], [0, 1]] and found.label_column == "labels_"


@pytest.mark.parametrize(
    ("labels", "arguments", "problem"),
    [
        ({"a": [0, 1], "b": [0, 2]}, ["--labels", "a,b"], "column 'b', row 1 (counted from 0): the value is 2"),
        ({"a": [0, 1], "b": ["x", "y"]}, ["--labels", "a,b"], "column 'b', row 0"),
        ({"a": [0, 1]}, ["--labels", "a,b"], "has no column 'b'"),
        ({"label": ["x", "y"]}, ["--text", "sentence"], "has no column 'sentence', but ['text', 'label']"),
        ({"label": [0.5, 1.5]}, ["--delimiter", ";"], "holds double, not strings"),
        ({"label": ["['a']", "b"]}, [], "row 1 (counted from 0): 'b' is no list in brackets"),
        ({"label": ["x", "y"]}, ["--relabel", 2], "relabel=2.0"),
        ({"label": ["x", "y"]}, ["--drop", 0.5, "--downweight", 0.6], "never acts"),
        ({"label": ["x", "y"]}, ["--budget", 0], "--budget 0"),
        ({"label": ["x", "y"]}, ["--method", "best"], "method='best'"),
        ({"label": ["x", "y"]}, ["--noise", "loud"], "noise='loud'"),
        ({"label": ["x", "y"]}, ["--review", "nowhere.csv"], "nowhere.csv"),
        ({"label": ["x", "y"]}, ["--split", "train"], "one file"),
    ],
)
def test_mistakes_are_explained(tmp_path, labels, arguments, problem):
    done = run(write(tmp_path / "data.csv", labels, TEXTS[:2]), *arguments, "--out", tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert problem in done.output and "Traceback" not in done.output
    assert run(tmp_path / "none.csv", "--out", tmp_path / "out").exit_code == 1


def test_what_was_cleaned_can_be_cleaned_again(tmp_path):
    data = write(tmp_path / "data.jsonl", LABELS)
    clean_files(str(data), tmp_path / "out", encoder="lsa", relabel=0.5, progress=False)
    again = clean_files(str(tmp_path / "out"), tmp_path / "again", encoder="lsa", progress=False)
    cleaned = cleaned_rows(tmp_path / "again")
    assert cleaned["given_label"][:2] == LABELS[:2] and again.report.earlier is not None
