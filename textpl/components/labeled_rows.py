"""The labeled rows as the Trainer's model will see them: behind the format of a dataset and a data collator."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch

LABEL_KEYS = ("labels", "label", "label_ids")
ROW = "textpl_row"
CHUNK = 256

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Any]]


class Numbered:
    """A map-style dataset whose rows know their number.

    Args:
        dataset: is left as it is.
        dropped: keys that its rows are not to have.
    """

    def __init__(self, dataset: Any, dropped: Sequence[str]) -> None:
        self.dataset, self._dropped = dataset, set(dropped)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        rows = read_rows(self.dataset, indices)
        return [
            {key: value for key, value in row.items() if key not in self._dropped} | {ROW: index}
            for row, index in zip(rows, indices, strict=True)
        ]


def read_rows(dataset: Any, indices: Iterable[int]) -> list[dict[str, Any]]:
    """Rows as a DataLoader reads them: a transform of the dataset is applied."""
    indices = [int(index) for index in indices]
    return dataset.__getitems__(indices) if hasattr(dataset, "__getitems__") else [dataset[i] for i in indices]


def is_transformed(dataset: Any) -> bool:
    """Whether rows are made when they are asked for, so that columns say nothing about them."""
    return not isinstance(dataset, datasets.Dataset) or dataset.format["type"] == "custom"


def label_keys(row: Mapping[str, Any]) -> list[str]:
    """Keys under which a row, or a dataset, keeps labels; the first one counts."""
    return [key for key in LABEL_KEYS if key in row]


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Let what is read here, perhaps by a transform that draws, change nothing of the training that follows."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - what transforms draw from
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


@same_random_numbers()
def seen_rows(dataset: Any, collate: Collate | None, *, tokens: bool = True, count: int | None = None) -> Any:
    """The rows with labels and model inputs in plain columns.

    Args:
        dataset: the labeled rows, map-style.
        collate: the Trainer's data collator, which is asked where the rows have no labels (or only their names, or
            several kinds) or no tokens themselves.
        tokens: whether tokens are needed too.
        count: how many rows are looked at; default: all.

    Returns:
        datasets.Dataset: the dataset itself where its columns are what the model sees; else a copy in memory, with
        those of the stored columns that are no inputs, such as the texts.

    Raises:
        ValueError: for rows without labels.
    """
    dataset = dataset.dataset if isinstance(dataset, Numbered) else dataset
    size = len(dataset) if count is None else min(count, len(dataset))
    first = read_rows(dataset, [0])[0]
    keys = label_keys(first)
    # Of several labels the collator knows which one counts.
    needs_collator = len(keys) != 1 or _is_text(first[keys[0]]) or (tokens and "input_ids" not in first)
    if not is_transformed(dataset) and not (needs_collator and collate is not None):
        return dataset
    columns: dict[str, list[Any]] = {}
    for start in range(0, size, CHUNK):
        rows = read_rows(dataset, range(start, min(start + CHUNK, size)))
        for name, values in _columns(rows, collate if needs_collator else None).items():
            columns.setdefault(name, []).extend(values)
    if not label_keys(columns):
        raise ValueError(f"The rows have no labels: none of {LABEL_KEYS} among their keys {sorted(first)}.")
    seen = datasets.Dataset.from_dict({name: _array(values, name) for name, values in columns.items()})
    if not isinstance(dataset, datasets.Dataset):
        return seen
    stored = dataset.with_format(None).select(range(size))
    kept = [name for name in stored.column_names if name not in columns and name not in LABEL_KEYS]
    return datasets.concatenate_datasets([seen, stored.select_columns(kept)], axis=1) if kept else seen


def _columns(rows: list[dict[str, Any]], collate: Collate | None) -> dict[str, list[Any]]:
    """Labels, lists of whole numbers and texts of some rows; the first two from the batch if there is a collator."""
    found = {name: [_plain(row.get(name)) for row in rows] for name in rows[0] if _is_column(name, rows[0][name])}
    if collate is None:
        return found
    try:
        batch = collate([dict(row) for row in rows])
    except (TypeError, ValueError) as error:
        if not label_keys(rows[0]):
            raise ValueError(
                f"The rows have no labels: none of {LABEL_KEYS} among their keys {sorted(rows[0])}, and the data "
                f"collator makes none: {error}"
            ) from error
        return found  # names that nothing makes numbers of: refused where labels are checked
    mask = batch.get("attention_mask")
    if mask is None and len(rows) > 1:  # nothing tells padding: one row has none
        parts = [_columns([row], collate) for row in rows]
        return {name: [value for part in parts for value in part[name]] for name in parts[0]}
    own = {name: values for name, values in found.items() if name not in LABEL_KEYS and isinstance(values[0], str)}
    return own | _unpadded(batch, None if mask is None else np.asarray(mask).astype(bool))


def _unpadded(batch: Mapping[str, Any], mask: np.ndarray | None) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, tensor in batch.items():
        values = np.asarray(tensor.float() if str(getattr(tensor, "dtype", "")) == "torch.bfloat16" else tensor)
        if name in LABEL_KEYS:
            found[name] = values.tolist()
        elif values.ndim > 1 and values.dtype.kind in "iu" and (mask is None or values.shape[:2] == mask.shape):
            found[name] = [row.tolist() if mask is None else row[mask[i]].tolist() for i, row in enumerate(values)]
    return found


def _is_column(name: str, value: Any) -> bool:
    if name in LABEL_KEYS or isinstance(value, str):
        return True
    array = np.asarray(value) if not isinstance(value, Mapping) and value is not None else np.zeros(0)
    return array.ndim > 0 and (array.size == 0 or array.dtype.kind in "iu")


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _is_text(value: Any) -> bool:
    """Whether this is a name, or a list of names."""
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and any(isinstance(v, str) for v in value))


def _array(values: list[Any], name: str) -> Any:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = [type(value) for value in values]
        odd = next((row for row, kind in enumerate(kinds) if kind is not kinds[0]), 0)
        raise ValueError(
            f"Labeled row {odd} has {name} {values[odd]!r}, row 0 {values[0]!r}: write all rows alike."
        ) from error
