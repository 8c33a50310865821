"""The callback that adds the gradient of an unlabelled loss to a stock `transformers.Trainer`.

`on_step_begin` fires after the gradients were zeroed and before the first labelled micro-batch; what is added to
them there is summed with the supervised gradient, clipped and stepped once. One step, in order:

    p, valid = teacher(batch)     no gradient, eval mode
    p = align(p)                  running marginals
    q = sharpen(p)                of the unaligned p with align_target=False
    w = select(p) * valid         rows (cells) that the teacher abstains on weigh 0
    weight(t) * objective(view(batch)[w > 0], q, w); by default sum(w * loss(logits, q)) / (all drawn rows or cells)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import TrainerControl, TrainerState, TrainingArguments

from textpl.callbacks import checkpoint, setup
from textpl.callbacks.attachable import Attachable, unique
from textpl.callbacks.label_checks import make_labels_ready, refuse_other_order
from textpl.callbacks.labeled_hook import LabeledHook
from textpl.callbacks.monitor import Monitor
from textpl.callbacks.passes import Passes
from textpl.callbacks.student import student_batches, student_gradient
from textpl.components.labeled import LabeledLoss, as_targets
from textpl.components.labeled_draw import LabeledDraw, LabeledRows
from textpl.components.labeled_rows import seen_rows
from textpl.components.losses import cross_entropy
from textpl.components.objectives import Loss, Objective, PerRow
from textpl.components.schedules import Schedule, as_schedule
from textpl.components.sharpen import argmax
from textpl.components.slot import call_each
from textpl.components.step import Run, Step
from textpl.components.teachers import SelfTeacher, Teacher
from textpl.components.views import View
from textpl.inference import longest_input
from textpl.pool import Pool, PoolBatch, as_views
from textpl.tasks import MultiLabel
from textpl.tokens import TextColumn, text_columns

logger = logging.getLogger(__name__)

# A backward pass costs about two forward passes.
TRAINING_PASSES = 3

Align = Callable[[Tensor, Step], Tensor]
Select = Callable[[Tensor, Step], Tensor]
Sharpen = Callable[[Tensor, Step], Tensor]


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
        view: what the student sees; None for the same text (with dropout). Several views where the objective takes
            them; one that stands twice is drawn twice.
        loss: student logits and target to loss per row or cell; default `cross_entropy`.
        objective: what the student learns from the rows of a step, in place of the plain pass with `loss`.
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
        view: View | Sequence[View] | None = None,
        loss: Loss | None = None,
        objective: Objective | None = None,
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
        if loss is not None and objective is not None:
            raise ValueError("Give loss, or an objective that has its own: objective=PerRow(loss) is what loss means.")
        objective = objective or PerRow(loss or cross_entropy)
        views = getattr(objective, "views", 1)
        if views is not None and len(as_views(view)) not in (0, views):
            raise ValueError(
                f"{type(objective).__name__} takes {views} view{'s' * (views > 1)} of a text, view= gives "
                f"{len(as_views(view))}."
            )
        super().__init__(labeled_loss)
        self.unlabeled = unlabeled
        self.teacher = teacher or SelfTeacher()
        self.align, self.select, self.sharpen, self.objective = align, select, sharpen, objective
        self.align_target = align_target
        self.view, self.weight = view, as_schedule(weight)
        self.ratio, self.text_column, self.max_length, self.seed = ratio, text_columns(text_column), max_length, seed
        self.step: Step | None = None
        self._hook: LabeledHook | None = None
        self._batches: Iterator[PoolBatch] | None = None
        self._next = -1
        self._labeled: LabeledDraw | None = None

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
        self._labeled = None
        self._hook = LabeledHook.install(self._run, owner=state)
        self.monitor = Monitor(self._run, selects=self.select is not None)
        self._passes = Passes(self._run, self._chunk, self.monitor)
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
        run = setup.make_run(args, state, model, dataset, task, pool=pool, **shares)
        run.labeled_rows_per_step = self._rows // self.ratio
        run.labeled_targets = as_targets(torch.tensor(labels), task)
        run.draw_labeled = self._draw_labeled
        return run

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
        views = tuple({name: tensor.to(self._device) for name, tensor in view.items()} for view in batch.views)
        self.step = step = self._step(index, batch.rows.to(self._device), views)
        with self._hook.paused():  # type: ignore[union-attr]
            p, q, w = self._targets(step)
            loss = self._student_gradient(step, q, w, weight, getattr(kwargs.get("optimizer"), "scaler", None))
        self.monitor.record(p, step.valid, q, w, loss, weight, batch.gold)  # type: ignore[arg-type]

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Move what follows the weights: statistics of the labeled batches, averaged weights."""
        self._hook.flush()  # type: ignore[union-attr]
        super().on_step_end(args, state, control, **kwargs)

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
        call_each(self._parts().values(), "finish", self._run, Path(args.output_dir) if args.should_save else None)
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
        q = self.sharpen(p if aligned else unaligned, step)
        w = torch.ones_like(step.task.confidence(p)) if self.select is None else self.select(p, step)
        return p, q, w * step.valid.to(w.dtype).reshape(-1, *[1] * (w.ndim - 1))

    def _student_gradient(self, step: Step, q: Tensor, w: Tensor, weight: float, scaler: Any) -> Tensor:
        self._run.model.train()
        batches = student_batches(self.objective, step.views, q, w, step.valid, self._chunk)  # type: ignore[arg-type]
        loss = student_gradient(self.objective, step, batches, weight, scaler, self._passes, self.monitor)
        self._run.model.train()
        return loss

    def _step(self, index: int, rows: Tensor | None = None, views: tuple[dict[str, Tensor], ...] = ()) -> Step:
        rows = torch.zeros(0, dtype=torch.int64) if rows is None else rows
        return Step(self._run, index, rows, views, self._hook.statistics, self._passes)  # type: ignore[union-attr]

    def _draw_labeled(self, count: int, index: int) -> LabeledRows:
        """Labeled rows for a step; their tokens are read when a method first asks."""
        if self._labeled is None:
            run = self._run
            tokens = run.pool.tokenize(run.labeled, self.text_column)
            seed = run.pool.seed + 1
            self._labeled = LabeledDraw(tokens, run.labeled_targets, seed, run.rank, run.world, self._device)
        return self._labeled(count, index)

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
        slots = {"teacher": self.teacher, "align": self.align, "select": self.select, "objective": self.objective}
        return unique({"labeled": self._hook, **slots, "labeled_loss": self.labeled_loss})

    def _data_identity(self) -> dict[str, str]:
        pool = self._run.pool
        return {"pool": f"{pool.tokens.fingerprint}, seed {pool.seed}, {self._rows} rows", **self._labels}
