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
SMALLEST = 1e-12


@dataclass(frozen=True)
class CellAnswers:
    """Answers of an annotator as numbers.

    Attributes:
        bins: int64 (rows, labels), no or yes, or where a probability lies; -1 for no answer.
        labels: number of labels.
        edges: float64, where probabilities are cut; empty for yes and no.
    """

    bins: Array
    labels: int
    edges: Array
    silence: bool = False

    @classmethod
    def of(cls, annotation: Annotation, rate: float, edges: Array | None = None) -> CellAnswers:
        """Read answers; edges, where they are not given, are upper tails of what is there.

        Args:
            annotation: "cells" or "probabilities".
            rate: share of cells that are right.
            edges: as before.
        """
        if annotation.kind == "cells":
            return cls(annotation.values.astype(np.int64), annotation.num_labels, np.empty(0))
        values = annotation.values.astype(np.float64)
        there = values[~np.isnan(values)]
        if edges is None:
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

    def at_first(self) -> Array:
        """Rates before anything is seen: yes is right in `PRIOR` of all cases; of a probability, more is better."""
        log_odds = np.linspace(-1, 1, self.number) * np.log(PRIOR / (1 - PRIOR))
        yes = 1 / (1 + np.exp(-log_odds))
        pair = np.stack([1 - yes, yes])
        return np.broadcast_to(pair / pair.sum(1, keepdims=True), (self.labels, 2, self.number))

    def rates(self, p: Array, weights: Array) -> Array:
        """Rates given the probability of each label, those of a label drawn to those of all labels.

        Args:
            p: float64 (rows, labels).
            weights: float64 (rows,), of the rows.

        Returns:
            float64 (labels, 2, bins), P(bin | is the label right).
        """
        k, number = self.labels, self.number
        there = self.bins >= 0
        place = (np.arange(k) * number + self.bins)[there]
        every = np.broadcast_to(weights[:, None], p.shape)
        yes, both = (np.bincount(place, w[there], k * number).reshape(k, number) for w in (every * p, every))
        counts = np.stack([np.maximum(both - yes, 0), yes], 1)
        pooled = counts.sum(0)
        nothing = pooled.sum(0) / max(pooled.sum(), SMALLEST)
        pooled = (pooled + WEIGHT * nothing) / (pooled.sum(1, keepdims=True) + WEIGHT)
        rates = (counts + OWN_ANSWERS * pooled) / (counts.sum(2, keepdims=True) + OWN_ANSWERS)
        same = np.array([len(np.unique(column[column >= 0])) < 2 for column in self.bins.T])
        rates[same] = nothing  # a label about which it always says the same
        return np.asarray(rates)

    def evidence(self, rates: Array) -> Array:
        """Log-odds that the answers add to each label, float64 (rows, labels)."""
        logs = np.log(np.maximum(rates, SMALLEST))
        out = (logs[:, 1] - logs[:, 0])[np.arange(self.labels), self.bins]
        out[self.bins < 0] = 0
        return np.asarray(out)

    def right(self, truth: Array, rows: Array, rates: Array) -> float:
        """Mean of the shares of right answers over labels that are right and over those that are not."""
        said, seen = self.evidence(rates)[rows] > 0, self.bins[rows] >= 0
        if not len(self.edges):
            said = self.bins[rows] == 1
        yes, no = truth[rows] * seen, (1 - truth[rows]) * seen
        shares = [(part * how).sum() / part.sum() for part, how in ((yes, said), (no, ~said)) if part.sum() > 0]
        return float(np.mean(shares)) if shares else float("nan")
