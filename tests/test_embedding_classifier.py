"""A classifier kept from labels found in a pool: what it says of new texts, saved and read again, refusals."""

import json

import numpy as np
import pytest
from datasets import Dataset
from sklearn.metrics.pairwise import cosine_similarity
from typer.testing import CliRunner

import textpl
from textpl.classify_files import classify_files
from textpl.cli import app
from textpl.embedding_classifier import votes
from textpl.embeddings.centering import centered_rows

WORDS = {"sport": "goal match team coach player score", "money": "bank stock market price share trade"}


class WordCounts:
    """Counts of the twelve words: stands for an encoder whose vector of a text does not depend on other texts."""

    name, fingerprint = "word counts", "1"

    def encode(self, texts, *, progress=True):
        words = " ".join(WORDS.values()).split()
        return np.array([[text.split().count(word) for word in words] for text in texts], dtype=np.float32)


def texts_of(topic, count, rng):
    other = WORDS["money" if topic == "sport" else "sport"].split()
    return [" ".join([*rng.choice(WORDS[topic].split(), 4), rng.choice(other)]) for _ in range(count)]


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    known = {topic: texts_of(topic, 4, rng) for topic in WORDS}
    labeled = Dataset.from_dict(
        {"text": [t for ts in known.values() for t in ts], "label": [t for t in WORDS for _ in range(4)]}
    )
    pool = Dataset.from_dict({"text": [t for topic in WORDS for t in texts_of(topic, 60, rng)] + [""]})
    return textpl.label(labeled, pool, encoder=WordCounts(), method="linear_smoothed", progress=False)


def test_new_texts_get_the_votes_of_the_nearest_rows(found):
    classifier = textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), progress=False)
    rng = np.random.default_rng(1)
    new = texts_of("sport", 10, rng) + texts_of("money", 10, rng)
    p = classifier.predict_proba(new)
    units = WordCounts().encode(new)
    asked = centered_rows((units / np.linalg.norm(units, axis=1, keepdims=True)).astype(np.float32), classifier.mean)
    cosines = np.maximum(cosine_similarity(asked, classifier.vectors.astype(np.float32)), 0)
    for row, wanted in zip(cosines, p, strict=True):
        near = np.argsort(-row, kind="stable")[:15]
        votes = (row[near, None] ** 3 * classifier.soft_labels[near]).sum(0)
        if row[near[-1]] - np.sort(row)[-16] > 1e-3:  # no tie at the edge
            np.testing.assert_allclose(wanted, votes / votes.sum(), atol=2e-3)
    names = [classifier.label_names[i] for i in classifier.predict(new)]
    assert names == ["sport"] * 10 + ["money"] * 10
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)


def test_a_text_that_says_nothing_gets_no_label(found):
    classifier = textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), progress=False)
    assert classifier.predict(["", "unknown words only"]).tolist() == [-1, -1]
    assert classifier.predict([]).shape == (0,)


def test_saved_and_read_again_it_says_the_same(found, tmp_path):
    classifier = textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), progress=False)
    classifier.save(tmp_path / "kept")
    again = textpl.EmbeddingClassifier.load(tmp_path / "kept", encoder=WordCounts())
    new = texts_of("sport", 5, np.random.default_rng(2))
    np.testing.assert_array_equal(again.predict_proba(new), classifier.predict_proba(new))
    assert again.label_names == classifier.label_names and again.about == classifier.about
    text = (tmp_path / "kept" / "classifier.json").read_text(encoding="utf-8")
    assert "goal" not in text  # no texts are stored


def test_several_labels_per_text(tmp_path):
    rng = np.random.default_rng(3)
    both = [f"{a} {b}" for a, b in zip(texts_of("sport", 30, rng), texts_of("money", 30, rng), strict=True)]
    texts = texts_of("sport", 30, rng) + texts_of("money", 30, rng) + both
    labels = [["sport"]] * 30 + [["money"]] * 30 + [["sport", "money"]] * 30
    order = rng.permutation(90)
    data = Dataset.from_dict({"text": [texts[i] for i in order], "label": [labels[i] for i in order]})
    found = textpl.label(
        data.select(range(40)), data.select(range(40, 90)).remove_columns("label"), encoder=WordCounts(), progress=False
    )
    classifier = textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), progress=False)
    classifier.save(tmp_path)
    again = textpl.EmbeddingClassifier.load(tmp_path, encoder=WordCounts())
    decided = again.predict([*found.texts(), ""])
    assert (decided[:-1] == found.labels).mean() > 0.85 and not decided[-1].any()
    np.testing.assert_allclose(decided[:-1].mean(0), found.labels.mean(0), atol=0.12)


def test_cuts_come_from_votes_of_the_other_rows():
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    soft = rng.random((40, 3)).astype(np.float32)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    near = np.argsort(-cosines, axis=1)[:, :15]
    weights = np.maximum(np.take_along_axis(cosines, near, 1), 0) ** 3
    wanted = np.einsum("qk,qkl->ql", weights, soft[near]) / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(votes(vectors, vectors, soft, exclude=True, progress=False), wanted, atol=1e-5)


def test_a_sample_of_a_large_pool(found):
    classifier = textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), max_rows=50, progress=False)
    assert len(classifier.vectors) == 8 + 50 and classifier.about["rows_left_out"] == 70


def test_refusals(found, tmp_path):
    with pytest.raises(ValueError, match="a text that comes alone"):
        textpl.EmbeddingClassifier.fit(found, encoder="lsa")
    with pytest.raises(ValueError, match="one sentence encoder"):
        textpl.EmbeddingClassifier.fit(found, encoder=[WordCounts(), "lsa"])

    class Other(WordCounts):
        name = "another"

    with pytest.raises(ValueError, match="not with 'another'"):
        textpl.EmbeddingClassifier.fit(found, encoder=Other())
    with pytest.raises(FileNotFoundError, match=r"EmbeddingClassifier\.save"):
        textpl.EmbeddingClassifier.load(tmp_path)
    textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), progress=False).save(tmp_path)

    class Changed(WordCounts):
        fingerprint = "2"

    with pytest.raises(ValueError, match="other weights or settings"):
        textpl.EmbeddingClassifier.load(tmp_path, encoder=Changed())
    told = json.loads((tmp_path / "classifier.json").read_text(encoding="utf-8"))
    (tmp_path / "classifier.json").write_text(json.dumps(told | {"arrays_sha256": "0"}), encoding="utf-8")
    with pytest.raises(ValueError, match="does not belong"):
        textpl.EmbeddingClassifier.load(tmp_path, encoder=WordCounts())
    (tmp_path / "classifier.json").write_text(json.dumps(told | {"format": 9}), encoding="utf-8")
    with pytest.raises(ValueError, match="another format"):
        textpl.EmbeddingClassifier.load(tmp_path, encoder=WordCounts())


def test_files_of_new_texts(found, tmp_path):
    textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), progress=False).save(tmp_path / "kept")
    texts = [*texts_of("money", 2, np.random.default_rng(4)), "nothing known"]
    rows = "\n".join(["note;text", *(f"n{i};{text}" for i, text in enumerate(texts))])
    (tmp_path / "new.csv").write_text(rows, encoding="utf-8")
    settings = {"encoder": WordCounts(), "progress": False}
    classify_files(tmp_path / "kept", str(tmp_path / "new.csv"), tmp_path / "out.csv", **settings)
    lines = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    names = sorted(found.label_names)
    assert lines[0].split(";")[:3] == ["note", "text", "predicted"]
    assert sorted(lines[0].split(";")[3:]) == [f"probabilities_{name}" for name in names]
    assert [line.split(";")[2] for line in lines[1:]] == ["money", "money", ""]
    with pytest.raises(FileExistsError, match="not overwritten"):
        classify_files(tmp_path / "kept", str(tmp_path / "new.csv"), tmp_path / "out.csv", **settings)
    with pytest.raises(ValueError, match="--text"):
        classify_files(tmp_path / "kept", str(tmp_path / "new.csv"), tmp_path / "b.csv", text_column="body", **settings)
    with pytest.raises(ValueError, match="'predicted'"):
        classify_files(tmp_path / "kept", str(tmp_path / "out.csv"), tmp_path / "b.csv", **settings)


def test_the_commands_keep_a_classifier_and_use_it(tmp_path):
    rows = {"goal": "sport", "match": "sport", "stock": "money", "bank": "money"}
    given = "\n".join(["text,label", *(f"the {word} of the day,{topic}" for word, topic in rows.items())])
    (tmp_path / "labeled.csv").write_text(given, encoding="utf-8")
    words = [word for topic in WORDS.values() for word in topic.split()]
    (tmp_path / "pool.csv").write_text("\n".join(["text", *(f"news of the {w}" for w in words)]), encoding="utf-8")
    (tmp_path / "new.csv").write_text("text\nThe striker scored twice.\nShares fell on Monday.\n", encoding="utf-8")
    command = ["label", str(tmp_path / "labeled.csv"), str(tmp_path / "pool.csv"), "--out", str(tmp_path / "a.csv")]
    command += ["--save-classifier", str(tmp_path / "kept")]
    refused = CliRunner().invoke(app, [*command, "--encoder", "lsa"])
    assert refused.exit_code and "comes alone" in refused.output and not (tmp_path / "a.csv").exists()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and "classifier:" in done.output, done.output
    command = ["classify", str(tmp_path / "kept"), str(tmp_path / "new.csv"), "--out", str(tmp_path / "b.csv")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0 and "2 rows labeled" in done.output, done.output
    lines = (tmp_path / "b.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[1] for line in lines] == ["predicted", "sport", "money"]


class NoFingerprint(WordCounts):
    name, fingerprint, width = "not cached", None, 12

    def encode(self, texts, *, progress=True):
        return super().encode(texts)[:, : self.width]


def test_an_encoder_without_a_fingerprint_is_told_by_its_name_and_the_length_of_its_vectors(found, tmp_path):
    coder = NoFingerprint()
    kept = textpl.label(found.origin.labeled, Dataset.from_dict({"text": found.texts()}), encoder=coder, progress=False)
    classifier = textpl.EmbeddingClassifier.fit(kept, encoder=coder, progress=False)
    classifier.save(tmp_path)
    assert textpl.EmbeddingClassifier.load(tmp_path, encoder=coder).predict(["goal match"]).tolist() == [1]
    other = NoFingerprint()
    other.name = "another"
    with pytest.raises(ValueError, match="'another' has other weights"):
        textpl.EmbeddingClassifier.load(tmp_path, encoder=other)
    coder.width = 5
    with pytest.raises(ValueError, match="vectors of length 5, those of the classifier have 12"):
        classifier.predict(["goal match"])


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda f: (f / "classifier.npz").unlink(), FileNotFoundError, "classifier.npz is missing"),
        (lambda f: (f / "classifier.json").write_text("[1]"), ValueError, "another format"),
        (lambda f: (f / "classifier.json").write_text('{"format": 1}'), ValueError, "lacks arrays_sha256, encoder"),
    ],
)
def test_what_is_missing_in_a_saved_folder_is_named(found, tmp_path, change, error, told):
    textpl.EmbeddingClassifier.fit(found, encoder=WordCounts(), progress=False).save(tmp_path)
    change(tmp_path)
    with pytest.raises(error, match=told):
        textpl.EmbeddingClassifier.load(tmp_path, encoder=WordCounts())
