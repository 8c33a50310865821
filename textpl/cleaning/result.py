"""What every detector of label errors gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from textpl.annotations.annotation import Annotation


@dataclass(frozen=True)
class Detection:
    """How likely every given label is wrong, and what it should be.

    A *cell* is one (row, label) pair of a multi-label corpus; single-label data has one cell per row.

    Attributes:
        p_error: float32, (rows, labels) for multi-label, (rows,) for single-label: probability that what is given is
            wrong. Orders the cells.
        p_true: float32 (rows, labels): probability that the label is right for the row, given everything, the given
            label too. Single-label: rows sum to 1.
        flagged: bool, shape of `p_error`: the automatic cut.
        suggested: multi-label int8 (rows, labels), the given labels with the flagged cells turned over; single-label
            int64 (rows,), the most probable label of flagged rows, the given one elsewhere.
        evidence: arrays of the shape of `p_true` that explain a cell: "model" (probability by the classifier),
            "neighbors" (vote of the nearest rows), and, for multi-label, "swap" (share of `p_error` that comes from
            another label of the row being in this one's place).
        partner: int32 of the shape of `p_error`: the label that this one was probably swapped with, -1 for none;
            None for single-label.
        info: the method's own numbers, such as estimated rates.
        opinions: what annotators said and what was found without them; None without annotators.
    """

    p_error: np.ndarray
    p_true: np.ndarray
    flagged: np.ndarray
    suggested: np.ndarray
    evidence: dict[str, np.ndarray] = field(default_factory=dict)
    partner: np.ndarray | None = None
    info: dict[str, Any] = field(default_factory=dict)
    opinions: Opinions | None = None

    @property
    def multi(self) -> bool:
        """Whether this is of a multi-label corpus."""
        return self.p_error.ndim == 2


@dataclass(frozen=True)
class Opinions:
    """What annotators said about the rows of a corpus, and what was found without them.

    Attributes:
        base: without annotators and before any review.
        annotations: of the same rows.
    """

    base: Detection
    annotations: tuple[Annotation, ...]
