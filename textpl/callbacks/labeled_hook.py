"""Watches the labelled batches through a forward hook: AdaMatch needs the model's view of them."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from textpl.components.running import RunningMean
from textpl.components.step import LabeledStatistics, Run

# The hook of each hooked model, by the model's id (a hook keeps its model alive, so no id is used twice).
_installed: weakref.WeakValueDictionary[int, LabeledHook] = weakref.WeakValueDictionary()


class LabeledHook:
    """Records the detached logits of every labelled training batch.

    Passes in eval mode and those inside `paused()` (the callback's own) are not labelled batches. `flush()` at the end
    of an optimizer step moves the running statistics, so that what a checkpoint saves is complete.

    The model does not keep this object alive. No event tells that a training was interrupted; the hook then goes with
    the callback that owns it, or when the model is trained again.

    Args:
        run: the run; its model gets the hook.
    """

    def __init__(self, run: Run) -> None:
        decay = run.decay()
        self._run = run
        self._paused = False
        # Bounded: after an interruption the hook stays on the model for as long as its callback is kept.
        self._pending: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=10_000)
        self.owner: Any = None
        self.tokens = 0
        self.statistics = LabeledStatistics(RunningMean(decay), RunningMean(decay))
        self._handle = run.model.register_forward_hook(_recorder(self), with_kwargs=True)
        weakref.finalize(self, self._handle.remove)

    @classmethod
    def install(cls, run: Run, owner: Any) -> LabeledHook:
        """Hook `run`'s model; a hook that an interrupted training left behind is taken off.

        Args:
            run: the run.
            owner: the Trainer's state object; two callbacks of one training share it.

        Raises:
            ValueError: if another callback of the same training already watches the model.
        """
        previous = _installed.get(id(run.model))
        if previous is not None:
            if previous.owner is owner:
                raise ValueError("Two SemiSupervised callbacks in one Trainer disturb each other: use one at a time.")
            previous.remove()
        hook = cls(run)
        hook.owner = owner
        _installed[id(run.model)] = hook
        return hook

    def remove(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()
        if _installed.get(id(self._run.model)) is self:
            del _installed[id(self._run.model)]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Passes in this context are not recorded."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    def flush(self) -> None:
        """Average what the step's rows showed, over micro-batches and processes, into the running statistics.

        Every row counts the same, also in a last micro-batch that is smaller than the others.
        """
        if not self._pending:
            return
        marginal, confidence, rows = (
            self._run.reduce(torch.stack(sums).sum(0)) for sums in zip(*self._pending, strict=True)
        )
        self._pending.clear()
        self.statistics.marginal.update(marginal / rows)
        self.statistics.confidence.update(confidence / rows)

    def record(self, module: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Take in one forward pass."""
        # A deep copy of the model (an average of weights, say) carries the hook along; its passes are not the run's.
        if self._paused or not module.training or module is not self._run.model:
            return
        p = self._run.task.probabilities(output.logits.detach())
        rows = torch.full((), float(len(p)), device=p.device)
        self._pending.append((p.sum(0), self._run.task.confidence(p).sum(0), rows))
        self.tokens += kwargs["input_ids"].numel() if "input_ids" in kwargs else 0

    def state_dict(self) -> dict[str, Tensor]:
        """Both running statistics."""
        return self.statistics.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take both back."""
        self.statistics.load_state_dict(state)


def _recorder(hook: LabeledHook) -> Callable[..., None]:
    watching = weakref.ref(hook)

    def forward_hook(module: Any, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        alive = watching()
        if alive is not None:
            alive.record(module, kwargs, output)

    return forward_hook
