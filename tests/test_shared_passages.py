"""Texts that share passages are found and told; groups keep siblings from judging each other."""

import logging

import numpy as np
import pytest
from datasets import Dataset

import textpl
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.neighbors import unit_rows
from textpl.label_issues.groups import joined, read_groups
from textpl.shared_passages import passages_warning, shared_share

WORDS = ["alder", "birch", "cedar", "dogwood", "elm", "fir", "gum", "hazel", "ivy", "juniper", "kapok", "larch"]


def document(seed, words=120):
    rng = np.random.default_rng(seed)
    return [f"{WORDS[i]}{rng.integers(100)}" for i in rng.integers(0, len(WORDS), words)]


def windows(seed, size=40, step=20):
    words = document(seed)
    return [" ".join(words[start : start + size]) for start in range(0, len(words) - size + 1, step)]


def exact_share(texts):
    """What `shared_share` samples: every passage of 32 characters."""
    forms = [" ".join(t.lower().split()) for t in texts]
    passages = [{t[i : i + 32] for i in range(len(t) - 31)} for t in forms]
    return np.array(
        [
            np.mean(
                [any(p in o for k, o in enumerate(passages) if k != i and forms[k] != forms[i]) for p in own] or [0]
            )
            for i, own in enumerate(passages)
        ]
    )


def test_the_share_agrees_with_a_plain_count():
    texts = [w for seed in range(3) for w in windows(seed)] + [" ".join(document(9)), "short", ""]
    found = shared_share(texts)
    np.testing.assert_allclose(found, exact_share(texts), atol=0.25)
    assert (found[:15] > 0.3).all() and not found[-3:].any()


def test_windows_are_told_and_texts_of_their_own_are_not():
    cut = [w for seed in range(20) for w in windows(seed)]
    told = passages_warning(cut, False)
    assert "of 100 texts share" in told and "groups=COLUMN" in told
    assert passages_warning(cut, True) is None
    whole = [" ".join(document(seed)) for seed in range(60)]
    assert passages_warning(whole, False) is None
    assert passages_warning(whole * 2, False) is None  # duplicates are looked for elsewhere
    footer = "This message and any attachment are confidential and meant for the addressee only."
    assert passages_warning([f"{text[:150]} {footer}" for text in whole], False) is None
    chinese = ["".join(chr(0x4E00 + c) for c in np.random.default_rng(s).integers(0, 3000, 120)) for s in range(20)]
    assert passages_warning(chinese, False) is None
    assert passages_warning([t[i : i + 60] for t in chinese for i in (0, 30, 60)], False)


def test_neighbors_of_the_own_group_do_not_vote():
    ids = np.array([[1, 2, 3], [0, 3, 2], [3, 1, -1], [2, 0, 1]], np.int32)
    sims = np.array([[0.9, 0.8, 0.7], [0.9, 0.6, 0.5], [0.9, 0.5, 0], [0.9, 0.7, 0.6]], np.float32)
    found = NeighborGraph(ids, sims).across(np.array([0, 0, 1, 1]))
    assert found.ids.tolist() == [[2, 3, -1], [3, 2, -1], [1, -1, -1], [0, 1, -1]]
    np.testing.assert_allclose(found.sims[0], [0.8, 0.7, 0])


def test_duplicates_and_groups_are_joined():
    assert joined(np.array([0, 1, 1, 2]), np.array([0, 0, 1, 2])).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("groups", "said"),
    [("doc", "columns are"), ([1, 2], "2 groups for 3 rows"), ([1, None, 2], "row 1"), ([7, 7, 7], "one group")],
)
def test_groups_that_cannot_be_are_named(groups, said):
    with pytest.raises(ValueError, match=said):
        read_groups(groups, Dataset.from_dict({"text": ["a", "b", "c"]}), 3)


def of_documents(documents, rows, seed=0):
    """Vectors of windows that lie near their document's; labels are those of the document, a few documents wrong."""
    rng = np.random.default_rng(seed)
    axes = rng.normal(size=(2, 40))
    label = np.arange(documents) % 2
    wrong = np.zeros(documents, bool)
    wrong[:4] = True
    centers = axes[label] + 1.5 * rng.normal(size=(documents, 40))
    vectors = np.repeat(centers, rows, 0) + 0.2 * rng.normal(size=(documents * rows, 40))
    return (
        unit_rows(vectors.astype(np.float32)),
        np.repeat(np.where(wrong, 1 - label, label), rows),
        np.repeat(wrong, rows),
    )


def test_wrong_documents_are_found_once_their_windows_do_not_vouch_for_each_other():
    vectors, given, wrong = of_documents(60, 10)
    doc = np.repeat(np.arange(60), 10)
    alone = textpl.find_label_issues(labels=given, embeddings=vectors, progress=False)
    apart = textpl.find_label_issues(labels=given, embeddings=vectors, groups=doc, progress=False)
    assert alone.p_error[wrong].max() < 0.01  # each window has nine others that say the same
    assert apart.p_error[wrong].mean() > 0.8 > 0.2 > apart.p_error[~wrong].mean()


def test_overlapping_windows_are_told_by_the_search_for_wrong_labels(caplog):
    texts = [w for seed in range(8) for w in windows(seed)]
    rows = Dataset.from_dict(
        {"text": texts, "label": [i % 2 for i in range(len(texts))], "doc": [i // 5 for i in range(len(texts))]}
    )
    with caplog.at_level(logging.WARNING):
        textpl.find_label_issues(rows, encoder="lsa", progress=False)
    assert "groups=COLUMN" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        textpl.find_label_issues(rows, encoder="lsa", groups="doc", progress=False)
    assert "groups=COLUMN" not in caplog.text


class OfDocuments:
    """A window lies near its document, whose class says little about where: text is "document window"."""

    name = "documents"

    def encode(self, texts, *, progress=True):
        rows = []
        for text in texts:
            document, window = map(int, text.split())
            center = np.random.default_rng(document).normal(size=30)
            rows.append(center + 0.2 * np.random.default_rng(1000 * document + window).normal(size=30))
        return unit_rows(np.array(rows, dtype=np.float32))


def test_what_is_expected_of_labels_is_measured_on_documents_that_were_hidden():
    """Windows of 24 documents whose labels are chance: their siblings make them look right, new ones are not."""
    kind = np.random.default_rng(0).integers(0, 2, 48)
    rows = [(d, w) for d in range(24) for w in range(8)]
    labeled = Dataset.from_dict(
        {
            "text": [f"{d} {w}" for d, w in rows],
            "label": [int(kind[d]) for d, _ in rows],
            "doc": [f"d{d}" for d, _ in rows],
        }
    )
    new = [(d, w) for d in range(24, 48) for w in range(8)]
    pool, gold = Dataset.from_dict({"text": [f"{d} {w}" for d, w in new]}), np.array([kind[d] for d, _ in new])
    given = {"encoder": OfDocuments(), "method": "knn_dv", "progress": False}
    alone, apart = textpl.label(labeled, pool, **given), textpl.label(labeled, pool, groups="doc", **given)
    true = (apart.labels == gold).mean()
    assert alone.expected_precision > 0.95 and abs(apart.expected_precision - true) < 0.25
    low, high = apart.expected_precision_interval
    assert low < true < high and high - low > 0.3  # 24 documents, not 192 rows
    assert "its group and other groups were hidden" in str(apart) and "95 % interval" in str(apart)
    by_array = textpl.label(labeled, pool, groups=labeled["doc"][:], **given)
    assert by_array.expected_precision == apart.expected_precision


def test_a_label_of_one_document_only_is_not_answerable():
    labeled = Dataset.from_dict({"text": ["1 1", "1 2", "2 1", "2 2"], "label": [0, 0, 1, 1], "doc": [1, 1, 2, 2]})
    pool = Dataset.from_dict({"text": ["3 1", "4 1"]})
    found = textpl.label(labeled, pool, encoder=OfDocuments(), groups="doc", progress=False)
    assert found.expected_precision is None and found.expected_precision_interval is None
    assert "no label occurs in two groups" in str(found)


def test_groups_on_the_command_line(tmp_path):
    from typer.testing import CliRunner

    from textpl.cli import app

    lines = [f"{w},{'ab'[seed % 2]},d{seed}" for seed in range(12) for w in windows(seed, 12, 9)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label,doc", *lines]))
    (tmp_path / "pool.csv").write_text("\n".join(["text", *[" ".join(document(90 + i, 12)) for i in range(20)]]))
    for command in (
        ["label", str(tmp_path / "rows.csv"), str(tmp_path / "pool.csv"), "--out", str(tmp_path / "out.csv")],
        ["clean", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "clean")],
    ):
        done = CliRunner().invoke(app, [*command, "--encoder", "lsa", "--groups", "doc"])
        assert done.exit_code == 0, done.output
        command = [*command[:-1], str(tmp_path / "no.csv"), "--encoder", "lsa", "--groups", "author"]
        wrong = CliRunner().invoke(app, command)
        assert wrong.exit_code and "author" in wrong.output
