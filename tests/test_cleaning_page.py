"""The report page: what it says, that it needs no network, and that no text of a corpus can run in it."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest
from datasets import Dataset

from textpl.cleaning.noise_rates import rates_from_posterior
from textpl.cleaning.problems import corpus_problems
from textpl.cleaning.result import Detection
from textpl.cleaning.transition import transition_from_posterior
from textpl.embeddings.mapped import mapped_rows
from textpl.label_issues.find import find_label_issues
from textpl.label_issues.report import Decision, LabelReport
from textpl.reports.cleaning_figures import map_picture, precision_svg, reviewed_picture
from textpl.reports.cleaning_page import CELLS, LABELS, cleaning_page, threshold_table
from textpl.reports.pairs import pairs_svg

EVIL = "<script>alert(1)</script>"
NAMES = ("joy", "开心", f"{EVIL}'\"&", "$x_1$")
WORDS = ["apple", "river", "violin", "desert", "tractor", "window", "pepper", "planet"]


class Tags(HTMLParser):
    """Counts tags and checks that all are closed."""

    VOID = {"meta", "input", "br"}

    def __init__(self, page):
        super().__init__()
        self.open, self.found, self.attributes = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.found.append(tag)
        self.attributes += attrs


def report(rows=40, multi=True, names=NAMES, problems=None, texts=None, seed=0):
    """Random labels and probabilities; rows 0 and 1 are duplicates with different labels, with a script in them."""
    rng = np.random.default_rng(seed)
    count = len(names)
    texts = texts or [f"{EVIL} same", f"{EVIL} same", *(" ".join(rng.permutation(WORDS)) for _ in range(rows - 2))]
    if multi:
        given = (rng.random((rows, count)) < 0.4).astype(np.int8)
        given[0], given[1] = 0, 1
        p = rng.random((rows, count)).astype(np.float32) ** 4
        p_true = np.where(given == 1, 1 - p, p).astype(np.float32)
        flagged = p >= 0.5
        partner = np.where(flagged & (rng.random(p.shape) < 0.5), 0, -1).astype(np.int32)
        found = Detection(p, p_true, flagged, given ^ flagged, {"model": p_true}, partner)
    else:
        given = rng.integers(0, count, rows)
        given[:2] = 0, 1
        p_true = rng.dirichlet(np.full(count, 0.3), rows).astype(np.float32)
        p = 1 - p_true[np.arange(rows), given]
        flagged = p >= 0.5
        found = Detection(p, p_true, flagged, np.where(flagged, p_true.argmax(1), given), {"model": p_true})
    points = np.eye(count)[given if given.ndim == 1 else given[:, 0]] + rng.normal(size=(rows, count)) / 3
    points = points[mapped_rows(rows)].astype(np.float16)
    near = np.stack([(np.arange(rows) + step) % rows for step in (1, 2, 3)], 1).astype(np.int32)
    problems = corpus_problems(texts, given, label_names=names) if problems is None else problems
    return LabelReport(
        found, given, names, Dataset.from_dict({"text": texts}), "text", None, near, problems, points=points
    )


@pytest.mark.parametrize("multi", [True, False])
def test_no_text_of_the_corpus_becomes_markup(multi):
    found = report(multi=multi)
    estimate = rates_from_posterior if multi else transition_from_posterior
    page = cleaning_page(found, rates=estimate(found.given, found.p_true), title=f"Corpus {EVIL}")
    tags = Tags(page)
    assert tags.found.count("script") == 2 and "alert(1)<" not in page and EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; same" in page
    assert not [name for name, _ in tags.attributes if name.startswith("on")]


@pytest.mark.parametrize("multi", [True, False])
def test_the_page_needs_nothing_else(multi):
    page = cleaning_page(report(multi=multi))
    links = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"'<]*", page))
    assert links <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}  # names of formats
    tags = Tags(page)
    assert not {"link", "img", "iframe", "image", "font"} & set(tags.found) and "@import" not in page
    assert not [name for name, _ in tags.attributes if name == "src"]
    assert all(value.startswith("#") for name, value in tags.attributes if name == "href")
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_cells_say_what_is_wrong_and_why():
    found = report()
    page = cleaning_page(found)
    cells = re.findall(r"<article.*?</article>", page, re.DOTALL)
    p = np.sort(found.p_error.ravel())[::-1]
    assert len(cells) == min(CELLS, found.p_error.size)
    assert [float(re.search(r'data-p="([\d.]+)"', cell)[1]) for cell in cells] == pytest.approx(p, abs=1e-4)
    row, label = np.unravel_index(found.p_error.argmax(), found.p_error.shape)
    given = "is given and probably wrong" if found.given[row, label] else "is not given and probably missing"
    assert f"row {row}." in cells[0] and given in cells[0] and "3 most similar rows" in cells[0]
    assert f"row {(row + 1) % 40}" in cells[0]
    assert "below the cut" not in cells[0] and "below the cut" in cells[-1]
    assert any("swapped with" in cell for cell in cells)


def test_single_label_cells_suggest_a_label():
    found = report(multi=False, names=("a", "b", "c"))
    first = re.search(r"<article.*?</article>", cleaning_page(found), re.DOTALL)[0]
    row = int(found.p_error.argmax())
    assert f'suggested: <b class="missing" dir="auto">{"abc"[found.suggested[row]]}</b>' in first


@pytest.mark.parametrize("multi", [True, False])
def test_the_slider_counts_as_rethreshold_does(multi):
    found = report(multi=multi, seed=3)
    found.p_error.ravel()[:4] = 0.9, 0.29, 1.0, 0.0
    cuts = json.loads(re.search(r'id="cuts">(.*?)</script>', cleaning_page(found), re.DOTALL)[1])
    assert cuts == json.loads(json.dumps(threshold_table(found.p_error) | {"start": cuts["start"]}))
    for step in range(0, 101):
        chosen = found.rethreshold(step / 100).flagged
        assert cuts["count"][step] == chosen.sum()
        assert f"{cuts['errors'][step]}" == f"{found.p_error[chosen].sum(dtype=float):.0f}"
    assert cuts["start"] / 100 <= found.p_error[found.flagged].min() < cuts["start"] / 100 + 0.0101


def test_labels_come_with_their_rates():
    found = report()
    rates = rates_from_posterior(found.given, found.p_true)
    page = cleaning_page(found, rates=rates)
    worst = max(found.per_label(), key=lambda line: line["expected_wrong"] + line["expected_missing"])
    k = NAMES.index(worst["label"])
    line = re.search(r"<tbody>\s*(<tr>.*?</tr>)", page, re.DOTALL)[1]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL)
    assert cells[1:5] == [f"{worst[name]:.0f}" for name in ("given", "flagged", "expected_wrong", "expected_missing")]
    assert cells[5].startswith(f"{100 * rates.false_negative[k]:.1f} ") and f"{100 * rates.high[1, k]:.1f}" in cells[6]
    single = report(multi=False)
    rates = transition_from_posterior(single.given, single.p_true)
    line = re.search(r"<tr><td[^>]*>joy</td>.*?</tr>", cleaning_page(single, rates=rates), re.DOTALL)[0]
    assert f">{100 * (1 - rates.matrix[0, 0]):.1f} " in line


def test_flags_are_not_called_errors():
    found = report(seed=2)
    flags, errors = int(found.flagged.sum()), found.p_error[found.flagged].sum(dtype=float)
    page = cleaning_page(found, command=f"textpl clean '{EVIL}'")
    told = f"{flags} cells are flagged, about {errors:.0f} of them are errors; about {found.expected_errors:.0f} errors"
    assert told in page and flags - errors > 1
    assert "On average fewer than 200 rows per label" in page
    assert "<pre" in page and EVIL not in page
    script = page.rsplit("<script>", 1)[1]
    assert f"own ? {flags} :" in script and f"own ? {errors:.0f} :" in script, "the slider starts at what the page says"
    assert f"{found.p_error[found.flagged].min():.2f} (the cut of this report)" in script


def test_scores_that_are_no_probabilities_are_not_told_as_such():
    found = report()
    bare = dataclasses.replace(found.found, info={"calibrated": False})
    page = cleaning_page(LabelReport(bare, found.given, NAMES))
    assert "It is not calibrated" in page and "How sure this is" not in page
    assert "Probability of an error" not in page and "are expected in all" not in page


def test_rates_of_a_handful_of_rows_are_not_told():
    given = np.repeat([0, 1, 2], [60, 5, 4])
    p_true = np.full((69, 3), 0.1, np.float32)
    p_true[np.arange(69), given] = 0.8
    p = 1 - p_true[np.arange(69), given]
    found = LabelReport(Detection(p, p_true, p > 1, given), given, "abc")
    page = cleaning_page(found, rates=transition_from_posterior(given, p_true))
    lines = {name: re.search(rf'<tr><td dir="auto">{name}</td>.*?</tr>', page, re.DOTALL)[0] for name in "abc"}
    assert "too few rows" in lines["c"] and "&ndash;" not in lines["c"]
    assert all("too few rows" not in lines[name] and "&ndash;" in lines[name] for name in "ab")


@pytest.mark.parametrize("multi", [True, False])
def test_flagged_texts_are_ringed_on_the_map(multi):
    found = report(multi=multi, names=("a", "b", "c"))
    told = map_picture(found)
    rows = int(found.flagged.reshape(40, -1).any(1).sum())
    assert f"{rows} " in told["text"] and ("should not be there" in told["svg"]) == multi
    assert 'id="map"' in cleaning_page(found)
    clean = dataclasses.replace(found.found, flagged=np.zeros_like(found.flagged), suggested=found.given)
    assert told["svg"].count('style="stroke: currentColor') > map_picture(_with(found, clean))["svg"].count(
        'style="stroke: currentColor'
    )


def _with(found, detection):
    return LabelReport(detection, found.given, found.label_names, points=found.points)


def test_a_report_keeps_its_map(tmp_path):
    texts = [f"{a} {b} {i}" for i in range(4) for a in WORDS for b in WORDS[:3]]
    data = Dataset.from_dict({"text": texts, "label": [WORDS.index(text.split()[1]) for text in texts]})
    found = find_label_issues(data, encoder="lsa", label_names=WORDS[:3], progress=False)
    assert found.points.dtype == np.float16 and len(found.points) == len(texts)
    found.save(tmp_path)
    again = LabelReport.load(tmp_path, data).rethreshold(0.1)
    np.testing.assert_array_equal(again.points, found.points)
    assert cleaning_page(again) == cleaning_page(found.rethreshold(0.1))


def test_decisions_of_people_are_held_against_what_was_expected():
    found = report()
    cells = np.argsort(-found.p_error.ravel())[:30].tolist()
    rows = [divmod(cell, len(NAMES)) for cell in cells]
    wrong = [i % 3 == 0 for i in range(30)]
    decisions = [
        Decision(row, NAMES[k], bool(found.given[row, k]) != bad) for (row, k), bad in zip(rows, wrong, strict=True)
    ]
    reviewed = found.apply_review(decisions)
    told = reviewed_picture(reviewed)
    expected = found.p_error.ravel()[cells].sum(dtype=float)
    assert f"30 cells: 10 are errors; before that, {expected:.0f} were expected" in told["text"]
    assert "What people found" in cleaning_page(reviewed) and "Nobody has checked" not in cleaning_page(reviewed)
    assert "Nobody has checked" in cleaning_page(found) and reviewed_picture(found) is None


def test_other_problems_are_shown_with_their_texts():
    texts = ["river planet", "River  planet", "", "\ufffd\ufffd\ufffd\ufffd", *(f"{word} {word[:3]}" for word in WORDS)]
    found = report(12, texts=texts, names=("joy", "Joy ", "love"))
    problems = corpus_problems(
        texts, found.given, label_names=found.label_names, test_texts=["river planet", "violin x"]
    )
    page = cleaning_page(report(12, texts=texts, names=("joy", "Joy ", "love"), problems=problems))
    for words in (
        "Duplicates with different labels",
        "Test rows that are also in train",
        "test row 0, 100% alike",
        "Texts that say nothing",
        "Names written in several ways",
        "joy / Joy ",
    ):
        assert words in page or words.replace("joy / Joy ", "Joy  / joy") in page, words
    plain = cleaning_page(report(12, texts=texts, names=("joy", "Joy ", "love"), problems=problems.to_dict()))
    assert plain == page
    assert "Other problems" not in cleaning_page(report(problems={}))


def test_what_people_decided_is_not_asked_again():
    found = report()
    row, label = (int(i) for i in np.unravel_index(found.p_error.argmax(), found.p_error.shape))
    page = cleaning_page(found.apply_review([Decision(row, NAMES[label], not found.given[row, label])]))
    assert "1 decisions by people" in page and len(re.findall("<article", page)) == found.p_error.size - 1


def test_a_corpus_without_errors_and_without_texts():
    given = np.eye(3, dtype=np.int8)
    zero = np.zeros((3, 3), np.float32)
    found = LabelReport(Detection(zero, given.astype(np.float32), zero > 0, given), given, "abc")
    page = cleaning_page(found)
    assert "0 cells are flagged" in page and "nothing is changed" in page and 'id="map"' not in page
    Tags(page)


def test_large_corpora_make_small_pages():
    names = tuple(f"label {k} {'long ' * 9}" for k in range(LABELS + 20))
    page = cleaning_page(report(300, names=names, texts=["word " * 3000] * 300, problems={}))
    assert len(page) < 2_000_000 and page.count("<article") == CELLS and page.count("<tr><td") <= LABELS + 20
    assert f"The {LABELS} labels with the most expected errors" in page


def test_pictures_are_well_formed_and_take_the_colours_of_the_page(recwarn):
    names = ["开心", "$x_1$ & <b>", "a\nb", "very " * 20]
    shares = np.array([[np.nan, 0.5, 0.1, 0], [0.2, np.nan, 0, 0.003], [0] * 4, [1.0] * 4])
    for drawn in (pairs_svg(shares, names, names, "shares"), precision_svg(np.linspace(0, 1, 50), 5)):
        root = ElementTree.fromstring(drawn)
        assert root.get("role") == "img" and "currentColor" in drawn and "font-family" not in drawn
        assert "#000000" not in drawn and "#010203" not in drawn
    texts = [
        node.text for node in ElementTree.fromstring(pairs_svg(shares, names, names, "shares")).iter() if node.text
    ]
    assert {"开心", "$x_1$ & <b>", "a b", "50", "100"} <= set(texts) and "0" not in texts
    assert not [warning for warning in recwarn if "Glyph" in str(warning.message)]


def test_the_same_report_makes_the_same_page():
    assert cleaning_page(report()) == cleaning_page(report())


def test_people_who_reviewed_are_told_apart():
    found = report()
    answers = [
        Decision(row, NAMES[0], who == "ben" or row > 0, annotator=who) for row in range(3) for who in ("anna", "ben")
    ]
    page = cleaning_page(found.apply_review(answers))
    assert "People who reviewed" in page and "anna: 3 answers, 3 of them shared" in page and "1 cells are in" in page
    assert "People who reviewed" not in cleaning_page(found.apply_review(answers[::2]))
