"""How many labels are wrong: what textpl says, between what, and how often cells of a given probability are wrong.

    python benchmarks/error_counts.py --data ../shared/data
    python benchmarks/error_counts.py --data ../shared/data --corpora sst2 --noise none --rows 800,3000
    python benchmarks/error_counts.py --data ../shared/data --corpora semeval2018_ec,goemotions --noise missing30 \
        --rows 20000
    python benchmarks/error_counts.py --table               # markdown of what is finished

A case is (corpus, noise, rows, draw), stored as one JSON file and skipped when it is there. Rows are drawn at random;
more than there are means all of them. Noise is that of `cleaning.py` (`label_noise.py`); `human` is noisy_agnews as
annotated. What is right is what the corpus had before noise was put in, which has errors of its own.
`bins`: cells by p_error, with the mean of it and the share that is wrong.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from cleaning import Corpus, detect, load, options
from label_noise import multi_label_noise, single_label_noise
from sklearn.metrics import average_precision_score

from textpl.cleaning.duplicates import near_duplicates
from textpl.cleaning.evidence import GRAPH_K
from textpl.cleaning.out_of_sample import out_of_sample
from textpl.embeddings.neighbors import neighbor_graph

OUT = Path(__file__).parent / "out" / "error_counts"
EDGES = (0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


def drawn(corpus: Corpus, rows: int, draw: int) -> Corpus:
    """Some rows of a corpus, with the neighbors they have among themselves."""
    if rows >= len(corpus.truth):
        return corpus
    keep = np.sort(np.random.default_rng(100 + draw).choice(len(corpus.truth), rows, replace=False))
    texts, vectors = [corpus.texts[row] for row in keep], corpus.vectors[keep]
    graph = neighbor_graph(vectors, GRAPH_K, progress=False)
    human = None if corpus.human is None else corpus.human[keep]
    tests = corpus.test_truth, corpus.test_vectors
    groups = near_duplicates(texts, vectors, graph)
    return Corpus(corpus.name, texts, corpus.truth[keep], vectors, *tests, human, graph, groups)


def run_case(corpus: Corpus, noise: str, draw: int) -> dict[str, Any]:
    """The count, its interval, the ranking, the flags and the reliability."""
    if corpus.multi:
        given = multi_label_noise(corpus.truth, noise, corpus.vectors, draw)
    elif noise == "human":
        assert corpus.human is not None
        given = corpus.human
    else:
        p = out_of_sample(corpus.vectors, corpus.truth, progress=False) if noise.startswith("hard") else None
        given = single_label_noise(corpus.truth, noise, corpus.vectors, draw, p)
    wrong = given != corpus.truth
    size = None if corpus.multi else int(corpus.truth.max()) + 1
    p = out_of_sample(corpus.vectors, given, num_labels=size, groups=corpus.groups, seed=draw, progress=False)
    found = detect(given, p, corpus, draw)
    hits, flagged = int((found.flagged & wrong).sum()), int(found.flagged.sum())
    return {
        "cells": int(wrong.size),
        "errors": int(wrong.sum()),
        "expected": float(found.p_error.sum(dtype=np.float64)),
        "between": [found.info.get("errors_low"), found.info.get("errors_high")],
        "flagged": flagged,
        "ap": float(average_precision_score(wrong.ravel(), found.p_error.ravel())) if wrong.any() else None,
        "f1": 2 * hits / max(flagged + int(wrong.sum()), 1),
        "bins": bins(found.p_error.ravel(), wrong.ravel()),
    }


def bins(p_error: np.ndarray, wrong: np.ndarray) -> list[dict[str, float]]:
    """Cells by probability of an error: how many, the mean of it, the share that is wrong."""
    place = np.clip(np.searchsorted(EDGES, p_error, side="right") - 1, 0, len(EDGES) - 2)
    return [
        {
            "from": EDGES[i],
            "cells": int(here.sum()),
            "told": float(p_error[here].mean(dtype=np.float64)),
            "wrong": float(wrong[here].mean()),
        }
        for i in range(len(EDGES) - 1)
        if (here := place == i).any()
    ]


def table(out: Path) -> str:
    """Markdown, one line for each case."""
    lines = [
        "| corpus | noise | rows | draw | wrong | expected (between) | expected : wrong | flagged | AP | F1 |"
        " wrong by p |",
        "|--|--|--|--|--|--|--|--|--|--|--|",
    ]
    for path in sorted(out.glob("*.json")):
        case = json.loads(path.read_text())
        low, high = case["between"]
        between = "" if low is None else f" ({low:.0f} to {high:.0f})"
        ratio = f"{case['expected'] / case['errors']:.2f}" if case["errors"] else "-"
        ap = "-" if case["ap"] is None else f"{case['ap']:.3f}"
        found = ", ".join(f"{100 * b['told']:.0f}: {100 * b['wrong']:.0f} %" for b in case["bins"] if b["cells"] >= 30)
        lines.append(
            f"| {case['corpus']} | {case['noise']} | {case['rows']} | {case['draw']} | {case['errors']} | "
            f"{case['expected']:.0f}{between} | {ratio} | {100 * case['flagged'] / case['cells']:.2f} % | {ap} | "
            f"{case['f1']:.3f} | {found} |"
        )
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = options(__doc__, "noisy_agnews", OUT)
    parser.add_argument("--noise", default="human,symmetric20,confused20,none")
    parser.add_argument("--rows", default="800,1500,4000,10000")
    parser.add_argument("--draws", default="0,1,2")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.out))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.corpora.split(","):
        whole = load(arguments.data / name, arguments.encoder)
        for rows in map(int, arguments.rows.split(",")):
            for noise in arguments.noise.split(","):
                for draw in map(int, arguments.draws.split(",")):
                    path = arguments.out / f"{name}-{noise}-{rows}-{draw}.json"
                    if path.exists():
                        continue
                    case = run_case(drawn(whole, rows, draw), noise, draw)
                    path.write_text(json.dumps({"corpus": name, "noise": noise, "rows": rows, "draw": draw, **case}))
                    low, high = case["between"]
                    between = "" if low is None else f" between {low:.0f} and {high:.0f}"
                    print(
                        f"{name} {noise} {rows} rows, draw {draw}: {case['errors']} wrong, expected "
                        f"{case['expected']:.0f}{between}, {case['flagged']} flagged, AP {case['ap']}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
