"""Large files by Xet, which the client takes wherever hf_xet is installed, and which users therefore get."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import make_model, make_tokenizer
from hub_helpers import TOKEN, on_main, refused
from huggingface_hub import constants, hf_hub_download
from safetensors.torch import save_file
from test_hub_models import RECIPE, RESULTS
from xet_storage import XetContent, XetStorage

from textpl.sharing.push import push

pytest.importorskip("hf_xet")
pytest_plugins = ["hub_fixtures"]


@pytest.fixture
def run(tmp_path):
    """A run whose weights are large."""
    folder = tmp_path / "mine"
    make_model(labels=2).save_pretrained(folder / "model")
    make_tokenizer().save_pretrained(folder / "model")
    torch.manual_seed(0)
    save_file({"weights": torch.randn(3_000_000)}, folder / "model" / "model.safetensors")
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "results.json").write_text(json.dumps(RESULTS))
    return folder


@pytest.fixture
def xet(endpoint, server, monkeypatch):
    """The client with Xet, and a server that speaks it."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    server.xet = XetStorage()


def test_weights_go_up_and_down_by_xet(xet, server, run, capfd):
    done = push(run, "ada/large", private=True)
    path = hf_hub_download("ada/large", "model.safetensors", revision=done.revision)
    weights = run / "model" / "model.safetensors"
    assert weights.stat().st_size > 10_000_000 and Path(path).read_bytes() == weights.read_bytes()
    assert isinstance(on_main(server, "models", "ada/large")["model.safetensors"], XetContent)
    asked = {path.split("/default/")[0].split("/reconstructions/")[0] for _, path in server.requests}
    assert {"/api/models/ada/large/xet-write-token/main", "/cas/v1/xorbs", "/cas/v1/shards", "/cas/v1"} <= asked
    assert not any("/lfs/" in path for path in asked)
    assert TOKEN not in "".join(capfd.readouterr())


def test_an_upload_by_xet_that_fails_shares_nothing(xet, server, run):
    server.full = True
    with refused("nothing was shared") as caught:
        push(run, "ada/large")
    assert TOKEN not in str(caught.value)
    assert set(on_main(server, "models", "ada/large")) == {".gitattributes"}
