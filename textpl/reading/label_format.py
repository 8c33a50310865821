"""How labels are written: what the user says of it, and what is left to be found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal


@dataclass(frozen=True)
class LabelFormat:
    """How labels are written; None leaves it to be found, and to be asked where it cannot be.

    Attributes:
        delimiter: between the labels of one string; "" if each string is one label, "[" for lists in brackets.
        unlabeled_values: what stands where there is no label, beside blank cells; () for nothing else.
        empty: what an empty cell means where a row may have several labels: that "none" of them applies, or that the
            row is "unlabeled".
        merge_variants: whether names that differ only in case, spaces, width or invisible characters are one.
    """

    delimiter: str | None = None
    unlabeled_values: Sequence[str] | None = None
    empty: Literal["none", "unlabeled"] | None = None
    merge_variants: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.delimiter, (str, type(None))):
            raise ValueError(f"delimiter={self.delimiter!r}: a string such as ';', or '' for none.")
        if not isinstance(self.unlabeled_values, (str, list, tuple, set, type(None))):
            raise ValueError(f"unlabeled_values={self.unlabeled_values!r}: a list such as ['-1'], or [] for none.")
        if self.empty not in (None, "none", "unlabeled"):
            raise ValueError(f"empty={self.empty!r}: 'none' (no label applies) or 'unlabeled' (nobody has labeled it).")
        if isinstance(self.unlabeled_values, str):
            object.__setattr__(self, "unlabeled_values", (self.unlabeled_values,))

    @property
    def settled(self) -> LabelFormat:
        """The same with nothing left to be found: for other rows that are written alike."""
        return replace(self, delimiter=self.delimiter or "", empty=self.empty or "none")

    def described(self) -> dict[str, Any]:
        """What is said, as plain data."""
        return {name: value for name, value in vars(self).items() if value is not None}


ENCODED = LabelFormat(delimiter="", unlabeled_values=(), empty="none", merge_variants=False)  # nothing is to be found


def as_said(said: LabelFormat | None, info: Mapping[str, Any]) -> LabelFormat:
    """Fill in what the user does not say of how labels are written from an info.json beside the data.

    Raises:
        ValueError: if what stands there is no such description.
    """
    try:
        known = LabelFormat(**info.get("label_format", {}))
    except TypeError as error:
        raise ValueError(
            f"info.json: label_format: {error}; known are {[f.name for f in fields(LabelFormat)]}."
        ) from error
    given = {name: value for name, value in vars(said or LabelFormat()).items() if value is not None}
    return replace(known, **given)


def option(name: str, value: str) -> str:
    """Say how to state a `LabelFormat` setting, on the command line and in Python."""
    shown = [value] if name == "unlabeled_values" else value
    flag = {"unlabeled_values": f"--unlabeled-value {value or repr('')}", "empty": f"--empty {value}"}[name]
    said = f"{name}={shown if value else []!r}"
    return f"{flag} (in Python label_format=textpl.LabelFormat({said}), in a recipe data.{name})"
