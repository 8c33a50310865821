"""How many labels of a single-label corpus are wrong: a number, and between what it lies.

A classifier of given labels disagrees with some of them. Three parts of that look different. Wrong labels that do not
depend on the text are seen where the classifier is surest (`class_noise.sure_rate`). Labels of hard texts that were
drawn anew for every row do not agree with near rows more than with far ones (`class_noise.unexplained_share`), which
takes thousands of rows to be seen. The rest are wrong labels of hard texts, or right ones that the classifier gets
wrong, and labels, texts and neighbors do not say which: AG News with right labels and with those of its annotators
(19.8 % wrong) is predicted equally well (85 %, 1,500 rows), with errors of the same confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from textpl.cleaning.class_noise import anchor_errors, anchor_transition, scaled, sure_rate, unexplained_share
from textpl.embeddings.graph import NeighborGraph

LEVEL = 0.95
SD = 1.959964  # standard deviations on either side that hold it


@dataclass(frozen=True)
class ErrorCount:
    """Wrong labels of a corpus.

    Attributes:
        shown: those for which something speaks besides disagreement: as many rows are flagged.
        low: at least so many, if all that is not shown are mistakes of the classifier.
        expected: what `p_error` sums to.
        high: at most so many, if every disagreement is a wrong label.
        class_errors: part of `shown` that sure rows show.
        hard_share: share of the other disagreement that is noise by the neighbors.
    """

    shown: float
    low: float
    expected: float
    high: float
    class_errors: float
    hard_share: float


def count_errors(
    labels: np.ndarray,
    fused: np.ndarray,
    graph: NeighborGraph | None,
    votes: np.ndarray | None,
    lasting: float = 1.0,
    alone: np.ndarray | None = None,
) -> ErrorCount:
    """Count wrong labels under both accounts of what a classifier gets wrong, and between them.

    - shown = C + h R: C by `sure_rate`, h by `unexplained_share`, R = sum(1 - Q_z) - rows (1 - sum_y Q_y sum_z
      T[y, z]^2), the doubt that class noise T does not explain.
    - low: the 2.5 % quantile of the sure rate in place of C, less the sampling error of such a count, + h R.
      0 where all rows of a prediction are equally sure (hard predictions): then none is surer than the others.
    - high: class noise of that least rate, all other doubt taken for wrong labels, and the sampling error of
      sum(1 - Q_z); not below the 97.5 % quantile of the sure rate.
    - expected = shown + (1 - h) c^2 l R. c is the share of the doubt that the least class noise does not explain: where
      labels of sure rows are wrong, that is the simpler account of the others. l is the share of the disagreement that
      is not class noise and would last with ever more rows (`lasting_disagreement`). No data say that all of that is
      wrong labels and not what the classifier cannot learn: on a clean corpus it is too high, and `low` is right.

    Args:
        labels: int64 (rows,), given.
        fused: float (rows, labels), Q = P(given label | text), out of sample.
        graph: neighbors; None: h = 0.
        votes: float (rows, labels), log-probabilities by neighbors; None as well.
        lasting: share of the disagreement with the labels that would be left with ever more rows; 1 if not known.
        alone: float (rows, labels), P(given label | text) by the classifier alone: `high` is not below its sum
            (1 - p_z), as neighbors that share a label may share its error.
    """
    rows, own = len(labels), np.arange(len(labels))
    q = np.clip(fused[own, labels].astype(np.float64), 0, 1)
    doubt, error = float((1 - q).sum()), float(np.sqrt((q * (1 - q)).sum()))
    anchors, _ = anchor_transition(labels, fused)
    class_errors = anchor_errors(fused, anchors)
    shares = fused.mean(axis=0, dtype=np.float64)

    def left(rate: float) -> float:
        """Doubt that class noise of this rate does not explain."""
        return max(doubt - rows * (1 - float((scaled(anchors, shares, rate) ** 2).sum(axis=1) @ shares)), 0)

    rest = left(class_errors / rows)
    hard = 0.0 if graph is None or votes is None else unexplained_share(labels, graph, anchors, votes)
    shown = class_errors + hard * rest
    least, most = (sure_rate(labels, fused, at) for at in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    differs = float((fused.argmax(axis=1) != labels).sum())
    unclear = (left(least) / doubt) ** 2 if doubt > 0 else 0.0
    learnable = max(differs - class_errors, 1e-12)
    lasts = np.clip((lasting * differs - class_errors) / learnable, 0, 1)
    expected = shown + (1 - hard) * unclear * lasts * rest
    low = rows * max(least - SD * np.sqrt(least * (1 - least) / rows), 0) + hard * rest
    more = 0.0 if alone is None else max(float((1 - alone[own, labels]).sum(dtype=np.float64)) - doubt, 0)
    high = rows * least + left(least) + more + SD * error
    high = max(high, rows * most)
    if not _graded(fused):
        low = 0.0
    return ErrorCount(
        shown, min(low, shown), expected, float(min(max(high, expected), rows)), class_errors, float(hard)
    )


def _graded(fused: np.ndarray) -> bool:
    """Whether some rows of a predicted class are surer than others."""
    predicted, sure = fused.argmax(axis=1), fused.max(axis=1)
    order = np.lexsort((sure, predicted))
    same = predicted[order][1:] == predicted[order][:-1]
    return bool((np.diff(sure[order])[same] > 1e-5).any())
