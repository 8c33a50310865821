"""How often does the 95 % interval of a comparison hold the true difference? By simulation, for two forms of it.

A row is right where its difficulty (shared by both sides), what the side makes of it, the seed's quality and noise stay
under a bound, all normal; six classes with shares from 40 to 4 %, a wrong row is of any other class. Both sides are
80 % right, so the true difference is 0 in all designs but `collapse`, of which it is known:

    rows      the sides differ from row to row, seeds do not differ
    seeds     seeds differ by some 6 points, rows hardly
    mixed     both, seeds by some 1.5 points
    collapse  15 % of the method's seeds lose 8.5 points and the others gain 1.5: accuracy differs by 0 in the mean

Forms: `components` is what textpl computes (`textpl.evaluation.paired_difference`), `pigeonhole` what it computed
before: seeds and rows resampled together, the seeds' part expanded by t / z. A line gives, for each metric and form,
the share of intervals that hold the truth and their mean width in points. Where the truth is 0, 100 less the coverage
is the share of false verdicts ("it helped", "it hurt").

    python benchmarks/interval_coverage.py --out coverage.jsonl              # about 30 min on one core; resumes
    python benchmarks/interval_coverage.py --forms components --trials 2000   # the form of today, more exactly
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.stats import norm, t

from textpl.evaluation import paired_difference, score

SHARES = np.array([0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
LEVEL, RIGHT, COLLAPSED, COLLAPSES, LOSS = 0.95, 0.8, "collapse", 0.15, 0.085
GAIN = LOSS * COLLAPSES / (1 - COLLAPSES)
# Standard deviations of what a side makes of a row and of the seed's quality; difficulty and noise have 1.
DESIGNS = {"rows": (0.7, 0.0), "seeds": (0.1, 0.3), "mixed": (0.7, 0.08), COLLAPSED: (0.4, 0.03)}
METRICS = ("accuracy", "macro_f1")


def experiment(rng: np.random.Generator, design: str, seeds: int, rows: int) -> tuple[list, list, np.ndarray]:
    """Predictions of both sides, one array per seed, and gold labels."""
    of_rows, of_seeds = DESIGNS[design]
    scale = np.sqrt(2 + of_rows**2 + of_seeds**2)
    gold, difficulty = rng.choice(len(SHARES), rows, p=SHARES), rng.normal(size=rows)
    sides = []
    for side in range(2):
        share = np.full(seeds, RIGHT)
        if side and design == COLLAPSED:
            share = np.where(rng.random(seeds) < COLLAPSES, RIGHT - LOSS, RIGHT + GAIN)
        quality = norm.ppf(share) * scale + of_seeds * rng.normal(size=seeds)
        ease = difficulty + of_rows * rng.normal(size=rows)
        right = quality[:, None] + ease + rng.normal(size=(seeds, rows)) > 0
        other = (gold + rng.integers(1, len(SHARES), size=(seeds, rows))) % len(SHARES)
        sides.append(list(np.where(right, gold, other)))
    return sides[0], sides[1], gold


def true_difference(design: str, metric: str) -> float:
    """In points, over all seeds and rows there could be."""
    if design != COLLAPSED or metric == "accuracy":
        return 0.0

    def macro_f1(right: float) -> float:
        wrongly = (1 - SHARES) * (1 - right) / (len(SHARES) - 1)
        return float((2 * SHARES * right / (SHARES * right + wrongly + SHARES)).mean())

    mean = COLLAPSES * macro_f1(RIGHT - LOSS) + (1 - COLLAPSES) * macro_f1(RIGHT + GAIN)
    return 100 * (mean - macro_f1(RIGHT))


def components(baseline: list, method: list, gold: np.ndarray, metric: str, trial: int) -> tuple[float, float]:
    """The interval that textpl gives."""
    interval = paired_difference(baseline, method, [gold] * len(baseline), metric, level=LEVEL)
    return interval.low, interval.high


def pigeonhole(
    baseline: list, method: list, gold: np.ndarray, metric: str, trial: int, replicates: int = 400
) -> tuple[float, float]:
    """D + f (mean_s v_s D_s - D) + mean_s (D_s(w) - D_s), f = sqrt(S / (S - 1)) t / z; v, w multinomial."""
    rng, seeds, rows = np.random.default_rng(trial), len(baseline), len(gold)
    observed = np.array(
        [score(m, gold, metric) - score(b, gold, metric) for b, m in zip(baseline, method, strict=True)]
    )
    hot = [[side == k for k in range(len(SHARES))] for side in (gold, *baseline, *method)]
    true, tables = np.stack(hot[0], 1), [np.stack(side, 1) for side in hot[1:]]
    columns = [np.hstack([table & true, table.astype(np.int8) + true]).astype(np.float32) for table in tables]
    moved = np.empty(replicates)
    step = max(1, 2_000_000 // rows)
    for start in range(0, replicates, step):
        size = min(step, replicates - start)
        drawn = rng.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float32)
        values = np.array([_resampled(weights @ table, metric, rows) for table in columns])
        moved[start : start + size] = (values[seeds:] - values[:seeds]).mean(0) - observed.mean()
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=replicates)
    upper = (1 + LEVEL) / 2
    widen = np.sqrt(seeds / (seeds - 1)) * t.ppf(upper, seeds - 1) / norm.ppf(upper)
    draws = observed.mean() + moved + widen * (counts @ (observed - observed.mean())) / seeds
    low, high = np.quantile(100 * draws, [1 - upper, upper])
    return float(low), float(high)


def _resampled(sums: np.ndarray, metric: str, rows: int) -> np.ndarray:
    hits, total = np.split(sums, 2, axis=1)
    return hits.sum(1) / rows if metric == "accuracy" else (2 * hits / np.maximum(total, 1)).mean(1)


FORMS = {"components": components, "pigeonhole": pigeonhole}


def cell(design: str, seeds: int, rows: int, form: str, trials: int) -> dict:
    """Coverage and mean width, for each metric."""
    rng = np.random.default_rng([seeds, rows])
    held = {metric: [] for metric in METRICS}
    for trial in range(trials):
        baseline, method, gold = experiment(rng, design, seeds, rows)
        for metric in METRICS:
            held[metric].append((*FORMS[form](baseline, method, gold, metric, trial), true_difference(design, metric)))
    found = {"design": design, "seeds": seeds, "rows": rows, "form": form, "trials": trials}
    for metric, values in held.items():
        low, high, truth = np.array(values).T
        found[metric] = {
            "coverage": round(100 * float(((low <= truth) & (truth <= high)).mean()), 1),
            "width": round(float((high - low).mean()), 2),
        }
    return found


def main() -> None:
    """Print a line for each design, number of seeds and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[3, 5, 10])
    parser.add_argument("--rows", nargs="+", type=int, default=[200, 1000, 7600])
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--trials", type=int, default=500, help="with 500 a coverage of 95 is known to +- 2")
    parser.add_argument("--out", type=Path, help="file of lines that are done, and where new ones go")
    options = parser.parse_args()
    done = [json.loads(line) for line in options.out.open()] if options.out and options.out.exists() else []
    keys = ("design", "seeds", "rows", "form", "trials")
    for design in options.designs:
        for seeds in options.seeds:
            for rows in options.rows:
                line = f"{design:9s} {seeds:2d} seeds {rows:5d} rows"
                for form in options.forms:
                    wanted = (design, seeds, rows, form, options.trials)
                    found = next((one for one in done if tuple(one[key] for key in keys) == wanted), None)
                    if found is None:
                        found = cell(*wanted)
                        if options.out:
                            with options.out.open("a") as file:
                                file.write(json.dumps(found) + "\n")
                    for metric in METRICS:
                        line += f"   {form} {metric} {found[metric]['coverage']:5.1f} %, {found[metric]['width']:5.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
