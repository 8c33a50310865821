"""Neighbours as a teacher: the pool is labelled from embeddings, the model's own or another encoder's.

The protocol of "Exploring Beyond Logits" (arXiv 2404.17173): a representation is more reliable than the classifier on
top of it, so train, relabel the pool by neighbours in the trained space, go on training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from textpl.components.labeled_rows import is_transformed, label_keys, read_rows, seen_rows
from textpl.components.step import Run, Step
from textpl.components.table_teacher import Refresh, TableTeacher
from textpl.components.teachers import Target
from textpl.embeddings.cache import encode_cached
from textpl.embeddings.encoders import ClassifierEncoder, Encoder, get_encoder
from textpl.embeddings.neighbors import neighbor_graph, unit_rows
from textpl.reading.find_columns import declared_names
from textpl.reading.labels import arrow_column, infer_coding
from textpl.relabeling.methods import METHODS
from textpl.relabeling.nodes import Nodes
from textpl.relabeling.priors import resolve_prior
from textpl.relabeling.problem import Problem
from textpl.relabeling.soft_labels import GRAPH_K, soft_labels
from textpl.tasks import MultiLabel
from textpl.tokens import TextColumn, Tokens, text_columns


class HDLTeacher(TableTeacher):
    """Labels from neighbours (HDL, kNN, propagation or any other method of `textpl.label`) as targets.

    With `encoder="model"` the labelled rows and the pool are encoded by the model being trained when the teacher is
    first asked, and again every `refresh` steps; a weight schedule that starts late (`linear(1.0, start=0.5, end=0.5)`)
    or `Then(SelfTeacher(), HDLTeacher())` lets the model learn first. Any other encoder is fixed, and so are its
    labels. Rows that no labelled row can reach are left out (the teacher abstains).

    Args:
        labeled: `datasets.Dataset` with the labelled rows; default: the Trainer's own. A fixed encoder needs their
            texts.
        encoder: "model", or what `textpl.label` takes.
        method: "auto", or a key of `textpl.relabeling.methods.METHODS`.
        k: neighbours; default: the method's.
        refresh: with `encoder="model"`: "epoch" relabels after every pass through the pool, a number after so many
            optimizer steps, None never.
        class_prior: single-label: shares that the classes of the pool are known to have, see `textpl.label`.
        text_column: text column of `labeled`, or the two of a pair; a fixed encoder reads a pair as one text.
        label_column: label column of `labeled`: names or ids of the model's labels, or multi-hot lists.
        cache_dir: folder of the embeddings of a fixed encoder.

    Raises:
        ValueError: at once for a refresh out of range; at the start of training for missing columns.
    """

    def __init__(
        self,
        labeled: Dataset | None = None,
        *,
        encoder: str | Encoder | Any = "model",
        method: str = "hdl",
        k: int | None = None,
        refresh: Refresh = "epoch",
        class_prior: Any = "none",
        text_column: TextColumn = "text",
        label_column: str = "label",
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__(refresh, torch.float16)
        if method not in ("auto", *METHODS) or not (k is None or (isinstance(k, int) and k > 0)):
            raise ValueError(
                f"method={method!r}, k={k!r}: use 'auto' or one of {', '.join(METHODS)}, and a k from 1 on."
            )
        self.labeled, self.method, self.k = labeled, method, k
        self.__dict__["encoder"] = encoder  # an encoder that is a module is no part of this one's state
        self.class_prior, self.cache_dir = class_prior, cache_dir
        self.text_column, self.label_column = text_column, label_column

    def prepare(self, run: Run) -> None:
        """Read the labelled rows; label the pool if the encoder is fixed."""
        super().prepare(run)
        self._targets, self._rows = self._read_labeled(run)
        self._prior = resolve_prior(self.class_prior, self._targets, multi=isinstance(run.task, MultiLabel))
        if self._is_the_model:
            self._tokens = run.pool.tokenize(self._rows, self.text_column)
            return
        columns = text_columns(self.text_column)
        if not set(columns) <= set(self._rows.column_names) or not run.pool.text_columns:
            raise ValueError(
                f"HDLTeacher(encoder={self.encoder!r}) needs the texts of labelled rows and pool: keep a column "
                f"{self.text_column!r} in both (Trainer drops it by itself), or use encoder='model'."
            )
        texts = [*_texts(self._rows, columns), *_texts(run.pool.dataset, run.pool.text_columns)]
        vectors = encode_cached(get_encoder(self.encoder), texts, cache_dir=self.cache_dir)
        self.fill(self._label(vectors, run), 0)

    def _read_labeled(self, run: Run) -> tuple[np.ndarray, Dataset]:
        rows = run.labeled if self.labeled is None else self.labeled
        if not isinstance(rows, Dataset):
            raise ValueError(
                f"HDLTeacher reads the labelled rows from a datasets.Dataset, not {type(rows).__name__}: pass "
                "labeled=Dataset.from_dict(...)."
            )
        column = run.label_column if self.labeled is None else self.label_column
        if len(rows) and is_transformed(rows) and (keys := label_keys(read_rows(rows, [0])[0])):
            rows, column = seen_rows(rows, None, tokens=False), column if column in keys else keys[0]
        rows = rows.with_format(None)
        if column not in rows.column_names:
            raise ValueError(f"HDLTeacher: labeled has no column {column!r}; its columns are {rows.column_names}.")
        if not len(rows):
            raise ValueError("HDLTeacher: labeled has no rows: there is nothing to label the pool from.")
        where = f"HDLTeacher's labeled, column {column!r}"
        names = declared_names({"labeled": rows}, column, run.label_names)
        values = arrow_column(rows, column)
        coding = infer_coding(values, where, label_names=names, problem_type=run.task.problem_type)
        return run.task.targets(torch.from_numpy(coding.encode(values, where))).numpy(), rows

    @property
    def identity(self) -> str:
        """What a checkpoint of this teacher belongs to: settings and labels, once prepared."""
        encoder = self.encoder if isinstance(self.encoder, str) else getattr(self.encoder, "name", "")
        labels = hashlib.sha256(self._targets.tobytes()).hexdigest()[:16]
        return f"HDLTeacher({self.method}, k={self.k}, {encoder}, prior {self._prior}, labels {labels})"

    def make(self, step: Step) -> Target:
        """Calibrated probabilities of all pool rows, and where a labeled row was within reach."""
        vectors = np.concatenate([self._encode(self._tokens, step.run), self._encode(step.run.pool.tokens, step.run)])
        return self._label(vectors, step.run)

    def _due(self, step: Step) -> bool:
        return super()._due(step) and (self._is_the_model or int(self.made_at) < 0)

    @property
    def _is_the_model(self) -> bool:
        return isinstance(self.encoder, str) and self.encoder == "model"

    def _encode(self, tokens: Tokens, run: Run) -> np.ndarray:
        """Vectors of all rows in the model's space; every process encodes its share."""
        model: Any = run.model
        encoder = ClassifierEncoder(
            model.get_base_model() if hasattr(model, "get_base_model") else model, run.pool.tokenizer
        )
        own = np.arange(run.rank, len(tokens), run.world)
        read: Any = lambda rows: tokens.read_inputs(own[rows])  # noqa: E731 - the ids and what else the model takes
        vectors = encoder.encode_tokens(len(own), read, tokens.lengths[own], progress=False)
        self.prepared_tokens += int(tokens.lengths[own].sum())
        if run.world == 1:
            return vectors
        everything = torch.zeros(len(tokens), vectors.shape[1])
        everything[own] = torch.from_numpy(vectors)
        return (run.reduce(everything.to(next(run.model.parameters()).device)) * run.world).cpu().numpy()

    def _label(self, vectors: np.ndarray, run: Run) -> Target:
        multi = isinstance(run.task, MultiLabel)
        nodes = Nodes.build(unit_rows(vectors), self._targets)
        graph = neighbor_graph(nodes.vectors, max(self.k or 0, GRAPH_K), progress=False)
        problem = Problem(nodes.vectors, graph, nodes.targets, nodes.gold, multi, None if multi else self._prior)
        soft = soft_labels(problem, self.method, self.k, progress=False)
        own = nodes.of[len(self._targets) :]
        return torch.from_numpy(soft.p[own]), torch.from_numpy(soft.result.labeled[own])


def _texts(dataset: Dataset, columns: Sequence[str]) -> Sequence[str]:
    """The texts of a column; the two of a pair on a line each."""
    texts = [dataset[column][:] for column in columns]
    return texts[0] if len(texts) == 1 else ["\n".join(pair) for pair in zip(*texts, strict=True)]
