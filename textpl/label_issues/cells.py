"""Cells of a `LabelReport` as a table: what speaks for and against each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset, Features, List, Value

from textpl.cleaning.apply import alternatives
from textpl.label_issues.findings import Findings
from textpl.reading.labels import arrow_column

NEIGHBORS_SHOWN = 3
NEIGHBOR = {"row": Value("int64"), "labels": List(Value("string")), "text": Value("string")}
FLOATS = ("p_error", "p_model", "p_neighbors")


def cell_table(report: Findings, rows: np.ndarray, labels: np.ndarray) -> Dataset:
    """One row per cell: see `LabelReport.table` for the arguments and the columns."""
    names = np.asarray(report.label_names, dtype=object)
    at = (rows, labels) if report.multi else (rows,)
    given, other = report.given[at], alternatives(report.detection, report.given)[at]
    columns: dict[str, Any] = {"row": rows, "label": names[labels]}
    if report.multi:
        partner = report.detection.partner
        partners = np.full(len(rows), -1) if partner is None else partner[at]
        kind = np.where(partners >= 0, "swap", np.where(given == 1, "wrong", "missing"))
        columns |= {"given": given, "suggested": other, "kind": kind}
        columns["partner"] = [report.label_names[k] if k >= 0 else "" for k in partners]
    else:
        columns |= {"given": names[given], "suggested": names[other], "kind": np.full(len(rows), "wrong")}
    columns["p_error"] = report.p_error[at]
    for name in ("model", "neighbors"):
        evidence = report.detection.evidence.get(name)
        columns[f"p_{name}"] = np.full(len(rows), np.nan) if evidence is None else evidence[rows, labels]
    columns["text"] = texts_of(report, rows)
    columns["neighbors"] = _neighbors(report, rows)
    value = Value("int8") if report.multi else Value("string")
    kinds = {"row": Value("int64"), "given": value, "suggested": value, "neighbors": List(NEIGHBOR)}
    kinds |= {name: Value("float32") for name in FLOATS}
    features = Features({name: kinds.get(name, Value("string")) for name in columns})
    return Dataset.from_dict({name: list(values) for name, values in columns.items()}, features=features)


def texts_of(report: Findings, rows: np.ndarray) -> list[str]:
    """Texts of some rows; "" where there is no dataset or no text column."""
    if report.dataset is None or report.text_column is None:
        return [""] * len(rows)
    return pc.take(arrow_column(report.dataset, report.text_column), rows).to_pylist()


def text_of(report: Findings, row: int) -> str:
    """Return the text of a row; "" where there is no dataset."""
    return texts_of(report, np.array([row]))[0]


def _neighbors(report: Findings, rows: np.ndarray) -> list[list[dict[str, Any]]]:
    if report.neighbors is None:
        return [[] for _ in rows]
    near = report.neighbors[rows, :NEIGHBORS_SHOWN]
    texts = iter(texts_of(report, near[near >= 0]))
    return [[{"row": int(j), "labels": report.names_of(j), "text": next(texts)} for j in ids if j >= 0] for ids in near]
