"""Nearest rows by cosine similarity, exactly: blocks of a matrix product and a running best-of list.

More candidates than asked for are kept, and their similarities are recomputed row by row in float32. On processors
with fast bfloat16 the product is taken in it. A bound on what rounding can have done then tells for every row whether
a neighbour may have been lost; such rows are searched again with a float32 product.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from textpl.inference import bf16_pays
from textpl.progress import progress_bar

SPARE = 22  # candidates kept beyond k: none of 2,000 AG News rows then needs the second search, at k = 10 or 50
TIE = 1e-6  # similarities closer than this are equal in float32
SHORTEST = 1e-30  # a row below this length has no direction that float32 can hold
BLOCKS = {"cpu": (512, 32768), "cuda": (2048, 131072)}  # rows x columns of similarities at a time


class UnitRows:
    """The rows of a matrix, normalised as they are read, so that a memory-mapped matrix stays on disk.

    Args:
        vectors: real numbers of shape (n, d).

    Attributes:
        live: int64, the rows that are not zero vectors.

    Raises:
        ValueError: if `vectors` is no matrix of real numbers, or a row holds NaN or infinity.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = np.asarray(vectors)
        if self.vectors.ndim != 2 or self.vectors.dtype.kind not in "fiu":
            raise ValueError(
                f"Vectors must be a matrix of real numbers, one row per text; got an array of shape "
                f"{self.vectors.shape} and type {self.vectors.dtype}."
            )
        lengths = np.empty(len(self.vectors))
        for start, stop in spans(len(self.vectors), 8192):
            block = self.vectors[start:stop].astype(np.float64)
            lengths[start:stop] = np.sqrt(np.einsum("nd,nd->n", block, block))
        broken = np.flatnonzero(~np.isfinite(lengths))
        if len(broken):
            raise ValueError(
                f"{len(broken)} rows hold NaN, infinity or numbers too large, the first is row {broken[0]}; "
                "encode them again or drop them."
            )
        self.live = np.flatnonzero(lengths > SHORTEST)
        self.is_unit = bool(np.all((np.abs(lengths - 1) <= TIE) | (lengths <= SHORTEST)))
        self._scale = np.zeros(len(lengths), dtype=np.result_type(self.vectors.dtype, np.float32))
        self._scale[self.live] = 1 / lengths[self.live]

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: np.ndarray | slice) -> np.ndarray:
        """Those rows, float32 of length 1 (zero vectors stay zero), shape (rows, d)."""
        return (self.vectors[rows] * self._scale[rows, None]).astype(np.float32, copy=False)


def spans(n: int, size: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of blocks that cover n rows."""
    return ((start, min(start + size, n)) for start in range(0, n, size))


def get_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_type(device: torch.device) -> torch.dtype:
    """What the large products are taken in.

    GPUs are fast enough in float32, and may add up bfloat16 products in bfloat16, which the bound does not cover.
    """
    return torch.bfloat16 if device.type == "cpu" and bf16_pays(device) else torch.float32


def top_columns(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`scores.topk(k)` for wide matrices, several times faster on a processor.

    The columns are put into groups. The k groups with the largest maxima contain k largest values, so only their
    columns (and the few in no group) are looked at one by one.

    Args:
        scores: shape (rows, columns), k <= columns.
        k: how many.

    Returns:
        Values and columns, both of shape (rows, k), largest first.
    """
    rows, columns = scores.shape
    # Groups plus members of k groups are fewest near sqrt(columns / k); a power of two keeps the blocks aligned.
    members = 2 ** max(0, round(np.log2(max(columns / max(k, 1), 1)) / 2))
    groups = columns // members
    if members == 1 or groups <= k:
        return scores.topk(k)
    grouped = scores[:, : members * groups].unflatten(1, (members, groups))
    best = grouped.amax(1).topk(k, sorted=False).indices[:, None].expand(rows, members, k)
    values = torch.cat([grouped.gather(2, best).flatten(1), scores[:, members * groups :]], 1)
    offsets = torch.arange(members, device=scores.device)[:, None] * groups
    rest = torch.arange(members * groups, columns, device=scores.device).expand(rows, -1)
    places = torch.cat([(best + offsets).flatten(1), rest], 1)
    values, which = values.topk(k)
    return values, places.gather(1, which)


def rerank(
    queries: UnitRows, rows: np.ndarray, base: UnitRows, ids: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of given candidates by float32 similarity; equals go by row number.

    Args:
        queries: holds the rows that search.
        rows: int64 (q,), which they are.
        base: holds the rows that are found.
        ids: integer (q, c), candidates of each; -1 for none.
        k: how many are kept, at most c.

    Returns:
        int32 ids and float32 similarities of shape (q, k); -1 and 0 where there are fewer.
    """
    best = np.full((len(rows), k), -1, dtype=np.int32)
    sims = np.zeros((len(rows), k), dtype=np.float32)
    for start, stop in spans(len(rows), 512):
        found = np.sort(ids[start:stop], axis=1)
        vectors = base.take(found.ravel()).reshape(*found.shape, -1)
        # One fixed order of summation: equal rows get equal similarities, unlike with a matrix product.
        near = np.einsum("qcd,qd->qc", vectors, queries.take(rows[start:stop]))
        near[found < 0] = -np.inf
        order = np.argsort(-near, axis=1, kind="stable")[:, :k]
        best[start:stop] = np.take_along_axis(found, order, 1)
        sims[start:stop] = np.take_along_axis(near, order, 1)
    sims[best < 0] = 0
    return best, sims


def exact_search(
    queries: UnitRows,
    rows: np.ndarray,
    base: UnitRows,
    k: int,
    *,
    exclude: bool,
    progress: bool,
    description: str,
    precision: torch.dtype | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `base` most similar to each of some rows.

    Every similarity that is returned, and the j-th largest of the true ones for every j, agree to 1e-6. Memory: a few
    hundred bytes per row and one block of similarities.

    Args:
        queries: holds the rows that search.
        rows: int64 (q,), which they are.
        base: holds the rows that are found.
        k: how many.
        exclude: whether a row is kept from finding the row of its own number in `base`.
        progress: show a progress bar.
        description: text of the bar.
        precision: what products are taken in; None for the fastest.

    Returns:
        int32 ids and float32 similarities of shape (q, k), most similar first; -1 and 0 where there are fewer, and
        for zero vectors.
    """
    device = get_device()
    precision = precision or fast_type(device)
    ids = np.full((len(rows), k), -1, dtype=np.int32)
    sims = np.zeros((len(rows), k), dtype=np.float32)
    places = np.flatnonzero(np.isin(rows, queries.live))
    live, width = rows[places], min(k, len(base))
    if not width or not len(live):
        return ids, sims
    keep = min(k + SPARE, len(base))
    cutoff, error, found = _candidates(queries, live, base, keep, exclude, precision, device, progress, description)
    ids[places, :width], sims[places, :width] = rerank(queries, live, base, found, width)
    if precision == torch.float32 or keep == len(base):
        return ids, sims
    # No row outside the candidates is nearer than the worst candidate seemed, plus what rounding can have taken.
    reach = np.minimum(cutoff + np.minimum(np.abs(cutoff), 1.01) * 2**-8 + error, 1 - TIE)
    unsure = places[sims[places, width - 1] < reach]
    if len(unsure):
        ids[unsure], sims[unsure] = exact_search(
            queries, rows[unsure], base, k, exclude=exclude, progress=progress,
            description=f"{description}, {len(unsure)} close calls again", precision=torch.float32,
        )  # fmt: skip
    return ids, sims


def _candidates(
    queries: UnitRows,
    rows: np.ndarray,
    base: UnitRows,
    keep: int,
    exclude: bool,
    precision: torch.dtype,
    device: torch.device,
    progress: bool,
    description: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The `keep` best rows of `base` as the product sees them.

    Returns:
        The worst similarity among them, (q,); a bound on the error of similarities from rounding the vectors, (q,);
        ids of shape (q, keep), -1 for none.
    """
    height, width = BLOCKS[device.type]
    values = torch.full((len(rows), keep), -torch.inf)
    ids = torch.full((len(rows), keep), -1, dtype=torch.int32)
    error = np.zeros(len(rows), dtype=np.float32)
    dead = np.setdiff1d(np.arange(len(base)), base.live)
    # A fresh matrix of this size for every product would cost as much again in page faults.
    buffer = torch.empty(height * min(width, len(base)), dtype=precision, device=device)
    bar = progress_bar(total=len(rows) * len(base), desc=description, unit="pair", unit_scale=True, shown=progress)
    for left, right in spans(len(base), width):
        columns, column_error = _rounded(base.take(slice(left, right)), precision, device)
        zeros = torch.from_numpy(dead[(dead >= left) & (dead < right)] - left).to(device)
        for start, stop in spans(len(rows), height):
            block, block_error = _rounded(queries.take(rows[start:stop]), precision, device)
            # |q.b - q'.b'| <= |q - q'| |b| + |q'| |b - b'|, lengths 1 and at most 1.01; the last term is summation.
            bound = block_error + 1.01 * column_error.max() + 1.02 * block.shape[1] * 2**-24
            error[start:stop] = np.maximum(error[start:stop], bound.numpy())
            scores = buffer[: len(block) * len(columns)].view(len(block), len(columns))
            torch.mm(block, columns.T, out=scores)
            scores[:, zeros] = -torch.inf
            if exclude:
                own = np.flatnonzero((rows[start:stop] >= left) & (rows[start:stop] < right))
                scores[torch.from_numpy(own), torch.from_numpy(rows[start:stop][own] - left)] = -torch.inf
            top, where = top_columns(scores, min(keep, len(columns)))
            top, where = top.float().cpu(), where.cpu().to(torch.int32) + left
            where[top == -torch.inf] = -1
            both, which = torch.cat([values[start:stop], top], 1).topk(keep)
            values[start:stop] = both
            ids[start:stop] = torch.cat([ids[start:stop], where], 1).gather(1, which)
            bar.update(len(block) * len(columns))
    bar.close()
    return values[:, -1].numpy(), error, ids.numpy()


def _rounded(vectors: np.ndarray, precision: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Vectors in the precision of the product, and how far rounding moved each."""
    exact = torch.from_numpy(vectors)
    rounded = exact.to(precision)
    return rounded.to(device), (exact - rounded.float()).norm(dim=1)
