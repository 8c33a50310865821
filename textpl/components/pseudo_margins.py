"""MarginMatch: which pseudo-labels count, by the history of each pool row's margins."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from textpl.components.extras import Extras, feature_size
from textpl.components.objectives import StudentBatch, weighted_sum
from textpl.components.slot import Slot
from textpl.components.step import Run, Step
from textpl.components.teachers import Target, all_valid
from textpl.tasks import MultiLabel, SingleLabel, full_precision

# The paper's: smoothing of the average, and the percentile of the wrong rows' margins that is the cut.
SMOOTHING, PERCENTILE = 0.997, 0.95


class PseudoMargins(Slot):
    """MarginMatch (Sosea & Caragea 2023, arXiv 2308.09037): fills teacher, selection and objective.

    The pseudo-margin of class c is z_c - max_{j != c} z_j on the text itself. Its average over the visits
    of a row, APM <- PM s / (1 + t) + APM (1 - s / (1 + t)) (t earlier visits), must reach a cut, and the
    confidence must reach FlexMatch's class threshold tau M(beta), M(x) = x / (2 - x) (arXiv 2110.08263).

    The cut is learned: a share `wrong` of the pool gets a label that is surely wrong, a class of its own beside the
    model's, and the cut is the 95th percentile of these rows' average margins of that class: rows that
    the model must learn by heart look like this. (The authors' code divides the percentile by 100 twice and takes the
    99th.) The further class has an output of its own, which is no part of the model that is left.

    Departures: the wrong rows stay the same for the whole run, and are visited often enough to be learned; the count
    of rows without a confident label, in beta, is that of rows seen so far, not of the whole pool, as in a run of less
    than one epoch the threshold would never rise; labeled rows are not told of the further class.

    Memory, and every checkpoint: pool rows x (labels + 1) numbers. In the logs the wrong rows are counted with the
    model's own label of them.

    Args:
        threshold: FlexMatch's tau.
        wrong: share of the pool that gets the wrong label; at least one row.

    Raises:
        ValueError: for settings out of range; at the start of training for a multi-label task.
    """

    margins: Tensor  # average pseudo-margins, the wrong class last
    visits: Tensor
    confident: Tensor  # last label predicted with confidence, -1 for none
    wrong_rows: Tensor

    def __init__(self, threshold: float = 0.95, wrong: float = 0.01) -> None:
        if not (0 <= threshold <= 1 and 0 < wrong < 1):
            raise ValueError(f"threshold={threshold!r} must lie in [0, 1], wrong={wrong!r} between 0 and 1.")
        super().__init__()
        self.threshold, self.wrong = threshold, wrong
        self.output = Extras(_one_output)

    def prepare(self, run: Run) -> None:
        """Forget all rows; choose those that get the wrong label."""
        if isinstance(run.task, MultiLabel):
            raise ValueError(
                "MarginMatch is for single-label tasks: a margin is that of one class before the next, and labels of a "
                "multi-label task do not exclude each other. Use cap, or softmatch."
            )
        super().prepare(run)
        rows, labels, device = len(run.pool), run.task.num_labels, next(run.model.parameters()).device
        self.register_buffer("margins", torch.zeros(rows, labels + 1, device=device))
        self.register_buffer("visits", torch.zeros(rows, dtype=torch.int32, device=device))
        self.register_buffer("confident", torch.full((rows,), -1, dtype=torch.int32, device=device))
        chosen = np.random.default_rng([run.pool.seed, 3]).permutation(rows)[: max(1, round(self.wrong * rows))]
        self.wrong_rows = torch.zeros(rows, dtype=torch.bool, device=device)
        self.wrong_rows[torch.from_numpy(chosen).to(device)] = True

    def teacher(self, step: Step) -> Target:
        """The model's own probabilities; the margins of its logits are kept for `select`."""
        self._logits = self._all_logits(step, step.views[0])
        return all_valid(step.task.probabilities(self._logits[:, :-1]))

    def select(self, p: Tensor, step: Step) -> Tensor:
        """Weights 0 or 1; that of the wrong rows is the share of rows that count, as in the authors' code."""
        confidence, label = p.max(1)
        passed = confidence >= self._class_thresholds(p)[label]
        self._remember(confidence, label, step)
        cut = self.cut
        if cut is not None:
            passed &= self.margins[step.rows, label] >= cut
        w = passed.to(p.dtype)
        return torch.where(self.wrong_rows[step.rows], step.mean(w)[0], w)

    def __call__(self, batch: StudentBatch, step: Step) -> Tensor:
        """Cross-entropy over the classes and the wrong one."""
        z = self._all_logits(step, batch.views[-1], grad=True, train=True)
        q = torch.cat([batch.q, torch.zeros_like(batch.q[:, :1])], 1)
        wrong = self.wrong_rows[step.rows[batch.at]]
        q[wrong] = 0
        q[wrong, -1] = 1
        loss = SingleLabel(step.task.num_labels + 1).cross_entropy(z, q)
        return weighted_sum(loss, batch.w) / batch.count

    @property
    def cut(self) -> Tensor | None:
        """The average margin that a pseudo-label needs, (); None before a wrong row was visited."""
        known = self.wrong_rows & (self.visits > 0)
        return self.margins[known, -1].quantile(PERCENTILE) if known.any() else None

    @property
    def identity(self) -> str:
        """Its settings; a run is not resumed with others."""
        return f"PseudoMargins({self.threshold}, {self.wrong})"

    def _all_logits(self, step: Step, inputs: dict[str, Tensor], *, grad: bool = False, train: bool = False) -> Tensor:
        outputs = step.forward(inputs, grad=grad, train=train)
        output = self.output.module
        further = output(outputs.features.to(next(output.parameters()).dtype))
        return torch.cat([full_precision(outputs.logits), further.to(full_precision(outputs.logits).dtype)], 1)

    def _class_thresholds(self, p: Tensor) -> Tensor:
        counts = self.confident[self.confident >= 0].bincount(minlength=p.shape[1])
        without = (self.visits > 0).sum() - counts.sum()
        beta = counts / torch.maximum(counts.max(), without).clamp_min(1)
        return self.threshold * beta / (2 - beta)

    def _remember(self, confidence: Tensor, label: Tensor, step: Step) -> None:
        """Move the averages of the rows that were drawn, in all processes alike."""
        z = self._logits
        largest = z.topk(2, dim=1).values
        margins = z - largest[:, :1]
        margins = torch.where(margins == 0, z - largest[:, 1:], margins)
        seen = torch.ones_like(label, dtype=torch.bool) if step.valid is None else step.valid
        rows = step.gather(step.rows[seen])
        margins, confidence, label = (step.gather(x[seen]) for x in (margins, confidence, label))
        # A pool smaller than a step is drawn more than once: the first time counts.
        order = rows.argsort(stable=True)
        first = order[torch.cat([torch.ones_like(rows[:1], dtype=torch.bool), rows[order].diff() > 0])]
        rows, margins, confidence, label = rows[first], margins[first], confidence[first], label[first]
        share = SMOOTHING / (1 + self.visits[rows, None])
        self.margins[rows] = (margins * share + self.margins[rows] * (1 - share)).to(self.margins)
        self.visits[rows] += 1
        sure = (confidence >= self.threshold) & ~self.wrong_rows[rows]
        self.confident[rows[sure]] = label[sure].to(self.confident)


def _one_output(run: Run) -> nn.Module:
    width, dtype = feature_size(run)
    layer = nn.Linear(width, 1, dtype=dtype)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
