"""Groups of the rows of a corpus, numbered alike in all its parts, that are to stay on one side of a split."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from textpl.corpus import Corpus
from textpl.group_folds import group_hold_out, group_ids, labels_in_one_group
from textpl.reading.columns import nearest
from textpl.reading.labels import label_array
from textpl.stratified import stratified_rows

logger = logging.getLogger(__name__)

PARTS = ("train", "test", "dev", "unlabeled")


@dataclass(frozen=True)
class SplitGroups:
    """Groups such as documents or authors; without a column every row stands for itself.

    Args:
        column: their column.
        ids: int64 (rows,) of each part of the corpus that has the column; one number for one group in all parts.
        lone: names of the labels whose rows in train are all of one group.
    """

    column: str | None = None
    ids: dict[str, NDArray] = field(default_factory=dict)
    lone: tuple[str, ...] = ()

    def of(self, part: str, rows: NDArray) -> NDArray:
        """Groups of some rows of a part, each once; none where they are not known."""
        return np.unique(self.ids[part][rows]) if part in self.ids else np.empty(0, dtype=np.int64)

    def free(self, part: str, rows: NDArray, taken: NDArray, by: str) -> NDArray:
        """Those rows of a part whose group is not taken; how many are left out is logged.

        Args:
            part: of the corpus.
            rows: of that part.
            taken: groups.
            by: what takes them, such as "test rows".
        """
        if part not in self.ids:
            return rows
        free = rows[~np.isin(self.ids[part][rows], taken)]
        if lost := len(rows) - len(free):
            logger.warning("%d rows of %s are left out: %s are of the same %s", lost, part, by, self.column)
        return free

    def hold_out(self, labels: NDArray, rows: NDArray, size: int, rng: Generator) -> tuple[NDArray, NDArray]:
        """Divide rows of train into `size` stratified ones, whole groups and so perhaps more, and all others."""
        if "train" in self.ids:
            held = group_hold_out(self.ids["train"][rows], labels[rows], size, int(rng.integers(2**32)))
        else:
            held = np.zeros(len(rows), dtype=bool)
            held[stratified_rows(labels[rows], size, rng)] = True
        return rows[held], rows[~held]

    def report(self, corpus: Corpus, drawn: dict[str, NDArray]) -> dict[str, Any]:
        """What is to be known of them; what a user must know is logged.

        Args:
            corpus: of which they are.
            drawn: the groups of each kind of row but the pool.
        """
        unknown = [part for part in PARTS if getattr(corpus, part) is not None and part not in self.ids]
        if self.lone:
            logger.warning("all rows of %s are of one group: never both learned and tested", ", ".join(self.lone))
        for part in unknown:
            logger.warning("%s has no column %r: whether it shares groups with train cannot be told", part, self.column)
        counts = {kind: len(groups) for kind, groups in drawn.items()}
        told = {"column": self.column, "counts": counts}
        return {**told, "unknown_in": unknown, "labels_in_one_group": list(self.lone)}


def read_groups(corpus: Corpus, column: str | None) -> SplitGroups:
    """Number the groups of a corpus.

    Args:
        corpus: with the column in train, kept as `read_corpus(keep=...)` does.
        column: name or number of each row's group; None: there are no groups.

    Raises:
        ValueError: for a column that is not there, a row without a group, or a single group.
    """
    if column is None:
        return SplitGroups()
    there = corpus.train.column_names
    if column not in there:
        raise ValueError(f"groups={column!r} is no column of train, which has {there}{nearest(column, there) or '.'}")
    held = {part: rows for part in PARTS if (rows := getattr(corpus, part)) is not None and column in rows.column_names}
    names = {part: _objects(rows[column][:]) for part, rows in held.items()}
    for part, values in names.items():
        group_ids(values, f"{part}, column {column!r}: groups")  # complains with the row's number in this part
    ends = np.cumsum([len(values) for values in names.values()])[:-1]
    ids = dict(zip(held, np.split(group_ids(np.concatenate(list(names.values()))), ends), strict=True))
    if len(np.unique(ids["train"])) < 2:
        raise ValueError(
            f"groups={column!r}: all rows of train are of one group, so none can be held out without the others. Name "
            "the column of what there are several of, such as the document or the author."
        )
    lone = [corpus.label_names[label] for label in labels_in_one_group(ids["train"], label_array(corpus.train))]
    return SplitGroups(column, ids, tuple(lone))


def labeled_side(
    groups: NDArray, labels: NDArray, available: NDArray, needed: int, least: int, names: Sequence[str], rng: Generator
) -> NDArray:
    """Choose whole groups that labelled rows may be drawn from: half of the rows, or more where so many are needed.

    The other groups stay for the pool.

    Args:
        groups: int (rows,).
        labels: class ids (rows,), or 0/1 (rows, labels).
        available: rows that may be drawn.
        needed: labelled rows in all.
        least: rows that each label needs.
        names: of the labels.
        rng: source of randomness.

    Returns:
        Those of `available`.

    Raises:
        ValueError: where that would take every group.
    """
    mine, held = groups[available], labels[available]
    remedy = (
        "Labelled rows and pool have no group in common: lower labeled or labels_per_class, or give the pool as a file "
        "of its own (unlabeled)."
    )
    try:
        side = group_hold_out(mine, held, max(needed, len(available) // 2), int(rng.integers(2**32)))
    except ValueError as error:
        raise ValueError(f"{error} {remedy}") from error
    for label, name in enumerate(names):
        of_label = held[:, label] > 0 if held.ndim == 2 else held == label
        while (side & of_label).sum() < min(least, of_label.sum()):
            side |= mine == rng.choice(np.unique(mine[of_label & ~side]))
        if side.all():
            raise ValueError(f"{least} labelled rows of class {name!r} are only to be had from every group. {remedy}")
    return available[side]


def _objects(values: Sequence[Any]) -> NDArray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
