"""Co-teaching: two networks, each learning from the rows that the other finds easy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from textpl.components.extras import Extras
from textpl.components.labeled import LabeledBatch, as_targets
from textpl.components.outputs import output_layer
from textpl.components.slot import Slot
from textpl.components.step import Run
from textpl.tasks import SingleLabel, full_precision

# Recent losses that are remembered for each given label value; enough for a quantile, few enough to be recent.
MEMORY = 64


class CoTeaching(Slot):
    """Train a peer beside the model; each leaves out the share of rows on which the *other's* loss is largest.

    Han et al. 2018 (arXiv 1804.06872, algorithm 1). The share left out rises linearly from 0 to `noise_rate` over
    `warm_up`. Two departures, as a fine-tune has small batches: losses are ranked among the most recent ones of rows
    with the *same given label* (over all rows, rare and hard labels would be left out first), and the kept rows of a
    label stand in for those left out (divided by the share kept, not by a count within the micro-batch), which keeps
    the balance of the labels and is exact under gradient accumulation. Multi-label: cells, those given and those not
    given of each label ranked apart.

    The peer is a copy of the model with a fresh output layer, trained with AdamW at the Trainer's rate and settings.
    It is saved in checkpoints only; the model that is left is a plain one. Costs the time and memory of a second
    training.
    When to use: much noise (20 % and more) of about known size, and some hundred steps.

    Args:
        noise_rate: share of the given labels that are wrong, in [0, 1); a number, or one for each label.
        missing_rate: multi-label: share of the labels not given that should be; a number, or one for each label.
        warm_up: share of the run until that many are left out.
        seed: of the peer's output layer.

    Raises:
        ValueError: for rates outside [0, 1); at the start of training for rates of a wrong size, or for several
            processes.
    """

    networks = 2  # trained at a time

    def __init__(self, noise_rate: Any, *, missing_rate: Any = 0.0, warm_up: float = 0.3, seed: int = 0) -> None:
        super().__init__()
        self.noise_rate, self.missing_rate = _rates("noise_rate", noise_rate), _rates("missing_rate", missing_rate)
        if not 0 <= warm_up <= 1:
            raise ValueError(f"warm_up={warm_up!r}: a share of the run, in [0, 1].")
        self.warm_up, self.seed = warm_up, seed
        self.extras = Extras(lambda run: _peer_of(run, seed))

    def prepare(self, run: Run) -> None:
        """Copy the model, give the copy a fresh output layer and an optimizer, forget all losses."""
        if run.world > 1:
            raise ValueError("CoTeaching trains its second network in one process only: start a single process.")
        for name, rates in (("noise_rate", self.noise_rate), ("missing_rate", self.missing_rate)):
            if len(rates) not in (1, run.task.num_labels):
                raise ValueError(f"{name} has {len(rates)} values; the model knows {run.task.num_labels} labels.")
        super().prepare(run)
        # Kinds of label values: each label given, and each not given (only used in multi-label).
        kinds, device = 2 * run.task.num_labels, next(self.peer.parameters()).device
        self.losses = nn.ModuleDict({name: RecentLosses(kinds, device) for name in ("model", "peer")})
        labels = run.task.num_labels
        self._rate = torch.from_numpy(
            np.concatenate([np.broadcast_to(r, labels) for r in (self.missing_rate, self.noise_rate)])
        ).to(device, torch.float32)

    def __call__(self, logits: Tensor, labels: Tensor, batch: LabeledBatch) -> Tensor:
        """The model's loss on what the peer keeps; the peer's gradient on what the model keeps is added to the peer."""
        y = as_targets(labels, batch.task)
        with torch.autocast(logits.device.type, batch.run.precision, enabled=batch.run.precision == torch.bfloat16):
            peer_logits = self.peer(**batch.inputs).logits
        ours = batch.task.cross_entropy(full_precision(logits), y)
        theirs = batch.task.cross_entropy(full_precision(peer_logits), y)
        if isinstance(batch.task, SingleLabel):
            kind = batch.task.num_labels + y.argmax(-1)
        else:
            kind = torch.arange(batch.task.num_labels, device=y.device) + batch.task.num_labels * (y >= 0.5)
        rate = self._rate * (min(batch.progress / self.warm_up, 1.0) if self.warm_up else 1.0)
        counted = torch.ones_like(ours, dtype=torch.bool) if batch.weight is None else batch.weight > 0
        keep = [
            self.losses[name].keep(  # type: ignore[operator]
                losses.detach(), kind, counted, rate
            )
            / (1 - rate)[kind]
            for name, losses in (("model", ours), ("peer", theirs))
        ]
        batch.mean(keep[0] * theirs).backward()
        return keep[1] * ours

    def before_optimizer_step(self, args: Any, learning_rate: float, scale: float) -> None:
        """Step the peer, whose loss is never scaled."""
        super().before_optimizer_step(args, learning_rate, 1.0)

    @property
    def peer(self) -> nn.Module:
        """The second network, known from the start of training on."""
        return self.extras.module

    @property
    def identity(self) -> str:
        """Its settings; a run is not resumed with others."""
        rates = self.noise_rate.tolist(), self.missing_rate.tolist()
        return f"CoTeaching({rates[0]}, {rates[1]}, warm_up={self.warm_up}, seed={self.seed})"


class RecentLosses(nn.Module):
    """The last `MEMORY` losses of each kind of label value, in a ring.

    Args:
        kinds: how many kinds there are.
        device: where the losses are.
    """

    values: Tensor
    counts: Tensor

    def __init__(self, kinds: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("values", torch.full((kinds, MEMORY), float("nan"), device=device))
        self.register_buffer("counts", torch.zeros(kinds, dtype=torch.int64, device=device))  # ever seen

    def keep(self, losses: Tensor, kind: Tensor, counted: Tensor, rate: Tensor) -> Tensor:
        """Take in `losses` and say which are not among the largest share `rate` of their kind; 0/1, their shape.

        Args:
            losses: of any shape.
            kind: int64, the shape of `losses` or one that broadcasts to it.
            counted: bool, the shape of `losses`: the others are not remembered.
            rate: share to leave out, (kinds,).
        """
        kind = kind.expand_as(losses)
        self._remember(losses[counted], kind[counted])
        sorted_values = self.values.sort(1).values  # nan last
        filled = self.counts.clamp_max(MEMORY)
        largest_kept = ((1 - rate) * filled).round().long().clamp(1, MEMORY) - 1
        cut = sorted_values.gather(1, largest_kept[:, None]).squeeze(1)
        kept = losses.to(cut) <= cut[kind]
        return (kept | (rate == 0)[kind]).to(losses)

    def _remember(self, losses: Tensor, kind: Tensor) -> None:
        order = kind.argsort(stable=True)
        losses, kind = losses[order], kind[order]
        new = torch.bincount(kind, minlength=len(self.counts))
        position = torch.arange(len(kind), device=kind.device) - (new.cumsum(0) - new)[kind]
        last = position >= (new - MEMORY)[kind]  # no place is written twice
        place = (self.counts[kind] + position) % MEMORY
        self.values[kind[last], place[last]] = losses[last].to(self.values)
        self.counts += new


def _peer_of(run: Run, seed: int) -> nn.Module:
    peer = copy.deepcopy(run.model)
    # What accelerate wraps around the forward of the model (autocast) would go on calling the model.
    if peer.__dict__.pop("_original_forward", None) is not None:
        del peer.forward
    peer.zero_grad()
    peer.train()
    head = output_layer(peer, run.task.num_labels)
    if head is None:
        raise ValueError("CoTeaching finds no linear output layer in the model, from which its peer must differ.")
    spread = getattr(run.model.config, "initializer_range", 0.02)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(spread * torch.randn(head.weight.shape, generator=generator))
    return peer


def _rates(name: str, given: Any) -> np.ndarray:
    rates = np.atleast_1d(np.asarray(given, np.float64))
    wrong = ~((rates >= 0) & (rates < 1))
    if rates.ndim != 1 or wrong.any():
        where = f" (label {int(np.flatnonzero(wrong)[0])})" if rates.ndim == 1 and len(rates) > 1 else ""
        raise ValueError(f"{name}={given!r}{where}: a share in [0, 1), or a list of one for each label.")
    return rates
