"""Settings of methods, schedules, views and losses, with their types.

Those of methods stand in a table here, so that a recipe is checked without loading torch; `textpl.methods` is imported
when a method is built. Those of schedules, views and losses are read off the functions that take them.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, ValidationInfo, WrapValidator, create_model, model_serializer, model_validator
from pydantic_core import PydanticCustomError, ValidationError

from textpl.components import schedules
from textpl.components.views import TfidfReplacement, WordNoise
from textpl.recipes import field_types as ft
from textpl.recipes.references import locate

if TYPE_CHECKING:
    from textpl.callbacks.semi_supervised import SemiSupervised

DEFAULT_METHOD = "adamatch"
# In place of a method: no pool, labels only. What is compared is the loss for the labelled rows.
NO_METHOD = "none"
# Parameters of methods, schedules and views that are not the recipe's to set.
RESERVED = ("unlabeled", "labeled", "encoder", "text_column", "max_length", "seed", "tokenizer", "vocabulary")
_VIEW = TfidfReplacement(p=0.3)
# The written form -> constructor of everything in a recipe that is one choice among several with settings.
CHOICES: dict[str, dict[str, Callable[..., Any]]] = {
    "weight": {name: getattr(schedules, name) for name in ("constant", "linear", "cosine", "sigmoid", "lee")},
    "view": {"tfidf": TfidfReplacement, "word_noise": WordNoise},
}
# Method -> its settings and their defaults: those of its function in `textpl.methods` without `RESERVED`. A test
# compares them.
SETTINGS: dict[str, dict[str, Any]] = {
    "pseudo_label": {"threshold": 0.95, "ratio": 1, "weight": schedules.lee(value=1.0), "view": None},
    "uda": {
        "threshold": 0.8, "temperature": 0.85, "tsa": "auto", "tsa_until": 0.5,
        "ratio": 3, "weight": 1.0, "view": _VIEW,
    },
    "fixmatch": {"threshold": 0.95, "ratio": 1, "weight": 1.0, "view": _VIEW},
    "adamatch": {"threshold": 0.9, "ema": True, "ratio": 1, "weight": schedules.cosine(0.3, end=0.5), "view": _VIEW},
    "softmatch": {"n_sigma": 2.0, "prior": "labeled", "ema": True, "ratio": 1, "weight": 0.1, "view": _VIEW},
    "marginmatch": {"threshold": 0.95, "wrong": 0.01, "ratio": 1, "weight": 1.0, "view": _VIEW},
    "mean_teacher": {"decay": None, "ratio": 1, "weight": schedules.sigmoid(5.0, end=0.3), "view": _VIEW},
    "vat": {"epsilon": 0.05, "ratio": 1, "weight": schedules.linear(1.0, end=0.4), "view": None},
    "mixtext": {
        "alpha": 2.0, "temperature": 0.5, "mix_layers": None,
        "ratio": 1, "weight": schedules.linear(1.0, end=0.4), "view": _VIEW,
    },
    "comatch": {
        "threshold": 0.95, "alpha": 0.9, "temperature": 0.2, "contrast": 1.0, "prior": "labeled",
        "ratio": 1, "weight": 1.0, "view": _VIEW,
    },
    "cap": {
        "positive": 1.0, "negative": 1.0, "asymmetric": True, "decay": None, "refresh": "epoch",
        "ratio": 1, "weight": schedules.linear(1.0, start=0.3, end=0.3), "view": _VIEW,
    },
    "hdl": {
        "relabel": "hdl", "k": None, "start": 0.5, "refresh": "epoch",
        "threshold": 0.95, "ratio": 1, "weight": 1.0, "view": _VIEW,
    },
    "distillation": {
        "teacher": None, "column": None, "column_kind": "logits", "label_names": None, "temperature": 2.0,
        "ratio": 1, "weight": 1.0, "view": None,
    },
}  # fmt: skip


def _choose(kind: str, given: dict[str, Any]) -> Any:
    """Build the one object of `CHOICES[kind]` that is described."""
    fields = {name: (arguments_model(make), None) for name, make in CHOICES[kind].items()}
    one_of = create_model(kind, __base__=ft.Strictly, **fields)  # type: ignore[call-overload]
    chosen = one_of.model_validate({name: {} if v is None else v for name, v in given.items()})
    if len(chosen.model_fields_set) != 1:
        raise ft.expected(f"exactly one of {', '.join(CHOICES[kind])}")
    (name,) = chosen.model_fields_set
    return CHOICES[kind][name](**getattr(chosen, name).model_dump(exclude_unset=True))


def _weight(value: Any, number: Callable[[Any], float]) -> Any:
    if isinstance(value, dict):
        value = _choose("weight", value)
        return value.value if isinstance(value, schedules.constant) else value
    return number(value)


def _view(value: Any, _: Any) -> Any:
    if isinstance(value, str):
        value = {value: None}
    if isinstance(value, dict):
        return _choose("view", value)
    if value is not None:
        raise ft.expected("one view, tfidf or word_noise, or null; several are not supported")
    return None


def _as_list(teacher: str | tuple[str, ...] | None) -> list[str]:
    return [teacher] if isinstance(teacher, str) else list(teacher or ())


def _check_teacher(teacher: Any, info: ValidationInfo) -> Any:
    for name in _as_list(teacher):
        ft.check_model(name, info)
    return teacher


ARGUMENTS: dict[str, Any] = {
    **dict.fromkeys(("threshold", "start", "end", "p", "drop", "swap"), ft.Share),
    **dict.fromkeys(("temperature", "n_sigma", "alpha", "epsilon"), ft.Positive),
    "wrong": ft.Between,
    **dict.fromkeys(("positive", "negative"), ft.AboveZero),
    "mix_layers": ft.Numbers | None,
    "asymmetric": bool,
    **dict.fromkeys(("ratio", "max_texts"), ft.Count),
    "value": ft.NonNegative,
    "weight": Annotated[ft.Weight, WrapValidator(_weight)],
    "view": Annotated[Any, WrapValidator(_view)],
    "tsa": Literal["auto", "linear", "log", "exp"] | None,
    "tsa_until": ft.AboveZero,
    "prior": Annotated[
        Literal["labeled", "uniform"] | ft.Shares | None,
        ft.told_as("labeled, uniform, null, or a list of probabilities, one per label"),
    ],
    "decay": ft.BelowOne | None,
    "teacher": Annotated[
        ft.Reference | ft.References | None,
        ft.told_as("a Hub id or folder, or a list of these"),
        AfterValidator(_check_teacher),
    ],
    "column": ft.Line | None,
    "column_kind": Literal["probabilities", "logits"],
    "label_names": ft.Texts | None,
    "protected": ft.Texts,
    "negators": bool,
    "ema": bool,
    "relabel": ft.RelabelingMethod,
    "k": ft.Count | None,
    # Of losses for labelled rows.
    "q": ft.AboveZero,
    **dict.fromkeys(("a", "b", "lam", "contrast"), ft.NonNegative),
    "beta": ft.BelowOne,
    "warm_up": ft.Share,
    **dict.fromkeys(("noise_rate", "missing_rate"), ft.Rate),
    **dict.fromkeys(("false_positive", "false_negative"), ft.Rate),
    "transition": Annotated[
        Literal["estimate"] | ft.Matrix, ft.told_as("estimate, or a list of rows of shares, one row per label")
    ],
    "refresh": Annotated[Literal["epoch"] | ft.Count | None, ft.told_as("epoch, a number of steps, or null")],
}


@lru_cache
def arguments_model(function: Callable[..., Any]) -> type[ft.Strictly]:
    """A model of the keywords of a method, schedule, view or loss, with the types of `ARGUMENTS`."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in RESERVED]
    return _model(function.__name__, {p.name: ... if p.default is p.empty else p.default for p in parameters})


@lru_cache
def method_model(name: str) -> type[ft.Strictly]:
    """A model of the settings of a method in the table, with the types of `ARGUMENTS`."""
    return _model(name, SETTINGS[name])


def split_name(
    given: str | dict[str, Any], kind: str, names: Sequence[str], default: str = ""
) -> tuple[str, dict[str, Any]]:
    """Take `{name: ..., setting: ...}`, or a plain name, apart.

    Raises:
        ValidationError: for a name that is none of those.
    """
    flat: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    name: Any = flat.pop("name", default or None)
    if name not in names:
        hint = ft.nearest(str(name), names) or "."
        problem = PydanticCustomError("unknown_name", f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")
        raise ValidationError.from_exception_data(kind, [{"type": problem, "loc": ("name",), "input": name}])
    return name, flat


def _model(name: str, defaults: dict[str, Any]) -> type[ft.Strictly]:
    fields = {key: (ARGUMENTS.get(key, Any), default) for key, default in defaults.items()}
    return create_model(name, __base__=ft.Strictly, **fields)  # type: ignore[call-overload]


class MethodSettings(ft.Strictly):
    """A method of `textpl.METHODS` and those of its settings that differ from its defaults.

    Written flat, `MethodSettings(name="uda", threshold=0.7)`; a plain string is the name, and "none" stands for labels
    only. Schedules and views in `settings` are built objects.
    """

    name: str = DEFAULT_METHOD
    settings: dict[str, Any] = {}
    # Teachers as found from the recipe's folder. Recipes in different folders that name a teacher there are not equal.
    _teacher: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, (str, dict)):
            return given
        name, flat = split_name(given, "method", [*SETTINGS, NO_METHOD], DEFAULT_METHOD)
        if name == NO_METHOD:
            if flat:
                raise ValueError("none takes no settings: nothing is learnt from unlabelled text")
            return {"name": name}
        checked = method_model(name).model_validate(flat, context=info.context)
        if name == "distillation":
            ft.check_exclusive("method", checked, "distillation ")
        defaults = SETTINGS[name]
        return {"name": name, "settings": {k: v for k in flat if (v := getattr(checked, k)) != defaults[k]}}

    @model_validator(mode="after")
    def _find_teacher(self, info: ValidationInfo) -> MethodSettings:
        self._teacher = [str(locate(name, ft.folder_of(info))) for name in _as_list(self.settings.get("teacher"))]
        return self

    @model_serializer
    def _written(self) -> Any:
        names = {make: name for made_by in CHOICES.values() for name, make in made_by.items()}
        settings = dict(self.settings)
        for key, value in settings.items():
            if type(value) in names:
                fields = {f.name: v for f in dataclasses.fields(value) if (v := getattr(value, f.name)) != f.default}
                settings[key] = {names[type(value)]: fields}
        return {"name": self.name, **settings} if settings else self.name

    def value(self, name: str) -> Any:
        """A setting as given or by default; None if the method has no such setting."""
        defaults = {} if self.name == NO_METHOD else SETTINGS[self.name]
        return self.settings.get(name, defaults.get(name))

    def build(self, unlabeled: Any, *, seed: int, max_length: int | None = None) -> SemiSupervised:
        """The callback of this method for one pool, with a column `text`; see `SemiSupervised`."""
        from textpl import methods

        settings = self.settings | ({"teacher": self._teacher} if self._teacher else {})
        return methods.METHODS[self.name].make(unlabeled, seed=seed, max_length=max_length, **settings)
