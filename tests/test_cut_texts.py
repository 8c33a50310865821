"""What an encoder does not read is told, and what it cannot tell apart is no evidence of wrong labels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import make_model, make_tokenizer
from transformers import AutoTokenizer

import textpl.embeddings.cut_texts as cut_module
from textpl.cleaning import multi_label, single_label
from textpl.cleaning.apart import Evidence
from textpl.cleaning.duplicates import near_duplicates
from textpl.cleaning.indistinct import UNJUDGED, detect_without, indistinct_rows
from textpl.cleaning.out_of_sample import out_of_sample
from textpl.cleaning.problems import corpus_problems
from textpl.corpus import read_corpus
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.cut_texts import cut_texts
from textpl.embeddings.encoders import DEFAULT_ENCODER, ClassifierEncoder, SentenceEncoder, get_encoder
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.lsa import LsaEncoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.models import resolve_model

LIMIT = 12


class Cutting:
    """An encoder that reads 10 words of a text and two special tokens."""

    name = "cutting"
    token_limit = LIMIT

    def __init__(self, fingerprint="cutting"):
        self.tokenizer, self.fingerprint = make_tokenizer(), fingerprint

    def encode(self, texts, *, progress=True):
        read = [" ".join(text.split()[: LIMIT - 2]) for text in texts]
        return np.array([np.random.default_rng(list(text.encode())).standard_normal(8) for text in read])


def sentence(rng, words):
    """Random words of random letters."""
    return " ".join("".join(rng.choice(list("abcdefghijklmnop"), rng.integers(3, 9))) for _ in range(words))


def long_documents(count, beginning, rest, seed=0):
    """Documents with one beginning, each with a rest of its own."""
    rng = np.random.default_rng(seed)
    first = sentence(rng, beginning)
    return [f"{first} {sentence(rng, rest)}" for _ in range(count)]


def judged(texts, labels, vectors):
    """As `find_label_issues` does: detection of the rows that the encoder tells apart."""
    vectors = unit_rows(np.asarray(vectors, dtype=np.float32))
    graph = neighbor_graph(vectors, 50, progress=False)
    groups = near_duplicates(texts, vectors, graph)
    p = out_of_sample(vectors, labels, groups=groups, progress=False)
    unjudged = indistinct_rows(graph, groups)

    evidence = Evidence(labels, p, graph, vectors, groups)

    def detect(rows):
        if rows.given.ndim == 2:
            return multi_label.detect(rows.given, rows.p, rows.graph, groups=rows.groups)
        return single_label.detect(rows.given, rows.p, rows.graph, rows.vectors, groups=rows.groups, progress=False)

    return detect_without(detect, evidence, unjudged), unjudged, lambda rows: detect(evidence.of(rows))


# --- counting


@pytest.mark.parametrize("fingerprint", ["cutting", None])
def test_what_is_cut_is_counted_and_told(tmp_path, caplog, fingerprint):
    texts = ["good film"] * 7 + ["good " * 22] * 2 + ["bad " * 10, "é" * 90]  # the last is one word
    found = []
    encode_cached(Cutting(fingerprint), texts, cache_dir=tmp_path, progress=False, on_cut=found.append)
    assert found[0].to_dict() == {"rows": 2, "texts": 11, "limit": 12, "share": 0.5, "estimated": False}
    told = [record.getMessage() for record in caplog.records if "longer" in record.getMessage()]
    assert told == [found[0].sentence()]
    assert told[0].startswith(
        "2 of 11 texts are longer than the encoder's 12 tokens; what follows is not read (50 % of their tokens): "
    )


def test_nothing_is_said_where_nothing_is_cut(tmp_path, caplog):
    found = []
    for texts in (["good film"] * 3, []):
        encode_cached(Cutting(), texts, cache_dir=tmp_path, progress=False, on_cut=found.append)
    encode_cached(LsaEncoder(4), ["good " * 300] * 3, progress=False, on_cut=found.append)
    assert [one.rows for one in found] == [0] and found[0].sentence() == ""
    assert not [record for record in caplog.records if "longer" in record.getMessage()]


def test_of_very_many_long_texts_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(cut_module, "SAMPLE", 20)
    monkeypatch.setattr(cut_module, "MOST", 100)
    found = cut_texts(Cutting(), ["good " * 48] * 60 + ["good-------------------"] * 60)
    assert found.estimated and found.rows == pytest.approx(60, abs=6) and found.texts == 120
    assert found.share == pytest.approx(0.75, abs=0.08), "of what is tokenized only the beginning is"
    assert found.sentence().startswith("About ")


def test_limits_of_encoders(tokenizer):
    model = make_model()
    assert ClassifierEncoder(model, tokenizer).token_limit == 32
    assert ClassifierEncoder(model, tokenizer, max_length=9).token_limit == 9
    assert SentenceEncoder(DEFAULT_ENCODER).token_limit == 256
    assert SentenceEncoder(DEFAULT_ENCODER, max_length=40).token_limit == 40


def test_minilm_is_counted_with_its_own_tokens():
    encoder = get_encoder(DEFAULT_ENCODER)
    before = encoder.fingerprint
    texts = [*long_documents(5, 300, 100), "short", "电影" * 200, "x" * 5000]
    found = cut_texts(encoder, texts)
    tokenizer = AutoTokenizer.from_pretrained(resolve_model(DEFAULT_ENCODER))
    counts = np.array([len(ids) for ids in tokenizer(texts)["input_ids"]])
    assert found.rows == (counts > 256).sum() == 6
    assert found.share == pytest.approx(1 - 256 * 6 / counts[counts > 256].sum())
    assert encoder.fingerprint == before, "counting leaves the tokenizer as it is"


# --- judging


@pytest.fixture(scope="module")
def corpus():
    """Texts and labels of two classes, and 40 long documents that a cutting encoder takes for one."""
    rows = read_corpus("bundled:sentiment").train.select(range(200))
    documents = long_documents(40, 300, 120)
    labels = np.concatenate([np.asarray(rows["label"][:]), np.arange(40) % 5 == 0]).astype(np.int64)
    return [*rows["text"][:], *documents], labels, np.arange(240) >= 200


def test_documents_that_minilm_takes_for_one_are_not_judged(corpus, tmp_path):
    texts, labels, long = corpus
    vectors = encode_cached(get_encoder(DEFAULT_ENCODER), texts, cache_dir=tmp_path, progress=False)
    found, unjudged, judge = judged(texts, labels, vectors)
    assert (unjudged == long).all() and found.info[UNJUDGED] == 40
    assert not found.flagged[long].any() and (found.suggested[long] == labels[long]).all()
    assert len(np.unique(found.p_error[long])) == 1 and found.p_error[long][0] <= found.p_error[~long].mean() + 1e-6
    np.testing.assert_allclose(found.p_true.sum(axis=1), 1, atol=1e-5)
    alone = judge(np.flatnonzero(~long))
    np.testing.assert_array_equal(found.flagged[~long], alone.flagged)
    np.testing.assert_array_equal(found.p_error[~long], alone.p_error)
    assert {name: values.shape for name, values in found.evidence.items()} == dict.fromkeys(alone.evidence, (240, 2))


@pytest.mark.parametrize("multi", [False, True])
def test_nothing_is_flagged_where_all_look_alike(multi):
    texts = long_documents(40, 12, 30)
    labels = (np.arange(40) % 3 == 0).astype(np.int64)
    labels = np.stack([labels, 1 - labels], axis=1) if multi else labels
    found, unjudged, _ = judged(texts, labels, Cutting().encode(texts))
    assert unjudged.all() and not found.flagged.any() and not found.p_error.any()
    assert (found.suggested == labels).all() and found.info[UNJUDGED] == 40
    assert len(np.unique(near_duplicates(texts, Cutting().encode(texts)))) == 40, "equal embeddings, different texts"


def test_of_several_labels_the_others_are_judged_alone():
    rng = np.random.default_rng(0)
    texts = [sentence(rng, 8) for _ in range(120)] + long_documents(30, 12, 30)
    labels = (rng.random((150, 3)) < 0.4).astype(np.int64)
    found, unjudged, judge = judged(texts, labels, Cutting().encode(texts))
    alone = judge(np.arange(120))
    assert unjudged.sum() == 30 and not found.flagged[120:].any()
    np.testing.assert_array_equal(found.p_error[:120], alone.p_error)
    assert all(len(part) == 150 for part in found.info.get("log_odds", []))


def test_duplicates_by_text_are_judged():
    """The same text three times with one label that differs: that is what a wrong label looks like."""
    texts = [f"{text} again" for text in ("one two", "three four", "five six")] * 3
    vectors = np.repeat(np.eye(3), 3, axis=0)[[0, 3, 6] * 3]
    graph = neighbor_graph(vectors, 8, progress=False)
    assert not indistinct_rows(graph, near_duplicates(texts, vectors, graph)).any()
    assert indistinct_rows(graph, np.arange(9)).all()


def test_a_graph_of_some_rows():
    ids = np.array([[1, 2, 3], [0, 3, -1], [3, 0, 1], [2, 1, 0]], dtype=np.int32)
    graph = NeighborGraph(ids, np.array([[0.9, 0.8, 0.7], [0.9, 0.5, 0], [0.6, 0.5, 0.4], [0.6, 0.5, 0.3]], np.float32))
    part = graph.only(np.array([0, 1, 3]))
    assert part.ids.tolist() == [[1, 2, -1], [0, 2, -1], [1, 0, -1]]
    np.testing.assert_allclose(part.sims, [[0.9, 0.7, 0], [0.9, 0.5, 0], [0.5, 0.3, 0]])
    whole = graph.only(np.arange(4))
    assert whole.ids.tolist() == graph.ids.tolist() and (whole.sims == graph.sims).all()


def test_the_problems_of_a_corpus_tell_both():
    texts = long_documents(30, 12, 30)
    vectors = Cutting().encode(texts)
    problems = corpus_problems(texts, np.arange(30) % 2, vectors=vectors, cut=cut_texts(Cutting(), texts))
    told = problems.summary()
    assert any(line.startswith("30 of 30 texts are longer than the encoder's 12 tokens") for line in told)
    assert any(line.startswith("30 rows have the embedding of a row with another text") for line in told)
    assert not any("duplicates" in line or "different labels" in line for line in told)
    kept = problems.to_dict()
    assert kept["indistinct"] == list(range(30)) and kept["cut"]["rows"] == 30 and json.dumps(kept)
    without = corpus_problems(None, np.arange(30) % 2, vectors=vectors)
    assert "or texts that the encoder cannot tell apart" in without.summary()[0] and without.to_dict()["cut"] is None
