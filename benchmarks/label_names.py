"""What the names of labels are worth beside 0, 1, 4 and 10 labeled rows per class, in three wordings.

    python benchmarks/label_names.py --data ../shared/data --splits ../shared/bench/semi_supervised/splits
    python benchmarks/label_names.py --encoder FOLDER                  # another encoder than MiniLM, such as e5
    python benchmarks/label_names.py --datasets sst2 --draws random --budgets 4 --seeds 0
    python benchmarks/label_names.py --table                           # markdown tables of the finished cells

A cell is one (dataset, encoder, draw, budget, seed), stored as one JSON file and skipped when it is there. It holds one
result without names and one with each wording of `label_wordings.json`: bare names, a short phrase, two descriptions.
The wordings were written once, before any of these results, and not changed afterwards; the default weight of the names
and the penalty on intercepts come from 20 Newsgroups and dev rows (see `textpl/relabeling/name_weight.py`).

AG News: the five saved splits of SPLITS, pools of 20,000; balanced rows are the split's 40 (of fewer per class, its
first), random ones any rows of the pool and these. Else: ROWS random rows of train.parquet without repeated texts.
Balanced: BUDGET rows of each class (GoEmotions: until each label has BUDGET positives); random: any rows, BUDGET times
as many as there are labels. All pool rows that are not labeled are measured.

What is run is what `textpl.label(..., label_descriptions=...)` runs: vectors centered, weight of the names chosen on
the labeled rows, 0 among the choices; linear_smoothed below 10 rows per class, else linear_propagation, the defaults
of "auto"; several labels per row: linear. Single-label: accuracy, and with the uniform class prior. Multi-label:
macro F1, every label cut where its rate is the true one of the measured rows. `expected` is the precision that
`textpl.label` expects (single-label, without prior), `held` whether its 95 % interval holds the truth.

Names are information: methods that were published as learning from 40 labels did not have it.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows, common_part
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.evaluation import decide, prior_thresholds, score
from textpl.label_descriptions import read_descriptions
from textpl.relabeling.calibration import HeldOut, calibrate
from textpl.relabeling.label_names import name_vectors
from textpl.relabeling.priors import project_to_prior
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import GRAPH_K, soft_labels
from textpl.splits import draw_labeled

HERE = Path(__file__).parent
OUT = HERE / "out" / "label_names"
WORDINGS = json.loads((HERE / "label_wordings.json").read_text(encoding="utf-8"))
DATASETS = ("ag_news", "sst2", "thucnews_titles", "online_shopping_10_cats", "goemotions")
CHINESE = ("thucnews_titles", "online_shopping_10_cats")
BUDGETS, ROWS, JUDGED = (0, 1, 4, 10), 5_000, 10


def load(args, name, seed):
    """A pool: vectors, graph, truth float32 (n, labels), multi, label names, wordings and AG News's balanced rows."""
    folder = Path(args.data) / name
    info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    frame, labeled = pd.read_parquet(folder / "train.parquet"), None
    if name == "ag_news":
        split = np.load(Path(args.splits) / f"ag_news_l40_s{seed}.npz")
        # One class after the other, ten each: the first of every class come first.
        labeled = split["lb"].reshape(len(info["label_names"]), -1).T.ravel()
        frame, labeled = frame.iloc[np.concatenate([labeled, split["ulb"]])], np.arange(len(labeled))
    else:
        frame = frame[~frame.text.duplicated()]
        rows = np.random.default_rng(0).choice(len(frame), min(ROWS, len(frame)), replace=False)
        frame = frame.iloc[np.sort(rows)]
    coder = get_encoder(args.encoder, progress=False)
    raw = unit_rows(encode_cached(coder, frame.text.tolist(), progress=False))
    multi = info["task"] == "multi"
    truth = np.zeros((len(frame), len(info["label_names"])), dtype=np.float32)
    for row, labels in enumerate(frame.labels if multi else frame.label):
        truth[row, labels] = 1
    mean = common_part(raw)
    vectors, names = centered_rows(raw, mean), {}
    for wording, texts in WORDINGS[name].items():
        described = read_descriptions(texts, info["label_names"])
        own = unit_rows(encode_cached(coder, described.texts, progress=False))
        names[wording] = name_vectors(own, described.owners, truth.shape[1], mean)
    graph = neighbor_graph(vectors, GRAPH_K, progress=False)
    return vectors, graph, truth, multi, info["label_names"], names, labeled


def draw_rows(data, draw, budget, seed):
    """The rows whose labels are known."""
    _, _, truth, multi, label_names, _, labeled = data
    rng = np.random.default_rng(seed)
    if not budget:
        return np.zeros(0, dtype=np.int64)
    if draw == "random":
        return rng.choice(len(truth), budget * len(label_names), replace=False)
    if labeled is not None:
        return labeled[: budget * len(label_names)]
    labels = truth if multi else truth.argmax(1)
    return draw_labeled(labels, np.arange(len(truth)), None, budget, label_names, rng).rows


def run(data, draw, budget, seed):
    """One cell: by wording ("none": without names), what the labels are worth."""
    vectors, graph, truth, multi, label_names, names, labeled = data
    rows = draw_rows(data, draw, budget, seed)
    gold = np.zeros(len(truth), dtype=bool)
    gold[rows] = True
    measured = ~gold
    if labeled is not None:
        measured[labeled] = False  # the split's own pool, whatever is drawn
    rates = truth[measured].mean(0)
    base = Problem(vectors, graph, truth * gold[:, None], gold, multi, prior=rates if multi and not budget else None)
    few = "linear_propagation" if budget >= JUDGED or not budget else "linear_smoothed"
    results = {}
    for wording in (*(["none"] if budget else []), *names):
        problem = base if wording == "none" else replace(base, names=names[wording])
        start = time.perf_counter()
        soft = soft_labels(problem, "linear" if multi else few, seed=seed, progress=False)
        results[wording] = judged(soft, problem, truth, measured, rates)
        results[wording] |= {"seconds": time.perf_counter() - start, "weight": soft.trial.name_weight}
    return {"gold": len(rows), "measured": int(measured.sum()), "results": results}


def judged(soft, problem, truth, measured, rates):
    """Accuracy, with and without the uniform prior, and what was expected of it; or macro F1 at the true rates."""
    if problem.multi:
        p = soft.result.p[measured]
        decided = decide(p, "multi_label_classification", prior_thresholds(p, rates))
        return {"macro_f1": score(decided, truth[measured].astype(int), "macro_f1")}
    true, p = truth.argmax(1), soft.p.copy()
    uniform = p.copy()
    uniform[~problem.gold] = project_to_prior(p[~problem.gold], np.full(p.shape[1], 1 / p.shape[1]))
    right = [float((q.argmax(1) == true)[measured].mean()) for q in (p, uniform)]
    found = {"accuracy": right[0], "with uniform prior": right[1]}
    if len(soft.held_out):
        held = soft.held_out.argmax(1) == problem.targets[problem.gold][soft.trial.rows].argmax(1)
        sure = calibrate(soft.held_out.max(1), held)
        expected = float(sure.precision(p[measured].max(1)).mean())
        units = np.arange(len(held))
        low, high = HeldOut(sure.precision(soft.held_out.max(1)), units).interval(expected, 0.0)
        found |= {"expected": expected, "held": low <= right[0] <= high}
    return found


def file_of(args, name, draw, budget, seed):
    """Where a cell is stored."""
    return OUT / f"{name}-{Path(args.encoder).name}-{draw}-{budget}-{seed}.json"


def run_missing(args):
    """Run every cell that is not stored yet."""
    for name in args.datasets:
        pools = args.seeds if name == "ag_news" else args.seeds[:1]
        for pool in pools:
            cells = [
                (draw, budget, seed)
                for draw in args.draws
                for budget in args.budgets
                for seed in ([pool] if name == "ag_news" else args.seeds if budget else args.seeds[:1])
                if budget or draw == args.draws[0]
            ]
            cells = [cell for cell in cells if not file_of(args, name, *cell).exists()]
            data = load(args, name, pool) if cells else None
            for draw, budget, seed in cells:
                record = run(data, draw, budget, seed)
                record |= {"dataset": name, "encoder": Path(args.encoder).name}
                record |= {"draw": draw if budget else "none", "budget": budget, "seed": seed}
                file = file_of(args, name, draw, budget, seed)
                file.with_suffix(".partial").write_text(json.dumps(record), encoding="utf-8")
                file.with_suffix(".partial").rename(file)
                told = {w: {k: round(float(v), 3) for k, v in r.items()} for w, r in record["results"].items()}
                print(name, draw, budget, seed, told, flush=True)


def table():
    """Print every finished cell, means over seeds with the standard deviation and the worst seed."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(OUT.glob("*.json"))]
    wordings = ("none", "names", "phrase", "two descriptions")
    for measure in ("accuracy", "with uniform prior", "macro_f1"):
        print(f"\n{measure}, %: mean ± standard deviation (worst seed)\n")
        print("| dataset, encoder | rows | no names | bare names | short phrase | two descriptions |")
        print("| -- | -- | --: | --: | --: | --: |")
        for name in DATASETS:
            if measure == "with uniform prior" and name != "ag_news":
                continue
            mine = [r for r in records if r["dataset"] == name]
            keys = sorted({(r["encoder"], r["draw"] != "none", r["draw"], r["budget"]) for r in mine})
            for encoder, _, draw, budget in keys:
                own = [r["results"] for r in mine if (r["encoder"], r["draw"], r["budget"]) == (encoder, draw, budget)]
                cells = [told([r[w][measure] for r in own if measure in r.get(w, {})]) for w in wordings]
                if any(cells):
                    rows = f"{budget} per class, {draw}" if budget else "none"
                    print(f"| {name}, {encoder} | {rows} |", " | ".join(cells), "|")
    print_expected(records)


def told(values):
    """Mean, spread and worst of some shares, in points."""
    if not values:
        return ""
    points = 100 * np.array(values)
    if len(points) == 1:
        return f"{points[0]:.1f}"
    return f"{points.mean():.1f} ± {points.std(ddof=1):.1f} ({points.min():.1f})"


def print_expected(records):
    """How far the expected precision is from the truth, with and without names, and how often its interval holds."""
    print("\n| rows per class | expected - true without names, points | in the interval | with | in the interval |")
    print("| -- | --: | --: | --: | --: |")
    for budget in sorted({r["budget"] for r in records if r["budget"]}):
        cells = []
        for named in (False, True):
            own = [
                found
                for r in records
                for wording, found in r["results"].items()
                if r["budget"] == budget and (wording != "none") == named and "expected" in found
            ]
            if own:
                gaps = [100 * (found["expected"] - found["accuracy"]) for found in own]
                cells += [f"{np.mean(gaps):+.1f} ± {np.std(gaps):.1f}", f"{np.mean([f['held'] for f in own]):.0%}"]
        print(f"| {budget} |", " | ".join(cells), "|")


def main():
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--splits", default="../shared/bench/semi_supervised/splits")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="sentence-transformers id or folder")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--draws", nargs="+", choices=("balanced", "random"), default=["balanced", "random"])
    parser.add_argument("--budgets", nargs="+", type=int, default=list(BUDGETS), help="labeled rows per class")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if args.encoder == DEFAULT_ENCODER:
        args.datasets = [name for name in args.datasets if name not in CHINESE]  # it knows no Chinese
    if not args.table:
        run_missing(args)
    table()


if __name__ == "__main__":
    main()
