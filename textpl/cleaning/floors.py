"""How often labels are missing or spurious, from the rows where the model is surest.

Where some rows surely carry a label, those of them on which it is not given have lost it: the ratio #without / #with
among the highest probabilities is an upper bound of the odds that a label is missing, tight where a class has a region
that is pure (the anchor assumption of Elkan and Noto 2008 and of "Best Bin" estimates in positive-unlabelled learning).
The same from below bounds the odds that a label is spurious.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_BIN = 30  # cells in the smallest top bin
# What a text does not tell of a label it does not tell of the label's errors, and both bounds are far above the rates.
CHANCE = 4.0  # standard deviations
TELLS = 1.5  # odds among the highest probabilities : odds among all
LOWEST = 1e-4  # odds below this cannot be told from none


@dataclass(frozen=True)
class Floors:
    """Estimated rates of errors.

    Attributes:
        missing: odds missing : given of a label that is right, the same for all labels: the purest class tells, a
            hard one only bounds it. `LOWEST` where no label is told by its text.
        spurious: float64 (labels,), odds spurious : not given of a label that is not right; 0 where no label is told.
        with_others: `missing` among rows that carry another label.
    """

    missing: float
    spurious: np.ndarray
    with_others: float


def floors(q: np.ndarray, labels: np.ndarray) -> Floors:
    """Estimate error rates from calibrated probabilities of the *given* labels.

    Args:
        q: float32 (rows, labels), P(label is given | evidence).
        labels: 0/1 (rows, labels).
    """
    given = labels.sum(0, dtype=np.int64)
    total = labels.sum(1, dtype=np.int32)
    count = labels.shape[1]
    missing, accompanied, companions = np.full(count, np.inf), np.full(count, np.inf), np.zeros(count, np.int64)
    low, told = np.zeros(count), np.zeros(count, dtype=bool)
    for k in range(count):
        there, others = _by_probability(q[:, k], labels[:, k], total)
        told[k] = _tells(there, int(given[k]))
        missing[k] = _top(there[::-1], int(given[k]))
        low[k] = _bottom(there)
        more = there[others]
        companions[k] = int(more.sum())
        accompanied[k] = _top(more[::-1], int(companions[k]))
    told &= missing * np.maximum(given, 1) * TELLS <= len(labels) - given
    missing[~told], accompanied[~told] = np.inf, np.inf
    spurious = _spurious(low, given, len(labels), told)
    return Floors(_purest(missing, given), spurious, _purest(accompanied, companions))


def any_told(q: np.ndarray, labels: np.ndarray) -> bool:
    """Whether probabilities tell the labels of a corpus, taken together, better than chance does.

    Args:
        q: float32 (rows, labels), P(label is given | evidence).
        labels: 0/1 (rows, labels).
    """
    given, rows = labels.sum(0, dtype=np.int64), len(labels)
    found = 0
    for k in range(len(given)):
        there, _ = _by_probability(q[:, k], labels[:, k], np.zeros(rows, dtype=np.int32))
        found += int(there[rows - given[k] :].sum())
    share = given / rows
    return bool(found - given @ share > CHANCE * np.sqrt((given * share * (1 - share)).sum()))


def _tells(there: np.ndarray, given: int) -> bool:
    """Whether probabilities tell a label: more are given among as many of the highest than chance explains."""
    share = given / len(there)
    found = there[len(there) - given :].sum()
    return bool(found - given * share > CHANCE * np.sqrt(given * share * (1 - share)))


def _by_probability(q: np.ndarray, there: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A label, and whether its row carries another one, in the order of q, both bool (rows,).

    Sorts the bits of q with the two below them: as fast as sorting numbers, and ties do not depend on the order of the
    rows. Among equal q the given ones come first, which is the careful way at either end.
    """
    key = (np.clip(q, 0, 1).astype(np.float32) + np.float32(0)).view(np.uint32) << np.uint32(2)  # + 0: no -0.0
    key |= (there == 0).astype(np.uint32) << np.uint32(1)
    key |= total > there
    key.sort()
    return (key & np.uint32(2)) == 0, (key & np.uint32(1)) == 1


def _top(there: np.ndarray, given: int) -> float:
    """Least #0 / #1, plus a standard error, over the cells of highest probability; infinite where it cannot be told."""
    smallest = max(MIN_BIN, int(0.2 * given))
    largest = min(len(there), max(2 * smallest, 3 * given))
    if given == 0 or smallest > largest:
        return np.inf
    ones = np.cumsum(there[:largest], dtype=np.float64)[smallest - 1 :]
    zeros = np.arange(smallest, largest + 1) - ones
    return float(((zeros + np.sqrt(zeros + 1)) / np.maximum(ones, 1)).min())


def _bottom(there: np.ndarray) -> float:
    """Least #1 / #0, plus a standard error, over the cells of lowest probability."""
    smallest = max(len(there) // 10, min(200, len(there) // 3), 1)
    largest = max(int(0.7 * len(there)), smallest)
    ones = np.cumsum(there[:largest], dtype=np.float64)[smallest - 1 :]
    zeros = np.arange(smallest, largest + 1) - ones
    return float(((ones + np.sqrt(ones + 1)) / np.maximum(zeros, 1)).min()) if len(ones) else 0.0


def _purest(odds: np.ndarray, given: np.ndarray) -> float:
    """The least of the labels that are frequent enough to tell: 100 rows, or as many as the second most frequent."""
    frequent = given >= min(100, np.sort(given)[-2:].min())
    return max(float(odds[frequent].min(initial=np.inf)), LOWEST) if np.isfinite(odds[frequent]).any() else LOWEST


def _spurious(low: np.ndarray, given: np.ndarray, rows: int, told: np.ndarray) -> np.ndarray:
    """Odds of a spurious label, w_k, with log w_k = a + b log(odds of label k), b in [0, 1].

    b is 1 where spurious labels follow frequency and 0 where every cell flips alike; a comes from the purest fifth of
    the labels, weighted by their rows. Labels that their texts do not tell follow the others; those that are never or
    always given, and all where no label is told, get 0.
    """
    some = (given > 0) & (given < rows)
    told = told & some
    spurious = np.zeros(len(given))
    if not told.any():
        return spurious
    odds = np.log(given[some] / (rows - given[some]))
    x, y = np.log(given[told] / (rows - given[told])), np.log(low[told] + 1e-7)
    weights = np.sqrt(given[told])
    dx = x - np.average(x, weights=weights)
    variance = np.average(dx**2, weights=weights)
    slope = float(np.clip(np.average(dx * y, weights=weights) / max(variance, 1e-9), 0, 1))
    left = y - slope * x
    order = np.argsort(left)
    reached = np.cumsum(given[told][order]) >= 0.2 * given[told].sum()
    spurious[some] = np.exp(left[order][np.argmax(reached)] + slope * odds)
    return spurious
