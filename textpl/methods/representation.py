"""Methods that look at representations: neighbors, contrast.

See `textpl.methods` for the keywords that all share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from datasets import Dataset

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.comatch import CoMatch
from textpl.components.losses import cross_entropy
from textpl.components.neighbor_teacher import HDLTeacher
from textpl.components.schedules import Schedule
from textpl.components.selection import FixedThreshold, Until
from textpl.components.sharpen import argmax, keep
from textpl.components.teacher_mixes import Then
from textpl.components.teachers import SelfTeacher
from textpl.components.views import View
from textpl.methods.confidence import DEFAULT_VIEW
from textpl.tokens import TextColumn


def hdl(
    unlabeled: Any,
    *,
    labeled: Dataset | None = None,
    encoder: Any = "model",
    relabel: str = "hdl",
    k: int | None = None,
    start: float = 0.5,
    refresh: Literal["epoch"] | int | None = "epoch",
    threshold: float = 0.95,
    ratio: int = 1,
    weight: float | Schedule = 1.0,
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """Train, relabel by neighbours, go on (HDL, arXiv 2404.17173): FixMatch first, then labels from embeddings.

    Until `start`: `fixmatch`. Then the pool is labelled by neighbours in the space of the model itself
    (`encoder="model"`, again every `refresh`) or of a fixed encoder, and training goes on with these labels as hard
    targets: H(y, p) + weight * mean_U H(onehot(q_neighbours), p(view)). Rows out of
    reach of every label are left out.
    When to use: the model's representation is better than its classifier, which holds for topics more than sentiment;
    look at what `textpl.label` says first. `labeled`, `encoder`, `k` and `refresh` are those of `textpl.HDLTeacher`,
    `relabel` is its `method`; `start` is a share of the run, `threshold` that of `fixmatch`.
    """
    neighbors = HDLTeacher(labeled, encoder=encoder, method=relabel, k=k, refresh=refresh, text_column=text_column)
    return SemiSupervised(
        unlabeled,
        teacher=Then(SelfTeacher(), neighbors, at=start),
        select=Until(start, FixedThreshold(threshold)),
        sharpen=argmax,
        view=view,
        loss=cross_entropy,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def comatch(
    unlabeled: Any,
    *,
    threshold: float = 0.95,
    alpha: float = 0.9,
    temperature: float = 0.2,
    contrast: float = 1.0,
    prior: Literal["labeled", "uniform"] | Sequence[float] | None = "labeled",
    ratio: int = 1,
    weight: float | Schedule = 1.0,
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """CoMatch (Li, Xiong & Hoi 2021, arXiv 2011.11183): neighbors smooth pseudo-labels, pseudo-labels make neighbors.

    L = H(y, p) + weight * (mean_U 1[max q >= threshold] H(q, p(view)) + contrast * H(W, S)): q is the aligned
    prediction, by 1 - alpha that of a memory's nearest embeddings; S the similarities of two views' embeddings at
    `temperature`, W those of their q. The embedding is a perceptron that is trained beside the model and not kept.
    Single-label only.
    When to use: batches of some dozens of pool rows (`ratio`), as rows of one step are contrasted; texts that cluster
    by class. `prior` as in `softmatch`.
    """
    parts = CoMatch(alpha=alpha, temperature=temperature, contrast=contrast, prior=prior, seed=seed)
    return SemiSupervised(
        unlabeled,
        teacher=parts.teacher,
        align=parts.align,
        select=FixedThreshold(threshold),
        sharpen=keep,
        objective=parts,
        view=None if view is None else (view, view),
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )
