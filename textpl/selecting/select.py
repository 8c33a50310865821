"""Which texts to label first, and next: datasets in, `Selection` out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.encoders import DEFAULT_ENCODER, Encoder, get_encoder
from textpl.embeddings.neighbors import unit_rows
from textpl.label_issues.groups import read_groups
from textpl.reading.find_columns import check_text, declared_names
from textpl.reading.label_arrays import EncodedLabels, encode_labels
from textpl.reading.label_cells import LabelFormat, read_cells
from textpl.reading.labels import MULTI, arrow_column, is_list
from textpl.selecting.candidates import Candidates, candidates, without_repeats
from textpl.selecting.next_round import doubt
from textpl.selecting.selection import ABOUT, Selection
from textpl.selecting.strategies import (
    AUTO,
    BY_DOUBT,
    RANDOM,
    STRATEGIES,
    Known,
    chooser,
    probabilities,
    resolve,
    stands_for,
)


def select(
    pool: Dataset,
    budget: int,
    *,
    labeled: Dataset | None = None,
    encoder: str | Encoder | Any = DEFAULT_ENCODER,
    strategy: str = AUTO,
    seed: int = 0,
    text_column: str = "text",
    label_column: str = "label",
    label_names: list[str] | None = None,
    label_format: LabelFormat | None = None,
    groups: Any = None,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> Selection:
    """Choose which texts of a pool to label: central, spread ones first; from labels on those that are in doubt.

    Texts that are empty, equal to each other, or equal or nearly equal to a labeled one are never chosen. With up to
    20,000 texts all of them make the clusters, else 20,000 drawn at random (10 for each row of the budget, if that is
    more), and all are assigned to these.

    When to use: before a person labels anything, and again when the labels are there (`labeled=`). For a test set, or
    to measure how right labels are, use `strategy="random"`: chosen rows are no fair sample of the pool.

    Args:
        pool: texts; labels in it are ignored.
        budget: how many to choose.
        labeled: rows with the same text column and labels, as far as there are any: rows whose label is empty count as
            chosen before, so that they are not offered again.
        encoder: sentence-transformers id, folder or model, "lsa" (needs no download, any language), or an object with
            `name` and `encode(texts, *, progress=True)`.
        strategy: "auto" is "kmeans" without labels and "weighted_kmeans" from labels of two classes on. "kmeans": the
            text nearest to the center of each of `budget` clusters. "facility_location", "typiclust" (the densest
            text of each cluster), "probcover" and "random" need no labels either; "weighted_kmeans" (the same clusters
            where texts count by the doubt about their label), "badge" and "margin" do.
        seed: of the draws.
        text_column: name of the text column in both.
        label_column: name of the label column of `labeled`.
        label_names: name of every label, for the label column and the labeling tools; default: as in `textpl.label`.
        label_format: how labels are written, where that is not to be found out.
        groups: what belongs together in the pool, such as the windows of one document: a column, or a name or number
            for every row. At most one row of a group is chosen.
        cache_dir: folder of cached embeddings; default: beside the datasets cache.
        progress: show progress bars.

    Returns:
        Selection: `rows` in the order in which to label them; stop anywhere, the first ones cover the pool too.

    Raises:
        ValueError: for missing columns or texts, labels that cannot be read, an unknown strategy, one that needs labels
            where there are none, and a budget above the number of texts that may be chosen.

    Example:
        >>> import textpl
        >>> from datasets import Dataset
        >>> pool = Dataset.from_dict({"text": ["good film", "a good film", "dull book", "the dull, dull book"]})
        >>> chosen = textpl.select(pool, 2, encoder="lsa", progress=False)
        >>> sorted(row // 2 for row in chosen.rows.tolist())
        [0, 1]
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy={strategy!r}: use one of {', '.join(map(repr, STRATEGIES))}.")
    if budget < 1:
        raise ValueError(f"budget={budget}: choose at least one row.")
    for name, column in (("text_column", text_column), ("label_column", label_column)):
        if column in ABOUT:
            raise ValueError(f"{name}={column!r} is the name of a column of the result: rename it first.")
    texts = _texts(pool, "pool", text_column)
    belonging = read_groups(groups, pool, len(pool))
    before = _labels(labeled, text_column, label_column, label_names, label_format)
    coder = get_encoder(encoder, progress=progress)
    together = before.texts + texts
    raw = unit_rows(np.asarray(encode_cached(coder, together, cache_dir=cache_dir, progress=progress)))
    vectors, start = centered_rows(raw), len(before.texts)
    offered = candidates(texts, raw[start:], before.texts, raw[:start])
    _check_budget(budget, offered, len(texts))
    known = before.known(vectors[:start])
    strategy = resolve(strategy, known)
    by_doubt = strategy in BY_DOUBT
    p = probabilities(vectors[start:], known, progress=progress) if by_doubt else None
    choose = chooser(strategy, vectors[start:], budget, known, p, seed)
    rows = without_repeats(choose, texts, raw[start:], offered.allowed, belonging)
    weight = np.full(len(rows), np.nan)
    size = stands_for(vectors[start:], rows)
    if strategy == RANDOM:
        weight[:] = 1 / max(len(rows), 1)
    elif not by_doubt and not start:  # with others labeled before, these stand for a part that nobody knows
        weight = size / max(size.sum(), 1)
    return Selection(
        rows=rows.astype(np.int64),
        weight=weight,
        size=size,
        doubt=None if p is None else doubt(p, known.multi)[rows],
        probabilities=None if p is None else p[rows],
        strategy=strategy,
        encoder=coder.name,
        seed=seed,
        label_names=before.names,
        multi=known.multi,
        notes=tuple(note for note in (offered.told(), before.told(), _short(budget, len(rows))) if note),
        text_column=text_column,
        label_column=label_column,
        _pool=pool,
    )


@dataclass(frozen=True)
class _Labels:
    """What is labeled, or was chosen before."""

    texts: list[str]
    encoded: EncodedLabels | None
    names: tuple[str, ...] | None

    def known(self, vectors: np.ndarray) -> Known:
        if self.encoded is None:
            return Known(vectors)
        array, multi = self.encoded.array, self.encoded.coding.problem_type == MULTI
        targets = array if multi else np.eye(len(self.encoded.coding.label_names))[array]
        usable = vectors[self.encoded.cells.rows].any(1)
        if (targets[usable].any(0)).sum() < 2:
            return Known(vectors, multi=multi)
        return Known(vectors, targets.astype(np.float32), self.encoded.cells.rows, multi)

    def told(self) -> str:
        labeled = 0 if self.encoded is None else len(self.encoded.cells.rows)
        open_rows = len(self.texts) - labeled
        return f"{open_rows:,} of the {len(self.texts):,} rows given have no label yet." if open_rows else ""


def _labels(
    labeled: Dataset | None, text: str, column: str, names: list[str] | None, label_format: LabelFormat | None
) -> _Labels:
    given = None if names is None else tuple(names)
    if labeled is None or not len(labeled):
        return _Labels([], None, given)
    texts = _texts(labeled, "labeled", text)
    if column not in labeled.column_names:
        raise ValueError(f"labeled has no column {column!r}; its columns are {labeled.column_names}.")
    where = f"labeled, column {column!r}"
    declared = declared_names({"labeled": labeled}, column, names)
    values = arrow_column(labeled, column)
    cells = read_cells(values, where, label_format or LabelFormat(), declared)
    one = declared is None and not is_list(cells.values.type) and len(pc.unique(cells.values)) < 2
    if one or not len(cells.rows):  # nothing can be in doubt between one class and itself
        return _Labels(texts, None, declared)
    encoded = encode_labels(values, where, label_names=declared, label_format=label_format, all_labeled=False)
    return _Labels(texts, encoded, tuple(encoded.coding.label_names))


def _texts(dataset: Dataset, name: str, column: str) -> list[str]:
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"{name} must be a datasets.Dataset, not {type(dataset).__name__}: build one with Dataset.from_dict or "
            "Dataset.from_pandas."
        )
    if len(dataset) == 0:
        raise ValueError(f"{name} has no rows: there is nothing to choose from. Give texts, one a row.")
    if column not in dataset.column_names:
        raise ValueError(f"{name} has no column {column!r}; its columns are {dataset.column_names}.")
    check_text(dataset, column, f"{name}, column {column!r}")
    found: list[str] = dataset.with_format(None)[column][:]
    return found


def _check_budget(budget: int, offered: Candidates, rows: int) -> None:
    most = int(offered.allowed.sum())
    if budget > most:
        told = f" {offered.told()}" if offered.told() else ""
        remedy = f"Ask for at most {most:,}." if most else "There is nothing left to choose."
        raise ValueError(f"budget={budget}: of the {rows:,} rows of the pool {most:,} may be chosen.{told} {remedy}")


def _short(budget: int, found: int) -> str:
    if found == budget:
        return ""
    return f"{found:,} rows instead of {budget:,}: others are nearly the same text as a chosen one, or of its group."
