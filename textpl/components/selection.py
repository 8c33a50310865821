"""Selection: aligned, unsharpened p -> how much each row (single-label) or cell (multi-label) counts.

Called as `select(p, step)`; shapes (rows, labels) -> (rows,) or (rows, labels), float32 weights >= 0.
A weight of 0 means that the student never sees the row (or cell).

A rule of confidence sorts out targets that may be wrong. In a multi-label task the targets are probabilities (see
`textpl.components.sharpen`), which are as right where they are unsure, while max(p, 1 - p) is high in nearly every cell
of a rare label but its positives. There `FixedThreshold`, `RelativeThreshold` and `GaussianWeight` count every cell,
and say so; `LabelThresholds` is the rule for cells.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from textpl.components.running import RunningMean, check_horizon
from textpl.components.slot import Slot
from textpl.components.step import HORIZON, Run, Step
from textpl.tasks import MultiLabel, SingleLabel

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FixedThreshold:
    """1[max p >= threshold] (FixMatch, arXiv 2001.07685, equation 4). Multi-label: every cell counts, see module."""

    threshold: float = 0.95

    def __post_init__(self) -> None:
        _check_share("threshold", self.threshold)

    def prepare(self, run: Run) -> None:
        """Tell where every cell counts."""
        _tell_of_cells(self, run)

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """Weights 0 or 1."""
        if not isinstance(step.task, SingleLabel):
            return torch.ones_like(p)
        return (step.task.confidence(p) >= self.threshold).float()


@dataclass(frozen=True)
class RelativeThreshold:
    """1[confidence >= threshold * mean confidence on labelled rows] (AdaMatch, arXiv 2106.04732).

    The labelled confidence is that of training passes (dropout on), running and one step late. Before the first
    labelled batch nothing counts. Multi-label: from then on every cell counts, see module.
    """

    threshold: float = 0.9

    def __post_init__(self) -> None:
        _check_share("threshold", self.threshold)

    def prepare(self, run: Run) -> None:
        """Tell where every cell counts."""
        _tell_of_cells(self, run)

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """Weights 0 or 1."""
        confidence = step.task.confidence(p)
        reference = step.labeled.confidence.value
        if reference is None:
            return torch.zeros_like(confidence)
        if not isinstance(step.task, SingleLabel):
            return torch.ones_like(p)
        return (confidence >= self.threshold * reference.to(p.device)).float()


class GaussianWeight(Slot):
    """exp(-min(c - mu, 0)^2 n^2 / (2 var)): no cut, a weight by how far confidence c is below its running mean mu.

    SoftMatch (arXiv 2301.10921), with n = `n_sigma` = 2; var is the running unbiased batch variance.
    mu and var start from the first batch instead of 1/K and 1: with those and a decay of .999 a fine-tune of
    some hundred steps filters nothing. Multi-label: every cell counts, see module.

    Args:
        n_sigma: larger is stricter.
        horizon: memory of mu and var, as a share of the run.

    Raises:
        ValueError: for either out of range.
    """

    def __init__(self, n_sigma: float = 2.0, *, horizon: float = HORIZON) -> None:
        if not 0 < n_sigma < math.inf:
            raise ValueError(f"n_sigma={n_sigma!r}: must be a finite number > 0.")
        check_horizon(horizon)
        super().__init__()
        self.n_sigma, self.horizon = n_sigma, horizon
        self.mean, self.variance = RunningMean(0.0), RunningMean(0.0)

    def prepare(self, run: Run) -> None:
        """Forget the last run; tell where every cell counts."""
        _tell_of_cells(self, run)
        self.mean, self.variance = (RunningMean(run.decay(self.horizon)) for _ in range(2))

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """Weights in [0, 1]."""
        if not isinstance(step.task, SingleLabel):
            return torch.ones_like(p)
        confidence = step.task.confidence(p)
        mean, count = step.mean(confidence)
        deviation, _ = step.mean((confidence - mean) ** 2)
        if count:
            self.mean.update(mean)
            self.variance.update(deviation * count / max(count - 1, 1))  # unbiased, over the rows of all processes
        mu, variance = self.mean.value, self.variance.value
        if mu is None or variance is None:
            return torch.zeros_like(confidence)
        below = (confidence - mu).clamp_max(0)
        return torch.exp(-(below**2) * self.n_sigma**2 / (2 * variance.clamp_min(1e-8)))


@dataclass(frozen=True)
class Until:
    """A selection that ends at a share of the run; from there on every row counts.

    With a teacher that takes over at the same time (`Then`), whose abstentions are selection enough.

    Args:
        at: share of the run, in (0, 1).
        select: the selection until then; one without state.
    """

    at: float
    select: FixedThreshold | RelativeThreshold

    def prepare(self, run: Run) -> None:
        """Let the selection tell where every cell counts."""
        self.select.prepare(run)

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """The selection's weights, later 1."""
        return self.select(p, step) if step.progress < self.at else torch.ones_like(step.task.confidence(p))


@dataclass(frozen=True)
class LabelThresholds:
    """Multi-label: a cell counts when p >= positive or p <= negative of its label; between them it is ignored.

    UPS's pair of thresholds (arXiv 2101.06329) without its uncertainty.

    Args:
        positive: one number, or one per label.
        negative: one number, or one per label; nowhere above `positive`.
    """

    positive: float | Sequence[float] = 0.7
    negative: float | Sequence[float] = 0.05

    def __post_init__(self) -> None:
        positive, negative = torch.as_tensor(self.positive), torch.as_tensor(self.negative)
        for name, value in (("positive", positive), ("negative", negative)):
            if not bool(((value >= 0) & (value <= 1)).all()):
                raise ValueError(f"{name}={getattr(self, name)!r}: thresholds must lie in [0, 1].")
        if positive.ndim and negative.ndim and positive.shape != negative.shape:
            raise ValueError(f"{positive.numel()} positive and {negative.numel()} negative thresholds: one per label.")
        if bool((positive < negative).any()):
            raise ValueError(f"positive={self.positive!r} lies below negative={self.negative!r} for some label.")

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """Weights 0 or 1."""
        if not isinstance(step.task, MultiLabel):
            raise ValueError("LabelThresholds is for multi-label tasks; use FixedThreshold for single-label ones.")
        positive = torch.as_tensor(self.positive, dtype=p.dtype, device=p.device)
        negative = torch.as_tensor(self.negative, dtype=p.dtype, device=p.device)
        for name, value in (("positive", positive), ("negative", negative)):
            if value.ndim and value.shape != (step.task.num_labels,):
                raise ValueError(f"{name} has {value.numel()} thresholds for {step.task.num_labels} labels.")
        return ((p >= positive) | (p <= negative)).float()


def _tell_of_cells(select: object, run: Run) -> None:
    if isinstance(run.task, MultiLabel):
        logger.warning(
            "%s leaves out nothing in a multi-label task: its targets are the probabilities themselves, and every cell "
            "counts. To leave out unsure cells, select=LabelThresholds(positive=..., negative=...).",
            type(select).__name__,
        )


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name}={value!r}: must lie in [0, 1].")
