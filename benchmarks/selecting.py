"""Which texts to label first and next: chosen rows against rows drawn at random, and what the choice does to estimates.

    python benchmarks/selecting.py --data ../shared/data --datasets ag_news sst2
    python benchmarks/selecting.py --data ../shared/data --encoder FOLDER --datasets ag_news thucnews_titles
    python benchmarks/selecting.py --data ../shared/data --encoder lsa --datasets thucnews_titles
    python benchmarks/selecting.py --data ../shared/data --rows 20000 --datasets ag_news
    python benchmarks/selecting.py --table                    # markdown tables of the finished cells

A cell is one (dataset, encoder, pool size, seed), stored as one JSON file and skipped when it is there. Every seed draws
another pool of ROWS rows (at most nine tenths) from train.parquet without repeated texts, and has starts of k-means of its own.

First round: BUDGET times as many rows as there are labels, 1, 4 and 10, by each strategy that needs no labels. Second
round: of 4 rows per label by k-means, 6 more per label by each strategy, 10 in all. The labels are given by logistic
regression on smoothed vectors (`linear_smoothed`, several labels per row: `linear`), what `textpl.label` takes for so
few. Measured on the rest of the pool. Single-label: accuracy. Multi-label: macro F1, each label cut where its rate is
that of the labeled rows, as `textpl.label` does it ("by counts") or the one estimated by weights, and mean average
precision.

Estimates, at 10 per label: how far the label rates by counts and by weights are from the pool's (single-label: total
variation distance, multi-label: mean absolute error), how many of the 95 % intervals hold; what accuracy `textpl.label`
expects (mean calibrated confidence) and measures on the labeled rows themselves (cross-fitted), and what is true.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.evaluation import decide, per_label, prior_thresholds
from textpl.relabeling.choice import FEW_LABELS
from textpl.relabeling.methods import run_method
from textpl.relabeling.priors import project_to_prior
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import soft_labels
from textpl.selecting.candidates import without_repeats
from textpl.selecting.rates import weighted_rates
from textpl.selecting.strategies import BY_DOUBT, COLD, Known, chooser, stands_for

OUT = Path(__file__).parent / "out" / "selecting"
# By these "auto" was chosen; the others were looked at only afterwards.
CHOSEN_ON = ("ag_news", "sst2", "thucnews_titles")
HELD_OUT = ("newsgroups20", "online_shopping_10_cats", "goemotions", "semeval2018_ec")
BUDGETS, FIRST, TOTAL = (1, 4, 10), 4, 10
NEXT = (*BY_DOUBT, "kmeans", "random")
K = 15
MOST = {"newsgroups20": 4_000, "online_shopping_10_cats": 12_000}  # rows drawn once, so that few have to be encoded


class Pool:
    """A pool of one seed: texts, vectors, their graph, true targets."""

    def __init__(self, args, name, seed, encoder):
        folder = Path(args.data) / name
        info = json.loads((folder / "info.json").read_text())
        frame = pd.read_parquet(folder / "train.parquet")
        if name in MOST:
            frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[: MOST[name]]]
        frame = frame[~frame.text.duplicated() & (frame.text.str.strip() != "")]
        rng = np.random.default_rng([seed, 2026])
        frame = frame.iloc[np.sort(rng.choice(len(frame), min(args.rows, len(frame) * 9 // 10), replace=False))]
        self.texts, self.seed, self.multi = frame.text.tolist(), seed, info["task"] == "multi"
        self.raw = unit_rows(np.asarray(encode_cached(encoder, self.texts, progress=False)))
        self.vectors = centered_rows(self.raw)
        self.graph = neighbor_graph(self.vectors, K, progress=False)
        self.truth = np.zeros((len(frame), len(info["label_names"])), dtype=np.float32)
        for row, labels in enumerate(frame.labels if self.multi else frame.label):
            self.truth[row, labels] = 1
        self.names = tuple(map(str, info["label_names"]))
        self.memory = {}

    def problem(self, rows):
        """The problem in which these rows are labeled."""
        gold = np.zeros(len(self.texts), dtype=bool)
        gold[rows] = True
        problem = Problem(self.vectors, self.graph, self.truth * gold[:, None], gold, self.multi)
        problem.memory.update(self.memory)
        self.memory = problem.memory
        return problem

    def p(self, rows):
        """What the labeler makes of all rows."""
        return run_method(self.problem(rows), *FEW_LABELS[self.multi]).p

    def choose(self, strategy, budget, before=None):
        """Rows by a strategy, with these labeled before."""
        allowed = self.vectors.any(1)
        known, p = Known(self.vectors[:0]), None
        if before is not None:
            allowed[before] = False
            known = Known(self.vectors[before], self.truth[before], np.arange(len(before)), self.multi)
            p = self.p(before) if strategy in BY_DOUBT else None
        function = chooser(strategy, self.vectors, budget, known, p, self.seed)
        return without_repeats(function, self.texts, self.raw, allowed)

    def measured(self, rows, weights):
        """What the labels of these rows are worth on the others, in points."""
        rest = np.setdiff1d(np.arange(len(self.texts)), rows)
        p, truth = self.p(rows)[rest], self.truth[rest]
        if not self.multi:
            found = {"accuracy": float((p.argmax(1) == truth.argmax(1)).mean())}
            priors = {"prior by counts": self.truth[rows].mean(0), "prior of the pool": self.truth.mean(0)}
            if weights is not None:
                priors["prior by weights"] = weights @ self.truth[rows]
            for name, prior in priors.items():
                found[name] = float((project_to_prior(p, prior).argmax(1) == truth.argmax(1)).mean())
            return found
        present = truth.any(0)
        found = {"mAP": float(average_precision_score(truth[:, present], p[:, present], average="macro"))}
        found["by counts"] = self.macro_f1(p, truth, self.truth[rows].mean(0))
        if weights is not None:
            found["by weights"] = self.macro_f1(p, truth, weights @ self.truth[rows])
        return found

    def macro_f1(self, p, truth, rates):
        """Macro F1 with each label cut at its rate."""
        decided = decide(p, "multi_label_classification", prior_thresholds(p, rates))
        return float(np.mean([row["f1"] for row in per_label(decided, truth.astype(int), list(self.names))]))

    def estimates(self, rows, weights):
        """Label rates and expected accuracy by these rows, and what is true."""
        targets, true = self.truth[rows], self.truth.mean(0)
        counts = weighted_rates(targets, np.full(len(rows), 1 / len(rows)), self.names)
        found = {"rates by counts": self.error(counts.rates, true), "held by counts": held(counts, true)}
        if weights is not None:
            rates = weighted_rates(targets, weights, self.names)
            found |= {"rates by weights": self.error(rates.rates, true), "held by weights": held(rates, true)}
        if not self.multi:
            rest = np.setdiff1d(np.arange(len(self.texts)), rows)
            soft = soft_labels(self.problem(rows), *FEW_LABELS[False], seed=self.seed, progress=False)
            found["expected"] = float(soft.p[rest].max(1).mean())
            found["on the labeled"] = float(soft.trial.score)
            found["true"] = float((soft.p[rest].argmax(1) == self.truth[rest].argmax(1)).mean())
        return found

    def error(self, rates, true):
        """Total variation distance, multi-label the mean absolute error."""
        return float(np.abs(rates - true).mean() if self.multi else np.abs(rates - true).sum() / 2)


def held(rates, true):
    """The share of labels whose interval holds the truth."""
    return float(((rates.low <= true) & (true <= rates.high)).mean())


def run(pool, fast):
    """One cell: the record that is stored."""
    labels, results, estimates, seconds, counts = pool.truth.shape[1], {}, {}, {}, {}
    for per in BUDGETS:
        for strategy in COLD:
            if fast and strategy not in ("random", "kmeans"):
                continue
            start = time.perf_counter()
            rows = pool.choose(strategy, per * labels)
            seconds[f"{per} {strategy}"] = time.perf_counter() - start
            size = stands_for(pool.vectors, rows)
            weights = np.full(len(rows), 1 / len(rows)) if strategy == "random" else size / size.sum()
            results[f"{per} {strategy}"] = pool.measured(rows, weights)
            counts[f"{per} {strategy}"] = int(pool.truth[rows].any(0).sum())
            if per == TOTAL:
                estimates[strategy] = pool.estimates(rows, weights)
    first = pool.choose("kmeans", FIRST * labels)
    for strategy in NEXT:
        rows = np.concatenate([first, pool.choose(strategy, TOTAL * labels - len(first), first)])
        results[f"next {strategy}"] = pool.measured(rows, None)
        estimates[f"next {strategy}"] = pool.estimates(rows, None)
    return {"results": results, "estimates": estimates, "seconds": seconds, "labels found": counts}


def run_missing(args):
    """Run every cell that is not stored yet, seed by seed."""
    name_of = args.encoder if args.encoder in (DEFAULT_ENCODER, "lsa") else Path(args.encoder).name
    encoder = get_encoder(args.encoder)
    for seed in args.seeds:
        for name in args.datasets:
            file = OUT / f"cell-{name}-{name_of.split('/')[-1]}-{args.rows}-{seed}.json"
            if file.exists():
                continue
            start = time.perf_counter()
            pool = Pool(args, name, seed, encoder)
            record = {"dataset": name, "encoder": name_of, "rows": args.rows, "pool": len(pool.texts), "seed": seed}
            record |= {"multi": pool.multi, "labels": pool.truth.shape[1], **run(pool, args.fast)}
            file.with_suffix(".partial").write_text(json.dumps(record))
            file.with_suffix(".partial").rename(file)
            print(name, name_of, args.rows, seed, f"{time.perf_counter() - start:.0f} s", flush=True)


def main():
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--datasets", nargs="+", choices=CHOSEN_ON + HELD_OUT, default=list(CHOSEN_ON + HELD_OUT))
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="id, folder or lsa")
    parser.add_argument("--rows", type=int, default=5_000, help="of each pool")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--fast", action="store_true", help="of the first round only random and kmeans")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if not args.table:
        run_missing(args)


if __name__ == "__main__":
    main()
