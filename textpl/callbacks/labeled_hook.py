"""Watches the labelled batches through a forward hook: AdaMatch needs the model's view of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from textpl.components.running import RunningMean
from textpl.components.step import LabeledStatistics, Run

# Attribute of a hooked model.
ATTRIBUTE = "_textpl_labeled_hook"


class LabeledHook:
    """Records the detached logits of every labelled training batch.

    Passes in eval mode and those inside `paused()` (the callback's own) are not labelled batches. `flush()` at the end
    of an optimizer step moves the running statistics, so that what a checkpoint saves is complete.

    Args:
        run: the run; its model gets the hook.
    """

    def __init__(self, run: Run) -> None:
        decay = run.decay()
        self._run = run
        self._paused = False
        # Bounded: a training that was interrupted leaves the hook on a model that others may go on using.
        self._pending: deque[tuple[Tensor, Tensor]] = deque(maxlen=10_000)
        self.owner: Any = None
        self.tokens = 0
        self.statistics = LabeledStatistics(RunningMean(decay), RunningMean(decay))
        self._handle = run.model.register_forward_hook(self._record, with_kwargs=True)

    @classmethod
    def install(cls, run: Run, owner: Any) -> LabeledHook:
        """Hook `run`'s model; a hook that an interrupted training left behind is taken off.

        Args:
            run: the run.
            owner: the Trainer's state object; two callbacks of one training share it.

        Raises:
            ValueError: if another callback of the same training already watches the model.
        """
        previous = getattr(run.model, ATTRIBUTE, None)
        if previous is not None:
            if previous.owner is owner:
                raise ValueError("Two SemiSupervised callbacks in one Trainer disturb each other: use one at a time.")
            previous.remove()
        hook = cls(run)
        hook.owner = owner
        setattr(run.model, ATTRIBUTE, hook)
        return hook

    def remove(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()
        if getattr(self._run.model, ATTRIBUTE, None) is self:
            delattr(self._run.model, ATTRIBUTE)

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
