"""Logits of a classifier for many token sequences: by length, with progress, in low precision where it pays."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textpl.progress import progress_bar


def pad(sequences: Sequence[Any], pad_token_id: int) -> dict[str, Tensor]:
    """Token id lists as `input_ids` and `attention_mask`, int64 tensors of shape (rows, longest)."""
    lengths = np.fromiter((len(s) for s in sequences), dtype=np.int64, count=len(sequences))
    ids = np.full((len(sequences), int(lengths.max())), pad_token_id, dtype=np.int64)
    mask = np.arange(ids.shape[1]) < lengths[:, None]
    ids[mask] = np.concatenate([np.asarray(s) for s in sequences])
    return {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}


def trim(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Cut the columns on the right that are padding in every row."""
    longest = int(inputs["attention_mask"].sum(1).max())
    return {name: tensor[:, :longest] for name, tensor in inputs.items()}


def chunked(inputs: dict[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    """Cut a batch into trimmed batches of at most `size` rows."""
    rows = len(inputs["input_ids"])
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
    read: Callable[[np.ndarray], Sequence[Any]],
    lengths: np.ndarray,
    *,
    pad_token_id: int,
    batch_size: int,
    precision: torch.dtype | None = None,
    description: str = "predicting",
    disable_progress: bool = False,
) -> np.ndarray:
    """Logits of `rows` token sequences, longest first (memory runs out at once or never).

    Args:
        model: a sequence-classification model; left in the mode it came in.
        rows: number of sequences.
        read: `read(indices) -> token id lists` of those rows.
        lengths: number of tokens of each row, shape (rows,).
        pad_token_id: id that fills shorter rows.
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
            inputs = {k: v.to(device) for k, v in pad(read(chunk), pad_token_id).items()}
            batch = model(**inputs).logits.float().cpu().numpy()
            if logits is None:
                logits = np.empty((rows, batch.shape[1]), dtype=np.float16)
            logits[chunk] = np.clip(batch, -65504, 65504)
    model.train(was_training)
    return logits if logits is not None else np.empty((0, 0), dtype=np.float16)
