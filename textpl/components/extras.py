"""Modules that are trained beside the model and are no part of it: a projection, further heads, a second network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from textpl.components.outputs import output_layer
from textpl.components.slot import Slot
from textpl.components.step import Run


def feature_size(run: Run) -> tuple[int, torch.dtype]:
    """Return the width of the model's features, and the dtype for a module that reads them: float32 at least.

    Raises:
        ValueError: for a model without a linear output layer.
    """
    layer = output_layer(run.model, run.task.num_labels)
    if layer is None:
        raise ValueError(f"No linear output layer was found in {type(run.model).__name__}, whose input would be read.")
    return layer.in_features, torch.promote_types(layer.weight.dtype, torch.float32)


class Extras(Slot):
    """Trains a module beside the model, with AdamW at the Trainer's rate, settings and clipping.

    It is saved in checkpoints only; the model that is left is a plain one. Its gradients are averaged over the
    processes here, as DDP knows nothing of it.

    Args:
        make: `make(run) -> module`, asked at the start of every training; any random numbers it draws are a function
            of `seed`.
        seed: of the fresh module.

    Attributes:
        module: the module, known from the start of training on.
    """

    def __init__(self, make: Callable[[Run], nn.Module], seed: int = 0) -> None:
        super().__init__()
        self._make, self.seed = make, seed
        self.module: nn.Module = nn.Identity()

    def prepare(self, run: Run) -> None:
        """Make the module and its optimizer."""
        device = next(run.model.parameters()).device
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)  # torch.manual_seed would seed every GPU for the run, too
            self.module = self._make(run).to(device)
        trained = [p for p in self.module.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            [{"params": [p for p in trained if p.ndim > 1]}, {"params": [p for p in trained if p.ndim <= 1]}]
        )
        self._run = run

    def before_optimizer_step(self, args: Any, learning_rate: float, scale: float) -> None:
        """Step the module, unless it has no gradient (no pool row was learned from) or one that is not finite (fp16).

        Args:
            args: the Trainer's arguments: settings of AdamW, and the largest norm of the gradient.
            learning_rate: of this step.
            scale: what the losses were multiplied by.
        """
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        if self._run.world > 1 and not self._reduce(parameters):
            return
        if scale != 1:
            torch._foreach_div_([p.grad for p in parameters if p.grad is not None], scale)
        if args.max_grad_norm > 0:
            nn.utils.clip_grad_norm_(parameters, args.max_grad_norm)
        for group, decay in zip(self._optimizer.param_groups, (args.weight_decay, 0.0), strict=True):
            group |= {
                "lr": learning_rate,
                "betas": (args.adam_beta1, args.adam_beta2),
                "eps": args.adam_epsilon,
                "weight_decay": decay,
            }
        if scale == 1 or all(bool(p.grad.isfinite().all()) for p in parameters if p.grad is not None):
            self._optimizer.step()
        self._optimizer.zero_grad()

    def _reduce(self, parameters: list[nn.Parameter]) -> bool:
        """Average the gradients over all processes; False if none has any."""
        has = torch.tensor(float(any(p.grad is not None for p in parameters)), device=parameters[0].device)
        if not self._run.reduce(has) > 0:
            return False
        for p in parameters:
            p.grad = self._run.reduce(torch.zeros_like(p) if p.grad is None else p.grad)
        return True

    # The moments of the optimizer are tensors too.

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for i, values in self._optimizer.state_dict()["state"].items():
            for name, value in values.items():
                destination[f"{prefix}optimizer.{i}.{name}"] = value

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state_dict.items():
            if key.startswith(f"{prefix}optimizer."):
                i, name = key.removeprefix(f"{prefix}optimizer.").split(".")
                moments.setdefault(int(i), {})[name] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
