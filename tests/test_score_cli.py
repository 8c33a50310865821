"""`textpl score`: what `textpl clean` examined, predictions, and rows that a person reviewed."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from typer.testing import CliRunner

from textpl.cli import app

WORDS = {
    "chess": ["chess", "rook", "pawn", "queen", "mate", "board"],
    "rain": ["rain", "cloud", "storm", "wet", "wind", "umbrella"],
    "tea": ["tea", "cup", "leaf", "pot", "steam", "kettle"],
}
NAMES = list(WORDS)


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "500"})


def write(path, lines):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return path


@pytest.fixture(scope="module")
def examined(tmp_path_factory):
    """A folder with test.csv, what `textpl clean` wrote about it, predictions; and the right labels."""
    folder, rng = tmp_path_factory.mktemp("score"), np.random.default_rng(0)
    right = rng.integers(3, size=240)
    given = np.where(rng.random(240) < 0.2, (right + 1) % 3, right)
    said = np.where(rng.random(240) < 0.1, (right + 2) % 3, right)
    texts = [" ".join(rng.choice(WORDS[NAMES[k]], 6)) + f" {i}" for i, k in enumerate(right)]
    write(folder / "test.csv", [{"text": t, "label": NAMES[k]} for t, k in zip(texts, given, strict=True)])
    p = 0.7 * np.eye(3)[said] + 0.1
    order = [2, 0, 1]  # headings say which is which
    write(folder / "p.csv", [dict(zip([NAMES[k] for k in order], row[order], strict=True)) for row in p])
    done = run("clean", folder / "test.csv", "--out", folder / "checked", "--encoder", "lsa", "--allow-test")
    assert done.exit_code == 0, done.output
    return folder, right, float((said == given).mean()), float((said == right).mean())


def filled(folder, right, wanted):
    with (folder / "sample.csv").open(encoding="utf-8-sig") as stream:
        lines = list(csv.DictReader(stream))
    for line in lines[:wanted]:
        line["decision"] = NAMES[right[int(line["row"])]]
    return lines


def test_predictions_are_scored_before_and_after_a_review(examined):
    folder, right, given, true = examined
    done = run("score", folder / "checked", folder / "p.csv", "--sample", folder / "sample.csv", "--rows", 150)
    assert done.exit_code == 0, done.output
    assert f"accuracy: {100 * given:.1f} % against the given labels, between" in done.output
    assert "150 rows to review" in done.output
    lines = filled(folder, right, 120)
    write(folder / "done.csv", lines)
    done = run("score", folder / "checked", folder / "p.csv", "--review", folder / "done.csv")
    assert done.exit_code == 0, done.output
    assert "from 120 that were drawn at random and reviewed" in done.output
    low, high = (float(x) for x in done.output.split("[")[1].split("]")[0].replace("%", "").split(","))
    assert low < 100 * true < high < low + 20


def test_a_review_with_gaps_is_no_sample(examined):
    folder, right, _, _ = examined
    run("score", folder / "checked", folder / "p.csv", "--sample", folder / "sample.csv", "--rows", 150)
    lines = filled(folder, right, 120)
    lines[7]["decision"] = ""
    done = run("score", folder / "checked", folder / "p.csv", "--review", write(folder / "gaps.csv", lines))
    assert done.exit_code == 1 and f"row {lines[7]['row']} has no decision" in done.output


def test_what_does_not_fit_is_told(examined, tmp_path):
    folder, _, _, _ = examined
    done = run("score", tmp_path, folder / "p.csv")
    assert done.exit_code == 1 and "Give a folder that textpl clean wrote" in done.output
    np.save(tmp_path / "two.npy", np.full((240, 2), 0.5))
    assert run("score", folder / "checked", tmp_path / "two.npy").exit_code == 1
    other = write(tmp_path / "p.csv", [{"chess": 0.5, "rain": 0.2, "tea": 0.2, "coffee": 0.1}] * 240)
    done = run("score", folder / "checked", other)
    assert done.exit_code == 1 and "has the labels" in done.output and "coffee" in done.output


def test_columns_without_headings_are_named(examined, tmp_path):
    folder, _, given, _ = examined
    with (folder / "p.csv").open(encoding="utf-8") as stream:
        headings, *lines = csv.reader(stream)
    np.save(tmp_path / "p.npy", np.array(lines, dtype=float))
    done = run("score", folder / "checked", tmp_path / "p.npy")
    assert done.exit_code == 1 and "--label-names a,b,c" in done.output
    done = run("score", folder / "checked", tmp_path / "p.npy", "--label-names", ",".join(headings))
    assert done.exit_code == 0 and f"accuracy: {100 * given:.1f} % against the given" in done.output, done.output
    done = run("score", folder / "checked", tmp_path / "p.npy", "--label-names", "tea,rain")
    assert done.exit_code == 1 and "2 label names for the 3 columns" in done.output


def test_data_that_changed_are_told(examined):
    folder, _, _, _ = examined
    before = (folder / "test.csv").read_text(encoding="utf-8")
    try:
        (folder / "test.csv").write_text(before.replace("rook", "bishop"), encoding="utf-8")
        done = run("score", folder / "checked", folder / "p.csv")
    finally:
        (folder / "test.csv").write_text(before, encoding="utf-8")
    assert done.exit_code == 1 and "has other texts or labels" in done.output
