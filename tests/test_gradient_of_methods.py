"""The gradient of a step, for every method: accumulated, distributed, in chunks of any size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import distance, make_data, make_model, make_pool, make_tokenizer, make_trainer, method_tasks
from transformers import TrainerCallback

import textpl
from textpl.callbacks.student import student_batches
from textpl.components.labeled import as_targets
from textpl.tasks import make_task

WEIGHT, STEPS = 0.7, 2
SETTINGS = {"uda": {"tsa": None, "threshold": 0.4}, "pseudo_label": {"threshold": 0.6}, "fixmatch": {"threshold": 0.6}}
SETTINGS |= {"adamatch": {"threshold": 0.7}, "comatch": {"threshold": 0.4}}


class Recorder(TrainerCallback):
    """Keeps the gradient that the optimizer is about to use."""

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.gradient = [p.grad.detach().clone() for p in kwargs["model"].parameters() if p.grad is not None]


def last_step(folder, tokenizer, name, task, *, accumulation=1, batch=4, **settings):
    """Two steps without learning: the callback, the last step's gradient, labeled batches, targets and weights."""
    given = SETTINGS.get(name, {}) | (
        {"teacher": make_model(task, seed=5, dtype=torch.float64)} if name == "distillation" else {}
    )
    callback = textpl.METHODS[name].make(make_pool(rows=200, task=task), ratio=2, weight=WEIGHT, **given)
    recorder, seen, targets, find = Recorder(), [], [], callback._targets
    callback._targets = lambda step: targets.append(find(step)) or targets[-1]
    trainer = make_trainer(
        folder,
        tokenizer,
        task=task,
        model=make_model(task, dtype=torch.float64),
        data=make_data(tokenizer, rows=128, task=task),
        callbacks=[recorder],
        max_steps=STEPS,
        max_grad_norm=0.0,
        learning_rate=0.0,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=batch,
        **settings,
    )
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: seen.append(collate(rows)) or seen[-1]
    textpl.attach(trainer, callback).train()
    return trainer, callback, recorder.gradient, seen[accumulation : STEPS * accumulation], targets[-1]


def expected_gradient(trainer, callback, labeled, targets, batch=4):
    """That of mean labeled loss + WEIGHT * objective, of this process alone, straight from the definition."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.zero_grad()
    model.eval()
    logits = torch.cat([model(b["input_ids"], attention_mask=b["attention_mask"]).logits for b in labeled])
    labels = torch.cat([b["labels"] for b in labeled])
    task = make_task(model.config.problem_type, model.config.num_labels)
    loss = callback.labeled_loss
    if loss is None:
        loss = lambda logits, labels, batch: task.cross_entropy(logits, as_targets(labels, task))  # noqa: E731
    loss(logits, labels, type("Batch", (), {"task": task})).mean().backward()
    _, q, w = targets
    step = callback.step
    for part in student_batches(callback.objective, step.views, q, w, step.valid, batch):
        (WEIGHT * callback.objective(part, step)).backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("accumulation", [1, 2, 4])
@pytest.mark.parametrize(("name", "task"), method_tasks())
def test_gradient_is_that_of_the_summed_loss(tmp_path, tokenizer, name, task, accumulation):
    trainer, callback, gradient, labeled, targets = last_step(
        tmp_path, tokenizer, name, task, accumulation=accumulation
    )
    assert targets[2].any(), "the test needs some pool rows that count"
    assert distance(gradient, expected_gradient(trainer, callback, labeled, targets)) <= 1e-9


@pytest.mark.parametrize(("name", "task"), [pair for pair in method_tasks() if pair[0] != "mixtext"])
def test_accumulation_changes_nothing(tmp_path, tokenizer, name, task):
    """MixText pairs the rows of a chunk, and chunks are smaller under accumulation; others look at rows or steps."""
    *_, whole, _, _ = last_step(tmp_path / "a", tokenizer, name, task, batch=16)
    *_, parts, _, _ = last_step(tmp_path / "b", tokenizer, name, task, batch=4, accumulation=4)
    assert distance(parts, whole) <= 1e-9


def test_gradient_of_every_method_with_two_processes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", __file__, str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for rank in range(2):
        found = dict(line.split() for line in (tmp_path / f"{rank}.txt").read_text().splitlines())
        assert set(found) == {f"{name}-{task}{part}" for name, task in method_tasks() for part in ("", "-state")}
        assert {pair: error for pair, error in found.items() if not float(error) <= 1e-9} == {}


def disagreement(callback):
    """Largest difference between what the parts of both processes remember."""
    parts = [part for part in callback._parts().values() if isinstance(part, torch.nn.Module)]
    mine = {f"{i}.{name}": x.clone() for i, part in enumerate(parts) for name, x in part.state_dict().items()}
    both = [None, None]
    torch.distributed.all_gather_object(both, mine)
    assert both[0].keys() == both[1].keys()
    return max([0.0, *(float((both[0][k].double() - both[1][k].double()).abs().max()) for k in mine)])


def main(folder):
    """One process of the distributed run: its reduced gradient against the mean over both processes."""
    tokenizer, lines = make_tokenizer(), []
    for name, task in method_tasks():
        trainer, callback, gradient, labeled, targets = last_step(
            folder / f"{name}-{task}", tokenizer, name, task, accumulation=2, ddp_find_unused_parameters=False
        )
        expected = expected_gradient(trainer, callback, labeled, targets)
        for part in expected:
            torch.distributed.all_reduce(part)
        lines.append(f"{name}-{task} {distance(gradient, [part / 2 for part in expected])}")
        lines.append(f"{name}-{task}-state {disagreement(callback)}")
    (folder / f"{trainer.args.process_index}.txt").write_text("\n".join(lines))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
