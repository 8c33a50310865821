"""Published methods as compositions of slots: one function each, and the table `METHODS` that lists them.

All take the unlabelled dataset and keywords only, and return a `SemiSupervised` callback. Shared keywords:

* `weight`: weight of the unlabelled loss, a number or a schedule of the share of training done;
* `ratio`: pool rows per labelled row;
* `view`: what the student sees; None is the unchanged text;
* `text_column` (two of them for pairs of texts), `max_length`, `seed`: see `SemiSupervised`.

Multi-label tasks: the target of a cell is its probability (where the method aligns, the aligned one), neither cut nor
sharpened, and every cell counts; thresholds and `n_sigma` are for single-label. See `textpl.components.sharpen`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from datasets import Dataset, concatenate_datasets

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.align import AlignToModel, AlignToPrior
from textpl.components.labeled import TrainingSignalAnnealing
from textpl.components.losses import DistillationLoss, cross_entropy, kl_divergence, mean_squared_error
from textpl.components.neighbor_teacher import HDLTeacher
from textpl.components.schedules import Schedule, cosine, lee, sigmoid
from textpl.components.selection import FixedThreshold, GaussianWeight, RelativeThreshold, Until
from textpl.components.sharpen import Temperature, argmax, keep
from textpl.components.teacher_mixes import Then
from textpl.components.teachers import ColumnTeacher, EMATeacher, FrozenTeacher, SelfTeacher
from textpl.components.views import TfidfReplacement, View
from textpl.reading.probabilities import in_order, named_array, read_probabilities_column
from textpl.tokens import TextColumn, text_columns

# Frozen and unfitted: every run fits its own copy on its own pool.
DEFAULT_VIEW = TfidfReplacement(p=0.3)


def pseudo_label(
    unlabeled: Any,
    *,
    threshold: float = 0.95,
    ratio: int = 1,
    weight: float | Schedule = lee(value=1.0),  # noqa: B008 - a frozen dataclass
    view: View | None = None,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """Pseudo-Label (Lee 2013): the model's own arg-max as a label, with a weight that grows slowly.

    L = H(y, p) + alpha(t) mean_U H(onehot(argmax p), p) (equation 15), alpha(t) as equation 16 with times as shares of
    the run. Lee's alpha is 3 and has no threshold; both are too much for a fine-tune on few labels.
    When to use: as the plainest baseline. It mostly confirms what the model already believes; in a multi-label task it
    does nothing else.
    """
    return SemiSupervised(
        unlabeled,
        select=FixedThreshold(threshold),
        sharpen=argmax,
        view=view,
        loss=cross_entropy,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def uda(
    unlabeled: Any,
    *,
    threshold: float = 0.8,
    temperature: float = 0.85,
    tsa: Literal["auto", "linear", "log", "exp"] | None = "auto",
    tsa_until: float = 0.5,
    ratio: int = 3,
    weight: float | Schedule = 1.0,
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """UDA (Xie et al. 2020, arXiv 1904.12848): the prediction on the text supervises its augmented copy.

    L = mean over rows below the TSA ceiling of H(y, p) + weight * mean_U 1[max p > threshold] KL(q || p(view)),
    q = softmax(z / T) (equation 1). Training-signal annealing needs `textpl.attach`; "auto" is "linear" for
    single-label and none for multi-label, where a schedule is refused (see `TrainingSignalAnnealing`); `tsa=None`
    switches it off.
    When to use: a few dozen labels and a view that keeps the meaning.
    """
    annealing = None
    if tsa == "auto":
        annealing = TrainingSignalAnnealing("linear", until=tsa_until, multi_label="plain")
    elif tsa is not None:
        annealing = TrainingSignalAnnealing(tsa, until=tsa_until)
    return SemiSupervised(
        unlabeled,
        select=FixedThreshold(threshold),
        sharpen=Temperature(temperature, cells=False),
        view=view,
        loss=kl_divergence,
        weight=weight,
        labeled_loss=annealing,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def fixmatch(
    unlabeled: Any,
    *,
    threshold: float = 0.95,
    ratio: int = 1,
    weight: float | Schedule = 1.0,
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """FixMatch (Sohn et al. 2020, arXiv 2001.07685): a confident hard label from the text, learned on its strong view.

    L = H(y, p) + weight * mean_U 1[max p >= threshold] H(onehot(argmax p), p(view)) (equation 4), the mean over all
    drawn rows.
    When to use: some hundred labels. On 10 labels per class a fine-tuned encoder is soon sure of everything; prefer
    `adamatch`.
    """
    return SemiSupervised(
        unlabeled,
        select=FixedThreshold(threshold),
        sharpen=argmax,
        view=view,
        loss=cross_entropy,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def adamatch(
    unlabeled: Any,
    *,
    threshold: float = 0.9,
    ema: bool = True,
    ratio: int = 1,
    weight: float | Schedule = cosine(0.3, end=0.5),  # noqa: B008 - a frozen dataclass
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """AdaMatch (Berthelot et al. 2022, arXiv 2106.04732): FixMatch aligned to the model's labelled marginal.

    p ~ p * EMA(mean p labelled) / EMA(mean p pool), accepted where max p >= threshold * mean labelled
    confidence, weight ramped up by a cosine. The logit interpolation of the paper mends
    BatchNorm and is left out. Multi-label: the odds of each label are aligned.
    `ema` and a weight below the paper's 1 as in `softmatch`; the labelled statistics stay the student's.
    When to use: few labels per class, drawn with about the pool's class shares.
    """
    return SemiSupervised(
        unlabeled,
        teacher=EMATeacher() if ema else SelfTeacher(),
        align=AlignToModel(),
        select=RelativeThreshold(threshold),
        sharpen=argmax,
        view=view,
        loss=cross_entropy,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def softmatch(
    unlabeled: Any,
    *,
    n_sigma: float = 2.0,
    prior: Literal["labeled", "uniform"] | Sequence[float] | None = "labeled",
    ema: bool = True,
    ratio: int = 1,
    weight: float | Schedule = 0.1,
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """SoftMatch (Chen et al. 2023, arXiv 2301.10921): every row counts, by a Gaussian of its confidence.

    w = exp(-min(c - mu, 0)^2 n^2 / (2 var)) on probabilities aligned to a prior (the paper's is uniform, ours the
    labelled one; None switches alignment off). As in the authors' code (USB, `softmatch.py`) the target is the arg-max
    of the *unaligned* probabilities: alignment moves weights, never targets. Multi-label: it moves the (soft) targets.
    The paper trains from scratch with weight 1 and tests the averaged weights; with `ema` those also make the targets.
    On a fine-tune with 10 labels per class weights of 0.3 and 1 let the model drift after its own mistakes on some
    splits; 0.1 is gentler. Measure with `textpl.compare` before you trust it.
    When to use: with a few dozen labels or more whose class shares are about the pool's.
    """
    return SemiSupervised(
        unlabeled,
        teacher=EMATeacher() if ema else SelfTeacher(),
        align=None if prior is None else AlignToPrior(prior),
        align_target=False,
        select=GaussianWeight(n_sigma),
        sharpen=argmax,
        view=view,
        loss=cross_entropy,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def mean_teacher(
    unlabeled: Any,
    *,
    decay: float | None = None,
    ratio: int = 1,
    weight: float | Schedule = sigmoid(5.0, end=0.3),  # noqa: B008 - a frozen dataclass
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """Mean Teacher (Tarvainen & Valpola 2017, arXiv 1703.01780): agree with the average of your own past weights.

    L = H(y, p) + weight(t) * mean_U ||p(view) - p_EMA||^2 (section 2; mean over the classes), weight ramped up as
    exp(-5 (1 - t/T)^2). The averaged weights are what the trained model ends with.
    When to use: as a cautious method; the averaged model is also a steadier one.
    """
    return SemiSupervised(
        unlabeled,
        teacher=EMATeacher(decay),
        sharpen=keep,
        view=view,
        loss=mean_squared_error,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


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


def distillation(
    unlabeled: Any,
    *,
    teacher: Any = None,
    column: str | None = None,
    column_kind: Literal["probabilities", "logits"] = "logits",
    label_names: Sequence[str] | None = None,
    labeled: Any = None,
    temperature: float = 2.0,
    ratio: int = 1,
    weight: float | Schedule = 1.0,
    view: View | None = None,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """Soft-label distillation (Hinton et al. 2015, arXiv 1503.02531): learn a finished teacher's distribution.

    L = H(y, p) + weight * mean_U T^2 KL(softmax(v / T) || softmax(z / T)); multi-label T^2 times the Bernoulli KL of
    each label. Up to a common factor, weight is a / (1 - a) of the usual a. The teacher's logits are computed once,
    cached as float16. With `labeled` the labelled texts join the pool; a teacher that was trained on them is
    over-confident there.
    When to use: a larger or slower model, an ensemble, or soft labels from elsewhere.

    Args:
        unlabeled: the pool.
        teacher: a Hub id, folder or loaded classifier, or a list of these (their probabilities are averaged).
        column: instead of `teacher`, a column of the pool with one number per label: a struct with a field per label,
            columns `column_LABEL`, or plain lists.
        column_kind: what that column holds.
        label_names: the labels in the order of plain lists, or of the outputs of a teacher with default names.
        labeled: the labelled rows with their texts (and `column`, where that is the teacher), to distil on them too.
        temperature: T; 1 for a calibrated teacher, 4 to compress a large one.
        ratio: see module.
        weight: see module.
        view: see module.
        text_column: see module.
        max_length: see module.
        seed: see module.

    Raises:
        ValueError: unless exactly one of `teacher` and `column` is given.
    """
    if (teacher is None) == (column is None):
        raise ValueError("distillation needs exactly one of teacher=<model, folder or id> and column=<name>.")
    if labeled is not None:
        texts = list(text_columns(text_column))
        if column is None:
            both = [rows.with_format(None).select_columns(texts) for rows in (unlabeled, labeled)]
            unlabeled = concatenate_datasets(both)
        else:
            unlabeled, label_names = _joined(unlabeled, labeled, texts, column, label_names)
    return SemiSupervised(
        unlabeled,
        teacher=FrozenTeacher(teacher, label_names=label_names)
        if column is None
        else ColumnTeacher(column, kind=column_kind, label_names=label_names),
        sharpen=Temperature(temperature),
        view=view,
        loss=DistillationLoss(temperature),
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def _joined(
    unlabeled: Dataset, labeled: Dataset, texts: list[str], column: str, label_names: Sequence[str] | None
) -> tuple[Dataset, Sequence[str] | None]:
    """Texts and numbers per label of both, the labels in one order; and the names that are still to be said."""
    (pool, named), (known, also_named) = (read_probabilities_column(rows, column) for rows in (unlabeled, labeled))
    pool_names, names = named or label_names, also_named or label_names
    if (names is None) != (pool_names is None):
        raise ValueError(
            f"Column {column!r} tells its labels in only one of unlabeled and labeled: say them with label_names=[...]."
        )
    both = concatenate_datasets([rows.with_format(None).select_columns(texts) for rows in (unlabeled, labeled)])
    if names is None or pool_names is None:
        if pool.shape[1] != known.shape[1]:
            raise ValueError(
                f"Column {column!r} has {pool.shape[1]} numbers per row in unlabeled and {known.shape[1]} in labeled."
            )
        flat = pa.array(np.concatenate([pool, known]).ravel())
        return both.add_column(column, pa.FixedSizeListArray.from_arrays(flat, pool.shape[1])), None
    known = in_order(known, names, pool_names, f"Column {column!r} of labeled")
    return both.add_column(column, named_array(np.concatenate([pool, known]), pool_names)), None


@dataclass(frozen=True)
class Method:
    """One row of the table.

    Attributes:
        make: `make(unlabeled, **settings) -> SemiSupervised`.
        tasks: for which of "single" and "multi" (label) it has a meaning.
        paper: authors, year, arXiv id.
        equation: the unlabelled loss.
        defaults: settings and their defaults.
    """

    make: Callable[..., SemiSupervised]
    tasks: tuple[str, ...]
    paper: str
    equation: str

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings and their defaults, as the function declares them."""
        parameters = inspect.signature(self.make).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


_BOTH = ("single", "multi")

METHODS: dict[str, Method] = {
    "pseudo_label": Method(
        pseudo_label, _BOTH, "Lee 2013, ICML workshop", "alpha(t) 1[max p >= tau] H(onehot(argmax p), p)"
    ),
    "uda": Method(
        uda,
        _BOTH,
        "Xie et al. 2020, arXiv 1904.12848",
        "1[max p >= beta] KL(softmax(z / T) || p(view)); TSA on labels",
    ),
    "fixmatch": Method(
        fixmatch, _BOTH, "Sohn et al. 2020, arXiv 2001.07685", "1[max p >= tau] H(onehot(argmax p), p(view))"
    ),
    "adamatch": Method(
        adamatch,
        _BOTH,
        "Berthelot et al. 2022, arXiv 2106.04732",
        "mu(t) 1[max q >= tau c_labelled] H(onehot(argmax q), p(view)), q ~ p r_labelled / r_pool",
    ),
    "softmatch": Method(
        softmatch,
        _BOTH,
        "Chen et al. 2023, arXiv 2301.10921",
        "exp(-min(c - mu, 0)^2 n^2 / 2 var) H(onehot(argmax p), p(view)), c = max q, q aligned to a prior",
    ),
    "mean_teacher": Method(
        mean_teacher, _BOTH, "Tarvainen & Valpola 2017, arXiv 1703.01780", "w(t) ||p(view) - p_EMA||^2"
    ),
    "hdl": Method(hdl, _BOTH, "Ma et al. 2024, arXiv 2404.17173", "fixmatch, then H(onehot(q_neighbours), p(view))"),
    "distillation": Method(
        distillation,
        _BOTH,
        "Hinton et al. 2015, arXiv 1503.02531",
        "T^2 KL(softmax(v / T) || softmax(z / T))",
    ),
}
