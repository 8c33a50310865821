"""Watches the labelled batches through a forward hook: AdaMatch needs the model's view of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from textpl.components.running import RunningMean
from textpl.components.step import LabeledStatistics, Run

# Memory of the labelled statistics as a share of the run (methods: 0.02 to 0.05).
HORIZON = 0.03


class LabeledHook:
    """Records the detached logits of every labelled training batch.

    Passes in eval mode and those inside `paused()` (the callback's own) are not labelled batches. `flush()` at the end
    of an optimizer step moves the running statistics, so that what a checkpoint saves is complete.

    Args:
        run: the run; its model gets the hook.
    """

    def __init__(self, run: Run) -> None:
        decay = run.decay(HORIZON)
        self._run = run
        self._paused = False
        self._pending: list[tuple[Tensor, Tensor]] = []
        self.tokens = 0
        self.statistics = LabeledStatistics(RunningMean(decay), RunningMean(decay))
        self._handle = run.model.register_forward_hook(self._record, with_kwargs=True)

    def remove(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Passes in this context are not recorded."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def flush(self) -> None:
        """Average what the step's micro-batches showed, over all processes, into the running statistics."""
        if not self._pending:
            return
        marginal, confidence = (torch.stack(values).mean(0) for values in zip(*self._pending, strict=True))
        self._pending.clear()
        self.statistics.marginal.update(self._run.reduce(marginal))
        self.statistics.confidence.update(self._run.reduce(confidence))

    def _record(self, module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        if self._paused or not module.training:
            return
        p = self._run.task.probabilities(output.logits.detach())
        self._pending.append((p.mean(0), self._run.task.confidence(p).mean(0)))
        self.tokens += kwargs["input_ids"].numel() if "input_ids" in kwargs else 0

    def state_dict(self) -> dict[str, Tensor]:
        """Both running statistics."""
        parts = {"marginal": self.statistics.marginal, "confidence": self.statistics.confidence}
        return {f"{name}.{k}": v for name, mean in parts.items() for k, v in mean.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take both back."""
        for name, mean in (("marginal", self.statistics.marginal), ("confidence", self.statistics.confidence)):
            prefix = f"{name}."
            mean.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
