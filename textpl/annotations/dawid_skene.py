"""How often each annotator takes one answer for another, when nobody knows the right ones: Dawid and Skene 1979."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

Array = np.ndarray

# Answers' worth of prior: that a person is right in PRIOR of all cases, and of each class as often as of all.
WEIGHT, PRIOR = 4.0, 0.8
# Answers by which a row of one annotator may be drawn to what it does over all classes.
WEIGHTS = (4.0, 12.0, 40.0, 120.0, 400.0)
ROUNDS, TOLERANCE = 100, 1e-4


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
        return counted(self.thing, self.answer, (self.things, self.classes))

    def shared(self) -> Array:
        """Answers about things that somebody else answered too, bool (n,)."""
        return np.bincount(self.thing, minlength=self.things)[self.thing] > 1

    def of(self, kept: Array) -> Answers:
        """Some of the answers, by a mask or by positions; things are numbered anew, people are not."""
        names, thing = np.unique(self.thing[kept], return_inverse=True)
        return Answers(thing, self.person[kept], self.answer[kept], len(names), self.people, self.classes)


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
    given = np.bincount(a.person, minlength=a.people)
    for _ in range(ROUNDS):
        counts = sums(cell, probable[a.thing], a.people * a.classes).reshape(shape).transpose(0, 2, 1)
        confusion = smoothed(counts, given, weight)
        shares = probable.mean(0)
        with np.errstate(divide="ignore"):
            by_cell = np.log(confusion).transpose(0, 2, 1).reshape(-1, a.classes)
            logs = np.log(shares) + sums(a.thing, by_cell[cell], a.things)
        before, probable = probable, normalized(logs)
        if np.abs(probable - before).max(initial=0) < TOLERANCE:
            break
    return probable, confusion, shares


def smoothed(counts: Array, given: Array, weight: float = WEIGHT) -> Array:
    """Rates P(given | right) from (expected) counts, each row drawn to what the person does over all classes.

    Args:
        counts: float64 (people, classes, classes), [person, right, given].
        given: float64 (people,), number of answers.
        weight: of the prior, in answers.

    Returns:
        float64 (people, classes, classes), rows sum to 1.
    """
    same, right = np.eye(counts.shape[-1]), _right(counts, given, weight)
    wrong = (1 - right) / max(len(same) - 1, 1)
    drawn = counts + weight * (right[:, None, None] * same + wrong[:, None, None] * (1 - same))
    return drawn / np.maximum(drawn.sum(2, keepdims=True), 1e-300)


def smoothed_by_habit(counts: Array) -> Array:
    """Rates P(given | right) of one annotator, who may have the habit of one answer, and whose errors may be of a kind.

    Each row is drawn to s times the right answer plus (1 - s) times the shares of all of its answers, s such that as
    many are right as there are (Hovy et al. 2013, "Learning whom to trust with MACE", equation 1): who always gives one
    answer is not taken to know that class. By how many answers is what makes the counts likeliest, of `WEIGHTS`
    (Dirichlet-multinomial; Minka 2000, "Estimating a Dirichlet distribution", equation 53).

    Args:
        counts: float64 (classes, classes), expected, [right, given].

    Returns:
        float64 (classes, classes), rows sum to 1.
    """
    total = counts.sum()
    guesses = counts.sum(0) / total
    chance = float(counts.sum(1) @ guesses / total)
    right = float(_right(counts[None], np.array([total]), WEIGHT)[0])
    knows = float(np.clip((right - chance) / max(1 - chance, 1e-9), 0, 1))
    prior = np.maximum(knows * np.eye(len(counts)) + (1 - knows) * guesses, 1e-9)
    prior /= prior.sum(1, keepdims=True)
    weight = max(WEIGHTS, key=lambda weight: _evidence(counts, weight * prior))
    drawn = counts + weight * prior
    return drawn / drawn.sum(1, keepdims=True)


def _right(counts: Array, given: Array, weight: float) -> Array:
    """Share of right answers of each person, drawn to `PRIOR`."""
    return (np.einsum("pkk->p", counts) + weight * PRIOR) / np.maximum(given + weight, 1e-300)


def _evidence(counts: Array, prior: Array) -> float:
    """Log marginal likelihood of counts whose rows have Dirichlet priors, but for a constant."""
    rows = gammaln(prior.sum(1)) - gammaln((counts + prior).sum(1))
    return float(rows.sum() + (gammaln(counts + prior) - gammaln(prior)).sum())


def normalized(logs: Array) -> Array:
    """Probabilities (rows, classes) of unnormalized log-probabilities."""
    p = np.exp(logs - logs.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return p


def counted(rows: Array, columns: Array, shape: tuple[int, int]) -> Array:
    """How often each pair occurs, float64 of the shape."""
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def sums(groups: Array, values: Array, size: int) -> Array:
    """Sums of rows of `values` by group, (size, columns)."""
    return np.stack([np.bincount(groups, column, size) for column in values.T], axis=1)
