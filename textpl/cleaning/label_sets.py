"""Problems of the label set as a whole: labels too rare to learn, columns that say the same, labels to merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from textpl.cleaning.duplicates import normalized

FEW = 5  # positives below which neither training nor an estimate of noise is stable
ALWAYS = 0.98  # share of rows from which one label "always" comes with another
ENOUGH = 10  # rows of a label needed for a statement about columns that agree
CONFUSED = 0.4  # expected confusion of a pair; .5 is guessing
TOGETHER = 0.25  # share of the rarer label's rows up to which two labels rarely meet
LEARNED = 30  # rows of a label below which a classifier confuses it with much, for want of examples


@dataclass(frozen=True)
class LabelPair:
    """Two labels that may be one.

    Attributes:
        first: id of the label to keep, which has as many rows or more.
        second: id of the other.
        reason: "same" (given together, always), "implied" (`second` never without `first`) or "confused".
        score: "same", "implied": share of rows of the rarer label (of either label, for "same") that have both;
            "confused": see `expected_confusion`.
    """

    first: int
    second: int
    reason: str
    score: float


@dataclass(frozen=True)
class LabelFindings:
    """What is wrong with the label set.

    Attributes:
        counts: int64 (labels,), rows with the label.
        absent: labels without any row.
        single: labels with one row, which cannot be in train and in validation.
        rare: labels with 2 to 4 rows.
        universal: labels that every row has (multi-label).
        unlabelled: rows without any label (multi-label).
        imbalance: rows of the most frequent label per row of the rarest one that occurs.
        pairs: labels to look at for merging, highest score first within each reason.
        variants: label ids whose names differ in case, spaces or full-width forms only; the most frequent first.
    """

    counts: np.ndarray
    absent: tuple[int, ...]
    single: tuple[int, ...]
    rare: tuple[int, ...]
    universal: tuple[int, ...]
    unlabelled: int
    imbalance: float
    pairs: tuple[LabelPair, ...]
    variants: tuple[tuple[int, ...], ...]


def label_findings(
    labels: np.ndarray, probabilities: np.ndarray | None = None, label_names: Sequence[str] | None = None
) -> LabelFindings:
    """Look for problems of the label set.

    Args:
        labels: int64 (rows,), or 0/1 (rows, labels).
        probabilities: out-of-sample, (rows, labels); without them no labels are compared by confusion.
        label_names: one per label; without them single-label data has as many labels as the largest id says.

    Raises:
        ValueError: if the three do not fit each other.
    """
    labels = np.asarray(labels)
    count = _number_of_labels(labels, probabilities, label_names)
    multi = labels.ndim == 2
    counts = labels.sum(0, dtype=np.int64) if multi else np.bincount(labels, minlength=count)
    occurring = counts[counts > 0]
    pairs = same_labels(labels) if multi else []
    if probabilities is not None:
        known = {frozenset((pair.first, pair.second)) for pair in pairs}
        confused = confused_labels(labels, np.asarray(probabilities))
        pairs += [pair for pair in confused if frozenset((pair.first, pair.second)) not in known]
    return LabelFindings(
        counts=counts,
        absent=_ids(counts == 0),
        single=_ids(counts == 1),
        rare=_ids((counts > 1) & (counts < FEW)),
        universal=_ids(counts == len(labels)) if multi and len(labels) else (),
        unlabelled=int((labels.sum(1) == 0).sum()) if multi else 0,
        imbalance=float(occurring.max() / occurring.min()) if len(occurring) else 1.0,
        pairs=tuple(pairs),
        variants=variant_ids(label_names, counts) if label_names is not None else (),
    )


def same_labels(labels: np.ndarray) -> list[LabelPair]:
    """Columns that are always positive together, and labels that never occur without another.

    Labels with fewer than 10 rows, and labels that nearly every row has, take no part.

    Args:
        labels: 0/1 (rows, labels).

    Returns:
        Pairs "same" and "implied", each by falling share.
    """
    given = np.asarray(labels, dtype=np.float32)
    counts = given.sum(0)
    together = given.T @ given
    usable = (counts >= ENOUGH) & (counts < ALWAYS * len(given))
    share = np.where(usable & usable[:, None], together / np.maximum(counts[:, None], 1), 0)  # [j, k] = P(k | j)
    found = []
    for j, k in np.argwhere(np.triu(np.maximum(share, share.T) >= ALWAYS, 1)):
        first, second = (j, k) if counts[j] >= counts[k] else (k, j)
        same = share[first, second] >= ALWAYS
        score = min(share[j, k], share[k, j]) if same else share[second, first]
        found.append(LabelPair(int(first), int(second), "same" if same else "implied", float(score)))
    return sorted(found, key=lambda pair: (pair.reason != "same", -pair.score))


def expected_confusion(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How often the classifier expects to take one of two labels for the other, for every pair.

    Over the rows that have exactly one of labels j and k: the probability that the model gives to the other one of the
    two, with both made equally frequent, q = (p_k / n_k) / (p_j / n_j + p_k / n_k), averaged per label and then over
    both labels. 0: never confused; .5: the model cannot tell them apart.

    Args:
        labels: int64 (rows,), or 0/1 (rows, labels).
        probabilities: out-of-sample, (rows, labels).

    Returns:
        float64 (labels, labels), symmetric; NaN on the diagonal and where a label has fewer than 30 rows to compare.
    """
    p = np.asarray(probabilities, dtype=np.float32)
    columns = range(p.shape[1])
    if labels.ndim == 2:
        members = [np.flatnonzero(labels[:, k]) for k in columns]
    else:
        members = [np.flatnonzero(labels == k) for k in columns]
    prior = np.maximum(p.mean(0), 1e-12)
    sums = np.full(p.shape[1:] * 2, np.nan)
    for j in columns:
        rows = members[j]
        if len(rows) < LEARNED:
            continue
        relative = p[rows] / prior + 1e-12
        doubt = relative / (relative + relative[:, [j]])
        # Rows that have both labels say nothing about telling them apart.
        only = labels[rows] == 0 if labels.ndim == 2 else np.ones((len(rows), 1), dtype=bool)
        number = np.broadcast_to(only, doubt.shape).sum(0)
        sums[j] = np.where(number >= LEARNED, (doubt * only).sum(0) / np.maximum(number, 1), np.nan)
    confusion = (sums + sums.T) / 2
    np.fill_diagonal(confusion, np.nan)
    return confusion


def confused_labels(labels: np.ndarray, probabilities: np.ndarray) -> list[LabelPair]:
    """Labels that are often confused, though the model can tell each of them from others: candidates for a merge.

    A pair counts if its expected confusion is .4 or more, and each label is confused less with the typical other label
    (a label that the model has not learned at all is confused with everything). Labels that are given together are two
    things, however alike their texts (anger and disgust in SemEval-2018: .47, and 81 % of the rows with anger have
    both): in multi-label data at most a quarter of the rarer label's rows, or what chance gives, may have both.

    Args:
        labels: int64 (rows,), or 0/1 (rows, labels).
        probabilities: out-of-sample, (rows, labels).

    Returns:
        Pairs "confused", highest first; none where there are fewer than three labels.
    """
    if np.shape(probabilities)[1] < 3:
        return []
    confusion = expected_confusion(labels, probabilities)
    counts = labels.sum(0, dtype=np.int64) if labels.ndim == 2 else np.bincount(labels, minlength=len(confusion))
    found = []
    for j, k in np.argwhere(np.triu(np.nan_to_num(confusion) >= CONFUSED, 1)):
        others = np.delete(confusion[[j, k]], [j, k], axis=1)
        typical = [np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else 0 for row in others]
        first, second = (j, k) if counts[j] >= counts[k] else (k, j)
        if max(typical) < 0.75 * confusion[j, k] and _apart(labels, first, second):
            found.append(LabelPair(int(first), int(second), "confused", float(confusion[j, k])))
    return sorted(found, key=lambda pair: -pair.score)


def _apart(labels: np.ndarray, frequent: int, rare: int) -> bool:
    """Whether two labels rarely meet; always so with one label per row."""
    if labels.ndim == 1:
        return True
    share = labels[labels[:, rare] == 1, frequent].mean()
    return bool(share <= max(TOGETHER, labels[:, frequent].mean()))


def variant_ids(label_names: Sequence[str], counts: np.ndarray | None = None) -> tuple[tuple[int, ...], ...]:
    """Labels whose names are one name written in several ways: stray spaces, case, full-width forms (NFKC).

    Args:
        label_names: one per label.
        counts: rows per label; each tuple begins with the most frequent label, which the others would become.

    Returns:
        Ids of labels, two or more per tuple.
    """
    groups: dict[str, list[int]] = {}
    for label, name in enumerate(label_names):
        groups.setdefault(normalized(str(name)), []).append(label)
    found = [ids for ids in groups.values() if len(ids) > 1]
    if counts is not None:
        found = [sorted(ids, key=lambda label: -counts[label]) for ids in found]
    return tuple(tuple(ids) for ids in found)


def _ids(chosen: np.ndarray) -> tuple[int, ...]:
    return tuple(int(label) for label in np.flatnonzero(chosen))


def _number_of_labels(labels: np.ndarray, probabilities: np.ndarray | None, label_names: Sequence[str] | None) -> int:
    if labels.ndim == 2:
        count = labels.shape[1]
    elif label_names is not None:
        count = len(label_names)
    elif probabilities is not None:
        count = np.shape(probabilities)[1]
    else:
        count = int(labels.max(initial=-1)) + 1
    if label_names is not None and len(label_names) != count:
        raise ValueError(f"{len(label_names)} label names for {count} labels: give one name per label.")
    if probabilities is not None and np.shape(probabilities) != (len(labels), count):
        raise ValueError(
            f"Probabilities of shape {np.shape(probabilities)} for {len(labels)} rows and {count} labels: they must be "
            f"({len(labels)}, {count})."
        )
    if labels.ndim == 1 and len(labels) and not 0 <= labels.min() <= labels.max() < count:
        row = int(np.flatnonzero((labels < 0) | (labels >= count))[0])
        raise ValueError(f"Row {row}: label {labels[row]}, but {count} labels have the ids 0 to {count - 1}.")
    return count
