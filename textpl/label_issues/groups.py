"""Rows that must not judge each other: duplicates, and what the user says belongs together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from textpl.cleaning.duplicates import near_duplicates
from textpl.cleaning.evidence import GRAPH_K
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.neighbors import distinct_rows, measured_by
from textpl.group_folds import group_ids
from textpl.shared_passages import passages_warning

logger = logging.getLogger(__name__)

MOST_SIBLINGS = 50  # neighbors searched beyond those needed, for a row whose nearest ones are of its own group


@dataclass(frozen=True)
class Apart:
    """Vectors and neighbors of a corpus, and which rows are kept from judging each other.

    Attributes:
        centered: float32 (n, d), vectors around their mean; None without any.
        graph: nearest rows of every row, with the cosines of the vectors as they are: what is far from everything is
            so in the cone that the texts of the corpus share. Around the mean, foreign texts are all alike.
        voters: nearest rows by the cosines of the centered vectors, those of a row's own group left out.
        duplicates: int64 (n,), rows of equal or nearly equal text share a number.
        groups: int64 (n,), rows that are connected by duplicates or by the groups given.
    """

    centered: np.ndarray | None
    graph: NeighborGraph | None
    voters: NeighborGraph | None
    duplicates: np.ndarray | None
    groups: np.ndarray | None


def kept_apart(
    groups: Any,
    dataset: Dataset | None,
    texts: list[str] | None,
    vectors: np.ndarray | None,
    rows: int,
    build: Callable[[np.ndarray, int], NeighborGraph],
) -> Apart:
    """Find duplicates and join them with the groups that were given; tell of texts that overlap where none were.

    Args:
        groups: a column of the dataset, a name or number for every row, or None.
        dataset: the rows.
        texts: n strings.
        vectors: float32 (n, d), unit length.
        rows: n.
        build: `build(vectors, k)` gives the graph.

    Raises:
        ValueError: for a column that is not there, another number of rows, a row without a group, or one group only.
    """
    given = read_groups(groups, dataset, rows)
    if texts is not None and (told := passages_warning(texts, given is not None)):
        logger.warning("%s", told)
    if vectors is None or rows < 2:
        return Apart(vectors, None, None, None, given)
    centered = centered_rows(vectors)
    siblings = 0 if given is None else min(int(np.bincount(given).max()) - 1, MOST_SIBLINGS)
    wide = build(centered, GRAPH_K + siblings)
    near = wide.first(min(GRAPH_K, wide.k)) if wide.k else wide
    graph = measured_by(near, vectors)
    duplicates = distinct_rows(vectors)[1] if texts is None else near_duplicates(texts, vectors, graph)
    if given is None:
        return Apart(centered, graph, near, duplicates, duplicates)
    voters = wide.across(given)
    return Apart(centered, graph, voters.first(near.k) if near.k else voters, duplicates, joined(duplicates, given))


def read_groups(groups: Any, dataset: Dataset | None, rows: int) -> np.ndarray | None:
    """Number the groups: int64 (rows,), None where none are given.

    Args:
        groups: a column of the dataset, a name or number for every row, or None.
        dataset: the rows.
        rows: how many there are.

    Raises:
        ValueError: for a column that is not there, another number of rows, a row without a group, or one group only.
    """
    if groups is None:
        return None
    name = "groups"
    if isinstance(groups, str):
        if dataset is None or groups not in dataset.column_names:
            there = "there is no dataset" if dataset is None else f"the columns are {dataset.column_names}"
            raise ValueError(f"groups={groups!r} is not a column: {there}. Or give a name or number for every row.")
        name, groups = f"column {groups!r}", dataset.with_format(None)[groups][:]
    if len(groups) != rows:
        raise ValueError(f"{name}: {len(groups)} groups for {rows} rows, expected one for every row.")
    ids = group_ids(groups, name)
    if len(ids) > 1 and ids.max() == 0:
        raise ValueError(f"{name}: all rows are of one group, so nothing can judge anything: leave groups out.")
    return ids


def joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Groups of rows that are connected by either grouping. Shapes: int (n,), int (n,) -> int64 (n,)."""
    left, right = int(a.max(initial=-1)) + 1, int(b.max(initial=-1)) + 1
    links = coo_array((np.ones(len(a)), (a, b + left)), shape=(left + right, left + right))
    return connected_components(links, directed=False)[1][a].astype(np.int64)
