"""Which given labels are wrong: textpl against cleanlab, on the same probabilities, in the same run.

    python benchmarks/cleaning.py --data ../shared/data --corpora semeval2018_ec,goemotions --seeds 0,1,2
    python benchmarks/cleaning.py --data ../shared/data --corpora noisy_agnews --noise human,symmetric40
    python benchmarks/cleaning.py --data ../shared/data --corpora semeval2018_ec --noise missing30 --downstream --review
    python benchmarks/cleaning.py --table                     # markdown of what is finished

A case is (corpus, noise, seed), stored as one JSON file and skipped when it is there. Texts are encoded once by the
default encoder (cached); probabilities are `textpl.cleaning.out_of_sample` on the noisy labels, duplicates grouped, and
both sides get them. Noise is injected into the corpus's labels (`label_noise.py`), which contain errors of their own:
what is counted as right or wrong is what was injected. `human` is noisy_agnews as annotated, its truth known.

cleanlab (pip install textpl[cleanlab]): its default flags, its default ranking (self-confidence), and the only one of
its rankings that orders multi-label cells otherwise (`adjust_pred_probs=True`); the best of both counts as its AP.
For single labels the best of its six filters by F1 is shown as well.

AP: average precision over all (row, label) cells (single-label: rows). P@500: true errors among the first 500.
`--downstream`: logistic regressions on the embeddings, trained on the noisy labels, on what either side makes of them,
and on the right ones; micro-F1 at 0.5 and macro-F1 at cuts tuned on the training rows, on the clean test rows.
`--review`: true errors among the first 50, 100, 200 and 500 cells of the review queue as `textpl clean` writes it (500
cells, every fourth of them drawn to learn from); and, once these first cells are answered by the truth, AP of the cells
that nobody reviewed, and expected / true errors among them, both before and after.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from label_noise import MULTI, SINGLE, multi_label_noise, single_label_noise
from sklearn.metrics import average_precision_score, f1_score

from textpl.cleaning.duplicates import near_duplicates
from textpl.cleaning.evidence import GRAPH_K
from textpl.cleaning.multi_label import detect as detect_cells
from textpl.cleaning.out_of_sample import out_of_sample
from textpl.cleaning.result import Detection
from textpl.cleaning.single_label import detect as detect_rows
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.centering import centered_rows, common_part
from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder
from textpl.embeddings.graph import NeighborGraph
from textpl.embeddings.neighbors import measured_by, neighbor_graph, unit_rows
from textpl.label_issues.report import Decision, LabelReport

OUT = Path(__file__).parent / "out" / "cleaning"
ROWS = {"goemotions": 20_000, "ag_news": 10_000, "online_shopping_10_cats": 10_000}  # at random; else all
QUEUED = (50, 100, 200, 500)


@dataclass
class Corpus:
    """Rows with right labels, and clean test rows."""

    name: str
    texts: list[str]
    truth: np.ndarray  # (rows, labels) or (rows,)
    vectors: np.ndarray
    test_truth: np.ndarray
    test_vectors: np.ndarray
    human: np.ndarray | None
    graph: NeighborGraph
    groups: np.ndarray

    @property
    def multi(self) -> bool:
        """Whether rows may carry several labels."""
        return self.truth.ndim == 2


def load(folder: Path, encoder: str, test_rows: bool = True) -> Corpus:
    """Train and dev rows of a data folder, encoded, and the test rows where they are needed."""
    frames = [pd.read_parquet(path) for part in ("train", "dev") if (path := folder / f"{part}.parquet").exists()]
    train, test = pd.concat(frames, ignore_index=True), pd.read_parquet(folder / "test.parquet")
    limit = ROWS.get(folder.name)
    if limit and len(train) > limit:
        keep = np.sort(np.random.default_rng(0).choice(len(train), limit, replace=False))
        train = train.iloc[keep].reset_index(drop=True)
    names = json.loads((folder / "info.json").read_text())["label_names"]
    human = None
    if "label_true" in train:
        human, train = train["label"].to_numpy(), train.assign(label=train["label_true"])
        test = test.assign(label=test.get("label_true", test["label"]))
    test = test if test_rows else test[:0]
    coder = get_encoder(encoder)
    vectors, test_vectors = (unit_rows(encode_cached(coder, part["text"].tolist())) for part in (train, test))
    mean, raw = common_part(vectors), vectors
    vectors, test_vectors = centered_rows(vectors, mean), centered_rows(test_vectors, mean)
    graph = neighbor_graph(vectors, GRAPH_K, progress=False)
    groups = near_duplicates(train["text"].tolist(), raw, measured_by(graph, raw))
    truth, test_truth = (_labels(part, len(names)) for part in (train, test))
    texts = train["text"].tolist()
    return Corpus(folder.name, texts, truth, vectors, test_truth, test_vectors, human, graph, groups)


def _labels(frame: pd.DataFrame, count: int) -> np.ndarray:
    if "labels" not in frame:
        return frame["label"].to_numpy()
    labels = np.zeros((len(frame), count), dtype=np.int8)
    for row, ids in enumerate(frame["labels"]):
        labels[row, list(ids)] = 1
    return labels


def run_case(corpus: Corpus, noise: str, seed: int, downstream: bool, review: bool) -> dict[str, Any]:
    """Everything measured for one corpus with one noise."""
    if corpus.multi:
        given = multi_label_noise(corpus.truth, noise, corpus.vectors, seed)
    elif noise == "human":
        given = corpus.human
    else:
        p = out_of_sample(corpus.vectors, corpus.truth, progress=False) if noise.startswith("hard") else None
        given = single_label_noise(corpus.truth, noise, corpus.vectors, seed, p)
    wrong = given != corpus.truth
    p = out_of_sample(corpus.vectors, given, groups=corpus.groups, seed=seed, progress=False)
    results: dict[str, Any] = {"cells": int(wrong.size), "errors": int(wrong.sum()), "methods": {}}
    for name, (score, flagged) in cleanlab_methods(given, p).items():
        results["methods"][name] = measures(wrong, score, flagged)
    started = time.process_time()
    found = detect(given, p, corpus, seed)
    results["detector_cpu_s"] = time.process_time() - started
    results["methods"]["textpl"] = measures(wrong, found.p_error, found.flagged)
    results["expected_errors"] = float(found.p_error.sum())
    results["info"] = {k: v for k, v in found.info.items() if isinstance(v, (int, float, str, bool))}
    bare = detect(given, p, corpus, seed, alone=True)
    results["methods"]["textpl, without embeddings"] = measures(wrong, bare.p_error, bare.flagged)
    if not corpus.multi:
        likely = found.flagged & (found.p_error >= 0.5)
        relabeled = np.where(likely, found.p_true.argmax(1), given)
        results["labels_right"] = {
            "given": float((given == corpus.truth).mean()), "textpl": float((relabeled == corpus.truth).mean())
        }  # fmt: skip
        flagged = cleanlab_methods(given, p)["cleanlab"][1]
        relabeled = np.where(flagged, p.argmax(1), given)
        results["labels_right"]["cleanlab"] = float((relabeled == corpus.truth).mean())
    if downstream:
        drop = cleanlab_methods(given, p)["cleanlab"][1]
        results["downstream"] = trained(corpus, given, found, drop)
    if review and wrong.any():
        results["queue"] = queued(given, found, wrong)
        results["after_review"] = reviewed(corpus, given, found)
    return results


def detect(given: np.ndarray, p: np.ndarray, corpus: Corpus, seed: int, alone: bool = False) -> Detection:
    """Ours; `alone` without embeddings."""
    graph, vectors = (None, None) if alone else (corpus.graph, corpus.vectors)
    if corpus.multi:
        return detect_cells(given, p, graph, groups=corpus.groups, seed=seed)
    return detect_rows(given, p, graph, vectors, groups=corpus.groups, seed=seed, progress=False)


def cleanlab_methods(given: np.ndarray, p: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """Score (higher: more likely wrong) and flags by name."""
    p = p.astype(np.float64)
    if given.ndim == 1:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores

        p = np.clip(p, 1e-9, 1)
        p /= p.sum(1, keepdims=True)
        filters = ("prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "predicted_neq_given")
        found = {}
        for way in (*filters, "low_normalized_margin"):
            score = 1 - get_label_quality_scores(given, p)
            found[f"cleanlab, {way}"] = (score, find_label_issues(given, p, filter_by=way, n_jobs=1))
        adjusted = 1 - get_label_quality_scores(given, p, adjust_pred_probs=True)
        return {"cleanlab": found.pop(f"cleanlab, {filters[0]}"), **found, "cleanlab, adjusted": (adjusted, None)}
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    from cleanlab.multilabel_classification.rank import get_label_quality_scores_per_class

    lists = [np.flatnonzero(row).tolist() for row in given]
    flags = find_multilabel_issues_per_class(lists, p, n_jobs=1)
    plain, adjusted = (
        1 - np.asarray(get_label_quality_scores_per_class(lists, p, adjust_pred_probs=way)) for way in (False, True)
    )
    return {"cleanlab": (plain, flags), "cleanlab, adjusted": (adjusted, None)}


def measures(wrong: np.ndarray, score: np.ndarray, flagged: np.ndarray | None) -> dict[str, float | None]:
    """AP, P@500, and of the flags F1, precision, recall and number."""
    wrong, score = wrong.ravel(), score.ravel()
    first = np.argsort(-score, kind="stable")[:500]
    found: dict[str, float | None] = {
        "ap": float(average_precision_score(wrong, score)) if wrong.any() else None,
        "p_500": float(wrong[first].mean()),
    }
    if flagged is not None:
        flagged = flagged.ravel()
        hits = int((flagged & wrong).sum())
        found |= {
            "f1": 2 * hits / max(int(flagged.sum()) + int(wrong.sum()), 1),
            "precision": hits / max(int(flagged.sum()), 1),
            "recall": hits / max(int(wrong.sum()), 1),
            "flagged": int(flagged.sum()),
        }
    return found


def queued(given: np.ndarray, found: Detection, wrong: np.ndarray) -> dict[str, float]:
    """Share of true errors among the first cells that a reviewer sees, and of cells that are drawn to learn from."""
    report = LabelReport(found, given, [str(i) for i in range(found.p_true.shape[1])])
    queue = report.review_queue(max(QUEUED))
    hit = wrong[queue.rows, queue.labels] if wrong.ndim == 2 else wrong[queue.rows]
    return {str(n): float(hit[:n].mean()) for n in QUEUED} | {"lessons": float(queue.lesson.mean())}


def reviewed(corpus: Corpus, given: np.ndarray, found: Detection) -> dict[str, dict[str, float]]:
    """Of the cells that a person has not looked at, before and after the answers about the first of a queue."""
    report = LabelReport(found, given, [str(i) for i in range(found.p_true.shape[1])])
    queue = report.review_queue(max(QUEUED))
    decisions = []
    for row, label, lesson in zip(queue.rows, queue.labels, queue.lesson, strict=True):
        right = bool(corpus.truth[row, label]) if corpus.multi else True
        name = str(label if corpus.multi else corpus.truth[row])
        decisions.append(Decision(int(row), name, right, bool(lesson)))
    unseen, measured = np.ones(given.shape, bool), {}
    for n in QUEUED:
        unseen[(queue.rows[:n], queue.labels[:n]) if corpus.multi else queue.rows[:n]] = False
        wrong, after = (given != corpus.truth)[unseen], report.apply_review(decisions[:n])
        measured[str(n)] = {
            "ap_before": float(average_precision_score(wrong, found.p_error[unseen])),
            "ap_after": float(average_precision_score(wrong, after.p_error[unseen])),
            "expected_before": float(found.p_error[unseen].sum() / wrong.sum()),
            "expected_after": float(after.p_error[unseen].sum() / wrong.sum()),
        }
    return measured


def trained(corpus: Corpus, given: np.ndarray, found: Detection, dropped: np.ndarray) -> dict[str, dict[str, float]]:
    """Scores on clean test rows of heads trained on noisy, cleaned and right labels."""
    keep = ~(dropped.any(1) if corpus.multi else dropped)
    flagged = found.flagged
    likely = flagged & (found.p_error >= 0.5)
    fixed = np.where(flagged, 1 - given, given) if corpus.multi else np.where(likely, found.p_true.argmax(1), given)
    ways: dict[str, tuple[np.ndarray, np.ndarray | None, np.ndarray | None]] = {
        "noisy labels": (given, None, None),
        "cleanlab, rows dropped": (given, None, keep),
        "textpl, corrected": (fixed, None, None),
        "textpl, masked": (given, (~flagged).astype(np.float32), None),
        "textpl, soft": (found.p_true, None, None),
        "right labels": (corpus.truth, None, None),
    }
    return {name: head_scores(corpus, *way) for name, way in ways.items()}


def head_scores(
    corpus: Corpus, targets: np.ndarray, weights: np.ndarray | None, rows: np.ndarray | None
) -> dict[str, float]:
    """Of a weighted logistic regression (C = 10)."""
    count = corpus.test_truth.shape[1] if corpus.multi else int(corpus.test_truth.max()) + 1
    if targets.ndim == 1:
        targets = np.eye(count, dtype=np.float32)[targets]
    x = corpus.vectors
    if rows is not None:
        x, targets = x[rows], targets[rows]
    if weights is not None and not corpus.multi:
        weights = weights[:, None]
    z = _head(x, targets, weights, corpus.multi)
    scores = z(corpus.test_vectors)
    if not corpus.multi:
        return {"accuracy": float((scores.argmax(1) == corpus.test_truth).mean())}
    cuts = _cuts(x, targets, weights)
    return {
        "micro_f1": f1_score(corpus.test_truth, scores > 0.5, average="micro", zero_division=0),
        "macro_f1_tuned": f1_score(corpus.test_truth, scores >= cuts, average="macro", zero_division=0),
    }


def _cuts(x: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """The cut of each label with the best F1 against its own training labels, predicted out of sample."""
    fold = np.random.default_rng(0).permutation(len(x)) % 3
    p = np.zeros(targets.shape, dtype=np.float32)
    for part in range(3):
        inside = fold != part
        p[~inside] = _head(x[inside], targets[inside], None if weights is None else weights[inside], True)(x[~inside])
    cuts = np.full(targets.shape[1], 0.5)
    for label in range(targets.shape[1]):
        there = targets[:, label] > 0.5
        if there.sum() >= 5:
            order = np.argsort(-p[:, label])
            f1 = 2 * np.cumsum(there[order]) / (np.arange(1, len(order) + 1) + there.sum())
            cuts[label] = p[order[f1.argmax()], label]
    return cuts


def _head(x: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, multi: bool) -> Any:
    t = torch.tensor(np.asarray(targets, dtype=np.float32))
    mass = torch.ones_like(t[:, :1]) if weights is None else torch.tensor(weights)
    data = torch.nn.functional.pad(torch.tensor(x), (0, 1), value=1.0)
    w = torch.zeros(data.shape[1], t.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([w], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        z = data @ w
        if multi:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction="none") * mass
        else:
            loss = -(t * z.log_softmax(1)).sum(1, keepdim=True) * mass
        loss = (loss.sum() + w[:-1].square().sum() / 20) * (100 / len(t))
        loss.backward()
        return loss

    optimizer.step(closure)
    fitted = w.detach()

    def predict(rows: np.ndarray) -> np.ndarray:
        z = torch.nn.functional.pad(torch.tensor(rows), (0, 1), value=1.0) @ fitted
        return (z.sigmoid() if multi else z.softmax(1)).numpy()

    return predict


def table(out: Path) -> str:
    """Markdown: mean over seeds."""
    cases: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in sorted(out.glob("*.json")):
        case = json.loads(path.read_text())
        cases.setdefault((case["corpus"], case["noise"]), []).append(case)
    lines = [
        "| corpus | noise | seeds | errors | AP: cleanlab, adjusted, textpl without and with embeddings | F1 at the"
        " cut: cleanlab, textpl | P@500: cleanlab, textpl | expected errors |",
        "|--|--|--|--|--|--|--|--|",
    ]
    for (corpus, noise), found in cases.items():

        def mean(method: str, measure: str, found: list[dict[str, Any]] = found) -> str:
            values = [case["methods"][method].get(measure) for case in found]
            return "-" if None in values else f"{np.mean(values):.3f}"

        ap = [mean(m, "ap") for m in ("cleanlab", "cleanlab, adjusted", "textpl, without embeddings", "textpl")]
        f1, first = ([mean(m, measure) for m in ("cleanlab", "textpl")] for measure in ("f1", "p_500"))
        errors, expected = (np.mean([case[key] for case in found]) for key in ("errors", "expected_errors"))
        lines.append(
            f"| {corpus} | {noise} | {len(found)} | {errors:.0f} | {', '.join(ap[:3])}, **{ap[3]}** | {f1[0]}, "
            f"**{f1[1]}** | {first[0]}, **{first[1]}** | {expected:.0f} |"
        )
    return "\n".join(lines)


def options(described: str | None, corpora: str, out: Path) -> argparse.ArgumentParser:
    """The options of all benchmarks of cases that are stored one by one.

    Args:
        described: what the script says of itself.
        corpora: default names, with commas between them.
        out: default folder.
    """
    parser = argparse.ArgumentParser(description=described, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of data folders")
    parser.add_argument("--corpora", default=corpora)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--table", action="store_true")
    return parser


def main() -> None:
    """The command line."""
    parser = options(__doc__, "semeval2018_ec,goemotions", OUT)
    parser.add_argument("--noise", help="comma-separated; default: all kinds for the corpus")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--downstream", action="store_true")
    parser.add_argument("--review", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(arguments.out))
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.corpora.split(","):
        corpus = load(arguments.data / name, arguments.encoder, test_rows=arguments.downstream)
        kinds = arguments.noise.split(",") if arguments.noise else MULTI if corpus.multi else SINGLE
        for kind in kinds:
            if kind == "human" and corpus.human is None:
                continue
            for seed in map(int, arguments.seeds.split(",")):
                path = arguments.out / f"{name}-{kind}-{seed}.json"
                if path.exists():
                    continue
                case = run_case(corpus, kind, seed, arguments.downstream, arguments.review)
                case = {"corpus": name, "noise": kind, "seed": seed, **case}
                path.write_text(json.dumps(case, indent=1))
                ours, theirs = case["methods"]["textpl"], case["methods"]["cleanlab"]
                print(
                    f"{name} {kind} seed {seed}: AP {ours['ap']} (cleanlab {theirs['ap']}, adjusted "
                    f"{case['methods']['cleanlab, adjusted']['ap']}), F1 {ours['f1']:.3f} ({theirs['f1']:.3f}), "
                    f"expected {case['expected_errors']:.0f} of {case['errors']} errors",
                    flush=True,
                )
                if "queue" in case:
                    queue = ", ".join(f"{n}: {100 * share:.1f} %" for n, share in case["queue"].items())
                    print(f"  errors in the queue, first {queue}", flush=True)
                    for n, m in case["after_review"].items():
                        print(
                            f"  {n} answered: AP of the rest {m['ap_before']:.3f} to {m['ap_after']:.3f}, expected / "
                            f"true errors {m['expected_before']:.2f} to {m['expected_after']:.2f}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
