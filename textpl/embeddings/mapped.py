"""What is kept of many vectors for a picture of them: some rows, along the directions of largest spread."""

from __future__ import annotations

import numpy as np

MAPPED = 1_000  # rows; more would not be told apart in a picture
COMPONENTS = 50


def mapped_rows(rows: int) -> np.ndarray:
    """The rows of which points are kept: at most 1,000, evenly spread; int64."""
    return np.unique(np.linspace(0, rows - 1, min(rows, MAPPED)).round().astype(np.int64))


def principal_components(points: np.ndarray) -> np.ndarray:
    """The points along their directions of largest spread: float64 (n, at most 50).

    Args:
        points: float (n, d).
    """
    centered = points - points.mean(axis=0, dtype=np.float64)
    u, size, _ = np.linalg.svd(centered, full_matrices=False)
    return (u * size)[:, :COMPONENTS]
