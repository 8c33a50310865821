"""AG News, 10 labels per class, a pool of 20,000, all-MiniLM-L6-v2: labels-only against every method.

One run per call of `run`; finished runs are skipped, so the script can be stopped and started at will.

    python benchmarks/ag_news.py --data ../shared/data/ag_news --splits ../shared/bench/semi_supervised/splits \
        --arms labels_only adamatch --seeds 0 1 2 3 4
    python benchmarks/ag_news.py ... --rows dev --arms adamatch:threshold=0.8   # tuning: dev rows only
    python benchmarks/ag_news.py ... --arms "distillation:label_method=auto;ratio=3"   # label, then train
    python benchmarks/ag_news.py ... --arms "SemiSupervised:label_method=auto;ratio=3;steps_factor=1.6;\
        teacher=student_times_graph(0.5);align=AlignToPrior('uniform', horizon=0.2);sharpen=(keep);\
        loss=DistillationLoss(1.0)"                                            # a second round with the student
    python benchmarks/ag_news.py ... --table                                    # read the finished runs

Split: `ag_news_l40_s{seed}.npz` with `lb` (40 balanced rows), `ulb` (20,000), `dev` (2,000), all rows of
train.parquet; test: all 7,600 rows of test.parquet. No row of dev or test is used to choose a checkpoint: the step
count is fixed. Training seeds of test runs are 100 + the split's, so that nothing tuned on dev rows is met again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import torch
import yaml
from transformers import Trainer, TrainingArguments, set_seed

import textpl
from textpl.components import align, losses, schedules, selection, sharpen, teachers, views
from textpl.components.teacher_mixes import Blend, Then
from textpl.components.teachers import ColumnTeacher, SelfTeacher
from textpl.evaluation import paired_difference, scores
from textpl.inference import bf16_pays
from textpl.models import load_classifier
from textpl.tasks import SingleLabel

NAMES = ["World", "Sports", "Business", "Sci/Tech"]
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
OUT = Path(__file__).parent / "out" / "ag_news"


def load(args, seed):
    """Labelled rows, pool and evaluation rows of one split."""
    train, test = (pd.read_parquet(Path(args.data) / f"{part}.parquet") for part in ("train", "test"))
    split = np.load(Path(args.splits) / f"ag_news_l40_s{seed}.npz")
    rows = train.iloc[split["dev"]] if args.rows == "dev" else test
    return train.iloc[split["lb"]], train.iloc[split["ulb"]], rows


def make_dataset(frame, tokenizer):
    """Tokenised rows with labels."""
    data = datasets.Dataset.from_dict({"text": frame.text.tolist(), "label": frame.label.tolist()})
    return data.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=128), batched=True)


def run(args, arm, seed):
    """Train one arm on one split; returns the record that is stored."""
    name, _, settings = arm.partition(":")
    settings = {k.strip(): eval_setting(v) for k, v in (s.split("=", 1) for s in settings.split(";") if s)}
    steps = int(args.steps * settings.pop("steps_factor", 1))
    rate = settings.pop("lr", args.lr)
    label = {k.removeprefix("label_"): settings.pop(k) for k in list(settings) if k.startswith("label_")}
    batch_size = settings.pop("batch", 8)
    labeled, pool, rows = load(args, seed)
    train_seed = seed if args.rows == "dev" else 100 + seed
    set_seed(train_seed)
    model, tokenizer = load_classifier(MODEL, SingleLabel(4), NAMES)
    training = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=64,
        max_steps=steps,
        learning_rate=rate,
        weight_decay=5e-4,
        warmup_steps=steps // 20,
        lr_scheduler_type="cosine",
        bf16=bf16_pays(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        save_strategy="no",
        logging_steps=max(steps // 10, 1),
        report_to="none",
        use_cpu=not torch.cuda.is_available(),
        seed=train_seed,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model, args=training, train_dataset=make_dataset(labeled, tokenizer), processing_class=tokenizer
    )
    if name != "labels_only":
        unlabeled = datasets.Dataset.from_dict({"text": pool.text.tolist(), "gold": pool.label.tolist()})
        if label:  # label_method=..., label_class_prior=...: the pool gets soft labels from embeddings first
            known = datasets.Dataset.from_dict({"text": labeled.text.tolist(), "label": labeled.label.tolist()})
            found = textpl.label(known, unlabeled, **label)
            unlabeled = found.to_dataset()
            if name == "distillation":
                settings = {"column": "probabilities", "column_kind": "probabilities", "temperature": 1.0} | settings
            right = np.mean(np.array(unlabeled["label"]) == np.array(unlabeled["gold"]))
            print(f"{found.method}: {100 * right:.1f} % of the pool labelled right")
        make = textpl.SemiSupervised if name == "SemiSupervised" else textpl.METHODS[name].make
        textpl.attach(trainer, make(unlabeled, **settings))
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.train()
    cost = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    logits = trainer.predict(make_dataset(rows, tokenizer)).predictions
    predictions = logits.argmax(1)
    history = [h for h in trainer.state.log_history if "textpl/mask_rate" in h]
    return {
        "arm": arm, "seed": seed, "rows": args.rows, "steps": steps, **cost,
        "scores": scores(predictions, rows.label.to_numpy()),
        "history": [{k: h.get(k) for k in ("step", "textpl/mask_rate", "textpl/precision")} for h in history],
        "predictions": predictions.tolist(),
    }  # fmt: skip


def eval_setting(text):
    """A setting from the command line: YAML, or an expression of textpl's components such as `cosine(1.0)`."""
    if "(" in text:
        modules = (align, losses, schedules, selection, sharpen, teachers, views)
        scope = {name: value for module in modules for name, value in vars(module).items()}
        scope["student_times_graph"] = student_times_graph
        return eval(text, scope)  # noqa: S307 - the user's own command line
    return yaml.safe_load(text)


def student_times_graph(at):
    """The pool's labels from embeddings; from the share `at` of the run on, the student's opinion times them."""
    graph = ColumnTeacher("probabilities", kind="probabilities")
    return Then(graph, Blend(SelfTeacher(), graph), at=at)


def table(args):
    """Mean and spread of every arm, and its paired difference from labels-only."""
    records = [json.loads(f.read_text()) for f in sorted(OUT.glob(f"{args.rows}-*.json"))]
    arms = {}
    for r in records:
        arms.setdefault(r["arm"], {})[r["seed"]] = r
    base = arms.get("labels_only", {})
    for arm, runs in sorted(
        arms.items(), key=lambda item: np.mean([r["scores"]["accuracy"] for r in item[1].values()])
    ):
        accuracy = [100 * r["scores"]["accuracy"] for r in runs.values()]
        line = f"{arm:70s} n={len(runs)} {np.mean(accuracy):6.2f} ± {np.std(accuracy, ddof=min(1, len(runs) - 1)):.2f}"
        line += f"  cpu {np.mean([r['cpu_s'] for r in runs.values()]):5.0f} s"
        common = sorted(set(runs) & set(base))
        if arm != "labels_only" and common:
            gold = [load(args, s)[2].label.to_numpy() for s in common]
            sides = ([np.array(x[s]["predictions"]) for s in common] for x in (base, runs))
            line += "  " + paired_difference(*sides, gold, "accuracy").sentence()
        print(line)


def main():
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--splits", required=True)
    parser.add_argument("--arms", nargs="*", default=[])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--rows", choices=["dev", "test"], default="test")
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for arm in [] if args.table else args.arms:
        for seed in args.seeds:
            file = OUT / f"{args.rows}-{arm.replace('/', '_')}-{seed}.json"
            if not file.exists():
                record = run(args, arm, seed)
                file.with_suffix(".partial").write_text(json.dumps(record))
                file.with_suffix(".partial").rename(file)
                print(arm, seed, record["scores"], f"{record['wall_s']:.0f} s", record["history"][-1:], flush=True)
    table(args)


if __name__ == "__main__":
    main()
