"""Options of the command line that say how labels are written; the same in every command that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from textpl.reading.label_format import LabelFormat

Delimiter = Annotated[
    str | None, typer.Option(help='Between labels of one string; "" if each is one label. Default: found.')
]
UnlabeledValue = Annotated[
    list[str] | None,
    typer.Option("--unlabeled-value", help="What stands where there is no label, such as -1; '' for nothing does."),
]
Empty = Annotated[
    str | None,
    typer.Option(help="What an empty cell means if rows have several labels: none (of them applies) or unlabeled."),
]
MergeVariants = Annotated[
    bool | None,
    typer.Option(
        "--merge-variants/--keep-variants", help="Merge labels that differ in case, spaces, width or invisibly only."
    ),
]
Groups = Annotated[
    str | None,
    typer.Option(help="Column of what belongs together (document, author, thread): its rows never judge each other."),
]


def label_format(
    delimiter: str | None, unlabeled: list[str] | None, empty: str | None, merge_variants: bool | None
) -> LabelFormat:
    """Gather what the user says of how labels are written.

    Raises:
        ValueError: for another word than "none" and "unlabeled".
    """
    from textpl.reading.label_format import LabelFormat

    values = None if unlabeled is None else tuple(value for value in unlabeled if value)
    return LabelFormat(delimiter, values, empty, merge_variants)  # type: ignore[arg-type]


def split_names(text: str | None) -> list[str] | None:
    """Names that were typed with commas between them; None where none were."""
    return None if text is None else [name.strip() for name in text.split(",")]
