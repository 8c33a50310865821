"""The stage `clean` of a recipe: the labelled rows are cleaned before a model is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from textpl.atomic_files import write_json
from textpl.corpus import Corpus
from textpl.evaluation import scores
from textpl.label_issues.find import find_label_issues
from textpl.label_issues.report import LabelReport
from textpl.reading.label_format import ENCODED
from textpl.reading.labels import label_array
from textpl.recipes.parsing import LoadedRecipe
from textpl.recipes.running.noisy_corpus import TRUTH
from textpl.recipes.running.reading import groups_of
from textpl.recipes.running.stage_encoder import stage_encoder
from textpl.splits import Split


def find_issues(loaded: LoadedRecipe, corpus: Corpus, split: Split) -> LabelReport:
    """What is wrong with the labelled rows of a split; columns other than text and label play no part."""
    wanted = loaded.recipe.clean
    return find_label_issues(
        split.labeled.select_columns(["text", "label"]),
        encoder=stage_encoder(loaded, wanted.encoder),
        label_names=list(corpus.label_names),
        label_format=ENCODED,
        noise=wanted.noise,
        groups=groups_of(loaded.recipe, split.labeled),
        seed=split.seed,
        progress=False,
    )


def clean_rows(loaded: LoadedRecipe, corpus: Corpus, split: Split, file: Path, say: Callable[[str], None]) -> Dataset:
    """The labelled rows of a split with corrected labels and weights.

    What was found, and how good it is where the right labels are known, is written to `file`: whoever resumes the run
    reads there what was trained on.
    """
    wanted = loaded.recipe.clean
    report = find_issues(loaded, corpus, split)
    thresholds = (wanted.relabel, wanted.drop, wanted.downweight)
    plan, rows = report.plan(*thresholds), report.apply(*thresholds)
    right = against_truth(report, rows, split)
    say(f"seed {split.seed}: {plan.summary()}{_told(right)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    applied = {"apply": {**plan.counts(), "right_labels_changed": round(plan.right_changed, 5)}}
    content = {"seed": split.seed, **report.to_dict(), **applied, **({"against_truth": right} if right else {})}
    write_json(file, content)
    return rows


def against_truth(report: LabelReport, rows: Dataset, split: Split) -> dict[str, Any]:
    """How good the cleaning is, in points; nothing where the right labels are not known.

    Args:
        report: of the labelled rows.
        rows: them after cleaning.
        split: them before; with a column `true_label` where that is known.

    Returns:
        dict: `errors` (wrong cells, or rows), `flagged`, `precision` and `recall` of the flags, and scores of the
            labels `given` and `cleaned`, the latter of the cells (rows) that keep a weight.
    """
    if TRUTH not in split.labeled.column_names:
        return {}
    truth = label_array(split.labeled, TRUTH).astype(np.int64)
    given, flagged = report.given.astype(np.int64), report.flagged
    wrong = given != truth
    hit = int((wrong & flagged).sum())
    kept, cleaned = np.asarray(rows["label_weight"][:]) > 0, label_array(rows).astype(np.int64)
    # A masked cell teaches nothing: it is neither found nor missed.
    after = (cleaned[kept], truth[kept]) if kept.ndim == 1 else (cleaned * kept, truth * kept)
    return {
        "errors": int(wrong.sum()),
        "flagged": int(flagged.sum()),
        "precision": 100 * hit / max(int(flagged.sum()), 1),
        "recall": 100 * hit / max(int(wrong.sum()), 1),
        "given": {name: 100 * value for name, value in scores(given, truth).items()},
        "cleaned": {name: 100 * value for name, value in scores(*after).items()},
    }


def _told(right: dict[str, Any]) -> str:
    if not right:
        return ""
    return f". Of the flags {right['precision']:.1f} % are errors, {right['recall']:.1f} % of all {right['errors']:,}"
