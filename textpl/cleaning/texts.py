"""Texts that say nothing: empty, very short, or garbled; with the reason for each row, in any language."""

from __future__ import annotations

import bisect
import html
import re
import unicodedata
from collections.abc import Sequence

from textpl.embeddings.encoder_checks import checked_texts

BROKEN = 0.2  # share of replacement or control characters: news titles with one in twenty can be read
REPEATED = 8  # characters
MISREAD_CJK = 5  # Chinese characters below which bytes may fit UTF-8 by chance
MISREAD_SHARE = 0.8  # of their bytes

TAG = re.compile(
    r"<script.*?(?:</script>|$)|</?[a-z][a-z0-9]*(?:\s+[a-z-]+\s*=[^<>]*|\s*/?)>", re.IGNORECASE | re.DOTALL
)
LINK = re.compile(r"(?<!\w)\w++://\S+")  # begins at a word: from within one, long words take forever
ENCODED = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")
# What UTF-8 becomes when it is read as Latin-1 or Windows-1252: a lead byte and its continuation bytes. Only leads that
# begin common characters, for "FPÖ“" is German.
CONTINUATION = "[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
WESTERN = re.compile(
    f"[ÂÃ][\u0080-\u009f\u00a1-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ•˜™š›œžŸ]|[â-ï]{CONTINUATION}{{2}}|ð[\u009fŸ]{CONTINUATION}{{2}}"
)
CYRILLIC = re.compile(f"(?:[ÐÑ]{CONTINUATION}){{3,}}")
HIGH_LATIN = re.compile("[\u00a1-\u00ff]{6,}")  # GBK, Shift-JIS or KOI8 read as Latin-1
CJK = re.compile("[\u3400-\u9fff\ue000-\uf8ff€]+")


def text_problems(texts: Sequence[str]) -> dict[int, str]:
    """Rows whose text no annotator could have labelled, with the first of these reasons that holds.

    - "empty", "only whitespace"
    - "replacement characters": one character in five or more
    - "wrong encoding": UTF-8 read as Latin-1 or GBK ("cafÃ©", "浣犲ソ"), or the reverse
    - "control characters": one character in five or more
    - "only markup": nothing is left without HTML tags and entities
    - "encoded data": nothing is left without base64 or hexadecimal strings
    - "one character repeated": eight times or more, and nothing else ("好好好好好好好好" repeats a word)
    - "no letters": neither letters, digits, symbols nor emoji, nor an emoticon
    - "very short": one letter or digit of an alphabetic script; a Chinese character is a word

    Args:
        texts: n strings.

    Returns:
        Row number to reason, ascending.

    Raises:
        TypeError: if a text is not a string; the row is named.
    """
    reasons = ((row, text_problem(text)) for row, text in enumerate(checked_texts(texts)))
    return {row: reason for row, reason in reasons if reason is not None}


def text_problem(text: str) -> str | None:
    """What is wrong with one text (see `text_problems`), or None."""
    if not text:
        return "empty"
    if not text.strip():
        return "only whitespace"
    return _broken(text) or _no_language(text.strip())


def _broken(text: str) -> str | None:
    if not text.isascii():
        if text.count("\ufffd") >= BROKEN * len(text):
            return "replacement characters"
        if _misread(text):
            return "wrong encoding"
    if not text.isprintable():
        controls = sum(unicodedata.category(c) == "Cc" and not c.isspace() for c in text)
        if controls >= BROKEN * len(text):
            return "control characters"
    return None


def _misread(text: str) -> bool:
    if "锟斤拷" in text or "ï¿½" in text:  # the replacement character, encoded and read once more
        return True
    if any(pattern.search(text) for pattern in (WESTERN, CYRILLIC)):
        return True
    runs = HIGH_LATIN.findall(text)
    if any(sum(c.isalpha() for c in run) * 2 >= len(run) and len(set(run)) > 2 for run in runs):
        return True
    return _is_utf8_read_as_gbk("".join(CJK.findall(text)))


def _is_utf8_read_as_gbk(chinese: str) -> bool:
    """Whether the bytes of the Chinese characters are other Chinese characters; reading may have lost some of them."""
    if len(chinese) < MISREAD_CJK:
        return False
    read = chinese.encode("gb18030").decode("utf-8", "ignore")
    fits = sum(len(c.encode("utf-8")) for c in read if c >= "\u3000")
    return fits >= MISREAD_SHARE * 2 * len(chinese)


def _no_language(text: str) -> str | None:
    if ("<" in text or "&" in text) and not _has_content(TAG.sub(" ", html.unescape(text))):
        return "only markup"
    if len(text) >= 40 and not _has_content(_without_encoded(text)):
        return "encoded data"
    letters = [c for c in text if not c.isspace()]
    if len(letters) >= REPEATED and len(set(letters)) == 1 and not _is_word(letters[0]):
        return "one character repeated"
    return _too_little(letters)


def _without_encoded(text: str) -> str:
    """The text without long strings that look like bytes: mixed cases and digits, or hexadecimal; links stay."""
    links = [match.span() for match in LINK.finditer(text)]
    starts = [start for start, _ in links]

    def replace(match: re.Match[str]) -> str:
        run = match[0]
        mixed = all(any(test(c) for c in run) for test in (str.isupper, str.islower, str.isdigit))
        hexadecimal = set(run.lower()) <= set("0123456789abcdef") and len(set(run)) > 8
        before = bisect.bisect_right(starts, match.start()) - 1
        linked = before >= 0 and match.start() < links[before][1]
        return " " if (mixed or hexadecimal) and not linked else run

    return ENCODED.sub(replace, text)


def _has_content(text: str) -> bool:
    """Whether there is a letter, digit, symbol or emoji."""
    return any(unicodedata.category(c)[0] in "LNS" for c in text)


def _too_little(letters: list[str]) -> str | None:
    if not _has_content("".join(letters)):
        # A little punctuation may be a face or a mood: ":)", "!!!", "?".
        return "no letters" if len(set(letters)) > 4 or len(letters) >= REPEATED else None
    alone = len(letters) == 1 and letters[0].isalnum() and not _is_word(letters[0])
    return "very short" if alone else None


def _is_word(character: str) -> bool:
    """Whether one character can be a word: ideographs and syllables (category Lo) are, letters of alphabets are not."""
    return unicodedata.category(character) == "Lo"
