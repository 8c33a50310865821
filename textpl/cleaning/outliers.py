"""Off-topic rows: texts whose nearest neighbours are far away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from textpl.embeddings.graph import NeighborGraph

FALSE_ALARMS = 0.001
TAILS = (0.05, 0.5, 0.95)  # quantiles that the power is chosen by: rows beyond them cannot move it
POWERS = (-20.0, 20.0)
FEWEST = 50  # rows from which a tail can be told from the bulk


@dataclass(frozen=True)
class Outliers:
    """How far from the others every row is.

    Attributes:
        scores: float32 (rows,), see `outlier_scores`.
        p_values: float32 (rows,), share of rows of a corpus without outliers that would be as far away.
        flagged: bool (rows,), p-value at most the rate of false alarms asked for.
    """

    scores: np.ndarray
    p_values: np.ndarray
    flagged: np.ndarray


def outlier_scores(graph: NeighborGraph) -> np.ndarray:
    """Average cosine distance to the nearest rows, all of those that the graph holds.

    More neighbours see small clusters of foreign rows: with 50 to 300 news items in 15,000 comments, ROC AUC is .93
    and .84 with 10 neighbours, .96 and .91 with 30. Clusters larger than the number of neighbours are not seen.

    Args:
        graph: of n rows.

    Returns:
        float32 (n,), from 0 (duplicates) on; 1 for a row without neighbours (a zero vector is like nothing else).
    """
    there = graph.ids >= 0
    mean = graph.sims.sum(axis=1, where=there) / np.maximum(there.sum(axis=1), 1)
    return np.clip(1 - mean, 0, None).astype(np.float32)


def find_outliers(graph: NeighborGraph, false_alarms: float = FALSE_ALARMS) -> Outliers:
    """Rows too far from their neighbours to be part of the corpus.

    Distances have a hard end on one side or the other, which differs between encoders, so that quartile rules (Q3 +
    1.7 IQR) flag nothing. The distances are therefore raised to the power that puts the 5 % and the 95 % quantile at
    the same distance from the median (Hinkley 1975), and compared with the normal distribution through these
    quantiles. At the default rate of .001, 0 to .004 of the rows of untouched corpora are flagged.

    Args:
        graph: of n rows.
        false_alarms: share of rows that may be flagged where there are no outliers.

    Raises:
        ValueError: if `false_alarms` is not between 0 and 0.05.
    """
    if not 0 < false_alarms <= 0.05:
        raise ValueError(f"false_alarms={false_alarms}: give a share of rows above 0 and at most 0.05.")
    scores = outlier_scores(graph)
    p_values = norm.sf(_normal_scores(scores.astype(float))).astype(np.float32)
    return Outliers(scores, p_values, p_values <= false_alarms)


def _normal_scores(scores: np.ndarray) -> np.ndarray:
    """Scores transformed to be near standard normal between the quantiles `TAILS`; 0 where they have no spread."""
    if len(scores) < FEWEST:
        return np.zeros(len(scores))
    low, middle, high = np.quantile(scores, TAILS)
    if not 0 < low < middle < high:
        return np.zeros(len(scores))
    low, high = low / middle, high / middle

    def skew(power: float) -> float:
        return _box_cox(high, power) + _box_cox(low, power)

    # Larger powers stretch the upper tail, so the skew rises; at the limits the nearest possible power is taken.
    smallest, largest = POWERS
    if skew(smallest) >= 0 or skew(largest) <= 0:
        power = smallest if skew(smallest) >= 0 else largest
    else:
        power = brentq(skew, smallest, largest)
    spread = (_box_cox(high, power) - _box_cox(low, power)) / (2 * norm.ppf(TAILS[2]))
    return _box_cox(np.maximum(scores / middle, 1e-3), power) / spread


def _box_cox(values: Any, power: float) -> Any:
    """(values**power - 1) / power, and its limit log(values) at 0."""
    return np.expm1(power * np.log(values)) / power if abs(power) > 1e-9 else np.log(values)
