"""The embedding labeler alone, as a classifier of the test rows: what a training has to beat."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from transformers import Trainer

from textpl.callbacks.setup import label_array, label_names
from textpl.components.labeled_rows import is_transformed, seen_rows
from textpl.labeling import label
from textpl.outcomes import Outcome, make_outcome
from textpl.reading.label_format import ENCODED
from textpl.tasks import make_task

AT_DEFAULTS = "textpl.label at its defaults"
MOST_POOL = 10_000  # pool rows that are embedded with the test rows: neighbors help little beyond them, and cost time


def told_settings(settings: Mapping[str, Any]) -> str:
    """Tell the labeler with its settings, in words; groups, which differ by the rows of a seed, are left out.

    Settings of several parts, such as descriptions of labels, are named alone.
    """
    said = {name: value for name, value in settings.items() if name != "groups" and value is not None}
    several = (Mapping, list, tuple, np.ndarray)
    words = ", ".join(name if isinstance(value, several) else f"{name} {value}" for name, value in said.items())
    return f"textpl.label with {words}" if words else AT_DEFAULTS


def label_test_rows(
    trainer: Trainer,
    callback: Any,
    encoder: Any,
    settings: Mapping[str, Any],
    seed: int,
    thresholds: float | Literal["prior"],
) -> Outcome:
    """Label the test rows, among those of the pool, by their embeddings; nothing is trained.

    Args:
        trainer: with labeled rows and test rows that have their texts, and a model that knows the labels' names.
        callback: of the method, for its pool; None or a loss where there is none.
        encoder: as for `textpl.label`.
        settings: of `textpl.label`, besides.
        seed: noted in the outcome, and that of the hold-out folds.
        thresholds: as for `textpl.compare`.

    Raises:
        ValueError: where the rows have no texts.
    """
    start = time.perf_counter()
    columns = getattr(callback, "text_column", ("text",))
    test, labeled = (_texts(rows, columns) for rows in (trainer.eval_dataset, trainer.train_dataset))
    config = trainer.model.config
    task = make_task(config.problem_type, config.num_labels)
    parts = (trainer.train_dataset, trainer.eval_dataset)
    rows, gold = (label_array(seen_rows(part, trainer.data_collator, tokens=False), task) for part in parts)
    found = label(
        Dataset.from_dict({"text": labeled, "label": rows.astype(np.int64).tolist()}),
        Dataset.from_dict({"text": test + _pool_texts(callback, columns)}),
        encoder=encoder,
        label_names=label_names(trainer.model),
        label_format=ENCODED,
        seed=seed,
        progress=False,
        **settings,
    )
    return make_outcome(
        seed,
        found.probabilities[: len(test)],
        gold,
        task,
        thresholds,
        lambda: rows,
        steps=0,
        seconds=time.perf_counter() - start,
        token_passes=0,
        labeled_passes=0,
        history=[],
    )


def _texts(rows: Any, columns: Sequence[str]) -> list[str]:
    if is_transformed(rows) or not set(columns) <= set(rows.column_names):
        raise ValueError(
            f"encoder: the labeler needs the texts of labeled and test rows, and {' and '.join(columns)} is no column "
            "of theirs: keep it when you tokenize (map without remove_columns), or leave encoder out."
        )
    parts = [rows.with_format(None)[name][:] for name in columns]
    return ["\n".join(texts) for texts in zip(*parts, strict=True)]


def _pool_texts(callback: Any, columns: Sequence[str]) -> list[str]:
    pool = getattr(callback, "unlabeled", None)
    if pool is None or not set(columns) <= set(pool.column_names):
        return []
    pool = pool.select(range(min(MOST_POOL, len(pool))))
    return [text for text in _texts(pool, columns) if text and text.strip()]
