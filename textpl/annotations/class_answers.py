"""Answers of one class per row, perhaps with how sure the annotator is: rates, and what an answer says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textpl.annotations.annotation import Annotation
from textpl.annotations.dawid_skene import PRIOR, WEIGHT, smoothed_by_habit, sums

Array = np.ndarray

SURENESS = (0.25, 0.5, 0.75)  # quantiles of the largest probability at which answers are told apart by it
# Shares of surer and less sure answers, and of second choices, are drawn to "says nothing" by so many answers.
SURE_ANSWERS = 20.0
# That an answer repeats a source is believed of so many answers at first, and drawn to 0 by as many answers.
COPIES, COPY_ANSWERS = 0.3, 20.0
SMALLEST = 1e-12


@dataclass(frozen=True)
class ClassRates:
    """How an annotator that names one class answers.

    Attributes:
        table: float64 (labels, labels + 1), P(given | right); the last column is no answer.
        sure: float64 (2, bins), P(bin of the largest probability | is it right).
        second: share of the wrong answers whose second choice is right; 1 / (labels - 1) says nothing.
        copies: share of the answers that only repeat a source, right or wrong, for each of them.
    """

    table: Array
    sure: Array
    second: float
    copies: tuple[float, ...] = ()


@dataclass(frozen=True)
class ClassAnswers:
    """Answers of an annotator as numbers.

    Attributes:
        top: int64 (rows,), the class, -1 for no answer.
        labels: number of labels.
        bin: int64 (rows,), how sure, 0 where it does not say.
        runner_up: int64 (rows,), the second choice; -1 for none.
        edges: float64 (bins - 1,), where the largest probability is cut.
        silence: no answer is evidence.
        given: int64 (rows, sources), labels that the annotator may have copied; None where there are none.
    """

    top: Array
    labels: int
    bin: Array
    runner_up: Array
    edges: Array
    silence: bool
    given: Array | None = None

    @classmethod
    def of(
        cls,
        annotation: Annotation,
        edges: Array | None = None,
        silence: bool | None = None,
        given: Array | None = None,
    ) -> ClassAnswers:
        """Read answers; the edges, where they are not given, are quantiles of what is there."""
        none = np.full(len(annotation), -1)
        if annotation.kind == "classes":
            top, runner_up, edges, places = annotation.values, none, np.empty(0), none + 1
        else:
            there = annotation.answered
            p = np.nan_to_num(annotation.values.astype(np.float64), nan=-1.0)
            order = np.argsort(-p, axis=1, kind="stable")
            largest = p.max(1)
            # Equal numbers at the top name no class: the first of them would be a guess.
            there = there & ((p == largest[:, None]).sum(1) == 1)
            top = np.where(there, order[:, 0], -1)
            told = there & (annotation.num_labels > 2) & (np.take_along_axis(p, order[:, -2:-1], 1)[:, 0] > 0)
            runner_up = np.where(told, order[:, 1 % p.shape[1]], -1)
            if edges is None:
                edges = np.unique(np.quantile(largest[there], SURENESS)) if there.any() else np.empty(0)
            places = np.searchsorted(edges, largest, side="right")
        if silence is None:
            silence = len(np.unique(top[top >= 0])) == 1
        return cls(np.asarray(top), annotation.num_labels, places, runner_up, edges, silence, given)

    @property
    def constant(self) -> bool:
        """Whether all rows have one answer, as sure."""
        return bool((self.top == self.top[0]).all() and (self.bin == self.bin[0]).all())

    def at_first(self) -> ClassRates:
        """Rates before anything is seen: right in `PRIOR` of all cases."""
        k = self.labels
        table = np.where(np.eye(k, dtype=bool), PRIOR, (1 - PRIOR) / max(k - 1, 1))
        bins = len(self.edges) + 1
        return ClassRates(
            np.concatenate([table, np.ones((k, 1))], 1),
            np.full((2, bins), 1 / bins),
            1 / max(k - 1, 1),
            () if self.given is None else (min(COPIES, 0.6 / self.given.shape[1]),) * self.given.shape[1],
        )

    def rates(self, p: Array, weights: Array, before: ClassRates) -> ClassRates:
        """Rates given the probability of each label.

        Args:
            p: float64 (rows, labels).
            weights: float64 (rows, 1), of the rows.
            before: rates by which p was found.
        """
        k, there, weights = self.labels, self.top >= 0, weights[:, 0]
        weighted = p * weights[:, None]
        copies: tuple[float, ...] = ()
        if self.given is not None:
            # Right y, an answer was copied from source j with the chance c_j / (sum_j c_j + (1 - c) P(answer | y)).
            repeated = self._repeated() * before.copies
            either = np.maximum(self._mixed(before), SMALLEST)
            total = float(weights[there].sum()) + COPY_ANSWERS
            copies = tuple(float(c) for c in (weighted / either).sum(1) @ repeated / total)
            weighted = weighted * (1 - repeated.sum(1, keepdims=True) / either)
            weights = weighted.sum(1)
        counts = sums(self.top[there], weighted[there], k).T  # [right, given]
        given, silent = counts.sum(), weighted[~there].sum(0)
        if not given:
            return self.at_first()
        share = given / (given + silent.sum())  # of rows with an answer: of each label drawn to that of all
        answers = (counts.sum(1) + WEIGHT * share) / np.maximum(counts.sum(1) + silent + WEIGHT, SMALLEST)
        table = np.concatenate([smoothed_by_habit(counts) * answers[:, None], 1 - answers[:, None]], 1)
        right = np.where(there, weighted[np.arange(len(p)), self.top], 0)
        wrong = np.where(there, weights, 0) - right
        bins = len(self.edges) + 1
        sure = np.stack([np.bincount(self.bin, part, bins) for part in (wrong, right)])
        nothing = sure.sum(0) / max(sure.sum(), SMALLEST)
        sure = (sure + SURE_ANSWERS * nothing) / (sure.sum(1, keepdims=True) + SURE_ANSWERS)
        told = self.runner_up >= 0
        by_chance = 1 / max(k - 1, 1)
        seconds = weighted[np.arange(len(p)), self.runner_up][told].sum()
        second = (seconds + SURE_ANSWERS * by_chance) / (np.maximum(wrong[told], 0).sum() + SURE_ANSWERS)
        return ClassRates(table, np.maximum(sure, SMALLEST), float(np.clip(second, SMALLEST, 1 - SMALLEST)), copies)

    def evidence(self, rates: ClassRates) -> Array:
        """Log P(answer | label) but for a constant of the row, whose mean is taken away: float64 (rows, labels)."""
        logs = np.log(np.maximum(self._mixed(rates), SMALLEST))
        rows = np.flatnonzero(self.top >= 0)
        gain = np.log(rates.sure)[:, self.bin]
        logs[rows] += gain[0, rows, None]
        logs[rows, self.top[rows]] += (gain[1] - gain[0])[rows]
        told = np.flatnonzero((self.runner_up >= 0) & (self.top >= 0))
        if self.labels > 2 and len(told):
            rest = np.log((1 - rates.second) * (self.labels - 1) / (self.labels - 2))
            second = np.log(rates.second * (self.labels - 1))
            tops = logs[told, self.top[told]]
            logs[told] += rest
            logs[told, self.runner_up[told]] += second - rest
            logs[told, self.top[told]] = tops
        logs -= logs.mean(1, keepdims=True)
        if not self.silence:
            logs[self.top < 0] = 0
        return logs

    def _repeated(self) -> Array:
        """Whether an answer is that of each source, bool (rows, sources)."""
        assert self.given is not None
        return (self.top >= 0)[:, None] & (self.top[:, None] == self.given)

    def _mixed(self, rates: ClassRates) -> Array:
        """P(answer | label, sources), float64 (rows, labels)."""
        own = rates.table.T[self.top]  # -1 is the last column, that of no answer
        if self.given is None:
            return own
        return (1 - sum(rates.copies)) * own + (self._repeated() @ np.array(rates.copies))[:, None]

    def right(self, truth: Array, rows: Array) -> Array:
        """Share of each row's answer that is right, float64 (rows,)."""
        return truth[rows, self.top[rows]]
