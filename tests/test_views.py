import math
import multiprocessing
import pickle
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textpl.components.views import NEGATORS, TfidfReplacement, View, WordNoise, row_rng
from textpl.components.views.tfidf import _evenly_spaced, replacement_probabilities, substitute_probabilities
from textpl.components.views.words import is_protected, join_words, protected_mask, split_words

ENGLISH = "Well, I don't think this well-known movie is good; nobody did, and it isn’t worth the money at all!"
CHINESE = "这部电影并不好看，我没有看完就走了。演员毫无演技，剧情非常糟糕，不推荐大家去看。"
MIXED = "我的iPhone 15不工作 😀 but it's not broken，换新的吧"


def zipf_texts(n=300, length=40, seed=0):
    rng = random.Random(seed)
    vocabulary = [f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(500)]
    weights = [1 / (i + 1) for i in range(500)]
    return [" ".join(rng.choices(vocabulary, weights, k=rng.randrange(5, 2 * length - 5))) for _ in range(n)]


CORPUS = [
    *zipf_texts(),
    ENGLISH,
    CHINESE,
    MIXED,
    "Not 1 word too many",
    "The plot lacks nothing",
    "大家都看好这部电影",
]
FITTED = TfidfReplacement(p=0.7).fit(CORPUS)
VIEWS = [WordNoise(drop=0.3, swap=0.3), WordNoise(drop=1.0, swap=1.0), FITTED, TfidfReplacement(p=1.0).fit(CORPUS)]


def fake_chinese(text):
    """Greedy longest match over a tiny lexicon, everything else one character at a time."""
    return re.findall("电影|好看|没有|演员|毫无|演技|剧情|非常|糟糕|推荐|大家|不好看|.", text, re.DOTALL)


def lying_tokenizer(text):
    return text.upper().split()


def kept_words(text):
    return [word for word in split_words(text)[0] if is_protected(word)]


# Splitting


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t", []),
        ("😀👨‍👩‍👧 ... 1️⃣", []),
        ("Don't stop, it isn’t well-known!", ["Don't", "stop", "it", "isn’t", "well-known"]),
        ("'quoted' rock-'n'-roll -x- user_name", ["quoted", "rock", "n", "roll", "x", "user", "name"]),
        ("我用iPhone15，好", ["我", "用", "iPhone15", "好"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("café cafe\u0301", ["café", "cafe\u0301"]),
    ],
)
def test_split_words(text, words):
    assert split_words(text)[0] == words
    assert join_words(*split_words(text)) == text


def test_own_tokenizer():
    words, gaps = split_words("这部电影 没有演技。", fake_chinese)
    assert words == ["这", "部", "电影", "没有", "演技"]
    assert gaps == ["", "", "", " ", "", "。"]


@pytest.mark.parametrize("view", [WordNoise(tokenizer=lying_tokenizer), TfidfReplacement(tokenizer=lying_tokenizer)])
def test_lying_tokenizer_is_named_with_the_text(view):
    with pytest.raises(ValueError, match=r"'BAD'.*'bad words'.*as it is written"):
        view.fit(["bad words"])("bad words", row_rng(0, 0, 0))


# Formulas


def test_replacement_probabilities_by_hand():
    # C = 4, C - s = (4, 3, 2, 1, 0), mean 2.
    p = replacement_probabilities(np.array([0.0, 1, 2, 3, 4]), 0.2)
    np.testing.assert_allclose(p, [0.4, 0.3, 0.2, 0.1, 0.0])
    np.testing.assert_allclose(replacement_probabilities(np.array([0.0, 1, 2, 3, 4]), 0.7), [1, 1, 0.7, 0.35, 0])


def test_equal_scores_replace_nothing():
    assert replacement_probabilities(np.full(3, 0.5), 1.0).tolist() == [0, 0, 0]
    assert replacement_probabilities(np.zeros(0), 1.0).tolist() == []


def test_substitute_probabilities_by_hand():
    np.testing.assert_allclose(substitute_probabilities(np.array([0.0, 1, 2, 3, 4])), [0.4, 0.3, 0.2, 0.1, 0])
    np.testing.assert_allclose(substitute_probabilities(np.full(4, 2.0)), [0.25] * 4)


def uda_reference(texts, text, p):
    """UDA appendix B, word by word: replacement probability of each word, substitute probability of each word."""
    docs = [t.lower().split() for t in texts]
    idf = {w: math.log(len(docs) / sum(w in d for d in docs)) for w in {w for d in docs for w in d}}
    mass = dict.fromkeys(idf, 0.0)
    for d in docs:
        for w in d:
            mass[w] += 1 / len(d) * idf[w]
    words = text.lower().split()
    s = [sum(1 / len(words) * idf.get(w, math.log(len(docs))) for v in words if v == w) for w in words]
    z = sum(max(s) - x for x in s) / len(s)
    replaced = [min(1.0, p * (max(s) - x) / z) for x in s]
    top = max(mass.values())
    total = sum(top - m for m in mass.values())
    return replaced, {w: (top - m) / total for w, m in mass.items()}


def test_substitutes_equal_the_reference():
    texts = zipf_texts(60)
    vocabulary = TfidfReplacement(negators=False).fit(texts).vocabulary
    expected = uda_reference(texts, texts[0], 0.5)[1]
    found = dict(zip(vocabulary.substitutes, np.diff(vocabulary.cumulative, prepend=0).tolist(), strict=True))
    assert found.keys() == {w for w, chance in expected.items() if chance > 0}
    for word, chance in found.items():
        assert chance == pytest.approx(expected[word], abs=1e-12)


@pytest.mark.parametrize("p", [0.3, 0.7])
def test_each_word_changes_as_often_as_the_reference_says(p):
    texts, draws = zipf_texts(60), 3000
    text = texts[3] + " unseen wab wab"
    view = TfidfReplacement(p=p, negators=False).fit(texts)
    replaced, substitute = uda_reference(texts, text, p)
    words = text.split()
    # A substitute may be the word itself, as in the original.
    expected = np.array([q * (1 - substitute.get(w, 0.0)) for q, w in zip(replaced, words, strict=True)])
    changed = np.zeros(len(words))
    for epoch in range(draws):
        changed += np.array(view(text, row_rng(0, 0, epoch)).split()) != np.array(words)
    sigma = np.sqrt(expected * (1 - expected) / draws) + 1e-9
    assert (np.abs(changed / draws - expected) < 5 * sigma).all()


@pytest.mark.parametrize(("p", "low", "high"), [(0.1, 0.09, 0.11), (0.3, 0.27, 0.31), (0.7, 0.6, 0.7)])
def test_a_share_p_of_the_words_is_touched(p, low, high):
    texts = zipf_texts(1000)
    view = TfidfReplacement(p=p, negators=False).fit(texts)
    changed = total = 0
    for row, text in enumerate(texts):
        before, after = text.split(), view(text, row_rng(1, row, 0)).split()
        changed += sum(a != b for a, b in zip(before, after, strict=True))
        total += len(before)
    assert low < changed / total < high


def test_capitals_and_case():
    view = TfidfReplacement(p=1.0).fit(["Alpha beta", "alpha BETA gamma", "gamma delta"])
    assert set(view.vocabulary.idf) == {"alpha", "beta", "gamma", "delta"}
    assert view.vocabulary.idf["alpha"] == pytest.approx(math.log(3 / 2))
    for epoch in range(50):
        out = view("Alpha Beta unseen, gamma", row_rng(0, 0, epoch))
        assert re.fullmatch(r"[A-Z][a-z]+ [A-Z][a-z]+ [a-z]+, [a-z]+", out)


def test_one_word_or_a_flat_corpus_stays_as_it_is():
    assert FITTED("word", row_rng(0, 0, 0)) == "word"
    assert TfidfReplacement(p=1.0).fit(["not"])("a b b", row_rng(0, 0, 0)) == "a b b"


def test_evenly_spaced_with_and_without_a_known_length():
    assert list(_evenly_spaced([str(i) for i in range(10)], 5)) == ["0", "2", "4", "6", "8"]
    assert list(_evenly_spaced((str(i) for i in range(10)), 5)) == ["0", "2", "4", "6", "8"]
    assert len(list(_evenly_spaced(["a"] * 1001, 100))) == 100
    assert 50 <= len(list(_evenly_spaced(iter(["a"] * 1001), 100))) <= 100
    assert list(_evenly_spaced(iter("abc"), 1)) == ["a"]
    assert TfidfReplacement(max_texts=2).fit(["a", "b", "c", "d"]).vocabulary.idf == {
        "a": math.log(2),
        "c": math.log(2),
    }


# Word noise


def test_drop_takes_one_blank_along():
    view = WordNoise(drop=0.5, swap=0.0)
    for epoch in range(200):
        out = view("one (two three), four\nfive 'six' seven.", row_rng(0, 0, epoch))
        assert "  " not in out and not re.search(r"\( | [),.]|^ | $", out)


def test_drop_and_swap_rates():
    words = [f"w{i}" for i in range(2000)]
    out = WordNoise(drop=0.2, swap=0.0)(" ".join(words), row_rng(0, 0, 0)).split()
    assert 0.17 < 1 - len(out) / 2000 < 0.23 and out == [w for w in words if w in set(out)]
    out = WordNoise(drop=0.0, swap=0.2)(" ".join(words), row_rng(0, 0, 0)).split()
    moved = [abs(words.index(w) - i) for i, w in enumerate(out)]
    assert sorted(out) == sorted(words) and max(moved) == 1
    # A word that was just moved left is not asked again: 0.2 / 1.2 pairs a word.
    assert 0.14 < sum(moved) / 2 / 2000 < 0.19


def test_one_word_always_stays():
    left = {WordNoise(drop=1.0, swap=1.0)("a b c", row_rng(0, 0, epoch)) for epoch in range(50)}
    assert left == {"a", "b", "c"}
    assert WordNoise(drop=1.0)("not a b", row_rng(0, 0, 0)) == "not"


def test_words_do_not_grow_together():
    assert WordNoise(drop=1.0, swap=0.0, protected=("do",))("do我not", row_rng(0, 0, 0)) == "do not"


# Protected words


@pytest.mark.parametrize(
    "word",
    [
        "not",
        "NOT",
        "Don't",
        "isn’t",
        "n't",
        "dont",
        "cannot",
        "not-so-good",
        "nobody's",
        "lacks",
        "不",
        "不错",
        "没有",
    ],
)
def test_default_negators(word):
    assert is_protected(word)
    assert not is_protected(word, negators=False)


def test_other_words_are_free():
    assert not any(is_protected(word) for word in ["note", "know", "canteen", "good", "Nobel", "好", "有", ""])
    assert len(set(NEGATORS)) == len(NEGATORS)


def protected_words(text, protected, **kwargs):
    words, gaps = split_words(text, **kwargs)
    return [word for word, stays in zip(words, protected_mask(words, gaps, protected), strict=True) if stays]


def test_expressions_protect_each_of_their_words():
    assert protected_words("我要退款，不是退货", ("退款",)) == ["退", "款", "不"]
    assert protected_words("有没有", ()) == ["没", "有"]
    assert protected_words("Far From good, far away from C++ and C", ("far from", "c++")) == ["Far", "From", "C"]
    assert protected_words("aba-bab aba", ("aba",)) == ["aba-bab", "aba"]
    assert protected_words("电影没有演技", (), tokenizer=fake_chinese) == ["没有"]
    assert protected_words("一二三 can’t wait", ("一二", "二三", "can't wait")) == ["一", "二", "三", "can’t", "wait"]
    assert protected_words("so :) so", (":)",)) == []


def test_pieces_of_a_users_expression_are_not_inserted():
    view = TfidfReplacement(p=1.0, protected=("退款",)).fit(["退我款了", "我要退款", "我有不少", "没有"])
    assert not {"退", "款", "不", "没"} & set(view.vocabulary.substitutes)
    assert "有" in view.vocabulary.substitutes


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("text", [ENGLISH, CHINESE, MIXED])
def test_negators_are_never_dropped_replaced_or_inserted(view, text):
    for epoch in range(100):
        assert kept_words(view(text, row_rng(0, 0, epoch))) == kept_words(text)


def test_words_never_move_past_a_protected_one():
    for epoch in range(50):
        out = WordNoise(drop=0.0, swap=1.0)("a b not c d", row_rng(0, 0, epoch))
        assert out == "b a not d c"


SAMPLES = "not good Don't isn’t 不 没 有 好 看 lacks a-b 1️⃣ 😀 👨‍👩‍👧 ' - -- ， . ( ) _ 1 \u0301 हिन्दी İ ß ŉ"
PIECES = st.sampled_from([*SAMPLES.split(), " ", "\n", "  ", "\u3000", "x" * 2000])
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map(" ".join))


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.integers(0, 2**32 - 1))
def test_any_text(text, seed):
    assert join_words(*split_words(text)) == text
    for view in (WordNoise(drop=0, swap=0), TfidfReplacement(p=0.0, vocabulary=FITTED.vocabulary)):
        assert view(text, row_rng(seed, 0, 0)) == text
    for view in VIEWS:
        out = view(text, row_rng(seed, 0, 0))
        assert out == view(text, row_rng(seed, 0, 0))
        assert kept_words(out) == kept_words(text)
        assert bool(split_words(out)[0]) == bool(split_words(text)[0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.floats(0, 1))
def test_formulas_give_probabilities(scores, p):
    scores = np.array(scores)
    replaced, substitutes = replacement_probabilities(scores, p), substitute_probabilities(scores)
    assert ((replaced >= 0) & (replaced <= 1)).all() and replaced.mean() <= p + 1e-9
    assert (substitutes >= 0).all() and substitutes.sum() == pytest.approx(1)


# Contract


@pytest.mark.parametrize("view", [WordNoise(tokenizer=fake_chinese), TfidfReplacement(tokenizer=fake_chinese)])
def test_contract_and_pickling(view: View):
    before = repr(view)
    fitted = view.fit(iter(CORPUS))
    assert repr(view) == before
    copy = pickle.loads(pickle.dumps(fitted))
    assert copy == fitted and hash(copy) == hash(fitted) and repr(copy) == repr(fitted)
    for row, text in enumerate(CORPUS):
        assert copy(text, row_rng(0, row, 0)) == fitted(text, row_rng(0, row, 0))


def test_fitting_on_other_texts_makes_another_view():
    assert TfidfReplacement().fit(["a b", "c"]) != TfidfReplacement().fit(["a b", "d"]) != TfidfReplacement()


@pytest.mark.parametrize("view", [WordNoise(), FITTED])
def test_order_and_workers_do_not_matter(view):
    straight = [view(text, row_rng(7, row, 2)) for row, text in enumerate(CORPUS)]
    rows = random.Random(0).sample(range(len(CORPUS)), len(CORPUS))
    shuffled = {row: view(CORPUS[row], row_rng(7, row, 2)) for row in rows}
    assert [shuffled[row] for row in range(len(CORPUS))] == straight
    # Spawned workers have another hash seed, too.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        jobs = ((text, row_rng(7, row, 2)) for row, text in enumerate(CORPUS))
        assert pool.starmap(view, jobs, chunksize=7) == straight
    assert [view(text, row_rng(7, row, 3)) for row, text in enumerate(CORPUS)] != straight


def test_unfitted_and_wordless():
    with pytest.raises(RuntimeError, match=r"not fitted: use view = view.fit"):
        TfidfReplacement()("a b", row_rng(0, 0, 0))
    with pytest.raises(ValueError, match="none of the 2 texts"):
        TfidfReplacement().fit(["", " 😀"])
    with pytest.raises(ValueError, match="none of the 0 texts"):
        TfidfReplacement().fit([])
    with pytest.raises(ValueError, match="single text 'abc'"):
        TfidfReplacement().fit("abc")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WordNoise(drop=1.5), "drop=1.5 is no probability: use a number from 0 to 1"),
        (lambda: WordNoise(swap=-0.1), "swap=-0.1"),
        (lambda: WordNoise(drop=float("nan")), "drop=nan"),
        (lambda: TfidfReplacement(p=2), "p=2"),
        (lambda: TfidfReplacement(max_texts=0), "max_texts=0"),
        (lambda: WordNoise(protected="refund"), "protected='refund' is no tuple of words"),
        (lambda: TfidfReplacement(protected=("a", " ")), "no tuple of words"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_protected_list_from_a_file_becomes_a_tuple():
    assert WordNoise(protected=["refund", " great "]) == WordNoise(protected=("refund", "great"))
