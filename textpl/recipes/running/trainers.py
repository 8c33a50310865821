"""The stock Trainers of a run: model, settings and rows of a recipe, fresh for every training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from textpl.callbacks.attach import attach
from textpl.callbacks.labeled_feed import WEIGHT
from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.callbacks.setup import labeled_prior
from textpl.inference import bf16_pays
from textpl.models import count_parameters, described_model, load_classifier
from textpl.reading.labels import label_array
from textpl.recipes.loss_settings import LossSettings
from textpl.recipes.parsing import LoadedRecipe
from textpl.recipes.running.progress import TrainingBar
from textpl.tasks import Task


class Trainers:
    """Builds Trainers.

    Args:
        loaded: the recipe.
        task: what the labels are.
        label_names: name of every label.
        folder: for what a Trainer writes.
    """

    def __init__(self, loaded: LoadedRecipe, task: Task, label_names: Sequence[str], folder: Path) -> None:
        self._recipe, self._task, self._label_names, self._folder = loaded.recipe, task, list(label_names), folder
        self._name, self._trust = str(loaded.locate(loaded.recipe.model.name)), loaded.trust_remote_code
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._settings = loaded.recipe.train.arguments(bf16_pays(self.device))

    @property
    def model(self) -> str:
        """Its name, whether it comes from an installed package, and how much of it is trained, if not all."""
        return described_model(self._name, self._recipe.model.revision) + self.frozen

    @property
    def frozen(self) -> str:
        """How many of the model's parameters are trained; empty where all are."""
        wanted = self._recipe.model
        if wanted.freeze is None:
            return ""
        trained, all_ = count_parameters(
            self._name,
            self._task.num_labels,
            revision=wanted.revision,
            layers=wanted.layers,
            freeze=wanted.freeze,
            trust_remote_code=self._trust,
        )
        return f", {trained:,} of its {all_:,} parameters trained"

    @property
    def bf16(self) -> bool:
        """Whether it is trained in bfloat16 autocast."""
        return bool(self._settings.get("bf16"))

    def make(
        self,
        rows: Dataset,
        test: Dataset,
        seed: int,
        loss: LossSettings | None,
        estimated: dict[str, Any],
        *,
        cleaned: Dataset | None = None,
    ) -> Trainer:
        """A Trainer with a model that has not been trained.

        Args:
            rows: labelled rows, columns `text` and `label`, perhaps `label_weight`.
            test: test rows, likewise.
            seed: of the Trainer; that of the new head is the global one.
            loss: for the labelled rows; None for the model's own.
            estimated: arguments of the loss that stand for `transition: estimate`.
            cleaned: rows to train on instead, perhaps with `label_weight`. The head starts at the label rates of
                `rows` even so, as it does in the training that is compared with this one.
        """
        wanted, task = self._recipe.model, self._task
        rates = labeled_prior(label_array(rows), task).numpy()
        model, self._tokenizer = load_classifier(
            self._name,
            task,
            self._label_names,
            revision=wanted.revision,
            rates=rates,
            layers=wanted.layers,
            freeze=wanted.freeze,
            trust_remote_code=self._trust,
        )
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(self._folder),
                seed=seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=self.device.type == "cpu",
                **self._settings,
            ),
            train_dataset=self._encode(rows if cleaned is None else cleaned),
            eval_dataset=self._encode(test),
            data_collator=DataCollatorWithPadding(self._tokenizer),
            processing_class=self._tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(TrainingBar())
        if loss is not None:
            return attach(trainer, NoisyLabels(loss.build(**estimated)))
        weighted = cleaned is not None or WEIGHT in rows.column_names
        return attach(trainer, NoisyLabels()) if weighted else trainer

    def _encode(self, rows: Dataset) -> Dataset:
        encoded = self._tokenizer(rows["text"][:], truncation=True, max_length=self._recipe.model.max_length)
        # The texts stay, to be looked for in the pool.
        kept = [name for name in ("text", "label", WEIGHT) if name in rows.column_names]
        return Dataset.from_dict({**encoded, **{name: rows[name][:] for name in kept}})
