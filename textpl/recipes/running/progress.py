"""One progress bar per training, with the numbers that tell how it goes."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from textpl.progress import progress_bar

SHOWN = {"loss": "loss", "textpl/mask_rate": "mask", "textpl/precision": "precision"}


class TrainingBar(TrainerCallback):
    """A tqdm bar over optimizer steps; shows loss, mask rate and, where gold is known, pseudo-label precision."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar."""
        self._bar = progress_bar(total=state.max_steps, unit="step", leave=True, shown=state.is_world_process_zero)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One step further."""
        self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Show the newest numbers."""
        newest = state.log_history[-1] if state.log_history else {}
        if "loss" in newest:
            self._bar.set_postfix({short: f"{newest[key]:.3f}" for key, short in SHOWN.items() if key in newest})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self._bar.close()
