"""The test rows that a person should look at: where the models are sure and contradict the label, or waver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from textpl.reports.page import TEXT, cut

if TYPE_CHECKING:
    from textpl.outcomes import Outcome

LISTED = 12  # rows of each kind
CHANCES = 3  # labels whose probability is told
SURE = 0.5  # least probability of what contradicts the given label, to be called sure


def doubtful_rows(
    before: Sequence[Outcome], after: Sequence[Outcome], texts: Sequence[str], label_names: Sequence[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows by the mean probabilities of `after` over its seeds.

    Args:
        before: one outcome per seed, all on the same test rows.
        after: likewise, those that are asked.
        texts: of the test rows.
        label_names: position is id.

    Returns:
        The rows where something that is at least `SURE` is not what was given, the surest first; and of the rest
        those where they waver most. Each row: row, text, gold, before, after (names), chances (pairs of name and
        probability).
    """
    gold = after[0].gold
    p = np.stack([o.probabilities for o in after]).mean(0, dtype=np.float64)
    if gold.ndim == 1:
        against = np.where(p.max(1) >= SURE, p.max(1) - p[np.arange(len(p)), gold], 0)
        two = -np.partition(-p, 1, axis=1)[:, :2] if p.shape[1] > 1 else np.pad(p, ((0, 0), (0, 1)))
        waver = two[:, 1] - two[:, 0]
    else:
        gaps = np.abs(gold - p)
        against = np.where(gaps.max(1) >= SURE, gaps.max(1), 0)
        waver = (p * (1 - p)).sum(1)
    sure = np.argsort(-against, kind="stable")[:LISTED]
    sure = sure[against[sure] > 0]
    rest = np.argsort(-waver, kind="stable")
    rest = rest[~np.isin(rest, sure)][:LISTED]
    decisions = [_majority(side) for side in (before, after)]

    def told(row: int) -> dict[str, Any]:
        # In multi-label the cells that contradict tell more than the most probable ones.
        order = np.argsort(-(p[row] if gold.ndim == 1 else gaps[row]), kind="stable")[:CHANCES]
        return {
            "row": row,
            "text": cut(texts[row], TEXT),
            "gold": _names(gold[row], label_names),
            "before": _names(decisions[0][row], label_names),
            "after": _names(decisions[1][row], label_names),
            "chances": [(label_names[k], float(p[row, k])) for k in order.tolist()],
        }

    return [told(int(row)) for row in sure], [told(int(row)) for row in rest]


def _majority(outcomes: Sequence[Outcome]) -> np.ndarray:
    """What most seeds predict; single-label: the label of the highest mean probability."""
    if outcomes[0].gold.ndim == 1:
        return np.stack([o.probabilities for o in outcomes]).mean(0).argmax(1)
    return np.stack([o.predictions for o in outcomes]).mean(0) >= 0.5


def _names(label: Any, names: Sequence[str]) -> list[str]:
    return [names[int(label)]] if np.ndim(label) == 0 else [names[k] for k in np.flatnonzero(label).tolist()]
