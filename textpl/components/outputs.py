"""What a model says of some rows: logits, and the features that its output layer reads them off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class Outputs:
    """What one pass gives.

    Attributes:
        logits: (rows, labels).
        output_inputs: what entered the output layer, (rows, features); None where it was not one vector per row.
    """

    logits: Tensor
    output_inputs: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """Representation of each row, (rows, features): the input of the output layer.

        Raises:
            ValueError: for a model without a linear output layer that reads one vector per row.
        """
        if self.output_inputs is None:
            raise ValueError(
                "This method compares the representations of texts, but no linear output layer that reads one vector "
                "per text was found in the model (models such as GPT-2 score every token): take a BERT-like encoder."
            )
        return self.output_inputs


def output_layer(model: nn.Module, num_labels: int) -> nn.Linear | None:
    """Return the last linear layer with one output per label, or None."""
    linear = [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == num_labels]
    return linear[-1] if linear else None


@contextmanager
def inputs_of(
    layer: nn.Module | None, keep: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> Iterator[list[Tensor]]:
    """Collect what enters a layer in each pass inside the context, as `keep` leaves it."""
    seen: list[Tensor] = []

    def collect(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(keep(inputs[0]))

    hook = None if layer is None else layer.register_forward_pre_hook(collect)
    try:
        yield seen
    finally:
        if hook is not None:
            hook.remove()
