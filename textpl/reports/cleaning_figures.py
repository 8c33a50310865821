"""The picture that only the cleaning report has."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from textpl.reports.figures import BLUE, ORANGE
from textpl.reports.svg import INK, inline_svg


def precision_svg(p_error: np.ndarray, flagged: int) -> Markup:
    """Expected share of true errors among the most probable ones, against how many are flagged.

    Args:
        p_error: float, any shape.
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
        axes.annotate("automatic cut", (flagged, 4), (gap, 0), textcoords="offset points", ha=side, color=INK)
    axes.set_xlim(0, most)
    axes.set_ylim(0, 102)
    axes.set_xlabel("flagged, the most probable errors first")
    axes.set_ylabel("expected to be errors, %")
    axes.spines[["top", "right"]].set_visible(False)
    return inline_svg(figure, "Expected share of true errors against the number of flagged labels")
