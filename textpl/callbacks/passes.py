"""Passes of the model that the callback runs beside the Trainer's: in chunks, counted, with features."""

from __future__ import annotations

import torch
from torch import Tensor

from textpl.callbacks.monitor import Monitor
from textpl.components.outputs import Outputs, inputs_of, output_layer
from textpl.components.step import Run
from textpl.inference import chunked


class Passes:
    """Runs the model for teachers and objectives; called as `passes(inputs, grad, train) -> Outputs`.

    Args:
        run: the run; its model is not wrapped, so that backward stays in this process.
        chunk: rows per pass without gradient.
        monitor: counts the passes.
    """

    def __init__(self, run: Run, chunk: int, monitor: Monitor) -> None:
        self._run, self._chunk, self._monitor = run, chunk, monitor
        self._layer = output_layer(run.model, run.task.num_labels)
        self.finite: Tensor | None = None  # whether the logits of all passes with gradient were, since it was reset

    def __call__(self, inputs: dict[str, Tensor], grad: bool, train: bool) -> Outputs:
        """Run the model; see `Step.forward`."""
        model = self._run.model
        if model.training != train:
            model.train(train)
        with torch.set_grad_enabled(grad):
            if grad:
                outputs = self._run_once(inputs)
                finite = outputs.logits.detach().isfinite().all()
                self.finite = finite if self.finite is None else self.finite & finite
                self._monitor.count("student", inputs)
                return outputs
            parts = []
            for chunk in chunked(inputs, self._chunk):
                parts.append(self._run_once(chunk))
                self._monitor.count("teacher", chunk)
        seen = [part.output_inputs for part in parts if part.output_inputs is not None]
        features = torch.cat(seen) if len(seen) == len(parts) else None
        return Outputs(torch.cat([part.logits for part in parts]), features)

    def _run_once(self, inputs: dict[str, Tensor]) -> Outputs:
        with inputs_of(self._layer) as seen:
            logits = self._run.model(**inputs).logits
        one_vector_per_row = len(seen) == 1 and seen[0].ndim == 2
        return Outputs(logits, seen[0] if one_vector_per_row else None)
