"""The tensors of callbacks inside the Trainer's checkpoint folders."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import TrainerState, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

# One file for each kind of callback; a Trainer may hold one of each.
FILE = "textpl.safetensors"
LABELS_FILE = "textpl_labels.safetensors"


def is_being_written(args: TrainingArguments, state: TrainerState) -> bool:
    """Whether the Trainer has begun a new checkpoint of this step and not yet written its last file.

    Not seen where it writes over a checkpoint of the same step that another run left behind.
    """
    folder = _folder(args, state)
    return folder.is_dir() and not (folder / TRAINER_STATE_NAME).exists()


def save(
    args: TrainingArguments,
    state: TrainerState,
    tensors: dict[str, Tensor],
    identity: dict[str, str],
    name: str = FILE,
) -> None:
    """Write `tensors` into the file `name` of this step's checkpoint, all or nothing; `identity` says whose they are.

    Raises:
        FileNotFoundError: if the Trainer keeps its checkpoints elsewhere, as in a hyperparameter search.
    """
    folder = _folder(args, state)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist, so the Trainer saves elsewhere (a hyperparameter search?) and the run could not "
            "be resumed: set save_strategy='no' there."
        )
    partial = folder / f"{name}.partial"
    flat = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    save_file(flat, partial, metadata={"format": "1", "step": str(state.global_step), **identity})
    os.replace(partial, folder / name)


def load(args: TrainingArguments, state: TrainerState, identity: dict[str, str], name: str = FILE) -> dict[str, Tensor]:
    """Read back what `save` wrote for the step that training resumes from.

    No Trainer event carries the checkpoint's path, so it is looked for under `args.resume_from_checkpoint`, then
    `output_dir/checkpoint-{step}`.

    Args:
        args: the Trainer's arguments.
        state: the Trainer's state, `global_step` being the step resumed from.
        identity: run, data and slots that the tensors must belong to.
        name: the file.

    Raises:
        ValueError: if there is none, or only that of another step, run, pool or method.
    """
    named = args.resume_from_checkpoint
    folders = [Path(named)] if isinstance(named, str) else []
    folders.append(_folder(args, state))
    for folder in folders:
        file = folder / name
        if file.exists():
            with safe_open(file, "pt") as opened:
                stored = opened.metadata() or {}
                if stored.get("step") == str(state.global_step) and stored.get("run") == identity["run"]:
                    for key, value in identity.items():
                        if stored.get(key) != value:
                            raise ValueError(
                                f"The checkpoint in {folder} was made with another {key} ({stored.get(key)}) than this "
                                f"callback ({value}): resume with the data and settings it was started with."
                            )
                    return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    raise ValueError(
        f"No {name} of step {state.global_step} in {' or '.join(map(str, folders))}: the run was stopped in the middle "
        "of a save, was trained without this callback, or lies elsewhere. Resume from an earlier "
        "checkpoint, or name the folder: TrainingArguments(resume_from_checkpoint=...). It is not resumed without its "
        "state, which would silently be another run."
    )


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
