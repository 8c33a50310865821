"""The unlabelled pool: tokenised once, drawn in the order of `pool_order`."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor

from textpl.components.views import View, row_rng
from textpl.inference import longest_input, token_inputs
from textpl.pool_order import PoolOrder
from textpl.reading.probabilities import read_probabilities_column
from textpl.tokens import (
    TextColumn,
    Tokens,
    made_inputs,
    non_empty_ids,
    non_empty_rows,
    stored_inputs,
    text_columns,
    tokenize,
)
from textpl.unknown_tokens import SAMPLE, warn_of_unknown

logger = logging.getLogger(__name__)

# The share of a pool that is read whole where nobody says how long its rows are.
USUAL = 0.99


@dataclass
class PoolBatch:
    """The pool rows of one step.

    Attributes:
        rows: pool rows, int64 (rows,).
        views: model inputs, (rows, tokens) each: of the unchanged texts, then of what each view makes of them.
        gold: hidden labels, (rows,) or (rows, labels); None where the pool has none.
    """

    rows: Tensor
    views: tuple[dict[str, Tensor], ...]
    gold: Tensor | None


class Pool:
    """Unlabeled rows ready to be drawn.

    Args:
        dataset: a `datasets.Dataset` with a text column, or with `input_ids` (and `attention_mask`, and what else the
            model takes, such as `token_type_ids`).
        tokenizer: the Trainer's tokenizer; only a tokenised dataset can do without.
        text_column: name of the text column, or of two whose texts are read as a pair.
        max_length: longest row in tokens; longer ones are cut.
        view: what the student sees; None for the same text, or several views. It changes both texts of a pair.
        pad_token_id: id that fills shorter rows.
        seed: seed of order and views.
        model: whose inputs are kept; None for token ids and mask alone.
        usual_length: lowers `max_length` to this many tokens, or to what 99 % of the rows have if that is more.

    Attributes:
        max_length: longest row in tokens.
        cut_rows: how many rows were longer.
        cut_tokens: how many of their tokens were left out.

    Raises:
        ValueError: for an empty pool, a missing or non-string text, a missing column, or a view on a tokenised pool.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        *,
        tokenizer: Any,
        text_column: TextColumn,
        max_length: int,
        view: View | Sequence[View] | None,
        pad_token_id: int,
        seed: int,
        model: torch.nn.Module | None = None,
        usual_length: int | None = None,
    ) -> None:
        views = as_views(view)
        self.text_columns = _text_columns(dataset, text_columns(text_column), views)
        dataset = dataset.with_format(None)  # whatever form the user reads it in
        self.seed, self.max_length, self._pad_token_id = seed, max_length, pad_token_id
        self._accepted = () if model is None else token_inputs(model)
        self._kept: np.ndarray | None = None
        # A copy: truncation settings live inside a fast tokenizer, and batches are made on another thread.
        self.tokenizer = copy.deepcopy(tokenizer)
        self._inputs = self._inputs_of(dataset, self.tokenizer, self._accepted)
        if self.text_columns:
            kept = non_empty_rows(dataset, self.text_columns)
            if len(kept) < len(dataset):
                logger.warning(
                    "%d of %d unlabelled texts are blank and are left out.", len(dataset) - len(kept), len(dataset)
                )
                dataset, self._kept = dataset.select(kept), kept
        else:
            self._kept = non_empty_ids(dataset)
            dataset = dataset.select(self._kept)
        if len(dataset) == 0:
            raise ValueError("The unlabelled dataset has no row with text in it: there is nothing to learn from.")
        self.dataset = dataset
        self.tokens = self._tokenize(dataset)
        if usual_length is not None:
            self._shorten(usual_length)
        self._tell_what_was_cut()
        if self.text_columns:
            sample = dataset.select_columns(list(self.text_columns))[
                np.linspace(0, len(dataset) - 1, SAMPLE, dtype=int)
            ]
            warn_of_unknown(self.tokenizer, [t for texts in sample.values() for t in texts], "The model's tokenizer")
        # A view that stands here twice is fitted once.
        given = {id(one): one for one in views}
        fitted = {key: one.fit(_texts(dataset, self.text_columns)) for key, one in given.items()}
        self.views = tuple(fitted[id(one)] for one in views)
        self._gold = self.column("gold") if "gold" in dataset.column_names else None
        if self._gold is not None and self._gold.dtype.kind not in "iufb":
            raise ValueError(
                "Column 'gold' must hold class ids or multi-hot lists (it is used for the logged precision only), not "
                f"{self._gold[:3].tolist()}: encode it, or drop it with dataset.remove_columns('gold')."
            )

    def _inputs_of(self, dataset: datasets.Dataset, tokenizer: Any, accepted: Sequence[str]) -> tuple[str, ...]:
        """Inputs beside ids and mask of rows that are texts or tokenised as the pool is."""
        if not self.text_columns:
            return stored_inputs(dataset, accepted)
        if tokenizer is None:
            raise ValueError("The pool is text: give the Trainer its tokenizer (processing_class=tokenizer).")
        return made_inputs(tokenizer, accepted, len(self.text_columns))

    def _tokenize(self, dataset: datasets.Dataset) -> Tokens:
        return tokenize(dataset, self.text_columns, self.tokenizer, self.max_length, self._pad_token_id, self._inputs)

    def _shorten(self, usual_length: int) -> None:
        """Cut the few rows that are much longer than the rest: a batch is as long as its longest row."""
        lengths = self.tokens.full_lengths
        self.max_length = min(self.max_length, max(usual_length, int(np.quantile(lengths, USUAL, method="higher"))))
        long = np.flatnonzero(self.tokens.lengths > self.max_length)
        if len(long):
            self.tokens = self.tokens.replaced(long, self._tokenize(self.dataset.select(long)))

    def _tell_what_was_cut(self) -> None:
        lost = (self.tokens.full_lengths - self.tokens.lengths).astype(np.int64)
        self.cut_rows, self.cut_tokens = int((lost > 0).sum()), int(lost.sum())
        if self.cut_rows:
            logger.log(
                logging.WARNING if self.cut_rows > (1 - USUAL) * len(lost) else logging.INFO,
                "%d of %d unlabeled texts are longer than %d tokens and were cut (%.0f %% of their tokens).",
                self.cut_rows,
                len(lost),
                self.max_length,
                100 * self.cut_tokens / self.tokens.full_lengths[lost > 0].sum(dtype=np.int64),
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def column(self, name: str) -> np.ndarray:
        """A column of numbers as an array of shape (rows,) or (rows, width).

        Raises:
            ValueError: if there is no such column or its lists differ in length; the row is named.
        """
        if name not in self.dataset.column_names:
            raise ValueError(f"The unlabelled dataset has no column {name!r}; it has {self.dataset.column_names}.")
        batches = self.dataset.select_columns([name]).iter(batch_size=10_000)
        try:
            values = np.concatenate([np.asarray(batch[name]) for batch in batches])
            return values.astype(np.float32) if values.ndim > 1 else values
        except ValueError as error:
            raise ValueError(f"Column {name!r}{self._why_no_array(name)}.") from error

    def probabilities(self, name: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
        """Numbers per label, float32 (rows, labels), and the names of the labels; see `read_probabilities_column`.

        Raises:
            ValueError: if there is no such column, or its lists differ in length or hold no numbers; the row is named.
        """
        try:
            return read_probabilities_column(self.dataset, name)
        except ValueError as error:
            if isinstance(self.dataset.features.get(name), datasets.List):
                # Told once more, with the row of the user's dataset.
                raise ValueError(f"Column {name!r}{self._why_no_array(name)}.") from error
            raise

    def _why_no_array(self, name: str) -> str:
        values = (value for batch in self.dataset.select_columns([name]).iter(10_000) for value in batch[name])
        first = np.shape(next(values))
        for row, value in enumerate(values, start=1):
            if np.shape(value) != first:
                odd = f"row {self.source_row(row)} has shape {np.shape(value)}, row {self.source_row(0)} {first}"
                return f": {odd}; every row needs the same number of values (NaN where there are none)"
        return " must hold numbers"

    def source_row(self, row: int) -> int:
        """Row of the user's dataset that pool row `row` was, before blank texts were left out."""
        return row if self._kept is None else int(self._kept[row])

    def token_ids(self, tokenizer: Any = None, model: torch.nn.Module | None = None) -> Tokens:
        """Tokens of all rows as another model takes them.

        Args:
            tokenizer: that model's, rows are cut to what it allows; None for the student's, cut as for the student.
            model: None for the student.
        """
        if tokenizer is None:
            accepted = self._accepted if model is None else token_inputs(model)
            inputs = self._inputs_of(self.dataset, self.tokenizer, accepted)
            if inputs == self.tokens.inputs:
                return self.tokens
            own = (self.tokenizer, self.max_length, self._pad_token_id)
            return tokenize(self.dataset, self.text_columns, *own, inputs)
        if not self.text_columns:
            raise ValueError("A teacher with its own tokenizer needs the pool's texts, but the pool is tokenised.")
        inputs = () if model is None else self._inputs_of(self.dataset, tokenizer, token_inputs(model))
        longest = longest_input(tokenizer, getattr(model, "config", None))
        return tokenize(self.dataset, self.text_columns, tokenizer, longest, tokenizer.pad_token_id, inputs)

    def tokenize(self, dataset: datasets.Dataset, text_column: TextColumn) -> Tokens:
        """Tokens of other rows, labelled ones say, as the pool's: from `input_ids` where they are tokenised."""
        columns = () if "input_ids" in dataset.column_names else text_columns(text_column)
        if columns and (not set(columns) <= set(dataset.column_names) or self.tokenizer is None):
            raise ValueError(
                f"The labelled rows have neither 'input_ids' nor a text column {text_column!r} that a tokenizer could "
                f"read: their columns are {dataset.column_names}."
            )
        inputs = (
            made_inputs(self.tokenizer, self._accepted, len(columns))
            if columns
            else stored_inputs(dataset, self._accepted)
        )
        return tokenize(dataset, columns, self.tokenizer, self.max_length, self._pad_token_id, inputs)

    def batches(self, start: int, stop: int, rows_per_step: int, rank: int = 0, world: int = 1) -> Iterator[PoolBatch]:
        """The batches of steps start..stop-1 of one of `world` processes, each made while the step before runs.

        Args:
            start: first step.
            stop: one past the last step.
            rows_per_step: rows that each process draws per step.
            rank: this process.
            world: number of processes.
        """
        order = PoolOrder(self.tokens.lengths, rows_per_step * world, self.seed)
        ahead: Future[PoolBatch] | None = None
        try:
            for step in range(start, stop):
                batch = (ahead or self._ahead(order, step, rank, world)).result()
                ahead = self._ahead(order, step + 1, rank, world) if step + 1 < stop else None
                yield batch
        finally:
            if ahead is not None:
                wait([ahead])  # a fast tokenizer is not for two threads at once

    def _ahead(self, order: PoolOrder, step: int, rank: int, world: int) -> Future[PoolBatch]:
        # The thread ends with its one batch: an interrupted training, which no event tells of, leaves none behind.
        executor = ThreadPoolExecutor(1, thread_name_prefix="textpl-pool")
        batch = executor.submit(self._batch, order, step, rank, world)
        executor.shutdown(wait=False)
        return batch

    def _batch(self, order: PoolOrder, step: int, rank: int, world: int) -> PoolBatch:
        rows, epochs = (part[rank::world] for part in order.draw(step))
        seen = [self._seen(rows, epochs, view) for view in range(len(self.views))]
        gold = None if self._gold is None else torch.from_numpy(self._gold[rows])
        return PoolBatch(torch.from_numpy(rows), (self.tokens.batch(rows), *seen), gold)

    def _seen(self, rows: np.ndarray, epochs: np.ndarray, view: int) -> dict[str, Tensor]:
        """Model inputs of a view of some rows, each in its epoch."""
        batch = self.dataset.select_columns(list(self.text_columns))[rows]
        seen = []
        for part, column in enumerate(self.text_columns):
            # The first view of a single text is numbered by row and epoch alone.
            stream = (part, view) if view else (part,) if len(self.text_columns) > 1 else ()
            draws = [row_rng(self.seed, int(row), int(epoch), *stream) for row, epoch in zip(rows, epochs, strict=True)]
            seen.append([self.views[view](text, rng) for text, rng in zip(batch[column], draws, strict=True)])
        return self.tokens.pad(self.tokenizer(*seen, truncation=True, max_length=self.max_length, padding=False))


def as_views(view: View | Sequence[View] | None) -> tuple[View, ...]:
    """One view, several or none as a tuple."""
    if view is None:
        return ()
    return tuple(view) if isinstance(view, Sequence) else (view,)


def _texts(dataset: datasets.Dataset, columns: Sequence[str]) -> Iterator[str]:
    for batch in dataset.select_columns(list(columns)).iter(batch_size=1_000):
        for texts in batch.values():
            yield from texts


def _text_columns(dataset: Any, wanted: tuple[str, ...], views: tuple[View, ...]) -> tuple[str, ...]:
    """The wanted columns; () where the dataset is tokenised instead."""
    if not isinstance(dataset, datasets.Dataset):
        remedy = (
            "a streaming dataset cannot be drawn at random or resumed; make it a file first: "
            "datasets.Dataset.from_generator(lambda: iter(stream))"
            if isinstance(dataset, datasets.IterableDataset)
            else "build one with datasets.Dataset.from_dict({'text': texts})"
        )
        raise ValueError(f"The unlabelled data must be a datasets.Dataset, not {type(dataset).__name__}: {remedy}.")
    missing = [name for name in wanted if name not in dataset.column_names]
    if not missing:
        return wanted
    if "input_ids" in dataset.column_names:
        if views:
            raise ValueError(
                f"The pool is already tokenised, so the view {views[0]} cannot change its texts: give the text column, "
                "or pass view=None (the same text, with dropout)."
            )
        return ()
    strings = [
        name
        for name, feature in dataset.features.items()
        if getattr(feature, "dtype", "") in ("string", "large_string") and name not in ("label", "labels", "gold")
    ]
    raise ValueError(
        f"The unlabelled dataset has no column {missing[0]!r} (columns: {dataset.column_names}). "
        + (f"Name the text column: text_column={strings[0]!r}." if strings else "None of them holds texts.")
    )
