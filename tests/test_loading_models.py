"""Loading classifiers: students of fewer layers, and what is not read from strangers."""

from __future__ import annotations

import json

import pytest
import torch
from conftest import make_model, make_tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    MPNetConfig,
    RobertaConfig,
)
from typer.testing import CliRunner

from textpl.cli import app
from textpl.models import OFFLINE_PACKAGES, described_model, load_classifier, load_finished, resolve_model
from textpl.recipes.parsing import load_recipe
from textpl.tasks import SingleLabel

SIZES = {"vocab_size": 20, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, "num_labels": 3}
CONFIGS = {
    "bert": BertConfig(num_hidden_layers=6, **SIZES),
    "roberta": RobertaConfig(num_hidden_layers=6, pad_token_id=0, **SIZES),
    "electra": ElectraConfig(num_hidden_layers=6, embedding_size=16, **SIZES),
    "mpnet": MPNetConfig(num_hidden_layers=6, **SIZES),
    "distilbert": DistilBertConfig(vocab_size=20, dim=16, n_layers=6, n_heads=2, hidden_dim=32, num_labels=3),
}
IDS = torch.tensor([[2, 5, 7, 9, 3], [2, 6, 3, 0, 0]])
INPUTS = {"input_ids": IDS, "attention_mask": (IDS > 0).long()}


def saved(folder, config):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return model.eval()


def load(folder, **settings):
    model, _ = load_classifier(str(folder), SingleLabel(3), list("abc"), **settings)
    return model.eval()


def weights(model, layer):
    """Those of one layer."""
    marks = (f".layer.{layer}.",)
    return [p for name, p in model.named_parameters() if any(mark in f".{name}" for mark in marks)]


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_student_keeps_layers_evenly_and_needs_no_textpl(tmp_path, kind):
    whole = saved(tmp_path / "whole", CONFIGS[kind])
    student = load(tmp_path / "whole", layers=3)
    assert student.config.num_hidden_layers == 3 and not weights(student, 3)
    for new, old in ((0, 0), (1, 2), (2, 5)):  # the first and the last are kept; 2.5 rounds to 2
        pairs = list(zip(weights(student, new), weights(whole, old), strict=True))
        assert pairs and all(torch.equal(a, b) for a, b in pairs), (new, old)
    student.save_pretrained(tmp_path / "student")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "student").eval()
    with torch.no_grad():
        logits = student(**INPUTS).logits
        torch.testing.assert_close(again(**INPUTS).logits, logits, rtol=0, atol=0)
        assert (whole(**INPUTS).logits - logits).abs().max() > 1e-6, "it is another model"


def test_how_many_layers(tmp_path):
    whole = saved(tmp_path, CONFIGS["bert"])
    one = load(tmp_path, layers=1)
    assert all(torch.equal(a, b) for a, b in zip(weights(one, 0), weights(whole, 0), strict=True))
    with torch.no_grad():
        torch.testing.assert_close(load(tmp_path, layers=6)(**INPUTS).logits, whole(**INPUTS).logits)
    with pytest.raises(ValueError, match="layers: 7 of the 6 layers of this model cannot be kept: write 1 to 6"):
        load(tmp_path, layers=7)


def test_an_architecture_that_is_not_known(tmp_path):
    saved(tmp_path, GPT2Config(vocab_size=20, n_embd=16, n_layer=2, n_head=2, num_labels=3, pad_token_id=0))
    with pytest.raises(
        ValueError, match="layers: it is not known how to shorten a model of the kind 'gpt2', only bert"
    ):
        load(tmp_path, layers=1)


def test_a_recipe_for_a_student(tmp_path):
    saved(tmp_path / "whole", CONFIGS["bert"])
    text = "schema: 1\ndata: {source: 'bundled:sentiment'}\nsplit: {labels_per_class: 2, pool: 20, test: 10}\n"
    text += "model: {name: whole, layers: 2, max_length: 16}\nmethod: {name: distillation, teacher: whole}\n"
    (tmp_path / "recipe.yaml").write_text(text)
    assert load_recipe(tmp_path).recipe.model.layers == 2
    shown = CliRunner().invoke(app, ["recipes", "show", str(tmp_path)])
    assert "2 of its layers" in shown.output, shown.output


# ---- safety ----


@pytest.fixture
def pickled(tmp_path):
    """A model as it was saved years ago."""
    model = make_model()
    model.config.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    return tmp_path


def test_pickles_are_not_opened(pickled):
    for read in (load, lambda folder: load_finished(str(folder))):
        with pytest.raises(ValueError, match=r"no weights in model\.safetensors.*pickles.*save_pretrained\(FOLDER\)"):
            read(pickled)
    model = AutoModelForSequenceClassification.from_pretrained(pickled)
    model.save_pretrained(pickled)  # the remedy
    assert load(pickled) is not None


@pytest.fixture
def with_code(tmp_path):
    """A model of which config and class come as Python files, which tell when they run."""
    folder = tmp_path / "coded"
    make_model(labels=2).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    (folder / "theirs.py").write_text(
        f"open({str(tmp_path / 'owned')!r}, 'w').close()\n"
        "from transformers import BertConfig, BertForSequenceClassification\n"
        "class TheirConfig(BertConfig):\n    model_type = 'theirs'\n"
        "class Theirs(BertForSequenceClassification):\n    config_class = TheirConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    auto = {"AutoConfig": "theirs.TheirConfig", "AutoModelForSequenceClassification": "theirs.Theirs"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "theirs", "auto_map": auto}))
    (tmp_path / "recipe.yaml").write_text(
        "schema: 1\ndata: {source: 'bundled:sentiment'}\nsplit: {labels_per_class: 2, pool: 10, test: 10}\n"
        "model: {name: coded, max_length: 16}\ntrain: {max_steps: 1, bf16: false}\nseeds: [0]\n"
    )
    return tmp_path


def run(folder, *arguments):
    command = ["run", str(folder / "recipe.yaml"), "--out", str(folder / "out"), *arguments]
    return CliRunner().invoke(app, command, input="y\n")


def test_code_of_a_model_runs_only_if_the_user_says_so(with_code, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(with_code / "modules"))
    refused = run(with_code)
    told = " ".join(refused.output.split())
    assert refused.exit_code == 1 and "--trust-remote-code" in told and "code of its own" in told
    assert not (with_code / "owned").exists(), "a yes on the terminal is not asked for"
    trusted = run(with_code, "--trust-remote-code", "--resume")
    assert trusted.exit_code == 0, trusted.output
    assert (with_code / "owned").exists()


def test_a_run_tells_whether_it_is_as_expected(tmp_path):
    make_model(labels=2).save_pretrained(tmp_path / "tiny")
    make_tokenizer().save_pretrained(tmp_path / "tiny")
    text = (
        "schema: 1\ndata: {source: 'bundled:sentiment'}\nsplit: {labels_per_class: 2, pool: 10, test: 20}\n"
        "model: {name: tiny, max_length: 16}\ntrain: {max_steps: 1, bf16: false}\nseeds: [0, 1]\n"
        "expected: {metric: accuracy, seeds: [0, 1], baseline: {mean: 50, std: 30}, method: {mean: 99, std: 0.1}}\n"
    )
    (tmp_path / "recipe.yaml").write_text(text)
    done = run(tmp_path)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "results.json").read_text())["expected"]
    assert found["sentence"] in " ".join(done.output.split()) and found["labels only"]["expected"] == 50


@pytest.mark.parametrize("key", ["vocab", "init_inputs"])
def test_a_tokenizer_cannot_read_other_files(tmp_path, key):
    secret = tmp_path / "secret"
    secret.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhunter2\n")
    folder = tmp_path / "model"
    make_model(labels=2).save_pretrained(folder)
    settings = {"tokenizer_class": "BertTokenizer", key: [str(secret)] if key == "init_inputs" else str(secret)}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=f"{key} in its tokenizer_config.json names other files"):
        load_finished(str(folder))


def test_a_folder_that_hides_a_hub_id_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "ada" / "reviews").mkdir(parents=True)
    (tmp_path / "r").mkdir()
    text = "schema: 1\ndata: {source: ada/reviews}\nsplit: {labels_per_class: 2}\n"
    (tmp_path / "r" / "recipe.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="something has that name and would be read instead"):
        load_recipe("r")
    assert load_recipe("r", overrides=["data.source=ada/reviews"]).locate is not None


def test_a_model_is_told_by_its_name():
    name = "sentence-transformers/all-MiniLM-L6-v2"
    assert described_model(name) == f"{name} (installed package)"
    assert described_model("someone/other") == "someone/other"


def test_an_installed_package_is_of_one_commit():
    name = "sentence-transformers/all-MiniLM-L6-v2"
    commit = OFFLINE_PACKAGES[name][-1]
    assert resolve_model(name, commit) == resolve_model(name) != name
    assert resolve_model(name, "0" * 40) == name, "another one is on the Hub"
