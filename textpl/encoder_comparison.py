"""Which encoder for these texts: each on the same labeled rows, cross-fitted, with what it costs."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.embeddings.cache import encode_cached
from textpl.embeddings.cut_texts import CutTexts
from textpl.embeddings.encoder_candidates import DEFAULT_ENCODER, loadable, reading, scripts
from textpl.embeddings.encoder_checks import check_language
from textpl.embeddings.encoders import Encoder, get_encoder
from textpl.embeddings.joined import JoinedEncoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.encoder_findings import EncoderComparison
from textpl.encoder_scores import EncoderScore, compared, judged
from textpl.label_issues.groups import joined, read_groups
from textpl.progress import progress_bar
from textpl.reading.find_columns import check_text, declared_names
from textpl.reading.label_arrays import encode_labels
from textpl.reading.label_format import LabelFormat
from textpl.reading.labels import MULTI, arrow_column
from textpl.relabeling.choice import FEW_LABELS, hold_out
from textpl.relabeling.clusterability import Clusterability, clusterability
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.problem import Problem
from textpl.unknown_tokens import unknown_share

logger = logging.getLogger(__name__)

DIAGNOSED_K = 5  # neighbors looked at for clusterability
TIMED = 20  # texts, with fewer of them no time is told
SAMPLE = 200  # texts whose unknown tokens are counted
# What is compared unless encoders are named: neither needs a download where textpl[quickstart] is installed.
USUAL = (DEFAULT_ENCODER, "lsa")


def compare_encoders(
    labeled: Dataset,
    pool: Dataset | None = None,
    encoders: Sequence[str | Encoder | Any] = USUAL,
    *,
    text_column: str = "text",
    label_column: str = "label",
    label_names: list[str] | None = None,
    label_format: LabelFormat | None = None,
    groups: Any = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    progress: bool = True,
) -> EncoderComparison:
    """Compare encoders on labeled rows, each row judged while its own label, and about every fifth other, is hidden.

    What is measured is how far a linear classifier gets on the frozen vectors, as `textpl.label` fits it to few labels:
    with a pool and one label per row on vectors averaged over the graph of similar texts ("linear_smoothed"), else on
    the vectors as they are ("linear"). With several labels per row each label is cut where its rate is that of the
    labeled rows.

    When to use: before anything else, with the rows that are labeled already. The encoder decides more than the method
    does (docs/encoders.md). Fine-tuning another encoder may turn out otherwise.

    Args:
        labeled: rows with a text and a label column (ids, names, lists of either, multi-hot).
        pool: unlabeled rows with the same text column. They are encoded too: a sample of some thousands will do.
        encoders: sentence-transformers ids, folders or models, "lsa", objects with `name` and `encode`, or a list
            of these to be joined. One that cannot be loaded, or not read these texts, is told of and left out.
        text_column: name of the text column in both.
        label_column: name of the label column.
        label_names: name of every label, in the order of the ids; default: the column's ClassLabel, or those found.
        label_format: how labels are written, where that is not to be found out.
        groups: what belongs together in `labeled`, such as the texts of one author: a column, or a name or number for
            every row. Groups are hidden as a whole, and errors are those of whole groups.
        seed: of the folds.
        cache_dir: folder of cached embeddings; default: beside the datasets cache.
        progress: show progress bars.

    Returns:
        EncoderComparison: `print` shows a table and what it means; `best` is the name of the best one.

    Raises:
        ValueError: for missing columns, texts or labels (the row is named), labels that each occur in one group only,
            or without encoders.
        OSError: if no encoder can be used.

    Example:
        >>> import textpl
        >>> from datasets import Dataset
        >>> rows = {"text": ["good film", "good book", "dull film", "dull book"], "label": ["yes", "yes", "no", "no"]}
        >>> found = textpl.compare_encoders(Dataset.from_dict(rows), encoders=["lsa"], progress=False)
        >>> found.best, found.scores[0].rows
        ('lsa', 4)
    """
    if isinstance(encoders, (str, Path)) or not len(encoders):
        raise ValueError(f'encoders={encoders!r}: give a list of one or more, such as ["{DEFAULT_ENCODER}", "lsa"].')
    encoders = [
        given for i, given in enumerate(encoders) if not any(given is a or _equal(given, a) for a in encoders[:i])
    ]
    task = _read(labeled, pool, text_column, label_column, label_names, label_format, groups)
    measured: list[_Measured] = []
    failed: dict[str, str] = {}
    for given in progress_bar(encoders, desc="comparing encoders", shown=progress and len(encoders) > 1):
        try:
            coder = get_encoder(given, progress=False)
            check_language(coder.name, task.texts)
        except (OSError, ValueError) as error:
            failed[str(given)] = " ".join(str(error).split())
            logger.warning("%s is left out. %s", given, failed[str(given)])
            continue
        measured.append(_measure(coder, task, seed=seed, cache_dir=cache_dir, progress=progress))
    if not measured:
        causes = " ".join(failed.values())
        raise OSError(f"None of {', '.join(failed)} can be used; {', '.join(loadable())} need no download. {causes}")
    return _result(measured, failed, task, seed)


@dataclass(frozen=True)
class _Task:
    """What the encoders are compared on; labeled texts come first."""

    texts: list[str]
    targets: np.ndarray  # float32 (labeled, labels)
    multi: bool
    groups: np.ndarray | None  # int64 (labeled,)

    @property
    def method(self) -> tuple[str, int | None]:
        """The method whose score counts: what `textpl.label` takes where labels are few."""
        has_pool = len(self.texts) > len(self.targets)
        return FEW_LABELS[self.multi or not has_pool]


@dataclass
class _Timed:
    """An encoder, and how long it took for the texts that were not in the cache."""

    inner: Encoder
    texts: int = 0
    seconds: float = 0.0
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.inner.name

    def __getattr__(self, attribute: str) -> Any:  # fingerprint, tokenizer, token_limit, where it has them
        if attribute == "inner":
            raise AttributeError(attribute)
        return getattr(self.inner, attribute)

    def cached_in(self, folder: str | Path | None) -> _Timed:
        """Itself, with its parts, where it has some, cached in that folder."""
        if isinstance(self.inner, JoinedEncoder):
            self.inner = self.inner.cached_in(folder)
        return self

    def per_thousand(self) -> float | None:
        """Seconds for 1,000 texts; None where fewer than `TIMED` were encoded: starting up would be most of them."""
        return 1000 * self.seconds / self.texts if self.texts >= TIMED else None

    def encode(self, texts: Sequence[str], *, progress: bool = True) -> np.ndarray:
        """Encode and count."""
        start = time.perf_counter()
        vectors = self.inner.encode(texts, progress=progress)
        self.seconds += time.perf_counter() - start
        self.texts += len(texts)
        return vectors


@dataclass(frozen=True)
class _Measured:
    """One encoder on the labeled rows: probabilities (labeled, labels) by method, 0 where it abstained."""

    coder: _Timed
    dimension: int
    cut: CutTexts | None
    unknown: float | None
    held: np.ndarray  # bool (labeled,), rows that were held out
    p: dict[str, np.ndarray]
    clusters: Clusterability | None


def _equal(one: Any, other: Any) -> bool:
    """Whether both are names, or lists of names, and the same."""
    return type(one) is type(other) and isinstance(one, (str, list, tuple)) and bool(one == other)


def _read(
    labeled: Dataset,
    pool: Dataset | None,
    text: str,
    label: str,
    names: list[str] | None,
    label_format: LabelFormat | None,
    groups: Any,
) -> _Task:
    texts: list[str] = []
    for dataset, name, wanted in ((labeled, "labeled", (text, label)), (pool, "pool", (text,))):
        if dataset is None:
            continue
        if not isinstance(dataset, Dataset) or not len(dataset):
            raise ValueError(f"{name} must be a datasets.Dataset with rows, not {dataset!r}.")
        for column in wanted:
            if column not in dataset.column_names:
                raise ValueError(f"{name} has no column {column!r}; its columns are {dataset.column_names}.")
        check_text(dataset, text, f"{name}, column {text!r}")
        texts += dataset.with_format(None)[text][:]
    declared = declared_names({"labeled": labeled}, label, names)
    found = encode_labels(
        arrow_column(labeled, label), f"labeled, column {label!r}", label_names=declared, label_format=label_format
    )
    for note in found.cells.notes:
        logger.warning("%s", note)
    multi = found.coding.problem_type == MULTI
    targets = found.array if multi else np.eye(len(found.coding.label_names), dtype=np.float32)[found.array]
    return _Task(texts, targets.astype(np.float32), multi, read_groups(groups, labeled, len(labeled)))


def _measure(coder: Encoder, task: _Task, *, seed: int, cache_dir: str | Path | None, progress: bool) -> _Measured:
    timed, count = _Timed(coder), len(task.targets)
    cut: list[CutTexts] = []
    raw = encode_cached(timed, task.texts, cache_dir=cache_dir, progress=progress, on_cut=cut.append)
    nodes = Nodes.build(unit_rows(raw), task.targets)
    of = nodes.of[:count]
    groups = None
    if task.groups is not None:
        groups = np.full(len(nodes.first), -1, dtype=np.int64)
        groups[of] = joined(np.unique(of, return_inverse=True)[1], task.groups)
    method, k = task.method
    # Without a pool the graph is that of the labeled rows alone, for clusterability.
    graph = neighbor_graph(nodes.vectors, max(k or 0, DIAGNOSED_K), seed=seed, progress=False)
    problem = Problem(nodes.vectors, graph, nodes.targets, nodes.gold, task.multi, groups=groups)
    held, p = np.zeros(count, dtype=bool), {}
    position = np.cumsum(nodes.gold) - 1
    for name, own in dict.fromkeys([(method, k), ("linear", None)]):
        trial = hold_out(problem, name, None if own is None else max(min(own, graph.k), 1), seed=seed)
        of_gold = np.zeros((int(nodes.gold.sum()), task.targets.shape[1]), dtype=np.float32)
        of_gold[trial.rows] = trial.p
        p[name] = np.where(nodes.gold[of][:, None], of_gold[position[of]], 0) if len(of_gold) else of_gold[:0]
        held = nodes.gold[of] & np.isin(position[of], trial.rows)
    tokenizer = getattr(coder, "tokenizer", None)
    picked = np.linspace(0, len(task.texts) - 1, min(SAMPLE, len(task.texts))).astype(int)
    unknown = None if tokenizer is None else unknown_share(tokenizer, [task.texts[int(i)] for i in picked])
    return _Measured(
        timed, raw.shape[1], cut[0] if cut else None, unknown, held, p, _clusters(problem) if graph.k else None
    )


def _clusters(problem: Problem) -> Clusterability | None:
    gold = np.flatnonzero(problem.gold)
    if len(gold) < 2:
        return None
    return clusterability(
        problem.graph,
        problem.targets,
        problem.gold,
        k=min(DIAGNOSED_K, problem.graph.k),
        gold_graph=neighbor_graph(problem.vectors[gold], DIAGNOSED_K, progress=False),
        multi=problem.multi,
    )


def _result(measured: list[_Measured], failed: dict[str, str], task: _Task, seed: int) -> EncoderComparison:
    # Rows that some encoder could be asked about; one that has no vector for a row abstains there.
    rows = np.flatnonzero(np.any([found.held for found in measured], axis=0))
    if not len(rows):
        within = "" if task.groups is None else " in two groups"
        if (task.targets.sum(0) > 1).any() and task.groups is None:
            names = ", ".join(found.coder.name for found in measured)
            raise ValueError(
                f"The vectors of {names} tell none of the {len(task.targets)} labeled texts apart: they are empty, or "
                "hold nothing that is read there, such as emoji or single letters alone. Name another encoder."
            )
        raise ValueError(f"No label occurs twice{within} among the {len(task.targets)} labeled rows: label more.")
    truth, groups = task.targets[rows], None if task.groups is None else task.groups[rows]
    method = task.method[0]
    # The cuts come from the labels of the other rows as a whole: rates are of all labeled rows.
    scores = []
    for found in measured:
        points = {
            name: judged(p[rows], truth, task.targets.mean(0), task.multi, groups, seed) for name, p in found.p.items()
        }
        timed, cut = found.coder, found.cut
        joined = isinstance(timed.inner, JoinedEncoder)  # of whose parts some may have come from the cache
        scores.append(
            EncoderScore(
                encoder=found.coder.name,
                score=points[method].score,
                error=points[method].error,
                linear=points["linear"].score,
                rows=len(rows),
                units=len(rows) if groups is None else len(np.unique(groups)),
                decided=points[method].decided,
                clusters=found.clusters,
                dimension=found.dimension,
                token_limit=None if cut is None else cut.limit,
                cut_share=None if cut is None else cut.rows / max(cut.texts, 1),
                unknown_share=found.unknown,
                seconds_per_thousand=None if joined else timed.per_thousand(),
                encoded=timed.texts,
            )
        )
    return EncoderComparison(
        scores=compared(scores, truth, task.multi, groups),
        failed=failed,
        method=method,
        multi=task.multi,
        truth=truth,
        scripts=scripts(task.texts),
        candidates=reading(task.texts),
        loadable=tuple(loadable()),
    )
