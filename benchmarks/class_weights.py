"""Should the linear methods weight classes, and how strongly regularize several labels? Frozen embeddings, random rows.

    python benchmarks/class_weights.py --encoders sentence-transformers/all-MiniLM-L6-v2 FOLDER    # what is missing
    python benchmarks/class_weights.py --table

Pools of 3,000 rows and budgets are those of `encoders.py`, seeds are others than it uses. One label per row: the fit of
`textpl.relabeling.linear` as it is, with weights inversely proportional to the mass of each class among the labeled
rows ("balanced"; for balanced draws it makes no difference), and "unweighted". "90/10" pools are thinned: the first
class has nine tenths of the rows, the others share the rest. Counted on all other rows of the pool: accuracy, macro F1,
and how far the mean calibrated probability of the given labels (what `expected_precision` rests on) is above the
accuracy. Several labels per row: C of 10, 3 and 2; macro F1, micro F1 and mean average precision, cut at the rates of
the labeled rows.

A cell is one (data set, encoder, seed), appended to out/class_weights.jsonl and skipped when it is there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from encoders import POOLS, called, data_graph, load, quality

from textpl.embeddings.encoders import DEFAULT_ENCODER
from textpl.evaluation import score
from textpl.relabeling import linear as fits
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import soft_labels

OUT = Path(__file__).parent / "out" / "class_weights.jsonl"
METHODS = ("linear", "linear_smoothed", "linear_propagation")
ROWS, LARGEST, SKEWED = 3_000, 0.9, ", 90/10"
SETS = ["sst2", "ag_news", "newsgroups20", "youtube_weak"]
SETS += [name + SKEWED for name in ("sst2", "ag_news", "youtube_weak")] + ["semeval2018_ec", "goemotions"]


def unweighted(y):
    """As `textpl.relabeling.linear.class_weights`, every row with the same weight."""
    return np.ones(y.shape[1])


@contextlib.contextmanager
def weighted_by(function):
    """Let the linear methods weigh classes otherwise."""
    kept, fits.class_weights = fits.class_weights, function
    try:
        yield
    finally:
        fits.class_weights = kept


def pool_of(args, name, encoder):
    """Vectors and true targets of at most 3,000 rows of a pool, labels thinned where the name says so."""
    plain = name.removesuffix(SKEWED)
    vectors, truth, _ = load(args, plain, encoder)
    rng = np.random.default_rng(100)
    rows = rng.permutation(len(truth))
    if name != plain:
        of = truth.argmax(1)[rows]
        few = np.concatenate([rows[of == c] for c in range(1, truth.shape[1])])
        many = rows[of == 0]
        total = min(ROWS, int(len(many) / LARGEST))
        rows = np.concatenate([many[: int(total * LARGEST)], rng.permutation(few)[: total - int(total * LARGEST)]])
    rows = rows[:ROWS]
    return np.asarray(vectors)[rows], truth[rows]


def cell(vectors, truth, graph_of, budget, multi, seed):
    """Numbers by fit and method."""
    nodes, graph, memory = graph_of
    drawn = np.random.default_rng(seed).choice(len(truth), budget, replace=False)
    gold = np.zeros(len(truth), dtype=bool)
    gold[drawn] = True
    problem = Problem(
        nodes.vectors, graph, np.where(gold[:, None], truth, 0).astype(np.float32), gold, multi, memory=memory
    )
    rest, found = ~gold, {}
    if multi:
        for strength in (10.0, 3.0, 2.0):
            p = fits.linear(nodes.vectors, problem.targets, gold, multi=True, strength=strength).p
            found[f"C={strength:g}"] = {"linear": quality(p[rest], truth[rest], truth[gold].mean(0), True)}
        return found
    for fit, function in (("unweighted", unweighted), ("balanced", fits.class_weights)):
        with weighted_by(function):
            labels = {m: soft_labels(problem, m, progress=False).p[rest] for m in METHODS}
        found[fit] = {m: told(p, truth[rest].argmax(1)) for m, p in labels.items()}
    return found


def told(p, truth):
    """Accuracy, macro F1, and how far the mean probability of the labels is above the accuracy."""
    right = p.argmax(1) == truth
    f1 = score(p.argmax(1), truth, "macro_f1")
    return {"accuracy": float(right.mean()), "macro_f1": f1, "claimed": float(p.max(1).mean() - right.mean())}


def table(records):
    """Markdown: mean, spread and worst seed of each number; differences are paired."""
    cells = defaultdict(list)
    for record in records:
        base = next(iter(record["found"].values()))
        for fit, methods in record["found"].items():
            for method, numbers in methods.items():
                cells[record["dataset"], record["encoder"], method, fit].append((numbers, base[method]))
    for (name, encoder, method, fit), pairs in cells.items():
        shown = []
        for key in pairs[0][0]:
            own, base = (100 * np.array([side[key] for side in sides]) for sides in zip(*pairs, strict=True))
            change = own - base
            error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else np.nan
            text = f"{key} {own.mean():.1f} ± {own.std(ddof=1) if len(own) > 1 else 0:.1f}"
            text += f" ({(own.max() if key == 'claimed' else own.min()):.1f})"
            shown.append(text + (f", {change.mean():+.1f} ± {error:.1f}" if change.any() else ""))
        print("|", " | ".join([name, encoder, method, fit, str(len(pairs)), *shown]), "|")


def main():
    """Run the cells that are not there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--encoders", nargs="+", default=[DEFAULT_ENCODER])
    parser.add_argument("--datasets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10, 20)))
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    args.rows = None
    OUT.parent.mkdir(exist_ok=True, parents=True)
    records = [json.loads(line) for line in OUT.read_text().splitlines()] if OUT.exists() else []
    done = {(r["dataset"], r["encoder"], r["seed"]) for r in records}
    for name in [] if args.table else args.datasets:
        pool = POOLS[name.removesuffix(SKEWED)]
        for encoder in args.encoders:
            seeds = [seed for seed in args.seeds if (name, called(encoder), seed) not in done]
            if not seeds:
                continue
            vectors, truth = pool_of(args, name, encoder)
            nodes = Nodes.build(vectors, truth)  # of no two equal texts; labels are hidden in `cell`
            truth = truth[nodes.first]
            graph_of = nodes, data_graph(nodes), {}
            for seed in seeds:
                found = cell(vectors, truth, graph_of, pool.budget, pool.column == "labels", seed)
                records.append({"dataset": name, "encoder": called(encoder), "seed": seed, "found": found})
                with OUT.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")
                print(name, called(encoder), seed, flush=True)
    table(records)


if __name__ == "__main__":
    main()
