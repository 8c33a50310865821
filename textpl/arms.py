"""The trainings of a comparison, seed by seed: the method, the forms of labels-only, and what else explains a gain."""

from __future__ import annotations

import functools
import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from transformers import EarlyStoppingCallback, Trainer, set_seed

from textpl.callbacks.attach import attach, prepare_labels
from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.callbacks.setup import find_task, label_key
from textpl.components.labeled_rows import seen_rows
from textpl.embedding_arm import label_test_rows
from textpl.free_for_labels import equip, what_is_free
from textpl.outcomes import Outcome, TokenCounter, load_outcome, save_outcome, train_and_test
from textpl.overlap import seen_test_texts

logger = logging.getLogger(__name__)

Callback = SemiSupervised | NoisyLabels
MakeCallback = Callback | Callable[[int], Callback]
MakeSettings = Mapping[str, Any] | Callable[[int], Mapping[str, Any]]
AS_GIVEN, SAME_COMPUTE = "as given", "same compute"
EMBEDDINGS, PLACEBO = "embeddings alone", "placebo"


@dataclass
class Arms:
    """The trainings of a seed, with the settings of `textpl.compare`; what `folder` holds is not repeated."""

    make_trainer: Callable[[int], Trainer]
    method_trainer: Callable[[int], Trainer]
    method: MakeCallback | None
    placebo: MakeCallback | None
    encoder: Any
    label_settings: MakeSettings
    names: tuple[str, str]
    match: Literal["compute", "steps"]
    thresholds: float | Literal["prior"]
    folder: Path | None
    on_model: Callable[[int, Trainer], None] | None
    on_start: Callable[[str], None] | None
    seen: list[weakref.ref] = field(default_factory=list)
    built: dict[int, Callback | None] = field(
        default_factory=dict
    )  # of the newest seed: a stage may label a pool for it

    def with_method(self, seed: int) -> Outcome:
        """The method."""
        if (done := load_outcome(self.folder, seed, "method")) is not None:
            return done
        return self._with_pool(seed, functools.partial(self._built, seed), "method", self.names[1], self.on_model)

    def as_placebo(self, seed: int) -> Outcome:
        """The method with a pool that has nothing to tell."""
        if (done := load_outcome(self.folder, seed, "placebo")) is not None:
            return done
        build = lambda: self.placebo(seed) if callable(self.placebo) else self.placebo  # noqa: E731
        return self._with_pool(seed, build, "placebo", PLACEBO, None)

    def labels_only(self, seed: int, method: Outcome) -> dict[str, Outcome]:
        """Labels-only in each of its forms: name -> outcome.

        Args:
            seed: of the trainings.
            method: the method's outcome, which tells what the same compute is.
        """
        if self.match == "steps":
            forms = {AS_GIVEN: self._plain(seed, "baseline", None)}
            steps, first = None, AS_GIVEN
        else:
            steps, first = matched_steps(method), SAME_COMPUTE
            forms = {SAME_COMPUTE: self._plain(seed, "baseline", steps)}
            # The same training, unless the method's Trainers are others.
            as_long = steps == method.steps and self.method_trainer is self.make_trainer
            forms[AS_GIVEN] = forms[SAME_COMPUTE] if as_long else self._plain(seed, "as_given", None)
        free = what_is_free(self._built(seed)) if method.free is None else method.free
        if free:
            form = f"{first}, with {free}"
            outcome = load_outcome(self.folder, seed, "equipped") or self._equipped(seed, form, steps)
            if outcome is not None:
                forms[form] = outcome
        return forms

    def from_embeddings(self, seed: int) -> Outcome:
        """What `textpl.label` says of the test rows; nothing is trained."""
        if (done := load_outcome(self.folder, seed, "embeddings")) is not None:
            return done
        trainer = self._fresh(self.make_trainer, seed)
        self._announce(seed, EMBEDDINGS)
        settings = self.settings_of_label(seed)
        outcome = label_test_rows(trainer, self._built(seed), self.encoder, settings, seed, self.thresholds)
        save_outcome(self.folder, outcome, "embeddings")
        return outcome

    def settings_of_label(self, seed: int) -> Mapping[str, Any]:
        """Those of `textpl.label` for the rows of a seed."""
        return self.label_settings(seed) if callable(self.label_settings) else self.label_settings

    def _with_pool(
        self,
        seed: int,
        build: Callable[[], Callback | None],
        side: str,
        name: str,
        on_model: Callable[[int, Trainer], None] | None,
    ) -> Outcome:
        trainer, callback = self._fresh(self.method_trainer, seed), build()
        if callback is not None:
            attach(trainer, callback)
        self._announce(seed, name)
        outcome = train_and_test(trainer, seed, self.thresholds, callback or TokenCounter(trainer))
        seen = seen_test_texts(trainer, callback)
        if seen.count:
            logger.warning("%s. Take them out for an honest number.", seen)
        outcome = replace(outcome, seen_test_texts=seen.to_dict(), free=what_is_free(callback))
        if on_model is not None:
            on_model(seed, trainer)
        save_outcome(self.folder, outcome, side)
        return outcome

    def _plain(self, seed: int, side: str, steps: int | None) -> Outcome:
        if (done := load_outcome(self.folder, seed, side)) is not None:
            return done
        form = "" if self.match == "steps" else AS_GIVEN if steps is None else SAME_COMPUTE
        return self._labels_only(self._fresh(self.make_trainer, seed), seed, side, form, steps)

    def _equipped(self, seed: int, form: str, steps: int | None) -> Outcome | None:
        trainer, callback = self._fresh(self.make_trainer, seed), self._built(seed)
        if not isinstance(callback, SemiSupervised) or not equip(trainer, callback):
            logger.warning(
                "Labels-only could not be given what the method has besides its pool: its rows hold no texts (keep the "
                "column when you tokenize), or have a loss or weights of their own."
            )
            return None
        return self._labels_only(trainer, seed, "equipped", form, steps)

    def _labels_only(self, trainer: Trainer, seed: int, side: str, form: str, steps: int | None) -> Outcome:
        counter = TokenCounter(trainer)
        if steps is not None:
            trainer.args.max_steps = steps
        self._announce(seed, ", ".join(part for part in (self.names[0], form) if part))
        outcome = train_and_test(trainer, seed, self.thresholds, counter)
        save_outcome(self.folder, outcome, side)
        return outcome

    def _built(self, seed: int) -> Callback | None:
        if seed not in self.built:
            self.built.clear()
            self.built[seed] = self.method(seed) if callable(self.method) else self.method
        return self.built[seed]

    def _fresh(self, make_trainer: Callable[[int], Trainer], seed: int) -> Trainer:
        set_seed(seed)
        trainer = make_trainer(seed)
        check_trainer(trainer, self.seen)
        return trainer

    def _announce(self, seed: int, side: str) -> None:
        if self.on_start is not None:
            self.on_start(f"seed {seed}: {side}")


def matched_steps(method: Outcome) -> int:
    """Labels-only steps that cost as much as the method's run."""
    return max(1, round(method.steps * method.token_passes / method.labeled_passes))


def check_trainer(trainer: Trainer, seen: list[weakref.ref]) -> None:
    """Refuse what would make the comparison dishonest or fail after hours; have the labels as the model needs them."""
    if trainer.eval_dataset is None:
        raise ValueError("make_trainer must give its Trainer the test rows: Trainer(eval_dataset=test, ...).")
    if trainer.args.load_best_model_at_end or any(
        isinstance(callback, EarlyStoppingCallback) for callback in trainer.callback_handler.callbacks
    ):
        raise ValueError(
            "The Trainer chooses a checkpoint on its eval_dataset, which are the test rows here: train for a fixed "
            "number of steps, without load_best_model_at_end and early stopping."
        )
    if any(trainer.model is model() for model in seen) or trainer.state.global_step > 0:
        raise ValueError(
            "make_trainer returned a model that was trained before: it must load a fresh one at every call."
        )
    seen.append(weakref.ref(trainer.model))
    prepare_labels(trainer)
    test, labeled = (
        seen_rows(rows, trainer.data_collator, tokens=False, count=1)
        for rows in (trainer.eval_dataset, trainer.train_dataset)
    )
    label_key(test)
    find_task(trainer.model, labeled)
