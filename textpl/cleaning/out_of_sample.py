"""Probabilities of labels by models that have not seen the row: a linear head on embeddings, fold by fold."""

from __future__ import annotations

import numpy as np
import torch

from textpl.cleaning.evidence import logit
from textpl.cleaning.fusion import Fusion
from textpl.progress import progress_bar
from textpl.relabeling.calibration import fit_temperature, temper

FOLDS = 5
# Inverse regularization strength for unit vectors, by multi-label. Of several labels per row each has few positives,
# and wrong ones among them: a smaller one than for labeling finds more errors (SemEval-2018 and GoEmotions with 30 % of
# labels missing: average precision .554 and .343, with 10 .539 and .308).
STRENGTH = {False: 10.0, True: 1.0}
STEPS = 60


def out_of_sample(
    vectors: np.ndarray,
    labels: np.ndarray,
    *,
    num_labels: int | None = None,
    groups: np.ndarray | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    progress: bool = True,
) -> np.ndarray:
    """P(label | embedding) of every row, by logistic regressions fitted on the other folds, calibrated.

    Multi-label: one regression per label, then Platt scaling per label, shrunk to a common slope and cross-fitted.
    Single-label: a softmax regression, then a temperature.

    Args:
        vectors: float32 (rows, d), unit length.
        labels: int64 (rows,), or 0/1 (rows, labels).
        num_labels: of single-label data; default: the largest label plus one.
        groups: int (rows,): rows of one group (duplicates) are in the same fold.
        folds: how many; a label should occur in at least two groups to be learnt at all.
        seed: of the folds.
        progress: show a progress bar.

    Returns:
        float32 (rows, labels); labels that are never given get (nearly) 0.

    Raises:
        ValueError: for fewer than two groups of rows or fewer than two folds.
    """
    multi = labels.ndim == 2
    count = labels.shape[1] if multi else num_labels or int(labels.max(initial=0)) + 1
    targets = labels.astype(np.float32) if multi else np.eye(count, dtype=np.float32)[labels]
    fold = stratified_folds(targets, groups, folds, seed)
    x = torch.nn.functional.pad(torch.from_numpy(np.array(vectors, dtype=np.float32)), (0, 1), value=1.0)
    t = torch.from_numpy(targets)
    z = torch.empty(t.shape)
    for part in progress_bar(np.unique(fold), desc="out-of-sample probabilities", unit="fold", shown=progress):
        inside = torch.from_numpy(fold != part)
        z[~inside] = x[~inside] @ _fit(x[inside], t[inside], multi)
    return calibrated(z.numpy(), labels, groups=groups, seed=seed)


def calibrated(
    logits: np.ndarray, labels: np.ndarray, *, groups: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Probabilities from out-of-sample logits.

    Args:
        logits: float (rows, labels).
        labels: int64 (rows,), a softmax and a temperature; or 0/1 (rows, labels), Platt scaling per label, shrunk to a
            common slope and cross-fitted.
        groups: int (rows,), duplicates share a number.
        seed: of the folds.

    Returns:
        float32 (rows, labels); 0 for labels that are never given.
    """
    z = torch.from_numpy(np.asarray(logits, dtype=np.float32))
    if labels.ndim == 2:
        share = logit(labels.mean(0))
        scores = logit(torch.sigmoid(z).numpy()) - share
        p = Fusion(labels.astype(np.int8), groups=groups, seed=seed)([scores])
        return np.where(labels.any(0), p, 0).astype(np.float32)
    p = torch.softmax(z, 1).numpy()
    targets = np.eye(p.shape[1], dtype=np.float32)[labels]
    return np.where(targets.any(0), temper(p, fit_temperature(p, targets)), 0).astype(np.float32)


def stratified_folds(targets: np.ndarray, groups: np.ndarray | None, folds: int, seed: int) -> np.ndarray:
    """A fold for every row: groups stay together, and each label, the rarest first, is spread over the folds.

    Args:
        targets: (rows, labels), one-hot or multi-hot.
        groups: int (rows,), or None.
        folds: how many.
        seed: of the order within a label.

    Returns:
        int64 (rows,).

    Raises:
        ValueError: for fewer than two groups of rows or fewer than two folds.
    """
    groups = np.arange(len(targets)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(groups.max(initial=-1)) + 1
    if folds < 2 or count < 2:
        raise ValueError(
            f"{count} distinct texts in {folds} folds: probabilities out of sample need at least two of each. Give "
            "pred_probs of a model that was trained on other rows."
        )
    # A row's rarest label decides; a row without labels comes last.
    frequency = np.where(targets > 0, targets.sum(0), np.inf)
    rarest = np.where((targets > 0).any(1), frequency.argmin(1), targets.shape[1])
    rank = np.append(np.argsort(np.argsort(targets.sum(0), kind="stable")), targets.shape[1])
    of_group = np.full(count, targets.shape[1])
    np.minimum.at(of_group, groups, rank[rarest])
    order = np.lexsort((np.random.default_rng(seed).permutation(count), of_group))
    fold = np.empty(count, dtype=np.int64)
    fold[order] = np.arange(count) % folds
    return fold[groups]


def _fit(x: torch.Tensor, t: torch.Tensor, multi: bool) -> torch.Tensor:
    """Weights (d + 1, labels) of the objective sum of losses + |w|^2 / (2 C), scikit-learn's."""
    w = torch.zeros(x.shape[1], t.shape[1])
    rows = len(x)
    if multi:
        w[-1] = torch.logit(t.mean(0).clamp(0.5 / rows, 1 - 0.5 / rows))
    w.requires_grad_(True)
    optimizer = torch.optim.LBFGS([w], max_iter=STEPS, history_size=10, line_search_fn="strong_wolfe")
    cross_entropy = torch.nn.functional.cross_entropy
    binary = torch.nn.functional.binary_cross_entropy_with_logits

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        z = x @ w
        loss = binary(z, t, reduction="sum") if multi else cross_entropy(z, t, reduction="sum")
        # Scaled so that the optimizer's tolerances mean the same for any number of rows.
        loss = (loss + w[:-1].square().sum() / (2 * STRENGTH[multi])) * (100 / rows)
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    return w.detach()
