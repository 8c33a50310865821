"""Cuts for each label where the share of positives in the pool is the labeled one (CAP)."""

from __future__ import annotations

import torch
from torch import Tensor

from textpl.components.step import Run, Step
from textpl.components.table_teacher import TableTeacher
from textpl.tasks import SingleLabel


class RateCuts:
    """Class-distribution-aware pseudo-labels (CAP, Xie et al. 2023, arXiv 2305.02795): selects and hardens.

    Label k is positive in the gamma_k n pool rows where its probability is largest, gamma_k being its share among the
    labeled rows, and negative in the others; a share of either, the surest, counts. A label that less than half a row
    is expected to carry is positive nowhere (the authors' index -1 makes it positive everywhere).

    Put it in as `select`, and its method `harden` as `sharpen`.

    Args:
        table: the teacher; its table of all pool rows is what the cuts are made of.
        positive: share of the positives that count, eta_p.
        negative: share of the negatives that count, eta_n.

    Raises:
        ValueError: for shares out of range; at the start of training for a single-label task.
    """

    def __init__(self, table: TableTeacher, positive: float = 1.0, negative: float = 1.0) -> None:
        for name, value in (("positive", positive), ("negative", negative)):
            if not 0 < value <= 1:
                raise ValueError(f"{name}={value!r}: a share of the pseudo-labels that count, must lie in (0, 1].")
        self.table, self.positive, self.negative = table, positive, negative
        self._made_at = -1

    @property
    def identity(self) -> str:
        """Its settings; a run is not resumed with others."""
        return f"RateCuts({self.positive}, {self.negative})"

    def prepare(self, run: Run) -> None:
        """Read the labels' rates off the labeled rows."""
        if isinstance(run.task, SingleLabel):
            raise ValueError(
                "Class-distribution-aware cuts (CAP) are for multi-label tasks, where each label has a cut of its own. "
                "For single-label tasks align the marginal: softmatch, adamatch."
            )
        self._rates, self._made_at = run.labeled_targets.mean(0).double(), -1

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """Weights 0 or 1 of cells."""
        _, surely, never = self._cuts(p)
        return ((p >= surely) | (p <= never)).to(p.dtype)

    def harden(self, p: Tensor, step: Step) -> Tensor:
        """Targets 0 or 1 of cells."""
        return (p >= self._cuts(p)[0]).to(p.dtype)

    def _cuts(self, p: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self._made_at != int(self.table.made_at):
            self._made_at = int(self.table.made_at)
            rows = self.table.known & self.table.p.isfinite().all(1)  # the callback tells of the others
            self._found = rate_cuts(self.table.p[rows], self._rates, self.positive, self.negative)
        positive, surely, never = (cut.to(p) for cut in self._found)
        return positive, surely, never


def rate_cuts(p: Tensor, rates: Tensor, positive: float, negative: float) -> tuple[Tensor, Tensor, Tensor]:
    """Find the cuts.

    Args:
        p: of all pool rows, (rows, labels).
        rates: share of rows that carry each label, (labels,).
        positive: share of the positives that count.
        negative: share of the negatives that count.

    Returns:
        Three (labels,): from which p on a cell is positive, from which on it counts as such, up to which it counts as
        negative. Infinite where none is.
    """
    rows = len(p)
    ascending = p.sort(0).values
    end = torch.full_like(ascending[:1], torch.inf)
    descending = torch.cat([end, ascending.flip(0)])  # at i: the i-th largest
    ascending = torch.cat([-end, ascending])
    positives = (rates * rows).round()

    def at(ordered: Tensor, ranks: Tensor) -> Tensor:
        return ordered.gather(0, ranks.floor().long()[None])[0]

    counted = positives * positive + 1e-6  # 0.29 * 100 is a little less than 29
    return (
        at(descending, positives),
        at(descending, counted),
        at(ascending, (rows - positives) * negative + 1e-6),
    )
