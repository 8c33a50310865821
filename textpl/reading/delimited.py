"""Tables of delimited text: what separates the fields, and the fields as they stand there, not one changed."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
SAMPLE = 1_000  # rows by which the delimiter is chosen
CHUNK = 50_000  # rows that are Python objects at a time
INTEGERS, DECIMALS = r"^(0|-?[1-9][0-9]{0,17})$", r"^-?(0|[1-9][0-9]*)\.[0-9]+$"
INVISIBLE = re.compile("[\ufeff\u200b\u200c\u200d\u2060]")
# Columns of what textpl writes for spreadsheets, whose cells are marked so that none is taken for a formula.
MARKED = (
    {"label_source", "evidence", "confidence"},
    {"decision", "question", "row", "label", "lesson", "p_error"},
    {"row", "rank", "why", "strategy", "weight"},
)
FORMULA = re.compile(r"'*[=+\-@\t\r]")
SPACED_QUOTE = r'^ +".*"$'
NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?\Z")


@dataclass(frozen=True)
class TextFormat:
    """How a file of text is written, to write another one alike.

    Attributes:
        suffix: of the file.
        encoding: a codec.
        delimiter: between fields, of csv.
        quoting: whether double quotes hold fields together; False: they are part of the text.
    """

    suffix: str = ".csv"
    encoding: str = "utf-8"
    delimiter: str = ","
    quoting: bool = True
    spaced: bool = False  # a space follows each delimiter, before the quotes

    def told(self) -> list[str]:
        """Say what is not as the suffix lets expect."""
        expected = "\t" if self.suffix == ".tsv" else ","
        told = [] if self.encoding in ("utf-8", "utf-8-sig") else [f"read as {self.encoding.upper()}"]
        if self.suffix in (".csv", ".tsv") and self.delimiter != expected:
            told.append(f"separated by {DELIMITERS[self.delimiter]}")
        return told if self.quoting else [*told, 'each " is part of the text']


def read_delimited(text: str, written: TextFormat, name: str) -> tuple[dict[str, pa.ChunkedArray], TextFormat]:
    """Read a csv file: columns of strings, or of numbers where these are written in the one way they can be.

    A column is of int64 or float64 only if every cell that is not empty reads as its number is written (`7` or `0.5`,
    but neither `007` nor `0.50` nor `1e3`); its empty cells are None. So nothing is lost: all else stays text.

    Args:
        text: of the whole file.
        written: its suffix and encoding.
        name: of the file, for errors.

    Returns:
        columns by heading (`Unnamed: 2` for one without, `NAME (2)` for the second one of a name), and how the file is
        written. Lines without anything are left out.

    Raises:
        ValueError: for rows with more or fewer fields than there are headings, and quotes that are not closed; file,
            row, line and remedy are named.
    """
    csv.field_size_limit(2**31 - 1)
    first, _, rest = text.partition("\n")
    if (said := first.strip().lower()).startswith("sep=") and len(said) == 5:  # Excel's own word on the delimiter
        text, written = rest, replace(written, delimiter=said[4])
    else:
        written = replace(written, delimiter=_delimiter(text, written))
    try:
        columns = _columns(text, written, name)
        if any(
            pa.types.is_string(c.type) and pc.any(pc.match_substring_regex(c, SPACED_QUOTE)).as_py()
            for c in columns.values()
        ):
            written = replace(written, spaced=True)
            columns = _columns(text, written, name)
        _check_quotes(columns, text, written, name)
        return columns, written
    except _QuoteError as problem:
        # In tables of tabs a quote often is a character as any other.
        plain = replace(written, quoting=False)
        if written.delimiter == "\t":
            try:
                return _columns(text, plain, name), plain
            except ValueError:
                pass
        raise ValueError(str(problem)) from None


def escaped(cell: str) -> str:
    """Mark a cell that a spreadsheet would take for a formula with a leading apostrophe; numbers stay."""
    return f"'{cell}" if FORMULA.match(cell) and not NUMBER.match(cell) else cell


def unescaped(cell: str) -> str:
    """Take the mark away."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell


class _QuoteError(ValueError):
    pass


def _delimiter(text: str, written: TextFormat) -> str:
    """The delimiter by which all rows of a sample have as many fields as the headings, two at least."""
    usual = "\t" if written.suffix == ".tsv" else ","
    wide, even = [], []
    for delimiter in sorted(DELIMITERS, key=lambda mark: mark != usual):
        try:
            rows = list(itertools.islice(_rows(text, replace(written, delimiter=delimiter)), SAMPLE))
        except csv.Error:
            rows = list(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), 1))
        if not rows or len(rows[0]) < 2:
            continue
        wide.append(delimiter)
        if len({len(row) for row in rows if row}) == 1:
            even.append(delimiter)
    # Of several the one that the suffix says, or the one that parts the headings most.
    return (even or wide or [usual])[0]


def _rows(text: str, written: TextFormat) -> Any:
    """A `csv.reader`."""
    quoting = csv.QUOTE_MINIMAL if written.quoting else csv.QUOTE_NONE
    file = io.StringIO(text, newline="")
    settings = {"delimiter": written.delimiter, "skipinitialspace": written.spaced}
    return csv.reader(file, quoting=quoting, strict=True, **settings)  # type: ignore[arg-type]


def _columns(text: str, written: TextFormat, name: str) -> dict[str, pa.ChunkedArray]:
    reader = _rows(text, written)
    chunks: list[list[pa.Array]] = []
    bad: list[str] = []
    more = count = 0
    try:
        written_headings: list[str] = next((row for row in reader if row), [])
        headings = _headings(written_headings)
        names = written_headings if len(headings) > 1 and not NUMBER.match(headings[0]) else None
        while lines := list(itertools.islice(reader, CHUNK)):
            rows = [row for row in lines if row]
            odd = [i for i, row in enumerate(rows) if len(row) != len(headings)]
            if (again := next((i for i, row in enumerate(rows) if row == names), None)) is not None:
                raise ValueError(
                    f"{name}, row {count + again} (counted from 0) is the headings once more: are these two files "
                    "in one? Take that line out."
                )
            if odd and not bad:
                bad = [f"row {count + i} has {len(rows[i])} field{'s' * (len(rows[i]) != 1)}" for i in odd[:3]]
            more += len(odd)
            if not bad:
                chunks.append([pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)])
            count += len(rows)
    except csv.Error as error:
        raise _QuoteError(
            f"{name}, line {reader.line_num}: {error}: a text with quotes must be in double quotes itself, "
            'each quote in it doubled ("He said ""no"""), as spreadsheets and csv libraries write it.'
        ) from None
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: holds half of a character (a lone surrogate): {error}.") from error
    if bad:
        shown = ", ".join(bad) + (f", and {more - len(bad):,} more rows" if more > len(bad) else "")
        raise ValueError(
            f"{name}: {len(headings)} heading{'s' * (len(headings) != 1)}, but {shown} (counted from 0): a text that "
            f"holds {DELIMITERS.get(written.delimiter, written.delimiter)} must be in double quotes, and every row "
            "needs as many fields as there are headings."
        )
    columns = {
        heading: pa.chunked_array([chunk[k] for chunk in chunks if chunk], pa.string())
        for k, heading in enumerate(headings)
    }
    if any(marks <= {unescaped(heading) for heading in headings} for marks in MARKED):
        columns = {unescaped(heading): _unmarked(column) for heading, column in columns.items()}
    return {heading: _numbers(column) for heading, column in columns.items()}


def _check_quotes(columns: dict[str, pa.ChunkedArray], text: str, written: TextFormat, name: str) -> None:
    """Refuse quotes that may have swallowed rows: a field over several lines, each of which would be a row as well.

    Lines of a text that only happen to have as many fields bring values into other columns that are met nowhere else.
    """
    cells = {k: column.to_pylist() for k, column in enumerate(columns.values()) if pa.types.is_string(column.type)}
    long = {k: rows for k, column in cells.items() if (rows := [i for i, cell in enumerate(column) if "\n" in cell])}
    if not long:
        return
    plain = [row for row in _rows(text, replace(written, quoting=False)) if row][1:]
    others = [k for k in cells if k not in long]
    if all(len(row) == len(columns) for row in plain) and any({r[k] for r in plain} <= set(cells[k]) for k in others):
        raise ValueError(
            f"{name}, row {min(map(min, long.values()))} (counted from 0) goes over several lines by its quotes, and "
            'each of these lines would be a row too: double the quotes that are part of a text ("" for each "), or '
            "take them out."
        )


def distinct(names: Iterable[str]) -> list[str]:
    """Tell columns of one name apart: the second `NAME` is `NAME (2)`."""
    seen: Counter[str] = Counter()
    told = []
    for name in names:
        seen[name] += 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return told


def _headings(row: list[str]) -> list[str]:
    return distinct(INVISIBLE.sub("", heading).strip() or f"Unnamed: {k}" for k, heading in enumerate(row))


def _unmarked(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pa.chunked_array(
        [pa.array([unescaped(cell) for cell in chunk.to_pylist()]) for chunk in column.chunks], pa.string()
    )


def _numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers where all cells are written as such, else the column as it is."""
    empty = pc.equal(column, "")
    if not len(column) or pc.all(empty).as_py():
        return column
    for pattern, kind in ((INTEGERS, pa.int64()), (DECIMALS, pa.float64())):
        if pc.all(pc.or_(empty, pc.match_substring_regex(column, pattern))).as_py():
            cells = pc.if_else(empty, None, column)
            if kind == pa.int64() or all(
                repr(float(cell)) == cell for cell in pc.unique(cells.drop_null()).to_pylist()
            ):
                return cells.cast(kind)
    return column
