"""Settings of the loss for labelled rows that may be wrong: `train: {labeled_loss: {name: gce, q: 0.5}}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationInfo, model_serializer, model_validator

from textpl.recipes import field_types as ft
from textpl.recipes.method_settings import arguments_model, split_name

if TYPE_CHECKING:
    from textpl.components.labeled import LabeledLoss

# The written name -> public name in textpl, which is imported (with torch) when a recipe names one.
LABELED_LOSSES = {
    "forward_correction": "ForwardCorrection",
    "gce": "GeneralizedCrossEntropy",
    "sce": "SymmetricCrossEntropy",
    "elr": "EarlyLearning",
    "co_teaching": "CoTeaching",
}
ESTIMATE = "estimate"


class LossSettings(ft.Strictly):
    """One of `LABELED_LOSSES` and those of its settings that are given.

    Written flat, `LossSettings(name="gce", q=0.5)`; a plain string is the name.
    """

    name: str
    settings: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _from_flat(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, (str, dict)):
            return given
        name, flat = split_name(given, "loss", list(LABELED_LOSSES))
        if name == "forward_correction":
            flat = flat or {"transition": ESTIMATE}
        model = loss_model(name)
        checked = model.model_validate(flat, context=info.context)
        return {"name": name, "settings": {key: getattr(checked, key) for key in flat}}

    @model_validator(mode="after")
    def _check(self) -> LossSettings:
        if not self.estimates:
            self.build()  # what does not go together is refused by the loss itself
        elif set(self.settings) != {"transition"}:
            raise ValueError("transition: estimate finds all rates: write none beside it")
        return self

    @model_serializer
    def _written(self) -> Any:
        return {"name": self.name, **self.settings} if self.settings else self.name

    @property
    def estimates(self) -> bool:
        """Whether the noise is to be estimated from the labelled rows."""
        return self.settings.get("transition") == ESTIMATE

    def build(self, **estimated: Any) -> LabeledLoss:
        """A fresh loss; `estimated` are the arguments that stand for `transition: estimate`."""
        loss: LabeledLoss = _class(self.name)(**(estimated if self.estimates else self.settings))
        return loss


def loss_model(name: str) -> type[ft.Strictly]:
    """Return a model of the settings of a loss."""
    return arguments_model(_class(name))


def _class(name: str) -> Any:
    import textpl

    return getattr(textpl, LABELED_LOSSES[name])
