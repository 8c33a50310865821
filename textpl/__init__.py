"""textpl: better text classifiers from text nobody has labelled, on the stock Hugging Face Trainer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Name -> module. Nothing heavy is imported before it is used: `textpl --help` answers at once.
_PUBLIC = {
    "SemiSupervised": "textpl.callbacks.semi_supervised",
    "NoisyLabels": "textpl.callbacks.noisy_labels",
    "attach": "textpl.callbacks.attach",
    "ForwardCorrection": "textpl.components.noise_losses",
    "GeneralizedCrossEntropy": "textpl.components.noise_losses",
    "SymmetricCrossEntropy": "textpl.components.noise_losses",
    "EarlyLearning": "textpl.components.noise_losses_early",
    "CoTeaching": "textpl.components.noise_losses_peer",
    "annotate": "textpl.annotating.annotate",
    "compare": "textpl.comparison",
    "Comparison": "textpl.comparison",
    "label": "textpl.labeling",
    "select": "textpl.selecting.select",
    "Selection": "textpl.selecting.selection",
    "class_rates": "textpl.selecting.rates",
    "compare_encoders": "textpl.encoder_comparison",
    "LabelFormat": "textpl.reading.label_format",
    "PseudoLabels": "textpl.pseudo_labels",
    "EmbeddingClassifier": "textpl.embedding_classifier",
    "find_label_issues": "textpl.label_issues.find",
    "LabelReport": "textpl.label_issues.report",
    "undo": "textpl.label_issues.columns",
    "out_of_fold_probabilities": "textpl.out_of_fold",
    "noise_corrected_scores": "textpl.noisy_scores.judge",
    "random_review": "textpl.noisy_scores.judge",
    "HDLTeacher": "textpl.components.neighbor_teacher",
    "METHODS": "textpl.methods",
    "Method": "textpl.methods",
    "pseudo_label": "textpl.methods",
    "uda": "textpl.methods",
    "fixmatch": "textpl.methods",
    "adamatch": "textpl.methods",
    "softmatch": "textpl.methods",
    "marginmatch": "textpl.methods",
    "mean_teacher": "textpl.methods",
    "vat": "textpl.methods",
    "mixtext": "textpl.methods",
    "comatch": "textpl.methods",
    "cap": "textpl.methods",
    "distillation": "textpl.methods",
    "hdl": "textpl.methods",
}

__all__ = [
    "METHODS",
    "CoTeaching",
    "Comparison",
    "EarlyLearning",
    "EmbeddingClassifier",
    "ForwardCorrection",
    "GeneralizedCrossEntropy",
    "HDLTeacher",
    "LabelFormat",
    "LabelReport",
    "Method",
    "NoisyLabels",
    "PseudoLabels",
    "Selection",
    "SemiSupervised",
    "SymmetricCrossEntropy",
    "__version__",
    "adamatch",
    "annotate",
    "attach",
    "cap",
    "class_rates",
    "comatch",
    "compare",
    "compare_encoders",
    "distillation",
    "find_label_issues",
    "fixmatch",
    "hdl",
    "label",
    "marginmatch",
    "mean_teacher",
    "mixtext",
    "noise_corrected_scores",
    "out_of_fold_probabilities",
    "pseudo_label",
    "random_review",
    "select",
    "softmatch",
    "uda",
    "undo",
    "vat",
]

if TYPE_CHECKING:
    from textpl.annotating.annotate import annotate
    from textpl.callbacks.attach import attach
    from textpl.callbacks.noisy_labels import NoisyLabels
    from textpl.callbacks.semi_supervised import SemiSupervised
    from textpl.comparison import Comparison, compare
    from textpl.components.neighbor_teacher import HDLTeacher
    from textpl.components.noise_losses import ForwardCorrection, GeneralizedCrossEntropy, SymmetricCrossEntropy
    from textpl.components.noise_losses_early import EarlyLearning
    from textpl.components.noise_losses_peer import CoTeaching
    from textpl.embedding_classifier import EmbeddingClassifier
    from textpl.encoder_comparison import compare_encoders
    from textpl.label_issues.columns import undo
    from textpl.label_issues.find import find_label_issues
    from textpl.label_issues.report import LabelReport
    from textpl.labeling import label
    from textpl.methods import (
        METHODS,
        Method,
        adamatch,
        cap,
        comatch,
        distillation,
        fixmatch,
        hdl,
        marginmatch,
        mean_teacher,
        mixtext,
        pseudo_label,
        softmatch,
        uda,
        vat,
    )
    from textpl.noisy_scores.judge import noise_corrected_scores, random_review
    from textpl.out_of_fold import out_of_fold_probabilities
    from textpl.pseudo_labels import PseudoLabels
    from textpl.reading.label_format import LabelFormat
    from textpl.selecting.rates import class_rates
    from textpl.selecting.select import select
    from textpl.selecting.selection import Selection


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'textpl' has no attribute {name!r}; it has {sorted(_PUBLIC)}.")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
