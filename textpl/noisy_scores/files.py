"""`textpl score`: predictions for rows that `textpl clean` has examined, scored against the right labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textpl.atomic_files import read_json
from textpl.label_issues.columns import from_text
from textpl.label_issues.files import INPUTS, label_probabilities, write_queue
from textpl.label_issues.record import RECORD
from textpl.label_issues.report import LabelReport
from textpl.label_issues.review_formats import check_review_texts, read_review
from textpl.noisy_scores.judge import noise_corrected_scores, random_review
from textpl.noisy_scores.results import WIDTHS, NoiseCorrectedScores
from textpl.reading.label_format import LabelFormat
from textpl.reading.labeled_rows import LabeledRows, read_labeled
from textpl.reading.sources import open_source

FORMAT = ("delimiter", "unlabeled_values", "empty", "merge_variants")


@dataclass(frozen=True)
class Scored:
    """What `score_files` found and wrote.

    Attributes:
        scores: what is known.
        sample: the file of rows to review, if one was asked for.
        rows: rows in it.
    """

    scores: NoiseCorrectedScores
    sample: Path | None = None
    rows: int = 0


def score_files(
    folder: Path,
    predictions: Path,
    *,
    label_names: Sequence[str] | None = None,
    threshold: float = 0.5,
    review: Path | None = None,
    sample: Path | None = None,
    count: int | None = None,
) -> Scored:
    """Score predictions for the rows that `textpl clean` examined.

    Args:
        folder: what `textpl clean` wrote; the data it was made from must still be where it was.
        predictions: .npy, .npz, .csv or .parquet, (rows, labels): probabilities by a model that did not train on them.
        label_names: names of all labels in the order of the columns of `predictions`, where these have no headings.
        threshold: cut where rows may have several labels.
        review: a file that `sample` wrote, with decisions from the top on.
        sample: csv to write rows drawn at random to, for a person to review; not overwritten.
        count: number of rows in it; default: as many as are planned for +-5 points.

    Raises:
        FileNotFoundError: if the folder or the data is not there.
        ValueError: for data that have changed, predictions of other labels, and a review of rows that are not the first
            of those drawn.
    """
    rows, report = _examined(folder)
    p, names = label_probabilities(predictions, rows, label_names)
    if set(names) != set(report.label_names):
        raise ValueError(
            f"{predictions} has the labels {', '.join(names)}, the report in {folder} {', '.join(report.label_names)}: "
            "give one column for each label."
        )
    p = np.asarray(p)[:, [names.index(name) for name in report.label_names]]
    trusted = None
    if review is not None:
        check_review_texts(review, report)
        decisions = read_review(review)
        if not decisions:
            raise ValueError(f"{review} has no decision yet: fill its column `decision`, from the top on.")
        trusted = _drawn(report, sorted({decision.row for decision in decisions}), review)
        # By the sample alone: earlier reviews of some of its rows would leave those that disagree undecided.
        report = report.without_review().apply_review(decisions)
    scores = noise_corrected_scores(p, report, thresholds=threshold, trusted_rows=trusted)
    if sample is None:
        return Scored(scores)
    wanted = count or scores.rows_to_review(WIDTHS[0])
    return Scored(scores, write_queue(random_review(report, wanted), sample), wanted)


def _examined(folder: Path) -> tuple[LabeledRows, LabelReport]:
    """The rows that a folder's report is about, read as they were, and the report."""
    remedy = f"Give a folder that textpl clean wrote, or write {folder} again."
    if not (folder / RECORD).exists():
        raise FileNotFoundError(f"There is no {folder / RECORD}. {remedy}")
    record, inputs = (read_json(folder / name, remedy) for name in (RECORD, INPUTS))
    said, source = record["settings"], record["source"]
    raw = open_source(source, splits=None if said.get("split") is None else {"train": said["split"]})
    if said.get("label_names") is not None:
        raw.info["label_names"] = said["label_names"]
    written = LabelFormat(**{name: said.get(name) for name in FORMAT})
    rows = read_labeled(raw, source, record["text"], record["labels"], label_format=written)
    if rows.fingerprint() != inputs["data"]:
        raise ValueError(f"{source} has other texts or labels than when {folder} was written. {remedy}")
    dataset = from_text(rows.dataset, rows.label_column, rows.label_format, rows.label_names)
    return rows, LabelReport.load(folder, dataset)


def _drawn(report: LabelReport, decided: list[int], review: Path) -> list[int]:
    """The decided rows, once they are the first of those that `random_review` draws."""
    drawn = list(dict.fromkeys(random_review(report, len(report)).rows.tolist()))[: len(decided)]
    if sorted(drawn) == decided:
        return decided
    missing = next(row for row in drawn if row not in set(decided))
    raise ValueError(
        f"{review}: row {missing} has no decision, and others that come after it have. Rows drawn at random are a fair "
        "sample only without gaps: decide all from the top on (hard ones too), in the file that --sample wrote."
    )
