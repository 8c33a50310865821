"""Draw the labelled rows, dev rows, pool and test rows of one run from a corpus and a seed.

When to use: before every semi-supervised run; runs over several seeds share their test rows. The draw is
a pure function of the corpus, the seed and the sizes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from textpl.corpus import Corpus, find_overlap
from textpl.reading.labels import label_array

logger = logging.getLogger(__name__)

# The test rows do not depend on the seed of the run: results of different seeds stay comparable.
TEST_SEED = 0


@dataclass(frozen=True)
class Split:
    """The data of one run.

    Args:
        labeled: rows whose labels may be used; columns `text`, `label`.
        dev: rows to tune on, or None.
        pool: unlabelled rows; columns `text` and, where known, `gold` (for metrics only), no `label`.
        test: rows for the final numbers.
        seed: the seed they were drawn with.
        report: plain numbers and strings (JSON): sizes, examples of each class, overlaps, how labels were drawn.
    """

    labeled: Dataset
    dev: Dataset | None
    pool: Dataset
    test: Dataset
    seed: int
    report: dict[str, Any]


@dataclass(frozen=True)
class LabeledDraw:
    """Train rows drawn to be labelled.

    Args:
        rows: all of them, shuffled.
        filled: label name -> those drawn because the label had too few examples so far; the others were
            drawn uniformly at random.
    """

    rows: NDArray
    filled: dict[str, list[int]]


def make_split(
    corpus: Corpus,
    *,
    seed: int,
    labels_per_class: int | None = None,
    labeled: int | None = None,
    min_per_class: int = 1,
    dev: int = 0,
    pool: int | None = None,
    test: int | None = None,
    include_labeled_in_pool: bool = False,
) -> Split:
    """Draw one split. Exactly one of `labels_per_class` and `labeled` must be given.

    Args:
        corpus: its `dev` and `unlabeled`, if any, provide dev rows and pool instead of the rest of train.
        seed: seed of everything but the test rows.
        labels_per_class: rows of each class; multi-label: positives each label gets at least, no more rows.
        labeled: rows in all: first `min_per_class` of each class, the rest uniformly at random.
        min_per_class: examples every class gets at least; 0 for a purely uniform draw.
        dev: number of dev rows.
        pool: number of pool rows, after removing those in the test set; None takes all.
        test: number of test rows, None takes all. A corpus without test set has them held out of train.
        include_labeled_in_pool: add the labelled rows to the pool, on top of `pool`.

    Raises:
        ValueError: when a size or class count cannot be met, or the pool is empty.
    """
    if (labels_per_class is None) == (labeled is None):
        raise ValueError(f"give labels_per_class or labeled, not {'neither' if labeled is None else 'both'}.")
    _check_sizes({"labels_per_class": labels_per_class, "labeled": labeled, "pool": pool, "test": test}, least=1)
    _check_sizes({"dev": dev, "min_per_class": min_per_class}, least=0)
    rng = default_rng(seed)
    test_rows, rest = _draw_test(corpus, test)
    least = min_per_class if labels_per_class is None else labels_per_class
    draw = draw_labeled(label_array(corpus.train), rest, labeled, least, corpus.label_names, rng)
    labeled_rows = corpus.train.select(draw.rows)
    dev_rows, rest = _draw_dev(corpus, dev, rng.permutation(np.setdiff1d(rest, draw.rows)), rng)
    pool_rows, overlap = _draw_pool(corpus, rest, pool, labeled_rows, test_rows, include_labeled_in_pool, rng)
    drawn = {"labeled": labeled_rows, "dev": dev_rows, "pool": pool_rows, "test": test_rows}
    report = _report(corpus, seed, drawn, draw, labeled, least)
    report["overlap"] = {**overlap, **_count_in_test(labeled_rows, dev_rows, test_rows)}
    return Split(labeled_rows, dev_rows, pool_rows, test_rows, seed, report)


def draw_labeled(
    labels: NDArray, available: NDArray, total: int | None, least: int, names: Sequence[str], rng: Generator
) -> LabeledDraw:
    """Draw rows, rarest label first, until each label has `least` examples, then uniformly up to `total`.

    A multi-label row drawn for one label counts for all it carries, so that few rows are drawn to fill.

    Args:
        labels: class ids (rows,) or multi-hot (rows, labels).
        available: rows that may be drawn.
        total: rows in all; None stops when every label is filled.
        least: examples each label gets at least.
        names: label names.
        rng: source of randomness.

    Raises:
        ValueError: naming a label with fewer than `least` examples, or a `total` too small or too large.
    """
    positive = labels[available] if labels.ndim == 2 else None
    members = [
        available[(labels[available] == k) if positive is None else positive[:, k] > 0] for k in range(len(names))
    ]
    for name, rows in zip(names, members, strict=True):
        if len(rows) < least:
            raise ValueError(f"class {name!r} has {len(rows)} rows in train, {least} are wanted of each class.")
    taken = np.zeros(len(labels), dtype=bool)
    filled: dict[str, list[int]] = {}
    for k in np.argsort([len(rows) for rows in members], kind="stable"):
        need = least - int(taken[members[k]].sum())
        if need > 0:
            chosen = rng.choice(members[k][~taken[members[k]]], need, replace=False)
            taken[chosen] = True
            filled[names[k]] = chosen.tolist()
    if total is not None:
        free, size = available[~taken[available]], int(taken.sum())
        if total < size:
            raise ValueError(
                f"labeled={total} is too few: {size} rows were drawn to give each of {len(names)} classes "
                f"{least}. Raise labeled or lower min_per_class."
            )
        if total > len(available):
            raise ValueError(f"labeled={total}, but train has only {len(available)} rows to draw from.")
        taken[rng.choice(free, total - size, replace=False)] = True
    return LabeledDraw(rng.permutation(np.flatnonzero(taken)), filled)


def _check_sizes(sizes: dict[str, int | None], least: int) -> None:
    for name, size in sizes.items():
        if size is not None and size < least:
            raise ValueError(f"{name}={size} must be {least} or more.")


def _draw_test(corpus: Corpus, size: int | None) -> tuple[Dataset, NDArray]:
    """Test rows and the rows of train that are left for everything else."""
    source = corpus.train if corpus.test is None else corpus.test
    every_train_row = np.arange(len(corpus.train))
    if size is None:
        if corpus.test is None:
            raise ValueError(
                f"{corpus.source} has no test set: add a test file, or pass test=N to hold N rows of its "
                f"{len(corpus.train)} train rows out."
            )
        return corpus.test, every_train_row
    if size > len(source):
        raise ValueError(f"test={size}, but there are only {len(source)} rows to draw test rows from.")
    rows = np.sort(default_rng(TEST_SEED).permutation(len(source))[:size])
    return source.select(rows), np.setdiff1d(every_train_row, rows) if corpus.test is None else every_train_row


def _draw_dev(corpus: Corpus, size: int, rest: NDArray, rng: Generator) -> tuple[Dataset | None, NDArray]:
    """Dev rows, and the rows of train left after them."""
    if size == 0:
        return None, rest
    available = len(rest) if corpus.dev is None else len(corpus.dev)
    if size > available:
        raise ValueError(f"dev={size}, but there are only {available} rows to draw dev rows from.")
    if corpus.dev is None:
        return corpus.train.select(rest[:size]), rest[size:]
    return corpus.dev.select(rng.permutation(available)[:size]), rest


def _draw_pool(
    corpus: Corpus,
    rest: NDArray,
    size: int | None,
    labeled: Dataset,
    test: Dataset,
    include_labeled: bool,
    rng: Generator,
) -> tuple[Dataset, dict[str, int]]:
    """Pool rows without texts of the test or labelled rows, and how many were removed or added."""
    source = corpus.train if corpus.unlabeled is None else corpus.unlabeled
    order = rest if corpus.unlabeled is None else rng.permutation(len(source))
    known = concatenate_datasets([rows.select_columns(["text"]) for rows in (test, labeled)])
    seen = np.zeros(len(source), dtype=bool)
    # One pass over the source in its own order: shuffled rows of a large memory-mapped file are slow to read.
    seen[find_overlap(source, known)] = True
    removed, clean = order[seen[order]], order[~seen[order]]
    in_test = len(find_overlap(source.select(removed), test))
    in_labeled = len(removed) - in_test
    if len(removed):
        logger.warning("pool: removed %d rows with a text of the test set, %d of the labelled set", in_test, in_labeled)
    if len(clean) == 0 or (size or 0) > len(clean):
        raise ValueError(
            f"pool={size}, but {len(clean)} rows are left for the pool: {len(order)} less {in_test} in the test "
            f"set and {in_labeled} in the labelled set. Lower labeled, dev or pool, or add text."
        )
    counts = {"pool_in_test_removed": in_test, "pool_in_labeled_removed": in_labeled, "labeled_in_pool": 0}
    pool = source.select(clean[:size])
    pool = _hide_labels(pool) if corpus.unlabeled is None else pool
    if include_labeled:
        hidden = _hide_labels(labeled)
        leaks = find_overlap(hidden, test)
        hidden = hidden.select(np.setdiff1d(np.arange(len(hidden)), leaks))
        shared = [column for column in pool.column_names if column in hidden.column_names]
        pool = concatenate_datasets([pool.select_columns(shared), hidden.select_columns(shared)])
        counts["labeled_in_pool"] = len(hidden)
    return pool, counts


def _hide_labels(dataset: Dataset) -> Dataset:
    return dataset.rename_column("label", "gold")


def _count_in_test(labeled: Dataset, dev: Dataset | None, test: Dataset) -> dict[str, int]:
    """Labelled and dev rows whose text is also in the test set. They are counted, not removed."""
    counts = {"labeled_in_test": len(find_overlap(labeled, test))}
    counts["dev_in_test"] = 0 if dev is None else len(find_overlap(dev, test))
    for name, count in counts.items():
        if count:
            logger.warning("%s: %d rows whose text is also in the test set", name, count)
    return counts


def _report(
    corpus: Corpus,
    seed: int,
    drawn: dict[str, Dataset | None],
    draw: LabeledDraw,
    labeled: int | None,
    least: int,
) -> dict[str, Any]:
    """What was drawn, in numbers that JSON can hold."""
    train, chosen = (_class_counts(rows, corpus) for rows in (corpus.train, drawn["labeled"]))
    filled = sum(len(rows) for rows in draw.filled.values())
    train_prior, prior = train / len(corpus.train), chosen / len(draw.rows)
    return {
        "corpus": corpus.fingerprint,
        "seed": seed,
        "sizes": {name: 0 if rows is None else len(rows) for name, rows in drawn.items()},
        "sources": {
            "dev": "train" if corpus.dev is None else "dev",
            "pool": "train" if corpus.unlabeled is None else "unlabeled",
            "test": "held out of train" if corpus.test is None else "test",
        },
        "labeled_per_class": dict(zip(corpus.label_names, chosen.tolist(), strict=True)),
        "sampling": {
            "how": f"{filled} rows drawn, rarest label first, to give each label {least}; "
            f"{len(draw.rows) - filled} uniformly at random",
            "mode": "labels_per_class" if labeled is None else "labeled",
            "filled_rows": draw.filled,
            # Filling lifts rare labels: by this much the labelled prior is not the one of train.
            "train_prior": dict(zip(corpus.label_names, train_prior.tolist(), strict=True)),
            "labeled_prior": dict(zip(corpus.label_names, prior.tolist(), strict=True)),
            "largest_prior_shift": float(np.abs(prior - train_prior).max()),
        },
    }


def _class_counts(dataset: Dataset | None, corpus: Corpus) -> NDArray:
    """Examples of each class. Shape: int64 (labels,)."""
    labels = label_array(dataset)
    if labels.ndim == 2:
        return labels.sum(0).astype(np.int64)
    return np.bincount(labels, minlength=len(corpus.label_names))
