"""What multi-label targets make of rare labels: by simulation, on a small head, and in a short fine-tune.

    python benchmarks/multi_label_targets.py                                       # simulation, seconds
    python benchmarks/multi_label_targets.py --head ../shared/data/semeval2018_ec --labeled 300
    python benchmarks/multi_label_targets.py --head ../shared/data/goemotions --labeled 1000 --first 13000
    python benchmarks/multi_label_targets.py --train ../shared/data/semeval2018_ec --labeled 300    # minutes a run

Simulation: calibrated p of one label at several rates, p = sigmoid(logit(rate) + evidence) with evidence s^2 (y - 1/2)
+ s * normal, s from weak (1) to strong (3). Per rule: the share of the positives expected in accepted cells whose
target is 0; mean target / true rate of the accepted cells (1 is unbiased); positives that the targets of accepted cells
hold / all expected positives.

    half     1[p >= .5] where max(p, 1 - p) >= .95: FixMatch and pseudo-labels as textpl had them
    gauss    1[p >= .5], weight by a Gaussian of max(p, 1 - p): SoftMatch as textpl had it
    sharp    p sharpened by T = .85 where max(p, 1 - p) >= .8: UDA as textpl had it
    sure     p where max(p, 1 - p) >= .95: soft, but sure cells only
    cap      1 above the quantile at the label's rate, every cell (CAP, Xie et al. 2023, eta = 1)
    soft     p, every cell: what textpl does

Head: a perceptron on MiniLM vectors of the texts (cached), LABELED random labeled rows, three fifths of the others as
pool (10,000 at most), 600 steps of 16 + 48 rows; the student sees vectors with noise and dropout. The rest of train,
and dev, are judged, no test row. Train: the encoder itself, by `textpl`, judged on dev rows. Macro and micro F1 with
each label cut where its labeled rate is met, and cut at .5; mean p over the true rate. "aligned": to the labeled rates.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from textpl.components.align import align_marginal
from textpl.components.running import RunningMean
from textpl.components.selection import FixedThreshold
from textpl.components.sharpen import Temperature, argmax
from textpl.components.step import LabeledStatistics, Run, Step
from textpl.evaluation import prior_thresholds, score
from textpl.tasks import MultiLabel

RATES = (0.02, 0.05, 0.1, 0.2, 0.3)
RULES = ("half", "gauss", "sharp", "sure", "cap", "soft")
ROWS = 200_000


# ---- the rules ----


def sure(p: Tensor, threshold: float) -> Tensor:
    """Weight 1 for cells that are sure either way."""
    return (torch.maximum(p, 1 - p) >= threshold).float()


def gaussian(p: Tensor) -> Tensor:
    """SoftMatch's weight on max(p, 1 - p), n = 2, mean and variance those of the rows themselves."""
    c = torch.maximum(p, 1 - p)
    return torch.exp(-((c - c.mean(0)).clamp_max(0) ** 2) * 4 / (2 * c.var(0).clamp_min(1e-8)))


def targets(rule: str, p: Tensor, rates: Tensor, step: Step) -> tuple[Tensor, Tensor]:
    """Target and weight of each cell, (rows, labels)."""
    task = step.task
    if rule == "half":
        return task.hard(p), sure(p, 0.95)
    if rule == "gauss":
        return task.hard(p), gaussian(p)
    if rule == "sharp":
        return Temperature(0.85)(p, step), sure(p, 0.8)
    if rule == "sure":
        return p, sure(p, 0.95)
    if rule == "cap":
        cuts = torch.stack([column.quantile(1 - rate) for column, rate in zip(p.T, rates, strict=True)])
        return (p >= cuts).float(), torch.ones_like(p)
    return argmax(p, step), FixedThreshold(0.95)(p, step)


def a_step(labels: int) -> Step:
    """A step of a multi-label run, as far as the rules look at it."""
    run = Run(MultiLabel(labels), torch.nn.Identity(), 1000, None, torch.full((labels,), 0.5), ["label"] * labels)
    return Step(run, 0, torch.zeros(0, dtype=torch.int64), {}, lambda x: x, LabeledStatistics(*_means()))  # type: ignore[arg-type,return-value]


def _means() -> tuple[RunningMean, RunningMean]:
    return RunningMean(0.9), RunningMean(0.9)


# ---- simulation ----


def calibrated(rate: float, strength: float, rows: int = ROWS, seed: int = 0) -> Tensor:
    """Calibrated probabilities of one label, float32 (rows, 1)."""
    generator = torch.Generator().manual_seed(seed)
    y = (torch.rand(rows, 1, generator=generator) < rate).float()
    evidence = strength**2 * (y - 0.5) + strength * torch.randn(rows, 1, generator=generator)
    return (evidence + float(np.log(rate / (1 - rate)))).sigmoid()


def judge(rule: str, p: Tensor, rate: float) -> dict[str, float]:
    """The three numbers of the table for one rule on the probabilities of one label."""
    q, w = targets(rule, p, torch.tensor([rate]), a_step(1))
    expected = (w * p).sum()
    return {
        "taught_away": float((w * p * (q == 0)).sum() / expected),
        "bias": float((w * q).sum() / expected),
        "held": float((w * q).sum() / p.sum()),
    }


def simulate() -> None:
    """Print the table."""
    print("| rule | evidence | " + " | ".join(f"rate {rate:g}" for rate in RATES) + " |")
    print("|--|--|" + "--:|" * len(RATES))
    for rule in RULES:
        for strength in (1.0, 2.0, 3.0):
            found = [judge(rule, calibrated(rate, strength), rate) for rate in RATES]
            cells = [f"{100 * f['taught_away']:.0f} %, {f['bias']:.2f}, {f['held']:.2f}" for f in found]
            print(f"| {rule} | {strength:g} | " + " | ".join(cells) + " |")
    print(
        "\nPer cell: expected positives with target 0; mean target / true rate, both of accepted cells; positives held."
    )


# ---- corpora ----


def corpus(folder: Path, first: int | None) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Texts and multi-hot labels of train.parquet and of dev.parquet."""
    train, dev = (pd.read_parquet(folder / f"{part}.parquet") for part in ("train", "dev"))
    train = train if first is None else train.iloc[:first]
    size = max(max(row) for row in train.labels if len(row)) + 1
    parts = []
    for frame in (train, dev):
        hot = np.zeros((len(frame), size), np.float32)
        for row, labels in enumerate(frame.labels):
            hot[row, list(labels)] = 1
        parts += [frame.text.tolist(), hot]
    return tuple(parts)  # type: ignore[return-value]


def report(arm: str, runs: list[np.ndarray]) -> None:
    """A row of a markdown table: means over the seeds, and the spread of the first."""
    mean, spread = np.mean(runs, 0), np.std([run[0] for run in runs])
    print(
        f"| {arm} | {mean[0]:.1f} ± {spread:.1f} | {mean[1]:.1f} | {mean[2]:.1f} | {mean[3]:.1f} | {mean[4]:.2f} |",
        flush=True,
    )


def header(labeled: int) -> None:
    """The table's head."""
    print(f"\n{labeled} labeled rows\n")
    print(
        "| targets | macro F1, rate cuts | macro F1 at .5 | micro F1, rate cuts | micro F1 at .5 | mean p / true rate |"
    )
    print("|--|--:|--:|--:|--:|--:|")


def judged(p: np.ndarray, gold: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Macro and micro F1 in percent, cut by rates and at .5, and mean p over the true rate (mean of the labels)."""
    by_rate, half, gold = p >= prior_thresholds(p, rates), p >= 0.5, gold.astype(int)
    f1 = [100 * score(cut.astype(int), gold, metric) for metric in ("macro_f1", "micro_f1") for cut in (by_rate, half)]
    return np.array([*f1, float((p.mean(0) / gold.mean(0)).mean())])


# ---- a head on fixed vectors ----


def run_head(rule: str | None, aligned: bool, data: dict[str, Tensor], seed: int) -> np.ndarray:
    """Train one head; `rule` None is labels only."""
    rng, x, y = np.random.default_rng(seed), data["x"], data["y"]
    rates = (y.sum(0) + 1) / (len(y) + 2)
    torch.manual_seed(seed)
    head = torch.nn.Sequential(
        torch.nn.Dropout(0.1), torch.nn.Linear(x.shape[1], 256), torch.nn.GELU(), torch.nn.Dropout(0.3),
        torch.nn.Linear(256, y.shape[1]),
    )  # fmt: skip
    with torch.no_grad():
        head[4].bias.copy_(rates.logit())
        head[4].weight.mul_(0.1)
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=1e-2)
    step, seen, recent = a_step(y.shape[1]), RunningMean(0.94), torch.zeros(0, y.shape[1])
    for index in range(600):
        rows = torch.from_numpy(rng.integers(0, len(x), 16))
        head.train()
        loss = F.binary_cross_entropy_with_logits(head(x[rows]), y[rows])
        if rule is not None:
            drawn = data["pool"][torch.from_numpy(rng.integers(0, len(data["pool"]), 48))]
            with torch.no_grad():
                p = head.eval()(drawn).sigmoid()
                seen.update(p.mean(0))
                p = align_marginal(p, rates, seen.value, step) if aligned else p
                recent = torch.cat([recent, p])[-2000:]
                q, w = (part[-len(p) :] for part in targets(rule, recent, rates, step))
                w = w if rule != "cap" or index >= 30 else torch.zeros_like(w)  # quantiles of something
            noise = 0.25 * drawn.norm(dim=1, keepdim=True) * torch.randn_like(drawn) / drawn.shape[1] ** 0.5
            view = F.dropout(drawn + noise, 0.2)
            loss = loss + (w * F.binary_cross_entropy_with_logits(head.train()(view), q, reduction="none")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        p = head.eval()(data["test_x"]).sigmoid().numpy()
    return judged(p, data["test_y"].numpy(), rates.numpy())


def heads(folder: Path, labeled: int, first: int | None, seeds: int) -> None:
    """Every rule on one corpus."""
    from textpl.embeddings.cache import encode_cached
    from textpl.embeddings.encoders import DEFAULT_ENCODER, get_encoder

    texts, hot, dev_texts, dev_hot = corpus(folder, first)
    vectors = np.array(encode_cached(get_encoder(DEFAULT_ENCODER), [*texts, *dev_texts])) * 8
    known = np.concatenate([hot, dev_hot])
    header(labeled)
    arms = [(None, False), *((rule, False) for rule in RULES), ("half", True), ("soft", True)]
    for rule, aligned in arms:
        runs = []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(texts))
            pool = order[labeled : labeled + min(10_000, (len(texts) - labeled) * 3 // 5)]
            held = np.concatenate([order[labeled + len(pool) :], np.arange(len(texts), len(known))])
            rows = {"x": vectors[order[:labeled]], "y": known[order[:labeled]], "pool": vectors[pool]}
            rows |= {"test_x": vectors[held], "test_y": known[held]}
            runs.append(run_head(rule, aligned, {k: torch.from_numpy(v) for k, v in rows.items()}, seed))
        report((rule or "labels only") + (", aligned" if aligned else ""), runs)


# ---- the encoder itself ----


def fine_tune(arm: str, folder: Path, labeled: int, seed: int, steps: int, layers: int | None) -> np.ndarray:
    """A short fine-tune of MiniLM by `textpl`, judged on dev rows."""
    import datasets
    from transformers import Trainer, TrainingArguments, set_seed

    import textpl
    from textpl.components.views import TfidfReplacement
    from textpl.models import load_classifier

    texts, hot, dev_texts, dev_hot = corpus(folder, None)
    order = np.random.default_rng(seed).permutation(len(texts))
    rates = (hot[order[:labeled]].sum(0) + 1) / (labeled + 2)
    names = [f"label {i}" for i in range(hot.shape[1])]
    set_seed(seed)
    name = "sentence-transformers/all-MiniLM-L6-v2"
    model, tokenizer = load_classifier(name, MultiLabel(len(names)), names, rates=rates, layers=layers)

    def tokenized(lines: list[str], gold: np.ndarray) -> datasets.Dataset:
        data = datasets.Dataset.from_dict({"text": lines, "label": gold.tolist()})
        return data.map(lambda batch: tokenizer(batch["text"], truncation=True, max_length=48), batched=True)

    settings = TrainingArguments(
        tempfile.mkdtemp(), per_device_train_batch_size=16, per_device_eval_batch_size=64, max_steps=steps,
        learning_rate=1e-4, warmup_steps=steps // 10, use_cpu=True, report_to="none", save_strategy="no",
        logging_steps=50, seed=seed, disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model, settings, processing_class=tokenizer,
        train_dataset=tokenized([texts[i] for i in order[:labeled]], hot[order[:labeled]]),
    )  # fmt: skip
    pool = datasets.Dataset.from_dict({"text": [texts[i] for i in order[labeled:]]})
    view = TfidfReplacement(p=0.3)
    if arm == "half":
        textpl.attach(
            trainer,
            textpl.SemiSupervised(
                pool,
                select=lambda p, step: sure(p, 0.95),
                sharpen=lambda p, step: step.task.hard(p),
                view=view,
                ratio=2,
            ),
        )
    elif arm != "labels_only":
        textpl.attach(trainer, textpl.METHODS[arm].make(pool, ratio=2))
    trainer.train()
    logits = trainer.predict(tokenized(dev_texts, dev_hot)).predictions
    return judged(1 / (1 + np.exp(-logits)), dev_hot, rates)


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", type=Path, help="folder with train.parquet and dev.parquet")
    parser.add_argument("--train", type=Path, help="folder with train.parquet and dev.parquet")
    parser.add_argument("--labeled", type=int, default=300)
    parser.add_argument("--first", type=int, help="only the first rows of train.parquet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="of --train")
    parser.add_argument("--layers", type=int, help="of --train: fewer than the model has")
    parser.add_argument("--arms", nargs="+", default=["labels_only", "half", "fixmatch"], help="of --train")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.head:
        heads(args.head, args.labeled, args.first, args.seeds)
    elif args.train:
        header(args.labeled)
        for arm in args.arms:
            rest = (args.steps, args.layers)
            report(arm, [fine_tune(arm, args.train, args.labeled, seed, *rest) for seed in range(args.seeds)])
    else:
        simulate()


if __name__ == "__main__":
    main()
