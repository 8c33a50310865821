"""Texts as points of a plane, coloured by label: the picture in which one sees whether labels cluster.

t-SNE (van der Maaten & Hinton 2008, JMLR 9) keeps who is near whom; distances between groups mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

from textpl.embeddings.mapped import principal_components
from textpl.reports.figures import BLUE, GREEN, GREY, ORANGE
from textpl.reports.svg import INK, inline_svg, short

# Okabe & Ito's colours that are seen on white and on black, each with a shape of its own.
STYLES = ((BLUE, "o"), (ORANGE, "^"), (GREEN, "s"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"), (GREY, "X"))
OTHER = len(STYLES)
STEPS = 500  # of t-SNE
FEW = 5  # points, of which there is nothing to lay out


@dataclass(frozen=True)
class Points:
    """One map.

    Attributes:
        title: above it.
        places: float (n, 2).
        groups: int (n,), index into the names; -1 is drawn small and grey.
        ringed: bool (n,), drawn with a dark edge.
    """

    title: str
    places: np.ndarray
    groups: np.ndarray
    ringed: np.ndarray


def layout(vectors: np.ndarray) -> np.ndarray:
    """Places in the plane, float64 (n, 2); the same vectors get the same places.

    Args:
        vectors: float (n, d).
    """
    reduced = principal_components(np.asarray(vectors, dtype=np.float64))
    n, d = reduced.shape
    spread = reduced[:, :1].std()
    if n < FEW or d < 2 or spread == 0:
        return np.pad(reduced[:, :2], ((0, 0), (0, max(0, 2 - d))))
    start = reduced[:, :2] / spread * 1e-4  # keeps the large picture, and needs no random numbers
    engine = TSNE(
        init=start, perplexity=min(30, (n - 1) / 3), max_iter=STEPS, learning_rate="auto", random_state=0, n_jobs=1
    )
    return engine.fit_transform(reduced).astype(np.float64)


def shown_labels(labels: np.ndarray, count: int) -> tuple[np.ndarray, list[int]]:
    """The group of each row, for a map with at most seven labels.

    Args:
        labels: ids (rows,), -1 for none, or 0/1 (rows, labels); there a row belongs to the rarest of its shown labels.
        count: number of labels.

    Returns:
        groups int64 (rows,): position in the second, `len` of it for another label, -1 for none; and the shown label
        ids, the most frequent ones in ascending order.
    """
    multi = labels.ndim == 2
    frequency = labels.astype(bool).sum(0) if multi else np.bincount(labels[labels >= 0], minlength=count)
    ids = sorted(np.argsort(-frequency, kind="stable")[:OTHER].tolist())
    return groups_of(labels, ids, frequency), ids


def groups_of(labels: np.ndarray, ids: list[int], frequency: np.ndarray | None = None) -> np.ndarray:
    """The group of each row among the labels `ids`, as in `shown_labels`.

    Args:
        labels: ids (rows,), -1 for none, or 0/1 (rows, labels).
        ids: the labels shown.
        frequency: (labels,); multi-label: the rarest of a row's labels decides. Default: that of these rows.
    """
    if labels.ndim == 1:
        place = {label: i for i, label in enumerate(ids)}
        return np.array([-1 if label < 0 else place.get(label, len(ids)) for label in labels.tolist()], dtype=np.int64)
    given = labels.astype(bool)
    frequency = given.sum(0) if frequency is None else frequency
    rarest = np.argsort(frequency[ids], kind="stable")
    shown = given[:, ids][:, rarest]
    first = rarest[shown.argmax(1)]
    return np.where(shown.any(1), first, np.where(given.any(1), len(ids), -1))


def map_svg(maps: Sequence[Points], names: Sequence[str], what: str, none: str = "none") -> Markup:
    """Maps side by side with one legend.

    Args:
        maps: one or two.
        names: of the groups.
        what: said to those who cannot see it.
        none: name of group -1.
    """
    figure = Figure(figsize=(4.3 * len(maps), 4.6), layout="constrained")
    for axes, points in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
        _draw(axes, points, names)
    seen = sorted({int(g) for points in maps for g in points.groups})
    handles = [figure.axes[0].scatter([], [], **_style(g, len(names))) for g in seen]
    labels = [short(names[g], 28) if 0 <= g < len(names) else none if g < 0 else "another label" for g in seen]
    columns = min(2 * len(maps), len(seen) or 1)  # more would not fit under one map
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
    return inline_svg(figure, what)


def _draw(axes: Any, points: Points, names: Sequence[str]) -> None:
    for group in sorted({int(g) for g in points.groups}):
        style = _style(group, len(names))
        for ringed in (False, True):
            where = points.places[(points.groups == group) & (points.ringed == ringed)]
            edge = {"s": 24, "edgecolors": INK, "linewidths": 1.0} if ringed else {"linewidths": 0}
            axes.scatter(where[:, 0], where[:, 1], **style | edge, zorder=3 if ringed else 1 if group < 0 else 2)
    axes.set_title(points.title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.03)


def _style(group: int, count: int) -> dict[str, Any]:
    """Colour and shape of a group."""
    if not 0 <= group < count:
        return {"color": GREY, "marker": "." if group < 0 else "*", "s": 22, "alpha": 0.8}
    colour, marker = STYLES[group % OTHER]
    return {"color": colour, "marker": marker, "s": 20, "alpha": 0.9}
