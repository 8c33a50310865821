"""Rows with a text of their own that the encoder cannot tell from another: their embeddings are no evidence.

An encoder reads the beginning of a text, and knows not every sign of it. What it does not see makes different texts the
same to it, and where their labels differ, all but the majority would look wrong.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from textpl.cleaning.apart import Detect, Evidence, placed
from textpl.cleaning.result import Detection
from textpl.embeddings.graph import NeighborGraph

# Cosine from which two embeddings are one: the same tokens in another batch, in bfloat16, differ by less.
SAME = 1 - 1e-4
UNJUDGED = "unjudged"  # in `Detection.info`: how many rows were not judged


def indistinct_rows(graph: NeighborGraph, groups: np.ndarray) -> np.ndarray:
    """Find the rows that have the embedding of a row with another text.

    Args:
        graph: nearest neighbors of all rows.
        groups: int64 (rows,), of duplicates by text, as from `near_duplicates`.

    Returns:
        bool (rows,).
    """
    same = (graph.ids >= 0) & (graph.sims >= SAME)
    rows, columns = np.nonzero(same)
    others = graph.ids[rows, columns]
    differ = groups[rows] != groups[others]
    found = np.zeros(len(graph), dtype=bool)
    found[rows[differ]] = True
    found[others[differ]] = True  # a list of neighbors that is full of one text may miss the other
    return found


def detect_without(detect: Detect, rows: Evidence, unjudged: np.ndarray | None) -> Detection:
    """Detect wrong labels among the other rows; the unjudged ones are taken to be wrong as often as those.

    Args:
        detect: judges rows.
        rows: all of them; the probabilities are shown for the unjudged ones.
        unjudged: bool (rows,), as from `indistinct_rows`; None for no row.

    Returns:
        Detection of all rows; unjudged ones are not flagged, and `info["unjudged"]` counts them.
    """
    if unjudged is None or not unjudged.any():
        return detect(rows)
    kept = np.flatnonzero(~unjudged)
    if len(kept) < 2:  # too few to learn anything from
        return _spread(detect(rows), kept[:0], rows.given, rows.p)
    return _spread(detect(rows.of(kept)), kept, rows.given, rows.p)


def _spread(found: Detection, kept: np.ndarray, labels: np.ndarray, probabilities: np.ndarray) -> Detection:
    """What was found on the rows `kept` (if none, on all of them, in vain), without anything on the others."""
    rows = len(labels)

    def spread(values: np.ndarray, rest: Any) -> np.ndarray:
        return placed(values, kept, rest, rows)

    chance = float(found.p_error.mean()) if len(kept) else 0.0
    p_error = spread(found.p_error, chance)
    if labels.ndim == 2:
        p_true = np.where(labels == 1, 1 - chance, chance)
    else:
        p_true = np.full(probabilities.shape, chance / max(probabilities.shape[1] - 1, 1))
        p_true[np.arange(rows), labels] = 1 - chance
    shown: dict[str, Any] = {"model": probabilities}
    if "neighbors" in found.evidence:
        shown["neighbors"] = found.evidence["neighbors"].mean(axis=0)
    info = {name: _spread_lists(value, len(found.p_error), spread) for name, value in found.info.items()}
    if len(kept):
        # Errors are as frequent among rows that were not judged, by what is known; at most all of them are.
        scale, apart = rows / len(kept), rows - len(kept)
        info |= {name: info[name] * scale for name in ("errors", "shown", "class_errors") if name in info}
        if "errors_high" in info:
            info["errors_high"] = info["errors_high"] + apart
    else:
        info |= {
            name: 0.0
            for name in ("errors", "errors_low", "errors_high", "shown", "class_errors", "expected_errors")
            if name in info
        }
    return dataclasses.replace(
        found,
        p_error=p_error,
        p_true=spread(found.p_true, p_true),
        flagged=spread(found.flagged, False),
        suggested=spread(found.suggested, labels),
        evidence={name: spread(values, shown.get(name, 0)) for name, values in found.evidence.items()},
        partner=None if found.partner is None else spread(found.partner, -1),
        info=info | {UNJUDGED: rows - len(kept)},
    )


def _spread_lists(value: Any, rows: int, spread: Callable[[np.ndarray, Any], np.ndarray]) -> Any:
    """Lists of arrays with a row each, such as log-odds of an error, with what says that there is none."""
    if isinstance(value, list) and value and all(isinstance(v, np.ndarray) and len(v) == rows for v in value):
        return [spread(part, np.log(1e-12)) for part in value]
    return value
