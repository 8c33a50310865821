"""The labels that `textpl.label` found: which it stands by, which it does not and why."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, List, Value, concatenate_datasets

from textpl.label_origin import LabelOrigin
from textpl.reading.probabilities import named_array, named_feature
from textpl.relabeling.calibration import HeldOut, PrecisionCoverage

# Columns of the resulting dataset.
ADDED_COLUMNS = ("label", "probabilities", "confidence", "label_source", "evidence", "reason")
# Parts of a report that say in words what is elsewhere in it as numbers.
IN_WORDS = ("summary", "neighborhoods")
# Why a row has no label.
UNREACHED = "no labelled row can be reached through its neighbours"
EMPTY = "its embedding is zero: the text is empty or has no known word"


@dataclass(frozen=True, repr=False)
class PseudoLabels:
    """Labels for the rows of an unlabelled dataset.

    Attributes:
        labels: int64 (rows,), -1 where there is none; multi-label: int8 (rows, labels) of 1, 0 and -1 (undecided).
        confidence: probability that the label is right, calibrated on held-out labelled rows, float32; (rows,), for
            multi-label (rows, labels) for each cell's decision. 0 where there is no label to be right. It is right in
            the mean of rows of equal `probabilities`: among them, those with unusually dissimilar evidence are right
            less often.
        probabilities: float32 (rows, labels), the soft labels; rows of 0 where there is none.
        selected: bool (rows,): has a label above the threshold (multi-label: in at least one cell).
        reasons: str (rows,), why a row is not selected; "" where it is.
        threshold: least confidence of a selected row (cell).
        margin: float32 (rows,), best minus second best probability; multi-label: distance to the nearest cut.
        hops: int32 (rows,), steps to the labelled rows; 0 where the text is a labelled one, -1 for none.
        label_names: name of every label; position is id.
        method: the method that labelled.
        encoder: the encoder used.
        report: what was tried and measured, plain data.
        coverage: precision against coverage on the labelled rows, each labelled without its own label. Its intervals
            are for rows without end: the share of right ones in a small pool varies more.
        origin: what the labels were found from, for a report.
    """

    labels: np.ndarray
    confidence: np.ndarray
    probabilities: np.ndarray
    selected: np.ndarray
    reasons: np.ndarray
    threshold: float
    margin: np.ndarray
    hops: np.ndarray
    label_names: tuple[str, ...]
    method: str
    encoder: str
    report: dict[str, Any]
    coverage: PrecisionCoverage
    origin: LabelOrigin = field(repr=False)
    _unlabeled: Dataset = field(repr=False)
    _held_out: HeldOut = field(repr=False)
    _decided: np.ndarray = field(repr=False)
    _evidence: Evidence = field(repr=False)

    @property
    def multi(self) -> bool:
        """Whether rows may carry several labels."""
        return self.labels.ndim == 2

    def rethreshold(self, confidence: float | None = None, *, precision: float | None = None) -> PseudoLabels:
        """Select again by another threshold, nothing is computed anew.

        Multi-label: a row is selected if all labels given to it are sure enough; cells without a label below the
        threshold become undecided (-1).

        Args:
            confidence: least confidence of a label.
            precision: instead, the expected share of right ones among the labels given: the most labels whose mean
                confidence reaches it.

        Raises:
            ValueError: unless exactly one of them is given, within [0, 1]; for a precision where no labeled row could
                be held out, so that none can be expected.
        """
        wanted = [v for v in (confidence, precision) if v is not None]
        if len(wanted) != 1 or not 0 <= wanted[0] <= 1:
            raise ValueError(
                f"rethreshold(confidence={confidence}, precision={precision}): give exactly one, between 0 and 1."
            )
        if precision is not None and not len(self.coverage.cut):
            raise ValueError(
                f"rethreshold(precision={precision}): no labeled row could be held out, so that no precision can be "
                "expected. Give a confidence, which is the method's own here, or label some rows."
            )
        given = self._decided == 1 if self.multi else self._decided >= 0
        cut = _threshold_for(self.confidence[given], precision) if confidence is None else confidence  # type: ignore[arg-type]
        sure = self.confidence >= cut
        labels = np.where(sure, self._decided, -1)
        selected = np.asarray((self.hops >= 0) & ((sure | ~given).all(1) if self.multi else sure))
        low = np.where(self.hops >= 0, f"confidence below {cut:.3g}", self.reasons)
        reasons = np.where(selected, "", low)
        return dataclasses.replace(self, labels=labels, selected=selected, reasons=reasons, threshold=float(cut))

    def to_dataset(self, *, only_selected: bool = True) -> Dataset:
        """The unlabelled rows with their labels.

        Columns added: `label` (class id, multi-label a list of 0.0 and 1.0, as models need it, in which undecided cells
        are 0), `probabilities` (a number for each label, by its name), `confidence` (likewise for multi-label),
        `label_source` ("labeled" where the text is a labelled one, else the method's name, "" for none)
        and `evidence`, the rows that voted (for methods without votes the nearest labelled rows), most similar first:
        `source` ("labeled" or "unlabeled"), `row` of that dataset, `similarity` (cosine). Columns that had these
        names are kept as `given_...`.

        Args:
            only_selected: leave out the rows without a label; otherwise their label is -1 (multi-label: all 0) and a
                column `reason` says why.
        """
        base = self._unlabeled
        for name in base.column_names:
            if name in ADDED_COLUMNS or name.startswith(("probabilities_", "confidence_")):
                base = base.rename_column(name, _free(f"given_{name}", base.column_names))
        whole = concatenate_datasets([base, self._added(reasons=not only_selected)], axis=1)
        return whole if not only_selected or self.selected.all() else whole.select(np.flatnonzero(self.selected))

    def _added(self, *, reasons: bool) -> Dataset:
        """The new columns of all rows; as Arrow arrays, since Python objects of a million rows take a minute."""
        count = len(self.label_names)
        names = list(self.label_names)
        label_feature = List(Value("float32"), length=count) if self.multi else ClassLabel(names=names)
        floats = named_feature(names)
        source = np.where(self.selected, np.where(self.hops == 0, 1, 2), 0)
        columns = {
            "label": _lists(np.maximum(self.labels, 0).astype(np.float32)) if self.multi else pa.array(self.labels),
            "probabilities": named_array(self.probabilities, names),
            "confidence": named_array(self.confidence, names) if self.multi else pa.array(self.confidence),
            "label_source": _texts(source, ["", "labeled", self.method]),
            "evidence": self._evidence.lists(),
        }
        features: dict[str, Any] = {
            "label": label_feature,
            "probabilities": floats,
            "confidence": floats if self.multi else Value("float32"),
            "label_source": Value("string"),
            "evidence": EVIDENCE_FEATURE,
        }
        if reasons:
            columns["reason"], features["reason"] = pa.array(self.reasons), Value("string")
        schema = Features(features).arrow_schema
        return Dataset(pa.table([columns[name].cast(schema.field(name).type) for name in features], schema=schema))

    def text(self, row: int) -> str:
        """The text of an unlabelled row."""
        return self._unlabeled[row][self.origin.text_column]

    def texts(self) -> list[str]:
        """The texts of all unlabelled rows."""
        return self._unlabeled.with_format(None)[self.origin.text_column][:]

    def evidence_of(self, row: int) -> list[tuple[str, int, float]]:
        """What the label of a row rests on, as in the column `evidence`: source, row of that dataset, similarity."""
        return self._evidence.of(row)

    def to_dict(self) -> dict[str, Any]:
        """What was done and found, without the rows, as plain data."""
        curve = {name: np.round(values, 6).tolist() for name, values in vars(self.coverage).items()}
        return {
            "method": self.method,
            "encoder": self.encoder,
            "rows": len(self),
            "selected": int(self.selected.sum()),
            "threshold": self.threshold,
            "expected_precision": self.expected_precision,
            "expected_precision_interval": self.expected_precision_interval,
            "label_names": list(self.label_names),
            **{key: value for key, value in self.report.items() if key not in IN_WORDS},
            "precision_coverage": curve,
        }

    @property
    def expected_precision(self) -> float | None:
        """Mean confidence of the labels given (multi-label: of the cells that are 1); None where it is unknown."""
        given = self.labels == 1 if self.multi else self.selected
        return float(self.confidence[given].mean()) if given.any() and len(self.coverage.cut) else None

    @property
    def expected_precision_interval(self) -> tuple[float, float] | None:
        """Its 95 % interval, low and high; None where it is unknown. Few labeled rows tell little."""
        if (expected := self.expected_precision) is None:
            return None
        given = self.labels == 1 if self.multi else self.selected
        return self._held_out.interval(expected, float(self.confidence[given].min()) if self.threshold else 0.0)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"<PseudoLabels: {self.selected.sum():,} of {len(self):,} rows, {self.method} on {self.encoder}>"

    def __str__(self) -> str:
        threshold = f" at confidence {self.threshold:.2f}" if self.threshold else ""
        lines = [f"{self.method} on {self.encoder}: {self.selected.sum():,} of {len(self):,} rows labelled{threshold}"]
        if self.expected_precision is not None and len(self.coverage.cut):
            low, high = (100 * end for end in self.expected_precision_interval or (0, 1))
            about = f"{100 * self.expected_precision:.1f} % (95 % interval {low:.0f} to {high:.0f} %)"
            lines.append(f"expected precision of these labels: {about}")
        return "\n".join([*lines, *self.report["summary"]])


EVIDENCE_FIELDS = {"source": Value("string"), "row": Value("int64"), "similarity": Value("float32")}
EVIDENCE_FEATURE = List(EVIDENCE_FIELDS)


@dataclass(frozen=True)
class Evidence:
    """The rows that voted.

    Attributes:
        rows: int64 (rows, most), -1 where there are fewer. Rows below `labeled` are those of the labelled dataset;
            the others count on in the unlabelled one.
        similarities: float32 (rows, most).
        labeled: number of labelled rows.
    """

    rows: np.ndarray
    similarities: np.ndarray
    labeled: int

    def of(self, row: int) -> list[tuple[str, int, float]]:
        """The voters of one row: source, row of that dataset, similarity."""
        there = self.rows[row] >= 0
        voters = zip(self.rows[row][there].tolist(), self.similarities[row][there].tolist(), strict=True)
        count = self.labeled
        return [("labeled", v, s) if v < count else ("unlabeled", v - count, s) for v, s in voters]

    def lists(self) -> pa.ListArray:
        """As a column of `EVIDENCE_FEATURE`."""
        there = self.rows >= 0
        ids = self.rows[there]
        labeled = ids < self.labeled
        source = _texts(labeled.astype(np.int64), ["unlabeled", "labeled"])
        row = pa.array(np.where(labeled, ids, ids - self.labeled))
        voters = pa.StructArray.from_arrays([source, row, pa.array(self.similarities[there])], list(EVIDENCE_FIELDS))
        ends = np.concatenate([[0], there.sum(1).cumsum()])
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), voters)


def _lists(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _free(name: str, taken: list[str]) -> str:
    return name if name not in taken else _free(f"given_{name}", taken)


def _texts(codes: np.ndarray, names: list[str]) -> pa.StringArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names)).cast(pa.string())


def _threshold_for(confidence: np.ndarray, precision: float) -> float:
    """Least threshold above which the mean confidence reaches `precision`; above all if none does."""
    ranked = np.sort(confidence)[::-1].astype(np.float64)
    means = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    whole = np.append(np.diff(ranked) < 0, True)[: len(ranked)]  # equal confidences stand or fall together
    reached = np.flatnonzero(whole & (means >= precision - 1e-9))
    return float(ranked[reached[-1]]) if len(reached) else float(np.nextafter(np.float32(ranked.max(initial=1)), 2))
