"""Draws docs/label_map.png: 40 labelled texts of AG News, what `textpl.label` makes of 3,000 others, and the truth.

    python docs/label_map.py --data FOLDER

FOLDER holds train.parquet with columns text and label, and info.json with label_names. About 25 CPU seconds. The
share of right labels is counted on the rows of the picture.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import datasets
import numpy as np
from matplotlib.figure import Figure
from sklearn.manifold import TSNE

import textpl
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder

PER_CLASS, POOL, SEED = 10, 3000, 0
# Okabe & Ito's palette: told apart by colour-blind readers.
COLOURS, GREY = ["#0072B2", "#D55E00", "#009E73", "#CC79A7"], "#BBBBBB"


def main() -> None:
    """Read, label, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("label_map.png"))
    args = parser.parse_args()
    train = datasets.Dataset.from_parquet(str(args.data / "train.parquet")).shuffle(seed=SEED)
    gold = np.array(train["label"])
    labeled = np.concatenate([np.flatnonzero(gold == c)[:PER_CLASS] for c in range(gold.max() + 1)])
    pool = np.setdiff1d(np.arange(len(train)), labeled)[:POOL]
    texts = train.select(np.concatenate([labeled, pool]))

    found = textpl.label(texts.select(range(len(labeled))), texts.select(range(len(labeled), len(texts))))
    vectors = encode_cached(get_encoder(DEFAULT_ENCODER), list(texts["text"]), progress=False)
    flat = TSNE(init="pca", perplexity=30, random_state=SEED).fit_transform(np.asarray(vectors, dtype=np.float32))
    names = json.loads((args.data / "info.json").read_text(encoding="utf-8"))["label_names"]
    share = 100 * (found.labels == gold[pool]).mean()
    draw(flat, gold[labeled], found.labels, gold[pool], names, share).savefig(args.out, dpi=110)


def draw(
    flat: np.ndarray, given: np.ndarray, found: np.ndarray, gold: np.ndarray, names: list[str], share: float
) -> Figure:
    """Three maps of the same points.

    Args:
        flat: (labelled + pool rows, 2), labelled rows first.
        given: ids of the labelled rows.
        found: ids that `textpl.label` gave to the pool rows.
        gold: their right ids.
        names: of the ids.
        share: of right ones among `found`, in %.
    """
    figure = Figure(figsize=(12, 4.3), layout="constrained")
    own, pool = flat[: len(given)], flat[len(given) :]
    colours = np.array(COLOURS)
    panels = (
        (f"{len(given)} labelled texts, {len(gold):,} without a label", GREY),
        (f"labelled by textpl.label: {share:.1f} % right", colours[found]),
        ("the right labels", colours[gold]),
    )
    for axes, (title, colour) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.scatter(*pool.T, c=colour, s=5, linewidths=0)
        if colour is GREY:
            axes.scatter(*own.T, c=colours[given], s=45, edgecolors="black", linewidths=0.8)
        axes.set_title(title, fontsize=12)
        axes.set_xticks([])
        axes.set_yticks([])
    for name, colour in zip(names, COLOURS, strict=True):
        figure.axes[0].scatter([], [], c=colour, s=45, edgecolors="black", linewidths=0.8, label=name)
    figure.legend(loc="outside lower center", ncols=len(names), frameon=False, fontsize=11)
    return figure


if __name__ == "__main__":
    main()
