"""Tiny real objects: a BERT of one layer, a word-level tokenizer, texts whose words tell the label."""

from __future__ import annotations

import os

# Before any Hugging Face import: nothing in the suite may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from textpl.embeddings.graph import NeighborGraph

# Tiny models gain nothing from threads, and the suite then shares a machine well.
torch.set_num_threads(1)

WORDS = ["good", "fine", "nice", "bad", "poor", "dull", "film", "book", "meal", "the", "a", "was", "very", "so", "it"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Every test has its own cache."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="session")
def tokenizer():
    return make_tokenizer()


def make_tokenizer():
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    )


def make_model(task="single", labels=3, dropout=0.0, seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(SPECIAL + WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=labels,
        problem_type=f"{task}_label_classification",
    )
    return BertForSequenceClassification(config).to(dtype)


def make_texts(rows, seed=0):
    """Random texts of 3 to 9 words, and the number of positive minus negative words in each."""
    rng = np.random.default_rng(seed)
    texts, scores = [], []
    for _ in range(rows):
        words = rng.choice(WORDS, size=rng.integers(3, 10))
        texts.append(" ".join(words))
        scores.append(sum(w in WORDS[:3] for w in words) - sum(w in WORDS[3:6] for w in words))
    return texts, np.array(scores)


def make_data(tokenizer, rows=24, task="single", labels=3, seed=0):
    """Tokenised labelled rows."""
    texts, scores = make_texts(rows, seed)
    ids = np.clip(np.sign(scores) + 1, 0, labels - 1)
    label = ids.tolist() if task == "single" else np.eye(labels, dtype=np.float32)[ids].tolist()
    data = datasets.Dataset.from_dict({"text": texts, "label": label})
    if task == "multi":
        data = data.cast_column("label", datasets.List(datasets.Value("float32"), length=labels))
    return data.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True)


def make_pool(rows=60, seed=1, task="single", labels=3):
    """Unlabelled rows with hidden gold."""
    texts, scores = make_texts(rows, seed)
    ids = np.clip(np.sign(scores) + 1, 0, labels - 1)
    gold = ids.tolist() if task == "single" else np.eye(labels, dtype=np.float32)[ids].tolist()
    return datasets.Dataset.from_dict({"text": texts, "gold": gold})


def make_trainer(
    folder, tokenizer, *, task="single", model=None, callbacks=None, data=None, trainer=Trainer, **settings
):
    """A stock Trainer on the tiny model."""
    defaults = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "seed": 0,
    }
    return trainer(
        model=model if model is not None else make_model(task),
        args=TrainingArguments(**(defaults | settings)),
        train_dataset=data if data is not None else make_data(tokenizer, task=task),
        eval_dataset=make_data(tokenizer, rows=12, task=task, seed=9),
        processing_class=tokenizer,
        callbacks=callbacks,
    )


def method_tasks():
    """Every method with each kind of task that it is for."""
    from textpl import METHODS

    return [(name, task) for name in sorted(METHODS) for task in METHODS[name].tasks]


def brute_graph(vectors, k):
    """The k most similar other rows by brute force."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    sims = unit @ unit.T
    np.fill_diagonal(sims, -np.inf)
    ids = np.argsort(-sims, axis=1, kind="stable")[:, :k]
    return NeighborGraph(ids.astype(np.int32), np.take_along_axis(sims, ids, 1).astype(np.float32))


def distance(ours, theirs):
    """Relative distance of two gradients, lists of tensors."""
    difference = torch.cat([(a - b).flatten() for a, b in zip(ours, theirs, strict=True)]).norm()
    return float(difference / torch.cat([b.flatten() for b in theirs]).norm())


def reference_gradient(model, loss):
    """The gradient of a loss written down by hand."""
    model.zero_grad()
    loss.backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


class Stop(TrainerCallback):
    """Interrupts training after a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt
