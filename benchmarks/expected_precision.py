"""Does the interval of the expected precision hold the precision: `textpl.label` with few labels, judged on the pool.

    python benchmarks/expected_precision.py --vectors FOLDER
    python benchmarks/expected_precision.py --vectors FOLDER --table    # what is stored so far

FOLDER holds NAME.npy, float32 embeddings of the rows of a single-label corpus, and NAME-y.npy, its labels, one-hot
(rows, labels); the part of NAME after the last "-" names the encoder, and labels are those of the part before it:
ag_news-mini.npy goes with ag_news-y.npy. For every corpus, number of labels (4 and 10 per class; 40 and 100 drawn at
random) and seed: the precision expected of all labels and of those kept by `rethreshold(0.9)`, its interval, and what
is true. A cell is stored as it is done.

The table: mean error of the estimate, its root mean square over the standard deviation of a proportion of as many rows
(`HeldOut.interval` takes its square as 2, on the safe side), and the share of intervals that hold the truth.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
from datasets import Dataset

import textpl
from textpl.splits import draw_labeled

OUT = Path(__file__).parent / "out" / "expected_precision"
DRAWS = ("4 per class", "10 per class", "40 at random", "100 at random")
ROWS = 2_000


class Stored:
    """Vectors that are at hand: a text is its row number."""

    def __init__(self, name, vectors):
        self.name, self.vectors = name, vectors

    def encode(self, texts, *, progress=True):
        """The rows that the texts name."""
        return self.vectors[[int(text) for text in texts]]


def draw(classes, how, seed):
    """Labeled rows, int64."""
    rng, count = np.random.default_rng(seed), int(how.split()[0])
    if how.endswith("random"):
        return rng.choice(len(classes), count, replace=False)
    names = [str(c) for c in range(classes.max() + 1)]
    return draw_labeled(classes, np.arange(len(classes)), None, count, names, rng).rows


def run(vectors, classes, how, seed):
    """One cell: expected, interval, truth, rows that it rests on; for all labels and for the sure ones."""
    rows = draw(classes, how, seed)
    pool = np.setdiff1d(np.arange(len(classes)), rows)
    names = [str(c) for c in range(classes.max() + 1)]
    labeled = Dataset.from_dict({"text": [str(r) for r in rows], "label": classes[rows]})
    unlabeled = Dataset.from_dict({"text": [str(r) for r in pool]})
    found = textpl.label(labeled, unlabeled, encoder=Stored("stored", vectors), label_names=names, progress=False)
    cells = {}
    for kind, part in (("all", found), ("sure", found.rethreshold(0.9))):
        if not part.selected.any() or part.expected_precision is None:
            continue
        truth = float((part.labels == classes[pool])[part.selected].mean())
        sure = part._held_out.confidence >= (part.confidence[part.selected].min() if part.threshold else 0)
        cells[kind] = {
            "expected": part.expected_precision,
            "interval": part.expected_precision_interval,
            "truth": truth,
            "held": int(sure.sum()),
        }
    return cells


def table():
    """What is stored, as markdown."""
    records = [json.loads(file.read_text()) for file in sorted(OUT.glob("*.json"))]
    print("| corpus, encoder | labels | kept | draws | expected - true, points | rms / sd of a proportion | holds |")
    print("| -- | -- | -- | --: | --: | --: | --: |")
    overall = {}
    for key in sorted({(r["name"], r["draw"], kind) for r in records for kind in r["cells"]}):
        cells = [r["cells"][key[2]] for r in records if (r["name"], r["draw"]) == key[:2] and key[2] in r["cells"]]
        error = np.array([c["expected"] - c["truth"] for c in cells])
        held = np.array([max(c["held"], 1) for c in cells])
        truth = np.array([c["truth"] for c in cells])
        ratio = error / np.sqrt(np.maximum(truth * (1 - truth), 0.01) / held)
        holds = [c["interval"][0] <= c["truth"] <= c["interval"][1] for c in cells]
        overall.setdefault((key[1], key[2]), []).extend(zip(error, ratio, holds, strict=True))
        row(*key, error, ratio, holds)
    for (how, kind), found in overall.items():
        row("**all**", how, kind, *(np.array(part) for part in zip(*found, strict=True)))


def row(name, how, kind, error, ratio, holds):
    """A row of the table."""
    bias, spread = 100 * np.mean(error), np.sqrt(np.mean(np.square(ratio)))
    print(f"| {name} | {how} | {kind} | {len(error)} | {bias:+.1f} | {spread:.2f} | {np.mean(holds):.0%} |")


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, help="folder of NAME.npy and NAME-y.npy")
    parser.add_argument("--names", nargs="+", help="default: all in the folder")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    OUT.mkdir(parents=True, exist_ok=True)
    if not args.table:
        names = args.names or sorted(f.stem for f in args.vectors.glob("*.npy") if not f.stem.endswith("-y"))
        for name in names:
            targets = np.load(args.vectors / f"{name.rsplit('-', 1)[0]}-y.npy")[:ROWS]
            if (targets.sum(1) != 1).any():
                continue
            vectors = np.load(args.vectors / f"{name}.npy")[:ROWS]
            for how in DRAWS:
                for seed in range(args.seeds):
                    file = OUT / f"{name}-{how.replace(' ', '_')}-{seed}.json"
                    if file.exists():
                        continue
                    cells = run(vectors, targets.argmax(1), how, seed)
                    file.write_text(json.dumps({"name": name, "draw": how, "seed": seed, "cells": cells}))
                    print(name, how, seed, cells, flush=True)
    table()


if __name__ == "__main__":
    main()
