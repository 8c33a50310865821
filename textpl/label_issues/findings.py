"""What is known of every label of a corpus: the arrays of a report and what follows from them, without its verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.cleaning.agreement import UNTOLD
from textpl.cleaning.apply import Earlier, Plan, plan, row_errors
from textpl.cleaning.result import Detection
from textpl.cleaning.review import recut, settle
from textpl.label_issues.columns import earlier_cleaning
from textpl.label_issues.consensus import Consensus, agree
from textpl.label_issues.decisions import Decision, decision_arrays


class Findings:
    """Probability of being wrong for every label given, with the decisions of people worked in.

    Args:
        detection: what a detector found, before any review.
        given: the labels, int8 (rows, labels) of 0 and 1, or int64 (rows,).
        label_names: name of every label; position is id.
        dataset: the rows, in the same order.
        text_column: its text.
        label_column: its labels; None where they were given apart, then they go into a new column "label".
        neighbors: int32 (rows, any), most similar other rows, -1 for none.
        problems: other problems of the corpus; has `summary() -> list[str]` and `to_dict()`.
        split: name of the split, where the dataset does not say.
        about: how it was found, plain data.
        points: float16 (mapped rows, any), embeddings of `textpl.embeddings.mapped.mapped_rows`, for a map.
        decisions: what people answered, each of them.
        cut: None for the automatic cut, else ("p", least p_error) or ("count", number of cells).

    Attributes:
        consensus: what people decided together, what is in dispute, and who is reliable.
        detection: after review and with the cut asked for; of a corpus that was cleaned before, without the cells that
            a person decided then.
    """

    def __init__(
        self,
        detection: Detection,
        given: np.ndarray,
        label_names: Sequence[str],
        dataset: Dataset | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
        neighbors: np.ndarray | None = None,
        problems: Any = None,
        split: str | None = None,
        about: dict[str, Any] | None = None,
        points: np.ndarray | None = None,
        *,
        decisions: Sequence[Decision] = (),
        cut: tuple[str, float] | None = None,
        consensus: Consensus | None = None,
    ) -> None:
        if detection.p_error.shape != given.shape:
            raise ValueError(f"detection of shape {detection.p_error.shape}, labels of shape {given.shape}.")
        if dataset is not None and len(dataset) != len(given):
            raise ValueError(f"the dataset has {len(dataset)} rows and there are {len(given)} labels: they must agree.")
        self.found, self.given, self.label_names = detection, given, tuple(label_names)
        self.dataset, self.text_column, self.label_column = dataset, text_column, label_column
        self.neighbors, self.problems, self.split, self.about = neighbors, problems, split, dict(about or {})
        self.points = points
        self.decisions, self.cut = tuple(decisions), cut
        self.earlier: Earlier | None = None
        if dataset is not None:
            self.earlier = earlier_cleaning(dataset, label_column or "label", self.label_names, given)
        decision_arrays(self.decisions, given, self.label_names)  # for its checks: disputes have to make sense too
        self.consensus = consensus or agree(self.decisions, multi=self.multi)
        self.decided, asked = decision_arrays(self.consensus.decisions, given, self.label_names)
        reviewed = None if self.earlier is None else self.earlier.reviewed
        self.detection = settle(detection, given, self.decided, asked, reviewed)
        if cut is not None:
            self.detection = recut(self.detection, given, *cut)

    @property
    def multi(self) -> bool:
        """Whether rows may carry several labels."""
        return self.given.ndim == 2

    @property
    def p_error(self) -> np.ndarray:
        """Probability that the given label is wrong, float32 (rows, labels) or (rows,)."""
        return self.detection.p_error

    @property
    def p_true(self) -> np.ndarray:
        """Probability that a label is right for a row, float32 (rows, labels)."""
        return self.detection.p_true

    @property
    def flagged(self) -> np.ndarray:
        """Cells above the cut, bool, shape of `p_error`."""
        return self.detection.flagged

    @property
    def suggested(self) -> np.ndarray:
        """Given labels with the flagged ones corrected, shape of the given labels."""
        return self.detection.suggested

    @property
    def calibrated(self) -> bool:
        """Whether `p_error` is meant as a probability; confident learning only orders the cells."""
        return bool(self.detection.info.get("calibrated", True))

    @property
    def counted(self) -> bool:
        """Whether errors can be counted from `p_error`: not where the probabilities tell nothing about the labels."""
        return self.calibrated and not self.found.info.get(UNTOLD)

    @property
    def row_p_error(self) -> np.ndarray:
        """Probability that a row has at least one wrong label, float32 (rows,): see `cleaning.apply.row_errors`."""
        return row_errors(self.p_error)

    @property
    def expected_errors(self) -> float:
        """Expected number of wrong cells: the sum of `p_error`."""
        return float(self.p_error.sum(dtype=np.float64))

    def names_of(self, row: int) -> list[str]:
        """Names of the labels given to a row."""
        ids = np.flatnonzero(self.given[row]) if self.multi else [self.given[row]]
        return [self.label_names[k] for k in ids]

    def plan(self, relabel: float | None = None, drop: float | None = None, downweight: float | None = None) -> Plan:
        """What `apply` would do, and how many right labels that is expected to change (`Plan.summary`)."""
        return plan(
            self.detection,
            self.given,
            relabel=relabel,
            drop=drop,
            downweight=downweight,
            decided=self.decided,
            earlier=self.earlier,
        )

    def places(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and label ids of flattened cells."""
        if not self.multi:
            return cells, self.given[cells].astype(np.int64)
        rows, labels = np.divmod(cells, self.given.shape[1])
        return rows, labels

    def __len__(self) -> int:
        return len(self.given)
