"""What the classification layer of a model sees: the texts as points of the space in which the labels are drawn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from transformers import Trainer

from textpl.embeddings.mapped import mapped_rows, principal_components


class HeadInputs:
    """Collects what enters the last linear layer with one output per label while a Trainer predicts.

    When to use: for a picture. Nothing is collected where a prediction is spread over several processes or GPUs, as the
    rows would not be in order, nor from heads that score every token.

    Args:
        trainer: of a sequence-classification model.
    """

    def __init__(self, trainer: Trainer) -> None:
        labels = trainer.model.config.num_labels
        linear = (m for m in trainer.model.modules() if isinstance(m, torch.nn.Linear) and m.out_features == labels)
        spread = trainer.args.world_size > 1 or trainer.args.n_gpu > 1
        self._layer = None if spread else next(reversed(list(linear)), None)
        self._parts: list[np.ndarray] = []

    def __enter__(self) -> Self:
        self._hook = None if self._layer is None else self._layer.register_forward_pre_hook(self._collect)
        return self

    def __exit__(self, *error: object) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _collect(self, layer: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        self._parts.append(inputs[0].detach().float().cpu().numpy())

    def components(self, rows: int) -> np.ndarray | None:
        """The principal components of the points of `mapped_rows(rows)`: float16 (mapped rows, at most 50).

        Args:
            rows: that were predicted. None is returned if not exactly these were seen, one point each.
        """
        if not self._parts or any(part.ndim != 2 for part in self._parts) or sum(map(len, self._parts)) != rows:
            return None
        points = np.concatenate(self._parts)[mapped_rows(rows)]
        return principal_components(points).astype(np.float16)
