"""Figures as inline SVG: text stays text, in the fonts and colours of the page that holds them."""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from html import escape
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

INK = "#010203"  # stands for the colour of the page's text, which is another one in dark mode
BLACK = "#000000"  # matplotlib's own
STYLE = re.compile(r'style="([^"]*)"')


def inline_svg(figure: Figure, what: str) -> Markup:
    """The figure as an SVG element that shrinks with the page.

    Args:
        figure: what it draws in black or `INK` takes the colour of the page's text.
        what: said to those who cannot see it.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # label names are no formulas
        if to_hex(text.get_color()) == BLACK:
            text.set_color(INK)
    for axes in figure.axes:
        axes.tick_params(color=INK, labelcolor=INK)
        for spine in axes.spines.values():
            spine.set_edgecolor(INK)
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": what}
    out = io.StringIO()
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's browser has the fonts
        figure.savefig(
            out, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    drawn = out.getvalue()
    drawn = STYLE.sub(_without_font, drawn[drawn.index("<svg ") :])
    drawn = drawn.replace(INK, "currentColor")
    # On a narrow screen it shrinks as far as its text stays readable, then it scrolls.
    size = f"max-width: 100%; min-width: {54 * figure.get_figwidth():.0f}pt"
    return Markup(drawn.replace("<svg ", f'<svg role="img" aria-label="{escape(what)}" style="{size}" ', 1))


def short(name: str, most: int = 22) -> str:
    """Shortened to the width of `most` Latin letters, on one line."""
    name = " ".join(name.split())[: 16 * most]  # what is far too long is not measured again and again
    while width(name) > most:
        name = name[:-2].rstrip() + "\u2026"
    return name


def _without_font(style: re.Match[str]) -> str:
    parts = style[1].split(";")
    kept = [part for part in parts if not part.strip().startswith("font-family:")]
    return style[0] if len(kept) == len(parts) else f'style="{";".join(kept).strip()}"'


def width(name: str) -> int:
    """In Latin letters; a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)
