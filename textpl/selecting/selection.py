"""What was chosen: row numbers, why, and the forms in which they go to a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, Value

from textpl.atomic_files import write_json, write_text
from textpl.label_issues.review_formats import argilla_record, label_studio_view
from textpl.reading.delimited import TextFormat
from textpl.reading.writing import write_table

# Of the columns of a choice, beside those of the text and the label.
ABOUT = {
    "row": Value("int64"),
    "rank": Value("int64"),
    "why": Value("string"),
    "strategy": Value("string"),
    "weight": Value("float64"),
}
NO_SAMPLE = (
    "Chosen rows are no sample: how right the labels of textpl.label are in the rest of the pool cannot be told from "
    "them (its expected precision may be off either way). For that, label rows of strategy 'random' too."
)
BY_DOUBT = "Chosen where labels are in doubt: their class counts say nothing about the pool, and they have no weight."


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows of a pool to label, in this order; any beginning is a good smaller choice.

    Attributes:
        rows: int64 (chosen,), rows of the pool.
        weight: float64 (chosen,), the share of the pool's texts that each stands for (`textpl.class_rates`); NaN where
            that is not known: for rows chosen by doubt, and beside others labeled before.
        size: int64 (chosen,), texts of the pool that have it for their nearest chosen one.
        doubt: float64 (chosen,), how near its label is to changing, 1 for a tie; None without labels.
        probabilities: float32 (chosen, labels), what a classifier made of them, not calibrated; None without labels.
        strategy: that was taken.
        encoder: its name.
        seed: of the draws.
        label_names: where they are known.
        multi: whether rows may have several labels, as far as labels show it.
        notes: what was left out and why, for the user.
        text_column: of the pool.
        label_column: to be filled in.
    """

    rows: np.ndarray
    weight: np.ndarray
    size: np.ndarray
    doubt: np.ndarray | None
    probabilities: np.ndarray | None
    strategy: str
    encoder: str
    seed: int
    label_names: tuple[str, ...] | None
    multi: bool
    notes: tuple[str, ...]
    text_column: str
    label_column: str
    _pool: Dataset = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        chosen = f"{len(self):,} of {len(self._pool):,} texts by {self.strategy} (encoder {self.encoder})"
        doubtful = [BY_DOUBT] if self.doubt is not None else []
        return "\n".join([f"{chosen}.", *self.notes, *doubtful, *([] if self.strategy == "random" else [NO_SAMPLE])])

    def texts(self) -> list[str]:
        """The chosen texts in the order in which to label them."""
        found: list[str] = self._pool.with_format(None).select(self.rows)[self.text_column][:]
        return found

    def why(self) -> list[str]:
        """For each row, in words, why it was chosen."""
        if self.strategy == "random":
            return ["drawn at random"] * len(self)
        shares = [f"nearest chosen text of {size:,} in the pool" for size in self.size.tolist()]
        if self.probabilities is None:
            return shares
        names = self.label_names or ()
        return [
            f"{_doubtful(p, names, self.multi)}; {share}" for p, share in zip(self.probabilities, shares, strict=True)
        ]

    def to_dataset(self) -> Dataset:
        """One line per chosen row.

        Columns: `row` of the pool, the text and an empty label under the names of their columns, `rank`, `why` it was
        chosen, `strategy`, `weight` (None where it stands for no known share of the pool).
        """
        count, words = len(self), Value("string")
        columns = {
            "row": self.rows.tolist(),
            self.text_column: self.texts(),
            self.label_column: [""] * count,
            "rank": list(range(1, count + 1)),
            "why": self.why(),
            "strategy": [self.strategy] * count,
            "weight": [None if np.isnan(value) else float(value) for value in self.weight],
        }
        features = {name: ABOUT.get(name, words) for name in columns}
        return Dataset.from_dict(columns, features=Features(features))

    def to_csv(self, path: str | Path) -> None:
        """A table for any spreadsheet: fill the label column; `textpl label` and `textpl select --labeled` read it.

        Leave empty what nobody can tell. Several labels of a row: separated by commas.
        """
        write_table(self.to_dataset(), Path(path), like=TextFormat(encoding="utf-8-sig"), for_spreadsheets=True)

    def to_argilla(self, path: str | Path) -> None:
        """Records for Argilla 2: `dataset.records.from_json(path)`.

        The dataset needs `rg.Settings(fields=[rg.TextField("text")], questions=[...], allow_extra_metadata=True)` with
        a question named "label": `rg.LabelQuestion("label", labels=names)`, or `rg.MultiLabelQuestion`. Back by
        `dataset.records(with_responses=True).to_json(path)`.
        """
        write_argilla(self.to_dataset().to_list(), path, self.text_column)

    def to_label_studio(self, path: str | Path) -> None:
        """Tasks for Label Studio, and the labeling interface beside them (`.xml`). Back by the export "JSON".

        Raises:
            ValueError: if the names of the labels are not known, which the interface shows.
        """
        write_label_studio(self.to_dataset().to_list(), self.label_names, path, self.text_column, multi=self.multi)


def write_argilla(lines: Sequence[dict[str, Any]], path: str | Path, text: str) -> None:
    """Write chosen rows as records of Argilla: see `Selection.to_argilla`."""
    write_json(path, [argilla_record(line["row"], line[text], _asked(line)) for line in lines])


def write_label_studio(
    lines: Sequence[dict[str, Any]], names: Sequence[str] | None, path: str | Path, text: str, *, multi: bool
) -> None:
    """Write chosen rows as tasks of Label Studio: see `Selection.to_label_studio`."""
    shown = check_names(names)
    write_json(path, [{"data": _asked(line) | {"text": line[text]}} for line in lines])
    write_text(Path(path).with_suffix(".xml"), label_studio_view(shown, multi=multi))


def check_names(names: Sequence[str] | None) -> Sequence[str]:
    """Return the names of labels, which Label Studio shows; raise ValueError where there are none."""
    if not names:
        raise ValueError("Label Studio shows the labels to choose from: name them by label_names= (--label-names a,b).")
    return names


def _asked(line: dict[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ("row", "rank", "why", "strategy")}


def _doubtful(p: np.ndarray, names: Sequence[str], multi: bool) -> str:
    """The two likeliest labels, or the two nearest to one half."""
    order = np.argsort(np.abs(p - 0.5) if multi else -p, kind="stable")[:2]
    shown = (f"{names[k] if names else k} {100 * p[k]:.0f} %" for k in order.tolist())
    return (", " if multi else " or ").join(shown)
