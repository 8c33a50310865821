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
# Letters and marks of Western European texts beyond ASCII.
WESTERN = set("àâäáãåæçèéêëìíîïñòóôöõøœùúûüýÿßðþšžÀÂÄÁÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖÕØŒÙÚÛÜÝŸÐÞŠŽ’‘“”„‚–—…€£§°«»·•©®™¡¿´`¨\u00a0")
ENOUGH = 0.9  # of the characters beyond ASCII that must be usual ones for an encoding to be taken
HIGH = re.compile(rb"[\x80-\xff]+")


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
    for encoding, usual in (("gb18030", _common_chinese), ("cp1252", WESTERN.__contains__)):
        if _fits(data, encoding, usual):
            return encoding
    line = data.count(b"\n", 0, broken.start) + 1
    raise ValueError(
        f"{name}, line {line}: no UTF-8 text, nor certainly another encoding: convert it with `iconv -f ENCODING -t "
        f"UTF-8 {name} > utf8-{name}`, or save it as UTF-8."
    )


def _checked(data: bytes, encoding: str, name: str) -> str:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} begins as {encoding.upper()} text but is broken at byte {error.start}.") from error
    return encoding


def _fits(data: bytes, encoding: str, usual: Callable[[str], bool]) -> bool:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return False
    # Bytes of Western letters stand alone between ASCII ones; Chinese characters have two each, and come in runs.
    runs = [len(run) for run in HIGH.findall(data)]
    if encoding == "cp1252" and sum(size for size in runs if size > 3) > (1 - ENOUGH) * sum(runs):
        return False
    beyond = [character for character in text if character > "\x7f"]
    return sum(map(usual, beyond)) >= ENOUGH * len(beyond)


def _common_chinese(character: str) -> bool:
    """Whether a character is among the 3,755 most common ones of GB 2312, or its punctuation, digits and letters."""
    try:
        code = character.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(code) == 2 and (0xA1 <= code[0] <= 0xA3 or 0xB0 <= code[0] <= 0xD7)
