"""Token ids of many texts, computed once and memory-mapped: a million short texts cost a file, not memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SCAN_ROWS = 10_000


class Tokens:
    """Read-only view of an Arrow file with one list of token ids per row.

    Attributes:
        lengths: tokens of each row, int32 (rows,).
        fingerprint: hash of texts, tokenizer and length: the same for the same token ids.
        pad_token_id: id that fills shorter rows of a batch.
    """

    def __init__(self, dataset: datasets.Dataset, fingerprint: str, pad_token_id: int) -> None:
        self.fingerprint, self.pad_token_id = fingerprint, pad_token_id
        chunks = [c for c in dataset.data.column("input_ids").chunks if len(c)]
        # Offsets and values are views into the memory-mapped file; only row starts are held in memory.
        self._offsets = [c.offsets.to_numpy() for c in chunks]
        self._values = [c.values.to_numpy() for c in chunks]
        self._starts = np.cumsum([0] + [len(c) for c in chunks])
        self._dataset = dataset
        self.lengths = np.concatenate([np.diff(o) for o in self._offsets]) if chunks else np.zeros(0, np.int32)

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Token ids of some rows, one int32 array each."""
        chunk_of = np.searchsorted(self._starts, rows, side="right") - 1
        found = []
        for row, chunk in zip(rows, chunk_of, strict=True):
            offsets, i = self._offsets[chunk], row - self._starts[chunk]
            found.append(self._values[chunk][offsets[i] : offsets[i + 1]])
        return found

    def count_in(self, sequences: Iterable[Any]) -> int:
        """How many rows equal one of the given token id lists."""
        wanted = {np.asarray(ids, dtype=np.int32).tobytes() for ids in sequences}
        return sum(ids.tobytes() in wanted for ids in self.read(np.arange(len(self))))


def non_empty_rows(dataset: datasets.Dataset, text_column: str) -> np.ndarray:
    """Rows whose text is not blank, int64.

    Raises:
        ValueError: if a text is missing or the column is not of strings; the row is named.
    """
    feature = dataset.features[text_column]
    if getattr(feature, "dtype", None) not in ("string", "large_string"):
        raise ValueError(
            f"Column {text_column!r} holds {feature}, not strings: choose the text column with text_column=..., "
            "or cast it: dataset.cast_column(name, datasets.Value('string'))."
        )
    kept = []
    for start, texts in _scan(dataset, text_column):
        missing = np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False))
        if len(missing):
            raise ValueError(
                f"Column {text_column!r}, row {start + missing[0]}: the text is missing (None or NaN). Drop such rows, "
                f"dataset.filter(lambda row: row[{text_column!r}] is not None)."
            )
        filled = pc.not_equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
        kept.append(start + np.flatnonzero(filled.to_numpy(zero_copy_only=False)))
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def non_empty_ids(dataset: datasets.Dataset) -> np.ndarray:
    """Rows of an already tokenised dataset that have tokens, int64."""
    kept = [
        start + np.flatnonzero(pc.list_value_length(ids).to_numpy() > 0) for start, ids in _scan(dataset, "input_ids")
    ]
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def tokenize(
    dataset: datasets.Dataset, text_column: str | None, tokenizer: Any, max_length: int, pad_token_id: int
) -> Tokens:
    """Token ids of a text column, or of an `input_ids` column when `text_column` is None.

    Padding is removed, rows are cut to `max_length`. The result is cached beside the datasets cache under a hash of
    the contents, the tokenizer and the length.
    """
    column = text_column or "input_ids"
    name = "" if text_column is None else datasets.fingerprint.Hasher.hash(tokenizer)
    settings = f"{column}|{name}|{max_length}|{getattr(tokenizer, 'truncation_side', '')}|1"
    columns = [column, *(c for c in ("attention_mask",) if not text_column and c in dataset.column_names)]
    contents = "|".join(content_hash(dataset, c) for c in columns)
    fingerprint = hashlib.sha256(f"{contents}|{settings}".encode()).hexdigest()[:32]
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "textpl-tokens"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{fingerprint}.arrow"
    if not file.exists():
        mapped = dataset.map(
            _tokenize_batch if text_column else _strip_batch,
            batched=True,
            remove_columns=dataset.column_names,
            fn_kwargs={"column": column, "tokenizer": tokenizer, "max_length": max_length},
            features=datasets.Features({"input_ids": datasets.List(datasets.Value("int32"))}),
            cache_file_name=f"{file}.{os.getpid()}.partial",
            new_fingerprint=fingerprint,
            keep_in_memory=False,
            desc="tokenising the pool",
        )
        del mapped
        os.replace(f"{file}.{os.getpid()}.partial", file)
    return Tokens(datasets.Dataset.from_file(str(file)), fingerprint, pad_token_id)


def content_hash(dataset: datasets.Dataset, column: str) -> str:
    """Hash of a column's values in order, whatever file or selection they come from."""
    digest = hashlib.sha256(str(len(dataset)).encode())
    for _, values in _scan(dataset, column):
        digest.update(repr(values.to_pylist()).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _scan(dataset: datasets.Dataset, column: str) -> Any:
    view = dataset.select_columns([column]).with_format("arrow")
    for start in range(0, len(dataset), SCAN_ROWS):
        chunked = view[start : start + SCAN_ROWS].column(column)
        yield start, chunked.combine_chunks() if isinstance(chunked, pa.ChunkedArray) else chunked


def _tokenize_batch(batch: dict[str, list], column: str, tokenizer: Any, max_length: int) -> dict[str, list]:
    encoded = tokenizer(batch[column], truncation=True, max_length=max_length, padding=False)
    return {"input_ids": encoded["input_ids"]}


def _strip_batch(batch: dict[str, list], column: str, tokenizer: Any, max_length: int) -> dict[str, list]:
    masks = batch.get("attention_mask")
    if masks is None:
        masks = [[1] * len(ids) for ids in batch[column]]
    rows = []
    for ids, mask in zip(batch[column], masks, strict=True):
        real = [i for i, m in zip(ids, mask, strict=True) if m]
        # The last token closes the sequence ([SEP], </s>): a cut row keeps it.
        rows.append(real if len(real) <= max_length else real[: max_length - 1] + real[-1:])
    return {"input_ids": rows}
