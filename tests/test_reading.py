"""Files as people have them, through every command that reads: the right values, or one line that says what is wrong.

No file is stored: a kind of table and a kind of labels make one. What a command would work on is caught as it begins.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from typer.testing import CliRunner

import textpl.label_files
import textpl.label_issues.files
import textpl.recipes.running.dry_run
from textpl.cli import app
from textpl.corpus import Corpus, read_corpus
from textpl.reading.label_arrays import encode_labels
from textpl.reading.label_format import ENCODED, LabelFormat
from textpl.reading.labels import arrow_column

ROWS = 12
TEXTS = [f"text {i}, with a comma; “quotes” and, é" if i % 2 else f'plain "text" {i}' for i in range(ROWS)]
CHINESE = [f"这本书很好看第{i}本" for i in range(ROWS)]


# ------------------------------------------------------------------------------------------------ tables


def delimited(columns: dict[str, list], delimiter: str = ",", encoding: str = "utf-8", newline: str = "\r\n") -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=newline)
    writer.writerow(columns)
    writer.writerows(zip(*(["" if v is None else v for v in values] for values in columns.values()), strict=True))
    return file.getvalue().encode(encoding)


def lines(columns: dict[str, list]) -> bytes:
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(columns: dict[str, list], kind: Any = None) -> bytes:
    file, table = io.BytesIO(), pa.table(columns)
    if kind is not None:
        fields = [pa.field(f.name, kind if pa.types.is_string(f.type) else f.type) for f in table.schema]
        table = table.cast(pa.schema(fields))
    pq.write_table(table, file)
    return file.getvalue()


TABLES: dict[str, tuple[str, Any]] = {
    "csv": (".csv", delimited),
    "csv of Excel": (".csv", lambda c: delimited(c, encoding="utf-8-sig")),
    "semicolons": (".csv", lambda c: delimited(c, ";", newline="\n")),
    "tabs called csv": (".csv", lambda c: delimited(c, "\t")),
    "bars": (".csv", lambda c: delimited(c, "|")),
    "UTF-16": (".csv", lambda c: delimited(c, "\t", "utf-16")),
    "Windows-1252": (".csv", lambda c: delimited(c, ";", "cp1252")),
    "sep= of Excel": (".csv", lambda c: b"sep=;\r\n" + delimited(c, ";")),
    "tsv": (".tsv", lambda c: delimited(c, "\t")),
    "more columns": (
        ".csv",
        lambda c: delimited({"": range(ROWS), **c, "note": ["x, y"] * ROWS, "age": ["", *range(ROWS - 1)]}),
    ),
    "spaces around headings": (".csv", lambda c: delimited({f" {name} ": v for name, v in c.items()})),
    "jsonl": (".jsonl", lines),
    "jsonl, other keys late": (
        ".jsonl",
        lambda c: (
            lines(c).rstrip(b"\n").replace(b"{", b'{"id": 1234567890123456789012345, ', 1)[:-1]
            + b', "late": {"a": null}}\n'
        ),
    ),
    "json": (".json", lambda c: b"[" + b",\n".join(lines(c).splitlines()) + b"]"),
    "parquet": (".parquet", parquet),
    "parquet, views": (".parquet", lambda c: parquet(c, pa.string_view())),
    "parquet, large strings": (".parquet", lambda c: parquet(c, pa.large_string())),
    "parquet, categories": (".parquet", lambda c: parquet(c, pa.dictionary(pa.int32(), pa.string()))),
}
TEXT_ONLY = [name for name, (suffix, _) in TABLES.items() if suffix in (".csv", ".tsv")]
TYPED = [name for name in TABLES if name not in TEXT_ONLY]

# ------------------------------------------------------------------------------------------------ labels


@dataclass(frozen=True)
class Labels:
    """A column of labels and what it means: a name, a set of names, or None for no label, of each row."""

    cells: list
    meaning: list
    arguments: tuple[str, ...] = ()


def each(*cells: Any, **more: Any) -> Labels:
    """A few cells, again and again; the meaning is the same as text unless it is given."""
    meaning = more.pop("meaning", [None if c in (None, "") else str(c) for c in cells])
    full = [cells[i % len(cells)] for i in range(ROWS)]
    return Labels(full, [meaning[i % len(cells)] for i in range(ROWS)], more.pop("arguments", ()))


SETS = [{"joy"}, {"joy", "fear"}, {"love"}, {"fear", "love"}]
LABELS = {
    "names": each("sport", "money", "war"),
    "names, some blank": each("sport", "", "war", "war"),
    "ids": each(0, 1, 2),
    "ids, some blank": each(0, None, 1, 1, meaning=["0", None, "1", "1"]),
    "stars": each(1, 3, 5, 5),
    "ids, -1 for none": each(0, 1, 2, -1, meaning=["0", "1", "2", None]),
    "ids, -100 for none": each(0, 1, 1, -100, meaning=["0", "1", "1", None]),
    "names, -1 for none": each("sport", "money", "-1", "money", meaning=["sport", "money", None, "money"]),
    "names, ABSTAIN": each("sport", "money", "ABSTAIN", "money", meaning=["sport", "money", None, "money"]),
    "names, nan": each("sport", "money", "nan", "money", meaning=["sport", "money", None, "money"]),
    "names, n/a as said": each(
        "sport", "money", "n/a", "money",
        meaning=["sport", "money", None, "money"], arguments=("--unlabeled-value", "n/a"),
    ),
    "names, none is a class": each("for", "against", "none", arguments=("--unlabeled-value", "")),
    "moods": each(-1, 0, 1, arguments=("--unlabeled-value", "")),
    "scale": each(-2, -1, 0, 1, 2),
    "semicolons": each("joy", "joy;fear", "love", "fear;love", meaning=SETS),
    "semicolons and spaces": each("joy", "joy; fear", "love", "fear; love", meaning=SETS),
    "bars": each("joy", "joy|fear", "love", "fear|love", meaning=SETS),
    "commas": each("joy", "joy,fear", "love", "fear,love", meaning=SETS),
    "python lists": each("['joy']", "['joy', 'fear']", "['love']", "['fear', 'love']", meaning=SETS),
    "json lists": each('["joy"]', '["joy", "fear"]', '["love"]', '["fear", "love"]', meaning=SETS),
    "empty lists as text": each(
        "['joy']", "['joy', 'fear']", "[]", "['fear', 'love']", meaning=[*SETS[:2], set(), SETS[3]]
    ),
    "Label Studio": each(
        "joy", '{"choices": ["joy", "fear"]}', "love", '{"choices": ["fear", "love"]}', meaning=SETS
    ),
    "half labeled": each(
        "fear;love", "love", "", "",
        meaning=[SETS[3], SETS[2], None, None], arguments=("--empty", "unlabeled"),
    ),
    "none applies": each(
        "fear;love", "love", "", "",
        meaning=[SETS[3], SETS[2], set(), set()], arguments=("--empty", "none"),
    ),
    "one each": each("a, b", "a", "b", arguments=("--delimiter", "")),
    "Chinese": each("体育", "财经"),
}  # fmt: skip
ONLY_TEXT = {
    "leading zeros": each("011", "11", "007"),
    "0 and 00": each("0", "00", "1"),
    "1 and 1.0": each("1", "1.0", "2"),
    "versions": each("1.1", "1.10", "2.0"),
    "exponents": each("1E10", "2E01", "3"),
    "1e3 and 1000": each("1e3", "1000", "7"),
    "beyond 64 bits": each("18446744073709551615", "18446744073709551616", "3"),
    "infinite": each("inf", "1", "2"),
    "whole fractions": each("0.0", "1.0", "2.0", meaning=["0", "1", "2"]),
    "True and False": each("True", "False"),
}
ONLY_TYPED = {
    "lists": each(["joy"], ["joy", "fear"], ["love"], ["fear", "love"], meaning=SETS),
    "lists, none applies": each(["joy"], ["joy", "fear"], [], ["fear", "love"], meaning=[*SETS[:2], set(), SETS[3]]),
    "lists, some null": each(["joy"], ["joy", "fear"], None, ["love"], meaning=[*SETS[:2], None, SETS[2]]),
    "lists of ids": each([0], [0, 1], [2], meaning=[{"0"}, {"0", "1"}, {"2"}]),
    "multi-hot": each([1, 0, 0], [0, 1, 1], [0, 0, 0], meaning=[{"0"}, {"1", "2"}, set()]),
    "fractions that are whole": each(0.0, 1.0, None, 1.0, meaning=["0", "1", None, "1"]),
    "true and false": each(True, False, meaning=["1", "0"]),
    "text that looks like numbers": each("011", "11", "7"),
}
CASES = [
    *((table, name, labels) for table in ("csv", "UTF-16", "jsonl") for name, labels in LABELS.items()),
    *((table, name, labels) for table in ("csv", "semicolons") for name, labels in ONLY_TEXT.items()),
    *((table, name, labels) for table in ("jsonl", "parquet") for name, labels in ONLY_TYPED.items()),
    *((table, name, LABELS[name]) for table in TABLES for name in ("names", "semicolons", "ids")),
]
CASES = list({(table, name): (table, name, labels) for table, name, labels in CASES}.values())


class CaughtError(BaseException):
    """What a command was about to work on."""

    def __init__(self, texts: list[str], labels: list[Any]) -> None:
        super().__init__()
        self.texts, self.labels = texts, labels


def meaning_of(dataset: Dataset, text: str, label: str, names: Any = None) -> tuple[list[str], list[Any]]:
    """Texts and labels of rows, labels as names."""
    names = getattr(dataset.features[label], "names", names)
    found = encode_labels(arrow_column(dataset, label), label, label_names=names, label_format=ENCODED)
    every = found.coding.label_names
    if found.array.ndim == 1:
        return dataset[text][:], [every[k] for k in found.array]
    return dataset[text][:], [{every[k] for k in np.flatnonzero(row)} for row in found.array]


def of_corpus(corpus: Corpus) -> tuple[list[str], list[Any]]:
    texts, labels = meaning_of(corpus.train, "text", "label", corpus.label_names)
    if corpus.unlabeled is not None:
        texts, labels = texts + corpus.unlabeled["text"][:], labels + [None] * len(corpus.unlabeled)
    return texts, labels


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs one of the commands on a file; gives (texts, labels) of what it read, or the text of its error."""

    def caught(rows, *args, label_column="label", text_column="text", label_names=None, **kwargs):
        raise CaughtError(*meaning_of(rows, text_column, label_column, label_names))

    monkeypatch.setattr(textpl.label_files, "label", caught)
    monkeypatch.setattr(textpl.label_issues.files, "find_label_issues", caught)

    def seen(recipe, corpus, seed):
        raise CaughtError(*of_corpus(corpus))

    monkeypatch.setattr(textpl.recipes.running.dry_run, "draw_split", seen)
    monkeypatch.chdir(tmp_path)

    def run(name: str, file: Path, labels: Labels) -> tuple[list[str], list[Any]] | str:
        options = list(labels.arguments)
        if name == "run":
            keys = {"--unlabeled-value": "unlabeled_values", "--empty": "empty", "--delimiter": "delimiter"}
            shown = {"--unlabeled-value": lambda v: [v] if v else [], "--empty": str, "--delimiter": json.dumps}
            said = [f"{keys[k]}: {shown[k](v)}" for k, v in zip(options[::2], options[1::2], strict=True)]
            data = ", ".join([f"source: {file.name}", "text: text", "label: label", *said])
            Path("recipe.yaml").write_text(f"schema: 1\ndata: {{{data}}}\nsplit: {{labels_per_class: 1}}\n")
            arguments = ["run", "recipe.yaml", "--dry-run"]
        elif name == "recipes new":
            arguments = ["recipes", "new", "made", "--data", file, "--text", "text", "--label", "label", *options]
        else:
            Path("pool.csv").write_text("text\nanother text\n")
            files = [file, "--out", "out"] if name == "clean" else [file, "pool.csv", "--out", "out.parquet"]
            arguments = [name, *files, *options]
        try:
            done = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "1000"})
        except CaughtError as found:
            return found.texts, found.labels
        if name == "recipes new" and done.exit_code == 0:
            made = Path("made/recipe.yaml").read_text()
            source = re.search("source: (\\S+)", made)[1]
            said = LabelFormat(
                unlabeled_values=() if "unlabeled_values: []" in made else None,
                empty="none" if "empty: none" in made else None,
                delimiter="" if "delimiter: ''" in made else None,
            )
            return of_corpus(read_corpus(Path("made") / source, label_column="label", label_format=said))
        assert done.exit_code == 1, (done.output, done.exception)
        return done.output

    return run


def written(tmp_path: Path, table: str, labels: Labels, texts: list[str] = TEXTS) -> Path:
    suffix, write = TABLES[table]
    file = tmp_path / f"data{suffix}"
    file.write_bytes(write({"text": texts, "label": labels.cells}))
    return file


@pytest.mark.parametrize("name", ["label", "clean", "recipes new", "run"])
@pytest.mark.parametrize(("table", "kind", "labels"), CASES, ids=[f"{table}-{kind}" for table, kind, _ in CASES])
def test_every_command_reads_the_right_values(tmp_path, command, table, kind, labels, name):
    found = command(name, written(tmp_path, table, labels), labels)
    assert not isinstance(found, str), found
    labeled = [(t, m) for t, m in zip(TEXTS, labels.meaning, strict=True) if m is not None]
    pool = [(t, None) for t, m in zip(TEXTS, labels.meaning, strict=True) if m is None]
    wanted = [*labeled, *(pool if name in ("recipes new", "run") else [])]
    assert list(zip(*found, strict=True)) == wanted


def test_there_are_enough_files():
    assert len(CASES) + len(BROKEN) >= 120


# ------------------------------------------------------------------------------------------------ what is refused


@dataclass(frozen=True)
class Broken:
    """A file that cannot be read, and what must stand in the one line about it."""

    content: bytes
    said: tuple[str, ...]
    suffix: str = ".csv"
    arguments: tuple[str, ...] = field(default=())


def text_file(*rows: str, encoding: str = "utf-8") -> bytes:
    return "\n".join([*rows, ""]).encode(encoding)


GOOD = ["a good day,pos", "a bad day,neg"] * 6
BROKEN = {
    "unquoted commas": Broken(
        text_file("text,label", *GOOD, "the hotel was sad and broken, awful number 0,neg"),
        ("data.csv", "row 12 has 3 fields", "double quotes"),
    ),
    "a field too few": Broken(text_file("text,label", *GOOD, "only this"), ("row 12 has 1 field", "as many fields")),
    "an extra empty field": Broken(text_file("text,label", *GOOD, "sad, awful,"), ("row 12 has 3 fields",)),
    "an open quote": Broken(text_file("text,label", *GOOD, '"open,neg'), ("data.csv, line", "double quotes")),
    "text after a quote": Broken(text_file("text,label", '"Great" film,pos', *GOOD), ("data.csv, line 2", "doubled")),
    "two label columns": Broken(text_file("text,label,label", *(f"{row},x" for row in GOOD)), ("two columns 'label'",)),
    "no label column": Broken(text_file("text,topic", *GOOD), ("label", "topic")),
    "no rows": Broken(b"text,label\n", ("no rows",)),
    "nothing at all": Broken(b"", ("no rows",)),
    "xlsx": Broken(b"PK\x03\x04" + b"\0" * 100, ("data.csv", "Excel workbook", "save the sheet as CSV")),
    "old xls": Broken(b"\xd0\xcf\x11\xe0" + b"\0" * 100, ("data.csv", "Excel workbook")),
    "gzip": Broken(b"\x1f\x8b\x08" + b"\0" * 100, ("data.csv", "gunzip")),
    "parquet called csv": Broken(b"PAR1" + b"\0" * 100, ("data.csv", ".parquet")),
    "Cyrillic of Windows": Broken(
        text_file("text,label", "Привет как дела,pos", encoding="cp1251"), ("data.csv, line 2", "iconv")
    ),
    "cut UTF-16": Broken(text_file("text,label", *GOOD, encoding="utf-16")[:-1], ("data.csv", "UTF-16", "broken")),
    "binary": Broken(bytes(range(256)) * 10, ("data.csv", "no text")),
    "moods": Broken(
        text_file("text,label", *(f"text {i},{i % 3 - 1}" for i in range(12))), ("'-1'", "--unlabeled-value -1")
    ),
    "none": Broken(
        text_file("text,label", *(f"text {i},{['for', 'against', 'none'][i % 3]}" for i in range(12))),
        ("'none'", "--unlabeled-value none", "--unlabeled-value ''"),
    ),
    "half empty": Broken(
        text_file("text,label", *(f"text {i},{['a;b', 'b', '', ''][i % 4]}" for i in range(12))),
        ("6 of 12 cells", "--empty none", "--empty unlabeled"),
    ),
    "many variants": Broken(
        text_file("text,label", *(f"text {i},{'Label' if i % 2 else 'label'} {i // 2}" for i in range(12))),
        ("6 of 12 labels", "--merge-variants", "--keep-variants"),
    ),
    "soft labels": Broken(
        text_file("text,label", *(f"text {i},{i / 11:.2f}" for i in range(12))), ("no whole number", "Soft labels")
    ),
    "one label": Broken(text_file("text,label", *["text,a"] * 4), ("every row has the label 'a'",)),
    "no label at all": Broken(text_file("text,label", *["text,"] * 4), ("no row has a label",)),
    "no list": Broken(text_file("text,label", "x,['a']", "y,b"), ("row 1", "no list in brackets")),
    "broken json": Broken(
        b'{"text": "a", "label": 0}\n{"text": "b", ', ("data.jsonl, line 2", "no valid JSON"), ".jsonl"
    ),
    "json of numbers": Broken(b"[1, 2]", ("data.json", "no object"), ".json"),
    "json of one object": Broken(b'{"data": [\n1]}', ("data.json", "line 1", "One object a line"), ".json"),
    "labels of two kinds": Broken(lines({"text": ["a", "b"], "label": [0, "x"]}), ("row 1", "another way"), ".jsonl"),
    "labels as objects": Broken(lines({"text": ["a", "b"], "label": [{"a": 1}] * 2}), ("row 0", "struct"), ".jsonl"),
    "a text that is a number": Broken(lines({"text": ["a", 5], "label": [0, 1]}), ("row 1", "5", "string"), ".jsonl"),
    "a lone surrogate": Broken(
        b'{"text": "\\ud83d", "label": 0}\n{"text": "b", "label": 1}', ("row 0", "half"), ".jsonl"
    ),
    "a null among labels": Broken(
        lines({"text": ["a", "b"], "label": [["x"], ["y", None]]}), ("row 1", "None"), ".jsonl"
    ),
    "half a parquet": Broken(b"PAR1" + b"x" * 50, ("data.parquet", "Write it again"), ".parquet"),
    "an unknown suffix": Broken(b"a", ("unknown suffix '.xlsx'", ".csv"), ".xlsx"),
}


@pytest.mark.parametrize("name", ["label", "clean", "recipes new", "run"])
@pytest.mark.parametrize("kind", BROKEN)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, command, kind, name):
    file = tmp_path / f"data{BROKEN[kind].suffix}"
    file.write_bytes(BROKEN[kind].content)
    said = command(name, file, Labels([], [], BROKEN[kind].arguments))
    assert isinstance(said, str), f"it was read: {said}"
    assert all(part in said for part in BROKEN[kind].said), said
    assert "Traceback" not in said and sum(line.startswith("Error") for line in said.splitlines()) == 1
    assert not (tmp_path / "made").exists() and not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------- what else must hold


def test_class_labels_and_texts_in_chinese(tmp_path, command):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["财经", "none", "体育"])})
    Dataset.from_dict({"text": CHINESE, "label": [0, 1, 2] * 4}, features=features).to_parquet(
        tmp_path / "data.parquet"
    )
    for name in ("label", "clean", "recipes new", "run"):
        texts, labels = command(name, tmp_path / "data.parquet", Labels([], []))
        assert texts == CHINESE and labels == ["财经", "none", "体育"] * 4
    (tmp_path / "old.csv").write_bytes(delimited({"text": CHINESE, "label": ["好", "坏"] * 6}, encoding="gbk"))
    assert command("clean", tmp_path / "old.csv", Labels([], [])) == (CHINESE, ["好", "坏"] * 6)


def test_exports_of_label_studio(tmp_path, command):
    tasks = [
        {
            "id": i,
            "data": {"text": text},
            "annotations": [
                {"result": [{"from_name": "label", "type": "choices", "value": {"choices": sorted(names)}}]}
                for names in ([SETS[i % 4]] if i % 5 else [])
            ],
        }
        for i, text in enumerate(TEXTS)
    ]
    (tmp_path / "data.json").write_text(json.dumps(tasks))
    texts, labels = command("clean", tmp_path / "data.json", Labels([], []))
    assert texts == [t for i, t in enumerate(TEXTS) if i % 5]
    assert labels == [SETS[i % 4] for i in range(ROWS) if i % 5]
    least = [
        {"text": text, "label": sorted(SETS[i % 4])[0] if len(SETS[i % 4]) == 1 else {"choices": sorted(SETS[i % 4])}}
        for i, text in enumerate(TEXTS)
    ]
    (tmp_path / "min.json").write_text(json.dumps(least))
    assert command("clean", tmp_path / "min.json", Labels([], [])) == (TEXTS, SETS * 3)


def test_a_file_that_changed_without_a_trace_is_read_anew(tmp_path, command):
    import os

    file = written(tmp_path, "csv", LABELS["names"])
    before = file.stat()
    assert command("clean", file, LABELS["names"])[1] == LABELS["names"].meaning
    file.write_bytes(file.read_bytes().replace(b"sport", b"spurt"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size and "spurt" in command("clean", file, LABELS["names"])[1]


def test_nothing_is_left_in_the_cache_of_datasets(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for table in ("csv", "jsonl", "parquet"):
        read_corpus(written(tmp_path / table, table, LABELS["names"]) if (tmp_path / table).mkdir() is None else "")
    assert not list((tmp_path / "cache").rglob("*.arrow")) if (tmp_path / "cache").exists() else True


def test_late_rows_of_a_long_file_do_not_change_what_columns_hold(tmp_path):
    count = 25_000
    columns = {"text": [f"text {i}" for i in range(count)], "label": ["ab"[i % 2] for i in range(count)]}
    late = {"age": [i if i != 15_000 else None for i in range(count)], "meta": [None] * (count - 1) + [{"k": [1]}]}
    (tmp_path / "a.csv").write_bytes(delimited({**columns, "age": late["age"]}))
    (tmp_path / "b.jsonl").write_bytes(lines({**columns, **late}))
    assert read_corpus(tmp_path / "a.csv").fingerprint == read_corpus(tmp_path / "b.jsonl").fingerprint
    assert pd.read_csv(tmp_path / "a.csv").label.tolist() == columns["label"]
