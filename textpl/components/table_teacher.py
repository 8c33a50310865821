"""Targets of all pool rows, made at once, looked up row by row, and made again every so often."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from textpl.components.slot import Slot, check_saved, identity_of
from textpl.components.step import Run, Step
from textpl.components.teachers import Target, Teacher

Refresh = Literal["epoch"] | int | None
BLOCK = 512


class TableTeacher(Slot):
    """A teacher that looks its targets up; what is in the table is its subclasses' business (`make`).

    The table is kept in memory and in checkpoints, pool rows x labels numbers.

    Args:
        refresh: "epoch" makes the table again after every pass through the pool, a number after so many optimizer
            steps, None never.
        dtype: of the table.

    Raises:
        ValueError: for a refresh out of range.
    """

    p: Tensor
    known: Tensor
    made_at: Tensor

    def __init__(self, refresh: Refresh, dtype: torch.dtype) -> None:
        if not (refresh in ("epoch", None) or (isinstance(refresh, int) and refresh > 0)):
            raise ValueError(f"refresh={refresh!r}: use 'epoch', a number of optimizer steps, or None.")
        super().__init__()
        self.refresh, self.dtype = refresh, dtype
        self._allocate(0, 0)

    def prepare(self, run: Run) -> None:
        """Empty the table."""
        super().prepare(run)
        self.prepared_tokens = 0
        self._allocate(len(run.pool), run.task.num_labels)

    def make(self, step: Step) -> Target:
        """Return probabilities (pool rows, labels) and for which rows they are known (pool rows,)."""
        raise NotImplementedError

    def fill(self, target: Target, index: int) -> None:
        """Take in a table that was made at a step."""
        self.p.copy_(target[0])
        self.known.copy_(target[1])
        self.made_at.fill_(index)

    def __call__(self, step: Step) -> Target:
        """Probabilities of the drawn rows; abstains where they are not known."""
        if self._due(step):
            self.fill(self.make(step), step.index)
        rows = step.rows.cpu()
        return self.p[rows].to(step.rows.device).float(), self.known[rows].to(step.rows.device)

    def _due(self, step: Step) -> bool:
        last = int(self.made_at)
        if last < 0 or self.refresh is None:
            return last < 0
        epoch = len(step.run.pool) / max(len(step.rows) * step.run.world, 1)
        return step.index - last >= (epoch if self.refresh == "epoch" else self.refresh)

    def _allocate(self, rows: int, labels: int) -> None:
        self.register_buffer("p", torch.zeros(rows, labels, dtype=self.dtype))
        self.register_buffer("known", torch.zeros(rows, dtype=torch.bool))
        self.register_buffer("made_at", torch.tensor(-1))  # the step


class CachedTeacher(TableTeacher):
    """What another teacher says of all pool rows, asked again every so often (temporal ensembling's cadence, CAP).

    When to use: for targets that need all rows at once (a quantile, a rank), or to keep targets still for an epoch.
    Every refresh costs a pass through the pool.

    Args:
        teacher: one that looks at the texts themselves, such as `SelfTeacher()` or `EMATeacher()`.
        refresh: as for `HDLTeacher`.
    """

    def __init__(self, teacher: Teacher, refresh: Refresh = "epoch") -> None:
        super().__init__(refresh, torch.float32)
        check_saved(self, teacher)
        self.teacher = teacher

    def inner(self) -> Iterable[Any]:
        """Return the teacher, which need not be a slot."""
        return (self.teacher,)

    @property
    def averages(self) -> bool:  # type: ignore[override]
        """Whether the teacher puts averaged weights into the model at the end."""
        return getattr(self.teacher, "averages", False)

    @property
    def identity(self) -> str:
        """What a checkpoint of this teacher belongs to."""
        return f"CachedTeacher({identity_of(self.teacher)}, {self.refresh})"

    def make(self, step: Step) -> Target:
        """Ask the teacher, rows of similar length together; every process asks for its share."""
        run = step.run
        own = np.arange(run.rank, len(run.pool), run.world)
        own = own[np.argsort(run.pool.tokens.lengths[own], kind="stable")]
        device, found = step.rows.device, []
        for start in range(0, len(own), BLOCK):
            rows = own[start : start + BLOCK]
            inputs = {name: tensor.to(device) for name, tensor in run.pool.tokens.batch(rows).items()}
            part = dataclasses.replace(step, rows=torch.from_numpy(rows).to(device), views=(inputs,), valid=None)
            found.append(self.teacher(part))
        p, known = (step.gather(torch.cat(parts)) for parts in zip(*found, strict=True))
        order = step.gather(torch.from_numpy(own).to(device)).argsort()
        return p[order], known[order]
