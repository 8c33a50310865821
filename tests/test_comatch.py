"""CoMatch against numpy: the smoothing, the memory, the contrast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_pool, make_trainer
from real_steps import make_batch, make_run, make_step

import textpl
from textpl.components.comatch import CoMatch, neighbor_weights


def unit(module, features):
    hidden = F.leaky_relu(module.hidden(features), 0.1)
    out = module.out(hidden).detach().double().numpy()
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def test_smoothing_and_memory_equal_the_reference(tokenizer):
    run = make_run(tokenizer)
    slot = CoMatch(alpha=0.7, temperature=0.3, memory=20, prior=None)
    slot.prepare(run)
    keys, labels = [], []  # all that were ever remembered, oldest first
    for index in range(4):
        step = make_step(run, range(6 * index, 6 * index + 6), index)
        with torch.no_grad():
            p, _ = slot.teacher(step)
            q = slot.align(p, step)
            outputs, known = step.forward(step.views[0]), step.labeled_rows()
            own = unit(slot.projection.module, outputs.features)
            theirs = unit(slot.projection.module, step.forward(known.inputs).features)
        expected = p.double().numpy()
        if keys:
            near = softmax(own @ np.array(keys[-20:]).T / 0.3)
            expected = 0.7 * expected + 0.3 * near @ np.array(labels[-20:])
        np.testing.assert_allclose(q, expected, atol=1e-5)
        keys += [*own, *theirs]
        labels += [*p.double().numpy(), *known.targets.double().numpy()]
    assert int(slot.filled) == 40 and len(slot.keys) == 20


def test_a_labeled_row_without_finite_features_does_not_reach_later_targets(tokenizer, monkeypatch):
    run = make_run(tokenizer)
    slot = CoMatch(prior=None)
    slot.prepare(run)
    first, later = make_step(run, range(6)), make_step(run, range(6, 12), 1)
    with torch.no_grad():
        p, _ = slot.teacher(first)
        forward = first.forward

        def broken(inputs, **how):
            outputs = forward(inputs, **how)
            outputs.features[0] = float("nan")
            return outputs

        monkeypatch.setattr(first, "forward", broken)
        slot.align(p, first)
        p, _ = slot.teacher(later)
        assert slot.keys.isfinite().all() and slot.align(p, later).isfinite().all()


def test_loss_equals_the_reference(tokenizer):
    run = make_run(tokenizer)
    slot = CoMatch(temperature=0.5, contrast=0.3)
    slot.prepare(run)
    step = make_step(run, range(7), copies=3)
    q = torch.softmax(4 * torch.randn(7, 3, generator=torch.Generator().manual_seed(0)), 1)
    w = torch.tensor([1.0, 0, 1, 1, 0, 1, 0])
    loss = slot(make_batch(step, q, w), step)
    with torch.no_grad():
        outputs = step.forward(step.views[0])
    f, z = unit(slot.projection.module, outputs.features), outputs.logits.double().numpy()
    weights = q.double().numpy() @ q.double().numpy().T
    np.fill_diagonal(weights, 1)
    weights[weights < 0.8] = 0
    weights /= weights.sum(1, keepdims=True)
    assert 7 < np.count_nonzero(weights) < 49
    contrast = -(weights * np.log(softmax(f @ f.T / 0.5))).sum(1).mean()
    cross = -(q.numpy() * np.log(softmax(z))).sum(1)
    assert loss.item() == pytest.approx((w.numpy() * cross).mean() + 0.3 * contrast, rel=1e-4)
    loss.backward()
    assert slot.projection.module.hidden.weight.grad.any() and run.model.bert.pooler.dense.weight.grad.any()
    np.testing.assert_allclose(neighbor_weights(q), weights, atol=1e-5)


def test_rows_of_no_weight_are_contrasted_and_the_projection_learns(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, max_steps=3)
    callback = textpl.comatch(make_pool(), threshold=1.0, ratio=3)
    start = []
    prepare = callback.objective.projection.prepare
    callback.objective.projection.prepare = lambda run: (
        prepare(run),
        start.extend(p.detach().clone() for p in callback.objective.projection.module.parameters()),
    )
    textpl.attach(trainer, callback).train()
    logs = trainer.state.log_history
    assert logs[0]["textpl/mask_rate"] == 0 and logs[0]["textpl/unlabeled_loss"] > 0
    assert callback.monitor.rows["student"] == 3 * 2 * 12
    after = callback.objective.projection.module.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(start, after, strict=True))
    assert not [name for name in trainer.model.state_dict() if "projection" in name or "hidden.weight" in name]


@pytest.mark.parametrize(
    "settings", [{"alpha": 1.1}, {"temperature": 0.0}, {"contrast": -1.0}, {"memory": 0}, {"prior": "even"}]
)
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        CoMatch(**settings)


def test_several_labels_are_refused(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="CoMatch is for single-label tasks.*Use cap"):
        textpl.attach(make_trainer(tmp_path, tokenizer, task="multi"), textpl.comatch(make_pool(task="multi"))).train()
