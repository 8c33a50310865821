"""JSON Lines, JSON arrays and the exports of Label Studio, read into columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa


def read_json(text: str, name: str) -> dict[str, pa.Array]:
    """Read objects, one a line or in one array, into columns; a key that an object lacks is None there.

    Values of several types in one column stay what they are, as JSON text of Arrow's type `json`. Tasks of Label Studio
    (the export "JSON") become rows of their data, with a column for each control of choices (a label, or a list of
    several); JSON-MIN and plain objects are rows as they are.

    Args:
        text: of the whole file.
        name: of the file, for errors.

    Raises:
        ValueError: for what is no JSON, or no objects; file, line and remedy are named.
    """
    rows = _objects(text, name)
    if rows and all("annotations" in row and isinstance(row.get("data"), dict) for row in rows):
        rows = _tasks(rows)
    headings = dict.fromkeys(key for row in rows for key in row)
    return {heading: _array([row.get(heading) for row in rows], heading, name) for heading in headings}


def choices(value: Any) -> Any:
    """Return the names in Label Studio's `{"choices": [...]}`, any other value as it is."""
    if isinstance(value, dict) and set(value) == {"choices"} and isinstance(value["choices"], list):
        return value["choices"]
    return value


def _objects(text: str, name: str) -> list[dict[str, Any]]:
    begin = text.lstrip()[:1]
    if begin == "[":
        try:
            rows = json.loads(text, object_pairs_hook=_distinct)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name} is no valid JSON: {error}.") from error
        places = (f"entry {i} (counted from 0)" for i in range(len(rows)))
    else:
        rows, lines = [], []
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            try:
                rows.append(json.loads(line, object_pairs_hook=_distinct))
            except (ValueError, RecursionError) as error:
                remedy = "One object a line is needed, or one array of objects" if number == 1 else "Correct that line"
                raise ValueError(f"{name}, line {number} is no valid JSON: {error}. {remedy}.") from error
            lines.append(number)
        places = (f"line {line}" for line in lines)
    for row, place in zip(rows, places, strict=True):
        if not isinstance(row, dict):
            raise ValueError(f'{name}, {place}: {str(row)[:80]!r} is no object such as {{"text": ..., "label": ...}}.')
    return rows


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _tasks(tasks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of annotated tasks: of several annotators the labels that most of them chose, None for a tie."""
    answered = [list(_answers(task)) for task in tasks]
    controls = dict.fromkeys(name for answers in answered for answer in answers for name in answer)
    several = {name for name in controls if any(len(a.get(name, ())) > 1 for answers in answered for a in answers)}
    rows = []
    for task, answers in zip(tasks, answered, strict=True):
        row = dict(task["data"])
        for control in controls:
            given = [tuple(sorted(set(answer.get(control, ())))) for answer in answers]
            chosen, votes = Counter(given).most_common(1)[0] if given else ((), 0)
            agreed = bool(given) and 2 * votes > len(given)
            label: Any = list(chosen) if control in several else next(iter(chosen), None)
            if control in task["data"]:  # what was there before anybody looked
                row[f"data_{control}"] = task["data"][control]
            row[control] = label if agreed else None
        rows.append(row)
    return rows


def _answers(task: dict[str, Any]) -> Iterator[dict[str, list[str]]]:
    for annotation in task["annotations"] or ():
        if annotation.get("was_cancelled"):
            continue
        found: dict[str, list[str]] = {}
        for result in annotation.get("result", ()):
            if "choices" in result.get("value", {}):
                found.setdefault(str(result.get("from_name")), []).extend(result["value"]["choices"])
        yield found


def _array(values: list[Any], heading: str, name: str) -> pa.Array:
    try:
        array = pa.array(values, from_pandas=False)
    except UnicodeEncodeError as error:
        row = next(i for i, value in enumerate(values) if _half(value))
        problem = f"{name}, row {row} (counted from 0): {heading!r} holds half of a character (a lone surrogate)"
        raise ValueError(f"{problem}: correct or drop the row.") from error
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return _as_json(values)
    kept = _storable(array.type) and _same_kinds(values, array.type) and _same_keys(values)
    return array if kept else _as_json(values)


def _same_kinds(values: list[Any], kind: pa.DataType) -> bool:
    """Whether Arrow's type changed nothing: whole numbers among fractions would become fractions."""
    return not pa.types.is_floating(kind) or not any(type(value) is int and abs(value) >= 2**53 for value in values)


def _same_keys(values: list[Any]) -> bool:
    """Whether objects all have the keys of the first: Arrow would add the others as null."""
    objects = [value for value in values if isinstance(value, dict)]
    return all(value.keys() == objects[0].keys() for value in objects)


def _storable(kind: pa.DataType) -> bool:
    """Whether parquet can hold a type: not objects without any key."""
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_storable(kind.field(i).type) for i in range(kind.num_fields))
    return _storable(kind.value_type) if hasattr(kind, "value_type") else True


def _as_json(values: list[Any]) -> pa.Array:
    texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, pa.string()))


def _half(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
