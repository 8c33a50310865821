"""What several people said about the same things: how far they agree, who is reliable, and what follows. Arrays only.

Own code, because crowd-kit 1.4 (Apache-2.0, maintained) has neither a prior for few answers nor intervals and needs
NLTK, and krippendorff 0.9 is under the GPL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from textpl.cleaning.transition import wilson

Array = np.ndarray

# People of whom each has so many answers about things that others answered too: fewer cannot be told apart.
PEOPLE, SHARED = 3, 30
# An answer that some disagree with is at least so probable.
SURE = 0.9
# Answers' worth of prior: that a person is right in PRIOR of all cases, and of each class as often as of all.
WEIGHT, PRIOR = 4.0, 0.8
ROUNDS, TOLERANCE = 100, 1e-4
RESAMPLES = 200


@dataclass(frozen=True)
class Answers:
    """Answers of people about things, one each at most.

    Attributes:
        thing: int64 (n,), 0 to things - 1.
        person: int64 (n,), 0 to people - 1.
        answer: int64 (n,), 0 to classes - 1.
        things: how many there are; every one has an answer.
        people: how many there are.
        classes: how many answers are possible.
    """

    thing: Array
    person: Array
    answer: Array
    things: int
    people: int
    classes: int

    def votes(self) -> Array:
        """How many people gave each answer about each thing, float64 (things, classes)."""
        return _counted(self.thing, self.answer, (self.things, self.classes))

    def shared(self) -> Array:
        """Answers about things that somebody else answered too, bool (n,)."""
        return np.bincount(self.thing, minlength=self.things)[self.thing] > 1

    def of(self, kept: Array) -> Answers:
        """Some of the answers, by a mask or by positions; things are numbered anew, people are not."""
        names, thing = np.unique(self.thing[kept], return_inverse=True)
        return Answers(thing, self.person[kept], self.answer[kept], len(names), self.people, self.classes)


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


def dawid_skene(answers: Answers, weight: float = WEIGHT) -> tuple[Array, Array, Array]:
    """Probability of each answer, by how often each person takes one for another.

    Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM algorithm", equations 2.3
    to 2.5, begun with the shares of the votes. With few answers a table of errors per person is guesswork, so each row
    of it is drawn to the person's share of right answers over all classes, and that share to `PRIOR`, by `weight`
    answers each; weight 0 is maximum likelihood.

    Args:
        answers: of people about things.
        weight: of the prior, in answers.

    Returns:
        float64 (things, classes), rows sum to 1; (people, classes, classes), [person, right, given]; (classes,), the
        shares of the right answers.
    """
    a = answers
    cell = a.person * a.classes + a.answer
    shape = (a.people, a.classes, a.classes)  # person, given, right
    probable = a.votes() / np.maximum(a.votes().sum(1, keepdims=True), 1)
    same = np.eye(a.classes)
    given = np.bincount(a.person, minlength=a.people)
    for _ in range(ROUNDS):
        counts = _sums(cell, probable[a.thing], a.people * a.classes).reshape(shape)
        right = (np.einsum("pkk->p", counts) + weight * PRIOR) / np.maximum(given + weight, 1e-300)
        wrong = (1 - right) / max(a.classes - 1, 1)
        counts += weight * (right[:, None, None] * same + wrong[:, None, None] * (1 - same))
        confusion = counts / np.maximum(counts.sum(1, keepdims=True), 1e-300)
        shares = probable.mean(0)
        with np.errstate(divide="ignore"):
            logs = np.log(shares) + _sums(a.thing, np.log(confusion).reshape(-1, a.classes)[cell], a.things)
        before, probable = probable, np.exp(logs - logs.max(1, keepdims=True))
        probable /= probable.sum(1, keepdims=True)
        if np.abs(probable - before).max(initial=0) < TOLERANCE:
            break
    return probable, confusion.transpose(0, 2, 1), shares


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


def _counted(rows: Array, columns: Array, shape: tuple[int, int]) -> Array:
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def _sums(groups: Array, values: Array, size: int) -> Array:
    """Sums of rows of `values` by group, (size, columns)."""
    return np.stack([np.bincount(groups, column, size) for column in values.T], axis=1)
