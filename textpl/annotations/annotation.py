"""What one annotator said about every row, as an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Array = np.ndarray
# classes: one class per row; cells: yes or no per label; probabilities: a number per label.
Kind = Literal["classes", "cells", "probabilities"]


@dataclass(frozen=True)
class Annotation:
    """Answers of one annotator: a model, a rule, another tool, a person who is not to be trusted blindly.

    Attributes:
        name: of the annotator.
        kind: "classes", "cells" or "probabilities".
        values: "classes" int64 (rows,), -1 where there is no answer; "cells" int8 (rows, labels), -1 likewise;
            "probabilities" float32 (rows, labels), NaN likewise.
        num_labels: number of labels.
        outside: number of rows whose answer is none of the labels; they count as no answer.
        examples: some answers that are none of the labels.
    """

    name: str
    kind: Kind
    values: Array
    num_labels: int
    outside: int = 0
    examples: tuple[str, ...] = ()

    @property
    def answered(self) -> Array:
        """Rows with an answer, bool (rows,)."""
        if self.kind == "classes":
            return self.values >= 0
        there = self.values >= 0 if self.kind == "cells" else ~np.isnan(self.values)
        return np.asarray(there.any(1))

    def take(self, rows: Array) -> Annotation:
        """The same annotator on some of the rows, by positions or a mask."""
        return replace(self, values=self.values[rows])

    def __len__(self) -> int:
        return len(self.values)

    def told(self) -> str:
        """Say how many answers there are and how many could not be used."""
        line = f"{self.name}: {int(self.answered.sum()):,} answers in {len(self):,} rows"
        if self.outside:
            shown = ", ".join(repr(text) for text in self.examples)
            line += f"; {self.outside:,} are none of the labels and not used ({shown})"
        return line


def joined(first: Sequence[Annotation], second: Sequence[Annotation]) -> list[Annotation]:
    """Put the rows of two datasets behind each other, annotator by annotator.

    Args:
        first: annotators of the first dataset.
        second: the same annotators, in the same order, of the second.

    Raises:
        ValueError: if the annotators differ, or one answers in another way in the second dataset.
    """
    names, others = [a.name for a in first], [a.name for a in second]
    if names != others:
        raise ValueError(f"annotations: {names} in the first dataset and {others} in the second: give the same ones.")
    both = []
    for a, b in zip(first, second, strict=True):
        if a.kind != b.kind:
            raise ValueError(
                f"annotations: {a.name!r} holds {a.kind} in the first dataset and {b.kind} in the second: write them "
                "the same way."
            )
        values, examples = np.concatenate([a.values, b.values]), (*a.examples, *b.examples)[:3]
        both.append(replace(a, values=values, outside=a.outside + b.outside, examples=examples))
    return both


def as_cells(values: ArrayLike, rows: int, num_labels: int, name: str) -> Annotation:
    """Make an annotator of probabilities.

    Args:
        values: float (rows, labels), NaN in rows without an answer.
        rows: how many there are.
        num_labels: how many labels there are.
        name: of the annotator.

    Raises:
        ValueError: for another shape, and numbers outside [0, 1]; the row is named.
    """
    p = np.asarray(values, dtype=np.float32)
    if p.shape != (rows, num_labels):
        raise ValueError(
            f"annotations: {name!r} has shape {p.shape} for {rows} rows and {num_labels} labels: give one number per "
            "label in every row."
        )
    bad = np.flatnonzero(((p < -1e-6) | (p > 1 + 1e-6)).any(1))
    if len(bad):
        value = p[bad[0]][np.abs(np.nan_to_num(p[bad[0]], nan=0.5) - 0.5).argmax()]
        raise ValueError(
            f"annotations: {name!r}, row {bad[0]} (counted from 0): {value:.4g} is no probability. Logits need a "
            "softmax (several labels per row: a sigmoid) first."
        )
    return Annotation(name, "probabilities", np.clip(p, 0, 1), num_labels)
