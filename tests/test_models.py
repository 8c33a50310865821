"""A fresh output layer starts at the label frequencies; a trained one is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import make_model, make_tokenizer

from textpl.models import load_classifier
from textpl.tasks import MultiLabel, SingleLabel

RATES = np.array([0.5, 0.3, 0.15, 0.05])


@pytest.mark.parametrize(
    ("task", "expected"),
    [(SingleLabel(4), np.log(RATES)), (MultiLabel(4), np.log(RATES / (1 - RATES)))],
    ids=["single", "multi"],
)
def test_a_fresh_head_predicts_the_rates(tmp_path, task, expected):
    make_model(labels=3).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    model, _ = load_classifier(str(tmp_path), task, list("abcd"), rates=RATES)
    np.testing.assert_allclose(model.classifier.bias.detach(), expected, atol=1e-6)
    plain, _ = load_classifier(str(tmp_path), task, list("abcd"))
    assert not plain.classifier.bias.any()


def test_a_trained_head_is_left_alone(tmp_path):
    trained = make_model(labels=4)
    torch.nn.init.normal_(trained.classifier.bias)
    trained.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    model, _ = load_classifier(str(tmp_path), SingleLabel(4), list("abcd"), rates=RATES)
    torch.testing.assert_close(model.classifier.bias, trained.classifier.bias)
