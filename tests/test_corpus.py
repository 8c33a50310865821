"""Reading and validating corpora: formats, label forms, and what each refusal says."""

import json
import logging
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from textpl.corpus import Corpus, find_overlap, read_corpus
from textpl.reading import sources
from textpl.reading.find_columns import find_columns
from textpl.reading.label_format import LabelFormat
from textpl.reading.labels import label_array

SHARED = Path(__file__).parents[2] / "shared" / "data"
SINGLE, MULTI = "single_label_classification", "multi_label_classification"
shared = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write(path: Path, columns: dict) -> Path:
    """Write columns in the format that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        sep = "\t" if path.suffix == ".tsv" else ","
        path.write_text("\n".join(sep.join(map(str, row)) for row in [list(columns), *[r.values() for r in rows]]))
    return path


def read_train(tmp_path: Path, columns: dict, suffix: str = ".parquet", **settings) -> Corpus:
    return read_corpus(write(tmp_path / f"train{suffix}", columns), **settings)


def folder(tmp_path: Path, info: dict | None = None, **splits: dict) -> Path:
    for name, columns in splits.items():
        write(tmp_path / f"{name}.parquet", columns)
    if info is not None:
        (tmp_path / "info.json").write_text(json.dumps(info))
    return tmp_path


AB = {"text": ["one", "two", "three"], "label": [0, 1, 0]}


# Formats and sources


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json", ".csv", ".tsv"])
def test_every_format_gives_the_same_corpus(tmp_path, suffix):
    corpus = read_train(tmp_path, AB, suffix)
    assert corpus.train[:] == AB
    assert corpus.train.features == Features({"text": Value("string"), "label": Value("int64")})
    assert (corpus.problem_type, corpus.label_names) == (SINGLE, ("0", "1"))
    assert (corpus.test, corpus.dev, corpus.unlabeled, corpus.revision, corpus.empty_classes) == (None,) * 4 + ((),)
    assert corpus.fingerprint == read_train(tmp_path / "again", AB).fingerprint


def test_folder_with_all_splits_and_info(tmp_path):
    write(tmp_path / "validation.csv", AB)
    source = folder(tmp_path, {"label_names": ["no", "yes"], "task": "single"}, train=AB, test=AB, unlabeled=AB)
    corpus = read_corpus(str(source))
    assert corpus.label_names == ("no", "yes")
    assert corpus.test[:] == AB and corpus.dev[:] == AB
    assert corpus.unlabeled.column_names == ["text", "gold"]


@pytest.mark.parametrize("hidden", [[None] * 3, [-1] * 3])
def test_hidden_labels_of_unlabeled_are_no_gold(tmp_path, hidden):
    source = folder(tmp_path, train=AB, unlabeled={"text": AB["text"], "label": pa.array(hidden, pa.int64())})
    assert read_corpus(source).unlabeled.column_names == ["text"]


def test_csv_keeps_the_words_that_pandas_takes_for_missing(tmp_path):
    columns = {"text": ["NA", "null", "x"], "label": ["None", "some", "None"]}
    corpus = read_train(tmp_path, columns, ".csv", label_format=LabelFormat(unlabeled_values=()))
    assert corpus.train[:] == {"text": ["NA", "null", "x"], "label": [0, 1, 0]}
    assert corpus.label_names == ("None", "some")


def test_splits_are_read_as_named_and_no_others(tmp_path):
    source = folder(tmp_path, train=AB, test=AB, dev=AB, hard=AB)
    corpus = read_corpus(source, splits={"test": "hard"})
    assert corpus.test is not None and corpus.dev is None
    with pytest.raises(FileNotFoundError, match=r"no easy in folder .*splits there: \['dev', 'hard'"):
        read_corpus(source, splits={"test": "easy"})
    with pytest.raises(ValueError, match=r"splits names \['exam'\]; the splits of a corpus are"):
        read_corpus(source, splits={"exam": "test"})
    with pytest.raises(ValueError, match=r"train.parquet is one file.*needs a folder"):
        read_corpus(source / "train.parquet", splits={"test": "test"})


def test_bundled(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.resources, "files", lambda package: tmp_path)
    folder(tmp_path / "data" / "tiny", {"label_names": ["no", "yes"]}, train=AB)
    assert read_corpus("bundled:tiny").label_names == ("no", "yes")
    with pytest.raises(FileNotFoundError, match=r"no bundled dataset '\.\./x': textpl comes with \['tiny'\]"):
        read_corpus("bundled:../x")


def test_hub(monkeypatch):
    features = Features({"sentence": Value("string"), "idx": Value("int32"), "label": ClassLabel(names=["neg", "pos"])})
    split = Dataset.from_dict({"sentence": ["a", "b"], "idx": [0, 1], "label": [0, 1]}, features=features)
    hidden = Dataset.from_dict({"sentence": ["a", "b"], "idx": [0, 1], "label": [-1, -1]}, features=features)
    calls = []

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        return DatasetDict(train=split, validation=split, test=hidden, unsupervised=hidden)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    splits = {"test": "validation", "unlabeled": "unsupervised"}
    corpus = read_corpus("nyu-mll/glue", config="sst2", revision="abc", splits=splits)
    assert calls == [(("nyu-mll/glue", "sst2"), {"revision": "abc"})]
    assert (corpus.source, corpus.revision, corpus.label_names) == ("nyu-mll/glue", "abc", ("neg", "pos"))
    assert corpus.test[:] == {"text": ["a", "b"], "label": [0, 1]}
    assert corpus.unlabeled.column_names == ["text"]
    with pytest.raises(ValueError, match=r"test, column 'label', row 0, 1 .*-1 often marks hidden labels.*splits="):
        read_corpus("nyu-mll/glue")


def test_hub_without_the_dataset(monkeypatch):
    def load_dataset(*args, **kwargs):
        raise FileNotFoundError("Dataset 'a/b' doesn't exist on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        FileNotFoundError, match="'a/b' is no file or folder here, and cannot be read from the Hub: .*doesn't exist"
    ):
        read_corpus("a/b")


def test_missing_sources_say_what_is_there(tmp_path):
    write(tmp_path / "notes.txt", {"a": []})
    with pytest.raises(FileNotFoundError, match=r"nope.csv' is neither a file nor a folder here .*holds: notes.txt"):
        read_corpus(str(tmp_path / "nope.csv"))
    with pytest.raises(FileNotFoundError, match=r"nope does not exist .*holds: notes.txt"):
        read_corpus(tmp_path / "nope")
    with pytest.raises(FileNotFoundError, match=r"no train in folder .*files notes.txt; readable: .parquet, .jsonl"):
        read_corpus(tmp_path)
    with pytest.raises(ValueError, match=r"notes.txt: unknown suffix '.txt'; textpl reads .parquet, .jsonl"):
        read_corpus(tmp_path / "notes.txt")


def test_refuses_what_it_cannot_read(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a"\n')
    with pytest.raises(ValueError, match=r"train.jsonl, line 1 is no valid JSON: .*One object a line"):
        read_corpus(tmp_path)
    write(tmp_path / "train.csv", AB)
    with pytest.raises(ValueError, match="holds train.csv, train.jsonl: keep one file for the split 'train'"):
        read_corpus(tmp_path)
    with pytest.raises(ValueError, match="revision='main' apply to Hub datasets only"):
        read_corpus(tmp_path, revision="main")


def test_info_names_the_labels_of_each_column(tmp_path):
    columns = {"text": ["one", "two", "three"], "label": [0, 1, 0], "goods": [2, 1, 0]}
    folder(tmp_path, {"label_names": ["bad", "good"], "goods_names": ["book", "pear", "phone"]}, train=columns)
    assert read_corpus(tmp_path, label_column="label").label_names == ("bad", "good")
    assert read_corpus(tmp_path, label_column="goods").label_names == ("book", "pear", "phone")


@pytest.mark.parametrize(("info", "message"), [("{", "is no valid JSON"), ('{"task": "both"}', '"single" or "multi"')])
def test_refuses_a_broken_info(tmp_path, info, message):
    folder(tmp_path, train=AB)
    (tmp_path / "info.json").write_text(info)
    with pytest.raises(ValueError, match=f"info.json.*{message}"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("suffix", "content"), [(".csv", ""), (".csv", "text,label\n"), (".jsonl", ""), (".jsonl", "\n")]
)
def test_empty_train(tmp_path, suffix, content):
    (tmp_path / f"train{suffix}").write_text(content)
    with pytest.raises(ValueError, match="train of .* has no rows"):
        read_corpus(tmp_path)


def test_empty_parquet(tmp_path):
    with pytest.raises(ValueError, match="train of .* has no rows"):
        read_train(tmp_path, {"text": pa.array([], pa.string()), "label": pa.array([], pa.int64())})


# Columns


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": ["a"], "label": [0]}, ("text", "label")),
        ({"sentence": ["a"], "idx": [3], "stars": [0]}, ("sentence", "stars")),
        ({"review": ["a"], "label": ["good"]}, ("review", "label")),
        ({"text": ["a"], "title": ["b"], "doc_id": [7], "tags": [["x"]]}, ("text", "tags")),
    ],
)
def test_columns_are_found(columns, expected):
    assert find_columns(Dataset.from_dict(columns)) == expected


@pytest.mark.parametrize(
    ("columns", "given", "message"),
    [
        ({"n": [1], "label": [0]}, {}, r"none of .*\['n', 'label'\] looks like the text column: pass text_column="),
        ({"a": ["x"], "b": ["y"], "label": [0]}, {}, r"^columns \['a', 'b'\] could all be the text [^\[]*$"),
        ({"text": ["x"], "a": [1], "b": [0]}, {}, r"columns \['a', 'b'\] could all be the label .*`data.label`"),
        ({"text": ["x"], "label": [1], "labels": [[0]]}, {}, r"\['label', 'labels'\] could all be the label"),
        ({"text": ["x"], "id": [1]}, {}, r"none of the columns \['text', 'id'\] looks like the label column"),
        ({"text": ["x"], "label": [1]}, {"text": "body"}, r"text_column='body' is no column .*\['text', 'label'\]"),
        ({"text": ["x"], "label": [1]}, {"label": "y"}, r"label_column='y' is no column.*\]\.$"),
        ({"body": ["x"], "topics": [1]}, {"label": "topic"}, r"\['body', 'topics'\]; did you mean 'topics'\?$"),
        ({"text": ["x"], "label": [1]}, {"label": "text"}, "'text' cannot be both text and label"),
    ],
)
def test_columns_that_cannot_be_told(columns, given, message):
    with pytest.raises(ValueError, match=message):
        find_columns(Dataset.from_dict(columns), **given)


def test_columns_given_and_kept(tmp_path):
    columns = {"title": ["t", "u"], "body": ["a", "b"], "topic": [0, 1], "stars": [5, 1]}
    test = {"title": ["t"], "body": ["c"], "topic": [0]}
    source = folder(tmp_path, train=columns, test=test)
    settings = {"text_column": "body", "label_column": "topic"}
    corpus = read_corpus(source, **settings, keep=["stars"])
    assert corpus.train[:] == {"text": ["a", "b"], "label": [0, 1], "stars": [5, 1]}
    assert corpus.test.column_names == ["text", "label"]
    with pytest.raises(ValueError, match="keep='moons' is a column of no split"):
        read_corpus(source, **settings, keep=["moons"])
    with pytest.raises(ValueError, match="no split; train has .*; did you mean 'stars'"):
        read_corpus(source, **settings, keep=["star"])
    with pytest.raises(ValueError, match="keep='gold': this name is taken"):
        read_corpus(source, **settings, keep=["gold"])


def test_every_split_needs_the_columns(tmp_path):
    with pytest.raises(ValueError, match=r"test has no label column 'label'; its columns are \['text'\]"):
        read_corpus(folder(tmp_path / "a", train=AB, test={"text": ["x"]}))
    with pytest.raises(ValueError, match=r"unlabeled has no text column 'text'; its columns are \['body'\]"):
        read_corpus(folder(tmp_path / "b", train=AB, unlabeled={"body": ["x"]}))
    with pytest.raises(ValueError, match=r"test has no text column 'text'; .* did you mean 'texts'\?$"):
        read_corpus(folder(tmp_path / "c", train=AB, test={"texts": ["x"], "label": [0]}))


@pytest.mark.parametrize(
    ("labels", "problem_type"),
    [([0, 1, None], SINGLE), (["x", "y", ""], SINGLE), (["x", "y", "-1"], SINGLE), ([["x"], ["y"], None], MULTI)],
)
def test_rows_of_train_without_a_label_join_the_unlabeled_ones(tmp_path, labels, problem_type):
    corpus = read_corpus(folder(tmp_path, train={"text": ["a", "b", "c"], "label": labels}))
    assert corpus.problem_type == problem_type and len(corpus.label_names) == 2
    assert corpus.train["text"][:] == ["a", "b"] and corpus.unlabeled[:] == {"text": ["c"]}
    assert "1 of 3 rows of train have no label: they join the unlabeled texts." in corpus.notes
    more = folder(tmp_path, unlabeled={"text": ["d"], "label": labels[:1]})
    assert read_corpus(more).unlabeled["text"][:] == ["d", "c"]
    with pytest.raises(ValueError, match=r"test, column 'label', row 1 \(counted from 0\): label is"):
        read_corpus(folder(tmp_path, test={"text": ["e", "f"], "label": labels[1:]}))


def test_labels_of_other_splits_are_written_as_those_of_train(tmp_path):
    write(tmp_path / "train.csv", {"text": ["a", "b", "c"], "label": ["x;y", "y", "x"]})
    write(tmp_path / "test.csv", {"text": ["a", "b"], "label": ["y;x", ""]})
    corpus = read_corpus(tmp_path)
    assert corpus.label_names == ("x", "y") and corpus.test["label"][:] == [[1, 1], [0, 0]]
    stars = tmp_path / "stars"
    write(stars / "train.csv", {"text": ["a", "b", "c"], "label": [1, 3, 5]})
    write(stars / "test.jsonl", {"text": ["a", "b"], "label": [5.0, 1.0]})
    corpus = read_corpus(stars)
    assert corpus.label_names == ("1", "3", "5") and corpus.test["label"][:] == [2, 0]


# Texts


def test_missing_text(tmp_path):
    with pytest.raises(ValueError, match=r"train, column 'text', row 1, 2 \(counted from 0\): text is None.*drop"):
        read_train(tmp_path, {"text": ["a", None, None], "label": [0, 1, 0]})


@pytest.mark.parametrize(
    ("suffix", "texts", "message"),
    [(".jsonl", ["a", 5], "row 1 .*text 5 is of type int"), (".parquet", [1.5, 2.0], "row 0 .*of type float")],
)
def test_text_that_is_no_string(tmp_path, suffix, texts, message):
    with pytest.raises(ValueError, match=f"train, column 'text', {message}"):
        read_train(tmp_path, {"text": texts, "label": [0, 1]}, suffix)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_empty_texts_are_counted(tmp_path, suffix, caplog):
    with caplog.at_level(logging.WARNING):
        corpus = read_train(tmp_path, {"text": ["", " ", "b"], "label": [0, 1, 0]}, suffix)
    assert len(corpus.train) == 3
    assert "train, column 'text': 2 of 3 texts are empty" in caplog.text


# Labels (their forms: test_labels.py)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_multi_label_column(tmp_path, suffix):
    corpus = read_train(tmp_path, {"text": ["a", "b", "c"], "labels": [["y"], ["x", "z"], []]}, suffix)
    assert (corpus.problem_type, corpus.label_names) == (MULTI, ("x", "y", "z"))
    assert corpus.train[:]["label"] == [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert corpus.train.features["label"] == List(Value("float32"), length=3)
    assert label_array(corpus.train.select([1, 0])).tolist() == [[1, 0, 1], [0, 1, 0]]


def test_label_names_given_reorder_names(tmp_path):
    corpus = read_train(tmp_path, {"text": ["a", "b"], "label": ["no", "yes"]}, ".csv", label_names=["yes", "no"])
    assert corpus.train[:]["label"] == [1, 0]


def test_texts_of_csv_are_texts_though_they_look_like_numbers(tmp_path):
    corpus = read_train(tmp_path, {"text": ["1.5", "2.0", "7.25"], "label": [0, 1, 1]}, ".csv")
    assert corpus.train["text"][:] == ["1.5", "2.0", "7.25"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 0, "x"], "row 2 .*label 'x' .* 1 in row 0"),
        ([[0], ["a"], [1]], r"row 1 .*label \['a'\] .* \[0\] in row 0"),
    ],
)
def test_mixed_labels_in_json(tmp_path, labels, message):
    with pytest.raises(ValueError, match=f"train, column 'label', {message}"):
        read_train(tmp_path, {"text": ["a", "b", "c"], "label": labels}, ".jsonl")


def test_a_declared_class_without_examples_is_recorded(tmp_path, caplog):
    test = {"text": ["x"], "label": ["c"]}
    source = folder(tmp_path, train={"text": ["a", "b"], "label": ["a", "b"]}, test=test)
    corpus = read_corpus(source, label_names=["c", "b", "a"])
    assert corpus.test["label"][:] == [0] and corpus.empty_classes == ("c",)
    assert "train has no example of 1 of 3 classes: c" in caplog.text


def test_class_labels_in_two_orders(tmp_path):
    for name, order in {"train": ["a", "b"], "test": ["b", "a"]}.items():
        features = Features({"text": Value("string"), "label": ClassLabel(names=order)})
        Dataset.from_dict({"text": ["x", "y"], "label": [0, 1]}, features=features).to_parquet(
            tmp_path / f"{name}.parquet"
        )
    with pytest.raises(ValueError, match=r"test, column 'label': its ClassLabel orders the names \('b', 'a'\)"):
        read_corpus(tmp_path)


# Fingerprint and overlap


def test_fingerprint_depends_on_content_only(tmp_path):
    def fingerprint(name, columns, **options):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(columns), path, **options)
        return read_corpus(path).fingerprint

    first = fingerprint("a", AB)
    assert len(first) == 16
    assert fingerprint("b", AB, row_group_size=1) == first
    assert fingerprint("c", {**AB, "label": [0, 1, 1]}) != first
    assert fingerprint("d", {**AB, "text": ["on", "etwo", "three"]}) != first


def test_overlap():
    a = Dataset.from_dict({"text": ["Hello  World", "hello world\n", "bye", "STRASSE", ""]})
    b = Dataset.from_dict({"text": ["hello world", "Straße"], "label": [0, 1]})
    assert find_overlap(a, b) == [0, 1, 3]
    assert find_overlap(a, b.select([])) == find_overlap(a.select([]), b) == []
    assert find_overlap(a.select([2, 0]), b) == [1]


# Real data


@pytest.mark.parametrize(
    ("name", "rows", "labels", "kind"),
    [
        pytest.param("ag_news", (23_346, 7_600), 4, SINGLE, marks=shared),
        pytest.param("goemotions", (43_410, 5_427), 28, MULTI, marks=shared),
        pytest.param("sst2", (6_920, 1_821), 2, SINGLE, marks=shared),
        pytest.param("online_shopping_10_cats", (52_531, 10_000), 2, SINGLE, marks=shared),
    ],
)
def test_real_data(name, rows, labels, kind):
    corpus = read_corpus(SHARED / name)
    info = json.loads((SHARED / name / "info.json").read_text())
    assert (len(corpus.train), len(corpus.test)) == rows
    assert (len(corpus.label_names), corpus.problem_type) == (labels, kind)
    found = label_array(corpus.train)
    assert (found.sum(0) if kind == MULTI else np.bincount(found)).tolist() == info["train_label_counts"]


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
def test_real_data_with_another_label():
    corpus = read_corpus(SHARED / "online_shopping_10_cats", label_column="category")
    assert len(corpus.label_names) == 10 and corpus.empty_classes == ()
