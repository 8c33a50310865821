"""What an annotator who errs is worth beside a graph and a few labeled rows (`textpl.label(annotations=...)`).

    python benchmarks/weak_labeling.py --data ../shared/data
    python benchmarks/weak_labeling.py --datasets ag_news --budgets 10 --seeds 0
    python benchmarks/weak_labeling.py --table                         # the table of the finished cells

A cell is one (dataset, draw, budget, seed), stored as one JSON file and skipped when it is there. Pools of ROWS random
rows of train.parquet without repeated texts, encoded by MiniLM. Labeled rows: BUDGET of each class, or as many of all
at random. The annotators answer in every row, labeled ones too, and are right in 60, 75 or 90 % of them; their errors
fall on any other class ("uniform") or, in each class, always on one and the same ("confused"). "twice" are two
annotators of 75 % of which the second repeats the first in 4 of 5 rows: their errors are not independent.
"always" says one class in all rows.

Right, of the rows that are not labeled: by graph and labeled rows alone (linear_smoothed below 10 rows per class, else
linear_propagation), by the annotator alone (of several, the best), by both (as `textpl.label` combines them), and the
difference to the better of both. `asked = pool`: the annotator has not seen the labeled rows, so that its reliability
rests on the graph (EM). `expected - true` is of the combined labels.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd

from textpl.annotations.annotation import Annotation
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.label_annotations import fuse
from textpl.relabeling.calibration import calibrate
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import GRAPH_K, soft_labels

OUT = Path(__file__).parent / "out" / "weak_labeling"
DATASETS, ROWS, JUDGED = ("ag_news", "sst2"), 2_000, 10
ACCURACIES = (0.6, 0.75, 0.9)


def load(args, name):
    """Raw vectors, class ids and number of classes of a pool."""
    frame = pd.read_parquet(Path(args.data) / name / "train.parquet")
    frame = frame[~frame.text.duplicated()]
    frame = frame.iloc[np.sort(np.random.default_rng(0).choice(len(frame), ROWS, replace=False))]
    coder = get_encoder(args.encoder, progress=False)
    raw = unit_rows(encode_cached(coder, frame.text.tolist(), progress=False))
    return raw, frame.label.to_numpy(), int(frame.label.max()) + 1


def answers(true, classes, accuracy, confused, rng):
    """What an annotator says, class ids."""
    wrong = rng.random(len(true)) >= accuracy
    other = np.ones(len(true), dtype=int) if confused else rng.integers(1, classes, len(true))
    return np.where(wrong, (true + other) % classes, true)


def annotators(true, classes, rng):
    """Name -> answers (annotators, rows)."""
    found = {}
    for accuracy in ACCURACIES:
        for kind in ("uniform", "confused"):
            found[f"{accuracy:.0%}, {kind}"] = [answers(true, classes, accuracy, kind == "confused", rng)]
    first, second = (answers(true, classes, 0.75, False, rng) for _ in range(2))
    found["75%, twice"] = [first, np.where(rng.random(len(true)) < 0.8, first, second)]
    found["always"] = [np.zeros(len(true), dtype=int)]
    return found


def run(data, draw, budget, seed):
    """One cell: for each annotator and each way of asking, what is right and what was expected."""
    raw, true, classes = data
    rng = np.random.default_rng(seed)
    if draw == "random":
        rows = rng.choice(len(true), budget * classes, replace=False)
    else:
        rows = np.concatenate([rng.permutation(np.flatnonzero(true == c))[:budget] for c in range(classes)])
    order = np.concatenate([rows, np.setdiff1d(np.arange(len(true)), rows)])  # labeled rows come first
    true, known = true[order], len(rows)
    nodes = Nodes.build(raw[order], np.eye(classes, dtype=np.float32)[true[:known]])
    graph = neighbor_graph(nodes.vectors, GRAPH_K, progress=False)
    problem = Problem(nodes.vectors, graph, nodes.targets, nodes.gold)
    method = "linear_propagation" if budget >= JUDGED else "linear_smoothed"
    soft = soft_labels(problem, method, seed=seed, progress=False)
    alone = right(soft.p, nodes, true, known)
    results = []
    for name, said in annotators(true, classes, rng).items():
        best = max(float((values == true)[known:].mean()) for values in said)
        for asked in ("all", "pool"):
            given = [values.copy() for values in said]
            for values in given if asked == "pool" else ():
                values[:known] = -1
            opinions = [Annotation(f"a{i}", "classes", values, classes) for i, values in enumerate(given)]
            fused = fuse(soft, problem, nodes, opinions, None, seed)
            both, hidden = right(fused.soft.p, nodes, true, known), fused.soft.trial
            held = hidden.p.argmax(1) == problem.targets[problem.gold][hidden.rows].argmax(1)
            sure = calibrate(hidden.p.max(1), held).precision(fused.soft.p[nodes.of[known:]].max(1))
            results.append({
                "annotator": name, "asked": asked, "graph": alone, "annotator alone": best, "both": both,
                "expected": float(sure.mean()), "weights": fused.weights.round(3).tolist(),
            })  # fmt: skip
    return results


def right(p, nodes, true, known):
    """Share of right labels among the rows that are not labeled."""
    return float((p[nodes.of].argmax(1) == true)[known:].mean())


def run_missing(args):
    """Run every cell that is not stored yet."""
    for name in args.datasets:
        cells = [(d, b, s) for s in args.seeds for b in args.budgets for d in args.draws]
        cells = [c for c in cells if not file_of(name, *c).exists()]
        data = load(args, name) if cells else None
        for draw, budget, seed in cells:
            results = run(data, draw, budget, seed)
            record = {"dataset": name, "draw": draw, "budget": budget, "seed": seed, "results": results}
            file = file_of(name, draw, budget, seed)
            file.with_suffix(".partial").write_text(json.dumps(record))
            file.with_suffix(".partial").rename(file)
            print(name, draw, budget, seed, flush=True)


def file_of(name, draw, budget, seed):
    """Where a cell is stored."""
    return OUT / f"{name}-{draw}-{budget}-{seed}.json"


def table():
    """Print means over seeds, and the difference to the better source with its spread and worst seed."""
    rows = [
        {"dataset": record["dataset"], "draw": record["draw"], "budget": record["budget"], **result}
        for file in OUT.glob("*.json")
        for record in [json.loads(file.read_text())]
        for result in record["results"]
    ]
    if not rows:
        return
    frame = pd.DataFrame(rows)
    frame["gain"] = frame["both"] - frame[["graph", "annotator alone"]].max(axis=1)
    frame["off"] = frame["expected"] - frame["both"]
    print(
        "| dataset, rows per class | annotator | asked | graph | annotator | both | to the better | expected - true |"
    )
    print("| -- | -- | -- | --: | --: | --: | --: | --: |")
    for key, own in frame.groupby(["dataset", "budget", "draw", "annotator", "asked"]):
        name, budget, draw, annotator, asked = key
        means = " | ".join(f"{100 * own[c].mean():.1f}" for c in ("graph", "annotator alone", "both"))
        gain = f"{100 * own.gain.mean():+.1f} ± {100 * own.gain.std(ddof=1):.1f} ({100 * own.gain.min():+.1f})"
        print(f"| {name}, {budget} {draw} | {annotator} | {asked} | {means} | {gain} | {100 * own.off.mean():+.1f} |")


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--draws", nargs="+", choices=("balanced", "random"), default=["balanced", "random"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[4, 10], help="labeled rows per class")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if not args.table:
        run_missing(args)
    table()


if __name__ == "__main__":
    main()
