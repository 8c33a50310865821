"""What labels from embeddings were found from, as far as a report shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from textpl.relabeling.choice import Trial
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.problem import Problem

# Rows whose embeddings are kept for a map.
MAPPED_LABELED, MAPPED_POOL = 200, 800


@dataclass(frozen=True)
class LabelOrigin:
    """The labelled rows, embeddings of some rows, and how sure the method was where the answer is known.

    Attributes:
        labeled: the labelled dataset.
        text_column: of both datasets.
        targets: float32 (labelled rows, labels).
        mapped: int64 (n,), rows of which embeddings are kept: labelled rows, then those of the pool, which count on.
        vectors: float32 (n, d), these embeddings.
        sure: float (held,), how sure the method was, before any calibration, of labelled rows whose own label was
            hidden: single-label of the label it chose, multi-label of every cell.
        right: float (held,), 1 where that label is the given one (multi-label: where the cell's label is given), 0
            where not, and a share where a text was given both.
    """

    labeled: Dataset
    text_column: str
    targets: np.ndarray
    mapped: np.ndarray
    vectors: np.ndarray
    sure: np.ndarray
    right: np.ndarray

    @classmethod
    def build(
        cls, labeled: Dataset, text_column: str, targets: np.ndarray, nodes: Nodes, problem: Problem, trial: Trial
    ) -> LabelOrigin:
        """Draw the mapped rows, evenly spread.

        Args:
            labeled: the labelled dataset.
            text_column: the column of its texts.
            targets: float32 (labelled rows, labels).
            nodes: of all rows, labelled rows first.
            problem: on these nodes.
            trial: the method that was taken, on the labelled nodes.
        """
        rows = np.arange(len(nodes.of))
        known, pool = rows[: len(targets)], rows[len(targets) :]
        mapped = np.concatenate([_spread(known, MAPPED_LABELED), _spread(pool, MAPPED_POOL)])
        gold, p = problem.targets[problem.gold][trial.rows], trial.p
        if problem.multi:
            sure, right = p.ravel(), gold.ravel()
        else:
            sure, right = p.max(1, initial=0), gold[np.arange(len(gold)), p.argmax(1)]
            sure, right = sure[sure > 0], right[sure > 0]  # abstentions say nothing
        return cls(labeled, text_column, targets, mapped, nodes.vectors[nodes.of[mapped]], sure, right)


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(np.int64)]
