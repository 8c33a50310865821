"""YAML that is only data: plain values of YAML 1.2; no tags, no aliases, nothing deep."""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import CollectionStartEvent
from yaml.nodes import Node, ScalarNode, SequenceNode

MAX_DEPTH = 20


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
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def compose(text: str) -> Node | None:
    """The node tree of the only document; None if there is none. Raises `yaml.YAMLError`."""
    loader = Loader(text)
    node = loader.get_node() if loader.check_node() else None
    if loader.check_node():
        mark = loader.peek_event().start_mark
        raise yaml.MarkedYAMLError(problem="one document only (there is a second ---)", problem_mark=mark)
    return node


def scalar(node: ScalarNode) -> Any:
    """Its value."""
    return SafeConstructor().construct_object(node)


def unquoted(text: str) -> Any:
    """What the text would stand for without quotes."""
    return scalar(ScalarNode(Loader("").resolve(ScalarNode, text, (True, False)), text))
