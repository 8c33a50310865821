"""Exact and near-duplicates: their groups, the labels they disagree on, and test rows that are also in train.

Two texts are exact duplicates if they are equal after Unicode NFKC, case folding and putting one space for every run of
whitespace. They are near-duplicates if their embeddings are alike *and* at least 70 % of their character 3-grams,
punctuation other than question marks left out, are shared (Jaccard index). The 3-grams decide, for cosines mean
something else with every encoder; the embeddings say which pairs to look at. On news, tweets, comments, Usenet posts
(English), reviews and news titles (Chinese) pairs above .7 are one text with small changes: another agency's version of
a story, a hash tag added, another date. Boilerplate alone reaches .6 (news with a link) to .7 (posts with one
signature).

Long texts of one language share most of their 3-grams whatever they say, and half of their passages may be the same: of
texts above 1,000 characters 60 % of the 10-grams must be shared too, as by two texts that are three quarters the same.
Equal embeddings make no duplicates: an encoder reads the beginning of a text only, and not every word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from textpl.embeddings.encoder_checks import checked_texts
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.neighbors import neighbor_graph, search

NEIGHBORS = 10  # looked at where no graph is given
COSINE = 0.6  # of 6,339 neighbours that share 70 % of their 3-grams, in seven corpora, 36 are less alike (MiniLM, LSA)
SIMILARITY = 0.7
STRICTER = (0.8, 0.9, 1.01)  # for groups that have snowballed; the last leaves exact duplicates only
LARGEST = 50  # rows that near-duplicates may chain together, in corpora of up to 5,000 rows; 1 % of the larger ones
SHINGLE = 3  # characters
LONG, LONG_SHINGLE, LONG_SIMILARITY = 1000, 10, 0.6
BINS = 256
EMPTY = np.uint16(65535)
PUNCTUATION = {c: None for c in range(65536) if unicodedata.category(chr(c))[0] == "P" and chr(c) != "?"}
CHUNK = 2_000_000  # characters hashed at a time


@dataclass(frozen=True)
class Conflicts:
    """Rows of groups of duplicates that do not all have the same labels, group after group.

    Attributes:
        rows: int64 (m,).
        groups: int64 (m,), the group of each.
        majority: what most rows of the group have, -1 for a tie: int64 (m,), or int8 (m, labels) for multi-label.
        differs: bool, shape of `majority`: what is given is not the majority; False for ties.
    """

    rows: np.ndarray
    groups: np.ndarray
    majority: np.ndarray
    differs: np.ndarray


@dataclass(frozen=True)
class Leaks:
    """Test rows that are also in train, ascending, each with the train row most like it.

    Attributes:
        test_rows: int64 (m,).
        train_rows: int64 (m,).
        similarity: float32 (m,), shared character 3-grams; 1 for exact duplicates.
        exact: bool (m,).
    """

    test_rows: np.ndarray
    train_rows: np.ndarray
    similarity: np.ndarray
    exact: np.ndarray


def normalized(text: str) -> str:
    """The form in which texts are compared: NFKC, case folded, single spaces, none at the ends."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def near_duplicates(
    texts: Sequence[str], vectors: np.ndarray | None = None, graph: NeighborGraph | None = None
) -> np.ndarray:
    """The group of every row: rows connected by exact or near-duplicates.

    A group that near-duplicates have chained to more than 50 rows (1 % of the corpus if that is more) is taken apart by
    stricter similarities; exact duplicates always stay together. Texts without any character are alone.

    Args:
        texts: n strings.
        vectors: (n, d), used where there is no graph. Without either only exact duplicates are found.
        graph: of the rows; near-duplicates are looked for among the neighbours, so a text with more exact duplicates
            than neighbours can hide others.

    Returns:
        int64 (n,), numbered in the order of their first rows.

    Raises:
        TypeError: if a text is not a string; the row is named.
        ValueError: if the graph or the vectors have another number of rows.
    """
    found = [normalized(text) for text in checked_texts(texts)]
    for name, given in (("vectors", vectors), ("graph", graph)):
        if given is not None and len(given) != len(found):
            raise ValueError(f"{len(found)} texts, but {name} of {len(given)} rows: pass those of these texts.")
    exact = _exact_groups(found)
    if graph is None and vectors is not None and len(found) > 1:
        graph = neighbor_graph(vectors, NEIGHBORS, progress=False)
    if graph is None:
        return exact
    pairs = _neighbor_pairs(graph, exact)
    words = [bare(text) for text in found]
    similarity = likeness(words, words, pairs[:, 0], pairs[:, 1])
    pairs, similarity = pairs[similarity >= SIMILARITY], similarity[similarity >= SIMILARITY]
    limit = max(LARGEST, len(found) // 100)
    for threshold in STRICTER:
        groups = _join(exact, pairs)
        snowball = (np.bincount(groups)[groups] > limit)[pairs[:, 0]]
        if not snowball.any():
            return groups
        keep = ~snowball | (similarity >= threshold)
        pairs, similarity = pairs[keep], similarity[keep]
    return _join(exact, pairs)


def shared_shingles(
    left: Sequence[str], right: Sequence[str], a: np.ndarray, b: np.ndarray, size: int = SHINGLE
) -> np.ndarray:
    """Jaccard index of the character n-grams of `left[a]` and `right[b]`, estimated.

    By one permutation hashing with 256 bins (Li, Owen & Zhang 2012): nearly exact for short texts, with a standard
    error of at most .03 for long ones, at a cost per pair that does not grow with the length of texts.

    Args:
        left: texts.
        right: texts, maybe the same list.
        a: int64 (pairs,), rows of `left`.
        b: int64 (pairs,), rows of `right`.
        size: characters of an n-gram.

    Returns:
        float32 (pairs,).
    """
    rows_a, place_a = np.unique(a, return_inverse=True)
    rows_b, place_b = np.unique(b, return_inverse=True)
    signs_a, signs_b = _signatures([left[i] for i in rows_a], size), _signatures([right[i] for i in rows_b], size)
    similarity = np.zeros(len(a), dtype=np.float32)
    for start in range(0, len(a), 8192):
        part = slice(start, start + 8192)
        one, other = signs_a[place_a[part]], signs_b[place_b[part]]
        used = (one != EMPTY) | (other != EMPTY)
        same = (one == other) & used
        similarity[part] = same.sum(1) / np.maximum(used.sum(1), 1)
    return similarity


def conflicts(groups: np.ndarray, labels: np.ndarray) -> Conflicts:
    """Groups of duplicates whose rows carry different labels.

    Args:
        groups: int64 (rows,), as from `near_duplicates`.
        labels: int64 (rows,), or 0/1 (rows, labels).

    Raises:
        ValueError: if the two have different numbers of rows.
    """
    groups, labels = np.asarray(groups), np.asarray(labels)
    if len(groups) != len(labels):
        raise ValueError(f"{len(groups)} rows of groups, but {len(labels)} rows of labels.")
    order = np.argsort(groups, kind="stable")
    order = order[np.bincount(groups)[groups[order]] > 1]
    _, first, inverse, sizes = np.unique(groups[order], return_index=True, return_inverse=True, return_counts=True)
    own = labels[order]
    other = own != own[first][inverse]
    if other.ndim == 2:
        other = other.any(1)
    differing = np.bincount(inverse[other], minlength=len(first)) > 0
    keep = differing[inverse]
    rows, own = order[keep], own[keep]
    group = (np.cumsum(differing) - 1)[inverse[keep]]
    majority = _majority(group, own, sizes[differing])[group]
    return Conflicts(rows, groups[rows], majority, (majority >= 0) & (majority != own))


def leaks(
    train_texts: Sequence[str],
    test_texts: Sequence[str],
    train_vectors: np.ndarray | None = None,
    test_vectors: np.ndarray | None = None,
) -> Leaks:
    """Test rows that are (near-)duplicates of a train row.

    Args:
        train_texts: n strings.
        test_texts: m strings.
        train_vectors: (n, d); without vectors only exact duplicates are found.
        test_vectors: (m, d), by the same encoder (LSA: in the same call).

    Raises:
        TypeError: if a text is not a string; the row is named.
    """
    train, test = ([normalized(text) for text in checked_texts(texts)] for texts in (train_texts, test_texts))
    first: dict[str, int] = {}
    for row, text in enumerate(train):
        if text:
            first.setdefault(text, row)
    best = np.array([first.get(text, -1) for text in test], dtype=np.int64)
    exact = best >= 0
    similarity = exact.astype(np.float32)
    if train_vectors is not None and test_vectors is not None and train and not exact.all():
        ids, sims = search(test_vectors, train_vectors, min(NEIGHBORS, len(train)), progress=False)
        rows, columns = np.nonzero((ids >= 0) & (sims >= COSINE) & ~exact[:, None])
        near = likeness([bare(t) for t in test], [bare(t) for t in train], rows, ids[rows, columns])
        order = np.argsort(near, kind="stable")  # of several, the last assignment stays: the most similar
        rows, columns, near = rows[order], columns[order], near[order]
        good = near >= SIMILARITY
        best[rows[good]], similarity[rows[good]] = ids[rows[good], columns[good]], near[good]
    leaked = np.flatnonzero(best >= 0)
    return Leaks(leaked, best[leaked], similarity[leaked], exact[leaked])


def likeness(left: Sequence[str], right: Sequence[str], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shared 3-grams of the pairs, float32 (pairs,); 0 for long texts that share too few of the longer n-grams."""
    similarity = shared_shingles(left, right, a, b)
    long = np.array([max(len(left[i]), len(right[j])) > LONG for i, j in zip(a, b, strict=True)], dtype=bool)
    doubted = np.flatnonzero(long & (similarity >= SIMILARITY))
    passages = shared_shingles(left, right, a[doubted], b[doubted], LONG_SHINGLE)
    similarity[doubted[passages < LONG_SIMILARITY]] = 0
    return similarity


def bare(text: str) -> str:
    """Without punctuation, which is most of what differs between short texts, or the text if it is nothing else."""
    return " ".join(text.translate(PUNCTUATION).split()) or text


def _exact_groups(texts: list[str]) -> np.ndarray:
    number: dict[object, int] = {}
    keys = ((text or row) for row, text in enumerate(texts))
    return np.fromiter((number.setdefault(key, len(number)) for key in keys), dtype=np.int64, count=len(texts))


def _neighbor_pairs(graph: NeighborGraph, exact: np.ndarray) -> np.ndarray:
    """int64 (pairs, 2): neighbours that are alike, each pair once, without exact duplicates."""
    rows, columns = np.nonzero((graph.ids >= 0) & (graph.sims >= COSINE))
    others = graph.ids[rows, columns].astype(np.int64)
    low, high = np.minimum(rows, others), np.maximum(rows, others)
    keys = np.unique((low * len(graph) + high)[exact[low] != exact[high]])
    return np.stack([keys // len(graph), keys % len(graph)], axis=1)


def _join(exact: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Groups of exact duplicates that the pairs connect, numbered in the order of their first rows."""
    size = int(exact.max(initial=-1)) + 1
    links = coo_array((np.ones(len(pairs)), (exact[pairs[:, 0]], exact[pairs[:, 1]])), shape=(size, size))
    found = connected_components(links, directed=False)[1][exact] if size else exact
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _majority(group: np.ndarray, labels: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """What most rows of each group have, -1 for a tie: int64 (groups,) or int8 (groups, labels)."""
    if labels.ndim == 2:
        members = coo_array((np.ones(len(group)), (group, np.arange(len(group)))), shape=(len(sizes), len(group)))
        balance = 2 * (members.tocsr() @ labels) - sizes[:, None]
        return np.where(balance == 0, -1, balance > 0).astype(np.int8)
    pairs, counts = np.unique(np.stack([group, labels]), axis=1, return_counts=True)
    order = np.lexsort((counts, pairs[0]))  # within a group, the most frequent label is last
    pairs, counts = pairs[:, order], counts[order]
    last = np.cumsum(np.bincount(pairs[0], minlength=len(sizes))) - 1
    # A conflicting group has at least two labels, so there is one before the last.
    return np.where(counts[last] == counts[last - 1], -1, pairs[1, last]).astype(np.int64)


def _signatures(texts: list[str], size: int) -> np.ndarray:
    """The least hash of a text's n-grams in every bin: uint16 (texts, BINS), EMPTY where there is none."""
    signs = np.full((len(texts), BINS), EMPTY)
    lengths = np.fromiter((len(text) for text in texts), dtype=np.int64, count=len(texts)) + size - 1
    blocks = np.cumsum(lengths) // CHUNK
    for block in np.unique(blocks):
        start, stop = np.searchsorted(blocks, [block, block + 1])
        hashes = shingle_hashes(texts[start:stop], size)
        rows = np.repeat(np.arange(stop - start), lengths[start:stop])
        where = rows * BINS + (hashes % BINS).astype(np.int64)
        np.minimum.at(signs[start:stop].reshape(-1), where, ((hashes >> np.uint64(8)) % EMPTY).astype(np.uint16))
    return signs


def shingle_hashes(texts: list[str], size: int) -> np.ndarray:
    """uint64: the hashes of all n-grams, text after text; ends count as characters, so that every text has some."""
    gap = "\0" * (size - 1)
    joined = gap + gap.join(texts) + gap
    characters = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    hashes = np.zeros(len(characters) - size + 1, dtype=np.uint64)
    for place in range(size):  # rounds of the finaliser of SplitMix64
        hashes = (hashes ^ characters[place : place + len(hashes)]) * np.uint64(0xBF58476D1CE4E5B9)
        hashes ^= hashes >> np.uint64(29)
    return hashes * np.uint64(0x94D049BB133111EB) >> np.uint64(16)
