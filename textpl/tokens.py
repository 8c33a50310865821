"""Token ids of many texts, computed once and memory-mapped: a million short texts cost a file, not memory."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from torch import Tensor

from textpl.inference import pad

SCAN_ROWS = 10_000

# One column of texts, or two whose texts are read as a pair.
TextColumn = str | Sequence[str]


class Tokens:
    """Read-only view of Arrow files with one list of token ids per row, and other model inputs beside them.

    Attributes:
        lengths: tokens of each row, int32 (rows,).
        full_lengths: the same before any were cut.
        fingerprint: hash of texts, tokenizer and length: the same for the same token ids.
        pad_token_id: id that fills shorter rows of a batch.
        inputs: model inputs beside `input_ids` and the mask, such as `token_type_ids`.
    """

    def __init__(
        self, dataset: datasets.Dataset, fingerprint: str, pad_token_id: int, fill: dict[str, int] | None = None
    ) -> None:
        self.fingerprint, self.pad_token_id, self._fill = fingerprint, pad_token_id, fill or {}
        self.inputs = tuple(name for name in dataset.column_names if name not in ("input_ids", "length"))
        # Offsets and values are views into the memory-mapped file; only row starts are held in memory.
        self._chunks = {name: _chunks(dataset, name) for name in ("input_ids", *self.inputs)}
        self._dataset = [dataset]
        self._at: np.ndarray | None = None  # where a row lies, if not in its place
        self.lengths = _joined([np.diff(offsets) for offsets, _ in self._chunks["input_ids"]])
        self.full_lengths = _joined([c.to_numpy() for c in dataset.data.column("length").chunks])
        self._place_chunks()

    def _place_chunks(self) -> None:
        self._starts = np.cumsum([0] + [len(offsets) - 1 for offsets, _ in self._chunks["input_ids"]])

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Token ids of some rows, one int32 array each."""
        return self._read("input_ids", rows)

    def read_inputs(self, rows: Sequence[int] | np.ndarray) -> dict[str, list[np.ndarray]]:
        """Token ids and the other inputs of some rows, one int32 array each, as `pad` takes them."""
        return {name: self._read(name, rows) for name in self._chunks}

    def batch(self, rows: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """Model inputs of some rows, padded, (rows, tokens) each."""
        return pad(self.read_inputs(rows), self.pad_token_id, self._fill)

    def pad(self, inputs: dict[str, Any]) -> dict[str, Tensor]:
        """The same of tokens from elsewhere that these inputs are made of."""
        return pad({name: inputs[name] for name in self._chunks}, self.pad_token_id, self._fill)

    def _read(self, name: str, rows: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        rows = rows if self._at is None else self._at[rows]
        chunk_of = np.searchsorted(self._starts, rows, side="right") - 1
        found = []
        for row, chunk in zip(rows, chunk_of, strict=True):
            offsets, values = self._chunks[name][chunk]
            i = row - self._starts[chunk]
            found.append(values[offsets[i] : offsets[i + 1]])
        return found

    def replaced(self, rows: np.ndarray, other: Tokens) -> Tokens:
        """These tokens, some of their rows (n,) taken from `other`, n rows with the same inputs."""
        both = copy.copy(self)
        both._chunks = {name: chunks + other._chunks[name] for name, chunks in self._chunks.items()}
        both._dataset = self._dataset + other._dataset
        both._at = np.arange(len(self)) if self._at is None else self._at.copy()
        both._at[rows] = self._starts[-1] + np.arange(len(rows))
        both.lengths = self.lengths.copy()
        both.lengths[rows] = other.lengths
        both.fingerprint = hashlib.sha256(f"{self.fingerprint}|{other.fingerprint}".encode()).hexdigest()[:32]
        both._place_chunks()
        return both


def text_columns(text_column: TextColumn) -> tuple[str, ...]:
    """The columns of a text, or of the two texts of a pair.

    Raises:
        ValueError: for more than two.
    """
    columns = (text_column,) if isinstance(text_column, str) else tuple(text_column)
    if len(columns) not in (1, 2) or not all(isinstance(name, str) for name in columns):
        raise ValueError(
            f"text_column={text_column!r}: the name of one column, or of two whose texts are read as a pair, such as "
            "text_column=('premise', 'hypothesis')."
        )
    return columns


def non_empty_rows(dataset: datasets.Dataset, columns: Sequence[str]) -> np.ndarray:
    """Rows of which a text is not blank, int64.

    Raises:
        ValueError: if a text is missing or a column is not of strings; the row is named.
    """
    filled = np.zeros(len(dataset), bool)
    for column in columns:
        feature = dataset.features[column]
        if getattr(feature, "dtype", None) not in ("string", "large_string"):
            raise ValueError(
                f"Column {column!r} holds {feature}, not strings: choose the text column with text_column=..., "
                "or cast it: dataset.cast_column(name, datasets.Value('string'))."
            )
        for start, texts in _scan(dataset, column):
            missing = np.flatnonzero(texts.is_null().to_numpy(zero_copy_only=False))
            if len(missing):
                raise ValueError(
                    f"Column {column!r}, row {start + missing[0]}: the text is missing (None or NaN). Drop such rows, "
                    f"dataset.filter(lambda row: row[{column!r}] is not None)."
                )
            present = pc.not_equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)
            filled[start : start + len(texts)] |= present.to_numpy(zero_copy_only=False)
    return np.flatnonzero(filled)


def non_empty_ids(dataset: datasets.Dataset) -> np.ndarray:
    """Rows of an already tokenised dataset that have tokens, int64."""
    kept = [
        start + np.flatnonzero(pc.list_value_length(ids).to_numpy() > 0) for start, ids in _scan(dataset, "input_ids")
    ]
    return np.concatenate(kept) if kept else np.zeros(0, np.int64)


def made_inputs(tokenizer: Any, accepted: Sequence[str], texts: int) -> tuple[str, ...]:
    """What a tokenizer makes beside ids and mask, and a model takes.

    Segment ids that are 0 everywhere are left out: models take that for granted.

    Args:
        tokenizer: of transformers.
        accepted: names of the model's inputs, see `token_inputs`.
        texts: that are read together, 1 or 2.
    """
    encoded = tokenizer(*[["a"]] * texts)
    return tuple(name for name in accepted if name in encoded and (name != "token_type_ids" or any(encoded[name][0])))


def stored_inputs(dataset: datasets.Dataset, accepted: Sequence[str]) -> tuple[str, ...]:
    """Columns of a tokenised dataset that a model takes beside ids and mask: for each token a whole number, or several.

    Segment ids that are 0 everywhere are left out: models take that for granted.

    Raises:
        ValueError: for rows that have another number of them than of tokens; the row is named.
    """
    found = [name for name in accepted if name in dataset.column_names and _is_per_token(dataset.features[name])]
    for name in found:
        for (start, values), (_, ids) in zip(_scan(dataset, name), _scan(dataset, "input_ids"), strict=True):
            has, needs = (pc.fill_null(pc.list_value_length(x), 0).to_numpy() for x in (values, ids))
            if len(odd := np.flatnonzero(has != needs)):
                raise ValueError(
                    f"Column {name!r}, row {start + odd[0]}: {has[odd[0]]} values for {needs[odd[0]]} tokens. The "
                    f"model takes one per token: mend it, or leave it out, dataset.remove_columns({name!r})."
                )
    return tuple(name for name in found if name != "token_type_ids" or _any_other_than_0(dataset, name))


def tokenize(
    dataset: datasets.Dataset,
    columns: Sequence[str],
    tokenizer: Any,
    max_length: int,
    pad_token_id: int,
    inputs: Sequence[str] = (),
) -> Tokens:
    """Tokens of one column of texts, of two that are read as a pair, or of `input_ids` where none is named.

    Padding is removed, rows are cut to `max_length`. The result is cached beside the datasets cache under a hash of
    the contents, the tokenizer and the length.

    Args:
        dataset: the rows.
        columns: of texts; () for a tokenised dataset.
        tokenizer: of transformers; a tokenised dataset can do without.
        max_length: longest row in tokens.
        pad_token_id: id that fills shorter rows of a batch.
        inputs: what to keep beside the ids, see `made_inputs` and `stored_inputs`.
    """
    name = datasets.fingerprint.Hasher.hash(tokenizer) if columns else ""
    described = "|".join(
        [*(columns or ["input_ids"]), name, str(max_length), getattr(tokenizer, "truncation_side", "")]
    )
    settings = "|".join([described, "1", *inputs])
    mask = [] if columns or "attention_mask" not in dataset.column_names else ["attention_mask"]
    read = list(columns) or ["input_ids", *mask, *inputs]
    contents = "|".join(content_hash(dataset, column) for column in read)
    fingerprint = hashlib.sha256(f"{contents}|{settings}".encode()).hexdigest()[:32]
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "textpl-tokens"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{fingerprint}-2.arrow"  # 2: with the lengths before anything was cut
    if not file.exists():
        mapped = dataset.map(
            _tokenize_batch if columns else _strip_batch,
            batched=True,
            remove_columns=dataset.column_names,
            fn_kwargs={"columns": list(columns), "tokenizer": tokenizer, "max_length": max_length, "inputs": inputs}
            if columns
            else {"max_length": max_length, "inputs": inputs},
            features=_features(dataset, columns, inputs),
            cache_file_name=f"{file}.{os.getpid()}.partial",
            new_fingerprint=fingerprint,
            keep_in_memory=False,
            desc="tokenizing the pool",
        )
        del mapped
        os.replace(f"{file}.{os.getpid()}.partial", file)
    # Segments of padding: 0 but for XLNet and its like, which say so.
    fill = {"token_type_ids": getattr(tokenizer, "pad_token_type_id", None) or 0}
    return Tokens(datasets.Dataset.from_file(str(file)), fingerprint, pad_token_id, fill)


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


def _chunks(dataset: datasets.Dataset, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Row offsets and values (tokens,) or (tokens, width) of the chunks of a column of lists."""
    found = []
    for chunk in dataset.data.column(name).chunks:
        if not len(chunk):
            continue
        values = chunk.values
        if pa.types.is_fixed_size_list(values.type):
            numbers = values.flatten().to_numpy().reshape(-1, values.type.list_size)
        else:
            numbers = values.to_numpy()
        found.append((chunk.offsets.to_numpy(), numbers))
    return found


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


def _is_per_token(feature: Any) -> bool:
    inner = feature.feature if isinstance(feature, (datasets.List, datasets.LargeList)) else None
    inner = inner.feature if isinstance(inner, (datasets.List, datasets.LargeList)) else inner
    return isinstance(inner, datasets.Value) and "int" in inner.dtype


def _any_other_than_0(dataset: datasets.Dataset, column: str) -> bool:
    return any(pc.any(pc.not_equal(pc.list_flatten(values), 0)).as_py() for _, values in _scan(dataset, column))


def _features(dataset: datasets.Dataset, columns: Sequence[str], inputs: Sequence[str]) -> datasets.Features:
    number = datasets.Value("int32")
    features = {"input_ids": datasets.List(number), **dict.fromkeys(inputs, datasets.List(number)), "length": number}
    for name in () if columns else inputs:
        if not isinstance(dataset.features[name].feature, datasets.Value):  # several numbers per token, such as a box
            features[name] = datasets.List(datasets.List(number, length=len(dataset[0][name][0])))
    return datasets.Features(features)


def _tokenize_batch(
    batch: dict[str, list], columns: list[str], tokenizer: Any, max_length: int, inputs: Sequence[str]
) -> dict[str, list]:
    texts = [batch[column] for column in columns]
    # Not cut at first, to know how much there is; `verbose` would warn of rows that are about to be cut.
    encoded = tokenizer(*texts, truncation=False, padding=False, verbose=False)
    found = {name: list(encoded[name]) for name in ("input_ids", *inputs)}
    lengths = [len(ids) for ids in found["input_ids"]]
    if long := [row for row, length in enumerate(lengths) if length > max_length]:
        part = [[column[row] for row in long] for column in texts]
        cut = tokenizer(*part, truncation=True, max_length=max_length, padding=False)
        for name, rows in found.items():
            for row, values in zip(long, cut[name], strict=True):
                rows[row] = values
    return {**found, "length": lengths}


def _strip_batch(batch: dict[str, list], max_length: int, inputs: Sequence[str]) -> dict[str, list]:
    masks = batch.get("attention_mask") or [[1] * len(ids) for ids in batch["input_ids"]]
    found: dict[str, list] = {name: [] for name in ("input_ids", *inputs, "length")}
    for row, mask in enumerate(masks):
        real = [i for i, m in enumerate(mask) if m]
        found["length"].append(len(real))
        # The last token closes the sequence ([SEP], </s>): a cut row keeps it.
        kept = real if len(real) <= max_length else real[: max_length - 1] + real[-1:]
        for name in ("input_ids", *inputs):
            found[name].append([batch[name][row][i] for i in kept])
    return found
