"""`textpl select`: the loop of choosing and labeling on files, and its ledger."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from datasets import Dataset
from typer.testing import CliRunner

from textpl.cli import app
from textpl.reading.label_format import LabelFormat
from textpl.reading.tables import read_table
from textpl.selecting.chosen_rows import as_left_open

WORDS = {
    "chess": ["chess", "rook", "pawn", "queen", "mate", "board"],
    "rain": ["rain", "cloud", "storm", "wet", "wind", "umbrella"],
}
NAMES = list(WORDS)


def run(*arguments):
    return CliRunner().invoke(app, ["select", *map(str, arguments), "--encoder", "lsa"], env={"COLUMNS": "500"})


def said(result):
    return result.output + (result.stderr or "")


def read(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write(path, lines):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return path


def fill(path, count=100):
    """Write the right labels into the first rows that have none, as a person would."""
    lines = read(path)
    for line in [line for line in lines if not line["label"]][:count]:
        line["label"] = NAMES[int(line["row"]) % 2]
    return write(path, lines)


@pytest.fixture
def pool(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS[NAMES[i % 2]], 6)) + f" {i}" for i in range(60)]
    texts[0], texts[1] = "=SUM chess rook", ""
    return write(tmp_path / "pool.csv", [{"text": text} for text in texts])


def test_the_loop(pool, tmp_path):
    out, texts = tmp_path / "to_label.csv", read_table(pool).dataset["text"][:]
    first = run(pool, "--budget", 8, "--out", out, "--argilla", tmp_path / "a.json")
    assert first.exit_code == 0, said(first)
    assert (
        "Round 1: 8 of 60 texts by kmeans" in first.output and len(json.loads((tmp_path / "a.json").read_text())) == 8
    )
    assert len(read(out)) == 8 and {line["round"] for line in read(out)} == {"1"}
    fill(out, 6)
    lines = read(out)
    lines[0]["note"] = "mine"
    write(out, [{"note": "", **line} for line in lines])
    second = run(
        pool, "--budget", 4, "--labeled", out, "--out", out, "--label-studio", tmp_path / "b.json", "--seed", 3
    )
    assert second.exit_code == 0, said(second)
    assert "round 1: 6 of 8 labeled" in second.output and "Round 2: 4 of 60 texts by weighted_kmeans" in second.output
    assert "labels are in doubt" in second.output and "Label rates in the pool, by 6 labeled rows" in second.output
    after = read(out)
    assert [line["label"] for line in after[:8]] == [line["label"] for line in lines] and after[0]["note"] == "mine"
    rows = [int(line["row"]) for line in after]
    assert (
        len(set(rows)) == 12 and all(not line["weight"] for line in after[8:]) and all(after[0]["weight"] for _ in "1")
    )
    table = read_table(out).dataset
    assert [str(text) for text in table["text"]] == [texts[row] for row in rows], "marks of formulas are taken away"
    assert [json.loads(json.dumps(t))["data"]["row"] for t in json.loads((tmp_path / "b.json").read_text())] == rows[8:]
    ledger = json.loads((tmp_path / "to_label.csv.ledger.json").read_text())
    assert [r["rows"] for r in ledger["rounds"]] == [rows[:8], rows[8:]]
    assert [(r["strategy"], r["by_doubt"], r["seed"], r["labeled"]) for r in ledger["rounds"]] == [
        ("kmeans", False, 0, 0),
        ("weighted_kmeans", True, 3, 6),
    ]
    labeled = CliRunner().invoke(
        app, ["label", str(out), str(pool), "--out", str(tmp_path / "l.csv"), "--encoder", "lsa"]
    )
    assert labeled.exit_code == 0, said(labeled)


def test_rows_that_were_taken_out_are_not_offered_again(pool, tmp_path):
    out = tmp_path / "to_label.csv"
    run(pool, "--budget", 10, "--out", out)
    gone = [line["row"] for line in read(out)[:5]]
    write(out, read(fill(out))[5:])
    result = run(pool, "--budget", 30, "--labeled", out, "--out", tmp_path / "next.csv")
    assert result.exit_code == 0 and "5 chosen rows are no longer in" in result.output
    rows = [line["row"] for line in read(tmp_path / "next.csv")]
    assert len(set(rows)) == len(rows) == 35 and not set(gone) & set(rows)


def test_other_labeled_rows_count(pool, tmp_path):
    lines = [{"text": f"{' '.join(WORDS[NAMES[i % 2]])} gold {i}", "label": NAMES[i % 2]} for i in range(6)]
    gold = write(tmp_path / "gold.csv", lines)
    result = run(pool, "--budget", 4, "--labeled", gold, "--out", tmp_path / "a.csv", "--strategy", "badge")
    assert result.exit_code == 0 and "Round 1: 4 of 60 texts by badge" in result.output
    assert len(read(tmp_path / "a.csv")) == 4
    fill(tmp_path / "a.csv")
    both = ["--labeled", gold, "--labeled", tmp_path / "a.csv"]
    result = run(pool, "--budget", 4, *both, "--out", tmp_path / "a.csv")
    assert result.exit_code == 0 and "Round 2" in result.output and len(read(tmp_path / "a.csv")) == 8


def test_refused(pool, tmp_path):
    out = tmp_path / "to_label.csv"
    run(pool, "--budget", 6, "--out", out)
    fill(out)
    go_on = ("--budget", 2, "--labeled", out, "--out", out)
    assert "exists and is not overwritten" in said(run(pool, "--budget", 6, "--out", out))
    shorter = write(tmp_path / "shorter.csv", read(pool)[1:])
    assert "has other texts, or in another order" in said(run(shorter, *go_on))
    lines = read(out)
    texts = [line["text"] for line in lines]
    swapped = [{**line, "text": text} for line, text in zip(lines, texts[1:] + texts[:1], strict=True)]
    write(out, swapped)
    assert "record 1: its text is not that of row" in said(run(pool, *go_on))
    write(out, [{**line, "row": "first"} for line in lines])
    assert "'first' is no row of the pool" in said(run(pool, *go_on))
    write(out, [{**line, "row": f"{line['row']}.0"} for line in lines])
    assert run(pool, *go_on).exit_code == 0, "spreadsheets make fractions of whole numbers"
    shutil.copy(out, tmp_path / "copy.csv")
    assert "its ledger" in said(
        run(pool, "--budget", 2, "--labeled", tmp_path / "copy.csv", "--out", tmp_path / "x.csv")
    )
    assert "has no column 'body'" in said(run(pool, "--budget", 2, "--text", "body", "--out", tmp_path / "x.csv"))
    assert "may be chosen" in said(run(pool, "--budget", 100, "--out", tmp_path / "x.csv"))
    assert "write a .parquet" in said(run(pool, "--budget", 2, "--out", tmp_path / "x.txt"))
    (tmp_path / "to_label.csv.ledger.json").write_text("{")
    assert "half-written or broken" in said(run(pool, *go_on))
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet", "tsv"])
def test_other_files(pool, tmp_path, suffix):
    out = tmp_path / f"to_label.{suffix}"
    assert run(pool, "--budget", 4, "--out", out).exit_code == 0
    result = run(pool, "--budget", 2, "--labeled", out, "--out", out)
    assert result.exit_code == 0, said(result)
    assert len(read_table(out).dataset) == 6 and "Round 2: 2 of 60 texts by kmeans" in result.output


def label(*arguments):
    return CliRunner().invoke(app, ["label", *map(str, arguments), "--encoder", "lsa"], env={"COLUMNS": "500"})


def test_labels_by_chosen_rows_are_not_said_to_be_measured_on_a_sample(pool, tmp_path):
    out = tmp_path / "to_label.csv"
    run(pool, "--budget", 12, "--out", out)
    fill(out)
    told = said(label(out, pool, "--out", tmp_path / "labels.csv"))
    assert "12 of the 12 labeled rows were chosen by textpl select (kmeans): no sample of the pool" in told
    run(pool, "--budget", 12, "--out", tmp_path / "random.csv", "--strategy", "random")
    fill(tmp_path / "random.csv")
    assert "no sample" not in said(label(tmp_path / "random.csv", pool, "--out", tmp_path / "more.csv"))


def test_cells_left_empty_are_no_rows_without_any_of_several_labels(pool, tmp_path):
    out = tmp_path / "to_label.csv"
    run(pool, "--budget", 20, "--out", out)
    lines = read(fill(out))
    both = [{**line, "label": "chess,rain" if i % 3 else line["label"]} for i, line in enumerate(lines)]
    write(out, [{**line, "label": ""} if i in (2, 5) else line for i, line in enumerate(both)])
    told = said(label(out, pool, "--out", tmp_path / "labels.csv"))
    assert "18 labeled rows" in told and "2 of 20 rows have no label" in told


def test_label_studio_without_names_leaves_no_half_round(pool, tmp_path):
    out = tmp_path / "to_label.csv"
    assert "--label-names" in said(run(pool, "--budget", 4, "--out", out, "--label-studio", tmp_path / "tasks.json"))
    assert not list(tmp_path.glob("to_label*"))


def test_a_file_saved_with_semicolons_goes_on_with_semicolons(pool, tmp_path):
    out = tmp_path / "to_label.csv"
    run(pool, "--budget", 6, "--out", out)
    lines = read(fill(out))
    with out.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, lines[0], delimiter=";")
        writer.writeheader()
        writer.writerows({**line, "weight": line["weight"].replace(".", ",")} for line in reversed(lines))
    assert "by 6 labeled rows" in said(run(pool, "--budget", 2, "--labeled", out, "--out", out))
    assert out.read_bytes().startswith("\ufeffrow;text;label;".encode())
    assert "by 6 labeled rows" in said(run(pool, "--budget", 2, "--labeled", out, "--out", out))


def test_empty_lists_of_chosen_rows_stay_labels():
    columns = {"strategy": ["kmeans", "random"], "label": [["chess"], []], "other": ["chess,rain", ""]}
    rows = Dataset.from_dict(columns)
    assert as_left_open(None, rows, "label") is None
    assert as_left_open(None, rows, "other").empty == "unlabeled"
    assert as_left_open(LabelFormat(empty="none"), rows, "other").empty == "none"
    assert as_left_open(None, rows.remove_columns("strategy"), "other") is None
