"""`transition: estimate` of a recipe: the noise of the labelled rows, found before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from textpl.cleaning.noise_rates import rates_from_posterior
from textpl.cleaning.transition import transition_from_posterior
from textpl.corpus import Corpus
from textpl.recipes.parsing import LoadedRecipe
from textpl.recipes.running.clean_stage import find_issues
from textpl.splits import Split

MOST = 0.9  # false positives and false negatives of a label together: from 1 on the given label says nothing


def estimate_noise(loaded: LoadedRecipe, corpus: Corpus, split: Split) -> dict[str, Any]:
    """Arguments of `textpl.ForwardCorrection` for the labelled rows of a split, as the cleaning sees them.

    Returns:
        dict: `transition` (labels, labels) for single-label, `false_positive` and `false_negative` (labels,) for
            multi-label.
    """
    report = find_issues(loaded, corpus, split)
    if report.multi:
        rates = rates_from_posterior(report.given, report.p_true)
        shrunk = np.minimum(1, MOST / np.maximum(rates.false_positive + rates.false_negative, MOST))
        return {"false_positive": rates.false_positive * shrunk, "false_negative": rates.false_negative * shrunk}
    return {"transition": transition_from_posterior(report.given, report.p_true).matrix}
