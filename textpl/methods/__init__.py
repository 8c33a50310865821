"""Published methods as compositions of slots: one function each, and the table `METHODS` that lists them.

All take the unlabeled dataset and keywords only, and return a `SemiSupervised` callback. Shared keywords:

* `weight`: weight of the unlabeled loss, a number or a schedule of the share of training done;
* `ratio`: pool rows per labeled row;
* `view`: what the student sees; None is the unchanged text;
* `text_column` (two of them for pairs of texts), `max_length`, `seed`: see `SemiSupervised`.

Multi-label tasks: the target of a cell is its probability (where the method aligns, the aligned one), neither cut nor
sharpened, and every cell counts; thresholds and `n_sigma` are for single-label. See `textpl.components.sharpen`. `cap`,
which is made for them, cuts. Methods for one kind of task refuse the other.

Nothing is imported before a name is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textpl.methods.confidence import adamatch, fixmatch, marginmatch, pseudo_label, softmatch, uda
    from textpl.methods.consistency import mean_teacher, mixtext, vat
    from textpl.methods.distilling import distillation
    from textpl.methods.multi_label import cap
    from textpl.methods.representation import comatch, hdl
    from textpl.methods.table import METHODS, Method

__all__ = [
    "METHODS",
    "Method",
    "adamatch",
    "cap",
    "comatch",
    "distillation",
    "fixmatch",
    "hdl",
    "marginmatch",
    "mean_teacher",
    "mixtext",
    "pseudo_label",
    "softmatch",
    "uda",
    "vat",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'textpl.methods' has no attribute {name!r}; it has {__all__}.")
    return getattr(importlib.import_module("textpl.methods.table"), name)
