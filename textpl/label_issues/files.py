"""`textpl clean`: examine a corpus, or take up an earlier report, and write what came of it into one flat folder."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from textpl.atomic_files import check_writable, is_temporary, read_json, remove_temporary, write_json
from textpl.cleaning.apply import Plan, check_thresholds
from textpl.cleaning.noise_rates import RateEstimate
from textpl.cleaning.transition import TransitionEstimate
from textpl.label_issues.columns import as_written, from_text, held_out
from textpl.label_issues.decisions import changed_answers
from textpl.label_issues.find import find_label_issues
from textpl.label_issues.record import write_record
from textpl.label_issues.report import LabelReport
from textpl.label_issues.review_formats import ReviewQueue, check_review_texts, read_reviews
from textpl.label_issues.saving import ARRAYS, TOLD
from textpl.label_issues.telling import done
from textpl.reading.label_arrays import match_probabilities
from textpl.reading.label_format import ENCODED, LabelFormat
from textpl.reading.labeled_rows import LabeledRows, read_labeled
from textpl.reading.probabilities import read_probability_file
from textpl.reading.sources import open_source
from textpl.reading.tables import read_table
from textpl.reading.writing import write_table

INPUTS = "inputs.json"  # what a report was made from; written last, so a report without it is unfinished
LEFT_OUT = "unlabelled_rows"  # in what a report says about itself


@dataclass(frozen=True)
class Cleaned:
    """What `clean_files` found and wrote.

    Attributes:
        report: after review.
        plan: what was done to the labels.
        rates: how often each label is wrong.
        files: what it is -> where it lies.
    """

    report: LabelReport
    plan: Plan
    rates: RateEstimate | TransitionEstimate
    files: dict[str, Path] = field(default_factory=dict)

    def summary(self) -> str:
        """What was found and done, in a few lines."""
        # The report's own line about apply() is of its default thresholds.
        found = [line for line in self.report.summary().splitlines() if not line.startswith("apply():")]
        if "unlabeled rows" in self.files:
            found.append(f"Rows without a label, left out of all this: {self.report.about[LEFT_OUT]:,}.")
        return "\n".join([*found, f"In {self.files['cleaned corpus']}: {done(self.report, self.plan)}"])


def clean_files(
    data: str,
    out: Path,
    *,
    text: str = "text",
    labels: str = "label",
    label_names: list[str] | None = None,
    label_format: LabelFormat | None = None,
    split: str | None = None,
    allow_test: bool = False,
    test: str | None = None,
    pred_probs: Path | None = None,
    relabel: float | None = None,
    drop: float | None = None,
    downweight: float | None = None,
    budget: int = 500,
    review: Sequence[Path] = (),
    command: str = "",
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Cleaned:
    """Examine the labels of one source and write a cleaned corpus, the report, and cells for a person to review.

    Writes into `out`, each file whole or not at all: `train.csv` (the corpus with its labels cleaned, in the form in
    which it was read: suffix, delimiter, encoding, columns; or another split's name) and `info.json`; `unlabeled.csv`,
    the rows without a label as they are; `review.csv`; `cleaning.json` (`record.write_record`); `report.json`,
    `arrays.npz` and `inputs.json`, the report for programs. `textpl run --data OUT` and `textpl recipes new` read such
    a folder. A report that is there and was made from the same data is used again, and a queue that is there stays: the
    next one, if it has other cells, is `review-2.csv`.

    Args:
        data: folder, file or Hub id.
        out: folder to write.
        text: name of the text column.
        labels: a column of ids or names, of lists of either, or of strings that hold several; or several columns of 0
            and 1, separated by commas.
        label_names: names of all labels in the order of the columns of `pred_probs`, where these have no headings.
        label_format: how labels are written, where that is not to be found out.
        split: of a folder or of Hub data; default train.
        allow_test: clean held-out data.
        test: folder, file or Hub id with rows that must not be in `data`.
        pred_probs: .npy, .npz, .csv or .parquet, out-of-sample, (rows, labels); rows without a label count.
        relabel: see `LabelReport.apply`, as for `drop` and `downweight`.
        drop: likewise.
        downweight: likewise.
        budget: cells in the review queue.
        review: files with decisions, one of each person, see `textpl.label_issues.review_formats.read_reviews`.
        command: what the user typed, for `cleaning.json`.
        say: gets one line about each thing that the user should know while it is done.
        settings: of `find_label_issues`; None for those that were not said, "none" for going without an encoder.

    Raises:
        FileExistsError: if `out` holds something else, or a report on other data or by other settings.
        ValueError: for data that cannot be read and all that `find_label_issues` refuses.
    """
    check_thresholds(relabel, drop, downweight)
    if budget < 1:
        raise ValueError(f"--budget {budget}: at least 1 cell.")
    decisions = read_reviews(review)
    raw = open_source(data, splits=None if split is None else {"train": split})
    if label_names is not None:
        raw.info["label_names"] = label_names
    rows = read_labeled(raw, data, text, labels, label_format=label_format)
    for note in rows.notes:
        say(note)
    file = Path(data).expanduser()
    called = split or (file.stem if file.is_file() else "train")
    if (name := held_out(rows.dataset, called)) and not allow_test:
        problem = f"{name!r} looks like held-out data: cleaning it by a model makes that model's scores look too good"
        raise ValueError(f"{problem}. Clean the training rows (--split), or say --allow-test.")
    report = _examined(rows, out, called, test, pred_probs, {k: v for k, v in settings.items() if v is not None}, say)
    if review:
        for path in review:
            check_review_texts(path, report)
        for line in changed_answers(report.decisions, decisions, multi=report.multi):
            say(line)
        report = report.apply_review(decisions)
        report.save(out)
    todo = report.plan(relabel, drop, downweight)
    cleaned = report.apply(relabel, drop, downweight, allow_test=allow_test)
    files = _write_corpus(as_written(cleaned, rows), rows, report, out, split or "train")
    files["cells to review"] = write_queue(report.review_queue(budget), out / "review.csv")
    rates = report.noise_rates()
    said = _read_inputs(out)["settings"] | {"split": split, "review": [str(path) for path in review] or None}
    said |= {"label_names": label_names, **vars(label_format or LabelFormat())}
    said |= {"relabel": relabel, "drop": drop, "downweight": downweight}
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in said.items()}
    settings = {name: value for name, value in settings.items() if value is not None}
    files["what was done"] = write_record(out, report, todo, rates, data, text, labels, settings, rows.notes, command)
    return Cleaned(report, todo, rates, files)


def _write_corpus(cleaned: Dataset, rows: LabeledRows, report: LabelReport, out: Path, name: str) -> dict[str, Path]:
    """Write the rows with and those without a label in the form in which they were read, and `info.json`.

    Args:
        cleaned: the rows with a label, as they are to be written.
        rows: what was read.
        report: on these rows.
        out: folder to write.
        name: of the split.

    Returns:
        What it is -> where it lies.
    """
    written = None if rows.table is None else rows.table.written
    suffix = ".parquet" if written is None else ".jsonl" if "json" in written.suffix else written.suffix
    files = {"cleaned corpus": out / f"{name}{suffix}"}
    if len(rows.unlabeled):
        files["unlabeled rows"] = out / f"unlabeled{suffix}"
        write_table(rows.unlabeled, files["unlabeled rows"], like=written)
    info: dict[str, Any] = {"task": "multi" if report.multi else "single", "label_names": list(report.label_names)}
    none = list(rows.label_format.unlabeled_values or ())
    info |= {"label_format": rows.label_format.described() | {"unlabeled_values": none}}
    write_json(out / "info.json", info)
    write_table(cleaned, files["cleaned corpus"], like=written)
    return files


def _examined(
    rows: LabeledRows,
    out: Path,
    called: str,
    test: str | None,
    pred_probs: Path | None,
    settings: dict[str, Any],
    say: Callable[[str], None],
) -> LabelReport:
    """The report in `out` if it is of these rows, else a new one."""
    said = {**settings, **({} if test is None else {"test": test})}
    names = rows.label_names
    dataset = from_text(rows.dataset, rows.label_column, rows.label_format, rows.label_names)
    if settings.get("encoder") == "none":
        settings["encoder"] = None
    if pred_probs is not None:
        settings["pred_probs"], names = label_probabilities(pred_probs, rows)
        said["pred_probs"] = hashlib.sha256(np.ascontiguousarray(settings["pred_probs"]).tobytes()).hexdigest()[:16]
    if "annotations" in settings:
        said["annotations"] = _answers_digest(dataset, settings["annotations"])
    if (out / INPUTS).exists():
        known = _read_inputs(out)
        if known["data"] != rows.fingerprint():
            problem = "is about other texts or labels"
        elif other := [name for name, value in said.items() if known["settings"].get(name) != value]:
            problem = f"was made with another {', '.join(other)}"
        else:
            say(f"Using the report in {out}; nothing is computed anew.")
            remove_temporary(out)
            return LabelReport.load(out, dataset)
        raise FileExistsError(f"the report in {out} {problem}: choose another --out, or the same settings.")
    there = [path.name for path in out.iterdir() if not is_temporary(path)] if out.exists() else []
    if others := sorted(set(there) - {ARRAYS, TOLD}):
        raise FileExistsError(f"{out} is not empty ({', '.join(others[:5])}): choose another --out.")
    check_writable(out)  # before the work, not after it
    remove_temporary(out)
    if test is not None:
        held = open_source(test).splits
        settings["test"] = held.get("test", held["train"])
    report = find_label_issues(
        dataset,
        text_column=rows.text_column,
        label_column=rows.label_column,
        label_names=list(names),
        label_format=ENCODED,
        **settings,
    )
    report.split = called
    if len(rows.unlabeled):
        report.about[LEFT_OUT] = len(rows.unlabeled)
    if rows.notes:
        report.about["notes"] = list(rows.notes)
    report.save(out)
    write_json(out / INPUTS, {"data": rows.fingerprint(), "settings": said})
    return report


def _answers_digest(dataset: Dataset, columns: Sequence[str]) -> list[str]:
    """Columns of answers, and a hash of what is in them: other answers make another report."""
    kept = [name for name in dataset.column_names if any(name == c or name.startswith(f"{c}_") for c in columns)]
    told = repr([dataset.with_format(None)[name][:] for name in kept]).encode()
    return [*columns, hashlib.sha256(told).hexdigest()[:16]]


def label_probabilities(
    file: Path, rows: LabeledRows, order: Sequence[str] | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Probabilities of the labeled rows in the order of the labels, and the names of all labels in that order.

    Args:
        file: .npy, .npz, .csv or .parquet.
        rows: that were labeled, and those that were not.
        order: names of all labels in the order of the columns, where the file has no headings.

    Raises:
        ValueError: for what cannot be read, and an order that nobody has said.
    """
    names, size = rows.label_names, len(rows.given) + len(rows.unlabeled)
    try:
        p, headings = read_probability_file(file, names)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if str(file) in str(error):
            raise
        remedy = "write it again, with one column of numbers for each label"
        raise ValueError(f"{file} cannot be read as probabilities ({error}): {remedy}.") from error
    if headings is None and order is not None:
        if len(order) != p.shape[1]:
            raise ValueError(f"{len(order)} label names for the {p.shape[1]} columns of {file}: give one for each.")
        headings = tuple(order)
    if headings is not None:
        p = pd.DataFrame(p, columns=list(headings))
    declared = names if rows.coding.declared and headings is None else None
    p, names = match_probabilities(p, names, declared, ids=rows.coding.form in ("id", "ids", "multi_hot"))
    return (p[rows.rows] if len(p) == size else p), names


def _read_inputs(out: Path) -> dict[str, Any]:
    remedy = f"Remove {out}, or choose another --out."
    known = read_json(out / INPUTS, remedy)
    if not isinstance(known, dict) or not {"data", "settings"} <= set(known):
        raise ValueError(f"{out / INPUTS} is not what textpl clean writes. {remedy}")
    return known


def write_queue(queue: ReviewQueue, path: Path) -> Path:
    """Write a review queue beside those that are there, which may hold somebody's decisions; not if it is there."""
    cells = list(zip(queue.rows.tolist(), queue.label_names(), strict=True))
    number, found = 1, path
    while found.exists():
        if _cells(found) == cells:
            return found
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    queue.to_csv(found)
    return found


def _cells(path: Path) -> list[tuple[int, str]] | None:
    try:
        there = read_table(path).dataset
        return list(zip(map(int, there["row"][:]), map(str, there["label"][:]), strict=True))
    except (ValueError, KeyError, TypeError):
        return None
