"""A killed and resumed run ends with the weights of a straight one, for every method."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from conftest import make_model, make_pool, make_tokenizer, make_trainer, method_tasks
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback

import textpl
from textpl.callbacks import checkpoint
from textpl.callbacks.checkpoint import FILE

SETTINGS = {"max_steps": 6, "save_strategy": "steps", "save_steps": 3, "lr_scheduler_type": "linear"}


class Stop(TrainerCallback):
    def __init__(self, step, stop):
        self.step, self.stop = step, stop

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            self.stop()


def interrupt():
    raise KeyboardInterrupt


def build(folder, tokenizer, name, task="single", stop=None, **settings):
    teacher = {"teacher": make_model(task, seed=5)} if name == "distillation" else {}
    callback = textpl.METHODS[name].make(make_pool(task=task), ratio=2, **teacher)
    callbacks = [] if stop is None else [Stop(*stop)]
    model = make_model(task, dropout=0.1)
    trainer = make_trainer(folder, tokenizer, task=task, model=model, callbacks=callbacks, **(SETTINGS | settings))
    return textpl.attach(trainer, callback)


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


@pytest.mark.parametrize(("name", "task"), method_tasks())
def test_resumed_run_equals_a_straight_one(tmp_path, tokenizer, name, task):
    straight = build(tmp_path / "straight", tokenizer, name, task)
    straight.train()
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "killed", tokenizer, name, task, stop=(5, interrupt)).train()
    resumed = build(tmp_path / "killed", tokenizer, name, task)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 6
    for key, tensor in weights(straight).items():
        torch.testing.assert_close(weights(resumed)[key], tensor, rtol=0, atol=0, msg=key)


def test_resume_survives_a_real_kill(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    killed = subprocess.run([sys.executable, __file__, str(tmp_path / "killed")], env=environment, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    tokenizer = make_tokenizer()
    resumed = build(tmp_path / "killed", tokenizer, "mean_teacher")
    resumed.train(resume_from_checkpoint=True)
    straight = build(tmp_path / "straight", tokenizer, "mean_teacher")
    straight.train()
    for key, tensor in weights(straight).items():
        torch.testing.assert_close(weights(resumed)[key], tensor, rtol=0, atol=0, msg=key)


def test_a_kill_between_the_two_saves_is_an_error(tmp_path, tokenizer):
    build(tmp_path, tokenizer, "adamatch").train()
    (tmp_path / "checkpoint-6" / FILE).unlink()
    with pytest.raises(ValueError, match=r"No textpl.safetensors of step 6 .*earlier checkpoint"):
        build(tmp_path, tokenizer, "adamatch").train(resume_from_checkpoint=True)


@pytest.mark.parametrize("name", ["adamatch", "mean_teacher"])
def test_a_kill_after_older_checkpoints_were_deleted_leaves_one_to_resume_from(tmp_path, tokenizer, monkeypatch, name):
    """With save_total_limit=1 the Trainer deletes the old checkpoint before any callback hears of the new one."""
    rotate = transformers.trainer.rotate_checkpoints

    def killed_at_the_second(output_dir, **settings):
        rotate(output_dir=output_dir, **settings)
        if Path(output_dir, "checkpoint-4").exists():
            raise KeyboardInterrupt

    settings = {"save_steps": 2, "save_total_limit": 1}
    straight = build(tmp_path / "straight", tokenizer, name, **settings)
    straight.train()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(transformers.trainer, "rotate_checkpoints", killed_at_the_second)
        build(tmp_path / "killed", tokenizer, name, **settings).train()
    assert [folder.name for folder in (tmp_path / "killed").glob("checkpoint-*")] == ["checkpoint-4"]
    resumed = build(tmp_path / "killed", tokenizer, name, **settings)
    resumed.train(resume_from_checkpoint=True)
    for key, tensor in weights(straight).items():
        torch.testing.assert_close(weights(resumed)[key], tensor, rtol=0, atol=0, msg=key)


def test_a_complete_checkpoint_keeps_its_tensors_when_training_starts_anew(tmp_path, tokenizer):
    """A new training asks the callback for its state too, when its slots may be in the middle of a step."""
    trainer = build(tmp_path, tokenizer, "adamatch", stop=(5, interrupt))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    file = tmp_path / "checkpoint-3" / FILE
    before = file.read_bytes(), file.stat().st_mtime_ns
    trainer.state.global_step = 3
    trainer._init_training_state(6, 6, 1, None, None)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_tensors_are_written_once_and_over_those_of_an_earlier_run(tmp_path, tokenizer, monkeypatch):
    written = []
    save = checkpoint.save
    monkeypatch.setattr(
        checkpoint, "save", lambda args, state, *rest: written.append(state.global_step) or save(args, state, *rest)
    )
    for run in range(2):
        build(tmp_path, tokenizer, "adamatch").train()
        assert written == [3, 6] * (run + 1)
    build(tmp_path, tokenizer, "adamatch").train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_state_of_another_step_is_not_taken(tmp_path, tokenizer):
    build(tmp_path, tokenizer, "adamatch").train()
    file = tmp_path / "checkpoint-6" / FILE
    save_file(load_file(file), file, metadata={"format": "1", "step": "5"})
    with pytest.raises(ValueError, match=r"No textpl.safetensors of step 6"):
        build(tmp_path, tokenizer, "adamatch").train(resume_from_checkpoint=True)


def test_another_pool_is_not_resumed(tmp_path, tokenizer):
    build(tmp_path, tokenizer, "adamatch").train()
    other = make_trainer(tmp_path, tokenizer, model=make_model(dropout=0.1), **SETTINGS)
    textpl.attach(other, textpl.adamatch(make_pool(seed=8), ratio=2))
    with pytest.raises(ValueError, match="made with another pool"):
        other.train(resume_from_checkpoint=True)


def test_state_of_another_run_is_not_taken(tmp_path, tokenizer):
    for name in ("a", "b"):
        build(tmp_path / name, tokenizer, "adamatch").train()
    resumed = build(tmp_path / "b", tokenizer, "adamatch")
    with pytest.raises(ValueError, match="lies elsewhere"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))


def test_the_folder_to_resume_from_can_be_named(tmp_path, tokenizer):
    build(tmp_path / "a", tokenizer, "adamatch").train()
    folder = str(tmp_path / "a" / "checkpoint-3")
    settings = SETTINGS | {"resume_from_checkpoint": folder}
    resumed = make_trainer(tmp_path / "b", tokenizer, model=make_model(dropout=0.1), **settings)
    textpl.attach(resumed, textpl.adamatch(make_pool(), ratio=2))
    resumed.train(resume_from_checkpoint=folder)
    assert resumed.state.global_step == 6


def test_a_callback_can_train_twice(tmp_path, tokenizer):
    """Nothing of the first run is left in the slots: the second gives what a fresh callback gives."""
    callback = textpl.softmatch(make_pool())
    results = []
    for i in range(2):
        trainer = make_trainer(tmp_path / str(i), tokenizer, model=make_model(dropout=0.1), max_steps=3)
        textpl.attach(trainer, callback).train()
        results.append(weights(trainer))
    for key, tensor in results[0].items():
        torch.testing.assert_close(results[1][key], tensor, rtol=0, atol=0, msg=key)


if __name__ == "__main__":
    build(
        Path(sys.argv[1]), make_tokenizer(), "mean_teacher", stop=(5, lambda: os.kill(os.getpid(), signal.SIGKILL))
    ).train()
