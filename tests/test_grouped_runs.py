"""A recipe whose texts are windows of documents: `split.groups` reaches split, stages and interval."""

from __future__ import annotations

import json

import pytest
from conftest import make_model, make_texts, make_tokenizer
from typer.testing import CliRunner

from textpl.cli import app

RECIPE = """\
schema: 1
data: {source: train.jsonl}
split: {labels_per_class: 4, test: 100, groups: doc}
model: {name: tiny, max_length: 16}
stages: [label, train]
label: {encoder: lsa}
train: {max_steps: 2, per_device_train_batch_size: 4, bf16: false}
seeds: [0]
"""


@pytest.fixture
def folder(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    texts = zip(*make_texts(300, 0), strict=True)
    lines = [
        json.dumps({"text": f"{text} {i}", "label": int(score > 0), "doc": f"d{i // 10}"})
        for i, (text, score) in enumerate(texts)
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def run(folder, *arguments):
    return CliRunner().invoke(app, [str(a) for a in ("run", folder, "--out", folder / "out", *arguments)])


def test_documents_are_what_is_counted(folder):
    done = run(folder)
    assert done.exit_code == 0, done.output
    # 100 test rows would do, but they are of 10 documents.
    assert "cannot be told (test rows of 10 groups, and 20 are needed; 1 seed" in " ".join(done.output.split())
    results = json.loads((folder / "out" / "results.json").read_text())
    split = results["data"]["splits"][0]
    assert split["groups"]["column"] == "doc" and split["groups"]["counts"]["test"] == 10
    assert split["sizes"]["test"] == 100 and results["difference"]["verdict"] == "cannot be told"
    shown = CliRunner().invoke(app, ["recipes", "show", str(folder)])
    assert "rows of one doc stay together" in shown.output


def test_a_wrong_column_is_named(folder):
    done = run(folder, "--dry-run", "--set", "split.groups=docs")
    assert done.exit_code == 1 and "'docs' is a column of no split" in done.output and "did you mean" in done.output
