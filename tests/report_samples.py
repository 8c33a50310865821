"""Small reports to look at: of a comparison, of labels from embeddings and of a cleaned corpus, with hostile texts."""

from __future__ import annotations

import numpy as np
from datasets import Dataset
from test_cleaning_page import EVIL, report

from textpl.comparison import Arm, Comparison
from textpl.embeddings.mapped import mapped_rows
from textpl.evaluation import decide, expected_calibration_error, paired_difference, scores
from textpl.labeling import label
from textpl.outcomes import Outcome
from textpl.reports.cleaning_page import cleaning_page
from textpl.reports.label_page import label_page
from textpl.reports.run_page import RunFacts, run_page

NAMES = ("joy", "开心", f"{EVIL}'\"&")


def outcome(seed, skill, gold, history):
    """A model that is right the more often the larger its skill."""
    rng = np.random.default_rng(seed)
    hot = np.eye(len(NAMES))[gold] if gold.ndim == 1 else gold
    p = rng.random(hot.shape) + skill * hot
    p = p / p.sum(1, keepdims=True) if gold.ndim == 1 else p / p.max()
    kind = "single_label_classification" if gold.ndim == 1 else "multi_label_classification"
    predictions = decide(p, kind)
    return Outcome(
        seed=seed,
        probabilities=p.astype(np.float32),
        gold=gold,
        predictions=predictions,
        scores=scores(predictions, gold),
        thresholds=None,
        calibration_error=expected_calibration_error(p, gold, kind),
        steps=30,
        seconds=4.0,
        token_passes=1000,
        labeled_passes=500,
        history=history,
        features=(hot + rng.normal(size=hot.shape) / 3)[mapped_rows(len(hot))].astype(np.float16),
    )


def comparison(multi=False, rows=40, seeds=(0, 1), pool=True, name="softmatch", skill=0.8):
    """Labels-only against something better, as `textpl.compare` gives it."""
    rng = np.random.default_rng(5)
    gold = (rng.random((rows, 3)) < 0.4).astype(np.int64) if multi else rng.integers(0, 3, rows)
    plain = [{"step": step, "loss": 1 / step} for step in (10, 20, 30)]
    more = {"textpl/mask_rate": 0.4, "textpl/precision": 0.8} | {f"textpl/accepted/{n}": 1 / 3 for n in NAMES}
    with_pool = [entry | more for entry in plain] if pool else plain
    before = [outcome(seed, 0.4, gold, plain) for seed in seeds]
    after = [outcome(seed + 10, skill, gold, with_pool) for seed in seeds]
    metric = "macro_f1" if multi else "accuracy"
    sides = [[o.predictions for o in side] for side in (before, after)]
    interval = paired_difference(*sides, [gold for _ in seeds], metric)
    return Comparison(
        "multi" if multi else "single", metric, name, after, (Arm("labels only", "as given", before, interval),)
    )


def run_report(compared, **more):
    """The page of `textpl run`."""
    rows = len(compared.method[0].gold)
    results = compared.to_dict() | {
        "recipe": f"recipe {EVIL}",
        "command": f"textpl run '{EVIL}'",
        "versions": {"textpl": "0.1", "device": "cpu (x86_64)"},
        "data": {
            "source": EVIL,
            "revision": None,
            "splits": [{"sizes": {"labeled": 8, "pool": 100, "test": rows}} for _ in compared.method],
        },
        **more,
    }
    texts = [f"{EVIL} text {i}" for i in range(rows)]
    facts = RunFacts("Did the unlabelled text help?", f"tiny {EVIL}", "some/model", NAMES, texts, f"data: {EVIL}")
    return run_page(compared, results, facts)


def found_labels(multi=False):
    """Labels found by `textpl.label`, with a script in every text."""
    topics = (("tea pot kettle", "rain coat storm", "goal ball match"), ("hot", "cold", "old", "new", "red", "big"))
    rows = [(f"{word} {topic} {EVIL}", k) for word in topics[1] for k, topic in enumerate(topics[0])]
    known = {"text": [text for text, _ in rows], "label": [[NAMES[k]] if multi else NAMES[k] for _, k in rows]}
    pool = {"text": [f"my {word} {topic} {EVIL}" for word in topics[1] for topic in topics[0]] + [""]}
    known, pool = Dataset.from_dict(known), Dataset.from_dict(pool)
    return label(known, pool, encoder="lsa", label_names=list(NAMES), method="linear", progress=False)


def pages():
    """Every kind of page by name."""
    found = report()
    return {
        "run": run_report(comparison()),
        "run-multi": run_report(comparison(multi=True, seeds=(0,))),
        "label": label_page(found_labels(), title=EVIL, command=f"textpl label '{EVIL}'"),
        "clean": cleaning_page(found, rates=found.noise_rates(), title=EVIL, command=f"textpl clean '{EVIL}'"),
    }
