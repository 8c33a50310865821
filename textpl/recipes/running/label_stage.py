"""The stage `label` of a recipe: the pool gets soft labels from embeddings before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.atomic_files import write_json
from textpl.corpus import Corpus
from textpl.evaluation import scores
from textpl.labeling import label
from textpl.pseudo_labels import PseudoLabels
from textpl.reading.label_format import ENCODED
from textpl.reading.labels import label_array
from textpl.recipes.parsing import LoadedRecipe
from textpl.recipes.running.reading import groups_of
from textpl.recipes.running.stage_encoder import stage_encoder
from textpl.splits import Split


def label_pool(loaded: LoadedRecipe, corpus: Corpus, split: Split, report: Path, say: Callable[[str], None]) -> Dataset:
    """The pool of a split with the labels that the recipe wants.

    How they were made, and how good they are where that is known, is written to `report`: whoever resumes the run
    reads there what was trained on.
    """
    wanted = loaded.recipe.label
    found = label(
        split.labeled,
        split.pool,
        encoder=stage_encoder(loaded, wanted.encoder),
        label_names=list(corpus.label_names),
        label_format=ENCODED,
        seed=split.seed,
        **label_settings(loaded, split),
    )
    found = found.rethreshold(wanted.confidence) if wanted.confidence else found
    right = against_gold(found, split)
    known = "".join(f", {value:.1f} % {name.replace('_', ' ')}" for name, value in right.items())
    say(f"seed {split.seed}: {found.selected.sum():,} of {len(found):,} pool rows labelled by {found.method}{known}")
    write_json(report, found.to_dict() | right)
    return found.to_dataset()


def label_settings(loaded: LoadedRecipe, split: Split) -> dict[str, Any]:
    """What the recipe says of `textpl.label`, where it differs from the defaults, and the groups of the rows."""
    compared = {"method", "k", "class_prior", "label_descriptions"}
    said = loaded.recipe.label.model_dump(include=compared, exclude_defaults=True)
    groups = groups_of(loaded.recipe, split.labeled)
    return said if groups is None else {**said, "groups": groups}


def against_gold(found: PseudoLabels, split: Split) -> dict[str, float]:
    """Scores, in points, of the selected labels against the hidden ones; nothing where the pool has none."""
    if "gold" not in split.pool.column_names or not found.selected.any():
        return {}
    gold = label_array(split.pool, "gold")[found.selected].astype(np.int64)
    given = found.labels[found.selected].clip(0).astype(np.int64)  # undecided cells count as not given
    return {name: 100 * value for name, value in scores(given, gold).items()}
