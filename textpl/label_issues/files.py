"""`textpl clean`: examine a corpus, or take up an earlier report, and write what came of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.cleaning.apply import Plan, check_thresholds
from textpl.cleaning.noise_rates import RateEstimate
from textpl.cleaning.transition import TransitionEstimate
from textpl.label_issues.columns import held_out
from textpl.label_issues.find import find_label_issues
from textpl.label_issues.reading import Labelled, read_labelled, read_probabilities
from textpl.label_issues.record import write_record
from textpl.label_issues.report import LabelReport
from textpl.label_issues.review_formats import read_review
from textpl.label_issues.telling import done
from textpl.sources import open_source

UNLABELLED = "unlabelled.parquet"  # beside the cleaned corpus: a folder of splits would be read with it
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
        if "unlabelled rows" in self.files:
            found.append(f"Rows without a label, left out of all this: {self.report.about[LEFT_OUT]:,}.")
        return "\n".join([*found, f"In {self.files['cleaned corpus']}: {done(self.report, self.plan)}"])


def clean_files(
    data: str,
    out: Path,
    *,
    text: str = "text",
    labels: str = "label",
    delimiter: str | None = None,
    merge_variants: bool = False,
    split: str | None = None,
    allow_test: bool = False,
    test: str | None = None,
    pred_probs: Path | None = None,
    relabel: float | None = None,
    drop: float | None = None,
    downweight: float | None = None,
    budget: int = 500,
    review: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> Cleaned:
    """Examine the labels of one source and write a cleaned corpus, the report, and cells for a person to review.

    Rows without a label (of lists, and of strings that hold several labels, an empty one says that none fits) are not
    examined: they go as they are into `out`/unlabelled.parquet.

    Writes `out`/cleaned/train.parquet (or another split's name), `out`/report, `out`/review.csv and
    `out`/cleaning.json (`record.write_record`); a report that is there and was made from the same data is used again,
    and a queue that is there stays (the next is review-2.csv).

    Args:
        data: folder, file or Hub id.
        out: folder to write.
        text: name of the text column.
        labels: a column of ids or names, of lists of either, or of strings that hold several; or several columns of 0
            and 1, separated by commas.
        delimiter: between labels of one string; "" for one label per string. None: found.
        merge_variants: merge names that differ only in case, spaces or character width.
        split: of a folder or of Hub data; default train.
        allow_test: clean held-out data.
        test: folder, file or Hub id with rows that must not be in `data`.
        pred_probs: .npy, .npz, .csv or .parquet, out-of-sample, (rows, labels); rows without a label count.
        relabel: see `LabelReport.apply`, as for `drop` and `downweight`.
        drop: likewise.
        downweight: likewise.
        budget: cells in the review queue.
        review: file with decisions, see `textpl.label_issues.review_formats.read_review`.
        say: gets one line about each thing that the user should know while it is done.
        settings: of `find_label_issues`; None for those that were not said, "none" for going without an encoder.

    Raises:
        FileExistsError: if `out` holds something else, or a report on other data or by other settings.
        ValueError: for data that cannot be read and all that `find_label_issues` refuses.
    """
    check_thresholds(relabel, drop, downweight)
    if budget < 1:
        raise ValueError(f"--budget {budget}: at least 1 cell.")
    decisions = None if review is None else read_review(review)
    rows = read_labelled(data, text, labels, delimiter=delimiter, merge_variants=merge_variants, split=split)
    for note in rows.notes:
        say(note)
    if (name := held_out(rows.dataset, rows.split)) and not allow_test:
        problem = f"{name!r} looks like held-out data: cleaning it by a model makes that model's scores look too good"
        raise ValueError(f"{problem}. Clean the training rows (--split), or say --allow-test.")
    report = _examined(rows, out, test, pred_probs, {k: v for k, v in settings.items() if v is not None}, say)
    if decisions is not None:
        report = report.apply_review(decisions)
        report.save(out / "report")
    todo = report.plan(relabel, drop, downweight)
    cleaned = report.apply(relabel, drop, downweight, allow_test=allow_test)
    files = {
        "cleaned corpus": out / "cleaned" / f"{split or 'train'}.parquet",
        "cells to review": _free(out / "review.csv"),
        "all numbers": out / "report",
    }
    if len(rows.unlabelled):
        files["unlabelled rows"] = out / UNLABELLED
        rows.unlabelled.to_parquet(str(out / UNLABELLED))
    _write(cleaned, files["cleaned corpus"], "multi" if report.multi else "single", report.label_names)
    report.review_queue(budget).to_csv(files["cells to review"])
    rates = report.noise_rates()
    said = json.loads((out / "report" / INPUTS).read_text(encoding="utf-8"))["settings"]
    said |= {"split": split, "delimiter": delimiter, "merge_variants": merge_variants or None, "review": review}
    said |= {"relabel": relabel, "drop": drop, "downweight": downweight}
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in said.items()}
    settings = {name: value for name, value in settings.items() if value is not None}
    files["what was done"] = write_record(out, report, todo, rates, data, text, labels, settings)
    return Cleaned(report, todo, rates, files)


def _examined(
    rows: Labelled,
    out: Path,
    test: str | None,
    pred_probs: Path | None,
    settings: dict[str, Any],
    say: Callable[[str], None],
) -> LabelReport:
    """The report in `out` if it is of these rows, else a new one."""
    said = {**settings, **({} if test is None else {"test": test})}
    names = rows.label_names
    if settings.get("encoder") == "none":
        settings["encoder"] = None
    if pred_probs is not None:
        size = len(rows.given) + len(rows.unlabelled)
        p, names = read_probabilities(pred_probs, names, size)
        settings["pred_probs"] = p[rows.rows] if len(p) == size else p
        said["pred_probs"] = hashlib.sha256(np.ascontiguousarray(settings["pred_probs"]).tobytes()).hexdigest()[:16]
    folder = out / "report"
    if (folder / INPUTS).exists():
        known = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
        if known["data"] != rows.fingerprint():
            problem = "is about other texts or labels"
        elif other := [name for name, value in said.items() if known["settings"].get(name) != value]:
            problem = f"was made with another {', '.join(other)}"
        else:
            say(f"Using the report in {folder}; nothing is computed anew.")
            return LabelReport.load(folder, rows.dataset)
        raise FileExistsError(f"the report in {folder} {problem}: choose another --out, or the same settings.")
    if out.exists() and (others := sorted({path.name for path in out.iterdir()} - {"report"})):
        raise FileExistsError(f"{out} is not empty ({', '.join(others[:5])}): choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)  # before the work, not after it
    if test is not None:
        held = open_source(test).splits
        settings["test"] = held.get("test", held["train"])
    report = find_label_issues(
        rows.dataset, text_column=rows.text_column, label_column=rows.label_column, label_names=list(names), **settings
    )
    report.split = rows.split
    if len(rows.unlabelled):
        report.about[LEFT_OUT] = len(rows.unlabelled)
    report.save(folder)
    told = {"data": rows.fingerprint(), "settings": said}
    (folder / INPUTS).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _write(dataset: Dataset, path: Path, task: str, names: Sequence[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    info = {"task": task, "label_names": list(names)}
    (path.parent / "info.json").write_text(json.dumps(info, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial = path.with_name(path.name + ".partial")
    dataset.to_parquet(str(partial))
    os.replace(partial, path)


def _free(path: Path) -> Path:
    """`path`, or the first of -2, -3, ... that is not there: a queue may hold somebody's decisions."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = path.with_stem(f"{path.stem}-{number}")
    return found
