"""How often each annotator says what, given the right label; and what an answer then says about the label.

With y the right label of row i, s_ai the answer of annotator a, and p_i a soft label from elsewhere (a graph, a
classifier, class shares),

    P(y | s_1i, ..., p_i)  ~  p_iy  prod_a P(s_ai | y)                                                          (1)

which are equations 2.3 to 2.5 of Dawid and Skene 1979 ("Maximum likelihood estimation of observer error-rates using the
EM algorithm") with p_i in the place of the class shares. Rates P(s | y) are expected counts under (1), in gold rows
under their labels, with a Dirichlet prior; rates and (1) are repeated in turn until neither changes.

- One class per answer: a table (labels, labels + 1), [right, given], where the last column is "no answer". A rule that
  only ever says "spam" speaks by when it does, and its silence is its other answer. The silence of annotators that give
  several labels is no evidence, as nobody knows why they were not asked.
- Yes or no per label: P(said | right) per label, 2 x 2.
- Probabilities, several labels per row: each number is put into one of a few bins, with a rate like yes and no.
- Probabilities, one label per row: the largest is the answer (equal ones at the top are none), with a table as above,
  times P(bin of the largest | is it right), times how often the second is right where the first is wrong. However
  badly numbers are calibrated, they count for what they prove.

Annotators are taken to err independently of each other and of p given y; where they do not, (1) is too sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textpl.annotations.annotation import Annotation
from textpl.annotations.cell_answers import CellAnswers, CellRates
from textpl.annotations.class_answers import ClassAnswers, ClassRates
from textpl.annotations.dawid_skene import ROUNDS, TOLERANCE, normalized
from textpl.relabeling.calibration import wilson_interval

Array = np.ndarray

# Rows without a known label count for at most so many known ones per label: the soft label that they are compared with
# may be wrong in a way that many rows make worse, not better.
UNKNOWN_ROWS = 50.0
SMALLEST = 1e-12


@dataclass(frozen=True)
class Confusion:
    """What an annotator says, given what is right.

    Attributes:
        name: of the annotator.
        rates: of its answers, one label per row or several.
        edges: float64, where probabilities are cut into bins; empty for other answers.
        accuracy: share of right answers: estimate, low and high of a 95 % interval. One label per row: of rows with an
            answer, a probability's answer being its largest; several: mean of the shares of right answers over labels
            that are right and over those that are not. Interval NaN where no gold row has an answer: the estimate then
            rests on the other source alone.
        gold: number of gold rows with an answer.
        constant: it says the same in all rows, which says nothing.
        silence: "no answer" is evidence: the annotator gives one label only, or none.
    """

    name: str
    rates: ClassRates | CellRates
    edges: Array
    accuracy: tuple[float, float, float]
    gold: int
    constant: bool
    silence: bool = False

    def told(self) -> str:
        """Say how reliable the annotator is."""
        value, low, high = self.accuracy
        if self.constant:
            return f"{self.name}: says the same in every row, so that it tells nothing"
        if not self.gold:
            return f"{self.name}: right in about {value:.0%} (no gold row has an answer: judged by other evidence only)"
        return f"{self.name}: right in {value:.0%} ({low:.0%} to {high:.0%}, {self.gold:,} gold rows)"


@dataclass(frozen=True)
class Estimated:
    """What comes out of `estimate_confusion`.

    Attributes:
        confusions: one per annotator.
        p: float64 (rows, labels), (1) above; single-label: rows sum to 1. Gold rows: their labels.
    """

    confusions: tuple[Confusion, ...]
    p: Array


def estimate_confusion(
    annotations: Sequence[Annotation],
    prior: Array,
    truth: Array,
    gold: Array,
    *,
    multi: bool,
    given: Array | None = None,
    gold_weights: Array | None = None,
    unknown_rows: float = UNKNOWN_ROWS,
) -> Estimated:
    """Estimate the reliability of each annotator from gold rows and, by EM, from all others.

    Args:
        annotations: at least one, all of the same rows.
        prior: float (rows, labels), probability of each label by evidence independent of the annotators; single-label
            rows sum to 1. Where nothing is known: the class shares in every row.
        truth: float (rows, labels), labels of gold rows; not read elsewhere.
        gold: bool (rows,), rows whose label is known; several labels per row: or (rows, labels), cells.
        multi: whether rows may carry several labels.
        given: int (rows,) or (rows, sources), several labels per row: 0/1 (rows, labels). Labels that annotators may
            have copied, such as those of a noisy corpus which the same tool made, or a classifier's. Then
            P(s | y, given z) = sum_j c_j [s = z_j] + (1 - sum_j c_j) P(s | y), c by EM as well.
        gold_weights: float, shape of `gold`: how much each gold row or cell counts, where they are no random sample of
            the rows. Default 1 each.
        unknown_rows: number of gold rows, per label, that all others together count for at most.

    Returns:
        Estimated: one confusion per annotator and the combined probabilities.

    Raises:
        ValueError: for arrays that do not fit, or NaN in the prior.
    """
    prior, gold = _checked(annotations, prior, truth, gold)
    coded = [_coded(a, multi, float(prior.mean()), given) for a in annotations]
    cells = gold if gold.ndim == 2 else gold[:, None]
    weights = np.ones(cells.shape) if gold_weights is None else np.reshape(gold_weights, cells.shape).astype(np.float64)
    if gold.any():
        weights[~cells] = min(1.0, unknown_rows * prior.shape[1] * cells.shape[1] / max(int((~cells).sum()), 1))
    known = np.where(cells, truth, 0.0)
    rates: list = [code.at_first() for code in coded]
    p = _combined(prior, coded, rates, known, cells, multi)
    for _ in range(ROUNDS):
        old, rates = rates, [code.rates(p, weights, rate) for code, rate in zip(coded, rates, strict=True)]
        before, p = p, _combined(prior, coded, rates, known, cells, multi)
        # Where all rows are known, only the shares of copies have still to settle.
        copies = [np.subtract(new.copies, rate.copies) for new, rate in zip(rates, old, strict=True)]
        if max(np.abs(change).max(initial=0) for change in (p - before, *copies)) < TOLERANCE:
            break
    found = tuple(
        Confusion(a.name, rate, code.edges, *_accuracy(a, code, rate, p, known, cells), code.constant, code.silence)
        for a, code, rate in zip(annotations, coded, rates, strict=True)
    )
    return Estimated(found, p)


def log_likelihood(annotation: Annotation, confusion: Confusion) -> Array:
    """What the answers of an annotator say about each label.

    Args:
        annotation: its answers, also about other rows than those of the estimate.
        confusion: of this annotator.

    Returns:
        float64 (rows, labels). Single-label: log P(answer | label), but for a constant of the row, whose mean is taken
        away; several labels per row: the log-odds that a yes or a number adds to a label. 0 where there is no answer,
        unless silence is evidence.
    """
    if confusion.constant:
        return np.zeros((len(annotation), annotation.num_labels))
    if isinstance(confusion.rates, ClassRates):
        return ClassAnswers.of(annotation, confusion.edges, confusion.silence).evidence(confusion.rates)
    return CellAnswers.of(annotation, 0.0, confusion.edges).evidence(confusion.rates)


def _coded(annotation: Annotation, multi: bool, rate: float, given: Array | None) -> ClassAnswers | CellAnswers:
    if multi and annotation.kind == "classes":
        raise ValueError(f"annotations: {annotation.name!r} has one class per row, but rows may carry several labels.")
    if multi:
        return CellAnswers.of(annotation, rate, given=given)
    return ClassAnswers.of(annotation, given=None if given is None else given.reshape(len(given), -1))


def _combined(prior: Array, coded: Sequence, rates: Sequence, known: Array, cells: Array, multi: bool) -> Array:
    """Equation (1); gold rows are as they are known."""
    logs = np.zeros(prior.shape)
    for code, rate in zip(coded, rates, strict=True):
        if not code.constant:
            logs += code.evidence(rate)
    clipped = np.clip(prior, SMALLEST, 1 - SMALLEST)
    if multi:
        p = 1 / (1 + np.exp(-np.clip(np.log(clipped) - np.log1p(-clipped) + logs, -60, 60)))
    else:
        p = normalized(np.log(clipped) + logs)
    return np.where(cells, known, p)


def _accuracy(
    annotation: Annotation,
    code: ClassAnswers | CellAnswers,
    rates: ClassRates | CellRates,
    p: Array,
    known: Array,
    cells: Array,
) -> tuple[tuple[float, float, float], int]:
    """Share of right answers with its interval, and in how many gold rows it was seen."""
    there = code.top >= 0 if isinstance(code, ClassAnswers) else annotation.answered
    rows = np.flatnonzero(cells.any(1) & there)
    if not there.any():
        return (float("nan"),) * 3, 0
    if isinstance(code, ClassAnswers):
        value = float(code.right(known if len(rows) else p, rows if len(rows) else np.flatnonzero(there)).mean())
    else:
        assert isinstance(rates, CellRates)
        judged = np.broadcast_to(cells, p.shape) if len(rows) else np.ones(p.shape, dtype=bool)
        value = code.right(known if len(rows) else p, judged, rates)
    if not len(rows):
        return (value, float("nan"), float("nan")), 0
    low, high = wilson_interval(np.array(value * len(rows)), np.array(float(len(rows))))
    return (value, float(low), float(high)), len(rows)


def _checked(annotations: Sequence[Annotation], prior: Array, truth: Array, gold: Array) -> tuple[Array, Array]:
    prior, gold = np.asarray(prior, dtype=np.float64), np.asarray(gold, dtype=bool)
    if not annotations:
        raise ValueError("annotations: there is no annotator.")
    for a in annotations:
        if prior.shape != (len(a), a.num_labels):
            raise ValueError(f"annotations: {a.name!r} has {len(a)} rows of {a.num_labels} labels, not {prior.shape}.")
    if np.shape(truth) != prior.shape or gold.shape not in (prior.shape[:1], prior.shape):
        raise ValueError(f"truth {np.shape(truth)} and gold {gold.shape} do not fit the prior, {prior.shape}.")
    if np.isnan(prior).any():
        raise ValueError(f"prior, row {np.flatnonzero(np.isnan(prior).any(1))[0]} (counted from 0): NaN.")
    return prior, gold
