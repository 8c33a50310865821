"""`transition: estimate` of a recipe: the noise of the labelled rows, found before anything is trained."""

from __future__ import annotations

from typing import Any

from textpl.recipes.yaml_text import RecipeError
from textpl.splits import Split
from textpl.tasks import Task


def estimate_noise(split: Split, task: Task) -> dict[str, Any]:
    """Arguments of `textpl.ForwardCorrection` for the labelled rows of a split.

    Returns:
        dict: `transition` (labels, labels) for single-label, `false_positive` and `false_negative` (labels,) for
            multi-label.
    """
    raise RecipeError(
        "train.labeled_loss: transition: estimate is not there yet: write the matrix, or the false_positive and "
        "false_negative rates."
    )
