"""TMix against the model taken apart by hand, and MixText's loss against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_model
from real_steps import make_batch, make_run, make_step
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertForSequenceClassification,
    XLMConfig,
    XLNetConfig,
)

from textpl.components.hidden_mixing import HiddenMixing, encoder_layers, mean_over_views, mixed_after, stacked


def three_layers(task="single"):
    torch.manual_seed(0)
    sizes = {"vocab_size": 20, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
    config = BertConfig(**sizes, num_hidden_layers=3, initializer_range=0.5, max_position_embeddings=32)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    config.problem_type = f"{task}_label_classification"
    return BertForSequenceClassification(config).eval()


def by_hand(model, inputs, order, share, after):
    """Layer by layer, every row of its own length; from the mixed layer on both texts' tokens are seen."""
    bert, mask = model.bert, inputs["attention_mask"].bool()
    hidden = bert.embeddings(input_ids=inputs["input_ids"])
    rows = []
    for i, j in enumerate(order.tolist()):
        own, other = mask[i], mask[j]
        a, b = hidden[i : i + 1], hidden[j : j + 1]
        for layer in bert.encoder.layer[:after]:
            a, b = layer(a, additive(own)), layer(b, additive(other))
        x = share * a + (1 - share) * b
        for layer in bert.encoder.layer[after:]:
            x = layer(x, additive(own | other))
        rows.append(model.classifier(bert.pooler(x)))
    return torch.cat(rows)


def additive(mask):
    return torch.where(mask, 0.0, torch.finfo(torch.float32).min)[None, None, None]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_mixed_passes_are_those_of_the_model_taken_apart(tokenizer, after, attention):
    model = three_layers()
    model.set_attn_implementation(attention)
    texts = ["good film", "the meal was very bad it was so dull", "nice book so fine", "a"]
    inputs = dict(tokenizer(texts, padding=True, return_tensors="pt"))
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    order = torch.tensor([1, 0, 3, 2])
    with torch.no_grad():
        with mixed_after(encoder_layers(model), after, order, 0.6):
            mixed = model(**inputs).logits
        torch.testing.assert_close(mixed, by_hand(model, inputs, order, 0.6, after), rtol=1e-4, atol=1e-4)
        with mixed_after(encoder_layers(model), after, torch.arange(4), 0.6):
            alone = model(**inputs).logits
        torch.testing.assert_close(alone, model(**inputs).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", ["single", "multi"])
def test_loss_is_that_of_the_mixed_rows(tokenizer, task):
    run = make_run(tokenizer, task, model=three_layers(task))
    step = make_step(run, [3, 8, 1, 20, 6], index=4, copies=2)
    objective = HiddenMixing(alpha=0.9, layers=[1, 2])
    objective.prepare(run)
    with torch.no_grad():
        q, _ = mean_over_views(step)
    w = torch.ones_like(step.task.confidence(q))
    w[1] = 0.5
    loss = objective(make_batch(step, q, w), step).item()
    rng = np.random.default_rng(step.seed(0, 0, 5))  # the first row, the process
    order = torch.from_numpy(rng.permutation(15))
    share, after = rng.beta(0.9, 0.9), int(rng.choice([1, 2]))
    share = max(share, 1 - share)
    labeled = step.labeled_rows(5)
    inputs = stacked([labeled.inputs, step.views[0], step.views[1]], 0)
    targets = torch.cat([labeled.targets, q, q])
    with torch.no_grad():
        z = by_hand(run.model.eval(), inputs, order, share, after)
    y = (share * targets + (1 - share) * targets[order]).double().numpy()
    z = z.double().numpy()
    if task == "single":
        log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
        cross, entropy = -(y * log_p).sum(1), -(y * np.log(np.maximum(y, 1e-300))).sum(1)
    else:
        cross = y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z)
        entropy = -y * np.log(np.maximum(y, 1e-300)) - (1 - y) * np.log(np.maximum(1 - y, 1e-300))
    weights = np.concatenate([w, w])
    run.model.eval()
    expected = cross[:5].mean() + (weights * (cross - entropy)[5:]).mean()
    assert loss == pytest.approx(expected, rel=1e-4)


def test_default_layers_are_in_proportion(tokenizer):
    run = make_run(tokenizer, model=three_layers())
    objective = HiddenMixing()
    objective.prepare(run)
    assert objective._after == (2, 3)  # of 7, 9 and 12 of 12
    with pytest.raises(ValueError, match=r"layers=\(4,\): the model has 3"):
        HiddenMixing(layers=[4]).prepare(run)
    with pytest.raises(ValueError, match="counted from 1"):
        HiddenMixing(layers=[0])
    with pytest.raises(ValueError, match="alpha"):
        HiddenMixing(alpha=0.0)


def test_a_model_that_uses_one_layer_several_times_is_refused(tokenizer):
    sizes = {"vocab_size": 20, "hidden_size": 16, "embedding_size": 8, "num_attention_heads": 2}
    model = AlbertForSequenceClassification(AlbertConfig(**sizes, num_hidden_layers=3, intermediate_size=32))
    with pytest.raises(ValueError, match="The 3 layers of AlbertForSequenceClassification were not found"):
        encoder_layers(model)
    assert len(encoder_layers(make_model())) == 1


@pytest.mark.parametrize("kind", ["xlm", "bart", "xlnet"])
def test_models_with_several_lists_of_layers_are_refused(kind):
    small = {"vocab_size": 40, "num_labels": 2}
    config = {
        "xlm": lambda: XLMConfig(emb_dim=16, n_layers=2, n_heads=2, **small),
        "bart": lambda: BartConfig(
            d_model=16,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            **small,
        ),
        "xlnet": lambda: XLNetConfig(d_model=16, n_layer=2, n_head=2, d_inner=16, **small),
    }[kind]()
    with pytest.raises(ValueError, match="take a BERT-like encoder"):
        encoder_layers(AutoModelForSequenceClassification.from_config(config))
