"""Which cells of a multi-label corpus are wrong: labels that should not be there, and labels that are missing."""

from __future__ import annotations

import numpy as np

from textpl.cleaning.evidence import NARROW, WIDE, neighbor_votes, odds_of
from textpl.cleaning.noise_model import Noise, NoiseModel, check_noise, noise_model, plain_model, told
from textpl.cleaning.result import Detection
from textpl.cleaning.swaps import confusions, partners, swap_chances
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
        probabilities: (rows, labels), P(label) by a model that has not seen the row; float32 is not copied.
        graph: neighbours by embeddings, `evidence.GRAPH_K` per row at best; None goes without.
        noise: what is known about the errors: "missing" (no label was added), "spurious" (none is missing), "swap"
            (one label was taken for another), or "auto".
        context: weigh all evidence, the row's other labels included, by a model of the given labels. False takes
            `probabilities` as they are: far faster, and worse.
        groups: int (rows,), duplicates share a number.
        seed: of the folds in which evidence is weighed.

    Returns:
        Detection; `partner` where a swap is likelier than a lone error; `info` holds the estimated rates, the expected
        number of errors, and, where swaps are thought possible, "log_odds": the evidence of a lone error and of a
        swap, two float32 arrays (rows, labels).

    Raises:
        ValueError: for an unknown `noise`.
    """
    check_noise(noise)
    labels = np.ascontiguousarray(labels, dtype=np.int8)
    p = np.asarray(probabilities, dtype=np.float32)
    votes = [] if graph is None else [neighbor_votes(graph, labels, *which) for which in (WIDE, NARROW)]
    model = noise_model(labels, p, votes, groups=groups, seed=seed) if context else plain_model(labels, p)
    model = told(model, labels, noise)
    evidence = {"model": p, "neighbors": votes[0]} if votes else {"model": p}
    info = {
        "noise": noise,
        "context": model.context,
        "kept": model.kept,
        "missing_odds": model.rates.missing,
        "spurious_odds": model.rates.spurious.tolist(),
        "swap_rate": model.swap_rate,
    }
    chance = lone_chances(labels, model)
    once = given_once(labels)
    chance[once] = np.minimum(chance[once], np.minimum(chance[labels == 1], 1).mean() if once.any() else 0)
    if model.swap_rate:
        places = confusions(model.text, labels)
        swapped = model.swap_rate * swap_chances(model.text, labels, places)
        swapped[once] = 0
        info["log_odds"] = [np.log(x + np.float32(1e-12)) for x in (chance, swapped)]
        chance += swapped
        evidence["swap"] = swapped / np.maximum(chance, 1e-12)
        partner = np.where(evidence["swap"] > 0.5, partners(model.text, labels, places), np.int32(-1))
    else:  # views of one number, as they would take as much memory as the result
        evidence["swap"] = np.broadcast_to(np.float32(0), labels.shape)
        partner = np.broadcast_to(np.int32(-1), labels.shape)
    del model  # two arrays of the size of the result
    p_error = bounded(chance, out=chance)
    # Were all of the m cells that look wrong so, the next would be with (m + 1) / (m + 2): more cannot be known.
    seen = float(p_error.sum(dtype=np.float64))
    p_error *= np.float32((seen + 1) / (seen + 2))
    info["expected_errors"] = float(p_error.sum(dtype=np.float64))
    flagged = largest(p_error, round(info["expected_errors"]))
    return Detection(
        p_error=p_error,
        p_true=_of_one(labels, p_error),
        flagged=flagged,
        suggested=labels ^ flagged,
        evidence=evidence,
        partner=partner,
        info=info,
    )


def given_once(labels: np.ndarray) -> np.ndarray:
    """Cells whose label no other row has, bool, shape of `labels`: whoever judges them has never seen that label.

    All evidence is against them, whether they are right or wrong: they are taken to be as often wrong as others.
    """
    return (labels == 1) & (labels.sum(axis=0, dtype=np.int64) == 1)


def lone_chances(labels: np.ndarray, model: NoiseModel) -> np.ndarray:
    """Chance that each cell is wrong by itself, not for having changed places with another.

    By Bayes' rule P(missing) = r (o - w) / (1 - r w) and P(spurious) = w (1 / o - r) / (1 - r w) with o = q / (1 - q).
    Where both rates are high, r o and w / o count some errors twice; the rates read off are rather too low, and
    corrected the cut fell below the errors there are (F1 -.008, AP equal, over 15 cases).

    Args:
        labels: 0/1 int8 (rows, labels).
        model: the noise.

    Returns:
        float32 (rows, labels), >= 0. Above 1 the rates and the probability contradict each other.
    """
    lone = np.empty(labels.shape, dtype=np.float32)
    spurious = model.rates.spurious.astype(np.float32)
    missing, with_others = np.float32(model.rates.missing), np.float32(model.rates.with_others)
    for start in range(0, len(labels), BLOCK):
        block = slice(start, start + BLOCK)
        given = labels[block] == 1
        odds = odds_of(model.best[block])
        rate: np.ndarray | np.float32 = missing
        if model.kept:
            rate = np.where(labels[block].sum(1, keepdims=True) - labels[block] > 0, with_others, missing)
        lone[block] = np.where(given, spurious / odds, rate * odds)
    return lone


def bounded(chance: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """A smooth min(chance, 1), x / (1 + x^3)^(1/3), float32; up to about 150 the order of what is above 1 stays.

    Args:
        chance: float32, any shape, >= 0.
        out: where to write, may be `chance`.
    """
    out = np.empty(chance.shape, dtype=np.float32) if out is None else out
    for start in range(0, len(chance), BLOCK):
        x = np.minimum(chance[start : start + BLOCK], np.float32(1e12))
        np.divide(x, np.cbrt(1 + x * x * x), out=out[start : start + BLOCK])
    return out


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """About `count` of the largest, bool, shape of `values`: equal ones all or none, whichever is nearer to `count`."""
    if count <= 0 or values.size == 0:
        return np.zeros(values.shape, dtype=bool)
    count = min(count, values.size)
    least = np.partition(values, values.size - count, axis=None)[values.size - count]
    flagged = values >= least
    if flagged.sum() - count > count - (above := values > least).sum():
        return above
    return flagged


def _of_one(labels: np.ndarray, p_error: np.ndarray) -> np.ndarray:
    """Probability that 1 is right: `p_error` where 0 is given, 1 - `p_error` where 1 is."""
    p_true = p_error.copy()
    np.subtract(1, p_error, out=p_true, where=labels == 1)
    return p_true
