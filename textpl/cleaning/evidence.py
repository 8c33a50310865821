"""What speaks for a label besides the classifier: the labels of similar rows, and the other labels of the row."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from textpl.embeddings.graph import NeighborGraph

# (neighbours, temperature) of the two votes: a wide one that is smooth, a narrow one that is sharp.
WIDE, NARROW = (50, 0.07), (15, 0.15)
GRAPH_K = WIDE[0]
BLOCK = 8192
# A probability nearer to 0 or 1 says no more than this: float32 noise, not evidence.
TINY = 1e-6
SURE = 1e-5  # the same of what is multiplied with the rate of errors


def logit(p: np.ndarray) -> np.ndarray:
    """Log-odds of p in float32, with p kept `TINY` away from 0 and 1."""
    p = np.clip(p, TINY, 1 - TINY).astype(np.float32)
    return np.log(p / (1 - p))


def odds_of(q: np.ndarray) -> np.ndarray:
    """Odds of q in float32, with q kept `SURE` away from 0 and 1."""
    q = np.clip(q, SURE, 1 - SURE).astype(np.float32, copy=False)
    return q / (1 - q)


def neighbor_votes(graph: NeighborGraph, labels: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """Share of the nearest rows that carry each label.

    A neighbour's weight is exp((similarity - that of the nearest) / temperature); one more vote of weight 1 is that of
    the label's overall share, so that a row without neighbours gets the share. The row itself does not vote.

    Args:
        graph: neighbours of every row; `k` is cut to what it has.
        labels: 0/1 (rows, labels).
        k: voters per row.
        temperature: in units of cosine similarity; small values let only the nearest count.

    Returns:
        float32 (rows, labels), in (0, 1) for labels that some rows carry and some do not.
    """
    share = labels.mean(0, dtype=np.float64).astype(np.float32)
    votes = np.empty(labels.shape, dtype=np.float32)
    if graph.k == 0:
        votes[:] = share
        return votes
    graph = graph.first(min(k, graph.k))
    given = csr_array(labels, dtype=np.float32)
    for start in range(0, len(graph), BLOCK):
        ids, sims = graph.ids[start : start + BLOCK], graph.sims[start : start + BLOCK]
        weights = np.where(ids >= 0, np.exp(np.minimum(sims - sims[:, :1], 0) / temperature), 0).astype(np.float32)
        ends = np.arange(len(ids) + 1) * ids.shape[1]
        voters = csr_array((weights.ravel(), np.maximum(ids, 0).ravel(), ends), shape=(len(ids), len(labels)))
        votes[start : start + BLOCK] = ((voters @ given).toarray() + share) / (weights.sum(1, keepdims=True) + 1)
    return votes


def row_context(truth: np.ndarray, probabilities: np.ndarray) -> list[np.ndarray]:
    """What the *other* labels of a row say about each of its cells.

    Args:
        truth: float32 (rows, labels), how likely each label is right by what is known without the other labels.
        probabilities: float32 (rows, labels), the classifier's.

    Returns:
        Three float32 arrays (rows, labels): log of how many other labels the text does not explain, log of how many
        other labels there are (both + 0.05), and the chance that there is none.
    """
    parts = truth * (1 - probabilities), truth, np.log1p(-np.clip(truth, 0, 0.999))
    unexplained, number, none = (_of_others(part.astype(np.float32, copy=False)) for part in parts)
    return [_log_of_count(unexplained), _log_of_count(number), np.exp(none, out=none)]


def _of_others(values: np.ndarray) -> np.ndarray:
    """The sum of the other cells of the row."""
    return values.sum(1, keepdims=True) - values


def _log_of_count(number: np.ndarray) -> np.ndarray:
    # A difference of sums may be a little below 0.
    return np.log(np.maximum(number, 0) + np.float32(0.05))
