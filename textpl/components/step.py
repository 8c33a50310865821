"""What a slot may know: the run it is part of, and the step it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from textpl.components.running import RunningMean
from textpl.tasks import TINY, Task

# Memory of running statistics and averaged weights, as a share of the run (0.02 to 0.05 in short fine-tunes).
HORIZON = 0.03


@dataclass
class LabeledStatistics:
    """Running statistics of the model's own predictions on the labelled batches (one step late).

    Attributes:
        marginal: mean probability of each label, shape (labels,).
        confidence: mean confidence; shape () for single-label, (labels,) for multi-label.
    """

    marginal: RunningMean
    confidence: RunningMean


@dataclass
class Run:
    """What stays the same during one training run.

    Attributes:
        task: single- or multi-label.
        model: the model being trained, unwrapped.
        total_steps: number of optimizer steps of the whole run.
        pool: the tokenised pool, a `textpl.pool.Pool`.
        labeled_prior: share of the labelled rows that carry each label, shape (labels,); one row per label is added.
        unseen: labels that no labelled row carries, bool (labels,); None where that is not known.
        label_names: one name per label.
        reduce: mean of a tensor over all processes; the identity in a single process.
        precision: dtype of autocast, None for full precision.
        world: number of processes.
        rank: this process.
        labeled: the Trainer's labelled dataset.
        label_column: its label column.
    """

    task: Task
    model: nn.Module
    total_steps: int
    pool: Any
    labeled_prior: Tensor
    label_names: list[str]
    reduce: Callable[[Tensor], Tensor] = field(default=lambda tensor: tensor)
    precision: torch.dtype | None = None
    world: int = 1
    rank: int = 0
    labeled: Any = None
    label_column: str = "label"
    unseen: Tensor | None = None

    def decay(self, horizon: float = HORIZON) -> float:
        """EMA decay whose memory is `horizon` times the run's length: 1 - 1 / (horizon * steps), at least 0.5.

        A fixed 0.999 would still be dominated by its initial value at the end of a fine-tune.
        """
        return max(1.0 - 1.0 / max(horizon * self.total_steps, 1.0), 0.5)


@dataclass
class Step:
    """One optimizer step.

    Attributes:
        run: the run it belongs to.
        index: number of optimizer steps done before this one.
        rows: pool rows drawn by this process, shape (rows,), int64.
        inputs: model inputs of those rows, each of shape (rows, tokens).
        predict: `predict(inputs) -> logits (rows, labels)`: the model in eval mode without gradient.
        labeled: statistics of the labelled batches seen so far.
        valid: rows on which the teacher does not abstain, bool (rows,); None for all.
    """

    run: Run
    index: int
    rows: Tensor
    inputs: dict[str, Tensor]
    predict: Callable[[dict[str, Tensor]], Tensor]
    labeled: LabeledStatistics
    valid: Tensor | None = None

    def mean(self, x: Tensor) -> tuple[Tensor, float]:
        """Mean over the valid rows of all processes, and how many there are; running statistics are made of these.

        Shapes: (rows, ...) -> (...). The mean of no rows is 0, with a count of 0.
        """
        valid = torch.ones(len(x), device=x.device) if self.valid is None else self.valid.to(x.dtype)
        count = self.run.reduce(valid.sum())
        total = self.run.reduce((x * valid.reshape(-1, *[1] * (x.ndim - 1))).sum(0))
        return total / count.clamp_min(TINY), float(count) * self.run.world

    @property
    def task(self) -> Task:
        """The run's task."""
        return self.run.task

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1)."""
        return self.index / max(self.run.total_steps, 1)


@runtime_checkable
class Stateful(Protocol):
    """A slot that carries tensors from step to step; they are saved with every checkpoint."""

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors to save, by name."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take back what `state_dict` gave."""
        ...


@runtime_checkable
class Preparable(Protocol):
    """A slot that gets ready when training begins; must forget what an earlier run left behind."""

    def prepare(self, run: Run) -> None:
        """Get ready for `run`."""
        ...
