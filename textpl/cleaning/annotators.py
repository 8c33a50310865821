"""What several people said about the same things: how far they agree, who is reliable, and what follows. Arrays only.

Own code, because crowd-kit 1.4 (Apache-2.0, maintained) has neither a prior for few answers nor intervals and needs
NLTK, and krippendorff 0.9 is under the GPL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from textpl.annotations.dawid_skene import Answers, dawid_skene
from textpl.cleaning.transition import wilson

Array = np.ndarray

# People of whom each has so many answers about things that others answered too: fewer cannot be told apart.
PEOPLE, SHARED = 3, 30
# An answer that some disagree with is at least so probable.
SURE = 0.9
RESAMPLES = 200


@dataclass(frozen=True)
class Combined:
    """What follows from the answers of several people.

    Attributes:
        answer: int64 (things,), -1 where they disagree and it cannot be told who is right.
        method: "dawid_skene", or "majority", where too few answers are shared to tell people apart.
        settled: bool (things,): people disagree, and there is an answer.
        alpha: Krippendorff's alpha; NaN where no answers are shared or all of them are the same.
        agreement: float64 (people,): share of the shared things in which the person's answer is the one taken (none is,
            in dispute); NaN without any.
        accuracy: float64 (people, 3): estimate, low and high of a 95 % interval; NaN by majority.
    """

    answer: Array
    method: Literal["dawid_skene", "majority"]
    settled: Array
    alpha: float
    agreement: Array
    accuracy: Array


def combine(answers: Answers, seed: int = 0) -> Combined:
    """One answer for each thing, or none.

    Where all who answered agree, theirs. Where they disagree, the answer that more than half of them gave; a tie is no
    answer. With `PEOPLE` people or more of whom each has `SHARED` shared answers, it must also be right with a
    probability of `SURE` by Dawid and Skene: two careless people do not outvote a careful one. The model alone decides
    no tie and overrules nobody (benchmarks/annotators.py measures the rule).

    Args:
        answers: of people about things.
        seed: of the bootstrap of the intervals.
    """
    votes = answers.votes()
    total, best = votes.sum(1), votes.argmax(1)
    agreed, sure = votes.max(1) == total, votes.max(1) > total / 2
    shared = answers.shared()
    overlap = answers.of(shared)
    number = np.bincount(overlap.person, minlength=answers.people)
    accuracy = np.full((answers.people, 3), np.nan)
    method: Literal["dawid_skene", "majority"] = "majority"
    if (number >= SHARED).sum() >= PEOPLE:
        method = "dawid_skene"
        probable, confusion, shares = dawid_skene(overlap)
        things = np.unique(answers.thing[shared])
        sure[things] &= probable[np.arange(len(things)), best[things]] >= SURE
        accuracy[number > 0] = _accuracies(overlap, confusion, shares, seed)[number > 0]
    answer = np.where(agreed | sure, best, -1)
    right = np.bincount(overlap.person, answers.answer[shared] == answer[answers.thing[shared]], answers.people)
    agreement = np.divide(right, number, out=np.full(answers.people, np.nan), where=number > 0)
    return Combined(answer, method, ~agreed & (answer >= 0), krippendorff_alpha(answers), agreement, accuracy)


def krippendorff_alpha(answers: Answers) -> float:
    """Agreement beyond chance for any number of people and missing answers: 1 is perfect, 0 is what chance gives.

    Krippendorff 2011, "Computing Krippendorff's alpha-reliability", nominal data. NaN where no answers are shared or
    all of them are the same, as then chance would agree as well.
    """
    votes = answers.votes()
    votes = votes[votes.sum(1) > 1]
    each, size = votes.sum(0), votes.sum()
    if size == 0 or (each > 0).sum() < 2:
        return float("nan")
    total = votes.sum(1)
    observed = ((total**2 - (votes**2).sum(1)) / (total - 1)).sum() / size
    expected = (size**2 - (each**2).sum()) / (size * (size - 1))
    return float(1 - observed / expected)


def _accuracies(answers: Answers, confusion: Array, shares: Array, seed: int) -> Array:
    """Share of right answers of each person, with 95 % intervals by resampling things, (people, 3)."""

    def accuracy(confusion: Array, shares: Array) -> Array:
        return np.einsum("pkk,k->p", confusion, shares)

    rng = np.random.default_rng(seed)
    order = np.argsort(answers.thing, kind="stable")
    starts = np.searchsorted(answers.thing[order], np.arange(answers.things + 1))
    drawn = []
    for _ in range(RESAMPLES):
        things = rng.integers(0, answers.things, answers.things)
        sizes = np.diff(starts)[things]
        places = np.repeat(starts[things] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
        which = order[places + np.arange(len(places))]
        again = Answers(
            np.repeat(np.arange(answers.things), sizes),
            answers.person[which],
            answers.answer[which],
            answers.things,
            answers.people,
            answers.classes,
        )
        drawn.append(accuracy(*dawid_skene(again)[1:]))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    found = accuracy(confusion, shares)
    # Where all agree every resample does too; that is no certainty.
    several = np.bincount(answers.thing, minlength=answers.things)[answers.thing] > 1
    number = np.bincount(answers.person[several], minlength=answers.people)
    lowest, highest = wilson(found * number, number)
    return np.stack([found, np.minimum(low, lowest), np.maximum(high, highest)], axis=1)
