"""The order in which rows are drawn: a pure function of (seed, step)."""

from __future__ import annotations

import numpy as np

# Steps whose rows are sorted by length together: near enough in length to need hardly any padding, and still
# close to a random order.
WINDOW_STEPS = 100


class PoolOrder:
    """Which rows a step draws: shuffled epochs, in blocks of similar length.

    An epoch is a permutation cut into windows of `WINDOW_STEPS` steps; each window is sorted by length and its
    blocks are shuffled. The rest that fills no step is left out (another one each epoch). A pool smaller than a step
    is repeated.

    Args:
        lengths: tokens of each row, (rows,).
        rows_per_step: rows drawn per step, over all processes.
        seed: seed of the order.
    """

    def __init__(self, lengths: np.ndarray, rows_per_step: int, seed: int) -> None:
        self.lengths, self.rows_per_step, self.seed = lengths, rows_per_step, seed
        self._cached: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a step and the epoch (how often a row has been through) of each, int64 (rows_per_step,)."""
        size, pool = self.rows_per_step, len(self.lengths)
        if pool < size:
            per_step = -(-size // pool)
            epochs = np.repeat(np.arange(step * per_step, (step + 1) * per_step), pool)[:size]
            orders = [self._permutation(step * per_step + i) for i in range(per_step)]
            return np.concatenate(orders)[:size], epochs
        steps = pool // size
        epoch, block = divmod(step, steps)
        if self._cached[0] != epoch:
            self._cached = (epoch, self._epoch(epoch, steps))
        return self._cached[1][block * size : (block + 1) * size], np.full(size, epoch)

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))

    def _epoch(self, epoch: int, steps: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch, 1])
        size = self.rows_per_step
        rows = self._permutation(epoch)[: steps * size]
        for start in range(0, len(rows), WINDOW_STEPS * size):
            window = rows[start : start + WINDOW_STEPS * size]
            by_length = window[np.argsort(self.lengths[window], kind="stable")].reshape(-1, size)
            rows[start : start + WINDOW_STEPS * size] = rng.permutation(by_length).reshape(-1)
        return rows
