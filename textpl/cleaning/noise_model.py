"""How labels go wrong in a multi-label corpus, and which evidence may be believed there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from textpl.cleaning.evidence import logit, odds_of, row_context
from textpl.cleaning.floors import LOWEST, Floors, floors
from textpl.cleaning.fusion import Fusion
from textpl.cleaning.plateaus import plateaus
from textpl.cleaning.swaps import replaced_share

Noise = Literal["auto", "missing", "spurious", "swap"]
# Evidence is believed where it leaves this share of the missing rate; below it, it explains the errors away.
HOLDS = 0.55
# Rows of the second most frequent label from which its surest ones are bin enough.
ENOUGH = 400


@dataclass(frozen=True)
class NoiseModel:
    """P(label is given) and the rates at which right labels become given ones.

    Attributes:
        text: float32 (rows, labels), by the text and its neighbours.
        best: float32 (rows, labels), by all evidence that holds.
        rates: of lost and added labels.
        rate_by_text: missing odds when nothing is known of the row's other labels: lost labels and replaced ones.
        swap_rate: odds at which a right label is replaced by a wrong one.
        kept: whether rows seem always to keep a label, so that lone labels say nothing about the missing rate.
        context: which evidence about the row's other labels held: "none", "pairs" (which labels go together) or
            "counts" (and how many there are).
    """

    text: np.ndarray
    best: np.ndarray
    rates: Floors
    rate_by_text: float
    swap_rate: float
    kept: bool
    context: str


def plain_model(labels: np.ndarray, probabilities: np.ndarray) -> NoiseModel:
    """The model of probabilities that are taken as they are."""
    rates = error_rates(probabilities, labels)
    return NoiseModel(probabilities, probabilities, rates, rates.missing, 0.0, False, "none")


def error_rates(q: np.ndarray, labels: np.ndarray, found: Floors | None = None) -> Floors:
    """Rates of lost and added labels: `floors`, in small corpora drawn towards what the `plateaus` allow.

    The least error rate of a bin is an upper bound that is far off where the bin is a good part of the rows that carry
    the label. With n rows of the second most frequent label, log rates are n / `ENOUGH` of the floors' and the rest of
    the plateaus'.

    Args:
        q: float32 (rows, labels), P(label is given | evidence).
        labels: 0/1 (rows, labels).
        found: their floors, where known.
    """
    found, given = found or floors(q, labels), labels.sum(0, dtype=np.int64)
    trust = min(np.sort(given)[-2:].min() / ENOUGH, 1.0)
    if trust == 1:
        return found

    def drawn(floor: np.ndarray, plateau: np.ndarray | float) -> np.ndarray:
        return np.maximum(floor, LOWEST) ** trust * np.maximum(plateau, LOWEST) ** (1 - trust)

    missing, spurious = plateaus(q, labels)
    added = spurious * given / len(labels)
    one_sided = (given == 0) | (given == len(labels))
    lost, with_others = drawn(np.array([found.missing, found.with_others]), missing / (1 - missing))
    return Floors(float(lost), np.where(one_sided, 0, drawn(found.spurious, added / (1 - added))), float(with_others))


def noise_model(
    labels: np.ndarray,
    probabilities: np.ndarray,
    votes: list[np.ndarray],
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> NoiseModel:
    """Weigh the evidence and read the rates off it.

    The row's other labels help where errors come alone: who has most of a row knows what is missing. They mislead
    where the noise itself ties labels together: a label in the wrong place explains the absence of the right one, and
    where every row keeps a label, a lone one is certain. Either shows in the missing rate, which then nearly vanishes
    among the surest cells once the other labels are known. What vanishes by knowing *which* labels are there is put
    down to swaps: a share v of the rate r gives the swap rate v^2 r, as a little vanishes in any corpus. Where counts
    are used, v is at most twice the share that vanishes by knowing which labels are there: no count names a label.
    Where rows carry many labels little vanishes, but they can be counted: `replaced_share` is the least that v^2 is.

    Args:
        labels: 0/1 int8 (rows, labels).
        probabilities: float32 (rows, labels), out of sample.
        votes: shares of neighbours, each float32 (rows, labels).
        groups: int (rows,), duplicates share a number.
        seed: of the folds.
    """
    fuse = Fusion(labels, groups=groups, seed=seed)
    prior = logit(labels.mean(0))
    features = [logit(evidence) - prior for evidence in (probabilities, *votes)]
    text = fuse(features)
    bound = floors(text, labels)
    alone = error_rates(text, labels, bound)
    # What each label is by the text alone stands for the others: the given ones are noisy themselves.
    odds = odds_of(text)
    spurious, missing = alone.spurious.astype(np.float32), np.float32(alone.missing)
    truth = np.where(labels == 1, 1 - np.minimum(spurious / odds, 1), np.minimum(missing * odds, 1))
    others = truth - probabilities
    paired = fuse(features, others)
    paired_bound = floors(paired, labels)
    paired_rates = error_rates(paired, labels, paired_bound)
    counted = fuse([*features, *row_context(truth, probabilities)], others)
    counted_rates = error_rates(counted, labels)
    if counted_rates.missing >= HOLDS * alone.missing:
        best, rates, context = counted, counted_rates, "counts"
    else:
        best, rates, context = paired, paired_rates, "pairs"
    by_pairs, by_best = (max(1 - found.missing / alone.missing, 0.0) for found in (paired_rates, rates))
    # In small corpora, where they differ from rates, bounds must say so as well.
    by_pairs = min(by_pairs, max(1 - paired_bound.missing / bound.missing, 0.0))
    swapped = max(min(by_best, 2 * by_pairs) ** 2, replaced_share(text, labels, alone.missing))
    kept = context == "pairs" and rates.missing >= HOLDS * alone.missing and _rows_keep_a_label(labels, rates)
    return NoiseModel(text, best, rates, alone.missing, swapped * alone.missing, kept, context)


def told(model: NoiseModel, labels: np.ndarray, noise: Noise) -> NoiseModel:
    """The model under what the user knows about the errors."""
    rates = model.rates
    if noise == "missing":
        kept = model.context == "pairs" and _rows_keep_a_label(labels, rates)
        return replace(model, rates=replace(rates, spurious=np.zeros_like(rates.spurious)), swap_rate=0.0, kept=kept)
    if noise == "spurious":
        return replace(model, rates=replace(rates, missing=0.0, with_others=0.0), swap_rate=0.0)
    if noise == "swap":
        return replace(model, swap_rate=model.rate_by_text, kept=False)
    return model


def _rows_keep_a_label(labels: np.ndarray, rates: Floors) -> bool:
    """No row is empty, or the missing rate of rows with another label is one to be believed (below 4 of 9 labels)."""
    return bool(labels.any(1).mean() > 0.995) or rates.with_others < 0.8


def check_noise(noise: str) -> None:
    """Refuse what is no kind of noise.

    Raises:
        ValueError: with the kinds there are.
    """
    if noise not in get_args(Noise):
        raise ValueError(f"noise={noise!r}: use one of {', '.join(map(repr, get_args(Noise)))}.")
