"""The plain data of a recipe, with overrides, the line of every key, and what is wrong with them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from textpl.recipes.field_types import EXCLUSIVE
from textpl.recipes.messages import Keys, dotted, found, short
from textpl.recipes.yaml_text import compose, scalar


class RecipeError(ValueError):
    """A recipe that cannot be read; the message has one line for each thing that is wrong."""


class Place(NamedTuple):
    """Where something was said; overrides, which have no line, come after the file."""

    line: float
    label: str


@dataclass
class Document:
    """Plain data, the place of every key in it, and what is wrong."""

    file: str
    data: Any = None
    places: dict[Keys, Place] = field(default_factory=dict)
    problems: list[tuple[float, str]] = field(default_factory=list)

    def stop_at_problems(self) -> None:
        """Raise those noted so far, in the order of the file."""
        if self.problems:
            raise RecipeError("\n".join(dict.fromkeys(text for _, text in sorted(self.problems, key=lambda p: p[0]))))

    def add(self, keys: Keys, text: str, place: Place | None = None) -> None:
        """Note a problem, if no place is given at that of the innermost key that was written."""
        written = (self.places[keys[:n]] for n in range(len(keys), -1, -1) if keys[:n] in self.places)
        place = place or next(written, self._line(0))
        name = "" if place.label.startswith(f"--set {dotted(keys)}=") else dotted(keys)
        self.problems.append((place.line, ": ".join(part for part in (place.label, name, text) if part)))

    def read(self, text: str, at: Keys = (), place: Place | None = None) -> Any:
        """Data of a YAML text that stands at `at`; every key in it has the given place, or else its line."""
        try:
            node = compose(text)
            return node and self._data(node, at, place)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, problem = mark.line if mark else 0, error.problem or error.context
        except yaml.reader.ReaderError as error:
            line, problem = text.count("\n", 0, error.position), f"character {error.character!r} is not allowed"
        self.add((), f"not valid YAML: {problem}", place or self._line(line))

    def override(self, text: str) -> None:
        """Change one setting, as in KEY=VALUE."""
        place = Place(math.inf, f"--set {short(text)}")
        path, equals, value = text.partition("=")
        keys: Keys = tuple(key.strip() for key in path.split("."))
        if not equals or not all(keys):
            return self.add((), "write KEY=VALUE, for example --set train.max_steps=20", place)
        parent = self.data
        for n, key in enumerate(keys[:-1], 1):
            child = _written_out(keys[:n], parent.get(key))
            if not isinstance(child, dict):
                return self.add((), f"{dotted(keys[:n])} is {found(child)}, in which nothing can be set", place)
            self.places.setdefault(keys[:n], place)
            parent[key] = parent = child
        self.places = {old: where for old, where in self.places.items() if old[: len(keys)] != keys} | {keys: place}
        parent[keys[-1]] = self.read(value, keys, place)
        pair = EXCLUSIVE.get(str(keys[0]), ())
        for rival in {(keys[0], name) for name in pair} - {keys} if keys[1:] and keys[1] in pair else ():
            if parent[keys[-1]] is not None and self.places.get(rival, place).line < math.inf:
                del parent[rival[1]], self.places[rival]

    def _line(self, number: int) -> Place:
        return Place(number, f"{self.file}, line {number + 1}")

    def _data(self, node: Node, at: Keys, place: Place | None) -> Any:
        self.places.setdefault(at, place or self._line(node.start_mark.line))
        if isinstance(node, ScalarNode):
            return scalar(node)
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


def _written_out(keys: Keys, value: Any) -> Any:
    """What an override may set something in: a short form is written out, nothing becomes a mapping."""
    match keys, value:
        case _, None:
            return {}
        case ("method" | "model",), str():
            return {"name": value}
        case ("method", "view"), str():
            return {value: {}}
    return value
