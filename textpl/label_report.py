"""`LabelReport`: which labels of a corpus look wrong, and everything one does about it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from datasets import Dataset

from textpl.cleaning.apply import Earlier, Plan, plan, row_errors
from textpl.cleaning.noise_rates import (
    RateEstimate,
    rates_from_clusterability,
    rates_from_posterior,
    rates_from_trusted,
)
from textpl.cleaning.result import Detection
from textpl.cleaning.review import Strategy, recut, review_order, settle
from textpl.cleaning.transition import (
    TransitionEstimate,
    transition_from_anchors,
    transition_from_clusterability,
    transition_from_posterior,
    transition_from_trusted,
)
from textpl.embeddings.graph import NeighborGraph
from textpl.label_cells import cell_table, texts_of
from textpl.label_columns import cleaned_dataset, earlier_cleaning, held_out, undo
from textpl.label_report_files import load_parts, plain, plain_problems, save_report
from textpl.review_formats import Decision, ReviewQueue, read_review

__all__ = ["Decision", "LabelReport", "read_review", "undo"]

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
        decisions: what people decided.
        cut: None for the automatic cut, else ("p", least p_error) or ("count", number of cells).

    Attributes:
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
        *,
        decisions: Sequence[Decision] = (),
        cut: tuple[str, float] | None = None,
    ) -> None:
        if detection.p_error.shape != given.shape:
            raise ValueError(f"detection of shape {detection.p_error.shape}, labels of shape {given.shape}.")
        if dataset is not None and len(dataset) != len(given):
            raise ValueError(f"the dataset has {len(dataset)} rows and there are {len(given)} labels: they must agree.")
        self.found, self.given, self.label_names = detection, given, tuple(label_names)
        self.dataset, self.text_column, self.label_column = dataset, text_column, label_column
        self.neighbors, self.problems, self.split, self.about = neighbors, problems, split, dict(about or {})
        self.decisions, self.cut = tuple(decisions), cut
        self.earlier: Earlier | None = None
        if dataset is not None:
            self.earlier = earlier_cleaning(dataset, label_column or "label", self.label_names, given)
        self.decided, lessons = self._decided()
        reviewed = None if self.earlier is None else self.earlier.reviewed
        self.detection = settle(detection, given, self.decided, lessons, reviewed)
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
        "given", "relabelled", "masked", "downweighted" and "reviewed" (multi-label: lists with one of each per cell);
        `p_error` of the row. Single-label rows can then be left out by
        `cleaned.filter(lambda row: row["label_weight"] > 0)`.

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
        logger.info("%s", todo.summary())
        return cleaned_dataset(
            self.dataset, self.label_column or "label", self.label_names, self.given, todo, self.row_p_error
        )

    def review_queue(self, budget: int = 500, strategy: Strategy = "gain") -> ReviewQueue:
        """Cells for a person to decide: see `textpl.cleaning.review.review_order` for the strategies."""
        cells, lesson = review_order(self.detection, self.given, budget, strategy, decided=self._closed())
        return ReviewQueue(self, *self._places(cells), lesson)

    def apply_review(self, decisions: Iterable[Decision] | str | Path) -> LabelReport:
        """The report after people have decided some cells, which become certain; the others are scored anew.

        What the decisions teach about other cells is learnt from the detector's evidence with the present scores as
        prior (`textpl.cleaning.review.settle`); with few or unhelpful decisions the order of cells stays as it is. May
        be called again with more decisions; a later one about the same cell wins. Undoes `rethreshold`.

        Args:
            decisions: or a file for `read_review`.

        Raises:
            ValueError: for rows or labels that do not exist, and two decisions about one cell that disagree.
        """
        new = read_review(decisions) if isinstance(decisions, (str, Path)) else list(decisions)
        cells: dict[tuple[int, str], Decision] = {}
        for decision in new:
            key = (decision.row, decision.label if self.multi else "")
            other = cells.setdefault(key, decision)
            if other[:3] != decision[:3]:
                raise ValueError(f"decisions disagree about row {decision.row}: {other} and {decision}: keep one.")
        old = {(d.row, d.label if self.multi else ""): d for d in self.decisions}
        return self._with(decisions=tuple({**old, **cells}.values()), cut=None)

    def summary(self) -> str:
        """What was found, in words."""
        flags, noun = self.flagged, "cells" if self.multi else "rows"
        size = f"{len(self.given):,} rows" + (f" x {len(self.label_names)} labels" if self.multi else "")
        sure = float(self.p_error[flags].sum(dtype=np.float64))
        found = f"{size}: {flags.sum():,} {noun} look wrong, about {sure:,.0f} of them are"
        lines = [f"{found}; {self.expected_errors:,.0f} errors are expected in all"]
        if self.multi:
            missing = int((flags & (self.given == 0)).sum())
            lines.append(f"  {missing:,} labels are missing, {int(flags.sum()) - missing:,} should not be there")
        worst = sorted(self.per_label(), key=lambda line: -line["flagged"])[:5]
        lines += [f"  {w['label']}: {w['flagged']:,} flagged, {w['given']:,} given" for w in worst if w["flagged"]]
        if self.decisions:
            review = self.detection.info.get("review", {})
            lessons = review.get("lessons", 0)
            learnt = "" if review.get("learnt") else f"; not enough to learn about the others ({lessons} were lessons)"
            lines.append(f"{len(self.decisions):,} {noun} were reviewed{learnt}")
        lines.append(f"apply(): {self.plan().summary()}")
        if self.dataset is not None and (name := held_out(self.dataset, self.split)):
            lines.append(f"{name!r} looks like held-out data: apply() refuses it unless told allow_test=True")
        loaded = isinstance(self.problems, dict)
        lines += self.problems.get("summary", []) if loaded else getattr(self.problems, "summary", list)()
        return "\n".join(lines)

    def per_label(self) -> list[dict[str, Any]]:
        """Given, flagged and expected wrong labels by label; of multi-label cells those missing and wrong apart."""
        p, on = self.p_error.astype(np.float64), self.given == 1
        if self.multi:
            columns = {
                "given": on.sum(0),
                "flagged": self.flagged.sum(0),
                "flagged_missing": (self.flagged & ~on).sum(0),
                "expected_missing": np.where(on, 0, p).sum(0),
                "expected_wrong": np.where(on, p, 0).sum(0),
            }
        else:
            size = len(self.label_names)
            columns = {
                "given": np.bincount(self.given, minlength=size),
                "flagged": np.bincount(self.given[self.flagged], minlength=size),
                "expected_wrong": np.bincount(self.given, p, minlength=size),
            }
        rows = zip(*(np.round(values, 2).tolist() for values in columns.values()), strict=True)
        return [
            {"label": n, **dict(zip(columns, row, strict=True))} for n, row in zip(self.label_names, rows, strict=True)
        ]

    def noise_rates(
        self,
        trusted_rows: Sequence[int] | None = None,
        trusted_labels: np.ndarray | None = None,
        source: Literal["posterior", "anchors", "clusterability"] = "posterior",
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
        if (trusted_rows is None) != (trusted_labels is None):
            raise ValueError("Give trusted_rows and trusted_labels together.")
        if trusted_rows is None and source == "anchors":
            if self.multi or "model" not in self.detection.evidence:
                raise ValueError(
                    "source='anchors' needs one label per row and a report with the model's probabilities."
                )
            return transition_from_anchors(self.given, self.detection.evidence["model"])
        if trusted_rows is None and source == "clusterability":
            if self.neighbors is None:
                raise ValueError("source='clusterability' needs neighbours: find the issues with an encoder.")
            graph = NeighborGraph(self.neighbors, np.zeros(self.neighbors.shape, dtype=np.float32))
            if self.multi:
                return rates_from_clusterability(self.given, graph)
            return transition_from_clusterability(self.given, graph, len(self.label_names))
        if source not in ("posterior", "anchors", "clusterability"):
            raise ValueError(f"source={source!r}: use 'posterior', 'anchors' or 'clusterability'.")
        if trusted_rows is None:
            if self.multi:
                return rates_from_posterior(self.given, self.p_true)
            return transition_from_posterior(self.given, self.p_true)
        given, right = self.given[np.asarray(trusted_rows)], np.asarray(trusted_labels)
        if right.shape != given.shape:
            raise ValueError(f"trusted_labels of shape {right.shape} for {len(given)} rows: expected {given.shape}.")
        if self.multi:
            return rates_from_trusted(given, right)
        return transition_from_trusted(given, right, len(self.label_names))

    def to_dict(self) -> dict[str, Any]:
        """What was found, without the cells, as plain data."""
        todo = self.plan()
        return {
            "rows": len(self.given),
            "label_names": list(self.label_names),
            "task": "multi" if self.multi else "single",
            "flagged": int(self.flagged.sum()),
            "flagged_rows": int(self.flagged.reshape(len(self.given), -1).any(1).sum()),
            "expected_errors": round(self.expected_errors, 1),
            "labels": self.per_label(),
            "apply": {**todo.counts(), "right_labels_changed": round(todo.right_changed, 5)},
            "cut": self.cut,
            "reviewed": len(self.decisions),
            "info": plain(self.detection.info),
            "problems": plain_problems(self.problems),
            **self.about,
        }

    def save(self, folder: str | Path) -> None:
        """Write the report (not the dataset) as `arrays.npz` and `report.json`; `load` reads it back."""
        save_report(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, dataset: Dataset | None = None) -> LabelReport:
        """Read a saved report; `problems` come back as plain data.

        Args:
            folder: where it was saved.
            dataset: the dataset it was made from, needed for texts and `apply`.
        """
        detection, given, neighbors, told = load_parts(Path(folder))
        return cls(
            detection,
            given,
            dataset=dataset,
            neighbors=neighbors,
            decisions=[Decision(*decision) for decision in told.pop("decisions")],
            cut=tuple(cut) if (cut := told.pop("cut")) else None,
            **told,
        )

    def __len__(self) -> int:
        return len(self.given)

    def __repr__(self) -> str:
        noun = "cells" if self.multi else "rows"
        return f"<LabelReport: {self.flagged.sum():,} of {self.flagged.size:,} {noun} flagged>"

    def __str__(self) -> str:
        return self.summary()

    def _with(self, **changes: Any) -> LabelReport:
        settings = {"decisions": self.decisions, "cut": self.cut, **changes}
        parts = (
            self.dataset,
            self.text_column,
            self.label_column,
            self.neighbors,
            self.problems,
            self.split,
            self.about,
        )
        return LabelReport(self.found, self.given, self.label_names, *parts, **settings)

    def _places(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and label ids of flattened cells."""
        if not self.multi:
            return cells, self.given[cells].astype(np.int64)
        rows, labels = np.divmod(cells, self.given.shape[1])
        return rows, labels

    def _decided(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Decisions as arrays: the right labels (-1 where unknown) and which of them are lessons."""
        if not self.decisions:
            return None, None
        ids = {name: k for k, name in enumerate(self.label_names)}
        decided, lessons = np.full(self.given.shape, -1, self.given.dtype), np.zeros(self.given.shape, bool)
        for row, label, right, lesson in self.decisions:
            if not 0 <= row < len(self.given):
                raise ValueError(f"decision about row {row}: there are rows 0 to {len(self.given) - 1}.")
            if label not in ids:
                raise ValueError(f"decision about row {row}: {label!r} is no label; they are {', '.join(ids)}.")
            if not self.multi and not right:
                raise ValueError(f"decision about row {row}: {label!r} is not right, but say which label is.")
            at: tuple[int, ...] = (row, ids[label]) if self.multi else (row,)
            decided[at] = int(right) if self.multi else ids[label]
            lessons[at] = lesson
        return decided, lessons

    def _closed(self) -> np.ndarray | None:
        """Cells that need no review: 0 where a person decided now or in an earlier round, -1 elsewhere."""
        closed = np.full(self.given.shape, -1)
        if self.decided is not None:
            closed[self.decided >= 0] = 0
        if self.earlier is not None:
            closed[self.earlier.reviewed] = 0
        return closed
