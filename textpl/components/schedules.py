"""Schedules: pure functions of the share of training that is done, t in [0, 1].

A schedule weighs the unlabelled loss; being a function of t alone it needs no saved state and survives a
resume. Any callable float -> float will do; a plain number means `constant`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Schedule = Callable[[float], float]


@dataclass(frozen=True)
class constant:  # noqa: N801 - reads as a function: weight=constant(1.0)
    """The same weight throughout."""

    value: float

    def __call__(self, t: float) -> float:
        """Weight at t."""
        return self.value


@dataclass(frozen=True)
class linear:  # noqa: N801
    """From 0 at `start` to `value` at `end`, constant afterwards.

    With start 0.1, end 0.6 and value 3 this is Lee's alpha(t) (ICML 2013 workshop, equation 16: T1 = 100,
    T2 = 600, alpha_f = 3), the times being shares of the run.

    Example:
        >>> weight = linear(2.0, start=0.25, end=0.75)
        >>> [weight(t) for t in (0.0, 0.5, 1.0)]
        [0.0, 1.0, 2.0]
    """

    value: float
    start: float = 0.0
    end: float = 0.4

    def __post_init__(self) -> None:
        _check_span(self.start, self.end)

    def __call__(self, t: float) -> float:
        """Weight at t."""
        return self.value * _ramp(t, self.start, self.end)


@dataclass(frozen=True)
class cosine:  # noqa: N801
    """From 0 at `start` to `value` at `end` along half a cosine, constant afterwards.

    With start 0 and end 0.5 this is AdaMatch's mu(t) = 1/2 - cos(min(pi, 2 pi t)) / 2 (arXiv 2106.04732).
    """

    value: float
    start: float = 0.0
    end: float = 0.5

    def __post_init__(self) -> None:
        _check_span(self.start, self.end)

    def __call__(self, t: float) -> float:
        """Weight at t."""
        return self.value * (0.5 - math.cos(math.pi * _ramp(t, self.start, self.end)) / 2)


@dataclass(frozen=True)
class sigmoid:  # noqa: N801
    """value * exp(-5 (1 - t / end)^2): the ramp-up of Laine & Aila (arXiv 1610.02242) and Mean Teacher."""

    value: float
    end: float = 0.3

    def __post_init__(self) -> None:
        _check_span(0.0, self.end)

    def __call__(self, t: float) -> float:
        """Weight at t."""
        return self.value * math.exp(-5 * (1 - _ramp(t, 0.0, self.end)) ** 2)


def lee(value: float = 3.0, start: float = 0.1, end: float = 0.6) -> linear:
    """Lee's ramp for pseudo-labels, with his constants as defaults; see `linear`."""
    return linear(value, start, end)


def as_schedule(weight: float | Schedule) -> Schedule:
    """A number as a constant schedule, a callable as it is.

    Raises:
        ValueError: for a negative or non-finite number.
    """
    if callable(weight):
        return weight
    if not math.isfinite(weight) or weight < 0:
        raise ValueError(f"weight={weight!r}: the weight of the unlabelled loss is a number >= 0 or a schedule.")
    return constant(float(weight))


def _ramp(t: float, start: float, end: float) -> float:
    return min(max((t - start) / (end - start), 0.0), 1.0) if end > start else float(t >= end)


def _check_span(start: float, end: float) -> None:
    if not 0 <= start <= end <= 1:
        raise ValueError(f"start={start!r}, end={end!r}: a ramp needs 0 <= start <= end <= 1 (shares of the run).")
