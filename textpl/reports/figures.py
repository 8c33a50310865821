"""Pictures: a comparison with every seed's pair and the interval; how precise labels from embeddings are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from textpl.atomic_files import replacing

if TYPE_CHECKING:
    from textpl.comparison import Comparison
    from textpl.pseudo_labels import PseudoLabels

# Okabe & Ito's palette: told apart by colour-blind readers. All are seen on white and on black.
GREY, BLUE, ORANGE, GREEN = "#808080", "#0072B2", "#D55E00", "#009E73"


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=150)


def comparison_figure(comparison: Comparison) -> Figure:
    """The scores, one line per seed; beside them, if there is a pool, mask rate and precision of pseudo-labels."""
    with_pool = any("textpl/mask_rate" in entry for outcome in comparison.method for entry in outcome.history)
    figure = Figure(figsize=(9 if with_pool else 5, 3.8), layout="constrained")
    axes = figure.subplots(1, 2 if with_pool else 1, squeeze=False)[0]
    draw_scores(axes[0], comparison)
    axes[0].set_title(f"{len(comparison.baseline)} seed(s): each line is one split", fontsize=10)
    if with_pool:
        _draw_labels(axes[1], comparison)
    figure.suptitle(comparison.interval.sentence(), fontsize=11)
    return figure


def precision_figure(found: PseudoLabels) -> Figure:
    """Precision against coverage on the labelled rows, each with its own label hidden; and where the threshold cuts."""
    figure = Figure(figsize=(5, 3.8), layout="constrained")
    axes, curve = figure.subplots(), found.coverage
    kept = 100 * curve.coverage
    axes.fill_between(kept, 100 * curve.low, 100 * curve.high, color=BLUE, alpha=0.15, linewidth=0, label="95 %")
    axes.plot(kept, 100 * curve.precision, color=BLUE, marker="o", markersize=4, label="precision")
    if found.threshold:
        above = kept[curve.cut >= found.threshold].max(initial=0)
        axes.axvline(above, color=ORANGE, linewidth=1, label=f"confidence of at least {found.threshold:.2f}")
    axes.set_xlim(0, 102)
    axes.set_ylim(None, 102)
    axes.set_xlabel(f"{'labels' if found.multi else 'rows'} kept, the most confident first, %")
    axes.set_ylabel("of these right, %")
    axes.set_title(f"{_shortened(found.method)}, {_shortened(found.encoder)}", fontsize=10)
    axes.legend(frameon=False, fontsize=9, loc="best")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _shortened(name: str, most: int = 40) -> str:
    return name if len(name) <= most else name[: most - 1] + "\u2026"


def draw_scores(axes: Any, comparison: Comparison) -> None:
    """Left the side without the method, right the one with it; a line per seed, a bar per mean."""
    sides = np.array(
        [[100 * o.scores[comparison.metric] for o in side] for side in (comparison.baseline, comparison.method)]
    )
    for before, after in sides.T:
        axes.plot([0, 1], [before, after], color=GREY, linewidth=1, alpha=0.6, marker="o", markersize=4)
    for x, outwards, values, colour in ((0, -1, sides[0], ORANGE), (1, 1, sides[1], BLUE)):
        axes.plot([x - 0.12, x + 0.12], [values.mean()] * 2, color=colour, linewidth=4, solid_capstyle="butt")
        # Beside the bar, away from the lines: above it a point may lie.
        axes.annotate(
            f"{values.mean():.1f}",
            (x + 0.12 * outwards, values.mean()),
            (5 * outwards, 0),
            textcoords="offset points",
            ha="left" if outwards > 0 else "right",
            va="center",
        )
    axes.set_xlim(-0.5, 1.5)
    axes.set_xticks([0, 1], [_shortened(name, 24) for name in (comparison.baseline_name, comparison.name)])
    axes.set_ylabel(f"{comparison.metric.replace('_', ' ')} on the test rows, %")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_labels(axes: Any, comparison: Comparison) -> None:
    series = (("textpl/mask_rate", "accepted share of the pool", BLUE), ("textpl/precision", "of these right", GREEN))
    for key, name, colour in series:
        for i, outcome in enumerate(comparison.method):
            points = [(h["step"], 100 * h[key]) for h in outcome.history if key in h]
            if points:
                steps, values = zip(*points, strict=True)
                axes.plot(steps, values, color=colour, alpha=0.8, linewidth=1.2, label=name if i == 0 else None)
    axes.set_ylim(0, 102)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("%")
    axes.set_title("pseudo-labels while training", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
