"""The report of `textpl run`: did it help, what was done, and what the models make of the test rows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from textpl.evaluation import per_label
from textpl.reports.doubtful_rows import SURE, doubtful_rows
from textpl.reports.page import render
from textpl.reports.run_figures import (
    confusion_pictures,
    map_picture,
    reliability_picture,
    scores_picture,
    training_pictures,
)

if TYPE_CHECKING:
    from textpl.comparison import Comparison
    from textpl.outcomes import Outcome

LABELS = 300  # lines of the table


@dataclass(frozen=True)
class RunFacts:
    """What a comparison does not know of itself.

    Attributes:
        question: that the comparison answers.
        description: of the recipe, may be empty.
        model: the classifier that was fine-tuned.
        label_names: position is id.
        test_texts: the test rows, in the order of the outcomes.
        recipe: the resolved recipe as YAML.
    """

    question: str
    description: str
    model: str
    label_names: Sequence[str]
    test_texts: Sequence[str]
    recipe: str


def run_page(comparison: Comparison, results: dict[str, Any], facts: RunFacts) -> str:
    """The report as HTML.

    Args:
        comparison: both sides, one outcome per seed.
        results: the content of `results.json`.
        facts: the rest.
    """
    names = facts.label_names
    picture = map_picture(comparison, names)
    sure, wavering = doubtful_rows(comparison.baseline, comparison.method, facts.test_texts, names)
    return render(
        "run.html",
        title=results["recipe"],
        facts=facts,
        results=results,
        verdict=verdict(comparison),
        metric=comparison.metric.replace("_", " "),
        level=f"{100 * comparison.interval.level:g}",
        sides=(comparison.baseline_name, comparison.name),
        done=_done(comparison, results, facts),
        command=command_again(results.get("command", "")),
        scores=scores_picture(comparison),
        training=training_pictures(comparison, names),
        labels=label_lines(comparison, names)[:LABELS],
        reliability=reliability_picture(comparison),
        confusions=confusion_pictures(comparison, names),
        map=picture,
        rows=((f"At least {100 * SURE:.0f} % sure, and against the given label", sure), ("Undecided", wavering)),
    )


def verdict(comparison: Comparison) -> str:
    """The answer in a few words."""
    words = {"helped": "Yes", "hurt": "No, it hurt", "no evidence": "There is no evidence that it did"}
    return words.get(comparison.interval.verdict, "It cannot be told")


def label_lines(comparison: Comparison, label_names: Sequence[str]) -> list[dict[str, Any]]:
    """Per label: support, and precision, recall and f1 of both sides, each as (mean, std or None) over the seeds."""
    sides = [_per_label(side, label_names) for side in (comparison.baseline, comparison.method)]
    return [
        {"label": name, "support": sides[0][k]["support"], "sides": (sides[0][k], sides[1][k])}
        for k, name in enumerate(label_names)
    ]


def command_again(command: str) -> str:
    """The command of a finished run without `--out` and `--resume`: that folder is taken, and nothing is left to do."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    pairs = zip(["", *words], words, strict=False)  # each word with the one before it
    return shlex.join(word for before, word in pairs if "--out" not in (before, word) and word != "--resume")


def _per_label(outcomes: Sequence[Outcome], label_names: Sequence[str]) -> list[dict[str, Any]]:
    tables = [per_label(o.predictions, o.gold, label_names) for o in outcomes]
    found = []
    for lines in zip(*tables, strict=True):
        values = {key: np.array([line[key] for line in lines]) for key in ("precision", "recall", "f1")}
        spread = {key: (float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else None) for key, v in values.items()}
        found.append({"support": lines[0]["support"], **spread})
    return found


def _done(comparison: Comparison, results: dict[str, Any], facts: RunFacts) -> list[tuple[str, str]]:
    """What was done, as lines of a name and a value."""
    data, cost, sizes = results["data"], results["cost"], results["data"]["splits"][0]["sizes"]
    source = f"{data['source']}, revision {data['revision']}" if data.get("revision") else data["source"]
    seeds = ", ".join(str(outcome.seed) for outcome in comparison.method)
    pool = any("textpl/mask_rate" in entry for outcome in comparison.method for entry in outcome.history)
    lines = [
        ("Data", source),
        ("Labels", f"{len(facts.label_names)}, {'any number' if comparison.task == 'multi' else 'one'} per text"),
        ("Labelled texts", f"{sizes['labeled']:,}"),
        ("Unlabelled texts", f"{sizes['pool']:,}" if pool else "none used"),
        ("Test texts", f"{sizes['test']:,}"),
        ("Model", facts.model),
        ("Compared", f"{comparison.baseline_name} with {comparison.name}"),
        ("Seeds", f"{seeds}; each draws its own labelled texts and trains both sides once"),
    ]
    for name, side in ((comparison.baseline_name, "baseline"), (comparison.name, "method")):
        steps, seconds = cost[side]["steps"], cost[side]["seconds"]
        lines.append((f"Trained: {name}", f"{steps:,.0f} optimizer steps, {_time(seconds)} per seed"))
    trained = sum(o.seconds for o in (*comparison.baseline, *comparison.method))
    lines.append(("Training in all", f"{_time(trained)} on {results['versions']['device']}"))
    return [*lines, ("Kept", note)] if (note := results.get("model", {}).get("note")) else lines


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
