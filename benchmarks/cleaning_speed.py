"""Seconds and memory of finding wrong cells, given probabilities: textpl against cleanlab, each in a fresh process.

    python benchmarks/cleaning_speed.py
    python benchmarks/cleaning_speed.py --sizes 200000x28 --calls textpl-core,cleanlab

Random sparse labels and probabilities that fit them (two labels per row, 10 % of the cells' labels lost). CPU seconds
are user + system of the process and its children, after imports and inputs; memory is the peak of resident memory
beyond what the inputs need. Calls: `textpl-core` takes the probabilities as they are (what cleanlab does), `textpl`
weighs in the row's other labels; cleanlab's flags (n_jobs=1, its fastest) and ranking.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

CALLS = ("textpl-core", "textpl", "cleanlab", "cleanlab-ranking")


def inputs(rows: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels int8 and probabilities float32, (rows, labels)."""
    rng = np.random.default_rng(0)
    share = rng.dirichlet(np.ones(count)) * 1.5 + 0.02
    z = rng.normal(size=(rows, count)).astype(np.float32) * 2 + np.log(share / (1 + share)).astype(np.float32)
    p = 1 / (1 + np.exp(-z))
    labels = (rng.random((rows, count), dtype=np.float32) < p * 0.9).astype(np.int8)
    return labels, p


def peak() -> float:
    """Highest resident memory so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(call: str, rows: int, count: int) -> dict[str, float]:
    """One call in this process."""
    labels, p = inputs(rows, count)
    lists = [np.flatnonzero(row).tolist() for row in labels] if call.startswith("cleanlab") else []
    run = _prepared(call)
    before, started, wall = peak(), _cpu(), time.perf_counter()
    run(labels, p, lists)
    return {"cpu_s": _cpu() - started, "wall_s": time.perf_counter() - wall, "extra_mb": peak() - before}


def _cpu() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in both)


def _prepared(call: str):
    """The call, with everything imported and warmed up on a few rows."""
    if call.startswith("textpl"):
        from textpl.cleaning.multi_label import detect

        def run(labels, p, lists):
            return detect(labels, p, context=call == "textpl")

    else:
        from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
        from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class

        def run(labels, p, lists):
            if call == "cleanlab":
                return find_multilabel_issues_per_class(lists, p, n_jobs=1)
            return get_label_quality_scores_per_class(lists, p)

    labels, p = inputs(300, 5)
    run(labels, p, [np.flatnonzero(row).tolist() for row in labels])
    return run


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000x28,50000x28,200000x28,50000x300")
    parser.add_argument("--calls", default=",".join(CALLS))
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        call, rows, count = arguments.one
        print(json.dumps(measure(call, int(rows), int(count))))
        return
    print("| rows x labels | call | CPU s | wall s | extra MB |\n|--|--|--|--|--|")
    for size in arguments.sizes.split(","):
        for call in arguments.calls.split(","):
            command = [sys.executable, __file__, "--one", call, *size.split("x")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            print(f"| {size} | {call} | {found['cpu_s']:.2f} | {found['wall_s']:.2f} | {found['extra_mb']:.0f} |")


if __name__ == "__main__":
    main()
