"""A step as the callback makes it, around the tiny model, for tests of single components."""

from __future__ import annotations

import torch
from conftest import make_data, make_model, make_pool

from textpl.callbacks.monitor import Monitor
from textpl.callbacks.passes import Passes
from textpl.components.labeled_draw import LabeledDraw
from textpl.components.objectives import StudentBatch
from textpl.components.running import RunningMean
from textpl.components.step import LabeledStatistics, Run, Step
from textpl.inference import trim
from textpl.pool import Pool
from textpl.tasks import make_task


def make_run(tokenizer, task="single", *, model=None, labels=3, rows=40, steps=100, labeled=8):
    """A run on a pool and some labeled rows."""
    model = make_model(task, labels=labels) if model is None else model
    kind = make_task(f"{task}_label_classification", labels)
    pool = Pool(
        make_pool(rows=rows, task=task, labels=labels),
        tokenizer=tokenizer, text_column="text", max_length=16, view=None, pad_token_id=0, seed=3, model=model,
    )  # fmt: skip
    data = make_data(tokenizer, rows=labeled, task=task, labels=labels)
    targets = kind.targets(torch.tensor(data["label"][:]))
    return Run(
        task=kind,
        model=model,
        total_steps=steps,
        pool=pool,
        labeled_prior=torch.full((labels,), 1 / labels),
        label_names=[f"l{i}" for i in range(labels)],
        labeled=data,
        labeled_targets=targets,
        labeled_rows_per_step=4,
        draw_labeled=LabeledDraw(pool.tokenize(data, "text"), targets, 7, 0, 1, "cpu"),
    )


def make_step(run, rows, index=0, copies=1):
    """A step that drew some rows; each of `copies` views is the text itself."""
    rows = torch.as_tensor(rows)
    statistics = LabeledStatistics(RunningMean(0.9), RunningMean(0.9))
    passes = Passes(run, 100, Monitor(run, selects=True))
    views = (run.pool.tokens.batch(rows.numpy()),) * copies
    return Step(run, index, rows, views, statistics, passes, torch.ones(len(rows), dtype=torch.bool))


def make_batch(step, q, w=None, at=None):
    """What the student is given of all rows of a step, or of those at some positions."""
    at = torch.arange(len(step.rows)) if at is None else torch.as_tensor(at)
    w = torch.ones_like(step.task.confidence(q)) if w is None else w
    views = tuple(trim({name: tensor[at] for name, tensor in view.items()}) for view in step.views)
    return StudentBatch(at, views, q[at], w[at], w.numel())
