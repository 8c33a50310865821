"""How long a model takes for one batch of labelled rows on this machine."""

from __future__ import annotations

import statistics
import time

import torch

from textpl.models import load_classifier
from textpl.recipes.parsing import LoadedRecipe
from textpl.tasks import make_task

_TIMED = 3  # batches, after one that warms up


def seconds_per_batch(loaded: LoadedRecipe) -> float:
    """Median time of a forward and a backward pass of the recipe's model, in full precision, on random tokens.

    Args:
        loaded: the recipe; its model is loaded, batches have its size and every text `max_length` tokens.

    Raises:
        OSError: if the model cannot be loaded.
    """
    wanted, train = loaded.recipe.model, loaded.recipe.train
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task = make_task("single_label_classification", 2)
    model, _ = load_classifier(
        str(loaded.locate(wanted.name)),
        task,
        ["a", "b"],
        revision=wanted.revision,
        layers=wanted.layers,
        freeze=wanted.freeze,
    )
    model.to(device).train()
    longest = getattr(model.config, "max_position_embeddings", None) or wanted.max_length
    shape = (train.per_device_train_batch_size, min(wanted.max_length, longest))
    # The first ids are those of special tokens; one of padding could end a text.
    ids = torch.randint(min(5, model.config.vocab_size - 1), model.config.vocab_size, shape, device=device)
    labels = torch.zeros(shape[0], dtype=torch.long, device=device)
    taken = []
    for _ in range(1 + _TIMED):
        start = time.perf_counter()
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])
