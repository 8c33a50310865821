"""YAML that is only data, the line of every key in it, and what is wrong with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import CollectionStartEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from textpl.recipes.field_types import EXCLUSIVE, TURNING
from textpl.recipes.references import Located, quoted

MAX_DEPTH = 20
MAX_PROBLEMS = 50  # that are told at once
LONGEST = 1000  # characters of one
OVERRIDES = 10**6  # in the order of places after the lines of any file
Keys = tuple[str | int, ...]
_KINDS = {str: "text", int: "number", float: "number"}


class Loader(yaml.SafeLoader):
    """Safe, and with the plain values of YAML 1.2: 2e-4 is a number; no, on, 12:30 and dates are text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Refuse before anything is built, so that depth and aliases cost nothing."""
        event, refused = self.peek_event(), None
        if event.anchor:  # an alias has one too
            refused = "anchors and aliases (&x, *x) are not allowed; write it out"
        elif event.tag:
            refused = "tags (!x) are not allowed; a recipe is only data"
        elif self.depth == MAX_DEPTH and isinstance(event, CollectionStartEvent):
            refused = f"nested more than {MAX_DEPTH} deep"
        if refused:
            raise yaml.MarkedYAMLError(problem=refused, problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or `Loader` would take for something else than text; lists on one line."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: D102
        return True

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> SequenceNode:  # noqa: D102
        return super().represent_sequence(tag, sequence, flow_style=True)


Dumper.add_representer(Located, yaml.SafeDumper.represent_str)

for _tag, _pattern, _first in (
    ("null", r"~|null|", ["~", "n", ""]),
    ("bool", r"true|false", ["t", "f"]),
    ("int", r"[-+]?(?:0|[1-9][0-9_]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


class RecipeError(ValueError):
    """A recipe that cannot be read; the message has one line for each thing that is wrong."""


class Place(NamedTuple):
    """Where something was said: the number of a line, or of an override after all lines."""

    number: int
    label: str


@dataclass
class Document:
    """Plain data, the place of every key in it, and what is wrong."""

    file: str
    data: Any = None
    places: dict[Keys, Place] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def stop_at_problems(self) -> None:
        """Raise those noted so far, in the order of the file; a stranger's file may hold very many, and long ones."""
        if self.problems:
            found = list(dict.fromkeys(text for _, text in sorted(self.problems, key=lambda p: p[0])))
            lines = [text if len(text) <= LONGEST else f"{text[:LONGEST]}..." for text in found[:MAX_PROBLEMS]]
            more = [f"... and {len(found) - MAX_PROBLEMS:,} more"] if len(found) > MAX_PROBLEMS else []
            raise RecipeError("\n".join(lines + more))

    def add(self, keys: Keys, text: str, place: Place | None = None) -> None:
        """Note a problem, if no place is given at that of the innermost key that was written."""
        place = place or self.place(keys)
        name = "" if place.label.startswith(f"--set {dotted(keys)}=") else dotted(keys)
        self.problems.append((place.number, ": ".join(part for part in (place.label, name, text) if part)))

    def place(self, keys: Keys) -> Place:
        """Of the innermost of the keys that was written."""
        written = (self.places[keys[:n]] for n in range(len(keys), -1, -1) if keys[:n] in self.places)
        return next(written, self._line(0))

    def read(self, text: str, at: Keys = (), place: Place | None = None) -> Any:
        """Data of a YAML text that stands at `at`; every key in it has the given place, or else its line."""
        turned = next((i for i, letter in enumerate(text) if letter in TURNING), None)
        if turned is not None:
            turning = f"the character U+{ord(text[turned]):04X} turns the direction of letters: take it out"
            return self.add((), turning, place or self._line(text.count("\n", 0, turned)))
        try:
            node = _compose(text)
            return node and self._data(node, at, place)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, problem = mark.line if mark else 0, error.problem or error.context
        except yaml.reader.ReaderError as error:
            line, problem = text.count("\n", 0, error.position), f"character {error.character!r} is not allowed"
        self.add((), f"not valid YAML: {problem}", place or self._line(line))

    def override(self, number: int, text: str) -> None:
        """Change one setting, as in KEY=VALUE."""
        place = Place(OVERRIDES + number, f"--set {short(text)}")
        path, equals, value = text.partition("=")
        keys: Keys = tuple(key.strip() for key in path.split("."))
        if not equals or not all(keys):
            return self.add((), "write KEY=VALUE, for example --set train.max_steps=20", place)
        parent = self.data
        for n, key in enumerate(keys[:-1], 1):
            child = written_out(keys[:n], parent.get(key))
            if not isinstance(child, dict):
                return self.add((), f"{dotted(keys[:n])} is {found(child)}, in which nothing can be set", place)
            self.places.setdefault(keys[:n], place)
            parent[key] = parent = child
        self.places = {old: where for old, where in self.places.items() if old[: len(keys)] != keys} | {keys: place}
        parent[keys[-1]] = self.read(value, keys, place)
        pair = EXCLUSIVE.get(str(keys[0]), ())
        for rival in {(keys[0], name) for name in pair} - {keys} if keys[1:] and keys[1] in pair else ():
            if parent[keys[-1]] is not None and self.places.get(rival, place).number < OVERRIDES:
                del parent[rival[1]], self.places[rival]

    def _line(self, number: int) -> Place:
        return Place(number, f"{self.file}, line {number + 1}")

    def _data(self, node: Node, at: Keys, place: Place | None) -> Any:
        self.places.setdefault(at, place or self._line(node.start_mark.line))
        if isinstance(node, ScalarNode):
            return SafeConstructor().construct_object(node)
        if isinstance(node, SequenceNode):
            return [self._data(item, (*at, i), place) for i, item in enumerate(node.value)]
        assert isinstance(node, MappingNode)
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            here = place or self._line(key_node.start_mark.line)
            keys = (*at, key_node.value)
            if key_node.tag != "tag:yaml.org,2002:str":
                self.add((), f"{dotted(at) or 'recipe'}: keys must be text; put this one in quotes", here)
            elif key_node.value in data:
                first = self.places[keys].label.removeprefix(f"{self.file}, ")
                self.add(keys, f"stands here twice (first: {first})", here)
            else:
                self.places[keys] = here
                data[key_node.value] = self._data(value_node, keys, place)
        return data


def written_out(keys: Keys, value: Any) -> Any:
    """What something can be set in: a short form is written out, nothing becomes a mapping."""
    match keys, value:
        case _, None:
            return {}
        case ((("method" | "model",) | ("train", "labeled_loss")), str()):
            return {"name": value}
        case ("method", "view"), str():
            return {value: {}}
    return value


def _compose(text: str) -> Node | None:
    """The node tree of the only document; None if there is none."""
    loader = Loader(text)
    node = loader.get_node() if loader.check_node() else None
    if loader.check_node():
        mark = loader.peek_event().start_mark
        raise yaml.MarkedYAMLError(problem="one document only (there is a second ---)", problem_mark=mark)
    return node


def unquoted(text: str) -> Any:
    """What the text would stand for without quotes."""
    node = ScalarNode(Loader("").resolve(ScalarNode, text, (True, False)), text)
    return SafeConstructor().construct_object(node)


def found(value: Any) -> str:
    """A value, for the end of a message."""
    if value is None or isinstance(value, bool):
        return "nothing (null)" if value is None else str(value).lower()
    if isinstance(value, dict):
        return f"a mapping with {short(', '.join(map(str, value)))}"
    return f"the {_KINDS.get(type(value), 'list')} {short(quoted(value) if isinstance(value, str) else repr(value))}"


def short(text: str) -> str:
    """The text on one line of at most 60 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def dotted(keys: Keys) -> str:
    """The keys as they are written in an override, list items as name[0]."""
    parts = [f"[{k}]" if isinstance(k, int) else "." + (k if k.isprintable() else repr(k)) for k in keys]
    return short("".join(parts).removeprefix("."))
