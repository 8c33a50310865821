"""What strangers write into data must not reach the terminal as anything but text."""

from __future__ import annotations

import json
import logging

import pytest
import typer
from conftest import make_model, make_texts, make_tokenizer
from typer.testing import CliRunner

from textpl.cli import app
from textpl.terminal import Plain, interruption_told, plain, say_table

HIDDEN = "\x1b]0;x\x07\x9b31m‮"
LINK = "[link=https://x]a[/link]"
RECIPE = """\
schema: 1
data: {source: yours}
split: {labels_per_class: 4}
model: {name: tiny, max_length: 16}
method: none
train: {max_steps: 1, per_device_train_batch_size: 4, bf16: false, labeled_loss: gce}
seeds: [0]
"""


def write_texts(folder, labels):
    folder.mkdir(parents=True)
    for part, rows, seed in (("train", 60, 0), ("test", 20, 1)):
        texts = zip(*make_texts(rows, seed), strict=True)
        lines = [json.dumps({"text": f"{t} {i}", "label": labels[int(s > 0)]}) for i, (t, s) in enumerate(texts)]
        (folder / f"{part}.jsonl").write_text("\n".join(lines))


def textpl(*arguments):
    """With colours, as on a terminal."""
    return CliRunner().invoke(app, [str(a) for a in arguments], color=True)


def shown(output):
    """Without the bold and the red that are ours."""
    for own in ("\x1b[1m", "\x1b[31m", "\x1b[0m"):
        output = output.replace(own, "")
    return output


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("a\x1b]0;x\x07b", "a]0;xb"),
        ("a\tb\r\nc\u2028d\u3000e", "a b \nc d e"),
        ("\u202eevil\u2069\u200b", "evil"),
        ("[bold]a[/] 中文 é", "[bold]a[/] 中文 é"),
    ],
)
def test_plain(given, seen):
    assert plain(given) == seen


def test_a_table_shows_its_cells_as_they_are(capsys):
    say_table(f"t {LINK}", ("", "mean"), [(f"{LINK}{HIDDEN}", "[bold]1[/]")])
    told = capsys.readouterr().out
    assert f"t {LINK}" in told and f"{LINK}]0;x31m" in told and "[bold]1[/]" in told and "\x1b" not in told


def test_a_log_record_is_cleaned():
    record = logging.LogRecord("x", logging.WARNING, "x", 1, "class %r, %s", ("a", f"b{HIDDEN}"), None)
    assert Plain().filter(record) and record.getMessage() == "class 'a', b]0;x31m"


def test_an_interruption_is_told_in_a_line(capsys):
    with pytest.raises(typer.Exit) as ended, interruption_told(lambda: f"kept in a{HIDDEN}"):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert shown(capsys.readouterr().err) == "\nInterrupted: kept in a]0;x31m\n"


def test_names_in_the_data_of_a_run(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    texts = tmp_path / f"{LINK}\x1b]0;x"
    write_texts(texts, (f"bad{HIDDEN}", "good"))
    out = tmp_path / "[red]out[/red]"
    done = textpl("run", tmp_path, "--data", texts, "--out", out)
    told = shown(done.output)
    assert done.exit_code == 0, told
    assert "[link=https:/x]a[/link]]0;x, 2 labels" in told and f"{out}/report.html" in told
    assert not any(c in told for c in HIDDEN if not c.isprintable())
    wrong = textpl("run", tmp_path, "--data", texts, "--out", tmp_path / "b", "--set", "split.labels_per_class=99")
    assert wrong.exit_code == 1 and "class 'bad" in shown(wrong.output) and "\x1b" not in shown(wrong.output)


def test_names_in_the_files_of_label_and_clean(tmp_path):
    texts = tmp_path / LINK
    write_texts(texts, (f"bad{HIDDEN}", "good [green]"))
    file = texts / "train.jsonl"
    for command in (
        ("label", file, texts / "test.jsonl", "--out", tmp_path / "[red]a[/red].jsonl", "--encoder", "lsa"),
        ("clean", file, "--out", tmp_path / "[red]c[/red]", "--encoder", "lsa"),
    ):
        done = textpl(*command)
        told = shown(done.output)
        assert done.exit_code == 0, told
        assert "[/red]" in told and "\x1b" not in told and "\x07" not in told and "\x9b" not in told
