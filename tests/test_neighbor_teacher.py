"""Neighbours as a teacher inside a real Trainer, and teachers made of two."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Stop, make_data, make_model, make_pool, make_tokenizer, make_trainer
from datasets import Dataset

import textpl
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.neighbor_teacher import HDLTeacher
from textpl.components.selection import FixedThreshold, Until
from textpl.components.sharpen import keep
from textpl.components.step import Step
from textpl.components.teacher_mixes import Blend, Fallback, Then
from textpl.components.teachers import SelfTeacher
from textpl.tasks import MultiLabel, SingleLabel


class Words:
    """Counts of words, and a little of each text's own: an encoder that needs no model."""

    name = "words"

    def encode(self, texts, *, progress=True):
        vocabulary = sorted({"good", "fine", "nice", "bad", "poor", "dull", "film", "book", "meal", "the", "a", "was"})
        counts = np.array([[t.split().count(w) for w in vocabulary] for t in texts], dtype=np.float32)
        own = [np.random.default_rng(zlib.crc32(t.encode())).normal(size=len(vocabulary)) for t in texts]
        return counts + 0.05 * np.array(own, dtype=np.float32)


class Spy(HDLTeacher):
    """Remembers when it labelled."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.runs = 0

    def _label(self, vectors, run):
        self.runs += 1
        return super()._label(vectors, run)


def train(folder, tokenizer, teacher, task="single", **settings):
    pool = settings.pop("pool", None) or make_pool(task=task)
    trainer = make_trainer(folder, tokenizer, task=task, model=make_model(task, dropout=0.1), **settings)
    textpl.attach(trainer, SemiSupervised(pool, teacher=teacher, sharpen=keep))
    trainer.train()
    return trainer


@pytest.mark.parametrize("task", ["single", "multi"])
def test_a_fixed_encoder_gives_the_labels_of_textpl_label(tmp_path, tokenizer, task):
    labeled, pool = make_data(tokenizer, rows=60, task=task), make_pool(task=task)
    teacher = HDLTeacher(labeled, encoder=Words(), method="linear")
    train(tmp_path, tokenizer, teacher, task=task)
    found = textpl.label(labeled, pool, encoder=Words(), method="linear", progress=False)
    same = found.hops > 0  # a pool text that is also a labelled one is its own node here
    np.testing.assert_allclose(teacher.p.float().numpy()[same], found.probabilities[same], atol=0.03)


@pytest.mark.parametrize(("refresh", "runs"), [(2, 3), (100, 1), (None, 1), ("epoch", 2)])
def test_the_models_own_space_is_refreshed(tmp_path, tokenizer, refresh, runs):
    teacher = Spy(refresh=refresh, method="knn_dv")
    # 16 pool rows, 4 a step: an epoch of the pool is 4 steps
    train(tmp_path, tokenizer, teacher, max_steps=6, pool=make_pool(16))
    assert teacher.runs == runs
    assert teacher.prepared_tokens > 0


def test_labels_change_with_the_model(tmp_path, tokenizer):
    teacher, seen = HDLTeacher(refresh=3, method="linear"), []
    original = teacher._label
    teacher._label = lambda vectors, run: (original(vectors, run), seen.append(vectors))[0]
    train(tmp_path, tokenizer, teacher, max_steps=6)
    assert not np.allclose(seen[0], seen[1], atol=1e-3)


@pytest.mark.parametrize("method", ["hdl", "label_propagation", "linear_propagation", "knn", "auto"])
@pytest.mark.parametrize("task", ["single", "multi"])
def test_every_method_can_teach(tmp_path, tokenizer, method, task):
    trainer = train(tmp_path, tokenizer, HDLTeacher(method=method, refresh=None), task=task)
    logged = [h for h in trainer.state.log_history if "textpl/unlabeled_loss" in h]
    assert logged and all(np.isfinite(h["textpl/unlabeled_loss"]) for h in logged)


def test_bad_settings_and_data_are_named(tmp_path, tokenizer):
    with pytest.raises(ValueError, match="refresh=0"):
        HDLTeacher(refresh=0)
    with pytest.raises(ValueError, match="keep a column 'text'"):
        train(tmp_path, tokenizer, HDLTeacher(encoder=Words()))
    with pytest.raises(ValueError, match="no column 'label'"):
        train(tmp_path, tokenizer, HDLTeacher(Dataset.from_dict({"text": ["a"]}), encoder=Words()))
    with pytest.raises(ValueError, match="out of range"):
        train(tmp_path, tokenizer, HDLTeacher(Dataset.from_dict({"text": ["a"], "label": [7]}), encoder=Words()))
    with pytest.raises(ValueError, match="use 'auto' or one of"):
        HDLTeacher(method="hld")
    with pytest.raises(ValueError, match="class_prior"):
        train(tmp_path, tokenizer, HDLTeacher(class_prior="unifrom"))
    with pytest.raises(ValueError, match="no rows"):
        train(tmp_path, tokenizer, HDLTeacher(make_data(tokenizer).select([])))


def test_labelled_rows_may_carry_the_models_label_names(tmp_path, tokenizer):
    data = make_data(tokenizer, rows=30)
    named = Dataset.from_dict({"text": data["text"], "label": [f"LABEL_{i}" for i in data["label"]]})
    by_id, by_name = (HDLTeacher(d, encoder=Words(), method="linear") for d in (data, named))
    train(tmp_path, tokenizer, by_id)
    train(tmp_path, tokenizer, by_name)
    torch.testing.assert_close(by_id.p, by_name.p)


class Fixed:
    def __init__(self, p, valid=None):
        self.p = torch.tensor(p)
        self.valid = torch.ones(len(p), dtype=torch.bool) if valid is None else torch.tensor(valid)

    def __call__(self, step):
        return self.p, self.valid


def step_of(task, index=0, total=10):
    run = type("Run", (), {"task": task, "total_steps": total})()
    return Step(run, index, torch.arange(2), (), None, lambda *pass_: None)


def test_blend_product_and_linear():
    a, b = Fixed([[0.8, 0.2], [0.5, 0.5]]), Fixed([[0.4, 0.6], [0.9, 0.1]])
    p, valid = Blend(a, b, share=0.25)(step_of(SingleLabel(2)))
    raw = np.array([[0.8**0.75 * 0.4**0.25, 0.2**0.75 * 0.6**0.25], [0.5**0.75 * 0.9**0.25, 0.5**0.75 * 0.1**0.25]])
    np.testing.assert_allclose(p, raw / raw.sum(1, keepdims=True), rtol=1e-5)
    assert valid.all()
    p, _ = Blend(a, b, share=0.25, how="linear")(step_of(SingleLabel(2)))
    np.testing.assert_allclose(p, [[0.7, 0.3], [0.6, 0.4]], rtol=1e-5)
    p, _ = Blend(a, b, share=0.5)(step_of(MultiLabel(2)))
    odds = np.sqrt(0.8 / 0.2 * 0.4 / 0.6)
    assert float(p[0, 0]) == pytest.approx(odds / (1 + odds), rel=1e-5)


def test_blend_where_one_abstains_or_they_disagree():
    a = Fixed([[0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], [True, False, False])
    b = Fixed([[0.1, 0.9], [0.2, 0.8], [0.0, 0.0]], [True, True, False])
    p, valid = Blend(a, b, agree=True)(step_of(SingleLabel(2)))
    assert valid.tolist() == [False, True, False]
    np.testing.assert_allclose(p[1], [0.2, 0.8], rtol=1e-5)
    with pytest.raises(ValueError, match="share"):
        Blend(a, b, share=2)


def test_fallback_takes_the_second_where_the_first_is_unsure():
    a, b = Fixed([[0.9, 0.1], [0.6, 0.4]]), Fixed([[0.3, 0.7], [0.2, 0.8]], [True, True])
    p, valid = Fallback(a, b, threshold=0.8)(step_of(SingleLabel(2)))
    np.testing.assert_allclose(p, [[0.9, 0.1], [0.2, 0.8]], rtol=1e-6)
    assert valid.all()
    p, _ = Fallback(a, Fixed([[0.3, 0.7], [0.0, 0.0]], [True, False]))(step_of(SingleLabel(2)))
    np.testing.assert_allclose(p[1], [0.6, 0.4], rtol=1e-6)
    p, _ = Fallback(Fixed([[0.9, 0.5], [0.05, 0.6]]), b, threshold=0.8)(step_of(MultiLabel(2)))
    np.testing.assert_allclose(p, [[0.9, 0.7], [0.05, 0.8]], rtol=1e-6)


def test_then_and_until_switch_at_the_same_step():
    teacher = Then(Fixed([[1.0, 0.0]] * 2), Fixed([[0.0, 1.0]] * 2), at=0.5)
    select = Until(0.5, FixedThreshold(1.0))
    for index, expected in ((4, [1.0, 0.0]), (5, [0.0, 1.0])):
        assert teacher(step_of(SingleLabel(2), index))[0][0].tolist() == expected
    unsure = torch.tensor([[0.5, 0.5]])
    assert select(unsure, step_of(SingleLabel(2), 4)).tolist() == [0]
    assert select(unsure, step_of(SingleLabel(2), 5)).tolist() == [1]
    with pytest.raises(ValueError, match="at=1"):
        Then(SelfTeacher(), SelfTeacher(), at=1)


MIXES = [lambda: Blend(SelfTeacher(), HDLTeacher(refresh=2)), lambda: Fallback(SelfTeacher(), HDLTeacher(refresh=4))]


@pytest.mark.parametrize("make", MIXES)
def test_a_mix_resumes_where_it_was(tmp_path, tokenizer, make):
    def build(folder, steps):
        trainer = make_trainer(
            folder, tokenizer, model=make_model(dropout=0.1), max_steps=6, save_strategy="steps", save_steps=3
        )
        textpl.attach(trainer, SemiSupervised(make_pool(), teacher=make(), sharpen=keep))
        if steps < 6:
            trainer.add_callback(Stop(steps))
        return trainer

    straight = build(tmp_path / "a", 6)
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "b", 4).train()
    resumed = build(tmp_path / "b", 6)
    resumed.train(resume_from_checkpoint=True)
    for key, tensor in straight.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], tensor, rtol=0, atol=0)


def test_everything_a_teacher_knows_is_in_its_state(tmp_path, tokenizer):
    one, other = HDLTeacher(method="linear"), HDLTeacher(method="knn_dv", refresh=2)
    train(tmp_path, tokenizer, one)
    train(tmp_path, tokenizer, other)
    other.known[:7] = False
    one.load_state_dict(other.state_dict())
    for name in ("p", "known", "made_at"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)


def test_two_processes_encode_a_share_each_and_agree(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([*command, __file__, str(tmp_path)], env=environment, check=True, timeout=180, capture_output=True)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    torch.testing.assert_close(parts[0]["p"], parts[1]["p"], rtol=0, atol=0)
    teacher = HDLTeacher(refresh=None, method="linear")
    train(tmp_path / "one", make_tokenizer(), teacher, max_steps=1)
    torch.testing.assert_close(parts[0]["p"], teacher.p, rtol=0, atol=0.02)
    assert sum(part["tokens"] for part in parts) == teacher.prepared_tokens


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    ours = HDLTeacher(refresh=None, method="linear")
    train(folder / "two", make_tokenizer(), ours, max_steps=1, per_device_train_batch_size=2, ddp_backend="gloo")
    rank = int(os.environ["RANK"])
    torch.save({"p": ours.p, "tokens": ours.prepared_tokens}, folder / f"{rank}.pt")
