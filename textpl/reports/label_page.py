"""The report of `textpl label`: how many rows got a label, how right they are expected to be, and on what grounds."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from textpl.relabeling.methods import METHODS
from textpl.reports.curves import Curve, curves_svg
from textpl.reports.figures import BLUE, precision_figure
from textpl.reports.maps import Points, groups_of, layout, map_svg, shown_labels
from textpl.reports.page import NEIGHBOR, TEXT, cut, render
from textpl.reports.run_figures import reliability
from textpl.reports.svg import inline_svg

if TYPE_CHECKING:
    from textpl.pseudo_labels import PseudoLabels

LISTED = 20  # doubtful rows
CHANCES = 3  # labels whose probability is told
LABELS = 300  # lines of the table


def label_page(found: PseudoLabels, title: str = "Labels from embeddings", command: str = "") -> str:
    """The report as HTML.

    Args:
        found: its texts and the labelled ones are shown, at most those of 20 rows and their evidence.
        title: such as the name of the pool.
        command: what the user typed.
    """
    return render(
        "label.html",
        title=title,
        command=command,
        found=found,
        chosen=int(found.selected.sum()),
        total=int((found.labels[found.selected] == 1).sum()) if found.multi else int(found.selected.sum()),
        given=len(found.origin.targets),
        curve=_curve(found),
        held=_held(found),
        methods=_methods(found),
        pictures=_pictures(found),
        labels=label_lines(found)[:LABELS],
        map=_map(found),
        rows=_doubtful(found),
        reasons=Counter(found.reasons[~found.selected].tolist()).most_common(),
    )


def label_lines(found: PseudoLabels) -> list[dict[str, Any]]:
    """Per label: labelled rows that have it, rows that got it, their share of the selected rows, expected precision."""
    lines = []
    for k, name in enumerate(found.label_names):
        got = found.selected & (found.labels[:, k] == 1 if found.multi else found.labels == k)
        sure = found.confidence[got, k] if found.multi else found.confidence[got]
        lines.append(
            {
                "label": name,
                "given": int(round(float(found.origin.targets[:, k].sum()))),
                "got": int(got.sum()),
                "share": float(got.sum() / max(found.selected.sum(), 1)),
                "expected": float(sure.mean()) if len(sure) and len(found.coverage.cut) else None,
            }
        )
    return lines


def _held(found: PseudoLabels) -> dict[str, float] | None:
    """How many of the labelled rows above the threshold got their own, hidden label; None where none was held out."""
    curve = found.coverage
    above = np.flatnonzero(curve.cut >= found.threshold)
    if not len(above):
        return None
    last = above[-1]  # cuts descend: the one that keeps the most rows
    return {"right": float(curve.precision[last]), "low": float(curve.low[last]), "high": float(curve.high[last])}


def _methods(found: PseudoLabels) -> list[tuple[str, str]]:
    """What the methods that were tried do, in plain words; a function from outside has none."""
    names = dict.fromkeys(trial["method"].split("(")[0] for trial in found.report["tried"])
    return [(name, METHODS[name].summary) for name in names if name in METHODS]


def _curve(found: PseudoLabels) -> list[tuple[float, float, float, float, float]]:
    """At most ten points of the precision-coverage curve, the last one among them."""
    curve = found.coverage
    points = list(zip(curve.cut, curve.coverage, curve.precision, curve.low, curve.high, strict=True))
    return points[:: -max(1, len(points) // 10)][::-1]


def _pictures(found: PseudoLabels) -> list[dict[str, Any]]:
    """Precision against coverage and the calibration; none where no labelled row could be held out."""
    if not len(found.coverage.cut):
        return []
    noun = "labels" if found.multi else "rows"
    pictures = [
        {
            "title": "How many, and how right",
            "text": f"On the labelled rows, each with its own label hidden: the fewer {noun} are kept, the most "
            "confident first, the more of them are right. The band is the 95 % interval.",
            "svg": inline_svg(precision_figure(found), "Precision against coverage on the labelled rows"),
        }
    ]
    run = reliability(found.origin.sure, found.origin.right)
    if len(run[0]):
        what = "labels" if found.multi else "chosen labels"
        text = f"How sure the method was of hidden labels, and how many of these {what} were right. The confidence in "
        text += "the file is corrected by this, so that 80 % there means that about 80 are right of 100."
        curve = Curve(found.method, BLUE, "-", [run])
        svg = curves_svg([curve], "Calibration", x="how sure, %", y="of these right, %", top=102, diagonal=True)
        pictures.append({"title": "Can it be believed?", "text": text, "svg": svg})
    return pictures


def _map(found: PseudoLabels) -> dict[str, Any]:
    """Labelled rows and pool, before and after."""
    origin, count = found.origin, len(found.label_names)
    known = len(origin.targets)
    own = origin.mapped < known
    given = origin.targets[origin.mapped[own]] >= 0.5
    pool = origin.mapped[~own] - known
    chosen = found.selected[pool]
    if found.multi:
        labels = np.where(chosen[:, None], np.maximum(found.labels[pool], 0), 0)
        before = given.astype(np.int64)
    else:
        labels = np.where(chosen, found.labels[pool], -1)
        before = np.where(given.any(1), given.argmax(1), -1)
    every = np.concatenate([before, labels])
    _, ids = shown_labels(every, count)
    places, groups = layout(origin.vectors), groups_of(every, ids)
    unknown = np.where(own, groups, -1)
    points = [
        Points("before: what was labelled", places, unknown, own),
        Points("after: what was found", places, groups, own),
    ]
    text = f"{own.sum():,} labelled texts (ringed) and {len(pool):,} of the pool, near each other where the encoder "
    text += "takes them for similar (t-SNE). Labels spread well where groups have one colour; where colours mix, the "
    text += "encoder does not see the difference. Grey: without a label."
    text += " A row with several labels has the colour of the rarest." if found.multi else ""
    svg = map_svg(points, [found.label_names[k] for k in ids], "Labelled rows and pool before and after, by label")
    return {"title": "The texts as the encoder sees them", "text": text, "svg": svg}


def _doubtful(found: PseudoLabels) -> list[dict[str, Any]]:
    """The selected rows of the lowest confidence, with the rows that their labels rest on."""
    sure = found.confidence.min(1) if found.multi else found.confidence
    rows = np.flatnonzero(found.selected & (found.hops != 0))
    rows = rows[np.argsort(sure[rows], kind="stable")][:LISTED]
    return [
        {
            "row": row,
            "text": cut(found.text(row), TEXT),
            "labels": _names(found, row),
            "confidence": float(sure[row]),
            "chances": [
                (found.label_names[k], float(found.probabilities[row, k]))
                for k in np.argsort(-found.probabilities[row], kind="stable")[:CHANCES].tolist()
            ],
            "evidence": [_voter(found, *voter) for voter in found.evidence_of(row)],
        }
        for row in rows.tolist()
    ]


def _voter(found: PseudoLabels, source: str, row: int, similarity: float) -> dict[str, Any]:
    origin = found.origin
    if source == "labeled":
        labels = [found.label_names[k] for k in np.flatnonzero(origin.targets[row] >= 0.5).tolist()]
        about = {"source": "labelled row", "labels": labels, "text": origin.labeled[row][origin.text_column]}
    else:
        about = {"source": "pool row", "labels": _names(found, row), "text": found.text(row)}
    return about | {"row": row, "note": f"similarity {similarity:.2f}", "text": cut(about["text"], NEIGHBOR)}


def _names(found: PseudoLabels, row: int) -> list[str]:
    label = found.labels[row]
    if found.multi:
        return [found.label_names[k] for k in np.flatnonzero(label == 1).tolist()]
    return [found.label_names[label]] if label >= 0 else []
