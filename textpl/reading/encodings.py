"""In which encoding a text file is, from its bytes; what cannot be told is refused rather than guessed."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

UTF8 = "utf-8"
MARKS = (  # the longer ones first: that of UTF-32 begins as that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
NO_TEXT = (
    (b"PK\x03\x04", "an Excel workbook or another zip archive: save the sheet as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save the sheet as CSV UTF-8"),
    (b"\x1f\x8b", "compressed: unpack it with gunzip"),
    (b"BZh", "compressed: unpack it with bunzip2"),
    (b"\xfd7zXZ", "compressed: unpack it with unxz"),
    (b"PAR1", "a parquet file: give it the suffix .parquet"),
    (b"ARROW1", "an Arrow file: write it as .parquet"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "a database: export the table as csv"),
)
# Letters and marks of Western European texts beyond ASCII; then those that other encodings have in other places, each
# with letters of which one must be met as well: without an à the ì may be a Czech ě, without æ and å the ø an ř.
WESTERN = set("àâäáãåæçèéêëíîïñóôöœúüÿßÀÂÄÁÃÅÆÇÈÉÊËÍÎÏÑÓÔÖØŒÚÜ’‘“”„‚–—…€£§°«»·•©®™¡¿´`¨\u00a0")
ONLY_WITH = {
    "ø": "æå",
    "þ": "æ",
    "ð": "æ",
    "ý": "æ",
    "õ": "ãç",
    "ì": "à",
    "ù": "àç",
    "û": "êçàî",
    "Ø": "æåÆÅ",
    "ò": "à",
}
IN_WORDS = re.compile(r"[^\W\d_][„”“‚‘…•·´`¨][^\W\d_]")  # letters of DOS and Macintosh read as quotes
ENOUGH = 0.9  # of the characters beyond ASCII that must be usual ones for an encoding to be taken
RUNS = re.compile("[\x80-\U0010ffff]+")
LATE = 0.1  # of the characters of a Chinese text, whose pinyin is beyond "ku"


def find_encoding(data: bytes, name: str) -> str:
    """Return the name of the codec that reads a file.

    UTF-8 (with a mark or without), UTF-16 and UTF-32 are certain. Else the characters decide: GB18030 if nearly all of
    them are common Chinese ones, Windows-1252 if they are those of Western European texts.

    Args:
        data: the bytes of the whole file.
        name: of the file, for errors.

    Raises:
        ValueError: for what is no text, and an encoding that cannot be told; with the remedy.
    """
    for begin, what in NO_TEXT:
        if data.startswith(begin):
            raise ValueError(f"{name} is {what}.")
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return _checked(data, encoding, name)
    if b"\0" in data[:1000]:
        zeros = [data[:1000][start::2].count(0) for start in (0, 1)]
        if max(zeros) < 100 and max(zeros) * 8 < min(len(data), 1000):
            raise ValueError(f"{name} is no text: it holds zero bytes.")
        return _checked(data, "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be", name)
    try:
        data.decode(UTF8)
        return UTF8
    except UnicodeDecodeError as error:
        broken = error
    line, short = data.count(b"\n", 0, broken.start) + 1, name.rsplit("/", 1)[-1]
    replaced = data.decode(UTF8, "replace")
    beyond = sum(character > "\x7f" for character in replaced) - replaced.count("\ufffd")
    if beyond > replaced.count("\ufffd"):
        raise ValueError(
            f"{name}, line {line}: broken UTF-8 (byte {broken.start}), and UTF-8 elsewhere: correct that line, or have "
            f"the broken characters left out with `iconv -f UTF-8 -t UTF-8 -c {short} > utf8-{short}`."
        )
    for encoding, usual in (("gb18030", _chinese), ("cp1252", _western)):
        if _fits(data, encoding, usual):
            return encoding
    raise ValueError(
        f"{name}, line {line}: no UTF-8 text, nor certainly another encoding: convert it with `iconv -f ENCODING -t "
        f"UTF-8 {short} > utf8-{short}`, or save it as UTF-8."
    )


def _checked(data: bytes, encoding: str, name: str) -> str:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} begins as {encoding.upper()} text but is broken at byte {error.start}.") from error
    return encoding


def _fits(data: bytes, encoding: str, usual: Callable[[str], bool]) -> bool:
    try:
        return usual(data.decode(encoding))
    except UnicodeDecodeError:
        return False


def _western(text: str) -> bool:
    """Whether the characters beyond ASCII are letters of Western European words, which stand alone or in pairs."""
    beyond, there = [c for c in text if c > "\x7f"], set(text)
    known = sum(c in WESTERN or bool(set(ONLY_WITH.get(c, "")) & there) for c in beyond)
    in_runs = sum(len(run) for run in RUNS.findall(text) if len(run) > 3)
    return known >= ENOUGH * len(beyond) and in_runs <= (1 - ENOUGH) * len(beyond) and not IN_WORDS.search(text)


def _chinese(text: str) -> bool:
    """Whether nearly all characters beyond ASCII are the common ones of GB 2312, those from the end of its table too.

    Korean text has bytes of the first half of that table only.
    """
    codes = [c.encode("gb2312", "replace") for c in text if c > "\x7f"]
    common = [code[0] for code in codes if len(code) == 2 and (0xA1 <= code[0] <= 0xA3 or 0xB0 <= code[0] <= 0xD7)]
    late = sum(first > 0xC8 for first in common)
    return len(common) >= ENOUGH * len(codes) and late >= LATE * sum(first >= 0xB0 for first in common)
