"""What `textpl run` left in a folder, read for others to use: the recipe, the results, and the files of the model."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from textpl.models import saved_problem
from textpl.recipes.data_beside import local_references, regular_file
from textpl.recipes.hub.files import (
    PICTURE,
    RESULTS,
    SIZES,
    is_model_file,
    published,
    refuse_secrets,
)
from textpl.recipes.parsing import FILE_NAME, RecipeError, parse_recipe, to_yaml
from textpl.recipes.references import OWN_DATA, change_references, check_reference, locate
from textpl.recipes.results import Results, parse_results
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import Document

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
    """Whether a folder looks like one that `textpl run` wrote."""
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


@contextlib.contextmanager
def _named(file: Path) -> Iterator[None]:
    """Tell of which file, and of which folder, an error is."""
    try:
        yield
    except (RecipeError, UnicodeDecodeError) as error:
        told = str(error).removeprefix(f"{file.name}: ")
        raise RecipeError(f"{file}: {told} It is half-written, or not from textpl run.") from None


def _check_model(folder: Path) -> None:
    if (problem := saved_problem(folder / MODEL)) is not None:
        raise RecipeError(f"{problem}: the run is not complete. {_AGAIN}")


def read_run(folder: Path, token: str | None = None) -> RunFolder:
    """Read a run, and check that it may be shared.

    Args:
        folder: as `textpl run` wrote it.
        token: must not be in any of the files.

    Raises:
        RecipeError: for an unfinished run, broken files, a model without safetensors, files that are links or hold a
            secret.
    """
    for name, what in ((RESULTS, "results"), (MODEL, "model")):
        if not (folder / name).exists():
            raise RecipeError(f"{folder} holds no {name}: the run is not finished, or its {what} went elsewhere.")
    results_file = regular_file(folder / RESULTS, SIZES[RESULTS])
    with _named(folder / RESULTS):
        content = published(RESULTS, results_file.read_bytes())
        results = parse_results(content)
    with _named(folder / FILE_NAME):
        recipe, own_data, beside = _read_recipe(folder)
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
    for name, file in files.items():
        if not name.endswith(".safetensors"):
            refuse_secrets(name, file, token)
    left_out = tuple(path.name for path in there if path.name not in files)
    return RunFolder(recipe, results, own_data, beside, files, left_out, label_names)


def _read_recipe(folder: Path) -> tuple[Recipe, str, tuple[str, ...]]:
    """The recipe of a run, and the names of the data and of the models that it read from files."""
    text = published(FILE_NAME, regular_file(folder / FILE_NAME, SIZES[FILE_NAME]).read_bytes()).decode()
    document = Document(FILE_NAME)
    data = document.read(text)
    document.stop_at_problems()
    own_data: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        beside = Path(place)

        def named(keys: tuple[str | int, ...], reference: str) -> str:
            is_data = keys[0] == "data"
            if reference == "lsa" or reference.startswith("bundled:") or (is_data and reference == OWN_DATA):
                return reference
            try:
                check_reference(reference, folder, data=is_data)
                if not isinstance(locate(reference, folder), Path):
                    return reference
            except ValueError:
                pass
            name = re.split(r"[/\\]", reference.rstrip("/\\"))[-1]
            if is_data:
                own_data.append(name)
                return OWN_DATA
            (beside / name).touch()  # an empty file stands for it
            return name

        change_references(data, named)
        recipe = parse_recipe(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), folder=beside)
        found = local_references(recipe, beside).values()
        return recipe, "".join(own_data), tuple(dict.fromkeys(path.name for path in found))


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
