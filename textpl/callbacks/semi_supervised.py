"""The callback that adds the gradient of an unlabelled loss to a stock `transformers.Trainer`.

`on_step_begin` fires after the gradients were zeroed and before the first labelled micro-batch; what is added to
them there is summed with the supervised gradient, clipped and stepped once. One step, in order:

    p, valid = teacher(batch)     no gradient, eval mode
    p = align(p)                  running marginals
    q = sharpen(p)                of the unaligned p with align_target=False
    w = select(p) * valid         rows (cells) that the teacher abstains on weigh 0
    student on view(batch)[w > 0]; weight(t) * sum(w * loss(logits, q)) / (all drawn rows or cells)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from textpl.callbacks import checkpoint, setup
from textpl.callbacks.attachable import Attachable
from textpl.callbacks.label_checks import make_labels_ready, refuse_other_order
from textpl.callbacks.labeled_hook import LabeledHook
from textpl.callbacks.monitor import Monitor
from textpl.components.labeled import LabeledLoss
from textpl.components.labeled_rows import seen_rows
from textpl.components.losses import cross_entropy
from textpl.components.schedules import Schedule, as_schedule
from textpl.components.sharpen import argmax
from textpl.components.step import Run, Step
from textpl.components.teachers import SelfTeacher, Teacher
from textpl.components.views import View
from textpl.inference import chunked, longest_input, trim
from textpl.pool import Pool, PoolBatch
from textpl.tasks import MultiLabel, Task
from textpl.tokens import TextColumn, text_columns

logger = logging.getLogger(__name__)

# A backward pass costs about two forward passes.
TRAINING_PASSES = 3

Align = Callable[[Tensor, Step], Tensor]
Select = Callable[[Tensor, Step], Tensor]
Sharpen = Callable[[Tensor, Task], Tensor]
Loss = Callable[[Tensor, Tensor, Task], Tensor]


class SemiSupervised(Attachable):
    """Adds the gradient of a loss on unlabelled text to every optimizer step of a stock Trainer.

    Put it in with `textpl.attach(trainer, SemiSupervised(pool, ...))`. `Trainer(callbacks=[...])` works too, without
    `labeled_loss`, without its values in TensorBoard, and only where the supervised loss is scaled right (it refuses
    otherwise and names the remedy). Task, tokenizer and lengths are taken from the Trainer.

    Args:
        unlabeled: `datasets.Dataset` with a text column (tokenised once, cached) or already tokenised. Labels in it
            are ignored; a column `gold` (int, or multi-hot) is used for the logged precision only.
        teacher: makes the target probabilities; default: the model itself.
        align: corrects them for the class marginal; None leaves them.
        align_target: whether the target is made of the corrected probabilities too, or (False, as in SoftMatch) they
            are for the selection alone. Multi-label targets, which are soft, are always made of the corrected ones.
        select: weighs rows or cells; None counts all.
        sharpen: probabilities to target.
        view: what the student sees; None for the same text (with dropout).
        loss: student logits and target to loss per row or cell.
        weight: weight of the unlabelled loss, a number or a schedule of the share of training done. While it is 0
            the pool is not touched: `linear(1.0, start=0.2, end=0.4)` warms up on the labels at no cost.
        labeled_loss: replaces the supervised loss in training (needs `attach`). Labelled rows with a column
            `label_weight` are weighted with or without it, see `NoisyLabels`.
        ratio: pool rows per labelled row.
        text_column: name of the text column, or of two whose texts are read as a pair, ("premise", "hypothesis").
        max_length: longest pool row in tokens; default: the longest labelled row, or what 99 % of the pool's rows have
            if that is more. What is cut is told, and counted in `callback.run.pool.cut_rows` and `cut_tokens`.
        seed: seed of pool order and views, together with the Trainer's.

    Raises:
        ValueError: at once for settings out of range; at the start of training for data, model or Trainer settings
            that do not fit, with the remedy.
    """

    state_file = checkpoint.FILE

    def __init__(
        self,
        unlabeled: Any,
        *,
        teacher: Teacher | None = None,
        align: Align | None = None,
        align_target: bool = True,
        select: Select | None = None,
        sharpen: Sharpen = argmax,
        view: View | None = None,
        loss: Loss = cross_entropy,
        weight: float | Schedule = 1.0,
        labeled_loss: LabeledLoss | None = None,
        ratio: int = 1,
        text_column: TextColumn = "text",
        max_length: int | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(ratio, int) or ratio < 1:
            raise ValueError(f"ratio={ratio!r}: pool rows per labelled row, a whole number >= 1.")
        if max_length is not None and max_length < 2:
            raise ValueError(f"max_length={max_length!r}: at least 2 tokens, or None for a length that fits the rows.")
        super().__init__(labeled_loss)
        self.unlabeled = unlabeled
        self.teacher = teacher or SelfTeacher()
        self.align, self.select, self.sharpen, self.loss = align, select, sharpen, loss
        self.align_target = align_target
        self.view, self.weight = view, as_schedule(weight)
        self.ratio, self.text_column, self.max_length, self.seed = ratio, text_columns(text_column), max_length, seed
        self.step: Step | None = None
        self._hook: LabeledHook | None = None
        self._batches: Iterator[PoolBatch] | None = None
        self._next = -1

    # ---- events, in the order in which the Trainer fires them ----

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tokenise the pool, check what must hold, let the slots get ready, take saved state back."""
        model, dataloader, tokenizer = kwargs["model"], kwargs["train_dataloader"], kwargs.get("processing_class")
        setup.check_supported(args, state, model, dataloader.dataset)
        if not self.attached_to(args):
            setup.check_scaling(args, model, self.labeled_loss is not None)
        self._chunk = state.train_batch_size or args.train_batch_size
        self._rows = self.ratio * self._chunk * args.gradient_accumulation_steps
        make_labels_ready(model)
        self._run = self._prepare_run(
            args, state, model, seen_rows(dataloader.dataset, dataloader.collate_fn), tokenizer
        )
        self._rank, self._world = args.process_index, args.world_size
        self._device = next(model.parameters()).device
        self._close_batches()
        self._hook = LabeledHook.install(self._run, owner=state)
        self.monitor = Monitor(self._run, selects=self.select is not None)
        if args.load_best_model_at_end and getattr(self.teacher, "averages", hasattr(self.teacher, "finish")):
            logger.warning("At the end of training the averaged weights replace the best checkpoint's in the model.")
        self._start(args, state)
        self.step = self._step(state.global_step)

    def _prepare_run(
        self, args: TrainingArguments, state: TrainerState, model: Any, dataset: Any, tokenizer: Any
    ) -> Run:
        task = setup.find_task(model, dataset)
        refuse_other_order(dataset, setup.label_key(dataset), setup.label_names(model))
        labels = setup.label_array(dataset, task, soft=self.labeled_loss is not None)
        self._labels = setup.labels_identity(labels)
        longest = longest_input(tokenizer, model.config)
        with args.main_process_first(desc="tokenising the pool"):
            pool = Pool(
                self.unlabeled,
                tokenizer=tokenizer,
                text_column=self.text_column,
                max_length=min(self.max_length or longest, longest),
                view=self.view,
                pad_token_id=setup.pad_token_id(tokenizer, model),
                seed=int(np.random.SeedSequence([self.seed, args.seed]).generate_state(1)[0]),
                model=model,
                usual_length=setup.longest_row(dataset) if self.max_length is None else None,
            )
        shares = {"labeled_prior": setup.labeled_prior(labels, task), "unseen": setup.unseen_labels(labels, task)}
        return setup.make_run(args, state, model, dataset, task, pool=pool, **shares)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add the gradient of the unlabelled loss."""
        index = state.global_step
        weight = self.weight(index / max(state.max_steps, 1))
        if weight == 0:
            self.step = self._step(index)
            return
        batch = self._draw(index)
        weak = {name: tensor.to(self._device) for name, tensor in batch.weak.items()}
        strong = (
            weak
            if batch.strong is batch.weak
            else {name: tensor.to(self._device) for name, tensor in batch.strong.items()}
        )
        self.step = step = self._step(index, batch.rows.to(self._device), weak)
        with self._hook.paused():  # type: ignore[union-attr]
            p, q, w = self._targets(step)
            scaler = getattr(kwargs.get("optimizer"), "scaler", None)
            loss = self._student_gradient(step.rows, strong, q, w, weight, scaler)
        self.monitor.record(p, step.valid, q, w, loss, weight, batch.gold)  # type: ignore[arg-type]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move what follows the weights: EMA teacher, statistics of the labelled batches."""
        super().on_step_end(args, state, control, **kwargs)
        self._hook.flush()  # type: ignore[union-attr]
        if hasattr(self.teacher, "after_step"):
            self.teacher.after_step(self._run)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put the step's values into the Trainer's logs and `state.log_history`."""
        logs = kwargs.get("logs")
        if logs is None or "loss" not in logs:
            return
        values = self.monitor.summary()
        logs.update(values)
        if state.log_history:
            state.log_history[-1].update(values)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put an averaged teacher into the model; let go of hook and thread."""
        if hasattr(self.teacher, "finish"):
            self.teacher.finish(self._run, Path(args.output_dir) if args.should_save else None)
        self._hook.remove()  # type: ignore[union-attr]
        self._close_batches()
        self._training = None

    @property
    def token_passes(self) -> int:
        """Forward passes per token spent by this process: teachers once, training (labelled or not) three times.

        A frozen teacher's pass over the pool counts, cached or not; the training of that teacher does not.
        """
        tokens = self.monitor.tokens
        once = tokens["teacher"] + getattr(self.teacher, "prepared_tokens", 0) + self.looked_ahead_tokens
        return once + TRAINING_PASSES * (tokens["student"] + self._hook.tokens)  # type: ignore[union-attr]

    @property
    def labeled_passes(self) -> int:
        """The labelled part of `token_passes`."""
        return TRAINING_PASSES * self._hook.tokens  # type: ignore[union-attr]

    # ---- one step ----

    @torch.no_grad()
    def _targets(self, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Aligned probabilities (rows, labels), targets (rows, labels) and weights of rows or cells."""
        step.run.model.eval()
        p, valid = self.teacher(step)
        step.run.model.train()
        # One row of NaN would enter the running statistics of align and select, and stay there.
        finite = p.isfinite().all(1)
        if not finite.all():
            self.monitor.not_finite("teacher", step.rows[~finite])
            p = torch.where(finite.unsqueeze(1), p, step.task.indifferent(p))
        step.valid = valid & finite
        unaligned = p
        if self.align is not None:
            p = self.align(p, step)
        aligned = self.align_target or isinstance(step.task, MultiLabel)
        q = self.sharpen(p if aligned else unaligned, step.task)
        w = torch.ones_like(step.task.confidence(p)) if self.select is None else self.select(p, step)
        return p, q, w * step.valid.to(w.dtype).reshape(-1, *[1] * (w.ndim - 1))

    def _student_gradient(
        self, drawn: Tensor, strong: dict[str, Tensor], q: Tensor, w: Tensor, weight: float, scaler: Any
    ) -> Tensor:
        run = self._run
        kept = (w > 0 if w.ndim == 1 else (w > 0).any(1)).nonzero().squeeze(1)
        # Chunks of similar length: a view changes lengths, and padding costs as much as words.
        kept = kept[strong["attention_mask"][kept].sum(1).argsort(stable=True)]
        total = torch.zeros((), device=w.device)
        run.model.train()
        for start in range(0, len(kept), self._chunk):
            rows = kept[start : start + self._chunk]
            inputs = trim({name: tensor[rows] for name, tensor in strong.items()})
            logits = run.model(**inputs).logits
            self.monitor.count("student", inputs)
            finite = logits.detach().isfinite().all(1)
            if not finite.all():
                # Masking the loss would not do: NaN times 0 is NaN on the way back. The others go through once more.
                self.monitor.not_finite("student", drawn[rows[~finite]])
                rows, inputs = rows[finite], {name: tensor[finite] for name, tensor in inputs.items()}
                if not len(rows):
                    continue
                logits = run.model(**inputs).logits
                self.monitor.count("student", inputs)
            # Divided by all drawn rows, not the kept ones: otherwise the weight would change its meaning as
            # more rows pass.
            loss = (w[rows] * self.loss(logits, q[rows], run.task)).sum() / w.numel()
            scaled = weight * loss
            (scaler.scale(scaled) if scaler is not None else scaled).backward()
            total += loss.detach()
        return total

    def _predict(self, inputs: dict[str, Tensor]) -> Tensor:
        logits = []
        for chunk in chunked(inputs, self._chunk):
            logits.append(self._run.model(**chunk).logits)
            self.monitor.count("teacher", chunk)
        return torch.cat(logits)

    def _step(self, index: int, rows: Tensor | None = None, inputs: dict[str, Tensor] | None = None) -> Step:
        rows = torch.zeros(0, dtype=torch.int64) if rows is None else rows
        return Step(self._run, index, rows, inputs or {}, self._predict, self._hook.statistics)  # type: ignore[union-attr]

    def _draw(self, index: int) -> PoolBatch:
        if self._batches is None or index != self._next:
            self._close_batches()
            self._batches = self._run.pool.batches(index, self._run.total_steps, self._rows, self._rank, self._world)
        self._next = index + 1
        return next(self._batches)

    def _close_batches(self) -> None:
        if self._batches is not None:
            self._batches.close()  # type: ignore[attr-defined]
        self._batches = None

    # ---- state ----

    def _parts(self) -> dict[str, Any]:
        slots = {"teacher": self.teacher, "align": self.align, "select": self.select}
        return {"labeled": self._hook, **slots, "labeled_loss": self.labeled_loss}

    def _data_identity(self) -> dict[str, str]:
        pool = self._run.pool
        return {"pool": f"{pool.tokens.fingerprint}, seed {pool.seed}, {self._rows} rows", **self._labels}
