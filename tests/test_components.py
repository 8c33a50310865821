"""The stateless and running slots against hand-worked numbers and slow float64 references."""

from __future__ import annotations

import dataclasses
import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

from textpl.components import schedules
from textpl.components.align import AlignToModel, AlignToPrior, align_marginal
from textpl.components.labeled import TrainingSignalAnnealing
from textpl.components.losses import DistillationLoss, cross_entropy, kl_divergence, mean_squared_error
from textpl.components.running import RunningMean
from textpl.components.selection import FixedThreshold, GaussianWeight, LabelThresholds, RelativeThreshold, Until
from textpl.components.sharpen import Temperature, argmax, keep
from textpl.components.slot import Stateful
from textpl.components.step import LabeledStatistics, Run, Step
from textpl.tasks import MultiLabel, SingleLabel

LABELS = 3
TASKS = [SingleLabel(LABELS), MultiLabel(LABELS)]
both = pytest.mark.parametrize("task", TASKS, ids=["single", "multi"])
quick = settings(max_examples=25, deadline=None, derandomize=True)
logit_rows = st.integers(1, 6).flatmap(
    lambda rows: arrays(np.float32, (rows, LABELS), elements=st.floats(-20, 20, width=32))
)
shares = arrays(np.float32, (LABELS,), elements=st.floats(0.03125, 0.96875, width=32))


def make_run(task, *, steps=1000, prior=None, reduce=None, world=1):
    extra = {"world": world} if "world" in {f.name for f in dataclasses.fields(Run)} else {}
    return Run(
        task=task,
        model=nn.Linear(2, task.num_labels),
        total_steps=steps,
        pool=None,
        labeled_prior=torch.full((task.num_labels,), 1 / task.num_labels) if prior is None else torch.tensor(prior),
        label_names=[f"label {i}" for i in range(task.num_labels)],
        **({} if reduce is None else {"reduce": reduce}),
        **extra,
    )


def make_step(run, index=0, marginal=None, confidence=None):
    labeled = LabeledStatistics(RunningMean(0.9), RunningMean(0.9))
    if marginal is not None:
        labeled.marginal.update(torch.as_tensor(marginal))
    if confidence is not None:
        labeled.confidence.update(torch.as_tensor(confidence))
    return Step(run, index, torch.zeros(0, dtype=torch.int64), (), labeled, lambda *pass_: None)


def random_batches(task, count, rows=6, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    return [task.probabilities(scale * torch.randn(rows, task.num_labels, generator=generator)) for _ in range(count)]


def close(ours, theirs, rtol=1e-4, atol=1e-6):
    np.testing.assert_allclose(ours.detach().double().numpy(), theirs, rtol=rtol, atol=atol)


def running_means(values, decay):
    """After each value: the weighted mean of all so far, weight decay^age; float64, from the definition."""
    values = [np.asarray(v, np.float64) for v in values]
    for n in range(1, len(values) + 1):
        weights = np.array([decay ** (n - 1 - i) for i in range(n)])
        yield sum(w * v for w, v in zip(weights, values[:n], strict=True)) / weights.sum()


# ---- run and step ----


def test_decay_is_tied_to_the_run():
    assert make_run(TASKS[0], steps=1000).decay(0.03) == pytest.approx(1 - 1 / 30)
    assert make_run(TASKS[0], steps=10).decay(0.03) == 0.5
    assert make_run(TASKS[0], steps=0).decay(0.03) == 0.5


def test_progress_is_the_share_done():
    run = make_run(TASKS[0], steps=200)
    assert [make_step(run, i).progress for i in (0, 50, 199)] == [0, 0.25, 0.995]


# ---- running mean ----


def test_running_mean_by_hand():
    mean = RunningMean(0.5)
    assert mean.value is None
    mean.update(torch.tensor(1.0))
    assert float(mean.value) == 1.0
    mean.update(torch.tensor(4.0))
    assert float(mean.value) == pytest.approx(3.0)  # (0.5 * 1 + 1 * 4) / 1.5
    mean.update(torch.tensor(0.0))
    assert float(mean.value) == pytest.approx((0.25 * 1 + 0.5 * 4) / 1.75)


@quick
@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30),
    decay=st.floats(0, 0.9990234375, width=32),
)
def test_running_mean_is_a_weighted_mean(values, decay):
    mean = RunningMean(decay)
    for value, expected in zip(values, running_means(values, decay), strict=True):
        mean.update(torch.tensor([value, -value]))
        close(mean.value, [expected, -expected], rtol=1e-3, atol=1e-2)
        assert min(values) - 1e-2 <= float(mean.value[0]) <= max(values) + 1e-2


def test_running_mean_is_a_constant_for_a_constant_even_with_a_long_memory():
    mean = RunningMean(0.999)
    for _ in range(5):
        mean.update(torch.tensor([0.3, 0.7]))
        close(mean.value, [0.3, 0.7])


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay=.*\[0, 1\)"):
        RunningMean(decay)


@pytest.mark.parametrize("horizon", [0.0, -0.03, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("make", [AlignToPrior, AlignToModel, GaussianWeight])
def test_a_horizon_out_of_range_is_refused(make, horizon):
    with pytest.raises(ValueError, match=r"horizon=.*\(0, 1\]"):
        make(horizon=horizon)
    make(horizon=1.0)


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan")])
def test_a_floor_out_of_range_is_refused(floor):
    with pytest.raises(ValueError, match=r"floor=.*\[0, 1\]"):
        AlignToModel(floor=floor)


@pytest.mark.parametrize("prior", ["balanced", [0.5, 1.2], [-0.1, 1.1], [float("nan"), 0.5]])
def test_a_prior_out_of_range_is_refused_at_once(prior):
    with pytest.raises(ValueError, match=r"prior=.*use 'labeled', one probability per label"):
        AlignToPrior(prior)


def test_running_mean_takes_no_graph_and_leaves_saved_state_alone():
    mean = RunningMean(0.9)
    mean.update(torch.tensor([1.0, 2.0], requires_grad=True, dtype=torch.float16))
    assert mean.value.requires_grad is False and mean.value.dtype == torch.float32
    saved = mean.state_dict()
    before = {name: tensor.clone() for name, tensor in saved.items()}
    mean.update(torch.tensor([5.0, 5.0]))
    for name, tensor in saved.items():
        torch.testing.assert_close(tensor, before[name])


def test_running_mean_state():
    a, b = RunningMean(0.9), RunningMean(0.9)
    assert a.state_dict() == {}
    for x in (1.0, 5.0, 2.0):
        a.update(torch.tensor([x]))
    b.load_state_dict(a.state_dict())
    for x in (4.0, -1.0):
        a.update(torch.tensor([x]))
        b.update(torch.tensor([x]))
        assert torch.equal(a.value, b.value)
    b.load_state_dict({})
    assert b.value is None


# ---- alignment ----


def reference_align(task, batches, wanted, decay):
    """Aligned batches: wanted over the running mean of *unaligned* marginals, float64."""
    raw = [b.double().numpy() for b in batches]
    wanted = np.asarray(wanted, np.float64)
    for p, seen in zip(raw, running_means([b.mean(0) for b in raw], decay), strict=True):
        if isinstance(task, MultiLabel):
            odds = p / (1 - p) * (wanted / (1 - wanted)) / (seen / (1 - seen))
            yield odds / (1 + odds)
        else:
            scaled = p * wanted / seen
            yield scaled / scaled.sum(1, keepdims=True)


def test_alignment_by_hand():
    p = torch.tensor([[0.8, 0.2], [0.4, 0.6]])  # marginal 0.6, 0.4
    single, multi = make_step(make_run(SingleLabel(2))), make_step(make_run(MultiLabel(2)))
    seen, wanted = torch.tensor([0.6, 0.4]), torch.tensor([0.3, 0.7])
    # ratios 1/2 and 7/4: (0.4, 0.35) and (0.2, 1.05)
    close(align_marginal(p, wanted, seen, single), [[0.4 / 0.75, 0.35 / 0.75], [0.2 / 1.25, 1.05 / 1.25]], atol=1e-5)
    # odds 4, 1/4, 2/3, 3/2 times 2/7 (0.3/0.7 over 0.6/0.4), 7/2 (0.7/0.3 over 0.4/0.6)
    odds = np.array([[4 * 2 / 7, 7 / 8], [4 / 21, 21 / 4]])
    close(align_marginal(p, wanted, seen, multi), odds / (1 + odds), atol=1e-5)


@both
def test_align_to_prior_equals_the_reference(task):
    wanted = [0.5, 0.3, 0.2]
    run = make_run(task, steps=200)
    align = AlignToPrior(wanted, horizon=0.05)
    align.prepare(run)
    batches = random_batches(task, 6)
    for i, (p, expected) in enumerate(zip(batches, reference_align(task, batches, wanted, 0.9), strict=True)):
        close(align(p, make_step(run, i)), expected, rtol=1e-3, atol=1e-5)


@both
def test_align_to_model_equals_the_reference(task):
    wanted = [0.5, 0.3, 0.2]
    run = make_run(task, steps=200)
    align = AlignToModel(horizon=0.05)
    align.prepare(run)
    batches = random_batches(task, 6, seed=1)
    for i, (p, expected) in enumerate(zip(batches, reference_align(task, batches, wanted, 0.9), strict=True)):
        close(align(p, make_step(run, i, marginal=wanted)), expected, rtol=1e-3, atol=1e-5)


@both
@quick
@given(row=shares, wanted=shares)
def test_alignment_is_exact_where_all_rows_are_alike(task, row, wanted):
    p, wanted = torch.tensor(row), torch.tensor(wanted)
    if isinstance(task, SingleLabel):
        p, wanted = p / p.sum(), wanted / wanted.sum()
    run = make_run(task)
    align = AlignToPrior(wanted.tolist())
    align.prepare(run)
    for i in range(3):
        close(align(p.expand(4, -1), make_step(run, i)), wanted.expand(4, -1).double().numpy(), atol=1e-4)


@both
@quick
@given(z=logit_rows, wanted=shares, seed=st.integers(0, 99))
def test_alignment_keeps_probabilities_and_the_order_of_rows(task, z, wanted, seed):
    p, wanted = task.probabilities(torch.tensor(z)), torch.tensor(wanted)
    step = make_step(make_run(task))
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(p)))
    aligned = align_marginal(p, wanted, p.mean(0), step)
    assert bool(aligned.isfinite().all()) and bool(((aligned >= 0) & (aligned <= 1 + 1e-6)).all())
    if isinstance(task, SingleLabel):
        close(aligned.sum(-1), np.ones(len(p)), atol=1e-5)
    torch.testing.assert_close(
        align_marginal(p[order], wanted, p[order].mean(0), step), aligned[order], rtol=1e-4, atol=1e-5
    )
    # Wanted equal to seen: nothing changes.
    torch.testing.assert_close(align_marginal(p, p.mean(0), p.mean(0), step), p, rtol=1e-4, atol=1e-5)
    if isinstance(task, MultiLabel):
        # The marginal of each label moves towards the wanted one and never past it.
        low, high = torch.minimum(p.mean(0), wanted), torch.maximum(p.mean(0), wanted)
        assert bool((aligned.mean(0) >= low - 1e-4).all()) and bool((aligned.mean(0) <= high + 1e-4).all())


@both
def test_alignment_survives_marginals_of_0_and_1(task):
    p = torch.eye(3)
    for wanted in (torch.eye(3)[0], torch.zeros(3), torch.ones(3)):
        for seen in (torch.eye(3)[0], torch.zeros(3), torch.ones(3)):
            aligned = align_marginal(p, wanted, seen, make_step(make_run(task)))
            assert bool(aligned.isfinite().all()) and bool(((aligned >= 0) & (aligned <= 1)).all())


@both
def test_priors(task):
    prior = [0.6, 0.25, 0.15]
    run = make_run(task, prior=prior)
    for named, expected in [("labeled", prior)] + [("uniform", [1 / 3] * 3)] * isinstance(task, SingleLabel):
        align = AlignToPrior(named)
        align.prepare(run)
        p = torch.tensor([[0.2, 0.3, 0.5]])
        close(align(p, make_step(run)), [expected], atol=1e-4)


@both
def test_align_to_model_waits_for_labelled_rows_but_watches_the_pool(task):
    run = make_run(task, steps=200)
    align = AlignToModel(horizon=0.05)
    align.prepare(run)
    batches = random_batches(task, 2, seed=2)
    assert torch.equal(align(batches[0], make_step(run, 0)), batches[0])
    expected = list(reference_align(task, batches, [0.5, 0.3, 0.2], 0.9))[1]
    close(align(batches[1], make_step(run, 1, marginal=[0.5, 0.3, 0.2])), expected, rtol=1e-3, atol=1e-5)


def test_a_class_missing_from_the_labelled_batches_keeps_a_floor():
    run = make_run(SingleLabel(4))
    align = AlignToModel(floor=0.2)
    align.prepare(run)
    p = torch.full((2, 4), 0.25)
    wanted = np.array([0.05, 0.3, 0.3, 0.4])  # 0.2 / 4 instead of 0
    close(align(p, make_step(run, marginal=[0.0, 0.3, 0.3, 0.4])), [wanted / wanted.sum()] * 2, atol=1e-4)


def test_a_rare_label_is_not_lifted_by_the_floor():
    """One rare label, the model right about its share on both sides: there is nothing to correct."""
    run = make_run(MultiLabel(1), prior=[0.03])
    align = AlignToModel()
    align.prepare(run)
    p = torch.full((8, 1), 0.03)
    close(align(p, make_step(run, marginal=[0.03])), np.full((8, 1), 0.03), atol=1e-3)


@both
def test_alignment_uses_the_mean_over_all_processes(task):
    other = torch.tensor([0.2, 0.3, 0.5])  # mean of as many rows in the other process
    rows = len(random_batches(task, 1)[0])
    run = make_run(task, reduce=lambda tensor: tensor if tensor.ndim == 0 else (tensor + rows * other) / 2)
    align = AlignToPrior([0.5, 0.3, 0.2])
    align.prepare(run)
    p = random_batches(task, 1)[0]
    seen = (p.mean(0) + other) / 2
    expected = align_marginal(p, torch.tensor([0.5, 0.3, 0.2]), seen, make_step(run))
    torch.testing.assert_close(align(p, make_step(run)), expected)


@pytest.mark.parametrize(
    ("task", "prior", "message"),
    [
        (MultiLabel(3), "uniform", "use 'labeled', one probability per label"),
        (SingleLabel(3), [0.5, 0.5], "needs 3 probabilities"),
        (MultiLabel(3), 0.5, "needs 3 probabilities"),
        (SingleLabel(3), [0.5, 0.5, 0.5], "sums to 1.5"),
    ],
)
def test_priors_that_do_not_fit_the_task_are_refused(task, prior, message):
    align = AlignToPrior(prior)
    with pytest.raises(ValueError, match=message):
        align.prepare(make_run(task))


def test_a_multi_label_prior_need_not_sum_to_one():
    AlignToPrior([0.9, 0.8, 0.1]).prepare(make_run(MultiLabel(3)))


# ---- slots with state ----

STATEFUL = {"prior": lambda: AlignToPrior([0.5, 0.3, 0.2]), "model": AlignToModel, "gaussian": GaussianWeight}
# In a multi-label task the Gaussian counts every cell, without any state.
CASES = [(task, name) for task in TASKS for name in STATEFUL if name != "gaussian" or isinstance(task, SingleLabel)]
stateful = pytest.mark.parametrize(
    ("task", "make"), [(t, STATEFUL[n]) for t, n in CASES], ids=[f"{n}-{type(t).__name__}" for t, n in CASES]
)


@stateful
def test_state_saved_and_loaded_goes_on_the_same(task, make):
    run = make_run(task)
    batches = random_batches(task, 6)
    straight, resumed = make(), make()
    assert isinstance(straight, Stateful) and callable(straight.prepare)
    straight.prepare(run)
    for i in range(3):
        straight(batches[i], make_step(run, i, marginal=[0.4, 0.4, 0.2]))
    state = {name: tensor.clone() for name, tensor in straight.state_dict().items()}
    assert state and all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    resumed.prepare(run)
    resumed.load_state_dict(state)
    for i in range(3, 6):
        step = make_step(run, i, marginal=[0.4, 0.4, 0.2])
        assert torch.equal(straight(batches[i], step), resumed(batches[i], step))


@stateful
def test_prepare_forgets_the_last_run(task, make):
    run = make_run(task)
    first, second = random_batches(task, 2)
    used, fresh = make(), make()
    used.prepare(run)
    used(first, make_step(run, 0, marginal=[0.4, 0.4, 0.2]))
    used.prepare(run)
    fresh.prepare(run)
    assert used.state_dict() == fresh.state_dict() == {}
    step = make_step(run, 0, marginal=[0.4, 0.4, 0.2])
    assert torch.equal(used(second, step), fresh(second, step))


@stateful
def test_prepare_reads_the_length_of_the_run(task, make):
    """The same three batches weigh differently in a run of 100 and one of 10,000 steps."""
    outputs = []
    for steps in (100, 10_000):
        run, slot = make_run(task, steps=steps), make()
        slot.prepare(run)
        for i, p in enumerate(random_batches(task, 3)):
            out = slot(p, make_step(run, i, marginal=[0.4, 0.4, 0.2]))
        outputs.append(out)
    assert not torch.allclose(*outputs, atol=1e-4)


# ---- selection ----


def test_fixed_threshold_by_hand():
    p = torch.tensor([[0.75, 0.125, 0.125], [0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    close(FixedThreshold(0.75)(p, make_step(make_run(SingleLabel(3)))), [1, 0, 1])


@both
@quick
@given(z=logit_rows, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_threshold_keeps_fewer(task, z, low, high):
    low, high = sorted((low, high))
    p, step = task.probabilities(torch.tensor(z)), make_step(make_run(task))
    few, many = FixedThreshold(high)(p, step), FixedThreshold(low)(p, step)
    assert few.dtype == torch.float32 and few.shape == task.confidence(p).shape
    assert set(few.unique().tolist()) <= {0.0, 1.0} and bool((few <= many).all())
    assert bool((FixedThreshold(0)(p, step) == 1).all())


def test_relative_threshold_by_hand():
    # 0.9 * 0.8 = 0.72
    p = torch.tensor([[0.73, 0.2, 0.07], [0.71, 0.2, 0.09], [0.1, 0.1, 0.8]])
    close(RelativeThreshold(0.9)(p, make_step(make_run(SingleLabel(3)), confidence=0.8)), [1, 0, 1])


@both
def test_relative_threshold_takes_nothing_before_the_first_labelled_batch(task):
    p = random_batches(task, 1)[0]
    w = RelativeThreshold(0.0)(p, make_step(make_run(task)))
    assert w.shape == task.confidence(p).shape and not w.any()


def test_gaussian_weight_by_hand():
    run = make_run(SingleLabel(2))
    select = GaussianWeight(2.0)
    select.prepare(run)
    # confidences 0.6, 0.8, 1.0: mean 0.8, unbiased variance 0.04; exp(-0.04 * 4 / 0.08)
    w = select(torch.tensor([[0.6, 0.4], [0.2, 0.8], [1.0, 0.0]]), make_step(run))
    close(w, [math.exp(-2), 1, 1], atol=1e-5)


@pytest.mark.parametrize(
    "make", [FixedThreshold, GaussianWeight, RelativeThreshold, lambda: Until(0.5, FixedThreshold())]
)
def test_rules_of_confidence_count_every_cell_and_say_so(make, caplog):
    run, select = make_run(MultiLabel(3)), make()
    select.prepare(make_run(SingleLabel(3)))
    assert not caplog.text
    select.prepare(run)
    assert "leaves out nothing in a multi-label task" in caplog.text and "LabelThresholds" in caplog.text
    w = select(random_batches(run.task, 1)[0], make_step(run, confidence=[0.8, 0.9, 1.0]))
    assert w.shape == (6, 3) and bool((w == 1).all())


def test_gaussian_weight_equals_the_reference():
    run = make_run(SingleLabel(LABELS), steps=200)
    select = GaussianWeight(1.5, horizon=0.05)
    select.prepare(run)
    batches = random_batches(run.task, 6)
    confidences = [b.double().numpy().max(1) for b in batches]
    means = running_means([c.mean(0) for c in confidences], 0.9)
    variances = running_means([c.var(0, ddof=1) for c in confidences], 0.9)
    for i, (c, mu, var) in enumerate(zip(confidences, means, variances, strict=True)):
        expected = np.exp(-(np.minimum(c - mu, 0) ** 2) * 1.5**2 / (2 * var))
        close(select(batches[i], make_step(run, i)), expected, rtol=1e-3, atol=1e-5)


@both
@quick
@given(z=logit_rows, seed=st.integers(0, 99))
def test_gaussian_weights_are_weights(task, z, seed):
    p, run = task.probabilities(torch.tensor(z)), make_run(task)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(p)))
    outputs = []
    for batch in (p, p[order]):
        select = GaussianWeight()
        select.prepare(run)
        outputs.append(select(batch, make_step(run)))
    w, c = outputs[0], task.confidence(p)
    assert bool(w.isfinite().all()) and bool(((w >= 0) & (w <= 1)).all()) and w.shape == c.shape
    assert bool((w[c > c.mean(0, keepdim=True).expand_as(c) + 1e-6] == 1).all())
    torch.testing.assert_close(outputs[1], w[order], rtol=1e-2, atol=1e-3)


def test_gaussian_weight_is_unbiased_over_processes():
    """Four processes of two rows each: the variance is that of all eight confidences."""
    world, rows, labels = 4, 2, 5
    task = SingleLabel(labels)
    p = torch.rand(world, rows, labels, generator=torch.Generator().manual_seed(0)).softmax(-1)
    barrier, slots, weights = threading.Barrier(world, timeout=20), [None] * world, [None] * world

    def process(rank):
        def reduce(tensor):
            slots[rank] = tensor
            barrier.wait()
            mean = torch.stack(slots).mean(0)
            barrier.wait()
            return mean

        run = make_run(task, reduce=reduce, world=world)
        select = GaussianWeight(2.0)
        select.prepare(run)
        weights[rank] = select(p[rank], make_step(run))

    threads = [threading.Thread(target=process, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    c, w = p.reshape(-1, labels).max(1).values.double().numpy(), torch.cat(weights).double().numpy()
    close(torch.tensor(w), np.exp(-(np.minimum(c - c.mean(), 0) ** 2) * 4 / (2 * c.var(ddof=1))), rtol=1e-3)


def test_label_thresholds_by_hand():
    p = torch.tensor([[0.7, 0.05, 0.3], [0.69, 0.06, 0.9]])
    step = make_step(make_run(MultiLabel(3)))
    close(LabelThresholds(0.7, 0.05)(p, step), [[1, 1, 0], [0, 0, 1]])
    close(LabelThresholds([0.6, 0.9, 0.95], [0.1, 0.06, 0.4])(p, step), [[1, 1, 1], [1, 1, 0]])


def test_selection_settings_are_checked():
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"threshold=.*must lie in \[0, 1\]"):
            FixedThreshold(bad)
        with pytest.raises(ValueError, match=r"threshold=.*must lie in \[0, 1\]"):
            RelativeThreshold(bad)
        with pytest.raises(ValueError, match="n_sigma"):
            GaussianWeight(-1.0 if bad > 1 else bad)
    with pytest.raises(ValueError, match="n_sigma"):
        GaussianWeight(float("inf"))
    with pytest.raises(ValueError, match="lies below negative"):
        LabelThresholds(0.3, 0.4)
    with pytest.raises(ValueError, match="lies below negative"):
        LabelThresholds([0.9, 0.3], 0.4)
    p = torch.full((2, 3), 0.5)
    with pytest.raises(ValueError, match="for multi-label tasks; use FixedThreshold"):
        LabelThresholds()(p, make_step(make_run(SingleLabel(3))))
    with pytest.raises(ValueError, match="positive has 2 thresholds for 3 labels"):
        LabelThresholds([0.9, 0.9])(p, make_step(make_run(MultiLabel(3))))


@pytest.mark.parametrize(("positive", "negative"), [(70, 5), (1.5, 0.1), (0.7, -0.1), (float("nan"), 0.1)])
def test_label_thresholds_are_shares(positive, negative):
    with pytest.raises(ValueError):
        LabelThresholds(positive, negative)


# ---- sharpening ----


@both
def test_sharpening(task):
    p, step = torch.tensor([[0.6, 0.3, 0.1]]), make_step(make_run(task))
    if isinstance(task, MultiLabel):
        assert argmax(p, step) is p and Temperature(0.5, cells=False)(p, step) is p
    else:
        close(argmax(p, step), [[1, 0, 0]])
        assert Temperature(0.5, cells=False)(p, step).equal(Temperature(0.5)(p, step))
    assert keep(p, step) is p
    close(Temperature(1.0)(p, step), p.numpy(), atol=1e-5)
    powers = np.array([[0.36, 0.09, 0.01]])
    rest = np.array([[0.16, 0.49, 0.81]])
    expected = powers / (powers + rest) if isinstance(task, MultiLabel) else powers / powers.sum()
    close(Temperature(0.5)(p, step), expected, atol=1e-5)
    for t in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"temperature=.*must be > 0"):
            Temperature(t)


@both
@quick
@given(z=logit_rows, t=st.floats(0.25, 0.9))
def test_sharpening_lowers_entropy_and_softening_raises_it(task, z, t):
    p = task.probabilities(torch.tensor(z).clamp(-8, 8))
    step = make_step(make_run(task))
    sharp, soft = Temperature(t)(p, step), Temperature(1 / t)(p, step)
    assert bool((task.entropy(sharp) <= task.entropy(p) + 1e-4).all())
    assert bool((task.entropy(soft) >= task.entropy(p) - 1e-4).all())
    # Composition: T then 1/T gives p back.
    torch.testing.assert_close(Temperature(t)(soft, step), p, rtol=1e-2, atol=1e-3)


# ---- losses ----

LOSSES = [cross_entropy, kl_divergence, mean_squared_error, DistillationLoss(1.0), DistillationLoss(4.0)]
LOSS_NAMES = ["ce", "kl", "mse", "distil1", "distil4"]


def reference_loss(name, task, z, q):
    z, q = z.double().numpy(), q.double().numpy()
    t = 4.0 if name == "distil4" else 1.0
    z = z / t
    out = []
    for row, target in zip(z, q, strict=True):
        if isinstance(task, SingleLabel):
            log_p = row - np.logaddexp.reduce(row)
            ce = -sum(b * a for a, b in zip(log_p, target, strict=True))
            h = -sum(b * math.log(b) for b in target if b > 0)
            mse = sum((math.exp(a) - b) ** 2 for a, b in zip(log_p, target, strict=True)) / len(row)
        else:
            ce = target * np.logaddexp(0, -row) + (1 - target) * np.logaddexp(0, row)
            h = np.array([-sum(v * math.log(v) for v in (b, 1 - b) if v > 0) for b in target])
            mse = (1 / (1 + np.exp(-row)) - target) ** 2
        out.append({"ce": ce, "kl": ce - h, "mse": mse}.get(name, t**2 * (ce - h)))
    return np.array(out)


@both
@pytest.mark.parametrize(("loss", "name"), list(zip(LOSSES, LOSS_NAMES, strict=True)), ids=LOSS_NAMES)
@quick
@given(z=logit_rows, seed=st.integers(0, 99))
def test_losses_equal_the_reference(task, loss, name, z, seed):
    z = torch.tensor(z)
    soft = task.probabilities(3 * torch.randn(z.shape, generator=torch.Generator().manual_seed(seed)))
    for q in (soft, task.hard(soft)):
        value = loss(z, q, task)
        assert value.shape == task.confidence(q).shape
        close(value, reference_loss(name, task, z, q), rtol=1e-4, atol=1e-4 if name == "distil4" else 2e-5)


@both
@pytest.mark.parametrize("loss", LOSSES, ids=LOSS_NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_losses_are_finite_at_the_extremes(task, loss, dtype):
    z = torch.tensor([[60000.0, -60000, 0], [-60000, 60000, 60000], [0, 0, 0]], dtype=dtype, requires_grad=True)
    for q in (torch.eye(3), 1 - torch.eye(3) if isinstance(task, MultiLabel) else torch.full((3, 3), 1 / 3)):
        z.grad = None
        value = loss(z, q, task)
        assert value.dtype == torch.float32 and bool(value.isfinite().all()) and bool((value >= -1e-5).all())
        value.mean().backward()
        assert bool(z.grad.isfinite().all())


@both
def test_the_floor_of_the_divergences_is_0_with_no_gradient_there(task):
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    for loss, t in ((kl_divergence, 1.0), (DistillationLoss(2.0), 2.0), (mean_squared_error, 1.0)):
        z.grad = None
        value = loss(z, task.probabilities(z.detach() / t), task)
        close(value, np.zeros(value.shape), atol=2e-6)
        value.sum().backward()
        close(z.grad, np.zeros((5, 3)), atol=1e-6)


@both
def test_kl_has_the_gradient_of_cross_entropy(task):
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    q = task.probabilities(torch.randn(5, 3, generator=torch.Generator().manual_seed(1)))
    gradients = [torch.autograd.grad(loss(z, q, task).sum(), z)[0] for loss in (kl_divergence, cross_entropy)]
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(gradients[0], task.probabilities(z.detach()) - q, rtol=1e-4, atol=1e-6)


def distillation_gradient(task, z, v, t):
    """Gradient per row of the loss, with the target at the same temperature, as the method composes it."""
    z = z.clone().requires_grad_()
    q = Temperature(t)(task.probabilities(v), make_step(make_run(task)))
    return torch.autograd.grad(DistillationLoss(t)(z, q, task).sum(), z)[0]


@both
@pytest.mark.parametrize("t", [1.0, 2.0, 4.0, 8.0])
def test_gradient_of_distillation_is_hintons(task, t):
    z, v = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(0)) * 2
    expected = t**2 * (task.probabilities(z / t) - task.probabilities(v / t)) / t
    torch.testing.assert_close(distillation_gradient(task, z, v, t), expected, rtol=1e-3, atol=1e-4)


@both
def test_t_squared_keeps_the_size_of_the_gradient(task):
    z, v = torch.randn(2, 2000, 3, generator=torch.Generator().manual_seed(0))
    norms = [float(distillation_gradient(task, z, v, t).norm(dim=1).mean()) for t in (1.0, 2.0, 4.0, 8.0)]
    assert max(norms) / min(norms) < 1.3
    assert max(norms[1:]) / min(norms[1:]) < 1.1


@both
def test_a_high_temperature_matches_logits(task):
    """T to infinity: the gradient becomes that of half the squared distance of (zero-mean) logits."""
    z, v = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0))
    if isinstance(task, SingleLabel):
        z, v = z - z.mean(1, keepdim=True), v - v.mean(1, keepdim=True)
        expected = (z - v) / 3
    else:
        expected = (z - v) / 4
    torch.testing.assert_close(distillation_gradient(task, z, v, 100.0), expected, rtol=5e-2, atol=5e-3)


@both
def test_targets_carry_no_gradient(task):
    z = torch.randn(4, 3, requires_grad=True)
    with torch.no_grad():
        p = task.probabilities(z)
    for sharpen in (argmax, keep, Temperature(2.0)):
        assert sharpen(p, make_step(make_run(task))).requires_grad is False


# ---- schedules ----


def test_lee_by_hand():
    """alpha = 0 to T1 = 0.1, 3 from T2 = 0.6, linear between."""
    lee = schedules.lee()
    assert [lee(t) for t in (0, 0.1, 0.35, 0.6, 1.0)] == pytest.approx([0, 0, 1.5, 3, 3])
    assert schedules.lee(1.0, 0.0, 0.5)(0.125) == pytest.approx(0.25)


@pytest.mark.parametrize("t", [0, 0.1, 0.25, 0.4, 0.5, 0.7, 1.0])
def test_cosine_is_adamatchs(t):
    assert schedules.cosine(2.0)(t) == pytest.approx(2 * (0.5 - math.cos(min(math.pi, 2 * math.pi * t)) / 2))


@pytest.mark.parametrize("t", [0, 0.1, 0.2, 0.3, 0.9])
def test_sigmoid_is_laine_and_ailas(t):
    expected = math.exp(-5 * (1 - t / 0.3) ** 2) if t < 0.3 else 1.0
    assert schedules.sigmoid(5.0, end=0.3)(t) == pytest.approx(5 * expected)


def test_the_plain_schedules():
    assert [schedules.constant(2.5)(t) for t in (0, 1)] == [2.5, 2.5]
    assert [schedules.linear(2.0)(t) for t in (0, 0.2, 0.4, 1)] == pytest.approx([0, 1, 2, 2])
    step = schedules.linear(1.0, start=0.3, end=0.3)
    assert [step(t) for t in (0, 0.29, 0.3, 1)] == [0, 0, 1, 1]
    assert schedules.sigmoid(1.0, end=0.0)(0.0) == 1.0


@quick
@given(t=st.floats(0, 1), u=st.floats(0, 1), value=st.floats(0, 10), end=st.floats(0, 1))
def test_ramps_rise_from_0_to_their_value(t, u, value, end):
    t, u = sorted((t, u))
    for ramp in (schedules.linear(value, end=end), schedules.cosine(value, end=end), schedules.sigmoid(value, end)):
        assert 0 <= ramp(t) <= ramp(u) + 1e-9 <= value + 2e-9
        assert ramp(1.0) == pytest.approx(value)


def test_schedule_settings_are_checked():
    for make in (schedules.linear, schedules.cosine, schedules.lee):
        for start, end in ((-0.1, 0.5), (0.6, 0.5), (0.2, 1.1)):
            with pytest.raises(ValueError, match=r"0 <= start <= end <= 1"):
                make(1.0, start, end)
    with pytest.raises(ValueError, match=r"0 <= start <= end <= 1"):
        schedules.sigmoid(1.0, end=1.5)


def test_as_schedule():
    assert schedules.as_schedule(2)(0.7) == 2.0
    ramp = schedules.linear(1.0)
    assert schedules.as_schedule(ramp) is ramp
    assert schedules.as_schedule(lambda t: t * t)(0.5) == 0.25
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a number >= 0 or a schedule"):
            schedules.as_schedule(bad)


# ---- training-signal annealing ----


def test_ceilings_by_hand():
    """exp with two classes: the values of the methods reference; the others from the formula."""
    times = (0, 0.25, 0.5, 0.75, 0.9, 1.0)
    exp = [TrainingSignalAnnealing("exp").ceiling(t, 2) for t in times]
    assert exp == pytest.approx([0.50, 0.51, 0.54, 0.64, 0.80, 1.0], abs=0.006)
    for k in (2, 5):
        for t in times:
            for name, alpha in (("linear", t), ("log", 1 - math.exp(-5 * t)), ("exp", math.exp(5 * (t - 1)))):
                expected = alpha * (1 - 1 / k) + 1 / k
                assert TrainingSignalAnnealing(name).ceiling(t, k) == pytest.approx(expected)
    assert TrainingSignalAnnealing("linear", until=0.5).ceiling(0.25, 2) == pytest.approx(0.75)


def test_annealing_drops_what_is_right_and_keeps_what_is_wrong():
    """Linear, halfway, four classes: ceiling 5/8 on the probability of the *correct* class."""
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.6, 0.2, 0.1, 0.1], [0.02, 0.94, 0.02, 0.02]])
    kept = TrainingSignalAnnealing().keeps(p.log(), torch.tensor([0, 0, 0]), 0.5, SingleLabel(4))
    assert kept.tolist() == [0, 1, 1]
    soft = torch.tensor([[0.5, 0.5, 0, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0]])  # the probability of what is given
    assert TrainingSignalAnnealing().keeps(p.log(), soft, 0.5, SingleLabel(4)).tolist() == [1, 1, 0]


@pytest.mark.parametrize("schedule", ["linear", "log", "exp"])
@pytest.mark.parametrize("index", [5, 50, 79])
def test_annealing_equals_the_reference(schedule, index):
    generator = torch.Generator().manual_seed(3)
    z, labels = torch.randn(64, 3, generator=generator) * 2, torch.randint(0, 3, (64,), generator=generator)
    zz = z.double().numpy()
    correct = (np.exp(zz) / np.exp(zz).sum(1, keepdims=True))[np.arange(64), labels.numpy()]
    t = index / 80  # of the first 80 of 100 steps
    alpha = {"linear": t, "log": 1 - math.exp(-5 * t), "exp": math.exp(5 * (t - 1))}[schedule]
    kept = TrainingSignalAnnealing(schedule, until=0.8).keeps(z, labels, index / 100, SingleLabel(3))
    assert kept.tolist() == (correct <= alpha * (1 - 1 / 3) + 1 / 3).tolist() and kept.any()


def test_annealing_ends_and_is_refused_for_multi_label(caplog):
    task = SingleLabel(3)
    half = TrainingSignalAnnealing(until=0.5)
    assert half.drops(0.49, task) and not half.drops(0.5, task)
    with pytest.raises(ValueError, match=r"single-label tasks: .* predicted too often\. For textpl.uda, tsa=None"):
        TrainingSignalAnnealing().prepare(make_run(MultiLabel(3)))
    plain = TrainingSignalAnnealing(multi_label="plain")
    plain.prepare(make_run(MultiLabel(3)))
    assert "No training-signal annealing" in caplog.text and not plain.drops(0.0, MultiLabel(3))
    plain.prepare(make_run(task))
    assert plain.drops(0.0, task)


def test_annealing_is_exact_in_half_precision():
    z = torch.tensor([[60000.0, -60000, 0], [60000, -60000, 60000]], dtype=torch.float16)
    assert TrainingSignalAnnealing().keeps(z, torch.tensor([0, 1]), 0.1, SingleLabel(3)).tolist() == [0, 1]


def test_annealing_settings_are_checked():
    with pytest.raises(ValueError, match="use 'linear', 'log' or 'exp'"):
        TrainingSignalAnnealing("cosine")
    for until in (0, -0.5, 1.5):
        with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
            TrainingSignalAnnealing(until=until)
    with pytest.raises(ValueError, match="use 'refuse' or 'plain'"):
        TrainingSignalAnnealing(multi_label="drop")
