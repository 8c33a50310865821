"""Corpora of which the right labels are known: they come with the data, or the recipe itself puts the noise in."""

from __future__ import annotations

import dataclasses

import numpy as np
from datasets import Dataset

from textpl.cleaning.injection import inject_noise
from textpl.corpus import Corpus
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import get_encoder
from textpl.embeddings.neighbors import unit_rows
from textpl.reading.labels import arrow_column, infer_coding, label_array
from textpl.recipes.parsing import LoadedRecipe
from textpl.recipes.running.stage_encoder import stage_encoder
from textpl.splits import Split

TRUTH = "true_label"


def with_truth(loaded: LoadedRecipe, corpus: Corpus) -> Corpus:
    """The corpus with a column `true_label` in train: that of `data.truth`, or the labels before `noise` was put in.

    Noise depends on the corpus and `noise.seed` only, so that all seeds of a run share one noisy corpus. Without
    either setting the corpus stays as it is.

    Raises:
        ValueError: for true labels that are no labels of the corpus, and noise that its labels cannot have.
    """
    recipe = loaded.recipe
    if recipe.data.truth is not None:
        name = recipe.data.truth
        parts = {
            part: _decoded(rows, name, f"{part}, column {name!r}", corpus)
            for part in ("train", "test")
            if (rows := getattr(corpus, part)) is not None and name in rows.column_names
        }
        return dataclasses.replace(corpus, **parts)
    if recipe.noise is None:
        return corpus
    wanted, right, vectors = recipe.noise, label_array(corpus.train), None
    if wanted.kind == "swap":
        encoder = get_encoder(stage_encoder(loaded, wanted.encoder))
        vectors = unit_rows(encode_cached(encoder, corpus.train["text"][:]))
    noisy = inject_noise(right, wanted.kind, wanted.rate, vectors=vectors, seed=wanted.seed)
    train = corpus.train.rename_column("label", TRUTH)
    return dataclasses.replace(corpus, train=_with_labels(train, noisy, like=TRUTH))


def judged_by_truth(split: Split) -> Split:
    """The split whose test rows (and hidden labels of the pool) have the right labels, where those are known."""
    return dataclasses.replace(split, test=_truth_as(split.test, "label"), pool=_truth_as(split.pool, "gold"))


def with_right_labels(rows: Dataset) -> Dataset:
    """Labelled rows with their right labels.

    Args:
        rows: with a column `true_label`.
    """
    return _truth_as(rows, "label")


def _truth_as(rows: Dataset, name: str) -> Dataset:
    if TRUTH not in rows.column_names:
        return rows
    rows = rows.remove_columns(name) if name in rows.column_names else rows
    return rows.rename_column(TRUTH, name)


def _decoded(rows: Dataset, name: str, where: str, corpus: Corpus) -> Dataset:
    """The kept column `name` as `true_label`, coded as the labels are."""
    column = arrow_column(rows, name)
    coding = infer_coding(column, where, label_names=corpus.label_names, problem_type=corpus.problem_type)
    labels = coding.encode(column, where)
    return _with_labels(rows.remove_columns(name), labels, like="label", name=TRUTH)


def _with_labels(rows: Dataset, labels: np.ndarray, *, like: str, name: str = "label") -> Dataset:
    """The rows with one more column of labels, of the type of the column `like`."""
    feature = rows.features[like]
    values = labels.tolist() if labels.ndim == 1 else labels.astype(np.float32).tolist()
    return rows.add_column(name, values, feature=feature)
