"""Modules trained beside the model: one step is that of AdamW on the mean gradient, unscaled and clipped."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from real_steps import make_run
from torch import nn

from textpl.components.extras import Extras, feature_size

ARGS = SimpleNamespace(weight_decay=0.1, adam_beta1=0.9, adam_beta2=0.99, adam_epsilon=1e-8, max_grad_norm=0.5)


def make_extras(run, seed=0):
    extras = Extras(lambda run: nn.Linear(16, 2), seed)
    extras.prepare(run)
    return extras


def give_gradient(extras, scale=1.0):
    extras.module(torch.ones(3, 16)).pow(2).sum().mul(scale).backward()


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_a_step_is_that_of_adamw(tokenizer, scale):
    extras = make_extras(make_run(tokenizer))
    twin = copy.deepcopy(extras.module)
    groups = [{"params": [twin.weight]}, {"params": [twin.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.03, betas=(0.9, 0.99), weight_decay=0.1)
    for _ in range(2):
        give_gradient(extras, scale)
        twin(torch.ones(3, 16)).pow(2).sum().backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        extras.before_optimizer_step(ARGS, 0.03, scale)
    for ours, theirs in zip(extras.module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_nothing_is_stepped_without_a_gradient_or_with_one_that_overflowed(tokenizer):
    extras = make_extras(make_run(tokenizer))
    before = extras.module.weight.detach().clone()
    extras.before_optimizer_step(ARGS, 0.03, 1.0)
    give_gradient(extras)
    extras.module.weight.grad[0, 0] = torch.inf
    extras.before_optimizer_step(ARGS, 0.03, 1024.0)
    assert torch.equal(extras.module.weight, before) and extras.module.weight.grad is None


def test_gradients_are_averaged_over_processes(tokenizer):
    """The other process learned from no row in this step."""
    run = make_run(tokenizer)
    run.world, run.reduce = 2, lambda tensor: tensor / 2
    extras, alone = make_extras(run), make_extras(make_run(tokenizer))
    give_gradient(extras, 2.0)
    give_gradient(alone)
    for one in (extras, alone):
        one.before_optimizer_step(ARGS, 0.03, 1.0)
    torch.testing.assert_close(extras.module.weight, alone.module.weight)


def test_state_goes_on_the_same_and_a_fresh_module_depends_on_its_seed_alone(tokenizer):
    run = make_run(tokenizer)
    first, second = make_extras(run), make_extras(run)
    assert torch.equal(first.module.weight, second.module.weight)
    assert not torch.equal(first.module.weight, make_extras(run, seed=1).module.weight)
    give_gradient(first)
    first.before_optimizer_step(ARGS, 0.03, 1.0)
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    assert {"module.weight", "optimizer.0.exp_avg", "optimizer.1.step"} <= set(state)
    second.load_state_dict(state)
    for one in (first, second):
        give_gradient(one)
        one.before_optimizer_step(ARGS, 0.03, 1.0)
    assert torch.equal(first.module.weight, second.module.weight)


def test_features_are_those_of_the_output_layer(tokenizer):
    run = make_run(tokenizer)
    assert feature_size(run) == (16, torch.float32)
    run.model.classifier = nn.Identity()
    with pytest.raises(ValueError, match="No linear output layer"):
        feature_size(run)


def test_the_generators_of_the_run_are_left_alone(tokenizer, monkeypatch):
    """`torch.manual_seed` seeds every GPU as well, and so the dropout of the whole run."""
    run, seeded = make_run(tokenizer), []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.get_rng_state()
    make_extras(run, seed=7)
    assert torch.equal(torch.get_rng_state(), before) and not seeded
