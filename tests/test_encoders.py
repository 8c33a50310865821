"""Encoders: sentence-transformers, a classifier's hidden states, LSA; what is accepted and what is refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import make_model, make_texts, make_tokenizer
from sentence_transformers import SentenceTransformer

from textpl.embeddings import encoders, lsa
from textpl.embeddings.encoders import DEFAULT_ENCODER, ClassifierEncoder, Encoder, SentenceEncoder, get_encoder
from textpl.embeddings.lsa import LsaEncoder
from textpl.models import resolve_model

TEXTS = [
    "Shares fell sharply after the central bank raised its rates.",
    "Goal!",
    "The stock market closed lower on fears of higher interest rates. " * 30,
    "",
    "The striker scored twice in the final minutes of the match.",
]


@pytest.fixture(scope="module")
def minilm():
    return SentenceTransformer(resolve_model(DEFAULT_ENCODER), device="cpu")


@pytest.fixture
def full_precision(monkeypatch):
    monkeypatch.setattr(encoders, "bf16_pays", lambda device: False)


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# sentence-transformers


def test_sentence_encoder_equals_the_library_in_full_precision(minilm, full_precision):
    vectors = SentenceEncoder(minilm, batch_size=2).encode(TEXTS, progress=False)
    assert vectors.dtype == np.float32 and vectors.shape == (5, 384)
    np.testing.assert_allclose(vectors, minilm.encode(TEXTS), atol=1e-5)


def test_sentence_encoder_in_bfloat16_is_close(minilm, monkeypatch):
    monkeypatch.setattr(encoders, "bf16_pays", lambda device: True)
    vectors = SentenceEncoder(minilm).encode(TEXTS, progress=False)
    exact = minilm.encode(TEXTS)
    assert vectors.dtype == np.float32 and np.abs(vectors - exact).max() > 0
    assert cosines(vectors, exact).min() > 0.998


def test_sentence_encoder_shows_one_progress_bar_or_none(minilm, capfd):
    SentenceEncoder(minilm, batch_size=2).encode(TEXTS, progress=False)
    assert capfd.readouterr().err == ""
    SentenceEncoder(minilm, batch_size=2).encode(TEXTS)
    assert "3/3" in capfd.readouterr().err


def test_sentence_encoder_leaves_every_module_in_its_mode(minilm):
    for training in (True, False):
        minilm[0].train(training)
        modes = [module.training for module in minilm.modules()]
        SentenceEncoder(minilm).encode(["text"], progress=False)
        assert [module.training for module in minilm.modules()] == modes


def test_sentence_encoder_cuts_at_max_length(minilm, full_precision):
    short = SentenceEncoder(minilm, max_length=8).encode([TEXTS[2]], progress=False)
    expected = minilm.encode([" ".join(TEXTS[2].split()[:6])])  # 6 words of one token each, [CLS] and [SEP]
    assert cosines(short, expected)[0] > 0.9999
    assert minilm.max_seq_length == 256, "the loaded model keeps its own limit"
    assert SentenceEncoder(minilm, max_length=10_000).max_length == 512, "as many as there are positions"


def test_sentence_encoder_without_texts(minilm):
    assert SentenceEncoder(minilm).encode([]).shape == (0, 384)


def test_default_encoder_comes_from_the_installed_package_under_its_id(minilm):
    encoder = get_encoder(DEFAULT_ENCODER)
    assert encoder.name == DEFAULT_ENCODER == SentenceEncoder(minilm).name
    assert encoder.fingerprint == SentenceEncoder(minilm).fingerprint, "the same weights, however they came"


def test_sentence_encoder_fingerprint_follows_what_decides_the_vectors(minilm, monkeypatch):
    monkeypatch.setattr(encoders, "bf16_pays", lambda device: False)
    found = {SentenceEncoder(minilm).fingerprint, SentenceEncoder(minilm, max_length=16).fingerprint}
    SentenceEncoder(minilm).encode(TEXTS, progress=False)
    assert SentenceEncoder(minilm, batch_size=7).fingerprint in found, "neither use nor batch size changes it"
    weight = minilm[0].auto_model.embeddings.word_embeddings.weight
    with torch.no_grad():
        before = weight[7, 7].clone()
        weight[7, 7] += 1e-3
    found.add(SentenceEncoder(minilm).fingerprint)
    with torch.no_grad():
        weight[7, 7] = before
    monkeypatch.setattr(encoders, "bf16_pays", lambda device: True)
    found.add(SentenceEncoder(minilm).fingerprint)
    assert len(found) == 4


def test_encoder_with_unknown_tokenizer_has_no_fingerprint(minilm, monkeypatch):
    monkeypatch.setattr(type(minilm), "tokenizer", object())
    assert SentenceEncoder(minilm).fingerprint is None


@pytest.mark.parametrize("name", ["nobody/has-this-model", "/no/such/folder"])
def test_encoder_that_cannot_be_loaded_names_lsa(name):
    with pytest.raises(OSError, match=r'(?s)neither from a folder.*encoder="lsa"') as caught:
        get_encoder(name)
    assert name in str(caught.value) and "quickstart" not in str(caught.value)


def test_default_encoder_without_package_or_hub_names_lsa_and_the_extra(monkeypatch):
    monkeypatch.setattr(encoders, "resolve_model", lambda name, revision: name)
    with pytest.raises(OSError, match=r'(?s)encoder="lsa".*textpl\[quickstart\]'):
        get_encoder(DEFAULT_ENCODER)


def test_revision_of_the_default_encoder_is_not_taken_from_the_package():
    with pytest.raises(OSError, match="revision 'abc'"):
        SentenceEncoder(DEFAULT_ENCODER, revision="abc")


def test_revision_of_a_loaded_model_is_refused(minilm):
    with pytest.raises(ValueError, match="already loaded"):
        SentenceEncoder(minilm, revision="main")


# a classifier's hidden states


def reference_states(model, tokenizer, text, pooling):
    """One text at a time, without padding."""
    with torch.no_grad():
        states = model.eval().bert(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    return (states[0] if pooling == "cls" else states.mean(0)).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_classifier_encoder_pools_the_hidden_states_of_each_text(tokenizer, full_precision, pooling):
    model, texts = make_model(), make_texts(11)[0]
    vectors = ClassifierEncoder(model, tokenizer, pooling=pooling, batch_size=4).encode(texts, progress=False)
    expected = [reference_states(model, tokenizer, text, pooling) for text in texts]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_classifier_encoder_in_bfloat16_is_close(tokenizer, monkeypatch):
    model, texts = make_model(), make_texts(11)[0]
    monkeypatch.setattr(encoders, "bf16_pays", lambda device: True)
    vectors = ClassifierEncoder(model, tokenizer).encode(texts, progress=False)
    expected = np.array([reference_states(model, tokenizer, text, "mean") for text in texts])
    assert vectors.dtype == np.float32
    assert cosines(vectors, expected).min() > 0.998


def test_classifier_encoder_inside_training(tokenizer):
    """Modes are as found (a frozen part stays in eval), weights train on, nothing became an inference tensor."""
    model = make_model(dropout=0.5).train()
    model.bert.embeddings.eval()
    modes = [module.training for module in model.modules()]
    encoder = ClassifierEncoder(model, tokenizer)
    first, second = (encoder.encode(["good film", "bad"], progress=False) for _ in range(2))
    np.testing.assert_array_equal(first, second)  # no dropout
    assert [module.training for module in model.modules()] == modes
    assert not any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers()))
    model(**tokenizer("good", return_tensors="pt"), labels=torch.tensor([0])).loss.backward()
    assert all(p.grad is not None for p in model.classifier.parameters())


def test_modes_are_restored_when_encoding_fails(tokenizer):
    model = make_model().train()
    with pytest.raises(IndexError):
        ClassifierEncoder(model, tokenizer).encode_tokens(1, lambda rows: [[10_000]], np.array([1]), progress=False)
    assert model.training and model.bert.training


def test_encode_tokens_reads_longest_first_and_equals_encode(tokenizer):
    texts = make_texts(9)[0]
    ids = tokenizer(texts)["input_ids"]
    lengths, seen = np.array([len(row) for row in ids]), []
    encoder = ClassifierEncoder(make_model(), tokenizer, batch_size=2)
    vectors = encoder.encode_tokens(9, lambda r: (seen.extend(r), [ids[i] for i in r])[1], lengths, progress=False)
    np.testing.assert_array_equal(vectors, encoder.encode(texts, progress=False))
    assert sorted(seen) == list(range(9))
    assert (np.diff(lengths[seen]) <= 0).all()


def test_rows_without_tokens_are_zero_vectors(tokenizer):
    ids = [[], [2, 5, 3], []]
    encoder = ClassifierEncoder(make_model(), tokenizer)
    vectors = encoder.encode_tokens(3, lambda r: [ids[i] for i in r], np.array([0, 3, 0]), progress=False)
    assert (vectors[[0, 2]] == 0).all() and (vectors[1] != 0).any()
    assert encoder.encode([]).shape == (0, 16)


def test_classifier_encoder_fingerprint_follows_training_and_settings(tokenizer):
    model = make_model()
    found = {ClassifierEncoder(model, tokenizer, pooling=pooling).fingerprint for pooling in ("mean", "cls")}
    found.add(ClassifierEncoder(model, tokenizer, max_length=8).fingerprint)
    encoder = ClassifierEncoder(model, tokenizer)
    encoder.encode(["good"], progress=False)
    assert encoder.fingerprint in found
    with torch.no_grad():
        model.bert.embeddings.word_embeddings.weight[5] += 1
    found.add(encoder.fingerprint)
    other = make_tokenizer()
    other.add_tokens("new")
    found.add(ClassifierEncoder(model, other).fingerprint)
    assert len(found) == 5


def test_classifier_encoder_cuts_to_what_the_model_takes(tokenizer):
    assert ClassifierEncoder(make_model(), tokenizer, max_length=10_000).max_length == 32
    ClassifierEncoder(make_model(), tokenizer).encode(["good " * 100], progress=False)


def test_classifier_encoder_says_what_it_is(tokenizer):
    assert ClassifierEncoder(make_model(), tokenizer, pooling="cls").name.endswith(
        "(cls of BertForSequenceClassification)"
    )


def test_classifier_encoder_refuses_other_pooling_and_models_without_states(tokenizer):
    with pytest.raises(ValueError, match="pooling='max'"):
        ClassifierEncoder(make_model(), tokenizer, pooling="max")
    model = make_model()
    model.bert.forward = lambda **inputs: object()
    with pytest.raises(TypeError, match="last_hidden_state"):
        ClassifierEncoder(model, tokenizer).encode(["good"], progress=False)


# what is accepted


def test_get_encoder_accepts(minilm, tokenizer):
    custom = type("Custom", (), {"name": "mine", "encode": lambda self, texts, *, progress=True: None})()
    classifier = ClassifierEncoder(make_model(), tokenizer)
    assert isinstance(get_encoder("lsa"), LsaEncoder)
    assert get_encoder(minilm).model is minilm
    assert get_encoder(custom) is custom and get_encoder(classifier) is classifier
    assert all(isinstance(e, Encoder) for e in (custom, classifier, get_encoder("lsa"), get_encoder(minilm)))


@pytest.mark.parametrize("bad", [3, None, make_model(), LsaEncoder, np.zeros((2, 2)), lambda texts: None])
def test_get_encoder_refuses_with_the_list_of_what_it_takes(bad):
    with pytest.raises(TypeError, match=r"'lsa'.*SentenceTransformer.*ClassifierEncoder.*encode\(texts"):
        get_encoder(bad)


@pytest.mark.parametrize("make", [lambda m: SentenceEncoder(m), lambda m: LsaEncoder()])
def test_texts_that_are_none_are_refused_by_row(minilm, make):
    encoder = make(minilm)
    with pytest.raises(TypeError, match="Row 1: the text is None"):
        encoder.encode(["fine", None])
    with pytest.raises(TypeError, match=r"pass \[text\]"):
        encoder.encode("one text")


def test_import_stays_light():
    code = "import sys, textpl.embeddings.encoders; print([m for m in sys.modules if 'transformers' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


# LSA


ENGLISH = {
    "sport": ["the striker scored a goal", "a late goal won the match", "the match ended without a goal"],
    "money": ["the bank raised its rates", "rates fell at the bank", "higher rates hurt the bank"],
}
CHINESE = {
    "sport": ["前锋打进一个进球", "最后的进球赢得比赛", "这场比赛没有进球"],
    "money": ["银行宣布提高利率", "这家银行的利率下降", "利率上升使银行受损"],
}


@pytest.mark.parametrize("corpus", [ENGLISH, CHINESE], ids=["english", "chinese"])
def test_lsa_puts_texts_of_a_topic_together(corpus):
    texts = [text for group in corpus.values() for text in group]
    vectors = LsaEncoder(2).encode(texts, progress=False)
    assert vectors.dtype == np.float32 and vectors.shape == (6, 2)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    similarity = vectors @ vectors.T
    same = np.kron(np.eye(2), np.ones((3, 3))).astype(bool)
    assert similarity[same].min() > similarity[~same].max()


@pytest.mark.parametrize("fit_rows", [lsa.FIT_ROWS, 40], ids=["fitted on all", "fitted on a sample"])
def test_lsa_is_the_same_every_time(monkeypatch, fit_rows):
    monkeypatch.setattr(lsa, "FIT_ROWS", fit_rows)
    monkeypatch.setattr(lsa, "BLOCK", 16)
    texts = make_texts(100)[0]
    first = LsaEncoder(8).encode(texts, progress=False)
    np.testing.assert_array_equal(first, LsaEncoder(8).encode(texts, progress=False))
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


def test_lsa_fitted_on_a_sample_keeps_the_neighbours(monkeypatch):
    texts = make_texts(200)[0]
    exact = LsaEncoder(16).encode(texts, progress=False)
    monkeypatch.setattr(lsa, "FIT_ROWS", 120)
    sampled = LsaEncoder(16).encode(texts, progress=False)
    similarity = [(v @ v.T)[np.triu_indices(200, 1)] for v in (exact, sampled)]
    assert np.corrcoef(similarity)[0, 1] > 0.9


def test_lsa_is_the_svd_of_its_features():
    """With all directions kept, cosines are those of the TF-IDF vectors themselves."""
    texts = ENGLISH["sport"] + ENGLISH["money"]
    vectors = LsaEncoder(6).encode(texts, progress=False)
    features = np.hstack([v.fit_transform(texts).toarray() for v in lsa._vectorizers()])
    np.testing.assert_allclose(vectors @ vectors.T, features @ features.T / 2, atol=1e-4)


def test_lsa_of_tiny_and_empty_corpora():
    vectors = LsaEncoder(32).encode(["good film", "", "good book", "  ", "!"], progress=False)
    assert vectors.shape == (5, 32) and np.isfinite(vectors).all()
    assert (vectors[[1, 3]] == 0).all(), "empty texts are zero vectors"
    np.testing.assert_allclose(np.linalg.norm(vectors[[0, 2, 4]], axis=1), 1, atol=1e-5)
    assert (LsaEncoder(32).encode(["", " "], progress=False) == 0).all()
    assert LsaEncoder(32).encode(["one"], progress=False).shape == (1, 32)
    assert LsaEncoder(32).encode([], progress=False).shape == (0, 32)
    assert LsaEncoder(32).encode(["same"] * 5, progress=False)[:, 0].std() == 0


def test_weights_that_a_checkpoint_lacks_do_not_make_another_encoder(tmp_path):
    """transformers fills BERT's pooler with new random numbers at every load; no vector depends on it."""
    from safetensors.torch import load_file, save_file

    first = get_encoder(DEFAULT_ENCODER, progress=False)
    first.model.save(str(tmp_path / "encoder"))
    file = next((tmp_path / "encoder").rglob("model.safetensors"))
    save_file({k: v for k, v in load_file(file).items() if "pooler" not in k}, file, metadata={"format": "pt"})
    one, two = (get_encoder(SentenceTransformer(str(tmp_path / "encoder"))) for _ in range(2))
    assert one.fingerprint == two.fingerprint == first.fingerprint
