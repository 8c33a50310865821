"""A recipe over its parent: `extends:` names another recipe whose settings hold where the file says nothing.

Defaults < parent < file < --set. Mappings are merged, everything else is replaced, and null takes a setting of the
parent back. What belongs to a choice (a method, a data set, a model) is not inherited by another choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from textpl.recipes import finding
from textpl.recipes.merging import merged
from textpl.recipes.references import Located, change_references, locate
from textpl.recipes.versions import check_version
from textpl.recipes.yaml_text import Document, Keys, RecipeError, found

MAX_PARENTS = 5
# Lines of a parent come before those of its child in a list of errors.
_LINES = 10**5
NOT_INHERITED = ("schema", "description", "expected")
# The parents that are being read, the nearest first; goes along when what was fetched from the Hub is validated.
_above: ContextVar[tuple[str, ...]] = ContextVar("above", default=())


class _Parent(NamedTuple):
    key: str  # the same for the same recipe
    file: Path | None  # None: to be fetched from the Hub
    label: str  # in errors
    beside: bool = False  # the child


def read_document(text: str, *, folder: Path, file: str, label: str | None = None) -> Document:
    """The data of a recipe with what it inherits, and the file and line of every key.

    Args:
        text: of the recipe.
        folder: to which its paths are relative, and out of which no parent is read.
        file: its name.
        label: what it is called in errors; default: its name.

    Raises:
        RecipeError: for what is no YAML mapping, or a parent that cannot be had.
    """
    depth = len(_above.get())
    document = Document(label or file, first=-_LINES * depth)
    document.data = document.read(text)
    if not document.problems and not isinstance(document.data, dict):
        document.add((), f"a recipe is a mapping of keys to values, this is {found(document.data)}")
    document.stop_at_problems()
    _check_head(document, is_parent=depth > 0)
    if "extends" in document.data:
        named = document.data.pop("extends")
        try:
            parent = _find(named, folder, document.file if depth else "")
            with _one_more(parent.key):
                _inherit(document, parent, folder)
        except RecipeError:
            raise  # names the line of the parent
        except ValueError as error:
            document.add(("extends",), str(error))
            document.stop_at_problems()
    return document


def _check_head(document: Document, *, is_parent: bool) -> None:
    """What must hold before anything else is worth a word."""
    head = document.data
    if is_parent and isinstance(versions := head.get("textpl"), str):
        try:
            check_version(versions)
        except ValueError as error:
            document.add(("textpl",), str(error))
    if is_parent and head.get("schema") != 1:
        document.add(("schema",), "a parent is a recipe too: it starts with `schema: 1`")
    document.stop_at_problems()


def _find(named: Any, folder: Path, child: str) -> _Parent:
    """The parent that is named in a file of `folder`; else ValueError."""
    if not isinstance(named, str):
        raise ValueError(f"expected a recipe, found {found(named)}")
    if named.startswith(finding.HUB):
        if "@" not in named:
            raise ValueError(f"{named} has no revision: write {named}@REVISION, as a parent must not change by itself")
        return _Parent(named, None, named)
    bundled = finding.bundled_recipes()
    if named in bundled:
        return _Parent(f"bundled {named}", bundled[named], f"{named} (bundled)")
    path = locate(named, folder)
    if isinstance(path, Path) and (path / finding.FILE_NAME).is_file():
        named, path = f"{named.rstrip('/')}/{finding.FILE_NAME}", path / finding.FILE_NAME
    if not isinstance(path, Path) or not path.is_file() or path.suffix not in finding.SUFFIXES:
        raise ValueError(
            f"no recipe {named!r}: name a .yaml file or a folder with recipe.yaml beside this one, "
            f"hf://owner/name@revision, or a bundled recipe ({', '.join(bundled)})"
        )
    prefix = child.rpartition("/")[0]
    return _Parent(str(path.resolve()), path, f"{prefix}/{named}" if prefix else named, beside=True)


@contextmanager
def _one_more(key: str) -> Iterator[None]:
    """While a parent is being read; ValueError if recipes extend each other in a circle or too deeply."""
    above = _above.get()
    if key in above:
        raise ValueError("recipes extend each other in a circle: take one of the extends out")
    if len(above) >= MAX_PARENTS:
        raise ValueError(f"more than {MAX_PARENTS} recipes extend each other: write one of them out")
    token = _above.set((*above, key))
    try:
        yield
    finally:
        _above.reset(token)


def _inherit(document: Document, parent: _Parent, folder: Path) -> None:
    """Put what the parent says under what the document says."""
    try:
        file = parent.file or finding.find_recipe(parent.key)
        text = finding.read_text(file)
    except RecipeError as error:
        raise ValueError(str(error)) from None  # to be told with the line that names the parent
    above = read_document(text, folder=file.parent, file=file.name, label=parent.label)
    _move_references(above, file.parent, folder if parent.beside else None)
    for key in NOT_INHERITED:
        above.data.pop(key, None)
    document.data, places = merged(document, above)
    document.places = places


def _move_references(parent: Document, its_folder: Path, folder: Path | None) -> None:
    """Let what the parent names beside itself be found from the child's folder; None if it does not lie in there."""

    def move(keys: Keys, reference: str) -> str:
        if reference == "lsa" or isinstance(reference, Located):
            return reference
        try:
            path = locate(reference, its_folder)
        except ValueError as error:
            parent.add(keys, str(error))
            return reference
        if not isinstance(path, Path):
            return reference
        return Located(path.resolve()) if folder is None else path.relative_to(folder).as_posix()

    change_references(parent.data, move)
    parent.stop_at_problems()
