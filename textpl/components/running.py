"""A running mean that is right from its first update, and how long its memory may be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def check_horizon(horizon: float) -> None:
    """Raise a ValueError unless a memory, as a share of the run, lies in (0, 1]."""
    if not 0 < horizon <= 1:
        raise ValueError(f"horizon={horizon!r}: a share of the run, must lie in (0, 1] (0.02 to 0.05 is usual).")


class RunningMean(nn.Module):
    """Exponential moving average without the bias towards its start value.

    m_t = d m_{t-1} + (1 - d) x_t, read as m_t / (1 - d^t) (Adam's correction, Kingma & Ba 2015, section 3):
    after one update the value is that update. Published code starts from a constant instead (1/K in
    SoftMatch and FreeMatch) and, with a decay of 0.999, still reads mostly that constant 1,000 steps later.

    Args:
        decay: d in [0, 1).

    Raises:
        ValueError: for another decay.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay!r}: must lie in [0, 1).")
        super().__init__()
        self.decay = decay
        self._mean: Tensor | None = None
        self._weight = 0.0

    def update(self, x: Tensor) -> None:
        """Add one observation of any shape (the same at every call)."""
        x = x.detach().float()
        old = torch.zeros_like(x) if self._mean is None else self._mean
        self._mean = self.decay * old + (1 - self.decay) * x
        self._weight = self.decay * self._weight + (1 - self.decay)

    @property
    def value(self) -> Tensor | None:
        """The current mean; None before the first update."""
        return None if self._mean is None else self._mean / self._weight

    # Nothing is saved before the first update, whose shape nobody knows.

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        if self._mean is not None:
            destination[f"{prefix}mean"] = self._mean
            destination[f"{prefix}weight"] = torch.tensor(self._weight, dtype=torch.float64)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        self._mean = state_dict.get(f"{prefix}mean")
        self._weight = float(state_dict.get(f"{prefix}weight", 0.0))
