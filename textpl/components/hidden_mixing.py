"""MixText: labeled and unlabeled texts mixed inside the encoder."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textpl.components.objectives import StudentBatch, weighted_sum
from textpl.components.step import Run, Step
from textpl.components.teachers import Target, all_valid

# Layers after which the authors mix, of 12: those found to hold syntax and meaning.
OF_TWELVE = (7, 9, 12)


def mean_over_views(step: Step) -> Target:
    """Mean probabilities of a text and its views (Chen, Yang & Yang 2020, arXiv 2004.12239), equal weights."""
    p = torch.stack([step.task.probabilities(step.forward(view).logits) for view in step.views])
    return all_valid(p.mean(0))


class HiddenMixing:
    """TMix on labeled rows and pool rows together (MixText, Chen, Yang & Yang 2020, arXiv 2004.12239).

    Each chunk of pool rows, their views and as many labeled rows are paired at random; hidden states become
    lam h_a + (1 - lam) h_b after one layer, drawn anew for each chunk, and targets lam y_a + (1 - lam) y_b, with
    lam ~ Beta(a, a), lam = max(lam, 1 - lam). The loss is H(y, p) of mixed rows whose first text is labeled, and
    KL(y || p) of those whose first text is of the pool, each a mean.

    From the mixed layer on, both texts' tokens are attended to (the authors attend to padding as well). A head that
    pools over the attention mask reads the first text's tokens only.

    Departures: the Trainer's own labeled rows are learned unmixed, beside these; the hinge on entropy, which the
    authors' commands leave out, is left out.

    Args:
        alpha: a of the Beta distribution; larger mixes more evenly. 16 in the paper for few labels, below 1 for many.
        layers: after which to mix, counted from 1; default: the 7th, 9th and 12th of 12, in proportion.

    Raises:
        ValueError: for settings out of range; at the start of training for layers that are not found.
    """

    def __init__(self, alpha: float = 2.0, layers: Sequence[int] | None = None) -> None:
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha={alpha!r}: must be > 0.")
        if layers is not None and (not layers or min(layers) < 1):
            raise ValueError(f"layers={layers!r}: numbers of layers, counted from 1.")
        self.alpha, self.layers = alpha, None if layers is None else tuple(layers)

    views = None  # any number

    @property
    def identity(self) -> str:
        """Its settings; a run is not resumed with others."""
        return f"HiddenMixing({self.alpha}, {self.layers})"

    def prepare(self, run: Run) -> None:
        """Find the model's layers."""
        self._stack = encoder_layers(run.model)
        depth = len(self._stack)
        self._after = self.layers or tuple(sorted({max(1, round(depth * layer / 12)) for layer in OF_TWELVE}))
        if max(self._after) > depth:
            raise ValueError(f"layers={self._after}: the model has {depth}.")

    def __call__(self, batch: StudentBatch, step: Step) -> Tensor:
        """Mean loss of the mixed labeled rows and of the mixed pool rows, each over what was drawn."""
        labeled = step.labeled_rows(len(step.rows))
        inputs = {name: tensor[batch.at] for name, tensor in labeled.inputs.items()}
        inputs = stacked([inputs, *batch.views], step.run.pool.tokens.pad_token_id)
        targets = torch.cat([labeled.targets[batch.at].to(batch.q), *[batch.q] * len(batch.views)])
        rng = np.random.default_rng(step.seed(int(batch.at[0]), step.run.rank, 5))
        order = torch.from_numpy(rng.permutation(len(targets))).to(batch.at.device)
        share, after = float(rng.beta(self.alpha, self.alpha)), int(rng.choice(self._after))
        share = max(share, 1 - share)
        with mixed_after(self._stack, after, order, share):
            logits = step.forward(inputs, grad=True, train=True).logits
        targets = share * targets + (1 - share) * targets[order]
        losses, known = step.task.cross_entropy(logits, targets), len(batch.at)
        supervised = losses[:known].sum() / batch.count
        divergence = losses[known:] - step.task.entropy(targets[known:])
        weights = torch.cat([batch.w] * len(batch.views))
        return supervised + weighted_sum(divergence, weights) / (batch.count * len(batch.views))


def encoder_layers(model: nn.Module) -> nn.ModuleList:
    """Find the transformer layers of a model.

    Raises:
        ValueError: for a model that does not keep one module per layer in a list.
    """
    config: Any = model.config
    depth = config.num_hidden_layers
    found: dict[str, nn.ModuleList] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and len(module) == depth and not inside:
            found[name] = module
    # Several lists are the parts of a layer, or an encoder and a decoder; XLNet keeps tokens before rows; Longformer
    # has masks that say the opposite.
    if len(found) == 1 and config.model_type not in ("xlnet", "longformer"):
        return next(iter(found.values()))
    raise ValueError(
        f"The {depth} layers of {type(model).__name__} were not found as one list of layers (some models use one layer "
        "several times, or have several lists), so that nothing can be mixed between them: take a BERT-like encoder."
    )


@contextmanager
def mixed_after(stack: nn.ModuleList, after: int, order: Tensor, share: float) -> Iterator[None]:
    """Mix rows in the passes inside the context.

    Args:
        stack: the model's layers.
        after: of the layer, from 1, whose output becomes share * row + (1 - share) * row[order].
        order: which row is mixed into each, int64 (rows,).
        share: of the row itself.
    """

    def mix(module: nn.Module, inputs: Any, output: Any) -> Any:
        hidden = output[0] if isinstance(output, tuple) else output
        mixed = share * hidden + (1 - share) * hidden[order]
        return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

    def unite(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict]:
        names = list(inspect.signature(module.forward).parameters)
        united = tuple(_either(names[i] if i < len(names) else "", value, order) for i, value in enumerate(args))
        return united, {name: _either(name, value, order) for name, value in kwargs.items()}

    hooks = [stack[after - 1].register_forward_hook(mix)]
    hooks += [layer.register_forward_pre_hook(unite, with_kwargs=True) for layer in stack[after:]]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _either(name: str, value: Any, order: Tensor) -> Any:
    """Let tokens that one of two rows has be attended to: whatever the mask is made of, more is attended to."""
    if "mask" in name and isinstance(value, Tensor) and len(value) == len(order):
        return value | value[order] if value.dtype == torch.bool else torch.maximum(value, value[order])
    return value


def stacked(parts: Sequence[Mapping[str, Tensor]], pad_token_id: int) -> dict[str, Tensor]:
    """Join rows of different length, padded on the right.

    Args:
        parts: model inputs, each (rows, tokens) or (rows, tokens, numbers per token); of all, the first one's names.
        pad_token_id: fills `input_ids`; 0 fills the others.
    """
    longest = max(part["attention_mask"].shape[1] for part in parts)

    def padded(name: str, tensor: Tensor) -> Tensor:
        added = [0, 0] * (tensor.ndim - 2) + [0, longest - tensor.shape[1]]
        return F.pad(tensor, added, value=pad_token_id if name == "input_ids" else 0)

    return {name: torch.cat([padded(name, part[name]) for part in parts]) for name in parts[0]}
