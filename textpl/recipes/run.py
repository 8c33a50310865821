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
from datasets import disable_progress_bars, enable_progress_bars
from transformers import Trainer

from textpl.callbacks.attachable import Attachable
from textpl.callbacks.noisy_labels import NoisyLabels
from textpl.comparison import Comparison, compare
from textpl.corpus import Corpus, read_corpus
from textpl.recipes.clean_stage import clean_rows
from textpl.recipes.label_stage import label_pool
from textpl.recipes.loss_settings import LossSettings
from textpl.recipes.noise_stage import estimate_noise
from textpl.recipes.noisy_corpus import TRUTH, judged_by_truth, with_right_labels, with_truth
from textpl.recipes.parsing import LoadedRecipe, RecipeError, to_yaml
from textpl.recipes.right_labels import compare_with_right_labels, told
from textpl.recipes.trainers import Trainers
from textpl.reports.figures import comparison_figure
from textpl.splits import Split, make_split
from textpl.tasks import make_task

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
    labels-only then has the plain loss. After the stage `clean` the labels are what is tried: the noisy against the
    cleaned ones, in equally many steps. Without a pool, and where the right labels are known, a third training per
    seed is on these: a reference, in `results.json` and told at the end.

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
        corpus = with_truth(loaded, corpus)
    splits = functools.cache(functools.partial(_split, corpus, recipe))
    task = make_task(corpus.problem_type, len(corpus.label_names))
    trainers = Trainers(loaded, task, corpus.label_names, out / "work")
    cleaning = "clean" in recipe.stages
    tried_loss = None if recipe.has_pool or cleaning else recipe.train.labeled_loss
    say(
        f"{loaded.name}: {recipe.tried} on {corpus.source}, {task.num_labels} labels, model "
        f"{trainers.model}, {'bfloat16 autocast' if trainers.bf16 else 'full precision'}"
    )

    def make_trainer(seed: int, right: bool = False) -> Trainer:
        split = splits(seed)
        rows = with_right_labels(split.labeled) if right else split.labeled
        loss = None if tried_loss else recipe.train.labeled_loss
        return trainers.make(rows, split.test, seed, loss, noise_of(loss, seed))

    def noise_of(loss: LossSettings | None, seed: int) -> dict[str, Any]:
        return estimate_noise(loaded, corpus, splits(seed)) if loss is not None and loss.estimates else {}

    def make_callback(seed: int) -> Attachable:
        if tried_loss is not None:
            return NoisyLabels(tried_loss.build(**noise_of(tried_loss, seed)))
        if cleaning:
            file = out / "seeds" / f"{seed}-cleaning.json"
            return trainers.train_last_on(clean_rows(loaded, corpus, splits(seed), file, say))
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
    judge = functools.partial(compare, metric=recipe.compare.metric, thresholds=recipe.compare.threshold, on_start=say)
    comparison = judge(
        make_trainer,
        make_callback,
        chosen,
        name=recipe.tried,
        match="steps" if cleaning else recipe.compare.match,
        folder=out / "seeds",
        on_model=keep_model,
    )
    results = comparison.to_dict() | {
        "recipe": loaded.name,
        "versions": _versions(trainers),
        "data": {"source": corpus.source, "revision": corpus.revision, "splits": [splits(s).report for s in chosen]},
    }
    for stage, key, name in (("label", "labels", "labels"), ("clean", "cleaning", "cleaning")):
        if stage in recipe.stages:
            files = [out / "seeds" / f"{seed}-{name}.json" for seed in chosen]
            results[key] = [json.loads(file.read_text("utf-8")) for file in files]
    if not recipe.has_pool and TRUTH in corpus.train.column_names:
        reference = compare_with_right_labels(
            judge, functools.partial(make_trainer, right=True), trainers.last_callback, chosen, out / "seeds"
        )
        results["right_labels"] = told(reference)
        say(f"For reference, on the right labels: {reference}")
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
    keep = () if wanted.truth is None else (wanted.truth,)
    if data is not None:
        return read_corpus(data, text_column=wanted.text, label_column=wanted.label, keep=keep)
    return read_corpus(
        loaded.locate(wanted.source),
        config=wanted.config,
        revision=wanted.revision,
        text_column=wanted.text,
        label_column=wanted.label,
        keep=keep,
    )


def _split(corpus: Corpus, recipe: Any, seed: int) -> Split:
    wanted = recipe.split
    split = make_split(
        corpus,
        seed=seed,
        labels_per_class=wanted.labels_per_class,
        labeled=wanted.labeled,
        min_per_class=wanted.min_per_class,
        dev=wanted.dev,
        pool=wanted.pool,
        test=wanted.test,
    )
    return judged_by_truth(split)


def _versions(trainers: Trainers) -> dict[str, Any]:
    on_gpu = trainers.device.type == "cuda"
    processor = torch.cuda.get_device_name() if on_gpu else platform.machine()
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in REPORTED_VERSIONS},
        "device": f"{trainers.device.type} ({processor})",
        "threads": torch.get_num_threads(),
        "bf16": trainers.bf16,
    }
