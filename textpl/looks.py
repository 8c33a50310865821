"""Looks at a comparison: whoever adds seeds until there is a verdict finds one sooner or later, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textpl.atomic_files import read_json, write_json

FILE = "looks.json"


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


def earlier_looks(folder: Path | None, seeds: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The seeds of each result that had been seen before that of `seeds` was; none where nothing is kept.

    Args:
        folder: of a comparison.
        seeds: of the result that is looked at now; a second look at the same one costs nothing.
    """
    looks = [tuple(sorted(look)) for look in _read(folder)]
    now = tuple(sorted(seeds))
    return tuple(looks[: looks.index(now)] if now in looks else looks)


def record_look(folder: Path | None, seeds: Sequence[int]) -> None:
    """Note that the result of `seeds` is shown."""
    looks, now = _read(folder), sorted(seeds)
    if folder is not None and now not in looks:
        write_json(folder / FILE, [*looks, now])


def _read(folder: Path | None) -> list[list[int]]:
    if folder is None or not (folder / FILE).exists():
        return []
    return [sorted(look) for look in read_json(folder / FILE, "Remove it and run again.")]
