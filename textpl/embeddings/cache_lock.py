"""One run at a time encodes into a store: the others wait, and then find the vectors there."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

import torch
from filelock import FileLock, Timeout

from textpl.embeddings.cache_store import VectorStore

logger = logging.getLogger(__name__)

LOCK = "encoding.lock"
PAUSE = 0.2  # seconds between two attempts


@contextlib.contextmanager
def encoding_lock(store: VectorStore, name: str, rank: int = 0, processes: int = 1) -> Iterator[None]:
    """Hold the lock of a store; of a distributed run rank 0 holds it for all, who must all be here.

    It is a lock of the system's kernel on a file that stays: it ends with the process that holds it, however that
    ends, and no lock is ever stale. On a network file system it holds between machines if the server knows locks (NFS
    4, or 3 with lockd). Where the file system knows none there is none: a text may then be encoded twice, which costs
    time and harms nothing.

    Args:
        store: of the vectors; what killed processes left half done there is removed.
        name: of the encoder, for the one line that says that somebody is waited for.
        rank: of this process.
        processes: of the run.
    """
    # A singleton, so that the thread that holds it may take it again.
    lock = FileLock(store.folder / LOCK, is_singleton=True)
    told = False
    # No rank waits inside a collective call for what may take hours: those time out.
    while not agreed(rank == 0 and _taken(lock, store), processes):
        if rank == 0 and not told:
            logger.warning("Waiting for another process, which encodes texts with %s into %s.", name, store.folder)
            told = True
        time.sleep(PAUSE)
    try:
        yield
    finally:
        if rank == 0:
            lock.release()


def agreed(value: bool, processes: int) -> bool:
    """Tell what rank 0 says, on all processes of a run, which must all ask."""
    if processes == 1:
        return value
    told = [value]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]


def _taken(lock: FileLock, store: VectorStore) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        logger.info("No lock on %s: %s", lock.lock_file, error)
    else:
        if lock.lock_counter == 1:
            store.remove_halves()
    return True
