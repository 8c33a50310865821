"""Annotators as further evidence about given labels, each for what it proves to be worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from textpl.annotations.annotation import Annotation
from textpl.annotations.confusion import Confusion, estimate_confusion
from textpl.cleaning.multi_label import largest
from textpl.cleaning.result import Detection, Opinions
from textpl.cleaning.review_learning import stand_for

Array = np.ndarray
ANNOTATORS = "annotators"  # in `Detection.info`: what each is worth
# Of the number of cells that a reviewed one stands for; see `weighed_again`.
STANDS_FOR = 0.25
SOURCES = ("the given label", "the classifier")  # what an annotator may repeat, in the order of `copies`


def with_opinions(
    base: Detection,
    given: Array,
    annotations: Sequence[Annotation],
    known: Array | None = None,
    known_weights: Array | None = None,
) -> Detection:
    """Weigh annotators together with what was found without them.

    P(right y | text, given z, answers s) ~ P(y | text, z) prod_a P(s_a | y, z), the first factor as it was found, the
    others estimated by EM with it as the prior (`annotations.confusion`), in which cells that a person decided weigh
    most. An annotator need be independent neither of the given labels z nor, with one label per row, of those m of the
    classifier: P(s | y, z, m) = c_z [s = z] + c_m [s = m] + (1 - c_z - c_m) P(s | y), the shares c estimated as well.
    A tool that repeats either proves nothing.

    Flagged are rows in which another label is likelier than the one given; several labels per row: the cells of largest
    `p_error`, as many as errors are expected.

    Args:
        base: of any detector.
        given: int8 (rows, labels) or int64 (rows,).
        annotations: at least one.
        known: shape of `given`, right labels, -1 where nobody decided.
        known_weights: shape of `given`, how much each of these counts for what the annotators are worth; default 1.

    Returns:
        Detection with `opinions`, and in `info` what each annotator is worth. Where all annotators are constant, `base`
        with that told.
    """
    multi = base.multi
    known = np.full(given.shape, -1) if known is None else known
    prior = base.p_true.astype(np.float64)
    if multi:
        truth = np.maximum(known, 0)
    else:
        truth = np.eye(prior.shape[1])[np.maximum(known, 0)]
        prior /= np.maximum(prior.sum(1, keepdims=True), 1e-12)
    sources = given
    if not multi and "model" in base.evidence:
        sources = np.stack([given, base.evidence["model"].argmax(1)], 1)
    found = estimate_confusion(
        annotations, prior, truth, known >= 0, multi=multi, given=sources, gold_weights=known_weights
    )
    info = base.info | {ANNOTATORS: [_told(one) for one in found.confusions]}
    kept = Opinions(base, tuple(annotations))
    if all(one.constant for one in found.confusions):
        return replace(base, info=info, opinions=kept)
    if multi:
        p_error = np.where(given == 1, 1 - found.p, found.p)
        flagged = largest(p_error, round(float(p_error.sum())))
        suggested = np.where(flagged, 1 - given, given).astype(base.suggested.dtype)
    else:
        best = found.p.argmax(1)
        own = found.p[np.arange(len(given)), given]
        p_error, flagged = 1 - own, found.p.max(1) > own
        suggested = np.where(flagged, best, given).astype(base.suggested.dtype)
    expected = float(p_error.sum())
    info |= {name: expected for name in ("errors", "expected_errors") if name in info}
    if "shown" in info:
        info["shown"] = float(flagged.sum())
    if "errors_high" in info:
        info["errors_low"] = min(float(info.get("errors_low", expected)), expected)
        info["errors_high"] = max(float(info["errors_high"]), expected)
    return replace(
        base,
        p_error=p_error.astype(np.float32),
        p_true=found.p.astype(np.float32),
        flagged=flagged,
        suggested=suggested,
        info=info,
        opinions=kept,
    )


def weighed_again(detection: Detection, given: Array, known: Array | None) -> Detection:
    """Return the detection with annotators weighed anew, now that a person decided some cells (-1: nobody).

    A queue shows what looks wrong, to which annotators contribute: among its cells they are wrong more often where the
    given label is right, and less often where it is not. Each cell therefore counts for more the more cells it stands
    for. Their number itself would leave all to a few cells from far down; its fourth root was best on NoisyAG-News.
    """
    opinions = detection.opinions
    if opinions is None or known is None or not (known >= 0).any():
        return detection
    p = np.clip(detection.p_error.astype(np.float64), 1e-9, 1 - 1e-9).ravel()
    reviewed = np.flatnonzero(known.ravel() >= 0)
    kind = given.ravel() if detection.multi else np.zeros(given.size, np.int8)
    number = stand_for(np.log(p) - np.log1p(-p), kind, reviewed) ** STANDS_FOR
    weights = np.ones(given.size)
    weights[reviewed] = number * len(number) / number.sum()
    return with_opinions(opinions.base, given, opinions.annotations, known, weights.reshape(given.shape))


def annotator_lines(info: dict[str, Any]) -> list[str]:
    """Say in lines what each annotator is worth; nothing where there are none."""
    return [f"  {one['told']}" for one in info.get(ANNOTATORS, ())]


def _told(one: Confusion) -> dict[str, Any]:
    copies = one.rates.copies
    told = one.told()
    for share, what in zip(copies, SOURCES, strict=False):
        if share > 0.05 and not one.constant:
            told += f"; about {share:.0%} of its answers only repeat {what}"
    return {
        "name": one.name,
        "accuracy": [None if np.isnan(value) else round(value, 4) for value in one.accuracy],
        "decided": one.gold,
        "constant": one.constant,
        "copies": [round(share, 4) for share in copies],
        "told": told.replace("gold rows", "decided rows").replace("gold row", "decided row"),
    }
