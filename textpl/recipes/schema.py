"""What a recipe may say: strict, frozen models of the YAML file, with their defaults.

A recipe is data from strangers. Nothing in it names code, and no path in it leaves the recipe's folder. Settings of
a method are checked against `textpl.methods`, imported (with torch) when a method is validated.
"""

from __future__ import annotations

import difflib
import inspect
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    StrictInt,
    StrictStr,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError, ValidationError

from textpl.components import schedules
from textpl.components.views import TfidfReplacement, WordNoise

if TYPE_CHECKING:
    from textpl.callbacks.semi_supervised import SemiSupervised

DEFAULT_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DATA_SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv")
# The written form -> constructor of everything in a recipe that is one choice among several with settings.
CHOICES: dict[str, dict[str, Callable[..., Any]]] = {
    "weight": {f.__name__: f for f in (schedules.constant, schedules.linear, schedules.cosine, schedules.sigmoid)}
    | {"lee": schedules.lee},
    "view": {"tfidf": TfidfReplacement, "word_noise": WordNoise},
}
Locate = Callable[[str], Path | str]
# Parameters of methods, schedules and views that are not the recipe's to set.
RESERVED = ("unlabeled", "text_column", "max_length", "seed", "tokenizer", "vocabulary")

_HUB_NAME = r"[A-Za-z0-9][\w.-]*"
_MODEL_ID = re.compile(rf"{_HUB_NAME}(/{_HUB_NAME})?")
_DATA_ID = re.compile(rf"{_HUB_NAME}/{_HUB_NAME}|bundled:[\w-]+")


def nearest(word: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the closest name, or nothing."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_form(reference: str) -> str:
    """Return the name of a Hub id or of a file beside the recipe; ValueError for what can be neither."""
    if "://" in reference:
        raise ValueError(f"{reference!r} is a URL: a recipe names a Hub id, or files beside it")
    if reference.startswith(("/", "~")) or "\\" in reference or re.match("[A-Za-z]:", reference):
        raise ValueError(f"{reference!r} is no path inside the recipe's folder: write it relative to that, with '/'")
    if ".." in reference.split("/"):
        raise ValueError(f"{reference!r} leads out of the recipe's folder: put the files beside the recipe")
    return reference


def _is_local(reference: str, info: ValidationInfo) -> bool | None:
    """Whether this is a file or folder beside the recipe; None if that cannot be told, for want of a folder."""
    find: Locate | None = (info.context or {}).get("locate")
    return None if find is None else isinstance(find(reference), Path)


def _check_reference(reference: str, info: ValidationInfo, ids: re.Pattern[str]) -> str:
    check_form(reference)
    is_id = ids.fullmatch(reference) and not reference.endswith(DATA_SUFFIXES)
    if _is_local(reference, info) is False and not is_id:
        hint = "; it may also be a Hub id 'owner/name'" + (" or 'bundled:NAME'" if ids is _DATA_ID else "")
        raise ValueError(f"no file or folder {reference!r} beside the recipe{hint}")
    return reference


def _check_hub_only(reference: str, settings: dict[str, str | None], info: ValidationInfo) -> None:
    given = [name for name, value in settings.items() if value is not None]
    if given and (reference.startswith("bundled:") or _is_local(reference, info)):
        raise ValueError(f"{' and '.join(given)} would have no effect: {reference!r} does not come from the Hub")


def expected(what: str) -> PydanticCustomError:
    """The error for a value of the wrong kind; the reader of recipes adds what was found."""
    return PydanticCustomError("expected", "expected {what}", {"what": what})


def _one_line(text: str) -> str:
    if len(text.splitlines()) > 1 or any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise expected("one line of text")
    return text


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class Strictly(BaseModel):
    """Base of all models: frozen, unknown keys refused, no conversions but int to float."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Line = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
DataSource = Annotated[Line, AfterValidator(lambda v, info: _check_reference(v, info, _DATA_ID))]
ModelName = Annotated[Line, AfterValidator(lambda v, info: _check_reference(v, info, _MODEL_ID))]


class DataSettings(Strictly):
    """Where the texts come from; the names of the columns are found when they are not given."""

    source: DataSource
    config: Line | None = None
    revision: Line | None = None
    text: Line | None = None
    label: Line | None = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        _check_hub_only(self.source, {"config": self.config, "revision": self.revision}, info)
        return self


class SplitSettings(Strictly):
    """How many rows of each kind; arguments of `textpl.splits.make_split`."""

    labels_per_class: Count | None = None
    labeled: Count | None = None
    min_per_class: Size = 1
    dev: Size = 0
    pool: Count | None = None
    test: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.labels_per_class is None) == (self.labeled is None):
            found = "neither" if self.labeled is None else "both"
            raise ValueError(f"needs exactly one of labels_per_class and labeled, found {found}")
        if self.labeled is None and self.min_per_class != 1:
            raise ValueError("min_per_class goes with labeled; labels_per_class is a minimum already")
        return self


class ModelSettings(Strictly):
    """The classifier to fine-tune; a plain string is its name."""

    name: ModelName = DEFAULT_MODEL
    revision: Line | None = None
    max_length: Annotated[int, Field(ge=2)] = 128

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        _check_hub_only(self.name, {"revision": self.revision}, info)
        return self


def _bool_or_auto(value: Any) -> Any:
    if not isinstance(value, bool) and value != "auto":
        raise expected("true, false or auto")
    return value


class TrainSettings(Strictly):
    """The training arguments a recipe may set; see `transformers.TrainingArguments`."""

    max_steps: Count | None = 200
    num_train_epochs: Positive | None = None
    per_device_train_batch_size: Count = 8
    per_device_eval_batch_size: Count = 64
    gradient_accumulation_steps: Count = 1
    learning_rate: Positive = 2e-4
    weight_decay: NonNegative = 0.0
    warmup_steps: NonNegative = 0.05  # below 1: a share of the run
    lr_scheduler_type: Literal[
        # Those of transformers.SchedulerType that need neither settings of their own nor an evaluation.
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = "cosine"  # fmt: skip
    max_grad_norm: NonNegative = 1.0
    adam_beta1: BelowOne = 0.9
    adam_beta2: BelowOne = 0.999
    adam_epsilon: Positive = 1e-8
    # Those that need no further package.
    optim: Literal["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"] = "adamw_torch_fused"
    label_smoothing_factor: BelowOne = 0.0
    activation_checkpointing: bool = False
    bf16: Annotated[bool | Literal["auto"], BeforeValidator(_bool_or_auto)] = "auto"
    fp16: bool = False
    logging_steps: Positive = 0.1  # below 1: a share of the run
    dataloader_num_workers: Annotated[int, Field(ge=0, le=64)] = 0

    @model_validator(mode="before")
    @classmethod
    def _epochs_replace_default_steps(cls, given: Any) -> Any:
        has_epochs = isinstance(given, dict) and given.get("num_train_epochs") is not None
        return {"max_steps": None} | given if has_epochs else given

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.max_steps is None) == (self.num_train_epochs is None):
            found = "neither" if self.max_steps is None else "both"
            raise ValueError(f"needs exactly one of max_steps and num_train_epochs, found {found}")
        for name, value in (("warmup_steps", self.warmup_steps), ("logging_steps", self.logging_steps)):
            if value > 1 and value % 1:
                raise ValueError(f"{name}={value} is neither a share below 1 nor a whole number of steps")
        if self.fp16 and self.bf16 is True:
            raise ValueError("fp16 and bf16 exclude each other")
        return self

    def arguments(self, auto_bf16: bool) -> dict[str, Any]:
        """Keywords of `TrainingArguments`.

        Args:
            auto_bf16: what `bf16: auto` means on this machine.
        """
        values = {name: value for name, value in self if value is not None}
        if self.bf16 == "auto":
            values["bf16"] = auto_bf16 and not self.fp16
        return values


def _teacher(value: Any, info: ValidationInfo) -> Any:
    names = [value] if isinstance(value, str) else value
    if value is None:
        return None
    if not isinstance(names, (list, tuple)) or not names or not all(isinstance(n, str) and n for n in names):
        raise expected("a Hub id or folder, or a list of these")
    checked = tuple(_check_reference(_one_line(name), info, _MODEL_ID) for name in names)
    return value if isinstance(value, str) else checked


def _prior(value: Any) -> Any:
    if value is None or value in ("labeled", "uniform"):
        return value
    if isinstance(value, (list, tuple)) and value and all(_is_number(v) and 0 <= v <= 1 for v in value):
        return tuple(float(v) for v in value)
    raise expected("labeled, uniform, null, or a list of probabilities, one per label")


def _weight(value: Any) -> Any:
    if _is_number(value):
        if value < 0:
            raise expected("0 or more")
        return float(value)
    if isinstance(value, dict):
        value = _choose("weight", value)
    if callable(value):
        return value.value if isinstance(value, schedules.constant) else value
    raise expected("a number, or one schedule such as {cosine: {value: 1.0}}")


def _view(value: Any) -> Any:
    if isinstance(value, str):
        value = {value: None}
    if isinstance(value, dict):
        return _choose("view", value)
    if value is None or callable(value):
        return value
    raise expected("one view, tfidf or word_noise, or null; several are not supported")


def _by(validator: Callable[..., Any]) -> Any:
    """A type whose values are what the validator returns."""
    return Annotated[Any, BeforeValidator(validator)]


ARGUMENTS: dict[str, Any] = {
    "threshold": Share,
    "ratio": Count,
    "weight": _by(_weight),
    "view": _by(_view),
    "temperature": Positive,
    "tsa": Literal["linear", "log", "exp"] | None,
    "tsa_until": Annotated[float, Field(gt=0, le=1)],
    "n_sigma": Positive,
    "prior": _by(_prior),
    "decay": BelowOne | None,
    "teacher": _by(_teacher),
    "column": Line | None,
    "column_kind": Literal["probabilities", "logits"],
    "value": NonNegative,
    "start": Share,
    "end": Share,
    "p": Share,
    "drop": Share,
    "swap": Share,
    "protected": Annotated[tuple[StrictStr, ...], Strict(False)],
    "negators": bool,
    "max_texts": Count,
}


@lru_cache
def arguments_model(function: Callable[..., Any]) -> type[Strictly]:
    """A model of the keywords of a method, schedule or view, with the types of `ARGUMENTS`."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in RESERVED]
    fields = {p.name: (ARGUMENTS.get(p.name, Any), ... if p.default is p.empty else p.default) for p in parameters}
    return create_model(function.__name__, __base__=Strictly, **fields)  # type: ignore[call-overload]


@lru_cache
def _choice_model(kind: str) -> type[Strictly]:
    fields = {name: (arguments_model(make), None) for name, make in CHOICES[kind].items()}
    return create_model(kind, __base__=Strictly, **fields)  # type: ignore[call-overload]


def _choose(kind: str, given: dict[str, Any]) -> Any:
    """Build the one object of `CHOICES[kind]` that is described."""
    chosen = _choice_model(kind).model_validate({name: {} if v is None else v for name, v in given.items()})
    if len(chosen.model_fields_set) != 1:
        raise expected(f"exactly one of {', '.join(CHOICES[kind])}")
    (name,) = chosen.model_fields_set
    arguments = getattr(chosen, name)
    return CHOICES[kind][name](**{key: getattr(arguments, key) for key in arguments.model_fields_set})


class MethodSettings(Strictly):
    """A method of `textpl.METHODS` and those of its settings that differ from its defaults.

    Written flat, `MethodSettings(name="uda", threshold=0.7)`; a plain string is the name. Schedules and views in
    `settings` are built objects.
    """

    name: str = "adamatch"
    settings: dict[str, Any] = {}
    # Teachers as found from the recipe's folder. Recipes in different folders that name a teacher there are not equal.
    _teacher: list[str] | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, given: Any, info: ValidationInfo) -> Any:
        from textpl.methods import METHODS

        if not isinstance(given, (str, dict)):
            return given
        flat = {"name": given} if isinstance(given, str) else dict(given)
        name = flat.pop("name", "adamatch")
        if not isinstance(name, str) or name not in METHODS:
            text = f"unknown method {name!r}{nearest(str(name), METHODS) or '.'} Methods: {', '.join(METHODS)}"
            problem = PydanticCustomError("unknown_method", "{text}", {"text": text})
            raise ValidationError.from_exception_data("method", [{"type": problem, "loc": ("name",), "input": name}])
        checked = arguments_model(METHODS[name].make).model_validate(flat, context=info.context)
        settings = {key: getattr(checked, key) for key in flat}
        if name == "distillation" and (checked.teacher is None) == (checked.column is None):  # type: ignore[attr-defined]
            raise ValueError("distillation needs exactly one of teacher and column")
        defaults = METHODS[name].defaults
        return {"name": name, "settings": {key: value for key, value in settings.items() if value != defaults[key]}}

    @model_validator(mode="after")
    def _find_teacher(self, info: ValidationInfo) -> Self:
        find: Locate | None = (info.context or {}).get("locate")
        teacher = self.settings.get("teacher")
        if find is not None and teacher is not None:
            self._teacher = [str(find(name)) for name in ([teacher] if isinstance(teacher, str) else teacher)]
        return self

    def build(self, unlabeled: Any, *, seed: int, max_length: int | None = None) -> SemiSupervised:
        """The callback of this method for one pool.

        Args:
            unlabeled: the pool, with a column `text`.
            seed: seed of pool order and views.
            max_length: longest pool row in tokens; None for the longest labelled row.
        """
        from textpl.methods import METHODS

        settings = self.settings | ({"teacher": self._teacher} if self._teacher else {})
        return METHODS[self.name].make(unlabeled, seed=seed, max_length=max_length, **settings)


def _threshold(value: Any) -> Any:
    if value != "prior" and not (_is_number(value) and 0 < value < 1):
        raise expected("prior, or a number between 0 and 1")
    return value


class CompareSettings(Strictly):
    """How labels-only is compared with the method; arguments of `textpl.compare`."""

    match: Literal["compute", "steps"] = "compute"
    metric: Literal["accuracy", "macro_f1", "micro_f1", "subset_accuracy"] | None = None
    threshold: Annotated[float | Literal["prior"], BeforeValidator(_threshold)] = "prior"


def _stages(stages: tuple[str, ...]) -> tuple[str, ...]:
    for stage in stages:
        if stage in ("label", "clean"):
            raise ValueError(
                f"stage {stage!r} is not there yet: for now the only one is train; label and clean will follow"
            )
        if stage != "train":
            raise ValueError(f"unknown stage {stage!r}: for now the only one is train")
    if len(stages) != 1:
        raise ValueError("write [train], the only stage for now")
    return stages


def _seeds(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) < len(seeds) or not all(0 <= seed < 2**32 for seed in seeds):
        raise expected("one or more different whole numbers from 0 to 2**32 - 1")
    return seeds


def _version(version: int) -> int:
    if version != 1:
        raise ValueError(f"this textpl reads schema 1, not {version}")
    return version


class Recipe(Strictly):
    """A whole recipe; what it leaves out has the defaults given here."""

    schema_version: Annotated[int, AfterValidator(_version)] = Field(alias="schema")
    description: Annotated[str, AfterValidator(_one_line)] = ""
    data: DataSettings
    split: SplitSettings
    model: ModelSettings = ModelSettings()
    stages: Annotated[tuple[StrictStr, ...], Strict(False), AfterValidator(_stages)] = ("train",)
    method: MethodSettings = Field(default_factory=MethodSettings)
    train: TrainSettings = TrainSettings()
    seeds: Annotated[tuple[StrictInt, ...], Strict(False), AfterValidator(_seeds)] = (0, 1, 2)
    compare: CompareSettings = CompareSettings()


def valid_keys(path: Sequence[str | int], method: str) -> list[str]:
    """Keys that may stand in the mapping at `path` of a recipe with this method."""
    match path:
        case []:
            return [field.alias or name for name, field in Recipe.model_fields.items()]
        case ["method"]:
            from textpl.methods import METHODS

            return ["name", *arguments_model(METHODS[method].make).model_fields]
        case ["method", kind]:
            return list(CHOICES[str(kind)])
        case ["method", kind, name]:
            return list(arguments_model(CHOICES[str(kind)][str(name)]).model_fields)
    section: Any = Recipe.model_fields[str(path[0])].annotation
    return list(section.model_fields)
