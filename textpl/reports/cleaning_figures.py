"""Pictures of the cleaning report as inline SVG: text stays text, in the fonts and colours of the page."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

from textpl.reports.figures import BLUE, ORANGE

INK = "#010203"  # stands for the colour of the page's text, which is another one in dark mode
LETTER = 0.085  # inches; a Chinese character takes two
NUMBERS_UP_TO = 16  # labels; with more of them the numbers would not fit into their cells


def precision_svg(p_error: np.ndarray, flagged: int) -> str:
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
    return _svg(figure, "Expected share of true errors against the number of flagged labels")


def pairs_svg(shares: np.ndarray, rows: Sequence[str], columns: Sequence[str], what: str) -> str:
    """A heat map of shares between labels, in %.

    Args:
        shares: float (rows, columns), 0 to 1; NaN cells stay empty.
        rows: names.
        columns: names.
        what: said to those who cannot see it; plain words, as it goes into the markup as it is.
    """
    rows, columns = [_short(name) for name in rows], [_short(name) for name in columns]
    cell = 0.38 if len(columns) <= NUMBERS_UP_TO else 0.24
    left, top = (LETTER * max(map(_width, names), default=1) + 0.15 for names in (rows, columns))
    width, height = left + cell * len(columns) + 0.1, top + cell * len(rows) + 0.1
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((left / width, 0.1 / height, cell * len(columns) / width, cell * len(rows) / height))
    known = np.nan_to_num(shares)
    strength = 0.75 * known / max(known.max(initial=0), 1e-9)  # stays readable under text in light and in dark mode
    colours = np.concatenate([np.broadcast_to(mpl.colors.to_rgb(BLUE), (*known.shape, 3)), strength[..., None]], 2)
    axes.pcolormesh(colours, rasterized=False, linewidth=0)
    axes.invert_yaxis()
    if cell > 0.3:
        for row, column in np.argwhere(~np.isnan(shares) & (shares >= 0.005)):
            value = f"{100 * shares[row, column]:.0f}"
            axes.text(column + 0.5, row + 0.5, value, ha="center", va="center", fontsize=9, color=INK)
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, rotation=90)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return _svg(figure, what)


def _svg(figure: Figure, what: str) -> str:
    """The figure as an SVG element that grows with the page."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # label names are no formulas
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": what}
    for axes in figure.axes:
        axes.tick_params(colors=INK)
        axes.xaxis.label.set_color(INK)
        axes.yaxis.label.set_color(INK)
        for spine in axes.spines.values():
            spine.set_edgecolor(INK)
    out = io.StringIO()
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's browser has the fonts
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    drawn = out.getvalue()
    drawn = re.sub(r"font-family: [^;]*; ?", "", drawn[drawn.index("<svg ") :].replace(INK, "currentColor"))
    # On a narrow screen it shrinks as far as its text stays readable, then it scrolls.
    size = f"max-width: 100%; min-width: {54 * figure.get_figwidth():.0f}pt"
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{what}" style="{size}" ', 1)


def _short(name: str, most: int = 22) -> str:
    """Shortened to the width of `most` Latin letters, on one line."""
    name = " ".join(name.split())
    while _width(name) > most:
        name = name[:-2].rstrip() + "\u2026"
    return name


def _width(name: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)
