"""Cleaned and found labels, pushed by the real `Dataset.push_to_hub` to a server on loopback, and loaded again."""

from __future__ import annotations

import json
import shutil

import datasets
import numpy as np
import pytest
from conftest import make_texts
from datasets import Dataset, load_dataset
from hub_helpers import TOKEN, WRONG, front_matter, on_main, refused, textpl

import textpl as library
from textpl.sharing.card_text import signer
from textpl.sharing.labelled_rows import read_cleaned
from textpl.sharing.push import push

pytest_plugins = ["hub_fixtures"]
CLEANING = {
    "source": "/home/ada/secret-project/reviews.csv",
    "text": "text",
    "labels": "label",
    "method": "auto",
    "settings": {"encoder": "lsa", "relabel": 0.9, "seed": None, "merge_variants": True},
    "counts": {"rows": 60, "labels": 2, "flagged": 5},
    "probabilities": "logistic regression on lsa, 5 folds",
    "encoder": "lsa",
    "expected_right_flagged": 1.6,
    "expected_right_changed": 0.0123,
    "versions": {"textpl": "0.1.0"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the real commands write: cl (single-label), clm (multi-label), labels.parquet, labels.csv."""
    place = tmp_path_factory.mktemp("made")
    texts, scores = make_texts(60)
    wrong = (scores > 0).astype(int)
    wrong[:3] = 1 - wrong[:3]
    Dataset.from_dict({"text": texts, "label": ["good" if v else "bad" for v in wrong]}).to_csv(place / "single.csv")
    marks = [("good", scores > 0), ("bad", scores < 0), ("long", np.array([len(text) > 30 for text in texts]))]
    names = [";".join(name for name, on in marks if on[i]) for i in range(60)]
    Dataset.from_dict({"text": texts, "labels": names}).to_csv(place / "multi.csv")
    Dataset.from_dict({"text": make_texts(20, seed=5)[0]}).to_csv(place / "pool.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", place / "cache")
        for command in (
            ["clean", place / "single.csv", "--out", place / "cl", "--encoder", "lsa", "--relabel", "0.6"],
            [
                "clean",
                place / "multi.csv",
                "--labels",
                "labels",
                "--empty",
                "none",
                "--out",
                place / "clm",
                "--encoder",
                "lsa",
            ],
            ["label", place / "single.csv", place / "pool.csv", "--encoder", "lsa", "--out", place / "labels.parquet"],
            ["label", place / "single.csv", place / "pool.csv", "--encoder", "lsa", "--out", place / "labels.csv"],
        ):
            done = textpl(*command)
            assert done.exit_code == 0, done.output
    return place


def card_of(server, name):
    return on_main(server, "datasets", name)["README.md"].decode()


def test_cleaned_rows_come_back(endpoint, server, made):
    pushed = push(made / "cl", "ada/cleaned", license="cc-by-4.0")
    assert pushed.kind == "dataset"
    rows = load_dataset("ada/cleaned", revision=pushed.revision, split="train")
    here = read_cleaned(made / "cl").dataset
    assert rows.column_names == here.column_names and rows.features == here.features
    assert rows.to_dict() == here.to_dict()
    assert library.undo(rows)["label"][:] == here["given_label"][:]


def test_the_card_tells_how_labels_were_cleaned(endpoint, server, made, tmp_path):
    pushed = push(made / "cl", "ada/cleaned")
    card = card_of(server, "ada/cleaned")
    about = front_matter(card)
    assert about["task_categories"] == ["text-classification"] and "textpl-cleaned" in about["tags"]
    assert about["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    rows = read_cleaned(made / "cl").dataset
    counts = {name: rows["label_source"][:].count(name) for name in ("relabelled", "masked")}
    for name, count in counts.items():
        assert count == 0 or f"{name} {count}" in card
    for column in rows.column_names:
        assert f"| {column.replace('_', chr(92) + '_')} | " in card
    assert "where the label comes from: given, downweighted, masked, relabelled, reviewed" in card
    assert f'load_dataset("ada/cleaned", revision="{pushed.revision}", split="train")' in card
    assert "no licence given" in card and "Do not test on these rows" in card
    assert signer(card) == "dataset" and str(made) not in card
    told = json.loads((made / "cl" / "cleaning.json").read_text())
    assert f"flagged labels that are right as given: {told['expected_right_flagged']:.4g}\n" in card
    assert f"flagged {told['counts']['flagged']}, " in card and "- Probabilities: logistic regression on lsa, " in card
    assert "    textpl clean single.csv --out cl --encoder lsa --relabel 0.6\n" in card


def test_what_was_recorded_of_the_cleaning_is_told(made, tmp_path):
    folder = tmp_path / "cl"
    folder.mkdir(parents=True)
    for name in ("train.csv", "info.json"):
        (folder / name).write_bytes((made / "cl" / name).read_bytes())
    (folder / "cleaning.json").write_text(json.dumps(CLEANING))
    done = push(folder, "ada/x", dry_run=True)
    assert "changed by mistake: 0.0123\n" in done.card and "- Counts: rows 60, labels 2, flagged 5\n" in done.card
    assert "- Settings: encoder lsa, relabel 0.9, merge\\_variants True\n" in done.card
    assert "- Data: reviews.csv\n" in done.card and "right as given: 1.6\n" in done.card
    assert "secret-project" not in done.card and "makes them again" not in done.card
    assert "cleaning.json" in done.files
    (folder / "cleaning.json").write_text(json.dumps(CLEANING | {"command": "textpl clean /home/ada/a.csv --out x"}))
    assert "    textpl clean a.csv --out x\n" in push(folder, "ada/x", dry_run=True).card


def test_cleaned_files_of_strangers_do_nothing_in_a_card(endpoint, server, made, tmp_path):
    folder = tmp_path / "cl"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_bytes((made / "cl" / "train.csv").read_bytes())
    hostile = {
        "source": "a\n\n<script>x</script>", "settings": {"k\n\n# H": "v\n\n<b>\n# H"}, "encoder": "<i>x</i>",
        "counts": "many", "expected_right_changed": {"<b>": [1, None]}, "command": "textpl\n\n# H",
    }  # fmt: skip
    (folder / "cleaning.json").write_text(json.dumps(CLEANING | hostile))
    card = push(folder, "ada/x", dry_run=True).card
    assert "<script>" not in card
    assert "\n# H" not in card and "\n<b>" not in card and "<i>" not in card
    (folder / "train.csv").rename(folder / 'x"); exit("1.csv')
    with refused("no split of that name"):
        push(folder, "ada/x")
    assert not server.requests


def test_several_labels_per_row(endpoint, server, made):
    pushed = push(made / "clm", "ada/multi")
    rows = load_dataset("ada/multi", revision=pushed.revision, split="train")
    card = card_of(server, "ada/multi")
    cells = np.array(rows["label_source"][:])
    assert f"- Labels of rows (cells), by where the label comes from: given {(cells == 'given').sum():,}" in card
    assert "in training: 0 takes it out; one per label" in card and "given\\_labels" in card


def test_found_labels_come_back_with_their_story(endpoint, server, made):
    pushed = push(made / "labels.parquet", "ada/found")
    rows = load_dataset("ada/found", revision=pushed.revision, split="train")
    assert {"label", "probabilities", "confidence", "label_source", "evidence"} <= set(rows.column_names)
    report = json.loads((made / "labels.parquet.report.json").read_text())
    card = card_of(server, "ada/found")
    assert f"- Rows that got a label: {report['selected']}\n" in card
    assert f"with labels hidden: {report['expected_precision']:.4g}\n" in card
    curve, cut = report["precision_coverage"], report["threshold"]
    last = max(i for i, value in enumerate(curve["cut"]) if value >= cut)
    low, high = (100 * curve[end][last] for end in ("low", "high"))
    assert f"- Of labelled rows as confident, right in % (95 %): {low:.0f} to {high:.0f}\n" in card
    assert "textpl-pseudo-labels" in front_matter(card)["tags"] and "No person has seen these labels" in card
    assert report["method"].replace("_", "\\_") in card and "- Embeddings: lsa\n" in card
    assert "- Labelled rows: single.csv\n- Texts: pool.csv\n" in card and str(made) not in card
    assert "    textpl label single.csv pool.csv --" in card
    assert "labels.report.json" in on_main(server, "datasets", "ada/found")


def test_csv_is_refused_with_the_remedy(made):
    with refused("--out labels.parquet"):
        push(made / "labels.csv", "ada/found")
    with refused(r"pool.csv.report.json would lie"):
        push(made / "pool.csv", "ada/found")


def test_an_edited_card_stays_and_pushing_again_replaces_the_rows(endpoint, server, made):
    push(made / "cl", "ada/cleaned")
    repo = server.repos["datasets", "ada/cleaned"]
    files = dict(on_main(server, "datasets", "ada/cleaned"))
    edited = files["README.md"].replace(b"## Limits", b"## Beware\n\n## Limits")
    repo.commit(files | {"README.md": edited})
    again = push(made / "cl", "ada/cleaned")
    assert "## Beware" in card_of(server, "ada/cleaned") and again.card is None
    assert any("edited by hand" in note for note in again.notes)
    push(made / "cl", "ada/cleaned", overwrite_card=True)
    assert "## Beware" not in card_of(server, "ada/cleaned")
    shards = [name for name in on_main(server, "datasets", "ada/cleaned") if name.startswith("data/")]
    assert len(shards) == 1
    assert len(load_dataset("ada/cleaned", split="train")) == 60


def test_splits_that_are_pushed_one_after_the_other_all_load(endpoint, server, made, tmp_path):
    """What `datasets` wrote of earlier rows into the card would keep all from loading."""
    dev = tmp_path / "dev"
    shutil.copytree(made / "cl", dev)
    (dev / "train.csv").rename(dev / "dev.csv")
    push(made / "cl", "ada/cleaned")
    repo = server.repos["datasets", "ada/cleaned"]
    files = dict(on_main(server, "datasets", "ada/cleaned"))
    stale = b"---\ndataset_info:\n  features:\n  - {name: other, dtype: string}\n  splits:\n  - {name: train}\n"
    old = b"  data_files:\n  - {split: old, path: data/old-*.parquet}\n"
    gone = files["README.md"].replace(b"  data_files:\n", old)
    assert gone != files["README.md"]
    repo.commit(files | {"README.md": gone.replace(b"---\n", stale, 1)})
    push(dev, "ada/cleaned")
    push(dev, "ada/cleaned")
    about = front_matter(card_of(server, "ada/cleaned"))
    assert "dataset_info" not in about and [config["config_name"] for config in about["configs"]] == ["default"]
    assert [split["split"] for split in about["configs"][0]["data_files"]] == ["dev", "train"]
    local = tmp_path / "local"
    for name, content in on_main(server, "datasets", "ada/cleaned").items():
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_bytes(content)
    rows = load_dataset(str(local), cache_dir=tmp_path / "cache")
    assert {name: len(split) for name, split in rows.items()} == {"dev": 60, "train": 60}


def test_rows_with_other_columns_take_the_place_of_all_splits(endpoint, server, made, tmp_path):
    dev = tmp_path / "dev"
    shutil.copytree(made / "cl", dev)
    (dev / "train.csv").rename(dev / "dev.csv")
    push(dev, "ada/rows")
    push(made / "labels.parquet", "ada/rows")
    about = front_matter(card_of(server, "ada/rows"))
    assert "textpl-pseudo-labels" in about["tags"] and "textpl-cleaned" not in about["tags"]
    assert list(load_dataset("ada/rows", cache_dir=tmp_path / "cache")) == ["train"]


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("textpl clean clients/acme/train.csv --out clients/acme", "textpl clean train.csv --out acme"),
        ("textpl clean 'clients/acme corp/a b.csv' --out=runs/x/cl", "textpl clean 'a b.csv' --out=cl"),
        ("textpl clean ada/reviews --encoder ada/enc", "textpl clean ada/reviews --encoder ada/enc"),
        ("textpl clean ../acme --encoder ./models/enc", "textpl clean acme --encoder enc"),
        ("textpl clean a.csv --delimiter ', ' --relabel 0.6", "textpl clean a.csv --delimiter ', ' --relabel 0.6"),
        ("textpl clean 'clients/acme/a.csv", "textpl clean a.csv"),
    ],
)
def test_of_paths_in_the_command_the_last_part_is_told(made, tmp_path, typed, told):
    folder = tmp_path / "cl"
    shutil.copytree(made / "cl", folder)
    (folder / "cleaning.json").write_text(json.dumps(CLEANING | {"command": typed}))
    assert f"    {told}\n" in push(folder, "ada/x", dry_run=True).card


def test_a_push_that_broke_off_can_be_repeated(endpoint, server, made):
    server.full = True
    with refused("nothing was shared"):
        push(made / "cl", "ada/cleaned")
    server.full = False
    assert push(made / "cl", "ada/cleaned").card is not None


def test_another_dataset_is_not_overwritten(endpoint, server, made):
    server.add("ada/mine", {"README.md": "# Mine", "data/train-00000-of-00001.parquet": "x"}, kind="datasets")
    with refused("holds something else"):
        push(made / "cl", "ada/mine")
    push(made / "cl", "ada/cleaned")
    with refused("holds a dataset"):
        # The same name as a recipe is another repository; the same kind with another card is not.
        server.repos["models", "ada/cleaned"] = server.repos["datasets", "ada/cleaned"]
        (made / "r").mkdir(exist_ok=True)
        (made / "r" / "recipe.yaml").write_text(
            'schema: 1\ndata: {source: "bundled:sentiment"}\nsplit: {labeled: 8}\nmodel: ada/tiny\n'
        )
        from textpl.sharing.push_recipe import push_recipe

        push_recipe(made / "r", "ada/cleaned")


def test_private_rows_and_secrets(endpoint, server, made, tmp_path, monkeypatch):
    done = textpl("push", made / "cl", "ada/cleaned", "--private")
    assert done.exit_code == 0 and "the 60 texts" not in done.output, done.output
    assert server.repos["datasets", "ada/cleaned"].private
    everything = b"".join(on_main(server, "datasets", "ada/cleaned").values())
    assert TOKEN not in done.output and TOKEN.encode() not in everything
    folder = tmp_path / "cl"
    folder.mkdir(parents=True)
    rows = read_cleaned(made / "cl").dataset
    leaky = rows.map(lambda row, i: {"text": f"{row['text']} {WRONG if i == 7 else ''}"}, with_indices=True)
    leaky.to_parquet(folder / "train.parquet")
    (folder / "cleaning.json").write_bytes((made / "cl" / "cleaning.json").read_bytes())
    with refused("column 'text', row 7: holds what looks like a secret") as caught:
        push(folder, "ada/leaky")
    assert WRONG not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", WRONG)
    done = textpl("push", made / "cl", "ada/cleaned")
    assert done.exit_code == 1 and "refuses the token" in done.output and WRONG not in done.output


def test_a_dry_run_asks_nobody(endpoint, server, made):
    done = textpl("push", made / "clm", "ada/multi", "--dry-run")
    assert done.exit_code == 0 and "Nothing was sent" in done.output and "# multi" in done.output
    assert "the 60 texts themselves go up" in done.output and not server.requests
