"""Teachers on real tiny models, a real pool and a real tokenizer."""

from __future__ import annotations

import copy

import datasets
import numpy as np
import pytest
import torch
from conftest import make_texts, make_tokenizer, make_trainer
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

import textpl
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components import soft_labels
from textpl.components.align import AlignToPrior
from textpl.components.losses import kl_divergence
from textpl.components.running import RunningMean
from textpl.components.selection import GaussianWeight
from textpl.components.sharpen import Temperature, keep
from textpl.components.slot import Stateful
from textpl.components.step import LabeledStatistics, Run, Step
from textpl.components.teachers import ColumnTeacher, EMATeacher, FrozenTeacher, SelfTeacher
from textpl.pool import Pool
from textpl.tasks import MultiLabel, SingleLabel

NAMES = ["bad", "good", "so so"]
TASKS = [SingleLabel(3), MultiLabel(3)]
both = pytest.mark.parametrize("task", TASKS, ids=["single", "multi"])


def make_bert(task, *, seed=0, names=NAMES, scale=1.0):
    """One layer with large weights, so that predictions differ between rows."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.4,
        num_labels=len(names),
        problem_type=task.problem_type,
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
    )
    model = BertForSequenceClassification(config)
    model.classifier.weight.data *= scale
    return model


def make_pool(texts=None, tokenizer=None, max_length=16, **columns):
    texts = make_texts(11, seed=4)[0] if texts is None else texts
    return Pool(
        datasets.Dataset.from_dict({"text": texts, **columns}),
        tokenizer=tokenizer or make_tokenizer(),
        text_column="text",
        max_length=max_length,
        view=None,
        pad_token_id=0,
        seed=0,
    )


def make_run(task, *, model=None, pool=None, steps=1000, names=NAMES):
    return Run(
        task=task,
        model=make_bert(task) if model is None else model,
        total_steps=steps,
        pool=pool,
        labeled_prior=torch.full((task.num_labels,), 1 / task.num_labels),
        label_names=names,
    )


def make_step(run, rows=(), inputs=None):
    def passes(inputs, grad, train):
        assert not (run.model.training or grad or train)
        return run.model(**inputs)

    statistics = LabeledStatistics(RunningMean(0.9), RunningMean(0.9))
    return Step(run, 0, torch.tensor(rows, dtype=torch.int64), (inputs or {},), statistics, passes)


def token_inputs(rows=4, seed=0):
    ids = torch.randint(5, 40, (rows, 7), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def ask(teacher, step):
    """As the callback does: model in eval mode, no gradient."""
    step.run.model.eval()
    with torch.no_grad():
        return teacher(step)


def one_by_one(model, texts, max_length=16):
    """Logits of each text alone: no padding, no batching, the tokenizer's own tensors."""
    model.eval()
    tokenizer = make_tokenizer()
    with torch.no_grad():
        rows = [model(**tokenizer(t, truncation=True, max_length=max_length, return_tensors="pt")) for t in texts]
    return torch.cat([row.logits for row in rows])


def weights_of(model):
    return [p.detach().clone() for p in model.parameters()]


def change_weights(model, seed):
    """What an optimizer step does: in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=generator) * 0.1)


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


# ---- the model itself ----


@both
def test_self_teacher_is_the_models_own_prediction(task):
    run, inputs = make_run(task), token_inputs()
    p, valid = ask(SelfTeacher(), make_step(run, inputs=inputs))
    logits = run.model(**inputs).logits
    expected = logits.sigmoid() if isinstance(task, MultiLabel) else logits.softmax(-1)
    torch.testing.assert_close(p, expected.detach())
    assert valid.dtype == torch.bool and valid.shape == (4,) and bool(valid.all()) and p.requires_grad is False


# ---- moving average of the weights ----


@both
def test_ema_follows_the_formula(task):
    """theta' <- m_t theta' + (1 - m_t) theta, m_t = min(1 - 1/(t + 1), m): 1/2, 2/3, then 0.7 for ever."""
    run, teacher = make_run(task), EMATeacher(0.7)
    teacher.prepare(run)
    expected = [p.double() for p in weights_of(run.model)]
    for t, m in enumerate((1 / 2, 2 / 3, 0.7, 0.7), start=1):
        change_weights(run.model, seed=t)
        teacher.after_step(run)
        expected = [m * a + (1 - m) * p.double() for a, p in zip(expected, weights_of(run.model), strict=True)]
    students = weights_of(run.model)
    teacher.finish(run, None)
    for ours, reference, student in zip(weights_of(run.model), expected, students, strict=True):
        torch.testing.assert_close(ours, reference.float(), rtol=1e-5, atol=1e-6)
        assert not torch.allclose(ours, student)


def test_ema_decay_defaults_to_the_length_of_the_run():
    for steps, m in ((1000, 1 - 1 / 30), (10, 0.5)):
        run, teacher = make_run(TASKS[0], steps=steps), EMATeacher()
        teacher.prepare(run)
        average = weights_of(run.model)[0].double()
        for t in range(1, 40):
            change_weights(run.model, seed=t)
            teacher.after_step(run)
            m_t = min(1 - 1 / (t + 1), m)
            average = m_t * average + (1 - m_t) * weights_of(run.model)[0].double()
        teacher.finish(run, None)
        torch.testing.assert_close(weights_of(run.model)[0], average.float(), rtol=1e-4, atol=1e-5)


@both
def test_ema_teaches_with_the_average_and_gives_the_student_back(task):
    run, teacher, inputs = make_run(task), EMATeacher(0.9), token_inputs()
    start = copy.deepcopy(run.model)
    teacher.prepare(run)
    change_weights(run.model, seed=1)
    students = weights_of(run.model)
    pointers = [p.data_ptr() for p in run.model.parameters()]
    p, valid = ask(teacher, make_step(run, inputs=inputs))
    # No update yet: the average is the model as it was at prepare.
    torch.testing.assert_close(p, task.probabilities(start.eval()(**inputs).logits).detach())
    own = task.probabilities(run.model(**inputs).logits).detach()
    assert not torch.allclose(p, own, atol=1e-3) and bool(valid.all())
    assert_same(weights_of(run.model), students)
    assert [p.data_ptr() for p in run.model.parameters()] == pointers  # the optimizer's tensors
    assert all(p.requires_grad for p in run.model.parameters())


def test_ema_gives_the_student_back_when_the_teacher_pass_fails():
    run, teacher = make_run(TASKS[0]), EMATeacher(0.9)
    teacher.prepare(run)
    change_weights(run.model, seed=1)
    students = weights_of(run.model)
    step = make_step(run)
    seen = []

    def fail(inputs, grad, train):
        seen.extend(weights_of(run.model))
        raise RuntimeError("out of memory")

    step.passes = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        ask(teacher, step)
    assert not torch.equal(seen[0], students[0])
    assert_same(weights_of(run.model), students)


def test_ema_does_not_follow_the_student_by_itself():
    """The average is a copy, before and after the weights were swapped in."""
    run, teacher, inputs = make_run(TASKS[0]), EMATeacher(0.9), token_inputs()
    teacher.prepare(run)
    step = make_step(run, inputs=inputs)
    before, _ = ask(teacher, step)
    change_weights(run.model, seed=1)
    after, _ = ask(teacher, step)
    assert torch.equal(before, after)


def test_ema_leaves_frozen_parameters_alone():
    run, teacher = make_run(TASKS[0]), EMATeacher(0.5)
    for p in run.model.bert.embeddings.parameters():
        p.requires_grad_(False)
    teacher.prepare(run)
    start = copy.deepcopy(run.model)
    change_weights(run.model, seed=1)
    teacher.after_step(run)
    student = copy.deepcopy(run.model)
    teacher.finish(run, None)
    assert len(teacher.state_dict()) == 1 + sum(p.requires_grad for p in run.model.parameters())
    for a, b, c, d in zip(*(m.parameters() for m in (run.model, student, start, run.model)), strict=True):
        expected = (b + c) / 2 if d.requires_grad else b
        torch.testing.assert_close(a.detach(), expected.detach())


def test_ema_finish_puts_the_average_in_and_keeps_the_student(tmp_path):
    run, teacher = make_run(TASKS[0]), EMATeacher(0.9)
    teacher.prepare(run)
    start = weights_of(run.model)
    change_weights(run.model, seed=1)
    teacher.after_step(run)
    students, pointers = weights_of(run.model), [p.data_ptr() for p in run.model.parameters()]
    teacher.finish(run, tmp_path)
    saved = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student")
    assert_same(weights_of(saved), students)
    assert saved.config.id2label == dict(enumerate(NAMES))
    for ours, a, b in zip(weights_of(run.model), start, students, strict=True):
        torch.testing.assert_close(ours, (a + b) / 2)
    assert [p.data_ptr() for p in run.model.parameters()] == pointers


def test_ema_state_round_trip():
    first = make_run(TASKS[0])
    teacher = EMATeacher(0.9)
    assert isinstance(teacher, Stateful) and callable(teacher.prepare)
    teacher.prepare(first)
    for t in range(3):
        change_weights(first.model, seed=t)
        teacher.after_step(first)
    state = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    second = make_run(TASKS[0], model=copy.deepcopy(first.model))
    resumed = EMATeacher(0.9)
    resumed.prepare(second)
    resumed.load_state_dict(state)
    for t in range(3, 5):
        for run, ema in ((first, teacher), (second, resumed)):
            change_weights(run.model, seed=t)
            ema.after_step(run)
    for a, b in zip(teacher.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert int(resumed.state_dict()["updates"]) == 5


def test_ema_prepare_forgets_the_last_run():
    run, teacher = make_run(TASKS[0]), EMATeacher(0.9)
    teacher.prepare(run)
    change_weights(run.model, seed=1)
    teacher.after_step(run)
    change_weights(run.model, seed=2)
    teacher.prepare(run)
    now = weights_of(run.model)
    change_weights(run.model, seed=3)
    teacher.after_step(run)  # t = 1 again: halfway
    later = weights_of(run.model)
    teacher.finish(run, None)
    for ours, a, b in zip(weights_of(run.model), now, later, strict=True):
        torch.testing.assert_close(ours, (a + b) / 2)


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, float("nan")])
def test_ema_decay_is_checked(decay):
    with pytest.raises(ValueError, match=r"decay=.*must lie in \[0, 1\)"):
        EMATeacher(decay)


# ---- a column ----


def column_run(task, values):
    return make_run(task, pool=make_pool(texts=["the film"] * len(values), scores=values))


@both
def test_column_teacher_reads_rows_and_abstains_on_nan(task):
    values = [[0.2, 0.3, 0.5], [float("nan")] * 3, [0.0, 1.0, 0.0], [0.5, float("nan"), 0.5]]
    run, teacher = column_run(task, values), ColumnTeacher("scores", label_names=NAMES)
    teacher.prepare(run)
    p, valid = ask(teacher, make_step(run, rows=[2, 1, 0, 3]))
    assert valid.tolist() == [True, False, True, False]
    torch.testing.assert_close(p[valid], torch.tensor([[0.0, 1, 0], [0.2, 0.3, 0.5]]))
    assert p.dtype == torch.float32 and bool(p.isfinite().all())


@both
def test_column_teacher_takes_logits(task):
    values = [[2.0, -1.0, 0.5], [float("nan")] * 3, [-30.0, 0.0, 40.0]]
    run, teacher = column_run(task, values), ColumnTeacher("scores", kind="logits", label_names=NAMES)
    teacher.prepare(run)
    p, valid = ask(teacher, make_step(run, rows=[0, 1, 2]))
    z = torch.tensor(values)[valid]
    assert valid.tolist() == [True, False, True]
    torch.testing.assert_close(p[valid], z.sigmoid() if isinstance(task, MultiLabel) else z.softmax(-1))
    assert bool(p.isfinite().all())


@both
@pytest.mark.parametrize("bad", [[0.1, 1.2, 0.1], [-0.2, 0.6, 0.6]])
def test_column_teacher_names_the_row_that_is_no_probability(task, bad):
    run = column_run(task, [[0.2, 0.3, 0.5], bad, [2.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match=r"'scores', row 1: .*is no probability.*kind='logits'"):
        ColumnTeacher("scores", label_names=NAMES).prepare(run)


@both
def test_column_teacher_says_what_is_wrong_with_the_column(task):
    with pytest.raises(ValueError, match=r"'scores' has shape \(2, 2\); 3 numbers per row"):
        ColumnTeacher("scores", label_names=NAMES).prepare(column_run(task, [[0.5, 0.5], [0.4, 0.6]]))
    with pytest.raises(ValueError, match=r"'scores' holds int64: one number per label"):
        ColumnTeacher("scores", label_names=NAMES).prepare(column_run(task, [0, 2]))
    with pytest.raises(
        ValueError, match=r"no column 'soft', nor one for each label \(soft_LABEL\); there are .*'scores'"
    ):
        ColumnTeacher("soft").prepare(column_run(task, [[0.2, 0.3, 0.5]]))
    with pytest.raises(ValueError, match="use 'probabilities' or 'logits'"):
        ColumnTeacher("scores", kind="scores")


@pytest.mark.parametrize("values", [[[0.2, 0.3, 0.5], [0.5, 0.5]], [[0.2, 0.3, 0.5], None]], ids=["ragged", "null"])
def test_column_teacher_names_the_column_whose_rows_differ_in_width(values):
    with pytest.raises(ValueError, match=r"'scores'.*every row needs the same number of values"):
        ColumnTeacher("scores", label_names=NAMES).prepare(column_run(TASKS[0], values))


@both
def test_column_teacher_clips_what_rounding_left_outside(task):
    """1.00005 is let through; 1 - p must not be negative, or the entropy is NaN."""
    run, teacher = column_run(task, [[1.00005, -0.00005, 0.0]]), ColumnTeacher("scores", label_names=NAMES)
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=[0]))
    assert bool(((p >= 0) & (p <= 1)).all()) and bool(task.entropy(p).isfinite().all())


def test_column_teacher_refuses_or_repairs_classes_that_do_not_sum_to_one():
    """Three independent scores are no distribution over classes (rounding is mended)."""
    run, teacher = column_run(TASKS[0], [[0.33, 0.33, 0.33]]), ColumnTeacher("scores", label_names=NAMES)
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=[0]))
    torch.testing.assert_close(p.sum(-1), torch.ones(1))
    with pytest.raises(ValueError, match="row 1"):
        ColumnTeacher("scores", label_names=NAMES).prepare(
            column_run(TASKS[0], [[0.2, 0.3, 0.5], [0.9, 0.9, 0.9], [0.1, 0.1, 0.1]])
        )


@both
def test_column_teacher_makes_no_nan_of_an_infinite_logit(task):
    """Refused by name of the row, or abstained on; never a NaN that counts. (-inf is log 0 and fine.)"""
    run = column_run(task, [[0.0, float("-inf"), 1.0], [0.0, float("inf"), 0.0]])
    teacher = ColumnTeacher("scores", kind="logits", label_names=NAMES)
    try:
        teacher.prepare(run)
    except ValueError as error:
        assert "row 1" in str(error)
        return
    p, valid = ask(teacher, make_step(run, rows=[0, 1]))
    assert bool(p[valid].isfinite().all()) and bool(valid[0])


def test_column_teacher_prepare_forgets_the_last_run():
    task, teacher = TASKS[0], ColumnTeacher("scores", label_names=NAMES)
    for values in ([[0.2, 0.3, 0.5]], [[0.7, 0.2, 0.1]]):
        run = column_run(task, values)
        teacher.prepare(run)
        p, _ = ask(teacher, make_step(run, rows=[0]))
        torch.testing.assert_close(p, torch.tensor(values))


@both
@pytest.mark.parametrize("share", [0.5, 1.0], ids=["half abstain", "all abstain"])
def test_rows_that_a_teacher_abstains_on_leave_no_trace_in_running_statistics(task, share, tmp_path):
    """All other rows have the same probabilities, so their running mean is known without knowing the draw."""
    row, rows = [0.2, 0.3, 0.5], 40
    values = [[float("nan")] * 3 if i < share * rows else row for i in range(rows)]
    align, select = AlignToPrior(row), GaussianWeight()
    pool = datasets.Dataset.from_dict({"text": make_texts(rows, seed=4)[0], "scores": values})
    callback = SemiSupervised(
        pool, teacher=ColumnTeacher("scores"), align=align, select=select, sharpen=keep, loss=kl_divergence, ratio=2
    )
    kind = "multi" if isinstance(task, MultiLabel) else "single"
    trainer = make_trainer(tmp_path, make_tokenizer(), task=kind, max_steps=3)
    textpl.attach(trainer, callback)
    trainer.train()
    assert all(bool(p.isfinite().all()) for p in trainer.model.parameters())
    marginal, confidence = align.state_dict(), select.state_dict()
    if share == 1.0:
        assert all(bool(t.isfinite().all()) for t in [*marginal.values(), *confidence.values()])
        return
    torch.testing.assert_close(marginal["seen.mean"] / marginal["seen.weight"].float(), torch.tensor(row))
    if kind == "multi":
        assert confidence == {}  # every cell counts
        return
    expected = torch.tensor(0.5)
    torch.testing.assert_close(confidence["mean.mean"] / confidence["mean.weight"].float(), expected)
    torch.testing.assert_close(confidence["variance.mean"], torch.zeros_like(expected), rtol=0, atol=1e-8)


# ---- a finished model ----


def no_forward(*args, **kwargs):
    raise AssertionError("a forward pass, although the logits are cached")


def cached(folder):
    return sorted(f.name for f in folder.iterdir())


@both
@pytest.mark.parametrize("training", [True, False], ids=["train mode", "eval mode"])
def test_frozen_teacher_gives_the_models_probabilities_of_each_row(task, training, tmp_path):
    texts = make_texts(11, seed=4)[0]
    model = make_bert(task, seed=5).train(training)
    run = make_run(task, pool=make_pool(texts))
    teacher = FrozenTeacher(model, batch_size=3, cache_dir=tmp_path / "logits")
    teacher.prepare(run)
    assert model.training == training  # left as it came
    rows = [7, 0, 10, 3]
    p, valid = ask(teacher, make_step(run, rows=rows))
    expected = task.probabilities(one_by_one(model, texts))
    assert float(expected.std(0).min()) > 0.02, "rows must differ for the test to mean anything"
    torch.testing.assert_close(p, expected[rows], rtol=0, atol=1e-3)
    assert p.dtype == torch.float32 and valid.tolist() == [True] * 4
    files = cached(tmp_path / "logits")
    assert len(files) == 1 and files[0].endswith(".npy")
    stored = np.load(tmp_path / "logits" / files[0])
    assert stored.dtype == np.float16 and stored.shape == (11, 3)
    np.testing.assert_allclose(stored, one_by_one(model, texts).numpy(), rtol=2e-3, atol=2e-3)


@both
def test_frozen_teacher_temperature_is_that_of_its_logits(task, tmp_path):
    """Cached logits, probabilities, then Temperature: together softmax(v / T)."""
    texts = make_texts(11, seed=4)[0]
    model, run = make_bert(task, seed=5), make_run(task, pool=make_pool(texts))
    teacher = FrozenTeacher(model, cache_dir=tmp_path)
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=range(11)))
    expected = task.probabilities(one_by_one(model, texts) / 2)
    torch.testing.assert_close(Temperature(2.0)(p, make_step(make_run(task))), expected, rtol=0, atol=1e-3)


def test_frozen_teacher_reads_its_cache(tmp_path, monkeypatch):
    task, pool = TASKS[0], make_pool()
    run, model = make_run(task, pool=pool), make_bert(TASKS[0], seed=5)
    first = FrozenTeacher(model, cache_dir=tmp_path / "logits")
    first.prepare(run)
    expected, _ = ask(first, make_step(run, rows=range(11)))
    monkeypatch.setattr(soft_labels, "predict_logits", no_forward)
    for again in (first, FrozenTeacher(copy.deepcopy(model), cache_dir=str(tmp_path / "logits"))):
        again.prepare(make_run(task, pool=make_pool()))
        p, _ = ask(again, make_step(run, rows=range(11)))
        assert torch.equal(p, expected)
    model.classifier.bias.data[0] += 1e-3
    with pytest.raises(AssertionError, match="a forward pass"):
        first.prepare(run)


def test_frozen_teacher_default_cache_lies_beside_the_datasets_cache(tmp_path):
    FrozenTeacher(make_bert(TASKS[0], seed=5)).prepare(make_run(TASKS[0], pool=make_pool()))
    assert len(cached(tmp_path / "cache" / "textpl-logits")) == 1


def test_frozen_teacher_caches_by_weights_texts_and_length(tmp_path):
    task, folder = TASKS[0], tmp_path / "logits"
    texts = make_texts(11, seed=4)[0]

    def files_after(model, pool):
        FrozenTeacher(model, cache_dir=folder).prepare(make_run(task, pool=pool))
        return len(cached(folder))

    model = make_bert(task, seed=5)
    assert files_after(model, make_pool(texts)) == 1
    assert files_after(make_bert(task, seed=6), make_pool(texts)) == 2
    assert files_after(model, make_pool([*texts[:-1], texts[-1] + " film"])) == 3
    assert files_after(model, make_pool(texts[::-1])) == 4
    assert files_after(model, make_pool(texts, max_length=5)) == 5
    assert files_after(model, make_pool(texts)) == 5


@both
def test_frozen_teacher_maps_labels_by_name(task, tmp_path):
    texts = make_texts(11, seed=4)[0]
    model = make_bert(task, seed=5, names=["so so", "bad", "good"])
    run = make_run(task, pool=make_pool(texts), names=["bad", "good", "so so"])
    teacher = FrozenTeacher(model, cache_dir=tmp_path)
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=range(11)))
    expected = task.probabilities(one_by_one(model, texts))[:, [1, 2, 0]]
    torch.testing.assert_close(p, expected, rtol=0, atol=1e-3)


DEFAULT = ["LABEL_0", "LABEL_1", "LABEL_2"]


@pytest.mark.parametrize(
    ("theirs", "ours", "said", "order"),
    [
        (DEFAULT, DEFAULT, None, [0, 1, 2]),
        (DEFAULT, ["0", "1", "2"], None, [0, 1, 2]),
        (["2", "0", "1"], DEFAULT, None, [1, 2, 0]),
        (DEFAULT, NAMES, ["so so", "bad", "good"], [1, 2, 0]),
    ],
)
def test_frozen_teacher_goes_by_position_only_where_no_model_has_names(theirs, ours, said, order, tmp_path):
    texts = make_texts(11, seed=4)[0]
    model = make_bert(TASKS[0], seed=5, names=theirs)
    run = make_run(TASKS[0], pool=make_pool(texts), names=ours)
    teacher = FrozenTeacher(model, label_names=said, cache_dir=tmp_path)
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=range(11)))
    torch.testing.assert_close(p, TASKS[0].probabilities(one_by_one(model, texts))[:, order], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("theirs", "ours"), [(DEFAULT, NAMES), (NAMES, DEFAULT)])
def test_frozen_teacher_and_student_of_which_one_has_names_are_refused(theirs, ours, tmp_path):
    run = make_run(TASKS[0], pool=make_pool(), names=ours)
    with pytest.raises(ValueError, match=r"config\.id2label of both models alike.*label_names="):
        FrozenTeacher(make_bert(TASKS[0], names=theirs), cache_dir=tmp_path).prepare(run)


@pytest.mark.parametrize("names", [["bad", "good", "mixed"], ["bad", "good"], ["LABEL_0", "LABEL_1"]])
def test_frozen_teacher_with_other_labels_is_refused(names, tmp_path):
    run = make_run(TASKS[0], pool=make_pool())
    with pytest.raises(ValueError, match=r"teacher's labels .*are not the student's .*config\.id2label") as error:
        FrozenTeacher(make_bert(TASKS[0], names=names), cache_dir=tmp_path).prepare(run)
    assert repr(names) in str(error.value) and repr(NAMES) in str(error.value)


@both
def test_several_frozen_teachers_are_averaged_as_probabilities(task, tmp_path):
    texts = make_texts(11, seed=4)[0]
    models = [make_bert(task, seed=5), make_bert(task, seed=6, names=["good", "bad", "so so"])]
    run = make_run(task, pool=make_pool(texts))
    teacher = FrozenTeacher(models, cache_dir=tmp_path)
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=range(11)))
    each = [task.probabilities(one_by_one(m, texts)) for m in models]
    expected = (each[0] + each[1][:, [1, 0, 2]]) / 2
    torch.testing.assert_close(p, expected, rtol=0, atol=1e-3)
    teacher.prepare(run)  # a second run does not add the teachers once more
    again, _ = ask(teacher, make_step(run, rows=range(11)))
    assert torch.equal(p, again)


@pytest.mark.parametrize("as_path", [str, lambda path: path], ids=["str", "Path"])
def test_frozen_teacher_from_a_folder_uses_its_own_tokenizer(tmp_path, as_path):
    """The teacher's tokenizer numbers the words differently; the pool is tokenised anew for it."""
    task, texts = TASKS[0], make_texts(11, seed=4)[0]
    own = make_tokenizer()
    other = make_tokenizer()
    shift = {"good": "bad", "bad": "good", "film": "meal", "meal": "film"}
    swapped = {shift.get(word, word): i for word, i in own.get_vocab().items()}
    other.backend_tokenizer.model = type(other.backend_tokenizer.model)(swapped, unk_token="[UNK]")
    model = make_bert(task, seed=5)
    model.save_pretrained(tmp_path / "teacher")
    other.save_pretrained(tmp_path / "teacher")
    run = make_run(task, pool=make_pool(texts, tokenizer=own))
    teacher = FrozenTeacher(as_path(tmp_path / "teacher"), cache_dir=tmp_path / "logits")
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=range(11)))
    renamed = [" ".join(shift.get(word, word) for word in text.split()) for text in texts]
    torch.testing.assert_close(p, task.probabilities(one_by_one(model, renamed)), rtol=0, atol=1e-3)
    assert not torch.allclose(p, task.probabilities(one_by_one(model, texts)), atol=1e-2)


def test_frozen_teacher_does_not_touch_the_student(tmp_path):
    run = make_run(TASKS[0], pool=make_pool())
    before, was_training = weights_of(run.model), run.model.training
    FrozenTeacher(make_bert(TASKS[0], seed=5), cache_dir=tmp_path).prepare(run)
    assert_same(weights_of(run.model), before)
    assert run.model.training == was_training


def test_frozen_teacher_keeps_huge_logits_finite(tmp_path):
    model = make_bert(TASKS[0], seed=5, scale=1e6)
    run = make_run(TASKS[0], pool=make_pool())
    teacher = FrozenTeacher(model, cache_dir=tmp_path)
    teacher.prepare(run)
    p, _ = ask(teacher, make_step(run, rows=range(11)))
    assert bool(p.isfinite().all())
    torch.testing.assert_close(p.sum(-1), torch.ones(11))


def test_frozen_teacher_needs_a_model():
    with pytest.raises(ValueError, match="give at least one teacher"):
        FrozenTeacher([])
