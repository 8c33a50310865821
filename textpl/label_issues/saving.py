"""A `LabelReport` as two files, `arrays.npz` and `report.json`: no pickle, and nothing lost but the dataset."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from textpl.annotations.annotation import Annotation
from textpl.atomic_files import read_json, replacing_all
from textpl.cleaning.result import Detection, Opinions
from textpl.label_issues.decisions import Decision
from textpl.label_issues.findings import Findings

MAIN = ("p_error", "p_true", "flagged", "suggested")
ARRAYS, TOLD = "arrays.npz", "report.json"
DIGEST = "arrays_sha256"  # in report.json: of the other file, so that files of two saves are not taken for one
REMEDY = "Remove the folder and save the report, or run the command, again."


def save_report(report: Findings, folder: Path) -> None:
    """Write a report, overwriting one that is there: both files, or, after an error or a kill, neither.

    The same report gives the same bytes.

    Raises:
        OSError: as the writing does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = report.found
    arrays = {"given": report.given} | {name: getattr(found, name) for name in MAIN}
    arrays |= {f"evidence/{name}": array for name, array in found.evidence.items()}
    optional = {"partner": found.partner, "neighbors": report.neighbors, "points": report.points}
    arrays |= {name: array for name, array in optional.items() if array is not None}
    for name, value in found.info.items():
        if _has_arrays(value):
            # The number counts the arrays of a list; a lone array has none.
            parts = {f"info/{name}": value} if isinstance(value, np.ndarray) else {}
            arrays |= parts or {f"info/{name}/{i:03d}": part for i, part in enumerate(value)}
    if found.opinions is not None:
        arrays |= {f"base/{name}": getattr(found.opinions.base, name) for name in MAIN}
        arrays |= {f"annotator/{i:03d}": a.values for i, a in enumerate(found.opinions.annotations)}
    told = {
        "label_names": report.label_names,
        "text_column": report.text_column,
        "label_column": report.label_column,
        "split": report.split,
        "about": report.about,
        "decisions": report.decisions,
        "cut": report.cut,
        "info": plain(found.info),
        "problems": plain_problems(report.problems),
    }
    if found.opinions is not None:
        told["base_info"] = plain(found.opinions.base.info)
        told["annotators"] = [
            {"name": a.name, "kind": a.kind, "num_labels": a.num_labels, "outside": a.outside, "examples": a.examples}
            for a in found.opinions.annotations
        ]
    with replacing_all([folder / ARRAYS, folder / TOLD]) as (numbers, words):
        with numbers.open("wb") as file:
            np.savez(file, **arrays)
        told |= {DIGEST: _digest(numbers)}
        words.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_parts(folder: Path) -> tuple[Detection, dict[str, Any], dict[str, Any]]:
    """Detection before review, the arrays `given`, `neighbors` and `points`, and the other arguments of `LabelReport`.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: naming the file, if one is half-written or broken, or the two are of different reports.
    """
    told = read_json(folder / TOLD, REMEDY)
    arrays = _arrays(folder / ARRAYS)
    absent = [name for name in ("info", "decisions", "cut") if not isinstance(told, dict) or name not in told]
    if absent:
        raise ValueError(f"{folder / TOLD} is no report of textpl ({', '.join(absent)} missing). {REMEDY}")
    if told.pop(DIGEST, None) not in (None, _digest(folder / ARRAYS)):  # an older textpl wrote none
        raise ValueError(f"{folder / ARRAYS} and {TOLD} beside it are of different reports. {REMEDY}")
    info = told.pop("info")
    for name in sorted(name for name in arrays if name.startswith("info/")):
        _, key, *number = name.split("/")
        info[key] = [*info.get(key, []), arrays[name]] if number else arrays[name]
    evidence = {name.split("/")[1]: array for name, array in arrays.items() if name.startswith("evidence/")}
    p_error, p_true, flagged, suggested = (arrays[name] for name in MAIN)
    detection = Detection(p_error, p_true, flagged, suggested, evidence, arrays.get("partner"), info)
    annotators, base_info = told.pop("annotators", None), told.pop("base_info", {})
    if annotators is not None:
        detection = replace(detection, opinions=_opinions(detection, annotators, base_info, arrays))
    told["decisions"] = [Decision(*decision) for decision in told["decisions"]]
    told["cut"] = told["cut"] and tuple(told["cut"])
    kept = {name: arrays.get(name) for name in ("given", "neighbors", "points")}
    return detection, kept, told


def _opinions(
    detection: Detection, annotators: list[dict[str, Any]], base_info: dict[str, Any], arrays: dict[str, np.ndarray]
) -> Opinions:
    """What annotators said, and what was found without them."""
    stored = {name: value for name, value in detection.info.items() if _has_arrays(value)}
    p_error, p_true, flagged, suggested = (arrays[f"base/{name}"] for name in MAIN)
    base = replace(
        detection,
        p_error=p_error,
        p_true=p_true,
        flagged=flagged,
        suggested=suggested,
        info=base_info | stored,
    )
    said = [
        Annotation(**{**about, "examples": tuple(about["examples"])}, values=arrays[f"annotator/{i:03d}"])
        for i, about in enumerate(annotators)
    ]
    return Opinions(base, tuple(said))


def plain(info: dict[str, Any]) -> dict[str, Any]:
    """Numbers and text only: arrays are left out."""
    kept = {name: value for name, value in info.items() if not _has_arrays(value)}
    return json.loads(json.dumps(kept, default=lambda value: value.item() if hasattr(value, "item") else str(value)))


def plain_problems(problems: Any) -> Any:
    """The other problems of a corpus as plain data."""
    return problems.to_dict() if hasattr(problems, "to_dict") else problems


def _arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as stored:
            arrays = dict(stored)
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file} is half-written or broken ({' '.join(str(error).split())}). {REMEDY}") from error
    if absent := [name for name in (*MAIN, "given") if name not in arrays]:
        raise ValueError(f"{file} is no report of textpl ({', '.join(absent)} missing). {REMEDY}")
    return arrays


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _has_arrays(value: Any) -> bool:
    parts = value if isinstance(value, (list, tuple)) else [value]
    return bool(parts) and all(isinstance(part, np.ndarray) for part in parts)
