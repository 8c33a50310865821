"""The embedding labeler alone, as a classifier of the test rows: what a training has to beat."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from datasets import Dataset
from transformers import Trainer

from textpl.callbacks.setup import label_array, label_names
from textpl.components.labeled_rows import is_transformed, seen_rows
from textpl.evaluation import decide, expected_calibration_error, prior_thresholds, scores
from textpl.labeling import label
from textpl.outcomes import Outcome
from textpl.reading.label_cells import ENCODED
from textpl.tasks import make_task

MOST_POOL = 10_000  # pool rows that are embedded with the test rows: neighbors help little beyond them, and cost time


def label_test_rows(
    trainer: Trainer, callback: Any, encoder: Any, seed: int, thresholds: float | Literal["prior"]
) -> Outcome:
    """Label the test rows, among those of the pool, by their embeddings; nothing is trained.

    Args:
        trainer: with labeled rows and test rows that have their texts, and a model that knows the labels' names.
        callback: of the method, for its pool; None or a loss where there is none.
        encoder: as for `textpl.label`.
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
    )
    probabilities = found.probabilities[: len(test)]
    multi = task.problem_type == "multi_label_classification"
    cut: Any = (
        (prior_thresholds(probabilities, rows.mean(0)) if thresholds == "prior" else thresholds) if multi else None
    )
    predictions, gold = decide(probabilities, task.problem_type, 0.5 if cut is None else cut), gold.astype(np.int64)
    return Outcome(
        seed=seed,
        probabilities=probabilities,
        gold=gold,
        predictions=predictions,
        scores=scores(predictions, gold),
        thresholds=None if cut is None else np.broadcast_to(cut, task.num_labels).tolist(),
        calibration_error=expected_calibration_error(probabilities, gold, task.problem_type),
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
