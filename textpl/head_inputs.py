"""What the classification layer of a model sees: the texts as points of the space in which the labels are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from torch import Tensor
from transformers import Trainer

from textpl.components.outputs import inputs_of, output_layer
from textpl.embeddings.mapped import mapped_rows, principal_components


@contextmanager
def head_inputs(trainer: Trainer) -> Iterator[list[Tensor]]:
    """Collect what enters the output layer of a Trainer's model while it predicts.

    When to use: for a picture. Nothing is collected where a prediction is spread over several processes or GPUs, as the
    rows would not be in order.
    """
    spread = trainer.args.world_size > 1 or trainer.args.n_gpu > 1
    layer = None if spread else output_layer(trainer.model, trainer.model.config.num_labels)
    with inputs_of(layer, keep=lambda tensor: tensor.detach().float().cpu()) as seen:
        yield seen


def head_components(seen: Sequence[Tensor], rows: int) -> np.ndarray | None:
    """Return the principal components of the points of `mapped_rows(rows)`: float16 (mapped rows, at most 50).

    Args:
        seen: what `head_inputs` collected, (batch, features) each.
        rows: that were predicted. None is returned if not exactly these were seen, one point each (heads that score
            every token see more).
    """
    if not seen or any(part.ndim != 2 for part in seen) or sum(map(len, seen)) != rows:
        return None
    points = np.concatenate([part.numpy() for part in seen])[mapped_rows(rows)]
    return principal_components(points).astype(np.float16)
