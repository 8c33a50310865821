"""A dry run of data that are here reads and draws them: it tells how many rows, and fails as the run would."""

from __future__ import annotations

import json

import pytest
from conftest import make_model, make_texts, make_tokenizer
from typer.testing import CliRunner

from textpl.cli import app

RECIPE = """\
schema: 1
data: {source: data}
split: {labels_per_class: 4, dev: 3}
model: {name: tiny, max_length: 16}
method: softmatch
train: {num_train_epochs: 2, per_device_train_batch_size: 4, bf16: false}
"""


@pytest.fixture
def folder(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    (tmp_path / "data").mkdir()
    for part, rows, seed in (("train", 60, 0), ("test", 20, 1)):
        texts = zip(*make_texts(rows, seed), strict=True)
        lines = [json.dumps({"text": f"{t} {i}", "label": int(s > 0)}) for i, (t, s) in enumerate(texts)]
        (tmp_path / "data" / f"{part}.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def run(folder, *arguments):
    command = ["run", folder, "--out", folder / "out", *arguments]
    return CliRunner().invoke(app, [str(a) for a in command])


def test_the_rows_of_the_first_seed(folder):
    done = run(folder, "--dry-run", "--seeds", "5,6")
    assert done.exit_code == 0, done.output
    assert "Would use: 8 labelled, 3 dev, 49 unlabelled, 20 test rows (seed 5)" in done.output
    assert "8 models, 4 steps each" in done.output, "two epochs of two batches"
    assert not (folder / "out").exists()
    with_placebo = run(folder, "--dry-run", "--seeds", "5,6", "--placebo")
    assert "10 models, 4 steps each" in with_placebo.output, with_placebo.output
    alone = run(folder, "--dry-run", "--set", "method=none", "--set", "train.labeled_loss=gce")
    assert "8 labelled, 3 dev, 20 test rows (seed 0)" in alone.output, alone.output


@pytest.mark.parametrize("more", [["--dry-run"], ["--tune"]])
def test_a_placebo_without_a_pool_is_refused_at_once(folder, more):
    """With --tune: before a search, which may take hours."""
    tuned = "tune: {train.learning_rate: [1.0e-2, 1.0e-3]}"
    text = RECIPE.replace("method: softmatch", f"method: none\n{tuned}").replace("bf16", "labeled_loss: gce, bf16")
    (folder / "recipe.yaml").write_text(text)
    done = run(folder, "--placebo", *more)
    assert done.exit_code == 1 and "there is no placebo for it" in done.output, done.output
    assert "tuning:" not in done.output and not (folder / "out").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.label=topic", "data.label: 'topic' is no column of train"),
        ("data.text=body", "data.text: 'body' is no column of train"),
        ("data.truth=right", "keep='right' is a column of no split"),
        ("split.test=790", "test=790, but there are only 20 rows to draw test rows from"),
        ("split.labels_per_class=50", "50 are wanted of each class"),
        ("split.pool=500", "rows are left for the pool"),
    ],
)
def test_what_is_wrong_is_told_as_the_run_would(folder, setting, message):
    dry, real = run(folder, "--dry-run", "--set", setting), run(folder, "--set", setting)
    assert dry.exit_code == real.exit_code == 1
    assert message in dry.output and dry.output == real.output


def test_bundled_and_typed_data_are_read_too(folder):
    typed = run(folder, "--dry-run", "--data", folder / "data" / "train.jsonl", "--set", "split.test=7")
    assert "42 unlabelled, 7 test rows" in typed.output, typed.output
    bundled = run(folder, "--dry-run", "--data", "bundled:sentiment", "--set", "split.labels_per_class=9999")
    assert bundled.exit_code == 1 and "9999 are wanted of each class" in bundled.output
