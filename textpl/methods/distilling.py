"""Distillation: learn what another model says of the pool.

See `textpl.methods` for the keywords that all share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.losses import DistillationLoss
from textpl.components.schedules import Schedule
from textpl.components.sharpen import Temperature
from textpl.components.teachers import ColumnTeacher, FrozenTeacher
from textpl.components.views import View
from textpl.reading.probabilities import in_order, named_array, read_probabilities_column
from textpl.tokens import TextColumn, text_columns


def distillation(
    unlabeled: Any,
    *,
    teacher: Any = None,
    column: str | None = None,
    column_kind: Literal["probabilities", "logits"] = "logits",
    label_names: Sequence[str] | None = None,
    labeled: Any = None,
    temperature: float = 2.0,
    ratio: int = 1,
    weight: float | Schedule = 1.0,
    view: View | None = None,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """Soft-label distillation (Hinton et al. 2015, arXiv 1503.02531): learn a finished teacher's distribution.

    L = H(y, p) + weight * mean_U T^2 KL(softmax(v / T) || softmax(z / T)); multi-label T^2 times the Bernoulli KL of
    each label. Up to a common factor, weight is a / (1 - a) of the usual a. The teacher's logits are computed once,
    cached as float16. With `labeled` the labelled texts join the pool; a teacher that was trained on them is
    over-confident there.
    When to use: a larger or slower model, an ensemble, or soft labels from elsewhere.

    Args:
        unlabeled: the pool.
        teacher: a Hub id, folder or loaded classifier, or a list of these (their probabilities are averaged).
        column: instead of `teacher`, a column of the pool with one number per label: a struct with a field per label,
            columns `column_LABEL`, or plain lists.
        column_kind: what that column holds.
        label_names: the labels in the order of plain lists, or of the outputs of a teacher with default names.
        labeled: the labelled rows with their texts (and `column`, where that is the teacher), to distil on them too.
        temperature: T; 1 for a calibrated teacher, 4 to compress a large one.
        ratio: see module.
        weight: see module.
        view: see module.
        text_column: see module.
        max_length: see module.
        seed: see module.

    Raises:
        ValueError: unless exactly one of `teacher` and `column` is given.
    """
    if (teacher is None) == (column is None):
        raise ValueError("distillation needs exactly one of teacher=<model, folder or id> and column=<name>.")
    if labeled is not None:
        texts = list(text_columns(text_column))
        if column is None:
            both = [rows.with_format(None).select_columns(texts) for rows in (unlabeled, labeled)]
            unlabeled = concatenate_datasets(both)
        else:
            unlabeled, label_names = _joined(unlabeled, labeled, texts, column, label_names)
    return SemiSupervised(
        unlabeled,
        teacher=FrozenTeacher(teacher, label_names=label_names)
        if column is None
        else ColumnTeacher(column, kind=column_kind, label_names=label_names),
        sharpen=Temperature(temperature),
        view=view,
        loss=DistillationLoss(temperature),
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def _joined(
    unlabeled: Dataset, labeled: Dataset, texts: list[str], column: str, label_names: Sequence[str] | None
) -> tuple[Dataset, Sequence[str] | None]:
    """Texts and numbers per label of both, the labels in one order; and the names that are still to be said."""
    (pool, named), (known, also_named) = (read_probabilities_column(rows, column) for rows in (unlabeled, labeled))
    pool_names, names = named or label_names, also_named or label_names
    if (names is None) != (pool_names is None):
        raise ValueError(
            f"Column {column!r} tells its labels in only one of unlabeled and labeled: say them with label_names=[...]."
        )
    both = concatenate_datasets([rows.with_format(None).select_columns(texts) for rows in (unlabeled, labeled)])
    if names is None or pool_names is None:
        if pool.shape[1] != known.shape[1]:
            raise ValueError(
                f"Column {column!r} has {pool.shape[1]} numbers per row in unlabeled and {known.shape[1]} in labeled."
            )
        flat = pa.array(np.concatenate([pool, known]).ravel())
        return both.add_column(column, pa.FixedSizeListArray.from_arrays(flat, pool.shape[1])), None
    known = in_order(known, names, pool_names, f"Column {column!r} of labeled")
    return both.add_column(column, named_array(np.concatenate([pool, known]), pool_names)), None
