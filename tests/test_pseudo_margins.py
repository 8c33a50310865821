"""MarginMatch against a slow float64 reference, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_pool, make_trainer
from real_steps import make_batch, make_run, make_step

import textpl
from textpl.components.outputs import Outputs
from textpl.components.pseudo_margins import PERCENTILE, SMOOTHING, PseudoMargins

ROWS, CLASSES = 40, 3


class Reference:
    """The averages, FlexMatch's counts and the cut, in plain Python."""

    def __init__(self, wrong, threshold):
        self.average, self.visits, self.sure = np.zeros((ROWS, CLASSES + 1)), np.zeros(ROWS, int), [-1] * ROWS
        self.wrong, self.threshold = wrong, threshold

    def weights(self, rows, z):
        p = np.exp(z[:, :-1]) / np.exp(z[:, :-1]).sum(1, keepdims=True)
        counts = [sum(label == k for label in self.sure) for k in range(CLASSES)]
        without = (self.visits > 0).sum() - sum(counts)
        beta = np.array(counts) / max(*counts, without, 1)
        passed = p.max(1) >= self.threshold * (beta / (2 - beta))[p.argmax(1)]
        for i, row in enumerate(rows):
            margin = [z[i, c] - max(np.delete(z[i], c)) for c in range(CLASSES + 1)]
            share = SMOOTHING / (1 + self.visits[row])
            self.average[row] = np.array(margin) * share + self.average[row] * (1 - share)
            self.visits[row] += 1
            if p[i].max() >= self.threshold and not self.wrong[row]:
                self.sure[row] = int(p[i].argmax())
        known = self.wrong & (self.visits > 0)
        if known.any():
            passed &= self.average[rows, p.argmax(1)] >= np.quantile(self.average[known, -1], PERCENTILE)
        return np.where(self.wrong[rows], passed.mean(), passed)


def test_weights_equal_the_reference(tokenizer):
    run = make_run(tokenizer, rows=ROWS)
    slot = PseudoMargins(threshold=0.6, wrong=0.2)
    slot.prepare(run)
    assert int(slot.wrong_rows.sum()) == 8
    torch.nn.init.normal_(slot.output.module.weight, generator=torch.Generator().manual_seed(1))
    reference, generator = Reference(slot.wrong_rows.numpy(), 0.6), torch.Generator().manual_seed(2)
    seen = set()
    for index in range(12):
        step = make_step(run, torch.randperm(ROWS, generator=generator)[:10], index)
        logits, features = (torch.randn(10, n, generator=generator) for n in (CLASSES, 16))
        outputs = Outputs(logits, features)
        step.passes = lambda inputs, grad, train, outputs=outputs: outputs
        with torch.no_grad():
            p, valid = slot.teacher(step)
            w = slot.select(p, step)
            z = torch.cat([logits, slot.output.module(features)], 1).double().numpy()
        np.testing.assert_allclose(w, reference.weights(step.rows.numpy(), z), atol=1e-6)
        seen |= set(w.tolist())
        assert valid.all()
    np.testing.assert_allclose(slot.margins, reference.average, atol=1e-5)
    assert slot.visits.tolist() == reference.visits.tolist() and slot.confident.tolist() == reference.sure
    assert {0.0, 1.0} < seen


def test_wrong_rows_are_taught_a_class_beside_the_models(tokenizer):
    run = make_run(tokenizer, rows=ROWS)
    slot = PseudoMargins(wrong=0.5)
    slot.prepare(run)
    step = make_step(run, range(8))
    q, w = F.one_hot(torch.arange(8) % 3, 3).float(), torch.rand(8, generator=torch.Generator().manual_seed(0))
    loss = slot(make_batch(step, q, w), step)
    with torch.no_grad():
        outputs = step.forward(step.views[0])
        z = torch.cat([outputs.logits, slot.output.module(outputs.features)], 1)
    target = torch.where(slot.wrong_rows[:8], 3, torch.arange(8) % 3)
    assert 0 < int(slot.wrong_rows[:8].sum()) < 8
    torch.testing.assert_close(loss, (w * F.cross_entropy(z, target, reduction="none")).sum() / 8)
    loss.backward()
    assert slot.output.module.weight.grad.any() and all(p.grad is not None for p in run.model.classifier.parameters())


def test_a_row_drawn_twice_in_a_step_is_one_visit(tokenizer):
    run = make_run(tokenizer, rows=5)
    slot = PseudoMargins()
    slot.prepare(run)
    step = make_step(run, [0, 1, 2, 3, 4, 0, 1])
    with torch.no_grad():
        slot.select(slot.teacher(step)[0], step)
    assert slot.visits.tolist() == [1] * 5


@pytest.mark.parametrize("settings", [{"threshold": 1.5}, {"wrong": 0.0}, {"wrong": 1.0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="must lie in"):
        PseudoMargins(**settings)


def test_several_labels_are_refused(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="MarginMatch is for single-label tasks.*Use cap"):
        textpl.attach(
            make_trainer(tmp_path, tokenizer, task="multi"), textpl.marginmatch(make_pool(task="multi"))
        ).train()
