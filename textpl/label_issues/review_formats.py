"""Cells on their way to a person and back: csv, jsonl, Argilla and Label Studio."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pyarrow as pa
from datasets import Dataset

from textpl.atomic_files import write_json, write_text
from textpl.label_issues.decisions import Decision
from textpl.reading.delimited import TextFormat
from textpl.reading.find_columns import replaced
from textpl.reading.tables import read_table, read_text
from textpl.reading.writing import write_table

if TYPE_CHECKING:
    from textpl.label_issues.report import LabelReport

# Argilla refuses an answer without any label, so "none" has to be one.
NO_LABEL = "(no label)"
QUESTION = "label"
YES, NO = ("yes", "y", "true", "1", "1.0"), ("no", "n", "false", "0", "0.0")
ROW = re.compile(r"([0-9]+)([.,]00?)?")  # spreadsheets make fractions of whole numbers


@dataclass(frozen=True, eq=False)
class ReviewQueue:
    """Cells for a person to decide, most probable errors first.

    Attributes:
        report: they come from it.
        rows: int64 (cells,), rows of the dataset.
        labels: int64 (cells,), label ids; single-label the given ones.
        lesson: bool (cells,): drawn to learn from.
    """

    report: LabelReport
    rows: np.ndarray
    labels: np.ndarray
    lesson: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        noun, texts = "cells" if self.report.multi else "rows", len(np.unique(self.rows))
        errors = float(self.report.p_error[(self.rows, self.labels) if self.report.multi else self.rows].sum())
        where = f" of {texts:,} rows" if self.report.multi else ""
        wrong = f", about {errors:,.0f} of them wrong" if self.report.calibrated else ""
        return f"<ReviewQueue: {len(self):,} {noun}{where}{wrong}; {int(self.lesson.sum()):,} to learn from>"

    def label_names(self) -> list[str]:
        """Name of the label of each cell."""
        return [self.report.label_names[k] for k in self.labels.tolist()]

    def to_dataset(self) -> Dataset:
        """One row per cell, as `LabelReport.cells`, with `lesson`, the `question` in words and an empty `decision`."""
        table = self.report.table(self.rows, self.labels)
        table = table.add_column("lesson", [bool(value) for value in self.lesson])
        table = table.add_column("question", [self._question(line) for line in table.to_list()])
        return table.add_column("decision", [""] * len(self))

    def to_csv(self, path: str | Path) -> None:
        """A table for any spreadsheet: fill the column `decision` and read it with `read_review`.

        Multi-label: "yes" if the label of the cell is right for the text, "no" if it is not. Single-label: the name of
        the right label. Cells without a decision are left out.
        """
        table = self.to_dataset()
        near = [
            "\n".join(f"{n['text']} [{', '.join(n['labels'])}]" for n in neighbors) for neighbors in table["neighbors"]
        ]
        table = replaced(table, "neighbors", pa.array(near, pa.string()))
        # The mark at the beginning tells Excel that it is UTF-8.
        write_table(table, Path(path), like=TextFormat(encoding="utf-8-sig"), for_spreadsheets=True)

    def to_jsonl(self, path: str | Path) -> None:
        """One JSON object per cell, with the neighbours as lists; `decision` as in `to_csv`."""
        write_table(self.to_dataset(), Path(path))

    def to_argilla(self, path: str | Path) -> None:
        """Records for Argilla 2, one per text: `dataset.records.from_json(path)`.

        The dataset needs `rg.Settings(fields=[rg.TextField("text")], questions=[...], allow_extra_metadata=True)` with
        `rg.MultiLabelQuestion("label", labels=[*names, "(no label)"])`, single-label
        `rg.LabelQuestion("label", labels=names)`. Back by `dataset.records(with_responses=True).to_json(path)`. Argilla
        does not export whether a response is a draft, so have all submitted or discarded.
        """
        records = []
        for row, cells in self._by_row():
            names, scores = self._suggestion(row)
            value = {"value": names, "score": scores} if self.report.multi else {"value": names[0], "score": scores[0]}
            records.append(
                {
                    "id": f"row-{row}",
                    "fields": {"text": self.report.text(row)},
                    "metadata": self._asked(row, cells),
                    "suggestions": {QUESTION: {**value, "agent": "textpl"}},
                    "responses": {},
                    "vectors": {},
                }
            )
        _write_json(records, path)

    def to_label_studio(self, path: str | Path) -> None:
        """Tasks with predictions for Label Studio, one per text, and the labelling interface beside it (`.xml`).

        Sort by prediction score in the data manager: the score of a task is its largest p_error. Back by the export in
        the format "JSON".
        """
        tasks = []
        for row, cells in self._by_row():
            names = [name for name in self._suggestion(row)[0] if name != NO_LABEL]
            result: dict[str, Any] = {
                "from_name": QUESTION,
                "to_name": "text",
                "type": "choices",
                "value": {"choices": names},
            }
            score = float(max(self.report.p_error[row].ravel()[c] for c in (cells if self.report.multi else [0])))
            tasks.append(
                {
                    "data": self._asked(row, cells) | {"text": self.report.text(row)},
                    "predictions": [{"model_version": "textpl", "score": score, "result": [result] if names else []}],
                }
            )
        _write_json(tasks, path)
        choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in self.report.label_names)
        kind = "multiple" if self.report.multi else "single"
        answer = f'<Choices name="{QUESTION}" toName="text" choice="{kind}">{choices}</Choices>'
        view = f'<View><Text name="text" value="$text"/>{answer}</View>\n'
        write_text(Path(path).with_suffix(".xml"), view)

    def _question(self, line: dict[str, Any]) -> str:
        if self.report.multi:
            return f"Is {line['label']!r} right for this text? yes or no"
        other = "" if line["suggested"] == line["given"] else f" {line['suggested']!r}?"
        return f"Which label is right for this text? {line['given']!r}?{other} Another?"

    def _by_row(self) -> Iterator[tuple[int, list[int]]]:
        """Rows in the order of their first cell, with the ids of the labels in question."""
        cells: dict[int, list[int]] = defaultdict(list)
        for row, label in zip(self.rows.tolist(), self.labels.tolist(), strict=True):
            cells[row].append(label)
        yield from cells.items()

    def _asked(self, row: int, cells: Sequence[int]) -> dict[str, Any]:
        names, mine = self.report.label_names, self.rows == row
        lessons = self.labels[mine & self.lesson]
        return {
            "row": row,
            "task": "multi" if self.report.multi else "single",
            "review": [names[k] for k in cells],
            "lessons": [names[k] for k in lessons.tolist()],
            "given": self.report.names_of(row),
        }

    def _suggestion(self, row: int) -> tuple[list[str], list[float]]:
        """Names of the labels suggested for a row and the probability of each."""
        report = self.report
        if not report.multi:
            best = int(report.suggested[row])
            return [report.label_names[best]], [float(report.p_true[row, best])]
        on = np.flatnonzero(report.suggested[row] == 1)
        if not len(on):
            return [NO_LABEL], [float(np.prod(1 - report.p_true[row].astype(np.float64)))]
        return [report.label_names[k] for k in on], report.p_true[row, on].astype(float).tolist()


def read_review(path: str | Path) -> list[Decision]:
    """Decisions from a file that `ReviewQueue` wrote and a person (or several) completed.

    Which of the four formats it is, is seen from the file. Of texts in Argilla and Label Studio every label in question
    is decided, and every other one that the person changed. Several answers about one cell: the majority; cells with
    a tie are left out.

    Raises:
        ValueError: for a file in another form and a decision that cannot be read; record and remedy are named.
    """
    path = Path(path)
    if path.suffix.lower() != ".json":
        return _majority(_from_lines(read_table(path).dataset.to_list(), path))
    try:
        records = json.loads(read_text(path)[0])
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON: {error}.") from error
    if not isinstance(records, list) or not all(
        isinstance(r, dict) and ("fields" in r or "data" in r) for r in records
    ):
        raise ValueError(f"{path}: neither records of Argilla nor tasks of Label Studio (export format JSON).")
    return _majority(decision for record in records for decision in _from_record(record, path))


def check_review_texts(path: str | Path, report: LabelReport) -> None:
    """Refuse a review of other data: the texts beside its decisions must be those of the report's rows.

    Raises:
        ValueError: for another text; record and row are named.
    """
    path = Path(path)
    if path.suffix.lower() == ".json" or report.text_column is None:
        return
    for number, line in enumerate(read_table(path).dataset.to_list(), start=1):
        found, text = ROW.fullmatch(str(line.get("row", "")).strip()), line.get("text")
        if found is None or not text or line.get("decision") in (None, "") or int(found[1]) >= len(report):
            continue
        # Spreadsheets change white space, and cut what is long.
        here, there = (" ".join(str(value).split())[:200] for value in (report.text(int(found[1])), text))
        if here != there:
            raise ValueError(
                f"{path}, record {number}: its text is not that of row {found[1]}, {here[:60]!r}: a review of other "
                "data, or sorted in one column only? Give the review that was written for these rows."
            )


# Whether the task is multi-label, and one person's decision.
Vote = tuple[bool, Decision]


def _from_lines(lines: Iterable[dict[str, Any]], path: Path) -> Iterator[Vote]:
    for number, line in enumerate(lines, start=1):
        missing = {"row", "label", "decision"} - line.keys()
        if missing:
            raise ValueError(
                f"{path}: no column {', '.join(map(repr, sorted(missing)))}, but {list(line)}: keep the columns of the "
                "queue."
            )
        answer = "" if line["decision"] is None else str(line["decision"]).strip()
        lesson = str(line.get("lesson", True)).strip().lower() in YES
        if not answer:
            continue
        found = ROW.fullmatch(str(line["row"]).strip())
        if found is None:
            raise ValueError(
                f"{path}, record {number}: row {line['row']!r} is no row number: leave that column as it was."
            )
        row = int(found[1])
        if "partner" not in line:  # which only multi-label cells have
            yield False, Decision(row, answer, True, lesson)
        elif answer.lower() in YES + NO:
            yield True, Decision(row, str(line["label"]), answer.lower() in YES, lesson)
        else:
            raise ValueError(f"{path}, record {number}: decision {answer!r}: write yes or no, or leave it empty.")


def _from_record(record: dict[str, Any], path: Path) -> Iterator[Vote]:
    """Decisions of one text, from Argilla ("metadata", "responses") or Label Studio ("data", "annotations")."""
    asked = record["metadata"] if "fields" in record else record["data"]
    if "review" not in asked:
        raise ValueError(f"{path}: a record without 'review': export the metadata (data) that the queue wrote too.")
    for answer in _answers(record):
        chosen = set(answer) - {NO_LABEL}
        lessons = set(asked["lessons"])
        if asked["task"] == "single":
            yield from ((False, Decision(int(asked["row"]), name, True, bool(lessons))) for name in chosen)
            continue
        for name in sorted(set(asked["review"]) | (chosen ^ set(asked["given"]))):
            yield True, Decision(int(asked["row"]), name, name in chosen, name in lessons)


def _answers(record: dict[str, Any]) -> Iterator[list[str]]:
    """What each person chose, as lists of names."""
    if "fields" in record:
        for response in (record.get("responses") or {}).get(QUESTION, []):
            value = response["value"]
            yield value if isinstance(value, list) else [value]
        return
    for annotation in record.get("annotations", []):
        if not annotation.get("was_cancelled"):
            results = [r for r in annotation["result"] if r.get("from_name") == QUESTION]
            yield [name for result in results for name in result["value"]["choices"]]


def _majority(votes: Iterable[Vote]) -> list[Decision]:
    """One decision per cell; single-label answers about a row compete with each other."""
    cast: dict[tuple[int, str], list[Decision]] = defaultdict(list)
    for multi, decision in votes:
        cast[decision.row, decision.label if multi else ""].append(decision)
    decisions = []
    for same in cast.values():
        winner, number = Counter((d.label, d.right) for d in same).most_common(1)[0]
        if number > len(same) / 2:
            decisions.append(Decision(same[0].row, *winner, same[0].lesson))
    return decisions


def _write_json(records: list[dict[str, Any]], path: str | Path) -> None:
    write_json(path, records)
