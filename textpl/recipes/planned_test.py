"""Where a new recipe's test rows come from: a file, rows held out, or texts that somebody has yet to label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from datasets import Dataset

from textpl.corpus import Corpus
from textpl.reading.writing import write_table

TEST = 1000
# From fewer than the second no verdict is given; as in textpl.evaluation, which loads more than a command's help needs.
FEW_TEST, LEAST_ROWS = 200, 100
TO_LABEL = "test_to_label"
SEED = 0
SHOWN = 10  # names of labels


def held_out(rows: int) -> int | None:
    """Return how many of the labeled rows are to be test rows: a fifth, up to a third to have 200.

    Args:
        rows: with labels, in data without a test set.

    Returns:
        100 or more; None where not so many can be spared: a verdict from fewer has no grounds.
    """
    size = min(TEST, max(rows // 5, min(FEW_TEST, rows // 3)))
    return size if size >= LEAST_ROWS else None


def told_test(corpus: Corpus, text: str, label: str, staging: Path, places: tuple[Path, Path], ask: bool) -> list[str]:
    """Tell where the test rows come from; where there are none yet, write texts that are to be labeled into `staging`.

    Args:
        corpus: the data.
        text: what the recipe calls the text column.
        label: likewise.
        staging: where files are made.
        places: folder of the recipe, and of its data.
        ask: cells may be left empty until they are filled in: elsewhere an empty one means that no label applies.
    """
    if corpus.test is not None:
        rows = len(corpus.test)
        verdict = "which finds large differences only" if rows >= LEAST_ROWS else "too few for any verdict"
        more = f"label more texts, {FEW_TEST} or more in all"
        return [] if rows >= FEW_TEST else [f"the test file has {rows} rows, {verdict}: {more}"]
    size = held_out(len(corpus.train))
    if size is not None:
        more = f"put a test file (test.csv) beside the others, with {FEW_TEST} labeled texts or more"
        few = f"only {size} test rows can be held out, which finds large differences only: {more}"
        return [] if size >= FEW_TEST else [few]
    folder, data = places
    name = _write_to_label(corpus, text, label, staging) if ask else None
    todo = (
        f"label {FEW_TEST} more texts and put them into {data / 'test.csv'}, with the columns {label!r} and the others"
    )
    if name is not None:
        many = f", ... ({len(corpus.label_names)})" if len(corpus.label_names) > SHOWN else ""
        todo = (
            f"label the texts in {folder / name}, drawn at random from those without a label (column {label!r}: "
            f"{', '.join(corpus.label_names[:SHOWN])}{many}), then:  "
            f"mv {folder / name} {data / f'test{Path(name).suffix}'}"
        )
    return [
        f"no test rows are planned: of {len(corpus.train):,} labeled rows too few can be held out for any verdict",
        todo,
        "until then the recipe does not run; textpl label and textpl clean need no test rows",
    ]


def _write_to_label(corpus: Corpus, text: str, label: str, staging: Path) -> str | None:
    """Draw texts of the pool that are to become the test file: 200, or half of the pool.

    Returns:
        Name of the file; None where that leaves fewer than 100.
    """
    pool, multi = corpus.unlabeled, corpus.problem_type.startswith("multi")
    size = min(FEW_TEST, (0 if pool is None else len(pool)) // 2)
    if pool is None or size < LEAST_ROWS:
        return None
    rows = np.sort(np.random.default_rng(SEED).permutation(len(pool))[:size])
    name = f"{TO_LABEL}.{'jsonl' if multi else 'csv'}"
    write_table(Dataset.from_dict({text: pool["text"][rows], label: [None] * size}), staging / name)
    return name
