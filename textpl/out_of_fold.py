"""Out-of-sample probabilities from a fine-tuned model: one training per fold."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from datasets import Dataset
from transformers import Trainer

from textpl.cleaning.out_of_sample import calibrated, stratified_folds

logger = logging.getLogger(__name__)


def out_of_fold_probabilities(
    make_trainer: Callable[[Dataset], Trainer],
    dataset: Dataset,
    *,
    label_column: str = "label",
    groups: np.ndarray | None = None,
    folds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """P(label | text) of every row by a model that was fine-tuned on the other folds, calibrated.

    A linear head on embeddings (what `find_label_issues` does by itself) costs minutes; this costs `folds` trainings,
    and a model that is trained for long learns the wrong labels too: stop early.

    Args:
        make_trainer: gets the rows of the other folds and gives a Trainer on them, with a *new* model each time.
        dataset: tokenised rows, with labels as the Trainer takes them: ids, or multi-hot lists.
        label_column: where they are.
        groups: int (rows,): rows of one group, such as duplicates, are in the same fold.
        folds: how many trainings.
        seed: of the folds.

    Returns:
        float32 (rows, labels), to be passed as `find_label_issues(..., pred_probs=)`.

    Raises:
        ValueError: if a model comes back a second time, or there are fewer than two folds or groups.
    """
    labels = np.asarray(dataset.with_format(None)[label_column][:])
    targets = labels if labels.ndim == 2 else np.eye(int(labels.max(initial=0)) + 1, dtype=np.int8)[labels]
    fold = stratified_folds(targets, groups, folds, seed)
    logits: np.ndarray | None = None
    models: list[object] = []
    for part in np.unique(fold):
        logger.info("out-of-fold probabilities: training %d of %d", part + 1, folds)
        trainer = make_trainer(dataset.select(np.flatnonzero(fold != part)))
        if any(trainer.model is model for model in models):
            raise ValueError(
                "make_trainer gave the same model twice, which has seen these rows by now: load it inside make_trainer."
            )
        models.append(trainer.model)
        trainer.train()
        outside = np.flatnonzero(fold == part)
        found = trainer.predict(dataset.select(outside)).predictions
        if logits is None:
            logits = np.zeros((len(dataset), found.shape[1]), dtype=np.float32)
        logits[outside] = found
    assert logits is not None
    return calibrated(logits, labels.astype(np.int8 if labels.ndim == 2 else np.int64), groups=groups, seed=seed)
