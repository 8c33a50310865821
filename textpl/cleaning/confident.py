"""Confident learning as cleanlab does it, told as a `Detection`, to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np

from textpl.cleaning.result import Detection

FILTERS = (
    "prune_by_noise_rate",
    "prune_by_class",
    "both",
    "confident_learning",
    "predicted_neq_given",
    "low_normalized_margin",
    "low_self_confidence",
)


def detect_confident(
    labels: np.ndarray, probabilities: np.ndarray, *, filter_by: str = "prune_by_noise_rate"
) -> Detection:
    """Wrong labels by confident learning (Northcutt, Jiang & Chuang 2021, arXiv 1911.00068), as cleanlab codes it.

    Multi-label runs cleanlab's one-vs-rest per label. `p_error` is 1 - cleanlab's quality score (self-confidence): it
    orders the cells, but is no calibrated probability.

    Args:
        labels: int (rows,) class ids, or 0/1 (rows, labels).
        probabilities: float (rows, labels), out-of-sample.
        filter_by: cleanlab's rule for flags, one of `FILTERS`.

    Returns:
        Detection with cleanlab's flags; `info`: "filter_by", "version" of cleanlab, "calibrated" (False), and
        "skipped", the labels (multi-label) given to no row or to all rows, on which cleanlab cannot run: their cells
        are never flagged. `p_true` is the probability that was passed in, which does not know the given label.

    Raises:
        ImportError: cleanlab is not installed.
        ValueError: arrays that do not fit, or an unknown filter.
    """
    try:
        import cleanlab
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise ImportError("method='confident' needs cleanlab: pip install textpl[cleanlab]") from error
    if filter_by not in FILTERS:
        raise ValueError(f"filter_by={filter_by!r} is none of {', '.join(FILTERS)}.")
    labels, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    _check(labels, p)
    info: dict[str, Any] = {"filter_by": filter_by, "version": cleanlab.__version__, "skipped": [], "calibrated": False}
    if labels.ndim == 2:
        return _multi(labels.astype(np.int8), p, filter_by, info)
    labels = labels.astype(np.int64)
    p /= p.sum(axis=1, keepdims=True)
    if len(np.unique(labels)) < 2:  # cleanlab divides by the rows of other classes
        flagged, quality = np.zeros(len(labels), dtype=bool), p[np.arange(len(labels)), labels]
    else:
        flagged = find_label_issues(labels, p, filter_by=filter_by, n_jobs=1)
        quality = get_label_quality_scores(labels, p)
    others = p.copy()
    others[np.arange(len(labels)), labels] = -1
    suggested = np.where(flagged, others.argmax(axis=1), labels).astype(np.int64)
    p32 = p.astype(np.float32)
    return Detection(_error(quality), p32, np.asarray(flagged), suggested, {"model": p32}, info=info)


def _multi(labels: np.ndarray, p: np.ndarray, filter_by: str, info: dict[str, Any]) -> Detection:
    """One-vs-rest on the labels that are given to some rows but not to all."""
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class

    given = labels.sum(axis=0)
    usable = np.flatnonzero((given > 0) & (given < len(labels)))
    info["skipped"] = np.setdiff1d(np.arange(labels.shape[1]), usable).tolist()
    flagged = np.zeros(labels.shape, dtype=bool)
    quality = np.where(labels == 1, p, 1 - p)
    if len(usable):
        lists = [np.flatnonzero(row).tolist() for row in labels[:, usable]]
        columns = np.ascontiguousarray(p[:, usable])
        flagged[:, usable] = find_multilabel_issues_per_class(lists, columns, filter_by=filter_by, n_jobs=1)
        quality[:, usable] = get_label_quality_scores_per_class(lists, columns)
    p_error = _error(quality)
    suggested = np.where(flagged, 1 - labels, labels).astype(np.int8)
    p_true = p.astype(np.float32)
    return Detection(p_error, p_true, flagged, suggested, {"model": p_true}, np.full(labels.shape, -1, np.int32), info)


def _error(quality: np.ndarray) -> np.ndarray:
    return np.clip(1 - quality, 0, 1).astype(np.float32)


def _check(labels: np.ndarray, p: np.ndarray) -> None:
    if p.ndim != 2 or not len(p) or len(labels) != len(p) or labels.ndim not in (1, 2):
        raise ValueError(f"labels {labels.shape} and probabilities {p.shape} do not fit: give one row for each text.")
    broken = np.flatnonzero(~((p >= 0) & (p <= 1 + 1e-5)).all(axis=1))
    if len(broken):
        raise ValueError(f"Row {broken[0]} holds probabilities outside [0, 1] or NaN; predict it again.")
    if labels.ndim == 2:
        if labels.shape != p.shape or not np.isin(labels, (0, 1)).all():
            raise ValueError(f"multi-label labels must be 0/1 of shape {p.shape}; got {labels.shape}.")
    elif labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= p.shape[1]:
        raise ValueError(f"labels must be class ids from 0 to {p.shape[1] - 1}, the number of probability columns - 1.")
