"""Answers of several people about cells: one decision per cell, what is in dispute, and who is reliable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from textpl.annotations.dawid_skene import Answers
from textpl.cleaning.annotators import PEOPLE, SHARED, SURE, Combined, combine
from textpl.label_issues.decisions import Decision, cell_of


class Dispute(NamedTuple):
    """A cell that people answered differently, and that is left open.

    Attributes:
        row: of the dataset.
        label: its name; None where a row has one label.
        answers: (person, answer) each: "yes" and "no", or names of labels. Somebody with two answers stands twice.
        lesson: whether the cell was drawn to learn from.
    """

    row: int
    label: str | None
    answers: tuple[tuple[str, str], ...]
    lesson: bool

    def told(self) -> str:
        """Who said what, in words."""
        return "; ".join(f"{person or 'somebody'}: {answer}" for person, answer in self.answers)


class Annotator(NamedTuple):
    """How reliable a person is.

    Attributes:
        name: as in `Decision.annotator`.
        answers: how many cells they answered.
        shared: how many of them somebody else answered too.
        agreement: share of the shared cells in which their answer is the one taken (none is, in dispute); None without.
        accuracy: share of their answers that are right, estimate and 95 % interval; None where it cannot be known.
    """

    name: str
    answers: int
    shared: int
    agreement: float | None
    accuracy: tuple[float, float, float] | None


@dataclass(frozen=True)
class Consensus:
    """What several people decided together.

    Attributes:
        decisions: one per decided cell.
        disputes: cells with answers that disagree and decide nothing.
        settled: as `disputes`, cells in which people disagree and one answer was taken.
        annotators: the people, by name.
        alpha: Krippendorff's alpha; None where it cannot be known.
        method: how disagreements are settled: "dawid_skene" or "majority"; None where nobody answered what another did.
    """

    decisions: tuple[Decision, ...]
    disputes: tuple[Dispute, ...] = ()
    settled: tuple[Dispute, ...] = ()
    annotators: tuple[Annotator, ...] = ()
    alpha: float | None = None
    method: str | None = None

    def lines(self, noun: str) -> list[str]:
        """What people should know, in words; nothing where nobody answered what another did."""
        told = []
        if self.method is not None:
            alpha = "not known, all gave one answer" if self.alpha is None else f"{self.alpha:.2f}"
            told.append(f"  {len(self.annotators)} people; agreement (Krippendorff's alpha, 1 is perfect): {alpha}")
            told += [f"    {self._reliability(person)}" for person in self.annotators]
        if self.method == "majority":
            told.append(
                "  disagreements by majority: to tell who is reliable takes "
                f"{PEOPLE} people with {SHARED} answers each about {noun} that others answered too"
            )
        elif self.method is not None:
            told.append(f"  disagreements by majority where that is right with {SURE:.0%} by Dawid and Skene")
        if self.settled:
            told.append(f"  {len(self.settled):,} disagreements were settled; cleaning.json lists them")
        if self.disputes:
            told.append(
                f"  {len(self.disputes):,} {noun} are in dispute and not decided: they are first in the next queue"
            )
        return told

    def to_dict(self) -> dict[str, Any]:
        """All of it but the decisions, as plain data."""
        return {
            "decided": len(self.decisions),
            "method": self.method,
            "krippendorff_alpha": None if self.alpha is None else round(self.alpha, 4),
            "annotators": [
                person._asdict() | {"accuracy": person.accuracy and [round(value, 4) for value in person.accuracy]}
                for person in self.annotators
            ],
            "settled": [cell._asdict() for cell in self.settled],
            "disputes": [cell._asdict() for cell in self.disputes],
        }

    def _reliability(self, person: Annotator) -> str:
        told = f"{person.name or 'somebody'}: {person.answers:,} answers, {person.shared:,} of them shared"
        if person.agreement is not None:
            told += f"; the one taken in {person.agreement:.0%} of these"
        if person.accuracy is not None:
            value, low, high = person.accuracy
            told += f"; right in about {value:.0%} ({low:.0%} to {high:.0%})"
        return told


def agree(decisions: Iterable[Decision], *, multi: bool) -> Consensus:
    """Make one decision per cell of the answers of several people: see `textpl.cleaning.annotators.combine`.

    Somebody who gave two answers about one cell contradicts themself: that cell is in dispute, whatever others say.

    Args:
        decisions: at most one per person and cell, but for contradictions.
        multi: whether rows may carry several labels.
    """
    cells: dict[tuple[int, str], list[Decision]] = {}
    decisions = list(decisions)
    if not decisions:
        return Consensus(())
    for decision in decisions:
        cells.setdefault(cell_of(decision, multi), []).append(decision)
    torn = {cell for cell, same in cells.items() if len({d.annotator for d in same}) < len(same)}
    clear = [cell for cell in cells if cell not in torn]
    names = sorted({d.annotator for same in cells.values() for d in same})
    kinds = sorted({_answer(d, multi) for same in cells.values() for d in same})
    flat = [(i, d) for i, cell in enumerate(clear) for d in cells[cell]]
    person = np.array([names.index(d.annotator) for _, d in flat], np.int64)
    answer = np.array([kinds.index(_answer(d, multi)) for _, d in flat], np.int64)
    answers = Answers(np.array([i for i, _ in flat], np.int64), person, answer, len(clear), len(names), len(kinds))
    found = combine(answers)
    decided, settled = [], []
    disputes = [_dispute(cells[cell], multi) for cell in cells if cell in torn]
    for i, cell in enumerate(clear):
        if found.answer[i] < 0:
            disputes.append(_dispute(cells[cell], multi))
            continue
        same = cells[cell]
        taken = next(d for d in same if _answer(d, multi) == kinds[found.answer[i]])
        decided.append(taken._replace(lesson=any(d.lesson for d in same), annotator="", asked=same[0].asked))
        if found.settled[i]:
            settled.append(_dispute(same, multi))
    shared = answers.shared()
    return Consensus(
        tuple(decided),
        tuple(sorted(disputes, key=lambda cell: cell[:2])) if multi else tuple(sorted(disputes, key=lambda c: c.row)),
        tuple(settled),
        _annotators(names, answers, shared, found),
        None if np.isnan(found.alpha) else found.alpha,
        found.method if shared.any() else None,
    )


def _annotators(names: Sequence[str], answers: Answers, shared: np.ndarray, found: Combined) -> tuple[Annotator, ...]:
    number = np.bincount(answers.person, minlength=len(names)).tolist()
    together = np.bincount(answers.person[shared], minlength=len(names)).tolist()
    agreement = [None if np.isnan(value) else float(value) for value in found.agreement]
    accuracy = [None if np.isnan(row).any() else tuple(row.tolist()) for row in found.accuracy]
    return tuple(map(Annotator, names, number, together, agreement, accuracy))


def _answer(decision: Decision, multi: bool) -> str:
    return ("yes" if decision.right else "no") if multi else decision.label


def _dispute(same: Sequence[Decision], multi: bool) -> Dispute:
    answers = tuple((d.annotator, _answer(d, multi)) for d in same)
    return Dispute(same[0].row, same[0].label if multi else None, answers, any(d.lesson for d in same))
