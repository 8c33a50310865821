"""What goes in comes out: forms of files, letters and columns; whole files or none; nothing that a spreadsheet runs."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import textpl.reading.writing
from textpl.cli import app
from textpl.label_issues.review_formats import read_review
from textpl.reading.delimited import TextFormat, escaped, unescaped
from textpl.reading.tables import read_table
from textpl.reading.writing import write_table

WORDS = {"rain": "cloud storm wet wind", "tea": "cup leaf pot steam"}
FLAT = {"info.json", "review.csv", "cleaning.json", "report.json", "arrays.npz", "inputs.json", "report.html"}


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "500"})


def rows(number=60):
    names = list(WORDS)
    return [(f"{WORDS[names[i % 2]]} {i}; é", names[i % 2] if i != 4 else "tea", f"{i:04d}") for i in range(number)]


def corpus(path: Path, delimiter=",", encoding="utf-8", change=lambda row: row):
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([("text", "label", "code"), *map(change, rows())])
    return path


def lines_of(path: Path, delimiter=",", encoding="utf-8"):
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(",", "utf-8"), (";", "cp1252"), ("\t", "utf-16"), (",", "utf-8-sig")]
)
def test_a_cleaned_file_is_written_as_it_was_read(tmp_path, delimiter, encoding):
    data, out = corpus(tmp_path / "data.csv", delimiter, encoding), tmp_path / "out"
    done = run("clean", data, "--encoder", "lsa", "--out", out)
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == FLAT | {"train.csv"}
    before, after = lines_of(data, delimiter, encoding), lines_of(out / "train.csv", delimiter, encoding)
    assert list(after[0])[:3] == ["text", "label", "code"]
    assert [(b["text"], b["label"], b["code"]) for b in before] == [
        (a["text"], a["given_label"], a["code"]) for a in after
    ]
    assert {a["label"] for a in after} == set(WORDS)


@pytest.mark.parametrize("labels", [["011", "11"], ["1e3", "1000"], ["1.1", "1.10"], ["0", "00"]])
def test_labels_come_back_to_the_letter(tmp_path, labels):
    names = dict(zip(WORDS, labels, strict=True))
    data = corpus(tmp_path / "data.csv", change=lambda row: (row[0], names[row[1]], row[2]))
    done = run("clean", data, "--encoder", "lsa", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    after = lines_of(tmp_path / "out" / "train.csv")
    assert [a["given_label"] for a in after] == [names[row[1]] for row in rows()]
    assert {a["label"] for a in after} == set(labels) and after[4]["label"] in labels


def test_labels_in_one_string_come_back_to_the_letter(tmp_path):
    change = lambda row: (row[0], "tea; wet" if row[1] == "tea" else "rain", row[2])  # noqa: E731
    data, out = corpus(tmp_path / "data.csv", change=change), tmp_path / "out"
    assert run("clean", data, "--encoder", "lsa", "--delimiter", ";", "--out", out).exit_code == 0
    after = lines_of(out / "train.csv")
    assert {a["given_label"] for a in after} == {"tea; wet", "rain"}
    again = run("clean", out, "--encoder", "lsa", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    assert [a["given_label"] for a in lines_of(tmp_path / "again" / "train.csv")] == [a["given_label"] for a in after]


def test_numbers_in_jsonl_stay_whole(tmp_path):
    made = [
        {"text": text, "label": i % 2, "id": 10**24 + i, "age": None if i == 3 else i}
        for i, (text, *_) in enumerate(rows())
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in made))
    done = run("clean", tmp_path / "data.jsonl", "--encoder", "lsa", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    after = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    assert [(a["text"], a["given_label"], a["id"], a["age"]) for a in after] == [tuple(row.values()) for row in made]


def test_the_labels_of_a_pool_are_written_as_the_pool_is(tmp_path):
    known = corpus(tmp_path / "known.csv")
    pool = tmp_path / "pool.csv"
    pool.write_bytes("text;note\r\ncup of tea;grün\r\nstorm;=1+1\r\n-wet wind;x\r\n".encode("cp1252"))
    done = run("label", known, pool, "--encoder", "lsa", "--method", "linear", "--out", tmp_path / "out.csv")
    assert done.exit_code == 0, done.output
    after = lines_of(tmp_path / "out.csv", ";", "cp1252")
    assert list(after[0])[:5] == ["text", "note", "label", "probabilities_rain", "probabilities_tea"]
    assert [a["label"] for a in after] == ["tea", "rain", "rain"]
    assert (after[1]["note"], after[2]["text"]) == ("'=1+1", "'-wet wind")
    back = read_table(tmp_path / "out.csv").dataset
    assert back["note"][:] == ["grün", "=1+1", "x"] and back["text"][2] == "-wet wind"


# ---------------------------------------------------------------------------------------------- spreadsheets


@given(st.text(st.sampled_from("'=+-@\t\ra1. "), max_size=6))
def test_marked_cells_come_back_and_are_no_formulas(cell):
    assert unescaped(escaped(cell)) == cell
    assert escaped(cell)[:1] not in ("=", "@", "\t", "\r") and (
        escaped(cell)[:1] not in ("+", "-") or float(cell) <= 9e99
    )


def test_no_cell_of_a_review_queue_is_a_formula(tmp_path):
    change = lambda row: (f"=HYPERLINK({row[0]})", f"@{row[1]}", row[2])  # noqa: E731
    data, out = corpus(tmp_path / "data.csv", change=change), tmp_path / "out"
    assert run("clean", data, "--encoder", "lsa", "--out", out, "--budget", 5).exit_code == 0
    queue = lines_of(out / "review.csv", encoding="utf-8-sig")
    assert not [cell for line in queue for cell in line.values() if cell[:1] in ("=", "@", "+")]
    assert queue[0]["label"].startswith("'@")
    for line in queue:
        line["decision"] = line["label"]
    with (out / "review.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, queue[0])
        writer.writeheader()
        writer.writerows(queue)
    assert {decision.label for decision in read_review(out / "review.csv")} <= {"@rain", "@tea"}
    done = run("clean", data, "--out", out, "--review", out / "review.csv")
    assert done.exit_code == 0 and "5 rows as reviewed" in done.output, done.output


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_a_review_saved_by_a_spreadsheet_is_read(tmp_path, encoding, delimiter):
    queue = tmp_path / "review.csv"
    heading = ["row", "label", "given", "decision", "lesson", "question", "text"]
    made = [
        ["154.0", "rain", "rain", "tea", "WAHR", "?", "é, ; x"],
        ["7,0", "tea", "tea", "", "", "", ""],
        ["9", "tea", "tea", "tea", "TRUE", "", ""],
    ]
    with queue.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([heading, *made])
    assert [(d.row, d.label) for d in read_review(queue)] == [(154, "tea"), (9, "tea")]


def test_what_is_no_review_is_told_in_one_line(tmp_path):
    (tmp_path / "a.csv").write_text("row,label,decision\nx,rain,tea\n")
    with pytest.raises(ValueError, match=r"a.csv, record 1: row 'x' is no row number"):
        read_review(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="Excel workbook"):
        read_review(tmp_path / "b.csv")
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(ValueError, match=r"c.json is no valid JSON"):
        read_review(tmp_path / "c.json")


# ---------------------------------------------------------------------------------------- again, and half-done


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_same_command_again_writes_nothing_new(tmp_path):
    data, out = corpus(tmp_path / "data.csv"), tmp_path / "out"
    for _ in range(3):
        assert run("clean", data, "--encoder", "lsa", "--out", out).exit_code == 0
    first = tree(out)
    assert run("clean", data, "--encoder", "lsa", "--out", out).exit_code == 0
    assert tree(out) == first and set(first) == FLAT | {"train.csv"}


def test_a_full_disk_leaves_no_half_file(tmp_path, monkeypatch):
    known, out = corpus(tmp_path / "known.csv"), tmp_path / "out.csv"
    real = textpl.reading.writing._write_rows

    def full(dataset, path, *rest):
        real(dataset, path, *rest)
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(textpl.reading.writing, "_write_rows", full)
    done = run("label", known, known, "--encoder", "lsa", "--method", "linear", "--out", out)
    assert done.exit_code == 1 and "No space left" in done.output and "Traceback" not in done.output
    assert not out.exists() and not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    assert run("label", known, known, "--encoder", "lsa", "--method", "linear", "--out", out).exit_code == 0


WRITER = """
import sys
from pathlib import Path
import numpy as np
from datasets import Dataset
from textpl.atomic_files import write_json
from textpl.reading.writing import write_table
folder, rows = Path(sys.argv[1]), 20_000
data = Dataset.from_dict({"text": [f"text {i}" for i in range(rows)], "label": ["ab"[i % 2] for i in range(rows)]})
print("ready", flush=True)
for suffix in (".csv", ".jsonl", ".parquet"):
    write_table(data, folder / f"x{suffix}")
write_json(folder / "x.json", list(range(20_000)))
"""


def test_killed_at_any_moment_files_are_whole_and_a_rerun_gives_the_same_bytes(tmp_path):
    whole, place = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), place.mkdir()
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    began = time.monotonic()
    subprocess.run([sys.executable, script, whole], check=True, capture_output=True)
    wanted, chance = tree(whole), random.Random(0)
    span = max(0.2, (time.monotonic() - began) / 4)
    for _ in range(10):
        process = subprocess.Popen([sys.executable, script, place], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(chance.uniform(0, span))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for name, content in tree(place).items():
            assert name.startswith(".") or content == wanted[name], name
    subprocess.run([sys.executable, script, place], check=True, capture_output=True)
    assert {name: content for name, content in tree(place).items() if not name.startswith(".")} == wanted
    assert os.path.exists(place / "x.json")


def test_a_form_that_cannot_hold_the_characters_becomes_utf_8(tmp_path):
    write_table(
        Dataset.from_dict({"text": ["好"]}), tmp_path / "x.csv", like=TextFormat(encoding="cp1252", delimiter=";")
    )
    assert pd.read_csv(tmp_path / "x.csv", sep=";", encoding="utf-8-sig").text.tolist() == ["好"]
