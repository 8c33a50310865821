"""What a run leaves: `results.json`, the report, the picture."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from textpl.atomic_files import write_json, write_text
from textpl.comparison import Comparison
from textpl.corpus import Corpus
from textpl.recipes.describing import told_model
from textpl.recipes.fetching import address
from textpl.recipes.measured import measured_settings
from textpl.recipes.parsing import LoadedRecipe, to_yaml
from textpl.recipes.running.kept import read_kept
from textpl.recipes.running.sides import Sides
from textpl.recipes.running.trainers import Trainers
from textpl.reports.figures import comparison_figure, save_picture
from textpl.reports.run_page import RunFacts, run_page

REPORTED_VERSIONS = ("textpl", "torch", "transformers", "datasets", "accelerate", "numpy")
# Stage -> its key in `results.json`.
STAGE_KEYS = {"label": "labels", "clean": "cleaning"}


def collect_results(
    comparison: Comparison, loaded: LoadedRecipe, corpus: Corpus, sides: Sides, command: str
) -> dict[str, Any]:
    """The content of `results.json`."""
    seeds = [outcome.seed for outcome in comparison.method]
    splits = [sides.split(seed).report for seed in seeds]
    return {
        **comparison.to_dict(),
        **where_from(loaded),
        "command": command,
        "settings": measured_settings(loaded.recipe),
        "model": {"seed": seeds[0]},  # whose classifier is kept
        "label_names": list(corpus.label_names),
        "versions": _versions(sides.trainers),
        "data": {"source": corpus.source, "revision": corpus.revision, "splits": splits},
        **{
            STAGE_KEYS[stage]: [read_kept(sides.stage_file(stage, seed)) for seed in seeds]
            for stage in loaded.recipe.stages
            if stage in STAGE_KEYS
        },
    }


def where_from(loaded: LoadedRecipe) -> dict[str, str | None]:
    """Name of a recipe, and its address with the commit if it is from the Hub."""
    return {"recipe": loaded.name, "recipe_source": address(loaded.folder)}


def write_run(
    out: Path, comparison: Comparison, results: dict[str, Any], loaded: LoadedRecipe, corpus: Corpus, sides: Sides
) -> None:
    """Write picture, report and, last, `results.json`: where that is, the run is complete."""
    recipe = loaded.recipe
    save_picture(comparison_figure(comparison), out / "comparison.png")
    facts = RunFacts(
        question=recipe.question,
        description=recipe.description,
        model=told_model(recipe.model) + sides.trainers.frozen,
        label_names=corpus.label_names,
        test_texts=sides.split(comparison.method[0].seed).test["text"][:],
        recipe=to_yaml(recipe),
    )
    write_text(out / "report.html", run_page(comparison, results, facts))
    write_json(out / "results.json", results)


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
