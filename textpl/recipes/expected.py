"""What a recipe says that running it gives: both sides of the comparison, with their spread over seeds."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from textpl.recipes import field_types as ft

Points = Annotated[float, Field(ge=0, le=100)]
Change = Annotated[float, Field(ge=-100, le=100)]


class ExpectedSide(ft.Strictly):
    """Mean over the seeds and standard deviation between them, in points (0 to 100)."""

    mean: Points
    std: Points | None = None  # of one seed there is none


class ExpectedDifference(ft.Strictly):
    """Method - baseline, in points, with the interval that `textpl run` gives."""

    mean: Change
    interval: Annotated[tuple[Change, Change], Strict(False)]
    level: ft.Between = 0.95

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.interval[0] > self.interval[1]:
            raise ValueError(f"interval: {list(self.interval)} runs downwards: write the lower end first")
        return self


class Expected(ft.Strictly):
    """The results of the recipe as it stands, measured by whoever wrote it."""

    metric: Literal["accuracy", "macro_f1", "micro_f1", "subset_accuracy"]
    seeds: Annotated[tuple[ft.Size, ...], Field(min_length=1, max_length=1000), Strict(False)]
    baseline: ExpectedSide
    method: ExpectedSide
    difference: ExpectedDifference | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, side in (("baseline", self.baseline), ("method", self.method)):
            if (side.std is None) == (len(self.seeds) > 1):
                raise ValueError(
                    f"{name}: its std over the seeds is missing"
                    if side.std is None
                    else f"{name}: one seed has no std: leave it out"
                )
        return self
