"""Logits of a classifier for many token sequences: by length, with progress, in low precision where it pays."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textpl.progress import progress_bar

# Inputs that are not read off the rows: the mask is made with the batch, labels are no input.
NOT_READ = ("self", "input_ids", "attention_mask", "labels", "label", "label_ids")


def token_inputs(model: torch.nn.Module) -> tuple[str, ...]:
    """Names of what a model's forward pass takes besides token ids and mask, in its order."""
    base: Any = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    # accelerate replaces `forward` of the instance; the class still has the true signature.
    parameters = inspect.signature(type(base).forward).parameters
    return tuple(name for name in parameters if name not in NOT_READ)


def pad(
    sequences: Sequence[Any] | Mapping[str, Sequence[Any]], pad_token_id: int, fill: Mapping[str, int] | None = None
) -> dict[str, Tensor]:
    """Rows of different length as tensors, padded on the right.

    Args:
        sequences: token id lists; or `input_ids` and other inputs by name, with one number (or several) per token.
        pad_token_id: id that fills shorter rows.
        fill: what fills the other inputs, by name; 0 where it is not told.

    Returns:
        `input_ids`, `attention_mask` and the other inputs, int64 tensors of shape (rows, longest) or (rows, longest,
        numbers per token).
    """
    inputs = sequences if isinstance(sequences, Mapping) else {"input_ids": sequences}
    rows = inputs["input_ids"]
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    padded = {"input_ids": _filled(rows, mask, pad_token_id), "attention_mask": torch.from_numpy(mask.astype(np.int64))}
    others = {name: _filled(v, mask, (fill or {}).get(name, 0)) for name, v in inputs.items() if name != "input_ids"}
    return padded | others


def _filled(rows: Sequence[Any], mask: np.ndarray, value: int) -> Tensor:
    flat = np.concatenate([np.asarray(row) for row in rows])
    filled = np.full((*mask.shape, *flat.shape[1:]), value, dtype=np.int64)
    filled[mask] = flat
    return torch.from_numpy(filled)


def trim(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut the columns on the right that are padding in every row."""
    longest = int(inputs["attention_mask"].sum(1).max())
    return {name: tensor[:, :longest] for name, tensor in inputs.items()}


def chunked(inputs: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    """Cut a batch into trimmed batches of at most `size` rows."""
    rows = len(inputs["attention_mask"])
    return [trim({k: v[i : i + size] for k, v in inputs.items()}) for i in range(0, rows, size)]


def longest_input(tokenizer: Any, config: Any) -> int:
    """Most tokens that tokenizer and model allow in a row."""
    limits = [getattr(tokenizer, "model_max_length", None)]
    positions = getattr(config, "max_position_embeddings", None)
    if positions and positions > 0:
        # RoBERTa numbers positions from 2 on and has two more embeddings than it takes tokens.
        limits.append(positions - 2 if "roberta" in config.model_type else positions)
    return min((limit for limit in limits if limit), default=512)


def bf16_pays(device: torch.device) -> bool:
    """Whether bfloat16 autocast is fast here: a GPU that computes in it, or a processor with AMX or AVX-512 BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def predict_logits(
    model: torch.nn.Module,
    rows: int,
    batch: Callable[[np.ndarray], dict[str, Tensor]],
    lengths: np.ndarray,
    *,
    batch_size: int,
    precision: torch.dtype | None = None,
    description: str = "predicting",
    disable_progress: bool = False,
) -> np.ndarray:
    """Logits of `rows` token sequences, longest first (memory runs out at once or never).

    Args:
        model: a sequence-classification model; left in the mode it came in.
        rows: number of sequences.
        batch: `batch(indices) -> model inputs` of those rows, (indices, tokens) each.
        lengths: number of tokens of each row, shape (rows,).
        batch_size: rows per forward pass.
        precision: autocast dtype, None for full precision.
        description: text of the progress bar.
        disable_progress: no progress bar.

    Returns:
        float16 array of shape (rows, labels).
    """
    device = next(model.parameters()).device
    order = np.argsort(-lengths, kind="stable")
    logits: np.ndarray | None = None
    was_training = model.training
    model.eval()
    autocast: Any = torch.autocast(device.type, dtype=precision) if precision else contextlib.nullcontext()
    with torch.no_grad(), autocast:
        for start in progress_bar(range(0, rows, batch_size), desc=description, shown=not disable_progress):
            chunk = order[start : start + batch_size]
            inputs = {name: tensor.to(device) for name, tensor in batch(chunk).items()}
            found = model(**inputs).logits.float().cpu().numpy()
            if logits is None:
                logits = np.empty((rows, found.shape[1]), dtype=np.float16)
            logits[chunk] = np.clip(found, -65504, 65504)
    model.train(was_training)
    return logits if logits is not None else np.empty((0, 0), dtype=np.float16)
