"""`LabelReport`: which labels of a corpus look wrong, and everything one does about it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.cleaning.agreement import UNTOLD
from textpl.cleaning.apply import Earlier, Plan, plan, row_errors
from textpl.cleaning.noise_rates import RateEstimate
from textpl.cleaning.result import Detection
from textpl.cleaning.review import Strategy, recut, review_order, settle
from textpl.cleaning.transition import TransitionEstimate
from textpl.label_issues import noise, telling
from textpl.label_issues.cells import cell_table, texts_of
from textpl.label_issues.columns import check_same_rows, cleaned_dataset, earlier_cleaning, held_out
from textpl.label_issues.consensus import Consensus, agree
from textpl.label_issues.decisions import Decision, closed_cells, decision_arrays, merged
from textpl.label_issues.review_formats import ReviewQueue, read_reviews
from textpl.label_issues.saving import load_parts, save_report

logger = logging.getLogger(__name__)


class LabelReport:
    """Probability of being wrong for every label given, and what to do about it.

    A *cell* is one (row, label) pair of a multi-label corpus; single-label data has one cell per row. Nothing here
    changes the dataset it was made from.

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

    @property
    def cells(self) -> Dataset:
        """The flagged cells, most probable errors first: see `table`."""
        where = np.flatnonzero(self.flagged)
        where = where[np.argsort(-self.p_error.ravel()[where], kind="stable")]
        return self.table(*self._places(where))

    def table(self, rows: np.ndarray, labels: np.ndarray) -> Dataset:
        """Some cells with all that speaks for and against them.

        Args:
            rows: int64 (cells,).
            labels: int64 (cells,), label ids; single-label the given ones.

        Returns:
            Columns `row`, `label`, `given` and `suggested` (multi-label 0 or 1, single-label names; `suggested` is what
            the cell would become, flagged or not), `kind` ("wrong", "missing", or "swap" where the label was probably
            confused with `partner`), `p_error`, `p_model` and `p_neighbors` (probability of `label` by each; NaN where
            not known), `text`, and `neighbors` (row, labels, text of the nearest 3). `partner` in multi-label only.
        """
        return cell_table(self, rows, labels)

    def text(self, row: int) -> str:
        """Text of a row; "" where there is no dataset."""
        return texts_of(self, np.array([row]))[0]

    def names_of(self, row: int) -> list[str]:
        """Names of the labels given to a row."""
        ids = np.flatnonzero(self.given[row]) if self.multi else [self.given[row]]
        return [self.label_names[k] for k in ids]

    def rethreshold(self, p: float | None = None, *, count: int | None = None) -> LabelReport:
        """The same report with another cut; nothing is computed anew.

        Args:
            p: flag cells of at least this p_error.
            count: instead, flag this many of the most probable errors.

        Raises:
            ValueError: unless exactly one is given, p within [0, 1], count not negative.
        """
        if (p is None) == (count is None) or (p is not None and not 0 <= p <= 1) or (count is not None and count < 0):
            raise ValueError(f"rethreshold(p={p}, count={count}): give p between 0 and 1, or a number of cells.")
        return self._with(cut=("p", p) if p is not None else ("count", count))

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

    def apply(
        self,
        relabel: float | None = None,
        drop: float | None = None,
        downweight: float | None = None,
        *,
        allow_test: bool = False,
    ) -> Dataset:
        """The dataset with corrected labels and weights. No row is removed; `undo` gives back what was there before.

        Without thresholds, the flagged cells of a multi-label corpus are masked (flipping them shifts every score of
        the model trained on them, masking was never worse than the noisy labels) and the flagged rows of a single-label
        corpus relabelled. Added or replaced columns: the label column with the corrected labels, written as before;
        `given_<label column>`, what was there before any cleaning; `label_weight`, a number, and `label_source`, one of
        "given", "relabelled", "masked", "downweighted" and "reviewed" (multi-label: lists with one of each per cell;
        where labels are names, weights stand by their names too: `{"joy": 1.0, "anger": 0.0}`); `p_error` of the row.
        Single-label rows can then be left out by `cleaned.filter(lambda row: row["label_weight"] > 0)`.

        Cleaning what was cleaned before ends: see `textpl.cleaning.apply.plan`.

        Args:
            relabel: correct labels of at least this p_error.
            drop: set the weight to 0 (multi-label: of the cell, never of the row).
            downweight: set the weight to 1 - p_error.
            allow_test: clean a test or validation split, which makes scores on it look better than they are.

        Raises:
            ValueError: without a dataset, for a held-out split, thresholds out of range or in the wrong order, labels
                of the dataset that are not those examined, and columns of these names that are not from here.
        """
        if self.dataset is None:
            raise ValueError(
                "this report has no dataset: pass it to LabelReport.load, or use plan().labels and weight."
            )
        name = held_out(self.dataset, self.split)
        if name is not None and not allow_test:
            raise ValueError(
                f"{name!r} looks like held-out data: cleaning it by a model flatters that model. "
                "Select the training rows, or say allow_test=True."
            )
        todo = self.plan(relabel, drop, downweight)
        logger.info("%s", telling.done(self, todo))
        return cleaned_dataset(
            self.dataset, self.label_column or "label", self.label_names, self.given, todo, self.row_p_error
        )

    def review_queue(self, budget: int = 500, strategy: Strategy = "gain") -> ReviewQueue:
        """Cells for a person to decide: see `textpl.cleaning.review.review_order` for the strategies.

        Cells that people answered differently come first.
        """
        closed = closed_cells(self.given.shape, self.decided, self.earlier)
        disputes = self.consensus.disputes[: max(budget, 0)]
        ids = {name: k for k, name in enumerate(self.label_names)}
        torn = [d.row * len(ids) + ids[d.label] if d.label is not None else d.row for d in disputes]
        closed.ravel()[torn] = 0
        cells, lesson = np.empty(0, np.int64), np.empty(0, bool)
        if budget > len(torn) or not torn:
            cells, lesson = review_order(self.detection, self.given, budget - len(torn), strategy, decided=closed)
        cells = np.concatenate([np.array(torn, np.int64), cells])
        lesson = np.concatenate([np.array([d.lesson for d in disputes], bool), lesson])
        answers = tuple(d.told() for d in disputes) + ("",) * (len(cells) - len(torn)) if torn else ()
        return ReviewQueue(self, *self._places(cells), lesson, answers)

    def apply_review(self, decisions: Iterable[Decision] | str | Path | Iterable[str | Path]) -> LabelReport:
        """The report after people have decided some cells, which become certain; the others are scored anew.

        What the decisions teach about other cells is learnt from the detector's evidence with the present scores as
        prior (`textpl.cleaning.review.settle`); with few or unhelpful decisions the order of cells stays as it is. May
        be called again with more decisions; a later one by the same person about the same cell wins. Of several people
        one answer per cell is made, or none (`consensus`). Undoes `rethreshold`.

        Args:
            decisions: or a file for `read_review`, or several: one of each person.

        Raises:
            ValueError: for rows or labels that do not exist, and two decisions about one cell that disagree and do not
                say who made them.
        """
        given = [decisions] if isinstance(decisions, (str, Path)) else list(decisions)
        files = [item for item in given if not isinstance(item, Decision)]
        new = [*read_reviews(files), *(item for item in given if isinstance(item, Decision))]
        return self._with(decisions=merged(self.decisions, new, multi=self.multi), cut=None)

    def summary(self) -> str:
        """What was found, in words."""
        return telling.summary(self)

    def per_label(self) -> list[dict[str, Any]]:
        """Given, flagged and expected wrong labels by label; of multi-label cells those missing and wrong apart."""
        return telling.per_label(self)

    def noise_rates(
        self,
        trusted_rows: Sequence[int] | None = None,
        trusted_labels: np.ndarray | None = None,
        source: noise.Source = "posterior",
    ) -> RateEstimate | TransitionEstimate:
        """How often labels go wrong, with 95 % intervals, for `textpl.ForwardCorrection`.

        Args:
            trusted_rows: rows whose right labels are known, drawn at random (a review queue is not); None takes the
                probabilities of this report. The intervals then know the sampling error only, not that of the detector.
            trusted_labels: their right labels, in the form of `given`.
            source: without trusted rows: "posterior", the probabilities of this report, which is nearest to the truth;
                "anchors", the rows the model is surest of (single-label); "clusterability", the labels of the two
                nearest rows (poor for sparse labels).

        Returns:
            Multi-label: rates at which each label is lost and added. Single-label: P(given | right).

        Raises:
            ValueError: rows without labels, labels of another shape, or a source that this report does not have.
        """
        return noise.noise_rates(self, trusted_rows, trusted_labels, source)

    def to_dict(self) -> dict[str, Any]:
        """What was found, without the cells, as plain data."""
        return telling.to_dict(self)

    def save(self, folder: str | Path) -> None:
        """Write the report (not the dataset) as `arrays.npz` and `report.json`; `load` reads it back."""
        save_report(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, dataset: Dataset | None = None) -> LabelReport:
        """Read a saved report; `problems` come back as plain data.

        Args:
            folder: where it was saved.
            dataset: the dataset it was made from, needed for texts and `apply`.

        Raises:
            FileNotFoundError: if there is no report.
            ValueError: if the dataset has other rows, texts or labels.
        """
        detection, arrays, told = load_parts(Path(folder))
        if dataset is not None:
            names, texts = tuple(told["label_names"]), told["about"].get("texts")
            check_same_rows(dataset, told["text_column"], told["label_column"], names, arrays["given"], texts)
        return cls(detection, dataset=dataset, **arrays, **told)

    def __len__(self) -> int:
        return len(self.given)

    def __repr__(self) -> str:
        noun = "cells" if self.multi else "rows"
        return f"<LabelReport: {self.flagged.sum():,} of {self.flagged.size:,} {noun} flagged>"

    def __str__(self) -> str:
        return self.summary()

    def without_review(self) -> LabelReport:
        """The report as it was before anybody reviewed or set another cut."""
        return self._with(decisions=(), cut=None)

    def _with(self, **changes: Any) -> LabelReport:
        same = "decisions" not in changes  # what people decided together takes seconds to find
        settings = {
            "decisions": self.decisions,
            "cut": self.cut,
            "consensus": self.consensus if same else None,
        } | changes
        where = (self.dataset, self.text_column, self.label_column, self.neighbors)
        about = (self.problems, self.split, self.about, self.points)
        return LabelReport(self.found, self.given, self.label_names, *where, *about, **settings)

    def _places(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and label ids of flattened cells."""
        if not self.multi:
            return cells, self.given[cells].astype(np.int64)
        rows, labels = np.divmod(cells, self.given.shape[1])
        return rows, labels
