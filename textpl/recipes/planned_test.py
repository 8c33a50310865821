"""Where a new recipe's test rows come from: a file, rows held out, or texts that somebody has yet to label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset

from textpl.reading.writing import write_table

TEST = 1000
# From fewer than the second no verdict is given; as in textpl.evaluation, which loads more than a command's help needs.
FEW_TEST, LEAST_ROWS = 200, 100
TO_LABEL = "test_to_label"
SEED = 0
SHOWN = 10  # names of labels
UNTIL = "until then the recipe does not run; textpl label and textpl clean need no test rows"


def held_out(rows: int) -> int | None:
    """How many of the labeled rows are to be test rows: a fifth, up to a third if 200 cannot be had otherwise.

    Args:
        rows: with labels, in data without a test set.

    Returns:
        100 or more; None where not so many can be spared: a verdict from fewer has no grounds.
    """
    size = min(TEST, max(rows // 5, min(FEW_TEST, rows // 3)))
    return size if size >= LEAST_ROWS else None


def told_held_out(rows: int) -> list[str]:
    """A warning where the interval of a comparison will be wide."""
    if rows >= FEW_TEST:
        return []
    return [
        f"only {rows} test rows can be held out, which finds large differences only: put a test file (test.csv) beside "
        f"the others, with {FEW_TEST} labeled texts or more"
    ]


def told_test_file(rows: int) -> list[str]:
    """The same of a test file."""
    if rows >= FEW_TEST:
        return []
    verdict = "which finds large differences only" if rows >= LEAST_ROWS else "too few for any verdict"
    return [f"the test file has {rows} rows, {verdict}: label more texts, {FEW_TEST} or more in all"]


def write_to_label(pool: Dataset | None, text: str, label: str, multi: bool, staging: Path) -> str | None:
    """Draw texts of the pool that are to become the test file, once labeled.

    Args:
        pool: texts without labels, in the column `text`.
        text: what the recipe calls that column.
        label: name of the column that is to be filled in.
        multi: a row may have several labels: lists, so jsonl.
        staging: folder to write into.

    Returns:
        Name of the file, of 200 texts or half of the pool; None where that leaves fewer than 100.
    """
    size = min(FEW_TEST, (0 if pool is None else len(pool)) // 2)
    if pool is None or size < LEAST_ROWS:
        return None
    rows = np.sort(np.random.default_rng(SEED).permutation(len(pool))[:size])
    name = f"{TO_LABEL}.{'jsonl' if multi else 'csv'}"
    write_table(Dataset.from_dict({text: pool["text"][rows], label: [None] * size}), staging / name)
    return name


def told_to_label(
    rows: int, name: str | None, label: str, label_names: Sequence[str], folder: Path, data: Path
) -> list[str]:
    """What to do where there are no test rows yet.

    Args:
        rows: with labels.
        name: of the file to be filled in, if there is one.
        label: the column.
        label_names: what it may hold.
        folder: of the recipe.
        data: the folder that the recipe reads.
    """
    many = f", ... ({len(label_names)})" if len(label_names) > SHOWN else ""
    told = [
        f"no test rows are planned: of {rows:,} labeled rows too few can be held out for any verdict",
        f"label {FEW_TEST} more texts and put them into {data / 'test.csv'}, with the columns {label!r} and the others",
        UNTIL,
    ]
    if name is not None:
        told[1] = (
            f"label the texts in {folder / name}, drawn at random from those without a label (column {label!r}: "
            f"{', '.join(label_names[:SHOWN])}{many}), then:  mv {folder / name} {data / f'test{Path(name).suffix}'}"
        )
    return told
