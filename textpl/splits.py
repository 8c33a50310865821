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
from textpl.split_groups import SplitGroups, labeled_side, read_groups

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
    groups: str | None = None,
    include_labeled_in_pool: bool = False,
) -> Split:
    """Draw one split. Exactly one of `labels_per_class` and `labeled` must be given.

    Rows that are held out of train are stratified (`stratified_rows`). The pool is without the texts of test and
    labeled rows, word for word; near copies stay, and `textpl.compare` counts them (`textpl.overlap`).

    Args:
        corpus: its `dev` and `unlabeled`, if any, provide dev rows and pool instead of the rest of train.
        seed: seed of everything but the test rows.
        labels_per_class: rows of each class; multi-label: positives each label gets at least, no more rows.
        labeled: rows in all: first `min_per_class` of each class, the rest uniformly at random.
        min_per_class: examples every class gets at least; 0 for a purely uniform draw.
        dev: number of dev rows.
        pool: number of pool rows, after removing those in the test set; None takes all.
        test: number of test rows, None takes all. A corpus without test set has them held out of train.
        groups: column of train whose rows stay together, such as the document that texts are windows of: no group has
            rows of two kinds (labelled, dev, pool, test). What is held out then has a few rows more, and the other
            rows of a group with labelled ones are left out.
        include_labeled_in_pool: add the labelled rows to the pool, on top of `pool`.

    Raises:
        ValueError: when a size or class count cannot be met, the pool is empty, or groups cannot be kept together.
    """
    if (labels_per_class is None) == (labeled is None):
        raise ValueError(f"give labels_per_class or labeled, not {'neither' if labeled is None else 'both'}.")
    _check_sizes({"labels_per_class": labels_per_class, "labeled": labeled, "pool": pool, "test": test}, least=1)
    _check_sizes({"dev": dev, "min_per_class": min_per_class}, least=0)
    least = min_per_class if labels_per_class is None else labels_per_class
    grouped, rng = read_groups(corpus, groups), default_rng(seed)
    test_rows, rest, of_test = _draw_test(corpus, test, grouped)
    every_dev_row = np.arange(0 if corpus.dev is None or not dev else len(corpus.dev))
    rest = grouped.free("train", rest, grouped.of("dev", every_dev_row), "dev rows")
    # Other rows are to come from train as well: groups must be left for them.
    others = corpus.unlabeled is None or (dev > 0 and corpus.dev is None)
    draw, left = _draw_labeled(corpus, rest, labeled, least, rng, grouped, others)
    dev_rows, left, of_dev = _draw_dev(corpus, dev, left, rng, grouped, of_test)
    order = left if corpus.unlabeled is None else rng.permutation(len(corpus.unlabeled))
    of_labeled, labeled_rows = grouped.of("train", draw.rows), corpus.train.select(draw.rows)
    if corpus.unlabeled is not None:
        order = grouped.free("unlabeled", order, np.concatenate([of_test, of_labeled, of_dev]), "drawn rows")
    pool_rows, overlap = _draw_pool(corpus, order, pool, labeled_rows, test_rows, include_labeled_in_pool)
    drawn = {"labeled": labeled_rows, "dev": dev_rows, "pool": pool_rows, "test": test_rows}
    report = _report(corpus, seed, drawn, draw, labeled, least)
    report["overlap"] = {**overlap, **_count_in_test(labeled_rows, dev_rows, test_rows)}
    if groups is not None:
        report["groups"] = grouped.report(corpus, {"labeled": of_labeled, "dev": of_dev, "test": of_test})
    return Split(labeled_rows, dev_rows, pool_rows, test_rows, seed, report)


def draw_labeled(
    labels: NDArray,
    available: NDArray,
    total: int | None,
    least: int,
    names: Sequence[str],
    rng: Generator,
    *,
    groups: NDArray | None = None,
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
        groups: int (rows,): all rows drawn are of about half of the groups, so that the others stay for the pool.

    Raises:
        ValueError: naming a label with fewer than `least` examples, or a `total` too small or too large.
    """
    if groups is not None:
        available = labeled_side(groups, labels, available, total or 1, least, names, rng)
    positive = labels[available] if labels.ndim == 2 else None
    members = [
        available[(labels[available] == k) if positive is None else positive[:, k] > 0] for k in range(len(names))
    ]
    for name, rows in zip(names, members, strict=True):
        if len(rows) < least:
            other = len(labels) - len(available)
            note = f" ({other:,} other rows of train are held out, or stay for the pool)" if other else ""
            raise ValueError(f"class {name!r} has {len(rows)} rows in train{note}, {least} are wanted of each class.")
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


def _draw_test(corpus: Corpus, size: int | None, grouped: SplitGroups) -> tuple[Dataset, NDArray, NDArray]:
    """Test rows, the rows of train that are left for everything else, and the groups of the test rows."""
    source = corpus.train if corpus.test is None else corpus.test
    every_train_row = np.arange(len(corpus.train))
    if size is None and corpus.test is None:
        raise ValueError(
            f"{corpus.source} has no test set: add a test file, or pass test=N to hold N rows of its "
            f"{len(corpus.train)} train rows out."
        )
    if size is not None and size > len(source):
        raise ValueError(f"test={size}, but there are only {len(source)} rows to draw test rows from.")
    if corpus.test is None:
        assert size is not None
        rng = default_rng(TEST_SEED)
        rows, rest = grouped.hold_out(label_array(corpus.train), every_train_row, size, rng)
        return corpus.train.select(rows), rest, grouped.of("train", rows)
    rows = np.arange(len(source)) if size is None else np.sort(default_rng(TEST_SEED).permutation(len(source))[:size])
    of_test = grouped.of("test", rows)
    rest = grouped.free("train", every_train_row, of_test, "test rows")
    return (source if size is None else source.select(rows)), rest, of_test


def _draw_labeled(
    corpus: Corpus, rest: NDArray, total: int | None, least: int, rng: Generator, grouped: SplitGroups, others: bool
) -> tuple[LabeledDraw, NDArray]:
    """Labelled rows, and the rows of train left after them, shuffled; groups are left for `others`."""
    whole = grouped.ids.get("train") if others else None
    draw = draw_labeled(label_array(corpus.train), rest, total, least, corpus.label_names, rng, groups=whole)
    left = rng.permutation(np.setdiff1d(rest, draw.rows))
    return draw, grouped.free("train", left, grouped.of("train", draw.rows), "labelled rows")


def _draw_dev(
    corpus: Corpus, size: int, rest: NDArray, rng: Generator, grouped: SplitGroups, of_test: NDArray
) -> tuple[Dataset | None, NDArray, NDArray]:
    """Dev rows, the rows of train left after them, and the groups of the dev rows."""
    none = np.empty(0, dtype=np.int64)
    if size == 0:
        return None, rest, none
    order = rest if corpus.dev is None else grouped.free("dev", rng.permutation(len(corpus.dev)), of_test, "test rows")
    if size > len(order):
        raise ValueError(f"dev={size}, but there are only {len(order)} rows to draw dev rows from.")
    if corpus.dev is not None:
        return corpus.dev.select(order[:size]), rest, grouped.of("dev", order[:size])
    rows, rest = grouped.hold_out(label_array(corpus.train), rest, size, rng)
    return corpus.train.select(rows), rest, grouped.of("train", rows)


def _draw_pool(
    corpus: Corpus, order: NDArray, size: int | None, labeled: Dataset, test: Dataset, include_labeled: bool
) -> tuple[Dataset, dict[str, int]]:
    """Pool rows without texts of the test or labelled rows, and how many were removed or added."""
    source = corpus.train if corpus.unlabeled is None else corpus.unlabeled
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
