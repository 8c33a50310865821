"""Duplicates, leaks, off-topic rows, texts that say nothing, problems of the label set."""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import brute_graph
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import HashingVectorizer

import textpl
from textpl.cleaning import duplicates
from textpl.cleaning.duplicates import conflicts, leaks, near_duplicates, normalized, shared_shingles
from textpl.cleaning.label_sets import confused_labels, expected_confusion, label_findings, same_labels, variant_ids
from textpl.cleaning.outliers import find_outliers, outlier_scores
from textpl.cleaning.problems import corpus_problems
from textpl.cleaning.texts import text_problem, text_problems
from textpl.corpus import read_corpus
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.neighbors import neighbor_graph

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def embed(texts):
    """Vectors that any encoder might give: texts with common letter pairs are near."""
    return HashingVectorizer(analyzer="char", ngram_range=(1, 2), n_features=256).transform(texts).toarray()


def words(rng, count):
    """A sentence of random words of random letters: no two alike by chance."""
    return " ".join("".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(3, 9))) for _ in range(count))


def complete_graph(rows):
    """Every row next to every other one: the 3-grams alone decide."""
    ids = np.array([[j for j in range(rows) if j != i] for i in range(rows)], dtype=np.int32).reshape(rows, rows - 1)
    return NeighborGraph(ids, np.full(ids.shape, 0.9, dtype=np.float32))


def shingles(text):
    padded = f"\0\0{text}\0\0"
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def jaccard(a, b):
    return len(shingles(a) & shingles(b)) / len(shingles(a) | shingles(b))


# --- duplicates


def test_exact_duplicates_after_normalisation():
    texts = ["Hello  World", "hello world\n", "ＨＥＬＬＯ world", "hello worlds", "", "", "Straße", "STRASSE"]
    assert near_duplicates(texts).tolist() == [0, 0, 0, 1, 2, 3, 4, 4]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(alphabet="ab \nＡ好é", max_size=5), max_size=12))
def test_exact_groups_are_equality(texts):
    def reference(text):
        return " ".join(unicodedata.normalize("NFKC", text).casefold().split())

    groups = near_duplicates(texts)
    for i, a in enumerate(texts):
        for j, b in enumerate(texts):
            assert (groups[i] == groups[j]) == (i == j or (reference(a) == reference(b) and reference(a) != ""))
    assert list(dict.fromkeys(groups.tolist())) == list(range(len(set(groups.tolist()))))


def test_shared_shingles_are_the_jaccard_index():
    rng = np.random.default_rng(0)
    base = [words(rng, n) for n in (1, 3, 10, 40, 300)]
    left, right = [], []
    for text in [*base, "价格便宜，质量很好，还会再来", "好"]:
        for cut in (0.0, 0.1, 0.3, 0.8):
            left.append(text)
            right.append(text[: round(len(text) * (1 - cut))] + words(rng, 1))
    rows = np.arange(len(left))
    found = shared_shingles(left, right, rows, rows)
    exact = np.array([jaccard(a, b) for a, b in zip(left, right, strict=True)])
    # The standard error of 256 bins is .03 for long texts; bins that two 3-grams share add a little for short ones.
    assert np.abs(found - exact).max() < 0.12
    assert np.sqrt(np.mean((found - exact) ** 2)) < 0.04
    assert (shared_shingles(left, left, rows, rows) == 1).all()


def test_signatures_do_not_depend_on_the_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    texts = [words(rng, n) for n in rng.integers(1, 30, size=40)]
    rows = np.arange(39)
    whole = shared_shingles(texts, texts, rows, rows + 1)
    monkeypatch.setattr(duplicates, "CHUNK", 200)
    np.testing.assert_array_equal(shared_shingles(texts, texts, rows, rows + 1), whole)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (
            "Oil holds above $48 despite loans from the reserve",
            "Oil holds above $47 despite loans from the reserve",
            True,
        ),
        ("so happy to see you all again tonight #joy", "so happy to see you all again tonight", True),
        ("新浪财经11月27日开盘播报聊天实录", "新浪财经11月20日开盘播报聊天实录", True),
        ("Thank you!", "thank you.", True),
        ("Great, thanks :)", "great thanks", True),
        ("really", "really?", False),
        ("!!!", "???", False),
        ("I like it", "I do not like it", False),
        ("好", "不好", False),
        ("价格便宜质量很好", "价格贵质量不好", False),
        ("thank you", "thanks", False),
    ],
)
def test_what_a_near_duplicate_is(a, b, same):
    groups = near_duplicates([a, b], graph=complete_graph(2))
    assert (groups[0] == groups[1]) == same


def test_texts_that_share_letters_but_not_meaning_are_apart():
    texts = ["one two three four five six seven", "one two three four five six seven!"]
    far = NeighborGraph(np.array([[1], [0]], dtype=np.int32), np.full((2, 1), 0.3, dtype=np.float32))
    assert len(set(near_duplicates(texts, graph=far).tolist())) == 2


def long_documents():
    """Six documents of 50 real sentences of which the first 25 are those of all, and the first with small changes."""
    sentences = read_corpus("bundled:sentiment").train["text"][:]
    documents = [sentences[:25] + sentences[25 * i : 25 * (i + 1)] for i in range(2, 8)]
    changed = [*documents[0][:40], "A sentence that was put in later .", *documents[0][41:]]
    return [" ".join(parts) for parts in (*documents, changed)]


@pytest.mark.parametrize("encoder", [lambda texts: np.ones((len(texts), 4), np.float32), embed])
def test_long_texts_with_one_beginning_are_no_duplicates(encoder):
    """Nor if their embeddings are equal, as of an encoder that reads no more than the beginning."""
    texts = long_documents()
    assert min(map(len, texts)) > 3000
    assert near_duplicates(texts, encoder(texts)).tolist() == [0, 1, 2, 3, 4, 5, 0]
    vectors = encoder(texts)
    found = leaks(texts[:6], texts[1:], vectors[:6], vectors[1:])
    assert found.exact.tolist() == [True] * 5 + [False] and found.train_rows.tolist() == [1, 2, 3, 4, 5, 0]
    assert not len(leaks(texts[:3], texts[3:6], vectors[:3], vectors[3:6]).test_rows)


def test_planted_near_duplicates_are_found():
    rng = np.random.default_rng(1)
    texts = [words(rng, 12) for _ in range(300)]
    copies = [texts[i] + " " + words(rng, 1) for i in range(40)]
    groups = near_duplicates(texts + copies, embed(texts + copies))
    assert (groups[300:] == groups[:40]).all()
    assert len(np.unique(groups)) == 300


def chain(length):
    """Texts of which each is like the next, while the ends have nothing in common; 3-grams in common: 11 of 13."""
    rng = np.random.default_rng(0)
    letters = "".join(chr(0x4E00 + c) for c in rng.permutation(20000)[: length + 30])
    return [letters[i : i + 30] for i in range(length)]


def test_chains_are_capped_and_exact_duplicates_stay_together(monkeypatch):
    monkeypatch.setattr(duplicates, "LARGEST", 10)
    texts = chain(60)
    pair = ["an ordinary sentence about weather in May", "an ordinary sentence about the weather in May"]
    repeated = ["the same words"] * 30
    rows = [*texts, *pair, *repeated]
    groups = near_duplicates(rows, graph=complete_graph(len(rows)))
    assert np.bincount(groups[:60]).max() <= 10
    assert groups[60] == groups[61]
    assert len(set(groups[62:].tolist())) == 1
    short = chain(10)
    assert len(set(near_duplicates(short, graph=complete_graph(10)).tolist())) == 1


def test_duplicates_edge_cases():
    assert near_duplicates([]).shape == (0,)
    assert near_duplicates([], np.zeros((0, 3), np.float32)).shape == (0,)
    assert near_duplicates(["one"], np.ones((1, 3), np.float32)).tolist() == [0]
    with pytest.raises(TypeError, match="Row 1"):
        near_duplicates(["a", None])
    with pytest.raises(ValueError, match="2 texts, but vectors of 3 rows"):
        near_duplicates(["a", "b"], np.ones((3, 2)))


# --- conflicts


def reference_conflicts(groups, labels):
    found = {}
    for group in set(groups.tolist()):
        rows = np.flatnonzero(groups == group)
        if len({tuple(np.atleast_1d(labels[row])) for row in rows}) > 1:
            for row in rows:
                found[row] = (group, labels[rows])
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 25), st.booleans())
def test_conflicts_against_loops(seed, n, multi):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 6, n)
    labels = (rng.random((n, 3)) < 0.3).astype(np.int8) if multi else rng.integers(0, 3, n)
    found = conflicts(groups, labels)
    expected = reference_conflicts(groups, labels)
    assert sorted(found.rows.tolist()) == sorted(expected)
    assert (np.diff(found.groups) >= 0).all()
    for row, group, majority, differs in zip(found.rows, found.groups, found.majority, found.differs, strict=True):
        assert group == expected[row][0]
        members = expected[row][1]
        if multi:
            for k in range(3):
                ones = members[:, k].sum()
                assert majority[k] == (-1 if 2 * ones == len(members) else int(2 * ones > len(members)))
                assert differs[k] == (majority[k] >= 0 and majority[k] != labels[row, k])
        else:
            counts = np.bincount(members, minlength=3)
            best = np.flatnonzero(counts == counts.max())
            assert majority == (best[0] if len(best) == 1 else -1)
            assert differs == (majority >= 0 and majority != labels[row])


# --- leaks


def test_leaks_exact_and_near():
    rng = np.random.default_rng(2)
    train = [words(rng, 10) for _ in range(100)] + [""]
    test = [train[7].upper(), train[30] + " " + words(rng, 1), words(rng, 10), ""]
    vectors = embed(train + test)
    found = leaks(train, test, vectors[:101], vectors[101:])
    assert found.test_rows.tolist() == [0, 1]
    assert found.train_rows.tolist() == [7, 30]
    assert found.exact.tolist() == [True, False]
    assert found.similarity[0] == 1
    assert 0.7 <= found.similarity[1] < 1
    assert leaks(train, test).test_rows.tolist() == [0]
    assert len(leaks([], test).test_rows) == len(leaks(train, []).test_rows) == 0


def test_a_leak_names_the_most_similar_train_row():
    text = "central bank raises the interest rate by a quarter of a point on monday"
    train = [text + " again this year", text + "!", text + " in may"]
    vectors = np.ones((3, 2), dtype=np.float32)
    assert leaks(train, [text], vectors, vectors[:1]).train_rows.tolist() == [1]


# --- outliers


def test_outlier_scores_are_mean_distances():
    graph = NeighborGraph(
        np.array([[1, 2], [0, -1], [-1, -1]], dtype=np.int32), np.array([[0.9, 0.5], [0.9, 0], [0, 0]], np.float32)
    )
    np.testing.assert_allclose(outlier_scores(graph), [0.3, 0.1, 1.0], atol=1e-6)


@pytest.mark.parametrize("dimensions", [8, 64])
def test_foreign_rows_are_flagged_and_own_rows_are_not(dimensions):
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((10, dimensions))
    own = centers[rng.integers(10, size=1500)] + 0.5 * rng.standard_normal((1500, dimensions))
    clean = find_outliers(neighbor_graph(own, 10, progress=False))
    assert clean.flagged.mean() < 0.005
    # Directions that no own row has: far from all of them and from each other.
    wide = np.hstack([own, np.zeros((1500, 10))])
    foreign = np.hstack([np.zeros((10, dimensions)), np.eye(10)])
    mixed = find_outliers(neighbor_graph(np.vstack([wide, foreign]), 10, progress=False))
    assert mixed.flagged[1500:].all()
    assert mixed.flagged[:1500].mean() < 0.005


@pytest.mark.parametrize("power", [0.2, 1.0, 3.0])
def test_false_alarms_are_as_stated_whatever_the_skew(power):
    """Scores that are normal after a power: the share flagged is the one asked for."""
    rng = np.random.default_rng(0)
    scores = (1 + 0.15 * rng.standard_normal(20_000)) ** (1 / power) * 0.3
    graph = NeighborGraph(np.zeros((20_000, 1), np.int32), (1 - scores[:, None]).astype(np.float32))
    for rate in (0.001, 0.01):
        assert find_outliers(graph, rate).flagged.mean() == pytest.approx(rate, rel=0.5)


def test_outliers_edge_cases():
    rng = np.random.default_rng(0)
    same = np.ones((80, 4), dtype=np.float32)
    assert not find_outliers(neighbor_graph(same, 5, progress=False)).flagged.any()
    assert not find_outliers(neighbor_graph(rng.standard_normal((5, 4)), 3, progress=False)).flagged.any()
    assert find_outliers(NeighborGraph(np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32))).scores.tolist() == [1]
    with pytest.raises(ValueError, match=r"false_alarms=0\.5"):
        find_outliers(brute_graph(rng.standard_normal((60, 4)), 3), 0.5)


# --- texts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \t\u3000\n", "only whitespace"),
        ("K", "very short"),
        ("5", "very short"),
        ("aaaaaaaaaaa", "one character repeated"),
        ("---------- ", "one character repeated"),
        (".,.;:!?-()", "no letters"),
        ("<br /><br/>", "only markup"),
        ('<div class="a"><p></p></div>', "only markup"),
        ("&nbsp;&nbsp;", "only markup"),
        ("<script>var a = 1;</script>", "only markup"),
        ("aGVsbG8gd29ybGQgdGhpcyBpcyBiYXNlNjQgZGF0YSBhbmQgbW9yZQ1==", "encoded data"),
        ("0123456789abcdef" * 3, "encoded data"),
        ("\x00\x01\x02abc", "control characters"),
        ("\ufffd\ufffd\ufffd \ufffd", "replacement characters"),
        ("锟斤拷锟斤拷", "wrong encoding"),
        ("café à la crème".encode().decode("latin-1"), "wrong encoding"),
        ("It’s “really” great".encode().decode("cp1252", "replace"), "wrong encoding"),
        ("Привет мир".encode().decode("latin-1"), "wrong encoding"),
        ("这个酒店很好".encode("gbk").decode("latin-1"), "wrong encoding"),
        ("你好，这个酒店很好".encode().decode("gbk", "ignore"), "wrong encoding"),
        ("😂😂 lol".encode().decode("cp1252", "replace"), "wrong encoding"),
    ],
)
def test_texts_that_say_nothing(text, reason):
    assert text_problem(text) == reason


@pytest.mark.parametrize(
    "text",
    ["好", "不", "😂", "?", "!!!", ":)", "no", "I <3 you", "café à la crème, très bon", "Die „FPÖ“ und die „SPÖ“",
     "ÄÖÜ äöü ß", "“Ça va?” — «Très bien»", "好好好好好好好好好好", "想不想啊！这个是现在我的最爱啊！",
     "周鸿\ufffd的开放逻辑：360是一条鲶鱼", "안녕하세요", "สวัสดี", "مرحبا بالعالم", "日本語のテキスト",
     "see <b>this</b> &amp; that", "房&#38388;不及168", "<<creepy face.jpg>>", "line one\nline two\ttab",
     "123456789012", "https://www.facebook.com/pages/Some-page/775510675841486AAAAaaaa0000"],
)  # fmt: skip
def test_texts_that_say_something(text):
    assert text_problem(text) is None


def test_text_problems_names_rows_and_refuses_what_is_no_text():
    assert text_problems(["fine", "", "good", "\n"]) == {1: "empty", 3: "only whitespace"}
    with pytest.raises(TypeError, match="Row 1"):
        text_problems(["a", float("nan")])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_gets_an_answer(text):
    assert text_problem(text) is None or isinstance(text_problem(text), str)


# --- label sets


def test_counts_of_labels():
    labels = np.zeros((40, 6), dtype=np.int8)
    labels[:, 5] = 1
    labels[:1, 1] = labels[:3, 2] = labels[:20, 3] = 1
    found = label_findings(labels)
    assert (found.absent, found.single, found.rare, found.universal) == ((0, 4), (1,), (2,), (5,))
    assert found.imbalance == 40
    assert found.unlabelled == 0
    single = label_findings(np.array([0, 0, 0, 2]), label_names=["a", "b", "c", "d"])
    assert (single.absent, single.single, single.universal) == ((1, 3), (2,), ())
    assert single.counts.tolist() == [3, 0, 1, 0]
    assert label_findings(np.zeros((0, 2), np.int8)).absent == (0, 1)


def test_labels_that_always_come_together():
    rng = np.random.default_rng(0)
    a, b = rng.random(400) < 0.3, rng.random(400) < 0.3
    part = a & (rng.random(400) < 0.4)
    labels = np.stack([a, b, a, part, np.ones(400, bool), np.arange(400) < 3], axis=1).astype(np.int8)
    found = [(pair.first, pair.second, pair.reason) for pair in same_labels(labels)]
    assert found[0] == (0, 2, "same")
    assert sorted(found[1:]) == [(0, 3, "implied"), (2, 3, "implied")]


def reference_confusion(labels, p, j, k):
    """Straight from the definition."""
    prior = p.mean(0)

    def side(a, b):
        own = labels[:, a].astype(bool) & ~labels[:, b].astype(bool)
        rows = p[own]
        return np.mean([(r[b] / prior[b]) / (r[a] / prior[a] + r[b] / prior[b]) for r in rows])

    return (side(j, k) + side(k, j)) / 2


@pytest.mark.parametrize("multi", [False, True])
def test_expected_confusion_is_its_definition(multi):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), size=300)
    hot = (rng.random((300, 5)) < 0.3).astype(np.int8) if multi else np.eye(5, dtype=np.int8)[rng.integers(5, size=300)]
    confusion = expected_confusion(hot if multi else hot.argmax(1), p)
    for j in range(5):
        for k in range(5):
            if j == k:
                assert np.isnan(confusion[j, k])
            else:
                assert confusion[j, k] == pytest.approx(reference_confusion(hot, p, j, k), abs=1e-5)


@pytest.mark.parametrize("multi", [False, True])
def test_labels_that_cannot_be_told_apart_are_proposed(multi):
    """Labels 1 and 4 (rarer) are one class that annotators name at random."""
    rng = np.random.default_rng(0)
    true = rng.integers(4, size=3000)
    given = np.where((true == 1) & (rng.random(3000) < 0.3), 4, true)
    logits = 3 * np.eye(4)[true] + rng.standard_normal((3000, 4))
    p4 = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    p = np.column_stack([p4[:, 0], 0.7 * p4[:, 1], p4[:, 2:], 0.3 * p4[:, 1]])
    labels = np.eye(5, dtype=np.int8)[given] if multi else given
    found = confused_labels(labels, p)
    assert [(pair.first, pair.second, pair.reason) for pair in found] == [(1, 4, "confused")]
    assert found[0].score == pytest.approx(0.5, abs=0.02)


def test_labels_that_are_given_together_are_no_merge():
    """Labels 1 and 2 share all their texts; where most rows have both they are two things, however alike."""
    rng = np.random.default_rng(0)
    labels = np.zeros((3000, 4), dtype=np.int8)
    labels[np.arange(3000), rng.integers(4, size=3000)] = 1
    p = 0.05 + 0.8 * labels
    p[:, 1] = p[:, 2] = p[:, 1:3].max(1) / 2
    assert [(pair.first, pair.second) for pair in confused_labels(labels, p)] in ([(1, 2)], [(2, 1)])
    both = labels.copy()
    twice = (labels[:, 1:3].sum(1) == 1) & (rng.random(3000) < 0.5)
    both[twice, 1:3] = 1
    assert expected_confusion(both, p)[1, 2] >= 0.4
    assert confused_labels(both, p) == []


def test_a_model_that_learned_nothing_gives_no_merges():
    rng = np.random.default_rng(0)
    p = 0.2 + 0.001 * rng.standard_normal((500, 5))
    assert confused_labels(rng.integers(5, size=500), p / p.sum(1, keepdims=True)) == []
    assert confused_labels(rng.integers(2, size=50), np.full((50, 2), 0.5)) == []


def test_a_label_with_few_rows_is_not_compared():
    labels = np.repeat([0, 1, 2], [100, 100, 29])
    p = np.full((229, 3), 1 / 3)
    assert np.isnan(expected_confusion(labels, p)[2]).all()
    assert expected_confusion(labels, p)[0, 1] == pytest.approx(0.5)


def test_names_that_are_one_name():
    names = ["joy", " Joy", "ＪＯＹ", "anger", "fear ", "fear", "no  idea", "no idea"]
    assert variant_ids(names) == ((0, 1, 2), (4, 5), (6, 7))
    assert variant_ids(names, np.array([1, 5, 2, 9, 0, 3, 1, 1]))[:2] == ((1, 2, 0), (5, 4))


@pytest.mark.parametrize(
    ("labels", "p", "names", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), None, r"\(3, 3\) for 3 rows and 2 labels"),
        (np.zeros((3, 2)), None, ["a"], "1 label names for 2 labels"),
        (np.array([0, 5]), np.zeros((2, 3)), None, "Row 1: label 5"),
        (np.array([0, -1]), None, None, "Row 1: label -1"),
    ],
)
def test_labels_that_do_not_fit(labels, p, names, message):
    with pytest.raises(ValueError, match=message):
        label_findings(labels, p, names)


# --- everything


def test_the_whole_report():
    rng = np.random.default_rng(3)
    texts = [words(rng, 10) for _ in range(120)]
    texts += [texts[0].upper(), texts[1] + " " + words(rng, 1), "", "<br/>"]
    labels = np.zeros((124, 4), dtype=np.int8)
    labels[np.arange(124), np.arange(124) % 3] = 1
    test = [texts[5], words(rng, 10)]
    vectors = embed(texts + test)
    found = corpus_problems(
        texts, labels, np.full((124, 4), 0.25), vectors[:124], None, ["joy", "Joy ", "fear", "unused"],
        test_texts=test, test_vectors=vectors[124:],
    )  # fmt: skip
    assert found.groups[120] == found.groups[0]
    assert found.groups[121] == found.groups[1]
    # Row 120 has the label of row 0; rows 1 and 121 have the same label too.
    assert found.conflicts.rows.tolist() == []
    assert found.leaks.test_rows.tolist() == [0]
    assert found.texts == {122: "empty", 123: "only markup"}
    summary = " ".join(found.summary())
    for words_expected in ("4 rows are (near-)duplicates", "1 test rows", "'joy', 'Joy '", "never given", "empty: 1"):
        assert words_expected in summary
    round_trip = json.loads(json.dumps(found.to_dict()))
    assert round_trip["duplicates"] == [[0, 120], [1, 121]]
    assert round_trip["labels"]["absent"] == ["unused"]
    assert round_trip["leaks"][0]["train_row"] == 5

    labels[120] = [0, 1, 0, 0]
    labels[0] = [1, 0, 0, 0]
    changed = corpus_problems(texts, labels)
    assert changed.conflicts.rows.tolist() == [0, 120]
    assert changed.leaks is None and "leak" not in " ".join(changed.summary())
    none = corpus_problems(texts, labels, test_texts=[words(rng, 10)])
    assert "No leaks found: no test row is also in train." in none.summary()
    assert changed.outliers is None
    assert changed.to_dict()["conflicts"]["majority"] == [[-1, -1, 0, 0]] * 2


def test_a_corpus_without_problems_has_an_empty_summary():
    rng = np.random.default_rng(0)
    texts = [words(rng, 8) for _ in range(100)]
    assert corpus_problems(texts, np.arange(100) % 4).summary() == []
    with pytest.raises(ValueError, match="100 texts, but labels of 3 rows"):
        corpus_problems(texts, np.zeros(3, dtype=int))


def test_without_texts_everything_is_said_that_needs_none():
    rng = np.random.default_rng(4)
    true = rng.integers(3, size=1000)
    own = rng.standard_normal((3, 32))[true] + 0.5 * rng.standard_normal((1000, 32))
    vectors = np.hstack([own, np.zeros((1000, 4))])
    vectors[10] = vectors[20]
    vectors[30] = np.eye(36)[33]  # a direction that no other row has
    p = np.eye(4)[true] * 0.8 + 0.05
    p[true == 2] = [0.05, 0.05, 0.45, 0.45]
    labels = np.where((true == 2) & (rng.random(1000) < 0.5), 3, true)
    labels[10], labels[20] = 0, 1
    found = corpus_problems(None, labels, p, vectors, label_names=["a", "b", "c", "d"])
    summary = " ".join(found.summary())
    for sentence in ("2 rows have the same embedding as another row", "(2 rows) have different labels",
                     "first row 30", "1 label pairs, are often confused"):  # fmt: skip
        assert sentence in summary
    assert {*found.conflicts.rows.tolist()} == {10, 20} and found.texts == {} and json.dumps(found.to_dict())
    few = np.zeros(1000, dtype=np.int64)
    few[:11] = 1
    bare = corpus_problems(None, few, label_names=["a", "b"])
    assert bare.summary() == ["Labels are unbalanced: 'a' is given 90 times as often as 'b'."]
    assert bare.outliers is None and bare.to_dict()["duplicates"] == []


def test_one_row_and_no_rows():
    assert corpus_problems(
        ["one text"], np.array([0]), np.ones((1, 1)), np.ones((1, 2), np.float32)
    ).groups.tolist() == [0]
    assert corpus_problems([], np.zeros((0, 2), np.int8)).to_dict()["duplicates"] == []


# --- real corpora


def read(name):
    if not (SHARED / name).exists():
        pytest.skip("needs ../shared/data")
    return pd.read_parquet(SHARED / name / "train.parquet")


@pytest.mark.shared
@pytest.mark.parametrize("name", ["goemotions", "ag_news", "thucnews_titles", "sst2", "semeval2018_ec"])
def test_no_text_of_a_clean_corpus_is_refused(name):
    assert text_problems(read(name).text[:5000].tolist()) == {}


@pytest.mark.shared
def test_tweets_that_differ_by_a_hash_tag():
    """SemEval has many tweets once with and once without the hash tag that tells the emotion."""
    texts = read("semeval2018_ec").text[:2500].tolist()
    groups = near_duplicates(texts, embed(texts))
    for rows in (np.flatnonzero(groups == g) for g in np.flatnonzero(np.bincount(groups) == 2)):
        assert jaccard(*(normalized(texts[row]) for row in rows)) > 0.6
    assert (np.bincount(groups) > 1).sum() > 50


@pytest.mark.parametrize("encoder", ["lsa", ["lsa", "lsa"]])
def test_leaks_by_an_encoder_that_is_fitted_on_its_texts(encoder):
    rng = np.random.default_rng(0)
    train = [" ".join(f"w{100 * (i % 2) + word}" for word in rng.integers(0, 100, 25)) for i in range(80)]
    test = [" ".join(f"w{word}" for word in rng.integers(0, 200, 25)) for _ in range(20)]
    test[3], test[7] = f"{train[5]} end", train[8].split(" ", 1)[1]  # nearly equal
    labeled = Dataset.from_dict({"text": train, "label": [i % 2 for i in range(80)]})
    found = textpl.find_label_issues(labeled, encoder=encoder, test=Dataset.from_dict({"text": test}), progress=False)
    assert found.problems.leaks.test_rows.tolist() == [3, 7]
    assert found.problems.leaks.train_rows.tolist() == [5, 8]
