"""Both tasks against hand-worked numbers and against float64 numpy written from the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from textpl.tasks import MultiLabel, SingleLabel, infer_problem_type, make_task

LABELS = 3
TASKS = [SingleLabel(LABELS), MultiLabel(LABELS)]
both = pytest.mark.parametrize("task", TASKS, ids=["single", "multi"])
quick = settings(max_examples=25, deadline=None, derandomize=True)

logit_rows = st.integers(1, 5).flatmap(
    lambda rows: arrays(np.float32, (rows, LABELS), elements=st.floats(-30, 30, width=32))
)
temperatures = st.floats(0.25, 8)
ratios = arrays(np.float32, (LABELS,), elements=st.floats(0.125, 8, width=32))


# The reference: float64, cell by cell, from the formula.


def reference_probabilities(task, z):
    z = np.asarray(z, np.float64)
    if isinstance(task, MultiLabel):
        return np.exp(-np.logaddexp(0, -z))
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def reference_cross_entropy(task, z, q):
    z, q = np.asarray(z, np.float64), np.asarray(q, np.float64)
    if isinstance(task, MultiLabel):
        return q * np.logaddexp(0, -z) + (1 - q) * np.logaddexp(0, z)
    log_p = z - np.array([[np.logaddexp.reduce(row)] for row in z])
    return -(q * log_p).sum(1)


def reference_entropy(task, p):
    p = np.asarray(p, np.float64)

    def h(x):
        return np.array([[-v * math.log(v) if v > 0 else 0.0 for v in row] for row in x])

    return h(p) + h(1 - p) if isinstance(task, MultiLabel) else h(p).sum(1)


def reference_reweight(task, p, r, c):
    p, r, c = (np.asarray(x, np.float64) for x in (p, r, c))
    if isinstance(task, MultiLabel):
        return p * r / (p * r + (1 - p) * c)
    return p * r / (p * r).sum(1, keepdims=True)


def close(ours, theirs, rtol=1e-4, atol=1e-6):
    np.testing.assert_allclose(ours.detach().double().numpy(), theirs, rtol=rtol, atol=atol)


# Hand-worked numbers.


def test_probabilities_by_hand():
    z = torch.tensor([[0.0, math.log(2), math.log(5)]])
    close(SingleLabel(3).probabilities(z), [[1 / 8, 2 / 8, 5 / 8]])
    close(MultiLabel(3).probabilities(torch.tensor([[0.0, math.log(3), -math.log(3)]])), [[0.5, 0.75, 0.25]])


def test_confidence_and_hard_targets_by_hand():
    p = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    close(SingleLabel(3).confidence(p), [0.5, 0.7])
    close(SingleLabel(3).hard(p), [[0, 1, 0], [0, 0, 1]])
    close(MultiLabel(3).confidence(p), [[0.8, 0.5, 0.7], [0.9, 0.8, 0.7]])
    close(MultiLabel(3).hard(p), [[0, 1, 0], [0, 0, 1]])
    close(MultiLabel(2).hard(torch.tensor([[0.9, 0.6], [0.1, 0.499]])), [[1, 1], [0, 0]])


def test_entropy_and_cross_entropy_by_hand():
    z = torch.tensor([[0.0, math.log(2), math.log(5)]])
    q = torch.tensor([[0.5, 0.5, 0.0]])
    close(SingleLabel(3).cross_entropy(z, q), [0.5 * math.log(8) + 0.5 * math.log(4)])
    close(SingleLabel(3).entropy(q), [math.log(2)])
    z = torch.tensor([[0.0, math.log(3), -math.log(3)]])
    q = torch.tensor([[1.0, 0.25, 0.0]])
    expected = [[math.log(2), -0.25 * math.log(0.75) - 0.75 * math.log(0.25), -math.log(0.75)]]
    close(MultiLabel(3).cross_entropy(z, q), expected)
    close(MultiLabel(3).entropy(q), [[0, -0.25 * math.log(0.25) - 0.75 * math.log(0.75), 0]])


def test_temper_by_hand():
    p = torch.tensor([[0.2, 0.8]])
    close(SingleLabel(2).temper(p, 0.5), [[0.04 / 0.68, 0.64 / 0.68]])
    close(MultiLabel(2).temper(p, 0.5), [[0.04 / 0.68, 0.64 / 0.68]])
    close(SingleLabel(2).temper(torch.tensor([[0.9, 0.1]]), 2.0), [[0.75, 0.25]])
    close(MultiLabel(1).temper(torch.tensor([[0.9]]), 2.0), [[0.75]])


def test_reweight_by_hand():
    close(
        SingleLabel(3).reweight(torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([1.0, 2.0, 4.0]), torch.zeros(3)),
        [[0.25, 0.25, 0.5]],
    )
    close(
        MultiLabel(2).reweight(torch.tensor([[0.5, 0.2]]), torch.tensor([3.0, 2.0]), torch.tensor([1.0, 0.5])),
        [[0.75, 0.5]],
    )


def test_targets():
    one_hot = SingleLabel(3).targets(torch.tensor([2, 0], dtype=torch.int32))
    assert one_hot.dtype == torch.float32
    close(one_hot, [[0, 0, 1], [1, 0, 0]])
    multi_hot = MultiLabel(3).targets(torch.tensor([[1, 0, 1]]))
    assert multi_hot.dtype == torch.float32
    close(multi_hot, [[1, 0, 1]])


# The reference, on anything.


@both
@quick
@given(z=logit_rows, other=logit_rows, temperature=temperatures, ratio=ratios, complement=ratios)
def test_everything_equals_the_float64_reference(task, z, other, temperature, ratio, complement):
    p = task.probabilities(torch.tensor(z))
    close(p, reference_probabilities(task, z))
    close(task.entropy(p), reference_entropy(task, p), atol=2e-6)
    rows = min(len(z), len(other))
    q = task.probabilities(torch.tensor(other[:rows]))
    close(task.cross_entropy(torch.tensor(z[:rows]), q), reference_cross_entropy(task, z[:rows], q), atol=1e-5)
    aligned = task.reweight(p, torch.tensor(ratio), torch.tensor(complement))
    close(aligned, reference_reweight(task, p, ratio, complement))
    near = torch.tensor(z).clamp(-6, 6)
    close(
        task.temper(task.probabilities(near), temperature),
        reference_probabilities(task, near.double().numpy() / temperature),
        rtol=2e-3,
        atol=2e-5,
    )


@both
@quick
@given(z=logit_rows, temperature=temperatures, ratio=ratios, seed=st.integers(0, 99))
def test_probabilities_stay_probabilities_and_rows_do_not_mix(task, z, temperature, ratio, seed):
    p = task.probabilities(torch.tensor(z))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(p)))
    for step in (
        lambda x: x,
        task.hard,
        lambda x: task.temper(x, temperature),
        lambda x: task.reweight(x, torch.tensor(ratio), 1 / torch.tensor(ratio)),
    ):
        out = step(p)
        assert out.shape == p.shape and out.dtype == torch.float32
        assert bool(((out >= 0) & (out <= 1 + 1e-6)).all())
        if isinstance(task, SingleLabel):
            close(out.sum(-1), np.ones(len(p)), atol=1e-5)
        torch.testing.assert_close(step(p[order]), out[order])
    entropy, confidence = task.entropy(p), task.confidence(p)
    assert bool((entropy >= 0).all()) and bool((entropy <= math.log(max(LABELS, 2)) + 1e-5).all())
    lowest = 1 / LABELS if isinstance(task, SingleLabel) else 0.5
    assert bool((confidence >= lowest - 1e-6).all()) and bool((confidence <= 1).all())
    close((task.hard(p) * p + (0 if isinstance(task, SingleLabel) else (1 - task.hard(p)) * (1 - p))).sum(-1),
          confidence.reshape(len(p), -1).sum(-1).numpy(), atol=1e-5)  # fmt: skip


@quick
@given(z=arrays(np.float32, (4, 1), elements=st.floats(-10, 10, width=32)), temperature=temperatures)
def test_one_label_is_two_classes(z, temperature):
    """A sigmoid of z is the softmax of (0, z): every operation must say the same."""
    single, multi = SingleLabel(2), MultiLabel(1)
    z = torch.tensor(z)
    pair = torch.cat([torch.zeros_like(z), z], 1)
    p, pp = multi.probabilities(z), single.probabilities(pair)

    def same(cell, row):
        torch.testing.assert_close(cell.squeeze(1), row, rtol=1e-4, atol=1e-5)

    same(p, pp[:, 1])
    same(multi.confidence(p), single.confidence(pp))
    same(multi.entropy(p), single.entropy(pp))
    same(multi.temper(p, 1.0 + temperature), single.temper(pp, 1.0 + temperature)[:, 1])
    q = torch.tensor([[0.3], [1.0], [0.0], [0.5]])
    same(multi.cross_entropy(z, q), single.cross_entropy(pair, torch.cat([1 - q, q], 1)))
    r, c = torch.tensor([3.0]), torch.tensor([0.5])
    same(multi.reweight(p, r, c), single.reweight(pp, torch.cat([c, r]), torch.zeros(2))[:, 1])


# Extremes.


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_huge_logits_give_finite_losses_and_gradients(task, dtype):
    z = torch.tensor([[60000.0, -60000, 0], [-60000, -60000, -60000], [0, 0, 60000], [1e-3, 0, -1e-3]], dtype=dtype)
    z.requires_grad_()
    p = task.probabilities(z)
    assert p.dtype == torch.float32 and bool(p.isfinite().all())
    for q in (torch.eye(4, 3), torch.full((4, 3), 1 / 3), task.hard(p.detach()), p.detach()):
        z.grad = None
        loss = task.cross_entropy(z, q)
        assert loss.dtype == torch.float32 and bool(loss.isfinite().all()) and bool((loss >= 0).all())
        loss.mean().backward()
        assert bool(z.grad.isfinite().all())
    assert bool(task.entropy(p).isfinite().all())
    assert bool(task.temper(p, 0.01).isfinite().all()) and bool(task.temper(p, 100.0).isfinite().all())


@both
def test_probabilities_of_exactly_0_and_1(task):
    p = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    close(task.entropy(p), np.zeros((2, 3) if isinstance(task, MultiLabel) else 2))
    close(task.hard(p), p.numpy())
    close(task.confidence(p), np.ones((2, 3) if isinstance(task, MultiLabel) else 2))
    close(task.reweight(p, torch.tensor([1e-6, 1.0, 5.0]), torch.tensor([2.0, 1e-6, 1.0])), p.numpy())


@both
@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_temper_keeps_certainty(task, temperature):
    """q ~ p^(1/T): what is 0 stays 0 and what is 1 stays 1, at every temperature."""
    p = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
    close(task.temper(p, temperature), p.numpy(), atol=1e-4)


@both
@pytest.mark.parametrize("temperature", [0.5, 2.0, 4.0, 8.0])
def test_temper_is_the_softened_softmax_of_wide_logits_too(task, temperature):
    """softmax(log p / T) = softmax(z / T) wherever float32 still knows p (down to 1e-37)."""
    z = torch.tensor([[0.0, -30.0, -60.0], [-20.0, -40.0, -80.0]])
    expected = reference_probabilities(task, z.double().numpy() / temperature)
    close(task.temper(task.probabilities(z), temperature), expected, rtol=1e-3, atol=1e-9)


# Which task.


def test_make_task():
    assert make_task("single_label_classification", 2) == SingleLabel(2)
    assert make_task("multi_label_classification", 1) == MultiLabel(1)
    for task in (make_task("single_label_classification", 4), make_task("multi_label_classification", 4)):
        assert make_task(task.problem_type, task.num_labels) == task


@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [("regression", 1), (None, 3), ("single_label_classification", 1), ("multi_label_classification", 0)],
)
def test_make_task_says_what_to_set(problem_type, labels):
    with pytest.raises(ValueError, match=r"set model\.config\.problem_type") as error:
        make_task(problem_type, labels)
    assert repr(problem_type) in str(error.value) and str(labels) in str(error.value)


@pytest.mark.parametrize("label", [1, 0, np.int64(2), np.array(1), torch.tensor(1)])
def test_a_whole_number_is_single_label(label):
    assert infer_problem_type(label) == "single_label_classification"


@pytest.mark.parametrize("label", [[0, 1], (1.0, 0.0), np.array([0, 1]), torch.tensor([1.0, 0.0]), [1]])
def test_a_sequence_is_multi_label(label):
    assert infer_problem_type(label) == "multi_label_classification"


@pytest.mark.parametrize("label", [0.5, np.float64(0.5), torch.tensor(0.5), "positive", None])
def test_anything_else_is_no_class_label(label):
    with pytest.raises(ValueError):
        infer_problem_type(label)
