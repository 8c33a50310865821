"""Virtual adversarial training: the objective that keeps a prediction flat around a text's word embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from textpl.components.losses import kl_divergence
from textpl.components.objectives import StudentBatch, weighted_sum
from textpl.components.step import Run, Step
from textpl.inference import token_inputs
from textpl.tasks import TINY, full_precision

SMALLEST_GAP = 1e-6  # of probabilities, at which a row is divided
CHECKED = 8  # rows on which ids and their embeddings must give the same


class VirtualAdversarial:
    """KL(q || p(e + r)): r is the step that changes the prediction most (Miyato et al. 2018, arXiv 1704.03976).

    The direction comes from power iteration (their algorithm 1): d <- the gradient of KL(q || p(e + xi d)) at a random
    d; r = epsilon d / ||d||. On texts as in arXiv 1605.07725: e are *word* embeddings, d is 0 on padding and on the
    marks at a text's ends, and the norm is over the whole text. Here epsilon and xi are shares of ||e|| (of the same
    tokens), so that they mean the same for every model and a long text is moved no less than a short one. Dropout is
    off in all passes: what is flattened is the function that predicts. Noise is a function of seed, step and row.

    Costs two training passes of the pool's rows, and the teacher's.

    Args:
        epsilon: length of the step.
        xi: length of the probe; large enough for bfloat16.
        iterations: of the power method.

    Raises:
        ValueError: for settings out of range; in training for a model that cannot be given embeddings in place of ids.
    """

    def __init__(self, epsilon: float = 0.05, xi: float = 0.01, iterations: int = 1) -> None:
        if not (0 < epsilon < float("inf") and 0 < xi < float("inf") and iterations >= 1):
            raise ValueError(f"epsilon={epsilon!r}, xi={xi!r}: must be > 0; iterations={iterations!r}: 1 or more.")
        self.epsilon, self.xi, self.iterations = epsilon, xi, iterations
        self._checked = False

    @property
    def identity(self) -> str:
        """Its settings; a run is not resumed with others."""
        return f"VirtualAdversarial({self.epsilon}, {self.xi}, {self.iterations})"

    def prepare(self, run: Run) -> None:
        """Check that the model takes embeddings; find the marks at the ends of a text."""
        if "inputs_embeds" not in token_inputs(run.model):
            raise ValueError(f"{type(run.model).__name__} takes no inputs_embeds, where adversarial noise goes.")
        names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id")
        found = {getattr(run.pool.tokenizer, name, None) for name in names}
        self._ends = torch.tensor(sorted(found - {None}), dtype=torch.int64)
        self._checked = False

    def __call__(self, batch: StudentBatch, step: Step) -> Tensor:
        """sum(w KL) / count."""
        view = batch.views[-1]
        table = step.run.model.get_input_embeddings()  # type: ignore[operator]
        others = {name: tensor for name, tensor in view.items() if name != "input_ids"}
        if not self._checked:
            self._check(view, table, step)

        def logits_at(embeddings: Tensor) -> Tensor:
            return step.forward(others | {"inputs_embeds": embeddings}, grad=True).logits

        free = view["attention_mask"].bool() & ~torch.isin(view["input_ids"], self._ends.to(view["input_ids"].device))
        free = free.unsqueeze(2)
        with torch.no_grad():
            still = table(view["input_ids"])
            size = _norm(full_precision(still) * free)
        d = _unit(self._noise(still, view, step, batch) * free)
        for _ in range(self.iterations):
            d.requires_grad_()
            logits = logits_at(still + (self.xi * size * d).to(still.dtype))
            divergence = kl_divergence(logits, batch.q, step.task)
            # A row's factor does not turn its direction; without it half-precision gradients of sure rows vanish.
            gap = (step.task.probabilities(logits) - batch.q).abs().amax(1).clamp_min(SMALLEST_GAP).detach()
            d = _unit(torch.autograd.grad((divergence / gap.view(-1, *[1] * (divergence.ndim - 1))).sum(), d)[0] * free)
        moved = table(view["input_ids"]) + (self.epsilon * size * d).to(still.dtype)
        return weighted_sum(kl_divergence(logits_at(moved), batch.q, step.task), batch.w) / batch.count

    @staticmethod
    def _noise(still: Tensor, view: dict[str, Tensor], step: Step, batch: StudentBatch) -> Tensor:
        """Standard normal numbers of each row, the same in whichever batch it is."""
        noise = torch.zeros_like(full_precision(still))
        lengths = view["attention_mask"].sum(1).tolist()
        for i, (row, length) in enumerate(zip(step.rows[batch.at].tolist(), lengths, strict=True)):
            generator = torch.Generator(noise.device).manual_seed(step.seed(row))
            shape = (length, noise.shape[2])
            noise[i, :length] = torch.randn(shape, generator=generator, dtype=noise.dtype, device=noise.device)
        return noise

    def _check(self, view: dict[str, Tensor], table: torch.nn.Module, step: Step) -> None:
        """Hold the model's word on embeddings against its word on ids, with a padded token in every row."""
        inputs = {name: tensor[:CHECKED].clone() for name, tensor in view.items()}
        if inputs["input_ids"].shape[1] > 1:
            inputs["input_ids"][:, -1] = step.run.pool.tokens.pad_token_id
            inputs["attention_mask"][:, -1] = 0
        others = {name: tensor for name, tensor in inputs.items() if name != "input_ids"}
        by_ids = full_precision(step.forward(inputs).logits)
        with torch.no_grad():
            embeddings = table(inputs["input_ids"])
        kind = type(step.run.model).__name__
        try:
            by_embeddings = full_precision(step.forward(others | {"inputs_embeds": embeddings}).logits)
        except (NotImplementedError, AttributeError) as error:  # BART, I-BERT: in the signature, but not possible
            raise ValueError(
                f"{kind} cannot predict from word embeddings, where adversarial noise goes ({error}): take another "
                "model, or another method."
            ) from error
        if not torch.allclose(by_ids, by_embeddings, rtol=0.01, atol=0.01):
            raise ValueError(
                f"{kind} predicts otherwise from word embeddings than from the ids they stand "
                "for (it reads more than their embeddings off the ids), so that virtual adversarial noise would be "
                "noise on something else: take another model, or another method."
            )
        self._checked = True


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)[:, None, None]


def _unit(x: Tensor) -> Tensor:
    # A gradient may be too small to be squared.
    x = x.detach() / x.detach().flatten(1).abs().amax(1).clamp_min(TINY**2)[:, None, None]
    return x / _norm(x).clamp_min(TINY)
