"""Which texts to label first and next: chosen rows against rows drawn at random, and what the choice does to estimates.

    python benchmarks/selecting.py --data ../shared/data --datasets ag_news sst2
    python benchmarks/selecting.py --data ../shared/data --encoder FOLDER --datasets ag_news thucnews_titles
    python benchmarks/selecting.py --data ../shared/data --encoder lsa --datasets thucnews_titles
    python benchmarks/selecting.py --data ../shared/data --rows 20000 --datasets ag_news
    python benchmarks/selecting.py --first 20 --total 40      # a later round: of 20 per label, 20 more
    python benchmarks/selecting.py --table                    # markdown tables of the finished cells

A cell is one (dataset, encoder, pool size, seed), stored as one JSON file and skipped when it is there. Every seed
draws another pool of ROWS rows (at most nine tenths) from train.parquet without repeated texts, and has starts of
k-means of its own. After `--table`, (...) behind a mean is the worst seed; behind a bias the middle 90 %.

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


def run(pool, fast, first, total):
    """One cell: the record that is stored."""
    labels, results, estimates, seconds, counts = pool.truth.shape[1], {}, {}, {}, {}
    for per in BUDGETS if total == TOTAL else (total,):
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
            if per == total:
                estimates[strategy] = pool.estimates(rows, weights)
    results |= next_rounds(pool, first, total, estimates)
    return {"results": results, "estimates": estimates, "seconds": seconds, "labels found": counts}


def next_rounds(pool, first, total, estimates):
    """Results of two rounds by every strategy; `estimates` gets theirs."""
    labels, results = pool.truth.shape[1], {}
    begun = pool.choose("kmeans", first * labels)
    for strategy in NEXT:
        rows = np.concatenate([begun, pool.choose(strategy, total * labels - len(begun), begun)])
        results[f"next {strategy}"] = pool.measured(rows, None)
        estimates[f"next {strategy}"] = pool.estimates(rows, None)
    return results


def run_missing(args):
    """Run every cell that is not stored yet, seed by seed."""
    name_of = args.encoder if args.encoder in (DEFAULT_ENCODER, "lsa") else Path(args.encoder).name
    encoder = get_encoder(args.encoder)
    for seed in args.seeds:
        for name in args.datasets:
            later = "" if args.total == TOTAL else f"later-{args.first}-{args.total}-"
            file = OUT / f"{later or 'cell-'}{name}-{name_of.split('/')[-1]}-{args.rows}-{seed}.json"
            if file.exists():
                continue
            start = time.perf_counter()
            pool = Pool(args, name, seed, encoder)
            record = {"dataset": name, "encoder": name_of, "rows": args.rows, "pool": len(pool.texts), "seed": seed}
            record |= {
                "multi": pool.multi,
                "labels": pool.truth.shape[1],
                **run(pool, args.fast, args.first, args.total),
            }
            file.with_suffix(".partial").write_text(json.dumps(record))
            file.with_suffix(".partial").rename(file)
            print(name, name_of, args.rows, seed, f"{time.perf_counter() - start:.0f} s", flush=True)


def table():
    """Every finished cell as markdown."""
    cells = read("cell-*.json")
    print_first(cells)
    print_summary(cells)
    print_strategies(cells)
    print_next(cells, FIRST, TOTAL)
    for first, total in sorted({tuple(map(int, f.name.split("-")[1:3])) for f in OUT.glob("later-*.json")}):
        print_next(read(f"later-{first}-{total}-*.json"), first, total)
    print_estimates(cells)


def read(pattern):
    """Stored records by (dataset, encoder, pool size), in the order of the tables."""
    cells = {}
    for file in sorted(OUT.glob(pattern)):
        record = json.loads(file.read_text())
        cells.setdefault((record["dataset"], record["encoder"].split("/")[-1], record["rows"]), []).append(record)
    order = [*CHOSEN_ON, *HELD_OUT]
    return dict(sorted(cells.items(), key=lambda item: (item[0][2], order.index(item[0][0]), item[0][1])))


def points(records, arm, measure=None):
    """A measure of every seed, in points; NaN where the arm was not run."""
    measure = measure or ("by counts" if records[0]["multi"] else "accuracy")
    return np.array([100 * r["results"].get(arm, {}).get(measure, np.nan) for r in records])


def shown(values):
    """Mean, standard deviation and the worst seed."""
    return f"{values.mean():.1f} ± {values.std(ddof=min(1, len(values) - 1)):.1f} ({values.min():.1f})"


def gain(a, b):
    """The mean difference of two arms on the same pools, and its standard error."""
    difference = (a - b)[~np.isnan(a - b)]
    return difference.mean(), difference.std(ddof=min(1, len(difference) - 1)) / np.sqrt(len(difference))


def print_first(cells):
    """Rows at random and by k-means, at every budget."""
    print_row("dataset", "encoder", "pool", "seeds", "per label", "random", "kmeans", "gain")
    print_row("--", "--", "--:", "--:", "--:", "--:", "--:", "--:")
    for (name, encoder, rows), records in cells.items():
        for per in BUDGETS:
            random, chosen = points(records, f"{per} random"), points(records, f"{per} kmeans")
            mean, error = gain(chosen, random)
            told = f"{mean:+.1f} ± {error:.1f}"
            print_row(name, encoder, f"{rows:,}", len(records), per, shown(random), shown(chosen), told)
    print()


def print_summary(cells):
    """The goals, in pools of 5,000 and more: the median gain, cells below random, the spread over seeds."""
    for title, names in (("chosen on", CHOSEN_ON), ("held out", HELD_OUT), ("all", CHOSEN_ON + HELD_OUT)):
        for per in (*BUDGETS, None):
            gains, worse, ratios = [], 0, []
            for (name, _, rows), records in cells.items():
                for budget in BUDGETS if per is None else (per,):
                    if name in names and len(records) > 2 and rows >= 5_000:
                        random, chosen = points(records, f"{budget} random"), points(records, f"{budget} kmeans")
                        mean, error = gain(chosen, random)
                        gains.append(mean)
                        worse += mean < -error
                        ratios.append(chosen.std(ddof=1) / random.std(ddof=1))
            if gains:
                print(
                    f"{title}, {'1, 4 and 10' if per is None else per} per label: {len(gains)} cells, median gain "
                    f"{np.median(gains):+.1f}, lowest {min(gains):+.1f}, {worse} below random by more than its error, "
                    f"spread over seeds {np.median(ratios):.2f} times that of random rows"
                )
    print()


def print_strategies(cells):
    """All strategies that need no labels, on the seeds on which all were run."""
    print_row("dataset", "encoder", "pool", "seeds", "per label", *COLD)
    print_row("--", "--", "--:", "--:", "--:", *("--:" for _ in COLD))
    for (name, encoder, rows), records in cells.items():
        whole = [record for record in records if all(f"1 {strategy}" in record["results"] for strategy in COLD)]
        for per in BUDGETS if whole else ():
            found = [shown(points(whole, f"{per} {strategy}")) for strategy in COLD]
            print_row(name, encoder, f"{rows:,}", len(whole), per, *found)
    print()


def print_next(cells, first, total):
    """As many per label at random, at once by k-means, and in two rounds."""
    once, then = (f"{total} random", f"{total} kmeans"), f"{first}, then {total - first}"
    print_row("dataset", "encoder", "pool", "seeds", *once, *(f"{then} {s}" for s in NEXT))
    print_row("--", "--", "--:", "--:", "--:", "--:", *("--:" for _ in NEXT))
    gains = {strategy: [] for strategy in NEXT}
    for (name, encoder, rows), records in cells.items():
        random = points(records, once[0])
        arms = [*once, *(f"next {strategy}" for strategy in NEXT)]
        print_row(name, encoder, f"{rows:,}", len(records), *(shown(points(records, arm)) for arm in arms))
        for strategy in NEXT if len(records) > 2 else ():
            gains[strategy].append((name in CHOSEN_ON, gain(points(records, f"next {strategy}"), random)))
    for strategy, found in gains.items():
        for title, among in (("chosen on", [g for chosen, g in found if chosen]), ("all", [g for _, g in found])):
            if among:
                below = sum(mean < -error for mean, error in among)
                print(
                    f"{strategy}, {title}: median gain over {once[0]} {np.median([m for m, _ in among]):+.1f}, ", end=""
                )
                print(f"lowest {min(m for m, _ in among):+.1f}, {below} of {len(among)} below by more than the error")
    print()


def print_estimates(cells):
    """Label rates and expected accuracy, in points, means over seeds and then over cells."""
    print_row("rows", "cells", "rates by counts", "held", "rates by weights", "held", "expected - true",
              "on the labeled - true")  # fmt: skip
    print_row("--", "--:", "--:", "--:", "--:", "--:", "--:", "--:")
    for multi in (False, True):
        for arm in ("random", *(s for s in COLD if s != "random"), *(f"next {s}" for s in NEXT)):
            found = [
                r["estimates"][arm]
                for rs in cells.values()
                for r in rs
                if r["multi"] == multi and arm in r["estimates"]
            ]
            if not found:
                continue
            columns = [
                mean_of(found, key)
                for key in ("rates by counts", "held by counts", "rates by weights", "held by weights")
            ]
            for key in ("expected", "on the labeled"):
                bias = [100 * (e[key] - e["true"]) for e in found if key in e]
                columns.append(with_middle(np.array(bias)) if bias else "")
            print_row(("several labels: " if multi else "") + arm, len(found), *columns)
    print()
    priors = ("accuracy", "prior by counts", "prior by weights", "prior of the pool")
    print_row("10 per label", *priors)
    print_row("--", *("--:" for _ in priors))
    for arm in ("10 random", "10 kmeans", *(f"next {s}" for s in NEXT)):
        found = [r["results"][arm] for rs in cells.values() for r in rs if not r["multi"] and arm in r["results"]]
        print_row(arm, *(mean_of(found, key) for key in priors))
    print()
    measures = ("mAP", "by counts", "by weights")
    print_row("10 per label, several labels", *measures)
    print_row("--", *("--:" for _ in measures))
    for arm in ("10 random", "10 kmeans", *(f"next {s}" for s in NEXT)):
        found = [r["results"][arm] for rs in cells.values() for r in rs if r["multi"] and arm in r["results"]]
        print_row(arm, *(mean_of(found, key) for key in measures))


def with_middle(values):
    """Mean and the middle 90 % of some differences."""
    low, high = np.quantile(values, [0.05, 0.95])
    return f"{values.mean():+.1f} ({low:+.0f} to {high:+.0f})"


def mean_of(records, key):
    """The mean of one measure in points, nothing where it was not taken."""
    values = [100 * record[key] for record in records if key in record]
    return f"{np.mean(values):.1f}" if values else ""


def print_row(*columns):
    """A row of a markdown table."""
    print("|", " | ".join(map(str, columns)), "|")


def main():
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--datasets", nargs="+", choices=CHOSEN_ON + HELD_OUT, default=list(CHOSEN_ON + HELD_OUT))
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="id, folder or lsa")
    parser.add_argument("--rows", type=int, default=5_000, help="of each pool")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4, 5])
    parser.add_argument("--first", type=int, default=FIRST, help="rows per label of the first of two rounds")
    parser.add_argument("--total", type=int, default=TOTAL, help="rows per label after two rounds")
    parser.add_argument("--fast", action="store_true", help="of the first round only random and kmeans")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if args.table:
        table()
    else:
        run_missing(args)


if __name__ == "__main__":
    main()
