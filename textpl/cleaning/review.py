"""Which cells a person should look at, and what their answers say about all others. Arrays only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import expit, logit

from textpl.cleaning.apply import alternatives
from textpl.cleaning.opinions import weighed_again
from textpl.cleaning.result import Detection
from textpl.cleaning.review_learning import LIMIT, learn

Array = np.ndarray
Strategy = Literal["gain", "p_error", "uncertain", "per_label"]

# Every fourth cell of a queue is a lesson, until there are so many: more teach hardly anything new. More of them
# (every second cell) taught no more and cost errors among the first rows.
EVERY, LESSONS = 4, 200


def review_order(
    detection: Detection,
    given: Array,
    budget: int,
    strategy: Strategy = "gain",
    *,
    decided: Array | None = None,
) -> tuple[Array, Array]:
    """The cells to review, in the order in which to do it: any first part of them teaches.

    - "p_error": the most probable errors.
    - "uncertain": p_error nearest to one half.
    - "per_label": the most probable errors of every label in turn.
    - "gain": what helps the labels most, now and by what is learnt. Every fourth cell is a lesson, spread over the head
      of the ranking, half of them labels that are not given and half that are, so that the first n are spread as well.
      The rest are the most probable errors; in multi-label data those of the highest p_error / sqrt(given positives of
      the label), halfway between counting every cell alike and counting every label alike, so that rare labels do not
      drown. (Where a row has one label, that would fill a queue with the label that is a little rarer than others, and
      what is learnt from it would be its own.)

    Args:
        detection: from any detector.
        given: int8 (rows, labels) or int64 (rows,).
        budget: number of cells.
        strategy: as above.
        decided: shape of `given`, -1 where nobody decided yet; the others are left out.

    Returns:
        int64 (at most budget,): positions in the flattened cells; and bool of the same shape: which are lessons.

    Raises:
        ValueError: for an unknown strategy or a budget below 1.
    """
    if strategy not in get_args(Strategy):
        raise ValueError(f"strategy={strategy!r} is none of {', '.join(get_args(Strategy))}.")
    if budget < 1:
        raise ValueError(f"budget={budget}: at least 1 cell.")
    p = detection.p_error.ravel()
    open_cells = np.ones(p.size, bool) if decided is None else decided.ravel() < 0
    labels = np.arange(given.shape[1])[None].repeat(len(given), 0).ravel() if detection.multi else given
    if strategy == "gain":
        gain = p / np.sqrt(np.maximum(given.sum(0), 1))[labels] if detection.multi else p
        due = min(budget // EVERY, max(LESSONS - int((~open_cells).sum()) // EVERY, 0))
        lessons = _lessons(detection, given, due, open_cells)
        rest = _best(np.where(open_cells, gain, -1), budget)
        rest = rest[open_cells[rest]]
        # A lesson that is due anyway as a probable error keeps that place.
        lessons = lessons[~np.isin(lessons, rest[: budget - len(lessons)])]
        rest = rest[~np.isin(rest, lessons)][: budget - len(lessons)]
        rest = rest[np.argsort(-p[rest], kind="stable")]
        # Behind every three of the rest one lesson; the left-over of either at the end.
        place = np.concatenate([np.arange(len(rest)), (EVERY - 1) * np.arange(1, len(lessons) + 1) - 0.5])
        order = np.argsort(place, kind="stable")
        return np.concatenate([rest, lessons])[order], order >= len(rest)
    usefulness = -np.abs(p - 0.5) if strategy == "uncertain" else p.astype(np.float64)
    if strategy == "per_label":
        order = np.lexsort((-p, labels))
        starts = np.searchsorted(labels[order], labels[order])
        usefulness[order] = -(np.arange(p.size) - starts) + p[order] / 2
    chosen = _best(np.where(open_cells, usefulness, -np.inf), min(budget, int(open_cells.sum())))
    return chosen, np.zeros(len(chosen), bool)


def settle(
    detection: Detection,
    given: Array,
    decided: Array | None = None,
    asked: Array | None = None,
    earlier: Array | None = None,
) -> Detection:
    """The detection after review: decided cells are certain, the others re-scored by what was learnt.

    Multi-label cells use the detector's log-odds (`info["log_odds"]`: independent error, swap) where there are any;
    single-label rows the log-odds of the model's and the neighbours' evidence against the given label. The automatic
    cut moves to the new expected number of errors. Where nothing can be learnt, only the decided cells change. With
    annotators (`opinions`) the answers say how far each of these is to be trusted, and nothing else is learnt.

    Args:
        detection: as it was before any review.
        given: int8 (rows, labels) or int64 (rows,).
        decided: shape of `given`, the right labels, -1 where nobody decided.
        asked: bool, shape of `given`: decided cells to learn from, those of a queue. Somebody who corrects others in
            passing tells only of those that are wrong. Default all.
        earlier: bool, shape of `given`: cells that a person decided in an earlier round; right as they are.

    Returns:
        A new Detection. `info["review"]` says what the answers taught (`review_learning.learn`).
    """
    if decided is None and earlier is None:
        return detection
    detection = weighed_again(detection, given, _right(given, decided, earlier))
    p = detection.p_error.astype(np.float64)
    known = np.zeros(given.shape, bool) if earlier is None else earlier.copy()
    wrong = np.zeros(given.shape, bool)
    flagged, info = detection.flagged, dict(detection.info)
    if decided is not None and (decided >= 0).any():
        known |= decided >= 0
        wrong = (decided >= 0) & (decided != given)
        seen = np.flatnonzero(((decided >= 0) if asked is None else asked & (decided >= 0)).ravel())
        if detection.opinions is not None:
            info["review"] = {"answers": len(seen), "wrong": int(wrong.ravel()[seen].sum()), "annotators": True}
            p[known] = wrong[known]
            flagged = (flagged & ~known) | wrong
            return _rebuilt(detection, given, p.astype(np.float32), flagged, decided, info)
        kind = given.ravel() if detection.multi else np.zeros(given.size, np.int8)
        score, info["review"] = learn(
            logit(np.clip(p, 1e-9, 1 - 1e-9)).ravel(),
            kind,
            _features(detection, given),
            seen,
            wrong.ravel()[seen],
            cut=_cut(detection),
            label=None if detection.multi else given,
        )
        if info["review"]["learnt"]:
            p = expit(score).reshape(p.shape)
            flagged = np.zeros(p.shape, bool)
            candidates = np.where(known, -1.0, p).ravel()
            flagged.ravel()[_best(candidates, int(round(candidates[candidates >= 0].sum())))] = True
    p[known] = wrong[known]
    flagged = (flagged & ~known) | wrong
    return _rebuilt(detection, given, p.astype(np.float32), flagged, decided, info)


def _right(given: Array, decided: Array | None, earlier: Array | None) -> Array:
    """The labels that are known to be right, -1 elsewhere."""
    right = np.full(given.shape, -1, dtype=np.int64)
    if earlier is not None:
        right[earlier] = given[earlier]
    if decided is not None:
        right = np.where(decided >= 0, decided, right)
    return right


def recut(detection: Detection, given: np.ndarray, by: str, value: float) -> Detection:
    """The detection with another cut: cells of at least p_error `value` ("p"), or the `value` highest ("count")."""
    p = detection.p_error
    flagged = p >= value
    if by == "count":
        flagged = np.zeros(p.shape, bool)
        flagged.ravel()[_best(p.ravel(), int(value))] = True
    suggested = np.where(flagged, alternatives(detection, given), given).astype(detection.suggested.dtype)
    return replace(detection, flagged=flagged, suggested=suggested)


def _features(detection: Detection, given: Array) -> list[Array]:
    """Evidence, beyond p_error, by which reviewed cells may reorder the others; log-odds (cells,) each."""
    if detection.multi:
        parts = detection.info.get("log_odds")
        return (
            []
            if parts is None
            else [np.clip(parts[1], -LIMIT, LIMIT).ravel() - np.clip(parts[0], -LIMIT, LIMIT).ravel()]
        )
    rows = np.arange(len(given))
    seen = [detection.evidence[name] for name in ("model", "neighbors") if name in detection.evidence]
    return [-logit(np.clip(p[rows, given].astype(np.float64), 1e-4, 1 - 1e-4)) for p in seen]


def _cut(detection: Detection) -> float:
    """Log-odds of the least certain flagged cell; even odds where nothing is flagged."""
    flagged = detection.p_error[detection.flagged]
    return float(logit(np.clip(flagged.min(), 1e-9, 1 - 1e-6))) if flagged.size else 0.0


def _lessons(detection: Detection, given: Array, number: int, open_cells: Array) -> Array:
    """Cells spread over the head of each kind's ranking, denser at its top, as any first part is: int64 (number,)."""
    if number < 1:
        return np.empty(0, np.int64)
    p, kind = detection.p_error.ravel(), given.ravel() if detection.multi else np.zeros(given.size, np.int8)
    head = max(int((given.sum() if detection.multi else given.size) / 2), 1)
    chosen, turn = [], []
    for value in np.unique(kind):
        cells = np.flatnonzero((kind == value) & open_cells)
        cells = cells[_best(p[cells], head)]
        places = (_spread(2 * number) ** 1.5 * len(cells)).astype(np.int64)
        first = np.sort(np.unique(places, return_index=True)[1]) if len(cells) else np.empty(0, np.int64)
        chosen.append(cells[places[first]])
        turn.append(np.arange(len(first)))
    return np.concatenate(chosen)[np.argsort(np.concatenate(turn), kind="stable")][:number]


def _spread(number: int) -> Array:
    """Numbers in (0, 1) of which any first part is spread evenly: van der Corput's, float64 (number,)."""
    left, halves, found = np.arange(1, number + 1), 0.5, np.zeros(number)
    while left.any():
        found += halves * (left & 1)
        left, halves = left >> 1, halves / 2
    return found


def _best(values: Array, number: int) -> Array:
    """Positions of the highest values, best first, ties in order: int64 (at most number,)."""
    number = min(number, values.size)
    if number < 1:
        return np.empty(0, np.int64)
    least = np.partition(values, values.size - number)[values.size - number]
    chosen = np.flatnonzero(values >= least)
    return chosen[np.argsort(-values[chosen], kind="stable")][:number]


def _rebuilt(
    detection: Detection, given: Array, p: Array, flagged: Array, decided: Array | None, info: dict[str, Any]
) -> Detection:
    """`detection` with other probabilities of error, and everything that follows from them."""
    if detection.multi:
        p_true = np.where(given == 1, 1 - p, p)
        suggested = np.where(flagged, 1 - given, given).astype(detection.suggested.dtype)
        return replace(detection, p_error=p, p_true=p_true, flagged=flagged, suggested=suggested, info=info)
    rows = np.arange(len(given))
    others = detection.p_true.astype(np.float64)
    others[rows, given] = 0
    if decided is not None:
        corrected = np.flatnonzero((decided >= 0) & (decided != given))
        others[corrected] = 0
        others[corrected, decided[corrected]] = 1
    total = others.sum(1, keepdims=True)
    even = np.full(others.shape[1], 1 / max(others.shape[1] - 1, 1))
    p_true = np.where(total > 0, others / np.maximum(total, 1e-12), even) * p[:, None]
    p_true[rows, given] = 1 - p
    best = p_true.argmax(1)
    suggested = np.where(flagged, best, given).astype(detection.suggested.dtype)
    return replace(
        detection, p_error=p, p_true=p_true.astype(np.float32), flagged=flagged, suggested=suggested, info=info
    )
