"""Read a recipe: YAML that is only data, `--set` overrides, and errors that name line, key and remedy."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from textpl.recipes.schema import CHOICES, MethodSettings, Recipe, check_form, nearest, valid_keys

FILE_NAME = "recipe.yaml"
MAX_BYTES = 64 * 1024
MAX_DEPTH = 20
# Of each pair only one may be set: an override of one takes the other out.
EXCLUSIVE = (("split", "labels_per_class", "labeled"), ("train", "max_steps", "num_train_epochs"),
             ("method", "teacher", "column"))  # fmt: skip
_RUNNER = "that is for who runs the recipe to say, not for the recipe"
# Keys that people will try, and why they are refused; every other unknown key is just unknown.
REFUSED: dict[str, dict[str, str]] = {
    "train": {
        key: why
        for why, keys in {
            _RUNNER: "output_dir logging_dir run_name project report_to disable_tqdm log_level use_cpu tf32",
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

Keys = tuple[str | int, ...]


class RecipeError(ValueError):
    """A recipe that cannot be read; the message has one line for each thing that is wrong."""


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe and where it came from.

    Attributes:
        recipe: with overrides.
        folder: to which its paths are relative.
        text: the file as it is, without overrides.
        name: short name, fit for a folder.
    """

    recipe: Recipe
    folder: Path
    text: str
    name: str

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
    folder = path.parent
    recipe = parse_recipe(text, folder=folder, file=path.name, overrides=overrides)
    name = folder.resolve().name if path.name == FILE_NAME else path.stem
    return LoadedRecipe(recipe, folder, text, name)


def bundled_recipes() -> dict[str, Path]:
    """Name -> file of the recipes that come with textpl."""
    folder = Path(str(resources.files("textpl.recipes").joinpath("bundled")))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def parse_recipe(text: str, *, folder: Path, file: str = FILE_NAME, overrides: Sequence[str] = ()) -> Recipe:
    """Validate the text of a recipe.

    Args:
        text: YAML.
        folder: to which paths are relative.
        file: what to call the text in errors.
        overrides: see `load_recipe`.

    Raises:
        RecipeError: with a line for each thing that is wrong, in the order of the file.
    """
    document = _Document(file)
    document.data = document.read(text, (), None)
    if not document.problems and not isinstance(document.data, dict):
        document.add((), f"a recipe is a mapping of keys to values, this is {_found(document.data)}")
    document.stop_at_problems()
    for i, override in enumerate(overrides):
        document.override(override, _Place(1, i, f"--set {_short(override)}"))
    document.stop_at_problems()
    try:
        return Recipe.model_validate(document.data, context={"locate": lambda name: locate(name, folder)})
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            document.add(detail["loc"], _explain(detail, document.data))
    document.stop_at_problems()
    raise AssertionError("a validation error without details")


def locate(reference: str, folder: Path) -> Path | str:
    """The local file or folder that a recipe names, if it is there; else the name itself, which is a Hub id.

    Raises:
        ValueError: for a URL, an absolute path, or a path that leaves the folder, also through a symbolic link.
    """
    root, path = folder.resolve(), folder / check_form(reference)
    try:
        reached = [path.resolve(), *(entry.resolve() for entry in (path.iterdir() if path.is_dir() else ()))]
        exists = path.exists()
    except (OSError, RuntimeError) as error:  # no permission, a name too long, a loop of links
        raise ValueError(f"{reference!r} cannot be opened: {error}") from None
    if not all(end.is_relative_to(root) for end in reached):
        raise ValueError(f"{reference!r} leads out of the recipe's folder: put the files beside the recipe")
    return path if exists else reference


def to_yaml(recipe: Recipe) -> str:
    """The recipe as YAML, without what is a default; reading it gives an equal recipe."""
    return yaml.dump(
        {"schema": recipe.schema_version} | _changed(recipe),
        Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=119,
    )  # fmt: skip


def _changed(model: BaseModel) -> dict[str, Any]:
    """Fields that are not at their defaults, as plain data."""
    changed = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if info.alias is None and value != info.get_default(call_default_factory=True):
            changed[name] = _plain(value)
    return changed


def _plain(value: Any) -> Any:
    if isinstance(value, MethodSettings):
        settings = {key: _plain(setting) for key, setting in value.settings.items()}
        return {"name": value.name, **settings} if settings else value.name
    if isinstance(value, BaseModel):
        return _changed(value)
    if isinstance(value, tuple):
        return list(value)
    for made_by in CHOICES.values():
        for name, make in made_by.items():
            if type(value) is make:
                fields = dataclasses.fields(value)
                return {name: {f.name: _plain(v) for f in fields if (v := getattr(value, f.name)) != f.default}}
    return value


def _find(source: str | Path) -> Path:
    path, bundled = Path(source).expanduser(), bundled_recipes()
    if str(source).startswith("hf://"):
        raise RecipeError(f"{source}: recipes on the Hub (hf://) cannot be read yet; download it and name the file.")
    if path.is_dir() and (path / FILE_NAME).is_file():
        return path / FILE_NAME
    if path.is_file():
        if path.suffix not in (".yaml", ".yml"):
            raise RecipeError(f"{path} is no recipe: its name must end in .yaml.")
        return path
    if str(source) in bundled:
        return bundled[str(source)]
    if path.is_dir():
        raise RecipeError(f"The folder {path} holds no {FILE_NAME}.")
    names = f"bundled recipes: {', '.join(bundled) or 'none'}"
    hint = nearest(str(source), bundled)
    raise RecipeError(f"No recipe {str(source)!r}: it is no file, no folder and no bundled name{hint} ({names}).")


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


# ---- YAML that is only data ----


class _Loader(yaml.SafeLoader):
    """Safe, and with the plain values of YAML 1.2: 2e-4 is a number; no, on, 12:30 and dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or `_Loader` would take for something else than text; lists on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> SequenceNode:
        return super().represent_sequence(tag, sequence, flow_style=True)


for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


class _Place(NamedTuple):
    """Where something was said: in the file (0, line) or in an override (1, number)."""

    rank: int
    number: int
    label: str


@dataclass
class _Document:
    """Plain data, the place of every key in it, and what is wrong."""

    file: str
    data: Any = None
    places: dict[Keys, _Place] = field(default_factory=dict)
    problems: list[tuple[_Place, str]] = field(default_factory=list)

    def stop_at_problems(self) -> None:
        if self.problems:
            lines = [f"{place.label}: {text}" for place, text in sorted(self.problems, key=lambda p: p[0][:2])]
            raise RecipeError("\n".join(dict.fromkeys(lines)))

    def line(self, number: int) -> _Place:
        return _Place(0, number, f"{self.file}, line {number}")

    def add(self, keys: Keys, text: str) -> None:
        """Note a problem at the place of the innermost key that was written."""
        written = next((keys[:n] for n in range(len(keys), 0, -1) if keys[:n] in self.places), ())
        place = self.places.get(written) or self.line(1)
        named = "" if place.rank == 1 and place.label.startswith(f"--set {_path(keys)}=") else _path(keys)
        self.problems.append((place, f"{named}: {text}" if named else text))

    def read(self, text: str, at: Keys, place: _Place | None) -> Any:
        """Data of a YAML text that stands at `at`; every key in it has the given place, or else its line."""
        try:
            node = _compose(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = self.line(mark.line + 1 if mark else 1)
            self.problems.append((place or line, f"not valid YAML: {error.problem or error.context}"))
        except yaml.reader.ReaderError as error:
            line = self.line(text.count("\n", 0, error.position) + 1)
            self.problems.append((place or line, f"not valid YAML: character {error.character!r} is not allowed"))
        else:
            return None if node is None else self._data(node, at, place)
        return None

    def _data(self, node: Node, at: Keys, place: _Place | None) -> Any:
        self.places.setdefault(at, place or self.line(node.start_mark.line + 1))
        if isinstance(node, ScalarNode):
            return _scalar(node)
        if isinstance(node, SequenceNode):
            return [self._data(item, (*at, i), place) for i, item in enumerate(node.value)]
        assert isinstance(node, MappingNode)
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            here = place or self.line(key_node.start_mark.line + 1)
            if not isinstance(key, str) or key_node.tag != "tag:yaml.org,2002:str":
                self.problems.append((here, f"{_path(at) or 'recipe'}: keys must be text; put this one in quotes"))
            elif key in data:
                first = self.places[*at, key].label.removeprefix(f"{self.file}, ")
                self.problems.append((here, f"{_path((*at, key))}: stands here twice (first: {first})"))
            else:
                self.places[*at, key] = here
                data[key] = self._data(value_node, (*at, key), place)
        return data

    def override(self, text: str, place: _Place) -> None:
        """Change one setting, as in KEY=VALUE."""
        path, equals, value = text.partition("=")
        keys: Keys = tuple(key.strip() for key in path.split("."))
        if not equals or not all(keys):
            self.problems.append((place, "write KEY=VALUE, for example --set train.max_steps=20"))
            return
        parent = self.data
        for n, key in enumerate(keys[:-1], 1):
            child = _opened(keys[:n], parent.get(key))
            if not isinstance(child, dict):
                self.problems.append((place, f"{_path(keys[:n])} is {_found(child)}, in which nothing can be set"))
                return
            parent[key] = child
            self.places.setdefault(keys[:n], place)
            parent = child
        for old in [old for old in self.places if old[: len(keys)] == keys]:
            del self.places[old]
        self.places[keys] = place
        parent[keys[-1]] = self.read(value, keys, place)
        for other in _rivals(keys) if parent[keys[-1]] is not None else ():
            if (was := self.places.get((*keys[:-1], other))) and was.rank == 0:
                del parent[other], self.places[*keys[:-1], other]


def _rivals(keys: Keys) -> Iterator[str]:
    for section, *pair in EXCLUSIVE:
        for ours, other in (pair, pair[::-1]):
            if keys == (section, ours):
                yield other


def _opened(keys: Keys, value: Any) -> Any:
    """What an override may set something in: a short form is written out, nothing becomes a mapping."""
    if isinstance(value, str) and keys in (("method",), ("model",)):
        return {"name": value}
    if isinstance(value, str) and keys == ("method", "view"):
        return {value: {}}
    return {} if value is None else value


def _compose(text: str) -> Node | None:
    """The node tree, checked as a stream of events first, so that depth and aliases cost nothing."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        refused = None
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            refused = "anchors and aliases (&x, *x) are not allowed; write it out"
        elif getattr(event, "tag", None):
            refused = "tags (!x) are not allowed; a recipe is only data"
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        documents += isinstance(event, DocumentStartEvent)
        if depth > MAX_DEPTH:
            refused = f"nested more than {MAX_DEPTH} deep"
        if documents > 1:
            refused = "one document only (there is a second ---)"
        if refused:
            raise yaml.MarkedYAMLError(problem=refused, problem_mark=event.start_mark)  # type: ignore[arg-type]
    return yaml.compose(text, Loader=_Loader)


def _scalar(node: ScalarNode) -> Any:
    return yaml.constructor.SafeConstructor().construct_object(node)


# ---- wording ----


def _explain(detail: Any, data: dict[str, Any]) -> str:
    """What is wrong, in words of the recipe."""
    kind, keys, value = detail["type"], detail["loc"], detail["input"]
    if kind == "missing":
        return "is missing" + ("; start the recipe with `schema: 1`" if keys == ("schema",) else "")
    if kind == "extra_forbidden":
        return _unknown_key(keys, data)
    if kind == "value_error":
        return str(detail["ctx"]["error"]).rstrip(".")
    if kind not in EXPECTED:
        return str(detail["msg"])
    wanted = EXPECTED[kind].format(**detail.get("ctx", {}))
    text = f"expected {wanted}, found {_found(value)}"
    if kind == "literal_error":
        return text + nearest(str(value), re.findall("'([^']*)'", wanted))
    if kind == "string_type" and isinstance(value, (int, float)):
        return f"{text}; put it in quotes"
    is_quoted = isinstance(value, str) and isinstance(_scalar_of(value), (int, float))
    return f"{text}; remove the quotes" if kind in ("int_type", "float_type", "bool_type") and is_quoted else text


def _unknown_key(keys: Keys, data: dict[str, Any]) -> str:
    *path, key = keys
    why = REFUSED.get(str(path[0]), {}).get(str(key)) if len(path) == 1 else None
    if why:
        return f"cannot be set in a recipe: {why}"
    method = data.get("method")
    name = method.get("name", "adamatch") if isinstance(method, dict) else "adamatch"
    names = valid_keys(path, name)
    return f"unknown key{nearest(str(key), names) or '.'} Valid keys: {', '.join(names) or 'none'}"


def _scalar_of(text: str) -> Any:
    tag = _Loader("").resolve(ScalarNode, text, (True, False))
    return _scalar(ScalarNode(tag, text))


def _found(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {_short(repr(value))}"
    return (
        f"a mapping with {_short(', '.join(map(str, value)))}"
        if isinstance(value, dict)
        else f"the list {_short(str(value))}"
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _path(keys: Keys) -> str:
    """The keys as they are written in an override, list items as name[0]."""
    parts = [f"[{k}]" if isinstance(k, int) else "." + (k if k.isprintable() else repr(k)) for k in keys]
    return _short("".join(parts).removeprefix("."))
