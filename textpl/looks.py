"""Looks at a comparison: whoever adds seeds until there is a verdict finds one sooner or later, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from textpl.atomic_files import read_json, write_json

FILE = "looks.json"


class Look(NamedTuple):
    """A result that was seen.

    Attributes:
        seeds: it is of, sorted.
        metric: it is measured by; None if an older textpl noted it.
    """

    seeds: tuple[int, ...]
    metric: str | None

    def told(self, metric: str) -> str:
        """In words, for who looks by `metric` now."""
        seeds = f"{len(self.seeds)} seed{'s' * (len(self.seeds) != 1)}"
        other = self.metric is not None and self.metric != metric
        return f"{seeds} by {self.metric.replace('_', ' ')}" if other and self.metric else seeds


def level_of_look(level: float, look: int) -> float:
    """Level of the interval at the k-th look, 1 - (1 - level) / k^2: the first look costs nothing.

    A rule that spends a fixed error on all looks together (Lan and DeMets 1983) would need their number beforehand, or
    a wider interval for everybody who looks once. This one lets all false verdicts together be pi^2 / 6 times those of
    a single look at worst, however many follow. benchmarks/peeking.py has what it does.

    Args:
        level: of the first look, such as 0.95.
        look: 1, 2, ...
    """
    return 1 - (1 - level) / look**2


def earlier_looks(folder: Path | None, seeds: Sequence[int], metric: str) -> tuple[Look, ...]:
    """Each result that had been seen before that of `seeds` by `metric` was; none where nothing is kept.

    Args:
        folder: of a comparison.
        seeds: of the result that is looked at now; a second look at the same one costs nothing.
        metric: it is measured by; the same seeds by another metric are another chance of a verdict, and so a look.
    """
    looks, now = _read(folder), Look(tuple(sorted(seeds)), metric)
    same = [number for number, look in enumerate(looks) if _same(look, now)]
    return tuple(looks[: same[0]] if same else looks)


def record_look(folder: Path | None, seeds: Sequence[int], metric: str | None) -> None:
    """Note that the result of `seeds` by `metric` is shown; None where the metric is not known."""
    looks, now = _read(folder), Look(tuple(sorted(seeds)), metric)
    if folder is not None and not any(_same(look, now) for look in looks):
        write_json(folder / FILE, [{"seeds": list(look.seeds), "metric": look.metric} for look in [*looks, now]])


def _same(one: Look, other: Look) -> bool:
    """Whether two looks are at the same result; a metric that is not known may be any."""
    return one.seeds == other.seeds and (one.metric == other.metric or None in (one.metric, other.metric))


def _read(folder: Path | None) -> list[Look]:
    if folder is None or not (folder / FILE).exists():
        return []
    kept = read_json(folder / FILE, "Remove it and run again.")
    # An older textpl kept the seeds only.
    dicts = [look if isinstance(look, dict) else {"seeds": look, "metric": None} for look in kept]
    return [Look(tuple(sorted(look["seeds"])), look["metric"]) for look in dicts]
