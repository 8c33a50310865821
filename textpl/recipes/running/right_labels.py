"""The reference of a recipe about wrong labels: the same training on the right ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import Trainer

from textpl.atomic_files import replacing
from textpl.comparison import Comparison

FOLDER = "right_labels"


def compare_with_right_labels(
    compare: Callable[..., Comparison],
    make_trainer: Callable[[int], Trainer],
    seeds: Sequence[int],
    folder: Path,
) -> Comparison:
    """Noisy against right labels; the noisy side is not trained again.

    Args:
        compare: `textpl.compare` with the settings of the run.
        make_trainer: builds Trainers on the right labels.
        seeds: those of a finished `compare` in `folder`.
        folder: where that kept its trainings.
    """
    own = folder / FOLDER
    own.mkdir(exist_ok=True)
    for seed in seeds:
        with replacing(own / f"{seed}-baseline.npz") as partial:
            shutil.copyfile(folder / f"{seed}-baseline.npz", partial)
    return compare(
        make_trainer, None, seeds, method_trainer=make_trainer, name="right labels", match="steps", folder=own
    )


def told(reference: Comparison) -> dict[str, Any]:
    """What `results.json` says of it."""
    numbers = reference.to_dict()
    return {
        **numbers["method"],
        "difference": numbers["difference"],
        "cost": numbers["cost"]["method"],
        "seed_results": [{"seed": one["seed"], **one["method"]} for one in numbers["seed_results"]],
    }
