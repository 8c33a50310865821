"""What pydantic finds wrong with a recipe, said so that it can be mended."""

from __future__ import annotations

import re
from typing import Any, get_args

from textpl.recipes.field_types import nearest
from textpl.recipes.loss_settings import loss_model
from textpl.recipes.method_settings import CHOICES, DEFAULT_METHOD, SETTINGS, arguments_model
from textpl.recipes.schema import Recipe
from textpl.recipes.yaml_text import Keys, found, unquoted, written_out

_NO_CODE = "a recipe cannot let a model run its code; whoever runs it may: textpl run --trust-remote-code"
# Keys that people will try, by section, and why they are refused; every other unknown key is just unknown.
REFUSED: dict[str, dict[str, str]] = {
    "": {
        "trust_remote_code": _NO_CODE,
        "extends": "a recipe stands alone; copy the other one (textpl recipes pull, if it is shared) and change that",
    },
    "model": {"trust_remote_code": _NO_CODE},
    "data": {"trust_remote_code": "data sets that need code are not read"},
    "label": {"trust_remote_code": _NO_CODE},
    "clean": {"trust_remote_code": _NO_CODE},
    "train": {
        key: why
        for why, keys in {
            "that is for who runs the recipe to say, not for the recipe": (
                "output_dir logging_dir run_name project report_to disable_tqdm log_level use_cpu tf32"
            ),
            "a recipe publishes nothing": "push_to_hub hub_model_id hub_token hub_strategy hub_private_repo",
            "a recipe starts from no checkpoint; interrupted runs resume by themselves": "resume_from_checkpoint",
            "a recipe names no configuration file": "deepspeed fsdp fsdp_config accelerator_config parallelism_config",
            "a recipe compiles no code": "torch_compile torch_compile_backend torch_compile_mode jit_mode_eval",
            "write `seeds: [...]` at the top of the recipe": "seed data_seed",
            "no row chooses a checkpoint: what is trained last is tested": (
                "eval_strategy eval_steps save_strategy save_steps save_total_limit load_best_model_at_end "
                "metric_for_best_model"
            ),
            "gone from transformers 5; write warmup_steps: 0.05 for a share of the run": "warmup_ratio",
            "write activation_checkpointing, its name since transformers 5": "gradient_checkpointing",
            "gone from transformers 5, and the pool is batched by length anyway": "group_by_length",
            _NO_CODE: "trust_remote_code",
        }.items()
        for key in keys.split()
    },
    "method": {
        "seed": "write `seeds: [...]` at the top of the recipe",
        "max_length": "write it under `model`",
        "text_column": "write `text` under `data`",
        "unlabeled": "the pool is drawn from `data`, see `split.pool`",
        "trust_remote_code": _NO_CODE,
    },
}
MISSING: dict[Keys, str] = {
    ("schema",): "; start the recipe with `schema: 1`",
    ("data",): "; for example `data: {source: train.jsonl}`, a file beside the recipe",
    ("split",): "; for example `split: {labels_per_class: 10}`",
}
EXPECTED = {
    "int_type": "a whole number", "float_type": "a number", "finite_number": "a finite number",
    "bool_type": "true or false", "string_type": "text", "tuple_type": "a list",
    "model_type": "a mapping of keys to values", "string_too_short": "some text",
    "greater_than": "more than {gt:g}", "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}", "less_than_equal": "{le:.12g} or less",
    "literal_error": "{expected}", "expected": "{what}",
}  # fmt: skip


def explain(detail: Any, data: dict[str, Any]) -> str:
    """One error of pydantic about the data."""
    kind, keys, value = detail["type"], detail["loc"], detail["input"]
    if kind == "missing":
        return "is missing" + MISSING.get(keys, "")
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
    if why := REFUSED.get(".".join(path), {}).get(key):
        return f"cannot be set in a recipe: {why}"
    names = _valid_keys(path, data)
    meant = nearest(key, names) if path else _in_a_section(key, data) or nearest(key, names)
    return f"unknown key{meant or '.'} Valid keys: {', '.join(names) or 'none'}"


def _in_a_section(key: str, data: dict[str, Any]) -> str:
    """What is meant by a key that exactly one section has, written without that section."""
    sections = [name for name, field in Recipe.model_fields.items() if name != "expected" and _model(field.annotation)]
    holding = [name for name in sections if key in _valid_keys([name], data)]
    return f"; did you mean '{holding[0]}.{key}'?" if len(holding) == 1 else ""


def _valid_keys(path: list[str], data: dict[str, Any]) -> list[str]:
    match path:
        case []:
            return [field.alias or name for name, field in Recipe.model_fields.items()]
        case ["method"]:
            return ["name", *_settings(data)]
        case ["method", kind]:
            return list(CHOICES[kind])
        case ["method", kind, name]:
            return list(arguments_model(CHOICES[kind][name]).model_fields)
        case ["train", "labeled_loss"]:
            loss = written_out(("train", "labeled_loss"), data["train"]["labeled_loss"])
            return ["name", *loss_model(loss["name"]).model_fields]
        case ["expected", part]:
            whole = _model(Recipe.model_fields["expected"].annotation)
            return list(_model(whole.model_fields[part].annotation).model_fields)
    return list(_model(Recipe.model_fields[path[0]].annotation).model_fields)


def _settings(data: dict[str, Any]) -> list[str]:
    """Of the method that is named, or else of the default."""
    method = written_out(("method",), data.get("method"))
    name = method.get("name", DEFAULT_METHOD) if isinstance(method, dict) else DEFAULT_METHOD
    return list(SETTINGS.get(name, ())) if isinstance(name, str) else []


def _model(annotation: Any) -> Any:
    """The model in an annotation such as `Section | None`; None if there is none."""
    return next((part for part in (annotation, *get_args(annotation)) if hasattr(part, "model_fields")), None)
