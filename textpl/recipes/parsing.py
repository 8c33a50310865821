"""Find, read and write recipes; errors name line, key and remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from textpl.recipes.field_types import nearest
from textpl.recipes.method_settings import CHOICES, DEFAULT_METHOD, arguments_model
from textpl.recipes.references import locate
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import Document, Dumper, Keys, RecipeError, found, unquoted

FILE_NAME = "recipe.yaml"
MAX_BYTES = 64 * 1024
# Keys that people will try, and why they are refused; every other unknown key is just unknown.
REFUSED: dict[str, dict[str, str]] = {
    "train": {
        key: why
        for why, keys in {
            "that is for who runs the recipe to say, not for the recipe": (
                "output_dir logging_dir run_name project report_to disable_tqdm log_level use_cpu tf32"
            ),
            "a recipe publishes nothing": "push_to_hub hub_model_id hub_token hub_strategy hub_private_repo",
            "a recipe starts from no checkpoint; interrupted runs resume by themselves": "resume_from_checkpoint",
            "a recipe names no configuration file": "deepspeed fsdp fsdp_config accelerator_config parallelism_config",
            "write `seeds: [...]` at the top of the recipe": "seed data_seed",
            "no row chooses a checkpoint: what is trained last is tested": (
                "eval_strategy eval_steps save_strategy save_steps save_total_limit load_best_model_at_end "
                "metric_for_best_model"
            ),
            "gone from transformers 5; write warmup_steps: 0.05 for a share of the run": "warmup_ratio",
            "write activation_checkpointing, its name since transformers 5": "gradient_checkpointing",
            "gone from transformers 5, and the pool is batched by length anyway": "group_by_length",
        }.items()
        for key in keys.split()
    },
    "method": {
        "seed": "write `seeds: [...]` at the top of the recipe",
        "max_length": "write it under `model`",
        "text_column": "write `text` under `data`",
        "unlabeled": "the pool is drawn from `data`, see `split.pool`",
    },
}
EXPECTED = {
    "int_type": "a whole number", "float_type": "a number", "finite_number": "a finite number",
    "bool_type": "true or false", "string_type": "text", "tuple_type": "a list",
    "model_type": "a mapping of keys to values", "string_too_short": "some text",
    "greater_than": "more than {gt:g}", "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}", "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}", "expected": "{what}",
}  # fmt: skip


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe and where it came from."""

    recipe: Recipe  # with overrides
    folder: Path  # to which its paths are relative
    text: str  # the file as it is, without overrides
    name: str  # fit for a folder

    def locate(self, reference: str) -> Path | str:
        """Path of `data.source` or `model.name` if it lies beside the recipe, else the name (a Hub id) itself."""
        return locate(reference, self.folder)


def load_recipe(source: str | Path, *, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read and validate a recipe.

    Args:
        source: a .yaml file, a folder with recipe.yaml, or the name of a bundled recipe; a path that exists comes
            first.
        overrides: settings to change, such as "method.threshold=0.9"; values are YAML.

    Raises:
        RecipeError: for everything that is wrong with source, file or overrides.
    """
    path = _find(source)
    text = _read_file(path)
    recipe = parse_recipe(text, folder=path.parent, file=path.name, overrides=overrides)
    name = path.parent.resolve().name if path.name == FILE_NAME else path.stem
    return LoadedRecipe(recipe, path.parent, text, name)


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with textpl."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "bundled").glob("*.yaml"))}


def parse_recipe(text: str, *, folder: Path, file: str = FILE_NAME, overrides: Sequence[str] = ()) -> Recipe:
    """Validate the text of a recipe, called `file` in errors, with paths relative to `folder`.

    Raises:
        RecipeError: with a line for each thing that is wrong, in the order of the file.
    """
    document = Document(file)
    document.data = document.read(text)
    if not document.problems and not isinstance(document.data, dict):
        document.add((), f"a recipe is a mapping of keys to values, this is {found(document.data)}")
    document.stop_at_problems()
    for number, override in enumerate(overrides):
        document.override(number, override)
    document.stop_at_problems()
    try:
        recipe = Recipe.model_validate(document.data, context={"folder": folder})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            document.add(detail["loc"], _explain(detail, document.data))
    document.stop_at_problems()
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, without what is a default; reading it gives an equal recipe."""
    data = recipe.model_dump(by_alias=True, exclude_defaults=True)
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=119)


def _find(source: str | Path) -> Path:
    path, bundled = Path(source).expanduser(), bundled_recipes()
    if str(source).startswith("hf://"):
        raise RecipeError(f"{source}: recipes on the Hub (hf://) cannot be read yet; download it and name the file.")
    if (path / FILE_NAME).is_file():
        return path / FILE_NAME
    if path.is_file():
        if path.suffix not in (".yaml", ".yml"):
            raise RecipeError(f"{path} is no recipe: its name must end in .yaml.")
        return path
    if str(source) in bundled:
        return bundled[str(source)]
    if path.is_dir():
        raise RecipeError(f"The folder {path} holds no {FILE_NAME}.")
    names = f"{nearest(str(source), bundled)} (bundled recipes: {', '.join(bundled) or 'none'})"
    raise RecipeError(f"No recipe {str(source)!r}: it is no file, no folder and no bundled name{names}.")


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.") from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path} is larger than {MAX_BYTES // 1024} KiB, which is no recipe.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None


def _explain(detail: Any, data: dict[str, Any]) -> str:
    """One error of pydantic about the data."""
    kind, keys, value = detail["type"], detail["loc"], detail["input"]
    if kind == "missing":
        return "is missing" + ("; start the recipe with `schema: 1`" if keys == ("schema",) else "")
    if kind == "extra_forbidden":
        return _unknown_key(keys, data)
    if kind not in EXPECTED:
        return detail["msg"].removeprefix("Value error, ").rstrip(".")
    wanted, hint = EXPECTED[kind].format(**detail.get("ctx", {})), ""
    if kind == "literal_error":
        hint = nearest(str(value), re.findall("'([^']*)'", wanted))
    elif kind == "string_type" and isinstance(value, (int, float)):
        hint = "; put it in quotes"
    elif kind in ("int_type", "float_type", "bool_type") and isinstance(value, str):
        hint = "; remove the quotes" if isinstance(unquoted(value), (int, float)) else ""
    return f"expected {wanted}, found {found(value)}{hint}"


def _unknown_key(keys: Keys, data: dict[str, Any]) -> str:
    *path, key = map(str, keys)
    if len(path) == 1 and (why := REFUSED.get(path[0], {}).get(key)):
        return f"cannot be set in a recipe: {why}"
    names = _valid_keys(path, data)
    return f"unknown key{nearest(key, names) or '.'} Valid keys: {', '.join(names) or 'none'}"


def _valid_keys(path: list[str], data: dict[str, Any]) -> list[str]:
    match path:
        case []:
            return [field.alias or name for name, field in Recipe.model_fields.items()]
        case ["method"]:
            from textpl.methods import METHODS

            make = METHODS[data["method"].get("name", DEFAULT_METHOD)].make
            return ["name", *arguments_model(make).model_fields]
        case ["method", kind]:
            return list(CHOICES[kind])
        case ["method", kind, name]:
            return list(arguments_model(CHOICES[kind][name]).model_fields)
    section: Any = Recipe.model_fields[path[0]].annotation
    return list(section.model_fields)
