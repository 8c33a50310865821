"""Vectors on disk under the hash of their text: shards that are only ever added, so that readers need no lock."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from textpl.atomic_files import replacing

FORMAT = 1
READ_ROWS = 32_768  # vectors held in memory while a result is put together


def hash_texts(texts: Sequence[str]) -> np.ndarray:
    """128 bits of each text's sha256, dtype S16 (n,)."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16] for text in texts)
    return np.fromiter(digests, dtype="S16", count=len(texts))


class VectorStore:
    """The vectors of one encoder, in a folder of its own.

    A shard is `vectors-<id>.npy`, float32 (rows, d), and `hashes-<id>.npy`, S16 (rows,), of which the second is written
    last: what has no hashes is not read. Files are written under another name and renamed, with ids that no other
    process has.

    Args:
        cache_dir: folder of all stores.
        fingerprint: of the encoder; another one has another folder.
    """

    def __init__(self, cache_dir: Path, fingerprint: str) -> None:
        key = hashlib.sha256(f"{FORMAT}|{fingerprint}".encode()).hexdigest()[:32]
        self.folder = Path(cache_dir) / key
        self.folder.mkdir(parents=True, exist_ok=True)

    def append(self, hashes: np.ndarray, vectors: np.ndarray) -> None:
        """Add a shard: hashes S16 (rows,), vectors float32 (rows, d)."""
        shard = uuid.uuid4().hex
        for kind, array in (("vectors", vectors), ("hashes", hashes)):
            with replacing(self.folder / f"{kind}-{shard}.npy") as partial, partial.open("wb") as file:
                np.save(file, array)

    def remove_halves(self) -> None:
        """Delete what killed processes left; only for who holds the lock, while no other process writes."""
        for file in self.folder.glob(".*.partial"):
            file.unlink(missing_ok=True)
        for file in self.folder.glob("vectors-*.npy"):
            if not file.with_name(file.name.replace("vectors-", "hashes-")).exists():
                file.unlink(missing_ok=True)

    def hashes(self) -> np.ndarray:
        """Hashes of all texts in the store, S16, some perhaps twice (from processes that ran at the same time)."""
        return np.concatenate([np.zeros(0, "S16"), *(_load(file) for file in self._hash_files())])

    def dimensions(self) -> int | None:
        """Length of a vector, None while the store is empty.

        Raises:
            ValueError: if there are vectors of different lengths.
        """
        found = {_load(self._vectors(file), "r").shape[1] for file in self._hash_files()}
        if len(found) > 1:
            raise ValueError(
                f"{self.folder} holds vectors of {sorted(found)} numbers: encoders that differ had the same "
                "fingerprint. Give each its own, and delete this folder."
            )
        return next(iter(found), None)

    def read(self, wanted: np.ndarray) -> np.ndarray:
        """Vectors in the order of `wanted`, S16 (n,), n above 0.

        Returns:
            read-only memory map, float32 (n, d). Its file has no name and goes with the array.

        Raises:
            RuntimeError: if a text is not in the store.
            ValueError: if there are vectors of different lengths, or a file is broken.
        """
        files = self._hash_files()
        stored = [_load(file) for file in files]
        sizes = [len(part) for part in stored]
        known = np.concatenate([np.zeros(0, "S16"), *stored])
        order = np.argsort(known, kind="stable")
        place = np.searchsorted(known, wanted, sorter=order)
        position = order[np.minimum(place, len(order) - 1)] if len(order) else np.zeros(0, np.int64)
        if not len(order) or (known[position] != wanted).any():
            raise RuntimeError(
                f"Vectors are missing from {self.folder}: it must be a folder that all processes share and nobody "
                "empties meanwhile."
            )
        starts = np.cumsum([0, *sizes])
        dimensions = self.dimensions() or 0
        # Written, not filled through the map: a full disk is then an error and not the death of the process.
        with tempfile.TemporaryFile(dir=self.folder) as file:
            for start in range(0, len(wanted), READ_ROWS):
                places = position[start : start + READ_ROWS]
                block = np.empty((len(places), dimensions), np.float32)
                # Sorted, the rows of one shard lie together: the cost does not grow with rows times shards.
                rows = np.argsort(places, kind="stable")
                shards = np.searchsorted(starts, places[rows], side="right") - 1
                ends = np.flatnonzero(np.diff(shards)) + 1
                for shard, inside in zip(shards[[0, *ends]], np.split(rows, ends), strict=True):
                    vectors = _load(self._vectors(files[shard]), "r")
                    block[inside] = vectors[places[inside] - starts[shard]]
                file.write(block.tobytes())
            file.flush()
            return np.memmap(file, dtype=np.float32, mode="r", shape=(len(wanted), dimensions))

    def _hash_files(self) -> list[Path]:
        return sorted(self.folder.glob("hashes-*.npy"))

    @staticmethod
    def _vectors(hash_file: Path) -> Path:
        return hash_file.with_name(hash_file.name.replace("hashes-", "vectors-"))


def _load(file: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    try:
        return np.load(file, mmap_mode=mmap_mode)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} is broken ({error}): delete its folder, and the texts are encoded anew.") from error
