"""`cleaning.json`: what was done to the labels of a corpus, for dataset cards and other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from textpl.atomic_files import write_json
from textpl.cleaning.apply import Plan
from textpl.cleaning.noise_rates import RateEstimate
from textpl.cleaning.transition import TransitionEstimate
from textpl.label_issues.report import LabelReport

RECORD = "cleaning.json"
PACKAGES = ("textpl", "numpy", "scikit-learn", "datasets", "sentence-transformers")


def write_record(
    folder: Path,
    report: LabelReport,
    plan: Plan,
    rates: RateEstimate | TransitionEstimate,
    source: str,
    text: str,
    labels: str,
    settings: Mapping[str, Any],
    notes: Sequence[str] = (),
    command: str = "",
) -> Path:
    """Write `cleaning.json` into a folder.

    Its keys: `source`, `text` and `labels` as they were said; `settings`, what else was said; `command`; `notes`, how
    the labels were understood; `method`, `encoder`, `probabilities` and `seed`; `task`; `label_names`; `counts` of
    rows, labels, and cells (single-label: rows) that were flagged, relabelled, masked, downweighted and reviewed, and
    of rows left out as they have no label; `review`, who answered, how far they agree, and which cells they disagree
    about; `expected_errors`, `expected_right_flagged`, the number of flagged cells that are right as given, and
    `expected_right_changed`, the share of all right labels that was relabelled or masked (null where the scores are
    not calibrated); `noise`, how often each label is wrong; `versions`.

    Args:
        folder: where to.
        report: after review.
        plan: what was done to the labels.
        rates: how often each label is wrong.
        source: folder, file or Hub id.
        text: name of the text column.
        labels: name of the label column, or columns.
        settings: what else was said, plain data.
        notes: how the rows and labels were understood, and what was assumed.
        command: what the user typed, if it was a command.
    """
    cells = {name: int(count["cells"]) for name, count in plan.counts().items()}
    record = {
        "source": source,
        "text": text,
        "labels": labels,
        "settings": dict(settings),
        "command": command,
        "notes": list(notes),
        **{name: report.about.get(name) for name in ("method", "encoder", "probabilities", "seed")},
        "task": "multi" if report.multi else "single",
        "label_names": list(report.label_names),
        "counts": {
            "rows": len(report),
            "labels": len(report.label_names),
            "flagged": int(report.flagged.sum()),
            **{name: cells.get(name, 0) for name in ("relabelled", "masked", "downweighted")},
            "reviewed": len(report.consensus.decisions),
            "without_label": report.about.get("unlabelled_rows", 0),
        },
        "review": report.consensus.to_dict() if report.decisions else None,
        "expected_errors": round(report.expected_errors, 1) if report.counted else None,
        "expected_right_flagged": _right(report) if report.counted else None,
        "expected_right_changed": round(plan.right_changed, 5) if report.counted else None,
        "noise": _noise(rates),
        "versions": {name: version(name) for name in PACKAGES},
    }
    path = folder / RECORD
    write_json(path, record)
    return path


def _right(report: LabelReport) -> float:
    """Expected number of flagged cells whose given label is right."""
    return round(float((1 - report.p_error[report.flagged]).sum(dtype=np.float64)), 1)


def _noise(rates: RateEstimate | TransitionEstimate) -> dict[str, Any]:
    """Rates with 95 % intervals, labels in the order of `label_names`."""
    if isinstance(rates, TransitionEstimate):
        found = {"given_if_right": rates.matrix, "low": rates.low, "high": rates.high}
    else:
        found = {
            "false_negative": rates.false_negative,
            "false_positive": rates.false_positive,
            "low": rates.low,
            "high": rates.high,
        }
    return {"source": rates.source, **{name: np.round(values, 4).tolist() for name, values in found.items()}}
