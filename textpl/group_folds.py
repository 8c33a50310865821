"""Folds and hold-outs of whole groups, such as the windows of one document or the texts of one author.

Rows of a group resemble each other: with some of them on either side, what is held out has nearly been seen, and an
estimate from it is too good. Pure functions on arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import ArrayLike, NDArray


def group_ids(values: ArrayLike | Sequence[Any], name: str = "groups") -> NDArray[np.int64]:
    """Number the groups 0, 1, ... in the order of their sorted names.

    Args:
        values: one name or number per row, such as the id of the document.
        name: what messages call them.

    Returns:
        int64 (rows,).

    Raises:
        ValueError: for a row without a group, or values that are not one name or number per row.
    """
    # numpy would make the text "nan" of a missing number among names.
    named = isinstance(values, Sequence) and any(value is None or isinstance(value, str) for value in values)
    given = np.asarray(values, dtype=object) if named else np.asarray(values)
    if given.ndim != 1:
        raise ValueError(f"{name} have shape {given.shape}: give one name or number per row.")
    if given.dtype == object:
        missing = np.array([value is None or value != value or not str(value).strip() for value in given], dtype=bool)
    elif given.dtype.kind == "U":
        missing = np.char.strip(given) == ""
    else:
        missing = np.isnan(given) if given.dtype.kind == "f" else np.zeros(len(given), dtype=bool)
    if missing.any():
        raise ValueError(
            f"{name}: row {np.flatnonzero(missing)[0]} has none ({missing.sum()} such rows). Fill it in; a text that "
            "belongs to no group gets a name of its own."
        )
    if given.dtype == object:
        given = np.array([_name(value) for value in given])
    return np.unique(given, return_inverse=True)[1].astype(np.int64).reshape(-1)


def _name(value: Any) -> str:
    """The group's name; 1.0 is 1, as whole numbers become where a file lacks some."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def group_folds(groups: ArrayLike, strata: ArrayLike, folds: int, seed: int) -> NDArray[np.int64]:
    """Give every row a fold so that groups stay whole and labels are spread about evenly.

    Groups that hold most of some label come first; each goes where the squared distance of the folds' shares of every
    label, and of all rows, from equal shares grows least.

    Args:
        groups: group of each row (rows,), as `group_ids` takes them.
        strata: class ids (rows,), or 0/1 (rows, labels).
        folds: how many, at most as many as there are groups.
        seed: of the order among equals.

    Returns:
        int64 (rows,), each of 0 ... folds - 1 at least once.

    Raises:
        ValueError: for fewer than two folds, fewer groups than folds, or arrays of different lengths.

    Example:
        >>> group_folds(["a", "a", "b", "b"], [0, 1, 0, 1], folds=2, seed=0).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
        True
    """
    ids, counts = _counted(groups, strata)
    if folds < 2 or len(counts) < folds:
        raise ValueError(
            f"{len(counts)} group{'s' * (len(counts) != 1)} in {folds} folds: groups stay whole, so there must be at "
            "least two folds and as many groups as folds. Lower the number of folds, or give more groups."
        )
    return _assign(counts, np.full(folds, 1 / folds), default_rng(seed))[ids]


def group_hold_out(groups: ArrayLike, strata: ArrayLike, size: int, seed: int) -> NDArray[np.bool_]:
    """Choose whole groups of `size` rows or a few more, labels in about their shares.

    Args:
        groups: group of each row (rows,), as `group_ids` takes them.
        strata: class ids (rows,), or 0/1 (rows, labels).
        size: rows that are wanted at least, 1 or more.
        seed: of the order among equals.

    Returns:
        bool (rows,): the rows of the chosen groups. At least one group is not among them.

    Raises:
        ValueError: where that would take every group.
    """
    ids, counts = _counted(groups, strata)
    rows, rng = counts[:, -1], default_rng(seed)
    if len(counts) < 2:
        raise ValueError("All rows are of one group: nothing can be held out without taking all. Give more groups.")
    part = _assign(counts, np.array([size, max(len(ids) - size, 1)]) / max(len(ids), size + 1), rng)
    # What is lacking comes from the smallest groups that suffice, else from the largest there are.
    while (short := size - rows[part == 0].sum()) > 0:
        left = np.flatnonzero(part == 1)
        if len(left) < 2:
            raise ValueError(
                f"{size} rows in whole groups would take every one of the {len(counts)} groups: ask for fewer rows."
            )
        enough = left[rows[left] >= short]
        part[enough[rows[enough].argmin()] if len(enough) else left[rows[left].argmax()]] = 0
    return (part == 0)[ids]


def labels_in_one_group(groups: ArrayLike, strata: ArrayLike) -> list[int]:
    """List the labels whose rows are all of one group: none of them can be both learned and held out.

    Args:
        groups: group of each row (rows,), as `group_ids` takes them.
        strata: class ids (rows,), or 0/1 (rows, labels).
    """
    _, counts = _counted(groups, strata)
    return np.flatnonzero((counts[:, :-1] > 0).sum(0) == 1).tolist()


def _counted(groups: ArrayLike, strata: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the groups (rows,), and what each holds (groups, labels + 1): rows of each label, then all rows."""
    ids, labels = group_ids(groups), np.asarray(strata)
    if len(labels) != len(ids):
        raise ValueError(f"{len(ids)} groups for {len(labels)} rows: give one group per row.")
    count = int(ids.max(initial=-1)) + 1
    if labels.ndim == 1:
        width = int(labels.max(initial=-1)) + 1
        held = np.bincount(ids * width + labels, minlength=count * width).reshape(count, width)
    else:
        order = np.argsort(ids, kind="stable")
        starts = np.searchsorted(ids[order], np.arange(count))
        held = np.add.reduceat((labels[order] > 0).astype(np.int64), starts, axis=0) if count else labels[:0]
    return ids, np.column_stack([held, np.bincount(ids, minlength=count)]).astype(np.int64)


def _assign(counts: NDArray, shares: NDArray, rng: Generator) -> NDArray[np.int64]:
    """Part of each group (groups,), by shares (parts,) of counts (groups, labels + 1); no part stays empty."""
    total = counts.sum(0)
    parts = counts / np.maximum(total, 1)  # of all rows of a label; the last column is that of all rows
    cost = (parts**2).sum(1)
    shuffled = rng.permutation(len(counts))
    part, taken = np.empty(len(counts), dtype=np.int64), np.zeros((len(shares), counts.shape[1]))
    for group in shuffled[np.argsort(-cost[shuffled], kind="stable")]:
        # Growth of sum (taken - wanted)^2 / share over parts and labels.
        growth = (2 * (taken - shares[:, None]) @ parts[group] + cost[group]) / shares
        part[group] = growth.argmin()
        taken[part[group]] += parts[group]
    for empty in np.setdiff1d(np.arange(len(shares)), part):
        inside = np.flatnonzero(part == np.bincount(part).argmax())
        part[inside[counts[inside, -1].argmin()]] = empty
    return part
