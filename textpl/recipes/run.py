"""Run a recipe: data, splits, labels-only against the method, and what is written at the end."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars, enable_progress_bars
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from textpl.callbacks.attach import attach
from textpl.callbacks.attachable import Attachable
from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.callbacks.setup import labeled_prior
from textpl.comparison import Comparison, compare
from textpl.corpus import Corpus, read_corpus
from textpl.inference import bf16_pays
from textpl.labels import label_array
from textpl.models import load_classifier, resolve_model
from textpl.recipes.label_stage import label_pool
from textpl.recipes.loss_settings import LossSettings
from textpl.recipes.method_settings import NO_METHOD
from textpl.recipes.noise_stage import estimate_noise
from textpl.recipes.parsing import LoadedRecipe, RecipeError, to_yaml
from textpl.recipes.progress import TrainingBar
from textpl.reports.figures import comparison_figure
from textpl.splits import Split, make_split
from textpl.tasks import Task, make_task

REPORTED_VERSIONS = ("textpl", "torch", "transformers", "datasets", "accelerate", "numpy")


def run_recipe(
    loaded: LoadedRecipe,
    *,
    out: Path,
    data: Path | None = None,
    seeds: list[int] | None = None,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Train, compare and write `model/`, `results.json`, `recipe.yaml` and `comparison.png` into `out`.

    `train.labeled_loss` is the loss of the labelled rows in every training. With `method: none` it is what is tried:
    labels-only then has the plain loss.

    Args:
        loaded: the recipe.
        out: folder to write; finished trainings are kept in `out/seeds`.
        data: folder or file to read instead of the recipe's `data.source`.
        seeds: instead of the recipe's.
        resume: go on with the interrupted run in `out`.
        say: called with lines for the user.

    Returns:
        Comparison: labels-only against the method.

    Raises:
        RecipeError: if `out` already holds a run, or holds another recipe's when resuming.
    """
    recipe = loaded.recipe
    with _quiet_reading():
        corpus = _read(loaded, data)
    _claim(out, f"# data {corpus.fingerprint}: {corpus.source}\n{to_yaml(recipe)}", resume)
    splits = functools.cache(functools.partial(_split, corpus, recipe))
    task = make_task(corpus.problem_type, len(corpus.label_names))
    model_name = str(loaded.locate(recipe.model.name))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = recipe.train.arguments(bf16_pays(device))
    labels_only = recipe.method.name == NO_METHOD
    loss = recipe.train.labeled_loss
    tried = loss.name if labels_only and loss is not None else recipe.method.name
    say(
        f"{loaded.name}: {tried} on {corpus.source}, {task.num_labels} labels, model "
        f"{resolve_model(model_name)}, {'bfloat16 autocast' if settings.get('bf16') else 'full precision'}"
    )

    def make_trainer(seed: int) -> Trainer:
        split = splits(seed)
        model, tokenizer = load_classifier(
            model_name,
            task,
            list(corpus.label_names),
            revision=recipe.model.revision,
            rates=labeled_prior(label_array(split.labeled), task).numpy(),
        )
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=str(out / "work"),
                seed=seed,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=device.type == "cpu",
                **settings,
            ),
            train_dataset=_encode(split.labeled, tokenizer, recipe.model.max_length),
            eval_dataset=_encode(split.test, tokenizer, recipe.model.max_length),
            data_collator=DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(TrainingBar())
        return trainer if loss is None or labels_only else attach(trainer, _noisy_labels(loss, split, task))

    def make_callback(seed: int) -> Attachable:
        if loss is not None and labels_only:
            return _noisy_labels(loss, splits(seed), task)
        pool = splits(seed).pool
        if "label" in recipe.stages:
            pool = label_pool(loaded, corpus, splits(seed), out / "seeds" / f"{seed}-labels.json", say)
        return recipe.method.build(pool, seed=seed, max_length=recipe.model.max_length)

    def keep_model(seed: int, trainer: Trainer) -> None:
        if not (out / "model").exists():
            trainer.model.save_pretrained(out / "work" / "model")
            trainer.processing_class.save_pretrained(out / "work" / "model")
            (out / "work" / "model").rename(out / "model")

    chosen = seeds or list(recipe.seeds)
    comparison = compare(
        make_trainer,
        make_callback,
        chosen,
        name=tried,
        metric=recipe.compare.metric,
        match=recipe.compare.match,
        thresholds=recipe.compare.threshold,
        folder=out / "seeds",
        on_model=keep_model,
        on_start=say,
    )
    results = comparison.to_dict() | {
        "recipe": loaded.name,
        "versions": _versions(device, settings),
        "data": {"source": corpus.source, "revision": corpus.revision, "splits": [splits(s).report for s in chosen]},
    }
    if "label" in recipe.stages:
        results["labels"] = [json.loads((out / "seeds" / f"{s}-labels.json").read_text("utf-8")) for s in chosen]
    partial = out / "results.json.partial"
    partial.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(out / "results.json")
    comparison_figure(comparison).savefig(out / "comparison.png", dpi=150)
    shutil.rmtree(out / "work", ignore_errors=True)
    return comparison


@contextlib.contextmanager
def _quiet_reading() -> Iterator[None]:
    """No bar per file read: the one that matters is the pool's tokenisation."""
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _claim(out: Path, text: str, resume: bool) -> None:
    stored = out / "recipe.yaml"
    if out.exists() and any(out.iterdir()):
        if not resume:
            raise RecipeError(
                f"The folder {out} is not empty: choose another with --out, or go on with the run in it with --resume."
            )
        if not stored.exists() or stored.read_text(encoding="utf-8") != text:
            raise RecipeError(
                f"The folder {out} holds a run of another recipe or other data: choose another folder with --out."
            )
    out.mkdir(parents=True, exist_ok=True)
    stored.write_text(text, encoding="utf-8")


def _read(loaded: LoadedRecipe, data: Path | None) -> Corpus:
    wanted = loaded.recipe.data
    if data is not None:
        return read_corpus(data, text_column=wanted.text, label_column=wanted.label)
    return read_corpus(
        loaded.locate(wanted.source),
        config=wanted.config,
        revision=wanted.revision,
        text_column=wanted.text,
        label_column=wanted.label,
    )


def _split(corpus: Corpus, recipe: Any, seed: int) -> Split:
    wanted = recipe.split
    return make_split(
        corpus,
        seed=seed,
        labels_per_class=wanted.labels_per_class,
        labeled=wanted.labeled,
        min_per_class=wanted.min_per_class,
        dev=wanted.dev,
        pool=wanted.pool,
        test=wanted.test,
    )


def _noisy_labels(loss: LossSettings, split: Split, task: Task) -> NoisyLabels:
    return NoisyLabels(loss.build(**(estimate_noise(split, task) if loss.estimates else {})))


def _encode(dataset: Dataset, tokenizer: Any, max_length: int) -> Dataset:
    encoded = tokenizer(dataset["text"][:], truncation=True, max_length=max_length)
    return Dataset.from_dict({**encoded, "label": dataset["label"][:]})


def _versions(device: torch.device, settings: dict[str, Any]) -> dict[str, Any]:
    processor = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in REPORTED_VERSIONS},
        "device": f"{device.type} ({processor})",
        "threads": torch.get_num_threads(),
        "bf16": bool(settings.get("bf16")),
    }
