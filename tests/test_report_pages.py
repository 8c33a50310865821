"""The pages of `textpl run` and `textpl label`: what they say, and that no text of a corpus can run in them."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from datasets import Dataset
from matplotlib.figure import Figure
from report_samples import NAMES, comparison, found_labels, pages, run_report
from sklearn.metrics import precision_recall_fscore_support
from test_cleaning_page import EVIL, Tags
from typer.testing import CliRunner

from textpl.cli import app
from textpl.labeling import label
from textpl.relabeling.methods import METHODS
from textpl.reports.curves import mean_run
from textpl.reports.doubtful_rows import doubtful_rows
from textpl.reports.figures import comparison_figure
from textpl.reports.label_page import label_lines, label_page
from textpl.reports.maps import groups_of, layout, shown_labels
from textpl.reports.page import _percent
from textpl.reports.run_figures import reliability, training_pictures
from textpl.reports.run_page import command_again
from textpl.reports.run_page import label_lines as run_label_lines
from textpl.reports.svg import inline_svg


@pytest.fixture(scope="module")
def all_pages():
    return pages()


@pytest.mark.parametrize("kind", ["run", "run-multi", "label", "clean"])
def test_no_text_becomes_markup_and_nothing_is_fetched(all_pages, kind):
    page = all_pages[kind]
    tags = Tags(page)
    assert EVIL not in page and "alert(1)<" not in page and "&lt;script&gt;alert(1)" in page
    assert tags.found.count("script") == (2 if kind == "clean" else 0)
    assert not [name for name, _ in tags.attributes if name.startswith("on") or name == "src"]
    links = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^\s\"'<]*", page))
    assert links <= {"http://www.w3.org/1999/xlink", "http://www.w3.org/2000/svg"}  # names of formats
    assert not {"link", "img", "iframe", "image", "font"} & set(tags.found) and "@import" not in page
    targets = [value for name, value in tags.attributes if name == "href"]
    anchors = {value for name, value in tags.attributes if name == "id"}
    assert all(target[0] == "#" and target[1:] in anchors for target in targets)
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page
    assert len(page) < 3_000_000


@pytest.mark.parametrize("kind", ["run", "run-multi", "label", "clean"])
def test_pictures_are_told_to_those_who_cannot_see_them(all_pages, kind):
    drawings = re.findall(r"<svg .*?</svg>", all_pages[kind], re.DOTALL)
    assert len(drawings) >= 3
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)
        assert root.get("role") == "img" and len(root.get("aria-label")) > 10
        assert "currentColor" in drawing and "#000000" not in drawing and "#010203" not in drawing


# ---- run ----


@pytest.mark.parametrize(
    ("skill", "words"), [(2.0, "Yes."), (0.4, "There is no evidence that it did."), (0.0, "No, it hurt.")]
)
def test_the_answer_comes_first(skill, words):
    compared = comparison(rows=200, skill=skill, seeds=range(5))
    page = run_report(compared)
    answer = page.index(f"Did the unlabelled text help? <b>{words}</b>")
    assert answer < page.index("What was done")
    low, high = compared.interval.low, compared.interval.high
    assert f"95 % interval {low:+z.1f} to {high:+z.1f}" in page


def test_labels_have_the_mean_and_the_spread_of_their_scores():
    compared = comparison(seeds=(0, 1, 2))
    line = run_label_lines(compared, NAMES)[1]
    expected = np.array(
        [precision_recall_fscore_support(o.gold, o.predictions, labels=[1]) for o in compared.method], dtype=float
    )[:, :, 0]
    for k, key in enumerate(("precision", "recall", "f1")):
        assert line["sides"][1][key] == pytest.approx((expected[:, k].mean(), expected[:, k].std(ddof=1)))
    assert line["support"] == (compared.method[0].gold == 1).sum()
    (alone,) = run_label_lines(comparison(seeds=(4,)), NAMES)[:1]
    assert alone["sides"][0]["f1"][1] is None, "one seed says nothing of the spread"


def test_stages_reference_and_expectation_are_told():
    compared = comparison(pool=False, name="cleaned labels")
    cleaning = {
        "seed": 0, "rows": 90, "flagged": 12, "expected_errors": 10.4,
        "apply": {"relabelled": {"cells": 7, "expected_right": 1.2}, "right_labels_changed": 0.01},
        "against_truth": {"precision": 83.3, "recall": 61.2},
    }  # fmt: skip
    labels = {
        "method": "linear",
        "encoder": "lsa",
        "rows": 50,
        "selected": 49,
        "expected_precision": 0.9,
        "accuracy": 88.1,
    }
    right = compared.to_dict()["method"] | {"name": "right labels"}
    page = run_report(
        compared, cleaning=[cleaning], labels=[labels], right_labels=right, expected={"sentence": "As expected."}
    )
    for words in ("<td>7 relabelled</td>", "83.3", "linear on lsa", "accuracy 88.1", "for reference", "As expected."):
        assert words in page, words
    assert "Pseudo-labels while training" not in page and "none used" in page


def test_the_picture_has_no_empty_panel_and_names_the_sides():
    compared = dataclasses.replace(comparison(pool=False), baseline_name="noisy labels")
    (axes,) = comparison_figure(compared).axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["noisy labels", "softmatch"]
    assert len(comparison_figure(comparison()).axes) == 2


def test_the_numbers_of_the_means_are_not_printed_over_the_points():
    compared = comparison(pool=False, seeds=(0, 1, 2))
    for side, base in ((compared.baseline, 0.4), (compared.method, 0.8)):
        for outcome, more in zip(side, (0.0, 0.02, 0.05), strict=True):
            outcome.scores["accuracy"] = base + more
    figure = comparison_figure(compared)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    points = [
        axes.transData.transform(point)
        for line in axes.lines
        if len(line.get_xdata()) == 2
        for point in line.get_xydata()
    ]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 2 and not any(box.contains(*point) for box in boxes for point in points)
    assert all(axes.get_window_extent().fully_containsx(x) for box in boxes for x in (box.x0, box.x1))


def test_doubtful_rows_are_the_surest_errors_and_then_the_closest_calls():
    compared = sharper(comparison(rows=60, skill=0.3))
    texts = [f"text {i}" for i in range(60)]
    sure, wavering = doubtful_rows(compared.baseline, compared.method, texts, NAMES)
    p = np.mean([o.probabilities for o in compared.method], axis=0)
    gold = compared.method[0].gold
    against = np.where(p.max(1) >= 0.5, p.max(1) - p[np.arange(60), gold], 0)
    assert len(sure) > 1 and p[[item["row"] for item in sure]].max(1).min() >= 0.5
    assert [item["row"] for item in sure] == np.argsort(-against, kind="stable")[: len(sure)].tolist()
    assert all(item["gold"] != item["after"] for item in sure) and sure[0]["text"] == f"text {sure[0]['row']}"
    margins = [item["chances"][0][1] - item["chances"][1][1] for item in wavering]
    assert margins == sorted(margins) and not {i["row"] for i in sure} & {i["row"] for i in wavering}


def test_nothing_is_called_sure_that_is_not():
    compared = comparison(rows=60, skill=0.3)
    flat = [dataclasses.replace(o, probabilities=(o.probabilities + 1) / 4) for o in compared.method]
    sure, wavering = doubtful_rows(compared.baseline, flat, ["x"] * 60, NAMES)
    assert not sure and len(wavering) == 12
    page = run_report(dataclasses.replace(compared, method=flat))
    assert re.search(r"At least 50 % sure, and against the given label</h3>\s*<p>None.", page)


def sharper(compared):
    """The same comparison with surer models."""

    def sharp(outcome):
        p = outcome.probabilities**4
        return dataclasses.replace(outcome, probabilities=p / p.sum(1, keepdims=True))

    return dataclasses.replace(compared, method=[sharp(outcome) for outcome in compared.method])


def test_shares_of_labels_are_drawn_as_means_only():
    counts = []
    for seeds in ((0,), (0, 1, 2)):
        pictures = training_pictures(comparison(seeds=seeds), NAMES)
        counts.append([len(re.findall(r'<g id="line2d_', it["svg"])) for it in pictures])
        assert pictures[-1]["title"] == "Labels of the accepted pseudo-labels"
    (*_, one), (loss, *_, several) = counts
    assert several == one and loss > counts[0][0]


def test_multi_label_rows_are_doubtful_by_their_worst_cell():
    compared = comparison(multi=True, rows=60, skill=0.3)
    sure, _ = doubtful_rows(compared.baseline, compared.method, ["x"] * 60, NAMES)
    p, gold = np.mean([o.probabilities for o in compared.method], axis=0), compared.method[0].gold
    gaps = np.abs(gold - p).max(1)
    assert sure[0]["row"] == gaps.argmax()
    name, chance = sure[0]["chances"][0]
    assert abs((name in sure[0]["gold"]) - chance) == pytest.approx(gaps.max())


def test_a_run_from_before_features_were_kept_has_no_map():
    compared = comparison()
    bare = [dataclasses.replace(outcome, features=None) for outcome in compared.method]
    page = run_report(dataclasses.replace(compared, method=bare))
    assert 'id="map"' not in page and 'href="#map"' not in page and 'id="map"' in run_report(compared)


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ("textpl run mine --out runs/mine --seeds 0,1", "textpl run mine --seeds 0,1"),
        ("textpl run 'my recipe' --out 'my runs' --resume", "textpl run 'my recipe'"),
        ("textpl run mine --set data.text=--outer", "textpl run mine --set data.text=--outer"),
        ("textpl run mine", "textpl run mine"),
        ("an odd ' one", "an odd ' one"),
    ],
)
def test_the_command_to_do_it_again_names_no_folder_that_is_taken(typed, again):
    assert command_again(typed) == again


def test_the_page_of_a_run_shows_that_command():
    assert ">textpl run mine</pre>" in run_report(comparison(), command="textpl run mine --out runs/mine")


# ---- label ----


@pytest.mark.parametrize("multi", [False, True])
def test_labels_found_are_counted(multi):
    found = found_labels(multi)
    lines = label_lines(found)
    assert [line["label"] for line in lines] == list(NAMES) and [line["given"] for line in lines] == [6, 6, 6]
    assert sum(line["got"] for line in lines) == ((found.labels == 1).sum() if multi else found.selected.sum())
    page = label_page(found)
    assert "is zero: the text is empty" in page and f"{found.selected.sum()}</b> of 19 rows" in page
    assert "labelled row" in page and "similarity" in page
    Tags(page)


def test_doubtful_labels_come_with_what_they_rest_on():
    found = found_labels()
    first = re.search(r"<article.*?</article>", label_page(found), re.DOTALL)[0]
    chosen = np.flatnonzero(found.selected & (found.hops != 0))
    row = int(chosen[found.confidence[chosen].argmin()])
    source, voter, similarity = found.evidence_of(row)[0]
    assert f"row {row}. Confidence: {100 * found.confidence[row]:.0f} %. Soft label:" in first
    assert "Confidence: how often labels as sure as this one" in label_page(found)
    assert source == "labeled" and f"labelled row {voter}, similarity {similarity:.2f}" in first


def test_precision_comes_with_its_interval():
    found = found_labels().rethreshold(confidence=0.5)
    page = label_page(found)
    assert "95 % interval" in page and "least confidence asked for" in page
    at = np.flatnonzero(found.coverage.cut >= 0.5)[-1]
    low, high = 100 * found.coverage.low[at], 100 * found.coverage.high[at]
    assert f"95 % interval {low:.1f} to {high:.1f} %" in page
    assert "least confidence asked for" not in label_page(found_labels())


def test_methods_are_told_in_plain_words():
    page = label_page(found_labels())
    assert f'<dt>linear</dt><dd dir="auto">{METHODS["linear"].summary}</dd>' in page


def test_one_labelled_row_per_label_makes_a_page_without_curves():
    known = Dataset.from_dict({"text": ["a cup of tea", "rain and storm"], "label": [0, 1]})
    pool = Dataset.from_dict({"text": ["tea cup", "storm rain"]})
    page = label_page(label(known, pool, encoder="lsa", progress=False))
    assert "cannot be estimated" in page and "<b>?</b>" in page
    Tags(page)


def test_the_command_line_writes_page_and_command(tmp_path):
    rows = [{"text": f"{word} {topic}", "label": topic} for word in "abcdef" for topic in ("tea", "rain")]
    (tmp_path / "known.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "pool.jsonl").write_text("\n".join(json.dumps({"text": f"my {r['text']}"}) for r in rows))
    arguments = ["label", "known.jsonl", "pool.jsonl", "--encoder", "lsa", "--method", "linear", "--all"]
    places = [str(tmp_path / a) if a.endswith(".jsonl") else a for a in arguments]
    done = CliRunner().invoke(app, [*places, "--out", str(tmp_path / "out.csv")])
    assert done.exit_code == 0, done.output
    command = json.loads((tmp_path / "out.csv.report.json").read_text())["command"]
    assert command.startswith("textpl label ") and "--method linear" in command and command.endswith("--all")
    assert command.split(" --")[0] in (tmp_path / "out.csv.report.html").read_text()


# ---- parts ----


def test_means_of_curves_are_over_what_all_have():
    x, y = mean_run([(np.array([1.0, 3]), np.array([1.0, 3])), (np.array([2.0, 4]), np.array([4.0, 4]))])
    assert x.tolist() == [2, 3] and y.tolist() == [3, 3.5]
    assert mean_run([]) is None and mean_run([(np.array([1.0]), np.array([1.0]))] * 2)[1].tolist() == [1]


def test_calibration_bins():
    p = np.array([0.05] * 10 + [0.95] * 10 + [0.5])
    right = np.array([1] + [0] * 9 + [1] * 8 + [0] * 2 + [1])
    x, y = reliability(p, right)
    np.testing.assert_allclose(x, [5, 95])
    np.testing.assert_allclose(y, [10, 80])


def test_maps_keep_clusters_apart_and_are_the_same_every_time():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 20)
    vectors = 10 * np.eye(3)[group] + rng.normal(size=(60, 3))
    places = layout(vectors)
    np.testing.assert_array_equal(places, layout(vectors))
    centers = np.stack([places[group == g].mean(0) for g in range(3)])
    assert (np.linalg.norm(places[:, None] - centers, axis=2).argmin(1) == group).all()
    for odd in (np.zeros((30, 4)), np.ones((2, 3)), rng.normal(size=(20, 1)), np.eye(3)[:1]):
        assert layout(odd).shape == (len(odd), 2) and np.isfinite(layout(odd)).all()


def test_rows_are_grouped_by_the_most_frequent_and_the_rarest_of_their_own_labels():
    groups, ids = shown_labels(np.array([0, 0, 8, -1, *range(9)]), 9)
    assert ids == [0, 1, 2, 3, 4, 5, 8] and groups[:4].tolist() == [0, 0, 6, -1]
    assert groups[4 + 7] == len(ids), "a label that has no colour of its own"
    multi = np.array([[1, 0], [1, 1], [0, 0], [1, 0]])
    assert shown_labels(multi, 2)[0].tolist() == [0, 1, -1, 0]
    assert groups_of(multi, [0]).tolist() == [0, 0, -1, 0]
    assert groups_of(np.array([[0, 1]]), [0]).tolist() == [1]


def test_a_label_that_looks_like_style_stays():
    figure = Figure()
    figure.subplots().set_title("font-family: a; b")
    drawn = str(inline_svg(figure, "a picture"))
    assert ">font-family: a; b<" in drawn and "DejaVu" not in drawn
    ElementTree.fromstring(drawn)


def test_less_than_all_is_never_100_percent():
    assert [_percent(share) for share in (1, 0.9999, 0.995, 0.994, 0)] == ["100", ">99", ">99", "99", "0"]
    assert [_percent(share, 1) for share in (1, 0.9996, 0.999, None)] == ["100.0", ">99.9", "99.9", ""]
