"""What a `LabelReport` found: in words, per label, and as plain data."""

from __future__ import annotations

from typing import Any

import numpy as np

from textpl.cleaning.agreement import CONFLICTS, UNTOLD
from textpl.cleaning.apply import REVIEWED, Plan
from textpl.cleaning.opinions import annotator_lines
from textpl.cleaning.review import LESSONS
from textpl.cleaning.review_learning import BELOW, FEWEST, ORDERING
from textpl.label_issues.columns import held_out
from textpl.label_issues.findings import Findings
from textpl.label_issues.saving import plain, plain_problems

FEW = 200  # rows per label; with fewer, a fifth to twice the errors there are were expected on most corpora

FEW_ROWS = 60  # with fewer, even perfect probabilities are hardly above chance


def summary(report: Findings) -> str:
    """What was found, in words."""
    flags, noun = report.flagged, "cells" if report.multi else "rows"
    size = f"{len(report):,} rows" + (f" x {len(report.label_names)} labels" if report.multi else "")
    found = f"{size}: {flags.sum():,} {noun} look wrong"
    if report.calibrated:
        sure = float(report.p_error[flags].sum(dtype=np.float64))
        expected = f"{report.expected_errors:,.0f} errors are expected in all"
        if report.found.info.get(UNTOLD):
            expected = "how many errors there are is not known"
        elif bounds := error_bounds(report):
            expected += f", between {bounds[0]:,.0f} and {bounds[1]:,.0f}"
        lines = [f"{found}, about {sure:,.0f} of them are; {expected}"]
    else:
        lines = [f"{found} (cleanlab's count, not calibrated: its scores order the {noun}, but are no probabilities)"]
    if report.multi:
        missing = int((flags & (report.given == 0)).sum())
        lines.append(f"  {missing:,} labels are missing, {int(flags.sum()) - missing:,} should not be there")
    worst = sorted(per_label(report), key=lambda line: -line["flagged"])[:5]
    lines += [f"  {w['label']}: {w['flagged']:,} flagged, {w['given']:,} given" for w in worst if w["flagged"]]
    lines += [f"  {warning}" for warning in warnings(report)]
    if told := annotator_lines(report.detection.info):
        lines += ["annotators, each weighed by what it proves:", *told]
    if report.decisions:
        lines.append(f"{len(report.consensus.decisions):,} {noun} were reviewed; {taught(report)}")
        lines += report.consensus.lines(noun)
    lines.append(f"apply(): {done(report, report.plan())}")
    if report.dataset is not None and (name := held_out(report.dataset, report.split)):
        lines.append(f"{name!r} looks like held-out data: apply() refuses it unless told allow_test=True")
    loaded = isinstance(report.problems, dict)
    lines += report.problems.get("summary", []) if loaded else getattr(report.problems, "summary", list)()
    return "\n".join(lines)


def taught(report: Findings) -> str:
    """What the decisions say about all other cells, and how many more are needed where they say nothing yet."""
    review = report.detection.info.get("review", {})
    if review.get("annotators"):
        return "they show how far the annotators can be trusted, by which the others are weighed anew"
    answers, below = review.get("answers", 0), review.get("below", 0)
    if review.get("order_changed"):
        return "the others are ordered anew by what they show"
    later = f"; a new order takes {ORDERING - answers} more answers at least" if answers < ORDERING else ""
    if review.get("learnt"):
        return f"they show how probable errors are among the others, whose order stays{later}"
    more, lessons = max(FEWEST - answers, 0), max(BELOW - below, 0)
    if more or lessons:
        kind = f", {lessons} of them below the cut (marked `lesson` in the queue)" if lessons else ""
        return f"nothing is learnt about the others before {max(more, lessons)} more answers{kind}"
    told = f"the others stay as they are: these answers do not surely show that anything should change{later}"
    left = LESSONS - sum(decision.lesson for decision in report.consensus.decisions)
    return told + (f". A queue has up to {left} more marked `lesson`, which would" if left > 0 else "")


def error_bounds(report: Findings) -> tuple[float, float] | None:
    """At least and at most so many errors; None where the report does not say, and once people decided rows."""
    info = report.found.info
    if report.decisions or not report.calibrated or "errors_low" not in info:
        return None
    return float(info["errors_low"]), float(info["errors_high"])


def warnings(report: Findings) -> list[str]:
    """What makes the numbers of a report doubtful, one sentence each."""
    return [*untold(report), *(warning for warning in (unknown(report), rough(report)) if warning)]


def untold(report: Findings) -> list[str]:
    """What probabilities and labels do not tell about each other."""
    info, names = report.found.info, report.label_names
    if info.get(UNTOLD):
        few = len(report) < FEW_ROWS
        why = "too few rows to tell" if few else "the same for all rows, or of other rows or another label set?"
        return [
            "NOTHING IS KNOWN about these labels: the probabilities do not surely tell them better than chance does "
            f"({why}), so no row is flagged, and any number may be wrong"
        ]
    return [
        f"IT CANNOT BE KNOWN whether label {names[k]!r} is mostly missing: of {rows:,} rows that are {names[k]!r} by "
        f"the probabilities {count:,} are labeled {names[z]!r}. Either these labels are wrong, or the probabilities "
        "are (another order of columns, another meaning of the label). They are flagged at less than even odds, so "
        "that nothing is changed by itself: look at some of them"
        for k, z, count, rows in info.get(CONFLICTS, [])
    ]


def unknown(report: Findings) -> str | None:
    """A warning where far more labels may be wrong than are flagged; None elsewhere."""
    bounds = error_bounds(report)
    flags = float(report.flagged.sum())
    if bounds is None or report.found.info.get(UNTOLD) or bounds[1] - bounds[0] < max(flags, 1):
        return None
    several = (
        "where the classifier disagrees with a label of a hard text, either may be wrong, and the texts do not say"
    )
    return f"{several} which: draw 100 rows at random and look at their labels to know how many are wrong"


def rough(report: Findings) -> str | None:
    """A warning where there are too few rows per label to believe the numbers; None where there are enough."""
    carried = int(report.given.sum()) if report.multi else len(report)
    if not report.calibrated or carried >= FEW * len(report.label_names):
        return None
    few = f"on average fewer than {FEW} rows per label: probabilities are rough, and the errors may be a few times"
    return f"{few} more or fewer than expected; review before labels are changed"


def done(report: Findings, todo: Plan) -> str:
    """One sentence on what a plan does; what it costs in right labels only where probabilities are calibrated."""
    if report.calibrated or not todo.counts():
        return todo.summary()
    noun, reviewed = "cells" if report.multi else "rows", int((todo.source == REVIEWED).sum())
    parts = [f"{count['cells']:,.0f} {noun} {action}" for action, count in todo.counts().items()]
    parts += [f"{reviewed:,} {noun} as reviewed"] if reviewed else []
    return f"{'; '.join(parts)}. How many of them were right is not estimated: the scores are not calibrated"


def per_label(report: Findings) -> list[dict[str, Any]]:
    """Given, flagged and expected wrong labels by label; of multi-label cells those missing and wrong apart."""
    p, flagged, given = report.p_error.astype(np.float64), report.flagged, report.given
    if report.multi:
        on = given == 1
        columns = {
            "given": on.sum(0),
            "flagged": flagged.sum(0),
            "flagged_missing": (flagged & ~on).sum(0),
            "expected_missing": np.where(on, 0, p).sum(0),
            "expected_wrong": np.where(on, p, 0).sum(0),
        }
    else:
        size = len(report.label_names)
        columns = {
            "given": np.bincount(given, minlength=size),
            "flagged": np.bincount(given[flagged], minlength=size),
            "expected_wrong": np.bincount(given, p, minlength=size),
        }
    rows = zip(*(np.round(values, 2).tolist() for values in columns.values()), strict=True)
    return [
        {"label": name, **dict(zip(columns, row, strict=True))}
        for name, row in zip(report.label_names, rows, strict=True)
    ]


def to_dict(report: Findings) -> dict[str, Any]:
    """What was found, without the cells, as plain data."""
    todo = report.plan()
    return {
        "rows": len(report),
        "label_names": list(report.label_names),
        "task": "multi" if report.multi else "single",
        "flagged": int(report.flagged.sum()),
        "flagged_rows": int(report.flagged.reshape(len(report), -1).any(1).sum()),
        "expected_errors": round(report.expected_errors, 1) if report.counted else None,
        "errors_between": None if (bounds := error_bounds(report)) is None else [round(end, 1) for end in bounds],
        "calibrated": report.calibrated,
        "labels": per_label(report),
        "apply": {**todo.counts(), "right_labels_changed": round(todo.right_changed, 5)},
        "cut": report.cut,
        "reviewed": len(report.consensus.decisions),
        "review": report.consensus.to_dict() if report.decisions else None,
        "info": plain(report.detection.info),
        "problems": plain_problems(report.problems),
        **report.about,
    }
