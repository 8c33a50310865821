"""What an earlier start of a run left in its folder: what is broken is named before anything is trained."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from textpl.atomic_files import read_json
from textpl.models import saved_problem
from textpl.recipes.yaml_text import RecipeError

SEEDS = "seeds"  # folder of the finished trainings
MODEL = "model"
_AGAIN = "Remove it and run again with --resume: what it held is made anew."


def check_kept(out: Path) -> None:
    """Refuse half-written or broken files among the finished trainings in `out`.

    Raises:
        RecipeError: naming the file and what to do.
    """
    for file in sorted((out / SEEDS).rglob("*")):
        if file.name.startswith("."):  # a temporary file of a killed run
            continue
        if file.suffix == ".json":
            read_kept(file)
        elif file.suffix == ".npz":
            _check_arrays(file)


def read_kept(file: Path) -> object:
    """Read a JSON file of an earlier start.

    Raises:
        RecipeError: naming the file and what to do.
    """
    try:
        return read_json(file, _AGAIN)
    except FileNotFoundError as error:
        seed = file.name.split("-")[0]
        raise RecipeError(
            f"{file} is missing: remove {file.with_name(f'{seed}-method.npz')} too and run again with --resume."
        ) from error
    except ValueError as error:
        raise RecipeError(str(error)) from error


def train_lost_model_again(out: Path, seed: int, say: Callable[[str], None]) -> None:
    """Forget the training whose classifier belongs in `model/` if that is missing or broken there.

    Args:
        out: folder of the run.
        seed: whose classifier is kept.
        say: gets a line where this is so.
    """
    training, problem = out / SEEDS / f"{seed}-method.npz", saved_problem(out / MODEL)
    if problem is not None and training.exists():
        say(f"{problem}: seed {seed} is trained again.")
        training.unlink()


def _check_arrays(file: Path) -> None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            for name in stored.files:  # each has a checksum
                stored[name]
            json.loads(str(stored["rest"]))
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise RecipeError(f"{file} is half-written or broken ({' '.join(str(error).split())}). {_AGAIN}") from error
