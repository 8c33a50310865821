"""Which method labels a pool best from sentence embeddings: every method and k, six datasets, 4 to 100 labels each.

    python benchmarks/relabeling.py --data ../shared/data
    python benchmarks/relabeling.py --data ../shared/data --datasets sst2 --budgets 25 --seeds 0
    python benchmarks/relabeling.py --hubness csls            # the same on a graph corrected for hubs
    python benchmarks/relabeling.py --draw random             # labeled rows drawn at random, not so many per class
    python benchmarks/relabeling.py --raw                     # vectors as they are, not centered
    python benchmarks/relabeling.py --encoder FOLDER --rows 4000 --datasets sst2    # another encoder, fewer rows
    python benchmarks/relabeling.py --table                   # markdown tables of the finished cells

A cell is one (dataset, budget, seed), stored as one JSON file and skipped when it is there. The texts of a dataset
are encoded once by the default encoder (cached), Chinese ones by "lsa"; `--vectors FOLDER` takes vectors made elsewhere
instead: DATASET-train.npy, float32, in the row order of train.parquet, perhaps only its first rows. One graph per
dataset (k = 20) serves all draws.

Rows: train.parquet without repeated texts; 10,000 random ones of AG News, 8,000 of the Chinese sets, the first 13,000
of GoEmotions, else all.
Gold: BUDGET rows of each class, drawn by `textpl.splits.draw_labeled`; in GoEmotions the rarest label first, until each
label has BUDGET positives, no row more. With `--draw random` any rows, BUDGET times as many as there are labels. All
other rows are labeled and are what is measured. Vectors are centered, as `textpl.label` does it. What is run with
other settings is kept apart, in a folder of its own.

Single-label: accuracy over all of them, a row without a label counts as wrong. Multi-label: macro F1, each label cut
where its rate is the true one of the measured rows, for every method alike. HDL labels orphans by new centres
(`orphans="nearest"`), except where "auto" picks it. Beside each file lies an .npz with the held-out probabilities of
every candidate of "auto", so that other rules of choice can be tried without running anything again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.hubness import hubless_graph
from textpl.embeddings.neighbors import neighbor_graph, search, unit_rows
from textpl.evaluation import decide, per_label, prior_thresholds
from textpl.relabeling.clusterability import clusterability
from textpl.relabeling.hdl import hdl, hdl_paper
from textpl.relabeling.methods import run_method
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import GRAPH_K, soft_labels
from textpl.splits import draw_labeled

OUT = Path(__file__).parent / "out" / "relabeling"
DIAGNOSED_K = 5
JUDGED = 10  # labels per class from which on "auto" tries more than one method


@dataclass(frozen=True)
class Pool:
    """Which rows of a dataset are used, and how many labels per class are drawn."""

    budgets: tuple[int, ...]
    first: int | None = None  # only the first rows of train.parquet
    sample: int | None = None  # so many of them at random
    encoder: str = DEFAULT_ENCODER


POOLS = {
    "ag_news": Pool((4, 10, 25, 100), sample=10_000),
    "newsgroups20": Pool((4, 10, 25, 100)),
    "sst2": Pool((4, 10, 25, 100)),
    "goemotions": Pool((4, 25), first=13_000),
    "thucnews_titles": Pool((10, 25), sample=8_000, encoder="lsa"),
    "online_shopping_10_cats": Pool((10, 25), sample=8_000, encoder="lsa"),
}


def by_method(name, k, problem, to_gold):
    """A method as `textpl.label` runs it."""
    return run_method(problem, name, k)


def by_hdl(function, k, problem, to_gold):
    """HDL that labels every row."""
    return function(
        problem.graph, problem.targets, problem.gold, orphans="nearest", k=k, to_gold=to_gold, multi=problem.multi
    )


ARMS = {
    **{f"knn_dv, k={k}": partial(by_method, "knn_dv", k) for k in (5, 10)},
    **{f"{f.__name__}, k={k}": partial(by_hdl, f, k) for f in (hdl_paper, hdl) for k in (3, 5, 10, 20)},
    **{f"label_propagation, k={k}": partial(by_method, "label_propagation", k) for k in (15, 20)},
    "linear": partial(by_method, "linear", None),
    "linear_smoothed, k=15": partial(by_method, "linear_smoothed", 15),
    "linear_propagation, k=15": partial(by_method, "linear_propagation", 15),
}


def load(args, name):
    """Vectors, graph and true targets float32 (n, labels) of a pool; whether it is multi-label; label names."""
    folder, pool = Path(args.data) / name, POOLS[name]
    info = json.loads((folder / "info.json").read_text())
    frame = pd.read_parquet(folder / "train.parquet")[: pool.first]
    made = np.load(Path(args.vectors) / f"{name}-train.npy", mmap_mode="r") if args.vectors else None
    rows = np.flatnonzero(~frame.text[: None if made is None else len(made)].duplicated())
    sample = min(args.rows or pool.sample or len(rows), len(rows))
    if sample < len(rows):
        rows = np.sort(np.random.default_rng(0).choice(rows, sample, replace=False))
    frame = frame.iloc[rows]
    coder = args.encoder or pool.encoder
    vectors = encode_cached(get_encoder(coder), frame.text.tolist()) if made is None else made[rows]
    vectors = unit_rows(np.asarray(vectors))
    vectors = vectors if args.raw else centered_rows(vectors)
    multi = info["task"] == "multi"
    truth = np.zeros((len(frame), len(info["label_names"])), dtype=np.float32)
    for row, labels in enumerate(frame.labels if multi else frame.label):
        truth[row, labels] = 1
    build = partial(hubless_graph, how=args.hubness) if args.hubness else neighbor_graph
    return vectors, build(vectors, GRAPH_K, progress=False), truth, multi, info["label_names"]


def quality(p, truth, multi, names):
    """Accuracy, or the F1 of every label, of measured rows (rows, labels)."""
    if not multi:
        return float((p.any(1) & (p.argmax(1) == truth.argmax(1))).mean())
    decided = decide(p, "multi_label_classification", prior_thresholds(p, truth.mean(0)))
    return [row["f1"] for row in per_label(decided, truth.astype(int), names)]


def run(data, name, budget, seed, draw):
    """One cell: the record that is stored, and the held-out probabilities of the candidates of "auto"."""
    vectors, graph, truth, multi, names = data
    rng = np.random.default_rng(seed)
    labels = truth if multi else truth.argmax(1)
    if draw == "random":
        rows = rng.choice(len(truth), budget * len(names), replace=False)
    else:
        rows = draw_labeled(labels, np.arange(len(truth)), None, budget, names, rng).rows
    gold = np.zeros(len(truth), dtype=bool)
    gold[rows] = True
    problem = Problem(vectors, graph, truth * gold[:, None], gold, multi)
    near, sims = search(vectors, vectors[gold], 1, progress=False)
    to_gold = np.where(near >= 0, np.flatnonzero(gold)[near], -1), sims
    results, abstained = {}, {}
    for arm, label in ARMS.items():
        found = label(problem, to_gold=to_gold)
        results[arm] = quality(found.p[~gold], truth[~gold], multi, names)
        abstained[arm] = float((~found.labeled[~gold]).mean())
    auto = soft_labels(problem, "auto", seed=seed, progress=False)
    results["auto"] = quality(auto.result.p[~gold], truth[~gold], multi, names)
    abstained["auto"] = float((~auto.result.labeled[~gold]).mean())
    inner = neighbor_graph(vectors[gold], DIAGNOSED_K, progress=False)
    measured = clusterability(graph, problem.targets, gold, k=DIAGNOSED_K, gold_graph=inner, multi=multi)
    record = {
        "dataset": name, "budget": budget, "seed": seed, "gold": int(gold.sum()), "measured": int((~gold).sum()),
        "positives_left": truth[~gold].sum(0).astype(int).tolist(),
        "results": results, "abstained": abstained,
        "auto": {"chosen": str(auto.trial), "held_out": {str(t): t.score for t in auto.trials}},
        "clusterability": measured.to_dict(),
    }  # fmt: skip
    return record, {"gold": truth[gold], **{str(t): t.p for t in auto.trials}}


def run_missing(args):
    """Run every cell that is not stored yet."""
    for name in args.datasets:
        cells = [(b, s) for b in POOLS[name].budgets for s in args.seeds if not args.budgets or b in args.budgets]
        cells = [cell for cell in cells if not file_of(name, *cell).exists()]
        data = load(args, name) if cells else None
        if cells and not (OUT / f"truth-{name}.json").exists():
            _, graph, truth, multi, _ = data
            every = np.ones(len(truth), dtype=bool)
            whole = clusterability(graph, truth, every, k=DIAGNOSED_K, gold_graph=graph, multi=multi).to_dict()
            store(OUT / f"truth-{name}.json", {"dataset": name, "rows": len(truth), "clusterability": whole})
        for budget, seed in cells:
            start = time.perf_counter()
            record, held_out = run(data, name, budget, seed, args.draw)
            np.savez_compressed(file_of(name, budget, seed).with_suffix(".npz"), **held_out)
            store(file_of(name, budget, seed), record)
            scores = {arm: round(100 * float(np.mean(result)), 1) for arm, result in record["results"].items()}
            print(
                name, budget, seed, f"{time.perf_counter() - start:.0f} s", record["auto"]["chosen"], scores, flush=True
            )


def file_of(name, budget, seed):
    """Where a cell is stored."""
    return OUT / f"cell-{name}-{budget}-{seed}.json"


def store(file, record):
    """Write all of it or nothing."""
    file.with_suffix(".partial").write_text(json.dumps(record))
    file.with_suffix(".partial").rename(file)


def table():
    """Every finished cell as markdown: results, what "auto" makes of it, clusterability."""
    records = [json.loads(file.read_text()) for file in OUT.glob("cell-*.json")]
    cells = {}
    for name, budget in [(name, budget) for name, pool in POOLS.items() for budget in pool.budgets]:
        found = [r for r in records if (r["dataset"], r["budget"]) == (name, budget)]
        if found:
            cells[name, budget] = sorted(found, key=lambda r: r["seed"])
    print_results(cells)
    print_auto(cells)
    print_clusterability(cells)


def points(records, arm):
    """Accuracy or macro F1 of every seed, in points."""
    return np.array([100 * np.mean(r["results"][arm]) for r in records])


def print_results(cells):
    """Mean and standard deviation over seeds; the best mean of each column in bold."""
    columns = list(cells)
    for some in (columns[:8], columns[8:]):
        if not some:
            continue
        best = {column: max(ARMS, key=lambda arm: points(cells[column], arm).mean()) for column in some}
        print_row("method", *(f"{name} {budget}" for name, budget in some))
        print_row("--", *("--:" for _ in some))
        for arm in [*ARMS, "auto"]:
            found = {column: points(cells[column], arm) for column in some}
            texts = {c: f"{x.mean():.1f} ± {x.std(ddof=min(1, len(x) - 1)):.1f}" for c, x in found.items()}
            print_row(arm, *(f"**{text}**" if best[column] == arm else text for column, text in texts.items()))
        print()


def print_auto(cells):
    """How far "auto" is from the best single method of each cell, and from logistic regression."""
    print_row("dataset", "per class", "chosen", "below the best of the cell", "above linear (median)")
    print_row("--", "--:", "--", "--:", "--:")
    judged = []
    for (name, budget), records in cells.items():
        auto = points(records, "auto")
        gaps = np.max([points(records, arm) for arm in ARMS], axis=0) - auto
        judged += gaps.tolist() if budget >= JUDGED else []
        chosen = ", ".join(f"{n} x {method}" for method, n in Counter(r["auto"]["chosen"] for r in records).items())
        lead = np.median(auto - points(records, "linear"))
        print_row(name, budget, chosen, " / ".join(f"{gap:.1f}" for gap in gaps), f"{lead:+.1f}")
    if judged:
        print(f"\n{len(judged)} cells with {JUDGED} per class or more: median {np.median(judged):.2f}, ", end="")
        print(f"worst {np.max(judged):.2f} points below the best.\n")


def print_clusterability(cells):
    """The diagnostics at 25 labels per class, and what they would be with all labels known."""
    print_row("dataset", "mu", "true mu", "q (from)", "true q", "q*", "no gold neighbour", "orphans")
    print_row("--", *("--:" for _ in range(7)))
    for (name, budget), records in cells.items():
        if budget != 25:
            continue
        found = [r["clusterability"] for r in records]
        true = json.loads((OUT / f"truth-{name}.json").read_text())["clusterability"]
        mean = {key: np.mean([f[key] for f in found]) for key in ("mu_loo", "q", "no_gold_neighbor", "orphans")}
        sources = "; ".join(dict.fromkeys(f["q_source"] for f in found))
        print_row(
            name, f"{mean['mu_loo']:.2f}", f"{true['mu_loo']:.2f}", f"{mean['q']:.2f} ({sources})", f"{true['q']:.2f}",
            f"{found[0]['q_star']:.2f}", f"{mean['no_gold_neighbor']:.0%}", f"{mean['orphans']:.0%}",
        )  # fmt: skip


def print_row(*columns):
    """A row of a markdown table."""
    print("|", " | ".join(map(str, columns)), "|")


def main():
    """Run what is missing, then print the tables."""
    global OUT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--vectors", help="folder of DATASET-train.npy made elsewhere, instead of encoding")
    parser.add_argument("--datasets", nargs="+", choices=POOLS, default=list(POOLS))
    parser.add_argument("--budgets", nargs="+", type=int, help="labels per class; default: the dataset's")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--draw", choices=["balanced", "random"], default="balanced")
    parser.add_argument("--raw", action="store_true", help="do not center the vectors")
    parser.add_argument("--encoder", help="another than the dataset's, such as a folder or lsa")
    parser.add_argument("--rows", type=int, help="so many of each dataset")
    parser.add_argument("--hubness", choices=["mutual", "csls"])
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    apart = [args.hubness, args.draw == "random" and "random", args.raw and "raw"]
    apart += [args.encoder and Path(args.encoder).name, args.rows and f"{args.rows}-rows"]
    OUT = OUT.with_name("-".join(["relabeling", *(part for part in apart if part)]))
    OUT.mkdir(parents=True, exist_ok=True)
    if not args.table:
        run_missing(args)
    table()


if __name__ == "__main__":
    main()
