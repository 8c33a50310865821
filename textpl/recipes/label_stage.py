"""The stage `label` of a recipe: the pool gets soft labels from embeddings before anything is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from textpl.corpus import Corpus
from textpl.evaluation import scores
from textpl.labeling import label
from textpl.labels import label_array
from textpl.pseudo_labels import PseudoLabels
from textpl.recipes.parsing import LoadedRecipe
from textpl.splits import Split


def label_pool(loaded: LoadedRecipe, corpus: Corpus, split: Split, say: Callable[[str], None]) -> PseudoLabels:
    """Label the pool of a split as the recipe wants it, and say how good the labels are where that is known."""
    wanted = loaded.recipe.label
    found = label(
        split.labeled,
        split.pool,
        method=wanted.method,
        encoder=str(loaded.locate(wanted.encoder)),
        label_names=list(corpus.label_names),
        k=wanted.k,
        class_prior=wanted.class_prior,
        seed=split.seed,
    )
    found = found.rethreshold(wanted.confidence) if wanted.confidence else found
    right = against_gold(found, split)
    known = "".join(f", {value:.1f} % {name.replace('_', ' ')}" for name, value in right.items())
    say(f"seed {split.seed}: {found.selected.sum():,} of {len(found):,} pool rows labelled by {found.method}{known}")
    return found


def against_gold(found: PseudoLabels, split: Split) -> dict[str, float]:
    """Scores, in points, of the selected labels against the hidden ones; nothing where the pool has none."""
    if "gold" not in split.pool.column_names or not found.selected.any():
        return {}
    gold = label_array(split.pool, "gold")[found.selected].astype(np.int64)
    given = found.labels[found.selected].clip(0).astype(np.int64)  # undecided cells count as not given
    return {name: 100 * value for name, value in scores(given, gold).items()}
