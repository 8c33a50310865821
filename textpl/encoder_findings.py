"""What a comparison of encoders says: a table, and what follows in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from textpl.embeddings.encoder_candidates import DEFAULT_ENCODER, JOIN, SOURCE, Candidate, Script
from textpl.encoder_scores import EncoderScore, chance_agreement
from textpl.evaluation import LEAST_GROUPS
from textpl.relabeling.clusterability import MIN_EDGES
from textpl.unknown_tokens import TOO_MANY

# Rows (or groups) below which no difference is told, however large.
LEAST = LEAST_GROUPS
# Agreement of neighbors beyond chance, (q - chance) / (1 - chance), below which labels do not follow the vectors: a
# rule of thumb. SST-2, 40 to 400 labeled rows: MiniLM .03 to .48, multilingual-e5-small .22 to .62.
LOW_AGREEMENT = 0.2
MOST_CANDIDATES = 4


@dataclass(frozen=True)
class EncoderComparison:
    """What `textpl.compare_encoders` found.

    Attributes:
        scores: of the encoders, the best first.
        failed: those that could not be loaded or do not read these texts, with the reason.
        method: the method whose score counts.
        multi: rows may have several labels.
        truth: float32 (rows, labels), labels of the rows that were held out.
        scripts: share of the letters by script.
        candidates: encoders made for texts of this script.
        loadable: what can be had on this machine without a download.
    """

    scores: tuple[EncoderScore, ...]
    failed: dict[str, str]
    method: str
    multi: bool
    truth: np.ndarray
    scripts: dict[Script, float]
    candidates: tuple[Candidate, ...]
    loadable: tuple[str, ...]

    @property
    def best(self) -> str:
        """Name of the encoder with the highest score."""
        return self.scores[0].encoder

    @property
    def chance(self) -> float:
        """How far two random rows agree in their labels: by being equal, several labels by their Jaccard index."""
        return chance_agreement(self.truth, self.multi)

    def findings(self) -> list[str]:
        """What it means, a line each: whether one is clearly better, whether the encoder is what limits."""
        told = [*self._unreadable(), self._ranking()]
        limits = self._limits()
        told += [limits] if limits else []
        tried = {name for found in self.scores for name in found.encoder.split(JOIN)} | set(self.failed)
        others = [found for found in self.candidates if found.name not in tried][:MOST_CANDIDATES]
        if self.multi and not any(JOIN in found.encoder for found in self.scores):
            told.append(f'Worth trying with several labels per row: "{self._to_join}{JOIN}lsa", joined.')
        if others:
            told.append(f"Worth trying for these texts (public results: {SOURCE}):")
            told += [f"  {found.sentence()}" for found in others]
        told += [f"Left out: {name}. {reason.split('. ')[0].split(' (')[0]}." for name, reason in self.failed.items()]
        if self.failed:
            told.append(f"What needs no download here: {', '.join(self.loadable)}.")
        return told

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "best": self.best,
            "metric": self._metric,
            "method": self.method,
            "rows": self.scores[0].rows,
            "chance_agreement": self.chance,
            "scripts": dict(self.scripts),
            "encoders": [found.to_dict() for found in self.scores],
            "failed": dict(self.failed),
            "findings": self.findings(),
        }

    def __str__(self) -> str:
        headings = (
            "encoder",
            self._metric,
            "behind the best",
            "linear",
            "neighbors agree",
            "s / 1,000",
            "length",
            "reads",
            "cut",
        )
        rows = [headings, *(self._row(found) for found in self.scores)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(headings))]
        table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        about = (
            f"{self.scores[0].rows:,} labeled rows, each judged while it and about every fifth other were hidden "
            f"({self.method}); two random rows agree on {100 * self.chance:.0f} %"
        )
        return "\n".join([about, *table, *self.findings()])

    @property
    def _to_join(self) -> str:
        """The best encoder that is not lsa, which it would be joined with."""
        usual = DEFAULT_ENCODER if DEFAULT_ENCODER not in self.failed else self.candidates[0].name
        return next((found.encoder for found in self.scores if found.encoder != "lsa"), usual)

    @property
    def _metric(self) -> str:
        return "macro F1" if self.multi else "accuracy"

    def _row(self, found: EncoderScore) -> tuple[str, ...]:
        behind = "" if found.behind is None or found.interval is None else f"{found.behind:.1f} {_ends(found.interval)}"
        q = None if found.clusters is None else found.clusters.q
        return (
            found.encoder,
            f"{100 * found.score:.1f} +- {100 * found.error:.1f}",
            behind,
            f"{100 * found.linear:.1f}",
            "unknown" if q is None else f"{100 * q:.0f} %",
            _seconds(found),
            str(found.dimension),
            "all" if found.token_limit is None else f"{found.token_limit:,} tokens",
            "" if found.cut_share is None else f"{100 * found.cut_share:.0f} %",
        )

    def _unreadable(self) -> list[str]:
        """Encoders that were made for other languages."""
        bad = [found for found in self.scores if (found.unknown_share or 0) > TOO_MANY]
        return [
            f"{found.encoder} does not know {100 * (found.unknown_share or 0):.0f} % of the tokens of these texts: it "
            "was made for another language."
            for found in bad
        ]

    def _ranking(self) -> str:
        best, others = self.scores[0], self.scores[1:]
        if not others:
            return "One encoder only: whether another is better cannot be told from this."
        if best.units < LEAST:
            what = "labeled rows" if best.units == best.rows else "groups"
            return f"Which one is better cannot be told from {best.units} {what}: {LEAST} or more are needed."
        # At least 0 where the better one won everywhere; an interval that holds 0 tells nothing.
        clear = [found for found in others if found.interval is not None and found.interval[0] > 0]
        if len(clear) == len(others):
            nearest = min(others, key=lambda found: found.behind or 0.0)
            told = f"{nearest.behind:.1f} points {_ends(nearest.interval)} over {nearest.encoder}"
            return f"{best.encoder} is clearly the best here: {told}. With another one, the encoder is what limits."
        open_ = [found for found in others if found not in clear]
        widest = max((found.interval[1] for found in open_ if found.interval), default=0.0)
        told = f" It is clearly better than {', '.join(found.encoder for found in clear)}." if clear else ""
        return (
            f"{best.encoder} has the highest score, but {best.rows} labeled rows cannot tell it from "
            f"{', '.join(found.encoder for found in open_)}: these may be level with it, or up to {widest:.0f} points "
            f"behind.{told}"
        )

    def _limits(self) -> str | None:
        """Whether the best encoder's neighbors hardly share labels, as far as that can be told."""
        best = self.scores[0]
        found, chance = best.clusters, self.chance
        if found is None or found.q is None or best.units < LEAST:
            return "Whether the encoder is what limits cannot be told from so few labeled rows."
        pairs = found.edges if found.q_source == "edges" else found.gold * found.k
        agreement = (found.q - chance) / max(1 - chance, 1e-9)
        # Pairs share rows, so that this error is a little too small.
        error = np.sqrt(found.q * (1 - found.q) / max(pairs, 1)) / max(1 - chance, 1e-9)
        told = f"With {best.encoder}, neighbors agree on {100 * found.q:.0f} % of their labels"
        told += f" ({100 * chance:.0f} % by chance)"
        if agreement < LOW_AGREEMENT and (pairs >= MIN_EDGES):
            sure = "" if agreement + 2 * error < LOW_AGREEMENT else ", as far as these rows can tell"
            return (
                f"{told}: the labels hardly follow these vectors{sure}. The encoder is what limits, unless people "
                "would disagree on these labels as much: try another one, or fine-tune."
            )
        return f"{told}."


def _seconds(found: EncoderScore) -> str:
    if found.seconds_per_thousand is None:
        return "" if found.encoded else "cached"
    return f"{found.seconds_per_thousand:.1f}"


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.1f}, {interval[1]:.1f}]"
