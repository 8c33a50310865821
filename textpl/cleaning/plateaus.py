"""How often labels are missing and spurious in small corpora, where no bin of sure cells is large enough (`floors`).

As evidence for a label grows, the share of rows on which it is given rises from the rate of spurious labels to one
minus that of missing ones. A model that knows too little never reaches either plateau, and what it does not know looks
like errors: a curve with both plateaus free says how far they can be told from a slow rise.
"""

from __future__ import annotations

import numpy as np

from textpl.cleaning.evidence import logit
from textpl.cleaning.floors import any_told

BINS = 30  # of the cells of a label, two thirds of them among the highest probabilities: `REACH` times the given ones
REACH = 3
LABELS = 40  # the most frequent ones, which tell most
MISSING = np.linspace(0, 0.9**0.5, 25) ** 2
SPURIOUS = np.linspace(0, 0.9**0.5, 20) ** 2
# Priors: density of a rate proportional to 1 / (rate + FEW), as most corpora have few errors; standard deviations of
# the offset and of the log of the slope, which would be 0 if labels were right and probabilities calibrated.
FEW = 0.05
OFFSET, LOG_SLOPE = 1.0, 0.3
NARROWEST = 0.02  # between the plateaus
STEPS = 12


def plateaus(q: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Rates of errors by the curve P(given) = u + (1 - m - u) sigmoid(a + b logit q), common to all labels.

    m is the share of right labels that are missing; u = s x (share of rows with the label), as frequent labels are
    added more often. The answer is the median of the posterior of m, and of s, over a grid, with a and log b at
    their best for each (Newton) and integrated out by Laplace's approximation. (The curve is the four-parameter
    logistic of item response theory, Barton and Lord 1981.)

    On samples of 200 to 1,000 rows of three corpora with five kinds of noise, this counts errors better than the least
    of many bins does. With more rows bins do better: the curve then takes up to half of the errors for a slow rise.

    Args:
        q: float32 (rows, labels), P(label is given | evidence), out of sample.
        labels: 0/1 (rows, labels).

    Returns:
        m and s, within [0, 0.9]; (0, 0) where the probabilities tell the labels no better than chance.
    """
    if not any_told(q, labels):
        return 0.0, 0.0
    s, given, number, share = _binned(q, labels)
    missing, spurious = (v.ravel()[:, None] for v in np.meshgrid(MISSING, SPURIOUS, indexing="ij"))
    low = spurious * share
    height = 1 - missing - low
    possible = (height >= NARROWEST).all(1)
    height = np.maximum(height, NARROWEST)
    a, log_b = np.zeros((2, len(low), 1))
    for _ in range(STEPS + 1):
        x = np.exp(log_b) * s
        rise = 1 / (1 + np.exp(-np.clip(a + x, -30, 30)))
        p = np.clip(low + height * rise, 1e-6, 1 - 1e-6)
        slope = height * rise * (1 - rise)
        weight = slope / (p * (1 - p))
        off, curved = (given - number * p) * weight, number * slope * weight  # expected curvature
        to_a = off.sum(1, keepdims=True) - a / OFFSET**2
        to_b = (off * x).sum(1, keepdims=True) - log_b / LOG_SLOPE**2
        aa = curved.sum(1, keepdims=True) + 1 / OFFSET**2
        ab = (curved * x).sum(1, keepdims=True)
        bb = (curved * x * x).sum(1, keepdims=True) + 1 / LOG_SLOPE**2
        volume = aa * bb - ab**2
        fit = given @ np.log(p).T + (number - given) @ np.log1p(-p).T
        fit -= 0.5 * ((a / OFFSET) ** 2 + (log_b / LOG_SLOPE) ** 2 + np.log(volume))[:, 0]
        a = a + np.clip((bb * to_a - ab * to_b) / volume, -1, 1)
        log_b = log_b + np.clip((aa * to_b - ab * to_a) / volume, -0.5, 0.5)
    posterior = np.where(possible, np.exp(fit - fit[possible].max()), 0).reshape(len(MISSING), len(SPURIOUS))
    posterior *= np.outer(np.gradient(MISSING) / (MISSING + FEW), np.gradient(SPURIOUS) / (SPURIOUS + FEW))
    return _median(MISSING, posterior.sum(1)), _median(SPURIOUS, posterior.sum(0))


def _binned(q: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Mean log-odds, given labels, cells, and the share of the label, of every bin of every label."""
    rows, counts = len(labels), labels.sum(0, dtype=np.int64)
    bins: list[tuple[float, ...]] = []
    for k in np.argsort(-counts, kind="stable")[:LABELS]:
        if not 0 < counts[k] < rows:
            continue
        order = np.lexsort((labels[:, k], q[:, k]))  # cells of equal q in a fixed order
        z, there = logit(q[order, k]), labels[order, k]
        middle = max(rows - REACH * int(counts[k]), 0)
        parts = np.linspace(0, middle, BINS // 3 + 1), np.linspace(middle, rows, BINS - BINS // 3 + 1)
        edges = np.unique(np.concatenate(parts).astype(int)).tolist()
        for start, end in zip(edges[:-1], edges[1:], strict=True):
            bins.append(
                (float(z[start:end].mean()), float(there[start:end].sum()), end - start, float(counts[k] / rows))
            )
    return list(np.array(bins, dtype=np.float64).reshape(-1, 4).T)


def _median(values: np.ndarray, mass: np.ndarray) -> float:
    return float(np.interp(0.5, (np.cumsum(mass) - mass / 2) / mass.sum(), values))
