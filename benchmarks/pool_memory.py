"""How much a pool of a million short texts grows the process.

    python benchmarks/pool_memory.py --rows 1000000

Texts of 5 to 20 words are written to an Arrow file, tokenised with the MiniLM tokenizer, and drawn from with a TF-IDF
view for some steps. Resident memory is read from /proc before and after; "anonymous" leaves out pages of the
memory-mapped files, which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
from transformers import AutoTokenizer

from textpl.components.views import TfidfReplacement
from textpl.models import resolve_model
from textpl.pool import Pool


def resident_mb():
    """Resident and anonymous resident memory of this process, MB."""
    status = Path("/proc/self/status").read_text()
    return tuple(int(re.search(rf"{key}:\s+(\d+)", status)[1]) / 1024 for key in ("VmRSS", "RssAnon"))


def write_texts(rows):
    """Random texts over a vocabulary of 5,000 words with Zipf frequencies."""
    rng = np.random.default_rng(0)
    words = np.array(
        ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), size=rng.integers(2, 9))) for _ in range(5000)]
    )
    for _ in range(rows):
        ids = np.minimum(rng.zipf(1.3, size=rng.integers(5, 21)) - 1, 4999)
        yield {"text": " ".join(words[ids])}


def main():
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        datasets.config.HF_DATASETS_CACHE = Path(folder)
        data = datasets.Dataset.from_generator(write_texts, gen_kwargs={"rows": args.rows}, cache_dir=folder)
        tokenizer = AutoTokenizer.from_pretrained(resolve_model("sentence-transformers/all-MiniLM-L6-v2"))
        tokenizer(["warm up"])
        before, start = resident_mb(), time.perf_counter()
        pool = Pool(
            data,
            tokenizer=tokenizer,
            text_column="text",
            max_length=64,
            view=TfidfReplacement(),
            pad_token_id=0,
            seed=0,
        )
        built = time.perf_counter() - start
        start = time.perf_counter()
        tokens = sum(batch.views[-1]["input_ids"].numel() for batch in pool.batches(0, args.steps, 56))
        drawn = time.perf_counter() - start
        after = resident_mb()
    print(f"{args.rows} texts tokenised and checked in {built:.0f} s")
    print(
        f"{args.steps} steps of 56 rows drawn with a view: {1000 * drawn / args.steps:.1f} ms a step, {tokens} tokens"
    )
    print(f"resident memory: +{after[0] - before[0]:.0f} MB, of it anonymous +{after[1] - before[1]:.0f} MB")


if __name__ == "__main__":
    main()
