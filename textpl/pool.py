"""The unlabelled pool: tokenised once, drawn in an order that is a pure function of (seed, step)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import datasets
import numpy as np
import torch
from torch import Tensor

from textpl.components.views import View, row_rng
from textpl.inference import longest_input, pad
from textpl.reading.probabilities import read_probabilities_column
from textpl.tokens import Tokens, non_empty_ids, non_empty_rows, tokenize
from textpl.unknown_tokens import warn_of_unknown

logger = logging.getLogger(__name__)

# Steps whose rows are sorted by length together: near enough in length to need hardly any padding, and still
# close to a random order.
WINDOW_STEPS = 100


@dataclass
class PoolBatch:
    """The pool rows of one step.

    Attributes:
        rows: pool rows, int64 (rows,).
        weak: model inputs of the unchanged texts, (rows, tokens) each.
        strong: model inputs of the student's view; the same object as `weak` where the view is the text itself.
        gold: hidden labels, (rows,) or (rows, labels); None where the pool has none.
    """

    rows: Tensor
    weak: dict[str, Tensor]
    strong: dict[str, Tensor]
    gold: Tensor | None


class Pool:
    """Unlabelled rows ready to be drawn.

    Args:
        dataset: a `datasets.Dataset` with a text column, or with `input_ids` (and `attention_mask`).
        tokenizer: the Trainer's tokenizer; only a tokenised dataset can do without.
        text_column: name of the text column.
        max_length: longest row in tokens; longer ones are cut.
        view: what the student sees; None for the same text.
        pad_token_id: id that fills shorter rows.
        seed: seed of order and views.

    Raises:
        ValueError: for an empty pool, a missing or non-string text, a missing column, or a view on a tokenised pool.
    """

    def __init__(
        self,
        dataset: datasets.Dataset,
        *,
        tokenizer: Any,
        text_column: str,
        max_length: int,
        view: View | None,
        pad_token_id: int,
        seed: int,
    ) -> None:
        self.text_column = _text_column(dataset, text_column, view)
        dataset = dataset.with_format(None)  # whatever form the user reads it in
        self.seed, self.max_length = seed, max_length
        self._kept: np.ndarray | None = None
        if self.text_column:
            kept = non_empty_rows(dataset, self.text_column)
            if len(kept) < len(dataset):
                logger.warning(
                    "%d of %d unlabelled texts are blank and are left out.", len(dataset) - len(kept), len(dataset)
                )
                dataset, self._kept = dataset.select(kept), kept
            if tokenizer is None:
                raise ValueError("The pool is text: give the Trainer its tokenizer (processing_class=tokenizer).")
        else:
            self._kept = non_empty_ids(dataset)
            dataset = dataset.select(self._kept)
        if len(dataset) == 0:
            raise ValueError("The unlabelled dataset has no row with text in it: there is nothing to learn from.")
        self.dataset = dataset
        # A copy: truncation settings live inside a fast tokenizer, and batches are made on another thread.
        self.tokenizer = copy.deepcopy(tokenizer)
        self.tokens = tokenize(dataset, self.text_column, self.tokenizer, max_length, pad_token_id)
        if self.text_column:
            warn_of_unknown(self.tokenizer, dataset[self.text_column], "The model's tokenizer")
        self.view = view.fit(_texts(dataset, self.text_column)) if view is not None and self.text_column else None
        self._gold = self.column("gold") if "gold" in dataset.column_names else None
        if self._gold is not None and self._gold.dtype.kind not in "iufb":
            raise ValueError(
                "Column 'gold' must hold class ids or multi-hot lists (it is used for the logged precision only), not "
                f"{self._gold[:3].tolist()}: encode it, or drop it with dataset.remove_columns('gold')."
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

    def token_ids(self, tokenizer: Any = None, config: Any = None) -> Tokens:
        """Token ids of all rows: the student's, or those of another tokenizer, cut to what its model allows."""
        if tokenizer is None:
            return self.tokens
        if self.text_column is None:
            raise ValueError("A teacher with its own tokenizer needs the pool's texts, but the pool is tokenised.")
        longest = longest_input(tokenizer, config)
        return tokenize(self.dataset, self.text_column, tokenizer, longest, tokenizer.pad_token_id)

    def tokenize(self, dataset: datasets.Dataset, text_column: str) -> Tokens:
        """Token ids of other rows, labelled ones say, as the pool's: from `input_ids` where they are tokenised."""
        column = None if "input_ids" in dataset.column_names else text_column
        if column is not None and (column not in dataset.column_names or self.tokenizer is None):
            raise ValueError(
                f"The labelled rows have neither 'input_ids' nor a text column {column!r} that a tokenizer could read: "
                f"their columns are {dataset.column_names}."
            )
        return tokenize(dataset, column, self.tokenizer, self.max_length, self.tokens.pad_token_id)

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
        weak = pad(self.tokens.read(rows), self.tokens.pad_token_id)
        strong = weak
        if self.view is not None:
            texts = self.dataset.select_columns([self.text_column])[rows][self.text_column]
            seen = [
                self.view(t, row_rng(self.seed, int(r), int(e))) for t, r, e in zip(texts, rows, epochs, strict=True)
            ]
            encoded = self.tokenizer(seen, truncation=True, max_length=self.max_length, padding=False)
            strong = pad(encoded["input_ids"], self.tokens.pad_token_id)
        gold = None if self._gold is None else torch.from_numpy(self._gold[rows])
        return PoolBatch(torch.from_numpy(rows), weak, strong, gold)


class PoolOrder:
    """Which rows a step draws: shuffled epochs, in blocks of similar length.

    An epoch is a permutation cut into windows of `WINDOW_STEPS` steps; each window is sorted by length and its
    blocks are shuffled. The rest that fills no step is left out (another one each epoch). A pool smaller than a step
    is repeated.

    Args:
        lengths: tokens of each row, (rows,).
        rows_per_step: rows drawn per step, over all processes.
        seed: seed of the order.
    """

    def __init__(self, lengths: np.ndarray, rows_per_step: int, seed: int) -> None:
        self.lengths, self.rows_per_step, self.seed = lengths, rows_per_step, seed
        self._cached: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def draw(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of a step and the epoch (how often a row has been through) of each, int64 (rows_per_step,)."""
        size, pool = self.rows_per_step, len(self.lengths)
        if pool < size:
            per_step = -(-size // pool)
            epochs = np.repeat(np.arange(step * per_step, (step + 1) * per_step), pool)[:size]
            orders = [self._permutation(step * per_step + i) for i in range(per_step)]
            return np.concatenate(orders)[:size], epochs
        steps = pool // size
        epoch, block = divmod(step, steps)
        if self._cached[0] != epoch:
            self._cached = (epoch, self._epoch(epoch, steps))
        return self._cached[1][block * size : (block + 1) * size], np.full(size, epoch)

    def _permutation(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))

    def _epoch(self, epoch: int, steps: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch, 1])
        size = self.rows_per_step
        rows = self._permutation(epoch)[: steps * size]
        for start in range(0, len(rows), WINDOW_STEPS * size):
            window = rows[start : start + WINDOW_STEPS * size]
            by_length = window[np.argsort(self.lengths[window], kind="stable")].reshape(-1, size)
            rows[start : start + WINDOW_STEPS * size] = rng.permutation(by_length).reshape(-1)
        return rows


def _texts(dataset: datasets.Dataset, column: str) -> Iterator[str]:
    for batch in dataset.select_columns([column]).iter(batch_size=1_000):
        yield from batch[column]


def _text_column(dataset: Any, wanted: str, view: View | None) -> str | None:
    if not isinstance(dataset, datasets.Dataset):
        remedy = (
            "a streaming dataset cannot be drawn at random or resumed; make it a file first: "
            "datasets.Dataset.from_generator(lambda: iter(stream))"
            if isinstance(dataset, datasets.IterableDataset)
            else "build one with datasets.Dataset.from_dict({'text': texts})"
        )
        raise ValueError(f"The unlabelled data must be a datasets.Dataset, not {type(dataset).__name__}: {remedy}.")
    if wanted in dataset.column_names:
        return wanted
    if "input_ids" in dataset.column_names:
        if view is not None:
            raise ValueError(
                f"The pool is already tokenised, so the view {view} cannot change its texts: give the text column, "
                "or pass view=None (the same text, with dropout)."
            )
        return None
    strings = [
        name
        for name, feature in dataset.features.items()
        if getattr(feature, "dtype", "") in ("string", "large_string") and name not in ("label", "labels", "gold")
    ]
    raise ValueError(
        f"The unlabelled dataset has no column {wanted!r} (columns: {dataset.column_names}). "
        + (f"Name the text column: text_column={strings[0]!r}." if strings else "None of them holds texts.")
    )
