"""What the kNN graph and HDL on it cost, how many neighbours are found, and how that goes with the number of rows.

    python benchmarks/knn_graph.py --data ../shared/data/ag_news --rows 10000 100000 1000000
    python benchmarks/knn_graph.py --vectors my_vectors.npy

Without `--vectors`: MiniLM embeddings x of 10,000 texts, widened to any number of rows, as
normalize(.8 x_i + .4 x_j + .3 noise). All arrays are memory-mapped. One JSON line per number of rows: CPU seconds of
all threads, the peak of resident memory beyond mapped files, and the share of the true neighbours of 1,000 rows found.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from textpl.embeddings.exact import UnitRows, exact_search
from textpl.embeddings.neighbors import neighbor_graph
from textpl.models import resolve_model
from textpl.relabeling.hdl import hdl
from textpl.relabeling.propagation import label_propagation

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
OUT = Path(__file__).parent / "out" / "knn_graph"
TEXTS = 10_000
BLOCK = 50_000


def embeddings(data):
    """Unit embeddings of texts, made once."""
    path = OUT / f"minilm_{Path(data).name}.npy"
    if not path.exists():
        from sentence_transformers import SentenceTransformer

        texts = pd.read_parquet(Path(data) / "train.parquet").text.sample(TEXTS, random_state=0).tolist()
        np.save(path, SentenceTransformer(resolve_model(MODEL)).encode(texts, normalize_embeddings=True))
    return np.load(path)


def widened(data, rows):
    """Memory-mapped vectors, as many as wanted, made once."""
    path = OUT / f"rows_{rows}.npy"
    if not path.exists():
        x, rng = embeddings(data), np.random.default_rng(0)
        out = np.lib.format.open_memmap(path.with_suffix(".part"), "w+", np.float32, (rows, x.shape[1]))
        for start in range(0, rows, BLOCK):
            n = min(BLOCK, rows - start)
            block = 0.8 * x[rng.integers(0, len(x), n)] + 0.4 * x[rng.integers(0, len(x), n)]
            block += (0.3 / np.sqrt(x.shape[1])) * rng.standard_normal(block.shape, np.float32)
            out[start : start + n] = block / np.linalg.norm(block, axis=1, keepdims=True)
        out.flush()
        path.with_suffix(".part").rename(path)
    return np.load(path, mmap_mode="r")


class Peak:
    """Largest resident memory beyond mapped files within a `with` block, in MB above that at its start."""

    def __enter__(self):
        """Start watching."""
        self.first = self.most = self.now()
        self.running = True
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *unused):
        """Stop watching."""
        self.running = False
        self.thread.join()

    def watch(self):
        """Look now and then."""
        while self.running:
            self.most = max(self.most, self.now())
            time.sleep(0.05)

    @staticmethod
    def now():
        """Anonymous resident memory, MB."""
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines["RssAnon"].split()[0]) / 1024

    @property
    def extra(self):
        """The result."""
        return round(self.most - self.first)


def measured_recall(vectors, graph, rows):
    """Share of true neighbours found for some rows that the search knew nothing of."""
    unit = UnitRows(vectors)
    sample = np.sort(np.random.default_rng(12345).choice(unit.live, min(rows, len(unit.live)), replace=False))
    _, true = exact_search(unit, sample, unit, graph.k, exclude=True, progress=False, description="")
    return float((graph.sims[sample] >= true[:, -1:] - 1e-6).mean())


def timed(name, method, graph):
    """CPU seconds of a labelling from a thousand random rows with random labels: the time does not depend on them."""
    rng = np.random.default_rng(0)
    gold = np.zeros(len(graph), dtype=bool)
    gold[rng.choice(len(graph), 1000, replace=False)] = True
    targets = np.eye(4, dtype=np.float32)[rng.integers(0, 4, len(graph))] * gold[:, None]
    cpu = time.process_time()
    method(graph, targets, gold)
    return {f"{name}_cpu_s": round(time.process_time() - cpu, 1)}


def measure(vectors, args):
    """One record."""
    with Peak() as memory:
        cpu, wall = time.process_time(), time.perf_counter()
        graph = neighbor_graph(vectors, args.k, method=args.method)
        record = {
            "rows": len(vectors), "k": graph.k, "method": graph.method,
            "graph_cpu_s": round(time.process_time() - cpu, 1), "graph_wall_s": round(time.perf_counter() - wall, 1),
        }  # fmt: skip
        record |= timed("hdl", hdl, graph) | timed("label_propagation", label_propagation, graph)
    return record | {"peak_extra_mb": memory.extra, "recall": round(measured_recall(vectors, graph, 1000), 4)}


def main():
    """Measure each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data/ag_news")
    parser.add_argument("--vectors", help="a .npy file of vectors, instead of widened embeddings")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--method", default="auto")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if args.vectors:
        print(json.dumps(measure(np.load(args.vectors, mmap_mode="r"), args)), flush=True)
        return
    for rows in args.rows:
        print(json.dumps(measure(widened(args.data, rows), args)), flush=True)


if __name__ == "__main__":
    main()
