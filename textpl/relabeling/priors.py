"""What is known of the class frequencies: where they come from, and single-label p made to agree with them.

The multi-label form is `textpl.evaluation.prior_thresholds`: per-label cuts at which the predicted rate is the prior.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

# Shares typed with three digits may miss 1 by this much; counts or percentages miss it by far more.
SUM_SLACK = 1e-2
# Smallest factor: products with float32 probabilities stay normal float64 numbers.
TINY = 1e-200
# Nearest that a cell comes to 0 and 1 before it is shifted, and the farthest shift of a logit.
SMALLEST_CELL, FARTHEST = 1e-6, 40.0


def resolve_prior(prior: str | ArrayLike, targets: np.ndarray, *, multi: bool = False) -> np.ndarray | None:
    """The share of rows that has each label.

    Args:
        prior: "gold" (mean of the gold targets), "uniform" (single-label), "none", or one share per label.
        targets: (gold rows, labels), the targets of the gold rows only.
        multi: whether a row may have several labels; shares then need not sum to 1.

    Returns:
        float64 (labels,), in single-label with sum 1; None for "none".

    Raises:
        ValueError: unknown name; a wrong number of shares; NaN or negative ones; a sum other than 1 (single-label)
            or a share above 1 (multi-label); "gold" without gold rows; "uniform" for multi-label.
    """
    labels = targets.shape[1]
    if isinstance(prior, str):
        if prior == "none":
            return None
        if prior == "uniform" and not multi:
            return np.full(labels, 1 / labels)
        if prior == "uniform":
            raise ValueError('class_prior="uniform" has no meaning for multi-label: give the rate of each label.')
        if prior != "gold":
            raise ValueError(f'class_prior={prior!r}: expected "gold", "uniform", "none" or one share per label.')
        if not len(targets):
            raise ValueError('class_prior="gold" without a gold row: give the shares, or "none".')
        shares = targets.mean(axis=0, dtype=np.float64)
        return shares if multi else shares / shares.sum()
    shares = np.asarray(prior, dtype=np.float64)
    if shares.shape != (labels,):
        raise ValueError(f"class_prior has shape {shares.shape}: expected {labels} shares, one per label.")
    if not (shares >= 0).all():
        raise ValueError(f"class_prior {shares} holds NaN or negative shares.")
    if multi:
        if (shares > 1).any():
            raise ValueError(f"class_prior {shares}: a share above 1; give rates in [0, 1], not counts or percentages.")
        return shares
    if abs(shares.sum() - 1) > SUM_SLACK:
        raise ValueError(f"class_prior {shares} sums to {shares.sum():g}: divide it by its sum.")
    return shares / shares.sum()


def project_to_prior(p: np.ndarray, prior: np.ndarray, *, iterations: int = 100, tolerance: float = 1e-6) -> np.ndarray:
    """The p closest to the given one (in KL) whose columns average to `prior` while rows sum to 1.

    Finds factors c with p_ij <- p_ij c_j / sum_j p_ij c_j by iterative proportional fitting (Sinkhorn & Knopp 1967;
    the tilt is the one that corrects a classifier for new priors, Saerens et al. 2002). Zeros stay zeros: a label that
    no row gives any probability keeps none and the others share its part, a row whose every label has prior 0 is left
    as it is, and where zeros make the prior unattainable it is approached as far as `iterations` allow.

    When to use: the class frequencies of exactly these rows are known. Give it those rows only (without gold rows if
    the prior is that of the pool).

    Args:
        p: (n, labels), rows sum to 1; rows of zeros (abstained) are left out and stay zero.
        prior: (labels,), sums to 1.
        iterations: most rounds.
        tolerance: stop when every column mean is this close.

    Returns:
        float32 (n, labels).
    """
    used = p[:, prior > 0].any(axis=1)
    rows = p[used].astype(np.float64)
    wanted = np.where(rows.any(axis=0), prior, 0.0)
    wanted /= max(wanted.sum(), TINY)
    factors, sums = np.ones_like(wanted), rows.sum(axis=1)
    for _ in range(iterations):
        means = factors * ((1 / sums) @ rows) / max(len(rows), 1)
        if np.abs(means - wanted).max() <= tolerance:
            break
        factors *= np.divide(wanted, means, out=np.zeros_like(wanted), where=means > 0)
        # Where zeros in p rule the prior out the factors drift apart for ever; no row may lose its last label.
        factors = np.where(wanted > 0, np.maximum(factors / factors.max(), TINY), 0)
        sums = rows @ factors
    projected = p.astype(np.float32)
    projected[used] = rows * factors / sums[:, None]
    return projected


def shifted_to_rates(p: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Add a constant to the logits of each label so that its mean probability is its rate.

    When to use: several labels per row, and scores whose order means something while their size does not, such as
    those of label names without any labeled row.

    Args:
        p: (n, labels) in [0, 1].
        rates: (labels,) in [0, 1].

    Returns:
        float32 (n, labels); a column keeps its order.
    """
    z = logit(np.clip(p.astype(np.float64), SMALLEST_CELL, 1 - SMALLEST_CELL))
    low, high = np.full(z.shape[1], -FARTHEST), np.full(z.shape[1], FARTHEST)
    for _ in range(60 if len(z) else 0):
        middle = (low + high) / 2
        above = expit(z + middle).mean(axis=0) > rates
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return expit(z + (low + high) / 2).astype(np.float32)
