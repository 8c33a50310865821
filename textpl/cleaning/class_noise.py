"""How many labels are wrong, and the probability that each is: single-label, given P(given label | text)."""

from __future__ import annotations

import numpy as np

from textpl.embeddings.graph import NeighborGraph

SURE = 0.25  # share of the rows of each predicted class that count as sure of it
# But at least so many: the wrongly labelled rows of a small class see all of its labels, the others all but their own,
# so that the former look surest.
SURE_ROWS = 30
# How disagreement grows is read off the surest half of the rows, in 10 steps. On nine corpora (2 to 20 classes of 50 to
# 600 rows), clean and with four kinds of noise, other parts, ranges of b and quantiles near these did about as well.
CURVE, BINS = 0.5, 10
CAREFUL = 0.2  # quantile of the rate; the median counts a fifth too many errors in small corpora
PSEUDO_ROWS = 5.0  # by so many rows the rate of a class is drawn to that of all classes
FAR = 30  # neighbours from here on are far: their labels say what the region is like, not what the row is
# How much of the disagreement of labels with far neighbours the nearest one takes away, as a share of the skill of
# neighbours (1 - their cross-entropy / that of the class shares), on clean labels: .68 and .71 on two samples of AG
# News, .80 to .85 on 20 Newsgroups, .81 to 1 on samples of 400 to 1,000 rows of these, SST-2, THUCNews titles and
# online shopping reviews. Annotators' errors on AG News leave .42.
LOCALITY = 0.7
# Labels that are wrong wherever a text is hard take away at most about half of that, since most texts are easy.
MOST_LOST = 0.5
STEPS = 60  # halvings of an interval of log-odds


def anchor_transition(labels: np.ndarray, fused: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Transition matrix seen among the rows about which the fused model is surest (anchor points).

    The surest quarter of the rows of each predicted class (30 rows at least), whose true label is taken to be the
    predicted one (Patrini et al. 2017, arXiv 1609.03944, use one row per class). Rates of small classes are drawn to
    the common one, and all are scaled by one factor so that their mean is the `sure_rate`, which knows that some of
    these predictions are wrong.

    Args:
        labels: int64 (rows,), given.
        fused: float (rows, labels), P(given label | text) that did not see the row's own label.

    Returns:
        T float64 (labels, labels), T[y, z] = P(given z | true y), rows sum to 1; bool (rows,), the sure rows.
    """
    classes = fused.shape[1]
    predicted, rank, sizes = _by_confidence(fused)
    sure = rank < np.maximum(np.ceil(SURE * sizes), SURE_ROWS)[predicted]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (predicted[sure], labels[sure]), 1)
    wrong = 1 - np.trace(counts) / counts.sum()
    prior = np.full((classes, classes), wrong / max(classes - 1, 1))
    np.fill_diagonal(prior, 1 - wrong)
    counts += PSEUDO_ROWS * prior
    transition = counts / counts.sum(axis=1, keepdims=True)
    return scaled(transition, sizes / sizes.sum(), sure_rate(labels, fused)), sure


def sure_rate(labels: np.ndarray, fused: np.ndarray, quantile: float = CAREFUL) -> float:
    """Share of wrong labels where the model would be perfectly sure.

    Even the surest rows of a small class are mispredicted now and then, so their disagreement with the labels is not
    all noise. What tells the two apart is how it grows: at the share x of the rows predicted as a class, from the
    surest on, P(label differs from prediction) = e + (1 - e) a x^b, where mistakes of the model, a x^b, vanish as
    x -> 0 and wrong labels do not. e is fitted to the surest half of all classes at once, over a grid, with flat
    priors for e, a and log b; the answer is a quantile of its posterior, by default the 20 % one: few rows make it
    careful.

    Args:
        labels: int64 (rows,), given.
        fused: float (rows, labels), as for `anchor_transition`.
        quantile: of the posterior.
    """
    predicted, rank, sizes = _by_confidence(fused)
    places = ((rank + 0.5) / sizes[predicted] / CURVE * BINS).astype(int)
    inside = places < BINS
    seen = np.bincount(places[inside], minlength=BINS)
    wrong = np.bincount(places[inside], weights=(predicted != labels)[inside], minlength=BINS)
    x = (np.arange(BINS) + 0.5) / BINS * CURVE
    e = np.linspace(0, 0.95, 96) ** 2
    mistakes = np.linspace(0, 1, 41)[:, None, None] * x ** np.geomspace(1, 4, 9)[:, None]
    p = np.clip(e[:, None, None, None] + (1 - e[:, None, None, None]) * mistakes, 1e-6, 1 - 1e-6)
    fit = np.log(p) @ wrong + np.log1p(-p) @ (seen - wrong)
    posterior = np.exp(fit - fit.max()).sum(axis=(1, 2)) * np.gradient(e)
    return float(np.interp(quantile, (np.cumsum(posterior) - posterior / 2) / posterior.sum(), e))


def _by_confidence(fused: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted classes (rows,), places among the rows of a prediction, the surest first (rows,), sizes (labels,)."""
    predicted = fused.argmax(axis=1)
    order = np.lexsort((-fused.max(axis=1), predicted))
    sizes = np.bincount(predicted, minlength=fused.shape[1])
    rank = np.empty(len(fused), dtype=np.int64)
    rank[order] = np.arange(len(fused)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return predicted, rank, sizes


def anchor_errors(fused: np.ndarray, transition: np.ndarray) -> float:
    """Expected number of wrong labels if every row were as often labelled wrongly as the sure rows of its class."""
    shares = np.bincount(fused.argmax(axis=1), minlength=len(transition))
    return float(shares @ (1 - np.diag(transition)))


def unexplained_share(labels: np.ndarray, graph: NeighborGraph, transition: np.ndarray, votes: np.ndarray) -> float:
    """How much of the disagreement between labels and model is noise on hard texts, from 0 to 1.

    d(r) is the probability that a row and its r-th neighbour have different labels, freed of class noise:
    observed agreement = (1 - d) S + d D, with S and D the agreement that T gives two rows of the same class and two of
    different ones. The nearest neighbour takes away the share g = 1 - d(1) / d(far) of the disagreement. Right labels
    of hard texts are told by near texts, labels drawn anew for every row are not. Against what is usual,
    LOCALITY x skill of the votes, the share of g that is missing counts, relative to the most that can be. One
    standard error of d(1) is granted.

    This rests on experience, not on proof: true labels that are random given the vector (overlapping Gaussians) look
    the same. Of 29 clean samples of six text corpora 28 were given 0, one .06.

    Args:
        labels: int64 (rows,), given.
        graph: neighbours of every row.
        transition: float (labels, labels), class noise, already seen elsewhere.
        votes: float (rows, labels), log-probabilities of the labels by neighbour votes.
    """
    shares = np.bincount(labels, minlength=len(transition)) / len(labels)
    entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
    if graph.k < 2 or entropy == 0:
        return 0.0
    skill = 1 + float(votes[np.arange(len(labels)), labels].mean()) / entropy
    same = float((transition**2).sum(axis=1) @ shares)
    pairs = np.outer(shares, shares)
    np.fill_diagonal(pairs, 0)
    different = float((transition @ transition.T * pairs).sum() / max(pairs.sum(), 1e-12))

    def agreement(near: np.ndarray) -> tuple[float, int]:
        found = near >= 0
        return float((labels[near] == labels[:, None])[found].mean()), int(found.sum())

    first, last = min(FAR, graph.k // 2), graph.k
    if not (graph.ids[:, 0] >= 0).any() or not (graph.ids[:, first:last] >= 0).any():
        return 0.0
    (close, pairs_seen), (far, _) = agreement(graph.ids[:, :1]), agreement(graph.ids[:, first:last])
    error = np.sqrt(close * (1 - close) / pairs_seen)
    lost_far = same - far
    usual = LOCALITY * skill
    if skill <= 0 or lost_far <= 0 or same <= different:
        return 0.0
    gained = 1 - max(same - close - error, 0) / lost_far
    return float(np.clip((1 - gained / usual) / MOST_LOST, 0, 1))


def confident_transition(labels: np.ndarray, fused: np.ndarray) -> np.ndarray:
    """T by the confident joint (Northcutt, Jiang & Chuang 2021, arXiv 1911.00068, eq. 1-2): which classes get confused.

    A row counts as class y if p_y reaches its mean among rows labelled y, of several such the most probable. One row
    per class, spread by the class shares, keeps every confusion possible.

    Returns:
        float64 (labels, labels), T[y, z] = P(given z | true y), rows sum to 1.
    """
    classes = fused.shape[1]
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    own = np.bincount(labels, weights=fused[np.arange(len(labels)), labels], minlength=classes)
    threshold = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    above = np.where(fused >= threshold, fused, -1)
    seen = above.max(axis=1) >= 0
    joint = np.zeros((classes, classes))
    np.add.at(joint, (above.argmax(axis=1)[seen], labels[seen]), 1)
    joint += np.eye(classes) + counts / counts.sum()
    joint *= counts / joint.sum(axis=0)
    joint[np.arange(classes), np.arange(classes)] += counts == 0  # a class never given keeps T = I
    return joint / joint.sum(axis=1, keepdims=True)


def scale_noise(transition: np.ndarray, fused: np.ndarray, rate: float) -> np.ndarray:
    """T with its off-diagonal multiplied by one factor, so that the share `rate` of all labels is wrong."""
    return scaled(transition, fused.mean(axis=0, dtype=np.float64), rate)


def scaled(transition: np.ndarray, shares: np.ndarray, rate: float) -> np.ndarray:
    """T with its off-diagonal multiplied by one factor, so that with these shares of classes `rate` is wrong."""
    off = transition * (1 - np.eye(len(transition)))
    changed = off * (rate / max(shares @ off.sum(axis=1), 1e-12))
    changed /= np.maximum(changed.sum(axis=1, keepdims=True) / 0.9, 1)  # no class loses more than 90 % of its labels
    return changed + np.diag(1 - changed.sum(axis=1))


def denoised(fused: np.ndarray, transition: np.ndarray) -> np.ndarray:
    """P(true y | x) from P(given z | x) = sum_y P(y | x) T[y, z]: Q T^-1, cut off at .001; float32 (rows, labels)."""
    p = np.clip(fused @ np.linalg.pinv(transition), 1e-3, 1)
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def noise_posterior(p_true: np.ndarray, transition: np.ndarray, labels: np.ndarray, errors: float) -> np.ndarray:
    """P(true y | x, given z), proportional to P(y | x) T[y, z], with the odds of an error scaled by one factor.

    The factor is such that as many errors are expected as were counted: labels of hard texts are wrong more often than
    T says, which is seen on sure ones.

    Args:
        p_true: float (rows, labels).
        transition: float (labels, labels).
        labels: int64 (rows,), given.
        errors: expected number of wrong labels.

    Returns:
        float32 (rows, labels), rows sum to 1.
    """
    own = np.arange(len(labels)), labels
    weights = p_true * transition.T[labels].astype(np.float32)
    right = np.maximum(weights[own], 1e-30)
    weights[own] = 0
    wrong = weights.sum(axis=1)
    p_error = shift_to_count(np.log(np.maximum(wrong, 1e-30) / right), errors).astype(np.float32)
    weights *= (p_error / np.maximum(wrong, 1e-30))[:, None]
    weights[own] = 1 - p_error
    return weights


def shift_to_count(log_odds: np.ndarray, count: float) -> np.ndarray:
    """Probabilities of these log-odds plus one constant, which makes them sum to `count`; float64, shape kept."""
    low, high = -60.0, 60.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if (1 / (1 + np.exp(-np.clip(log_odds + middle, -60, 60)))).sum() > count:
            high = middle
        else:
            low = middle
    return 1 / (1 + np.exp(-np.clip(log_odds + low, -60, 60)))
