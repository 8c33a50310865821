"""The trainings of a run, built seed by seed: without and with what the recipe tries, and on the right labels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import Trainer

from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.comparison import Callback
from textpl.corpus import Corpus
from textpl.recipes.loss_settings import LossSettings
from textpl.recipes.parsing import LoadedRecipe
from textpl.recipes.running.clean_stage import clean_rows
from textpl.recipes.running.label_stage import label_pool, label_settings
from textpl.recipes.running.noise_stage import estimate_noise
from textpl.recipes.running.noisy_corpus import TRUTH, judged_by_truth, with_right_labels
from textpl.recipes.running.reading import draw_split, groups_of
from textpl.recipes.running.stage_encoder import stage_encoder
from textpl.recipes.running.trainers import Trainers
from textpl.splits import Split
from textpl.tasks import make_task


class Sides:
    """What `textpl.compare` asks for.

    Args:
        loaded: the recipe.
        corpus: its data, with the right labels where they are known.
        out: folder of the run; what the stages find is written to `out/seeds`.
        say: called with lines for the user.
        split: gives the rows of a seed; default: those that the recipe draws, judged by the right labels.
    """

    def __init__(
        self,
        loaded: LoadedRecipe,
        corpus: Corpus,
        out: Path,
        say: Callable[[str], None],
        split: Callable[[int], Split] | None = None,
    ) -> None:
        recipe = loaded.recipe
        self._loaded, self._recipe, self._corpus, self._out, self._say = loaded, recipe, corpus, out, say
        self.task = make_task(corpus.problem_type, len(corpus.label_names))
        self.trainers = Trainers(loaded, self.task, corpus.label_names, out / "work")
        self.split = functools.cache(split or self._split)
        self._cleans = "clean" in recipe.stages
        loss = recipe.train.labeled_loss
        # Without pool and cleaning the loss is what is tried; else both sides have it.
        self._tried = None if recipe.has_pool or self._cleans else loss
        self._shared = None if self._tried else loss

    @property
    def method(self) -> Callable[[int], Callback] | None:
        """Builds the callback that is tried; None if it is the rows that differ."""
        return None if self._cleans else self._callback

    def placebo(self, seed: int) -> Callback:
        """The method with the labeled texts for a pool: what it gains does not come from unlabeled text."""
        split = self.split(seed)
        pool = split.labeled.select_columns(["text"])
        split = dataclasses.replace(split, pool=pool)
        if "label" in self._recipe.stages:
            pool = label_pool(self._loaded, self._corpus, split, self.stage_file("placebo", seed), self._say)
        return self._recipe.method.build(pool, seed=seed, max_length=self._recipe.model.max_length)

    @property
    def encoder(self) -> Any:
        """What the embedding labeler alone is measured with; None if it is not."""
        return stage_encoder(self._loaded, self._recipe.label.encoder) if self._recipe.embeds else None

    def label_settings(self, seed: int) -> dict[str, Any]:
        """How it is set: as the labeler of the stage `label`."""
        return label_settings(self._loaded, self.split(seed))

    @property
    def method_trainer(self) -> Callable[[int], Trainer] | None:
        """Builds the Trainers of that side if they differ."""
        return self._on_cleaned_labels if self._cleans else None

    @property
    def knows_right_labels(self) -> bool:
        """Whether there is a reference to train: the labels are what is doubted, and the right ones are known."""
        return not self._recipe.has_pool and TRUTH in self._corpus.train.column_names

    def test_groups(self, seed: int) -> list[Any] | None:
        """Group of each test row, which are the same for all seeds; None where there are none."""
        return None if self._recipe.split.groups is None else groups_of(self._recipe, self.split(seed).test)

    def baseline(self, seed: int) -> Trainer:
        """On the labels as they are."""
        return self._make(seed, self.split(seed).labeled)

    def on_right_labels(self, seed: int) -> Trainer:
        """The reference."""
        rows = with_right_labels(self.split(seed).labeled)
        return self._make(seed, rows, cleaned=rows)

    def stage_file(self, stage: str, seed: int) -> Path:
        """Where the findings of the stage `label` (of the pool or of a placebo for it) or `clean` are kept."""
        names = {"label": "labels", "placebo": "placebo-labels", "clean": "cleaning"}
        return self._out / "seeds" / f"{seed}-{names[stage]}.json"

    def _on_cleaned_labels(self, seed: int) -> Trainer:
        split = self.split(seed)
        cleaned = clean_rows(self._loaded, self._corpus, split, self.stage_file("clean", seed), self._say)
        return self._make(seed, split.labeled, cleaned=cleaned)

    def _callback(self, seed: int) -> Callback:
        if self._tried is not None:
            return NoisyLabels(self._tried.build(**self._noise(self._tried, seed)))
        pool, recipe = self.split(seed).pool, self._recipe
        if "label" in recipe.stages:
            pool = label_pool(self._loaded, self._corpus, self.split(seed), self.stage_file("label", seed), self._say)
        return recipe.method.build(pool, seed=seed, max_length=recipe.model.max_length)

    def _make(self, seed: int, rows: Dataset, cleaned: Dataset | None = None) -> Trainer:
        loss = self._shared
        estimated = self._noise(loss, seed) if loss is not None else {}
        return self.trainers.make(rows, self.split(seed).test, seed, loss, estimated, cleaned=cleaned)

    def _noise(self, loss: LossSettings, seed: int) -> dict[str, Any]:
        return estimate_noise(self._loaded, self._corpus, self.split(seed)) if loss.estimates else {}

    def _split(self, seed: int) -> Split:
        return judged_by_truth(draw_split(self._recipe, self._corpus, seed))
