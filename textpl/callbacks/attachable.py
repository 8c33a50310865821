"""What the callbacks that `textpl.attach` takes have in common: one Trainer, a labelled loss, state in checkpoints."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from textpl.callbacks import checkpoint
from textpl.components.labeled import LabeledLoss
from textpl.components.slot import Stateful, call_each, identity_of
from textpl.components.step import Run


class Attachable(TrainerCallback, ExportableState):
    """A callback that belongs to one Trainer and whose parts are saved and resumed with its checkpoints.

    Args:
        labeled_loss: replaces the supervised loss in training, None leaves it.
    """

    state_file: ClassVar[str]
    _run: Run

    def __init__(self, labeled_loss: LabeledLoss | None) -> None:
        self.labeled_loss = labeled_loss
        self.labeled_tokens = 0  # of the labelled batches whose loss it computed in this training
        self.looked_ahead_tokens = 0  # of those that the loss had to see before the step
        self._attached_args: TrainingArguments | None = None
        self._run_id = ""
        self._training: tuple[TrainingArguments, TrainerState] | None = None
        self._saved_step = -1

    def mark_attached(self, args: TrainingArguments) -> None:
        """Remember the Trainer (by its arguments) that `textpl.attach` has made exact."""
        self._attached_args = args

    def attached_to(self, args: TrainingArguments) -> bool:
        """Whether that Trainer is this one."""
        return self._attached_args is args

    @property
    def run(self) -> Run:
        """The run being trained, known from the start of training on."""
        return self._run

    def state(self) -> dict[str, Any]:
        """What the Trainer stores in `trainer_state.json`: by it a checkpoint's tensors are known to be its own.

        Being asked is also the one sign that the Trainer gives between making a checkpoint's folder and deleting older
        ones. The tensors are saved then: after a kill in between, every checkpoint that is left can be resumed from.
        """
        if self._training is not None and checkpoint.is_being_written(*self._training):
            self._save(*self._training)
        return {"args": {}, "attributes": {"run_id": self._run_id}}

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Let parts with modules of their own step them as the Trainer is about to step the model."""
        optimizer = kwargs["optimizer"]
        scaler = getattr(optimizer, "scaler", None)
        scale = 1.0 if scaler is None else float(scaler.get_scale())
        call_each(self._parts().values(), "before_optimizer_step", args, optimizer.param_groups[0]["lr"], scale)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Let the parts follow the new weights, and share with the other processes what they learned."""
        call_each(self._parts().values(), "after_step", self._run)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save the parts' tensors in the checkpoint folder, unless `state` has."""
        if args.should_save and self._saved_step != state.global_step:
            self._save(args, state)

    def _start(self, args: TrainingArguments, state: TrainerState) -> None:
        """Let the parts get ready for `self._run`, and take back what they saved where a run is resumed."""
        self.labeled_tokens = self.looked_ahead_tokens = 0
        call_each(self._parts().values(), "prepare", self._run)
        if state.global_step == 0:
            self._run_id = uuid.uuid4().hex
        else:
            # Keyed by class name; the Trainer stores a list where a class occurs more than once.
            stored = state.stateful_callbacks.get(type(self).__name__, {})
            self._run_id = stored.get("attributes", {}).get("run_id", "") if isinstance(stored, dict) else ""
            if self._stateful():
                self._load_state(checkpoint.load(args, state, self._identity(), self.state_file))
        self._training, self._saved_step = (args, state), -1

    def _parts(self) -> dict[str, Any]:
        """Name -> what may want to be called and saved, each part once."""
        raise NotImplementedError

    def _data_identity(self) -> dict[str, str]:
        """By which the data of a checkpoint are known to be these."""
        raise NotImplementedError

    def _identity(self) -> dict[str, str]:
        slots = ", ".join(f"{name}={identity_of(part)}" for name, part in self._parts().items())
        return {"run": self._run_id, **self._data_identity(), "slots": slots}

    def _stateful(self) -> dict[str, Stateful]:
        return {name: part for name, part in self._parts().items() if isinstance(part, Stateful)}

    def _save(self, args: TrainingArguments, state: TrainerState) -> None:
        tensors = {
            f"{name}.{key}": tensor
            for name, part in self._stateful().items()
            for key, tensor in part.state_dict().items()
        }
        if tensors:
            checkpoint.save(args, state, tensors, self._identity(), self.state_file)
        self._saved_step = state.global_step

    def _load_state(self, state: dict[str, Tensor]) -> None:
        device = next(self._run.model.parameters()).device
        for name, part in self._stateful().items():
            prefix = f"{name}."
            part.load_state_dict({k[len(prefix) :]: v.to(device) for k, v in state.items() if k.startswith(prefix)})


def unique(parts: dict[str, Any]) -> dict[str, Any]:
    """Leave out what stands there already under another name: one object may fill several slots."""
    first = {id(part): name for name, part in reversed(parts.items())}
    return {name: part for name, part in parts.items() if first[id(part)] == name}
