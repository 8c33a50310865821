"""The numbers of a run as they are read from `results.json`, of which a stranger may have written anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from textpl.recipes.yaml_text import RecipeError

Number = Annotated[float, Field(allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=200, pattern=r"^[^\r\n]*$")]

Sentence = Annotated[str, Field(max_length=2000, pattern=r"^[^\r\n]*$")]


class _Numbers(BaseModel):
    """Frozen; what is not asked for is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Side(_Numbers):
    """One side of a comparison, in points."""

    mean: Number
    std: Number | None = None
    seeds: list[int] = Field(min_length=1)
    name: Word = ""


class Difference(_Numbers):
    """Method - baseline, in points, with its interval."""

    mean: Number
    interval: tuple[Number, Number]
    level: Annotated[float, Field(gt=0, lt=1)]
    verdict: Word = ""  # of an older textpl


class SeenTexts(_Numbers):
    """Which test texts the training saw, in words."""

    sentence: Sentence


class Tuned(_Numbers):
    """What was chosen on other than test rows, in words."""

    told: list[Sentence] = []


class Trained(_Numbers):
    """One training on the test rows."""

    scores: dict[Word, Number] = {}  # in points


class OfSeed(_Numbers):
    """Both trainings of a seed."""

    seed: int
    baseline: Trained = Trained()
    method: Trained = Trained()


class Sizes(_Numbers):
    """Rows of a split."""

    sizes: dict[Word, int] = {}


class DataRead(_Numbers):
    """What was read."""

    source: Word
    revision: Word | None = None
    splits: list[Sizes] = []


class KeptModel(_Numbers):
    """Which of the trained classifiers is in `model/`."""

    seed: int


class Results(_Numbers):
    """What a card says of `results.json`."""

    metric: Word
    baseline: Side
    method: Side
    difference: Difference
    data: DataRead | None = None
    task: Literal["single", "multi"] | None = None
    command: Annotated[str, Field(max_length=2000)] = ""
    recipe_source: Word | None = None
    settings: dict[Word, Annotated[str, Field(max_length=10_000)]] | None = None  # None: of an older textpl
    model: KeptModel | None = None
    label_names: list[str] = []  # of the data that were read
    seed_results: list[OfSeed] = []
    # What else the method was measured against, and which test texts it saw; an older textpl did not look.
    arms_told: list[Sentence] = []
    seen_test_texts: SeenTexts | None = None
    tuning: Tuned = Tuned()
    looks: list[list[int]] = []  # the seeds of each result that had been seen before this one
    versions: dict[Word, str | int | float | bool | None] = {}
    labels: list[dict[str, Any]] = []
    cleaning: list[dict[str, Any]] = []

    @property
    def model_seed(self) -> int:
        """Seed of the classifier in `model/`: that of the first training with the method, unless it is recorded."""
        return self.model.seed if self.model else self.method.seeds[0]

    def model_scores(self) -> dict[str, float]:
        """Scores of that classifier in points; empty where they are not recorded."""
        return next((one.method.scores for one in self.seed_results if one.seed == self.model_seed), {})

    def model_note(self) -> str:
        """Which classifier is in `model/`, and that it is not shown to be the better one where that is so."""
        note = f"model/ is the classifier trained with {self.method.name or 'the method'} on seed {self.model_seed}"
        return f"{note}; {self.doubt()}" if self.doubted else note

    @property
    def doubted(self) -> bool:
        """Whether the interval, or what it rests on, leaves open that what was tried did not help."""
        return self.difference.interval[0] <= 0 or self.difference.verdict == "cannot be told"

    def told_besides(self) -> list[str]:
        """What has to be read with the difference, a sentence each."""
        seen = [] if self.seen_test_texts is None else [self.seen_test_texts.sentence]
        before = " and ".join(str(len(seeds)) for seeds in self.looks[:20])
        looks = (
            [f"The result had been seen with {before} seeds before, for which the interval is wider"] if before else []
        )
        return [f"{line}." for line in (*looks, *self.tuning.told, *self.arms_told, *seen)]

    def doubt(self) -> str:
        """What to know of the model where it is `doubted`."""
        other = self.baseline.name or "the baseline"
        if self.difference.mean < 0:
            return f"{other} scored higher"
        return f"it is not shown that it beats {other}"

    @field_validator("label_names")
    @classmethod
    def _shortened(cls, names: list[str]) -> list[str]:
        return [name[:200] for name in names]

    @field_validator("versions")
    @classmethod
    def _short(cls, versions: dict[str, Any]) -> dict[str, Any]:
        return {name: str(value)[:200] for name, value in list(versions.items())[:20]}


def parse_results(content: bytes | str) -> Results:
    """Read the content of `results.json`.

    Raises:
        RecipeError: if it is not what `textpl run` writes.
    """
    try:
        return Results.model_validate(json.loads(content))
    except RecursionError:
        raise RecipeError("results.json is nested too deeply.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RecipeError(f"results.json is not what textpl run writes: {where}: {first['msg']}.") from None
    except ValueError as error:
        raise RecipeError(f"results.json is no valid JSON: {error}.") from None


def read_results(folder: Path) -> Results | None:
    """The results beside a recipe; None if there are none.

    Raises:
        RecipeError: if the file is not what `textpl run` writes.
    """
    file = folder / "results.json"
    return parse_results(file.read_bytes()) if file.is_file() else None
