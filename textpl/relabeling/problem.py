"""One relabelling problem as arrays: embeddings, their graph, and the labels that are known."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from textpl.embeddings.graph import NeighborGraph


@dataclass(frozen=True)
class Problem:
    """Everything a relabelling method may use.

    Attributes:
        vectors: float32 (n, d), unit length (or zero), labelled and unlabelled rows together.
        graph: neighbours of all n rows.
        targets: float32 (n, labels): one-hot, soft or multi-hot in gold rows, 0 elsewhere.
        gold: bool (n,), rows whose targets are given.
        multi: multi-label.
        prior: class shares that the result must have, float64 (labels,); None leaves them free. Multi-label: rates of
            the labels, used where no gold row tells how sure to be.
        groups: int (n,), what belongs together, such as the windows of one document: gold rows of a group are hidden
            together; read in gold rows only. None: every row by itself.
        names: (labels, d), of length 1 or 0: where the names of the labels point among `vectors`; None: not known.
        name_weight: how far a linear classifier is drawn toward them; 0: they play no part.
        memory: what does not depend on labels and is wanted again while some of them are hidden.
    """

    vectors: np.ndarray
    graph: NeighborGraph
    targets: np.ndarray
    gold: np.ndarray
    multi: bool = False
    prior: np.ndarray | None = None
    groups: np.ndarray | None = None
    names: np.ndarray | None = None
    name_weight: float = 0.0
    memory: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    @property
    def num_labels(self) -> int:
        """Number of labels."""
        return self.targets.shape[1]

    @property
    def toward(self) -> np.ndarray | None:
        """Weights (labels, d) that a linear classifier is drawn toward instead of zero; None for zero."""
        return None if self.names is None or not self.name_weight else self.name_weight * self.names

    def remember(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make()` gives, made once for this problem and all that `hide` makes of it."""
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    def hide(self, rows: np.ndarray) -> Problem:
        """The same problem without the labels of some gold rows: what hold-out estimates are made of."""
        gold, targets = self.gold.copy(), self.targets.copy()
        gold[rows], targets[rows] = False, 0
        return replace(self, gold=gold, targets=targets)
