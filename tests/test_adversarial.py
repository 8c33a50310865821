"""Virtual adversarial training against a second derivation, and what it must not do."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import make_model, make_pool, make_trainer
from real_steps import make_batch, make_run, make_step
from transformers import BartConfig, BartForSequenceClassification, GPT2Config, GPT2ForSequenceClassification

import textpl
from textpl.components import adversarial
from textpl.components.adversarial import VirtualAdversarial
from textpl.components.losses import kl_divergence


def targets(step):
    return step.task.probabilities(step.forward(step.views[0]).logits)


def divergence(q, logits, task):
    """Of each row, summed over labels, from the definition."""
    if task == "single":
        return (q * (q.log() - logits.log_softmax(1))).sum(1)
    p = logits.sigmoid()
    return (q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()).sum(1)


@pytest.mark.parametrize("task", ["single", "multi"])
def test_loss_is_that_of_the_power_iteration(tokenizer, task, monkeypatch):
    """Row by row, without padding, the probe's gradient taken with respect to the embeddings themselves."""
    run = make_run(tokenizer, task, model=make_model(task, dropout=0.3).double())
    step = make_step(run, [5, 1, 9, 30, 2])
    objective, seen = VirtualAdversarial(epsilon=0.3, xi=0.02, iterations=2), []
    noise = VirtualAdversarial._noise
    monkeypatch.setattr(VirtualAdversarial, "_noise", staticmethod(lambda *args: seen.append(noise(*args)) or seen[-1]))
    objective.prepare(run)
    q = targets(step)
    loss = objective(make_batch(step, q), step)
    model, total = run.model.eval(), 0.0
    for i in range(5):
        length = int(step.views[0]["attention_mask"][i].sum())
        e = model.bert.embeddings.word_embeddings(step.views[0]["input_ids"][i : i + 1, :length]).detach()
        inner = torch.zeros_like(e)
        inner[:, 1:-1] = 1  # not [CLS] and [SEP]
        size, d = (e * inner).norm(), noise_of(seen[0], i, length) * inner
        for _ in range(2):
            moved = (e + 0.02 * size * d / d.norm()).requires_grad_()
            (g,) = torch.autograd.grad(divergence(q[i : i + 1], model(inputs_embeds=moved).logits, task).sum(), moved)
            d = g * inner
        logits = model(inputs_embeds=e + 0.3 * size * d / d.norm()).logits
        total += divergence(q[i : i + 1], logits, task).sum().item()
    assert loss.item() == pytest.approx(total / (5 if task == "single" else 15), rel=1e-6)
    loss.backward()
    assert model.bert.embeddings.word_embeddings.weight.grad.any()


def noise_of(noise, i, length):
    assert not noise[i, length:].any()
    return noise[i : i + 1, :length]


def test_the_step_changes_more_than_a_random_one_and_is_the_same_in_any_batch(tokenizer):
    run = make_run(tokenizer)
    step, objective = make_step(run, range(12)), VirtualAdversarial(epsilon=0.2)
    objective.prepare(run)
    q = targets(step)
    whole = objective(make_batch(step, q), step).item()
    parts = sum(objective(make_batch(step, q, at=at), step).item() for at in ([0, 7, 3], [1, 2, 4, 5, 6, 8, 9, 10, 11]))
    assert parts == pytest.approx(whole, rel=1e-4)
    ids, mask = step.views[0]["input_ids"], step.views[0]["attention_mask"]
    e = run.model.bert.embeddings.word_embeddings(ids)
    free = (mask.bool() & ~torch.isin(ids, torch.tensor([2, 3]))).unsqueeze(2)
    random = torch.randn(e.shape, generator=torch.Generator().manual_seed(0)) * free
    random = random / random.flatten(1).norm(dim=1)[:, None, None] * (e * free).flatten(1).norm(dim=1)[:, None, None]
    logits = run.model(inputs_embeds=e + 0.2 * random, attention_mask=mask).logits
    assert whole > 2 * kl_divergence(logits, q, step.task).mean().item()


def test_models_that_read_more_off_the_ids_are_refused(tokenizer):
    """GPT-2 looks for the last token that is no padding: without ids it takes the last one."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=2, n_positions=32, num_labels=3, pad_token_id=0)
    config.initializer_range = 0.5
    run = make_run(tokenizer, model=GPT2ForSequenceClassification(config))
    step, objective = make_step(run, range(6)), VirtualAdversarial()
    objective.prepare(run)
    with pytest.raises(ValueError, match="GPT2ForSequenceClassification predicts otherwise from word embeddings"):
        objective(make_batch(step, F.one_hot(torch.arange(6) % 3, 3).float()), step)


def test_models_that_only_seem_to_take_embeddings_are_refused(tokenizer):
    config = BartConfig(
        vocab_size=40, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_labels=3, pad_token_id=0,
    )  # fmt: skip
    run = make_run(tokenizer, model=BartForSequenceClassification(config))
    step, objective = make_step(run, range(6)), VirtualAdversarial()
    objective.prepare(run)
    with pytest.raises(ValueError, match="BartForSequenceClassification cannot predict from word embeddings"):
        objective(make_batch(step, F.one_hot(torch.arange(6) % 3, 3).float()), step)


@pytest.mark.parametrize("settings", [{"epsilon": 0.0}, {"xi": -1.0}, {"iterations": 0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ValueError, match="must be > 0"):
        VirtualAdversarial(**settings)


def test_a_run_in_bfloat16(tmp_path, tokenizer):
    trainer = make_trainer(tmp_path, tokenizer, bf16=True, max_steps=2)
    textpl.attach(trainer, textpl.vat(make_pool(), weight=1.0)).train()
    assert trainer.state.log_history[0]["textpl/unlabeled_loss"] > 0


@pytest.mark.parametrize("task", ["single", "multi"])
def test_rows_have_a_direction_in_float16(tokenizer, task, monkeypatch):
    """Where the divergence is small its gradient is 0 in float16, and no noise is then added, unless it is scaled."""
    model, unit, found = make_model(task), adversarial._unit, []
    with torch.no_grad():
        model.classifier.weight *= 1e-2
    monkeypatch.setattr(adversarial, "_unit", lambda x: found.append(unit(x)) or found[-1])
    step, objective = make_step(make_run(tokenizer, task, model=model), list(range(16))), VirtualAdversarial()
    objective.prepare(step.run)
    for half in (False, True):
        with torch.autocast("cpu", torch.float16, enabled=half):
            objective(make_batch(step, targets(step).float()), step)
    exact, half = found[1].flatten(1), found[3].flatten(1)
    assert half.any(1).all(), "a row without a direction"
    # Its sign may turn with a rounding of the outputs: both ways diverge alike.
    assert F.cosine_similarity(exact, half).abs().median() > 0.95


@pytest.mark.parametrize("task", ["single", "multi"])
def test_sure_rows_have_a_direction_in_float16(tokenizer, task):
    """The gradient of a divergence of 1e-7 is 0 in float16, and no noise is then added, unless it is scaled first."""
    model = make_model(task)
    with torch.no_grad():
        model.classifier.weight *= 30
    run, sizes = make_run(tokenizer, task, model=model), []
    step = make_step(run, list(range(16)))
    for half in (False, True):
        objective = VirtualAdversarial()
        objective.prepare(run)
        with torch.autocast("cpu", torch.float16, enabled=half):
            q = targets(step).float()
            sizes.append(float(objective(make_batch(step, q), step).detach()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.3) and sizes[0] > 0
