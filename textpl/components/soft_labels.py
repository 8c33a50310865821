"""A dataset-level cache of teacher logits (methods: Hinton et al. 2015; PET's soft labels).

Logits are stored, not probabilities, so that the temperature can change later; float16, one file per
(texts, teacher weights, tokenizer and length), 2 bytes x rows x labels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch

from textpl.components.label_order import REMEDY, has_default_names, in_model_order
from textpl.components.step import Run
from textpl.inference import predict_logits
from textpl.models import load_finished


def load_teacher(source: Any, tokenizer: Any) -> tuple[torch.nn.Module, Any]:
    """A loaded model as it is, an id or folder with its own tokenizer; see `load_finished` for what is refused."""
    if isinstance(source, torch.nn.Module):
        return source, tokenizer
    model, own = load_finished(str(source))
    return model, tokenizer or own


def same_label_order(config: Any, label_names: list[str], names: Sequence[str] | None = None) -> list[int]:
    """Index of each student label among the teacher's.

    Args:
        config: the teacher's.
        label_names: the student's.
        names: the teacher's, where its config has only default names.

    Raises:
        ValueError: if the two do not have the same labels, or only one of them has names.
    """
    theirs = [str(config.id2label[i]) for i in range(config.num_labels)] if names is None else list(names)
    unnamed = has_default_names(theirs) and not has_default_names(label_names)
    try:
        if len(theirs) != config.num_labels or len(theirs) != len(label_names):
            raise ValueError(f"{config.num_labels} outputs, {len(theirs)} names, {len(label_names)} labels")
        order = in_model_order(np.arange(len(theirs))[None], None if unnamed else theirs, label_names, "It", REMEDY)
    except ValueError as error:
        raise ValueError(
            f"The teacher's labels {theirs} are not the student's {label_names}: set config.id2label of both models "
            "alike, as their outputs are matched by name (for a teacher with default names, label_names=[...] of "
            "FrozenTeacher and distillation gives the order of its outputs)."
        ) from error
    return order[0].tolist()


def cached_logits(model: Any, tokenizer: Any, run: Run, batch_size: int, cache_dir: str | Path | None) -> np.ndarray:
    """Logits of `model` for every pool row, from the cache when they are there.

    Returns:
        read-only memory-mapped float16 array of shape (pool rows, labels).
    """
    sequences = run.pool.token_ids(tokenizer, model)
    folder = Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "textpl-logits")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{_key(sequences.fingerprint, model, run.precision)}.npy"
    if not file.exists():
        device = next(run.model.parameters()).device
        home = next(model.parameters()).device
        logits = predict_logits(
            model.to(device),
            len(sequences),
            sequences.batch,
            sequences.lengths,
            batch_size=batch_size,
            precision=run.precision,
            description="teacher logits",
        )
        model.to(home)
        # Every process of a distributed run computes the same file; the rename makes the last one win unharmed.
        partial = file.with_name(f"{file.stem}.{os.getpid()}.partial.npy")
        np.save(partial, logits)
        os.replace(partial, file)
    return np.load(file, mmap_mode="r")


def _key(fingerprint: str, model: Any, precision: torch.dtype | None) -> str:
    digest = hashlib.sha256(f"{fingerprint}|{model.config.to_json_string()}|{precision}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
