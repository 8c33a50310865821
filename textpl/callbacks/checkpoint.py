"""The slots' tensors inside the Trainer's checkpoint folders."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import TrainerState, TrainingArguments

FILE = "textpl.safetensors"


def save(args: TrainingArguments, state: TrainerState, tensors: dict[str, Tensor]) -> None:
    """Write `tensors` into the checkpoint of this step, all or nothing."""
    folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE}.partial"
    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(flat, partial, metadata={"format": "1", "step": str(state.global_step)})
    os.replace(partial, folder / FILE)


def load(args: TrainingArguments, state: TrainerState) -> dict[str, Tensor]:
    """Read back what `save` wrote for the step that training resumes from.

    No Trainer event carries the checkpoint's path, so it is looked for under `args.resume_from_checkpoint`, then
    `output_dir/checkpoint-{step}`.

    Args:
        args: the Trainer's arguments.
        state: the Trainer's state, `global_step` being the step resumed from.

    Raises:
        ValueError: if there is none, or only that of another step.
    """
    named = args.resume_from_checkpoint
    folders = [Path(named)] if isinstance(named, str) else []
    folders.append(Path(args.output_dir) / f"checkpoint-{state.global_step}")
    for folder in folders:
        file = folder / FILE
        if file.exists():
            with safe_open(file, "pt") as opened:
                if (opened.metadata() or {}).get("step") == str(state.global_step):
                    return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    raise ValueError(
        f"No {FILE} of step {state.global_step} in {' or '.join(map(str, folders))}: the run was stopped between the "
        "Trainer's save and ours, was trained without this callback, or lies elsewhere. Resume from an earlier "
        "checkpoint, or name the folder: TrainingArguments(resume_from_checkpoint=...). It is not resumed without its "
        "state, which would silently be another run."
    )
