"""Training-signal annealing: how a step is cut into micro-batches changes nothing of its mean."""

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
from test_gradient import Recorder

import textpl
from textpl.components.labeled import TrainingSignalAnnealing

ROWS = 8
CEILING = 0.15  # of the probability of the correct class, in the first step


class Half(TrainingSignalAnnealing):
    """With a ceiling that leaves some rows out in the first step already."""

    def ceiling(self, progress, classes):
        return CEILING


def gradient_of(folder, tokenizer, micro_batch, *, processes=1, weights=None, dropout=0.0, **settings):
    """The first step's gradient of the supervised loss alone; 8 rows, whichever way they are cut."""
    callback, recorder, seen = textpl.NoisyLabels(Half()), Recorder(), []
    data = make_data(tokenizer, rows=ROWS)
    if weights is not None:
        data = data.add_column("label_weight", weights)
    trainer = make_trainer(
        folder, tokenizer, model=make_model(dtype=torch.float64, dropout=dropout), data=data, callbacks=[recorder],
        max_steps=1, max_grad_norm=0.0, learning_rate=0.0, per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=ROWS // micro_batch // processes, **settings,
    )  # fmt: skip
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: seen.append(collate(rows)) or seen[-1]
    textpl.attach(trainer, callback).train()
    return recorder.gradient, seen, trainer, callback


def expected_gradient(data, weights=None):
    """Mean over the rows below the ceiling, straight from the definition."""
    model = make_model(dtype=torch.float64).eval()
    losses, kept, masses = [], [], torch.ones(len(data)) if weights is None else torch.tensor(weights)
    for row in data:
        logits = model(input_ids=torch.tensor([row["input_ids"]])).logits
        kept.append(float(logits.softmax(-1)[0, row["label"]].detach()) <= CEILING)
        losses.append(F.cross_entropy(logits, torch.tensor([row["label"]])))
    masses = masses * torch.tensor(kept)
    assert 0 < sum(kept) < len(kept), "the test needs some in and some out"
    return reference_gradient(model, (torch.stack(losses) * masses).sum() / masses.sum())


@pytest.mark.parametrize("micro_batch", [8, 4, 2, 1])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.0, 1.0, 3.0, 1.0, 0.25]], ids=["plain", "weighted"])
def test_the_gradient_does_not_depend_on_accumulation(tmp_path, tokenizer, micro_batch, weights):
    gradient, *_ = gradient_of(tmp_path, tokenizer, micro_batch, weights=weights)
    data = make_data(tokenizer, rows=ROWS)
    assert distance(gradient, expected_gradient(data, weights)) <= 1e-9


@pytest.mark.parametrize(("micro_batch", "average"), [(2, True), (4, False)])
def test_the_gradient_does_not_depend_on_processes(tmp_path, micro_batch, average):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    command += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", __file__, str(tmp_path), str(micro_batch)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([*command, str(average)], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert max(json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)) <= 1e-9


def test_a_step_of_which_no_row_stays_teaches_nothing(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(Half, "ceiling", lambda *_: -1.0)
    gradient, *_ = gradient_of(tmp_path, tokenizer, 2)
    assert not any(g.any() for g in gradient)


def test_looking_ahead_is_counted_and_changes_no_random_numbers(tmp_path, tokenizer, monkeypatch):
    looked, seen, _, callback = gradient_of(tmp_path / "a", tokenizer, 4, dropout=0.3)
    tokens = sum(batch["input_ids"].numel() for batch in seen[:2])
    assert callback.looked_ahead_tokens == callback.labeled_tokens == tokens
    assert callback.token_passes == 4 * tokens  # once without, three times with a gradient
    monkeypatch.setattr(Half, "ceiling", lambda *_: 2.0)  # keeps all: the plain loss
    kept_all, *_ = gradient_of(tmp_path / "b", tokenizer, 4, dropout=0.3)
    monkeypatch.setattr(Half, "drops", lambda *_: False)
    plain, _, _, callback = gradient_of(tmp_path / "c", tokenizer, 4, dropout=0.3)
    assert distance(kept_all, plain) <= 1e-12 and distance(looked, plain) > 0.01
    assert callback.looked_ahead_tokens == 0


def test_uda_leaves_multi_label_rows_alone_unless_told(tmp_path, tokenizer, caplog):
    pool = make_pool(task="multi")
    textpl.attach(make_trainer(tmp_path, tokenizer, task="multi", max_steps=1), textpl.uda(pool)).train()
    assert "No training-signal annealing" in caplog.text
    trainer = textpl.attach(make_trainer(tmp_path, tokenizer, task="multi"), textpl.uda(pool, tsa="log"))
    with pytest.raises(ValueError, match="TrainingSignalAnnealing is for single-label tasks"):
        trainer.train()


def main(folder, micro_batch, average):
    """One process of two: the reduced gradient against that of all rows at once."""
    tokenizer = make_tokenizer()
    gradient, *_, trainer, _ = gradient_of(
        folder / "out", tokenizer, micro_batch, processes=2, ddp_find_unused_parameters=False,
        average_tokens_across_devices=average,
    )  # fmt: skip
    far = distance(gradient, expected_gradient(make_data(tokenizer, rows=ROWS)))
    (folder / f"{trainer.args.process_index}.json").write_text(json.dumps(far))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True")
