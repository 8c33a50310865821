"""What a semi-supervised step costs beyond its arithmetic.

    python benchmarks/step_cost.py --data ../shared/data/ag_news --ratio 7

The bound: a step costs at most the labelled step + one teacher forward + the accepted rows' forward and backward
+ 10 %. The labelled step (optimizer included) is timed in a plain Trainer; teacher and student passes are timed
inside the real run; what is left of the step is overhead: waiting for the batch (augmentation runs ahead on its own
thread), alignment, selection, targets, statistics. Medians over the steps; also the share of padding in the tokens.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

import textpl
from textpl.callbacks.passes import Passes
from textpl.inference import bf16_pays
from textpl.models import load_classifier
from textpl.tasks import SingleLabel


class StepTimer(TrainerCallback):
    """Wall time from one step's end to the next one's."""

    def __init__(self):
        self.times, self.last = [], None

    def on_step_end(self, args, state, control, **kwargs):
        """Note the time."""
        now = time.perf_counter()
        if self.last is not None:
            self.times.append(now - self.last)
        self.last = now


def timed(owner, name, log):
    """Wrap a method so that every call's wall time is added to `log`."""
    inner = getattr(owner, name)

    def call(*args, **kwargs):
        start = time.perf_counter()
        result = inner(*args, **kwargs)
        log.append(time.perf_counter() - start)
        return result

    setattr(owner, name, call)


def train(args, callback=None):
    """Median step time of a run."""
    frame = pd.read_parquet(Path(args.data) / "train.parquet")
    set_seed(0)
    model, tokenizer = load_classifier("sentence-transformers/all-MiniLM-L6-v2", SingleLabel(4), list("abcd"))
    labeled = datasets.Dataset.from_dict({"text": frame.text[:64].tolist(), "label": frame.label[:64].tolist()})
    labeled = labeled.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True)
    gpu = torch.cuda.is_available()
    timer = StepTimer()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=tempfile.mkdtemp(), max_steps=args.steps, per_device_train_batch_size=8, report_to="none",
            save_strategy="no", logging_steps=10, disable_tqdm=True, use_cpu=not gpu,
            bf16=bf16_pays(torch.device("cuda" if gpu else "cpu")),
        ),
        train_dataset=labeled, processing_class=tokenizer, callbacks=[timer],
    )  # fmt: skip
    if callback is not None:
        textpl.attach(trainer, callback)
    trainer.train()
    return 1000 * float(np.median(timer.times))


def main():
    """Time both runs and print the breakdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--ratio", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    pool = datasets.Dataset.from_dict(
        {"text": pd.read_parquet(Path(args.data) / "train.parquet").text[64:10_064].tolist()}
    )
    parts = {"teacher": [], "student": [], "draw": [], "unlabelled part": []}
    callback = textpl.fixmatch(pool, ratio=args.ratio, threshold=0.25)  # everything is accepted: the dearest case
    run = Passes.__call__

    def timed_pass(self, inputs, grad, train):
        start = time.perf_counter()
        outputs = run(self, inputs, grad, train)
        if not grad:
            parts["teacher"].append(time.perf_counter() - start)
        return outputs

    Passes.__call__ = timed_pass
    for name, method in (
        ("student", "_student_gradient"),
        ("draw", "_draw"),
        ("unlabelled part", "on_step_begin"),
    ):
        timed(callback, method, parts[name])
    padding = []
    draw = callback._draw
    callback._draw = lambda index: padding.append(draw(index)) or padding[-1]
    plain, full = train(args), train(args, callback)
    median = {name: 1000 * float(np.median(times)) for name, times in parts.items()}
    bound = plain + median["teacher"] + median["student"]
    real = sum(int(b.views[-1]["attention_mask"].sum()) for b in padding)
    padded = callback.monitor.tokens["student"]
    rest = median["unlabelled part"] - median["teacher"] - median["student"]
    print(f"ratio {args.ratio}, batch 8, {8 * args.ratio} pool rows, all accepted; medians in ms")
    print(f"  labelled step, plain Trainer (optimizer included)  {plain:8.1f}")
    print(f"  teacher forward                                    {median['teacher']:8.1f}")
    print(f"  student forward and backward                       {median['student']:8.1f}")
    print(f"  waiting for the batch                              {median['draw']:8.1f}")
    print(f"  alignment, selection, targets, statistics          {rest - median['draw']:8.1f}")
    print(f"  whole step                                         {full:8.1f}")
    print(f"  over the first three: {100 * (full / bound - 1):+.1f} %   (own overhead {100 * rest / bound:.1f} %)")
    print(f"  padding among the student's tokens: {100 * (1 - real / padded):.1f} %")


if __name__ == "__main__":
    main()
