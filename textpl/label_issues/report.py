"""`LabelReport`: which labels of a corpus look wrong, and everything one does about it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.cleaning.noise_rates import RateEstimate
from textpl.cleaning.review import Strategy, review_order
from textpl.cleaning.transition import TransitionEstimate
from textpl.label_issues import noise, telling
from textpl.label_issues.cells import cell_table, text_of
from textpl.label_issues.columns import check_same_rows, cleaned_dataset, held_out
from textpl.label_issues.decisions import Decision, closed_cells, merged
from textpl.label_issues.findings import Findings
from textpl.label_issues.review_formats import ReviewQueue, read_reviews
from textpl.label_issues.saving import load_parts, save_report

logger = logging.getLogger(__name__)


class LabelReport(Findings):
    """Which labels look wrong, and what to do about it; nothing here changes the dataset it was made from.

    A *cell* is one (row, label) pair of a multi-label corpus; single-label data has one cell per row. For the
    arguments and attributes see `Findings`.
    """

    @property
    def cells(self) -> Dataset:
        """The flagged cells, most probable errors first: see `table`."""
        where = np.flatnonzero(self.flagged)
        where = where[np.argsort(-self.p_error.ravel()[where], kind="stable")]
        return self.table(*self.places(where))

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
        return text_of(self, row)

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
        return ReviewQueue(self, *self.places(cells), lesson, answers)

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
