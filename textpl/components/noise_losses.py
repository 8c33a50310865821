"""Losses for labels that may be wrong, called as `loss(logits, labels, batch)`: the loss of each row (cell).

Labels are class ids (rows,), or multi-hot or soft labels (rows, labels). Multi-label takes every label as two
classes, given and not given. Each is for `textpl.NoisyLabels` or `SemiSupervised(labeled_loss=...)`.

In multi-label most cells are not given and easy, and what the model finds improbable are the positives: the losses
that know no rates (`GeneralizedCrossEntropy`, `SymmetricCrossEntropy`, `EarlyLearning`) then give up positives, and
where labels are missing they do harm. `ForwardCorrection` and `CoTeaching` are told the rates of each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textpl.components.labeled import LabeledBatch, as_targets
from textpl.components.step import Run
from textpl.tasks import SingleLabel, Task, full_precision

# Keeps logarithms and their gradients finite in float32, where -log is 69: far beyond any loss that is learnt from.
FLOOR = 1e-30
ROW_TOLERANCE = 1e-3


class ForwardCorrection:
    """Put the known noise between the classifier and the loss, so that the classifier learns the true labels.

    Single-label (Patrini et al. 2017, arXiv 1609.03683, theorem 2): -log (T^T p)[given], T[i, j] = P(given j | true
    i). Multi-label, for each label alone: binary cross-entropy of p' = p (1 - fn) + (1 - p) fp.
    When to use: the noise depends on the true label and its rates are known or well estimated. With rates that are
    wrong it corrects wrongly; shrink a doubtful estimate towards no noise.

    Args:
        transition: (labels, labels), rows sum to 1; for single-label.
        false_positive: share of the rows without a label to which it is given, a number or (labels,); for
            multi-label.
        false_negative: share of the rows with a label to which it is not given, a number or (labels,).

    Raises:
        ValueError: if rows do not sum to 1, rates lie outside [0, 1) or sum to 1 or more (the given label would then
            say nothing, or the opposite), or both kinds are given; at the start of training for a wrong size.
    """

    def __init__(self, transition: Any = None, *, false_positive: Any = None, false_negative: Any = None) -> None:
        multi = false_positive is not None or false_negative is not None
        if multi == (transition is not None):
            raise ValueError(
                "ForwardCorrection takes a transition matrix (single-label), or false_positive and false_negative "
                "rates (multi-label)."
            )
        self._multi = multi
        self._noise = torch.as_tensor(
            checked_rates(false_positive, false_negative) if multi else checked_transition(transition)
        )

    def prepare(self, run: Run) -> None:
        """Check that kind and size fit the task."""
        single = isinstance(run.task, SingleLabel)
        if single == self._multi:
            wanted = "a transition matrix" if single else "false_positive and false_negative rates"
            raise ValueError(f"ForwardCorrection needs {wanted} for {'single' if single else 'multi'}-label data.")
        size, one_for_all = self._noise.shape[-1], not single and self._noise.shape[-1] == 1
        if size != run.task.num_labels and not one_for_all:
            raise ValueError(
                f"ForwardCorrection was given the noise of {size} labels; the model knows {run.task.num_labels}."
            )

    def __call__(self, logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
        """-log of the probability of what is given."""
        y = as_targets(labels, batch.task)
        if not self._multi:
            p = batch.task.probabilities(logits)
            given = p @ self._noise.to(p)
            return -(y * given.clamp_min(FLOOR).log()).sum(-1)
        logits = full_precision(logits)
        p, negative = logits.sigmoid(), (-logits).sigmoid()  # 1 - p would be 0 where p rounds to 1
        fp, fn = self._noise.to(p)
        given, not_given = p * (1 - fn) + negative * fp, negative * (1 - fp) + p * fn
        return -(y * given.clamp_min(FLOOR).log() + (1 - y) * not_given.clamp_min(FLOOR).log())

    @property
    def identity(self) -> str:
        """The noise it was made with; a run is not resumed with another."""
        return f"ForwardCorrection({np.round(self._noise.numpy(), 6).tolist()})"


@dataclass(frozen=True)
class GeneralizedCrossEntropy:
    """(1 - p_y^q) / q: between cross-entropy (q -> 0) and the mean absolute error (q = 1).

    Zhang & Sabuncu 2018 (arXiv 1805.07836, equation 6); soft labels y: sum_k y_k (1 - p_k^q) / q. Rows that the model
    finds improbable, and wrong ones among them, count less, by p_y^q.
    When to use: noise of unknown kind. Near q = 1 a fresh head hardly starts to learn, and rare labels may never be
    learnt.

    Args:
        q: in (0, 1].
    """

    q: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.q <= 1:
            raise ValueError(f"q={self.q!r}: must lie in (0, 1].")

    def __call__(self, logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
        """Bounded by 1 / q."""
        y = as_targets(labels, batch.task)

        def bounded(log_p: Tensor) -> Tensor:
            # As a power of p the gradient would be infinite where p rounds to 0.
            return -torch.expm1(self.q * log_p) / self.q

        return expected_over_labels(bounded, logits, y, batch.task)


@dataclass(frozen=True)
class SymmetricCrossEntropy:
    """a H(y, p) + b H(p, y), with log 0 in the second, reverse part taken as log 1e-4.

    Wang et al. 2019 (arXiv 1908.06112, equation 7 and 10). The reverse part is bounded, a mean absolute error times
    -log 1e-4.
    When to use: as `GeneralizedCrossEntropy`; the first part keeps hard labels from being given up.

    Args:
        a: weight of the cross-entropy.
        b: weight of the reverse cross-entropy.
    """

    a: float = 0.1
    b: float = 1.0

    def __post_init__(self) -> None:
        if not (self.a >= 0 and self.b >= 0 and 0 < self.a + self.b < float("inf")):
            raise ValueError(f"a={self.a!r}, b={self.b!r}: weights of 0 or more, not both 0.")

    def __call__(self, logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
        """Both parts."""
        y, p = as_targets(labels, batch.task), batch.task.probabilities(logits)
        least = 1e-4
        reverse = -p * y.clamp_min(least).log()
        if isinstance(batch.task, SingleLabel):
            reverse = reverse.sum(-1)
        else:
            reverse = reverse - (1 - p) * (1 - y).clamp_min(least).log()
        return self.a * batch.task.cross_entropy(logits, y) + self.b * reverse


def expected_over_labels(loss: Any, logits: Tensor, y: Tensor, task: Task) -> Tensor:
    """Mean of `loss(log p)` over the targets: sum_k y_k loss(log p_k), for each Bernoulli where multi-label.

    Shapes: (rows, labels) twice -> (rows,), or (rows, labels) for multi-label.
    """
    logits = full_precision(logits)
    if isinstance(task, SingleLabel):
        return (y * loss(logits.log_softmax(-1))).sum(-1)
    log_sigmoid = torch.nn.functional.logsigmoid
    return y * loss(log_sigmoid(logits)) + (1 - y) * loss(log_sigmoid(-logits))


def checked_transition(transition: Any) -> np.ndarray:
    """float64 (labels, labels) with rows that sum to 1 exactly.

    Raises:
        ValueError: naming the row that is no distribution.
    """
    matrix = np.asarray(transition, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(f"The transition matrix has shape {matrix.shape}: it needs one row and one column per label.")
    wrong = ~(np.isfinite(matrix) & (matrix >= 0)).all(1) | ~(np.abs(matrix.sum(1) - 1) <= ROW_TOLERANCE)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        hint = " (is the matrix transposed?)" if np.allclose(matrix.sum(0), 1, atol=ROW_TOLERANCE) else ""
        raise ValueError(
            f"Row {row} of the transition matrix is {matrix[row].tolist()}, which is no distribution: row i holds "
            f"P(given j | true i) for every j and sums to 1{hint}."
        )
    return matrix / matrix.sum(1, keepdims=True)


def checked_rates(false_positive: Any, false_negative: Any) -> np.ndarray:
    """float64 (2, labels): false-positive and false-negative rates; what is None is 0.

    Raises:
        ValueError: naming the label whose rates cannot be.
    """
    both = [np.atleast_1d(np.asarray(0.0 if r is None else r, np.float64)) for r in (false_positive, false_negative)]
    if any(rates.ndim != 1 for rates in both) or len({len(rates) for rates in both} - {1}) > 1:
        raise ValueError(
            f"false_positive and false_negative have shapes {both[0].shape} and {both[1].shape}: one rate per label, "
            "or one for all."
        )
    rates = np.stack(np.broadcast_arrays(*both))
    wrong = ~((rates >= 0) & (rates < 1)).all(0) | ~(rates.sum(0) < 1)
    if wrong.any():
        label = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"Label {label}: false_positive {rates[0, label]:g} and false_negative {rates[1, label]:g}; each must lie "
            "in [0, 1) and their sum below 1."
        )
    return rates
