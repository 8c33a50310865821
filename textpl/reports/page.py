"""What all report pages share: one file that needs nothing else, no network, no fonts, no scripts of others."""

from __future__ import annotations

import math
from typing import Any

from jinja2 import Environment, PackageLoader

TEXT, NEIGHBOR = 1000, 300  # characters shown of a text, and of one beside it
TAGS = 12  # labels of one row


def render(template: str, **values: Any) -> str:
    """A page from a template of this folder; every value is escaped unless it is `Markup`."""
    page = Environment(loader=PackageLoader("textpl.reports"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"count": _count, "percent": _percent, "signed": _signed}
    page.globals["TAGS"] = TAGS
    return page.get_template(template).render(**values)


def cut(text: str, most: int) -> str:
    """At most so many characters."""
    return text if len(text) <= most else text[:most] + "\u2026"


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _percent(share: float | None, digits: int = 0) -> str:
    """A share as per cent; nothing where it is not known, and 100 only for all."""
    if share is None or math.isnan(share):
        return ""
    most = 100 - 10**-digits
    return f">{most:.{digits}f}" if most + 0.5 * 10**-digits <= 100 * share < 100 else f"{100 * share:.{digits}f}"


def _signed(number: float, digits: int = 1) -> str:
    return f"{number:+z.{digits}f}"
