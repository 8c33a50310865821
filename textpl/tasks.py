"""Single-label and multi-label classification: the one place that knows softmax from sigmoid.

Everything else asks the task. Probabilities always have shape (rows, labels); what is counted,
weighted and averaged is a row for `SingleLabel` and a (row, label) cell for `MultiLabel`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Guards divisions by sums that are 0 where every probability is.
TINY = 1e-12


def full_precision(x: Tensor) -> Tensor:
    """Half precision as float32, anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@dataclass(frozen=True)
class SingleLabel:
    """Exactly one of `num_labels` classes per row; probabilities are a softmax over the labels.

    Args:
        num_labels: number of classes, at least 2.
    """

    num_labels: int
    problem_type: Literal["single_label_classification"] = "single_label_classification"

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax, in float32 at least. Shapes: (rows, labels) -> (rows, labels)."""
        return full_precision(logits).softmax(-1)

    def confidence(self, p: Tensor) -> Tensor:
        """Largest probability of each row. Shapes: (rows, labels) -> (rows,)."""
        return p.max(-1).values

    def indifferent(self, p: Tensor) -> Tensor:
        """Probabilities that say nothing, 1 / labels each. Shapes: (rows, labels) -> (rows, labels)."""
        return torch.full_like(p, 1 / self.num_labels)

    def hard(self, p: Tensor) -> Tensor:
        """One-hot of the most probable label. Shapes: (rows, labels) -> (rows, labels)."""
        return F.one_hot(p.argmax(-1), self.num_labels).to(p.dtype)

    def temper(self, p: Tensor, temperature: float) -> Tensor:
        """p^(1/T) renormalised, which equals softmax(logits / T). Shapes: (rows, labels) -> (rows, labels)."""
        scaled = (p / p.max(-1, keepdim=True).values.clamp_min(TINY)) ** (1 / temperature)
        return scaled / scaled.sum(-1, keepdim=True).clamp_min(TINY)

    def entropy(self, p: Tensor) -> Tensor:
        """Entropy in nats. Shapes: (rows, labels) -> (rows,)."""
        return -torch.xlogy(p, p).sum(-1)

    def cross_entropy(self, logits: Tensor, q: Tensor) -> Tensor:
        """-sum_k q_k log softmax(logits)_k. Shapes: (rows, labels) twice -> (rows,)."""
        return -(q * full_precision(logits).log_softmax(-1)).sum(-1)

    def reweight(self, p: Tensor, ratio: Tensor, complement: Tensor) -> Tensor:
        """Multiply the odds of each label by `ratio` and renormalise (`complement` plays no part here).

        Shapes: (rows, labels), (labels,), (labels,) -> (rows, labels).
        """
        scaled = p * ratio
        return scaled / scaled.sum(-1, keepdim=True).clamp_min(TINY)

    def targets(self, labels: Tensor) -> Tensor:
        """Class ids (rows,) as one-hot float32 (rows, labels)."""
        return F.one_hot(labels.long(), self.num_labels).float()


@dataclass(frozen=True)
class MultiLabel:
    """Any number of `num_labels` labels per row; one Bernoulli per label, probabilities are a sigmoid.

    Args:
        num_labels: number of labels, at least 1.
    """

    num_labels: int
    problem_type: Literal["multi_label_classification"] = "multi_label_classification"

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid, in float32 at least. Shapes: (rows, labels) -> (rows, labels)."""
        return full_precision(logits).sigmoid()

    def confidence(self, p: Tensor) -> Tensor:
        """max(p, 1 - p) of each cell. Shapes: (rows, labels) -> (rows, labels)."""
        return torch.maximum(p, 1 - p)

    def indifferent(self, p: Tensor) -> Tensor:
        """Probabilities that say nothing, 0.5 each. Shapes: (rows, labels) -> (rows, labels)."""
        return torch.full_like(p, 0.5)

    def hard(self, p: Tensor) -> Tensor:
        """1 where p >= 0.5. Shapes: (rows, labels) -> (rows, labels)."""
        return (p >= 0.5).to(p.dtype)

    def temper(self, p: Tensor, temperature: float) -> Tensor:
        """sigmoid(logit(p) / T), as powers of p and 1 - p. Shapes: (rows, labels) -> (rows, labels)."""
        largest = torch.maximum(p, 1 - p)
        positive, negative = (p / largest) ** (1 / temperature), ((1 - p) / largest) ** (1 / temperature)
        return positive / (positive + negative)

    def entropy(self, p: Tensor) -> Tensor:
        """Entropy of each Bernoulli in nats. Shapes: (rows, labels) -> (rows, labels)."""
        return -torch.xlogy(p, p) - torch.xlogy(1 - p, 1 - p)

    def cross_entropy(self, logits: Tensor, q: Tensor) -> Tensor:
        """Binary cross-entropy of each cell. Shapes: (rows, labels) twice -> (rows, labels)."""
        logits = full_precision(logits)
        return F.binary_cross_entropy_with_logits(logits, q.to(logits.dtype), reduction="none")

    def reweight(self, p: Tensor, ratio: Tensor, complement: Tensor) -> Tensor:
        """Scale the odds of each label: p r / (p r + (1 - p) c), with r `ratio` and c `complement`.

        Shapes: (rows, labels), (labels,), (labels,) -> (rows, labels).
        """
        positive, negative = p * ratio, (1 - p) * complement
        return positive / (positive + negative).clamp_min(TINY)

    def targets(self, labels: Tensor) -> Tensor:
        """Multi-hot labels (rows, labels) as float32."""
        return labels.float()


Task = SingleLabel | MultiLabel


def make_task(problem_type: str | None, num_labels: int) -> Task:
    """Build the task that a model's `config.problem_type` names.

    Raises:
        ValueError: for regression, an unknown problem type, or fewer labels than the task needs.
    """
    if problem_type == "single_label_classification" and num_labels >= 2:
        return SingleLabel(num_labels)
    if problem_type == "multi_label_classification" and num_labels >= 1:
        return MultiLabel(num_labels)
    raise ValueError(
        f"problem_type={problem_type!r} with {num_labels} label(s) is no classification task: set "
        "model.config.problem_type to 'single_label_classification' (2 or more labels) or "
        "'multi_label_classification'."
    )


def infer_problem_type(label: Any) -> str:
    """Problem type that one row's label shows: an integer is single-label, a list of numbers multi-label.

    Raises:
        ValueError: for anything else, such as a float or a string.
    """
    value = np.asarray(label)
    if value.ndim == 0 and value.dtype.kind in "iub":
        return "single_label_classification"
    if value.ndim == 1 and value.dtype.kind in "iubf":
        return "multi_label_classification"
    raise ValueError(
        f"The label {label!r} is neither a class id (an integer) nor a multi-hot list of numbers: encode it, or "
        "set model.config.problem_type."
    )
