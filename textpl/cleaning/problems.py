"""What else is wrong with a corpus, besides single labels: everything in one report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textpl.cleaning.duplicates import NEIGHBORS, Conflicts, Leaks, conflicts, leaks, near_duplicates
from textpl.cleaning.indistinct import indistinct_rows
from textpl.cleaning.label_sets import LabelFindings, LabelPair, label_findings
from textpl.cleaning.outliers import Outliers, find_outliers
from textpl.cleaning.texts import text_problems
from textpl.embeddings.cut_texts import CutTexts
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.neighbors import distinct_rows, neighbor_graph

SHOWN = 5  # labels or pairs named in a sentence
IMBALANCED = 20  # rows of the most frequent label per row of the rarest from which it is worth a sentence


@dataclass(frozen=True)
class CorpusProblems:
    """Problems of a corpus that are not single wrong labels.

    Attributes:
        groups: int64 (rows,), group of (near-)duplicates of every row; K-fold keeps each in one fold. Without texts:
            of rows with the very same vector.
        conflicts: groups whose rows have different labels.
        leaks: test rows that are also in train; None where no test texts were given.
        by_text: whether there were texts; without, no near-duplicates and no texts that say nothing are looked for.
        indistinct: bool (rows,), rows with the embedding of a row with another text; None without texts or vectors.
        cut: how many texts the encoder reads in part; None where that is not known.
        outliers: off-topic rows; None where there were no vectors.
        texts: row -> reason, for empty and garbled texts.
        labels: problems of the label set.
        label_names: one per label.
    """

    groups: np.ndarray
    conflicts: Conflicts
    leaks: Leaks | None
    outliers: Outliers | None
    texts: dict[int, str]
    labels: LabelFindings
    label_names: tuple[str, ...]
    by_text: bool = True
    indistinct: np.ndarray | None = None
    cut: CutTexts | None = None

    def summary(self) -> list[str]:
        """One sentence per problem; none where nothing was found."""
        return [*self._row_sentences(), *self._label_sentences()]

    def to_dict(self) -> dict[str, Any]:
        """Everything but scores of unflagged rows, as plain numbers, strings, lists and dicts."""
        outliers, leaks = self.outliers, self.leaks
        return {
            "summary": self.summary(),
            "duplicates": [rows.tolist() for rows in _members(self.groups)],
            "conflicts": {
                "rows": self.conflicts.rows.tolist(),
                "groups": self.conflicts.groups.tolist(),
                "majority": self.conflicts.majority.tolist(),
            },
            "leaks": None if leaks is None else _leaks_list(leaks),
            "outliers": None if outliers is None else _outliers_list(outliers),
            "texts": [{"row": row, "reason": reason} for row, reason in self.texts.items()],
            "indistinct": [] if self.indistinct is None else np.flatnonzero(self.indistinct).tolist(),
            "cut": None if self.cut is None else self.cut.to_dict(),
            "labels": self._labels_dict(),
        }

    def _row_sentences(self) -> list[str]:
        found = []
        sizes = np.bincount(self.groups)
        doubles = sizes[sizes > 1]
        if len(doubles):
            what = "are (near-)duplicates of another row" if self.by_text else "have the same embedding as another row"
            doubt = "" if self.by_text else ": the same text, or texts that the encoder cannot tell apart"
            found.append(f"{doubles.sum():,} rows {what}, in {len(doubles):,} groups{doubt}.")
        if len(self.conflicts.rows):
            number = len(np.unique(self.conflicts.groups))
            found.append(f"{number:,} of these groups ({len(self.conflicts.rows):,} rows) have different labels.")
        if self.leaks is not None and not len(self.leaks.test_rows):
            found.append("No leaks found: no test row is also in train.")
        elif self.leaks is not None:
            exact = int(self.leaks.exact.sum())
            found.append(
                f"{len(self.leaks.test_rows):,} test rows are also in train ({exact:,} exactly): leave them out of the "
                "evaluation."
            )
        if self.outliers is not None and self.outliers.flagged.any():
            rows = _flagged(self.outliers)
            found.append(f"{len(rows):,} rows are far from all others (off topic?), first row {rows[0]}.")
        reasons = Counter(self.texts.values())
        if reasons:
            listed = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.most_common())
            found.append(f"{len(self.texts):,} texts say nothing ({listed}).")
        return found + self._encoder_sentences()

    def _encoder_sentences(self) -> list[str]:
        found = [] if self.cut is None or not self.cut.rows else [self.cut.sentence()]
        if self.indistinct is not None and self.indistinct.any():
            found.append(
                f"{self.indistinct.sum():,} rows have the embedding of a row with another text, which the encoder does "
                "not tell from theirs: their labels are not judged."
            )
        return found

    def _label_sentences(self) -> list[str]:
        labels, found = self.labels, []
        for ids, problem in (
            (labels.absent, "never given: no error in them can be found"),
            (labels.single, "given once: they cannot be in train and in validation"),
            (labels.rare, "given 2 to 4 times: probabilities and noise rates are rough"),
            (labels.universal, "given to every row: they carry no information"),
        ):
            if ids:
                found.append(f"{len(ids)} labels are {problem} ({self._names(ids)}).")
        if labels.imbalance >= IMBALANCED:
            counts = np.where(labels.counts > 0, labels.counts, labels.counts.max())
            most, least = self._names([int(labels.counts.argmax())]), self._names([int(counts.argmin())])
            found.append(f"Labels are unbalanced: {most} is given {labels.imbalance:,.0f} times as often as {least}.")
        if labels.unlabelled:
            found.append(f"{labels.unlabelled:,} rows have no label.")
        for ids in labels.variants:
            found.append(f"The labels {self._names(ids)} differ in case, spaces or width only: merge them.")
        for reason, sentence in (
            ("same", "are always given together: one is enough"),
            ("implied", "second never without the first: a hierarchy, or one label"),
            ("confused", "are often confused: merge them, or define them better"),
        ):
            pairs = [pair for pair in labels.pairs if pair.reason == reason]
            listed = "; ".join(self._pair(pair) for pair in pairs[:SHOWN])
            if pairs:
                found.append(f"{len(pairs)} label pairs, {sentence} ({listed}{_more(pairs)}).")
        return found

    def _labels_dict(self) -> dict[str, Any]:
        labels, names = self.labels, self.label_names
        return {
            "counts": [{"label": name, "rows": int(rows)} for name, rows in zip(names, labels.counts, strict=True)],
            **{key: [names[i] for i in getattr(labels, key)] for key in ("absent", "single", "rare", "universal")},
            "unlabelled": labels.unlabelled,
            "imbalance": labels.imbalance,
            "pairs": [
                {"labels": [names[pair.first], names[pair.second]], "reason": pair.reason, "score": pair.score}
                for pair in labels.pairs
            ],
            "variants": [[names[label] for label in ids] for ids in labels.variants],
        }

    def _names(self, ids: Sequence[int]) -> str:
        return ", ".join(repr(self.label_names[label]) for label in ids[:SHOWN]) + _more(ids)

    def _pair(self, pair: LabelPair) -> str:
        return f"{self.label_names[pair.first]!r} and {self.label_names[pair.second]!r}"


def corpus_problems(
    texts: Sequence[str] | None,
    labels: np.ndarray,
    probabilities: np.ndarray | None = None,
    vectors: np.ndarray | None = None,
    graph: NeighborGraph | None = None,
    label_names: Sequence[str] | None = None,
    *,
    groups: np.ndarray | None = None,
    test_texts: Sequence[str] | None = None,
    test_vectors: np.ndarray | None = None,
    cut: CutTexts | None = None,
) -> CorpusProblems:
    """Look for duplicates, leaks, off-topic rows, texts that say nothing, and problems of the label set.

    Args:
        texts: n strings; None where there are only vectors, or neither: then all is said that needs no text.
        labels: int64 (n,), or 0/1 (n, labels).
        probabilities: out-of-sample, (n, labels); needed to find labels that are confused.
        vectors: (n, d), embeddings.
        graph: of the rows; built from the vectors if absent. Without either, duplicates are exact ones only and no
            off-topic rows are looked for.
        label_names: one per label; default "0", "1", ...
        groups: of near-duplicates; looked for if absent.
        test_texts: m strings that must not be in train; needs texts.
        test_vectors: (m, d), by the same encoder.
        cut: how many of the texts the encoder reads in part.

    Raises:
        TypeError: if a text is not a string; the row is named.
        ValueError: if arrays do not fit each other.
    """
    rows = len(labels)
    if texts is not None and len(texts) != rows:
        raise ValueError(f"{len(texts)} texts, but labels of {rows} rows: pass one row of labels per text.")
    if graph is None and vectors is not None and rows > 1:
        graph = neighbor_graph(vectors, NEIGHBORS, progress=False)
    if groups is None and texts is not None:
        groups = near_duplicates(texts, vectors, graph)
    elif groups is None:
        groups = np.arange(rows) if vectors is None else distinct_rows(vectors)[1]
    findings = label_findings(labels, probabilities, label_names)
    return CorpusProblems(
        groups=groups,
        conflicts=conflicts(groups, labels),
        leaks=None if texts is None or test_texts is None else leaks(texts, test_texts, vectors, test_vectors),
        outliers=find_outliers(graph) if graph is not None else None,
        texts={} if texts is None else text_problems(texts),
        labels=findings,
        label_names=tuple(map(str, label_names if label_names is not None else range(len(findings.counts)))),
        by_text=texts is not None,
        indistinct=None if texts is None or graph is None else indistinct_rows(graph, groups),
        cut=cut,
    )


def _leaks_list(leaks: Leaks) -> list[dict[str, Any]]:
    columns = zip(leaks.test_rows, leaks.train_rows, leaks.similarity, leaks.exact, strict=True)
    return [
        {"test_row": int(test), "train_row": int(train), "similarity": float(similarity), "exact": bool(exact)}
        for test, train, similarity, exact in columns
    ]


def _outliers_list(outliers: Outliers) -> list[dict[str, Any]]:
    return [
        {"row": int(row), "score": float(outliers.scores[row]), "p_value": float(outliers.p_values[row])}
        for row in _flagged(outliers)
    ]


def _flagged(outliers: Outliers) -> np.ndarray:
    """Flagged rows, farthest first."""
    order = np.argsort(-outliers.scores, kind="stable")
    return order[outliers.flagged[order]]


def _members(groups: np.ndarray) -> list[np.ndarray]:
    """Rows of every group of two or more."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(groups))[:-1]) if len(groups) else []
    return [rows for rows in parts if len(rows) > 1]


def _more(items: Sequence[Any]) -> str:
    return f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
