"""What a method gives its model that needs no unlabeled text, for labels-only: averaged weights, and its view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import Trainer

from textpl.callbacks.attach import attach
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.labeled_rows import is_transformed, read_rows
from textpl.components.teachers import EMATeacher
from textpl.components.views import View
from textpl.pool import as_views

HALF = 0.5  # of the draws of a labeled row are of its view: the method sees labeled rows as they are, and views besides


def what_is_free(callback: Any) -> str:
    """Name what a method has; empty where that is nothing, as for losses."""
    view = "the method's view" if as_views(getattr(callback, "view", None)) else ""
    averaged = "averaged weights" if _averaging(getattr(callback, "teacher", None)) else ""
    return " and ".join(part for part in (view, averaged) if part)


def equip(trainer: Trainer, callback: SemiSupervised) -> bool:
    """Give a labels-only training what is free.

    Args:
        trainer: not yet trained.
        callback: of the method, is left as it is.

    Returns:
        bool: False where the view cannot be had: labeled rows without their texts, or with a loss of their own.
    """
    views, averaging = as_views(callback.view), _averaging(callback.teacher)
    if views:
        rows, columns = trainer.train_dataset, callback.text_column
        if is_transformed(rows) or not set(columns) <= set(rows.column_names) or trainer.compute_loss_func is not None:
            return False
        texts = [text for name in columns for text in rows.with_format(None)[name][:]]
        view = views[0].fit(texts)
        trainer.train_dataset = HalfViewed(rows, columns, view, trainer.processing_class)
    if averaging is not None:
        # With a weight of 0 the pool is not touched; what is left of the callback is the average.
        averaged = SemiSupervised(
            callback.unlabeled.select(range(1)),
            teacher=EMATeacher(averaging.decay),
            weight=0.0,
            text_column=callback.text_column,
            max_length=callback.max_length,
        )
        attach(trainer, averaged)
    return True


def _averaging(teacher: Any) -> EMATeacher | None:
    """The moving average of the weights among a teacher and those inside it."""
    inside = teacher.modules() if isinstance(teacher, torch.nn.Module) else ()
    return next((part for part in inside if isinstance(part, EMATeacher)), None)


class HalfViewed(torch.utils.data.Dataset):
    """Labeled rows, half of the draws seen through a view.

    Args:
        rows: a `datasets.Dataset` with texts, tokenized or not.
        columns: one of texts, or two that are read as a pair.
        view: fitted.
        tokenizer: makes the tokens of what is seen, as long as the row has at most.
    """

    def __init__(self, rows: Any, columns: Sequence[str], view: View, tokenizer: Any) -> None:
        self._rows, self._columns, self._view, self._tokenizer = rows, tuple(columns), view, tokenizer
        lengths = {len(ids) for ids in rows["input_ids"]} if "input_ids" in rows.column_names else set()
        self._longest = max(lengths, default=None)
        self._padding = "max_length" if len(lengths) == 1 else False  # rows that were padded are again

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = dict(read_rows(self._rows, [index])[0])
        # torch's numbers: they follow the Trainer's seed, and are others in every worker and epoch.
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        if rng.random() >= HALF:
            return row
        seen = [self._view(row[name], rng) for name in self._columns]
        if self._longest is None:
            return row | dict(zip(self._columns, seen, strict=True))
        made = self._tokenizer(*seen, truncation=True, max_length=self._longest, padding=self._padding)
        return row | {name: value for name, value in made.items() if name in row}
