"""Early-learning regularisation: what the model believed of each row before it could learn its wrong label by heart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textpl.components.labeled import LabeledBatch, as_targets
from textpl.components.slot import Slot
from textpl.components.step import Run
from textpl.tasks import SingleLabel

# As in the authors' code: the logarithm below stays above log 1e-4.
CLAMP = 1e-4


class EarlyLearning(Slot):
    """Cross-entropy + lam log(1 - <t_i, p_i>), t_i a running average of the model's own predictions of row i.

    ELR (Liu et al. 2020, arXiv 2007.00151, equation 6): t_i <- beta t_i + (1 - beta) p_i, moved before the loss, from
    0. Pulling p_i towards t_i cancels the gradient of labels that the early model did not believe. Multi-label: for
    each label alone, <t, p> over given and not given.
    When to use: noise of unknown kind and several epochs; in one epoch t_i is a single prediction and the loss close
    to the plain one. Not for multi-label data with missing labels, whose positives it gives up. Costs memory of rows x
    labels numbers, and in every checkpoint.

    Args:
        lam: weight of the regulariser.
        beta: memory of the average, in [0, 1).
        start: share of the run during which the average is made but the loss is the plain one.
    """

    average: Tensor
    mass: Tensor

    def __init__(self, lam: float = 3.0, beta: float = 0.7, start: float = 0.0) -> None:
        if not (0 <= lam < float("inf") and 0 <= beta < 1 and 0 <= start < 1):
            raise ValueError(f"lam={lam!r} must be 0 or more; beta={beta!r} and start={start!r} must lie in [0, 1).")
        super().__init__()
        self.lam, self.beta, self.start = lam, beta, start
        self.register_buffer("average", torch.zeros(0))  # (rows, labels)
        self.register_buffer("mass", torch.zeros(0))  # (rows,): sum of an average's weights, 1 - beta^n after n
        self._moved: list[Tensor] = []

    def prepare(self, run: Run) -> None:
        """Forget an earlier run: no row has been predicted."""
        device, rows = next(run.model.parameters()).device, len(run.labeled)
        self.average = torch.zeros(rows, run.task.num_labels, device=device)
        self.mass = torch.zeros(rows, device=device)
        self._moved = []

    def __call__(self, logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
        """The plain loss of each row (cell) and its regulariser."""
        task, rows = batch.task, batch.rows
        loss = task.cross_entropy(logits, as_targets(labels, task))
        p = task.probabilities(logits).clamp(CLAMP, 1 - CLAMP)
        single = isinstance(task, SingleLabel)
        seen = p.detach() / p.detach().sum(-1, keepdim=True) if single else p.detach()
        self.average[rows] = (self.beta * self.average[rows] + (1 - self.beta) * seen).to(self.average)
        self.mass[rows] = self.beta * self.mass[rows] + (1 - self.beta)
        self._moved.append(rows)
        if batch.progress < self.start:
            return loss
        t = self.average[rows].to(p)
        not_given = self.mass[rows].to(p)[:, None] - t
        agreement = (t * p).sum(-1) if single else t * p + not_given * (1 - p)
        return loss + self.lam * (1 - agreement).log()

    def after_step(self, run: Run) -> None:
        """Tell the other processes what was moved: in the next epoch a row may be theirs."""
        moved, self._moved = self._moved, []
        if run.world == 1 or not moved:
            return
        rows = torch.cat(moved)
        mine = (rows.cpu(), self.average[rows].cpu(), self.mass[rows].cpu())
        everyone: list[Any] = [None] * run.world
        torch.distributed.all_gather_object(everyone, mine)
        for theirs, average, mass in everyone:
            self.average[theirs] = average.to(self.average)
            self.mass[theirs] = mass.to(self.mass)

    @property
    def identity(self) -> str:
        """Its settings; a run is not resumed with others."""
        return f"EarlyLearning(lam={self.lam}, beta={self.beta}, start={self.start})"
