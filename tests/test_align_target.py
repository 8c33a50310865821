"""What alignment moves: SoftMatch's weights alone, AdaMatch's targets too."""

from __future__ import annotations

import datasets
import pytest
import torch
import torch.nn.functional as F
from conftest import make_model, make_texts, make_trainer

import textpl
from textpl import SemiSupervised
from textpl.components.align import AlignToPrior
from textpl.components.teachers import ColumnTeacher
from textpl.tasks import SingleLabel


def test_softmatch_aligns_weights_and_adamatch_targets_too(tmp_path, tokenizer):
    """A calibrated pool of .7/.1/.1/.1 and a uniform prior: the arg-max of 45 % of the rows depends on it."""
    shares, generator = torch.tensor([0.7, 0.1, 0.1, 0.1]), torch.Generator().manual_seed(0)
    gold = torch.multinomial(shares, 4000, replacement=True, generator=generator)
    evidence = F.one_hot(gold, 4) + torch.randn(4000, 4, generator=generator)
    p = (evidence + shares.log()).softmax(-1)
    pool = datasets.Dataset.from_dict({"text": make_texts(4000)[0], "p": p.tolist()})
    aligned = SingleLabel(4).reweight(p, 0.25 / p.mean(0), torch.ones(4))
    assert float((aligned.argmax(1) != p.argmax(1)).float().mean()) == pytest.approx(0.45, abs=0.02)
    for method, wanted in ((textpl.softmatch, p), (textpl.adamatch, aligned)):
        targets, selected = [], []
        callback = SemiSupervised(
            pool,
            teacher=ColumnTeacher("p", label_names=["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]),
            align=AlignToPrior("uniform"),
            align_target=method(pool).align_target,
            sharpen=lambda p, step, targets=targets: targets.append(step.task.hard(p)) or targets[-1],
            select=lambda p, step, selected=selected: selected.append(p) or torch.zeros(len(p)),
            ratio=1000,
        )
        trainer = make_trainer(tmp_path, tokenizer, model=make_model(labels=4), max_steps=1)
        textpl.attach(trainer, callback).train()
        rows = callback.step.rows
        assert rows.sort().values.equal(torch.arange(4000))
        torch.testing.assert_close(selected[0], aligned[rows], rtol=1e-3, atol=1e-4)
        different = targets[0].argmax(1) != wanted[rows].argmax(1)
        assert float(different.float().mean()) < 0.002  # ties of rounding
