"""Comparing encoders: scores against a plain loop, errors, what is said, what is refused; prompts by model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasets import ClassLabel, Dataset
from sentence_transformers import SentenceTransformer
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner

import textpl
from textpl.cli import app
from textpl.embeddings import encoders
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.encoder_candidates import CANDIDATES, loadable, reading, scripts
from textpl.embeddings.encoder_checks import check_language
from textpl.embeddings.encoder_prompts import RULES, prompt_for
from textpl.embeddings.encoders import DEFAULT_ENCODER, SentenceEncoder, get_encoder
from textpl.embeddings.joined import JoinedEncoder
from textpl.encoder_scores import chance_agreement, judged
from textpl.evaluation import decide, prior_thresholds, score
from textpl.models import resolve_model


class Points:
    """An encoder that puts the number at the end of a text somewhere."""

    def __init__(self, name, noise, dimension=8):
        self.name, self.noise, self.dimension = name, noise, dimension

    def encode(self, texts, *, progress=True):
        numbers = [int(text.split()[-1]) for text in texts]
        rng = np.random.default_rng(0).normal(size=(1000, self.dimension))
        vectors = self.noise * rng[numbers]
        vectors[np.arange(len(texts)), np.array(numbers) % 2] += 1
        return vectors.astype(np.float32)


class Cached(Points):
    fingerprint = "the same"


class English(Points):
    def encode(self, texts, *, progress=True):
        raise AssertionError("texts that it does not read")


def rows(count, start=0, multi=False):
    numbers = range(start, start + count)
    if multi:
        labels = [[name for name, on in (("even", i % 2 == 0), ("odd", i % 2), ("none", False)) if on] for i in numbers]
    else:
        labels = [("even", "odd")[i % 2] for i in numbers]
    return Dataset.from_dict({"text": [f"text {i}" for i in numbers], "label": labels})


def compare(*args, **settings):
    return textpl.compare_encoders(*args, progress=False, **settings)


# scores


def test_a_better_encoder_is_told_apart_and_the_worse_one_is_what_limits():
    found = compare(rows(60), rows(40, 60), [Points("poor", 3.0), Points("good", 0.1)])
    good, poor = found.scores
    assert found.best == good.encoder == "good" and good.score > 0.95 > poor.score and good.behind is None
    wrong = (poor.decided != found.truth.argmax(1)).mean()
    assert poor.score == pytest.approx(1 - wrong) and poor.rows == 60 and poor.dimension == 8
    assert poor.behind == pytest.approx(100 * (good.score - poor.score)) and poor.interval[0] > 0
    told = str(found)
    assert "good is clearly the best here" in told and "With another one, the encoder is what limits" in told
    assert "not measured by us" in told and "https://github.com/embeddings-benchmark/results" in told
    assert json.loads(json.dumps(found.to_dict()))["best"] == "good"


def test_labels_that_do_not_follow_the_vectors():
    found = compare(rows(200), None, [Points("noise", 30.0)])
    assert "hardly follow these vectors" in str(found) and "the encoder is what limits" in str(found).replace(
        "The", "the"
    )
    assert "hardly follow" not in str(compare(rows(200), None, [Points("good", 0.1)]))


def test_few_rows_tell_nothing():
    told = str(compare(rows(12), None, [Points("poor", 3.0), Points("good", 0.1)]))
    assert "cannot be told from 12 labeled rows: 20 or more are needed" in told and "clearly" not in told
    assert "Whether the encoder is what limits cannot be told" in told


def test_equals_are_not_told_apart():
    told = str(compare(rows(60), None, [Points("one", 0.5), Points("other", 0.5, dimension=9)]))
    assert "60 labeled rows cannot tell it from" in told and "clearly" not in told


def test_the_score_without_a_pool_is_that_of_logistic_regression_in_folds():
    """Against a plain loop over other folds: the same up to what folds do."""
    encoder, data = Points("plain", 0.9), rows(200)
    found = compare(data, None, [encoder]).scores[0]
    vectors = encoder.encode(data["text"][:])
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    truth, right = np.arange(200) % 2, []
    for fold in range(5):
        test = np.arange(200) // 2 % 5 == fold
        model = LogisticRegression(C=10, max_iter=1000).fit(vectors[~test], truth[~test])
        right.extend(model.predict(vectors[test]) == truth[test])
    assert found.score == found.linear == pytest.approx(np.mean(right), abs=0.03)
    assert found.error == pytest.approx(np.sqrt(found.score * (1 - found.score) / 200), rel=0.05)


def test_several_labels_are_cut_at_their_rates():
    found = compare(rows(80, multi=True), rows(20, 80), [Points("good", 0.1)], label_names=["even", "odd", "none"])
    assert found.multi and found.method == "linear" and "macro F1" in str(found)
    assert '"good + lsa", joined' in str(found)
    assert found.scores[0].score == pytest.approx(2 / 3, abs=0.02), "a label that nobody has counts as 0"
    rng = np.random.default_rng(0)
    p, truth = rng.random((50, 3)).astype(np.float32), (rng.random((50, 3)) < 0.3).astype(np.float32)
    one = judged(p, truth, truth.mean(0), True, None, 0)
    cuts = prior_thresholds(p, truth.mean(0))
    assert one.score == score(decide(p, "multi_label_classification", cuts), truth.astype(int), "macro_f1")


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("groups", [None, np.arange(12) // 2])
def test_all_right_is_no_proof_of_it(multi, groups):
    truth = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    found = judged(truth, truth, truth.mean(0), multi, groups, 0)
    assert found.score == 1 and found.error > 0.05


def test_groups_are_hidden_whole_and_errors_are_of_groups():
    data = rows(60).add_column("by", [i // 6 for i in range(60)])
    alone, grouped = compare(data, None, [Points("a", 0.8)]), compare(data, None, [Points("a", 0.8)], groups="by")
    assert grouped.scores[0].rows == 60 and grouped.scores[0].error != alone.scores[0].error
    few = compare(data, None, [Points("poor", 3.0), Points("good", 0.1)], groups="by")
    assert "cannot be told from 10 groups" in str(few) and few.scores[1].behind > 0


@pytest.mark.parametrize("multi", [False, True])
def test_agreement_by_chance_is_that_of_all_pairs(multi):
    truth = (np.random.default_rng(0).random((30, 4)) < 0.4).astype(np.float32)
    if not multi:
        truth = np.eye(4, dtype=np.float32)[np.random.default_rng(0).integers(0, 4, 30)]
    pairs = []
    for i in range(30):
        for j in range(30):
            union = np.maximum(truth[i], truth[j]).sum()
            pairs += [] if i == j else [1.0 if union == 0 else np.minimum(truth[i], truth[j]).sum() / union]
    assert chance_agreement(truth, multi) == pytest.approx(np.mean(pairs), abs=1e-6)


def test_seconds_are_of_what_was_encoded_now(tmp_path):
    first, again = (compare(rows(30), None, [Cached("c", 0.1)], cache_dir=tmp_path).scores[0] for _ in range(2))
    assert first.encoded == 30 and first.seconds_per_thousand > 0
    assert again.encoded == 0 and again.seconds_per_thousand is None and again.score == first.score


def test_a_row_without_a_vector_counts_as_wrong():
    class Empty(Points):
        def encode(self, texts, *, progress=True):
            vectors = super().encode(texts)
            vectors[:10] = 0
            return vectors

    found = compare(rows(40), None, [Empty("empty", 0.1), Points("whole", 0.1)])
    assert [s.rows for s in found.scores] == [40, 40] and found.best == "whole"
    assert found.scores[1].score <= 0.75 and (found.scores[1].decided[:10] == 2).all()


def test_joined_encoders_are_compared_too_without_seconds():
    found = compare(rows(30), None, [["lsa", Points("good", 0.1)]]).scores[0]
    assert found.encoder == "lsa + good" and found.dimension == 264 and found.seconds_per_thousand is None


# what is refused


def test_an_encoder_that_cannot_be_loaded_is_left_out_and_all_is_an_error(caplog):
    found = compare(rows(30), None, ["/no/such/folder", Points("good", 0.1)])
    assert found.best == "good" and "/no/such/folder" in found.failed and "\n" not in found.failed["/no/such/folder"]
    assert "Left out: /no/such/folder" in str(found) and "What needs no download here: lsa" in str(found)
    with pytest.raises(OSError, match=r"None of /no/such/folder can be used; lsa.* need no download"):
        compare(rows(30), None, ["/no/such/folder"])


def test_the_usual_encoder_does_not_read_chinese():
    data = Dataset.from_dict({"text": [f"很好的书 {i}" for i in range(30)], "label": [i % 2 for i in range(30)]})
    found = compare(data, None, [English(DEFAULT_ENCODER, 1.0), "lsa"])
    assert found.best == "lsa" and "made for English" in next(iter(found.failed.values()))
    assert "intfloat/multilingual-e5-small" in str(found) and "thenlper/gte-small-zh" in str(found)


@pytest.mark.parametrize(
    ("labeled", "settings", "told"),
    [
        (rows(0), {}, "labeled must be a datasets.Dataset with rows"),
        (rows(4), {"text_column": "body"}, "labeled has no column 'body'"),
        (rows(4), {"encoders": []}, "give a list of one or more"),
        (rows(4), {"encoders": "lsa"}, "give a list of one or more"),
        (rows(2), {}, "No label occurs twice among the 2 labeled rows"),
    ],
)
def test_bad_input(labeled, settings, told):
    with pytest.raises(ValueError, match=told):
        compare(labeled, **({"encoders": ["lsa"]} | settings))


# candidates and prompts


def test_scripts_and_who_reads_them():
    assert scripts(["Ärger und Öl"])["latin"] == 1 and scripts(["привет"])["other"] == 1
    assert scripts(["123 !"]) == {"latin": 0, "chinese": 0, "other": 0}
    assert "thenlper/gte-small-zh" in {found.name for found in reading(["很好"])}
    assert {found.name for found in reading(["привет мир"])} == {"intfloat/multilingual-e5-small"}
    assert DEFAULT_ENCODER in {found.name for found in reading(["good"])} and "lsa" in loadable()
    assert {found.name for found in CANDIDATES if found.measured} == {DEFAULT_ENCODER, "intfloat/multilingual-e5-small"}


@pytest.mark.parametrize("texts", [["good film"] * 9 + ["很好"], ["100 %", "!"], []])
def test_english_with_a_little_else_is_read(texts):
    check_language(DEFAULT_ENCODER, texts)
    check_language("another/encoder", ["很好"])


@pytest.mark.parametrize("texts", [["很好的电影"], ["очень хороший фильм"], ["good", "很好的电影", "不好"]])
def test_other_scripts_are_refused(texts):
    with pytest.raises(ValueError, match=r"encoder='intfloat/multilingual-e5-small' \((a download|on this machine)"):
        check_language(DEFAULT_ENCODER, texts)


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("intfloat/e5-small-v2", "query: "),
        ("intfloat/multilingual-e5-base", "query: "),
        ("/some/where/multilingual-e5-small", "query: "),
        ("/hub/models--intfloat--e5-small-v2/snapshots/0a1b2c", "query: "),
        ("intfloat/multilingual-e5-large-instruct", RULES[0].prompt),
        ("Qwen/Qwen3-Embedding-0.6B", "Instruct: Identify the category of the given text\nQuery:"),
        ("BAAI/bge-small-en-v1.5", None),
        ("MongoDB/mdbr-leaf-mt", None),
        (DEFAULT_ENCODER, None),
        ("/models/my-e5-small-tuned", None),
    ],
)
def test_prompts_by_model(name, prompt):
    assert prompt_for(name, {"query": "", "document": ""}, None) == prompt
    assert prompt_for(name, {"query": "x: "}, "query") is None, "the configuration's own comes first"


def test_a_models_own_prompt_for_classification():
    own = {"Classification": "task: classification | query: ", "query": "task: search | query: "}
    assert prompt_for("google/embeddinggemma-300m", own, None) == own["Classification"]


def test_a_prompt_is_read_and_part_of_the_fingerprint_only_where_it_is_applied(monkeypatch):
    monkeypatch.setattr(encoders, "bf16_pays", lambda device: False)
    model = SentenceTransformer(resolve_model(DEFAULT_ENCODER), device="cpu")
    plain, asked = SentenceEncoder(model), SentenceEncoder(model, prompt="query: ")
    np.testing.assert_allclose(asked.encode(["good"], progress=False), plain.encode(["query: good"]), atol=1e-6)
    assert plain.prompt is None and plain.fingerprint == get_encoder(DEFAULT_ENCODER).fingerprint != asked.fingerprint
    monkeypatch.setattr(encoders, "_public_name", lambda source: "intfloat/e5-small")
    assert SentenceEncoder(model).prompt == "query: " and SentenceEncoder(model).fingerprint == asked.fingerprint
    assert SentenceEncoder(model, prompt="").prompt == "", "a user's own comes first"
    model.prompts, model.default_prompt_name = {"mine": "mine: "}, "mine"
    assert SentenceEncoder(model).prompt is None


# joined


def test_joined_vectors_give_the_mean_of_the_centered_cosines(tmp_path):
    texts, parts = rows(40)["text"][:], [Points("a", 0.5), Cached("b", 0.5, dimension=5)]
    joined = JoinedEncoder(parts, cache_dir=tmp_path)
    vectors = joined.encode(texts)
    assert joined.name == "a + b" and vectors.shape == (40, 13) and vectors.dtype == np.float32
    cosines = []
    for part in parts:
        unit = part.encode(texts)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        centered = centered_rows(unit)
        cosines.append(centered @ centered.T)
    np.testing.assert_allclose(vectors @ vectors.T, np.mean(cosines, axis=0), atol=1e-5)
    assert joined.encode([]).shape == (0, 0) and len(list(tmp_path.iterdir())) == 1, "what can be cached is"


def test_joined_by_name_or_list():
    assert get_encoder("lsa + lsa").name == get_encoder(["lsa", "lsa"]).name == "lsa + lsa"
    with pytest.raises(ValueError, match="1 encoder to join"):
        get_encoder(["lsa"])
    with pytest.raises(OSError, match="/no/such/folder"):
        get_encoder("lsa + /no/such/folder")


# the command


def test_command(tmp_path):
    data, pool = rows(40), rows(30, 40).remove_columns("label")
    data.to_csv(tmp_path / "data.csv")
    pool.to_csv(tmp_path / "pool.csv")
    command = ["encoders", str(tmp_path / "data.csv"), "--encoder", "lsa", "--pool", str(tmp_path / "pool.csv")]
    done = CliRunner().invoke(app, [*command, "--pool-rows", "20", "--out", str(tmp_path / "found.json")])
    assert done.exit_code == 0, done.output
    assert "40 labeled rows" in done.output and "linear_smoothed" in done.output
    assert json.loads((tmp_path / "found.json").read_text())["encoders"][0]["encoder"] == "lsa"
    wrong = CliRunner().invoke(app, [*command, "--label", "class"])
    assert wrong.exit_code == 1 and "class" in wrong.output and "Traceback" not in wrong.output


def test_class_ids_keep_their_names():
    data = rows(20).cast_column("label", ClassLabel(names=["even", "odd"]))
    assert compare(data, None, [Points("good", 0.1)]).scores[0].score == 1


def test_joined_with_the_usual_encoder_is_left_out_where_that_does_not_read_the_texts():
    texts = [f"{word} {i}" for i in range(4) for word in ("这部电影很好看", "太无聊了")]
    data = Dataset.from_dict({"text": texts, "label": ["a", "b"] * 4})
    found = compare(data, encoders=[f"{DEFAULT_ENCODER} + lsa", "lsa"])
    assert found.best == "lsa" and list(found.failed) == [f"{DEFAULT_ENCODER} + lsa"]


def test_parts_of_joined_encoders_are_cached_where_the_call_says(tmp_path):
    joined = JoinedEncoder([Cached("a", 1), Cached("b", 1)])
    compare(rows(40), encoders=[joined], cache_dir=tmp_path / "compared")
    encode_cached(joined, rows(40)["text"][:], cache_dir=tmp_path / "encoded", progress=False)
    assert all((tmp_path / name).is_dir() for name in ("compared", "encoded"))


def test_a_name_given_twice_is_compared_once():
    assert len(compare(rows(40), encoders=["lsa", "lsa"]).scores) == 1
    assert len(compare(rows(40), encoders=[Points("a", 1), Points("a", 2)]).scores) == 2


def test_rows_that_all_agree_do_not_prove_that_encoders_are_level():
    found = compare(rows(40), encoders=[Points("a", 0.01), Points("b", 0.01)])
    low, high = found.scores[1].interval
    assert found.scores[1].behind == 0 and (low, high) == pytest.approx((-high, 100 * (1 - 0.05 ** (1 / 40))))
    assert "up to 7 points behind" in str(found)


def test_texts_that_no_encoder_tells_apart_are_named():
    data = Dataset.from_dict({"text": ["😀", "😡"] * 10, "label": ["a", "b"] * 10})
    with pytest.raises(ValueError, match="lsa tell none of the 20 labeled texts apart"):
        compare(data, encoders=["lsa"])


def test_scripts_are_counted_by_text():
    long, short = "many English words in a long text, " * 5, "这个很好"
    with pytest.raises(ValueError, match="50 % of the letters"):
        check_language(DEFAULT_ENCODER, [long, short] * 10)
    check_language(DEFAULT_ENCODER, [long] * 19 + [short * 1000])
