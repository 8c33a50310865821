"""The pictures that only the cleaning report has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from textpl.embeddings.mapped import mapped_rows
from textpl.reports.curves import Curve, curves_svg
from textpl.reports.figures import BLUE, ORANGE
from textpl.reports.maps import Points, groups_of, layout, map_svg, shown_labels
from textpl.reports.run_figures import reliability
from textpl.reports.svg import INK, inline_svg

if TYPE_CHECKING:
    from textpl.label_issues.report import LabelReport

KINDS = ("a label is missing", "a label should not be there", "both")  # of the flags of a row


def precision_svg(p_error: np.ndarray, flagged: int) -> Markup:
    """Expected share of true errors among the most probable ones, against how many are flagged.

    Args:
        p_error: float32, any shape.
        flagged: number of cells above the present cut.
    """
    p = np.sort(p_error.ravel())[::-1].astype(np.float64)
    most = min(len(p), max(4 * flagged, 100))
    at = np.unique(np.geomspace(1, most, 200).astype(int))
    precision = 100 * np.cumsum(p[:most])[at - 1] / at
    figure = Figure(figsize=(5.2, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.plot(at, precision, color=BLUE, linewidth=2)
    if flagged:
        axes.axvline(flagged, color=ORANGE, linewidth=1.5, linestyle="--")
        side, gap = ("right", -5) if flagged > most / 2 else ("left", 5)
        axes.annotate("flagged now", (flagged, 4), (gap, 0), textcoords="offset points", ha=side, color=INK)
    axes.set_xlim(0, most)
    axes.set_ylim(0, 102)
    axes.set_xlabel("flagged, the most probable errors first")
    axes.set_ylabel("expected to be errors, %")
    axes.spines[["top", "right"]].set_visible(False)
    return inline_svg(figure, "Expected share of true errors against the number of flagged labels")


def reviewed_picture(report: LabelReport) -> dict[str, Any] | None:
    """What people decided against what was expected before; None without decisions or probabilities.

    The expectation is that of the detector alone: what was learnt from the same decisions would flatter it.
    """
    if report.decided is None or not report.calibrated:
        return None
    seen = report.decided >= 0
    expected = report.found.p_error[seen].astype(np.float64)
    wrong = report.decided[seen] != report.given[seen]
    noun = "cells" if report.multi else "rows"
    text = f"People decided {len(wrong):,} {noun}: {wrong.sum():,} are errors; before that, {expected.sum():,.0f} were "
    text += "expected among them. On the dotted line an expected probability means what it says; below it the report "
    text += "expected too many errors, above it too few. Reviewed cells are no random sample of the corpus."
    run = reliability(expected, wrong)
    svg = curves_svg(
        [Curve("decided by people", BLUE, "-", [run] if len(run[0]) else [])],
        "Share of errors that people found against the probability that was expected",
        x="expected probability of an error, %",
        y="are errors, %",
        top=102,
        diagonal=True,
    )
    return {"title": "What people found", "text": text, "svg": svg}


def map_picture(report: LabelReport) -> dict[str, Any] | None:
    """The texts as the encoder sees them; None where their embeddings are not at hand."""
    rows = mapped_rows(len(report))
    if report.points is None or len(report.points) != len(rows):
        return None
    places = layout(report.points)
    flagged = report.flagged.reshape(len(report), -1)[rows].any(1)
    text = f"{len(rows):,} of the {len(report):,} texts" if len(rows) < len(report) else f"The {len(rows):,} texts"
    text += ", near each other where the encoder takes them for similar (t-SNE); distances between groups mean "
    text += "nothing. "
    if report.multi:
        missing, extra = ((report.flagged[rows] & (report.given[rows] == value)).any(1) for value in (0, 1))
        groups = np.select([missing & extra, missing, extra], [2, 0, 1], -1)
        text += f"Grey: nothing is flagged in the row; {flagged.sum():,} others, by what looks wrong."
        points = [Points(f"{flagged.sum():,} of {len(rows):,} rows have a flag", places, groups, flagged)]
        svg = map_svg(points, KINDS, "Texts by what is flagged in them", none="nothing is flagged")
    else:
        given, suggested = report.given[rows], report.suggested[rows]
        _, ids = shown_labels(given, len(report.label_names))
        text += f"A ring marks the {flagged.sum():,} flagged ones. A ringed text of one colour among those of another "
        text += "is what a wrong label looks like."
        points = [
            Points("the labels given", places, groups_of(given, ids), flagged),
            Points("the labels suggested", places, groups_of(suggested, ids), flagged),
        ]
        svg = map_svg(points, [report.label_names[k] for k in ids], "Texts by given and by suggested label")
    return {"title": "The texts as the encoder sees them", "text": text, "svg": svg}
