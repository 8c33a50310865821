"""CoMatch: pseudo-labels smoothed by a memory of embeddings, and embeddings drawn together by pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textpl.components.align import AlignToPrior
from textpl.components.extras import Extras, feature_size
from textpl.components.objectives import StudentBatch, weighted_sum
from textpl.components.slot import Slot
from textpl.components.step import Run, Step
from textpl.components.teachers import Target, all_valid
from textpl.tasks import MultiLabel

# The authors' code: width of an embedding, similarity of labels from which on two rows are neighbors.
WIDTH, NEIGHBORS = 64, 0.8


class CoMatch(Slot):
    """CoMatch (Li, Xiong & Hoi 2021, arXiv 2011.11183): fills teacher, alignment and objective; two views.

    An embedding f is the model's features through a perceptron of one hidden layer, at length 1. Aligned probabilities
    p are smoothed by a memory of embeddings f_j and (unsmoothed) labels of earlier rows and of labeled ones,
    q = alpha p + (1 - alpha) sum_j softmax_j(f f_j / T) q_j. The loss is the cross-entropy of the
    first view against q, where q is selected, and over all rows the contrast H(W, softmax(f_1 f_2' / T)) between both
    views, W the row-normalized q q' with ones in its diagonal and 0 where it is below 0.8.

    The contrast takes all rows of a step at once, whatever the accumulation: memory for ratio x rows x 2 views. With
    several processes each contrasts its own rows; the memory is shared.

    Args:
        alpha: weight of the row's own probabilities.
        temperature: T.
        contrast: weight of the contrast.
        memory: rows that are remembered.
        prior: what the pool's marginal is aligned to, see `AlignToPrior` ("uniform" in the paper); None for nothing.
        seed: of the perceptron.

    Raises:
        ValueError: for settings out of range; at the start of training for a multi-label task.
    """

    views, whole, every_row = 2, True, True

    keys: Tensor
    labels: Tensor
    filled: Tensor

    def __init__(
        self,
        *,
        alpha: float = 0.9,
        temperature: float = 0.2,
        contrast: float = 1.0,
        memory: int = 2560,
        prior: Literal["labeled", "uniform"] | Sequence[float] | None = "labeled",
        seed: int = 0,
    ) -> None:
        if not (0 <= alpha <= 1 and temperature > 0 and contrast >= 0 and memory >= 1):
            raise ValueError(
                f"alpha={alpha!r} must lie in [0, 1], temperature={temperature!r} above 0, contrast={contrast!r} at 0 "
                f"or above, memory={memory!r} at 1 or above."
            )
        super().__init__()
        self.alpha, self.temperature, self.contrast, self.memory = alpha, temperature, contrast, memory
        self.marginal = None if prior is None else AlignToPrior(prior)
        self.projection = Extras(_Projection, seed)

    def prepare(self, run: Run) -> None:
        """Empty the memory."""
        if isinstance(run.task, MultiLabel):
            raise ValueError(
                "CoMatch is for single-label tasks: rows are neighbors by the class they share, while most rows of a "
                "multi-label task share nothing but the labels that both lack. Use cap, softmatch or adamatch."
            )
        super().prepare(run)
        device = next(run.model.parameters()).device
        self.register_buffer("keys", torch.zeros(self.memory, WIDTH, device=device))
        self.register_buffer("labels", torch.zeros(self.memory, run.task.num_labels, device=device))
        self.register_buffer("filled", torch.tensor(0))  # rows ever remembered

    def teacher(self, step: Step) -> Target:
        """The model's own probabilities; the embeddings are kept for `align`."""
        outputs = step.forward(step.views[0])
        self._keys = self.projection.module(outputs.features).nan_to_num()
        return all_valid(step.task.probabilities(outputs.logits))

    def align(self, p: Tensor, step: Step) -> Tensor:
        """Align p to the prior, smooth it by the memory, remember the rows."""
        if self.marginal is not None:
            p = self.marginal(p, step)
        smoothed, known = p, min(int(self.filled), self.memory)
        if known:
            near = (self._keys @ self.keys[:known].T.to(self._keys) / self.temperature).softmax(1)
            smoothed = self.alpha * p + (1 - self.alpha) * (near @ self.labels[:known].to(near)).to(p)
        labeled = step.labeled_rows()
        seen = torch.ones_like(p[:, 0], dtype=torch.bool) if step.valid is None else step.valid
        own = self.projection.module(step.forward(labeled.inputs).features).nan_to_num()
        keys = torch.cat([self._keys[seen], own])
        self._remember(step.gather(keys), step.gather(torch.cat([p[seen], labeled.targets.to(p)])))
        return smoothed

    def __call__(self, batch: StudentBatch, step: Step) -> Tensor:
        """Cross-entropy of the first view and contrast between both."""
        first, second = (step.forward(view, grad=True, train=True) for view in batch.views[1:] or batch.views * 2)
        loss = weighted_sum(step.task.cross_entropy(first.logits, batch.q), batch.w)
        if self.contrast:
            a, b = self.projection.module(first.features), self.projection.module(second.features)
            log_p = (a @ b.T / self.temperature).log_softmax(1)
            loss = loss - self.contrast * (neighbor_weights(batch.q).to(log_p) * log_p).sum()
        return loss / batch.count

    @property
    def identity(self) -> str:
        """Its settings; a run is not resumed with others."""
        prior = None if self.marginal is None else self.marginal.prior
        return f"CoMatch({self.alpha}, {self.temperature}, {self.contrast}, {self.memory}, {prior})"

    def _remember(self, keys: Tensor, labels: Tensor) -> None:
        keys, labels = keys[-self.memory :], labels[-self.memory :]
        place = (int(self.filled) + torch.arange(len(keys), device=self.keys.device)) % self.memory
        self.keys[place], self.labels[place] = keys.to(self.keys), labels.to(self.labels)
        self.filled += len(keys)


def neighbor_weights(q: Tensor) -> Tensor:
    """Weights of the contrast: q_i q_j, 1 for i = j, 0 below `NEIGHBORS`, rows sum to 1; (rows, rows)."""
    weights = (q @ q.T).fill_diagonal_(1)
    weights = weights * (weights >= NEIGHBORS)
    return weights / weights.sum(1, keepdim=True)


class _Projection(nn.Module):
    def __init__(self, run: Run) -> None:
        super().__init__()
        width, dtype = feature_size(run)
        self.hidden, self.out = nn.Linear(width, width, dtype=dtype), nn.Linear(width, WIDTH, dtype=dtype)

    def __call__(self, features: Tensor) -> Any:
        """Embeddings of length 1, (rows, WIDTH)."""
        features = features.to(self.hidden.weight.dtype)
        return F.normalize(self.out(F.leaky_relu(self.hidden(features), 0.1)), dim=1)
