"""Which cells of a multi-label corpus are wrong: labels that should not be there, and labels that are missing."""

from __future__ import annotations

import numpy as np

from textpl.cleaning.evidence import NARROW, WIDE, neighbor_votes
from textpl.cleaning.noise_model import Noise, NoiseModel, check_noise, noise_model, plain_model, told
from textpl.cleaning.result import Detection
from textpl.cleaning.swaps import partners, swap_chances
from textpl.embeddings.graph import NeighborGraph

BLOCK = 8192


def detect(
    labels: np.ndarray,
    probabilities: np.ndarray,
    graph: NeighborGraph | None = None,
    *,
    noise: Noise = "auto",
    context: bool = True,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> Detection:
    """Find wrong and missing labels.

    With q = P(label is given | evidence), from the classifier, the neighbours and the row's other labels, a label that
    is not given is missing with probability r q / (1 - q), and a given one is spurious with w_k (1 - q) / q, where r
    and w_k are the odds at which right labels get lost and wrong ones are added: Bayes' rule for given labels that
    depend on the text only through the right ones. Two labels of a row that changed places are a third hypothesis.
    The rates are read off where the model is surest (`floors`, `noise_model`).

    Args:
        labels: 0/1 (rows, labels), the given ones.
        probabilities: (rows, labels), P(label) by a model that has not seen the row.
        graph: neighbours by embeddings, `evidence.GRAPH_K` per row at best; None goes without.
        noise: what is known about the errors: "missing" (no label was added), "spurious" (none is missing), "swap"
            (one label was taken for another), or "auto".
        context: weigh all evidence, the row's other labels included, by a model of the given labels. False takes
            `probabilities` as they are: far faster, and worse.
        groups: int (rows,), duplicates share a number.
        seed: of the folds in which evidence is weighed.

    Returns:
        Detection; `info` holds the estimated rates, the expected number of errors, and "log_odds": the evidence of a
        lone error and of a swap, two float32 arrays (rows, labels).

    Raises:
        ValueError: for an unknown `noise`.
    """
    check_noise(noise)
    labels = np.ascontiguousarray(labels, dtype=np.int8)
    p = np.asarray(probabilities, dtype=np.float32)
    votes = [] if graph is None else [neighbor_votes(graph, labels, *which) for which in (WIDE, NARROW)]
    model = noise_model(labels, p, votes, groups=groups, seed=seed) if context else plain_model(labels, p)
    model = told(model, noise)
    lone, swapped = chances(labels, model)
    p_error = bounded(lone + swapped)
    expected = float(p_error.sum(dtype=np.float64))
    flagged = largest(p_error, round(expected))
    evidence = {"model": p, "swap": swapped / np.maximum(lone + swapped, 1e-12)}
    return Detection(
        p_error=p_error,
        p_true=np.where(labels == 1, 1 - p_error, p_error),
        flagged=flagged,
        suggested=(labels ^ flagged).astype(np.int8),
        evidence={**evidence, "neighbors": votes[0]} if votes else evidence,
        partner=partners(model.text, labels, model.places),
        info={
            "noise": noise,
            "context": model.context,
            "kept": model.kept,
            "expected_errors": expected,
            "missing_odds": model.rates.missing,
            "spurious_odds": model.rates.spurious.tolist(),
            "swap_rate": model.swap_rate,
            "log_odds": [np.log(x + np.float32(1e-12)) for x in (lone, swapped)],
        },
    )


def chances(labels: np.ndarray, model: NoiseModel) -> tuple[np.ndarray, np.ndarray]:
    """Chance that each cell is wrong by itself, and by having changed places with another cell of its row.

    Args:
        labels: 0/1 int8 (rows, labels).
        model: the noise.

    Returns:
        Two float32 arrays (rows, labels), >= 0. Above 1 the rates and the probability contradict each other.
    """
    lone, swapped = np.empty(labels.shape, dtype=np.float32), np.zeros(labels.shape, dtype=np.float32)
    spurious = model.rates.spurious.astype(np.float32)
    missing, with_others = np.float32(model.rates.missing), np.float32(model.rates.with_others)
    for start in range(0, len(labels), BLOCK):
        block = slice(start, start + BLOCK)
        given = labels[block] == 1
        odds = model.best[block] / (1 - model.best[block])
        rate: np.ndarray | np.float32 = missing
        if model.kept:
            rate = np.where(labels[block].sum(1, keepdims=True) - labels[block] > 0, with_others, missing)
        lone[block] = np.where(given, spurious / odds, rate * odds)
        if model.swap_rate:
            swapped[block] = model.swap_rate * swap_chances(model.text[block], given, model.places)
    return lone, swapped


def bounded(chance: np.ndarray) -> np.ndarray:
    """A smooth min(chance, 1) that keeps the order of what is above 1; float32."""
    bounded = np.empty(chance.shape, dtype=np.float32)
    for start in range(0, len(chance), BLOCK):
        x = chance[start : start + BLOCK]
        bounded[start : start + BLOCK] = x / np.cbrt(1 + np.minimum(x, 1e12) ** 3)
    return bounded


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest, bool; cells equal to the last of them included; bool, shape of `values`."""
    flagged = np.zeros(values.shape, dtype=bool)
    if count > 0:
        count = min(count, values.size)
        flagged = values >= np.partition(values, values.size - count, axis=None)[values.size - count]
    return flagged
