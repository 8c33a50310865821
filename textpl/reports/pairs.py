"""Shares between labels as a picture: confusion, co-occurrence, what is missing beside what."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from textpl.reports.figures import BLUE
from textpl.reports.svg import INK, inline_svg, short, width

LETTER = 0.085  # inches
NUMBERS_UP_TO = 16  # labels; with more of them the numbers would not fit into their cells


def pairs_svg(shares: np.ndarray, rows: Sequence[str], columns: Sequence[str], what: str) -> Markup:
    """A heat map of shares between labels, in %.

    Args:
        shares: float (rows, columns), 0 to 1; NaN cells stay empty.
        rows: names.
        columns: names.
        what: said to those who cannot see it.
    """
    rows, columns = [short(name) for name in rows], [short(name) for name in columns]
    cell = 0.38 if len(columns) <= NUMBERS_UP_TO else 0.24
    left, top = (LETTER * max(map(width, names), default=1) + 0.15 for names in (rows, columns))
    wide, high = left + cell * len(columns) + 0.1, top + cell * len(rows) + 0.1
    figure = Figure(figsize=(wide, high))
    axes = figure.add_axes((left / wide, 0.1 / high, cell * len(columns) / wide, cell * len(rows) / high))
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
    return inline_svg(figure, what)


def largest(shares: np.ndarray, count: int = 10) -> np.ndarray:
    """Positions of the largest shares that are at least half a per cent: int64 (at most count, 2)."""
    flat = np.nan_to_num(shares).ravel()
    order = np.argsort(-flat, kind="stable")[:count]
    return np.stack(np.unravel_index(order[flat[order] >= 0.005], shares.shape), 1)
