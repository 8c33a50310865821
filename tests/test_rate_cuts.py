"""CAP: cuts at the labeled rates counted by hand, the asymmetric loss by its formula, the cached teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_model, make_pool, make_trainer
from real_steps import make_run, make_step

import textpl
from textpl.components.losses import AsymmetricLoss, cross_entropy
from textpl.components.rate_cuts import RateCuts, rate_cuts
from textpl.components.table_teacher import CachedTeacher
from textpl.components.teachers import EMATeacher, SelfTeacher
from textpl.tasks import MultiLabel


@pytest.mark.parametrize(("eta", "kappa"), [(1.0, 1.0), (0.5, 0.9), (0.29, 0.01)])
def test_as_many_are_positive_as_the_rates_say(eta, kappa):
    p = torch.rand(100, 4, generator=torch.Generator().manual_seed(0))
    rates = torch.tensor([0.5, 0.1, 0.004, 1.0], dtype=torch.float64)
    positive, surely, never = rate_cuts(p, rates, eta, kappa)
    for k, count in enumerate([50, 10, 0, 100]):
        order = np.argsort(-p[:, k].numpy())
        assert set(np.flatnonzero(p[:, k] >= positive[k])) == set(order[:count])
        assert set(np.flatnonzero(p[:, k] >= surely[k])) == set(order[: int(count * eta + 1e-6)])
        assert set(np.flatnonzero(p[:, k] <= never[k])) == set(order[100 - int((100 - count) * kappa + 1e-6) :])


def test_selection_and_targets_read_the_table(tokenizer):
    run = make_run(tokenizer, "multi", rows=40, labeled=8)
    table = CachedTeacher(SelfTeacher(), refresh=2)
    cuts = RateCuts(table, positive=0.5, negative=0.5)
    table.prepare(run)
    cuts.prepare(run)
    step = make_step(run, range(40))
    run.model.eval()
    with torch.no_grad():
        p, valid = table(step)
        expected = run.model(**run.pool.tokens.batch(np.arange(40))).logits.sigmoid()
    torch.testing.assert_close(p, expected, rtol=1e-4, atol=1e-5)
    assert valid.all()
    q, w = cuts.harden(p, step), cuts(p, step)
    counts = (run.labeled_targets.mean(0) * 40).round()
    assert torch.equal(q.sum(0), counts)
    assert torch.equal((w * q).sum(0), (counts / 2).floor()) and torch.equal(
        (w * (1 - q)).sum(0), ((40 - counts) / 2).floor()
    )


@pytest.mark.parametrize(("refresh", "calls"), [("epoch", [0, 10]), (3, [0, 3, 6, 9]), (None, [0])])
def test_a_cached_teacher_is_asked_again_when_it_is_due(tokenizer, refresh, calls):
    run = make_run(tokenizer, rows=40)
    table, asked = CachedTeacher(SelfTeacher(), refresh), []
    make = table.make
    table.make = lambda step: asked.append(step.index) or make(step)
    table.prepare(run)
    with torch.no_grad():
        for index in range(11):
            table(make_step(run, range(4), index))
    assert asked == calls


def test_the_averaged_weights_end_in_the_model(tmp_path, tokenizer, caplog):
    trainer = make_trainer(tmp_path, tokenizer, task="multi", max_steps=5)
    callback = textpl.cap(make_pool(task="multi"), decay=0.9)
    textpl.attach(trainer, callback).train()
    averaged = callback.teacher.teacher.average
    assert all(torch.equal(p, mean) for p, mean in zip(trainer.model.parameters(), averaged, strict=True))
    assert (tmp_path / "student" / "model.safetensors").exists()
    assert isinstance(callback.teacher.teacher, EMATeacher) and callback.teacher.averages
    touched = [h["step"] for h in trainer.state.log_history if "textpl/mask_rate" in h]
    assert touched == [3, 4, 5]  # nothing in the first 30 %


def test_one_label_per_row_is_refused(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="are for multi-label tasks.*softmatch"):
        textpl.attach(make_trainer(tmp_path, tokenizer), textpl.cap(make_pool())).train()


@pytest.mark.parametrize("settings", [{"positive": 0.0}, {"negative": 1.1}])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="must lie in"):
        RateCuts(CachedTeacher(SelfTeacher()), **settings)
    with pytest.raises(ValueError, match="refresh=0"):
        CachedTeacher(SelfTeacher(), refresh=0)


def test_asymmetric_loss_by_its_formula():
    task, generator = MultiLabel(3), torch.Generator().manual_seed(0)
    z = (3 * torch.randn(6, 3, generator=generator)).double().requires_grad_()
    y = (torch.rand(6, 3, generator=generator) < 0.4).double()
    loss = AsymmetricLoss(focus=4, margin=0.05)(z, y, task)
    p = 1 / (1 + np.exp(-z.detach().numpy()))
    shifted = np.maximum(p - 0.05, 0)
    expected = np.where(y == 1, -np.log(p), -(shifted**4) * np.log(1 - shifted))
    np.testing.assert_allclose(loss.detach(), expected, rtol=1e-6, atol=1e-12)
    (g,) = torch.autograd.grad(loss.sum(), z)
    slope = np.where(y == 1, p - 1, np.where(p > 0.05, shifted**4 * p * (1 - p) / (1 - shifted), 0))
    np.testing.assert_allclose(g, slope, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(AsymmetricLoss(0, 0)(z, y, task), cross_entropy(z, y, task))
    far = torch.tensor([[-200.0, 200.0, 200.0]], requires_grad=True)
    AsymmetricLoss(0, 0)(far, torch.tensor([[1.0, 0.0, 1.0]]), task).sum().backward()
    assert far.grad.isfinite().all()
    with pytest.raises(ValueError, match="margin=1"):
        AsymmetricLoss(margin=1)


def test_a_cached_teacher_gets_the_other_one_ready_and_refuses_what_it_cannot_save(tokenizer):
    class Counting:
        prepared = 0

        def prepare(self, run):
            self.prepared += 1

        def __call__(self, step):
            return SelfTeacher()(step)

    table = CachedTeacher(Counting())
    table.prepare(make_run(tokenizer))
    assert table.teacher.prepared == 1
    Counting.state_dict = dict
    with pytest.raises(TypeError, match="CachedTeacher cannot save the state of Counting"):
        CachedTeacher(Counting())


def test_rows_of_a_cached_teacher_that_abstains_stay_unknown(tokenizer):
    run = make_run(tokenizer, rows=12, model=make_model())
    table = CachedTeacher(lambda step: (torch.full((len(step.rows), 3), 1 / 3), step.rows % 2 == 0), refresh=None)
    table.prepare(run)
    assert table(make_step(run, range(12)))[1].tolist() == [True, False] * 6
