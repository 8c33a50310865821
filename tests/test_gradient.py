"""The gradient of a step is that of supervised + weight * unsupervised loss: alone, accumulated, distributed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import distance, make_data, make_model, make_pool, make_tokenizer, make_trainer, reference_gradient
from transformers import TrainerCallback

import textpl
from textpl import SemiSupervised
from textpl.components.selection import FixedThreshold, LabelThresholds

WEIGHT = 0.7
THRESHOLD, POSITIVE, NEGATIVE = 0.6, 0.7, 0.3
SELECT = {"single": FixedThreshold(THRESHOLD), "multi": LabelThresholds(POSITIVE, NEGATIVE)}


class Recorder(TrainerCallback):
    """Keeps the gradient that the optimizer is about to use."""

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        self.gradient = [p.grad.detach().clone() for p in kwargs["model"].parameters() if p.grad is not None]


def train_one_step(folder, tokenizer, task, *, ratio=1, accumulation=1, dtype=torch.float64, attach=True, **settings):
    """A trained Trainer, its callback, the gradient and the labelled batches of this process."""
    callback = SemiSupervised(make_pool(task=task), select=SELECT[task], weight=WEIGHT, ratio=ratio)
    recorder, seen = Recorder(), []
    trainer = make_trainer(
        folder,
        tokenizer,
        task=task,
        model=make_model(task, dtype=dtype),
        data=make_data(tokenizer, rows=32, task=task),
        callbacks=[recorder] if attach else [recorder, callback],
        max_steps=1,
        max_grad_norm=0.0,
        learning_rate=0.0,
        gradient_accumulation_steps=accumulation,
        **settings,
    )
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: seen.append(collate(rows)) or seen[-1]
    if attach:
        textpl.attach(trainer, callback)
    trainer.train()
    return trainer, callback, recorder.gradient, seen[:accumulation]


def summed_loss(model, labeled, pool_inputs, task):
    """Mean supervised loss + WEIGHT * sum(w loss) / drawn cells, straight from the definition."""

    def logits_of(batch):
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    logits = torch.cat([logits_of(batch) for batch in labeled])
    labels = torch.cat([batch["labels"] for batch in labeled])
    z = logits_of(pool_inputs)
    if task == "single":
        p = z.detach().softmax(-1)
        w = (p.max(-1).values >= THRESHOLD).to(p.dtype)
        supervised = F.cross_entropy(logits, labels)
        loss = F.cross_entropy(z, p.argmax(-1), reduction="none")
    else:
        p = z.detach().sigmoid()
        w = ((p >= POSITIVE) | (p <= NEGATIVE)).to(p.dtype)
        supervised = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        loss = F.binary_cross_entropy_with_logits(z, p, reduction="none")
    assert 0 < w.mean() < 1, "the test needs some in and some out"
    return supervised + WEIGHT * (w * loss).sum() / w.numel()


@pytest.mark.parametrize("task", ["single", "multi"])
@pytest.mark.parametrize("ratio", [1, 3])
@pytest.mark.parametrize("accumulation", [1, 2, 4])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_gradient_is_that_of_the_summed_loss(tmp_path, tokenizer, task, ratio, accumulation, dtype, bound):
    trainer, callback, gradient, labeled = train_one_step(
        tmp_path, tokenizer, task, ratio=ratio, accumulation=accumulation, dtype=dtype
    )
    batch = next(callback.step.run.pool.batches(0, 1, 4 * ratio * accumulation))
    model = trainer.model.eval()
    loss = summed_loss(model, labeled, batch.views[0], task)
    assert distance(gradient, reference_gradient(model, loss)) <= bound


def test_plain_callback_is_exact_in_one_piece_and_refuses_otherwise(tmp_path, tokenizer):
    trainer, callback, gradient, labeled = train_one_step(tmp_path, tokenizer, "single", attach=False)
    model = trainer.model.eval()
    batch = next(callback.step.run.pool.batches(0, 1, 4))
    assert distance(gradient, reference_gradient(model, summed_loss(model, labeled, batch.views[0], "single"))) <= 1e-9
    with pytest.raises(ValueError, match=r"2 times too large.*attach.*accepts_loss_kwargs"):
        train_one_step(tmp_path, tokenizer, "single", attach=False, accumulation=2)


def test_plain_callback_is_exact_when_the_model_says_so(tmp_path, tokenizer):
    callback, recorder = (
        SemiSupervised(make_pool(), select=SELECT["single"], weight=WEIGHT),
        Recorder(),
    )
    model = make_model(dtype=torch.float64)
    model.accepts_loss_kwargs = False
    settings = {"max_steps": 1, "max_grad_norm": 0.0, "learning_rate": 0.0, "gradient_accumulation_steps": 2}
    trainer = make_trainer(tmp_path, tokenizer, model=model, callbacks=[recorder, callback], **settings)
    seen, collate = [], trainer.data_collator
    trainer.data_collator = lambda rows: seen.append(collate(rows)) or seen[-1]
    trainer.train()
    batch = next(callback.step.run.pool.batches(0, 1, 8))
    expected = reference_gradient(model.eval(), summed_loss(model, seen[:2], batch.views[0], "single"))
    assert distance(recorder.gradient, expected) <= 1e-9


@pytest.mark.parametrize("accumulation", [1, 2])
def test_gradient_under_torchrun_with_two_processes(tmp_path, accumulation):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", __file__, str(tmp_path), str(accumulation)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    distances = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert max(distances) <= 1e-9


def main(folder, accumulation):
    """One process of the distributed run: its reduced gradient against that of the mean over both processes."""
    tokenizer = make_tokenizer()
    trainer, callback, gradient, labeled = train_one_step(
        folder / "out", tokenizer, "single", accumulation=accumulation, ddp_find_unused_parameters=False
    )
    rank = trainer.args.process_index
    batch = next(callback.step.run.pool.batches(0, 1, 4 * accumulation, rank, 2))
    both = [None, None]
    torch.distributed.all_gather_object(both, (labeled, batch.views[0]))
    model = make_model(dtype=torch.float64).eval()
    loss = sum(summed_loss(model, theirs, inputs, "single") for theirs, inputs in both) / 2
    expected = reference_gradient(model, loss)
    (folder / f"{rank}.json").write_text(json.dumps(distance(gradient, expected)))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
