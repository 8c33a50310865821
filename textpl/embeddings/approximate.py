"""Nearest rows by cosine similarity, nearly: rows are put into cells, and search only the cells around their own.

As in an inverted file (Jegou et al. 2011), but all rows of a cell share one list of cells, so that the search is a few
thousand dense matrix products. Neighbours are lost at the borders between cells; another pass with other cells finds
most of them, so passes are added until the recall measured on some exact rows is as wanted.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from textpl.embeddings.exact import UnitRows, exact_search, fast_type, get_device, rerank, spans, top_columns
from textpl.progress import progress_bar

logger = logging.getLogger(__name__)

CELL_ROWS = 250  # rows per cell on average
MAX_CELLS = 8192  # the table of votes has this squared entries
SEARCHED_ROWS = 10_000  # rows that a row is compared to per pass
SAMPLE_PER_CELL = 32  # k-means is run on this many rows per cell
ROUNDS = 5  # of k-means
VOTES = 4  # nearest cells of a row, which count as near its own
SPARE = 6  # candidates kept beyond k, for the float32 similarities to choose from
WANTED_RECALL = 0.96  # .95 and what chance does to the measurement
MAX_PASSES = 6


def approximate_search(
    rows: UnitRows,
    k: int,
    *,
    recall_rows: int,
    seed: int,
    progress: bool,
    cell_rows: int = CELL_ROWS,
    searched_rows: int = SEARCHED_ROWS,
) -> tuple[np.ndarray, np.ndarray, float]:
    """The k most similar other rows of every row, most of them.

    Args:
        rows: the rows.
        k: how many.
        recall_rows: rows that are also searched exactly.
        seed: of the cells and of the choice of those rows.
        progress: show progress bars.
        cell_rows: rows per cell on average.
        searched_rows: rows that a row is compared to per pass.

    Returns:
        int32 ids and float32 similarities of shape (n, k), most similar first, -1 and 0 where there are none; the
        share of the true neighbours found for the exact rows (a row as similar as the k-th counts as found).
    """
    ids = np.full((len(rows), k), -1, dtype=np.int32)
    sims = np.zeros((len(rows), k), dtype=np.float32)
    if len(rows.live) < 2:
        return ids, sims, 1.0
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(rows.live, min(max(recall_rows, 1), len(rows.live)), replace=False))
    true = exact_search(
        rows, sample, rows, k, exclude=True, progress=progress, description="exact rows to measure recall"
    )
    device = get_device()
    vectors = _load(rows, device)
    recall = 0.0
    for turn in range(1, MAX_PASSES + 1):
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        found = _one_pass(vectors, k + SPARE, cell_rows, searched_rows, generator, progress, f"searching, pass {turn}")
        for start, stop in spans(len(found), 8192):
            places = rows.live[start:stop]
            candidates = np.where(found[start:stop] < 0, -1, rows.live[found[start:stop]])
            candidates = _without_repeats(np.concatenate([ids[places], candidates], axis=1))
            ids[places], sims[places] = rerank(rows, places, rows, candidates, k)
        recall = _recall(ids[sample], sims[sample], true)
        logger.info("pass %d: recall %.3f of the %d nearest", turn, recall, k)
        if recall >= WANTED_RECALL:
            break
    return ids, sims, recall


def _recall(ids: np.ndarray, sims: np.ndarray, true: tuple[np.ndarray, np.ndarray]) -> float:
    """Share of the true neighbours, (ids, sorted similarities), that were found, or others as similar."""
    there = true[0] >= 0  # fewer than k where nearly all other rows are zero
    last = np.where(there, true[1], np.inf).min(1, keepdims=True, initial=np.inf)
    found = ((ids >= 0) & (sims >= last - 1e-6)).sum(1)
    return float(np.minimum(found, there.sum(1)).sum() / max(there.sum(), 1))


def _without_repeats(ids: np.ndarray) -> np.ndarray:
    """Each row's ids, sorted; second and further occurrences are -1."""
    ids = np.sort(ids, axis=1)
    ids[:, 1:][ids[:, 1:] == ids[:, :-1]] = -1
    return ids


def _load(rows: UnitRows, device: torch.device) -> Tensor:
    """All live rows in the precision of the products: half the size of the vectors where that is bfloat16."""
    vectors = torch.empty(len(rows.live), rows.vectors.shape[1], dtype=fast_type(device), device=device)
    for start, stop in spans(len(vectors), 8192):
        vectors[start:stop] = torch.from_numpy(rows.take(rows.live[start:stop])).to(device)
    return vectors


def _one_pass(
    vectors: Tensor,
    keep: int,
    cell_rows: int,
    searched_rows: int,
    generator: torch.Generator,
    progress: bool,
    description: str,
) -> np.ndarray:
    """Candidates of every row from the cells around its own: int32 (n, keep), -1 where there are fewer."""
    n = len(vectors)
    cells = min(max(n // cell_rows, 1), MAX_CELLS)
    centroids = _centroids(vectors, cells, generator)
    home, near = _nearby_cells(vectors, centroids, max(2 * searched_rows // cell_rows, 1))
    order = torch.argsort(home, stable=True)
    chunks = _chunks(torch.bincount(home, minlength=cells).cpu().numpy(), 4 * max(cell_rows, n // cells))
    found = torch.full((n, keep), -1, dtype=torch.int32, device=vectors.device)
    for cell, members in enumerate(progress_bar(chunks, desc=description, unit="cell", shown=progress)):
        for turn, (start, stop) in enumerate(members):
            # A cell too large to search as a whole is searched from each chunk on, round to its beginning.
            around = members[turn:] + members[:turn]
            for other in near[cell]:
                if other != cell:
                    around = around + chunks[other]
            sizes = np.cumsum([right - left for left, right in around])
            around = around[: int(np.searchsorted(sizes, searched_rows)) + 1]
            others = torch.cat([order[left:right] for left, right in around])
            _search_chunk(vectors, others, stop - start, keep, found)
    return found.cpu().numpy()


def _search_chunk(vectors: Tensor, others: Tensor, count: int, keep: int, found: Tensor) -> None:
    """Fill in the candidates of the first `count` of the rows `others` from among all of these rows."""
    columns = vectors[others].T
    width = min(keep, len(others))
    for left, right in spans(count, 512):
        scores = vectors[others[left:right]] @ columns
        own = torch.arange(right - left, device=scores.device)
        scores[own, own + left] = -torch.inf
        values, where = top_columns(scores, width)
        best = others[where].to(torch.int32)
        best[values == -torch.inf] = -1
        found[others[left:right], :width] = best


def _centroids(vectors: Tensor, cells: int, generator: torch.Generator) -> Tensor:
    """Spherical k-means on a sample, started from some of its rows: float32 (cells, d)."""
    sample = vectors[torch.randperm(len(vectors), generator=generator)[: SAMPLE_PER_CELL * cells]]
    centroids = sample[:cells].float()
    for _ in range(ROUNDS):
        rounded = centroids.to(sample.dtype).T
        home = torch.cat([(block @ rounded).max(1).indices for block in sample.split(2048)])
        sums = torch.zeros_like(centroids)
        for rows, owners in zip(sample.split(8192), home.split(8192), strict=True):
            sums.index_add_(0, owners, rows.float())
        empty = torch.bincount(home, minlength=cells) == 0
        fresh = torch.randperm(len(sample), generator=generator)[: int(empty.sum())]
        sums[empty] = sample[fresh].float()
        centroids = torch.nn.functional.normalize(sums, dim=1)
    return centroids


def _nearby_cells(vectors: Tensor, centroids: Tensor, count: int) -> tuple[Tensor, list[list[int]]]:
    """The cell of every row, and for every cell the cells that most of its rows are also near to, nearest first."""
    cells = len(centroids)
    votes = torch.zeros(cells * cells, device=vectors.device)
    home = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
    rounded = centroids.to(vectors.dtype).T
    for start, stop in spans(len(vectors), 2048):
        nearest = top_columns(vectors[start:stop] @ rounded, min(VOTES, cells))[1]
        home[start:stop] = nearest[:, 0]
        pairs = (nearest[:, :1] * cells + nearest).flatten()
        votes.index_add_(0, pairs, torch.ones_like(pairs, dtype=votes.dtype))
    # Cells without a vote come last, by the similarity of the centroids, which is below one vote.
    votes = votes.view(cells, cells)
    for start, stop in spans(cells, 1024):
        votes[start:stop] += 0.4 * (centroids[start:stop] @ centroids.T)
    return home, votes.topk(min(count, cells)).indices.tolist()


def _chunks(sizes: np.ndarray, largest: int) -> list[list[tuple[int, int]]]:
    """For every cell, the (start, stop) of its rows among all rows sorted by cell, cut where it is too large."""
    ends = np.cumsum(sizes)
    return [
        [(int(end - size + left), int(end - size + right)) for left, right in spans(int(size), largest)]
        for end, size in zip(ends, sizes, strict=True)
    ]
