"""What all sections of a recipe are made of: the strict base model and the types of its fields."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, ValidationInfo, WrapValidator
from pydantic_core import PydanticCustomError, ValidationError

from textpl.reading.columns import nearest as nearest
from textpl.recipes.references import Located, check_reference

# Of each pair in a section exactly one is to be set; an override of one takes the other out.
EXCLUSIVE = {
    "split": ("labels_per_class", "labeled"),
    "train": ("max_steps", "num_train_epochs"),
    "method": ("teacher", "column"),
}
# "auto" and the names in `textpl.relabeling.methods`, which need not be loaded to check a name; a test compares them.
RELABELING = (
    "auto", "knn_dv", "knn", "hdl_paper", "hdl", "label_propagation", "linear_smoothed", "linear_propagation", "linear"
)  # fmt: skip
# Letters that turn the direction of those after them: a line would not say what it seems to say.
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Strictly(BaseModel):
    """Base of all models: frozen, unknown keys refused, no conversions but int to float."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def expected(what: str) -> PydanticCustomError:
    """The error for a value of the wrong kind; the reader of recipes adds what was found."""
    return PydanticCustomError("expected", "expected {what}", {"what": what})


def told_as(what: str) -> WrapValidator:
    """One message in place of one for each member of a union."""

    def check(value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise expected(what) from None

    return WrapValidator(check)


def check_exclusive(section: str, settings: BaseModel, who: str = "") -> None:
    """ValueError unless exactly one of the pair of the section is set."""
    pair = EXCLUSIVE[section]
    given = [name for name in pair if getattr(settings, name) is not None]
    if len(given) != 1:
        raise ValueError(f"{who}needs exactly one of {' and '.join(pair)}, found {'both' if given else 'neither'}")


def folder_of(info: ValidationInfo) -> Path | None:
    """To which paths are relative; None where nothing that they name need be there."""
    return (info.context or {}).get("folder", Path())


def one_line(text: str) -> str:
    """The text, if it is one line without control characters and without what turns the direction of letters."""
    if len(text.splitlines()) > 1 or any(unicodedata.category(c) in ("Cc", "Cs") or c in TURNING for c in text):
        raise expected("one line of text")
    return text


def check_model(name: str, info: ValidationInfo) -> str:
    """The name, if there can be such a model."""
    return check_reference(name, folder_of(info), data=False)


def _kept(value: Any, handler: Any) -> Any:
    """What has been located already is a path of this machine; pydantic would make it an ordinary text."""
    return value if isinstance(value, Located) else handler(value)


def check_relabeling(name: str) -> str:
    """The name, if it is "auto" or one of the relabelling methods."""
    if name not in RELABELING:
        raise ValueError(f"unknown method {name!r}{nearest(name, RELABELING) or '.'} Methods: {', '.join(RELABELING)}")
    return name


Line = Annotated[str, Field(min_length=1), AfterValidator(one_line)]
# The upper ends are far above anything sensible: a slip, or a stranger, must not fill a machine.
Count = Annotated[int, Field(ge=1, le=10**9)]
Size = Annotated[int, Field(ge=0, le=10**9)]
Batch = Annotated[int, Field(ge=1, le=2**16)]
Steps = Annotated[int, Field(ge=1, le=10**7)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, told_as("a number, or one schedule such as {cosine: {value: 1.0}}"), Field(ge=0)]
AboveZero = Annotated[float, Field(gt=0, le=1)]
Between = Annotated[float, Field(gt=0, lt=1)]
Texts = Annotated[tuple[str, ...], Strict(False)]
Numbers = Annotated[tuple[int, ...], Strict(False)]
Shares = Annotated[tuple[Share, ...], Field(min_length=1), Strict(False)]
Rates = Annotated[tuple[BelowOne, ...], Field(min_length=1), Strict(False)]
Rate = Annotated[BelowOne | Rates, told_as("a share from 0 to below 1, or a list of these, one per label")]
Matrix = Annotated[tuple[Shares, ...], Field(min_length=2), Strict(False)]
Reference = Annotated[Line, WrapValidator(_kept)]
References = Annotated[tuple[Reference, ...], Field(min_length=1), Strict(False)]
DataSource = Annotated[
    Line, AfterValidator(lambda v, info: check_reference(v, folder_of(info), data=True)), WrapValidator(_kept)
]
ModelName = Annotated[Line, AfterValidator(check_model), WrapValidator(_kept)]
EncoderName = Annotated[
    Line, AfterValidator(lambda v, info: v if v == "lsa" else check_model(v, info)), WrapValidator(_kept)
]
RelabelingMethod = Annotated[str, AfterValidator(check_relabeling)]
