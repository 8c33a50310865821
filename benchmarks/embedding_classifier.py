"""Does a classifier that is kept from a labeled pool label test texts as well as the pool was labeled? AG News.

    python benchmarks/embedding_classifier.py --data ../shared/data/ag_news --splits SPLITS
    python benchmarks/embedding_classifier.py --data ... --splits SPLITS --encoder FOLDER     # another encoder
    python benchmarks/embedding_classifier.py --table                                         # of what is finished

`SPLITS` holds `ag_news_l40_s{seed}.npz` with the row numbers `lb` (40 balanced rows) and `ulb` (20,000) of
train.parquet. The pool is labeled with `class_prior="uniform"` in three ways: from the 40 labels, from two descriptions
of each class (`label_wordings.json`) and no label, from both. Then all 7,600 test texts are labeled by
`textpl.EmbeddingClassifier` (the 15 nearest pool rows vote) and, for comparison, by a logistic regression fitted to the
labels of the pool. A cell is one (encoder, split, way), appended to out/embedding_classifier.jsonl and skipped when it
is there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from datasets import Dataset
from sklearn.linear_model import LogisticRegression

import textpl
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import unit_rows

HERE = Path(__file__).parent
OUT = HERE / "out" / "embedding_classifier.jsonl"
NAMES = ["World", "Sports", "Business", "Sci/Tech"]
WAYS = ("40 labels", "descriptions", "40 labels and descriptions")


def cell(train, test, rows, way, coder):
    """Shares of right labels in the pool, in test by the kept classifier, and in test by a logistic regression."""
    labeled, pool = train.select(rows["lb"]), train.select(rows["ulb"])
    wording = json.loads((HERE / "label_wordings.json").read_text(encoding="utf-8"))["ag_news"]["two descriptions"]
    found = textpl.label(
        labeled if "40" in way else None,
        pool.remove_columns("label"),
        method="linear_propagation",
        encoder=coder,
        label_names=NAMES,
        label_descriptions=wording if "descriptions" in way else None,
        class_prior="uniform",
        progress=False,
    )
    started = time.perf_counter()
    classifier = textpl.EmbeddingClassifier.fit(found, encoder=coder, progress=False)
    predicted, seconds = classifier.predict(test["text"][:]), time.perf_counter() - started
    pool_units, test_units = (unit_rows(encode_cached(coder, d["text"][:], progress=False)) for d in (pool, test))
    head = LogisticRegression(C=10.0, max_iter=1000).fit(centered_rows(pool_units), found.labels)
    by_head = head.predict(centered_rows(test_units, classifier.mean))
    truth = np.array(test["label"])
    return {
        "pool": float((found.labels == np.array(pool["label"])).mean()),
        "kept": float((predicted == truth).mean()),
        "head": float((by_head == truth).mean()),
        "expected": found.expected_precision,
        "seconds": round(seconds, 1),
    }


def table(records):
    """Markdown: mean, spread and worst of the splits."""
    groups = defaultdict(list)
    for record in records:
        groups[record["encoder"], record["way"]].append(record)
    print("| encoder | from | pool | test, kept classifier | test, logistic regression on the pool's labels |")
    print("|--|--|--|--|--|")
    for (encoder, way), cells in sorted(groups.items()):
        columns = [100 * np.array([c[key] for c in cells]) for key in ("pool", "kept", "head")]
        shown = [f"{c.mean():.1f} ± {c.std(ddof=min(1, len(c) - 1)):.1f} (worst {c.min():.1f})" for c in columns]
        print(f"| {encoder} | {way}, {len(cells)} splits | {' | '.join(shown)} |")


def main():
    """Run the cells that are not there, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of train.parquet and test.parquet")
    parser.add_argument("--splits", type=Path)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--name", help="of the encoder in the table; default: its name")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    OUT.parent.mkdir(exist_ok=True, parents=True)
    records = [json.loads(line) for line in OUT.read_text().splitlines()] if OUT.exists() else []
    if not args.table:
        train, test = (Dataset.from_parquet(str(args.data / f"{s}.parquet")) for s in ("train", "test"))
        coder = get_encoder(args.encoder)
        done = {(r["encoder"], r["seed"], r["way"]) for r in records}
        for seed in args.seeds:
            rows = np.load(args.splits / f"ag_news_l40_s{seed}.npz")
            for way in WAYS:
                key = (args.name or coder.name, seed, way)
                if key in done:
                    continue
                found = cell(train, test, rows, way, coder)
                records.append(dict(zip(("encoder", "seed", "way"), key, strict=True)) | found)
                with OUT.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")
                print(records[-1], flush=True)
    table(records)


if __name__ == "__main__":
    main()
