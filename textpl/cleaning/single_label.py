"""Wrong labels of single-label corpora: how many, which, and what they should be.

Two kinds of noise look different. Where a class is confused with another one regardless of the text, even the rows
about which the classifier is surest carry wrong labels: the rate is read off there (`anchor_errors`). Where hard texts
are labelled wrongly, sure rows are clean, and the classifier learns the errors of the rest. A hard text and a wrong
label differ in one way: what a classifier finds hard is still told by the very nearest texts as long as the labels are
right, while labels that were drawn anew for every row do not agree more with the nearest row than with the 50th
(`unexplained_share`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from textpl.cleaning.agreement import UNTOLD, agreement
from textpl.cleaning.class_evidence import (
    VOTES,
    evidence,
    fit_fusion,
    held_out_head,
    neighbor_votes,
    pool,
    sharpen,
    softmax,
)
from textpl.cleaning.class_noise import (
    confident_transition,
    denoised,
    noise_posterior,
    scale_noise,
    shift_to_count,
)
from textpl.cleaning.error_count import ErrorCount, count_errors
from textpl.cleaning.floors import CHANCE
from textpl.cleaning.learning_curve import lasting_disagreement
from textpl.cleaning.result import Detection
from textpl.embeddings.graph import NeighborGraph

ROUNDS = 2  # refits on the corrected labels; a third changes AP by less than .004
# Weight of Q in log-odds where all errors are on hard texts: there a refitted model repeats what Q got wrong, and T,
# which knows no texts, misleads. Measured on AG News: human errors want less (.55: AP .706, .6: .698), hard texts
# labelled wrongly more (.852, .854).
DOUBT = 0.57


def detect(
    labels: np.ndarray,
    probabilities: np.ndarray,
    graph: NeighborGraph | None,
    vectors: np.ndarray | None,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Detection:
    """Find wrong labels where every row has exactly one.

    1. Classifier and neighbour votes are fused into Q(z | x), fitted to the given labels z (`class_evidence`).
    2. The number of errors is estimated, and between what it lies (`count_errors`).
    3. P(true y | x, given z) ~ p(y | x) T[y, z], T from the confident joint (Northcutt et al. 2021, arXiv 1911.00068)
       with the odds of its off-diagonal scaled until the expected number of errors is the number shown.
    4. Head and votes are refitted on that posterior (each row by folds that did not see it) and step 3 repeated.
    5. As far as errors come from hard texts and not from confused classes, Q itself is evidence: log-odds are mixed.
    6. They become probabilities by `spread`, which knows that the count is uncertain.

    Without a graph steps 1 and 2 know the classifier only (errors on hard texts are then not counted), without vectors
    the head is not refitted.

    Args:
        labels: int64 (rows,), given class ids.
        probabilities: float (rows, labels), out-of-sample: predicted for each row by a model that did not train on it.
        graph: neighbours of every row, 50 if possible; None: no neighbour evidence.
        vectors: float (rows, d), normalised embeddings; None: no refitted head.
        groups: int (rows,), rows of one group (near-duplicates) never sit on both sides of a fold.
        seed: of folds and samples.
        progress: show progress bars.

    Returns:
        Detection with `flagged` the rows of largest `p_error`, as many as errors are shown; `info`: "errors" (the
        expected number), "errors_low", "errors_high", "shown", "class_errors", "hard_share" (see `ErrorCount`),
        "transition" (labels, labels).

    Raises:
        ValueError: arrays that do not fit.
    """
    labels, probabilities = _checked(labels, probabilities, graph, vectors)
    rows, classes = probabilities.shape
    graph = None if graph is None or graph.k == 0 else graph
    if classes == 1 or not rows:
        return _nothing(labels, probabilities)
    one_hot = np.eye(classes, dtype=np.float32)[labels]
    voted = [] if graph is None else [neighbor_votes(graph, one_hot, *VOTES[0])]
    if len(np.unique(labels)) > 1 and all(agreement(labels, p) <= CHANCE for p in (probabilities, *voted)):
        return _untold(labels, probabilities)
    sources = evidence(probabilities, graph, one_hot)
    weights, bias = fit_fusion(sources, labels, seed)
    fused = softmax(pool(sources, weights) + bias)
    own = np.arange(rows), labels
    doubt = 1 - fused[own].astype(np.float64)

    lasting = 1.0 if vectors is None else lasting_disagreement(vectors, labels, classes, groups, seed)
    votes = None if graph is None else sources[1]
    count = count_errors(labels, fused, graph, votes, lasting, alone=probabilities)
    errors = count.shown
    transition = scale_noise(confident_transition(labels, fused), fused, count.class_errors / rows)

    p_true = denoised(fused, transition)
    posterior = noise_posterior(p_true, transition, labels, errors)
    for round_ in range(ROUNDS):
        if vectors is not None:
            probabilities = held_out_head(vectors, posterior, groups=groups, seed=seed + round_, progress=progress)
        cleaner = evidence(probabilities, graph, posterior)
        p_true = sharpen(pool(cleaner, weights), labels, transition, seed)
        posterior = noise_posterior(p_true, transition, labels, errors)
    from_hard = DOUBT * (1 - count.class_errors / errors) if count.hard_share else 0.0
    mixed = (1 - from_hard) * _log_odds(1 - posterior[own]) + from_hard * _log_odds(doubt)
    return _detection(labels, posterior, spread(mixed, count), sources, count, transition)


def spread(log_odds: np.ndarray, count: ErrorCount) -> np.ndarray:
    """Probabilities of errors in the order of the log-odds, which sum to `count.expected`.

    The mean of the probabilities under either account of the classifier's disagreement, each the log-odds plus a
    constant: as many errors as are shown, and as many as there can be. No row is surer to be wrong than the accounts
    agree.

    Args:
        log_odds: float (rows,).
        count: how many errors there are.

    Returns:
        float64 (rows,).
    """
    most = max(count.high, count.expected)
    if most <= count.shown:
        return shift_to_count(log_odds, count.expected)
    weight = (count.expected - count.shown) / (most - count.shown)
    return (1 - weight) * shift_to_count(log_odds, count.shown) + weight * shift_to_count(log_odds, most)


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-7, 1 - 1e-7)
    return np.log(p / (1 - p))


def _detection(
    labels: np.ndarray,
    posterior: np.ndarray,
    p_error: np.ndarray,
    sources: np.ndarray,
    count: ErrorCount,
    transition: np.ndarray,
) -> Detection:
    """The posterior of the other labels scaled to `p_error`; the most suspicious rows, as many as shown, flagged."""
    own = np.arange(len(labels)), labels
    others = posterior.astype(np.float64)
    others[own] = 0
    p_true = others * (p_error / np.maximum(others.sum(axis=1), 1e-300))[:, None]
    p_true[own] = 1 - p_error
    flagged = np.zeros(len(labels), dtype=bool)
    flagged[np.argsort(-p_error, kind="stable")[: round(count.shown)]] = True
    suggested = np.where(flagged, others.argmax(axis=1), labels).astype(np.int64)
    shown = {"model": np.exp(sources[0])}
    if len(sources) > 1:
        shown["neighbors"] = np.exp(sources[1])
    info = told(count) | {"transition": transition}
    return Detection(p_error.astype(np.float32), p_true.astype(np.float32), flagged, suggested, shown, info=info)


def told(count: ErrorCount) -> dict[str, Any]:
    """The numbers of a count as `Detection.info` has them."""
    return {
        "errors": count.expected,
        "errors_low": count.low,
        "errors_high": count.high,
        "shown": count.shown,
        "class_errors": count.class_errors,
        "hard_share": count.hard_share,
    }


def _untold(labels: np.ndarray, probabilities: np.ndarray) -> Detection:
    """Nothing tells the labels better than chance: no row is flagged, and any number may be wrong."""
    found = _nothing(labels, probabilities)
    own = np.arange(len(labels)), labels
    p_true = np.zeros(probabilities.shape, dtype=np.float32)
    p_true[own] = 1
    info = found.info | {"errors_high": float(len(labels)), UNTOLD: True}
    return replace(found, p_true=p_true, info=info)


def _nothing(labels: np.ndarray, probabilities: np.ndarray) -> Detection:
    """One label only, or no rows: nothing can be wrong."""
    rows = len(labels)
    info = told(ErrorCount(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)) | {"transition": np.eye(probabilities.shape[1])}
    return Detection(
        np.zeros(rows, np.float32), np.ones_like(probabilities), np.zeros(rows, bool), labels.copy(),
        {"model": probabilities}, info=info,
    )  # fmt: skip


def _checked(
    labels: np.ndarray, probabilities: np.ndarray, graph: NeighborGraph | None, vectors: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 and probabilities as float32, once they fit each other, the graph and the vectors."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be class ids of shape (rows,); got shape {labels.shape}, type {labels.dtype}.")
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise ValueError(
            f"probabilities have shape {probabilities.shape} for {len(labels)} labels: give one row of class "
            "probabilities per label."
        )
    outside = np.flatnonzero((labels < 0) | (labels >= probabilities.shape[1]))
    if len(outside):
        raise ValueError(
            f"Row {outside[0]} has label {labels[outside[0]]}, but there are probabilities of "
            f"{probabilities.shape[1]} classes: ids go from 0 to {probabilities.shape[1] - 1}."
        )
    broken = np.flatnonzero(~((probabilities >= 0) & (probabilities <= 1 + 1e-5)).all(axis=1))
    if len(broken):
        raise ValueError(f"Row {broken[0]} holds probabilities outside [0, 1] or NaN; predict it again.")
    for name, thing in (("graph", graph), ("vectors", vectors)):
        if thing is not None and len(thing) != len(labels):
            raise ValueError(f"{name} has {len(thing)} rows for {len(labels)} labels: build it from the same texts.")
    return labels.astype(np.int64), probabilities.astype(np.float32)
