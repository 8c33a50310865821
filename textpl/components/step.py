"""What a slot may know: the run it is part of, and the step it is asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from textpl.components.outputs import Outputs
from textpl.components.running import RunningMean
from textpl.tasks import TINY, Task

if TYPE_CHECKING:
    from textpl.components.labeled_draw import LabeledRows

# Memory of running statistics and averaged weights, as a share of the run (0.02 to 0.05 in short fine-tunes).
HORIZON = 0.03


class LabeledStatistics(nn.Module):
    """Running statistics of the model's own predictions on the labeled batches (one step late).

    Args:
        marginal: mean probability of each label, shape (labels,).
        confidence: mean confidence; shape () for single-label, (labels,) for multi-label.
    """

    def __init__(self, marginal: RunningMean, confidence: RunningMean) -> None:
        super().__init__()
        self.marginal, self.confidence = marginal, confidence


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
        gather: the rows of a tensor from all processes, (rows, ...) -> (all rows, ...), the same order everywhere.
        precision: dtype of autocast, None for full precision.
        world: number of processes.
        rank: this process.
        labeled: the Trainer's labelled dataset.
        label_column: its label column.
        labeled_rows_per_step: labeled rows that this process reads per optimizer step.
        labeled_targets: of all labeled rows, float32 (rows, labels).
        draw_labeled: `draw_labeled(count, index)` gives further labeled rows, see `Step.labeled_rows`.
    """

    task: Task
    model: nn.Module
    total_steps: int
    pool: Any
    labeled_prior: Tensor
    label_names: list[str]
    reduce: Callable[[Tensor], Tensor] = field(default=lambda tensor: tensor)
    gather: Callable[[Tensor], Tensor] = field(default=lambda tensor: tensor)
    precision: torch.dtype | None = None
    world: int = 1
    rank: int = 0
    labeled: Any = None
    label_column: str = "label"
    unseen: Tensor | None = None
    labeled_rows_per_step: int = 1
    labeled_targets: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    draw_labeled: Callable[[int, int], LabeledRows] | None = None

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
        views: model inputs of those rows, each of shape (rows, tokens): of the texts themselves, then of what each
            view makes of them.
        labeled: statistics of the labeled batches seen so far.
        passes: runs the model, `passes(inputs, grad, train) -> Outputs`.
        valid: rows on which the teacher does not abstain, bool (rows,); None for all.
    """

    run: Run
    index: int
    rows: Tensor
    views: tuple[dict[str, Tensor], ...]
    labeled: LabeledStatistics
    passes: Callable[[dict[str, Tensor], bool, bool], Outputs]
    valid: Tensor | None = None

    def forward(self, inputs: dict[str, Tensor], *, grad: bool = False, train: bool = False) -> Outputs:
        """Run the model on any rows.

        Args:
            inputs: of any rows, each (rows, tokens); with `inputs_embeds` in place of `input_ids` too.
            grad: whether the outputs can be differentiated; all rows then go through at once, else in chunks.
            train: whether dropout is on.
        """
        return self.passes(inputs, grad, train)

    def labeled_rows(self, count: int | None = None) -> LabeledRows:
        """Draw labeled rows beside those that the Trainer reads: shuffled epochs, a function of seed and step alone.

        Args:
            count: rows for this process; default: as many as it reads per optimizer step anyway.
        """
        if self.run.draw_labeled is None:
            raise ValueError("This run has no labeled rows to draw from.")
        return self.run.draw_labeled(self.run.labeled_rows_per_step if count is None else count, self.index)

    def gather(self, x: Tensor) -> Tensor:
        """Join a per-row tensor over all processes, so that tables of the pool's rows agree everywhere."""
        return self.run.gather(x)

    def seed(self, *key: int) -> int:
        """Return a seed for random numbers, a function of the run's seed, the step and `key` alone."""
        return int(np.random.SeedSequence([self.run.pool.seed, self.index, *key, len(key)]).generate_state(1)[0])

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
