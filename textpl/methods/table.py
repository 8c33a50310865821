"""The table of all methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from textpl.callbacks.semi_supervised import SemiSupervised
from textpl.methods.confidence import adamatch, fixmatch, marginmatch, pseudo_label, softmatch, uda
from textpl.methods.consistency import mean_teacher, mixtext, vat
from textpl.methods.distilling import distillation
from textpl.methods.multi_label import cap
from textpl.methods.representation import comatch, hdl


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


_BOTH, _SINGLE, _MULTI = ("single", "multi"), ("single",), ("multi",)

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
    "marginmatch": Method(
        marginmatch,
        _SINGLE,
        "Sosea & Caragea 2023, arXiv 2308.09037",
        "1[APM >= gamma] 1[max p >= tau M(beta)] H(onehot(argmax p), p(view))",
    ),
    "mean_teacher": Method(
        mean_teacher, _BOTH, "Tarvainen & Valpola 2017, arXiv 1703.01780", "w(t) ||p(view) - p_EMA||^2"
    ),
    "vat": Method(vat, _BOTH, "Miyato et al. 2018, arXiv 1704.03976", "w(t) KL(p(e) || p(e + r_adversarial))"),
    "mixtext": Method(
        mixtext,
        _BOTH,
        "Chen, Yang & Yang 2020, arXiv 2004.12239",
        "w(t) (H(y_mix, p_mix) labeled + KL(q_mix || p_mix) pool), hidden states mixed",
    ),
    "comatch": Method(
        comatch,
        _SINGLE,
        "Li, Xiong & Hoi 2021, arXiv 2011.11183",
        "1[max q >= tau] H(q, p(view)) + c H(norm(q q'), softmax(f f' / T)), q smoothed by a memory",
    ),
    "cap": Method(
        cap,
        _MULTI,
        "Xie et al. 2023, arXiv 2305.02795",
        "w(t) m l(1[p_EMA >= tau_k], p(view)), tau_k at the labeled rate",
    ),
    "hdl": Method(hdl, _BOTH, "Ma et al. 2024, arXiv 2404.17173", "fixmatch, then H(onehot(q_neighbours), p(view))"),
    "distillation": Method(
        distillation,
        _BOTH,
        "Hinton et al. 2015, arXiv 1503.02531",
        "T^2 KL(softmax(v / T) || softmax(z / T))",
    ),
}
