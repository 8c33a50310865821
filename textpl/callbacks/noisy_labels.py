"""The callback that puts another loss in the place of the supervised one, for labels that may be wrong."""

from __future__ import annotations

from typing import Any

from transformers import TrainerControl, TrainerState, TrainingArguments

from textpl.callbacks import checkpoint, setup
from textpl.callbacks.attachable import Attachable
from textpl.callbacks.label_checks import refuse_other_order
from textpl.callbacks.semi_supervised import TRAINING_PASSES
from textpl.components.labeled import LabeledLoss, cross_entropy
from textpl.components.labeled_rows import seen_rows


class NoisyLabels(Attachable):
    """Trains on labels that may be wrong: with weights, and with a loss that withstands noise.

    Put it in with `textpl.attach(trainer, NoisyLabels(loss))`. A float column `label_weight` of the training set is
    consumed by itself, with any loss: one number per row, or in multi-label one per cell; 0 masks a cell. A step's
    loss is sum(weight * loss) / sum(weight) over all its rows (cells), micro-batches and processes, so that what is
    masked does not shrink the gradient of the rest; without the column it is the plain mean. Labels may be soft: a
    distribution over the labels in place of a class id, numbers in [0, 1] in place of 0 and 1. Evaluation keeps the
    plain, unweighted loss. It may stand beside a `SemiSupervised` that has no `labeled_loss`.

    Args:
        loss: default: the plain cross-entropy, which is what weights alone need. See `ForwardCorrection`,
            `GeneralizedCrossEntropy`, `SymmetricCrossEntropy`, `EarlyLearning`, `CoTeaching`.

    Raises:
        ValueError: at the start of training, for labels, weights, model or Trainer settings that do not fit, with
            the remedy.
    """

    state_file = checkpoint.LABELS_FILE

    def __init__(self, loss: LabeledLoss = cross_entropy) -> None:
        super().__init__(loss)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check what must hold, let the loss get ready, take saved state back."""
        model, dataloader = kwargs["model"], kwargs["train_dataloader"]
        setup.check_supported(args, state, model, dataloader.dataset)
        if not self.attached_to(args):
            setup.check_scaling(args, model, has_labeled_loss=True)
        dataset = seen_rows(dataloader.dataset, dataloader.collate_fn, tokens=False)
        task = setup.find_task(model, dataset)
        refuse_other_order(dataset, setup.label_key(dataset), setup.label_names(model))
        labels = setup.label_array(dataset, task, soft=True)
        self._labels = setup.labels_identity(labels)
        prior = setup.labeled_prior(labels, task)
        self._run = setup.make_run(args, state, model, dataset, task, pool=None, labeled_prior=prior)
        self._start(args, state)

    @property
    def token_passes(self) -> int:
        """Forward passes per token spent by this process, a training pass counted three times; a peer's count too."""
        return self.labeled_passes * getattr(self.labeled_loss, "networks", 1) + self.looked_ahead_tokens

    @property
    def labeled_passes(self) -> int:
        """Those of the model alone: what training with the plain loss would have spent."""
        return TRAINING_PASSES * self.labeled_tokens

    def _parts(self) -> dict[str, Any]:
        return {"labeled_loss": self.labeled_loss}

    def _data_identity(self) -> dict[str, str]:
        return self._labels
