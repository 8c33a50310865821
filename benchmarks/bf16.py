"""What bfloat16 autocast brings on this processor: a training step and embedding, against float32.

    python benchmarks/bf16.py --data ../shared/data/ag_news

MiniLM-L6, AG News texts cut to 128 tokens, batches of 8 (`--batch`; training, forward and backward only) and 64
(embedding, sorted by length); medians over interleaved repetitions, and the smallest and mean cosine between the
embeddings.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoModel

from textpl.inference import bf16_pays
from textpl.models import load_classifier, resolve_model
from textpl.tasks import SingleLabel

MODEL = "sentence-transformers/all-MiniLM-L6-v2"


def autocast(on):
    """Autocast to bfloat16, or nothing."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if on else contextlib.nullcontext()


def main():
    """Interleave both precisions and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    texts = sorted(pd.read_parquet(Path(args.data) / "test.parquet").text[:512].tolist(), key=len)
    model, tokenizer = load_classifier(MODEL, SingleLabel(4), list("abcd"))
    encoder = AutoModel.from_pretrained(resolve_model(MODEL)).eval()
    small = tokenizer(texts[256 : 256 + args.batch], return_tensors="pt", padding=True, truncation=True, max_length=128)
    batches = [
        tokenizer(texts[i : i + 64], return_tensors="pt", padding=True, truncation=True, max_length=128)
        for i in range(0, 512, 64)
    ]
    times = {(what, on): [] for what in ("train", "embed") for on in (False, True)}
    vectors = {}
    for _ in range(args.repeats):
        for on in (False, True):
            start = time.perf_counter()
            with autocast(on):
                loss = model(**small, labels=torch.zeros(args.batch, dtype=torch.int64)).loss
            loss.backward()
            times["train", on].append(time.perf_counter() - start)
            model.zero_grad()
            start = time.perf_counter()
            with torch.no_grad(), autocast(on):
                found = []
                for batch in batches:
                    hidden = encoder(**batch).last_hidden_state.float()
                    mask = batch["attention_mask"][..., None]
                    found.append(torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)))
                vectors[on] = torch.cat(found)
            times["embed", on].append(time.perf_counter() - start)
    print(f"bfloat16 pays here: {bf16_pays(torch.device('cpu'))}, {torch.get_num_threads()} thread(s)")
    for what in ("train", "embed"):
        full, half = (1000 * float(np.median(times[what, on])) for on in (False, True))
        print(f"{what:6s} float32 {full:7.1f} ms   bfloat16 {half:7.1f} ms   {full / half:.2f} x")
    cosine = (vectors[False] * vectors[True]).sum(1)
    print(f"cosine of the embeddings: mean {cosine.mean():.5f}, smallest {cosine.min():.5f}")


if __name__ == "__main__":
    main()
