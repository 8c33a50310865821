"""Distribution alignment: correct p for the class marginal before anything is selected.

Called as `align(p, step)`; shapes (rows, labels) -> (rows, labels). The running marginal of the pool is always
that of the *unaligned* probabilities. For multi-label the odds of each label are scaled instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from textpl.components.running import RunningMean, check_horizon
from textpl.components.slot import Slot
from textpl.components.step import HORIZON, Run, Step
from textpl.tasks import MultiLabel

# ReMixMatch's guard against a division by a marginal of zero.
EPSILON = 1e-6

PRIORS = "use 'labeled', one probability per label, or (single-label) 'uniform'"


def align_marginal(p: Tensor, wanted: Tensor, seen: Tensor, step: Step) -> Tensor:
    """Target q ~ p * wanted / seen, renormalised (ReMixMatch, arXiv 1911.09785, section 3.1).

    Shapes: (rows, labels), (labels,), (labels,) -> (rows, labels).
    """
    ratio = (wanted + EPSILON) / (seen + EPSILON)
    complement = (1 - wanted + EPSILON) / (1 - seen + EPSILON)
    return step.task.reweight(p, ratio, complement)


class _PoolMarginal(Slot):
    """Keeps the running marginal of the pool; what it is aligned to is the subclasses' business.

    Multi-label: a label that no labeled row carries stays as it is. Its smoothed share is not 0, and the model, which
    was told nothing of the label, would spread it at random.
    """

    def __init__(self, horizon: float) -> None:
        super().__init__()
        check_horizon(horizon)
        self.horizon = horizon
        self.seen = RunningMean(0.0)

    def prepare(self, run: Run) -> None:
        """Forget the last run."""
        self.seen = RunningMean(run.decay(self.horizon))

    def wanted(self, step: Step) -> Tensor | None:
        """The marginal to align to, shape (labels,); None while there is none."""
        raise NotImplementedError

    def __call__(self, p: Tensor, step: Step) -> Tensor:
        """Aligned probabilities."""
        mean, count = step.mean(p)
        if count:
            self.seen.update(mean)
        wanted, seen = self.wanted(step), self.seen.value
        if wanted is None or seen is None:
            return p
        wanted, unseen = wanted.to(p.device), step.run.unseen
        if unseen is not None and isinstance(step.task, MultiLabel):
            wanted = torch.where(unseen.to(p.device), seen, wanted)
        return align_marginal(p, wanted, seen, step)


class AlignToPrior(_PoolMarginal):
    """Align the pool's marginal to a known class prior.

    When to use: the labelled rows were drawn at random (`"labeled"`), the pool is known to be balanced
    (`"uniform"`, single-label only), or the prior is known (one number per label). A wrong prior mislabels.

    Args:
        prior: "labeled" (shares in the labelled rows, smoothed by one row per label), "uniform", or one
            probability per label (single-label: they sum to 1).
        horizon: memory of the running marginal, as a share of the run.

    Raises:
        ValueError: at once for a prior or horizon out of range; at the start of training for a prior that does not
            fit the task.
    """

    def __init__(
        self, prior: Literal["labeled", "uniform"] | Sequence[float] = "labeled", *, horizon: float = HORIZON
    ) -> None:
        super().__init__(horizon)
        if isinstance(prior, str):
            valid = prior in ("labeled", "uniform")
        else:
            shares = torch.as_tensor(prior, dtype=torch.float32)
            valid = bool(((shares >= 0) & (shares <= 1)).all())
        if not valid:
            raise ValueError(f"prior={prior!r}: {PRIORS}; probabilities lie in [0, 1].")
        self.prior = prior
        self._wanted: Tensor | None = None

    def prepare(self, run: Run) -> None:
        """Read the prior off the labelled rows, or hold the given one against the task."""
        super().prepare(run)
        single = run.task.problem_type == "single_label_classification"
        if isinstance(self.prior, str):
            if self.prior == "uniform" and not single:
                raise ValueError(f"prior='uniform' has no meaning for a multi-label task: {PRIORS}.")
            uniform = torch.full((run.task.num_labels,), 1 / run.task.num_labels)
            self._wanted = run.labeled_prior if self.prior == "labeled" else uniform
            return
        wanted = torch.as_tensor(self.prior, dtype=torch.float32)
        if wanted.shape != (run.task.num_labels,):
            raise ValueError(f"prior={self.prior!r}: needs {run.task.num_labels} probabilities, one per label.")
        if single and abs(float(wanted.sum()) - 1) > 1e-3:
            raise ValueError(f"prior={self.prior!r} sums to {float(wanted.sum()):.4f}: a class prior sums to 1.")
        self._wanted = wanted

    def wanted(self, step: Step) -> Tensor | None:
        """The prior."""
        return self._wanted


class AlignToModel(_PoolMarginal):
    """Align the pool's marginal to the model's own on labelled batches.

    AdaMatch (arXiv 2106.04732), distribution alignment: q ~ p * EMA(mean p on labelled rows) / EMA(mean p on pool
    rows). The labelled marginal is read one step late and with dropout on; it is floored at `floor` times the share
    of labelled rows with the label, since a class absent from a few labelled batches is not absent from the pool.

    Args:
        floor: smallest marginal to align to, as a share of the labelled prior.
        horizon: memory of the pool's running marginal, as a share of the run.

    Raises:
        ValueError: for a floor or horizon out of range.
    """

    def __init__(self, *, floor: float = 0.2, horizon: float = HORIZON) -> None:
        super().__init__(horizon)
        if not 0 <= floor <= 1:
            raise ValueError(f"floor={floor!r}: a share of the labelled prior, must lie in [0, 1].")
        self.floor = floor

    def wanted(self, step: Step) -> Tensor | None:
        """The model's labelled marginal."""
        marginal = step.labeled.marginal.value
        return (
            None
            if marginal is None
            else torch.maximum(marginal, self.floor * step.run.labeled_prior.to(marginal.device))
        )
