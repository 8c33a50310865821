"""`textpl recipes new` on files as people have them, and the JSON Schema for their editors."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from textpl import evaluation
from textpl.cli import app
from textpl.corpus import read_corpus
from textpl.reading.label_format import LabelFormat
from textpl.recipes import planned_test
from textpl.recipes.import_data import mostly_chinese
from textpl.recipes.json_schema import json_schema, schema_text
from textpl.recipes.new_recipe import CHINESE_ENCODER
from textpl.recipes.parsing import bundled_recipes, load_recipe
from textpl.recipes.running.reading import draw_split, read_data
from textpl.recipes.yaml_text import Document

ROOT = Path(__file__).parents[1]
BASE = "schema: 1\ndata: {source: owner/name}\nsplit: {labels_per_class: 10}\n"


def textpl(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def new(*arguments):
    done = textpl("recipes", "new", *arguments)
    assert done.exit_code == 0, done.output
    return done.output


def write_csv(file, columns, rows):
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])


# ---- new ----


@pytest.mark.parametrize("stages", [[], ["--stages", "clean,train"]])
def test_groups_stay_together(tmp_path, monkeypatch, stages):
    monkeypatch.chdir(tmp_path)
    rows = [[f"d{i // 7}", f"text {i}", "ab"[(i // 3) % 2]] for i in range(700)]
    write_csv(Path("my.csv"), ["document", "body", "kind"], rows)
    new("mine", "--data", "my.csv", "--groups", "document", "--text", "body", "--label", "kind", *stages)
    loaded = load_recipe("mine")
    assert loaded.recipe.split.groups == "document"
    split = draw_split(loaded.recipe, read_data(loaded, None), 0)
    parts = [set(part["document"]) for part in (split.labeled, split.test, split.pool)]
    assert len(split.labeled) >= 20 and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    missing = textpl("recipes", "new", "other", "--data", "my.csv", "--groups", "author")
    assert missing.exit_code == 1 and "--groups author: the columns of my.csv are" in " ".join(missing.output.split())


def test_a_csv_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv(Path("my.csv"), ["id", "body", "stars"], [[i, f"text {i}", i % 3] for i in range(600)])
    told = new("mine", "--data", "my.csv")
    assert "text from column 'body', labels from 'stars', 600 rows" in told and "copied to mine/data" in told
    loaded = load_recipe("mine")
    recipe = loaded.recipe
    assert (recipe.data.source, recipe.data.text, recipe.data.label) == ("data", "body", "stars")
    assert recipe.split.labels_per_class == 10 and recipe.split.test == 200, "there is no test set"
    rows = [json.loads(line) for line in Path("mine/data/train.jsonl").read_text().splitlines()]
    assert rows[4] == {"id": 4, "body": "text 4", "stars": 1} and len(rows) == 600
    ours, theirs = (read_corpus(file, label_column="stars").fingerprint for file in ("my.csv", "mine/data"))
    assert ours == theirs
    assert loaded.text.startswith("# yaml-language-server: $schema=recipe.schema.json\n")
    assert Path("mine/recipe.schema.json").read_text() == schema_text()
    assert "  # " in loaded.text and len(loaded.text.splitlines()) <= 30
    again = textpl("recipes", "new", "mine")
    assert again.exit_code == 1 and "is there already" in again.output


@pytest.mark.parametrize(("rows", "test"), [(20, None), (299, None), (300, 100), (599, 199), (700, 200), (9000, 1000)])
def test_as_many_rows_are_held_out_as_a_verdict_needs(tmp_path, rows, test):
    assert evaluation.LEAST_ROWS == planned_test.LEAST_ROWS
    write_csv(tmp_path / "my.csv", ["text", "label"], [[f"text {i}", i % 2] for i in range(rows)])
    told = new(tmp_path / "a", "--data", tmp_path / "my.csv")
    assert load_recipe(tmp_path / "a").recipe.split.test == test
    assert (f"only {test} test rows can be held out" in told) == (test is not None and test < 200)
    assert ("no test rows are planned" in told) == (test is None)


def test_texts_to_be_labeled_become_the_test_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = ["good", "bad"]
    write_csv(Path("my.csv"), ["body", "mood"], [[f"text {i}", labels[i % 2] if i < 40 else ""] for i in range(1040)])
    told = " ".join(new("mine", "--data", "my.csv", "--text", "body", "--label", "mood").split())
    assert "of 40 labeled rows too few can be held out for any verdict" in told
    assert "(column 'mood': bad, good), then: mv mine/test_to_label.csv mine/data/test.csv" in told
    done = textpl("run", "mine", "--dry-run")
    assert done.exit_code == 1 and "has no test set: add a test file" in done.output
    with Path("mine/test_to_label.csv").open() as file:
        drawn = list(csv.DictReader(file))
    assert len(drawn) == len({row["body"] for row in drawn}) == 200 and {row["mood"] for row in drawn} == {""}
    # Not filled in, they are refused: a text without a label is not one of the first class.
    write_csv(Path("mine/data/test.csv"), ["body", "mood"], [[row["body"], ""] for row in drawn])
    assert textpl("run", "mine", "--dry-run").exit_code == 1
    write_csv(
        Path("mine/data/test.csv"), ["body", "mood"], [[row["body"], labels[i % 2]] for i, row in enumerate(drawn)]
    )
    loaded = load_recipe("mine")
    split = draw_split(loaded.recipe, read_data(loaded, None), 0)
    assert (len(split.test), len(split.labeled), len(split.pool)) == (200, 40, 800), "none of them stays in the pool"


def test_texts_to_be_given_several_labels(tmp_path):
    rows = [{"text": f"text {i}", "tags": [["a"], ["a", "b"]][i % 2] if i < 40 else None} for i in range(640)]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, rows)))
    new(tmp_path / "mine", "--data", tmp_path / "my.jsonl", "--empty", "unlabeled")
    file = tmp_path / "mine" / "test_to_label.jsonl"
    drawn = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(drawn) == 200 and all(row["tags"] is None for row in drawn)
    target = tmp_path / "mine" / "data" / "test.jsonl"
    target.write_text(file.read_text())
    assert textpl("run", tmp_path / "mine", "--dry-run").exit_code == 1, "no text without an answer counts as none"
    target.write_text("\n".join(json.dumps(row | {"tags": ["b"]}) for row in drawn))
    loaded = load_recipe(tmp_path / "mine")
    assert len(draw_split(loaded.recipe, read_data(loaded, None), 0).test) == 200


def test_no_empty_cells_to_fill_in_where_these_mean_something(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"text": f"text {i}", "tags": [[], ["a"], ["a", "b"]][i % 3]} for i in range(60)]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "unlabeled.jsonl").write_text("\n".join(json.dumps({"text": f"more {i}"}) for i in range(600)))
    told = " ".join(new(tmp_path / "mine", "--data", folder, "--empty", "none").split())
    assert "label 200 more texts and put them into" in told and not (tmp_path / "mine" / "test_to_label.jsonl").exists()


def test_a_small_test_file_is_told(tmp_path):
    for rows, told in ((50, "has 50 rows, too few for any verdict"), (150, "has 150 rows, which finds large")):
        folder = tmp_path / f"data{rows}"
        folder.mkdir()
        for part, count in (("train", 60), ("test", rows)):
            write_csv(folder / f"{part}.csv", ["text", "label"], [[f"{part} {i}", i % 2] for i in range(count)])
        assert told in " ".join(new(tmp_path / f"mine{rows}", "--data", folder).split())


def test_it_starts_from_what_was_measured_to_help(tmp_path):
    new(tmp_path / "mine")
    text = (tmp_path / "mine" / "recipe.yaml").read_text()
    assert load_recipe(tmp_path / "mine").recipe.stages == ("label", "train")
    assert "# method: softmatch\n" in text and text.count("# revision: COMMIT") == 1
    # What stands in comments is valid too, in place of the stages.
    other = text.replace("stages: [", "# stages: [").replace("# method: softmatch", "method: softmatch")
    (tmp_path / "mine" / "recipe.yaml").write_text(other.replace("# revision: COMMIT", "revision: abc"))
    recipe = load_recipe(tmp_path / "mine").recipe
    assert recipe.method.name == "softmatch" and recipe.model.revision == "abc"


def test_several_labels_in_one_string_become_lists(tmp_path):
    for name, marks in (("a", ["x;y", "x", "y;z", "z"]), ("b", ["['x', 'y']", "['x']", "['y', 'z']", "['z']"])):
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "test"):
            write_csv(folder / f"{split}.csv", ["text", "tags"], [[f"{split} {i}", marks[i % 4]] for i in range(40)])
        told = new(tmp_path / f"mine_{name}", "--data", folder, "--label", "tags")
        assert "Labels in column 'tags' are " in told
        recipe = load_recipe(tmp_path / f"mine_{name}").recipe
        assert recipe.data.source == "data" and recipe.split.labeled == 10 and recipe.split.test is None
        corpus = read_corpus(tmp_path / f"mine_{name}" / "data", label_column="tags")
        assert corpus.label_names == ("x", "y", "z") and corpus.test["label"][2] == [0.0, 1.0, 1.0]


def test_nothing_is_written_over(tmp_path):
    write_csv(tmp_path / "my.csv", ["text", "label"], [[f"text {i}", i % 2] for i in range(20)])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data").write_text("mine")
    done = textpl("recipes", "new", tmp_path / "mine", "--data", tmp_path / "my.csv")
    assert done.exit_code == 1 and "data is there already" in " ".join(done.output.split())
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["data"]


def test_data_that_lies_in_the_folder_is_named(tmp_path):
    data = tmp_path / "mine" / "texts"
    data.mkdir(parents=True)
    for part, rows in (("train", 40), ("test", 10)):
        lines = [json.dumps({"text": f"text {part} {i}", "label": i % 2}) for i in range(rows)]
        (data / f"{part}.jsonl").write_text("\n".join(lines))
    assert "copied" not in new(tmp_path / "mine", "--data", data, "--stages", "clean,train")
    recipe = load_recipe(tmp_path / "mine").recipe
    assert recipe.data.source == "texts" and recipe.stages == ("clean", "train")
    assert (recipe.split.labeled, recipe.split.test) == (39, None)


def test_data_on_the_hub_and_several_labels(tmp_path):
    assert "was not read" in new(tmp_path / "a", "--data", "owner/name", "--task", "multi", "--method", "softmatch")
    recipe = load_recipe(tmp_path / "a").recipe
    assert recipe.split.labeled and recipe.split.labels_per_class is None and recipe.method.name == "softmatch"
    new(tmp_path / "b", "--data", "bundled:tickets", "--stages", "label,train")
    recipe = load_recipe(tmp_path / "b").recipe
    assert recipe.data.label == "labels" and recipe.split.labeled == 50 and recipe.method.name == "distillation"


def test_what_is_not_clear_is_asked_for(tmp_path):
    write_csv(tmp_path / "my.csv", ["title", "body", "label"], [[f"a {i}", f"b {i}", i % 2] for i in range(20)])
    done = textpl("recipes", "new", tmp_path / "mine", "--data", tmp_path / "my.csv")
    assert done.exit_code == 1 and "--text NAME" in done.output and not (tmp_path / "mine").exists()
    new(tmp_path / "mine", "--data", tmp_path / "my.csv", "--text", "title")
    for arguments in (["--method", "softmach"], ["--stages", "train,label"], ["--data", "no/such/file.csv"]):
        done = textpl("recipes", "new", tmp_path / "other", *arguments)
        assert done.exit_code == 1 and "Error" in done.output and not (tmp_path / "other").exists(), arguments


def test_without_data_it_runs_at_once(tmp_path):
    new(tmp_path / "mine")
    assert load_recipe(tmp_path / "mine").recipe.data.source == "bundled:sentiment"


# ---- what it says of the data ----


def recipe_of(folder):
    return load_recipe(folder).recipe


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "the pool is labelled from embeddings first, then learnt (distillation)."),
        (["--method", "softmatch"], "softmatch on the pool."),
        (["--stages", "clean,train"], "wrong labels are found and changed first, then trained on."),
    ],
)
def test_the_description_is_true_of_the_data(tmp_path, arguments, wanted):
    rows = [[f"text {i}", "abcde"[i % 5]] for i in range(60)]
    write_csv(tmp_path / "my tickets: 2.csv", ["text", "label"], rows)
    new(tmp_path / "mine", "--data", tmp_path / "my tickets: 2.csv", *arguments)
    assert recipe_of(tmp_path / "mine").description == f"my tickets: 2: 5 labels, one per row; {wanted}"


def test_the_description_of_other_sources(tmp_path):
    new(tmp_path / "a", "--data", "bundled:tickets")
    assert recipe_of(tmp_path / "a").description.startswith("tickets: 10 labels, several per row; the pool is ")
    new(tmp_path / "b", "--data", "owner/name", "--method", "uda")
    assert recipe_of(tmp_path / "b").description == "owner/name: one per row; uda on the pool."
    odd = tmp_path / "odd\u202e\nname 1.5"
    odd.mkdir()
    write_csv(odd / "train.csv", ["text", "label"], [[f"text {i}", i % 2] for i in range(20)])
    new(tmp_path / "c", "--data", odd)
    assert recipe_of(tmp_path / "c").description.startswith("odd name 1.5: 2 labels")


def test_chinese_texts_are_not_given_an_english_model(tmp_path):
    told = new(tmp_path / "a", "--data", "bundled:sentiment_zh")
    assert "the texts are Chinese: the recipe starts from google-bert/bert-base-chinese" in told
    recipe = recipe_of(tmp_path / "a")
    assert recipe.model.name == "google-bert/bert-base-chinese" and recipe.label.encoder == CHINESE_ENCODER
    assert "# the texts are Chinese\n" in (tmp_path / "a" / "recipe.yaml").read_text()
    new(tmp_path / "b", "--data", "bundled:sentiment_zh", "--stages", "clean,train")
    text = (tmp_path / "b" / "recipe.yaml").read_text()
    assert recipe_of(tmp_path / "b").clean.encoder == CHINESE_ENCODER and "label: {encoder" not in text
    assert "Chinese" in new(tmp_path / "c", "--data", "bundled:sentiment_zh", "--method", "softmatch")
    assert recipe_of(tmp_path / "c").model.name == "google-bert/bert-base-chinese"
    assert "encoder" not in (tmp_path / "c" / "recipe.yaml").read_text()
    assert "Chinese" not in new(tmp_path / "d", "--data", "bundled:sentiment")


@pytest.mark.parametrize(
    ("texts", "chinese"),
    [
        (["这本书很好", "fine", "手机坏了"], True),
        (["这本书很好", "fine", "good"], False),
        (["この本はとても良い", "携帯が壊れた"], False),
        (["물건이 좋아요"], False),
        (["good"] * 600 + ["好"] * 599, False),
        ([], False),
    ],
)
def test_which_texts_are_chinese(texts, chinese):
    assert mostly_chinese(texts) is chinese


# ---- rows without a label ----


def half(tmp_path, label=lambda i: "" if i % 4 == 3 else "abc"[i % 4]):
    write_csv(tmp_path / "half.csv", ["text", "label", "id"], [[f"text {i}", label(i), i] for i in range(80)])
    return tmp_path / "half.csv"


def test_rows_without_a_label_become_the_pool(tmp_path):
    told = new(tmp_path / "mine", "--data", half(tmp_path))
    assert "60 rows have a label (train.jsonl), 20 have none (unlabeled.jsonl, the pool)" in " ".join(told.split())
    recipe = recipe_of(tmp_path / "mine")
    assert recipe.data.source == "data" and (recipe.split.labeled, recipe.split.test) == (60, None)
    files = {p.name: p.read_text().splitlines() for p in (tmp_path / "mine" / "data").iterdir()}
    assert {name: len(lines) for name, lines in files.items()} == {"train.jsonl": 60, "unlabeled.jsonl": 20}
    assert json.loads(files["unlabeled.jsonl"][0]) == {"text": "text 3", "id": 3}
    assert json.loads(files["train.jsonl"][3]) == {"text": "text 4", "label": "a", "id": 4}
    corpus = read_corpus(tmp_path / "mine" / "data")
    assert corpus.label_names == ("a", "b", "c") and len(corpus.unlabeled) == 20


def test_a_half_labelled_file_in_the_folder_of_the_recipe(tmp_path):
    (tmp_path / "mine").mkdir()
    file = half(tmp_path / "mine")
    before = file.read_bytes()
    new(tmp_path / "mine", "--data", file, "--stages", "clean,train")
    assert recipe_of(tmp_path / "mine").data.source == "data" and file.read_bytes() == before


def test_numbers_and_nulls_are_split_too(tmp_path):
    rows = [{"text": f"text {i}", "label": None if i % 3 == 2 else i % 3} for i in range(60)]
    (tmp_path / "half.jsonl").write_text("\n".join(map(json.dumps, rows)))
    new(tmp_path / "mine", "--data", tmp_path / "half.jsonl")
    corpus = read_corpus(tmp_path / "mine" / "data")
    assert corpus.label_names == ("0", "1") and (len(corpus.train), len(corpus.unlabeled)) == (40, 20)


def test_what_an_empty_cell_of_several_labels_means_is_asked(tmp_path):
    marks = ["x;y", "x", "y;z", ""]
    data = half(tmp_path, lambda i: marks[i % 4])
    asked = textpl("recipes", "new", tmp_path / "mine", "--data", data)
    assert asked.exit_code == 1 and "20 of 80 cells" in asked.output and "--empty unlabeled" in asked.output
    told = new(tmp_path / "mine", "--data", data, "--empty", "none")
    assert "have none" not in told and recipe_of(tmp_path / "mine").data.source == "data"
    assert len(read_corpus(tmp_path / "mine" / "data").train) == 80
    told = new(tmp_path / "other", "--data", data, "--empty", "unlabeled")
    assert "60 rows have a label (train.jsonl), 20 have none" in " ".join(told.split())
    corpus = read_corpus(tmp_path / "other" / "data")
    assert (len(corpus.train), len(corpus.unlabeled)) == (60, 20) and corpus.label_names == ("x", "y", "z")


def test_what_stands_for_no_label_is_taken_away(tmp_path):
    data = half(tmp_path, lambda i: [0, 1, 2, -1][i % 4])
    told = new(tmp_path / "mine", "--data", data)
    assert "20 rows have the label '-1': taken as rows without a label" in told
    corpus = read_corpus(tmp_path / "mine" / "data")
    assert corpus.label_names == ("0", "1", "2") and (len(corpus.train), len(corpus.unlabeled)) == (60, 20)
    moods = half(tmp_path, lambda i: i % 3 - 1)
    asked = textpl("recipes", "new", tmp_path / "moods", "--data", moods)
    assert asked.exit_code == 1 and "--unlabeled-value -1" in asked.output
    new(tmp_path / "moods", "--data", moods, "--unlabeled-value", "")
    assert recipe_of(tmp_path / "moods").data.unlabeled_values == ()
    kept = LabelFormat(unlabeled_values=())
    assert read_corpus(tmp_path / "moods" / "data", label_format=kept).label_names == ("-1", "0", "1")


# ---- the schema ----


@pytest.fixture(scope="module")
def schema():
    made = json_schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(json.loads(json.dumps(made)))


def problems(schema, text):
    return [error.message for error in schema.iter_errors(Document("recipe.yaml").read(text))]


def test_the_published_schema_is_in_step():
    file = ROOT / "docs" / "recipe.schema.json"
    assert file.read_text() == schema_text(), "write it anew: textpl recipes schema --out docs/recipe.schema.json"
    assert textpl("recipes", "schema").output == schema_text()


@pytest.mark.parametrize("path", [*bundled_recipes().values(), *sorted(ROOT.glob("recipes/*/recipe.yaml"))], ids=str)
def test_it_takes_our_own_recipes(schema, path):
    assert problems(schema, path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "model: x/y\nmethod: uda\ntrain: {labeled_loss: null}",
        "method: {name: softmatch, weight: {cosine: {value: 1, end: 0.4}}, prior: null}",
        "method: {view: {tfidf: {p: 0.5, protected: [a]}}}",
        "method: {weight: 2, view: null}",
        "method: {name: distillation, teacher: [a/b, c/d], temperature: 2}\nmodel: {name: x/y, layers: 3}",
        "stages: [label, train]\nlabel: {method: hdl, class_prior: [0.5, 0.5]}\nmethod: {ratio: 3}",
        "train: {labeled_loss: {name: co_teaching, noise_rate: [0.1, 0.2]}, bf16: auto, warmup_steps: 10}",
        "train: {labeled_loss: gce}\nmethod: none",
        "compare: {threshold: 0.5, metric: macro_f1}\nnoise: {kind: swap, rate: 0.1}",
        "textpl: '>=0.1,<1'\nexpected: {metric: accuracy, seeds: [0], baseline: {mean: 1}, method: {mean: 2}}",
    ],
)
def test_it_takes_what_textpl_takes(schema, text):
    assert problems(schema, BASE + text) == []


@pytest.mark.parametrize(
    "text",
    [
        BASE + "methods: uda",
        BASE + "extends: quickstart",
        BASE + "train: {optim: null}",
        BASE + "method: udaa",
        BASE + "method: {name: udaa}",
        BASE + "method: {name: uda, treshold: 1}",
        BASE + "method: {treshold: 1}",
        BASE + "method: {name: fixmatch, tsa: log}",
        BASE + "method: {threshold: 1.5}",
        BASE + "method: {weight: {cosin: {value: 1}}}",
        BASE + "method: {name: none, ratio: 1}",
        BASE + "train: {output_dir: /tmp}",
        BASE + "train: {max_steps: 2.5}",
        BASE + "train: {max_steps: '20'}",
        BASE + "train: {optim: adamw}",
        BASE + "train: {labeled_loss: {name: gce, k: 1}}",
        BASE + "model: {naem: x}",
        BASE + "label: {method: hld}",
        BASE + "stages: [tran]",
        BASE + "noise: {kind: swap}",
        BASE + "expected: {metric: accuracy}",
        BASE.replace("schema: 1", "schema: 2"),
        BASE.replace("source: owner/name", "text: body"),
        "schema: 1\ndata: {source: a/b}",
        "data: {source: a/b}\nsplit: {labeled: 1}",
    ],
)
def test_it_refuses_slips(schema, text):
    assert problems(schema, text)


def test_a_comment_for_editors_is_no_matter_to_the_reader():
    assert yaml.safe_load("# yaml-language-server: $schema=recipe.schema.json\nschema: 1") == {"schema": 1}


def test_a_file_without_rows_is_told(tmp_path):
    from textpl.recipes.new_recipe import new_recipe

    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"empty\.csv has no rows: name a file"):
        new_recipe(tmp_path / "mine", data=str(tmp_path / "empty.csv"))
    assert not (tmp_path / "mine" / "recipe.yaml").exists()
