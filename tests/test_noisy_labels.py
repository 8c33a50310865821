"""Losses for wrong labels: their formulas, their gradient in a real Trainer, weights, resuming, recipes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Stop, distance, make_data, make_model, make_pool, make_tokenizer, make_trainer, reference_gradient
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer, TrainerCallback

import textpl
from textpl import (
    CoTeaching,
    EarlyLearning,
    ForwardCorrection,
    GeneralizedCrossEntropy,
    NoisyLabels,
    SemiSupervised,
    SymmetricCrossEntropy,
)
from textpl.callbacks.checkpoint import LABELS_FILE
from textpl.components.labeled import LabeledBatch, cross_entropy
from textpl.components.noise_losses_peer import MEMORY, RecentLosses
from textpl.components.step import Run
from textpl.tasks import MultiLabel, SingleLabel

TRANSITION = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.0, 0.3, 0.7]]
FP, FN = [0.05, 0.0, 0.1], [0.3, 0.2, 0.0]
both = pytest.mark.parametrize("task", ["single", "multi"])
logit_rows = arrays(np.float64, (4, 3), elements=st.floats(-60, 60))


def forward(task):
    return (
        ForwardCorrection(TRANSITION) if task == "single" else ForwardCorrection(false_positive=FP, false_negative=FN)
    )


STATELESS = {
    "plain": lambda task: cross_entropy,
    "forward": forward,
    "gce": lambda task: GeneralizedCrossEntropy(0.6),
    "sce": lambda task: SymmetricCrossEntropy(0.5, 2.0),
}


def make_batch(task="single", rows=4, labels=3, index=0, steps=10, weight=None, total=None, data_rows=20):
    kind = SingleLabel(labels) if task == "single" else MultiLabel(labels)
    run = Run(
        task=kind,
        model=nn.Linear(2, labels),
        total_steps=steps,
        pool=None,
        labeled_prior=torch.full((labels,), 1 / labels),
        label_names=[str(i) for i in range(labels)],
        labeled=list(range(data_rows)),
    )
    count = torch.tensor(float(rows if task == "single" else rows * labels))
    return LabeledBatch(run, index, torch.arange(rows), {}, weight, count if total is None else total)


# ---- formulas, straight from the papers, one row and one label at a time ----


def reference(name, p, y, task):
    """Loss of one row (single-label) or one cell, in plain Python; p and y are lists of probabilities."""
    if name == "plain":
        return -sum(b * math.log(a) for a, b in zip(p, y, strict=True))
    if name == "forward":
        given = [sum(p[i] * TRANSITION[i][j] for i in range(3)) for j in range(3)]
        return -sum(b * math.log(a) for a, b in zip(given, y, strict=True))
    if name == "gce":
        return sum(b * (1 - a**0.6) / 0.6 for a, b in zip(p, y, strict=True))
    reverse = -sum(a * math.log(max(b, 1e-4)) for a, b in zip(p, y, strict=True))
    return 0.5 * reference("plain", p, y, task) + 2.0 * reverse


def reference_cell(name, p, y, label):
    if name == "forward":
        p = p * (1 - FN[label]) + (1 - p) * FP[label]
        name = "plain"
    return reference(name, [p, 1 - p], [y, 1 - y], "multi")


@pytest.mark.parametrize("name", STATELESS)
@pytest.mark.parametrize("soft", [False, True])
def test_single_label_formulas(name, soft):
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64) * 2
    labels = (
        torch.tensor([[0.5, 0.3, 0.2], [0, 1, 0], [0.1, 0.1, 0.8], [1, 0, 0]]) if soft else torch.tensor([0, 2, 1, 1])
    )
    y = labels.tolist() if soft else F.one_hot(labels, 3).tolist()
    expected = [reference(name, p, q, "single") for p, q in zip(logits.softmax(-1).tolist(), y, strict=True)]
    loss = STATELESS[name]("single")(logits, labels, make_batch())
    assert loss.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", STATELESS)
def test_multi_label_formulas(name):
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64) * 2
    labels = torch.tensor([[1, 0, 1], [0, 0, 0], [0.3, 0.9, 0.5], [1, 1, 1.0]])
    p = logits.sigmoid().tolist()
    expected = [[reference_cell(name, p[i][k], labels[i, k].item(), k) for k in range(3)] for i in range(4)]
    loss = STATELESS[name]("multi")(logits, labels, make_batch("multi"))
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-5)


def test_hand_worked_numbers():
    p = torch.tensor([[0.2, 0.5, 0.3]]).log()
    given = torch.tensor([1])
    # (T^T p)_1 = .2 * .1 + .5 * .7 + .3 * .3 = .46
    assert ForwardCorrection(TRANSITION)(p, given, make_batch(rows=1)).item() == pytest.approx(-math.log(0.46))
    assert GeneralizedCrossEntropy(0.5)(p, given, make_batch(rows=1)).item() == pytest.approx(2 * (1 - 0.5**0.5))
    # CE = log 2; RCE = -(0.2 + 0.3) log 1e-4
    symmetric = SymmetricCrossEntropy(0.1, 1.0)(p, given, make_batch(rows=1)).item()
    assert symmetric == pytest.approx(0.1 * math.log(2) + 0.5 * 4 * math.log(10), rel=1e-5)
    z = torch.logit(torch.tensor([[0.25, 0.25, 0.25]]))
    cells = forward("multi")(z, torch.tensor([[1.0, 0.0, 1.0]]), make_batch("multi", rows=1))
    # p' = .25 * .7 + .75 * .05 = .2125; .25 * .8 = .2 -> 1 - .2; .25 + .75 * .1 = .325
    assert cells[0].tolist() == pytest.approx([-math.log(0.2125), -math.log(0.8), -math.log(0.325)], rel=1e-5)


@both
def test_no_noise_and_small_q_are_the_plain_loss(task):
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64) * 3
    labels = torch.tensor([0, 2, 1, 1]) if task == "single" else torch.rand(4, 3).round()
    plain = cross_entropy(logits, labels, make_batch(task))
    none = ForwardCorrection(np.eye(3)) if task == "single" else ForwardCorrection(false_positive=0, false_negative=0)
    for loss, bound in ((none, 1e-6), (GeneralizedCrossEntropy(1e-7), 1e-5), (SymmetricCrossEntropy(1.0, 0.0), 1e-6)):
        torch.testing.assert_close(loss(logits, labels, make_batch(task)), plain, rtol=bound, atol=bound)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*STATELESS, "elr"])
def test_extreme_logits_give_finite_losses_and_gradients(task, dtype, name):
    logits = torch.tensor([[200.0, -200.0, 0.0], [-1e4, 1e4, 0.0]], dtype=dtype, requires_grad=True)
    labels = torch.tensor([1, 0]) if task == "single" else torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    batch = make_batch(task, rows=2)
    loss = EarlyLearning() if name == "elr" else STATELESS[name](task)
    if name == "elr":
        loss.prepare(batch.run)
    for _ in range(5):
        value = loss(logits, labels, batch)
    batch.mean(value).backward()
    assert value.isfinite().all() and logits.grad.isfinite().all()
    assert value.dtype == torch.float32


@settings(max_examples=40, deadline=None, derandomize=True)
@given(z=logit_rows, seed=st.integers(0, 99))
def test_correction_is_unbiased_at_the_noisy_truth(z, seed):
    """Averaged over what noise makes of a row, the corrected gradient is 0 where p is the true distribution."""
    z = torch.tensor(np.clip(z, -8, 8), requires_grad=True)
    p = z.detach().softmax(-1)
    noisy = (p @ torch.tensor(TRANSITION, dtype=torch.float64)).double()
    ForwardCorrection(TRANSITION)(z, noisy, make_batch()).sum().backward()
    assert z.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "transition matrix .*or false_positive"),
        ({"transition": np.eye(3), "false_positive": 0.1}, "transition matrix .*or false_positive"),
        ({"transition": [[0.9, 0.2], [0.1, 0.8]]}, r"Row 0 .*no distribution.*transposed"),
        ({"transition": [[0.9, 0.1], [0.5, 0.4]]}, r"Row 1 of the transition matrix is \[0.5, 0.4\].* sums to 1\."),
        ({"transition": [[1.1, -0.1], [0, 1]]}, "Row 0 .*no distribution"),
        ({"transition": [[float("nan"), 1], [0, 1]]}, "Row 0 .*no distribution"),
        ({"transition": [[0.5, 0.5]]}, r"shape \(1, 2\)"),
        ({"false_positive": [0.1, 0.6], "false_negative": [0.1, 0.4]}, "Label 1: .*sum below 1"),
        ({"false_positive": [0.1, -0.1]}, "Label 1: .*-0.1"),
        ({"false_positive": [0.1, 0.2], "false_negative": [0.1] * 3}, "one rate per label"),
        ({"false_negative": 1.0}, "Label 0"),
    ],
)
def test_impossible_noise_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ForwardCorrection(**arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneralizedCrossEntropy(0.0), "q=0.0"),
        (lambda: GeneralizedCrossEntropy(1.5), "q=1.5"),
        (lambda: SymmetricCrossEntropy(-1, 1), "a=-1"),
        (lambda: SymmetricCrossEntropy(0, 0), "not both 0"),
        (lambda: EarlyLearning(beta=1.0), "beta=1.0"),
        (lambda: EarlyLearning(lam=-1), "lam=-1"),
        (lambda: EarlyLearning(start=1), "start=1"),
        (lambda: CoTeaching(1.0), "noise_rate=1.0"),
        (lambda: CoTeaching([0.1, -0.2]), r"noise_rate=.*\(label 1\)"),
        (lambda: CoTeaching(0.1, missing_rate=2), "missing_rate=2"),
        (lambda: CoTeaching(0.1, warm_up=2), "warm_up=2"),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("loss", "task", "message"),
    [
        (ForwardCorrection(np.eye(4)), "single", "noise of 4 labels; the model knows 3"),
        (ForwardCorrection(np.eye(3)), "multi", "needs false_positive and false_negative rates for multi"),
        (ForwardCorrection(false_positive=0.1), "single", "needs a transition matrix for single"),
        (ForwardCorrection(false_positive=[0.1, 0.1]), "multi", "noise of 2 labels"),
        (CoTeaching([0.1, 0.1]), "single", "noise_rate has 2 values; the model knows 3"),
    ],
)
def test_noise_of_another_size_is_refused_when_training_starts(tmp_path, tokenizer, loss, task, message):
    with pytest.raises(ValueError, match=message):
        textpl.attach(make_trainer(tmp_path, tokenizer, task=task), NoisyLabels(loss)).train()


@both
def test_early_learning_follows_the_authors_code(task):
    """Two visits of a row, single-label as in ELR's loss.py; multi-label the same on (p, 1 - p) of each label."""
    loss, lam, beta = EarlyLearning(lam=2.0, beta=0.6), 2.0, 0.6
    batch = make_batch(task, rows=2)
    batch.rows = torch.tensor([7, 3])
    loss.prepare(batch.run)
    torch.manual_seed(0)
    labels = torch.tensor([2, 0]) if task == "single" else torch.tensor([[1.0, 0, 0], [0, 1.0, 1.0]])
    averages = torch.zeros(2, 3) if task == "single" else torch.zeros(2, 3, 2)
    for _ in range(3):
        z = torch.randn(2, 3)
        if task == "single":
            p = z.softmax(1).clamp(1e-4, 1 - 1e-4)
            averages = beta * averages + (1 - beta) * p / p.sum(1, keepdim=True)
            expected = F.cross_entropy(z, labels, reduction="none") + lam * (1 - (averages * p).sum(1)).log()
        else:
            p = z.sigmoid().clamp(1e-4, 1 - 1e-4)
            p = torch.stack([p, 1 - p], -1)
            averages = beta * averages + (1 - beta) * p
            plain = F.binary_cross_entropy_with_logits(z, labels, reduction="none")
            expected = plain + lam * (1 - (averages * p).sum(-1)).log()
        torch.testing.assert_close(loss(z, labels, batch), expected, rtol=1e-5, atol=1e-6)
    assert loss.mass[[7, 3]].tolist() == pytest.approx([1 - beta**3] * 2) and loss.mass.count_nonzero() == 2


def test_early_learning_starts_late_but_watches_from_the_beginning():
    loss, batch = EarlyLearning(start=0.5), make_batch(index=4)
    loss.prepare(batch.run)
    z, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(loss(z, labels, batch), cross_entropy(z, labels, batch))
    batch.index = 5
    assert (loss(z, labels, batch) < cross_entropy(z, labels, batch)).all()


# ---- which rows co-teaching keeps ----


def keep_by_hand(history, losses, kinds, rate):
    """Kind by kind: remember the last MEMORY losses, keep what is not above the quantile among them."""
    for kind, loss in zip(kinds, losses, strict=True):
        history.setdefault(kind, []).append(loss)
    kept = []
    for kind, loss in zip(kinds, losses, strict=True):
        recent = sorted(history[kind][-MEMORY:])
        count = min(max(round((1 - rate[kind]) * len(recent)), 1), MEMORY)
        kept.append(1.0 if rate[kind] == 0 else float(loss <= recent[count - 1]))
    return kept


def test_kept_rows_are_those_of_a_slow_reference():
    rng = np.random.default_rng(0)
    recent, history = RecentLosses(4, torch.device("cpu")), {}
    rate = torch.tensor([0.0, 0.25, 0.5, 0.6])
    for rows in (1, 3, 8, 200, 8, 8, 30):
        kinds = rng.choice(4, size=rows, p=[0.1, 0.2, 0.3, 0.4])
        losses = rng.random(rows).astype(np.float32)
        kept = recent.keep(torch.tensor(losses), torch.tensor(kinds), torch.ones(rows, dtype=torch.bool), rate)
        assert kept.tolist() == keep_by_hand(history, losses.tolist(), kinds.tolist(), rate.tolist())
    assert recent.counts.tolist() == [len(history[k]) for k in range(4)]


def test_masked_cells_are_not_remembered():
    recent = RecentLosses(2, torch.device("cpu"))
    counted = torch.tensor([[True, False], [True, True]])
    recent.keep(torch.tensor([[1.0, 100.0], [2.0, 3.0]]), torch.tensor([0, 1]), counted, torch.zeros(2))
    assert recent.counts.tolist() == [2, 1] and 100.0 not in recent.values


def test_the_share_kept_is_that_of_each_label():
    torch.manual_seed(0)
    recent, rate = RecentLosses(2, torch.device("cpu")), torch.tensor([0.1, 0.4])
    kept = []
    for _ in range(300):
        kinds = torch.tensor([0] * 6 + [1] * 2)
        losses = torch.rand(8) + 5 * kinds  # the rare label is the hard one
        kept.append(recent.keep(losses, kinds, torch.ones(8, dtype=torch.bool), rate))
    shares = torch.stack(kept)[20:]
    assert shares[:, :6].mean().item() == pytest.approx(0.9, abs=0.03)
    assert shares[:, 6:].mean().item() == pytest.approx(0.6, abs=0.05)


# ---- in a real Trainer ----


class Recorder(TrainerCallback):
    """Keeps the gradient that the optimizer is about to use."""

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.gradient = [p.grad.detach().clone() for p in kwargs["model"].parameters() if p.grad is not None]


def weighted_data(tokenizer, task, kind, rows=32):
    """Labelled rows with weights for rows or for cells, among them zeros."""
    rng = np.random.default_rng(5)
    data = make_data(tokenizer, rows=rows, task=task)
    if kind is None:
        return data, torch.ones(rows) if task == "single" else torch.ones(rows, 3)
    weight = rng.choice([0.0, 0.25, 1.0, 2.0], size=(rows, 3) if kind == "cells" else rows)
    data = data.add_column("label_weight", weight.tolist())
    weight = torch.tensor(weight)
    return data, weight if task == "single" or kind == "cells" else weight[:, None].expand(rows, 3)


def one_step(folder, tokenizer, task, callback, data, *, accumulation=1, dtype=torch.float64, **settings):
    """A trained Trainer, the gradient of its one step and the numbers of the rows in it."""
    recorder, seen = Recorder(), []
    trainer = make_trainer(
        folder,
        tokenizer,
        task=task,
        model=make_model(task, dtype=dtype),
        data=data,
        callbacks=[recorder],
        max_steps=1,
        max_grad_norm=0.0,
        learning_rate=0.0,
        gradient_accumulation_steps=accumulation,
        **settings,
    )
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: seen.append([row["textpl_row"] for row in rows]) or collate(rows)
    textpl.attach(trainer, *callback).train()
    return trainer, recorder.gradient, [row for rows in seen[:accumulation] for row in rows]


def cell_losses(model, data, rows, tokenizer, task, name):
    """Loss of every row (cell) straight from the definitions."""
    inputs = tokenizer(data[rows]["text"], return_tensors="pt", padding=True)
    z, labels = model(**inputs).logits, torch.tensor(data[rows]["label"])
    p = z.softmax(-1) if task == "single" else z.sigmoid()
    y = F.one_hot(labels, 3).double() if task == "single" else labels.double()
    total = (lambda x: x.sum(-1)) if task == "single" else (lambda x: x)
    if name == "forward":
        fp, fn = torch.tensor(FP), torch.tensor(FN)
        p = p @ torch.tensor(TRANSITION, dtype=p.dtype) if task == "single" else p * (1 - fn) + (1 - p) * fp
    if name in ("plain", "forward"):
        return total(-y * p.log()) if task == "single" else -y * p.log() - (1 - y) * (1 - p).log()
    if name == "gce":
        loss = lambda p, y: y * (1 - p**0.6) / 0.6  # noqa: E731
    else:
        loss = lambda p, y: -0.5 * y * p.log() - 2.0 * p * y.clamp_min(1e-4).log()  # noqa: E731
    return total(loss(p, y)) if task == "single" else loss(p, y) + loss(1 - p, 1 - y)


WEIGHTS = [("single", None), ("single", "rows"), ("multi", None), ("multi", "rows"), ("multi", "cells")]


@pytest.mark.parametrize(("task", "kind"), WEIGHTS)
@pytest.mark.parametrize(("name", "accumulation"), [("plain", 1), ("plain", 4), ("gce", 2)])
def test_gradient_is_that_of_the_weighted_mean_over_the_step(tmp_path, tokenizer, task, kind, accumulation, name):
    data, weight = weighted_data(tokenizer, task, kind)
    callback = NoisyLabels(STATELESS[name](task))
    trainer, gradient, rows = one_step(tmp_path, tokenizer, task, [callback], data, accumulation=accumulation)
    model, w = trainer.model.eval(), weight[rows]
    assert len(rows) == 4 * accumulation and (kind is None or 0 < (w == 0).sum() < w.numel())
    loss = (w * cell_losses(model, data, rows, tokenizer, task, name)).sum() / w.sum()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert distance(gradient, reference_gradient(model, loss)) <= 1e-9


@both
@pytest.mark.parametrize("name", ["forward", "sce"])
def test_gradient_of_the_other_losses(tmp_path, tokenizer, task, name):
    data, weight = weighted_data(tokenizer, task, "rows")
    callback = NoisyLabels(STATELESS[name](task))
    trainer, gradient, rows = one_step(tmp_path, tokenizer, task, [callback], data, accumulation=2)
    model, w = trainer.model.eval(), weight[rows]
    loss = (w * cell_losses(model, data, rows, tokenizer, task, name)).sum() / w.sum()
    assert distance(gradient, reference_gradient(model, loss)) <= 1e-6  # the noise rates are float32 here


@both
@pytest.mark.parametrize("given", [False, True])
def test_semi_supervised_takes_the_same_losses_and_weights(tmp_path, tokenizer, task, given):
    """Where the pool weighs nothing, the gradient is that of the labelled rows."""
    data, weight = weighted_data(tokenizer, task, "rows")
    labeled_loss = GeneralizedCrossEntropy(0.6) if given else None
    callback = SemiSupervised(make_pool(task=task), weight=0.0, labeled_loss=labeled_loss)
    trainer, gradient, rows = one_step(tmp_path, tokenizer, task, [callback], data, accumulation=2)
    model, w = trainer.model.eval(), weight[rows]
    loss = (w * cell_losses(model, data, rows, tokenizer, task, "gce" if given else "plain")).sum() / w.sum()
    assert distance(gradient, reference_gradient(model, loss)) <= 1e-9


@pytest.mark.parametrize("order", [1, -1])
def test_noisy_labels_and_a_pool_stand_side_by_side(tmp_path, tokenizer, order):
    data, weight = weighted_data(tokenizer, "single", "rows")
    callbacks = [NoisyLabels(GeneralizedCrossEntropy(0.6)), SemiSupervised(make_pool(), weight=0.0)][::order]
    trainer, gradient, rows = one_step(tmp_path, tokenizer, "single", callbacks, data)
    model, w = trainer.model.eval(), weight[rows]
    loss = (w * cell_losses(model, data, rows, tokenizer, "single", "gce")).sum() / w.sum()
    assert distance(gradient, reference_gradient(model, loss)) <= 1e-9


def test_soft_labels_of_a_single_label_task(tmp_path, tokenizer):
    soft = np.random.default_rng(0).dirichlet([1, 1, 1], 32)
    data = make_data(tokenizer, rows=32).remove_columns("label").add_column("label", soft.tolist())
    trainer, gradient, rows = one_step(tmp_path, tokenizer, "single", [NoisyLabels()], data, accumulation=2)
    model = trainer.model.eval()
    z = model(**tokenizer(data[rows]["text"], return_tensors="pt", padding=True)).logits
    loss = -(torch.tensor(soft[rows], dtype=torch.float32) * z.log_softmax(-1)).sum(-1).mean()
    assert distance(gradient, reference_gradient(model, loss)) <= 1e-9
    wrong = data.remove_columns("label").add_column("label", [*soft[:3].tolist(), [0.5, 0.9, 0.1], *soft[4:].tolist()])
    with pytest.raises(ValueError, match="Labeled row 3 has the label"):
        textpl.attach(make_trainer(tmp_path, tokenizer, data=wrong), NoisyLabels()).train()


@both
def test_co_teaching_gradients_are_those_of_what_the_other_keeps(tmp_path, tokenizer, task):
    data, weight = weighted_data(tokenizer, task, "rows")
    loss = CoTeaching(0.4, missing_rate=0.2, warm_up=0.0)
    before = {}
    original = loss.before_optimizer_step
    loss.before_optimizer_step = lambda args, lr, scale: (
        before.update(gradient=[p.grad.clone() for p in loss.peer.parameters() if p.grad is not None]),
        original(args, lr, scale),
    )
    callback = NoisyLabels(loss)
    trainer, gradient, rows = one_step(tmp_path, tokenizer, task, [callback], data, accumulation=2)
    model, peer, w = trainer.model.eval(), loss.peer.eval(), weight[rows]
    losses = [cell_losses(net, data, rows, tokenizer, task, "plain") for net in (model, peer)]
    y = torch.tensor(data[rows]["label"])
    kinds = y if task == "single" else 10 * torch.arange(3) + y.long()
    rate = (
        {k: 0.4 for k in range(3)}
        if task == "single"
        else {10 * k + v: (0.2, 0.4)[v] for k in range(3) for v in (0, 1)}
    )
    kept = []
    for values in losses:
        history, parts = {}, []
        for start in (0, 4):  # micro-batches, one after the other
            part = slice(start, start + 4)
            counted = w[part] > 0
            v, k = values[part].detach().float(), kinds[part]
            parts.append(torch.zeros(v.shape))
            parts[-1][counted] = torch.tensor(keep_by_hand(history, v[counted].tolist(), k[counted].tolist(), rate))
        kept.append(torch.cat(parts) / (1 - torch.tensor([rate[k] for k in kinds.flatten().tolist()])).reshape(w.shape))
    assert any((k == 0)[w > 0].any() for k in kept), "the test needs some left out"
    assert distance(gradient, reference_gradient(model, (w * kept[1] * losses[0]).sum() / w.sum())) <= 1e-6
    assert distance(before["gradient"], reference_gradient(peer, (w * kept[0] * losses[1]).sum() / w.sum())) <= 1e-6


def test_the_peer_takes_the_steps_that_the_trainer_would(tmp_path, tokenizer):
    """With nothing left out and the same start, peer and model stay equal."""
    loss = CoTeaching(0.0)
    prepare = loss.prepare

    def same_start(run):
        prepare(run)
        loss.peer.load_state_dict(run.model.state_dict())

    loss.prepare = same_start
    settings = {"max_steps": 5, "lr_scheduler_type": "cosine", "max_grad_norm": 0.5, "weight_decay": 0.1}
    trainer = make_trainer(tmp_path, tokenizer, gradient_accumulation_steps=2, adam_beta2=0.9, **settings)
    textpl.attach(trainer, NoisyLabels(loss)).train()
    for (name, a), b in zip(trainer.model.named_parameters(), loss.peer.parameters(), strict=True):
        if "key.bias" in name:  # softmax takes it out: its gradient is rounding, which Adam makes a step of
            continue
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)


def test_co_teaching_leaves_a_plain_model_and_works_under_autocast(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, model=make_model(dropout=0.1), bf16=True, max_steps=3)
    loss = CoTeaching(0.3)
    textpl.attach(trainer, NoisyLabels(loss)).train()
    trainer.save_model(tmp_path / "model")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model")
    assert set(model.state_dict()) == set(make_model().state_dict())
    assert not any(p is q for p in trainer.model.parameters() for q in loss.peer.parameters())
    start = make_model(dropout=0.1).state_dict()
    assert all(not torch.equal(p, start[name]) for name, p in loss.peer.named_parameters() if "query.weight" in name)


LOSSES = {
    "gce": lambda: GeneralizedCrossEntropy(),
    "elr": lambda: EarlyLearning(lam=2.0),
    "co_teaching": lambda: CoTeaching(0.3, missing_rate=0.1, warm_up=0.5),
}
RESUME = {"max_steps": 9, "save_strategy": "steps", "save_steps": 3, "lr_scheduler_type": "linear"}


def build(folder, tokenizer, name, task, stop=None, pool=False, data=None, **settings):
    data = weighted_data(tokenizer, task, "rows", rows=20)[0] if data is None else data
    model, callbacks = make_model(task, dropout=0.1), [] if stop is None else [Stop(stop)]
    trainer = make_trainer(
        folder, tokenizer, task=task, model=model, data=data, callbacks=callbacks, **(RESUME | settings)
    )
    loss = LOSSES[name]()
    callback = textpl.adamatch(make_pool(task=task)) if pool else NoisyLabels(loss)
    if pool:
        callback.labeled_loss = loss
    return textpl.attach(trainer, callback), loss


@pytest.mark.parametrize(
    ("name", "task", "pool"),
    [
        ("gce", "multi", False),
        ("elr", "single", False),
        ("elr", "multi", False),
        ("elr", "multi", True),
        ("co_teaching", "single", False),
        ("co_teaching", "multi", False),
        ("co_teaching", "single", True),
    ],
)
def test_resumed_run_equals_a_straight_one(tmp_path, tokenizer, name, task, pool):
    """More than one epoch (5 steps), accumulation, killed between checkpoints."""
    settings = {"pool": pool, "gradient_accumulation_steps": 1 if pool else 2}
    straight, loss = build(tmp_path / "straight", tokenizer, name, task, **settings)
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "killed", tokenizer, name, task, stop=8, **settings)[0].train()
    resumed, again = build(tmp_path / "killed", tokenizer, name, task, **settings)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 9
    for key, tensor in straight.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], tensor, rtol=0, atol=0, msg=key)
    if name != "gce":
        for key, tensor in loss.state_dict().items():
            torch.testing.assert_close(again.state_dict()[key], tensor, rtol=0, atol=0, equal_nan=True, msg=key)


def test_resuming_with_other_labels_or_settings_is_refused(tmp_path, tokenizer):
    build(tmp_path, tokenizer, "elr", "single")[0].train()
    assert (tmp_path / "checkpoint-9" / LABELS_FILE).exists()
    data = make_data(tokenizer, rows=20, seed=4)
    with pytest.raises(ValueError, match="made with another labelled set"):
        build(tmp_path, tokenizer, "elr", "single", data=data)[0].train(resume_from_checkpoint=True)
    trainer = make_trainer(tmp_path, tokenizer, data=weighted_data(tokenizer, "single", "rows", rows=20)[0], **RESUME)
    with pytest.raises(ValueError, match="made with another slots"):
        textpl.attach(trainer, NoisyLabels(EarlyLearning(lam=5.0))).train(resume_from_checkpoint=True)
    (tmp_path / "checkpoint-9" / LABELS_FILE).unlink()
    with pytest.raises(ValueError, match=f"No {LABELS_FILE} of step 9"):
        build(tmp_path, tokenizer, "elr", "single")[0].train(resume_from_checkpoint=True)


def test_a_loss_can_train_twice(tmp_path, tokenizer):
    """Nothing of the first run is left in it."""
    results = []
    loss = EarlyLearning()
    for i in range(2):
        trainer = make_trainer(tmp_path / str(i), tokenizer, model=make_model(dropout=0.1), max_steps=8)
        textpl.attach(trainer, NoisyLabels(loss)).train()
        results.append(trainer.model.state_dict())
    for key, tensor in results[0].items():
        torch.testing.assert_close(results[1][key], tensor, rtol=0, atol=0, msg=key)


def test_the_dataset_evaluation_and_the_model_see_nothing_of_it(tmp_path, tokenizer):
    data = weighted_data(tokenizer, "multi", "cells")[0]
    columns = list(data.column_names)
    trainer = make_trainer(
        tmp_path, tokenizer, task="multi", data=data, max_steps=3, eval_strategy="steps", eval_steps=1
    )
    trainer.eval_dataset = weighted_data(tokenizer, "multi", "cells", rows=12)[0]
    plain = make_trainer(tmp_path, tokenizer, task="multi")
    textpl.attach(trainer, NoisyLabels(GeneralizedCrossEntropy()))
    for rows in (trainer.eval_dataset, data):
        assert trainer.evaluate(rows)["eval_loss"] == pytest.approx(plain.evaluate(rows)["eval_loss"], rel=1e-5)
    trainer.train()
    assert trainer.train_dataset is data and data.column_names == columns
    losses = [h["eval_loss"] for h in trainer.state.log_history if "eval_loss" in h]
    assert len(losses) == 3 and trainer.evaluate()["eval_loss"] == pytest.approx(losses[-1])
    assert trainer.evaluate(data)["eval_loss"] > 0 and len(trainer.predict(data).predictions) == len(data)


@pytest.mark.parametrize("kind", ["list", "transform", "columns kept", "shuffled"])
def test_every_form_of_training_set_is_numbered(tmp_path, tokenizer, kind):
    """The gradient needs the right rows' weights, whatever way the rows take to the model."""
    data, weight = weighted_data(tokenizer, "single", "rows")
    settings, original = {}, data
    if kind == "list":
        data = [{k: row[k] for k in ("input_ids", "attention_mask", "label", "label_weight")} for row in data]
    elif kind == "transform":
        data = data.remove_columns(["input_ids", "attention_mask"])
        data.set_transform(
            lambda batch: {**tokenizer(batch["text"]), **{k: batch[k] for k in ("label", "label_weight")}}
        )
    elif kind == "columns kept":
        data, settings = data.remove_columns("text"), {"remove_unused_columns": False}
    elif kind == "shuffled":
        original = data = data.shuffle(seed=1)
        weight = torch.tensor(data["label_weight"][:])
    trainer, gradient, rows = one_step(tmp_path, tokenizer, "single", [NoisyLabels()], data, accumulation=2, **settings)
    model, w = trainer.model.eval(), weight[rows]
    loss = (w * cell_losses(model, original, rows, tokenizer, "single", "plain")).sum() / w.sum()
    assert distance(gradient, reference_gradient(model, loss)) <= 1e-9


def test_a_collator_need_not_know_of_the_number(tmp_path, tokenizer):
    data, weight = weighted_data(tokenizer, "single", "rows")
    collate, seen = DataCollatorWithPadding(tokenizer), []

    def forgetful(rows):
        seen.extend(row["textpl_row"] for row in rows)
        return {k: v for k, v in collate(rows).items() if k != "textpl_row"}

    trainer = make_trainer(tmp_path, tokenizer, data=data, max_steps=1, learning_rate=0.0)
    trainer.data_collator = forgetful
    textpl.attach(trainer, NoisyLabels()).train()
    w, rows = weight[seen[:4]], seen[:4]
    loss = (w * cell_losses(trainer.model.eval(), data, rows, tokenizer, "single", "plain")).sum() / w.sum()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert trainer.data_collator is forgetful


def test_a_collator_that_makes_another_number_of_rows_is_named(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, max_steps=1)
    collate = DataCollatorWithPadding(tokenizer)
    trainer.data_collator = lambda rows: {k: v[1:] for k, v in collate(rows).items() if k != "textpl_row"}
    with pytest.raises(ValueError, match="made 3 rows of 4"):
        textpl.attach(trainer, NoisyLabels()).train()


def test_a_dataloader_without_numbers_is_named(tmp_path, tokenizer):
    class Mine(Trainer):
        def get_train_dataloader(self):
            return self._get_dataloader(make_data(tokenizer), "mine", 4, is_training=True)

    with pytest.raises(ValueError, match="no 'textpl_row'.*self.train_dataset"):
        textpl.attach(make_trainer(tmp_path, tokenizer, trainer=Mine, max_steps=1), NoisyLabels()).train()


def test_a_step_without_any_weight_changes_nothing(tmp_path, tokenizer):
    data = make_data(tokenizer, rows=16).add_column("label_weight", [1.0] + [0.0] * 15)
    callback = NoisyLabels()
    trainer, gradient, rows = one_step(tmp_path, tokenizer, "single", [callback], data)
    assert 0 not in rows, "the test needs a step of masked rows"
    assert all((g == 0).all() for g in gradient) and trainer.state.log_history[0]["loss"] == 0


@pytest.mark.parametrize(
    ("task", "weight", "message"),
    [
        ("single", [1.0] * 3 + [-1.0] + [1.0] * 20, "has -1 in row 3: weights are numbers >= 0"),
        ("single", [1.0, None] + [1.0] * 22, "has nan in row 1"),
        ("single", [0.0] * 24, "0 everywhere"),
        ("single", ["a"] * 24, "must hold one number per row"),
        ("single", [[1.0] * 3] * 24, "must hold one number per row"),
        ("multi", [[1.0] * 2] * 24, "one number per row, or 3"),
        ("multi", [[1.0] * 3] * 5 + [[1.0, 1.0, float("nan")]] + [[1.0] * 3] * 18, "has nan in row 5, label 2"),
    ],
)
def test_impossible_weights_are_refused(tmp_path, tokenizer, task, weight, message):
    data = make_data(tokenizer, task=task).add_column("label_weight", weight)
    with pytest.raises(ValueError, match=message):
        textpl.attach(make_trainer(tmp_path, tokenizer, task=task, data=data), NoisyLabels()).train()


def test_losses_that_average_themselves_cannot_be_weighted(tmp_path, tokenizer):
    data = weighted_data(tokenizer, "single", "rows")[0]

    def own_mean(logits, labels, batch):
        return logits.mean()

    with pytest.raises(ValueError, match="function averages by itself and cannot weigh rows"):
        textpl.attach(make_trainer(tmp_path, tokenizer, data=data), NoisyLabels(own_mean)).train()


def test_what_attach_refuses(tmp_path, tokenizer):
    trainer = textpl.attach(make_trainer(tmp_path, tokenizer), NoisyLabels())
    with pytest.raises(ValueError, match="already has a NoisyLabels callback"):
        textpl.attach(trainer, NoisyLabels())
    with pytest.raises(ValueError, match=r"Both callbacks bring a loss.*tsa=None"):
        textpl.attach(trainer, textpl.uda(make_pool()))
    data = weighted_data(tokenizer, "single", "rows")[0]
    smoothed = make_trainer(tmp_path, tokenizer, data=data, label_smoothing_factor=0.1)
    with pytest.raises(ValueError, match="only one loss.*'label_weight'"):
        textpl.attach(smoothed, textpl.fixmatch(make_pool()))
    with pytest.raises(ValueError, match=r"labeled_loss.*attach"):
        make_trainer(tmp_path, tokenizer, callbacks=[NoisyLabels()]).train()
    stream = make_data(tokenizer).to_iterable_dataset()
    with pytest.raises(ValueError, match="streaming"):
        textpl.attach(make_trainer(tmp_path, tokenizer, data=stream), NoisyLabels()).train()


def test_a_subclass_that_computes_the_loss_itself(tmp_path, tokenizer):
    class Twice(Trainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            assert "textpl_row" not in inputs
            return 2 * super().compute_loss(model, inputs, num_items_in_batch=num_items_in_batch)

    losses = []
    for kind in (Trainer, Twice):
        trainer = make_trainer(tmp_path, tokenizer, trainer=kind, max_steps=1)
        textpl.attach(trainer, NoisyLabels(EarlyLearning())).train()
        losses.append(trainer.state.log_history[0]["loss"])
    assert losses[1] == pytest.approx(2 * losses[0])


def test_co_teaching_in_several_processes_is_refused():
    with pytest.raises(ValueError, match="single process"):
        CoTeaching(0.1).prepare(SimpleNamespace(world=2))


# ---- several processes ----


def test_two_processes_share_weights_and_averages(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", __file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert max(result["distance"] for result in results) <= 1e-9
    assert results[0]["average"] == results[1]["average"]
    assert all(mass > 0 for mass in results[0]["mass"]), "after two epochs every process knows every row"


def main(folder):
    """One process: its reduced gradient against that of all rows of both, then what ELR knows of the rows."""
    tokenizer = make_tokenizer()
    data, weight = weighted_data(tokenizer, "multi", "cells")
    settings = {"ddp_find_unused_parameters": False}
    trainer, gradient, rows = one_step(
        folder / "out",
        tokenizer,
        "multi",
        [NoisyLabels(GeneralizedCrossEntropy(0.6))],
        data,
        accumulation=2,
        **settings,
    )
    rank = trainer.args.process_index
    everyone = [None, None]
    torch.distributed.all_gather_object(everyone, rows)
    rows = [row for part in everyone for row in part]
    model, w = make_model("multi", dtype=torch.float64).eval(), weight[rows]
    loss = (w * cell_losses(model, data, rows, tokenizer, "multi", "gce")).sum() / w.sum()
    result = {"distance": distance(gradient, reference_gradient(model, loss))}
    elr = EarlyLearning()
    trainer = make_trainer(folder / "elr", tokenizer, max_steps=6, num_train_epochs=2, **settings)
    textpl.attach(trainer, NoisyLabels(elr)).train()
    result |= {"average": elr.average.tolist(), "mass": elr.mass.tolist()}
    (folder / f"{rank}.json").write_text(json.dumps(result))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
