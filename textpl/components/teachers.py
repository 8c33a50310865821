"""Teachers: who makes the target probabilities.

A teacher is called as `teacher(step) -> (p, valid)`: probabilities (rows, labels) of the drawn pool rows and a
boolean (rows,) that is False where the teacher abstains. It runs under `torch.no_grad` with the model in eval mode.
A teacher with state is a `Slot`; of others, `prepare(run)`, `after_step(run)` and `finish(run, folder)` are called
where they have them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from textpl.components.label_order import in_model_order
from textpl.components.slot import Slot
from textpl.components.soft_labels import cached_logits, load_teacher, same_label_order
from textpl.components.step import Run, Step
from textpl.tasks import full_precision

Target = tuple[Tensor, Tensor]

# Stored probabilities are rounded: by so much they may leave [0, 1], and a row's sum may miss 1.
ROUNDING, SUM_TOLERANCE = 1e-4, 0.02


class Teacher(Protocol):
    """Makes the target probabilities of a step."""

    def __call__(self, step: Step) -> Target:
        """Probabilities (rows, labels) and validity (rows,)."""
        ...


class SelfTeacher:
    """The model itself, on the unchanged text, in eval mode (FixMatch, UDA, pseudo-labels)."""

    def __call__(self, step: Step) -> Target:
        """The model's probabilities; never abstains."""
        return all_valid(step.task.probabilities(step.forward(step.views[0]).logits))


class EMATeacher(Slot):
    """The moving average of the model's weights (Mean Teacher, arXiv 1703.01780, equation 1).

    theta' <- m_t theta' + (1 - m_t) theta after every optimizer step, m_t = min(1 - 1/(t + 1), m), as the paper's code.
    Only trainable parameters are averaged. Evaluation during training shows the student; at the end of training the
    averaged weights are put into the model and the student's are kept in the folder `student` of the output folder.

    Args:
        decay: m in [0, 1); None ties it to the run's length, 1 - 1/(0.03 steps).
    """

    averages = True
    updates: Tensor

    def __init__(self, decay: float | None = None) -> None:
        if decay is not None and not 0 <= decay < 1:
            raise ValueError(f"decay={decay!r}: must lie in [0, 1), or None to fit it to the run's length.")
        super().__init__()
        self.decay = decay
        self.average = nn.ParameterList()
        self.register_buffer("updates", torch.tensor(0))

    def prepare(self, run: Run) -> None:
        """Start the average at the model's present weights."""
        self._m = run.decay() if self.decay is None else self.decay
        # In float32 at least: steps of 1 - m would be lost in half precision.
        start = [full_precision(p.detach()).clone() for p in _trainable(run)]
        self.average = nn.ParameterList(nn.Parameter(tensor, requires_grad=False) for tensor in start)
        self.updates = torch.tensor(0)

    def __call__(self, step: Step) -> Target:
        """Probabilities of the averaged model; never abstains."""
        with self._swapped_in(step.run):
            return all_valid(step.task.probabilities(step.forward(step.views[0]).logits))

    @contextmanager
    def _swapped_in(self, run: Run) -> Iterator[None]:
        # Pointers are swapped, nothing is copied: whatever wraps the model's forward (autocast, PEFT) keeps working,
        # where a deep copy of the module would go on calling the student through that wrapper.
        parameters = _trainable(run)
        student = [p.data for p in parameters]
        try:
            for parameter, average in zip(parameters, self.average, strict=True):
                parameter.data = average.data.to(parameter.dtype)
            yield
        finally:
            for parameter, weights in zip(parameters, student, strict=True):
                parameter.data = weights

    def after_step(self, run: Run) -> None:
        """Move the average towards the new weights."""
        self.updates += 1
        m = min(1 - 1 / (int(self.updates) + 1), self._m)
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average), [full_precision(p.data) for p in _trainable(run)], 1 - m)

    def finish(self, run: Run, folder: Path | None) -> None:
        """Save the student in `folder` (unless None) and put the average into the model."""
        if folder is not None:
            run.model.save_pretrained(folder / "student")  # type: ignore[operator]
        with torch.no_grad():
            for parameter, average in zip(_trainable(run), self.average, strict=True):
                parameter.copy_(average)


class FrozenTeacher:
    """One or several finished classifiers; their logits over the pool are computed once and cached as float16.

    Several teachers: the mean of their probabilities. The student's labels and the teachers' must be the same
    names (any order) or, where none of the models carries names, the same number.

    Args:
        models: a Hub id, a folder, a loaded sequence-classification model, or a sequence of these. A loaded model
            is assumed to share the student's tokenizer unless `tokenizer` is given.
        tokenizer: tokenizer of loaded models with a vocabulary of their own.
        label_names: order of the teachers' outputs, for models whose config has only the default names LABEL_0, ....
        batch_size: rows per forward pass of the teacher.
        cache_dir: folder of the cached logits; default: beside the datasets cache.

    Raises:
        ValueError: (at the start of training) if a teacher's labels do not fit the student's.
    """

    def __init__(
        self,
        models: Any,
        *,
        tokenizer: Any = None,
        label_names: Sequence[str] | None = None,
        batch_size: int = 64,
        cache_dir: str | Path | None = None,
    ) -> None:
        several = isinstance(models, Sequence) and not isinstance(models, str)
        self.models = list(models) if several else [models]
        if not self.models:
            raise ValueError("models is empty: give at least one teacher.")
        self.tokenizer, self.label_names = tokenizer, label_names
        self.batch_size, self.cache_dir = batch_size, cache_dir
        self._logits: list[np.ndarray] = []
        self.prepared_tokens = 0

    def prepare(self, run: Run) -> None:
        """Compute, or read from the cache, the logits of every teacher for every pool row."""
        self._logits, self.prepared_tokens = [], 0
        for source in self.models:
            model, tokenizer = load_teacher(source, self.tokenizer)
            order = same_label_order(model.config, run.label_names, self.label_names)
            logits = cached_logits(model, tokenizer, run, self.batch_size, self.cache_dir)
            self.prepared_tokens += int(run.pool.token_ids(tokenizer, model).lengths.sum())
            self._logits.append(logits if order == sorted(order) else logits[:, order])

    def __call__(self, step: Step) -> Target:
        """Mean probabilities of the teachers; never abstains."""
        rows = step.rows.cpu().numpy()
        each = [step.task.probabilities(torch.from_numpy(logits[rows])) for logits in self._logits]
        return all_valid(torch.stack(each).mean(0).to(step.rows.device))


class ColumnTeacher:
    """Probabilities or logits that came with the unlabeled data, one number per label in each row.

    They are matched with the model's labels by name: a struct with a field per label, or columns `column_LABEL`, knows
    its names. Plain lists are taken in the order of the model's labels only if the model has default names (LABEL_0,
    ...), or with `label_names`.

    Args:
        column: name of the column, or the beginning of the names of several. A row with a NaN abstains.
        kind: what the numbers are.
        label_names: the labels in the order of the numbers of a plain list.

    Raises:
        ValueError: (at the start of training) if the column is missing, has another width, does not tell its labels
            or has others than the model, or holds probabilities outside [0, 1] or (single-label) not summing to 1; the
            row is named.
    """

    def __init__(
        self,
        column: str,
        *,
        kind: Literal["probabilities", "logits"] = "probabilities",
        label_names: Sequence[str] | None = None,
    ) -> None:
        if kind not in ("probabilities", "logits"):
            raise ValueError(f"kind={kind!r}: use 'probabilities' or 'logits'.")
        self.column, self.kind = column, kind
        self.label_names = None if label_names is None else tuple(map(str, label_names))

    def prepare(self, run: Run) -> None:
        """Read and check the column."""
        values, names = run.pool.probabilities(self.column)
        if self.label_names is not None:
            if names is not None and names != self.label_names:
                raise ValueError(
                    f"Column {self.column!r} is for the labels {list(names)}, not {list(self.label_names)}: it tells "
                    "them itself, so leave label_names out."
                )
            names = self.label_names
        if values.shape[1] != len(run.label_names if names is None else names):
            raise ValueError(
                f"Column {self.column!r} has shape {values.shape}; "
                f"{len(run.label_names if names is None else names)} numbers per row are needed."
            )
        remedy = (
            "name them, label_names=[...] in the order of the numbers, or make the column a struct with a field per "
            "label"
        )
        values = in_model_order(values, names, run.label_names, f"Column {self.column!r}", remedy)
        self._values = values if self.kind == "logits" else self._checked(values, run)

    def _checked(self, values: np.ndarray, run: Run) -> np.ndarray:
        wrong = ((values < -ROUNDING) | (values > 1 + ROUNDING)).any(1)
        sums = values.sum(1, keepdims=True)
        single = run.task.problem_type == "single_label_classification"
        if single:
            wrong |= np.abs(sums[:, 0] - 1) > SUM_TOLERANCE
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"Column {self.column!r}, row {run.pool.source_row(row)}: {values[row].tolist()} is no probability"
                + (" distribution" if single else "")
                + " (pass kind='logits' if these are logits)."
            )
        values = values.clip(0, 1)
        return values / values.sum(1, keepdims=True) if single else values

    def __call__(self, step: Step) -> Target:
        """The stored probabilities."""
        values = torch.from_numpy(self._values[step.rows.cpu().numpy()]).to(step.rows.device).float()
        valid = ~values.isnan().any(-1)
        values = values.nan_to_num(0.0)
        return (step.task.probabilities(values) if self.kind == "logits" else values), valid


def all_valid(p: Tensor) -> Target:
    """Probabilities of a teacher that does not abstain."""
    return p, torch.ones(len(p), dtype=torch.bool, device=p.device)


def _trainable(run: Run) -> list[nn.Parameter]:
    return [p for p in run.model.parameters() if p.requires_grad]
