"""`annotations=` as people give it: columns or lists of ids, names, texts and probabilities; nothing is guessed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from textpl.annotations.annotation import Annotation, as_cells
from textpl.annotations.matching import LabelMatcher, is_nothing
from textpl.reading.labels import arrow_column
from textpl.reading.names import plain_name
from textpl.reading.probabilities import in_order, read_probabilities_column

Array = np.ndarray
logger = logging.getLogger(__name__)
EXAMPLES = 3


def read_annotations(
    annotations: Any, dataset: Dataset | None, label_names: Sequence[str], *, multi: bool, rows: int | None = None
) -> list[Annotation]:
    """Read what annotators said about the rows of a dataset.

    What a cell may hold: the id of a label, its name, a text that is a name but for case, quotes, punctuation and a
    leading "Label:", probabilities (a struct or dict by name, or as many numbers as labels), or nothing (None, -1, "",
    "abstain"). Several labels per row: lists of ids or names, a text that lists names, or 0/1 per label. With one label
    per row a list of whole numbers holds the votes of several annotators, as rules write them; each becomes one
    annotator, but for rows of 0 and a single 1, one number per label. Answers outside the label set count as none and
    are counted. Whole numbers are ids, but names where these are whole numbers that fit.

    Args:
        annotations: name of a column, names of several, or a mapping of the annotator's name to a column or to one
            value per row (an array (rows, labels) of probabilities, too).
        dataset: the rows; may be None where no column is named.
        label_names: in the order of the ids.
        multi: whether rows may carry several labels.
        rows: number of rows, where there is no dataset.

    Returns:
        Annotators, at least one.

    Raises:
        ValueError: for no annotator, a missing column, another number of rows, values of a kind that is none of these,
            and a column without a single answer that is a label; the annotator is named.
    """
    number = len(dataset) if dataset is not None else rows
    if number is None:
        raise ValueError("annotations: the number of rows is not known without a dataset.")
    found: list[Annotation] = []
    for name, source in _named(annotations).items():
        values = source
        if isinstance(source, str):
            values = _column(dataset, source)
        some = _annotators(name, values, label_names, multi, number)
        # A rule may be silent in a few rows, but not all of them; and answers that are all no labels are a mistake.
        lost = [a for a in some if a.outside and not a.answered.any()]
        if lost or not any(a.answered.any() for a in some):
            told = (lost or some)[0].told()
            raise ValueError(f"{told}. The labels are {', '.join(map(repr, list(label_names)[:20]))}.")
        found += some
    if len({a.name for a in found}) < len(found):
        raise ValueError(f"annotations: two annotators have one name: {[a.name for a in found]}.")
    return found


def _named(annotations: Any) -> dict[str, Any]:
    if isinstance(annotations, str):
        return {annotations: annotations}
    if isinstance(annotations, Mapping):
        named = {str(name): source for name, source in annotations.items()}
    elif isinstance(annotations, (list, tuple)) and all(isinstance(name, str) for name in annotations):
        named = {name: name for name in annotations}
    else:
        raise ValueError(
            f"annotations of type {type(annotations).__name__}: give the name of a column, a list of names, or a dict "
            "of an annotator's name to a column or to one value per row."
        )
    if not named:
        raise ValueError("annotations: no annotator is named.")
    return named


def _column(dataset: Dataset | None, name: str) -> Any:
    """Values of a column, an array of probabilities where it is a struct of them."""
    if dataset is None:
        raise ValueError(f"annotations: column {name!r} of no dataset: give the values themselves, as a dict.")
    if name not in dataset.column_names:
        parts = [column for column in dataset.column_names if column.startswith(f"{name}_")]
        if not parts:
            raise ValueError(f"annotations: there is no column {name!r}; the columns are {dataset.column_names}.")
        return read_probabilities_column(dataset, name)
    column = arrow_column(dataset, name)
    return (
        read_probabilities_column(dataset, name) if pa.types.is_struct(column.type) else _lists_of(column.to_pylist())
    )


def _lists_of(values: list) -> list:
    """Lists of numbers that were written as text, as csv files have them."""
    texts = [value for value in values if value not in (None, "")]
    if not texts or not all(isinstance(value, str) and value.startswith("[") for value in texts):
        return values
    try:
        parsed = [json.loads(value) if value not in (None, "") else None for value in values]
    except ValueError:
        return values
    numbers = all(isinstance(item, (int, float)) for value in parsed for item in value or ())
    return parsed if numbers else values


def _annotators(name: str, values: Any, names: Sequence[str], multi: bool, rows: int) -> list[Annotation]:
    """One annotator, or one for each vote of a row."""
    if isinstance(values, tuple) and len(values) == 2 and isinstance(values[0], np.ndarray):
        p, headings = values
        if headings is not None:
            p = in_order(p, headings, names, f"annotations: {name!r}")
        return [as_cells(p, rows, len(names), name)]
    if hasattr(values, "columns"):  # a table of pandas
        p = in_order(values.to_numpy(), [str(heading) for heading in values.columns], names, f"annotations: {name!r}")
        return [as_cells(p, rows, len(names), name)]
    values = values.tolist() if hasattr(values, "tolist") else list(values)
    if len(values) != rows:
        raise ValueError(f"annotations: {name!r} has {len(values)} values for {rows} rows: give one per row.")
    values = [value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value for value in values]
    there = [value for value in values if not _missing(value)]
    if all(isinstance(value, Mapping) for value in there) and there:
        return [_by_name(name, values, names)]
    if any(isinstance(value, (list, tuple, set)) for value in there):
        return _lists(name, values, there, names, multi)
    if multi:
        return [_label_sets(name, [None if _missing(v) else [v] for v in values], names)]
    return [_classes(name, values, names)]


def _lists(name: str, values: list, there: list, names: Sequence[str], multi: bool) -> list[Annotation]:
    odd = next((value for value in there if not isinstance(value, (list, tuple, set))), None)
    if odd is not None:
        raise ValueError(f"annotations: {name!r} holds lists and {odd!r}: write all answers the same way.")
    lengths = {len(value) for value in there}
    flat = [item for value in there for item in value]
    fixed = len(lengths) == 1
    fractions = any(isinstance(item, float) and item == item and not item.is_integer() for item in flat)
    if fractions and lengths != {len(names)}:
        raise ValueError(
            f"annotations: {name!r} holds lists of probabilities of length {', '.join(map(str, sorted(lengths)))} for "
            f"{len(names)} labels: give one number per label in every row."
        )
    if fractions or (not multi and lengths == {len(names)} and _one_hot(there)):
        none = [np.nan] * len(names)
        return [as_cells([none if _missing(v) else list(v) for v in values], len(values), len(names), name)]
    if not multi:
        if not fixed or not all(item is None or isinstance(item, (int, float)) for item in flat):
            raise ValueError(
                f"annotations: {name!r} holds lists, but a row has one label: lists are taken for the votes of several "
                "annotators, as many whole numbers in every row, or for one probability per label."
            )
        votes = range(lengths.pop())
        return [_classes(f"{name}[{j}]", [None if _missing(v) else list(v)[j] for v in values], names) for j in votes]
    if fixed and lengths == {len(names)} and _multi_hot(there):
        cells = np.full((len(values), len(names)), -1, dtype=np.int8)
        for row, value in enumerate(values):
            if not _missing(value):
                cells[row] = [-1 if item is None else int(item) for item in value]
        return [Annotation(name, "cells", cells, len(names))]
    return [_label_sets(name, values, names)]


def _one_hot(there: list) -> bool:
    """Whether every list has a single 1 among zeros: a certain answer; as votes they would never agree."""
    return all(sorted(map(str, map(_number, value))) == ["0"] * (len(value) - 1) + ["1"] for value in there)


def _number(item: Any) -> Any:
    return int(item) if isinstance(item, (int, float)) and item in (0, 1) else None


def _multi_hot(there: list) -> bool:
    """Whether lists are 0/1 per label (-1 for no answer) and not ids, of which none stands twice.

    With two labels ids would say both in every row, and so nothing.
    """
    numbers = all(item is None or (isinstance(item, (int, float)) and item in (-1, 0, 1)) for v in there for item in v)
    return numbers and any(len(set(value)) < len(value) or len(value) == 2 for value in there)


def _by_name(name: str, values: list, names: Sequence[str]) -> Annotation:
    """Probabilities as a dict per row; a label that it does not name has none."""
    p = np.full((len(values), len(names)), np.nan, dtype=np.float32)
    place = {label: k for k, label in enumerate(names)}
    for row, value in enumerate(values):
        for label, number in ({} if _missing(value) else value).items():
            if label not in place:
                raise ValueError(f"annotations: {name!r}, row {row} (counted from 0): {label!r} is none of the labels.")
            if not isinstance(number, (int, float, np.number, type(None))):
                raise ValueError(f"annotations: {name!r}, row {row} (counted from 0): {number!r} is no probability.")
            p[row, place[label]] = np.nan if number is None else number
    return as_cells(p, len(values), len(names), name)


def _classes(name: str, values: list, names: Sequence[str]) -> Annotation:
    ids, outside, examples = np.full(len(values), -1, dtype=np.int64), 0, list[str]()
    read = _reader(name, values, names)
    for row, value in enumerate(values):
        if _missing(value) or (isinstance(value, str) and is_nothing(value, names)):
            continue
        found = read(value)
        if found is None:
            outside += 1
            examples += [str(value)[:80]] if len(examples) < EXAMPLES else []
        else:
            ids[row] = found
    return Annotation(name, "classes", ids, len(names), outside, tuple(examples))


def _label_sets(name: str, values: list, names: Sequence[str]) -> Annotation:
    cells, outside, examples = np.full((len(values), len(names)), -1, dtype=np.int8), 0, list[str]()
    matcher = LabelMatcher(names)
    read = _reader(name, [item for value in values if isinstance(value, (list, tuple, set)) for item in value], names)
    for row, value in enumerate(values):
        if _missing(value):
            continue
        items = list(value)
        if len(items) == 1 and isinstance(items[0], str):
            if items[0].strip() == "":
                continue
            found: list | None = matcher.several(items[0])
        else:
            found = [read(item) for item in items]
        if found is None or None in found:
            outside += 1
            examples += [str(value)[:80]] if len(examples) < EXAMPLES else []
        else:
            cells[row] = 0
            cells[row, found] = 1
    return Annotation(name, "cells", cells, len(names), outside, tuple(examples))


def _reader(annotator: str, values: list, names: Sequence[str]) -> Callable[[Any], int | None]:
    """A function from one answer to the id of a label or None. Digits are ids unless the names are digits themselves.

    Strings are ids only where all are whole numbers, as a csv file has them.
    """
    matcher, size = LabelMatcher(names), len(names)
    texts = [value.strip() for value in values if isinstance(value, str) and not is_nothing(value, names)]
    numeric = bool(texts) and all(text.lstrip("-").isdecimal() for text in texts)
    numeric = numeric and not any(plain_name(name).isdecimal() for name in names)
    numbers = _numbers_as_names(annotator, values, names)

    def read(value: Any) -> int | None:
        if isinstance(value, str) and not numeric:
            return matcher.one(value)
        if isinstance(value, bool) and (found := matcher.one(str(value))) is not None:
            return found  # labels called "false" and "true", in whatever order
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        if numbers is not None and not isinstance(value, str):
            return numbers.get(number)
        return int(number) if number.is_integer() and 0 <= number < size else None

    return read


def _numbers_as_names(annotator: str, values: list, names: Sequence[str]) -> dict[float, int] | None:
    """The ids by number where names are whole numbers, such as stars, and answers are numbers that mean names.

    As labels are read: numbers are ids from 0 on only where they can be no names.
    """
    if not all(plain_name(name).isdecimal() for name in names):
        return None
    by_name = {float(plain_name(name)): k for k, name in enumerate(names)}
    said = {float(v) for v in values if isinstance(v, (int, float)) and not isinstance(v, bool) and not _missing(v)}
    if all(by_name.get(float(k)) == k for k in range(len(names))) or not said:
        return None
    if not said <= set(by_name) and said <= set(range(len(names))):
        return None
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    logger.warning("annotations: the numbers of %r are taken as the names %s, not as ids from 0 on", annotator, shown)
    return by_name


def _missing(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, (int, float)):
        return bool(value != value or value == -1)
    return False
