"""What people decided about cells: later answers over earlier ones, and all of them as arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from textpl.cleaning.apply import Earlier


class Decision(NamedTuple):
    """What a person decided about one cell.

    Attributes:
        row: of the dataset.
        label: its name.
        right: whether the label is right for the text. Single-label: `label` is the right one, so this is True.
        lesson: whether the cell was drawn to learn from, and not because it looked wrong.
        annotator: who decided; "" for the only one.
        asked: whether the cell was in a queue; what is corrected in passing is always wrong, and teaches nothing.
    """

    row: int
    label: str
    right: bool = True
    lesson: bool = True
    annotator: str = ""
    asked: bool = True


def cell_of(decision: Decision, multi: bool) -> tuple[int, str]:
    """The cell that a decision is about; single-label answers about a row compete with each other."""
    return decision.row, decision.label if multi else ""


def merged(old: Iterable[Decision], new: Iterable[Decision], *, multi: bool) -> tuple[Decision, ...]:
    """One decision per person and cell, new ones over old ones; what people without a name say is of one person.

    Somebody's different answers about one cell among the new ones are all kept: a contradiction, for `consensus.agree`.

    Raises:
        ValueError: for two new decisions without a name about one cell that disagree.
    """
    cells: dict[tuple[int, str, str], list[Decision]] = {}
    for decision in new:
        same = cells.setdefault((*cell_of(decision, multi), decision.annotator), [])
        if same and not decision.annotator and same[0][:3] != decision[:3]:
            raise ValueError(
                f"decisions disagree about row {decision.row}: {same[0]} and {decision}: keep one, or say who decided "
                "(annotator=)."
            )
        if all(other[:3] != decision[:3] for other in same):
            same.append(decision)
    kept: dict[tuple[int, str, str], list[Decision]] = {}
    for decision in old:
        kept.setdefault((*cell_of(decision, multi), decision.annotator), []).append(decision)
    return tuple(decision for same in (kept | cells).values() for decision in same)


def changed_answers(old: Iterable[Decision], new: Iterable[Decision], *, multi: bool) -> list[str]:
    """Say whose earlier answers are replaced by others: another person of the same name, perhaps."""
    before = {(*cell_of(d, multi), d.annotator): d for d in old}
    changed = Counter(
        d.annotator
        for d in new
        if (other := before.get((*cell_of(d, multi), d.annotator))) is not None and other[:3] != d[:3]
    )
    return [
        f"{number:,} earlier answers of {name!r} are replaced by other ones. Another person's? Give a file of another "
        "name, or a column `annotator`."
        for name, number in sorted(changed.items())
    ]


def decision_arrays(
    decisions: Sequence[Decision], given: np.ndarray, label_names: Sequence[str]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Decisions as arrays of the shape of `given`: the right labels (-1 where unknown) and which were asked for.

    None and None where nothing was decided.

    Raises:
        ValueError: for rows or labels that do not exist, and single-label decisions that do not say which label is
            right.
    """
    if not decisions:
        return None, None
    ids = {name: k for k, name in enumerate(label_names)}
    decided, asked = np.full(given.shape, -1, given.dtype), np.zeros(given.shape, bool)
    for row, label, right, _, _, in_queue in decisions:
        if not 0 <= row < len(given):
            raise ValueError(f"decision about row {row}: there are rows 0 to {len(given) - 1}.")
        if label not in ids:
            raise ValueError(f"decision about row {row}: {label!r} is no label; they are {', '.join(ids)}.")
        if given.ndim == 1 and not right:
            raise ValueError(f"decision about row {row}: {label!r} is not right, but say which label is.")
        at: tuple[int, ...] = (row, ids[label]) if given.ndim == 2 else (row,)
        decided[at] = int(right) if given.ndim == 2 else ids[label]
        asked[at] = in_queue
    return decided, asked


def closed_cells(shape: tuple[int, ...], decided: np.ndarray | None, earlier: Earlier | None) -> np.ndarray:
    """Cells that need no review: 0 where a person decided now or in an earlier round, -1 elsewhere."""
    closed = np.full(shape, -1)
    if decided is not None:
        closed[decided >= 0] = 0
    if earlier is not None:
        closed[earlier.reviewed] = 0
    return closed
