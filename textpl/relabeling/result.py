"""What every relabelling method gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Relabeling:
    """Labels for all nodes, gold ones included.

    Attributes:
        p: float32 (n, labels). Single-label: rows sum to 1; multi-label: each cell in [0, 1]. Gold rows hold their
            given targets; rows that could not be labelled are 0.
        hops: int32 (n,), steps to the gold labels it was labelled from; 0 for gold, -1 where it could not be labelled.
        order: int32 (n,), when it was labelled: 0 for gold, then 1, 2, ... (equal for rows labelled at once), -1
            where it could not be. A neighbour voted on a row if its order is lower.
        evidence: float32 (n,), total weight of the neighbours that voted; infinite for gold, 0 where none did.
        info: the method's own numbers, such as iterations or the orphans' share.
    """

    p: np.ndarray
    hops: np.ndarray
    order: np.ndarray
    evidence: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def labeled(self) -> np.ndarray:
        """Rows that have a label, bool (n,)."""
        return self.hops >= 0
