"""Labeled rows that a method reads beside those of the Trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textpl.pool_order import PoolOrder
from textpl.tokens import Tokens


@dataclass
class LabeledRows:
    """Some labeled rows.

    Attributes:
        inputs: of the model, each (rows, tokens).
        targets: float32 (rows, labels): one-hot, multi-hot or soft.
        rows: which of the labeled rows they are, int64 (rows,).
    """

    inputs: dict[str, Tensor]
    targets: Tensor
    rows: Tensor


class LabeledDraw:
    """Draws labeled rows in shuffled epochs, a function of seed and step alone.

    Args:
        tokens: of all labeled rows.
        targets: of all labeled rows, float32 (rows, labels).
        seed: of the order.
        rank: this process.
        world: number of processes; each gets rows of its own.
        device: where the rows go.
    """

    def __init__(self, tokens: Tokens, targets: Tensor, seed: int, rank: int, world: int, device: Any) -> None:
        self._tokens, self._targets, self._seed = tokens, targets, seed
        self._rank, self._world, self._device = rank, world, device
        self._orders: dict[int, PoolOrder] = {}

    def __call__(self, count: int, index: int) -> LabeledRows:
        """Draw `count` rows for step `index`."""
        if count not in self._orders:
            self._orders[count] = PoolOrder(self._tokens.lengths, count * self._world, self._seed)
        rows = np.ascontiguousarray(self._orders[count].draw(index)[0][self._rank :: self._world])
        inputs = {name: tensor.to(self._device) for name, tensor in self._tokens.batch(rows).items()}
        at = torch.from_numpy(rows)
        return LabeledRows(inputs, self._targets[at].to(self._device), at.to(self._device))
