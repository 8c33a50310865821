"""Methods that ask for the same prediction under a change: of weights, of embeddings, of mixtures.

See `textpl.methods` for the keywords that all share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.components.adversarial import VirtualAdversarial
from textpl.components.hidden_mixing import HiddenMixing, mean_over_views
from textpl.components.losses import mean_squared_error
from textpl.components.schedules import Schedule, linear, sigmoid
from textpl.components.sharpen import Temperature, keep
from textpl.components.teachers import EMATeacher
from textpl.components.views import View
from textpl.methods.confidence import DEFAULT_VIEW
from textpl.tokens import TextColumn


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


def vat(
    unlabeled: Any,
    *,
    epsilon: float = 0.05,
    ratio: int = 1,
    weight: float | Schedule = linear(1.0, end=0.4),  # noqa: B008 - a frozen dataclass
    view: View | None = None,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """Virtual adversarial training (Miyato et al. 2018, arXiv 1704.03976; texts: 1605.07725): be flat around each text.

    L = H(y, p) + weight(t) * mean_U KL(p(e) || p(e + r)), e the word embeddings and r, of length `epsilon` ||e||, the
    step that changes the prediction most. Needs no change of words; costs two training passes of the pool's rows.
    Multi-label: the Bernoulli KL of each label. `epsilon` is not tuned.
    When to use: no view keeps the meaning of your texts. With very few labels it keeps a model flat where it is wrong.
    """
    return SemiSupervised(
        unlabeled,
        sharpen=keep,
        objective=VirtualAdversarial(epsilon),
        view=view,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )


def mixtext(
    unlabeled: Any,
    *,
    alpha: float = 2.0,
    temperature: float = 0.5,
    mix_layers: Sequence[int] | None = None,
    ratio: int = 1,
    weight: float | Schedule = linear(1.0, end=0.4),  # noqa: B008 - a frozen dataclass
    view: View | None = DEFAULT_VIEW,
    text_column: TextColumn = "text",
    max_length: int | None = None,
    seed: int = 0,
) -> SemiSupervised:
    """MixText (Chen, Yang & Yang 2020, arXiv 2004.12239): learn from texts mixed inside the encoder.

    L = H(y, p) + weight(t) * (mean H(y_mix, p_mix) of labeled rows + mean KL(q_mix || p_mix) of pool rows and their
    views), q the mean prediction on a text and its view, sharpened by T; hidden states of random pairs, labeled or not,
    are mixed after one of `mix_layers` by lam ~ Beta(alpha, alpha). Multi-label: q is not sharpened.
    When to use: 10 to some hundred labels and a view that keeps the meaning. It is sensitive to `temperature`: 0.3 to
    1 in the paper, the larger the harder the task. See `textpl.components.hidden_mixing` for what departs from the
    paper; costs as many labeled rows again as pool rows.
    """
    return SemiSupervised(
        unlabeled,
        teacher=mean_over_views,
        sharpen=Temperature(temperature, cells=False),
        objective=HiddenMixing(alpha, mix_layers),
        view=view,
        weight=weight,
        ratio=ratio,
        text_column=text_column,
        max_length=max_length,
        seed=seed,
    )
