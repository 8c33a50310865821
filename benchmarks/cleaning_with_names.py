"""Do the names or descriptions of labels help to find wrong labels, as one more annotator? They do not.

    python benchmarks/cleaning_with_names.py --data ../shared/data                       # all, an hour or more
    python benchmarks/cleaning_with_names.py --data ../shared/data --cases noisy_agnews:human --seeds 0,1
    python benchmarks/cleaning_with_names.py --table                                     # markdown of what is finished

A case is a corpus with its noise: noisy_agnews has the errors of its human annotators, and a draw is 5,000 of its rows;
semeval2018_ec gets errors injected (`label_noise.py`), and a draw is their seed. Each draw is examined once without
descriptions, as by `textpl.find_label_issues`, and then with each wording of `label_wordings.json` (written before any
result) as an annotator whose confusion is estimated, as `annotations=` does it: its probability of label k is
softmax_k(s x.n_k), with several labels per row sigmoid(s x.n_k + b_k) at the rate at which label k is given, x being a
text's vector around the mean, n_k the direction of the label's descriptions and s the weight that `textpl.label` takes.
Useless ones: "shuffled", the two descriptions of each label given to another one (a table of confusion can undo that),
and "unrelated", those of labels of another corpus. A result is one JSON file, skipped when it is there.

`--stacked`: instead, log probabilities of the classifier and of the descriptions go into a cross-fitted logistic
regression of the given labels, and errors are looked for by what comes out; "alone" is without the descriptions.

AP: average precision of finding wrong rows (cells) by `p_error`. Right: share of right labels after `apply()`, which
corrects rows of one label and masks cells of several, and so changes no share there. In the table, means over the
draws, and of the difference to "none" the standard deviation and the worst draw, in points.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from label_noise import multi_label_noise
from scipy.special import expit, logit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

import textpl
from textpl.annotations.annotation import as_cells
from textpl.cleaning.multi_label import detect as detect_cells
from textpl.cleaning.opinions import with_opinions
from textpl.cleaning.single_label import detect as detect_rows
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows, common_part
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.label_descriptions import read_descriptions
from textpl.label_issues.groups import kept_apart
from textpl.relabeling.label_names import name_vectors
from textpl.relabeling.name_weight import DEFAULT_WEIGHT
from textpl.relabeling.priors import shifted_to_rates

OUT = Path(__file__).parent / "out" / "cleaning_with_names"
CASES = "noisy_agnews:human,semeval2018_ec:missing30,semeval2018_ec:mixed"
ROWS = 5_000  # of a draw of noisy_agnews
ALL = json.loads((Path(__file__).parent / "label_wordings.json").read_text())
WORDINGS = {"noisy_agnews": ALL["ag_news"], "semeval2018_ec": ALL["semeval2018_ec"]}
UNRELATED = {"noisy_agnews": ALL["semeval2018_ec"], "semeval2018_ec": ALL["newsgroups20"]}
SIGNALS = ("names", "phrase", "two descriptions", "shuffled", "unrelated")
STACKED = ("stacked, alone", "stacked, two descriptions", "stacked, unrelated")


def load(data, name):
    """Texts, right labels, those of people (None where there are none), and names of labels."""
    names = json.loads((data / name / "info.json").read_text())["label_names"]
    frame = pd.read_parquet(data / name / "train.parquet")
    if "label_true" in frame:
        return frame.text.tolist(), frame.label_true.to_numpy(), frame.label.to_numpy(), names
    truth = np.zeros((len(frame), len(names)), dtype=np.int8)
    for row, ids in enumerate(frame.labels):
        truth[row, list(ids)] = 1
    return frame.text.tolist(), truth, None, names


def drawn(corpus, vectors, noise, seed):
    """Rows of a draw, and their labels as given."""
    _, truth, human, _ = corpus
    if human is None:
        return np.arange(len(truth)), multi_label_noise(truth, noise, vectors, seed)
    rows = np.sort(np.random.default_rng(seed).choice(len(truth), ROWS, replace=False))
    return rows, human[rows]


def descriptions_of(signal, name, names, seed):
    """Label name -> texts."""
    best = WORDINGS[name]["two descriptions"]
    if signal == "shuffled":
        order = np.random.default_rng(seed).permutation(len(names))
        other = np.empty(len(names), dtype=int)
        other[order] = np.roll(order, 1)  # nobody keeps what is its own
        return {label: best[names[k]] for label, k in zip(names, other, strict=True)}
    if signal == "unrelated":
        foreign = UNRELATED[name].get("two descriptions") or UNRELATED[name]["phrase"]
        texts = [foreign[label] for label in sorted(foreign)]
        order = np.random.default_rng(seed).permutation(len(texts))
        return {label: texts[k] for label, k in zip(names, order, strict=False)}
    return WORDINGS[name][signal]


def opinion_of(vectors, own, owners, given, labels):
    """Which label's descriptions each text lies nearest to, as an annotator with probabilities."""
    mean = common_part(vectors)
    scores = DEFAULT_WEIGHT * (centered_rows(vectors, mean) @ name_vectors(own, owners, labels, mean).T)
    p = shifted_to_rates(expit(scores), given.mean(0)) if given.ndim == 2 else softmax(scores, axis=1)
    return as_cells(p, len(given), labels, "label descriptions")


def stacked(base, own, given, texts, vectors, seed):
    """The report by the classifier's probabilities, fitted to the given labels together with the descriptions'."""
    apart = kept_apart(None, None, texts, vectors, len(given), partial(neighbor_graph, seed=seed, progress=False))
    features = [np.clip(p.astype(float), 1e-4, 1 - 1e-4) for p in (base.found.evidence["model"], *own)]
    multi, p = given.ndim == 2, np.zeros(features[0].shape, dtype=np.float32)
    features = [logit(q) if multi else np.log(q) for q in features]
    part = np.random.default_rng(0).permutation(apart.groups.max() + 1)[apart.groups] % 5
    for fold in range(5):
        fit, rest = part != fold, part == fold
        for label in range(p.shape[1]) if multi else (slice(None),):
            x = np.column_stack([q[:, label] for q in features])
            y = given[:, label] if multi else given
            found = LogisticRegression(max_iter=500).fit(x[fit], y[fit]).predict_proba(x[rest])
            p[rest, label] = found[:, 1] if multi else found
    if multi:
        found = detect_cells(given, p, apart.voters, groups=apart.groups, seed=seed)
    else:
        found = detect_rows(given, p, apart.voters, apart.centered, groups=apart.groups, seed=seed, progress=False)
    return textpl.LabelReport(found, given, base.label_names)


def measured(report, given, truth):
    """AP and share of right labels."""
    return {
        "ap": float(average_precision_score((given != truth).ravel(), report.p_error.ravel())),
        "right": float((report.plan().labels == truth).mean()),
        "given_right": float((given == truth).mean()),
        "expected": report.expected_errors / max(int((given != truth).sum()), 1),
    }


def run_draw(corpus, name, noise, seed, coder, signals):
    """Every signal of a draw that is not stored yet."""
    todo = [signal for signal in ("none", *signals) if not file_of(name, noise, signal, seed).exists()]
    if not todo:
        return
    texts, truth, _, names = corpus
    every = unit_rows(encode_cached(coder, texts, progress=False))
    rows, given = drawn(corpus, every, noise, seed)
    truth, vectors, texts = truth[rows], every[rows], [texts[i] for i in rows]
    folder = OUT / f"report-{name}-{noise}-{seed}"
    if not (folder / "report.json").exists():
        labels = given if given.ndim == 2 else [names[k] for k in given]
        dataset = Dataset.from_dict({"text": texts})
        textpl.find_label_issues(dataset, labels=labels, label_names=names, seed=seed, progress=False).save(folder)
    base = textpl.LabelReport.load(folder)
    for signal in todo:
        found, record = base, {"corpus": name, "noise": noise, "signal": signal, "seed": seed}
        how, _, what = signal.rpartition(", ")
        if what == "alone":
            found = stacked(base, (), given, texts, vectors, seed)
        elif signal != "none":
            described = read_descriptions(descriptions_of(what, name, names, seed), names)
            own = unit_rows(encode_cached(coder, described.texts, progress=False))
            opinion = opinion_of(vectors, own, described.owners, given, len(names))
            if how:
                found = stacked(base, (opinion.values,), given, texts, vectors, seed)
            else:
                found = textpl.LabelReport(with_opinions(base.found, given, [opinion]), given, names)
                record["told"] = found.detection.info["annotators"][0]["told"]
            if given.ndim == 1:
                record["names_right"] = float((opinion.values.argmax(1) == truth).mean())
        record |= measured(found, given, truth)
        file_of(name, noise, signal, seed).write_text(json.dumps(record, indent=1))
        shown = {key: round(record[key], 4) for key in ("ap", "right", "given_right", "expected")}
        print(name, noise, seed, signal, shown, record.get("told", ""), flush=True)


def file_of(name, noise, signal, seed):
    """Where a result is stored."""
    return OUT / f"cell-{name}-{noise}-{signal.replace(',', '').replace(' ', '_')}-{seed}.json"


def table():
    """Markdown: means, and differences to none."""
    records = [json.loads(path.read_text()) for path in sorted(OUT.glob("cell-*.json"))]
    found = {(r["corpus"], r["noise"], r["signal"], r["seed"]): r for r in records}
    lines = [
        "| corpus, errors | descriptions | AP | right labels | expected / true errors |",
        "| -- | -- | --: | --: | --: |",
    ]
    for name, noise in sorted({key[:2] for key in found}):
        for signal in ("none", *SIGNALS, *STACKED):
            seeds = [s for *rest, s in found if rest == [name, noise, signal] and (name, noise, "none", s) in found]
            if not seeds:
                continue
            cells = []
            for measure in ("ap", "right"):
                own, base = (
                    100 * np.array([found[name, noise, which, s][measure] for s in seeds]) for which in (signal, "none")
                )
                gain = own - base
                cell = f"{own.mean():.1f}" if measure == "ap" else f"{own.mean():.2f}"
                if signal != "none":
                    spread = gain.std(ddof=1) if len(gain) > 1 else 0.0
                    cell += f" ({gain.mean():+.2f} ± {spread:.2f}, worst {gain.min():+.2f})"
                cells.append(cell)
            expected = np.mean([found[name, noise, signal, s]["expected"] for s in seeds])
            lines.append(f"| {name}, {noise}, {len(seeds)} draws | {signal} | {' | '.join(cells)} | {expected:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data folders")
    parser.add_argument("--cases", default=CASES)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--stacked", action="store_true")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        print(table())
        return
    OUT.mkdir(parents=True, exist_ok=True)
    coder = get_encoder(args.encoder)
    for seed in map(int, args.seeds.split(",")):
        for case in args.cases.split(","):
            name, noise = case.split(":")
            run_draw(load(args.data, name), name, noise, seed, coder, STACKED if args.stacked else SIGNALS)


if __name__ == "__main__":
    main()
