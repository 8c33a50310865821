"""What `noise_corrected_scores` is given, checked, as tables of 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from textpl.evaluation import decide

if TYPE_CHECKING:
    from textpl.label_issues.report import LabelReport

Array = NDArray[Any]

# With fewer random rows the interval of a mean is no longer to be trusted.
FEWEST = 30
# Standard errors by which the mean rank of the reviewed rows by p_error may differ from that of all rows; rows drawn at
# random pass it in 1 of 150,000 draws.
FAIR = 4.5


def predictions(probabilities: ArrayLike, report: LabelReport, thresholds: float | ArrayLike) -> Array:
    """0/1 (rows, labels), once the probabilities fit the report."""
    p = np.asarray(probabilities)
    shape = (len(report), len(report.label_names))
    if p.shape != shape:
        raise ValueError(
            f"probabilities have shape {p.shape}, the report is about {shape[0]} rows x {shape[1]} labels: predict its "
            "rows, in their order and with its labels."
        )
    problem = "multi_label_classification" if report.multi else "single_label_classification"
    return table(decide(p, problem, thresholds), shape[1])


def trusted(report: LabelReport, rows: Sequence[int], labels: ArrayLike | None) -> tuple[Array, Array]:
    """Rows int64 (m,) in which every row is named once, and their right labels as 0/1 (m, labels)."""
    named = np.asarray(rows)
    if named.ndim != 1 or named.dtype.kind not in "iu" or ((named < 0) | (named >= len(report))).any():
        raise ValueError(f"trusted_rows must be row numbers from 0 to {len(report) - 1}.")
    if labels is None:
        if report.decided is None:
            raise ValueError("trusted_rows without labels: give trusted_labels, or report.apply_review(...) before.")
        ids = np.unique(named)
        right = np.asarray(report.decided)[ids]
        open_rows = ids[(right < 0).reshape(len(ids), -1).any(1)]
        if len(open_rows):
            raise ValueError(
                f"row {open_rows[0]} has no decision, or not for every label ({len(open_rows)} such rows): decide all, "
                "as rows left out for being hard make the score too high."
            )
    else:
        ids, right = named, np.asarray(labels)
        if len(np.unique(ids)) < len(ids):
            raise ValueError("trusted_rows names a row twice: give each once, with its right labels.")
        if right.shape != report.given[ids].shape:
            raise ValueError(f"trusted_labels of shape {right.shape}: expected {report.given[ids].shape}.")
    if len(ids) < min(FEWEST, len(report)):
        raise ValueError(f"{len(ids)} trusted rows: at least {FEWEST} are needed, drawn by textpl.random_review.")
    _check_fair(report, ids)
    size = len(report.label_names)
    if right.dtype.kind not in "iub" or right.min() < 0 or right.max() >= (2 if report.multi else size):
        kind = "0 or 1" if report.multi else f"label ids from 0 to {size - 1}"
        raise ValueError(f"trusted_labels must be {kind}.")
    return ids.astype(np.int64), table(right, size)


def _check_fair(report: LabelReport, ids: Array) -> None:
    """Refuse rows that were chosen for being suspicious, as those of a review queue: their score is not that of all."""
    rows = len(report)
    ranks = rankdata(report.found.p_error.reshape(rows, -1).max(1))
    error = ranks.std() * np.sqrt((1 / len(ids) - 1 / rows) * rows / max(rows - 1, 1))
    off = ranks[ids].mean() - ranks.mean()
    if abs(off) > FAIR * error + 1e-9 * rows:
        raise ValueError(
            f"trusted_rows are {'more' if off > 0 else 'less'} suspicious than rows drawn by chance are: they were not "
            "drawn at random, and their score is not that of all rows. Review rows of textpl.random_review."
        )


def table(labels: Array, size: int) -> Array:
    """Labels as int8 0/1 (rows, labels)."""
    labels = np.asarray(labels)
    return labels.astype(np.int8) if labels.ndim == 2 else np.eye(size, dtype=np.int8)[labels]
