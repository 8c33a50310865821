"""What the parts of a `SemiSupervised` have in common: when they are called, and how their state is saved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from textpl.components.step import Run


@runtime_checkable
class Stateful(Protocol):
    """A part that carries tensors from step to step; they are saved with every checkpoint."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors to save, by name."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> Any:
        """Take back what `state_dict` gave."""
        ...


class Slot(nn.Module):
    """A part with state: buffers and submodules are saved with every checkpoint and read back when a run is resumed.

    Its methods are called in this order; each passes on to the slots inside. Sizes are set in `prepare`, so that what
    is read back fits. Parts without state need no base class: functions, or frozen dataclasses, with `prepare` if they
    have something to check.

    A module that is kept as an attribute is saved with the slot: never keep `run.model` on one.
    """

    averages = False  # whether `finish` puts averaged weights into the model
    prepared_tokens = 0  # tokens read outside of the steps

    def inner(self) -> Iterable[Any]:
        """Return the parts that this one passes its calls on to."""
        return [child for child in self.children() if isinstance(child, Slot)]

    def prepare(self, run: Run) -> None:
        """Get ready for `run` and forget the last one."""
        call_each(self.inner(), "prepare", run)

    def before_optimizer_step(self, args: Any, learning_rate: float, scale: float) -> None:
        """Act when all gradients of a step are there; `Extras` steps its modules here.

        Args:
            args: the Trainer's arguments.
            learning_rate: of this step.
            scale: what the losses on unlabeled rows were multiplied by (fp16), else 1.
        """
        call_each(self.inner(), "before_optimizer_step", args, learning_rate, scale)

    def after_step(self, run: Run) -> None:
        """Follow the model's new weights."""
        call_each(self.inner(), "after_step", run)

    def finish(self, run: Run, folder: Path | None) -> None:
        """Act at the end of training.

        Args:
            run: the run that ends.
            folder: the output folder; None in processes that save nothing.
        """
        call_each(self.inner(), "finish", run, folder)

    @property
    def identity(self) -> str:
        """What a checkpoint of this part belongs to: a run is not resumed with another."""
        return type(self).__name__


def call_each(parts: Iterable[Any], name: str, *arguments: Any) -> None:
    """Call the method `name` of those parts that have it."""
    for part in parts:
        if hasattr(part, name):
            getattr(part, name)(*arguments)


def check_saved(owner: Slot, *parts: Any) -> None:
    """Refuse to hold parts whose state would not be saved.

    Raises:
        TypeError: for one that has a `state_dict` and is no module.
    """
    for part in parts:
        if hasattr(part, "state_dict") and not isinstance(part, nn.Module):
            raise TypeError(
                f"{type(owner).__name__} cannot save the state of {type(part).__name__}: make it a "
                "textpl.components.slot.Slot."
            )


def identity_of(part: Any) -> str:
    """What a checkpoint of any part belongs to: its `identity`, or the name of its class."""
    return str(getattr(part, "identity", type(part).__name__))
