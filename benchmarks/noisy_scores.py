"""How good is a classifier, where the labels of the test rows are wrong too: do the intervals hold the truth?

    python benchmarks/noisy_scores.py --data ../shared/data
    python benchmarks/noisy_scores.py --data ../shared/data --corpora noisy_agnews --noise human --rows 500 --draws 1
    python benchmarks/noisy_scores.py --table                 # markdown of what is finished

A case is (corpus, noise, test rows, draw), stored as one JSON file and skipped when it is there. Test rows are drawn
from train.parquet (repeated texts left out), models are trained on up to 6,000 others. Their labels are noisy alike:
`human` is noisy_agnews as annotated, `weak` youtube_weak's majority of rules (rows with one); the others are injected
(`textpl.cleaning.injection`) with the rate in per cent. The right labels are known and are what an interval must hold.

Models: logistic regressions on embeddings of the default encoder (cached), trained on noisy labels (`noisy`), on right
ones (`right`), on the first 40 noisy rows (150 for several labels: `bad`); and on TF-IDF with noisy labels (`tfidf`).
Cuts of several labels: .4. The report is `find_label_issues` on the test rows; for `noisy, own` it got the judged
model's probabilities as `pred_probs`, so that report and model make the same mistakes.

Without review one interval per model and case. With 100, 200 and 400 random rows answered by the truth, 40 samples
each. Table: mean of |score against given labels - score against right ones|; share of intervals that hold the score
against the right labels, and their mean width; the same from the reviewed rows alone, without the report. In points.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from datasets import Dataset
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

import textpl
from textpl.cleaning.injection import inject_noise
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import unit_rows
from textpl.evaluation import decide, score
from textpl.label_issues.report import LabelReport
from textpl.noisy_scores.estimates import Metric, estimated

OUT = Path(__file__).parent / "out" / "noisy_scores"
NOISE = {
    "noisy_agnews": ("human", "symmetric20", "swap20", "none"),
    "semeval2018_ec": ("missing30", "spurious20", "symmetric10", "swap20", "none"),
    "newsgroups20": ("symmetric20", "swap20", "none"),
    "sst2": ("symmetric20", "none"),
    "youtube_weak": ("weak",),
}
TRAINED, FEW, CUT, REVIEWED, SAMPLES = 6000, (40, 150), 0.4, (100, 200, 400), 40


class Corpus(NamedTuple):
    """Rows with right labels, and noisy ones where the corpus has them."""

    texts: list[str]
    vectors: np.ndarray
    truth: np.ndarray
    given: np.ndarray | None
    names: list[str]


def load(folder: Path) -> Corpus:
    """Distinct texts of train.parquet, encoded."""
    frame = pd.read_parquet(folder / "train.parquet").drop_duplicates("text")
    if "label_weak" in frame:
        frame = frame[frame["label_weak"] >= 0]
    texts, names = frame["text"].tolist(), json.loads((folder / "info.json").read_text())["label_names"]
    vectors = unit_rows(encode_cached(get_encoder(DEFAULT_ENCODER), texts))
    if "labels" in frame:
        truth = np.zeros((len(frame), len(names)), np.int8)
        for row, ids in enumerate(frame["labels"]):
            truth[row, list(ids)] = 1
        return Corpus(texts, vectors, truth, None, names)
    label, given = frame["label"].to_numpy(), None
    if "label_true" in frame:
        label, given = frame["label_true"].to_numpy(), label
    elif "label_weak" in frame:
        given = frame["label_weak"].to_numpy()
    return Corpus(texts, vectors, label, given, names)


def noisy_labels(corpus: Corpus, noise: str, seed: int) -> np.ndarray:
    """The labels of all rows as given."""
    if noise in ("human", "weak"):
        assert corpus.given is not None
        return corpus.given
    kind = noise.rstrip("0123456789")
    if kind == "none":
        return corpus.truth
    return inject_noise(corpus.truth, kind, int(noise[len(kind) :]) / 100, vectors=corpus.vectors, seed=seed)


def fitted(x: Any, labels: np.ndarray, test: Any, size: int) -> np.ndarray:
    """Probabilities (test rows, size) by logistic regression; a label that is never given gets 0."""
    p = np.zeros((test.shape[0], size))
    if labels.ndim == 1:
        model = LogisticRegression(C=10, max_iter=300).fit(x, labels)
        p[:, model.classes_] = model.predict_proba(test)
        return p
    for label in np.flatnonzero(labels.any(0)):
        p[:, label] = LogisticRegression(C=10, max_iter=300).fit(x, labels[:, label]).predict_proba(test)[:, 1]
    return p


def models(corpus: Corpus, given: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """Probabilities of the test rows, by the name of the model."""
    size, few = len(corpus.names), train[: FEW[given.ndim - 1]]
    words = TfidfVectorizer(sublinear_tf=True, min_df=2)
    x: csr_matrix = words.fit_transform([corpus.texts[i] for i in train])
    there, outside = corpus.vectors[train], corpus.vectors[test]
    return {
        "noisy": fitted(there, given[train], outside, size),
        "right": fitted(there, corpus.truth[train], outside, size),
        "tfidf": fitted(x, given[train], words.transform([corpus.texts[i] for i in test]), size),
        "bad": fitted(corpus.vectors[few], given[few], outside, size),
    }


def run_case(corpus: Corpus, noise: str, rows: int, draw: int) -> dict[str, Any]:
    """Every model and metric of one case."""
    given = noisy_labels(corpus, noise, draw)
    order = np.random.default_rng(100 + draw).permutation(len(corpus.texts))
    test, train = order[:rows], order[rows : rows + TRAINED]
    truth, judged = corpus.truth[test], models(corpus, given, train, test)
    texts, vectors = Dataset.from_dict({"text": [corpus.texts[i] for i in test]}), corpus.vectors[test]

    def report(pred_probs: np.ndarray | None = None) -> LabelReport:
        names = [str(k) for k in range(len(corpus.names))]
        labels = given[test] if given.ndim == 2 else [names[k] for k in given[test]]
        bring = {"embeddings": vectors, "pred_probs": pred_probs, "label_names": names, "progress": False}
        return textpl.find_label_issues(texts, labels=labels, **bring)

    plain = report()
    sides = {name: (plain, p) for name, p in judged.items()}
    sides["noisy, own"] = report(judged["noisy"]), judged["noisy"]
    found = {name: judge(*side, truth, 1000 * draw + rows) for name, side in sides.items()}
    return {
        "wrong": float((given[test] != truth).mean()),
        "expected": plain.expected_errors / given[test].size,
        "models": found,
    }


def judge(report: LabelReport, p: np.ndarray, truth: np.ndarray, seed: int) -> dict[str, Any]:
    """One model: scores against both labels, bounds without review, and what samples of reviewed rows give."""
    problem = "multi_label_classification" if report.multi else "single_label_classification"
    predicted, size = decide(p, problem, CUT), p.shape[1]
    bounds = textpl.noise_corrected_scores(p, report, thresholds=CUT)
    found: dict[str, Any] = {"most_wrong": bounds.most_wrong, "metrics": {}, "labels": defaultdict(list)}
    for one in bounds.scores:
        true = score(predicted, truth, one.name)
        found["metrics"][one.name] = {
            "given": one.given, "true": true, "believed": one.estimate, "low": one.low, "high": one.high,
            "planned": bounds.rows_to_review(0.05, one.name), "reviewed": defaultdict(list),
        }  # fmt: skip
    hot = [labels if report.multi else np.eye(size)[labels] for labels in (predicted, truth)]
    rng, alone = np.random.default_rng(seed), np.zeros(p.shape)
    first = Metric("micro_f1", "micro") if report.multi else Metric("accuracy", "accuracy")
    every = Metric("macro_f1", "mean", np.full(size, 1 / size))
    for count in (c for c in REVIEWED if c < len(truth)):
        for _ in range(SAMPLES):
            rows = rng.choice(len(truth), count, replace=False)
            told = textpl.noise_corrected_scores(
                p, report, thresholds=CUT, trusted_rows=rows, trusted_labels=truth[rows]
            )
            for metric in (first, every):
                one, record = told[metric.name], found["metrics"][metric.name]
                value, low, high, _ = estimated(metric, hot[0], alone, rows, hot[1][rows], 0.95, multi=report.multi)
                record["reviewed"][count].append([one.estimate, one.low, one.high, value, low, high])
            for k, one in enumerate(told.labels):
                if one.high - one.low < 1:
                    hits = 2 * (hot[0] * hot[1])[:, k].sum() / max((hot[0] + hot[1])[:, k].sum(), 1)
                    found["labels"][count].append(bool(one.low <= hits <= one.high))
    return found


def table(folder: Path, metric: str) -> str:
    """Markdown, all models together; what the reviewed rows give with the report and (alone) without it."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        case = json.loads(path.read_text())
        groups[case["corpus"], case["noise"], case["rows"]].append(case)
    several = " | ".join(f"{m} reviewed: covered, width, error (alone: covered, width)" for m in REVIEWED)
    lines = [
        f"| corpus | noise | rows | wrong, % | {metric}: given off by | report alone off by | not reviewed: covered, "
        f"width | {several} |",
        "|--|--|--|--|--|--|--|" + "--|" * len(REVIEWED),
    ]
    for (corpus, noise, rows), cases in sorted(groups.items()):
        every = [m for case in cases for m in case["models"].values()]
        records = [m["metrics"].get(metric) or m["metrics"]["micro_f1"] for m in every]
        off = [100 * np.mean([abs(r[key] - r["true"]) for r in records]) for key in ("given", "believed")]
        held, width = (100 * np.mean(v) for v in zip(*((_holds(r, r["true"])) for r in records), strict=True))
        cells = [f"{100 * np.mean([c['wrong'] for c in cases]):.1f}", *(f"{o:.1f}" for o in off)]
        cells.append(f"{held:.0f} %, {width:.0f}")
        cells += [_reviewed(records, str(count)) for count in REVIEWED]
        lines.append(f"| {corpus} | {noise} | {rows:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def by_model(folder: Path, metric: str) -> str:
    """Markdown, one line per corpus, noise and model: means over sizes and draws."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        case = json.loads(path.read_text())
        for name, model in case["models"].items():
            record = model["metrics"].get(metric) or model["metrics"]["micro_f1"]
            groups[case["corpus"], case["noise"], name].append(record)
    lines = [
        f"| corpus | noise | model | {metric}: given | right | report alone | not reviewed: covered, worst and best | "
        "200 reviewed: covered, width, error (alone: covered, width) |",
        "|--|--|--|--|--|--|--|--|",
    ]
    for key, records in groups.items():
        given, true, believed, low, high = (
            100 * np.mean([r[k] for r in records]) for k in ("given", "true", "believed", "low", "high")
        )
        held = 100 * np.mean([_holds(r, r["true"])[0] for r in records])
        cells = f"{given:.1f} | {true:.1f} | {believed:.1f} | {held:.0f} %, {low:.0f} to {high:.0f}"
        lines.append(f"| {' | '.join(key)} | {cells} | {_reviewed(records, '200')} |")
    return "\n".join(lines)


def _holds(record: dict[str, Any], true: float) -> tuple[bool, float]:
    return record["low"] <= true <= record["high"], record["high"] - record["low"]


def _reviewed(records: list[dict[str, Any]], count: str) -> str:
    drawn = [(r["true"], np.array(r["reviewed"][count])) for r in records if r["reviewed"].get(count)]
    if not drawn:
        return "-"
    true = np.concatenate([np.full(len(found), value) for value, found in drawn])
    value, low, high, _, low_alone, high_alone = np.concatenate([found for _, found in drawn]).T
    told = [
        f"{100 * np.mean((low - 1e-9 <= true) & (true <= high + 1e-9)):.0f} %, {100 * np.mean(high - low):.1f}"
        for low, high in ((low, high), (low_alone, high_alone))
    ]
    return f"{told[0]}, {100 * np.mean(np.abs(value - true)):.1f} ({told[1]})"


def labels_covered(folder: Path) -> str:
    """How often the interval of a label's F1 held it, where there was one."""
    found: dict[str, list[bool]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        case = json.loads(path.read_text())
        for model in case["models"].values():
            for hits in model["labels"].values():
                found[case["corpus"]] += hits
    parts = [f"{name} {100 * np.mean(hits):.0f} % of {len(hits):,}" for name, hits in found.items()]
    return "F1 of single labels, intervals that hold it: " + "; ".join(parts)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data folders")
    parser.add_argument("--corpora", default=",".join(NOISE))
    parser.add_argument("--noise", help="comma-separated; default: all kinds for the corpus")
    parser.add_argument("--rows", default="500,1500,4000")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        for metric in ("accuracy", "macro_f1"):
            print(table(arguments.out, metric), by_model(arguments.out, metric), sep="\n\n", end="\n\n")
        print(labels_covered(arguments.out))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.corpora.split(","):
        corpus = load(arguments.data / name)
        kinds = arguments.noise.split(",") if arguments.noise else NOISE[name]
        for draw in range(arguments.draws):
            for kind in kinds:
                for rows in map(int, arguments.rows.split(",")):
                    path = arguments.out / f"{name}-{kind}-{rows}-{draw}.json"
                    if path.exists() or rows > 0.6 * len(corpus.texts):
                        continue
                    start = time.perf_counter()
                    case = run_case(corpus, kind, rows, draw)
                    case = {"corpus": name, "noise": kind, "rows": rows, "draw": draw, **case}
                    path.with_suffix(".partial").write_text(json.dumps(case))
                    path.with_suffix(".partial").rename(path)
                    print(f"{path.stem}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
