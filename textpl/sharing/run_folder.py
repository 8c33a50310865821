"""What `textpl run` left in a folder, read for others to use: the recipe, the results, and the files of the model."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from textpl.models import saved_problem
from textpl.recipes.allowed_files import PICTURE, RESULTS, SIZES, is_model_file
from textpl.recipes.recipe_text import FILE_NAME, to_yaml
from textpl.recipes.references import OWN_DATA
from textpl.recipes.results import Results, parse_results
from textpl.recipes.run_header import Read, last_part, parse_run, reads_own_data, split_header
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import RecipeError
from textpl.sharing.secrets import published_json, regular_file

MODEL = "model"
MODEL_BYTES = 50 * 2**30  # of one file; the Hub takes no larger ones
_CONFIG = "config.json"
_AGAIN = "Go on with it: the same textpl run command with --resume."
_SEEDS = "seeds"  # where a run keeps its trainings


@dataclass(frozen=True)
class RunFolder:
    """A finished run.

    Attributes:
        recipe: as resolved; data that lay beside the original are whoever's runs it (`yours`), of models there only the
            names are left.
        results: of the run.
        own_data: name of the data that lay beside the original, or elsewhere on the machine; "" if they did not.
        beside: names of models that did; without these nobody else can run it.
        files: everything to push, by path in the repository.
        left_out: names in `model/` that are not pushed.
        label_names: of the classifier.
    """

    recipe: Recipe
    results: Results
    own_data: str
    beside: tuple[str, ...]
    files: Mapping[str, bytes | Path]
    left_out: tuple[str, ...]
    label_names: tuple[str, ...]


def is_run(folder: Path) -> bool:
    """Tell whether a folder looks like one that `textpl run` wrote."""
    return (folder / FILE_NAME).is_file() and ((folder / MODEL).is_dir() or (folder / RESULTS).is_file())


def check_finished(folder: Path) -> None:
    """Refuse the folder of a run that is not finished, or has lost its results or its model since; let others pass.

    Raises:
        RecipeError: naming the file and what to do.
    """
    if not (folder / _SEEDS).is_dir():
        return
    if not (folder / RESULTS).is_file():
        raise RecipeError(f"{folder / RESULTS} is missing: the run is not finished. {_AGAIN}")
    _check_model(folder)


def read_run(folder: Path) -> RunFolder:
    """Read a run, and check that it may be shared.

    Args:
        folder: as `textpl run` wrote it.

    Raises:
        RecipeError: for an unfinished run, broken files, a model without safetensors, files that are links.
    """
    for name, what in ((RESULTS, "results"), (MODEL, "model")):
        if not (folder / name).exists():
            raise RecipeError(f"{folder} holds no {name}: the run is not finished, or its {what} went elsewhere.")
    with _named(folder / RESULTS) as file:
        content = published_json(RESULTS, regular_file(file, SIZES[RESULTS]).read_bytes())
        results = parse_results(content)
    with _named(folder / FILE_NAME) as file:
        read, text = split_header(regular_file(file, SIZES[FILE_NAME]).read_bytes().decode("utf-8-sig"))
        recipe, models = parse_run(text)
    own_data = last_part(recipe.data.source) if reads_own_data(recipe, read or Read("", "")) else ""
    if own_data:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": OWN_DATA})})
    files: dict[str, bytes | Path] = {FILE_NAME: to_yaml(recipe).encode(), RESULTS: content}
    if (folder / PICTURE).exists():
        files[PICTURE] = regular_file(folder / PICTURE, SIZES[PICTURE])
    there = sorted(folder.joinpath(MODEL).iterdir())
    files |= {path.name: regular_file(path, MODEL_BYTES) for path in there if is_model_file(path.name)}
    if _CONFIG not in files or not any(name.endswith(".safetensors") for name in files):
        raise RecipeError(
            f"{folder / MODEL} holds no {_CONFIG} with .safetensors beside it; other weights do not go up."
        )
    _check_model(folder)
    files[_CONFIG], label_names = _config(folder / MODEL / _CONFIG)
    left_out = tuple(path.name for path in there if path.name not in files)
    return RunFolder(recipe, results, own_data, tuple(dict.fromkeys(models.values())), files, left_out, label_names)


@contextlib.contextmanager
def _named(file: Path) -> Iterator[Path]:
    """Tell of which file, and of which folder, an error is."""
    try:
        yield file
    except (RecipeError, UnicodeDecodeError) as error:
        told = str(error).removeprefix(f"{file.name}: ")
        raise RecipeError(f"{file}: {told} It is half-written, or not from textpl run.") from None


def _check_model(folder: Path) -> None:
    if (problem := saved_problem(folder / MODEL)) is not None:
        raise RecipeError(f"{problem}: the run is not complete. {_AGAIN}")


def _config(path: Path) -> tuple[bytes, tuple[str, ...]]:
    """The configuration without the place of the model it came from, and the names of its labels."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        names = config.get("id2label") or {}
        ordered = tuple(str(names[key]) for key in sorted(names, key=int))
    except (ValueError, AttributeError, TypeError) as error:
        raise RecipeError(f"{path} is no configuration of a model: {error}.") from None
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode(), ordered
