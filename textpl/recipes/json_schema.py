"""The JSON Schema of recipes, for editors: what may be written, with types, ranges and names."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from textpl.recipes.loss_settings import LABELED_LOSSES
from textpl.recipes.method_settings import CHOICES, DEFAULT_METHOD, NO_METHOD, arguments_model
from textpl.recipes.schema import Recipe

FILE_NAME = "recipe.schema.json"
Schema = dict[str, Any]


def json_schema() -> Schema:
    """A schema that takes every valid recipe, and refuses unknown keys, names and kinds of values.

    What goes together, which paths exist and how long lists are is checked by textpl alone.
    """
    from textpl.relabeling.methods import METHODS as RELABELING

    schema = Recipe.model_json_schema(by_alias=True, schema_generator=_Generator)
    sections = schema["$defs"]
    sections["MethodSettings"] = _method()
    sections["LossSettings"] = _loss()
    sections |= {kind: _choice(kind) for kind in CHOICES}
    sections["LabelSettings"]["properties"]["method"] = {"enum": ["auto", *RELABELING], "default": "auto"}
    sections["ModelSettings"] = {"anyOf": [{"type": "string", "minLength": 1}, sections["ModelSettings"]]}
    properties = schema["properties"]
    properties["schema"] = {"const": 1, "description": "The form of recipes."}
    properties["stages"] = {"enum": [["train"], ["label", "train"], ["clean", "train"]], "default": ["train"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "textpl recipe", **schema}


def schema_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(json_schema(), indent=1) + "\n"


class _Generator(GenerateJsonSchema):
    """As pydantic says it, but without the text of docstrings, which speak of Python."""

    def generate(self, schema: Any, mode: Any = "validation") -> Schema:  # noqa: D102
        return _without_titles(super().generate(schema, mode))


def _method() -> Schema:
    """A name, or a mapping whose keys are those of the method that it names."""
    from textpl.methods import METHODS

    names = [*METHODS, NO_METHOD]
    each = {name: _arguments(method.make) for name, method in METHODS.items()} | {NO_METHOD: {}}
    # Unnamed it is the default, or after the stage `label` distillation.
    unnamed = each["distillation"] | each[DEFAULT_METHOD]
    return _named(names, each, unnamed)


def _loss() -> Schema:
    import textpl

    each = {name: _arguments(getattr(textpl, public)) for name, public in LABELED_LOSSES.items()}
    return _named(list(LABELED_LOSSES), each, None)


def _named(names: list[str], each: dict[str, Schema], unnamed: Schema | None) -> Schema:
    name = {"enum": names}
    rules = [
        {
            "if": {"properties": {"name": {"const": one}}, "required": ["name"]},
            "then": {"properties": {"name": name, **arguments}, "additionalProperties": False},
        }
        for one, arguments in each.items()
    ]
    if unnamed is not None:
        then = {"properties": {"name": name, **unnamed}, "additionalProperties": False}
        rules.append({"if": {"not": {"required": ["name"]}}, "then": then})
    mapping: Schema = {"type": "object", "properties": {"name": name}, "allOf": rules}
    return {"if": {"type": "object"}, "then": mapping, "else": {"enum": names}}


def _arguments(function: Callable[..., Any]) -> Schema:
    """The settings of a method or loss."""
    made = arguments_model(function).model_json_schema(schema_generator=_Generator)
    given = made.get("properties", {})
    return {key: {"$ref": f"#/$defs/{key}"} if key in CHOICES else value for key, value in given.items()}


def _choice(kind: str) -> Schema:
    """A schedule or a view: one of several, with settings of its own."""
    each = {}
    for name, make in CHOICES[kind].items():
        made = arguments_model(make).model_json_schema(schema_generator=_Generator)
        settings = {"type": "object", "properties": made.get("properties", {}), "additionalProperties": False}
        each[name] = {"anyOf": [settings, {"type": "null"}]}
    one_of = {"type": "object", "properties": each, "additionalProperties": False, "maxProperties": 1}
    plain = {"enum": list(each)} if kind == "view" else {"type": "number", "minimum": 0}
    return {"anyOf": [plain, one_of, {"type": "null"}]}


def _without_titles(schema: Any) -> Any:
    """Titles repeat the keys, and descriptions are docstrings of models."""
    if isinstance(schema, dict):
        return {
            key: _without_titles(value)
            for key, value in schema.items()
            if not (key in ("title", "description") and isinstance(value, str))
        }
    return [_without_titles(item) for item in schema] if isinstance(schema, list) else schema
