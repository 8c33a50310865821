"""What is seen while training runs: the values in the logs, and warnings when self-labelling goes astray."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from textpl.components.step import Run
from textpl.tasks import TINY, SingleLabel

logger = logging.getLogger(__name__)

# Multi-label: a label whose accepted positives are rarer than this share of its labeled rate is told, and so is one of
# whose expected positives less than HALF are in the targets; from so many expected positives on.
FAR_BELOW, HALF, EXPECTED = 0.2, 0.5, 5


class Monitor:
    """Sums over steps, read and reset at every log.

    Keys: `textpl/mask_rate` (mean selection weight: with a 0/1 mask the share accepted), `textpl/unlabeled_loss`
    (before the schedule's weight), `textpl/weight`, `textpl/target_entropy` (nats, of the aligned probabilities before
    sharpening), `textpl/not_finite` (pool rows left out so far as their numbers were NaN or infinite, if any were),
    `textpl/accepted/<label>` (share of the accepted weight whose target is that label; multi-label: mean target of the
    label's accepted cells, to be held against the share of labeled rows that carry it), `textpl/rare_labels`
    (multi-label: of how many labels that is below a fifth of that share, where five positives or more would be
    expected) and, with a `gold` column, `textpl/precision` (share of the accepted weight whose target is right; for
    multi-label of the accepted positives, a soft target counting as its part of one).

    Args:
        run: the run.
        selects: whether anything is selected at all; if not, accepting everything is no news.
    """

    def __init__(self, run: Run, *, selects: bool) -> None:
        self._run, self._selects = run, selects
        self.tokens = {"teacher": 0, "student": 0}
        self.rows = {"teacher": 0, "student": 0}
        self.dropped = {"teacher": 0, "student": 0}  # rows whose numbers were not finite
        self._patience = max(20, run.total_steps // 10)
        self._warned: set[str] = set()
        self._sums: dict[str, Tensor] = {}
        self._recent: dict[str, Tensor] = {}
        self._recent_steps = 0

    def count(self, who: str, inputs: dict[str, Tensor]) -> None:
        """Add a pass of the teacher or the student to the cost."""
        self.tokens[who] += inputs["attention_mask"].numel()
        self.rows[who] += len(inputs["attention_mask"])

    def not_finite(self, who: str, rows: Tensor) -> None:
        """Count pool rows whose numbers are NaN or infinite, and tell of the first ones.

        Args:
            who: "teacher" or "student", whose numbers they are.
            rows: int64 (rows,), pool rows.
        """
        self.dropped[who] += len(rows)
        self._once(
            f"not finite {who}",
            "The %s gives NaN or infinite numbers for unlabeled row %s: such rows are left out of all steps, and "
            "counted as textpl/not_finite. Look at that text, at a column of teacher's numbers, or at fp16.",
            who,
            ", ".join(str(self._run.pool.source_row(int(row))) for row in rows[:3]),
        )

    def record(
        self, p: Tensor, valid: Tensor, q: Tensor, w: Tensor, loss: Tensor, weight: float, gold: Tensor | None
    ) -> None:
        """Add one step.

        Args:
            p: aligned probabilities, (rows, labels).
            valid: rows on which the teacher does not abstain, bool (rows,).
            q: targets, (rows, labels).
            w: selection weights, (rows,) or (rows, labels).
            loss: unlabelled loss, ().
            weight: the schedule's weight.
            gold: hidden labels, (rows,) or (rows, labels), -1 where unknown, or None.
        """
        task = self._run.task
        single = isinstance(task, SingleLabel)
        accepted = w.unsqueeze(1) * task.hard(q) if w.ndim == 1 else w * q
        sums = {
            "steps": torch.ones((), device=w.device),
            "mask": w.mean(),
            "nonzero": (w > 0).float().mean(),
            "loss": loss,
            "entropy": task.entropy(p[valid]).mean().nan_to_num(),
            "accepted": accepted.sum(0),
        }
        if not single:
            sums |= {"cells": w.sum(0), "expected": (w * p).sum(0)}
        if gold is not None:
            gold = gold.to(w.device)
            known = (gold >= 0).reshape(len(gold), -1).all(1, keepdim=True)  # -1: this row's gold is unknown
            sums["judged"] = (accepted * known).sum()
            sums["right"] = (accepted * known * task.targets(gold.clamp_min(0))).sum()
        self._weight = weight
        for total in (self._sums, self._recent):
            for name, value in sums.items():
                total[name] = total[name] + value.float() if name in total else value.float()
        self._recent_steps += 1
        if self._recent_steps >= self._patience:
            self._warn({name: self._run.reduce(total) for name, total in self._recent.items()})
            self._recent.clear()
            self._recent_steps = 0

    def summary(self) -> dict[str, float]:
        """Means since the last call, over all processes; empty if no step touched the pool."""
        if not self._sums:
            return {}
        sums = {name: self._run.reduce(total) for name, total in self._sums.items()}
        self._sums.clear()
        steps, accepted = float(sums["steps"]), sums["accepted"]
        values = {
            "textpl/mask_rate": float(sums["mask"]) / steps,
            "textpl/unlabeled_loss": float(sums["loss"]) / steps,
            "textpl/target_entropy": float(sums["entropy"]) / steps,
            "textpl/weight": self._weight,
        }
        if any(self.dropped.values()):
            values["textpl/not_finite"] = float(sum(self.dropped.values()))
        if sums.get("judged", 0) > 0:
            values["textpl/precision"] = float(sums["right"] / sums["judged"])
        if "cells" in sums:
            values["textpl/rare_labels"] = float(self._far_below(sums).sum())
        if accepted.sum() > 0:
            shares = (accepted / sums.get("cells", accepted.sum()).clamp_min(TINY)).tolist()
            values |= {f"textpl/accepted/{n}": share for n, share in zip(self._run.label_names, shares, strict=True)}
        return values

    def _far_below(self, sums: dict[str, Tensor]) -> Tensor:
        """Labels whose accepted positives are far rarer than the labeled rows have them, bool (labels,).

        `sums` are means over the processes, and expectations too small to tell anything are left out.
        """
        rate = self._run.labeled_prior.to(sums["cells"].device)
        enough = rate * sums["cells"] * self._run.world >= EXPECTED
        return enough & (sums["accepted"] < FAR_BELOW * rate * sums["cells"])

    def _warn_of_rare_labels(self, sums: dict[str, Tensor]) -> None:
        cut = (sums["expected"] * self._run.world >= EXPECTED) & (sums["accepted"] < HALF * sums["expected"])
        if cut.any():
            self._once(
                "cut",
                "The targets of the last %d steps hold %.0f %% of the positives of label %s that the teacher's own "
                "probabilities expect there: they teach the label away. Rare labels hardly ever reach p >= 0.5: keep "
                "the targets soft (sharpen=argmax or keep).",
                self._patience,
                100 * float(sums["accepted"][cut].sum() / sums["expected"][cut].sum()),
                self._names(cut),
            )
        rare = self._far_below(sums) & ~cut
        if rare.any():
            self._once(
                "rare",
                "Accepted positives of label %s are below a fifth of the share of labelled rows with it (%.2f %%, "
                "labelled rows: %.2f %%, last %d steps): the label may be unlearnt. If the labelled rows were drawn at "
                "random, align the marginal (adamatch, softmatch, or align=AlignToPrior('labeled')); if select= takes "
                "sure cells only, take it out.",
                self._names(rare),
                100 * float((sums["accepted"][rare] / sums["cells"][rare]).mean()),
                100 * float(self._run.labeled_prior.to(rare.device)[rare].mean()),
                self._patience,
            )

    def _names(self, which: Tensor) -> str:
        names = [repr(self._run.label_names[i]) for i in which.nonzero().flatten().tolist()]
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    def _warn(self, sums: dict[str, Tensor]) -> None:
        if "cells" in sums:
            self._warn_of_rare_labels(sums)
        nonzero = float(sums["nonzero"] / sums["steps"])
        if nonzero == 0:
            self._once(
                "nothing",
                "No unlabelled row was accepted in the last %d steps: lower the threshold, use a relative one "
                "(adamatch), or start the unlabelled loss later (weight=linear(1.0, start=0.2)).",
                self._patience,
            )
        elif self._selects and isinstance(self._run.task, SingleLabel) and float(sums["mask"] / sums["steps"]) > 0.999:
            self._once(
                "everything",
                "Every unlabelled row was accepted in the last %d steps: the selection no longer filters; raise the "
                "threshold or lower the weight.",
                self._patience,
            )
        accepted = sums["accepted"]
        if accepted.sum() > 0 and isinstance(self._run.task, SingleLabel):
            largest = int(accepted.argmax())
            share, prior = float(accepted[largest] / accepted.sum()), float(self._run.labeled_prior[largest])
            if share > 0.9 and share > prior + 0.3:
                self._once(
                    "swallowed",
                    "Label %r took %.0f %% of the accepted rows in the last %d steps (labelled rows: %.0f %%): one "
                    "class swallows the pool; align the marginal (adamatch, or align=AlignToPrior(...)).",
                    self._run.label_names[largest],
                    100 * share,
                    self._patience,
                    100 * prior,
                )

    def _once(self, kind: str, message: str, *values: object) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            logger.warning(message, *values)
