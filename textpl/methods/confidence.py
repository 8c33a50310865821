"""Methods that learn confident predictions: pseudo-labels, weak to strong, alignment, thresholds.

See `textpl.methods` for the keywords that all share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.align import AlignToModel, AlignToPrior
from textpl.components.labeled import TrainingSignalAnnealing
from textpl.components.losses import cross_entropy, kl_divergence
from textpl.components.pseudo_margins import PseudoMargins
from textpl.components.schedules import Schedule, cosine, lee
from textpl.components.selection import FixedThreshold, GaussianWeight, RelativeThreshold
from textpl.components.sharpen import Temperature, argmax
from textpl.components.teachers import EMATeacher, SelfTeacher
from textpl.components.views import TfidfReplacement, View
from textpl.tokens import TextColumn

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


def marginmatch(
    unlabeled: Any,
    *,
    threshold: float = 0.95,
    wrong: float = 0.01,
    ratio: int = 1,
    weight: float | Schedule = 1.0,
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """MarginMatch (Sosea & Caragea 2023, arXiv 2308.09037): pseudo-labels count that the model has been sure of before.

    L = H(y, p) + weight * mean_U 1[APM >= gamma] 1[max p >= tau M(beta)] H(onehot(argmax p), p(view)): APM is the
    average over the visits of a row of the margin by which the class leads, gamma is learned from a share `wrong` of
    the pool that gets a label which is surely wrong, and tau M(beta) is FlexMatch's threshold for each class.
    Single-label only.
    When to use: a run that passes through the pool several times; in less than two passes no row has a history, and
    this is FlexMatch. See `textpl.components.pseudo_margins` for what departs from the paper.
    """
    margins = PseudoMargins(threshold, wrong)
    return SemiSupervised(
        unlabeled,
        teacher=margins.teacher,
        select=margins.select,
        sharpen=argmax,
        objective=margins,
        view=view,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )
