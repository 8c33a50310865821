"""Curves of several seeds: every seed thin, their mean thick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from textpl.reports.figures import GREY
from textpl.reports.svg import inline_svg, short

Run = tuple[np.ndarray, np.ndarray]  # x ascending, y


@dataclass(frozen=True)
class Curve:
    """One quantity in every seed.

    Attributes:
        name: for the legend.
        colour: of its lines.
        dash: matplotlib's line style of the mean, so that colour alone does not tell curves apart.
        runs: one (x, y) per seed.
        mean: drawn instead of the mean of the runs.
    """

    name: str
    colour: str
    dash: str
    runs: list[Run]
    mean: Run | None = None


def curves_svg(
    curves: Sequence[Curve],
    what: str,
    *,
    x: str,
    y: str,
    top: float | None = None,
    diagonal: bool = False,
    seeds: bool = True,
) -> Markup:
    """Curves in one plot.

    Args:
        curves: those without runs are left out.
        what: said to those who cannot see it.
        x: name of the axis.
        y: name of the axis.
        top: the y axis goes from 0 to here; default: as the curves do.
        diagonal: draw y = x.
        seeds: draw every seed; without them only the means, for many curves in one plot.
    """
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    if diagonal:
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle=":")
    for curve in curves:
        mean = curve.mean or mean_run(curve.runs)
        if mean is None:
            continue
        marker = "o" if len(mean[0]) == 1 else None
        for run in curve.runs if seeds and len(curve.runs) > 1 else []:
            axes.plot(*run, color=curve.colour, linewidth=0.8, alpha=0.6, marker=marker, markersize=2)
        axes.plot(
            *mean, label=short(curve.name, 34), marker=marker, color=curve.colour, linewidth=2.2, linestyle=curve.dash
        )
    if top is not None:
        axes.set_ylim(0, top)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return inline_svg(figure, what)


def mean_run(runs: Sequence[Run]) -> Run | None:
    """The mean over the x that all runs cover, float64; None without a common stretch."""
    if not runs:
        return None
    low, high = max(x[0] for x, _ in runs), min(x[-1] for x, _ in runs)
    grid = np.unique(np.concatenate([x for x, _ in runs]))
    grid = grid[(grid >= low) & (grid <= high)]
    return (grid, np.mean([np.interp(grid, *run) for run in runs], axis=0)) if len(grid) else None
