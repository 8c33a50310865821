"""Cells on their way to a person and back: csv, jsonl, Argilla and Label Studio."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pyarrow as pa
from datasets import Dataset

from textpl.atomic_files import write_json, write_text
from textpl.label_issues.cells import cell_table, text_of
from textpl.label_issues.decisions import Decision
from textpl.label_issues.findings import Findings
from textpl.reading.delimited import TextFormat
from textpl.reading.find_columns import replaced
from textpl.reading.tables import read_table, read_text
from textpl.reading.writing import write_table

# Argilla refuses an answer without any label, so "none" has to be one.
NO_LABEL = "(no label)"
QUESTION = "label"
YES, NO = ("yes", "y", "true", "1", "1.0"), ("no", "n", "false", "0", "0.0")
QUEUE_NUMBER = re.compile(r"-\d+$")  # of review-2.csv
ROW = re.compile(r"([0-9]+)([.,]00?)?")  # spreadsheets make fractions of whole numbers


@dataclass(frozen=True, eq=False)
class ReviewQueue:
    """Cells for a person to decide, most probable errors first.

    Attributes:
        report: they come from it.
        rows: int64 (cells,), rows of the dataset.
        labels: int64 (cells,), label ids; single-label the given ones.
        lesson: bool (cells,): drawn to learn from.
        answers: for each cell, what people said who disagree about it; "" elsewhere. Empty where nobody disagrees.
    """

    report: Findings
    rows: np.ndarray
    labels: np.ndarray
    lesson: np.ndarray
    answers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        noun, texts = "cells" if self.report.multi else "rows", len(np.unique(self.rows))
        errors = float(self.report.p_error[(self.rows, self.labels) if self.report.multi else self.rows].sum())
        where = f" of {texts:,} rows" if self.report.multi else ""
        wrong = f", about {errors:,.0f} of them wrong" if self.report.counted else ""
        return f"<ReviewQueue: {len(self):,} {noun}{where}{wrong}; {int(self.lesson.sum()):,} to learn from>"

    def label_names(self) -> list[str]:
        """Name of the label of each cell."""
        return [self.report.label_names[k] for k in self.labels.tolist()]

    def to_dataset(self) -> Dataset:
        """One row per cell, as `LabelReport.cells`, with `lesson`, the `question` in words and an empty `decision`.

        Where people disagree, `answers` says who said what.
        """
        table = cell_table(self.report, self.rows, self.labels)
        table = table.add_column("lesson", [bool(value) for value in self.lesson])
        if any(self.answers):
            table = table.add_column("answers", list(self.answers))
        table = table.add_column("question", [self._question(line) for line in table.to_list()])
        return table.add_column("decision", [""] * len(self))

    def to_csv(self, path: str | Path) -> None:
        """A table for any spreadsheet: fill the column `decision` and read it with `read_review`.

        Multi-label: "yes" if the label of the cell is right for the text, "no" if it is not. Single-label: the name of
        the right label. Cells without a decision are left out. Several people fill in a copy each, or write their names
        in a column `annotator`.
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
            suggestions = {QUESTION: {**value, "agent": "textpl"}}
            records.append(argilla_record(row, text_of(self.report, row), self._asked(row, cells), suggestions))
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
                    "data": self._asked(row, cells) | {"text": text_of(self.report, row)},
                    "predictions": [{"model_version": "textpl", "score": score, "result": [result] if names else []}],
                }
            )
        _write_json(tasks, path)
        view = label_studio_view(self.report.label_names, multi=self.report.multi)
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


def argilla_record(
    row: int, text: str, metadata: dict[str, Any], suggestions: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A text as a record of Argilla 2, to be answered under the question "label".

    Args:
        row: its number in the dataset.
        text: what is shown.
        metadata: what comes back with the answer.
        suggestions: what is proposed, by question.
    """
    return {
        "id": f"row-{row}",
        "fields": {"text": text},
        "metadata": metadata,
        "suggestions": suggestions or {},
        "responses": {},
        "vectors": {},
    }


def label_studio_view(label_names: Sequence[str], *, multi: bool) -> str:
    """The labeling interface of Label Studio for a text and these labels: one of them, or any number."""
    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in label_names)
    kind = "multiple" if multi else "single"
    answer = f'<Choices name="{QUESTION}" toName="text" choice="{kind}">{choices}</Choices>'
    return f'<View><Text name="text" value="$text"/>{answer}</View>\n'


def read_review(path: str | Path, annotator: str | None = None) -> list[Decision]:
    """What people answered in a file that `ReviewQueue` wrote and they completed; nothing is combined here.

    Which of the four formats it is, is seen from the file. Of texts in Argilla and Label Studio every label in question
    is decided, and every other one that anybody changed, by each who saw the text. Who answered is said by Argilla
    (`user_id`) and Label Studio (`completed_by`), and in tables by a column `annotator`.

    Args:
        path: the file.
        annotator: who answered, where the file does not say; default its name without the suffix.

    Raises:
        ValueError: for a file in another form and a decision that cannot be read; record and remedy are named.
    """
    path = Path(path)
    annotator = path.stem if annotator is None else annotator
    if path.suffix.lower() != ".json":
        return list(_from_lines(read_table(path).dataset.to_list(), path, annotator))
    try:
        records = json.loads(read_text(path)[0])
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON: {error}.") from error
    if not isinstance(records, list) or not all(
        isinstance(r, dict) and ("fields" in r or "data" in r) for r in records
    ):
        raise ValueError(f"{path}: neither records of Argilla nor tasks of Label Studio (export format JSON).")
    return [decision for record in records for decision in _from_record(record, path)]


def read_reviews(paths: Iterable[str | Path]) -> list[Decision]:
    """What people answered in several files: see `read_review`.

    Where no column says who answered, the name of the file does, without a number at its end: `anna.csv` and
    `anna-2.csv` are one person's.

    Raises:
        ValueError: as `read_review`; for a file that is named twice, and for files of one name that do not say who
            answered: one person may have filled in both, or two may.
    """
    files = [Path(path) for path in paths]
    if twice := [file for file, number in Counter(file.resolve() for file in files).items() if number > 1]:
        raise ValueError(f"{twice[0]} is named twice: once is enough.")
    named, found = Counter(file.stem for file in files), []
    for file in files:
        name = QUEUE_NUMBER.sub("", file.stem)
        read = read_review(file, name)
        if named[file.stem] > 1 and any(decision.annotator == name for decision in read):
            raise ValueError(
                f"Several files are named {file.stem!r}, and nothing in {file} says who answered: name each after its "
                "person, or add a column `annotator`."
            )
        found += read
    return found


def check_review_texts(path: str | Path, report: Findings) -> None:
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
        here, there = (" ".join(str(value).split())[:200] for value in (text_of(report, int(found[1])), text))
        if here != there:
            raise ValueError(
                f"{path}, record {number}: its text is not that of row {found[1]}, {here[:60]!r}: a review of other "
                "data, or sorted in one column only? Give the review that was written for these rows."
            )


def _from_lines(lines: Iterable[dict[str, Any]], path: Path, annotator: str) -> Iterator[Decision]:
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
        row, said = int(found[1]), line.get("annotator")
        who = annotator if said is None or not str(said).strip() else str(said).strip()
        if "partner" not in line:  # which only multi-label cells have
            yield Decision(row, answer, True, lesson, who)
        elif answer.lower() in YES + NO:
            yield Decision(row, str(line["label"]), answer.lower() in YES, lesson, who)
        else:
            raise ValueError(f"{path}, record {number}: decision {answer!r}: write yes or no, or leave it empty.")


def _from_record(record: dict[str, Any], path: Path) -> Iterator[Decision]:
    """Decisions of one text, from Argilla ("metadata", "responses") or Label Studio ("data", "annotations")."""
    asked = record["metadata"] if "fields" in record else record["data"]
    if "review" not in asked:
        raise ValueError(f"{path}: a record without 'review': export the metadata (data) that the queue wrote too.")
    row, lessons = int(asked["row"]), set(asked["lessons"])
    answers = [(who, set(chosen) - {NO_LABEL}) for who, chosen in answers_of(record)]
    if asked["task"] == "single":
        yield from (Decision(row, name, True, bool(lessons), who) for who, chosen in answers for name in chosen)
        return
    # What one person changed, the others who saw the text left as it was: that is an answer too.
    changed = set().union(*(chosen ^ set(asked["given"]) for _, chosen in answers))
    for who, chosen in answers:
        for name in sorted(set(asked["review"]) | changed):
            yield Decision(row, name, name in chosen, name in lessons, who, name in asked["review"])


def answers_of(record: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each person, by their number where there is no name, and the names of the labels that they chose.

    Args:
        record: of Argilla ("fields", "responses") or Label Studio ("data", "annotations"), as exported.
    """
    if "fields" in record:
        for number, response in enumerate((record.get("responses") or {}).get(QUESTION, []), start=1):
            value = response["value"]
            yield str(response.get("user_id") or number), value if isinstance(value, list) else [value]
        return
    for number, annotation in enumerate(record.get("annotations", []), start=1):
        if not annotation.get("was_cancelled"):
            results = [r for r in annotation["result"] if r.get("from_name") == QUESTION]
            who = annotation.get("completed_by")
            if isinstance(who, dict):
                who = who.get("email") or who.get("id")
            yield str(who or number), [name for result in results for name in result["value"]["choices"]]


def _write_json(records: list[dict[str, Any]], path: str | Path) -> None:
    write_json(path, records)
