"""Answers per label, yes or no or a probability, where rows may carry several: rates, and what an answer says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textpl.annotations.annotation import Annotation
from textpl.annotations.dawid_skene import PRIOR, WEIGHT

Array = np.ndarray

# Rates of a label are drawn to those of all labels by so many answers, these to "says nothing" by WEIGHT.
OWN_ANSWERS = 10.0
# Upper tails in which a probability is told apart from others, in expected numbers of right labels.
TAILS = (4.0, 2.0, 1.0, 0.5, 0.25)
# That an answer repeats what was given is believed of so many answers at first, and drawn to 0 by as many answers.
COPIES, COPY_ANSWERS = 0.3, 20.0
SMALLEST = 1e-12


@dataclass(frozen=True)
class CellRates:
    """How an annotator answers about each label.

    Attributes:
        table: float64 (labels, 2, bins), P(bin | is the label right).
        copies: share of the answers that only repeat what was given, right or wrong; () where nothing was.
    """

    table: Array
    copies: tuple[float, ...] = ()


@dataclass(frozen=True)
class CellAnswers:
    """Answers of an annotator as numbers.

    Attributes:
        bins: int64 (rows, labels), no or yes, or where a probability lies; -1 for no answer.
        labels: number of labels.
        edges: float64, where probabilities are cut; empty for yes and no.
        silence: no answer is never evidence.
        given: 0/1 (rows, labels), what the annotator may have copied; None where there is nothing.
    """

    bins: Array
    labels: int
    edges: Array
    silence: bool = False
    given: Array | None = None

    @classmethod
    def of(
        cls, annotation: Annotation, rate: float, edges: Array | None = None, given: Array | None = None
    ) -> CellAnswers:
        """Read answers; edges, where they are not given, are upper tails of what is there.

        Args:
            annotation: "cells" or "probabilities".
            rate: share of cells that are right.
            edges: as before.
            given: what was given; only yes and no can be a copy.
        """
        if annotation.kind == "cells":
            return cls(annotation.values.astype(np.int64), annotation.num_labels, np.empty(0), False, given)
        values = annotation.values.astype(np.float64)
        there = values[~np.isnan(values)]
        if edges is None and not len(there):
            edges = np.empty(0)
        elif edges is None:
            edges = np.unique(np.quantile(there, 1 - np.minimum(np.array(TAILS) * rate, 0.9)))
            edges = edges[edges > there.min()]  # nothing is below the smallest
        bins = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
        return cls(bins, annotation.num_labels, edges)

    @property
    def number(self) -> int:
        """Of bins."""
        return max(len(self.edges) + 1, 2)

    @property
    def constant(self) -> bool:
        """Whether all rows have one answer."""
        return bool((self.bins == self.bins[0]).all())

    def at_first(self) -> CellRates:
        """Rates before anything is seen: yes is right in `PRIOR` of all cases; of a probability, more is better."""
        log_odds = np.linspace(-1, 1, self.number) * np.log(PRIOR / (1 - PRIOR))
        yes = 1 / (1 + np.exp(-log_odds))
        pair = np.stack([1 - yes, yes])
        table = np.broadcast_to(pair / pair.sum(1, keepdims=True), (self.labels, 2, self.number))
        return CellRates(table, () if self.given is None else (COPIES,))

    def rates(self, p: Array, weights: Array, before: CellRates) -> CellRates:
        """Rates given the probability of each label, those of a label drawn to those of all labels.

        Args:
            p: float64 (rows, labels).
            weights: float64 (rows, labels) or (rows, 1), of the cells.
            before: rates by which p was found.
        """
        k, number = self.labels, self.number
        there = self.bins >= 0
        every = np.broadcast_to(weights, p.shape)
        right, wrong = every * p, every * (1 - p)
        copies: tuple[float, ...] = ()
        if self.given is not None:
            # A repeated answer was copied with the chance c / (c + (1 - c) P(answer | is the label right)).
            no, yes = (self._copied(before, side) for side in (0, 1))
            copies = (float((right * yes + wrong * no)[there].sum() / (every[there].sum() + COPY_ANSWERS)),)
            right, wrong = right * (1 - yes), wrong * (1 - no)
        place = (np.arange(k) * number + self.bins)[there]
        counts = np.stack([np.bincount(place, w[there], k * number).reshape(k, number) for w in (wrong, right)], 1)
        pooled = counts.sum(0)
        nothing = pooled.sum(0) / max(pooled.sum(), SMALLEST)
        pooled = (pooled + WEIGHT * nothing) / (pooled.sum(1, keepdims=True) + WEIGHT)
        table = (counts + OWN_ANSWERS * pooled) / (counts.sum(2, keepdims=True) + OWN_ANSWERS)
        same = np.array([len(np.unique(column[column >= 0])) < 2 for column in self.bins.T])
        table[same] = nothing  # a label about which it always says the same
        return CellRates(np.asarray(table), copies)

    def evidence(self, rates: CellRates) -> Array:
        """Log-odds that the answers add to each label, float64 (rows, labels)."""
        no, yes = (np.log(np.maximum(self._mixed(rates, side), SMALLEST)) for side in (0, 1))
        out = yes - no
        out[self.bins < 0] = 0
        return np.asarray(out)

    def _mixed(self, rates: CellRates, side: int) -> Array:
        """P(answer | label is not right (0) or is (1), what was given), float64 (rows, labels)."""
        own = rates.table[np.arange(self.labels), side, self.bins]
        if self.given is None:
            return own
        return (1 - rates.copies[0]) * own + rates.copies[0] * (self.bins == self.given)

    def _copied(self, rates: CellRates, side: int) -> Array:
        """P(answer is a copy | label is not right (0) or is (1), answer, what was given), float64 (rows, labels)."""
        return rates.copies[0] * (self.bins == self.given) / np.maximum(self._mixed(rates, side), SMALLEST)

    def right(self, truth: Array, known: Array, rates: CellRates) -> float:
        """Mean of the shares of right answers over labels that are right and over those that are not.

        Args:
            truth: float64 (rows, labels).
            known: bool (rows, labels), cells to judge by.
            rates: say which numbers mean yes.
        """
        said = self.evidence(rates) > 0 if len(self.edges) else self.bins == 1
        seen = known & (self.bins >= 0)
        yes, no = truth * seen, (1 - truth) * seen
        shares = [(part * how).sum() / part.sum() for part, how in ((yes, said), (no, ~said)) if part.sum() > 0]
        return float(np.mean(shares)) if shares else float("nan")
