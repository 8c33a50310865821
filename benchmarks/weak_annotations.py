"""What a second opinion is worth: simulated annotators in cleaning, and the rules of youtube_weak from votes to labels.

    python benchmarks/weak_annotations.py --data ../shared/data                      # all parts
    python benchmarks/weak_annotations.py --data ../shared/data --parts noisy_agnews
    python benchmarks/weak_annotations.py --data ../shared/data --parts youtube_weak
    python benchmarks/weak_annotations.py --table                                    # markdown of what is finished

noisy_agnews, semeval2018_ec: wrong labels are looked for without and with one annotator. AG News has the errors of its
human annotators (19.8 %), SemEval loses and gains labels (`label_noise.py`, mixed). One report per corpus, without
annotators, is made and kept; a cell is (corpus, annotator, seed), the seed drawing the annotator's errors, stored as
one JSON file and skipped when it is there. Errors do not depend on the given labels, but for "copy", which repeats
them, and "half copy". Annotators of AG News name the right class in a share of the rows; else any other class
("uniform") or the one that the classifier confuses it with most ("confused"); "hard texts": errors fall where the
classifier doubts the right class, in proportion, on the class that it likes most of the others, so that (1) of
docs/annotations.md does not hold; "classifier": it says what the classifier says; "word classifier": a logistic
regression on tf-idf of words, cross-fitted on the same wrong labels (these three: AG News only). Of SemEval, a label
that is right is named with that chance, and else, in its place, any other label or the one most confused with it.
"always one" says one class, or no label, in all rows.

AP: average precision of finding wrong rows (cells), over all of them, reviewed ones among them. Right: share of right
labels after `apply()`. Reviews: the first 100 of the review queue (as with `textpl clean`), answered by the truth.

youtube_weak: ten rules, each for one class or silent. Gold rows are drawn at random, five draws; accuracy on all other
rows of train, and on the test rows of a logistic regression on the embeddings, trained on those labels and the gold
rows. Rows on which no rule speaks, and ties, go to the class that is more frequent in the gold rows for "majority
vote". "rules and graph" is `textpl.label(..., annotations="weak_labels")`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from label_noise import multi_label_noise
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

import textpl
from textpl.annotations.confusion import estimate_confusion
from textpl.annotations.reading import read_annotations
from textpl.cleaning.opinions import with_opinions
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import unit_rows
from textpl.label_issues.decisions import Decision

OUT = Path(__file__).parent / "out" / "weak_annotations"
CLEANED = ("noisy_agnews", "semeval2018_ec")
NOISE = "mixed"  # of SemEval
REVIEWS = 100
ACCURACIES = (0.6, 0.75, 0.8, 0.9)
ANNOTATORS = (
    "none",
    *(f"{kind} {accuracy}" for accuracy in ACCURACIES for kind in ("uniform", "confused")),
    "hard texts 0.8",
    "hard texts 0.9",
    "always one",
    "copy",
    "half copy",
    "classifier",
    "word classifier",
)
SINGLE_LABEL = ("hard texts", "classifier", "word classifier")  # kinds
GOLD = (40, 100)


def load(data, name):
    """Dataset with text and right labels as arrays, given ones, and names of labels."""
    folder = data / name
    names = json.loads((folder / "info.json").read_text())["label_names"]
    frame = pd.read_parquet(folder / "train.parquet")
    if "label_true" in frame:
        return frame.text.tolist(), frame.label_true.to_numpy(), frame.label.to_numpy(), names
    truth = np.zeros((len(frame), len(names)), dtype=np.int8)
    for row, ids in enumerate(frame.labels):
        truth[row, list(ids)] = 1
    vectors = unit_rows(encode_cached(get_encoder(DEFAULT_ENCODER), frame.text.tolist()))
    return frame.text.tolist(), truth, multi_label_noise(truth, NOISE, vectors, 0), names


def base_report(name, texts, given, names):
    """The report without annotators, made once."""
    folder = OUT / f"report-{name}"
    if not (folder / "report.json").exists():
        labels = given if given.ndim == 2 else [names[k] for k in given]
        found = textpl.find_label_issues(Dataset.from_dict({"text": texts}), labels=labels, label_names=names)
        found.save(folder)
    return textpl.LabelReport.load(folder)


def answers_of(kind, truth, given, report, rng, texts):
    """What a simulated annotator says: ids, or lists of ids."""
    what, _, accuracy = kind.rpartition(" ")
    multi, rows = truth.ndim == 2, len(truth)
    if kind == "copy":
        return given
    if kind == "half copy":
        own = answers_of("uniform 0.8", truth, given, report, rng, texts)
        copied = rng.random(rows) < 0.5
        return np.where(copied[:, None] if multi else copied, given, own)
    if kind == "always one":
        return np.zeros_like(truth)
    if kind == "classifier":
        return report.found.evidence["model"].argmax(1)
    if kind == "word classifier":
        words = TfidfVectorizer(min_df=3, sublinear_tf=True, max_features=20_000).fit_transform(texts)
        folds = StratifiedKFold(3, shuffle=True, random_state=int(rng.integers(1000)))
        return cross_val_predict(LogisticRegression(), words, given, cv=folds)
    likely = report.found.p_true.astype(float)
    size = likely.shape[1]
    if what == "hard texts":
        p = report.found.evidence["model"].astype(float)
        doubt = 1 - p[np.arange(rows), truth] + 1e-3
        wrong = rng.choice(rows, round(rows * (1 - float(accuracy))), replace=False, p=doubt / doubt.sum())
        p[np.arange(rows), truth] = -1
        said = truth.copy()
        said[wrong] = p[wrong].argmax(1)
        return said
    hot = truth if multi else np.eye(size)[truth]
    mixed = hot.T @ likely / np.maximum(hot.sum(0)[:, None], 1)  # how likely others are where a label is right
    if multi:
        mixed /= likely.mean(0)
    np.fill_diagonal(mixed, -1)
    other = mixed.argmax(1)
    if not multi:
        wrong = other[truth] if what == "confused" else (truth + rng.integers(1, size, rows)) % size
        return np.where(rng.random(rows) < float(accuracy), truth, wrong)
    said = truth * (rng.random(truth.shape) < float(accuracy))
    for row, label in np.argwhere((truth == 1) & (said == 0)):
        said[row, other[label] if what == "confused" else rng.integers(size)] = 1
    return said


def measured(report, truth, given, names):
    """AP and share of right labels, before and after the first reviews."""
    multi = given.ndim == 2
    queue = report.review_queue(REVIEWS)
    if multi:
        places = zip(queue.rows.tolist(), queue.labels.tolist(), strict=True)
        decisions = [Decision(row, report.label_names[k], bool(truth[row, k])) for row, k in places]
    else:
        decisions = [Decision(row, names[truth[row]]) for row in queue.rows.tolist()]
    record = {}
    for when, found in (("alone", report), ("reviewed", report.apply_review(decisions))):
        record[when] = {
            "ap": float(average_precision_score((given != truth).ravel(), found.p_error.ravel())),
            "right": float((found.suggested == truth).mean()),
            "expected": found.expected_errors,
        }
    return record


def run_cleaning(args, name):
    """Every cell of a corpus that is not stored yet."""
    cells = [(kind, seed) for seed in args.seeds for kind in ANNOTATORS if kind != "none" or seed == args.seeds[0]]
    cells = [cell for cell in cells if not file_of(name, *cell).exists()]
    if not cells:
        return
    texts, truth, given, names = load(args.data, name)
    if truth.ndim == 2:
        cells = [cell for cell in cells if not cell[0].startswith(SINGLE_LABEL)]
    report = base_report(name, texts, given, names)
    for kind, seed in cells:
        start = time.perf_counter()
        found, record = report, {"corpus": name, "annotator": kind, "seed": seed, "errors": int((given != truth).sum())}
        record["given_right"] = float((given == truth).mean())
        if kind != "none":
            said = answers_of(kind, truth, given, report, np.random.default_rng(100 + seed), texts)
            record["annotator_right"] = float((said == truth).mean())
            read = read_annotations(
                {kind: said.tolist()}, None, report.label_names, multi=given.ndim == 2, rows=len(given)
            )
            found = textpl.LabelReport(with_opinions(report.found, given, read), given, report.label_names)
            record["told"] = found.detection.info["annotators"][0]["told"]
        record |= measured(found, truth, given, names)
        store(file_of(name, kind, seed), record)
        shown = {when: {k: round(v, 3) for k, v in record[when].items()} for when in ("alone", "reviewed")}
        print(name, kind, seed, f"{time.perf_counter() - start:.0f} s", shown, flush=True)


def run_rules(args):
    """Every draw of gold rows of youtube_weak that is not stored yet."""
    folder = args.data / "youtube_weak"
    train, test = (pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "test"))
    names = ["HAM", "SPAM"]
    coder = get_encoder(DEFAULT_ENCODER)
    vectors = unit_rows(encode_cached(coder, train.text.tolist() + test.text.tolist()))
    vectors = centered_rows(vectors)
    x, z = vectors[: len(train)], vectors[len(train) :]
    truth = train.label.to_numpy()
    votes = np.stack(train.weak_labels.to_numpy())
    rows = Dataset.from_dict(
        {"text": train.text.tolist(), "label": [names[k] for k in truth], "weak_labels": votes.tolist()}
    )
    for gold_rows in GOLD:
        for seed in args.seeds:
            file = file_of("youtube_weak", f"{gold_rows} gold", seed)
            if file.exists():
                continue
            known = np.zeros(len(train), dtype=bool)
            known[np.random.default_rng(seed).choice(len(train), gold_rows, replace=False)] = True
            shares = (np.bincount(truth[known], minlength=2) + 1) / (gold_rows + 2)
            count = np.stack([(votes == k).sum(1) for k in (0, 1)], 1)
            majority = np.where(count[:, 0] == count[:, 1], shares.argmax(), count.argmax(1))
            read = read_annotations("weak_labels", rows, names, multi=False)
            prior = np.tile(shares, (len(train), 1))
            blind = estimate_confusion(read, np.full_like(prior, 0.5), np.eye(2)[truth], known & False, multi=False)
            seen = estimate_confusion(read, prior, np.eye(2)[truth], known, multi=False)
            labeled, pool = rows.select(np.flatnonzero(known)), rows.select(np.flatnonzero(~known))
            soft = {
                "majority vote": np.eye(2)[majority][~known],
                "Dawid and Skene, no gold row": blind.p[~known],
                "rules weighed by the gold rows": seen.p[~known],
            }
            for arm, settings in (("graph", {}), ("rules and graph", {"annotations": "weak_labels"})):
                found = textpl.label(labeled, pool, label_names=names, progress=False, **settings)
                soft[arm] = np.asarray(found.probabilities)
            record = {"part": "youtube_weak", "gold": gold_rows, "seed": seed, "labels": {}, "test": {}}
            for arm, p in soft.items():
                record["labels"][arm] = float((p.argmax(1) == truth[~known]).mean())
                record["test"][arm] = trained(x, truth, known, p, z, test.label.to_numpy())
            record["test"]["gold rows only"] = trained(x, truth, known, None, z, test.label.to_numpy())
            record["test"]["all rows, right labels"] = trained(x, truth, known | True, None, z, test.label.to_numpy())
            store(file, record)
            print("youtube_weak", gold_rows, seed, record["labels"], record["test"], flush=True)


def trained(x, truth, known, p, z, test):
    """Test accuracy of a logistic regression on gold rows and, weighted by their probabilities, on soft labels."""
    features, labels, weights = [x[known]], [truth[known]], [np.ones(known.sum())]
    if p is not None:
        for k in range(p.shape[1]):
            features, labels = [*features, x[~known]], [*labels, np.full(len(p), k)]
            weights = [*weights, p[:, k]]
    model = LogisticRegression(max_iter=1000)
    model.fit(np.concatenate(features), np.concatenate(labels), sample_weight=np.concatenate(weights))
    return float((model.predict(z) == test).mean())


def file_of(name, kind, seed):
    """Where a cell is stored."""
    return OUT / f"cell-{name}-{kind.replace(' ', '_')}-{seed}.json"


def store(file, record):
    """Write all of it or nothing."""
    file.with_suffix(".partial").write_text(json.dumps(record))
    file.with_suffix(".partial").rename(file)


def told(values, points=100):
    """Mean, standard deviation and worst."""
    values = points * np.array(values)
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f} ({values.min():.1f})"


def table():
    """Every finished cell as markdown."""
    records = [json.loads(file.read_text()) for file in sorted(OUT.glob("cell-*.json"))]
    for name in CLEANED:
        found = [r for r in records if r.get("corpus") == name]
        if not found:
            continue
        print(f"\n{name}: {100 * found[0]['given_right']:.1f} % of the given labels are right\n")
        print("| annotator | AP | right | AP, 100 reviews | right, 100 reviews |\n|--|--:|--:|--:|--:|")
        for kind in ANNOTATORS:
            some = [r for r in found if r["annotator"] == kind]
            if some:
                cells = [
                    told([r[when][what] for r in some]) for when in ("alone", "reviewed") for what in ("ap", "right")
                ]
                print(f"| {kind} | " + " | ".join(cells) + " |")
    for gold in GOLD:
        found = [r for r in records if r.get("part") == "youtube_weak" and r["gold"] == gold]
        if found:
            print(f"\nyoutube_weak, {gold} gold rows, {len(found)} draws\n")
            print("| labels by | right on the other train rows | test accuracy after training on them |\n|--|--:|--:|")
            for arm in found[0]["test"]:
                labels = told([r["labels"][arm] for r in found]) if arm in found[0]["labels"] else ""
                print(f"| {arm} | {labels} | {told([r['test'][arm] for r in found])} |")


def main():
    """Run what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--parts", nargs="+", choices=[*CLEANED, "youtube_weak"], default=[*CLEANED, "youtube_weak"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--table", action="store_true", help="only print what is there")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    if not args.table:
        for part in args.parts:
            if part == "youtube_weak":
                run_rules(args)
            else:
                run_cleaning(args, part)
    table()


if __name__ == "__main__":
    main()
