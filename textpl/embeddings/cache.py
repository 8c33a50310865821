"""Encoding what has not been encoded before, on all processes of a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import numpy as np
import torch

from textpl.embeddings.cache_lock import agreed, encoding_lock
from textpl.embeddings.cache_store import VectorStore, hash_texts
from textpl.embeddings.cut_texts import CutTexts, cut_texts, warn_of_cut
from textpl.embeddings.encoder_checks import check_language, checked_texts, checked_vectors
from textpl.progress import progress_bar
from textpl.unknown_tokens import warn_of_unknown

if TYPE_CHECKING:
    from textpl.embeddings.encoders import Encoder

SHARD_ROWS = 2_048  # a killed run loses at most so many vectors per process


def encode_cached(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    cache_dir: str | Path | None = None,
    progress: bool = True,
    on_cut: Callable[[CutTexts], None] = lambda cut: None,
) -> np.ndarray:
    """Vectors of some texts; those of earlier calls come from disk.

    An encoder with a `fingerprint` encodes each distinct new text once, the longest first, and what it has done
    survives a kill. Of several runs at the same time one encodes, the others wait for it (see `encoding_lock`). In a
    distributed run (`accelerate launch`, `torchrun`) every process must call this with the same texts: each encodes its
    share, all read everything, and `cache_dir` must be a folder that they share. An encoder without a fingerprint, such
    as LSA, encodes all texts in one call, in every process.

    Args:
        encoder: see `get_encoder`.
        texts: n strings.
        cache_dir: folder of the vectors; default: beside the datasets cache. Deleting it is safe between runs.
        progress: whether to show a progress bar.
        on_cut: called, in rank 0, with how many texts are longer than the encoder reads, if it says how long that is;
            a warning tells it too.

    Returns:
        float32 (n, d) in the order of `texts`, read-only and memory-mapped where the encoder has a fingerprint. Without
        texts (0, d), where d is 0 unless vectors of the encoder are on disk.

    Raises:
        TypeError: if a text is not a string; the row is named.
        ValueError: if the texts are in a script that the usual encoder does not read; if the encoder returns another
            shape than (texts, d), or NaN or infinite numbers, or vectors of another length than before under the same
            fingerprint.
    """
    found = checked_texts(texts)
    check_language(encoder.name, found)  # in every process: none must wait for one that has ended
    if (cached_in := getattr(encoder, "cached_in", None)) is not None:
        encoder = cached_in(cache_dir)
    fingerprint = getattr(encoder, "fingerprint", None)
    if fingerprint is None:
        _tell_cut(encoder, found, on_cut)
        rows = np.arange(len(found))
        return _encode(encoder, found, rows, progress) if found else np.zeros((0, 0), np.float32)
    store = VectorStore(
        Path(cache_dir or Path(datasets.config.HF_DATASETS_CACHE) / "textpl-embeddings"), str(fingerprint)
    )
    if not found:
        return np.zeros((0, store.dimensions() or 0), np.float32)
    rank, processes = _place_among_processes()
    if rank == 0:
        if (tokenizer := getattr(encoder, "tokenizer", None)) is not None:
            warn_of_unknown(tokenizer, found, f"The encoder {encoder.name}")
        _tell_cut(encoder, found, on_cut)
    hashes = hash_texts(found)
    if agreed(len(_missing(store, hashes)) > 0, processes):
        with encoding_lock(store, encoder.name, rank, processes):
            missing = _missing(store, hashes)  # who was waited for may have encoded some
            # By hash, not by position: a process that looks later finds less missing, and shares must not shift.
            share = missing[hashes[missing].view(np.uint64)[::2] % processes == rank]
            _encode_into(store, encoder, found, hashes, share, progress and rank == 0)
            if processes > 1:
                torch.distributed.barrier()
    return store.read(hashes)


def _tell_cut(encoder: Encoder, texts: list[str], on_cut: Callable[[CutTexts], None]) -> None:
    cut = cut_texts(encoder, texts)
    warn_of_cut(cut)
    if cut is not None:
        on_cut(cut)


def _missing(store: VectorStore, hashes: np.ndarray) -> np.ndarray:
    """The first row of every distinct text that is not in the store, int64."""
    distinct, first = np.unique(hashes, return_index=True)
    return first[~np.isin(distinct, store.hashes())]


def _encode_into(
    store: VectorStore, encoder: Encoder, texts: list[str], hashes: np.ndarray, rows: np.ndarray, progress: bool
) -> None:
    lengths = np.fromiter((len(texts[row]) for row in rows), dtype=np.int64, count=len(rows))
    rows = rows[np.argsort(-lengths, kind="stable")]
    with progress_bar(total=len(rows), desc=f"encoding with {encoder.name}", shown=progress and len(rows) > 0) as bar:
        for start in range(0, len(rows), SHARD_ROWS):
            shard = rows[start : start + SHARD_ROWS]
            store.append(hashes[shard], _encode(encoder, [texts[row] for row in shard], shard, False))
            bar.update(len(shard))


def _encode(encoder: Encoder, texts: list[str], rows: np.ndarray, progress: bool) -> np.ndarray:
    return checked_vectors(encoder.encode(texts, progress=progress), encoder.name, rows)


def _place_among_processes() -> tuple[int, int]:
    """This process's rank and the number of processes, which accelerate connects if nobody has yet."""
    if not torch.distributed.is_available():
        return 0, 1
    # A single process needs no state, and making one would fix the device of every later Accelerator.
    if not torch.distributed.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState(cpu=not torch.accelerator.is_available())
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
