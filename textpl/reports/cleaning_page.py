"""The report of `textpl clean`: what looks wrong in a corpus and what was done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from textpl.cleaning.label_sets import FEW
from textpl.label_issues.saving import plain_problems
from textpl.label_issues.telling import done, warnings
from textpl.reports.cleaning_figures import map_picture, precision_svg, reviewed_picture
from textpl.reports.page import NEIGHBOR, TEXT, cut, render
from textpl.reports.pairs import largest, pairs_svg

if TYPE_CHECKING:
    from textpl.cleaning.apply import Plan
    from textpl.cleaning.noise_rates import RateEstimate
    from textpl.cleaning.transition import TransitionEstimate
    from textpl.label_issues.report import LabelReport

CELLS = 200  # shown; all are in the review queue and in `LabelReport.cells`
LABELS = 300  # lines of the table
DRAWN = 25  # labels of a heat map
LISTED = 20  # rows of each other problem
STEPS = 100  # of the threshold


def cleaning_page(
    report: LabelReport,
    plan: Plan | None = None,
    rates: RateEstimate | TransitionEstimate | None = None,
    title: str = "Label report",
    command: str = "",
) -> str:
    """The report as HTML.

    Args:
        report: its texts are shown, at most those of 200 cells.
        plan: what was done to the labels; default what `apply` does by itself.
        rates: how often each label is wrong.
        title: such as the name of the corpus.
        command: what the user typed.
    """
    flagged_errors = float(report.p_error[report.flagged].sum(dtype=np.float64))
    return render(
        "cleaning.html",
        title=title,
        command=command,
        report=report,
        told=report.to_dict(),
        flagged_errors=flagged_errors,
        missing=int((report.flagged & (report.given == 0)).sum()) if report.multi else 0,
        warnings=warnings(report),
        noun="cells" if report.multi else "rows",
        cuts=threshold_table(report.p_error) | {"start": _start(report)},
        least=float(report.p_error[report.flagged].min(initial=1)),
        labels=_label_lines(report, rates),
        pictures=_pictures(report),
        map=map_picture(report),
        done=done(report, plan or report.plan()),
        cells=_cells(report),
        problems=_problems(report),
        rates=rates,
        CELLS=CELLS,
    )


def threshold_table(p_error: np.ndarray) -> dict[str, list[float]]:
    """What every threshold would flag, in steps of .01.

    Args:
        p_error: float32, any shape.

    Returns:
        "count" and "errors", 101 numbers each: cells of at least this p_error, as `LabelReport.rethreshold` counts
        them, and how many of them are expected to be errors, rounded as everywhere in the report.
    """
    edges = (np.arange(STEPS + 1) / STEPS).astype(np.float32)
    step = np.searchsorted(edges, p_error.ravel(), side="right") - 1
    counts = np.bincount(step, minlength=STEPS + 1)
    errors = np.bincount(step, p_error.ravel().astype(np.float64), minlength=STEPS + 1)
    return {
        "count": counts[::-1].cumsum()[::-1].tolist(),
        "errors": np.rint(errors[::-1].cumsum()[::-1]).astype(int).tolist(),
    }


def _start(report: LabelReport) -> int:
    """The step at or just below the present cut."""
    flagged = report.p_error[report.flagged]
    return int(STEPS * float(flagged.min())) if flagged.size else STEPS


def _label_lines(report: LabelReport, rates: Any) -> list[dict[str, Any]]:
    """One line per label, those with the most expected errors first."""
    lines = report.per_label()
    for k, line in enumerate(lines):
        line["expected"] = line["expected_wrong"] + line.get("expected_missing", 0)
        line["few"] = line["given"] < FEW  # its rates are not told
        if rates is None:
            continue
        if report.multi:
            values, low, high = (rates.false_negative, rates.false_positive), rates.low, rates.high
            line["rates"] = [(float(values[i][k]), float(low[i][k]), float(high[i][k])) for i in range(2)]
        else:
            # Share of rows of this class that are given another label.
            stays = (rates.matrix[k, k], rates.high[k, k], rates.low[k, k])
            line["rates"] = [tuple(1 - float(value) for value in stays)]
    return sorted(lines, key=lambda line: -line["expected"])[:LABELS]


def _pictures(report: LabelReport) -> list[dict[str, Any]]:
    p = report.p_error
    found: list[dict[str, Any]] = []
    if report.calibrated:
        text = "How many of the most suspicious labels are expected to be errors, if that many are flagged."
        if report.decided is None:
            text += " Nobody has checked this on this corpus yet: decisions in the review queue would."
        svg = precision_svg(p, int(report.flagged.sum()))
        found.append({"title": "How sure this is", "text": text, "svg": svg})
    if reviewed := reviewed_picture(report):
        found.append(reviewed)
    for title, text, shares, ids in _multi_pairs(report) if report.multi else _single_pairs(report):
        names = [report.label_names[k] for k in ids]
        svg = pairs_svg(shares[np.ix_(ids, ids)], names, names, title)
        pairs = [(float(shares[i, j]), report.label_names[i], report.label_names[j]) for i, j in largest(shares)]
        found.append({"title": title, "text": text, "svg": svg, "pairs": pairs})
    return found


def _multi_pairs(report: LabelReport) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Which labels are given together, and which are expected to be missing beside which."""
    given, p = report.given.astype(np.float32), report.p_error
    expected = p.sum(0, dtype=np.float64)
    ids = np.sort(np.argsort(-expected, kind="stable")[:DRAWN])
    rows = np.maximum(given.sum(0), 1)[:, None]
    together, missing = given.T @ given / rows, given.T @ np.where(given == 1, 0, p) / rows
    for shares in (together, missing):
        np.fill_diagonal(shares, np.nan)
    return [
        (
            "Labels given together",
            "Of the rows with the label at the left, % that also have the one above.",
            together,
            ids,
        ),
        (
            "Labels missing beside others",
            "Of the rows with the label at the left, % expected to lack the one above although it is right.",
            missing,
            ids,
        ),
    ]


def _single_pairs(report: LabelReport) -> list[tuple[str, str, np.ndarray, np.ndarray]]:
    """Which label is expected to be right where which is given."""
    size = len(report.label_names)
    counts = np.zeros((size, size))
    np.add.at(counts, report.given, report.p_true.astype(np.float64))
    ids = np.sort(np.argsort(-(counts.sum(1) - np.diag(counts)), kind="stable")[:DRAWN])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1e-9)
    np.fill_diagonal(shares, np.nan)
    text = "Of the rows given the label at the left, % for which the one above is expected to be right."
    return [("Which label stands for which", text, shares, ids)]


def _cells(report: LabelReport) -> list[dict[str, Any]]:
    """The most probable errors that nobody decided yet."""
    queue = report.review_queue(CELLS, "p_error")
    flagged = report.flagged[(queue.rows, queue.labels) if report.multi else queue.rows]
    return [
        line
        | {
            "flagged": bool(flag),
            "text": cut(line["text"], TEXT),
            "row_labels": report.names_of(line["row"]),
            "neighbors": [near | {"text": cut(near["text"], NEIGHBOR)} for near in line["neighbors"]],
        }
        for line, flag in zip(queue.to_dataset().to_list(), flagged, strict=True)
    ]


def _problems(report: LabelReport) -> dict[str, Any] | None:
    """The other problems with the texts of the first rows of each; None where none were looked for."""
    told = plain_problems(report.problems)
    if not told:
        return None

    def shown(row: int) -> dict[str, Any]:
        return {"row": row, "text": cut(report.text(row), NEIGHBOR), "labels": report.names_of(row)}

    groups: dict[int, list[int]] = {}
    for row, group in zip(told["conflicts"]["rows"], told["conflicts"]["groups"], strict=True):
        groups.setdefault(group, []).append(row)
    conflicts = sorted(groups.values(), key=len, reverse=True)
    lists = {
        "Duplicates with different labels": [[shown(row) for row in rows[:5]] for rows in conflicts[:LISTED]],
        "Test rows that are also in train": [
            [shown(leak["train_row"]) | {"note": f"test row {leak['test_row']}, {leak['similarity']:.0%} alike"}]
            for leak in (told["leaks"] or [])[:LISTED]
        ],
        "Far from all other texts": [
            [shown(far["row"]) | {"note": f"distance {far['score']:.2f}"}] for far in (told["outliers"] or [])[:LISTED]
        ],
        "Texts that say nothing": [[shown(bad["row"]) | {"note": bad["reason"]}] for bad in told["texts"][:LISTED]],
    }
    labels = told["labels"]
    pairs = [
        f"{a} / {b}: {_REASONS[pair['reason']]} ({pair['score']:.0%})"
        for pair in labels["pairs"]
        for a, b in [pair["labels"]]
    ]
    return {
        "summary": told["summary"],
        "lists": {name: rows for name, rows in lists.items() if rows},
        "pairs": pairs[:LISTED],
        "variants": [" / ".join(names) for names in labels["variants"]][:LISTED],
        "imbalance": labels["imbalance"],
    }


_REASONS = {
    "same": "given together, always",
    "implied": "the second never without the first",
    "confused": "the classifier cannot tell them apart; 50 % would be guessing",
}
