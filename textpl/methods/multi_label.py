"""Methods for several labels per row.

See `textpl.methods` for the keywords that all share.
"""

from __future__ import annotations

from typing import Any

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.losses import AsymmetricLoss, cross_entropy
from textpl.components.rate_cuts import RateCuts
from textpl.components.schedules import Schedule, linear
from textpl.components.table_teacher import CachedTeacher, Refresh
from textpl.components.teachers import EMATeacher
from textpl.components.views import View
from textpl.methods.confidence import DEFAULT_VIEW
from textpl.tokens import TextColumn


def cap(
    unlabeled: Any,
    *,
    positive: float = 1.0,
    negative: float = 1.0,
    asymmetric: bool = True,
    decay: float | None = None,
    refresh: Refresh = "epoch",
    ratio: int = 1,
    weight: float | Schedule = linear(1.0, start=0.3, end=0.3),  # noqa: B008 - a frozen dataclass
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """CAP (Xie et al. 2023, arXiv 2305.02795): as many positives of each label in the pool as among the labeled rows.

    L = l(y, p) + weight(t) * mean over cells of m l(1[p_EMA >= tau_k], p(view)): every `refresh` the averaged weights
    read the whole pool, tau_k is the probability that the labeled share of rows reaches, and m leaves out all but the
    surest `positive` and `negative` shares. l is the asymmetric loss on both sides, which needs `textpl.attach`; the
    cross-entropy with `asymmetric=False`. The pool is not touched in the first 30 % of the run. The averaged weights
    are what the trained model ends with. Multi-label only.
    When to use: labels that are frequent (a tenth of the rows or more) and labeled rows drawn at random. Of a rare
    label half of the positives so made, or more, are wrong: see the page on several labels per row. The asymmetric loss
    ranks, its probabilities are too high: cut them where the labels' rates are met, not at one half. `textpl.compare`
    trains labels-only with the cross-entropy: what the loss alone does, `asymmetric=False` shows.
    """
    table, loss = CachedTeacher(EMATeacher(decay), refresh), AsymmetricLoss()
    cuts = RateCuts(table, positive, negative)
    return SemiSupervised(
        unlabeled,
        teacher=table,
        select=cuts,
        sharpen=cuts.harden,
        view=view,
        loss=loss if asymmetric else cross_entropy,
        weight=weight,
        labeled_loss=loss.labeled if asymmetric else None,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )
