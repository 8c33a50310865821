"""A plugin of pytest: the real Hub client, pointed at the server on loopback."""

from __future__ import annotations

import datasets
import huggingface_hub
import pytest
import transformers.utils.hub
from hub_helpers import READER, TOKEN
from hub_server import Hub
from huggingface_hub import constants


@pytest.fixture
def server():
    return Hub({TOKEN: ("ada", True), READER: ("bob", False)}, page=2)


@pytest.fixture
def endpoint(server, tmp_path, monkeypatch):
    """The real client, pointed at the server, with a home of its own and ada's token."""
    with server.serve() as url:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", url)
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # made once, for the endpoint of then
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
        huggingface_hub.close_session()
        yield url
        huggingface_hub.close_session()
