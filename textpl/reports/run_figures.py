"""The pictures of a run's report; every one as title, text and inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from textpl.embeddings.mapped import mapped_rows
from textpl.reports.curves import Curve, Run, curves_svg
from textpl.reports.figures import BLUE, GREEN, ORANGE, draw_scores
from textpl.reports.maps import STYLES, Points, layout, map_svg, shown_labels
from textpl.reports.pairs import largest, pairs_svg
from textpl.reports.svg import inline_svg

if TYPE_CHECKING:
    from textpl.comparison import Comparison
    from textpl.outcomes import Outcome

Picture = dict[str, Any]
BINS = 10  # of the calibration curve
FEWEST = 5  # rows (cells) in a bin that is drawn
DRAWN = 25  # labels of a heat map
MOST_CURVES = len(STYLES)
DASHES = ("-", "--", "-.", ":")


def scores_picture(comparison: Comparison) -> Picture:
    """Every seed's two scores."""
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    draw_scores(figure.subplots(), comparison)
    return {
        "title": "Every seed",
        "text": f"Each thin line is one seed: the same labelled rows, {comparison.baseline_name} at the left and "
        f"{comparison.name} at the right. The bars are the means.",
        "svg": inline_svg(figure, f"Scores of {comparison.baseline_name} and {comparison.name}, seed by seed"),
    }


def training_pictures(comparison: Comparison, label_names: Sequence[str]) -> list[Picture]:
    """Loss, what is accepted of the pool, and which labels that is; what was not logged is left out."""
    sides = (
        (comparison.baseline_name, comparison.baseline, ORANGE, "--"),
        (comparison.name, comparison.method, BLUE, "-"),
    )
    loss = [Curve(name, colour, dash, logged(side, "loss")) for name, side, colour, dash in sides]
    found: list[Picture] = []
    if any(curve.runs for curve in loss):
        text = "Loss on the labelled rows while training: thin is one seed, thick the mean. A lower loss alone says "
        text += "little, since a model that has learnt its few labels by heart has a low one too."
        svg = curves_svg(loss, "Training loss of both sides by step", x="optimizer step", y="training loss")
        found.append({"title": "Learning curves", "text": text, "svg": svg})
    rates = [
        Curve("accepted share of the pool", BLUE, "-", logged(comparison.method, "textpl/mask_rate", 100)),
        Curve("of these right", GREEN, "--", logged(comparison.method, "textpl/precision", 100)),
    ]
    if rates[0].runs:
        text = "How much of the unlabelled text the method lets teach (a row that counts in part is counted in part)"
        text += ", and how many of these pseudo-labels are right." if rates[1].runs else "."
        svg = curves_svg(
            rates, "Accepted pseudo-labels and their precision by step", x="optimizer step", y="%", top=102
        )
        found.append({"title": "Pseudo-labels while training", "text": text, "svg": svg})
    accepted = _accepted(comparison.method, label_names)
    if accepted:
        text = "Which labels the accepted pseudo-labels are, mean over the seeds"
        text += f"; the {MOST_CURVES} most frequent." if len(label_names) > MOST_CURVES else "."
        text += " One label that grows at the cost of all others would be a warning."
        what = "Share of each label among the accepted pseudo-labels"
        svg = curves_svg(accepted, what, x="optimizer step", y="%", seeds=False)
        found.append({"title": "Labels of the accepted pseudo-labels", "text": text, "svg": svg})
    return found


def logged(outcomes: Sequence[Outcome], key: str, scale: float = 1.0) -> list[Run]:
    """What was logged under a name: one (steps, values) per outcome that has it."""
    series = [[(entry["step"], scale * entry[key]) for entry in o.history if key in entry] for o in outcomes]
    return [(np.array(points)[:, 0], np.array(points)[:, 1]) for points in series if points]


def _accepted(outcomes: Sequence[Outcome], label_names: Sequence[str]) -> list[Curve]:
    runs = {name: logged(outcomes, f"textpl/accepted/{name}", 100) for name in label_names}
    share = {name: float(np.mean([y.mean() for _, y in r])) for name, r in runs.items() if r}
    most = sorted(sorted(share, key=lambda name: -share[name])[:MOST_CURVES], key=list(label_names).index)
    return [Curve(name, STYLES[i][0], DASHES[i % len(DASHES)], runs[name]) for i, name in enumerate(most)]


def reliability_picture(comparison: Comparison) -> Picture:
    """How sure the models are against how often they are right."""
    sides = (
        (comparison.baseline_name, comparison.baseline, ORANGE, "--"),
        (comparison.name, comparison.method, BLUE, "-"),
    )
    curves, errors = [], []
    for name, outcomes, colour, dash in sides:
        pairs = [sureness(o.probabilities, o.gold) for o in outcomes]
        whole = reliability(np.concatenate([p for p, _ in pairs]), np.concatenate([r for _, r in pairs]))
        curves.append(Curve(name, colour, dash, [run for p in pairs if len((run := reliability(*p))[0])], whole))
        errors.append(f"{name} {100 * np.mean([o.calibration_error for o in outcomes]):.1f}")
    what = "labels of rows" if comparison.task == "multi" else "rows"
    text = f"On the dotted line a probability means what it says: of the {what} given 80 %, 80 % are right. Below it "
    text += f"the model is too sure, above it not sure enough. Mean gap, in points: {', '.join(errors)}."
    x = "probability of the label, %" if comparison.task == "multi" else "probability of the chosen label, %"
    svg = curves_svg(curves, "Calibration of both sides", x=x, y="of these right, %", top=102, diagonal=True)
    return {"title": "Can its probabilities be believed?", "text": text, "svg": svg}


def sureness(p: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and whether what they were given to is right; single-label: of the chosen label. Flat arrays."""
    return (p.max(1), p.argmax(1) == gold) if gold.ndim == 1 else (p.ravel(), gold.ravel() == 1)


def reliability(p: np.ndarray, right: np.ndarray) -> Run:
    """Mean probability and share of right ones, in %, in each of ten bins that hold enough."""
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    kept = count >= FEWEST
    sums = (np.bincount(place, values.astype(np.float64), minlength=BINS) for values in (p, right))
    x, y = (100 * total[kept] / count[kept] for total in sums)
    return x, y


def confusion_pictures(comparison: Comparison, label_names: Sequence[str]) -> list[Picture]:
    """Where each side errs: which label is predicted for which; multi-label: beside which."""
    multi = comparison.task == "multi"
    sides = (comparison.baseline_name, comparison.baseline), (comparison.name, comparison.method)
    shares = [np.mean([_confusion(o, len(label_names)) for o in outcomes], axis=0) for _, outcomes in sides]
    wrong = sum(s - np.diag(np.diag(s)) for s in shares)
    ids = np.sort(np.argsort(-(wrong.sum(0) + wrong.sum(1)), kind="stable")[:DRAWN])
    names = [label_names[k] for k in ids]
    text = "Of the test rows whose label is at the left, % that were given the one above; the diagonal is right."
    if multi:
        text = "Of the test rows with the label at the left, % that were wrongly given the one above as well; on the "
        text += "diagonal % that got the label itself."
    text += f" The {DRAWN} labels with the most errors." if len(label_names) > DRAWN else ""
    found = []
    for (name, _), share in zip(sides, shares, strict=True):
        title = f"{'Labels given beside others' if multi else 'Confusions'}: {name}"
        off = share.copy()
        np.fill_diagonal(off, np.nan)
        pairs = [(float(share[i, j]), label_names[i], label_names[j]) for i, j in largest(off)]
        svg = pairs_svg(share[np.ix_(ids, ids)], names, names, title)
        found.append({"title": title, "text": text, "svg": svg, "pairs": pairs})
    return found


def _confusion(outcome: Outcome, count: int) -> np.ndarray:
    """Row shares, float (labels, labels)."""
    gold, predicted = outcome.gold, outcome.predictions
    if gold.ndim == 1:
        table = np.zeros((count, count))
        np.add.at(table, (gold, predicted), 1)
        return table / np.maximum(table.sum(1, keepdims=True), 1)
    rows = np.maximum(gold.sum(0), 1)[:, None]
    beside = gold.T.astype(float) @ (predicted.astype(bool) & (gold == 0)) / rows
    np.fill_diagonal(beside, (gold * predicted).sum(0) / rows[:, 0])
    return beside


def map_picture(comparison: Comparison, label_names: Sequence[str]) -> Picture | None:
    """The test rows as the two models of the first seed see them; None where that was not kept."""
    pair = comparison.baseline[0], comparison.method[0]
    rows = mapped_rows(len(pair[0].gold))
    if any(o.features is None or len(o.features) != len(rows) for o in pair):
        return None
    gold = pair[0].gold[rows]
    groups, ids = shown_labels(gold, len(label_names))
    points = []
    for name, outcome in zip((comparison.baseline_name, comparison.name), pair, strict=True):
        wrong = outcome.predictions[rows] != gold
        if gold.ndim == 2:  # of the label by which it is coloured
            place = np.array([*ids, 0])[groups]
            wrong = np.where((groups >= 0) & (groups < len(ids)), wrong[np.arange(len(rows)), place], wrong.any(1))
        title = f"{name}: {100 * (~wrong).mean():.0f} % right"
        points.append(Points(title, layout(outcome.features), groups, wrong))  # type: ignore[arg-type]
    text = (
        f"{len(rows):,} test texts, seed {pair[0].seed}, as the last layer of each model sees them (t-SNE). Near means "
    )
    text += "similar to the model; colour and shape are the right label"
    text += ", for a row with several the rarest of them" if gold.ndim == 2 else ""
    text += "; a ring marks what the model gets wrong. Groups of one colour, well apart, are what a classifier "
    text += "wants; distances between groups mean nothing."
    what = "Test rows in the space of both models, coloured by label"
    svg: Markup = map_svg(points, [label_names[k] for k in ids], what)
    return {"title": "The test texts as both models see them", "text": text, "svg": svg}
